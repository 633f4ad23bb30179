"""Compare: up to six pinned networks overlaid, signal and gradient by layer, and a table of what differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from app import controls, runner, theme
from app.i18n import language, mark, t
from app.parts import compare_measuring as measuring
from app.parts import compare_pins, compare_table, figures, notices, pictures
from app.parts.place import Place
from app.parts.verdict_box import Answer, answer, missing_text
from app.parts.words import network_text
from app.state import Settings
from gradcore.charts import compare, compare_words
from gradcore.charts.compare_words import Curve
from gradcore.codec import to_compact
from gradcore.pins import Pin, pins
from gradcore.spec import Spec

if TYPE_CHECKING:
    from gradcore.measurement import Measurement

SIDES = ("forward", "backward")
X_LABELS = {"layer": mark("By layer"), "relative": mark("By l/L")}


@dataclass(frozen=True)
class Shown:
    """What is compared, and where it is drawn: two charts, the line below them, the table."""

    pins: Sequence[Pin]
    found: Sequence[Answer]
    settings: Settings
    drawings: list[Place]
    events: Place
    table: Place

    def fill(self, waiting: str, search: bool = True) -> None:
        """Draw everything with what is measured by now; ``search``: also what mends each network."""
        measured = measuring.measured([one.spec for one in self.pins], self.settings)
        self._charts(measured)
        table = compare_table.rows(self.pins, self.found, measured, self.settings, waiting, search)
        compare_table.draw(self.table, table, t("Verdict and figures of every pin"))

    def _charts(self, measured: Sequence[Measurement | None]) -> None:
        curves = [
            Curve(one.name, found.profile, there)
            for one, found, there in zip(self.pins, self.found, measured, strict=True)
        ]
        there = tuple(None if one is None else (one.networks, one.seed, one.dtype, one.sampler) for one in measured)
        laws = tuple(None if one.profile is None else one.profile.at_hand.source for one in self.found)
        view = (self.settings.moment, self.settings.statistic, self.settings.compare_x, self.settings.dtype)
        key = (tuple(to_compact(one.spec) for one in self.pins), there, laws, view, language())
        sides = zip(SIDES, self.drawings, _drawn(key, curves, self.settings), strict=True)
        for code, place, (document, words) in sides:
            pictures.chart(place, code, document, words, height=theme.CHART_HEIGHT)
        said = " · ".join(compare_words.happenings(curves, self.settings.dtype, t))
        parts = [
            t("Lines: predicted."),
            t("Points: measured, with 90% of the networks.") if any(one is not None for one in measured) else "",
            t("Dotted: 1, nothing gained or lost. Shaded: gradients within a factor 100 of the last layer's."),
            said,
        ]
        self.events.draw("caption", " ".join(part for part in parts if part))


@st.cache_data(max_entries=64, show_spinner=False)
def _drawn(key: tuple[Any, ...], _curves: list[Curve], _settings: Settings) -> list[tuple[dict[str, Any], str]]:
    """Both charts and their words, kept: Altair takes 0.1 s to write one out."""
    options: dict[str, Any] = {
        "moment": _settings.moment,
        "statistic": _settings.statistic,
        "relative": _settings.compare_x == "relative",
        "short": True,
        "height": theme.CHART_HEIGHT,
        "t": t,
    }
    return [
        (
            compare.compare_chart(_curves, code, **options).to_dict(validate=False),
            compare_words.describe(_curves, code, t),
        )
        for code in SIDES
    ]


def page() -> None:
    """The page: what the networks say together, a card for each, both charts, the table, and what can be pinned."""
    notices.draw()
    asked = controls.question()
    specs = list(asked.settings.pin)
    if not specs:
        compare_pins.empty(asked.spec)
        return
    shown, progress = _frame(specs, asked.settings, asked.spec)
    runs = measuring.due(specs, asked.settings)
    shown.fill(t("measuring …") if runs else t("not measured"), search=False)
    runner.let_it_be_drawn()
    controls.sidebar()  # after the answer, before anything slow
    shown.fill(t("measuring …") if runs else t("not measured"))
    if runs:
        with progress:
            _measure(shown, specs)


def _frame(specs: list[Spec], settings: Settings, asked: Spec | None) -> tuple[Shown, Any]:
    """All places of the page, and that of the progress bar."""
    named = pins(specs, t)
    with st.spinner(t("Predicting …")):
        found = [answer(spec) for spec in specs]
    progress = _box(named, found, settings)
    compare_pins.cards(named, found)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        figures.moment_switch()
        figures.statistic_switch()
        if len({spec.depth for spec in specs}) > 1 or settings.compare_x == "relative":
            figures.switch("compare_x", X_LABELS, t("l/L puts networks of different depths upon each other."))
        compare_pins.adding(asked, specs)
    drawings = []
    for column in st.columns(len(SIDES)):
        with column:
            drawings.append(Place())
    shown = Shown(named, found, settings, drawings, Place(), Place())
    st.caption(t("At layer 1: the gradient over the last layer's; measured ± standard error."))
    compare_table.refusals(found)
    compare_table.fields(specs)
    return shown, progress


def _box(named: Sequence[Pin], found: Sequence[Answer], settings: Settings) -> Any:
    """What they say together in one sentence, and the button of the measurement."""
    curves = [Curve(one.name, each.profile) for one, each in zip(named, found, strict=True)]
    messages = [message.text(t) for message in compare_words.headline(curves)]
    with st.container(border=True):
        words, pressed = st.columns([3, 1], vertical_alignment="center", gap="medium")
        with words, st.container(gap="xxsmall"):
            st.subheader(messages[0], anchor=False)
            if len(named) == 1:
                st.caption(network_text(named[0].spec))
                st.caption(t("Pin another network to compare it with."))
            for text in messages[1:]:
                st.markdown(text)
        with pressed, st.container(gap="xsmall"):
            measuring.button([one.spec for one in named], settings)
            return st.container()


def _measure(shown: Shown, specs: list[Spec]) -> None:
    """Measure network after network, each drawn as soon as it is there; then the page with its new button."""
    try:
        for _ in measuring.run(specs, shown.settings):
            shown.fill(t("measuring …"))
    except ModuleNotFoundError as error:
        st.caption(missing_text(error.name or str(error)))
        return
    st.rerun()
