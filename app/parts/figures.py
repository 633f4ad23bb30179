"""The two charts side by side, the switches above them and the one line that says what is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from app import controls, theme
from app.i18n import language, mark, t
from app.parts import move, pin, takeaway
from app.parts.place import Place
from gradcore import charts
from gradcore.codec import to_query

if TYPE_CHECKING:
    from app.parts.verdict_box import Answer
    from app.state import Settings
    from gradcore.measurement import Measurement
    from gradcore.profile import Profile

MOMENT_LABELS = {"rms": mark("RMS"), "mean_square": mark("Mean square")}
BANDS = {  # by where the predicted band comes from
    None: "",
    "exact": mark("Dashed: 90% of networks, predicted."),
    "expansion": mark("Dashed: 90% of networks, predicted."),
    "sampler": mark("Dashed: 90% of networks, sampled from their predicted law."),
}
STATISTIC_LABELS = {"mean": mark("Mean"), "median": mark("Median")}
COUNTED = {"dense": mark("torch networks: {count}"), "exact": mark("matrix-free networks of the same law: {count}")}


@dataclass
class Tools:
    """The right end of the row of switches: what to take away, room for a progress bar and two buttons."""

    takeaway: Any
    progress: Any
    other: Any
    button: Any


@dataclass
class Figures:
    """Where the charts go, and below them their legend line and the status line."""

    charts: list[Place]
    legend: Place
    status: Place


def tools() -> Tools:
    """The row of switches."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        moment_switch()
        statistic_switch()
        with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center", gap="small"):
            pin.button(controls.question().spec)
            _train_button()
            places = Tools(takeaway.menu(), st.empty(), st.empty(), st.empty())
    pin.note()
    return places


def _train_button() -> None:
    """The way to the page Train with this network; what it costs is said there."""
    st.button(
        t("Train"),
        key="to_train",
        icon=theme.ICONS["train"],
        type="tertiary",
        help=t("Opens the page Train on this network: the digits are learned, and every layer's speed is drawn."),
        on_click=move.go,
        args=("train", {"train_network": "spec"}),
    )


def moment_switch() -> None:
    """RMS or mean square, for all pages."""
    switch(
        "moment",
        MOMENT_LABELS,
        t("RMS is what people call the size, std or norm; the mean square is its square."),
    )


def statistic_switch() -> None:
    """Mean or median over random networks."""
    switch(
        "statistic",
        STATISTIC_LABELS,
        t("Over random networks, for line and points alike: the mean network, or the median one."),
    )


def frame() -> Figures:
    """Room for what is drawn."""
    places = []
    for column in st.columns(len(charts.MAIN)):
        with column:
            places.append(Place())
    with st.container(gap=None):
        return Figures(places, Place(), Place())


def switch(name: str, labels: dict[str, str], help_text: str) -> None:
    """A switch between the two values of a shared setting."""
    one, other = (t(label) for label in labels.values())
    st.segmented_control(
        t("Show {one} or {other}", one=one, other=other),
        options=list(labels),
        format_func=lambda code: t(labels[code]),
        key=f"setting_{name}",
        required=True,
        persist_state="session",
        label_visibility="collapsed",
        help=help_text,
        width="content",
    )


def fill(
    places: Figures, found: Answer, measured: Measurement | None, settings: Settings, measuring: bool = False
) -> None:
    """Draw the charts and say what is on them. With nothing to draw yet, the room is kept while ``measuring``."""
    if found.profile is None and measured is None:
        for place in places.charts:
            if measuring:
                place.draw("skeleton", theme.CHART_HEIGHT)
            else:
                place.draw("empty")
        if not measuring:
            places.legend.draw("caption", t("Nothing to draw: there is no prediction, and no network is measured."))
        return
    for place, code in zip(places.charts, charts.MAIN, strict=True):
        draw(place, code, found, measured, settings)
    places.legend.draw("caption", legend_text(found, measured, settings))


def draw(place: Place, code: str, found: Answer, measured: Measurement | None, settings: Settings) -> None:
    """One chart, with its takeaway for those who do not see it."""
    networks = None if measured is None else (measured.networks, measured.seed, measured.dtype, measured.sampler)
    law = None if found.profile is None else found.profile.at_hand.source
    view = (settings.moment, settings.statistic, settings.dtype, law)
    key = (tuple(to_query(found.spec).items()), networks, view, language())
    drawn, words = _drawn(code, key, found.profile, measured, settings)
    place.draw("vega_lite_chart", None, drawn, width="stretch", height=theme.CHART_HEIGHT, alt=words)


@st.cache_data(max_entries=128, show_spinner=False)
def _drawn(
    code: str, key: tuple[Any, ...], _profile: Profile | None, _measured: Measurement | None, _settings: Settings
) -> tuple[dict[str, Any], str]:
    """The chart of this ``key`` and its words. Kept, because Altair takes 0.1 s to write it out, and every rerun draws
    it again."""
    drawn = charts.chart(
        code,
        _profile,
        _measured,
        moment=_settings.moment,
        statistic=_settings.statistic,
        dtype=_settings.dtype,
        height=theme.CHART_HEIGHT,
        t=t,
    )
    return drawn.to_dict(validate=False), charts.describe(code, _profile, _measured, t)


def legend_text(found: Answer, measured: Measurement | None, settings: Settings) -> str:
    """What line, points and areas are."""
    which = t(STATISTIC_LABELS[settings.statistic]).lower()
    parts = []
    if found.profile is not None:
        parts.append(t("Line: predicted {which}.", which=which))
        parts.append(t(BANDS[found.profile.at_hand.source]))
    if measured is not None:
        parts.append(
            t(
                "Points: measured {which} ({networks}); area: 90% of them.",
                which=which,
                networks=t(COUNTED[measured.sampler], count=len(measured.networks)),
            )
        )
    parts.append(t("Dotted: 1, nothing gained or lost."))
    return " ".join(part for part in parts if part)
