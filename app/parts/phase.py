"""The parts of the Phase map page: the standing of the network, the three questions, the map and its captions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import streamlit as st

import gradcore as gc
from app import controls, runner, theme
from app.i18n import language, spec_error_text, t, unsupported_text
from app.parts import figures, pictures
from app.parts.place import Place
from app.parts.words import network_text
from gradcore import charts
from gradcore.codec import to_query
from gradcore.errors import SpecError, UnsupportedError
from gradcore.phases import SCALARS, is_quick, scalar_of
from gradcore.theory.axes import AXES, axis_values

if TYPE_CHECKING:
    from app.state import Settings
    from gradcore.phases import PhaseMap
    from gradcore.spec import Spec

MAP_HEIGHT = 470
QUICK_CELLS = 60  # a side
SLOW_CELLS = (10, 30)  # a side, least and most
SLOW_SECONDS = 4.0  # that a map of single predictions may take, about
KEPT = 6  # such maps that a session keeps
KEY = "phase_chart"
OPTIONS = tuple(f"{s.code}_{s.layer}" if s.layer else s.code for s in SCALARS.values())


def frame() -> list[Place]:
    """Room for the headline, the sentence below it and the network's line."""
    with st.container(border=True, gap="xxsmall"):
        return [Place(), Place(), Place()]


def questions(settings: Settings) -> None:
    """Which two settings and which number; a number that a link asked for and the list lacks is added to it."""
    left, right, third, last = st.columns([1, 1, 1.5, 0.75], vertical_alignment="bottom")
    keep: dict[str, Any] = {"persist_state": "session"}
    with left:
        st.selectbox(t("Across"), AXES, key="setting_map_x", format_func=_axis_label, **keep)
    with right:
        st.selectbox(t("Up"), AXES, key="setting_map_y", format_func=_axis_label, **keep)
    options = OPTIONS if settings.map_of in OPTIONS else (*OPTIONS, settings.map_of)
    with third:
        st.selectbox(t("Colour"), options, key="setting_map_of", format_func=_scalar_label, **keep)
    with last:
        figures.moment_switch()


def _axis_label(field: str) -> str:
    return charts.axis_title(field, t)


def _scalar_label(code: str) -> str:
    label = charts.scalar_label(*scalar_of(code), t)
    return label[:1].upper() + label[1:]


# --- the map -----------------------------------------------------------------------------------------------


def quick(spec: Spec, settings: Settings) -> PhaseMap | None:
    """The map where it takes no time, else None."""
    if settings.map_x == settings.map_y or not is_quick(spec, settings.map_x, settings.map_y, settings.map_of):
        return None
    try:
        return _quick(spec, settings.map_x, settings.map_y, settings.map_of)
    except SpecError:
        return None  # said by ``slow``, where it is asked again


@st.cache_resource(max_entries=32, show_spinner=False, hash_funcs={gc.Spec: lambda spec: tuple(to_query(spec).items())})
def _quick(spec: Spec, x: str, y: str, of: str) -> PhaseMap:
    return _made(spec, x, y, of, QUICK_CELLS)


def _made(spec: Spec, x: str, y: str, of: str, count: int, progress: Any = None) -> PhaseMap:
    axes = [(field, axis_values(spec, field, count)) for field in (x, y)]
    return gc.phase_map(spec, *axes, of=of, progress=progress)


def slow(spec: Spec, settings: Settings, said: list[Place], place: Place) -> PhaseMap | None:
    """A map of one prediction a cell, with its progress where the chart will be; kept by the session. None, with the
    reason on the page, where there is none."""
    key = (tuple(to_query(spec).items()), settings.map_x, settings.map_y, settings.map_of)
    kept = st.session_state.setdefault("phase_maps", {})
    if key not in kept:
        try:
            probe, seconds = _probe(spec, *key[1:])
            _say(said, probe, _words(probe, settings.moment))
            side = int(min(max((SLOW_SECONDS / seconds) ** 0.5, SLOW_CELLS[0]), SLOW_CELLS[1]))
            found = _made(spec, *key[1:], side, _Progress(place))
        except SpecError as error:
            place.draw("error", spec_error_text(error), icon=theme.ICONS["error"])
            return None
        for old in list(kept)[: max(len(kept) - KEPT + 1, 0)]:
            del kept[old]
        kept[key] = found
    return kept[key]


def _probe(spec: Spec, x: str, y: str, of: str) -> tuple[PhaseMap, float]:
    """A map of one cell near the network, and the seconds that it takes once what it needs is imported and tabled."""
    axes = []
    for field in (x, y):
        values = axis_values(spec, field, SLOW_CELLS[0])
        axes.append((field, values[values.size // 2 :][:1]))
    gc.phase_map(spec, *axes, of=of)
    began = time.perf_counter()
    found = gc.phase_map(spec, *axes, of=of)
    return found, max(time.perf_counter() - began, 1e-4)


class _Progress:
    """The progress bar of a slow map; between cells Streamlit may stop the run."""

    def __init__(self, place: Place) -> None:
        self._place, self._touched, self._drawn = place, 0.0, 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._touched >= runner.POLL:
            self._touched = now
            runner.may_stop_here()
        if now - self._drawn >= runner.REDRAW:
            self._drawn = now
            text = t("Predicted {done} of {total} networks", done=done, total=total)
            self._place.draw("progress", done / total, text=text)


# --- what is drawn -----------------------------------------------------------------------------------------


def draw(said: list[Place], place: Place, below: Place, found: PhaseMap, moment: str) -> None:
    """Headline, sentence, map and caption."""
    st.session_state["phase_map"] = found
    key = (tuple(to_query(found.spec).items()), found.x, found.y, found.of, found.values.shape, moment, language())
    document, words = _drawn(key, found, moment)
    _say(said, found, words)
    pictures.chart(
        place,
        "map",
        document,
        words["alt"],
        height=MAP_HEIGHT,
        key=KEY,
        on_select=_load,
        selection_mode=charts.SELECTION,
    )
    below.draw("caption", words["critical"] + _refusals(found))


@st.cache_data(max_entries=64, show_spinner=False)
def _drawn(key: tuple[Any, ...], _found: PhaseMap, _moment: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The chart of this ``key`` and its texts; kept, because every rerun draws it again."""
    chart = charts.phase_chart(_found, moment=_moment, height=MAP_HEIGHT, t=t)
    return chart.to_dict(validate=False), _words(_found, _moment)


def _words(found: PhaseMap, moment: str) -> dict[str, str]:
    return {
        "headline": charts.headline(found, t),
        "stands": charts.stands_text(found, moment, t),
        "critical": charts.critical_text(found, t),
        "alt": charts.map_description(found, moment, t),
    }


def _say(said: list[Place], found: PhaseMap, words: dict[str, str]) -> None:
    """Headline, sentence and the network's line."""
    said[0].draw("subheader", words["headline"], anchor=False)
    said[1].draw("markdown", words["stands"])
    said[2].draw("caption", network_text(found.spec))


def _refusals(found: PhaseMap) -> str:
    """What the empty cells lack, the first reason standing for all."""
    if not found.refused:
        return ""
    error = found.refused[0]
    why = unsupported_text(error) if isinstance(error, UnsupportedError) else str(error)
    return " " + t("Empty cells have no prediction: {reason}", reason=why)


def _load() -> None:
    """Callback of a click: the cell's network goes into the sidebar."""
    picked = st.session_state[KEY]["selection"].get(charts.SELECTION) or []
    found = st.session_state.get("phase_map")
    if not picked or found is None:
        return
    i, j = int(picked[0].get("i", -1)), int(picked[0].get("j", -1))
    if 0 <= i < found.xs.size and 0 <= j < found.ys.size:
        controls.load(found.cell(j, i))


def how_to_read() -> None:
    """The explanation, closed at first."""
    with st.expander(t("How to read this map")):
        st.markdown(
            t(
                "Every cell is one network: this page's network with two of its settings changed. Orange: the number "
                "has shrunk (gradients vanish). Blue: it has grown (gradients explode). The neutral colour between "
                "them: it has kept its size, which a deep network needs. Where the colours end, the tooltip knows the "
                "number. Click a cell to load its network into the sidebar."
            )
        )
        st.markdown(
            t(
                "On the critical line χ = 1: each layer passes the gradient on at its size. To the ordered side χ < 1: "
                "inputs become alike and gradients vanish; to the chaotic side χ > 1: alike inputs part and gradients "
                "explode. The deeper the network, the narrower the band around the line in which it can be trained."
            )
        )
