"""What the page Train asks in plain values: the text forms that a link carries, and the run that they mean.

The names are query parameters with "train_" before them: ``train_hidden=2&train_activation=relu``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from gradcore.activations import ACTIVATIONS
from gradcore.errors import SpecError
from gradcore.experiments.costs import COSTS
from gradcore.experiments.data import Dataset
from gradcore.experiments.remedies import REMEDIES
from gradcore.experiments.train_spec import CLIPS, FULL, NIELSEN_WEIGHTS, OPTIMIZERS, TrainSpec, nielsen

PREFIX = "train_"
NONE = "none"
HIDDEN = (1, 6)
WIDTH = (2, 300)
STEPS = (1, 5000)
RATE = (1e-6, 1e4)
LIMIT = (1e-6, 1e6)
PENALTY = (0.0, 10.0)
SEEDS = (0, 2**31 - 1)
BATCHES = (FULL, "10", "32", "100", "300")
VIEWS = ("updates", "saturated", "neurons", "start")


@dataclass(frozen=True)
class TrainQuestion:
    """A training run and what is looked at: the fields of TrainSpec for ``hidden`` layers of ``width`` units each with
    the law of ``nielsen(..., weights)``; ``remedy`` a code of REMEDIES that is tried beside it, or "none"; ``view`` one
    of VIEWS."""

    hidden: int = 4
    width: int = 30
    weights: str = "scaled"
    activation: str = "sigmoid"
    cost: str = "binary_cross_entropy"
    optimizer: str = "sgd"
    rate: float = 0.1
    batch: str = FULL
    steps: int = 300
    seed: int = 0
    clip: str = NONE
    clip_limit: float = 1.0
    l1: float = 0.0
    l2: float = 0.0
    remedy: str = NONE
    view: str = "updates"

    def spec(self, data: Dataset) -> TrainSpec:
        """The plain run on this data. Raises SpecError."""
        sizes = [data.pixels, *[self.width] * self.hidden, data.classes]
        return TrainSpec(
            network=nielsen(sizes, self.weights).replace(activation=self.activation),
            cost=self.cost,
            optimizer=self.optimizer,
            learning_rate=self.rate,
            batch=FULL if self.batch == FULL else int(self.batch),
            steps=self.steps,
            clip=self.clip,
            clip_limit=self.clip_limit,
            l1=self.l1,
            l2=self.l2,
            seed=self.seed,
        )

    def to_query(self) -> dict[str, str]:
        """The parameters of a link; defaults are left out."""
        held = ((field, getattr(self, field.name)) for field in fields(self))
        return {PREFIX + field.name: str(value) for field, value in held if value != field.default}


def from_query(query: Mapping[str, str]) -> TrainQuestion:
    """The question of these parameters; others than train_... are left alone. Raises SpecError."""
    mine = {name.removeprefix(PREFIX): text for name, text in query.items() if name.startswith(PREFIX)}
    for name in mine:
        if name not in READERS:
            raise SpecError(PREFIX + name, mine[name], "one of " + ", ".join(PREFIX + known for known in READERS))
    return TrainQuestion(**{name: READERS[name](PREFIX + name, text) for name, text in mine.items()})


# --- reading text ---------------------------------------------------------------------------------------------


def _whole(low: int, high: int) -> Callable[[str, str], int]:
    def read(name: str, text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise SpecError(name, text, f"an integer from {low:,} to {high:,}")
        return number

    return read


def _real(low: float, high: float) -> Callable[[str, str], float]:
    def read(name: str, text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not low <= number <= high:
            raise SpecError(name, text, f"a number from {low:g} to {high:g}")
        return number

    return read


def _one_of(codes: tuple[str, ...]) -> Callable[[str, str], str]:
    def read(name: str, text: str) -> str:
        if text not in codes:
            raise SpecError(name, text, "one of " + ", ".join(codes))
        return text

    return read


READERS: dict[str, Callable[[str, str], Any]] = {
    "hidden": _whole(*HIDDEN),
    "width": _whole(*WIDTH),
    "weights": _one_of(tuple(NIELSEN_WEIGHTS)),
    "activation": _one_of(tuple(ACTIVATIONS)),
    "cost": _one_of(tuple(COSTS)),
    "optimizer": _one_of(OPTIMIZERS),
    "rate": _real(*RATE),
    "batch": _one_of(BATCHES),
    "steps": _whole(*STEPS),
    "seed": _whole(*SEEDS),
    "clip": _one_of(CLIPS),
    "clip_limit": _real(*LIMIT),
    "l1": _real(*PENALTY),
    "l2": _real(*PENALTY),
    "remedy": _one_of((NONE, *REMEDIES)),
    "view": _one_of(VIEWS),
}


# --- presets --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainPreset:
    """One experiment: its number, a title and a sentence (msgids), and the question that opens it."""

    code: str
    experiment: str
    title: str
    sentence: str
    question: TrainQuestion

    @property
    def query(self) -> dict[str, str]:
        """The parameters of its link."""
        return self.question.to_query()


PRESETS: dict[str, TrainPreset] = {
    preset.code: preset
    for preset in (
        TrainPreset(
            "neurons",
            "2.1",
            "Neuron by neuron",
            "Two hidden layers of 30: each neuron's dC/db before any training. The second layer's are mostly larger.",
            TrainQuestion(hidden=2, steps=100, view="neurons"),
        ),
        TrainPreset(
            "start",
            "2.2",
            "Speeds at the start",
            "One to four hidden layers of 30 before any training: predicted law of the speeds beside the book's draws.",
            TrainQuestion(steps=100, view="start"),
        ),
        TrainPreset(
            "curves",
            "2.3",
            "Speeds over training",
            "Four hidden layers: the first starts about two orders of magnitude slower than the fourth. On a plateau "
            "all speeds fall and their ratio shrinks, without the network having learned.",
            TrainQuestion(),
        ),
        TrainPreset(
            "remedy",
            "2.4",
            "With a remedy",
            "The same seed with and without a remedy: choose which. All curves are drawn side by side.",
            TrainQuestion(remedy="relu_kaiming"),
        ),
        TrainPreset(
            "symptoms",
            "5",
            "Symptoms of an explosion",
            "ReLU with weights N(0, 1): gradients grow from layer to layer towards the input, the loss jumps, and "
            "units die. Below the curves: each symptom, where it shows, and its remedies.",
            TrainQuestion(activation="relu", weights="standard", cost="cross_entropy", steps=60),
        ),
    )
}
