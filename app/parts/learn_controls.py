"""The controls of the page Learn: the list of lessons in the sidebar, and the numbers of the lesson that shows.

A widget's key is the setting of the same name (app/state.py), so the link holds what the widgets hold.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import streamlit as st

from app.i18n import mark, t
from app.widgets import KEPT
from gradcore.experiments.learn import LESSONS, PREFIX, LearnQuestion, place
from gradcore.experiments.learn.question import CHOICES, INTEGERS, NUMBERS

STAYS: dict[str, Any] = {"persist_state": "session"}
FIELD_MIN_WIDTH = 150  # px: two beside each other over the chart
LABELS = {  # field -> (label, help)
    "weight": (mark("Weight w"), mark("Of every neuron; biases are 0, the input is 0.5.")),
    "factors": (mark("Number of factors"), mark("How many neurons the gradient passes.")),
    "weight_std": (mark("Weight std σ"), mark("Weights are drawn from N(0, σ²).")),
    "width": (mark("Width n (fan_in)"), mark("Inputs of a unit.")),
    "fan_out": (mark("Outputs m (fan_out)"), mark("Units of the layer.")),
    "slope": (mark("Slope a below 0"), mark("Of a leaky ReLU; 0 is a ReLU, 1 is no activation at all.")),
    "activation": (mark("Activation φ"), mark("Drawn and predicted at torch's own gain where it has one.")),
    "sigma_w": (mark("Weight scale σ_w"), mark("std(W) √n.")),
    "sigma_b": (mark("Bias std σ_b"), mark("Biases are drawn from N(0, σ_b²).")),
    "batch": (mark("Batch size B"), mark("Samples over which batch norm takes its statistics.")),
    "depth": (mark("Depth L (layers)"), mark("Number of weight layers.")),
    "alpha": (mark("Residual scale α"), mark("Factor on what a layer adds to the stream.")),
    "forget_bias": (
        mark("Forget bias"),
        mark("Put into b_ih with b_hh at 0 there. Setting both of torch's biases to 1 is 2 here."),
    ),
    "threshold": (mark("Threshold c"), mark("Largest norm of the whole gradient.")),
}
STEP = {
    "factors": 5, "width": 100, "fan_out": 100, "batch": 4, "depth": 5, "weight": 1.0, "weight_std": 0.5, "slope": 0.1,
    "sigma_w": 0.1, "sigma_b": 0.05, "alpha": 0.1, "forget_bias": 0.5, "threshold": 1.0,
}  # fmt: skip


def key_of(name: str) -> str:
    """The session key of a field of the question."""
    return f"setting_{PREFIX}{name}"


def asked() -> LearnQuestion:
    """What the widgets hold."""
    return LearnQuestion(**{field.name: st.session_state[key_of(field.name)] for field in fields(LearnQuestion)})


def course() -> None:
    """The lessons in their order, in the sidebar: on a phone it is folded away, and Previous and Next lead on."""
    with st.sidebar:
        st.radio(
            t("The course"),
            list(LESSONS),
            format_func=lambda code: f"{place(code)}\u2002{t(LESSONS[code].title)}",
            key=key_of("lesson"),
            help=t("One idea each, in the order a course would take; every figure is computed as you read."),
            **STAYS,
        )


def turn(by: int) -> None:
    """Callback: so many lessons on."""
    codes = list(LESSONS)
    at = codes.index(st.session_state[key_of("lesson")]) + by
    st.session_state[key_of("lesson")] = codes[min(max(at, 0), len(codes) - 1)]


def draw(question: LearnQuestion) -> None:
    """The numbers of this lesson."""
    with st.grid(2, min_column_width=FIELD_MIN_WIDTH, gap="small"):
        for name in LESSONS[question.lesson].parameters:
            _field(name)


def _field(name: str) -> None:
    label, text = LABELS[name]
    common: dict[str, Any] = {"label": t(label), "help": t(text), "key": key_of(name), **STAYS}
    if name in CHOICES:
        st.selectbox(options=CHOICES[name], **common)
        return
    low, high = (INTEGERS if name in INTEGERS else NUMBERS)[name]
    more = {} if name in INTEGERS else {"format": "%.6g"}
    st.number_input(min_value=low, max_value=high, step=STEP[name], **more, **common, **KEPT)
