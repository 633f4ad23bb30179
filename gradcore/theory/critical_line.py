"""The critical line (edge of chaos) of an activation: every (sigma_w, sigma_b) at which gradients keep their size.

Parametrised by the fixed point q of the variance map (Poole et al. 2016; Schoenholz et al. 2017):

    sigma_w^2 = 1 / D(q),  sigma_b^2 = q - A(q) / D(q),  A = E phi(sqrt(q) Z)^2,  D = E phi'(sqrt(q) Z)^2,

admissible where sigma_b^2 >= 0, stable where chi_parallel = A'(q) / D(q) < 1. Units: standard deviations.
Infinite width, independent weights scaled by fan-in, no norm, no residual.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from gradcore.activations import negative_slope_of
from gradcore.errors import SpecError
from gradcore.fields import FIELDS
from gradcore.theory.critical import SCAN
from gradcore.theory.gaussian import GaussianMoments, moments_of

Array = np.ndarray
Interval = tuple[float, float]
CLEAR = 1e-11  # a sign below this is rounding
CLEAR_SLOPE = 1e-8  # the same for chi_parallel, which cancels as 1/sqrt(q) where phi(0) is not 0
POINTS = 2001  # of the line, over 24 decades of q; edges of its pieces besides
LOWEST = math.log(1e-12)  # q below this stands for the end at q = 0

SENTENCES = {  # message id: English, with its values
    "line": "The critical line of {activation} starts at σ_w = {sigma_w:.4g}, σ_b = {sigma_b:.4g}; its q* are stable.",
    "starts_late": "No network of {activation} is critical below σ_w = {sigma_w:.4g}, far beyond ordinary gains.",
    "partly_unstable": (
        "{activation} has a critical line, but its fixed points q* below {q:.3g} are unstable (χ∥ above 1): the signal "
        "leaves them, and a gain that keeps its variance there does not hold a deep network."
    ),
    "bias_free_only": (
        "{activation} is critical at σ_w = {sigma_w:.4g}, whatever the size of the signal; with a bias the gradient "
        "keeps its size there, but the signal's mean square grows by σ_b² a layer."
    ),
    "none_negative_bias": (
        "{activation} has no critical line: χ = 1 would need a negative bias variance at every fixed point q* (at best "
        "{share:.1g} q*, at q* = {q:.1g}). Where χ passes 1, the signal grows without end."
    ),
    "none_flat": "{activation} has no critical line: its slope is zero.",
}


@dataclass(frozen=True)
class CriticalLine:
    """All critical points of one activation, by increasing q*.

    ``q``, ``sigma_w``, ``sigma_b``, ``chi_parallel`` and ``stable`` (chi_parallel <= 1) are arrays of one length, 0
    where there is no line. ``pieces``: the intervals of q* on which sigma_b^2 >= 0; ``stable_q``: those on which the
    fixed point is stable too. ``message_id`` and ``values`` say what kind of line it is or why there is none.
    """

    activation: str
    negative_slope: float | None
    q: Array = field(repr=False)
    sigma_w: Array = field(repr=False)
    sigma_b: Array = field(repr=False)
    chi_parallel: Array = field(repr=False)
    stable: Array = field(repr=False)
    pieces: tuple[Interval, ...]
    stable_q: tuple[Interval, ...]
    message_id: str
    values: dict[str, Any]

    @property
    def exists(self) -> bool:
        """Whether there is any critical point."""
        return self.q.size > 0

    @property
    def sentence(self) -> str:
        """What kind of line it is, or why there is none, in English."""
        return SENTENCES[self.message_id].format(**self.values)

    @property
    def least_sigma_w(self) -> float:
        """The smallest sigma_w on the line; nan where there is none."""
        return float(self.sigma_w.min()) if self.exists else math.nan

    def crossings(self, of: str, value: float) -> list[tuple[float, bool]]:
        """Where the line meets ``sigma_w = value`` or ``sigma_b = value`` (``of`` names which): the other coordinate
        and whether the fixed point is stable, by increasing q*; refined by brentq.

        Homogeneous activations keep chi = 1 at their sigma_w with any bias; with one nothing holds q: not stable.
        """
        if of not in ("sigma_w", "sigma_b"):
            raise SpecError("of", of, "one of sigma_w, sigma_b")
        if self.message_id == "bias_free_only":
            meets = of == "sigma_b" or value == float(self.sigma_w[0])
            return [(float(self.sigma_w[0]) if of == "sigma_b" else 0.0, of == "sigma_w" or value == 0.0)] * meets
        mine, other = (self.sigma_w, self.sigma_b) if of == "sigma_w" else (self.sigma_b, self.sigma_w)
        gap = mine - value
        met = gap == 0.0  # a run of them, as where sigma_b is 0 to rounding, is one
        starts = np.flatnonzero(met & ~np.append(False, met[:-1]))
        found = [(int(i), float(other[i])) for i in starts]
        found += [(int(i), self._refined(of, value, int(i))) for i in np.flatnonzero(gap[:-1] * gap[1:] < 0.0)]
        return [(x, bool(self.stable[i])) for i, x in sorted(found)]

    def _refined(self, of: str, value: float, i: int) -> float:
        """The other coordinate where the line meets the value between its points i and i + 1."""
        from scipy.optimize import brentq

        moments = moments_of(self.activation, negative_slope_of(self.activation, self.negative_slope))

        def point(log_q: float) -> tuple[float, float]:
            sigma_w, sigma_b = _coordinates(moments, np.array([log_q]))
            return (float(sigma_w[0]), float(sigma_b[0])) if of == "sigma_w" else (float(sigma_b[0]), float(sigma_w[0]))

        low, high = np.log(self.q[i : i + 2])
        if (point(low)[0] - value) * (point(high)[0] - value) > 0.0:  # an end that was set to 0 exactly
            return point(low)[1]
        root: Any = brentq(lambda x: point(x)[0] - value, low, high, xtol=1e-14)
        return point(float(root))[1]


def _coordinates(moments: GaussianMoments, log_q: Array) -> tuple[Array, Array]:
    """(sigma_w, sigma_b) of the critical network whose fixed point is q, sigma_b 0 where it would be imaginary."""
    sigma_w = np.exp(-0.5 * moments.at(log_q).log_slope_second)
    share = _bias_share(moments, log_q)
    return sigma_w, np.sqrt(np.exp(log_q) * np.where(share > CLEAR, share, 0.0))


def _bias_share(moments: GaussianMoments, log_q: Array) -> Array:
    """sigma_b^2 / q: 1 - A / (q D)."""
    at = moments.at(log_q)
    return 1.0 - np.exp(at.log_second - log_q - at.log_slope_second)


def _slope_left(moments: GaussianMoments, log_q: Array) -> Array:
    """1 - chi_parallel."""
    at = moments.at(log_q)
    return 1.0 - at.second_slope * np.exp(-at.log_slope_second)


def _positive(function: Callable[[Array], Array], scan: Array, rounding: float) -> list[Interval]:
    """The intervals of log q within the scan on which the function is not negative, edges refined by brentq. Values
    within rounding of 0 are passed over."""
    from scipy.optimize import brentq

    values = function(scan)
    clear = np.abs(values) > rounding
    if not clear.any():
        return []
    at, values = scan[clear], values[clear]
    edges = [scan[0]]
    for i in np.flatnonzero((values[:-1] < 0) != (values[1:] < 0)):
        root: Any = brentq(lambda x: float(function(np.asarray(x))), at[i], at[i + 1], xtol=1e-13)
        edges.append(float(root))
    edges.append(scan[-1])
    return [(edges[i], edges[i + 1]) for i in range(0 if values[0] > 0 else 1, len(edges) - 1, 2)]


def _as_q(intervals: list[Interval]) -> tuple[Interval, ...]:
    """Intervals of q, the lower end of the scan standing for 0 and the upper one for infinity."""
    return tuple(
        (0.0 if low < LOWEST + 1e-9 else math.exp(low), math.inf if high > -LOWEST - 1e-9 else math.exp(high))
        for low, high in intervals
    )


def _meet(a: list[Interval], b: list[Interval]) -> list[Interval]:
    both = [(max(x[0], y[0]), min(x[1], y[1])) for x in a for y in b]
    return [(low, high) for low, high in both if low < high]


@lru_cache(maxsize=64)
def _line(activation: str, negative_slope: float | None) -> CriticalLine:
    moments = moments_of(activation, negative_slope_of(activation, negative_slope))
    if moments.homogeneous:
        return _homogeneous_line(activation, negative_slope, moments)
    top = math.log(1e3) if moments.activation.oscillates else -LOWEST
    scan = SCAN[top + 1e-9 > SCAN]
    pieces = _positive(lambda x: _bias_share(moments, x), scan, CLEAR)
    if not pieces:
        best = int(np.argmax(_bias_share(moments, scan)))
        values = {"activation": activation, "share": float(_bias_share(moments, scan)[best]), "q": math.exp(scan[best])}
        return _none(activation, negative_slope, "none_negative_bias", values)
    steady = _meet(_positive(lambda x: _slope_left(moments, x), scan, CLEAR_SLOPE), pieces)
    ends = [end for piece in (*pieces, *steady) for end in piece]
    log_q = np.union1d(np.linspace(scan[0], scan[-1], POINTS), ends)
    log_q = log_q[np.any([(log_q >= low) & (log_q <= high) for low, high in pieces], axis=0)]
    at = moments.at(log_q)
    sigma_w, sigma_b = _coordinates(moments, log_q)
    sigma_b[np.isin(log_q, [low for low, _ in pieces])] = 0.0  # there it is zero but for rounding
    chi_parallel = at.second_slope * np.exp(-at.log_slope_second)
    inside = [(log_q >= low) & (log_q <= high) for low, high in steady]
    stable = np.any(inside, axis=0) if inside else np.zeros(log_q.size, dtype=bool)
    message_id, values = _kind(activation, _as_q(pieces), _as_q(steady), sigma_w, sigma_b)
    arrays = (np.exp(log_q), sigma_w, sigma_b, chi_parallel, stable)
    return CriticalLine(activation, negative_slope, *arrays, _as_q(pieces), _as_q(steady), message_id, values)


def _kind(
    activation: str, pieces: tuple[Interval, ...], steady: tuple[Interval, ...], sigma_w: Array, sigma_b: Array
) -> tuple[str, dict[str, Any]]:
    """(message id, values) of a line that exists."""
    if pieces[0][0] > 0.0:
        return "starts_late", {"activation": activation, "sigma_w": float(sigma_w.min()), "q": pieces[0][0]}
    if not steady or steady[0][0] > 0.0:
        return "partly_unstable", {"activation": activation, "q": steady[0][0] if steady else math.inf}
    return "line", {"activation": activation, "sigma_w": float(sigma_w[0]), "sigma_b": float(sigma_b[0])}


def _homogeneous_line(activation: str, slope: float | None, moments: GaussianMoments) -> CriticalLine:
    """One point: sigma_b = 0 and sigma_w = 1 / sqrt(D), marginal at every q (q = 1 stands for them)."""
    if moments.tail_square == 0.0:
        return _none(activation, slope, "none_flat", {"activation": activation})
    sigma_w = moments.tail_square**-0.5
    arrays = (np.ones(1), np.array([sigma_w]), np.zeros(1), np.ones(1), np.ones(1, dtype=bool))
    whole = ((0.0, math.inf),)
    values = {"activation": activation, "sigma_w": sigma_w}
    return CriticalLine(activation, slope, *arrays, whole, whole, "bias_free_only", values)


def _none(activation: str, slope: float | None, message_id: str, values: dict[str, Any]) -> CriticalLine:
    empty = np.empty(0)
    arrays = (empty, empty, empty, empty, np.empty(0, dtype=bool))
    return CriticalLine(activation, slope, *arrays, (), (), message_id, values)


def critical_line(activation: str, *, negative_slope: float | None = None) -> CriticalLine:
    """Every (sigma_w, sigma_b) at which an activation's gradients keep their size, with the fixed point q* and its
    stability: sigma_w^2 = 1 / D(q*), sigma_b^2 = q* - A(q*) / D(q*), 1e-12 <= q* <= 1e12 (sin: to 1e3).

    Where there is none, or only part of one, ``message_id``, ``values`` and ``sentence`` say so: "line",
    "partly_unstable" (gelu, silu, mish, hardswish), "starts_late" (sigmoid, hardsigmoid), "bias_free_only"
    (homogeneous ones), "none_negative_bias" (softplus), "none_flat". Raises SpecError for an unknown activation.

    Source: Poole et al. 2016, Schoenholz et al. 2017; stability along the line is ours. Infinite width.
    """
    activation = FIELDS["activation"].check("activation", activation)
    return _line(activation, FIELDS["negative_slope"].check("negative_slope", negative_slope))
