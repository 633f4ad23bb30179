"""Records to look at, section 5: what the page Symptoms asks, and its example records, each a short run of our trainer.

    log = EXAMPLES["exploding"].log(digits())
    find_symptoms(log)

A link holds ``symptoms_example=exploding``. torch is loaded by the run alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gradcore import query
from gradcore.experiments.data import Dataset
from gradcore.experiments.symptoms import SYMPTOMS
from gradcore.experiments.train_question import HIDDEN, TrainQuestion
from gradcore.experiments.training import Run, train_all
from gradcore.experiments.training_log import TrainingLog
from gradcore.query import Reader, one_of

PREFIX = "symptoms_"


@dataclass(frozen=True)
class Example:
    """A ready record: ``code``, a ``title`` and a ``sentence`` (msgids), and the ``question`` whose run it is."""

    code: str
    title: str
    sentence: str
    question: TrainQuestion

    def run(self, data: Dataset, progress: Callable[[int, int], Any] | None = None) -> Run:
        """The run itself on this data; some tenths of a second."""
        return train_all(self.question.spec(data), data, progress=progress)

    def log(self, data: Dataset) -> TrainingLog:
        """Its record."""
        return TrainingLog.from_run(self.run(data))

    @property
    def query(self) -> dict[str, str]:
        """The parameters of its link."""
        return SymptomsQuestion(self.code).to_query()


EXAMPLES: dict[str, Example] = {
    example.code: example
    for example in (
        Example(
            "vanishing",
            "Vanishing: sigmoid",
            "Four hidden layers of sigmoids, gradient descent: the last layer learns, the first one hardly moves.",
            TrainQuestion(steps=40),
        ),
        Example(
            "exploding",
            "Exploding: ReLU",
            "ReLU with weights N(0, 1): gradients grow towards the input, one large step kills the units, and then "
            "nothing moves any more.",
            TrainQuestion(activation="relu", weights="standard", cost="cross_entropy", steps=40),
        ),
        Example(
            "diverging",
            "Loss not a number",
            "Three linear layers with a learning rate of 1: every step overshoots more, and the seventh has no loss.",
            TrainQuestion(hidden=3, activation="linear", rate=1.0, steps=40),
        ),
        Example(
            "overflow",
            "Weights overflow",
            "Learning rate times weight decay is 19: every step multiplies the weights by 1 − 19 = −18 until they are "
            "infinite, while the loss of the sigmoid outputs stays finite.",
            TrainQuestion(hidden=2, cost="quadratic", rate=1.9, l2=10.0, steps=300),
        ),
        Example(
            "saturated",
            "Saturated: tanh",
            "tanh with weights N(0, 1): most units sit where the activation is flat.",
            TrainQuestion(activation="tanh", weights="standard", steps=30),
        ),
        Example(
            "healthy",
            "Healthy",
            "Two hidden layers of ReLU with Adam: the loss falls, and every layer moves.",
            TrainQuestion(hidden=2, activation="relu", cost="cross_entropy", optimizer="adam", rate=0.01, steps=60),
        ),
    )
}


@dataclass(frozen=True)
class SymptomsQuestion:
    """Which example is shown while no record of one's own is there."""

    example: str = "vanishing"

    def to_query(self) -> dict[str, str]:
        """The parameters of a link; defaults are left out."""
        return query.write(self, PREFIX)


def from_query(parameters: Mapping[str, str]) -> SymptomsQuestion:
    """The question of these parameters; others than symptoms_... are left alone. Raises SpecError."""
    return query.read(SymptomsQuestion, READERS, PREFIX, parameters)


READERS: dict[str, Reader] = {"example": one_of(tuple(EXAMPLES))}


def like_network(log: TrainingLog, code: str) -> TrainQuestion:
    """A plain run to try a remedy of this symptom on: as many hidden layers as the record has (6 at most), of 30 units,
    with the law of the weights that shows it: sigmoid for what vanishes, ReLU with N(0, 1) for what explodes."""
    known = [values for values in (log.grad, log.weight, log.update, log.change, log.node) if values is not None]
    layers = known[0].shape[1] if known else 5
    hidden = min(max(layers - 1, HIDDEN[0]), HIDDEN[1])
    if SYMPTOMS[code].kind == "exploding":
        return TrainQuestion(hidden=hidden, activation="relu", weights="standard", cost="cross_entropy", steps=60)
    return TrainQuestion(hidden=hidden)
