"""The law of a logarithm from its first three moments: normal, or a gamma law where it leans to one side."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
STRAIGHT = 0.02  # skewness below which the law is drawn as normal
CELLS = 4000
REACH = 14.0  # standard deviations


@dataclass(frozen=True)
class LogLaw:
    """The law of a sum of logarithms: ``mean``, ``variance`` and ``skewness`` (natural logarithms) where no factor is
    0, which has probability ``alive``; nan where that is 0.

    Density and shares are those of the Pearson type III law (a shifted gamma law) with these three moments, normal in
    the limit of many layers. Its error in a share is of the order of the fourth cumulant: see docs/theory.md.
    """

    mean: float
    variance: float
    skewness: float
    alive: float

    @property
    def std(self) -> float:
        """Standard deviation of the logarithm."""
        return math.sqrt(self.variance)

    def density(self, at: Array) -> Array:
        """Density of the logarithm; its integral is ``alive``. All 0 where the variance is 0."""
        if not self.variance > 0.0:
            return np.zeros(len(at))
        t = (np.asarray(at) - self.mean) / self.std
        if abs(self.skewness) < STRAIGHT:
            return self.alive * np.exp(-0.5 * t * t) / (math.sqrt(2.0 * math.pi) * self.std)
        shape = 4.0 / self.skewness**2  # X = shape + sign sqrt(shape) t ~ Gamma(shape)
        root = math.copysign(math.sqrt(shape), self.skewness)
        x = shape + root * t
        found = np.zeros(len(t))
        inside = x > 0.0
        logs = (shape - 1.0) * np.log(x[inside]) - x[inside] - math.lgamma(shape)
        found[inside] = np.exp(logs) * abs(root) / self.std * self.alive
        return found

    def share(self, low: float, high: float) -> float:
        """P(low <= logarithm <= high), of all chains."""
        if not self.variance > 0.0:
            return self.alive * float(low <= self.mean <= high)
        low, high = (max(min(x, self.mean + REACH * self.std), self.mean - REACH * self.std) for x in (low, high))
        edges = np.linspace(low, high, CELLS + 1)
        middle = 0.5 * (edges[1:] + edges[:-1])
        return float(self.density(middle).sum() * (high - low) / CELLS)


def law_of(moments: Array) -> LogLaw:
    """From E[S^k; alive], k = 0 ... 3."""
    alive = min(1.0, float(moments[0]))
    if alive <= 0.0:
        return LogLaw(math.nan, math.nan, math.nan, 0.0)
    first, second, third = (float(m) / alive for m in moments[1:])
    variance = max(0.0, second - first * first)
    lean = third - 3.0 * first * second + 2.0 * first**3
    resolved = variance > 1e-10 * max(1.0, first * first)
    return LogLaw(first, variance, lean / variance**1.5 if resolved else 0.0, alive)


def mixed(one: LogLaw, other: LogLaw) -> LogLaw:
    """The law of the sum of two independent logarithms."""
    variance = one.variance + other.variance
    lean = sum(law.skewness * law.variance**1.5 for law in (one, other))
    skewness = lean / variance**1.5 if variance > 0.0 else 0.0
    return LogLaw(one.mean + other.mean, variance, skewness, one.alive * other.alive)
