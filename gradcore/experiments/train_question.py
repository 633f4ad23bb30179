"""What the page Train asks in plain values: the text forms that a link carries, and the run that they mean.

The names are query parameters with "train_" before them: ``train_hidden=2&train_activation=relu``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gradcore import query
from gradcore.activations import ACTIVATIONS
from gradcore.experiments.costs import COSTS
from gradcore.experiments.data import Dataset
from gradcore.experiments.remedies import REMEDIES
from gradcore.experiments.train_spec import CLIPS, FULL, NIELSEN_WEIGHTS, OPTIMIZERS, TrainSpec, nielsen
from gradcore.query import Reader, one_of, real, whole
from gradcore.spec import Spec

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
VIEWS = ("updates", "saturated", "factors", "neurons", "start")
NETWORKS = ("nielsen", "spec")
BOOK = ("–", "0.07, 0.31", "0.012, 0.060, 0.283", "0.003, 0.017, 0.070, 0.285")  # Nielsen's draws, by hidden layers
OWN = ("hidden", "width", "weights", "activation")  # fields that say nothing of a network that is a Spec


@dataclass(frozen=True)
class TrainQuestion:
    """A training run and what is looked at: the fields of TrainSpec, ``remedy`` a code of REMEDIES that is tried beside
    it, or "none", ``view`` one of VIEWS.

    ``network`` "nielsen": ``hidden`` layers of ``width`` units each with the law of ``nielsen(..., weights)`` and this
    ``activation``; "spec": any Spec, given to ``spec`` beside the data. A link holds its fields under their own names.
    """

    network: str = "nielsen"
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

    def spec(self, data: Dataset, network: Spec | None = None) -> TrainSpec:
        """The plain run on this data; ``network``: the Spec where it is one (default: Spec()). Raises SpecError, also
        where the sizes of the Spec are not those of the data."""
        own = (network or Spec()) if self.network == "spec" else self._nielsen(data)
        spec = TrainSpec(
            network=own,
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
        spec.sized(data)
        return spec

    def with_hidden(self, hidden: int, plain: TrainSpec, data: Dataset) -> TrainSpec:
        """The ``plain`` run of this question with so many hidden layers, of the width of the first one."""
        if self.network == "spec":
            own = plain.network
            return plain.replace(network=own.replace(depth=hidden + 1, width=int(own.layer_widths[0])))
        return replace(self, hidden=hidden).spec(data)

    def _nielsen(self, data: Dataset) -> Spec:
        sizes = [data.pixels, *[self.width] * self.hidden, data.classes]
        return nielsen(sizes, self.weights).replace(activation=self.activation)

    def to_query(self) -> dict[str, str]:
        """The parameters of a link; defaults are left out."""
        return query.write(self, PREFIX)


def from_query(parameters: Mapping[str, str]) -> TrainQuestion:
    """The question of these parameters; others than train_... are left alone. Raises SpecError."""
    return query.read(TrainQuestion, READERS, PREFIX, parameters)


# --- reading text ---------------------------------------------------------------------------------------------


READERS: dict[str, Reader] = {
    "network": one_of(NETWORKS),
    "hidden": whole(*HIDDEN),
    "width": whole(*WIDTH),
    "weights": one_of(tuple(NIELSEN_WEIGHTS)),
    "activation": one_of(tuple(ACTIVATIONS)),
    "cost": one_of(tuple(COSTS)),
    "optimizer": one_of(OPTIMIZERS),
    "rate": real(*RATE),
    "batch": one_of(BATCHES),
    "steps": whole(*STEPS),
    "seed": whole(*SEEDS),
    "clip": one_of(CLIPS),
    "clip_limit": real(*LIMIT),
    "l1": real(*PENALTY),
    "l2": real(*PENALTY),
    "remedy": one_of((NONE, *REMEDIES)),
    "view": one_of(VIEWS),
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
            "factors",
            "1.9",
            "Do the weights grow out of it?",
            "Two hidden layers that Adam trains to 99%: the weights grow several times over, and still one factor "
            "|w σ'(z)| in a thousand is above 1. Learning does not end the product of small factors.",
            TrainQuestion(hidden=2, optimizer="adam", rate=0.03, view="factors"),
        ),
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
