"""Pair moments by Mehler's series: E f(u) f(v) = sum_k a_k^2 c^k, a_k the Hermite coefficients of f(sqrt(q) Z).

One set of coefficients serves every correlation of that q. What the K of them that are kept leave out is known from
E f^2, and times c^K it bounds the error. For tanh(sqrt(q) Z) the squares fall as exp(-pi sqrt(k / q)), so ORDERS leave
out next to nothing; kinks leave a power law, and the series serves all but the correlations near 1.

Source: Mehler 1866; the rules are ours. Units: second moments. Validity: q up to HIGHEST; tests/test_pair_table.py.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from gradcore.theory.gaussian import GaussianMoments, composite

Array = np.ndarray
ORDERS = ((3.5, 320, 0.04), (10.0, 640, 0.02), (math.inf, 1280, 0.02))  # up to this q, and the step of the grid
KINKED_ORDERS = 320
REMAINDER = 1e-12  # of E f^2 that may be left out
HIGHEST = 100.0  # in q: beyond, activations are too sharp for the grids
REACH = 14.0  # the integrand falls as exp(-z^2 / 4)


def _functions(z: Array, weight: Array | float, orders: int) -> Array:
    """(orders, N): he_k(z) exp(-z^2 / 2) / sqrt(2 pi) times the weights, he_k orthonormal for N(0, 1)."""
    rows = np.empty((orders, z.size))
    half = np.exp(-0.25 * z * z) / (2.0 * math.pi) ** 0.25
    before, now = np.zeros_like(z), half.copy()
    for k in range(orders):
        rows[k] = now
        before, now = now, (z * now - math.sqrt(k) * before) / math.sqrt(k + 1)
    return rows * (half * weight)


@lru_cache(maxsize=3)
def smooth_grid(orders: int, step: float) -> tuple[Array, Array]:
    """(z, rows) on a uniform grid: the trapezoid rule is exact to rounding for what is analytic around the axis."""
    z = np.arange(-round(REACH / step), round(REACH / step) + 1) * step
    return z, _functions(z, step, orders)


@lru_cache(maxsize=16)
def kinked_grid(kinks: tuple[float, ...]) -> tuple[Array, Array]:
    """(z, rows) by Gauss-Legendre on panels graded towards these kinks (in z) and 0."""
    fine = np.array([0.0, 0.012, 0.05, 0.2])
    around = [(k + np.concatenate([-fine, fine])) for k in (0.0, *kinks)]
    edges = np.unique(np.concatenate([np.linspace(-REACH, REACH, 41), *around]))
    edges = edges[np.abs(edges) <= REACH]
    z, weight = composite(edges[np.append(True, np.diff(edges) > 1e-13)], 20)
    return z, _functions(z, weight, KINKED_ORDERS)


def _orders(q: float) -> tuple[int, float]:
    return next((orders, step) for most, orders, step in ORDERS if q <= most)


class HermitePairs:
    """1 - E f f / E f^2 of some functions f at some q, at any correlation c."""

    def __init__(self, moments: GaussianMoments, names: tuple[str, ...], q: Array) -> None:
        from gradcore.theory.correlation import evaluate

        root = np.sqrt(q)
        if all(k == 0.0 for k in moments.kinks):
            z, rows = kinked_grid(()) if moments.kinks else smooth_grid(*_orders(float(q.max())))
            values = np.array(evaluate(moments, names, z[:, None] * root))  # (names, N, Q)
            a = np.einsum("kn,fnq->fqk", rows, values, optimize=True)
            second = np.einsum("n,fnq->fq", rows[0], values**2)
        else:
            a, second = np.empty((len(names), q.size, KINKED_ORDERS)), np.empty((len(names), q.size))
            for i, s in enumerate(root):
                z, rows = kinked_grid(tuple(k / s for k in moments.kinks))
                values = np.array(evaluate(moments, names, z * s))
                a[:, i], second[:, i] = values @ rows.T, values**2 @ rows[0]
        self.second = np.where(second > 0.0, second, 1.0)
        self.share = a * a / self.second[:, :, None]  # (names, Q, K)
        rest = np.where(second > 0.0, 1.0 - self.share.sum(axis=2), 0.0)
        self.rest = np.where(rest > 1e-14, rest, 0.0)

    def drop(self, c: Array) -> tuple[Array, Array]:
        """(names, Q, N) of 1 - E f f / E f^2, and (N,) whether all of them are exact to REMAINDER."""
        orders = self.share.shape[2]
        with np.errstate(divide="ignore"):
            powers = -np.expm1(np.log(np.abs(c))[:, None] * np.arange(1, orders))  # 1 - c^k without cancellation
        powers[c < 0.0, ::2] = 2.0 - powers[c < 0.0, ::2]
        out = self.share[:, :, 1:] @ powers.T + self.rest[:, :, None]
        return out, float(np.abs(self.rest).max(initial=0.0)) * np.abs(c) ** orders < REMAINDER


def hermite_pairs(moments: GaussianMoments, names: tuple[str, ...], q: Array) -> HermitePairs | None:
    """The series of these functions at these q (Q,), or None where they are too sharp for it."""
    return HermitePairs(moments, names, q) if float(q.max()) <= HIGHEST else None
