"""Gated cells, experiment 4.6: what the page Gates asks, as a flat table of fields, and its presets.

    from gradcore.experiments import gates
    question = gates.PRESETS["forget_3"].question
    gc.predict_cell(question.spec).factor()       # above 1: explodes
    for run in question.runs(): ...               # a LongRange for each cell to be trained

A link holds the fields with "gates_" before them: ``gates_cell=gru&gates_update_bias=3``. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gradcore import query
from gradcore.cell_spec import CELL_ACTIVATIONS, CELL_CODES, CELL_INITS, CellSpec
from gradcore.errors import SpecError
from gradcore.experiments.long_range import TASKS, LongRange
from gradcore.query import Reader, one_of, real, real_or_none, whole

PREFIX = "gates_"
TRAINED_BATCH = 32  # sequences of an update
INTEGERS = {  # least, largest: what a page can measure and train in seconds
    "hidden_size": (1, 2048),
    "input_size": (1, 4096),
    "steps": (4, 400),
    "networks": (2, 64),
    "seed": (0, 2**31 - 1),
    "units": (1, 256),
    "length": (4, 200),
    "updates": (1, 5000),
}
NUMBERS = {"weight_scale": (0.0, 100.0), "learning_rate": (0.0, 100.0)}
OPTIONAL = {"forget_bias": (-20.0, 20.0), "update_bias": (-20.0, 20.0), "clip_norm": (1e-6, 1e6)}
CHOICES = {
    "cell": CELL_CODES,
    "activation": CELL_ACTIVATIONS,
    "init": tuple(CELL_INITS),
    "task": tuple(TASKS),
}


@dataclass(frozen=True)
class GatesQuestion:
    """A cell at initialization and its measurement (the fields of :class:`CellSpec`, ``networks``, ``seed``); then the
    training: ``cells`` codes separated by commas, all with the same law of the weights, ``units`` units, sequences of
    ``length`` steps, ``updates`` of Adam, and ``clip_norm`` the largest norm of the gradient (None: not clipped)."""

    cell: str = "lstm"
    hidden_size: int = 256
    input_size: int = 64
    steps: int = 40
    activation: str = "tanh"
    init: str = "default"
    weight_scale: float = 1.0
    forget_bias: float | None = None
    update_bias: float | None = None
    networks: int = 8
    seed: int = 0
    task: str = "adding"
    cells: str = ",".join(CELL_CODES)
    units: int = 32
    length: int = 30
    updates: int = 300
    learning_rate: float = 0.01
    clip_norm: float | None = 1.0

    @property
    def spec(self) -> CellSpec:
        """The cell; a field that it does not have is left at its default, so that equal cells are equal."""
        own = {"rnn": ("activation",), "lstm": ("forget_bias",), "gru": ("update_bias",)}[self.cell]
        names = ("cell", "hidden_size", "input_size", "steps", "init", "weight_scale", *own)
        return CellSpec(**{name: getattr(self, name) for name in names})

    def runs(self) -> tuple[LongRange, ...]:
        """A training run for each chosen cell. Raises SpecError where the sequences are too short for the task."""
        law = {n: getattr(self, n) for n in ("activation", "init", "weight_scale", "forget_bias", "update_bias")}
        return tuple(
            LongRange(
                cell=CellSpec(cell=code, hidden_size=self.units, steps=self.length, batch_size=TRAINED_BATCH, **law),
                task=self.task,
                updates=self.updates,
                learning_rate=self.learning_rate,
                clip_norm=self.clip_norm,
                seed=self.seed,
            )
            for code in self.cells.split(",")
            if code
        )

    def to_query(self) -> dict[str, str]:
        """The parameters of a link; defaults are left out."""
        return query.write(self, PREFIX)


def from_query(parameters: Mapping[str, str]) -> GatesQuestion:
    """The question of these parameters; others than gates_... are left alone. Raises SpecError."""
    return query.read(GatesQuestion, READERS, PREFIX, parameters)


# --- reading text ---------------------------------------------------------------------------------------------


def cells_text(codes: Any) -> str:
    """The codes in the order of the table, separated by commas."""
    return ",".join(code for code in CELL_CODES if code in codes)


def _cells(name: str, text: str) -> str:
    codes = [code.strip() for code in text.split(",")]
    if not set(codes) <= set(CELL_CODES):
        raise SpecError(name, text, "one or several of " + ", ".join(CELL_CODES) + ", separated by commas")
    return cells_text(codes)


READERS: dict[str, Reader] = {
    **{name: whole(*ends) for name, ends in INTEGERS.items()},
    **{name: real(*ends) for name, ends in NUMBERS.items()},
    **{name: real_or_none(*ends) for name, ends in OPTIONAL.items()},
    **{name: one_of(codes) for name, codes in CHOICES.items()},
    "cells": _cells,
}


# --- presets --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GatesPreset:
    """One case: ``code`` its name, ``title`` a short label, ``sentence`` its point, ``question`` what is asked; the
    figures of the sentences are tested. ``query`` are the parameters of its link."""

    code: str
    title: str
    sentence: str
    question: GatesQuestion

    @property
    def query(self) -> dict[str, str]:
        """Query parameters of the page Gates."""
        return self.question.to_query()


PRESETS: dict[str, GatesPreset] = {}


def _add(code: str, title: str, sentence: str, **asked: Any) -> None:
    PRESETS[code] = GatesPreset(code, title, sentence, GatesQuestion(**asked))


_add(
    "lstm",
    "Default LSTM",
    "torch's own initialization: the forget gate is half open, so half of the memory goes at every step, and so does "
    "more than a third of the gradient's norm.",
)
_add(
    "forget_1",
    "Forget bias 1",
    "The usual advice opens the forget gate to 0.73: the gradient still vanishes, but lasts three times as long.",
    forget_bias=1.0,
)
_add(
    "forget_3",
    "Forget bias 3",
    "The case that decides between the theories: the product of independent steps says that gradients vanish, and they "
    "explode.",
    forget_bias=3.0,
)
_add("gru", "Default GRU", "Its update gate is half open too, and the gradient vanishes as in the LSTM.", cell="gru")
_add(
    "update_3",
    "Update bias 3",
    "The update gate keeps 95% of the state at every step: nearly all of the gradient comes through each one.",
    cell="gru",
    update_bias=3.0,
)
_add(
    "rnn",
    "Plain tanh RNN",
    "No gate: the gradient passes the same matrix at every step, and torch's weights are too small for it. Tied and "
    "untied weights agree here, as long as the network is wide for its number of steps.",
    cell="rnn",
)
_add(
    "large",
    "Large weights",
    "Five times torch's recurrent weights: the cell is chaotic, and the gradient grows at every step.",
    weight_scale=5.0,
)
