"""Pair moments at q >= 1: an activation seen from afar is its two half-lines and a bump g around 0.

With f = H + g, H = l_0 + l_1 h + l_2 h^2 left of 0 and r_0 + r_1 h + r_2 h^2 right of it,

    E f f = E H H + 2 E H(u) g(v) + E g g:

arc-cosine kernels of order 0 to 2 (Cho & Saul 2009), a 1-D integral over E(H(u) | v), and a 2-D one whose grid covers
the bump alone, whatever q. The grid must resolve the width sqrt(q (1 - c^2)) of the ridge u = v.

Units: second moments. Validity: q >= LOWEST and q (1 - c^2) >= NARROWEST; functions that reach their half-lines
exponentially (None for softsign, sin). Checked by tests/test_pair_table.py.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from gradcore.theory.gaussian import GaussianMoments, composite

Array = np.ndarray
Functions = tuple[str, ...]
LOWEST, NARROWEST = 1.0, 0.1  # of q; of q (1 - c^2)
# from this q (1 - c^2) on, the longest panel of the grid
LONGEST = ((100.0, 16.0), (12.0, 6.0), (4.0, 3.0), (0.5, 1.5), (0.0, 0.6))
NODES, FIRST, RATIO = 14, 0.9, 1.7  # panels grow from FIRST by RATIO, where bumps are exponentials
MOST = 300  # nodes of the grid, beyond which the polar rule is faster
SMALLEST = 1e-13  # of f, below which the bump has ended
EDGE = 48.0  # bumps end before
DEGREES = np.arange(3)


def _kernels(c: float) -> Array:
    """(3, 3) E[x^i y^j; x > 0, y > 0] of standard normal x, y with correlation c."""
    angle, sine, root = math.acos(c), math.sqrt(max(0.0, 1.0 - c * c)), math.sqrt(2.0 * math.pi)
    rest = math.pi - angle
    zero, mixed = rest / (2.0 * math.pi), (rest + sine * c) / (2.0 * math.pi)
    first, third = (1.0 + c) / (2.0 * root), (1.0 + c) ** 2 / (2.0 * root)
    one = (sine + rest * c) / (2.0 * math.pi)
    two = (3.0 * sine * c + rest * (1.0 + 2.0 * c * c)) / (2.0 * math.pi)
    return np.array([[zero, first, mixed], [first, one, third], [mixed, third, two]])


class WidePairs:
    """The half-lines and bumps of some functions of one activation."""

    def __init__(self, moments: GaussianMoments, names: Functions, panel: float) -> None:
        from gradcore.theory.correlation import PSI, SLOPE, SLOPE_SQUARE, SQUARE, VALUE, evaluate

        slopes = moments.activation.tails(moments.slope)
        lines = [  # phi and phi' on the two sides
            (np.array([limit + slope * moments.shift, slope]), np.array([slope]))
            for limit, slope in zip(moments.limits, slopes, strict=True)
        ]
        sides = []
        for value, slope in lines:
            parts = {VALUE: value, SLOPE: slope, PSI: np.convolve(value, slope)}
            parts |= {SQUARE: np.convolve(value, value), SLOPE_SQUARE: slope * slope}
            sides.append(np.array([np.pad(parts[name], (0, 3 - parts[name].size)) for name in names]))
        self.left, self.right = sides  # (names, 3)
        steps = np.cumsum(np.minimum(FIRST * RATIO ** np.arange(round(2.0 * EDGE)), panel))
        steps = np.append(steps[steps < EDGE], EDGE)
        edges = np.unique(np.concatenate([-steps, [0.0, -moments.shift], steps, moments.kinks]))
        h, self.weight = composite(edges, NODES)
        powers = h[:, None] ** DEGREES
        lines_at = np.where(h > 0.0, self.right @ powers.T, self.left @ powers.T)
        bump = np.array(evaluate(moments, names, h)) - lines_at
        size = np.abs(lines_at) + np.abs(bump).max(axis=1, keepdims=True)
        bump[np.abs(bump) < SMALLEST * size] = 0.0
        seen = np.flatnonzero(bump.any(axis=0))
        keep = slice(int(seen[0]), int(seen[-1]) + 1) if seen.size else slice(0, 1)
        self.h, self.weight = h[keep], self.weight[keep]
        self.bump = bump[:, keep] * self.weight
        self.holds = not seen.size or bool(h[seen[0]] > 1.0 - EDGE and h[seen[-1]] < EDGE - 1.0)
        self._squares = -0.5 * (self.h[:, None] ** 2 + self.h**2)
        self._products = np.outer(self.h, self.h)

    def at(self, q: float, c: float) -> Array:
        """(names,) E f(u) f(v)."""
        spread = q * (1.0 - c) * (1.0 + c)
        joint = np.exp((self._squares + c * self._products) / spread) / (2.0 * math.pi * math.sqrt(q * spread))
        density = np.exp(-0.5 / q * self.h**2) / math.sqrt(2.0 * math.pi * q)
        return self._lines(q, c) + ((2.0 * density * self._given(c, spread) + self.bump @ joint) * self.bump).sum(
            axis=1
        )

    def _lines(self, q: float, c: float) -> Array:
        """E H H."""
        scale = q ** (0.5 * DEGREES)
        left, right = self.left * (-1.0) ** DEGREES * scale, self.right * scale
        alike, crossed = _kernels(c), _kernels(-c)
        same = np.einsum("fi,ij,fj->f", right, alike, right) + np.einsum("fi,ij,fj->f", left, alike, left)
        return same + 2.0 * np.einsum("fi,ij,fj->f", left, crossed, right)

    def _given(self, c: float, spread: float) -> Array:
        """(names, N) E(H(u) | v) at the grid."""
        from scipy.special import ndtr

        mean, sigma = c * self.h, math.sqrt(spread)
        above, bell = ndtr(mean / sigma), sigma / math.sqrt(2.0 * math.pi) * np.exp(-0.5 * mean * mean / spread)
        whole = np.array([np.ones_like(mean), mean, mean * mean + spread])
        up = np.array([above, mean * above + bell, (mean * mean + spread) * above + mean * bell])
        return self.right @ up + self.left @ (whole - up)


@lru_cache(maxsize=128)
def _grid(moments: GaussianMoments, names: Functions, panel: float) -> WidePairs | None:
    if moments.homogeneous or moments.oscillates:
        return None
    pairs = WidePairs(moments, names, panel)
    return pairs if pairs.holds else None


def reaches(moments: GaussianMoments, names: Functions, q: float, c: float) -> bool:
    """Whether the rule serves this q and c."""
    return _serving(moments, names, q, c) is not None


def wide_pairs(moments: GaussianMoments, names: Functions, q: float, c: float) -> Array | None:
    """(names,) E f(u) f(v), or None where the rule does not hold."""
    found = _serving(moments, names, q, c)
    return None if found is None else found.at(q, c)


def _serving(moments: GaussianMoments, names: Functions, q: float, c: float) -> WidePairs | None:
    spread = q * (1.0 - c) * (1.0 + c)
    if q < LOWEST or spread < NARROWEST:
        return None
    found = _grid(moments, names, next(longest for least, longest in LONGEST if spread >= least))
    return None if found is None or found.h.size > MOST else found
