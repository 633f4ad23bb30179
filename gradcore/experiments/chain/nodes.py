"""Where a layer's z is taken: nodes of its normal law, the grid of activations, and the law of w given z."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from gradcore.activations import ACTIVATIONS, Activation
from gradcore.theory.gaussian import composite, graded_edges

Array = np.ndarray
Law = tuple[float, float]  # mean and standard deviation
REACH = 9.0  # standard deviations of z


def grid_between(entry: Activation, slope: float, span: tuple[float, float], graded: int, even: int) -> Array:
    """Values of a between which laws are interpolated: ``graded`` sizes to either side over ``span``; for a bounded
    activation half as many, up to its ends, and ``even`` points at equal steps between these."""
    low, high = (-1.0, 1.0) if entry.oscillates else entry.limits
    if not entry.oscillates and entry.tails(slope) != (0.0, 0.0):
        sizes = np.geomspace(*span, graded)
        return np.concatenate([-sizes[::-1], [0.0], sizes])
    sizes = np.geomspace(span[0], max(-low, high), graded // 2)
    nodes = np.concatenate([np.linspace(low, high, even), -sizes, [0.0], sizes])
    return np.unique(nodes[(nodes >= low) & (nodes <= high)])


def between(a: Array, grid: Array) -> tuple[Array, Array]:
    """The grid point to the left of each a, and which part of the way to the next one it is. What is beyond the grid is
    held at its end; what is smaller than its finest step but not 0 keeps its sign."""
    finest = np.abs(grid[grid != 0.0]).min()
    a = np.where((a != 0.0) & (np.abs(a) < finest), np.copysign(finest, a), a)
    a = np.clip(a, grid[0], grid[-1])
    left = np.clip(np.searchsorted(grid, a, side="right") - 1, 0, len(grid) - 2)
    return left, (a - grid[left]) / (grid[left + 1] - grid[left])


def nodes_of(
    a: float,
    weights: Law,
    biases: Law,
    special: tuple[float, ...],
    kinks: tuple[float, ...],
    finest: float,
    nodes: int,
) -> tuple[Array, Array, float, float]:
    """Nodes and probabilities of z = w a + b, its mean and its std. Panels are graded, down to ``finest`` of a standard
    deviation, towards 0, the mean and the ``special`` points, and have the ``kinks`` as edges."""
    mean, spread = weights[0] * a + biases[0], math.hypot(weights[1] * a, biases[1])
    if spread == 0.0:
        return np.array([mean]), np.ones(1), mean, spread
    low, high = mean - REACH * spread, mean + REACH * spread
    inside = tuple(dict.fromkeys(p for p in (0.0, mean, *special) if low < p < high))
    edges = graded_edges(low, high, inside, finest * spread, tuple(k for k in kinks if low < k < high))
    z, width = composite(edges, nodes)
    share = width * np.exp(-0.5 * ((z - mean) / spread) ** 2)
    return z, share / share.sum(), mean, spread


def given_z(z: Array, a: float, mean: float, spread: float, weights: Law, biases: Law) -> tuple[Array, float]:
    """Mean (n,) and std of w given z: normal again."""
    if spread == 0.0:
        return np.full(len(z), weights[0]), weights[1]
    tilt = weights[1] ** 2 * a / spread**2
    return weights[0] + tilt * (z - mean), weights[1] * biases[1] / spread


@lru_cache(maxsize=256)
def singular_slopes(code: str, slope: float) -> tuple[float, ...]:
    """Where sigma' is 0 without staying there, so that its logarithm is singular: found by its changes of sign."""
    entry = ACTIVATIONS[code]
    at = np.linspace(-40.0, 40.0, 8001) + 1e-4
    values = np.sign(entry.derivative(at, slope))
    turns = np.flatnonzero(values[:-1] * values[1:] < 0.0)
    return tuple(_root(entry, slope, float(at[i]), float(at[i + 1])) for i in turns)


def _root(entry: Activation, slope: float, low: float, high: float) -> float:
    sign = entry.derivative(np.array([low]), slope)[0] > 0
    for _ in range(60):
        middle = 0.5 * (low + high)
        if (entry.derivative(np.array([middle]), slope)[0] > 0) == sign:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)
