"""The correlation map c -> c' at a fixed point of the variance map, and what becomes of a correlation with depth.

    c' = (sigma_w^2 E phi(u) phi(v) + sigma_b^2) / q*,   u, v ~ N(0, q*), correlation c.

E phi(u) phi(v) comes from a closed form, from integrals over arccos c (theory.spline_pairs), from Mehler's series
(theory.hermite_pairs) where what it leaves out is rounding, else from the pair rules of ``theory.correlation``;
the last two are read from a Chebyshev table in arccos c. Source: Poole et al. 2016, Schoenholz et al. 2017; the rules
are ours. Infinite width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from gradcore.activations import negative_slope_of
from gradcore.errors import SpecError, UnsupportedError
from gradcore.fields import MAX_DEPTH
from gradcore.theory.correlation import TABLE_FROM, VALUE, pair_moments_by_splines, pair_ratios
from gradcore.theory.fixed_points import FixedPoint, fixed_points, law_of
from gradcore.theory.gaussian import GaussianMoments, moments_of
from gradcore.theory.hermite_pairs import hermite_pairs

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray
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


def _ratio(moments: GaussianMoments, log_q: float, farthest: float) -> Callable[[Array], Array]:
    """E phi(u) phi(v) / E phi^2 as a function of the correlations, each with arccos c up to ``farthest``."""
    spline = pair_moments_by_splines(moments, (VALUE,), log_q)
    if moments.homogeneous or moments.oscillates or spline:
        return lambda c: pair_ratios(moments, (VALUE,), log_q, c)[0]
    closed = VALUE in moments.activation.closed_pairs
    nodes = CLOSED_NODES if closed else PAIR_NODES if moments.kinks else SERIES_NODES
    x = np.cos(math.pi * np.arange(nodes) / (nodes - 1))
    at = np.cos(0.5 * farthest * (1.0 + x))
    values, known = np.empty(nodes), np.zeros(nodes, dtype=bool)
    series = None if closed else hermite_pairs(moments, (VALUE,), np.array([math.exp(log_q)]))
    if series is not None:
        drop, known = series.drop(at)
        values = 1.0 - drop[0, 0]
    missing = np.flatnonzero(~known)
    # in parts: many at once would be read from a table themselves
    for part in np.array_split(missing, math.ceil(missing.size / (TABLE_FROM - 1))) if missing.size else ():
        values[part] = pair_ratios(moments, (VALUE,), log_q, at[part])[0]
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
    has no fixed point but 0. Source: Poole et al. 2016. Validity: infinite width; 1e-9.
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
