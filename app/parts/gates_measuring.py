"""Measuring torch's own cells for the page Gates: unasked where cheap, stopped at any network, kept.

As on Explore, the page's own run measures in its script thread, one network at a time; between two of them Streamlit
may end it, and what was done stays.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

import gradcore as gc
from app import limits, runner, theme
from app.i18n import t
from app.parts.wish import Wish
from app.parts.words import seconds_text
from gradcore.cell_spec import CellSpec
from gradcore.experiments.gates import GatesQuestion
from gradcore.experiments.long_range import LongRange

if TYPE_CHECKING:
    from gradcore.recurrent import CellMeasurement

AUTO_SECONDS = 2.0  # of all networks, by the model: what is measured without being asked
MOST_KEPT = 24  # questions whose networks a session keeps
GATES_OF = {"rnn": 1, "lstm": 4, "gru": 3}
STEP_SECONDS, PRODUCT_SECONDS, DRAW_SECONDS = 5e-4, 5e-10, 1e-8  # a step; a weight at a sequence's step; a weight
KEPT, WISH = "gates_kept", Wish("gates")


def seconds(question: GatesQuestion) -> float:
    """About how long all its networks take (a model of one core, good within a factor 3)."""
    return question.networks * _seconds(question.spec)


def _seconds(spec: CellSpec) -> float:
    """Of one pass forward and back through all steps."""
    weights = GATES_OF[spec.cell] * spec.hidden_size * (spec.hidden_size + spec.input_size)
    return spec.steps * (STEP_SECONDS + PRODUCT_SECONDS * spec.batch_size * weights) + DRAW_SECONDS * weights


def training_seconds(runs: Sequence[LongRange]) -> float:
    """About how long it takes to train these cells, by the same model."""
    return sum(run.updates * _seconds(run.cell) for run in runs)


def refusal(question: GatesQuestion) -> str:
    """Why this host does not measure it, in words; "" where it does."""
    return limits.cell_refusal(seconds(question), question.spec.hidden_size)


def _key(question: GatesQuestion) -> tuple[Any, ...]:
    return (question.spec, question.seed)


def _parts(question: GatesQuestion) -> dict[int, CellMeasurement]:
    """The networks that are there, by their index."""
    return st.session_state.get(KEPT, {}).get(_key(question), {})


def done(question: GatesQuestion) -> int:
    """How many of the networks that are asked for are there."""
    return sum(network < question.networks for network in _parts(question))


def measured(question: GatesQuestion) -> CellMeasurement | None:
    """What is there of it: some networks or all."""
    parts = [part for network, part in _parts(question).items() if network < question.networks]
    return gc.CellMeasurement.merge(*parts) if parts else None


def due(question: GatesQuestion) -> bool:
    """Whether networks are missing and should be measured now: asked for, or cheap; not cancelled."""
    key = (*_key(question), question.networks)
    if done(question) == question.networks or refusal(question):
        return False
    return WISH.allows(key, seconds(question) < AUTO_SECONDS)


def button(question: GatesQuestion) -> None:
    """The one button for what can be done now."""
    key, ready = (*_key(question), question.networks), done(question)
    if due(question):
        label, icon, call, value = t("Cancel measurement"), "cancel", WISH.cancel, key
    elif ready == question.networks:
        label, icon, call, value = t("Draw other networks"), "redraw", _next_seed, ((question.seed + 1) % 2**31,)
    elif ready:
        label = t("Continue ({done} of {count} done)", done=ready, count=question.networks)
        icon, call, value = "measure", WISH.ask, key
    else:
        about = seconds_text(seconds(question))
        label = t("Measure {count} networks (about {seconds})", count=question.networks, seconds=about)
        icon, call, value = "measure", WISH.ask, key
    st.button(
        label,
        key="gates_measure",
        icon=theme.ICONS[icon],
        type="primary",
        width="stretch",
        on_click=call,
        args=(value,),
        disabled=bool(refused := refusal(question)) and ready < question.networks,
        help=t("Gradients of torch's own cell by autograd, against the prediction."),
    )
    if refused:
        st.caption(refused)


def _next_seed(value: tuple[int]) -> None:
    st.session_state["setting_gates_seed"] = value[0]


def run(question: GatesQuestion) -> None:
    """Measure what is missing, with a progress bar where this is called. Raises SpecError, UnsupportedError, and
    ModuleNotFoundError where torch is not installed."""
    bar, drawn = st.progress(done(question) / question.networks, text=t("Measuring …")), time.monotonic()
    runner.let_it_be_drawn()
    runner.start_torch()
    kept = st.session_state.setdefault(KEPT, {})
    parts = kept.setdefault(_key(question), {})
    while len(kept) > MOST_KEPT:
        del kept[next(iter(kept))]
    for network in range(question.networks):
        if network in parts:
            continue
        parts[network] = gc.measure_cell(question.spec, networks=[network], seed=question.seed)
        runner.may_stop_here()
        if time.monotonic() - drawn >= runner.REDRAW:
            drawn = time.monotonic()
            text = t("Measured {done} of {total} networks", done=done(question), total=question.networks)
            bar.progress(done(question) / question.networks, text=text)
