"""The controls of the page Remedies: its presets as buttons, what is looked at, and the fields of the runs.

A widget's key is the setting of the same name (app/state.py), so the link holds what the widgets hold.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import streamlit as st

from app import controls
from app.i18n import mark, t
from app.widgets import KEPT
from gradcore.experiments.board_remedies import BOARD
from gradcore.experiments.remedies_question import (
    CHOICES,
    INTEGERS,
    NUMBERS,
    PREFIX,
    PRESETS,
    RemediesQuestion,
    codes_text,
)
from gradcore.spec import Spec

STAYS: dict[str, Any] = {"persist_state": "session"}
PRESET_KEY = "remedies_preset"
FIELD_MIN_WIDTH = 130  # px: eight in a row on a desktop, two on a phone
VIEW_LABELS = {
    "board": mark("Board: 4.2 to 4.5, 4.8"),
    "clipping": mark("Clipping: 4.1"),
    "penalties": mark("Weight penalties: 4.7"),
}
LABELS = {  # field -> (label, help)
    "hidden": (mark("Hidden layers"), mark("Layers between input and output.")),
    "width": (mark("Units per layer"), mark("Units in every hidden layer.")),
    "activation": (mark("Activation"), mark("After every hidden layer.")),
    "weights": (mark("Weights"), mark("scaled: N(0, 1/fan_in); standard: N(0, 1). Biases start at 0.")),
    "cost": (mark("Cost"), mark("Of the outputs, mean over the items of a step.")),
    "rate": (mark("Learning rate"), mark("Of plain gradient descent.")),
    "batch": (mark("Items a step"), mark("Of the first 1000 digits; full: all of them in every step.")),
    "steps": (mark("Steps"), mark("Updates of the weights.")),
    "seed": (mark("Seed"), mark("Of the weights and of the order of the items.")),
    "clip": (
        mark("Clipping"),
        mark("By a norm of all gradients together, 1, 2 or largest entry, or every entry by its value."),
    ),
    "penalty": (
        mark("Penalty"),
        mark("l1: λ Σ |w|; l2: (λ/2) Σ w², what optimizers call weight decay; l2_norm: λ √(Σ w²), the plain norm."),
    ),
    "strength": (mark("λ"), mark("Strength of the penalty.")),
}
STEP = {"hidden": 1, "width": 5, "steps": 50, "seed": 1, "rate": 0.001, "strength": 0.005}
RUN = ("hidden", "width", "activation", "weights", "cost", "rate", "batch", "steps", "seed")


def key_of(name: str) -> str:
    """The session key of a field of the question."""
    return f"setting_{PREFIX}{name}"


def asked() -> RemediesQuestion:
    """What the widgets hold."""
    return RemediesQuestion(**{entry.name: st.session_state[key_of(entry.name)] for entry in fields(RemediesQuestion)})


def put(name: str, value: Any) -> None:
    """Callback: set one field."""
    st.session_state[key_of(name)] = value


def switch(codes: Iterable[str], code: str) -> None:
    """Callback of a remedy's switch: on or off; another one of the same slot goes off."""
    kept = [one for one in codes if one != code]
    if code not in codes:
        kept = [one for one in kept if BOARD[one].slot != BOARD[code].slot] + [code]
    put("on", codes_text(kept))


# --- presets and views ----------------------------------------------------------------------------------------


def shown_preset(question: RemediesQuestion, spec: Spec | None) -> str | None:
    """The preset that shows; the network counts on the board alone."""
    alike = (preset for preset in PRESETS.values() if preset.question == question)
    return next((one.code for one in alike if question.view != "board" or one.spec == spec), None)


def presets(question: RemediesQuestion, spec: Spec | None = None) -> None:
    """What is looked at; a button for each row of section 4, and the sentence of the one that shows."""
    shown = shown_preset(question, spec)
    st.session_state[PRESET_KEY] = shown
    with st.container(gap="xxsmall"):
        st.segmented_control(
            t("What is looked at"),
            options=list(VIEW_LABELS),
            format_func=lambda view: t(VIEW_LABELS[view]),
            key=key_of("view"),
            required=True,
            label_visibility="collapsed",
            help=t("Remedies of the network before training; and the two that act in training."),
            **STAYS,
        )
        st.pills(
            t("Experiments: press one"),
            options=list(PRESETS),
            format_func=lambda code: f"{PRESETS[code].experiment} {t(PRESETS[code].title)}",
            key=PRESET_KEY,
            on_change=_choose,
            label_visibility="collapsed",
            help=t("Each loads its network and switches its remedy on. 4.6 is the page Gates."),
        )
        if shown is not None:
            st.caption(t(PRESETS[shown].sentence))


def _choose() -> None:
    """Callback of the buttons; pressing the one that shows changes nothing."""
    code = st.session_state[PRESET_KEY]
    if code is None:
        return
    preset = PRESETS[code]
    if preset.question.view == "board":
        controls.load(preset.spec)
    for entry in fields(RemediesQuestion):
        put(entry.name, getattr(preset.question, entry.name))


# --- fields ---------------------------------------------------------------------------------------------------


def draw(first: tuple[str, ...]) -> None:
    """The fields of the view, then those of the run."""
    with st.container(border=True), st.grid(8, min_column_width=FIELD_MIN_WIDTH, gap="small"):
        for name in (*first, *RUN):
            _field(name)


def _field(name: str) -> None:
    label, text = LABELS[name]
    common: dict[str, Any] = {"label": t(label), "help": t(text), "key": key_of(name), **STAYS}
    if name in CHOICES:
        st.selectbox(options=CHOICES[name], **common)
        return
    low, high = (INTEGERS | NUMBERS)[name]
    real: dict[str, Any] = {"format": "%.6g"} if name in NUMBERS else {}
    st.number_input(min_value=low, max_value=high, step=STEP[name], **real, **common, **KEPT)
