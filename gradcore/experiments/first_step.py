"""Predicted learning speeds: the law of the first gradient of a run, on the run's own data, without torch.

At 30 units a network is far from infinite width, and on 1000 fixed images its layers' speeds differ by half an order
of magnitude from seed to seed: the prediction is the law over seeds itself, by random networks of exactly the Spec's
law, run forward and backward once by the formulas of ``gradcore.theory.networks_in_law`` on the data, with the cost's
own cotangent at the output. Exact in law, no approximation; what is left is the error of the sample of networks.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from gradcore.errors import SpecError, UnsupportedError
from gradcore.experiments.costs import COSTS
from gradcore.experiments.data import Dataset
from gradcore.experiments.train_spec import FULL, TrainSpec
from gradcore.spec import Spec
from gradcore.theory.networks_in_law import BLOCKS, Laws, Networks, Pull, Pulled
from gradcore.theory.weight_law import ENTRIES

Array = np.ndarray
WORK = 8e9  # multiplications that are spent; about 3 s
FEWEST, MOST = 32, 400  # networks; of fewer no 95% band can be read
QUICK, QUICK_WORK = 150, 3e10  # networks of a prediction that is waited for, and its multiplications: two or three s
ENTRY, LAYER = 100.0, 1e6  # what a unit on an item, and what a layer costs beside them, in multiplications
CHUNK = 2**18  # entries of one layer's activations at a time
QUANTITIES = ("speeds", "weight_gradients", "weight_norms")
USABLE = 100.0  # a first layer slower than the last hidden one by more than this gets no usable gradient


@dataclass(frozen=True, eq=False)
class FirstStep:
    """The first gradient of S random networks: ``speeds`` |dC/db^l|, ``weight_gradients`` |dC/dW^l| and
    ``weight_norms`` |W^l|, (S, L) each, Euclidean norms as TrainStep has them."""

    spec: TrainSpec
    speeds: Array
    weight_gradients: Array
    weight_norms: Array

    def values(self, name: str) -> Array:
        """(S, L) of one quantity. Raises SpecError."""
        if name not in QUANTITIES:
            raise SpecError("name", name, "one of " + ", ".join(QUANTITIES))
        return getattr(self, name)

    def median(self, name: str = "speeds") -> Array:
        """(L,) of one random network."""
        return np.median(self.values(name), axis=0)

    def mean(self, name: str = "speeds") -> Array:
        """(L,) root of the mean square over networks."""
        return np.sqrt(np.mean(self.values(name) ** 2, axis=0))

    def band(self, name: str = "speeds", level: float = 0.95) -> tuple[Array, Array]:
        """(low, high), (L,) each: between them a further network falls with this probability."""
        if not 0.0 < level < 1.0:
            raise SpecError("level", level, "a number above 0 and below 1")
        tail = 0.5 * (1.0 - level)
        low, high = np.quantile(self.values(name), [tail, 1.0 - tail], axis=0, method="weibull")
        return low, high

    @property
    def spread(self) -> Array:
        """(S,) the last hidden layer's speed over the first's (1 with one layer; inf where the first is 0)."""
        last = max(self.speeds.shape[1] - 2, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.speeds[:, last] / self.speeds[:, 0]

    @property
    def norms(self) -> Array:
        """(S,) the norm of the gradient of all weights and biases together."""
        return np.sqrt(np.sum(self.speeds**2 + self.weight_gradients**2, axis=1))


def predict_first_step(
    spec: TrainSpec,
    data: Dataset,
    *,
    networks: int | None = None,
    seed: int | None = None,
    progress: Callable[[int, int], Any] = lambda done, total: None,
) -> FirstStep:
    """The law of the first step of ``train(spec, data)`` over its seed, on its first batch.

    ``networks``: how many are drawn (default: as many as take some seconds, 32 to 400), from a seed of the question
    itself unless ``seed`` is given. ``progress(done, total)`` is called after every few. Validity: exact in law for
    every network, up to the sampling error of its quantiles; float64. Raises SpecError, UnsupportedError.
    """
    sized, rows = spec.sized(data), spec.batch_indices(data, 0)
    work = 6.0 * len(rows) * float(np.sum(sized.fan_ins * sized.layer_widths.astype(float)))
    count = int(min(MOST, max(FEWEST, WORK // work))) if networks is None else networks
    own = zlib.crc32(repr((spec.replace(seed=0), data.digest)).encode())
    root = np.random.SeedSequence([own if seed is None else seed])
    size = max(1, CHUNK // (int(max(sized.layer_widths.max(), data.pixels)) * len(rows)))
    starts = range(0, count, size)
    parts = []
    for start, child in zip(starts, root.spawn(len(starts)), strict=True):
        few = _Networks(spec, sized, data.inputs[rows], data.targets[rows], min(size, count - start), child)
        parts.append(few.run())
        progress(min(start + size, count), count)
    return FirstStep(spec, **{name: np.concatenate([part[name] for part in parts]) for name in QUANTITIES})


def law_of(spec: TrainSpec) -> TrainSpec:
    """The same without what the first gradient's law does not depend on: of equal laws one prediction serves all."""
    seed = 0 if spec.batch == FULL else spec.seed
    return TrainSpec(network=spec.network, cost=spec.cost, batch=spec.batch, seed=seed)


def affordable_networks(spec: TrainSpec, data: Dataset, most: int = QUICK) -> int:
    """As many random networks, ``most`` at most, as a prediction takes in some seconds; 0 where these are too few to
    tell their law."""
    sized = spec.sized(data)
    widths, items = sized.layer_widths.astype(float), spec.batch_items(data)
    work = items * (6.0 * float((sized.fan_ins * widths).sum()) + ENTRY * float(widths.sum())) + LAYER * sized.depth
    count = int(min(most, QUICK_WORK // work))
    return count if count >= min(FEWEST, most) else 0


def measure_first_step(
    spec: TrainSpec,
    data: Dataset,
    *,
    networks: int | Iterable[int] = 60,
    progress: Callable[[int, int], Any] = lambda done, total: None,
) -> FirstStep:
    """The same quantities of real torch networks: the first step of ``train`` from the seeds spec.seed + i of these
    networks i, on one and the same first batch. Loads torch. Raises SpecError, UnsupportedError."""
    from gradcore.experiments.training_loop import Loop

    indices = range(networks) if isinstance(networks, int) else tuple(networks)
    batch = data.part(spec.batch_indices(data, 0))
    rows = []
    for done, index in enumerate(indices, 1):
        step = next(Loop(spec.replace(seed=spec.seed + index, batch=FULL), batch, ()).steps())
        if step.stop is not None and not step.weight_norms:
            raise UnsupportedError("a first step", str(step.stop.message), "networks whose first gradient is finite")
        rows.append([getattr(step, name) for name in QUANTITIES])
        progress(done, len(indices))
    if not rows:
        raise SpecError("networks", networks, "at least one network")
    return FirstStep(
        spec, **{name: np.array(values) for name, values in zip(QUANTITIES, zip(*rows, strict=True), strict=True)}
    )


class _Networks(Networks):
    """S networks with their weights as matrices, on given images: the blocks are those of Networks."""

    def __init__(
        self, spec: TrainSpec, sized: Spec, x: Array, y: Array, count: int, child: np.random.SeedSequence
    ) -> None:
        super().__init__(spec.network, Laws(sized, sized), count, np.random.default_rng(child))
        self.sized, self.x, self.y, self.cost = sized, x, y, COSTS[spec.cost]
        self.out = {name: np.zeros((count, sized.depth)) for name in QUANTITIES}
        self.inner = list(spec.inner())
        self.shifted = np.zeros(sized.depth, dtype=bool)

    def run(self) -> dict[str, Array]:
        """Every quantity (S, L)."""
        depth = self.sized.depth
        signals: list[Array] = []
        pulls: list[Pulled] = []
        for layer in range(depth):
            z, pull = self._layer(layer, signals)
            signals = [*signals[-1:], z]
            pulls.append(pull)
        d, scale = self.cost.cotangent(signals[-1], self.y), np.zeros(self.count)
        held: Array | None = None
        for _ in range(depth):
            size = np.sqrt(np.mean(d * d, axis=(1, 2), keepdims=True))
            size = np.where(size > 0.0, size, 1.0)  # a dead network's cotangent stays 0
            d, scale = d / size, scale + np.log(size[:, 0, 0])
            held = None if held is None else held / size
            self.at = scale
            d, held = pulls.pop()(d, scale, held)
        return self.out

    def _layer(self, layer: int, signals: list[Array]) -> tuple[Array, Pulled]:
        if layer == 0:
            z, pull = self.linear(0, np.repeat(self.x[None], self.count, axis=0))
            return z, lambda d, scale, held: (pull(d, scale), None)
        if layer < self.sized.depth - 1:
            return BLOCKS[self.spec.residual](self, layer, signals)
        if self.spec.residual not in INSIDE:
            return BLOCKS["none"](self, layer, signals)
        z, pull = self.linear(layer, signals[-1])
        return z, lambda d, scale, held: (pull(d, scale), None)

    def linear(self, layer: int, x: Array, alpha: float = 1.0) -> tuple[Array, Callable[[Array, Array], Array]]:
        """(alpha (W x + b), its pullback), which notes the parameter gradients of the mean over items."""
        fan_in, fan_out = int(self.sized.fan_ins[layer]), int(self.sized.layer_widths[layer])
        weights = _draw(self.sized, self.laws, layer, (self.count, fan_out, fan_in), self.rng)
        self.out["weight_norms"][:, layer] = np.sqrt(np.sum(weights**2, axis=(1, 2)))
        z = x @ weights.swapaxes(1, 2)
        if self.spec.bias_std and not self.inner[layer]:
            z = z + self._biases(float(self.laws.bias_stds[layer]), fan_out)

        def pull(d: Array, scale: Array) -> Array:
            each = np.exp(scale) * abs(alpha) / x.shape[1]
            slope = d.swapaxes(1, 2) @ x
            self.out["weight_gradients"][:, layer] = each * np.sqrt(np.sum(slope**2, axis=(1, 2)))
            if not self.shifted[layer]:
                self.out["speeds"][:, layer] = each * np.linalg.norm(d.sum(axis=1), axis=1)
            return alpha * (d @ weights) if layer else d

        return alpha * z, pull

    def unit(self, layer: int, z: Array) -> tuple[Array, Pull]:
        """As in Networks; the shift of a batch norm before the activation is what its layer learns by."""
        own = not (self.inner[layer] or self.spec.norm != "batch" or self.spec.norm_position == "after")
        if not own:
            return super().unit(layer, z)
        place = layer + (self.spec.residual in INSIDE)  # there the unit belongs to the weights of its own block
        self.shifted[place] = True
        y, through_norm = self._norm(z)
        value, through_phi = self._phi(y)

        def pull(d: Array) -> Array:
            d = through_phi(d)
            self.out["speeds"][:, place] = np.exp(self.at) * np.linalg.norm(d.sum(axis=1), axis=1) / d.shape[1]
            return through_norm(d)

        return value, pull


INSIDE = ("post_activation", "resnet_v1")  # forms whose activation lies inside the block


def _draw(sized: Spec, laws: Laws, layer: int, shape: tuple[int, int, int], rng: np.random.Generator) -> Array:
    kind, gain, std = sized.init_entry.kind, float(laws.gains[layer]), math.sqrt(float(laws.variances[layer]))
    if kind in ENTRIES:
        return partial(ENTRIES[kind], gain=gain, std=std, sparsity=sized.sparsity)(shape, rng)
    return _LAWS[kind](shape, gain, std, rng)


def _orthogonal(shape: tuple[int, int, int], gain: float, std: float, rng: np.random.Generator) -> Array:
    """The first columns of a Haar matrix, or their transpose."""
    count, rows, columns = shape
    tall = rng.standard_normal((count, max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    q = gain * q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None, :]
    return q if rows >= columns else q.swapaxes(1, 2)


_LAWS: dict[str, Callable[[tuple[int, int, int], float, float, np.random.Generator], Array]] = {
    "gaussian": lambda shape, gain, std, rng: std * rng.standard_normal(shape),
    "orthogonal": _orthogonal,
    "constant": lambda shape, gain, std, rng: np.full(shape, gain),
    "eye": lambda shape, gain, std, rng: np.repeat(gain * np.eye(*shape[1:])[None], shape[0], axis=0),
}


@dataclass(frozen=True)
class UsableDepth:
    """``hidden`` the largest number of hidden layers at which the first still gets a usable gradient, 0 where none;
    ``spreads`` the median spread at 1, 2, ... hidden layers that were tried; ``limit`` the spread still usable."""

    hidden: int
    spreads: tuple[float, ...]
    limit: float


def usable_depth(
    spec: TrainSpec,
    data: Dataset,
    *,
    limit: float = USABLE,
    most: int = 20,
    networks: int = 64,
    progress: Callable[[int, int], Any] = lambda done, total: None,
) -> UsableDepth:
    """How many hidden layers leave the first layer a gradient within ``limit`` of the last hidden layer's.

    The median spread over random networks is predicted for 1, 2, ... hidden layers of the first hidden width, until
    it is above the limit or below 1 / limit, at most ``most``. Raises SpecError.
    """
    if not limit > 1.0:
        raise SpecError("limit", limit, "a number above 1")
    width = int(spec.network.layer_widths[0])
    spreads: list[float] = []
    for hidden in range(1, most + 1):
        changed = spec.replace(network=spec.network.replace(depth=hidden + 1, width=width))
        spread = float(np.median(predict_first_step(changed, data, networks=networks).spread))
        spreads.append(spread)
        progress(hidden, most)
        if not 1.0 / limit <= spread <= limit:
            return UsableDepth(hidden - 1, tuple(spreads), limit)
    return UsableDepth(most, tuple(spreads), limit)
