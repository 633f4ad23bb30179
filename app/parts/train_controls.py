"""The controls of the page Train: its experiments as buttons, the network and how it is trained, and the remedy.

A widget's key is the setting of the same name (app/state.py), so the link holds what the widgets hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from app.i18n import mark, t
from app.parts import train_state
from app.parts.train_state import key_of
from app.widgets import KEPT
from gradcore.activations import ACTIVATIONS
from gradcore.experiments import train_question as limits
from gradcore.experiments.costs import COSTS
from gradcore.experiments.train_question import PRESETS, TrainQuestion
from gradcore.experiments.train_spec import CLIPS, NIELSEN_WEIGHTS, OPTIMIZERS

STAYS: dict[str, Any] = {"persist_state": "session"}
PRESET_KEY = "train_preset"
FIELD_MIN_WIDTH = 140  # px: seven in a row on a desktop, two on a phone


@dataclass(frozen=True)
class Choice:
    """A field with a list of codes."""

    name: str
    label: str
    help: str
    options: tuple[str, ...]
    active: Callable[[TrainQuestion], bool] = lambda question: True


@dataclass(frozen=True)
class Number:
    """A field with a number; ``active`` tells whether it matters."""

    name: str
    label: str
    help: str
    bounds: tuple[Any, Any]
    step: Any
    active: Callable[[TrainQuestion], bool] = lambda question: True


def _plain(question: TrainQuestion) -> bool:
    return question.network != "spec"


NETWORKS = {"nielsen": mark("plain layers, as below"), "spec": mark("the network of the sidebar")}
CONTROLS: tuple[Choice | Number, ...] = (
    Number("hidden", mark("Hidden layers"), mark("Layers between input and output, 1 to 6."), limits.HIDDEN, 1, _plain),
    Number("width", mark("Units per layer"), mark("Units in every hidden layer."), limits.WIDTH, 5, _plain),
    Choice(
        "weights",
        mark("Weights"),
        mark("scaled: N(0, 1/fan_in); standard: N(0, 1). Biases are N(0, 1) in both."),
        tuple(NIELSEN_WEIGHTS),
        _plain,
    ),
    Choice("activation", mark("Activation"), mark("After every hidden layer."), tuple(ACTIVATIONS), _plain),
    Choice(
        "cost",
        mark("Cost"),
        mark("binary_cross_entropy and quadratic on sigmoid outputs, cross_entropy on a softmax; mean over items."),
        tuple(COSTS),
    ),
    Choice("optimizer", mark("Optimizer"), mark("torch's own; momentum is SGD with momentum 0.9."), OPTIMIZERS),
    Number("rate", mark("Learning rate"), mark("Of the optimizer; Adam's usual one is 0.001."), limits.RATE, 0.05),
    Choice("batch", mark("Items a step"), mark("full: all of the data in every step."), limits.BATCHES),
    Number("steps", mark("Steps"), mark("Updates of the weights."), limits.STEPS, 100),
    Number("seed", mark("Seed"), mark("Of the weights and of the order of the items."), limits.SEEDS, 1),
    Choice(
        "clip", mark("Clipping"), mark("Of the gradient: by its Euclidean norm, or of every entry by value."), CLIPS
    ),
    Number(
        "clip_limit",
        mark("Clip at"),
        mark("The largest norm, or the largest entry."),
        limits.LIMIT,
        0.1,
        lambda question: question.clip != "none",
    ),
    Number("l1", mark("L1 λ"), mark("λ Σ |w| is added to the cost."), limits.PENALTY, 0.001),
    Number("l2", mark("L2 λ"), mark("(λ/2) Σ w² is added to the cost: weight decay."), limits.PENALTY, 0.001),
)


def presets(question: TrainQuestion) -> None:
    """A button for each experiment, which runs it, and the sentence of the one that shows."""
    shown = next((code for code, preset in PRESETS.items() if preset.question == question), None)
    st.session_state[PRESET_KEY] = shown
    with st.container(gap="xxsmall"):
        st.pills(
            t("Experiments: press one"),
            options=list(PRESETS),
            format_func=lambda code: f"{PRESETS[code].experiment} {t(PRESETS[code].title)}",
            key=PRESET_KEY,
            on_change=_choose,
            help=t("The classic experiments on learning speeds, by their numbers; each starts at once."),
        )
        if shown is not None:
            st.caption(t(PRESETS[shown].sentence))


def _choose() -> None:
    """Callback of the buttons; pressing the one that shows changes nothing."""
    code = st.session_state[PRESET_KEY]
    if code is not None:
        train_state.close_record()
        train_state.start(PRESETS[code].question)


def draw(question: TrainQuestion) -> None:
    """The widgets."""
    with st.container(border=True, gap="small"):
        _network(question)
        with st.grid(7, min_column_width=FIELD_MIN_WIDTH, gap="small"):
            for control in CONTROLS:
                if isinstance(control, Choice):
                    st.selectbox(
                        t(control.label),
                        control.options,
                        key=key_of(control.name),
                        help=t(control.help),
                        disabled=not control.active(question),
                        **STAYS,
                    )
                else:
                    _number(control, question)


def _network(question: TrainQuestion) -> None:
    """Which network: the plain one of the first four fields, or any Spec."""
    with st.container(gap="xxsmall"):
        st.segmented_control(
            t("Network"),
            limits.NETWORKS,
            required=True,
            format_func=lambda code: t(NETWORKS[code]),
            key=key_of("network"),
            help=t("Any network of the other pages can be trained: its sidebar appears with all of its fields."),
            **STAYS,
        )
        if question.network == "spec":
            st.caption(
                t(
                    "Depth, width, activation, weights, norm and residual form are the sidebar's; the last layer has "
                    "one unit for each class. Input, batch and loss are those of this run."
                )
            )


def _number(control: Number, question: TrainQuestion) -> None:
    real: dict[str, Any] = {"format": "%.6g"} if isinstance(control.bounds[0], float) else {}
    st.number_input(
        t(control.label),
        *control.bounds,
        step=control.step,
        key=key_of(control.name),
        help=t(control.help),
        disabled=not control.active(question),
        **real,
        **KEPT,
        **STAYS,
    )
