"""The sidebar: one widget per field of gradcore.fields.FIELDS, and the settings of the measurement.

A field without an entry in ``CONTROLS`` still gets a widget (its choices, or its text). Widgets have keys of their
own; ``session_state["values"]`` keeps each field's value also while its widget is hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from app import state, theme
from app.i18n import mark, spec_error_text, t
from app.state import Settings
from gradcore.codec import read_value
from gradcore.errors import SpecError
from gradcore.fields import FIELDS, Field
from gradcore.spec import Spec

try:
    from gradcore.presets import PRESETS
except ImportError:  # the picker appears as soon as there are presets
    PRESETS = {}

Values = dict[str, Any]
NUMBER = "number"


@dataclass(frozen=True)
class Control:
    """How one field is asked for: ``kind`` picks the widget, ``words`` are values beside the number, ``active``
    tells from the values above it whether the field matters, ``more`` puts it under "More"."""

    label: str
    kind: str = "text"
    low: float | int | None = None
    high: float | int | None = None
    step: float | int | None = None
    words: tuple[str, ...] = ()
    active: Callable[[Values], bool] = lambda values: True
    more: bool = False


def _normalized(values: Values) -> bool:
    return values["norm"] != "none"


CONTROLS: dict[str, Control] = {
    "depth": Control(mark("Depth (layers)"), "slider", 1, 500, 1),
    "width": Control(mark("Width (units per layer)"), "widths", 1, 10**9, 32),
    "input_width": Control(mark("Input width"), "optional_int", 1, 10**9, 1, more=True),
    "activation": Control(mark("Activation"), "choice"),
    "negative_slope": Control(
        mark("Negative slope"),
        "optional_number",
        -1000.0,
        1000.0,
        0.05,
        active=lambda values: values["activation"] in ("leaky_relu", "prelu"),
    ),
    "init": Control(mark("Weight initializer"), "choice"),
    "gain": Control(mark("Gain"), "number", 0.0, 1e30, 0.05, words=("auto", "critical")),
    "sparsity": Control(mark("Sparsity"), "number", 0.0, 1.0, 0.05, active=lambda values: values["init"] == "sparse"),
    "bias_std": Control(mark("Bias std"), "number", 0.0, 1e30, 0.05, words=("default",), more=True),
    "norm": Control(mark("Normalization"), "choice"),
    "norm_position": Control(mark("Position of the norm"), "choice", active=_normalized),
    "norm_gamma": Control(mark("Norm scale γ"), "number", -1e6, 1e6, 0.1, active=_normalized, more=True),
    "norm_beta": Control(mark("Norm shift β"), "number", -1e6, 1e6, 0.1, active=_normalized, more=True),
    "norm_eps": Control(mark("Norm ε"), "number", 0.0, 1e6, 1e-5, active=_normalized, more=True),
    "residual": Control(mark("Residual connections"), "choice"),
    "residual_scale": Control(
        mark("Residual scale α"),
        "number",
        -1e6,
        1e6,
        0.05,
        words=("1/sqrt(L)",),
        active=lambda values: values["residual"] != "none",
    ),
    "batch_size": Control(mark("Batch size"), "int", 1, 10**6, 1),
    "input": Control(mark("Input"), "choice"),
    "input_rms": Control(mark("Input RMS"), "number", 1e-30, 1e30, 0.1),
    "input_correlation": Control(
        mark("Correlation between inputs"),
        "number",
        0.0,
        1.0,
        0.05,
        active=lambda values: values["input"] == "gaussian",
    ),
    "loss": Control(mark("Loss"), "choice"),
}
GROUPS = {
    "network": mark("Network"),
    "initialization": mark("Initialization"),
    "remedies": mark("Remedies"),
    "data": mark("Data and loss"),
}
OPEN_GROUPS = ("network", "initialization", "remedies")
HELP = {
    "networks": mark("how many random networks are drawn and measured"),
    "seed": mark("the same seed draws the same networks"),
    "dtype": mark("number format of the measured networks; statistics are always float64"),
}


def control_of(field: Field) -> Control:
    """The control of a field; one without an entry is asked for by its choices or as text."""
    known = CONTROLS.get(field.name)
    if known is not None:
        return known
    return Control(field.name.replace("_", " ").capitalize(), "choice" if field.choices else "text")


def key_of(name: str, part: str = "") -> str:
    """The session key of a field's widget (a field may have two)."""
    return f"field_{name}_{part}" if part else f"field_{name}"


# --- values <-> widgets ------------------------------------------------------------------------------------


def _widget_state(control: Control, name: str, value: Any) -> Values:
    """What the widgets of a field hold when the field has this value."""
    key = key_of(name)
    if control.kind == "widths":
        several = isinstance(value, tuple)
        one = max(value) if several else value
        return {key: one, key_of(name, "list"): ", ".join(map(str, value)) if several else ""}
    if control.words:
        word = value if isinstance(value, str) else NUMBER
        number = {} if isinstance(value, str) else {key: value}
        return {key_of(name, "mode"): word, **number}
    return {key: value if control.kind != "text" else FIELDS[name].write(value)}


def load(spec: Spec) -> None:
    """Set all widgets to this Spec. Call it before the widgets are drawn, or from a callback."""
    values = {name: getattr(spec, name) for name in FIELDS}
    st.session_state["values"] = values
    st.session_state["depth_limit"] = max(int(CONTROLS["depth"].high or 1), spec.depth)
    for name, field in FIELDS.items():
        for key, value in _widget_state(control_of(field), name, values[name]).items():
            st.session_state[key] = value


def load_settings(settings: Settings) -> None:
    """Set the measurement's widgets."""
    for name in state.READERS:
        st.session_state[f"setting_{name}"] = getattr(settings, name)


# --- widgets -----------------------------------------------------------------------------------------------


def _restore(name: str) -> None:
    """A widget that was hidden has lost its state: give it the field's value back."""
    for key, value in _widget_state(control_of(FIELDS[name]), name, st.session_state["values"][name]).items():
        st.session_state.setdefault(key, value)


def _draw(field: Field) -> Any:
    """The widgets of one field; returns its value."""
    _restore(field.name)
    control = control_of(field)
    return WIDGETS[control.kind](field, control, {"label": t(control.label), "help": _sentence(t(field.help))})


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _bounds(control: Control) -> dict[str, Any]:
    return {"min_value": control.low, "max_value": control.high, "step": control.step}


def _slider(field: Field, control: Control, texts: dict[str, str]) -> int:
    limits = {**_bounds(control), "max_value": st.session_state["depth_limit"]}
    return st.slider(**texts, **limits, key=key_of(field.name))


def _int(field: Field, control: Control, texts: dict[str, str]) -> int:
    return st.number_input(**texts, **_bounds(control), key=key_of(field.name))


def _optional(field: Field, control: Control, texts: dict[str, str]) -> Any:
    number = {"format": "%.6g"} if control.kind == "optional_number" else {}
    return st.number_input(**texts, **_bounds(control), **number, key=key_of(field.name), placeholder=t("default"))


def _choice(field: Field, control: Control, texts: dict[str, str]) -> str:
    return st.selectbox(**texts, options=field.choices, key=key_of(field.name))


def _number(field: Field, control: Control, texts: dict[str, str]) -> Any:
    key = key_of(field.name)
    if not control.words:
        return st.number_input(**texts, **_bounds(control), format="%.6g", key=key)
    mode = st.pills(
        **texts,
        options=(NUMBER, *control.words),
        key=key_of(field.name, "mode"),
        required=True,
        format_func=lambda word: t("number") if word == NUMBER else word,
    )
    if mode != NUMBER:
        return mode
    st.session_state.setdefault(key, FIELDS[field.name].default)
    return st.number_input(
        texts["label"],
        **_bounds(control),
        format="%.6g",
        key=key,
        label_visibility="collapsed",
    )


def _widths(field: Field, control: Control, texts: dict[str, str]) -> Any:
    several = st.session_state[key_of(field.name, "list")].strip()
    one = st.number_input(**texts, **_bounds(control), key=key_of(field.name), disabled=bool(several))
    return read_value(field.name, several.replace(" ", "")) if several else one


def _width_list() -> None:
    """The second widget of the width: one number per layer."""
    st.text_input(
        t("Widths, one per layer"),
        key=key_of("width", "list"),
        placeholder=t("the same everywhere"),
        help=t("As many numbers as layers, separated by commas. Empty: the width above, in every layer."),
    )


def _text(field: Field, control: Control, texts: dict[str, str]) -> Any:
    return read_value(field.name, st.text_input(**texts, key=key_of(field.name), placeholder=""))


WIDGETS: dict[str, Callable[[Field, Control, dict[str, str]], Any]] = {
    "slider": _slider,
    "int": _int,
    "optional_int": _optional,
    "optional_number": _optional,
    "choice": _choice,
    "number": _number,
    "widths": _widths,
    "text": _text,
}


# --- the sidebar -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Question:
    """What the sidebar says now; ``spec`` is None where a value is not allowed, and ``error`` says which."""

    spec: Spec | None
    settings: Settings
    error: SpecError | None = None


def sidebar() -> None:
    """Draw the controls, keep the question for the page, and write the address bar."""
    if state.url_changed():
        spec, settings = state.read_url()
        load(spec)
        load_settings(settings)
    with st.sidebar:
        if PRESETS:
            _preset_picker()
        slots, error = _groups()
        settings = _measurement()
        st.button(t("Reset"), icon=theme.ICONS["reset"], on_click=load, args=(Spec(),), width="stretch")
    spec = None
    if error is None:
        try:
            spec = Spec(**st.session_state["values"])
        except SpecError as caught:
            error = caught
    if error is not None:
        slots.get(error.field, st.sidebar).error(spec_error_text(error), icon=theme.ICONS["error"])
    if spec is not None:
        state.write_url(spec, settings)
    st.session_state["question"] = Question(spec, settings, error)


def question() -> Question:
    """What the sidebar asked in this run."""
    return st.session_state["question"]


def _groups() -> tuple[dict[str, Any], SpecError | None]:
    """All fields by group, the rarer ones under "More"; the slot under each for its error, and the first error."""
    slots: dict[str, Any] = {}
    errors = []
    closed = []
    for group in dict.fromkeys(field.group for field in FIELDS.values()):
        members = [f for f in FIELDS.values() if f.group == group and not control_of(f).more]
        if group in OPEN_GROUPS:
            st.markdown(f"**{t(GROUPS[group])}**")
            errors.append(_fields(members, slots))
        else:
            closed.append((t(GROUPS.get(group, group)), members))
    with st.expander(t("More")):
        _width_list()
        errors.append(_fields([f for f in FIELDS.values() if control_of(f).more], slots))
    for title, members in closed:
        with st.expander(title):
            errors.append(_fields(members, slots))
    return slots, next((error for error in errors if error is not None), None)


def _active(field: Field) -> bool:
    return control_of(field).active(st.session_state["values"])


def _fields(members: list[Field], slots: dict[str, Any]) -> SpecError | None:
    error: SpecError | None = None
    for field in members:
        if not _active(field):
            continue
        try:
            value = _draw(field)
            if value is not None or field.default is None:  # an emptied number keeps its last value
                st.session_state["values"][field.name] = value
        except SpecError as caught:
            error = error or caught
        slots[field.name] = st.container()
    return error


def _preset_picker() -> None:
    """Named questions; choosing one sets all fields."""

    def choose() -> None:
        code = st.session_state["preset"]
        if code is not None:
            load(PRESETS[code].spec)

    current = st.session_state.get("preset")
    if current is not None and PRESETS[current].spec != _current_spec():
        st.session_state["preset"] = current = None
    st.selectbox(
        t("Start from"),
        options=list(PRESETS),
        index=None,
        format_func=lambda code: t(PRESETS[code].title),
        key="preset",
        on_change=choose,
        placeholder=t("a preset"),
    )
    if current is not None:
        st.caption(t(PRESETS[current].sentence))


def _current_spec() -> Spec | None:
    asked = st.session_state.get("question")
    return asked.spec if asked is not None else None


def _measurement() -> Settings:
    """How many networks, which seed and number format."""
    with st.expander(t("Measurement"), expanded=False):
        networks = st.number_input(
            t("Networks"),
            1,
            state.MAX_NETWORKS,
            step=8,
            key="setting_networks",
            help=_sentence(t(HELP["networks"])),
        )
        seed = st.number_input(t("Seed"), 0, 2**31 - 1, step=1, key="setting_seed", help=_sentence(t(HELP["seed"])))
        dtype = st.selectbox(t("Number format"), state.DTYPES, key="setting_dtype", help=_sentence(t(HELP["dtype"])))
    shown = {name: st.session_state[f"setting_{name}"] for name in ("moment", "statistic")}
    return replace(Settings(), networks=networks, seed=seed, dtype=dtype, **shown)
