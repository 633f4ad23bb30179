"""The sidebar: presets, one widget per field of the Spec, and the settings of the measurement.

The chosen preset is not remembered but read off the Spec: it shows as long as the Spec equals it, also after a link
was opened or the browser's Back button pressed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import streamlit as st

from app import i18n, limits, state, theme, widgets
from app.i18n import mark, spec_error_text, t
from app.parts import desk, pictures
from app.state import Settings
from app.trail import trail
from app.widgets import control_of
from gradcore.errors import SpecError
from gradcore.fields import FIELDS, Field
from gradcore.presets import PRESETS
from gradcore.spec import Spec

FIRST_VIEW = {"vanishing": mark("Vanishing"), "critical": mark("Critical"), "exploding": mark("Exploding")}
EXPERIMENTS = [code for code in PRESETS if code not in FIRST_VIEW]
GROUPS = {
    "network": mark("Network"),
    "initialization": mark("Initialization"),
    "remedies": mark("Remedies"),
    "data": mark("Data and loss"),
}
CLOSED_GROUPS = ("data",)
SETTLES = 5.0  # seconds after which the browser has drawn what a run has sent; it loads each kind of widget first
HELD = ("field_", "setting_", "open_")  # how the keys of the sidebar's widgets begin
RARE = {"network": mark("Layer widths"), "initialization": mark("Biases")}
HELP = {
    "networks": mark("Number of random networks that are drawn and measured."),
    "seed": mark("The same seed draws the same networks."),
    "dtype": mark("Number format of the measured networks; statistics are always float64."),
    "sampler": mark(
        "Real weight matrices, or other networks of exactly the same law whose matrices are never formed: much faster "
        "where layers are wide, for Gaussian weights."
    ),
}
SAMPLER_LABELS = {"dense": mark("weight matrices"), "exact": mark("matrix-free, same law")}


@dataclass(frozen=True)
class Question:
    """What the sidebar says now; ``spec`` is None where a value is not allowed, and ``error`` says which."""

    spec: Spec | None
    settings: Settings
    error: SpecError | None = None


def ask(page: str = "") -> None:
    """Read the question off the address bar or the widgets, and write the address bar. Draws nothing.

    ``page`` is the page's address. Whatever the widgets hold is known before they are drawn, so a page can answer
    before the sidebar is drawn once more.
    """
    moved = state.page_changed(page)
    if state.url_changed(moved):
        spec, settings = state.read_url()
        load(spec)
        load_settings(settings)
        i18n.speak(settings.lang)
    elif moved:  # Streamlit gives some widgets back at their lowest value
        widgets.restore()
        load_settings(question().settings)
    _hold()
    settings = Settings(**{name: st.session_state[f"setting_{name}"] for name in state.READERS})
    spec, error = _read()
    if spec is not None:
        state.write_url(spec, settings)
        trail().note(spec)
    if error is not None and error.field in FIELDS and (part := part_of(FIELDS[error.field])):
        st.session_state[part] = True  # what is wrong must be seen
    st.session_state["question"] = Question(spec, settings, error)
    st.session_state["sidebar_due"] = True
    pictures.begin()


def _hold() -> None:
    """Set every widget once more to the value that it holds, until the browser surely has what was loaded.

    Streamlit sends a value that was set in the run that set it, or never; and of a run that is stopped before or just
    after it has drawn the sidebar nothing may arrive. The widgets of the next run would then come at their lowest
    values, and their values be lost.
    """
    if not st.session_state.get("unsettled"):
        return
    drawn = st.session_state.pop("sidebar_at", None)
    if drawn is not None and time.monotonic() - drawn >= SETTLES:
        st.session_state["unsettled"] = False
        return
    for key in st.session_state:
        if str(key).startswith(HELD):
            st.session_state[key] = st.session_state[key]


def _read() -> tuple[Spec | None, SpecError | None]:
    """The Spec that the widgets hold, or the first thing that is wrong; a text that is no value keeps the last one."""
    values = st.session_state["values"]
    error: SpecError | None = None
    for name, field in FIELDS.items():
        try:
            values[name] = widgets.value_of(field)
        except SpecError as caught:
            error = error or caught
    try:
        return (Spec(**values), None) if error is None else (None, error)
    except SpecError as caught:
        return None, caught


def sidebar() -> None:
    """Draw the controls: presets, fields by group, the measurement, and Reset. Once a run, however often called."""
    if st.session_state.pop("sidebar_due", None) is None:
        return
    asked = question()
    with st.sidebar, st.container(gap="xsmall"):
        desk.draw(asked.spec, asked.settings, load)
        _presets(asked.spec)
        _groups(asked.error)
        _measurement()
        st.button(t("Reset"), icon=theme.ICONS["reset"], on_click=_reset, width="stretch")
        languages()
        limits.draw()
    st.session_state["sidebar_at"] = time.monotonic()


def no_sidebar() -> None:
    """Draw no sidebar in this run: for a page that the network does not concern, with controls of its own."""
    st.session_state.pop("sidebar_due", None)
    st.session_state["languages_due"] = True


def languages() -> None:
    """Draw the choice of the language: under the sidebar, and at the foot of a page without one."""
    st.session_state["language_choice"] = i18n.language()
    st.segmented_control(
        t("Language"),
        list(i18n.LANGUAGES),
        format_func=i18n.name_of,
        key="language_choice",
        on_change=_speak,
        label_visibility="collapsed",
        required=True,
    )


def without_sidebar() -> bool:
    """Whether this page has no sidebar, so that its foot holds the rest; to be asked once a run."""
    return st.session_state.pop("languages_due", None) is not None


def _speak() -> None:
    """Callback: the link names a language only where that is not the browser's own."""
    code = st.session_state["language_choice"]
    st.session_state["setting_lang"] = "" if code == i18n.browsers() else code
    i18n.speak(code)


def question() -> Question:
    """What the sidebar asked in this run."""
    return st.session_state["question"]


def load(spec: Spec) -> None:
    """Set all fields to this Spec. Call it before the sidebar is drawn, or from a callback."""
    _unsettle()
    widgets.load(spec)
    for key, matters in _closed_parts().items():
        st.session_state[key] = matters


def _unsettle() -> None:
    st.session_state["unsettled"] = True
    st.session_state.pop("sidebar_at", None)


def load_settings(settings: Settings) -> None:
    """Set the measurement's widgets."""
    _unsettle()
    for name in state.READERS:
        st.session_state[f"setting_{name}"] = getattr(settings, name)


def _reset() -> None:
    load(Spec())
    load_settings(Settings(lang=st.session_state["setting_lang"], pin=st.session_state["setting_pin"]))
    state.dismiss_notices()


# --- presets -----------------------------------------------------------------------------------------------


def _presets(spec: Spec | None) -> None:
    """The three first-view presets, the numbered experiments, and the sentence of the one that shows."""
    shown = _shown_preset(spec)
    st.session_state["preset_first"] = shown if shown in FIRST_VIEW else None
    st.session_state["preset_experiment"] = shown if shown in EXPERIMENTS else None
    st.pills(
        t("Preset"),
        options=list(FIRST_VIEW),
        format_func=lambda code: t(FIRST_VIEW[code]),
        key="preset_first",
        on_change=_choose,
        args=("preset_first",),
        help=t("Three states of a ReLU network of 50 layers."),
    )
    st.selectbox(
        t("Experiment"),
        options=EXPERIMENTS,
        index=None,
        format_func=experiment_title,
        key="preset_experiment",
        on_change=_choose,
        args=("preset_experiment",),
        placeholder=t("choose one"),
        help=t("The classic experiments by their numbers: mostly 100 layers of 400 units and a batch of 16."),
    )
    if shown is not None:
        st.caption(t(PRESETS[shown].sentence))


def _shown_preset(spec: Spec | None) -> str | None:
    """The preset that is this Spec; the one chosen last where two are the same."""
    chosen = st.session_state.get("preset")
    alike = [code for code, preset in PRESETS.items() if preset.spec == spec]
    return chosen if chosen in alike else next(iter(alike), None)


def _choose(key: str) -> None:
    """Callback of a picker; its last choice cannot be taken back, only replaced."""
    code = st.session_state[key]
    if code is not None:
        st.session_state["preset"] = code
        load(PRESETS[code].spec)


def experiment_title(code: str) -> str:
    """The number and the title of a preset."""
    preset = PRESETS[code]
    return " ".join(part for part in (preset.experiment, t(preset.title)) if part)


# --- fields ------------------------------------------------------------------------------------------------


def _groups(error: SpecError | None) -> None:
    """All fields by group, and what is wrong under the field where it is."""
    for group in dict.fromkeys(field.group for field in FIELDS.values()):
        common, rare = _members(group, rare=False), _members(group, rare=True)
        title = t(GROUPS.get(group, group))
        if group in CLOSED_GROUPS:
            _closed_part(title, common + rare, error)
            continue
        st.markdown(f"**{title}**")
        _fields(common, error)
        if rare:
            _closed_part(t(RARE.get(group, mark("More"))), rare, error)


def _members(group: str, rare: bool) -> list[Field]:
    return [f for f in FIELDS.values() if f.group == group and control_of(f).rare == rare]


def part_of(field: Field) -> str:
    """The closed part that holds this field: its session key, which says whether it is open; "" where none does."""
    if field.group in CLOSED_GROUPS:
        return f"open_{field.group}"
    return f"open_{field.group}_rare" if control_of(field).rare else ""


def _closed_part(title: str, members: list[Field], error: SpecError | None) -> None:
    """Fields that are asked for more rarely. They are drawn only while the part is open: a page of fewer widgets is
    there sooner."""
    with st.expander(title, key=part_of(members[0]), on_change="rerun") as part:
        if part.open:
            if members[0].group == "network":
                widgets.width_list()
            _fields(members, error)


def _closed_parts() -> dict[str, bool]:
    """The session key of every closed part, and whether the loaded Spec says something there: then it opens."""
    values = st.session_state["values"]
    parts = {
        "open_network_rare": isinstance(values["width"], tuple),
        "open_data": values["norm"] == "batch",  # its statistics are taken over the batch there
    }
    for name, field in FIELDS.items():
        if part := part_of(field):
            parts[part] = parts.get(part, False) or (values[name] != field.default and widgets.active(field))
    return parts


def _fields(members: list[Field], error: SpecError | None) -> None:
    """Draw those of these fields that matter; two half-wide ones in a row share a line."""
    shown = [field for field in members if widgets.active(field)]
    while shown:
        pair = len(shown) > 1 and control_of(shown[0]).half and control_of(shown[1]).half
        line, shown = shown[: 1 + pair], shown[1 + pair :]
        if pair:
            for field, column in zip(line, st.columns(2, gap="small"), strict=True):
                with column:
                    widgets.draw(field)
        else:
            widgets.draw(line[0])
            control_of(line[0]).below(st.session_state["values"])
        if error is not None and error.field in [field.name for field in line]:
            st.error(spec_error_text(error), icon=theme.ICONS["error"])


def _measurement() -> None:
    """How many networks, which seed and number format."""
    with st.expander(t("Measurement"), key="open_measurement", on_change="rerun") as part:
        if not part.open:
            return
        helps = {name: widgets.with_default(t(text), str(getattr(Settings(), name))) for name, text in HELP.items()}
        left, right = st.columns(2)
        keep: dict[str, Any] = {"persist_state": "session"}
        number = {**keep, **widgets.KEPT}
        left.number_input(
            t("Networks"), 1, state.MAX_NETWORKS, step=8, key="setting_networks", help=helps["networks"], **number
        )
        right.number_input(t("Seed"), 0, 2**31 - 1, step=1, key="setting_seed", help=helps["seed"], **number)
        st.selectbox(t("Number format"), state.DTYPES, key="setting_dtype", help=helps["dtype"], **keep)
        st.selectbox(
            t("Measured with"),
            state.SAMPLERS,
            key="setting_sampler",
            format_func=lambda sampler: t(SAMPLER_LABELS[sampler]),
            help=helps["sampler"],
            **keep,
        )
