"""A table of one activation's moments over ln q: a lookup instead of a quadrature, for many q a layer and many layers.

A, ln A, ln D and d ln A / d ln q (A = E phi(z)^2, D = E phi'(z)^2, z ~ N(0, q)) are analytic in ln q in the strip
abs(Im ln q) < pi/2, where the Gaussian density still decays. So on an interval of ln q of length 2 a polynomial
through NODES Chebyshev points errs by about (pi/2 + sqrt(pi^2/4 + 1))^-NODES = 1e-14, and each of its PARTS parts is
one of degree DEGREE to the same accuracy: six array lookups and multiply-adds a value. Source: ours. Status: 1e-13
relative (tests/test_phase_map.py). Units: natural logarithms of second moments.
"""

from __future__ import annotations

import math
from functools import cached_property, lru_cache

import numpy as np

from gradcore.theory.gaussian import LOG_HIGH, LOG_LOW, GaussianMoments

Array = np.ndarray
INTERVALS = 69
WIDTH = (LOG_HIGH - LOG_LOW) / INTERVALS  # of an interval of ln q: about 2
NODES = 26
PARTS = 128
DEGREE = 5
LAST_PART = INTERVALS * PARTS - 1
LOG_SECOND, LOG_SLOPE, ELASTICITY, SECOND = range(4)  # ln A, ln D, d ln A / d ln q, A
COLUMNS = 4
FAR = -1e6  # stands for ln 0 where a power of q is taken


@lru_cache(maxsize=1)
def _refinement() -> tuple[Array, Array]:
    """(nodes on [0, 1], matrix (PARTS, DEGREE + 1, NODES)) from the values at the nodes of an interval to the
    coefficients, in t = PARTS x - part - 1/2, of each part (x from 0 to 1 over the interval): about its middle, powers
    of t lose no digits."""
    chebyshev = np.polynomial.chebyshev
    nodes = np.cos(math.pi * (np.arange(NODES) + 0.5) / NODES)
    to_series = np.linalg.inv(chebyshev.chebvander(nodes, NODES - 1))
    inner = 0.5 * np.cos(math.pi * (np.arange(DEGREE + 1) + 0.5) / (DEGREE + 1))
    to_powers = np.linalg.inv(np.vander(inner, increasing=True))
    where = 2.0 * (np.arange(PARTS)[:, None] + 0.5 + inner) / PARTS - 1.0
    matrix = to_powers @ chebyshev.chebvander(where, NODES - 1) @ to_series
    return 0.5 * (nodes + 1.0), matrix


class MomentTable:
    """The table of one activation; intervals of ln q are filled when a q in them is first asked for."""

    def __init__(self, moments: GaussianMoments) -> None:
        self.moments = moments
        self._filled = np.zeros(INTERVALS, dtype=bool)
        self._parts = np.zeros((COLUMNS, DEGREE + 1, INTERVALS * PARTS))

    def inside(self, log_q: Array) -> bool:
        """Whether all of these ln q lie within the table's range, 1e-30..1e30 in q."""
        return float(log_q.min()) >= LOG_LOW and float(log_q.max()) <= LOG_HIGH

    def lookup(self, log_q: Array, columns: tuple[int, ...]) -> list[Array]:
        """The columns (LOG_SECOND, LOG_SLOPE, ELASTICITY, SECOND) at an array (N,) of ln q within the range."""
        low, high = float(log_q.min()), float(log_q.max())
        self._fill(int((low - LOG_LOW) / WIDTH), int((high - LOG_LOW) / WIDTH))
        place = (log_q - LOG_LOW) * (PARTS / WIDTH)
        part = np.minimum(place.astype(np.intp), LAST_PART)
        place -= part + 0.5
        coefficient, out = np.empty_like(place), []
        for column in columns:
            rows = self._parts[column]
            value = rows[DEGREE].take(part, mode="clip")
            for power in range(DEGREE - 1, -1, -1):
                value *= place
                rows[power].take(part, out=coefficient, mode="clip")
                value += coefficient
            out.append(value)
        return out

    def anywhere(self, log_q: Array, columns: tuple[int, ...]) -> list[Array]:
        """The same at any ln q, -inf included: continued where the table ends."""
        if self.inside(log_q):
            return self.lookup(log_q, columns)
        out = self.lookup(np.clip(log_q, LOG_LOW, LOG_HIGH), columns)
        outside = np.flatnonzero((log_q < LOG_LOW) | (log_q > LOG_HIGH))
        beyond = self.continued(log_q[outside])
        for row, column in zip(out, columns, strict=True):
            row[outside] = beyond[column]
        return out

    def continued(self, log_q: Array) -> list[Array]:
        """Every column at ln q outside the table's range: from the nearer end by the leading power of q; at q = 0 the
        value there."""
        moments, finite = self.moments, np.maximum(log_q, FAR)
        second, slope, elasticity, _ = np.where(log_q > 0.0, self._ends[:, 1:], self._ends[:, :1])
        power = moments._exponent("second", finite)
        second = second + power
        value = moments.at_zero[0]
        second[np.isneginf(log_q)] = 2.0 * math.log(abs(value)) if value else -math.inf
        with np.errstate(over="ignore", under="ignore"):
            growth = np.exp(moments._exponent("h_psi", finite) - power)
            return [second, slope + moments._exponent("slope_second", finite), elasticity * growth, np.exp(second)]

    @cached_property
    def _ends(self) -> Array:
        """(COLUMNS, 2) at both ends of the range."""
        return self._values(np.array([LOG_LOW, LOG_HIGH]))

    def _values(self, log_q: Array) -> Array:
        """(COLUMNS, ...) from the moments themselves, within the range."""
        if not self.moments.oscillates and self.moments.closed is None:
            e = self.moments.expectations(log_q, ("second", "slope_second", "h_psi"))
            return np.array([np.log(e["second"]), np.log(e["slope_second"]), e["h_psi"] / e["second"], e["second"]])
        at = self.moments.at(log_q)
        with np.errstate(over="ignore"):
            elasticity = at.second_slope * np.exp(log_q - at.log_second)
            return np.array([at.log_second, at.log_slope_second, elasticity, np.exp(at.log_second)])

    def _fill(self, first: int, last: int) -> None:
        """Make sure that these intervals are there."""
        missing = first + np.flatnonzero(~self._filled[first : last + 1])
        if missing.size == 0:
            return
        nodes, matrix = _refinement()
        at = ((missing[:, None] + nodes) * WIDTH + LOG_LOW).ravel()
        values = self._values(at).reshape(COLUMNS, missing.size, NODES)
        base = values[:, :, :1].copy()  # taken off, so that ln A keeps its digits where it is far from 0
        pieces = np.tensordot(matrix, values - base, axes=(2, 2)).transpose(2, 1, 3, 0)  # column, power, interval, part
        pieces[:, 0] += base
        pieces = pieces.reshape(COLUMNS, DEGREE + 1, -1)
        where = (missing[:, None] * PARTS + np.arange(PARTS)).ravel()
        self._parts[:, :, where] = pieces
        self._filled[missing] = True


@lru_cache(maxsize=64)
def table_of(moments: GaussianMoments) -> MomentTable:
    """The table of these moments, shared."""
    return MomentTable(moments)
