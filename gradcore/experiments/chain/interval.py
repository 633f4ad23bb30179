"""Where explosion is possible at all: the activations a for which |w sigma'(w a + b)| >= 1, and how wide they lie.

For a sigmoid this needs |w| >= 4, and then a in one interval of width (2/|w|) ln(|w| (1 + sqrt(1 - 4/|w|))/2 - 1).
Source: Nielsen 2015, ch. 5 (problems). Exact; widths are those of a, dimensionless.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from gradcore.activations import ACTIVATIONS, negative_slope_of
from gradcore.errors import SpecError
from gradcore.experiments.chain.single import BIAS, WEIGHT, check_activation

Array = np.ndarray
FAR = 1e4  # |z| up to which the slope is looked at
WAVES = 200.0  # the same for an activation that oscillates; its last interval there is left open
GOLDEN = 0.5 * (math.sqrt(5.0) - 1.0)


@dataclass(frozen=True)
class Peak:
    """The widest interval: its ``width`` in a, at weights of this ``size``."""

    size: float
    width: float


def has_width(activation: str, negative_slope: float | None = None) -> bool:
    """Whether the interval is bounded for every weight: not for an activation that goes on rising (or oscillates)."""
    check_activation(activation, negative_slope)
    entry = ACTIVATIONS[activation]
    return entry.tails(negative_slope_of(activation, negative_slope)) == (0.0, 0.0) and not entry.oscillates


def steepest(activation: str, negative_slope: float | None = None) -> tuple[float, float]:
    """(z, max |sigma'|): the largest slope and a z where it is found; sigma'(0) = 1/4 for a sigmoid."""
    check_activation(activation, negative_slope)
    return _steepest(activation, negative_slope_of(activation, negative_slope))


def least_weight(activation: str, negative_slope: float | None = None) -> float:
    """The |w| below which no factor can reach 1: 1 / max |sigma'|; 4 for a sigmoid."""
    return 1.0 / steepest(activation, negative_slope)[1]


def steep_part(activation: str, weight: float, negative_slope: float | None = None) -> tuple[tuple[float, float], ...]:
    """The intervals of z, |z| up to 1e4 (200 for sin), in which |w sigma'(z)| >= 1, from the left; ends at
    infinity where an activation goes on rising. Raises SpecError unless 0 < |w| <= 1e3."""
    _check_weight(weight)
    check_activation(activation, negative_slope)
    slope = negative_slope_of(activation, negative_slope)
    z = _looked_at(activation)
    inside = abs(weight) * np.abs(ACTIVATIONS[activation].derivative(z, slope)) >= 1.0
    starts = np.flatnonzero(inside & ~np.concatenate([[False], inside[:-1]]))
    ends = np.flatnonzero(inside & ~np.concatenate([inside[1:], [False]]))
    found = []
    for start, end in zip(starts, ends, strict=True):
        low = -math.inf if start == 0 else _edge(activation, slope, weight, float(z[start]), float(z[start - 1]))
        high = math.inf if end == len(z) - 1 else _edge(activation, slope, weight, float(z[end]), float(z[end + 1]))
        found.append((low, high))
    return tuple(found)


def explosive_interval(
    activation: str, weight: float, bias: float = 0.0, negative_slope: float | None = None
) -> tuple[tuple[float, float], ...]:
    """The intervals of a in which |w sigma'(w a + b)| >= 1, from the left; none where |w| is too small.

    Raises SpecError for w = 0 or beyond 1e3, |b| beyond 1e6.
    """
    if not isinstance(bias, (int, float, np.number)) or not abs(bias) <= BIAS:
        raise SpecError("bias", bias, f"a number from {-BIAS:g} to {BIAS:g}")
    ends = [
        ((low - bias) / weight, (high - bias) / weight) for low, high in steep_part(activation, weight, negative_slope)
    ]
    return tuple(sorted((min(pair), max(pair)) for pair in ends))


def explosive_width(activation: str, weight: float, negative_slope: float | None = None) -> float:
    """How wide the a are for which |w sigma'(w a + b)| >= 1: the same for every b; inf where there is no end."""
    return sum(high - low for low, high in steep_part(activation, weight, negative_slope)) / abs(weight)


def sigmoid_width(weight: float) -> float:
    """The closed form for a sigmoid: (2/|w|) ln(|w| (1 + sqrt(1 - 4/|w|))/2 - 1); 0 below |w| = 4."""
    size = abs(weight)
    return 0.0 if size < 4.0 else 2.0 / size * math.log(0.5 * size * (1.0 + math.sqrt(1.0 - 4.0 / size)) - 1.0)


@lru_cache(maxsize=256)
def widest(activation: str = "sigmoid", negative_slope: float | None = None) -> Peak:
    """The weight at which the interval is widest: 0.44774 at |w| = 6.894 for a sigmoid. Raises SpecError where it has
    no end (`has_width`)."""
    if not has_width(activation, negative_slope):
        bounded = ", ".join(code for code in ACTIVATIONS if has_width(code))
        raise SpecError("activation", activation, "one whose slope is 0 at both ends: " + bounded)
    low, high = math.log(least_weight(activation, negative_slope)), math.log(WEIGHT)

    def width(log_size: float) -> float:
        return explosive_width(activation, math.exp(log_size), negative_slope)

    best = max(np.linspace(low, high, 60), key=width)
    low, high = max(low, best - 0.2), best + 0.2
    while high - low > 1e-9:  # golden section: the width has one maximum
        one, other = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        low, high = (one, high) if width(one) < width(other) else (low, other)
    return max((Peak(math.exp(at), width(at)) for at in (low, high)), key=lambda peak: peak.width)


# --- finding edges --------------------------------------------------------------------------------------------


def _check_weight(weight: float) -> None:
    if not isinstance(weight, (int, float, np.number)) or not 0.0 < abs(weight) <= WEIGHT:
        raise SpecError("weight", weight, f"a number of size up to {WEIGHT:g}, not 0")


@cache
def _looked_at(activation: str) -> Array:
    """Points between which the slope is looked for: both sides of 0 and of every kink, dense near 0."""
    entry = ACTIVATIONS[activation]
    sizes = np.concatenate([np.linspace(0.0, 30.0, 3001)[1:], np.geomspace(30.0, FAR, 200)[1:]])
    if entry.oscillates:
        sizes = np.linspace(0.0, WAVES, 20_001)[1:]
    centres = sorted({0.0, *entry.kinks})
    beside = [centre + side * np.geomspace(1e-12, 1e-3, 10) for centre in centres for side in (-1, 1)]
    return np.unique(np.concatenate([-sizes, [0.0], sizes, *beside]))


@lru_cache(maxsize=256)
def _steepest(activation: str, slope: float) -> tuple[float, float]:
    z, entry = _looked_at(activation), ACTIVATIONS[activation]
    best = int(np.argmax(np.abs(entry.derivative(z, slope))))
    z = np.concatenate([z, np.linspace(z[max(best - 1, 0)], z[min(best + 1, len(z) - 1)], 2001)])
    sizes = np.abs(entry.derivative(z, slope))
    alike = np.flatnonzero(sizes >= sizes.max() * (1.0 - 1e-12))  # rounding decides between them
    found = alike[int(np.argmin(np.abs(z[alike])))]
    return float(z[found]), float(sizes[found])


def _edge(activation: str, slope: float, weight: float, inside: float, outside: float) -> float:
    """The z between these two at which |w sigma'| passes 1."""
    entry, size = ACTIVATIONS[activation], abs(weight)
    for _ in range(80):
        middle = 0.5 * (inside + outside)
        if size * abs(float(entry.derivative(np.array([middle]), slope)[0])) >= 1.0:
            inside = middle
        else:
            outside = middle
    return inside
