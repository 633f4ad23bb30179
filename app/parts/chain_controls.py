"""The controls of the page Chain: its presets as buttons, and what the chain is made of.

A widget's key is the setting of the same name (app/state.py), so the link holds what the widgets hold.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import streamlit as st

from app import theme
from app.i18n import spec_error_text, t
from app.widgets import KEPT
from gradcore.activations import ACTIVATIONS
from gradcore.errors import SpecError
from gradcore.experiments.chain import PRESETS
from gradcore.experiments.chain.question import PREFIX, ChainQuestion
from gradcore.experiments.chain.single import LONGEST, WEIGHT

STAYS: dict[str, Any] = {"persist_state": "session"}
PRESET_KEY = "chain_preset"
FIELD_MIN_WIDTH = 140  # px: seven in a row on a desktop, two on a phone


def key_of(name: str) -> str:
    """The session key of a field of the question."""
    return f"setting_{PREFIX}{name}"


def asked() -> ChainQuestion:
    """What the widgets hold."""
    return ChainQuestion(**{field.name: st.session_state[key_of(field.name)] for field in fields(ChainQuestion)})


def load(question: ChainQuestion) -> None:
    """Callback: set all widgets to this question."""
    for field in fields(ChainQuestion):
        st.session_state[key_of(field.name)] = getattr(question, field.name)


# --- presets --------------------------------------------------------------------------------------------------


def presets(question: ChainQuestion) -> None:
    """A button for each experiment, and the sentence of the one that shows."""
    shown = next((code for code, preset in PRESETS.items() if preset.question == question), None)
    st.session_state[PRESET_KEY] = shown
    with st.container(gap="xxsmall"):
        st.pills(
            t("Experiments: press one"),
            options=list(PRESETS),
            format_func=lambda code: f"{PRESETS[code].experiment} {t(PRESETS[code].title)}",
            key=PRESET_KEY,
            on_change=_choose,
            help=t("The classic experiments on a chain of single neurons, by their numbers."),
        )
        if shown is not None:
            st.caption(t(PRESETS[shown].sentence))


def _choose() -> None:
    """Callback of the buttons; pressing the one that shows changes nothing."""
    code = st.session_state[PRESET_KEY]
    if code is not None:
        load(PRESETS[code].question)


# --- the chain ------------------------------------------------------------------------------------------------


def draw(question: ChainQuestion, error: SpecError | None) -> None:
    """The widgets, and what is wrong below them."""
    with st.container(border=True, gap="small"):
        _sizes()
        _numbers(question)
        if error is not None:
            st.error(spec_error_text(error), icon=theme.ICONS["error"])


def _sizes() -> None:
    with st.grid(7, min_column_width=FIELD_MIN_WIDTH, gap="small"):
        st.number_input(
            t("Neurons L"),
            1,
            LONGEST,
            step=1,
            key=key_of("length"),
            on_change=_resize,
            help=t("How many neurons stand in a row, the output among them; 1 to {most}.", most=LONGEST),
            **KEPT,
            **STAYS,
        )
        st.selectbox(
            t("Activation σ"),
            list(ACTIVATIONS),
            key=key_of("activation"),
            help=t("The function after every neuron, the last one too."),
            **STAYS,
        )
        _real("weight_std", t("Weight std σ_w"), t("Weights are drawn from N(0, σ_w²)."), 0.0, 100.0, 0.5)
        _real("bias_std", t("Bias std σ_b"), t("Biases are drawn from N(0, σ_b²)."), 0.0, 100.0, 0.5)
        _real("input", t("Input a₀"), t("What the first neuron gets."), -WEIGHT, WEIGHT, 0.1)
        _real("target", t("Target y"), t("The cost is C = (a_L − y)²/2."), -WEIGHT, WEIGHT, 0.5)
        st.number_input(
            t("Seed"),
            0,
            2**31 - 1,
            step=1,
            key=key_of("seed"),
            help=t("The same seed draws the same chain."),
            **KEPT,
            **STAYS,
        )


def _real(name: str, label: str, help_text: str, low: float, high: float, step: float) -> None:
    st.number_input(label, low, high, step=step, format="%.6g", key=key_of(name), help=help_text, **KEPT, **STAYS)


def _numbers(question: ChainQuestion) -> None:
    """The weights and biases themselves, in place of drawn ones."""
    weights, biases, button = st.columns([5, 5, 2], vertical_alignment="bottom", gap="small")
    weights.text_input(
        t("Weights w"),
        key=key_of("weights"),
        placeholder=t("drawn by the seed"),
        help=t("Empty: drawn. One number: for all neurons. Else one for each, separated by commas."),
        **STAYS,
    )
    biases.text_input(
        t("Biases b"),
        key=key_of("biases"),
        placeholder=t("drawn by the seed"),
        help=t("As the weights; or the word cancel: b = −w a before each neuron, which makes every z exactly 0."),
        **STAYS,
    )
    button.button(
        t("Edit the numbers"),
        key="chain_write_out",
        on_click=_write_out,
        args=(question,),
        disabled=question.listed,
        width="stretch",
        help=t("Writes the weights and biases into the fields, six digits each, to change them one by one."),
    )


def _resize() -> None:
    """Callback of the length: lists of numbers follow it."""
    question = asked()
    load(question.resized(question.length))


def _write_out(question: ChainQuestion) -> None:
    try:
        load(question.written_out())
    except SpecError:  # said below the fields already
        return


def draw_another(question: ChainQuestion) -> None:
    """Callback: the chain of the next seed; numbers that were set are drawn again."""
    st.session_state[key_of("seed")] = (question.seed + 1) % 2**31
    for name in ("weights", "biases"):
        st.session_state[key_of(name)] = ""
