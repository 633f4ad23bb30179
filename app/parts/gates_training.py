"""The second panel of the page Gates: cells trained side by side on a long-range task, drawn while they train.

The page's own run trains, one update of every cell after the other; between two updates Streamlit may end it. The
training is kept in the session, so Stop pauses it, Continue goes on, and its record stays until another one starts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from app import limits, runner, theme
from app.i18n import t
from app.parts import gates_controls, gates_measuring, pictures
from app.parts.gates_answer import refusal
from gradcore.charts import gates as charts
from gradcore.errors import SpecError, UnsupportedError
from gradcore.experiments.gates import GatesQuestion
from gradcore.experiments.long_range import LongRange, Record, Step, train

HELD = "gates_training"
CHART_HEIGHT = theme.CHART_HEIGHT - 50  # px: three beside each other


@dataclass
class Training:
    """A training in this session: its runs, what they left so far, and the runs themselves while they can go on."""

    runs: tuple[LongRange, ...]
    going: bool = True
    records: dict[str, Record] = field(default_factory=dict)
    ahead: dict[str, Iterator[Step]] = field(default_factory=dict)

    @classmethod
    def of(cls, runs: tuple[LongRange, ...]) -> Training:
        """All runs before their first update; torch is loaded by ``start``."""
        return cls(runs, records={one.cell.cell: Record(one) for one in runs})

    @property
    def over(self) -> bool:
        """Whether every run has come to its end."""
        return all(record.stopped or len(record.steps) == record.spec.updates for record in self.records.values())

    @property
    def share(self) -> float:
        """How much of the updates is done."""
        done = [1.0 if r.stopped else len(r.steps) / r.spec.updates for r in self.records.values()]
        return sum(done) / len(done)

    def start(self) -> None:
        """Build the networks where they are not there yet."""
        for one in self.runs:
            if one.cell.cell not in self.ahead:
                self.ahead[one.cell.cell] = train(one)

    def update(self) -> None:
        """One update of every run that is not at its end."""
        for code, steps in self.ahead.items():
            step = next(steps, None)
            if step is not None:
                self.records[code].add(step)


def held() -> Training | None:
    """The session's training."""
    return st.session_state.get(HELD)


def draw(question: GatesQuestion) -> Any:
    """The panel: its fields, its button, the state of the training and its charts. Returns the place of the charts."""
    st.subheader(t("Training: does the cell learn to remember?"), anchor=False)
    with st.container(border=True, gap="small"):
        gates_controls.training(question)
        runs = _runs(question)
        mine = held()
        if mine is not None and mine.going and mine.runs != runs:
            mine.going = False  # another question: what was done stays
        _buttons(runs, mine)
    shown = st.empty()
    if mine is None:
        shown.caption(
            t("Not trained yet. Start draws the loss and the gradient per step back in time while the cells learn.")
        )
    else:
        _show(shown, mine)
    return shown


def go_on(shown: Any) -> None:
    """Train, if it should, in the place that ``draw`` gave."""
    mine = held()
    if mine is not None and mine.going:
        _train(shown, mine)


def _runs(question: GatesQuestion) -> tuple[LongRange, ...] | None:
    try:
        runs = question.runs()
    except SpecError as error:
        st.error(refusal(error), icon=theme.ICONS["error"])
        return None
    if refused := limits.training_refusal(gates_measuring.training_seconds(runs)):
        st.caption(refused)
        return None
    return runs


# --- buttons --------------------------------------------------------------------------------------------------


def _buttons(runs: tuple[LongRange, ...] | None, mine: Training | None) -> None:
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        if mine is not None and mine.going:
            st.button(t("Stop training"), key="gates_train", icon=theme.ICONS["stop"], on_click=_stop)
        elif mine is not None and mine.runs == runs and not mine.over:
            st.button(t("Continue training"), key="gates_train", icon=theme.ICONS["start"], on_click=_continue)
        else:
            st.button(
                t("Start training"),
                key="gates_train",
                icon=theme.ICONS["start"],
                on_click=_start,
                args=(runs,),
                disabled=runs is None,
            )
        if mine is not None and not mine.going and any(record.steps for record in mine.records.values()):
            st.download_button(
                t("Save as JSON"),
                data=lambda: _json(mine),
                file_name="gradcore_gates_training.json",
                mime="application/json",
                key="gates_save",
                icon=theme.ICONS["download"],
                on_click="ignore",
            )


def _json(mine: Training) -> str:
    return json.dumps([record.to_json() for record in mine.records.values()])


def _start(runs: tuple[LongRange, ...]) -> None:
    """Callback: a new training in place of the last one."""
    st.session_state[HELD] = Training.of(runs)


def _stop() -> None:
    """Callback: what was done stays."""
    mine = held()
    if mine is not None:
        mine.going = False


def _continue() -> None:
    """Callback: go on after the last update."""
    mine = held()
    if mine is not None:
        mine.going = True


# --- training and its charts ----------------------------------------------------------------------------------


def _train(shown: Any, mine: Training) -> None:
    """Train to the end, redrawing every so often; Streamlit may end it between two updates."""
    drawn = time.monotonic()
    try:
        runner.start_torch()
        mine.start()
        while not mine.over:
            runner.may_stop_here()
            mine.update()
            if time.monotonic() - drawn >= 2 * runner.REDRAW:
                _show(shown, mine)
                drawn = time.monotonic()
    except (SpecError, UnsupportedError) as error:
        shown.error(refusal(error), icon=theme.ICONS["error"])
        mine.going = False
        return
    except ModuleNotFoundError as error:
        shown.info(t("Training needs the package {name}.", name=error.name or "torch"))
        mine.going = False
        return
    mine.going = False
    mine.ahead.clear()
    st.rerun()


def _show(shown: Any, mine: Training) -> None:
    """The state in words, and the charts of what is there."""
    with shown.container(gap="small"):
        st.progress(mine.share, text=_state(mine))
        records = [record for record in mine.records.values() if record.steps]
        if not records:
            return
        words = charts.describe_training(mine.records, t) or t("No loss that is a number.")
        made = {"loss": charts.loss_chart, "factor": charts.factor_chart, "reach": charts.reach_chart}
        for place, (code, make) in zip(st.columns(3), made.items(), strict=True):
            document = make(records, height=CHART_HEIGHT, t=t).to_dict(validate=False)
            pictures.chart(place, f"training-{code}", document, words, height=CHART_HEIGHT)
        st.caption(words)
        for record in records:
            if record.stopped is not None:
                name = charts.NAMES[record.spec.cell.cell]
                st.warning(f"{name}: {record.stopped.text(t)}", icon=theme.ICONS["notice"])


def _state(mine: Training) -> str:
    first = mine.runs[0]
    done = max(len(record.steps) for record in mine.records.values())
    clip = t("not clipped") if first.clip_norm is None else t("clipped at {norm}", norm=f"{first.clip_norm:g}")
    return t(
        "{task} task, {steps} steps, {units} units · update {done} of {total} · {clip}, learning rate {rate}",
        task=first.task,
        steps=first.cell.steps,
        units=first.cell.hidden_size,
        done=done,
        total=first.updates,
        clip=clip,
        rate=f"{first.learning_rate:g}",
    )
