"""Pair moments E[f(u) f(v)] of two jointly Gaussian pre-activations with equal second moment q, correlation c.

Three rules, chosen by the activation, all exact to quadrature precision:

* closed arc-cosine form for s_- min(h,0) + s_+ max(h,0) (Cho & Saul 2009), erf (Williams 1997) and sin;
* polar coordinates u = r sin s, v = r sin(s + theta), c = cos(theta), for functions whose only kink is at 0:
  the kink lines are rays, panels are graded towards them;
* conditional product rule for kinks elsewhere or a shifted activation: u by graded panels, v given u with
  every kink as a panel edge; piecewise polynomials by integrals over theta (theory.spline_pairs).

Whole arrays of c are served by a Chebyshev table in theta = arccos c (one 1-D table a layer), networks of many layers
by theory.pair_table.
Units: second moments. Validity: -1 <= c <= 1, any q; checked by tests/test_correlation.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from gradcore.theory.gaussian import (
    LOG_HIGH,
    LOG_LOW,
    REACH,
    GaussianMoments,
    composite,
    graded_edges,
)
from gradcore.theory.spline_pairs import SplinePairs, spline_pairs
from gradcore.theory.wide_pairs import reaches, wide_pairs

Array = np.ndarray
Number = Any  # a float or an array: formulas that NumPy broadcasts
Functions = tuple[str, ...]
TABLE_FROM = 24  # so many correlations at once are read from a table
TABLE_NODES = 21
# beyond these q the leading behaviour is exact enough: bounded activations approach theirs as 1/sqrt(q), growing
# ones as 1/q (phi, offsets kept) or 1/sqrt(q) (phi')
BOUNDED_HIGH, GROWING_HIGH, GROWING_VALUE_HIGH = math.log(1e18), math.log(1e12), math.log(1e9)
# up to these q the integrals over theta keep more digits than the conditional rule
SPLINE_HIGH, SPLINE_SQUARES_HIGH = math.log(1e6), math.log(1e3)

# what may be asked: phi phi, phi' phi', psi psi with psi = phi phi'
VALUE, SLOPE, PSI = "value", "slope", "psi"
SQUARE, SLOPE_SQUARE = "square", "slope_square"  # phi^2 phi^2 and phi'^2 phi'^2, for finite width
MOMENTS = {VALUE: "second", SLOPE: "slope_second", PSI: "psi_second", SQUARE: "fourth", SLOPE_SQUARE: "slope_fourth"}


def evaluate(moments: GaussianMoments, names: Functions, h: Array) -> list[Array]:
    """The named functions at h; phi and phi' are evaluated once."""
    value = moments.value(h) if set(names) & {VALUE, PSI, SQUARE} else np.zeros(())
    slope = moments.derivative(h) if set(names) & {SLOPE, PSI, SLOPE_SQUARE} else np.zeros(())
    table = {
        VALUE: lambda: value,
        SLOPE: lambda: slope,
        PSI: lambda: value * slope,
        SQUARE: lambda: value * value,
        SLOPE_SQUARE: lambda: slope * slope,
    }
    return [table[name]() for name in names]


# --- closed forms ------------------------------------------------------------------------------------------


def _half_line(left: float, right: float, q: float, c: Number) -> Number:
    """E[f f] of f = left min(h,0) + right max(h,0): f = a abs(h) + b h."""
    a, b = 0.5 * (right - left), 0.5 * (right + left)
    return q * (b * b * c + a * a * (2 / math.pi) * (np.sqrt(1 - c * c) + c * np.arcsin(c)))


def _step(left: float, right: float, c: Number) -> Number:
    """E[f f] of f = left for h < 0, right for h > 0."""
    a, b = 0.5 * (right - left), 0.5 * (right + left)
    return b * b + a * a * (2 / math.pi) * np.arcsin(c)


def _half_square(left: float, right: float, q: float, c: Number) -> Number:
    """E[f^2 f^2] of f = left min(h,0) + right max(h,0): f^2 = a h^2 + b h abs(h) (arc-cosine kernel of order 2)."""
    a, b = 0.5 * (right**2 + left**2), 0.5 * (right**2 - left**2)
    theta = np.arccos(c)
    squares = 1 + 2 * c * c
    half = (3 * np.sin(theta) * c + (math.pi - theta) * squares) / (2 * math.pi)
    return q * q * (a * a * squares + b * b * (4 * half - squares))


def _homogeneous(moments: GaussianMoments, names: Functions, q: float, c: Array) -> list[Array]:
    left, right = moments.activation.tails(moments.slope)
    forms = {
        VALUE: lambda: _half_line(left, right, q, c),
        SLOPE: lambda: _step(left, right, c),
        PSI: lambda: _half_line(left**2, right**2, q, c),
        SQUARE: lambda: _half_square(left, right, q, c),
        SLOPE_SQUARE: lambda: _step(left**2, right**2, c),
    }
    return [forms[name]() for name in names]


def _sine(names: Functions, q: float, c: Array, shift: float) -> list[Array]:
    """sin(beta + u) sin(beta + v) = (cos(u - v) - cos(2 beta + u + v)) / 2; what cancels at small q is taken out."""

    def product(k: int) -> Array:  # E sin k(beta + u) sin k(beta + v)
        apart = -0.5 * np.sign(c) * np.exp(-k * k * q * (1 - np.abs(c))) * np.expm1(-2 * k * k * q * np.abs(c))
        return apart + math.sin(k * shift) ** 2 * np.exp(-k * k * q * (1 + c))

    def squares(mean: float) -> Array:  # E (1 - cos 2(beta + u)) (1 - cos 2(beta + v)) / 4, the mean of one known
        apart = 0.5 * np.exp(-4 * q * (1 - np.abs(c))) * np.expm1(-4 * q * np.abs(c)) ** 2
        tilt = math.sin(2 * shift) ** 2 * (np.exp(-4 * q) - np.exp(-4 * q * (1 + c)))
        return 0.25 * (mean * mean + apart + tilt)

    even = 2 * math.sin(shift) ** 2 * math.exp(-2 * q)
    forms = {
        VALUE: lambda: product(1),
        SLOPE: lambda: 0.5 * (np.exp(-q * (1 - c)) + math.cos(2 * shift) * np.exp(-q * (1 + c))),
        PSI: lambda: 0.25 * product(2),
        SQUARE: lambda: squares(even - math.expm1(-2 * q)),
        SLOPE_SQUARE: lambda: squares(2.0 - even + math.expm1(-2 * q)),
    }
    return [forms[name]() for name in names]


# --- polar rule --------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _radial(decade: int) -> tuple[Array, Array]:
    """Nodes r and weights w r exp(-r^2/2), graded towards 0 for q up to 100^(decade+1)."""
    smallest = min(0.5, 0.5 * 10.0 ** -(decade + 1))
    edges = np.concatenate([[0.0], smallest * 4.0 ** np.arange(math.ceil(math.log(REACH / smallest, 4.0))), [REACH]])
    r, w = composite(edges, 16)
    return r, w * r * np.exp(-0.5 * r * r)


def _arc(length: float, smallest: float) -> tuple[Array, Array]:
    """Angular nodes on [0, length], graded towards 0."""
    if length <= 0.0:
        return np.zeros(1), np.zeros(1)
    steps = max(0, math.ceil(math.log(length / min(smallest, length), 4.0)))
    inner = smallest * 4.0 ** np.arange(steps)
    return composite(np.concatenate([[0.0], inner[inner < 0.999 * length], [length]]), 12)


def _polar_arc(moments: GaussianMoments, names: Functions, u: Array, v: Array, same: bool) -> list[Array]:
    """f(u) f(v) + f(-u) f(-v), or f(u) f(-v) + f(-u) f(v) where ``same`` is False."""
    sign = 1.0 if same else -1.0
    plus_u, plus_v = evaluate(moments, names, u), evaluate(moments, names, v)
    if moments.activation.odd:  # phi and psi odd, the others even
        return [
            2.0 * (sign if n in (VALUE, PSI) else 1.0) * a * b for n, a, b in zip(names, plus_u, plus_v, strict=True)
        ]
    minus_u, minus_v = evaluate(moments, names, -u), evaluate(moments, names, -v)
    if same:
        return [a * b + x * y for a, b, x, y in zip(plus_u, plus_v, minus_u, minus_v, strict=True)]
    return [a * y + x * b for a, b, x, y in zip(plus_u, plus_v, minus_u, minus_v, strict=True)]


def _polar(moments: GaussianMoments, names: Functions, q: float, c: float) -> list[float]:
    theta, s = math.acos(c), math.sqrt(q)
    r, weight_r = _radial(max(-1, math.floor(0.5 * math.log10(q))))
    smallest = 0.15 * min(1.0, 1.0 / s)
    total = np.zeros(len(names))
    for length, same in ((0.5 * (math.pi - theta), True), (0.5 * theta, False)):
        angle, weight = _arc(length, smallest)
        other = np.sin(angle + theta) if same else np.sin(theta - angle)
        u, v = s * np.outer(r, np.sin(angle)), s * np.outer(r, other)
        for i, product in enumerate(_polar_arc(moments, names, u, v, same)):
            total[i] += weight_r @ product @ weight
    return list(total / math.pi)


# --- conditional rule --------------------------------------------------------------------------------------


def _inner_edges(points: Array, centre: Array, scale: float) -> Array:
    """Panel edges for v given u: fixed ones and every kink, in units of the conditional std (rows: u)."""
    fixed = np.array([-REACH, -3.0, -1.0, 1.0, 3.0, REACH])
    moving = np.clip((points[None, :] - centre[:, None]) / scale, -REACH, REACH)
    return np.sort(np.concatenate([np.broadcast_to(fixed, (centre.size, fixed.size)), moving], axis=1), axis=1)


def _conditional(moments: GaussianMoments, names: Functions, q: float, c: float) -> list[float]:
    s, rest = math.sqrt(q), math.sqrt(max(0.0, 1.0 - c * c))
    structure = (0.0, *moments.kinks) if moments.unshifted else (0.0, -moments.shift, *moments.kinks)
    if rest < 1e-9:
        u, w = composite(graded_edges(-REACH * s, REACH * s, structure, 0.5 * min(1.0, s)))
        density = w * np.exp(-0.5 * u * u / q) / math.sqrt(2 * math.pi * q)
        pairs = zip(evaluate(moments, names, u), evaluate(moments, names, u if c > 0 else -u), strict=True)
        return [float(density @ (a * b)) for a, b in pairs]
    u, w = composite(graded_edges(-REACH * s, REACH * s, structure, 0.5 * min(1.0, s, s * rest)), 16)
    keep = np.abs(u) < REACH * s
    u, w = u[keep], w[keep]
    outer = w * np.exp(-0.5 * u * u / q) / math.sqrt(2 * math.pi * q)
    widths = [0.0] if s * rest <= 4.0 else [0.0, -1.0, 1.0, -4.0, 4.0]
    points = np.array([p + d for p in structure for d in widths])
    edges = _inner_edges(points, c * u, s * rest)
    x, gauss = np.polynomial.legendre.leggauss(14)
    width = 0.5 * np.diff(edges, axis=1)
    z = (edges[:, :-1] + width)[:, :, None] + width[:, :, None] * x
    inner = width[:, :, None] * gauss * np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    values_u = evaluate(moments, names, u)
    values_v = evaluate(moments, names, c * u[:, None, None] + s * rest * z)
    return [float(outer @ (a * np.einsum("ijk,ijk->i", inner, b))) for a, b in zip(values_u, values_v, strict=True)]


# --- beyond the quadrature's range -------------------------------------------------------------------------


def _normalized(form: Callable[[Number], Number], c: Array) -> Array:
    """form(c) / form(1), 1 where the function vanishes altogether."""
    whole = form(np.float64(1.0))
    return form(c) / whole if whole else np.ones_like(c)


def _line(moments: GaussianMoments, log_q: float) -> Callable[[Number], Number]:
    """E[f f] / q of slopes at both ends plus the offsets there (elu: -1 left): a abs(h) + b h + m + d sign(h)."""
    left, right = moments.activation.tails(moments.slope)
    low, high = moments.limits
    root = math.exp(-0.5 * min(log_q, 600.0))
    a, b, m, d = 0.5 * (right - left), 0.5 * (right + left), 0.5 * (low + high), 0.5 * (high - low)

    def form(x: Number) -> Number:
        offsets = m * m + d * d * (2 / math.pi) * np.arcsin(x)
        mixed = 2 * math.sqrt(2 / math.pi) * (a * m + b * d * x)
        return _half_line(left, right, 1.0, x) + root * mixed + root * root * offsets

    return form


def _spike(log_q: float, c: Array) -> Array:
    """phi' of a bounded activation is a spike at 0: joint over single density (to a factor of order 1), at most 1."""
    return np.minimum(1.0, np.exp(-0.5 * log_q) / np.sqrt(np.maximum(1 - c * c, 1e-300)))


def _extreme(moments: GaussianMoments, names: Functions, log_q: float, c: Array) -> list[Array] | None:
    """Leading behaviour of the *normalised* pair moments at extreme q, or None inside the ordinary range."""
    low, grows = log_q < math.log(1e-24), moments.tail_square > 0
    growing_high = GROWING_VALUE_HIGH if names == (VALUE,) else GROWING_HIGH
    if not low and log_q <= (growing_high if grows else BOUNDED_HIGH):
        return None
    value, left, right = moments.at_zero
    if not low:
        left, right = moments.activation.tails(moments.slope)

    def half(a: float, b: float) -> Array:
        return _normalized(lambda x: _half_line(a, b, 1.0, x), c)

    def step(a: float, b: float) -> Array:
        return _normalized(lambda x: _step(a, b, x), c)

    def quartic() -> Array:
        return _normalized(lambda x: _half_square(left, right, 1.0, x), c)

    ones = np.ones_like(c)
    forms = {
        VALUE: lambda: ones if value else half(left, right),
        SLOPE: lambda: step(left, right),
        PSI: lambda: step(left, right) if value else half(left**2, right**2),
        SQUARE: lambda: ones if value else quartic(),
        SLOPE_SQUARE: lambda: step(left**2, right**2),
    }
    if not low:
        forms[VALUE] = lambda: _normalized(_line(moments, log_q), c) if grows else step(*moments.limits)
        forms[PSI] = lambda: half(left**2, right**2)
        forms[SQUARE] = lambda: quartic() if grows else step(*(x * x for x in moments.limits))
    if not low and not grows:
        forms[SLOPE] = forms[PSI] = forms[SLOPE_SQUARE] = lambda: _spike(log_q, c)
    return [forms[name]() for name in names]


def _direct(moments: GaussianMoments, names: Functions, q: float, c: Array) -> list[Array]:
    activation = moments.activation
    if moments.homogeneous:
        return _homogeneous(moments, names, q, c)
    if moments.oscillates:
        return _sine(names, q, c, moments.shift)
    closed = activation.closed_pairs
    if moments.closed is not None and set(names) <= set(closed):
        return [closed[name](q, c) for name in names]
    kink_free = moments.unshifted and all(k == 0.0 for k in moments.kinks)
    rule = _polar if kink_free else _conditional

    def one(x: float) -> Array | list[float]:
        wide = wide_pairs(moments, names, q, x)
        return rule(moments, names, q, x) if wide is None else wide

    rows = np.array([one(x) for x in c.tolist()])
    return list(rows.reshape(-1, len(names)).T)


@lru_cache(maxsize=8)
def _chebyshev(nodes: int) -> tuple[Array, Array]:
    """Chebyshev points of the second kind on [-1, 1] and their barycentric weights."""
    k = np.arange(nodes)
    weights = (-1.0) ** k
    weights[[0, -1]] *= 0.5
    return np.cos(math.pi * k / (nodes - 1)), weights


def _tabled(function: Callable[[Array], list[Array]], c: Array) -> list[Array]:
    """Barycentric Chebyshev interpolation in theta over the range of the given correlations."""
    theta = np.arccos(c)
    low, high = float(theta.min()), float(theta.max())
    if high - low < 1e-9:
        return [np.full_like(c, row[0]) for row in function(np.array([math.cos(0.5 * (low + high))]))]
    points, weights = _chebyshev(TABLE_NODES)
    rows = np.array(function(np.cos(0.5 * (low + high) + 0.5 * (high - low) * points)))
    gap = ((theta - 0.5 * (low + high)) / (0.5 * (high - low)))[:, None] - points
    exact = gap == 0.0
    kernel = weights / np.where(exact, 1.0, gap)
    kernel[exact.any(axis=1)] = 0.0
    kernel[exact] = 1.0
    return list(rows @ kernel.T / kernel.sum(axis=1))


def _squares(moments: GaussianMoments, names: Functions, log_q: float) -> dict[str, float]:
    """ln E f^2 of each named f."""
    if moments.oscillates:
        whole = _sine(names, math.exp(log_q), np.ones(1), moments.shift)
        return {name: _log(float(x[0])) for name, x in zip(names, whole, strict=True)}
    if names == (VALUE,):
        return {VALUE: moments.log_second(log_q)}
    if moments.homogeneous:
        at = moments.at(np.array(log_q))
        squares = {VALUE: at.log_second, SLOPE: at.log_slope_second, PSI: at.log_psi_second}
        return {n: float(squares[n]) if n in squares else _log(_homogeneous_square(moments, n)) for n in names}
    e = moments.expectations(np.array(log_q), tuple(MOMENTS[name] for name in names))
    return {name: _log(float(e[MOMENTS[name]])) for name in names}


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf


def _homogeneous_square(moments: GaussianMoments, name: str) -> float:
    return float(_homogeneous(moments, (name,), 1.0, np.ones(1))[0][0])


def pair_moments_by_splines(moments: GaussianMoments, names: Functions, log_q: float) -> SplinePairs | None:
    """The integrals over theta, where phi is a piecewise polynomial and they keep more digits than the other rules."""
    highest = SPLINE_HIGH if set(names) <= {VALUE, SLOPE} else SPLINE_SQUARES_HIGH
    return spline_pairs(moments, math.exp(log_q)) if log_q <= highest else None


def pair_ratios(moments: GaussianMoments, names: Functions, log_q: float, c: Array) -> list[Array]:
    """E[f(u) f(v)] / E[f(u)^2] for each named f ("value", "slope", "psi") and every correlation in ``c`` (P,).

    u, v ~ N(0, q), correlation c; f is taken at beta + u for a shifted activation. 1 where E f^2 = 0.
    """
    c = np.clip(np.asarray(c, dtype=float), -1.0, 1.0)
    if c.size == 0:
        return [np.empty(0) for _ in names]
    if c.size == 1 and c[0] == 1.0:
        return [np.ones(1) for _ in names]
    if not moments.homogeneous and not moments.oscillates:
        extreme = _extreme(moments, names, log_q, c)
        if extreme is not None:
            return extreme
        few = c.size == 1 and reaches(moments, names, math.exp(min(log_q, LOG_HIGH)), float(c[0]))
        spline = None if few else pair_moments_by_splines(moments, names, log_q)
        if spline is not None:
            theta = np.arccos(c)
            return [np.clip(1.0 - spline.drop(name, theta), -1.0, 1.0) for name in names]
        if c.size >= TABLE_FROM:
            return _tabled(lambda points: direct_ratios(moments, names, log_q, points), c)
    return direct_ratios(moments, names, log_q, c)


def direct_ratios(moments: GaussianMoments, names: Functions, log_q: float, c: Array) -> list[Array]:
    """The same by closed form, polar or conditional rule, one correlation after the other; q from 1e-30 to 1e30."""
    q = 1.0 if moments.homogeneous else math.exp(min(max(log_q, LOG_LOW), LOG_HIGH))
    squares = _squares(moments, names, math.log(q))
    out = []
    for name, pair in zip(names, _direct(moments, names, q, c), strict=True):
        square = math.exp(squares[name])
        out.append(np.clip(pair / square, -1.0, 1.0) if square > 0 else np.ones_like(c))
    return out
