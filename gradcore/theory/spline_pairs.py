"""Pair moments of piecewise polynomial activations (relu6, hardtanh, hardsigmoid, hardswish) for all correlations.

With c = cos(theta), u, v ~ N(0, q) and f' = g + sum_i B_i delta(h - k_i), g without its jumps (Plackett 1954):

    d/dtheta E f(u) f(v) = -q sin(theta) [E g g + 2 sum_i B_i p(k_i) E(g(v) | u = k_i) + sum_ij B_i B_j p(k_i, k_j)],

p the densities of u and of (u, v). E g g obeys the same equation, and a g that is 0 ends the recursion. Each step is a
1-D integral over theta on panels graded towards both ends, where p(k_i, k_j) changes over abs(k_i - k_j) / sqrt(q).
What comes out is the drop E f^2 - E f f, a sum without cancellation, for every theta at once.

Units: second moments. Validity: any q; against the conditional rule in tests/test_pair_table.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from gradcore.theory.gaussian import REACH, GaussianMoments, composite, graded_edges

Array = np.ndarray
NODES = 20  # Chebyshev nodes a panel
DEGREE = 2  # of the pieces of phi at most
NAMES = ("value", "slope", "psi", "square", "slope_square")  # phi, phi', phi phi', phi^2, phi'^2
SHARP = 0.13  # exp(-d^2 / (2 theta^2)) is rounding at theta = SHARP d


@dataclass(frozen=True)
class Pieces:
    """A piecewise polynomial: ``knots`` (n,) ascending, ``rows`` (n + 1, degree + 1) coefficients of powers of h."""

    knots: Array
    rows: Array

    def at(self, h: Array) -> Array:
        """Values; at a knot that of the right piece."""
        rows = self.rows[np.searchsorted(self.knots, h, side="right")]
        out = rows[..., -1]
        for k in range(rows.shape[-1] - 2, -1, -1):
            out = out * h + rows[..., k]
        return out

    @property
    def slope(self) -> Pieces:
        """The derivative without the jumps."""
        return Pieces(self.knots, (self.rows[:, 1:] * np.arange(1, self.rows.shape[1])))

    @property
    def jumps(self) -> Array:
        """(n,) right limit less left limit at every knot; rounding is taken for 0."""
        powers = self.knots[:, None] ** np.arange(self.rows.shape[1])
        left, right = (self.rows[:-1] * powers).sum(axis=1), (self.rows[1:] * powers).sum(axis=1)
        return np.where(np.abs(right - left) < 1e-12 * (1.0 + np.abs(left)), 0.0, right - left)

    def __mul__(self, other: Pieces) -> Pieces:
        return Pieces(self.knots, np.array([np.convolve(a, b) for a, b in zip(self.rows, other.rows, strict=True)]))


def pieces_of(moments: GaussianMoments) -> Pieces | None:
    """phi as a piecewise polynomial, or None where it is none of degree DEGREE."""
    knots = np.unique(moments.kinks)
    if knots.size == 0 or moments.oscillates:
        return None
    edges = np.concatenate([[knots[0] - 8.0], knots, [knots[-1] + 8.0]])
    rows = []
    for low, high in pairwise(edges.tolist()):
        h = low + (high - low) * np.array([0.25, 0.5, 0.75, 0.1, 0.6, 0.9])
        value = moments.value(h)
        if not np.all(np.isfinite(value)):
            return None
        row = np.linalg.solve(np.vander(h[: DEGREE + 1], increasing=True), value[: DEGREE + 1])
        row[np.abs(row) < 1e-13 * (1.0 + np.abs(value).max())] = 0.0
        if np.abs(np.vander(h, DEGREE + 1, increasing=True) @ row - value).max() > 1e-12 * (1.0 + np.abs(value).max()):
            return None
        rows.append(row)
    return Pieces(knots, np.array(rows))


@lru_cache(maxsize=1)
def _integration() -> tuple[Array, Array]:
    """(nodes on [-1, 1], matrix (NODES + 1, NODES) from values there to the series of the integral from -1)."""
    chebyshev = np.polynomial.chebyshev
    nodes = chebyshev.chebpts1(NODES)
    series = np.linalg.inv(chebyshev.chebvander(nodes, NODES - 1))
    return nodes, chebyshev.chebint(series, lbnd=-1.0, axis=0)


class SplinePairs:
    """E f f of phi, phi', phi phi', phi^2 and phi'^2 at one q, as functions of theta on [0, pi]."""

    def __init__(self, phi: Pieces, q: float) -> None:
        self.q, self.root, self.knots = q, math.sqrt(q), phi.knots
        slope = phi.slope
        self.functions: dict[str, Pieces] = dict(
            zip(NAMES, (phi, slope, phi * slope, phi * phi, slope * slope), strict=True)
        )
        steps = max(1, math.ceil(math.log2(0.5 * math.pi / min(SHARP * _nearest(phi.knots) / self.root, 0.6))))
        half = np.concatenate([[0.0], 0.5 * math.pi * 2.0 ** np.arange(-steps, 1.0)])
        self.edges = np.concatenate([half, math.pi - half[-2::-1]])
        nodes, self._matrix = _integration()
        self._width = 0.5 * np.diff(self.edges)
        near = half[:-1, None] + 0.5 * np.diff(half)[:, None] * (nodes + 1.0)  # distance from the nearer end
        end = np.concatenate([near, near[::-1, ::-1]])  # (panels, NODES)
        self._low = np.arange(end.shape[0])[:, None] < near.shape[0]
        self._sine, self._sin2, self._cos2 = np.sin(end), np.sin(0.5 * end) ** 2, np.cos(0.5 * end) ** 2
        self._cosine = np.where(self._low, 1.0, -1.0) * np.cos(end)
        structure = graded_edges(
            -REACH * self.root, REACH * self.root, (0.0,), 0.5 * min(1.0, self.root), (*phi.knots,)
        )
        self._u, w = composite(structure)
        self._density = w * np.exp(-0.5 * self._u**2 / q) / math.sqrt(2.0 * math.pi * q)
        self._cached: dict[bytes, Array] = {}
        self._seconds: dict[str, float] = {}

    def drop(self, name: str, theta: Array) -> Array:
        """1 - E f(u) f(v) / E f^2 at these theta (N,); 0 where f vanishes altogether."""
        f = self.functions[name]
        if name not in self._seconds:
            self._seconds[name] = self._second(f)
        second = self._seconds[name]
        if not second > 0.0:
            return np.zeros_like(theta)
        series = self._series(f)
        panel = np.clip(np.searchsorted(self.edges, theta, side="right") - 1, 0, self.edges.size - 2)
        x = (theta - self.edges[panel]) / self._width[panel] - 1.0
        basis = np.cos(np.arccos(np.clip(x, -1.0, 1.0))[:, None] * np.arange(NODES + 1))
        return (series[panel] * basis).sum(axis=1) / second

    def _second(self, f: Pieces) -> float:
        """E f^2."""
        return float(self._density @ f.at(self._u) ** 2)

    def _series(self, f: Pieces) -> Array:
        """(panels, NODES + 1) Chebyshev series, on every panel, of E f^2 - E f(u) f(v) as a function of theta."""
        key = f.rows.tobytes()
        if key not in self._cached:
            series = (self.q * self._width)[:, None] * (self._inner(f) @ self._matrix.T)
            series[1:, 0] += np.cumsum(series.sum(axis=1))[:-1]
            self._cached[key] = series
        return self._cached[key]

    def _inner(self, f: Pieces) -> Array:
        """sin(theta) E f' f' at the panels' nodes."""
        g, knots = f.slope, self.knots
        jumps = [(float(knots[i]), float(f.jumps[i])) for i in np.flatnonzero(f.jumps)]
        out = np.zeros_like(self._sine)
        if g.rows.any():
            nodes, _ = _integration()
            out += self._second(g) - self._series(g) @ np.polynomial.chebyshev.chebvander(nodes, NODES).T
            for k, jump in jumps:
                density = math.exp(-0.5 * k * k / self.q) / math.sqrt(2.0 * math.pi * self.q)
                out += 2.0 * jump * density * self._given(g, k)
            out *= self._sine
        for k, one in jumps:
            for m, other in jumps:
                out += one * other / (2.0 * math.pi * self.q) * self._bell(k, m)
        return out

    def _bell(self, k: float, m: float) -> Array:
        """exp(-(k^2 + m^2 - 2 k m cos) / (2 q sin^2)); squares of k - m or k + m leave no large terms to cancel."""
        apart = np.where(self._low, (k - m) ** 2, (k + m) ** 2) / self._sine**2
        return np.exp(-0.5 / self.q * (apart + k * m * np.where(self._low, 1.0, -1.0) / self._cos2))

    def _given(self, g: Pieces, k: float) -> Array:
        """E(g(v) | u = k) at the nodes: truncated moments of a Gaussian by their recurrence."""
        from scipy.special import ndtr

        sigma, mean = self.root * self._sine, k * self._cosine
        sign = np.where(self._low, 1.0, -1.0)
        ends = [((x - sign * k) + sign * 2.0 * k * self._sin2) / sigma for x in self.knots]  # (knot - mean) / sigma
        none = np.zeros_like(sigma)
        below = [none, *(ndtr(e) for e in ends), none + 1.0]
        bells = [none, *(np.exp(-0.5 * e * e) / math.sqrt(2 * math.pi) for e in ends), none]
        points = [0.0, *self.knots, 0.0]
        out = np.zeros_like(sigma)
        for p, row in enumerate(g.rows):
            before, now = none, below[p + 1] - below[p]
            for m, coefficient in enumerate(row):
                if m:
                    edge = points[p + 1] ** (m - 1) * bells[p + 1] - points[p] ** (m - 1) * bells[p]
                    before, now = now, mean * now + (m - 1) * sigma**2 * before - sigma * edge
                if coefficient:
                    out += coefficient * now
        return out


def _nearest(knots: Array) -> float:
    """Least distance over which two knots, or one and another's mirror image, are seen apart; at most 6."""
    both = np.concatenate([knots[:, None] - knots, knots[:, None] + knots])
    return float(np.abs(both[np.abs(both) > 1e-9]).min(initial=6.0))


@lru_cache(maxsize=256)
def _pieces(moments: GaussianMoments) -> Pieces | None:
    return pieces_of(moments)


@lru_cache(maxsize=64)
def spline_pairs(moments: GaussianMoments, q: float) -> SplinePairs | None:
    """The pair moments of a piecewise polynomial phi at this q, shared; None for any other phi."""
    phi = _pieces(moments)
    return None if phi is None else SplinePairs(phi, q)
