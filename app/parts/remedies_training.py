"""The short runs behind the clipping and the penalties of the page Remedies: kept, stopped and resumed as on Train.

A view asks for its runs one after the other; what is cheap runs unasked, and the page is drawn again when it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from app import limits, runner, theme
from app.i18n import spec_error_text, t, unsupported_text
from app.parts import remedies_controls, train_state
from app.parts.verdict_box import missing_text
from app.parts.wish import Wish
from app.parts.words import seconds_text
from gradcore.errors import SpecError, UnsupportedError
from gradcore.experiments.data import Dataset
from gradcore.experiments.remedies_question import RemediesQuestion
from gradcore.experiments.train_spec import TrainSpec
from gradcore.experiments.training import Run

AUTO_SECONDS = 1.0  # of all runs, by the model: what is trained without being asked
STEP_SECONDS, PRODUCT_SECONDS = 2.5e-3, 4e-10  # a step; a weight at an item
WISH = Wish("remedies_train")


def seconds(specs: Sequence[TrainSpec], data: Dataset) -> float:
    """About how long these runs take (a model of one core, good within a factor 3)."""
    return sum(_seconds(spec, data) for spec in specs)


def _seconds(spec: TrainSpec, data: Dataset) -> float:
    sized = spec.sized(data)
    weights = float((sized.fan_ins * sized.layer_widths.astype(float)).sum())
    return spec.steps_on(data) * (STEP_SECONDS + PRODUCT_SECONDS * 6.0 * weights * spec.batch_items(data))


def run_of(spec: TrainSpec, data: Dataset) -> Run | None:
    """The finished run; None where it has not come to its end."""
    run = train_state.kept().get((spec, data.digest))
    return run if run is not None and run.finished and run.steps else None


def missing(specs: Sequence[TrainSpec], data: Dataset) -> list[TrainSpec]:
    """Those that have not come to their end."""
    return [spec for spec in specs if run_of(spec, data) is None]


def refusal(specs: Sequence[TrainSpec], data: Dataset) -> str:
    """Why this host does not make these runs, in words; "" where it does."""
    return limits.training_refusal(seconds(specs, data))


def due(question: RemediesQuestion, specs: Sequence[TrainSpec], data: Dataset) -> bool:
    """Whether runs are missing and should be made now: asked for, or cheap; not cancelled."""
    left = missing(specs, data)
    if not left or refusal(specs, data):
        return False
    return WISH.allows(question, seconds(specs, data) < AUTO_SECONDS)


def button(question: RemediesQuestion, specs: Sequence[TrainSpec], data: Dataset) -> None:
    """The one button for what can be done now."""
    left = missing(specs, data)
    call: Callable[..., None] = WISH.ask
    args: tuple[Any, ...] = (question,)
    if due(question, specs, data):
        label, icon, call = t("Cancel training"), "cancel", WISH.cancel
    elif left:
        about = seconds_text(seconds(left, data))
        label, icon = t("Train {steps} steps (about {seconds})", steps=question.steps, seconds=about), "start"
    else:
        label, icon = t("Train from another seed"), "redraw"
        call, args = remedies_controls.put, ("seed", (question.seed + 1) % 2**31)
    st.button(
        label,
        key="remedies_train",
        icon=theme.ICONS[icon],
        type="primary",
        width="stretch",
        on_click=call,
        args=args,
        disabled=bool(refused := refusal(specs, data)) and bool(left),
        help=t("The same small network on digits, without and with the remedy, from one seed."),
    )
    if refused:
        st.caption(refused)


def advance(specs: Sequence[TrainSpec], data: Dataset) -> None:
    """Run what is missing, with a progress bar where this is called; every refusal in calm words."""
    left = missing(specs, data)
    bar = st.progress(0.0, text=t("Training …"))
    try:
        for done, spec in enumerate(left):

            def draw(run: Run, done: int = done) -> None:
                share = (done + len(run.steps) / max(run.planned, 1)) / len(left)
                said = t("Training: step {step} of {total}", step=len(run.steps), total=run.planned)
                bar.progress(min(share, 1.0), text=said)

            train_state.advance(spec, data, draw)
    except (SpecError, UnsupportedError) as error:
        st.caption(spec_error_text(error) if isinstance(error, SpecError) else unsupported_text(error))
        return
    except ModuleNotFoundError as error:
        st.caption(missing_text(error.name or str(error)))
        return
    runner.may_stop_here()
    st.rerun()
