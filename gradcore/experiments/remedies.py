"""The table of remedies: each one change of a TrainSpec, with what it does and what it does not do.

run = train_all(REMEDIES["batch_norm"].apply(spec), data)     # the same seed: beside the plain run
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcore.errors import SpecError, UnsupportedError
from gradcore.experiments.data import Dataset
from gradcore.experiments.first_step import FirstStep, predict_first_step
from gradcore.experiments.train_spec import TrainSpec
from gradcore.experiments.training import Run, RunComparison, compare_runs, train_all
from gradcore.words import Message

HALF_LINEAR = ("relu", "leaky_relu", "prelu")  # Kaiming's law is made for these, not for a linear net
CLIP_LIMIT = 1.0
CLIP_VALUE = 0.1
DECAY = 1e-3
SLOWER = 0.1


@dataclass(frozen=True, eq=False)
class Remedy:
    """One remedy. ``change(spec)`` are the fields of TrainSpec or Spec that it sets; ``against`` what it is used for
    ("vanishing", "exploding"); ``title``, ``does`` and ``does_not`` say it in words; ``source`` who proposed it."""

    code: str
    title: Message
    does: Message
    does_not: Message
    against: tuple[str, ...]
    source: str
    change: Callable[[TrainSpec], dict[str, Any]]

    def apply(self, spec: TrainSpec) -> TrainSpec:
        """The changed TrainSpec, of the same seed. Raises UnsupportedError where the remedy has nothing to act on."""
        try:
            return spec.replace(**self.change(spec))
        except SpecError as error:
            raise UnsupportedError(f"the remedy {self.code}", str(error), "networks that it fits") from None


REMEDIES: dict[str, Remedy] = {}


def _add(
    code: str, title: str, does: str, does_not: str, against: tuple[str, ...], source: str
) -> Callable[[Callable[[TrainSpec], dict[str, Any]]], Callable[[TrainSpec], dict[str, Any]]]:
    def register(change: Callable[[TrainSpec], dict[str, Any]]) -> Callable[[TrainSpec], dict[str, Any]]:
        name = f"remedy_{code}"
        texts = Message(name, title), Message(f"{name}_does", does), Message(f"{name}_does_not", does_not)
        REMEDIES[code] = Remedy(code, texts[0], texts[1], texts[2], against, source, change)
        return change

    return register


BOTH = ("vanishing", "exploding")


@_add(
    "relu",
    "ReLU instead of a saturating activation",
    "Where a unit is on, its derivative is 1: no factor of at most 1/4 (sigmoid) or below 1 (tanh) a layer.",
    "It leaves the weights' scale as it is: with unfit weights the gradient still vanishes or explodes, and a unit "
    "that is off on every item learns nothing.",
    ("vanishing",),
    "Glorot et al. 2011",
)
def _relu(spec: TrainSpec) -> dict[str, Any]:
    return {"activation": "relu"}


@_add(
    "initialization",
    "Xavier's or Kaiming's initialization, biases 0",
    "It sets the weights' variance so that signal and gradient keep their size from layer to layer at the start.",
    "It cannot repair an activation whose derivative is small everywhere, as the sigmoid's, and it holds at the start "
    "alone.",
    BOTH,
    "Glorot & Bengio 2010; He et al. 2015",
)
def _initialization(spec: TrainSpec) -> dict[str, Any]:
    if spec.network.activation in HALF_LINEAR:
        return {"init": "kaiming_normal", "gain": 1.0, "bias_std": 0.0}
    return {"init": "xavier_normal", "gain": "auto", "bias_std": 0.0}


@_add(
    "relu_kaiming",
    "ReLU with Kaiming's initialization, biases 0",
    "Activation and weights that fit each other: signal and gradient keep their mean square through every layer.",
    "Single networks still scatter with depth over width, and nothing holds the size once training has moved the "
    "weights.",
    BOTH,
    "He et al. 2015",
)
def _relu_kaiming(spec: TrainSpec) -> dict[str, Any]:
    return {"activation": "relu", "init": "kaiming_normal", "gain": 1.0, "bias_std": 0.0}


@_add(
    "batch_norm",
    "Batch normalization before the activation",
    "It pins every layer's signal, whatever the weights' scale, and keeps units out of saturation.",
    "It does not pin the gradient: at the start this grows from layer to layer towards the input, and in very deep "
    "plain networks it explodes.",
    ("vanishing",),
    "Ioffe & Szegedy 2015; Yang et al. 2019",
)
def _batch_norm(spec: TrainSpec) -> dict[str, Any]:
    if spec.batch == 1:
        raise UnsupportedError("batch norm with one item a step", "torch refuses it", "batch >= 2")
    return {"norm": "batch", "norm_position": "before"}


@_add(
    "residual",
    "Residual connections",
    "The gradient reaches every layer past the blocks as well: a layer's factor is 1 plus what the branch adds.",
    "It does not hold down an exploding gradient: at branch scale 1 every block adds to it.",
    ("vanishing",),
    "He et al. 2016",
)
def _residual(spec: TrainSpec) -> dict[str, Any]:
    if spec.network.depth <= 2:
        raise UnsupportedError("residual connections", "one hidden layer has no room for a block", "two or more")
    return {"residual": "identity", "width": _one_width(spec)}


@_add(
    "clip_norm",
    "Gradient clipping by norm",
    "It bounds the length of every step and keeps its direction.",
    "It multiplies all layers by one factor: their ratios stay, so it cannot cure vanishing.",
    ("exploding",),
    "Pascanu et al. 2013",
)
def _clip_norm(spec: TrainSpec) -> dict[str, Any]:
    return {"clip": "norm", "clip_limit": CLIP_LIMIT, "clip_norm_type": 2.0}


@_add(
    "clip_value",
    "Gradient clipping by value",
    "It bounds every entry of the gradient.",
    "It turns the direction of the step, and small entries stay as they are: it cannot cure vanishing.",
    ("exploding",),
    "Mikolov 2012",
)
def _clip_value(spec: TrainSpec) -> dict[str, Any]:
    return {"clip": "value", "clip_limit": CLIP_VALUE}


@_add(
    "fewer_layers",
    "Half as many hidden layers",
    "Fewer factors in the product: the gradient of the first layer is that much nearer to the last one's.",
    "It changes no factor, and it gives up what depth is for.",
    BOTH,
    "",
)
def _fewer_layers(spec: TrainSpec) -> dict[str, Any]:
    depth, width = spec.network.depth, spec.network.width
    if depth <= 2:
        raise UnsupportedError("fewer layers", "one hidden layer is left at most", "two hidden layers or more")
    hidden = (depth - 1) // 2
    narrow = width if isinstance(width, int) else (*width[:hidden], width[-1])
    return {"depth": hidden + 1, "width": narrow}


@_add(
    "l1",
    "L1 penalty on the weights",
    "It pulls every weight towards 0 by the same amount and sets many to 0.",
    "Smaller weights make the factors smaller: it works against explosion and makes vanishing worse.",
    ("exploding",),
    "Tibshirani 1996",
)
def _l1(spec: TrainSpec) -> dict[str, Any]:
    return {"l1": DECAY}


@_add(
    "l2",
    "L2 penalty on the weights (weight decay)",
    "It shrinks every weight by the same factor a step and holds the weights' norms down.",
    "Smaller weights make the factors smaller: it works against explosion and makes vanishing worse.",
    ("exploding",),
    "Krogh & Hertz 1991",
)
def _l2(spec: TrainSpec) -> dict[str, Any]:
    return {"l2": DECAY}


@_add(
    "smaller_learning_rate",
    "A tenth of the learning rate",
    "Every step is a tenth as long: steps that overshoot become steps downhill.",
    "It changes no gradient: layers that hardly learn learn even less.",
    ("exploding",),
    "",
)
def _smaller_learning_rate(spec: TrainSpec) -> dict[str, Any]:
    return {"learning_rate": SLOWER * spec.learning_rate}


@_add(
    "adam",
    "Adam instead of one learning rate for all",
    "It divides each weight's step by the size of its own gradients: layers with small gradients move as well.",
    "It changes no gradient: what is below its epsilon, or is noise, stays so.",
    ("vanishing",),
    "Kingma & Ba 2015",
)
def _adam(spec: TrainSpec) -> dict[str, Any]:
    return {"optimizer": "adam", "learning_rate": min(spec.learning_rate, 0.001)}


def _one_width(spec: TrainSpec) -> int:
    """The common width of the hidden layers."""
    width = spec.network.width
    if isinstance(width, int):
        return width
    hidden = set(width[:-1])
    if len(hidden) != 1:
        raise UnsupportedError("residual connections", "the hidden layers differ in width", "hidden layers alike")
    return hidden.pop()


def changed_fields(spec: TrainSpec, code: str) -> dict[str, Any]:
    """The fields that a remedy changes in this TrainSpec, by name. Raises SpecError, UnsupportedError."""
    return remedy(code).change(spec)


def remedy(code: str) -> Remedy:
    """The remedy of this code. Raises SpecError."""
    if code not in REMEDIES:
        raise SpecError("remedy", code, "one of " + ", ".join(REMEDIES))
    return REMEDIES[code]


@dataclass(frozen=True, eq=False)
class Remedied:
    """A remedied run beside the plain one of the same seed: its ``run``, the ``comparison``, and ``predicted``, the
    factor on the first layer's median speed at the start (1 where the remedy changes no gradient)."""

    code: str
    run: Run
    comparison: RunComparison
    predicted: float


def predicted_lift(plain: FirstStep, changed: FirstStep) -> float:
    """The factor on the first layer's median speed at the first step; nan where both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.divide(changed.median()[0], plain.median()[0]))


def try_remedy(code: str, plain: Run, data: Dataset, plain_first: FirstStep | None = None) -> Remedied:
    """Train with the remedy from the plain run's seed for as many steps, and compare.

    ``plain_first`` is the prediction of the plain run where it is known. Raises SpecError, UnsupportedError.
    """
    changed = remedy(code).apply(plain.spec)
    run = train_all(changed, data)
    predicted = 1.0
    if changed.network != plain.spec.network:
        first = plain_first if plain_first is not None else predict_first_step(plain.spec, data)
        predicted = predicted_lift(first, predict_first_step(changed, data))
    return Remedied(code, run, compare_runs(plain, run), predicted)
