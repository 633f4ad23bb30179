"""Training a recurrent cell to remember: the adding and the copy problem, with the gradient per step back in time.

    from gradcore.experiments.long_range import LongRange, Record, train
    spec = LongRange(cell=gc.CellSpec(cell="lstm", hidden_size=64, steps=50, forget_bias=1), task="adding", updates=200)
    record = Record(spec)
    for step in train(spec):          # one Step per update: draw it, or stop here
        record.add(step)

A run is a record (JSON). torch is loaded by ``train`` alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradcore.cell_spec import CellSpec
from gradcore.errors import SpecError
from gradcore.fields import Field, choice, integer, number, optional, read_int, read_number, read_optional
from gradcore.words import Message, number_text

Array = np.ndarray
COPY_SYMBOLS, COPY_ALPHABET = 5, 8  # remembered symbols, and how many there are to choose from
CLOSE = 0.04  # an answer to the adding problem this near is right (Hochreiter & Schmidhuber 1997)


@dataclass(frozen=True)
class Task:
    """One task: ``inputs`` entries of x_t, ``outputs`` of the readout, ``least`` steps it needs, ``baseline`` the loss
    of the best answer without memory, ``loss`` torch's name of the loss."""

    code: str
    inputs: int
    outputs: int
    least: int
    baseline: float
    loss: str
    source: str


TASKS: dict[str, Task] = {
    task.code: task
    for task in (
        # x_t = (u_t, marker), u_t ~ U(0, 1), one marker in each half; the answer is the sum of the two marked u_t
        Task("adding", 2, 1, 2, 1 / 6, "mse_loss", "Hochreiter & Schmidhuber 1997"),
        # one-hot: 5 symbols out of 8, blanks, a marker 5 steps before the end from which on they are to be repeated
        Task(
            "copy",
            COPY_ALPHABET + 2,
            COPY_ALPHABET,
            2 * COPY_SYMBOLS + 1,
            math.log(COPY_ALPHABET),
            "cross_entropy",
            "Hochreiter & Schmidhuber 1997; Arjovsky et al. 2016",
        ),
    )
}
OPTIMIZERS = ("sgd", "adam")
DTYPES = ("float32", "float64")
_TASKS = tuple(TASKS)

TRAINING_FIELDS: dict[str, Field] = {
    f.name: f
    for f in (
        Field("task", "adding", choice(_TASKS), str, "what is to be remembered", "task", _TASKS),
        Field("updates", 200, integer(1, 10**6), read_int, "number of updates", "training"),
        Field("optimizer", "adam", choice(OPTIMIZERS), str, "optimizer", "training", OPTIMIZERS),
        Field("learning_rate", 0.01, number(0, 1e30), read_number, "learning rate", "training"),
        Field(
            "clip_norm",
            None,
            optional(number(1e-12, 1e12)),
            read_optional(read_number),
            "largest norm of the whole gradient (clip_grad_norm_); default: no clipping",
            "training",
        ),
        Field("seed", 0, integer(0, 2**62), read_int, "seed of the weights and of the sequences", "training"),
        Field("dtype", "float32", choice(DTYPES), str, "number format", "training", DTYPES),
    )
}


@dataclass(frozen=True, kw_only=True)
class LongRange:
    """A training run: a cell with a linear readout, a task, an optimizer. Frozen, hashable.

    ``cell`` gives the cell, its size, its initialization, the length T of the sequences and the batch; its
    ``input_size`` is set to the task's, and h_0 = 0. Raises SpecError naming the field.
    """

    cell: CellSpec = field(default_factory=lambda: CellSpec(hidden_size=64, batch_size=32))
    task: str = "adding"
    updates: int = 200
    optimizer: str = "adam"
    learning_rate: float = 0.01
    clip_norm: float | None = None
    seed: int = 0
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for name, entry in TRAINING_FIELDS.items():
            object.__setattr__(self, name, entry.check(name, getattr(self, name)))
        if not isinstance(self.cell, CellSpec):
            raise SpecError("cell", self.cell, "a gradcore.CellSpec", "Make one with gradcore.CellSpec(...).")
        task = self.task_entry
        if self.cell.steps < task.least:
            raise SpecError("steps", self.cell.steps, f"at least {task.least} steps for the {task.code} task")
        own = self.cell.replace(input_size=task.inputs, state_rms=0.0, input_rms=1.0)
        object.__setattr__(self, "cell", own)

    @property
    def task_entry(self) -> Task:
        """The entry of the table of tasks."""
        return TASKS[self.task]

    def replace(self, **changes: Any) -> LongRange:
        """A copy with some fields changed (checked again)."""
        return dataclasses.replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """A JSON object of the fields that differ from their defaults; the cell's stand under "cell"."""
        own = {n: getattr(self, n) for n, f in TRAINING_FIELDS.items() if getattr(self, n) != f.default}
        return {"cell": self.cell.to_json(), **own}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> LongRange:
        """The run of a JSON object. Raises SpecError at an unknown field or an illegal value."""
        for name in document:
            if name not in TRAINING_FIELDS and name != "cell":
                raise SpecError(name, document[name], "one of the fields cell, " + ", ".join(TRAINING_FIELDS))
        own = {name: value for name, value in document.items() if name != "cell"}
        return cls(cell=CellSpec.from_json(document.get("cell", {})), **own)


STOPS = {
    "loss": Message("long_range_loss", "the loss is no longer a number"),
    "gradient": Message("long_range_gradient", "the gradient is no longer a number"),
}


@dataclass(frozen=True)
class Step:
    """One update k = 0, 1, ..., seen before the weights move: ``loss`` and ``accuracy`` on its batch; ``norm`` of the
    gradient of all parameters, before clipping, and whether it was ``clipped``; ``log_v`` (T,) ln of the mean over
    units and sequences of (B dC/dh_t)^2, C the batch's loss (-inf where it is zero, nan where it is not a number);
    ``stopped`` a code of ``STOPS`` where the run ends here without an update, else None."""

    update: int
    loss: float
    accuracy: float
    norm: float
    clipped: bool
    log_v: tuple[float, ...]
    stopped: str | None = None

    @property
    def reason(self) -> Message | None:
        """Why the run ends here, as a sentence; None where it goes on."""
        if self.stopped is None:
            return None
        text = (
            "Training stopped at update {update}: {what}. The last gradient norm was {norm}: clip it, or take a "
            "smaller learning rate."
        )
        norm = number_text(math.log10(self.norm)) if 0 < self.norm < math.inf else "–"
        return Message(
            "long_range_stopped", text, {"update": str(self.update), "what": STOPS[self.stopped], "norm": norm}
        )


@dataclass
class Record:
    """What a run left: its question and every step; a cancelled run keeps what it had."""

    spec: LongRange
    steps: list[Step] = field(default_factory=list)

    def add(self, step: Step) -> None:
        """Keep one more step."""
        self.steps.append(step)

    def series(self, name: str) -> Array:
        """(updates,) of ``loss``, ``accuracy``, ``norm`` or ``clipped``; (updates, T) of ``log_v``. Raises
        SpecError."""
        if name not in ("loss", "accuracy", "norm", "clipped", "log_v"):
            raise SpecError("name", name, "one of loss, accuracy, norm, clipped, log_v")
        return np.array([getattr(step, name) for step in self.steps], dtype=float)

    @property
    def stopped(self) -> Message | None:
        """Why the run ended early, with its step; None where it did not."""
        return self.steps[-1].reason if self.steps else None

    def to_json(self) -> dict[str, Any]:
        """A JSON object; numbers that JSON does not have (inf, nan) are texts."""
        rows = [{**dataclasses.asdict(step), "log_v": list(step.log_v)} for step in self.steps]
        return {"spec": self.spec.to_json(), "steps": [{k: _plain(v) for k, v in row.items()} for row in rows]}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Record:
        """The record of a JSON object. Raises SpecError where it is not one."""
        try:
            spec, rows = document["spec"], document["steps"]
            steps = [Step(**{k: _number(v) if k != "stopped" else v for k, v in row.items()}) for row in rows]
        except (KeyError, TypeError, AttributeError, ValueError):
            raise SpecError("record", document, 'an object with "spec" and "steps", as Record.to_json makes') from None
        return cls(LongRange.from_json(spec), steps)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_number(v) for v in value)
    return float(value) if isinstance(value, str) else value


def train(spec: LongRange) -> Iterator[Step]:
    """Train, yielding a Step per update; stop by leaving the loop. The same spec gives the same numbers.

    Weights: torch's own module drawn from ``spec.seed`` (as network 0 of ``measure_cell``), readout by nn.Linear's law;
    fresh sequences at every update, which depend on (seed, update) alone. The run ends by itself after ``updates``
    steps, or where loss or gradient stop being numbers (``Step.stopped``). Raises SpecError, UnsupportedError.
    """
    if not isinstance(spec, LongRange):
        raise SpecError("spec", spec, "a LongRange", "Make one with LongRange(cell=..., task=...).")
    from gradcore.experiments.sequence_training import run

    return run(spec)
