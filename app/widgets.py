"""One control per field of ``gradcore.fields.FIELDS``: the table of what is asked how, and the widgets that ask it.

A field without an entry in ``CONTROLS`` still gets a widget (its choices, or its text). Widgets have keys of their
own; ``session_state["values"]`` keeps each field's value also while its widget is hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from app import digits
from app.i18n import mark, t
from gradcore.codec import read_value
from gradcore.fields import FIELDS, Field
from gradcore.spec import Spec

Values = dict[str, Any]
NUMBER = "number"
KEPT: dict[str, Any] = {"required": True}  # of an emptied number, the last one stays in force


@dataclass(frozen=True)
class Control:
    """How one field is asked for.

    ``kind`` picks the widget and ``words`` are values beside the number. ``help`` says what the field is and in what
    unit (the default is added). ``active`` tells from all values whether the field matters; ``rare`` puts it into its
    group's closed part; two ``half`` ones in a row share a line. ``below`` draws something under the widget.
    """

    label: str
    help: str
    kind: str = "text"
    low: float | int | None = None
    high: float | int | None = None
    step: float | int | None = None
    words: tuple[str, ...] = ()
    active: Callable[[Values], bool] = lambda values: True
    rare: bool = False
    half: bool = False
    below: Callable[[Values], None] = lambda values: None


def _normalized(values: Values) -> bool:
    return values["norm"] != "none"


def _glimpse(values: Values) -> None:
    if values["input"] == "digits":
        digits.glimpse(values["batch_size"])


CONTROLS: dict[str, Control] = {
    "depth": Control(
        mark("Depth (layers)"), mark("Number L of weight layers; the last one is the output."), "slider", 1, 500, 1
    ),
    "width": Control(
        mark("Width (units per layer)"),
        mark("Number of units in every layer. Theory takes any; a measurement needs memory for its square."),
        "widths",
        1,
        10**9,
        32,
    ),
    "input_width": Control(
        mark("Input width (features)"),
        mark("Features of one input: the fan-in of layer 1. Empty: as many as layer 1 has units, 64 for digits."),
        "optional_int",
        1,
        10**9,
        1,
        rare=True,
    ),
    "activation": Control(
        mark("Activation"), mark("The function φ after each layer but the last, with torch's own parameters."), "choice"
    ),
    "negative_slope": Control(
        mark("Negative slope"),
        mark("Slope of the activation below zero. Empty: torch's own, 0.01 for leaky_relu and 0.25 for prelu."),
        "optional_number",
        -1000.0,
        1000.0,
        0.05,
        active=lambda values: values["activation"] in ("leaky_relu", "prelu"),
    ),
    "init": Control(
        mark("Weight initializer"),
        mark("The law that the weights are drawn from, by torch's own function; linear_default is that of nn.Linear."),
        "choice",
    ),
    "gain": Control(
        mark("Gain"),
        mark(
            "Factor g on the weights. auto: torch's calculate_gain for the activation; critical: the one at which "
            "a gradient keeps its size."
        ),
        "number",
        0.0,
        1e30,
        0.05,
        words=("auto", "critical"),
    ),
    "sparsity": Control(
        mark("Sparsity (share of zeros)"),
        mark("Share of the weights in each column that are zero, from 0 to 1."),
        "number",
        0.0,
        1.0,
        0.05,
        active=lambda values: values["init"] == "sparse",
    ),
    "bias_std": Control(
        mark("Bias std"),
        mark("Standard deviation of the biases, drawn from a normal law; default: nn.Linear's own uniform law."),
        "number",
        0.0,
        1e30,
        0.05,
        words=("default",),
        rare=True,
    ),
    "norm": Control(
        mark("Normalization"),
        mark(
            "torch's module in training mode. batch: each unit over the batch; layer: each sample over its units; "
            "rms: the same without taking off the mean."
        ),
        "pills",
    ),
    "norm_position": Control(
        mark("Position of the norm"), mark("Before the activation or after it."), "pills", active=_normalized
    ),
    "norm_gamma": Control(
        mark("Scale γ"),
        mark("Factor on the normalized values."),
        "number",
        -1e6,
        1e6,
        0.1,
        active=_normalized,
        half=True,
    ),
    "norm_beta": Control(
        mark("Shift β"),
        mark("Added to the normalized values; an rms norm has none."),
        "number",
        -1e6,
        1e6,
        0.1,
        active=_normalized,
        half=True,
    ),
    "norm_eps": Control(
        mark("Norm ε"),
        mark("Added to the variance (the mean square for rms) before the root, in the signal's unit squared."),
        "number",
        0.0,
        1e6,
        1e-5,
        active=_normalized,
    ),
    "residual": Control(
        mark("Residual connections"),
        mark(
            "How a layer's output joins the stream h. identity: h + α (W φ(h) + b); post_activation: h + α φ(W h + b); "
            "two_layer: h + α (W₂ φ(W₁ φ(h)) + b), two weight layers a block; resnet_v1: φ(h + α (W h + b))."
        ),
        "choice",
    ),
    "residual_scale": Control(
        mark("Residual scale α"),
        mark("Factor on what a layer adds to the stream. 1/sqrt(L): L is the depth."),
        "number",
        -1e6,
        1e6,
        0.05,
        words=("1/sqrt(L)",),
        active=lambda values: values["residual"] != "none",
    ),
    "batch_size": Control(mark("Batch size"), mark("Number B of samples in the batch."), "int", 1, 10**6, 1),
    "input": Control(
        mark("Input"),
        mark(
            "gaussian: normal numbers, drawn anew for each network; digits: scikit-learn's handwritten digits, "
            "the same for all networks."
        ),
        "pills",
        below=_glimpse,
    ),
    "input_rms": Control(
        mark("Input RMS"),
        mark("Root mean square of the input's entries; each digit is rescaled to it."),
        "number",
        1e-30,
        1e30,
        0.1,
    ),
    "input_correlation": Control(
        mark("Correlation between inputs"),
        mark("Correlation c of any two inputs of the batch, from 0 to 1."),
        "number",
        0.0,
        1.0,
        0.05,
        active=lambda values: values["input"] == "gaussian",
    ),
    "loss": Control(
        mark("Loss"),
        mark(
            "What sends the gradient back. random: normal numbers at the output, independent of all else; mse: with "
            "target 0; cross_entropy: with random labels."
        ),
        "choice",
    ),
}


def control_of(field: Field) -> Control:
    """The control of a field; one without an entry is asked for by its choices or as text."""
    known = CONTROLS.get(field.name)
    if known is not None:
        return known
    label = field.name.replace("_", " ").capitalize()
    return Control(label, field.help[:1].upper() + field.help[1:] + ".", "choice" if field.choices else "text")


def key_of(name: str, part: str = "") -> str:
    """The session key of a field's widget (a field may have two)."""
    return f"field_{name}_{part}" if part else f"field_{name}"


def help_text(field: Field) -> str:
    """What the field is, its unit and its default (where that is None, the text says what it means)."""
    text = t(control_of(field).help)
    return text if field.default is None else with_default(text, field.write(field.default))


def with_default(text: str, default: str) -> str:
    """This help, and the default after it."""
    return f"{text} {t('Default: {value}.', value=default)}"


# --- values <-> widgets ------------------------------------------------------------------------------------


def _widget_state(control: Control, name: str, value: Any) -> Values:
    """What the widgets of a field hold when the field has this value."""
    key = key_of(name)
    if control.kind == "widths":
        several = isinstance(value, tuple)
        one = max(value) if several else value
        text = FIELDS[name].write(value).replace(",", ", ").strip() if several else ""  # of a single one "4,"
        return {key: one, key_of(name, "list"): text}
    if control.words:
        word = value if isinstance(value, str) else NUMBER
        number = {} if isinstance(value, str) else {key: value}
        return {key_of(name, "mode"): word, **number}
    return {key: value if control.kind != "text" else FIELDS[name].write(value)}


def load(spec: Spec) -> None:
    """Set all widgets to this Spec. Call it before the widgets are drawn, or from a callback."""
    st.session_state["values"] = {name: getattr(spec, name) for name in FIELDS}
    st.session_state["depth_limit"] = max(int(CONTROLS["depth"].high or 1), spec.depth)
    restore()


def restore() -> None:
    """Set all widgets to the values that the fields had last."""
    for name, field in FIELDS.items():
        for key, value in _widget_state(control_of(field), name, st.session_state["values"][name]).items():
            st.session_state[key] = value


def value_of(field: Field) -> Any:
    """The value that the widgets of a field hold, before they are drawn; the last one where they are hidden. Raises
    SpecError where a text is not a value."""
    control, held = control_of(field), st.session_state
    key, mode = key_of(field.name), key_of(field.name, "mode")
    last = held["values"][field.name]
    if key not in held and mode not in held:
        return last
    if control.kind == "text":
        return read_value(field.name, held[key])
    if control.kind == "widths" and (several := held[key_of(field.name, "list")].strip()):
        return read_value(field.name, several.replace(" ", ""))
    if control.words and held[mode] != NUMBER:
        return held[mode]
    if key in held:
        return held[key]
    return field.default if isinstance(last, (str, tuple)) else last  # a number again after a word or a list


def active(field: Field) -> bool:
    """Whether the field matters beside the others' values."""
    return control_of(field).active(st.session_state["values"])


# --- widgets -----------------------------------------------------------------------------------------------


def draw(field: Field) -> None:
    """The widgets of one field."""
    control = control_of(field)
    state = _widget_state(control, field.name, st.session_state["values"][field.name])
    for key, value in state.items():  # a widget that was hidden has lost its state
        st.session_state.setdefault(key, value)
    WIDGETS[control.kind](field, control, {"label": t(control.label), "help": help_text(field)})


def _bounds(control: Control) -> dict[str, Any]:
    return {"min_value": control.low, "max_value": control.high, "step": control.step}


def _slider(field: Field, control: Control, texts: dict[str, str]) -> None:
    limits = {**_bounds(control), "max_value": st.session_state["depth_limit"]}
    st.slider(**texts, **limits, key=key_of(field.name))


def _int(field: Field, control: Control, texts: dict[str, str]) -> None:
    st.number_input(**texts, **_bounds(control), **KEPT, key=key_of(field.name))


def _optional(field: Field, control: Control, texts: dict[str, str]) -> None:
    number = {"format": "%.6g"} if control.kind == "optional_number" else {}
    st.number_input(**texts, **_bounds(control), **number, value=None, key=key_of(field.name), placeholder=t("default"))


def _choice(field: Field, control: Control, texts: dict[str, str]) -> None:
    st.selectbox(**texts, options=field.choices, key=key_of(field.name))


def _pills(field: Field, control: Control, texts: dict[str, str]) -> None:
    st.pills(**texts, options=field.choices, key=key_of(field.name), required=True)


def _number(field: Field, control: Control, texts: dict[str, str]) -> None:
    key = key_of(field.name)
    if not control.words:
        st.number_input(**texts, **_bounds(control), **KEPT, format="%.6g", key=key)
        return
    mode = st.pills(
        **texts,
        options=(NUMBER, *control.words),
        key=key_of(field.name, "mode"),
        required=True,
        format_func=lambda word: t("number") if word == NUMBER else word,
    )
    if mode == NUMBER:
        st.number_input(
            texts["label"], **_bounds(control), **KEPT, format="%.6g", key=key, label_visibility="collapsed"
        )


def _widths(field: Field, control: Control, texts: dict[str, str]) -> None:
    several = bool(st.session_state[key_of(field.name, "list")].strip())
    st.number_input(**texts, **_bounds(control), **KEPT, key=key_of(field.name), disabled=several)


def width_list() -> None:
    """The second widget of the width: one number per layer."""
    st.text_input(
        t("Widths (units), one per layer"),
        key=key_of("width", "list"),
        persist_state="session",  # the width beside it asks what it holds
        placeholder=t("the same everywhere"),
        help=t("As many numbers as layers, separated by commas. Empty: the width above, in every layer."),
    )


def _text(field: Field, control: Control, texts: dict[str, str]) -> None:
    st.text_input(**texts, key=key_of(field.name), placeholder="")


WIDGETS: dict[str, Callable[[Field, Control, dict[str, str]], None]] = {
    "slider": _slider,
    "int": _int,
    "optional_int": _optional,
    "optional_number": _optional,
    "choice": _choice,
    "pills": _pills,
    "number": _number,
    "widths": _widths,
    "text": _text,
}
