"""What is to be trained: a frozen description of network, cost, optimizer, clipping, regularization and length.

spec = TrainSpec(network=nielsen([64, 30, 30, 10]), learning_rate=0.5, steps=200)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradcore import codec
from gradcore.errors import SpecError, UnsupportedError
from gradcore.experiments.costs import COSTS
from gradcore.experiments.data import Dataset
from gradcore.fields import FIELDS, Field, choice, integer, number, optional, read_int, read_number, read_optional
from gradcore.residual import inner_layers
from gradcore.spec import Spec

OPTIMIZERS = ("sgd", "momentum", "adam", "adamw")
CLIPS = ("none", "norm", "value")
DTYPES = ("float64", "float32")
FULL = "full"
BATCHES = 3  # stream of random numbers beside those of a measured network: the order of the items
_COSTS = tuple(COSTS)


def _batch(name: str, value: Any) -> int | str:
    return FULL if value == FULL else integer(1, 10**9)(name, value)


def _norm_type(name: str, value: Any) -> float:
    allowed = "1, 2 or inf"
    try:
        kind = float(value)
    except (TypeError, ValueError):
        raise SpecError(name, value, allowed) from None
    if isinstance(value, bool) or kind not in (1.0, 2.0, math.inf):
        raise SpecError(name, value, allowed)
    return kind


TRAIN_FIELDS: dict[str, Field] = {
    f.name: f
    for f in (
        Field("cost", "binary_cross_entropy", choice(_COSTS), str, "cost", "training", _COSTS),
        Field("optimizer", "sgd", choice(OPTIMIZERS), str, "optimizer", "training", OPTIMIZERS),
        Field("learning_rate", 0.1, number(0, 1e30), read_number, "learning rate", "training"),
        Field("momentum", 0.9, number(0, 0.999999), read_number, "momentum, where that is the optimizer", "training"),
        Field(
            "batch",
            FULL,
            _batch,
            lambda text: text if text == FULL else read_int(text),
            "items a step, or full",
            "training",
        ),
        Field("steps", 100, integer(1, 10**7), read_int, "number of updates", "training"),
        Field(
            "epochs",
            None,
            optional(integer(1, 10**6)),
            read_optional(read_int),
            "passes over the data; given, it decides instead of steps",
            "training",
        ),
        Field("clip", "none", choice(CLIPS), str, "gradient clipping", "remedies", CLIPS),
        Field("clip_limit", 1.0, number(1e-300, 1e30), read_number, "largest norm, or largest entry", "remedies"),
        Field("clip_norm_type", 2.0, _norm_type, read_number, "norm that is clipped: 1, 2 or inf", "remedies"),
        Field("l1", 0.0, number(0, 1e30), read_number, "lambda of lambda sum |w|", "remedies"),
        Field("l2", 0.0, number(0, 1e30), read_number, "lambda of (lambda / 2) sum w^2", "remedies"),
        Field("l2_norm", 0.0, number(0, 1e30), read_number, "lambda of lambda |w|, the plain norm", "remedies"),
        Field("seed", 0, integer(0, 2**62), read_int, "seed of the weights and of the order of items", "training"),
        Field("dtype", "float64", choice(DTYPES), str, "number format", "training", DTYPES),
    )
}
NIELSEN_WEIGHTS = {"scaled": "lecun_normal", "standard": "normal"}


def nielsen(sizes: Sequence[int], weights: str = "scaled") -> Spec:
    """The networks of Nielsen 2015, ch. 5: ``sizes`` of all layers with input and output, sigmoids, biases N(0, 1).

    ``weights``: "scaled" N(0, 1/fan_in), his later initialization, or "standard" N(0, 1). Raises SpecError.
    """
    if len(sizes) < 2:
        raise SpecError("sizes", sizes, "at least an input and an output size")
    if weights not in NIELSEN_WEIGHTS:
        raise SpecError("weights", weights, "one of " + ", ".join(NIELSEN_WEIGHTS))
    return Spec(
        depth=len(sizes) - 1,
        width=tuple(sizes[1:]),
        input_width=sizes[0],
        activation="sigmoid",
        init=NIELSEN_WEIGHTS[weights],
        bias_std=1.0,
    )


@dataclass(frozen=True, kw_only=True)
class TrainSpec:
    """One training run. Frozen, hashable; with a :class:`Dataset` it determines every number of the run.

    ``network`` is any Spec: its ``depth`` counts all L weight layers, and layer L is the plain readout onto the
    classes (also with a residual form, whose blocks are layers 2..L-1). One number for ``width`` is that of the hidden
    layers; of one number per layer, the last must be the number of classes. Input, batch and loss are those of this
    run: the Spec's own fields input*, batch_size and loss are ignored.

    ``l1``, ``l2`` and ``l2_norm`` act on weights, not on biases. L1 and the plain norm belong to the gradient that is
    clipped; L2 is the optimizer's weight_decay, added after the clipping (decoupled with adamw), as in torch.
    Raises SpecError naming the field.
    """

    network: Spec = field(default_factory=lambda: nielsen([64, 30, 30, 30, 30, 10]))
    cost: str = "binary_cross_entropy"
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    batch: int | str = FULL
    steps: int = 100
    epochs: int | None = None
    clip: str = "none"
    clip_limit: float = 1.0
    clip_norm_type: float = 2.0
    l1: float = 0.0
    l2: float = 0.0
    l2_norm: float = 0.0
    seed: int = 0
    dtype: str = "float64"

    def __post_init__(self) -> None:
        for name, entry in TRAIN_FIELDS.items():
            object.__setattr__(self, name, entry.check(name, getattr(self, name)))
        if not isinstance(self.network, Spec):
            raise SpecError("network", self.network, "a gradcore.Spec", "Make one with gradcore.Spec(...).")

    def replace(self, **changes: Any) -> TrainSpec:
        """A copy with some fields changed (checked again); a field of the Spec is passed on to the network."""
        own = {name: value for name, value in changes.items() if name == "network" or name in TRAIN_FIELDS}
        other = {name: value for name, value in changes.items() if name not in own}
        for name in other:
            if name not in FIELDS:
                raise SpecError(
                    name, other[name], "one of the fields " + ", ".join(("network", *TRAIN_FIELDS, *FIELDS))
                )
        changed = dataclasses.replace(self, **own)
        return dataclasses.replace(changed, network=changed.network.replace(**other)) if other else changed

    def to_json(self) -> dict[str, Any]:
        """A JSON object of the fields that differ from their defaults, the network's under "network"."""
        own = {n: getattr(self, n) for n, f in TRAIN_FIELDS.items() if getattr(self, n) != f.default}
        if own.get("clip_norm_type") == math.inf:
            own["clip_norm_type"] = "inf"
        return {"network": codec.to_json(self.network), **own}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> TrainSpec:
        """The TrainSpec of a JSON object. Raises SpecError at an unknown field or an illegal value."""
        if not isinstance(document, Mapping):
            raise SpecError("spec", document, "a JSON object")
        for name in document:
            if name not in TRAIN_FIELDS and name != "network":
                raise SpecError(name, document[name], "one of the fields network, " + ", ".join(TRAIN_FIELDS))
        own = {name: value for name, value in document.items() if name != "network"}
        if "network" in document:
            if not isinstance(document["network"], Mapping):
                raise SpecError("network", document["network"], "a JSON object")
            own["network"] = codec.from_json(document["network"])
        return cls(**own)

    def to_query(self) -> dict[str, str]:
        """Query parameters that open this run: the network's fields that differ from Spec's defaults, and the run's
        own that differ from theirs; no name is in both tables."""
        own = {n: f.write(getattr(self, n)) for n, f in TRAIN_FIELDS.items() if getattr(self, n) != f.default}
        return {**codec.to_query(self.network), **own}

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> TrainSpec:
        """The TrainSpec of these parameters; without any of the network's it is Spec(). Raises SpecError."""
        own = {n: TRAIN_FIELDS[n].read(text) for n, text in query.items() if n in TRAIN_FIELDS}
        network = codec.from_query({n: text for n, text in query.items() if n not in TRAIN_FIELDS})
        return cls(network=network, **own)

    # --- with the data ----------------------------------------------------------------------------------------

    def sized(self, data: Dataset) -> Spec:
        """The plain Spec of the layers' sizes on this data: fan-ins, widths, gains and laws of the weights, no
        residual form. Raises SpecError where the network's own sizes are not the data's."""
        spec = self.network
        if spec.input != "digits" and spec.input_width not in (None, data.pixels):
            raise SpecError(
                "input_width", spec.input_width, f"{data.pixels}, the pixels of {data.name}", "Leave input_width out."
            )
        if isinstance(spec.width, tuple):
            if spec.width[-1] != data.classes:
                raise SpecError("width", spec.width, f"widths that end in {data.classes}, the classes of {data.name}")
            widths = spec.width
        else:
            widths = (spec.width,) * (spec.depth - 1) + (data.classes,)
        return spec.replace(width=widths, input_width=data.pixels, input="gaussian", residual="none")

    def inner(self) -> tuple[bool, ...]:
        """(L,) the layers inside a residual block of two; the readout never is."""
        depth = self.network.depth
        hidden = inner_layers(self.network.residual, depth - 1).tolist() if depth > 1 else []
        return (*hidden, False)

    def batch_items(self, data: Dataset) -> int:
        """Items of one step: at most what the data holds. Raises UnsupportedError for batch norm with one item."""
        size = data.items if self.batch == FULL else min(int(self.batch), data.items)
        if self.network.norm == "batch" and size < 2:
            raise UnsupportedError("batch norm with one item a step", "torch refuses it", "batch >= 2")
        return size

    def steps_on(self, data: Dataset) -> int:
        """Number of updates: ``steps``, or what ``epochs`` come to."""
        return self.steps if self.epochs is None else self.epochs * self.batches(data)

    def batches(self, data: Dataset) -> int:
        """Batches of one pass; a rest of fewer items than a batch is left out of it."""
        return data.items // self.batch_items(data)

    def batch_indices(self, data: Dataset, step: int) -> np.ndarray:
        """(B,) the items of step 0, 1, ...: all in their order, or a part of the pass's own seeded shuffling."""
        size = self.batch_items(data)
        if size == data.items:
            return np.arange(size)
        epoch, place = divmod(step, self.batches(data))
        order = np.random.default_rng(np.random.SeedSequence([self.seed, epoch, BATCHES])).permutation(data.items)
        return order[place * size : (place + 1) * size]
