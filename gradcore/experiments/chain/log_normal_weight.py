"""Moments of ln |w| for a normal w: E ln^k |m + s xi|, k = 0 ... 3. At m = 0, s = 1: E ln |w| = -(gamma + ln 2)/2."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from gradcore.theory.gaussian import composite, graded_edges

Array = np.ndarray
FAR = 40.0  # standard deviations from 0 beyond which the expansion in s/m is used
PIECES = (0.0, 8.0, FAR)
STEPS = (0.01, 0.05)
MEAN_LOG = -0.5 * (float(np.euler_gamma) + math.log(2.0))  # E ln |Z|, Z ~ N(0, 1): -0.63518
VARIANCE_LOG = math.pi**2 / 8.0  # Var ln |Z|


def log_of_normal(mean: Array, std: Array) -> Array:
    """E ln^k |w|, k = 0 ... 3, for w ~ N(mean, std^2) elementwise: (4, n); all 0 where w is exactly 0."""
    moments = np.zeros((4, len(mean)))
    moving = std > 0.0
    fixed = ~moving & (mean != 0.0)
    logs = np.log(np.abs(mean[fixed]))
    moments[:, fixed] = np.array([logs**k for k in range(4)])
    scaled, size = log_moments(np.abs(mean[moving]) / std[moving]), np.log(std[moving])
    moments[:, moving] = [sum(math.comb(k, i) * scaled[i] * size ** (k - i) for i in range(k + 1)) for k in range(4)]
    return moments


def log_moments(r: Array) -> Array:
    """E ln^k |r + xi| for r >= 0, xi ~ N(0, 1), k = 0 ... 3: (4, n). Absolute error below 1e-5."""
    at, table = _table()
    moments = np.array([_cubic(np.minimum(r, FAR), at, row) for row in table])
    far = r > FAR
    log, square = np.log(r[far]), 1.0 / (r[far] * r[far])
    moments[1, far] = log - 0.5 * square
    moments[2, far] = log * log + square * (1.0 - log)
    moments[3, far] = log**3 + square * (3.0 * log - 1.5 * log * log)
    return moments


@cache
def _table() -> tuple[Array, Array]:
    """The moments at 0 ... 40, by quadrature that is graded towards the logarithm's singularity."""
    at = np.concatenate(
        [np.arange(low, high, step) for low, high, step in zip(PIECES, PIECES[1:], STEPS, strict=False)]
    )
    at = np.append(at, FAR)
    edges = graded_edges(-FAR - 9.0, FAR + 9.0, (0.0,), 1e-12, tuple(np.arange(-48.0, 49.0)))
    x, width = composite(edges, 6)
    logs = np.log(np.abs(x))
    powers = np.array([np.ones_like(x), logs, logs * logs, logs**3]) * width / math.sqrt(2.0 * math.pi)
    table = np.empty((4, len(at)))
    for i, r in enumerate(at):
        near = np.abs(x - r) < 9.0
        table[:, i] = powers[:, near] @ np.exp(-0.5 * (x[near] - r) ** 2)
    return at, table


def _cubic(r: Array, at: Array, row: Array) -> Array:
    """Cubic Hermite interpolation with slopes by differences."""
    slopes = np.gradient(row, at)
    i = np.clip(np.searchsorted(at, r, side="right") - 1, 0, len(at) - 2)
    width = at[i + 1] - at[i]
    u = (r - at[i]) / width
    rest = 1.0 - u
    ends = row[i] * (1.0 + 2.0 * u) * rest**2 + row[i + 1] * (1.0 + 2.0 * rest) * u**2
    return ends + width * (slopes[i] * u * rest**2 - slopes[i + 1] * rest * u**2)
