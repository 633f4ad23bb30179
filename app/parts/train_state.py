"""What the page Train shows: the question, its data, and the runs that this session keeps; running them.

Every run is kept by what determines it, so that stopping, changing a control and coming back lose nothing. A run that
was stopped goes on where it was: its network waits in the session, one at a time, and where it is gone (a reloaded
record) the first steps are repeated, which give the same numbers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import streamlit as st

from app import controls, costs, limits, runner
from gradcore.errors import SpecError, UnsupportedError
from gradcore.experiments.data import Dataset, digits
from gradcore.experiments.first_step import QUICK, FirstStep, affordable_networks, predict_first_step
from gradcore.experiments.first_step import law_of as _law_of
from gradcore.experiments.remedies import REMEDIES
from gradcore.experiments.train_question import NONE, OWN, PREFIX, TrainQuestion
from gradcore.experiments.train_spec import TrainSpec
from gradcore.experiments.training import Run, TrainStep, train
from gradcore.spec import Spec

MOST_KEPT = 8  # runs of a session
NETWORKS = QUICK  # of the predicted law; about a second
TIMED = 3  # steps by which the model of their cost is calibrated
SEEN = 6  # layers whose neurons are kept at the first step
Key = tuple[TrainSpec, str]


def key_of(name: str) -> str:
    """The session key of a field of the question."""
    return f"setting_{PREFIX}{name}"


def asked() -> TrainQuestion:
    """What the widgets hold."""
    return TrainQuestion(**{field.name: st.session_state[key_of(field.name)] for field in fields(TrainQuestion)})


def load(question: TrainQuestion) -> None:
    """Callback: set all widgets to this question."""
    for field in fields(TrainQuestion):
        st.session_state[key_of(field.name)] = getattr(question, field.name)


def _unseen(question: TrainQuestion) -> TrainQuestion:
    """Without what changes no run."""
    without = dict.fromkeys(OWN, "") if question.network == "spec" else {}
    return replace(question, view="", **without)


def network(question: TrainQuestion) -> Spec | None:
    """The sidebar's network where the question is about it. Raises SpecError where the sidebar holds none."""
    if question.network != "spec":
        return None
    held = controls.question()
    if held.spec is None:
        raise held.error or SpecError("network", "", "a network")
    return held.spec


# --- start and stop -------------------------------------------------------------------------------------------


def start(question: TrainQuestion) -> None:
    """Callback: load this question and run whatever of it is missing."""
    load(question)
    st.session_state["train_going"] = (_unseen(question), None)


def stop() -> None:
    """Callback: what was done stays."""
    st.session_state["train_going"] = None


def going(question: TrainQuestion, spec: TrainSpec) -> bool:
    """Whether this question is being run; ``spec`` its plain run. What the sidebar holds is known only after the
    callback: the first time that it is asked, the network of that moment is the one that runs."""
    asked_for, running = st.session_state.get("train_going") or (None, None)
    if asked_for != _unseen(question):
        return False
    if running is None:
        st.session_state["train_going"] = (asked_for, spec)
    return running in (None, spec)


# --- the data -------------------------------------------------------------------------------------------------


def data() -> Dataset:
    """The user's own images, or the bundled digits. Raises UnsupportedError where these are not installed."""
    return st.session_state.get("train_data") or digits()


def use_data(found: Dataset | None) -> None:
    """Train on these images from now on; None: the digits."""
    st.session_state["train_data"] = found


# --- runs -----------------------------------------------------------------------------------------------------


def kept() -> dict[Key, Run]:
    """The runs of this session, the oldest first."""
    return st.session_state.setdefault("train_kept", {})


def keep(key: Key, run: Run) -> None:
    """Keep one more run; the oldest go."""
    runs = kept()
    runs.pop(key, None)
    runs[key] = run
    while len(runs) > MOST_KEPT:
        del runs[next(iter(runs))]


def open_record(run: Run, question: TrainQuestion) -> None:
    """Show a reloaded record until the controls ask for something else."""
    keep((run.spec, str(run.data["digest"])), run)
    question = replace(question, remedy=NONE, network="nielsen")
    load(question)
    st.session_state["train_record"] = (run, _unseen(question))
    stop()


def close_record() -> None:
    """Callback: back to what the controls ask."""
    st.session_state["train_record"] = None
    stop()


@dataclass(frozen=True, eq=False)
class Situation:
    """What the page is about: the ``question``, its ``data``, the plain run's ``spec`` and, where a remedy is chosen,
    the ``changed`` one or the reason ``why`` there is none. ``record``: the plain run is a reloaded record."""

    question: TrainQuestion
    data: Dataset | None
    spec: TrainSpec
    digest: str
    changed: TrainSpec | None = None
    why: UnsupportedError | SpecError | None = None
    record: bool = False

    @property
    def plain(self) -> Run | None:
        """The plain run as far as it is."""
        return kept().get((self.spec, self.digest))

    @property
    def remedied(self) -> Run | None:
        """The run with the remedy as far as it is."""
        return None if self.changed is None else kept().get((self.changed, self.digest))

    @property
    def specs(self) -> list[TrainSpec]:
        """What is to be run, in order."""
        return [self.spec] if self.changed is None else [self.spec, self.changed]

    @property
    def missing(self) -> list[TrainSpec]:
        """What of it has not come to its end; nothing where the data of a record are not here."""
        if self.data is None:
            return []
        runs = ((spec, kept().get((spec, self.digest))) for spec in self.specs)
        return [spec for spec, run in runs if run is None or not run.finished]

    @property
    def going(self) -> bool:
        """Whether it is being run."""
        return self.refused is None and going(self.question, self.spec) and bool(self.missing)

    @property
    def sized(self) -> Spec | None:
        """The plain network with the sizes of its data; None without them."""
        return None if self.data is None else self.spec.sized(self.data)

    @property
    def step_seconds(self) -> float:
        """About how long a step of the plain run takes; nan without data."""
        if self.data is None or self.sized is None:
            return math.nan
        return costs.step_seconds(self.sized, self.spec.batch_items(self.data))

    @property
    def refused(self) -> str | None:
        """What is too large about it to be trained here: "step", "memory", "record", or "host" where it is beyond what
        this host allows; None where nothing is."""
        if self.data is None or self.sized is None or not self.missing:
            return None
        items = self.spec.batch_items(self.data)
        if costs.step_bytes(self.sized, items) > costs.MAX_BYTES:
            return "memory"
        if costs.record_bytes(self.sized, self.spec.steps) > costs.MAX_RECORD:
            return "record"
        if costs.modelled_step(self.sized, items) > costs.BEARABLE:
            return "step"
        return "host" if self.hosts_refusal else None

    @property
    def hosts_refusal(self) -> str:
        """Why this host does not train it, in words: each run is held to its limit; "" where it does."""
        if self.data is None or self.sized is None:
            return ""
        each = costs.modelled_step(self.sized, self.spec.batch_items(self.data))
        return limits.training_refusal(each * self.spec.steps_on(self.data), self.sized)


def situation(question: TrainQuestion) -> Situation:
    """What the page is about now. Raises SpecError, UnsupportedError."""
    own, record = data(), _record(question)
    if record is None:
        spec, digest, fits = question.spec(own, network(question)), own.digest, True
        spec.batch_items(own)
    else:
        spec, digest, fits = record.spec, str(record.data["digest"]), record.data["digest"] == own.digest
    changed, why = None, None
    if question.remedy != NONE:
        try:
            changed = REMEDIES[question.remedy].apply(spec)
            changed.batch_items(own)
        except (UnsupportedError, SpecError) as error:
            changed, why = None, error
        if changed == spec:
            changed, why = None, UnsupportedError("the remedy", "it is in force already", "another remedy")
    return Situation(question, own if fits else None, spec, digest, changed, why, record is not None)


def _record(question: TrainQuestion) -> Run | None:
    """The reloaded record, while the controls are as they were when it came."""
    run, then = st.session_state.get("train_record") or (None, None)
    return run if then == replace(_unseen(question), remedy=NONE) else None


# --- prediction -----------------------------------------------------------------------------------------------


@st.cache_resource(max_entries=64, show_spinner=False, hash_funcs={TrainSpec: repr})
def _predicted(spec: TrainSpec, digest: str, networks: int, _data: Dataset) -> FirstStep:
    return predict_first_step(spec, _data, networks=networks, progress=lambda done, total: runner.may_stop_here())


def networks_of(spec: TrainSpec, found: Dataset) -> int:
    """As many random networks as some seconds allow; 0 where these are too few to tell their law."""
    return affordable_networks(spec, found, NETWORKS)


def predicted(spec: TrainSpec, found: Dataset | None) -> FirstStep | None:
    """The law of the first speeds, shared between sessions; None where it cannot be known."""
    if found is None or not (networks := networks_of(spec, found)):
        return None
    try:
        first = _predicted(_law_of(spec), found.digest, networks, found)
    except (UnsupportedError, SpecError):
        return None
    st.session_state.setdefault("train_known", set()).add((_law_of(spec), found.digest))
    return first


def known(spec: TrainSpec, found: Dataset | None) -> bool:
    """Whether the prediction is there at once."""
    return found is not None and (_law_of(spec), found.digest) in st.session_state.get("train_known", set())


# --- running --------------------------------------------------------------------------------------------------


def advance(spec: TrainSpec, found: Dataset, draw: Callable[[Run], Any]) -> None:
    """Run to the end, or until Streamlit stops this script; ``draw(run)`` every half second. Raises SpecError,
    UnsupportedError, and ModuleNotFoundError where torch is not installed."""
    runner.start_torch()
    key = (spec, found.digest)
    run = kept().get(key)
    if run is None:
        run = Run.of(spec, found)
        keep(key, run)
    drawn = time.monotonic() if run.steps else 0.0
    steps = _steps(key, found, len(run.steps))
    clock = _Clock(costs.modelled_step(spec.sized(found), spec.batch_items(found)))
    while (step := clock.next(steps.iterator)) is not None:
        run.add(step if step.step == 0 else replace(step, neurons=()))  # before the point where this may be stopped
        steps.done = len(run.steps)
        runner.may_stop_here()
        if time.monotonic() - drawn >= runner.REDRAW:
            draw(run)
            drawn = time.monotonic()
    st.session_state["train_waiting"] = None


class _Clock:
    """Times the first few steps, so that the cost of the next run is known better."""

    def __init__(self, modelled: float) -> None:
        self.modelled, self.steps, self.spent = modelled, 0, 0.0

    def next(self, steps: Iterator[TrainStep]) -> TrainStep | None:
        """The next step, None at the end."""
        began = time.monotonic()
        step = next(steps, None)
        self.steps, self.spent = self.steps + 1, self.spent + time.monotonic() - began
        if self.steps == TIMED:
            costs.training_calibration().learn(self.spent / TIMED, self.modelled)
        return step


class _Beat:
    """Lets Streamlit end this script between the layers of a step, every POLL seconds."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self.last >= runner.POLL:
            self.last = now
            runner.may_stop_here()


@dataclass
class Waiting:
    """A run that may be stopped at any moment, also within a step: its steps, and how many they have been."""

    key: Key
    iterator: Iterator[TrainStep]
    done: int = 0


def _steps(key: Key, found: Dataset, done: int) -> Waiting:
    """The run after its first ``done`` steps: the one that waits, or a new one that has repeated them."""
    waiting: Waiting | None = st.session_state.get("train_waiting")
    if waiting is not None and (waiting.key, waiting.done) == (key, done):
        return waiting
    layers = range(1, min(key[0].network.depth, SEEN + 1))
    waiting = Waiting(key, train(key[0], found, neurons=layers, beat=_Beat()))
    for _ in range(done):
        runner.may_stop_here()
        if next(waiting.iterator, None) is None:
            break
        waiting.done += 1
    st.session_state["train_waiting"] = waiting
    return waiting
