"""The correlation map c -> c' at a fixed point of the variance map, and what becomes of a correlation with depth.

    c' = (sigma_w^2 E phi(u) phi(v) + sigma_b^2) / q*,   u, v ~ N(0, q*), correlation c.

E phi(u) phi(v) comes from a closed form, from the Hermite series sum_k a_k^2 c^k (Mehler) where its remainder, known
from E phi^2, is rounding, else from the pair rules of ``theory.correlation``; the last two are read from a Chebyshev
table in arccos c. Source: Poole et al. 2016, Schoenholz et al. 2017; the rules are ours. Infinite width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from gradcore.activations import negative_slope_of
from gradcore.errors import SpecError, UnsupportedError
from gradcore.fields import MAX_DEPTH
from gradcore.theory.correlation import TABLE_FROM, VALUE, pair_ratios
from gradcore.theory.fixed_points import FixedPoint, fixed_points, law_of
from gradcore.theory.gaussian import GaussianMoments, moments_of

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray
ORDERS = 320  # of the Hermite series
REMAINDER = 1e-13  # of E phi^2 that the series may leave out
CLOSED_NODES, SERIES_NODES, PAIR_NODES = 129, 65, 33  # of the table in arccos c
STARTS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.99)


@dataclass(frozen=True)
class CorrelationMap:
    """``c`` and ``mapped`` (N,): the map itself; ``paths`` (len(starts), depth): the correlation after 0, 1, ... layers
    from each of ``starts``; ``point``: the variance map's fixed point that it is taken at, with c*, chi_c, xi_c."""

    point: FixedPoint
    c: Array = field(repr=False)
    mapped: Array = field(repr=False)
    starts: Array = field(repr=False)
    paths: Array = field(repr=False)


@lru_cache(maxsize=1)
def _hermite_functions() -> tuple[Array, Array]:
    """(z, rows he_k(z) exp(-z^2/2) times the step, k < ORDERS), he_k orthonormal for N(0, 1). On a uniform grid: the
    trapezoid rule is exact to rounding for what is analytic around the axis."""
    step = 0.02
    z = np.arange(-700, 701) * step
    rows = np.empty((ORDERS, z.size))
    before, now = np.zeros_like(z), np.exp(-0.25 * z * z) / (2.0 * math.pi) ** 0.25
    for k in range(ORDERS):
        rows[k] = now
        before, now = now, (z * now - math.sqrt(k) * before) / math.sqrt(k + 1)
    return z, rows * (np.exp(-0.25 * z * z) / (2.0 * math.pi) ** 0.25 * step)


def _series(moments: GaussianMoments, log_q: float) -> Array | None:
    """a_k^2 / E phi^2, or None where the series ends too early."""
    if moments.kinks:
        return None
    z, rows = _hermite_functions()
    squares = (rows @ moments.value(math.exp(0.5 * log_q) * z)) ** 2
    second = math.exp(moments.log_second(log_q))
    return squares / second if abs(squares.sum() / second - 1.0) < REMAINDER * ORDERS else None


def _ratio(moments: GaussianMoments, log_q: float, farthest: float) -> Callable[[Array], Array]:
    """E phi(u) phi(v) / E phi^2 as a function of the correlations, each with arccos c up to ``farthest``."""
    if moments.homogeneous or moments.oscillates:
        return lambda c: pair_ratios(moments, (VALUE,), log_q, c)[0]
    closed = VALUE in moments.activation.closed_pairs
    series = None if closed else _series(moments, log_q)
    nodes = CLOSED_NODES if closed else PAIR_NODES if series is None else SERIES_NODES
    x = np.cos(math.pi * np.arange(nodes) / (nodes - 1))
    at = np.cos(0.5 * farthest * (1.0 + x))
    if series is None:  # in parts: many at once would be read from a table themselves
        parts = np.array_split(at, math.ceil(nodes / (TABLE_FROM - 1)))
        values = np.concatenate([pair_ratios(moments, (VALUE,), log_q, part)[0] for part in parts])
    else:
        values = np.polynomial.polynomial.polyval(at, series)
    values[-1] = 1.0
    weights = (-1.0) ** np.arange(nodes)
    weights[[0, -1]] *= 0.5

    def interpolated(c: Array) -> Array:
        gap = (2.0 * np.arccos(c) / farthest - 1.0)[:, None] - x
        hit = np.abs(gap) < 1e-15
        kernel = weights / np.where(hit, 1.0, gap)
        kernel[hit.any(axis=1)] = 0.0
        kernel[hit] = 1.0
        return kernel @ values / kernel.sum(axis=1)

    return interpolated


def correlation_map(
    network: Spec | str,
    sigma_w: float | None = None,
    sigma_b: float = 0.0,
    *,
    negative_slope: float | None = None,
    c: Sequence[float] | Array | None = None,
    starts: Sequence[float] | Array = STARTS,
    depth: int = 100,
) -> CorrelationMap:
    """The correlation map at the fixed point that holds, and correlations followed through ``depth`` layers.

    ``network`` is a Spec (its last layer's law), or an activation with ``sigma_w``, ``sigma_b``. The map is wanted at
    ``c``, by default 201 values from 0 to 1. Of several fixed points q* > 0 the first stable one is taken, else the
    first; a homogeneous activation without bias has the same map at every q. Correlations are numbers from -1 to 1.

    Raises SpecError for numbers out of range, UnsupportedError for a Spec whose maps are others, and where the signal
    has no fixed point but 0. Source: Poole et al. 2016. Validity: infinite width; 1e-9 (activations with kinks off 0 at
    q* above 10: 1e-6).
    """
    law = law_of(network, sigma_w, sigma_b, negative_slope)
    moments = moments_of(law[0], negative_slope_of(law[0], law[3]))
    grid = _checked("c", np.linspace(0.0, 1.0, 201) if c is None else c)
    first = _checked("starts", starts)
    if isinstance(depth, bool) or not isinstance(depth, (int, np.integer)) or not 1 <= depth <= MAX_DEPTH:
        raise SpecError("depth", depth, f"an integer from 1 to {MAX_DEPTH:,}")
    point = _point(law, moments)
    log_q = math.log(point.q)
    low = min(float(grid.min(initial=1.0)), float(first.min(initial=1.0)))
    ratio = _ratio(moments, log_q, math.pi if low < 0.0 else 0.5 * math.pi)
    bias = min(law[2] ** 2 * math.exp(-log_q), 1.0)

    def mapped(values: Array) -> Array:
        return np.clip((1.0 - bias) * ratio(values) + bias, -1.0, 1.0)

    paths = np.empty((first.size, depth))
    paths[:, 0] = first
    for layer in range(1, depth):
        paths[:, layer] = mapped(paths[:, layer - 1])
    return CorrelationMap(point, grid, mapped(grid), first, paths)


def _checked(name: str, values: Sequence[float] | Array) -> Array:
    try:
        numbers = np.atleast_1d(np.asarray(values, dtype=float))
    except (TypeError, ValueError):
        raise SpecError(name, values, "numbers from -1 to 1") from None
    if numbers.ndim != 1 or numbers.size == 0 or not np.all(np.abs(numbers) <= 1.0):  # nan is not
        raise SpecError(name, values, "numbers from -1 to 1")
    return numbers


def _point(law: tuple[str, float, float, float | None], moments: GaussianMoments) -> FixedPoint:
    """The fixed point q* > 0 at which the map is taken; q = 1 stands for every q where any keeps the map."""
    activation, sigma_w, sigma_b, slope = law
    if moments.homogeneous and not sigma_b and moments.tail_square > 0.0:
        chi = sigma_w**2 * moments.tail_square
        unit = moments.tail_square**-0.5
        return FixedPoint(1.0, 1.0, chi, activation, unit, 0.0, slope)
    points = [p for p in fixed_points(activation, sigma_w, sigma_b, negative_slope=slope) if p.q > 0.0]
    if not points:
        raise UnsupportedError(
            f"the correlation map of {activation} at sigma_w = {sigma_w:g}, sigma_b = {sigma_b:g}",
            "its signal has no fixed point but 0: it dies out or grows without end",
            "a sigma_w and sigma_b at which the signal settles (see fixed_points)",
        )
    return next((p for p in points if p.stable), points[0])
