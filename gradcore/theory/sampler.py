"""One random network after another, exactly in law: what bands are read off where no expansion holds.

A network is its ordinary forward and backward pass (``networks_in_law``) without a weight matrix: B^2 n operations a
layer instead of B n^2. Signals must stay within float64, or the network must be homogeneous.

Very wide networks are sampled at WIDEST units and their deviations shrunk by the ratio of the widths: all
fluctuations here are of order 1/width.

Checked against torch's dense networks by tests/test_sampler.py and tests/test_coverage.py.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from gradcore.theory.networks_in_law import BLOCKS, QUANTITIES, Laws, Networks, rescales

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray
WIDEST = 1024  # units; wider networks are scaled down to it
NARROWEST = 16  # units that a scaled-down layer must keep
WORK, MOST_WORK = 1e8, 3e9  # what is spent, and what at most: entries times (1 + B / 8); 1e8 take about 2 s
FEWEST, MOST = 128, 1024  # networks
MANY = 250  # networks from which their own order statistics are the quantiles
CHUNK = 2**16  # entries of one layer's activations at a time
LARGEST_LOG = 600.0  # of any second moment that float64 holds with room


@dataclass(frozen=True)
class Sample:
    """``logs[name]`` (S, L): natural logs of second moments of S random networks, -inf where one is dead.

    ``shrink`` < 1 is the ratio of the sampled width to the asked one.
    """

    logs: dict[str, Array]
    shrink: float = 1.0

    @cached_property
    def _sorted(self) -> dict[str, Array]:
        return {name: np.sort(logs, axis=0) for name, logs in self.logs.items()}

    @cached_property
    def _moments(self) -> dict[str, tuple[Array, ...]]:
        return {name: _log_moments(logs) for name, logs in self.logs.items()}

    def quantile(self, name: str, share: float) -> Array:
        """(L,) the log below which this share of networks lies; -inf where more networks than that are dead.

        Of many networks the order statistic at share (S + 1), below which a further network falls with exactly this
        probability, whatever the law; of few ones halfway to the smoother quantile of a skewed normal law.
        """
        ranked = self._ranked(name, share)
        if len(self.logs[name]) >= MANY:
            return ranked
        with np.errstate(invalid="ignore"):
            both = 0.5 * (ranked + self._smooth(name, share))
        return np.where(np.isneginf(ranked), ranked, both)

    def _ranked(self, name: str, share: float) -> Array:
        """The order statistic, between two of them by interpolation."""
        logs = self._sorted[name]
        place = min(max(share * (len(logs) + 1) - 1.0, 0.0), len(logs) - 1.0)
        below, above = logs[math.floor(place)], logs[math.ceil(place)]
        with np.errstate(invalid="ignore"):
            between = below + (place - math.floor(place)) * (above - below)
        return np.where(np.isneginf(below), below, between)

    def _smooth(self, name: str, share: float) -> Array:
        """A normal law with the sample's skewness (Cornish & Fisher), widened as a prediction has to be."""
        from scipy.special import stdtrit

        mean, spread, skew, dead, alive = self._moments[name]
        among = np.clip((share - dead) / np.maximum(1.0 - dead, 1e-9), 0.0, 1.0)
        freedom = np.maximum(alive - 1.0, 1.0)
        z = stdtrit(freedom, np.clip(among, 1e-12, 1.0 - 1e-12)) * np.sqrt(1.0 + 1.0 / np.maximum(alive, 1.0))
        value = mean + spread * (z + skew * (z * z - 1.0) / 6.0)
        return np.where((among > 0.0) & (alive > 1.0), value, -math.inf)

    def log_mean(self, name: str) -> Array:
        """(L,) ln of the mean over networks."""
        logs = self.logs[name]
        top = np.where(np.isfinite(logs.max(axis=0)), logs.max(axis=0), 0.0)
        with np.errstate(divide="ignore"):
            return top + np.log(np.mean(np.exp(logs - top), axis=0))

    def shrunk(self, name: str, values: Array, infinite: Array) -> Array:
        """Values of the narrowed network (mean, median, quantiles) as the asked width has them: its bias is
        ``shrink`` times as large, its scatter sqrt(shrink)."""
        centre = self._moments[name][0]
        return infinite + self.shrink * (centre - infinite) + math.sqrt(self.shrink) * (values - centre)

    def variance(self, name: str) -> Array:
        """(L,) variance of the log, over networks that are not dead."""
        return self.shrink * self._moments[name][1] ** 2


def _log_moments(logs: Array) -> tuple[Array, ...]:
    """(mean, standard deviation, skewness) over the networks that are not dead, share of dead, number of others."""
    alive = np.isfinite(logs)
    count = alive.sum(axis=0)
    several = np.maximum(count, 1)
    mean = np.where(alive, logs, 0.0).sum(axis=0) / several
    centred = np.where(alive, logs, mean) - mean
    spread = np.sqrt(np.sum(centred**2, axis=0) / np.maximum(count - 1, 1))
    skew = np.sum(centred**3, axis=0) / several / np.maximum(spread, 1e-100) ** 3
    return mean, spread, np.clip(skew, -1.0, 1.0), 1.0 - count / len(logs), count.astype(float)


def can_sample(spec: Spec, log_q: Array) -> bool:
    """Whether this Spec can be sampled: a known block, signals within float64, and not too much work."""
    if spec.residual not in BLOCKS:
        return False
    if not rescales(spec) and np.any(np.abs(log_q[np.isfinite(log_q)]) > LARGEST_LOG):
        return False
    narrow, ratio = narrowed(spec)
    if ratio < 1.0 and (spec.loss != "random" or narrow.layer_widths.min() < NARROWEST or _kept(spec)):
        return False
    return _entries(narrow) * FEWEST <= MOST_WORK


def work(spec: Spec) -> float:
    """What a sample of this Spec costs: entries times (1 + B / 8), 1e8 of which take about 2 s."""
    narrow = narrowed(spec)[0]
    return _entries(narrow) * networks_for(narrow)


def _kept(spec: Spec) -> bool:
    """Whether a law's scatter does not fall as 1/width, so that its networks cannot be narrowed."""
    return spec.init_entry.kind in ("constant", "eye")


def _entries(spec: Spec) -> float:
    """Work of one network: its activations, each as dear as its products with the rest of the batch."""
    return spec.batch_size * (1.0 + spec.batch_size / 8.0) * float(np.sum(spec.layer_widths))


def seed_of(spec: Spec) -> int:
    """A seed that depends on the Spec alone."""
    return zlib.crc32(repr(spec).encode())


def networks_for(spec: Spec) -> int:
    """How many networks are sampled: more where they are cheap."""
    return int(min(MOST, max(FEWEST, WORK // _entries(spec))))


def narrowed(spec: Spec) -> tuple[Spec, float]:
    """(the Spec to sample, the ratio of its width to the asked one)."""
    widest = int(max(spec.layer_widths.max(), spec.fan_ins.max()))
    if widest <= WIDEST:
        return spec, 1.0
    ratio = WIDEST / widest
    scaled = [max(round(ratio * n), 1) for n in spec.layer_widths.tolist()]
    entry = None if spec.input == "digits" else max(round(ratio * int(spec.fan_ins[0])), 1)
    return spec.replace(width=tuple(scaled), input_width=entry), ratio


def sample(
    spec: Spec,
    networks: int | None = None,
    seed: int | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Sample:
    """The logs of ``networks`` random networks of this Spec (default: as many as are cheap), seeded from the Spec.

    ``progress(done, total)`` is called at every layer of every few of them; what it raises ends the sampling.
    """
    narrow, shrink = narrowed(spec)
    count = networks_for(narrow) if networks is None else networks
    size = int(max(narrow.layer_widths.max(), narrow.fan_ins.max())) * spec.batch_size
    per_chunk = max(1, min(count, CHUNK // size))
    root = np.random.SeedSequence([seed_of(spec) if seed is None else seed])
    starts = range(0, count, per_chunk)
    laws = Laws(spec, narrow)
    parts = []
    for start, child in zip(starts, root.spawn(len(starts)), strict=True):
        several = Networks(narrow, laws, min(per_chunk, count - start), np.random.default_rng(child))
        parts.append(several.logs(partial(progress, start, count)))
        progress(min(start + per_chunk, count), count)
    return Sample({name: np.concatenate([part[name] for part in parts]) for name in QUANTITIES}, shrink)
