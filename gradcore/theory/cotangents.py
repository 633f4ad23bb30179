"""Cotangents of sampled units: a part that is a function of the unit's own signals, and Gaussian noise beside it.

W^T t = kappa n Var(W) x + noise with kappa = E[t z] / q_z for z = W x + b (Gaussian conditioning), the noise's
covariance over the batch v E[t_a t_b]. ``Spread`` carries the noise's variance on each unit's path and its
covariance between two samples, exactly; ``Drawn`` draws it, where a batch norm mixes all samples of a unit.
Values are in units of exp(log / 2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from gradcore.theory.units import Unit

Array = np.ndarray


def _units(log_a: float, log_b: float) -> tuple[float, float, float]:
    """A common scale of two, and what their values become in it."""
    top = max(log_a, log_b)
    if top == -math.inf:
        return top, 1.0, 1.0
    return top, math.exp(0.5 * (log_a - top)), math.exp(0.5 * (log_b - top))


@dataclass(frozen=True)
class _Cotangent:
    """What both kinds share: ``log`` of the units, ``seen`` the part that is a function of the unit's own signals."""

    log: float
    seen: Array | None

    def scaled(self, factor: float) -> Self:
        """A multiple; the noise is as likely as its negative."""
        log = 2.0 * math.log(abs(factor)) if factor else -math.inf
        seen = self.seen if self.seen is None or factor >= 0 else -self.seen
        return replace(self, log=self.log + log, seen=seen)

    def _joined(self, a: float, b: float, other: _Cotangent) -> Array | None:
        """a * own + b * other of the seen parts."""
        if self.seen is None or other.seen is None:
            return a * self.seen if self.seen is not None else b * other.seen if other.seen is not None else None
        return a * self.seen + b * other.seen


@dataclass(frozen=True)
class Spread(_Cotangent):
    """``seen`` (S, N) or None, ``variance`` (S, N) of the noise, ``pairs`` (K, N) its covariance of samples 0 and k."""

    variance: Array
    pairs: Array

    def through(self, unit: Unit) -> Spread:
        """J^T of a unit."""
        m = unit.diagonal
        seen = None if self.seen is None else unit.pull(self.seen)
        return Spread(self.log + unit.shift, seen, m * m * self.variance, m[:1] * m[1:] * self.pairs).tidy()

    def plus(self, other: Spread) -> Spread:
        """The sum with one whose noise is independent of this one's."""
        log, a, b = _units(self.log, other.log)
        variance, pairs = a * a * self.variance + b * b * other.variance, a * a * self.pairs + b * b * other.pairs
        return Spread(log, self._joined(a, b, other), variance, pairs).tidy()

    def tidy(self) -> Spread:
        """In units in which the mean square is 1."""
        total = self.second()[0]
        if not total > 0.0:
            return replace(self, log=-math.inf)
        root = math.sqrt(total)
        seen = None if self.seen is None else self.seen / root
        return Spread(self.log + math.log(total), seen, self.variance / total, self.pairs / total)

    def second(self) -> tuple[float, Array]:
        """(mean square, E t_0 t_k (K,)) in units of exp(log)."""
        total, pairs = float(self.variance.mean()), self.pairs.mean(axis=1)
        if self.seen is not None:
            total += float(np.mean(self.seen**2))
            pairs = pairs + np.mean(self.seen[:1] * self.seen[1:], axis=1)
        return total, pairs

    def sent(self, back: Weights) -> Spread:
        """W^T of this cotangent."""
        total, pairs = self.second()
        kappa = 0.0 if self.seen is None else float(np.mean(self.seen * back.z))
        along = kappa**2 * back.along
        noise, pair_noise = max(total - along, 0.0), pairs - along * back.pairs
        seen = None if self.seen is None else kappa * back.root * back.x
        shape, pair_shape = self.variance.shape, self.pairs.shape
        pair_noise = np.clip(pair_noise, -noise, noise)
        return Spread(
            self.log + back.log, seen, np.full(shape, noise), np.broadcast_to(pair_noise[:, None], pair_shape).copy()
        )


@dataclass(frozen=True)
class Weights:
    """One weight matrix on its way back: ``log`` ln(n Var W), ``x`` and ``z`` = W x + b with mean squares of 1, (S, N),
    ``root`` sqrt(n Var W q_x / q_z), ``along`` the share of E (W x)^2 in q_z that an orthogonal matrix maps back onto x
    alone (0 for others) and ``pairs`` its correlations over samples; ``draw(mean, contrast)`` draws a field."""

    log: float
    x: Array
    z: Array
    root: float
    along: float
    pairs: Array
    draw: Any = None


def modes(a: Array, b: Array) -> tuple[float, float]:
    """E[a b] per sample of (S, N) arrays: in the mean over the batch, and in the contrasts."""
    mean_a, mean_b = a.mean(axis=0, keepdims=True), b.mean(axis=0, keepdims=True)
    return float(np.mean(mean_a * mean_b)), float(np.mean((a - mean_a) * (b - mean_b)))


def split(second: float, correlation: float, b: int) -> tuple[float, float]:
    """(variance of the batch mean, contrast variance per sample) of an equicorrelated field."""
    mean = second * (1.0 + (b - 1) * correlation) / b
    return mean, second - mean


@dataclass(frozen=True)
class Drawn(_Cotangent):
    """``seen`` (B, N) or None, and one draw ``noise`` (B, N) of the rest."""

    noise: Array

    def through(self, unit: Unit) -> Self:
        """J^T of a unit."""
        seen = None if self.seen is None else unit.pull(self.seen)
        return replace(self, log=self.log + unit.shift, seen=seen, noise=unit.pull(self.noise)).tidy()

    def plus(self, other: Drawn) -> Self:
        """The sum."""
        log, a, b = _units(self.log, other.log)
        return replace(self, log=log, seen=self._joined(a, b, other), noise=a * self.noise + b * other.noise).tidy()

    def tidy(self) -> Self:
        """In units in which the mean square is 1."""
        total = self.second()[0]
        if not total > 0.0:
            return replace(self, log=-math.inf)
        root = math.sqrt(total)
        seen = None if self.seen is None else self.seen / root
        return replace(self, log=self.log + math.log(total), seen=seen, noise=self.noise / root)

    def modes(self) -> tuple[float, float]:
        """The mean square in the mean over the batch and in the contrasts."""
        mean, contrast = modes(self.noise, self.noise)
        if self.seen is not None:
            more = modes(self.seen, self.seen)
            mean, contrast = mean + more[0], contrast + more[1]
        return mean, contrast

    def second(self) -> tuple[float, Array]:
        """(mean square, E t_a t_b (1,)) in units of exp(log)."""
        b = self.noise.shape[0]
        mean, contrast = self.modes()
        return mean + contrast, np.array([mean - contrast / (b - 1)])

    def sent(self, back: Weights) -> Self:
        """W^T of this cotangent."""
        mean, contrast = self.modes()
        seen = None
        if self.seen is not None:
            b = self.noise.shape[0]
            whole = modes(back.z, back.z)
            kappa = [t / z if z > 1e-12 else 0.0 for t, z in zip(modes(self.seen, back.z), whole, strict=True)]
            centre = back.x.mean(axis=0, keepdims=True)
            seen = back.root * (kappa[1] * (back.x - centre) + kappa[0] * centre)
            along = split(back.along, float(back.pairs[0]), b)
            mean, contrast = mean - kappa[0] ** 2 * along[0], contrast - kappa[1] ** 2 * along[1]
        noise = back.draw(max(mean, 0.0), max(contrast, 0.0))
        return replace(self, log=self.log + back.log, seen=seen, noise=noise)
