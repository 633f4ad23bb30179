"""The controls of the page Gates: its presets as buttons, the cell, and what is trained.

A widget's key is the setting of the same name (app/state.py), so the link holds what the widgets hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import streamlit as st

from app.i18n import mark, t
from app.widgets import KEPT
from gradcore.charts.gates import NAMES
from gradcore.experiments.gates import CHOICES, INTEGERS, NUMBERS, OPTIONAL, PREFIX, PRESETS, GatesQuestion, cells_text

STAYS: dict[str, Any] = {"persist_state": "session"}
PRESET_KEY, CELLS_KEY = "gates_preset", "gates_trained"
FIELD_MIN_WIDTH = 120  # px: six in a row on a desktop, two on a phone
LABELS = {  # field -> (label, help)
    "cell": (mark("Cell"), mark("torch.nn.RNN, LSTM or GRU, one layer.")),
    "hidden_size": (mark("Hidden size n"), mark("Units of the hidden state; theory is for many.")),
    "input_size": (
        mark("Input size d"),
        mark("Entries of the input of a step, N(0, 1). With torch's own law d / n is what counts."),
    ),
    "steps": (mark("Steps T"), mark("Length of the sequence; the gradient starts at the last step.")),
    "weight_scale": (mark("Weight scale"), mark("Factor on the recurrent weights.")),
    "forget_bias": (
        mark("Forget bias"),
        mark(
            "Of the LSTM's forget gate, put into b_ih with b_hh at 0 there. Setting both of torch's biases to 1 is 2 "
            "here. Empty: the law's own."
        ),
    ),
    "update_bias": (
        mark("Update bias"),
        mark("Of the GRU's update gate, put into b_ih; above 0 it keeps the state. Empty: the law's own."),
    ),
    "activation": (mark("Activation"), mark("Of the plain RNN.")),
    "init": (
        mark("Weight law"),
        mark(
            "default: torch's U(−1/√n, 1/√n); normal: W_h of variance 1/n; orthogonal: each gate's W_h orthogonal; the "
            "last two with W_i of variance 1/d and biases 0."
        ),
    ),
    "networks": (mark("Networks"), mark("How many random networks are measured.")),
    "seed": (mark("Seed"), mark("The same seed draws the same networks and sequences.")),
    "task": (
        mark("Task"),
        mark(
            "adding: the sum of two marked numbers, one in each half; copy: five symbols from the start, to be named "
            "in the last five steps."
        ),
    ),
    "units": (mark("Hidden size"), mark("Units of the trained cells.")),
    "length": (mark("Steps T"), mark("Length of the sequences; the copy task needs 11.")),
    "updates": (mark("Updates"), mark("Of Adam, on 32 new sequences each.")),
    "learning_rate": (mark("Learning rate"), mark("Of Adam.")),
    "clip_norm": (mark("Clip norm"), mark("Largest norm of the whole gradient. Empty: not clipped.")),
}
STEP = {
    "hidden_size": 64, "input_size": 16, "steps": 10, "networks": 2, "units": 16, "length": 10, "updates": 100,
    "weight_scale": 0.5, "forget_bias": 1.0, "update_bias": 1.0, "learning_rate": 0.005, "clip_norm": 0.5,
}  # fmt: skip
CELL = ("hidden_size", "input_size", "steps", "weight_scale", "forget_bias", "update_bias")
RARE = ("init", "activation", "networks", "seed")
TRAINED = ("task", "units", "length", "updates", "learning_rate", "clip_norm")
OF_ONE = {"forget_bias": "lstm", "update_bias": "gru", "activation": "rnn"}  # fields that one cell alone has


def key_of(name: str) -> str:
    """The session key of a field of the question."""
    return f"setting_{PREFIX}{name}"


def asked() -> GatesQuestion:
    """What the widgets hold."""
    return GatesQuestion(**{field.name: st.session_state[key_of(field.name)] for field in fields(GatesQuestion)})


def load(question: GatesQuestion) -> None:
    """Callback: set all widgets to this question."""
    for field in fields(GatesQuestion):
        st.session_state[key_of(field.name)] = getattr(question, field.name)


# --- presets --------------------------------------------------------------------------------------------------


def presets(question: GatesQuestion) -> None:
    """A button for each case, and the sentence of the one that shows."""
    shown = next((code for code, preset in PRESETS.items() if preset.question.spec == question.spec), None)
    st.session_state[PRESET_KEY] = shown
    with st.container(gap="xxsmall"):
        st.pills(
            t("Cases: press one"),
            options=list(PRESETS),
            format_func=lambda code: t(PRESETS[code].title),
            key=PRESET_KEY,
            on_change=_choose,
            help=t("Cells as they are initialized; what is trained below stays as it is."),
        )
        if shown is not None:
            st.caption(t(PRESETS[shown].sentence))


def _choose() -> None:
    """Callback of the buttons; pressing the one that shows changes nothing."""
    code = st.session_state[PRESET_KEY]
    if code is None:
        return
    preset = PRESETS[code].question
    for name in ("cell", *CELL, "init", "activation"):
        st.session_state[key_of(name)] = getattr(preset, name)


# --- fields ---------------------------------------------------------------------------------------------------


def draw(question: GatesQuestion) -> None:
    """The fields of the cell and of the measurement."""
    with st.container(border=True), st.grid(6, min_column_width=FIELD_MIN_WIDTH, gap="small"):
        _pills("cell")
        for name in (*CELL, *RARE):
            _field(name, disabled=OF_ONE.get(name, question.cell) != question.cell)


def training(question: GatesQuestion) -> None:
    """The fields of the training."""
    st.session_state[CELLS_KEY] = question.cells.split(",")
    st.pills(
        t("Cells to train, side by side"),
        list(NAMES),
        selection_mode="multi",
        format_func=NAMES.__getitem__,
        key=CELLS_KEY,
        on_change=_choose_cells,
        help=t("With the weight law, scale and biases from above."),
    )
    with st.grid(6, min_column_width=FIELD_MIN_WIDTH, gap="small"):
        for name in TRAINED:
            _field(name)


def _choose_cells() -> None:
    """Callback; the last cell cannot be taken away."""
    codes = cells_text(st.session_state[CELLS_KEY])
    if codes:
        st.session_state[key_of("cells")] = codes


def _field(name: str, disabled: bool = False) -> None:
    kind = next(kind for table, kind in KINDS if name in table)
    kind(name, disabled=disabled)


def _common(name: str) -> dict[str, Any]:
    label, text = LABELS[name]
    return {"label": t(label), "help": t(text), "key": key_of(name), **STAYS}


def _whole(name: str, disabled: bool) -> None:
    low, high = INTEGERS[name]
    st.number_input(min_value=low, max_value=high, step=STEP.get(name, 1), disabled=disabled, **_common(name), **KEPT)


def _real(name: str, disabled: bool) -> None:
    low, high = NUMBERS[name]
    more: dict[str, Any] = {"step": STEP[name], "format": "%.6g", **KEPT}
    st.number_input(min_value=low, max_value=high, disabled=disabled, **_common(name), **more)


def _optional(name: str, disabled: bool) -> None:
    low, high = OPTIONAL[name]
    more: dict[str, Any] = {"step": STEP[name], "format": "%.6g", "value": None, "placeholder": t("none set")}
    st.number_input(min_value=low, max_value=high, disabled=disabled, **_common(name), **more)


def _choice(name: str, disabled: bool) -> None:
    st.selectbox(options=CHOICES[name], disabled=disabled, **_common(name))


def _pills(name: str) -> None:
    st.pills(options=CHOICES[name], format_func=NAMES.__getitem__, required=True, **_common(name))


KINDS: tuple[tuple[Any, Callable[..., None]], ...] = (
    (INTEGERS, _whole),
    (NUMBERS, _real),
    (OPTIONAL, _optional),
    (CHOICES, _choice),
)
