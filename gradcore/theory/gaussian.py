"""Gaussian moments of an activation: E f(beta + s Z) for Z ~ N(0, 1), over any s^2 = q > 0.

The rule is composite Gauss-Legendre in h = s Z on panels that are fixed per band of three decades of q, with
every kink as a panel edge; the function values are cached once per band, so one q costs an exponential and a
dot product. Gauss-Hermite fails here (wrong in the third digit for tanh at q = 16, wholly for q >= 1e4).
Outside 1e-30 <= q <= 1e30 every moment is continued by its exact leading power of q.

Source: the rule is ours; closed forms Cho & Saul 2009, Williams 1997, Stein's lemma. Units: second moments.
Validity: all activations of the table, any q representable by its logarithm; checked against 30-digit
integration for 1e-12 <= q <= 1e12 by tests/test_gaussian.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any

import numpy as np

from gradcore.activations import ACTIVATIONS, Activation

Array = np.ndarray
Number = Any  # a float or an array: formulas that NumPy broadcasts

LOG_LOW, LOG_HIGH = math.log(1e-30), math.log(1e30)
BAND = math.log(1e3)
NODES = 24  # Gauss-Legendre nodes a panel
RATIO = 4.0  # ratio of neighbouring panel edges
REACH = 9.0  # panels reach this many standard deviations
FEW = 32  # so many q are worth a look whether they repeat
MAX_CELLS = 2_000_000  # exponentials held at once by the vectorised path

# name: (power of phi, power of phi', power of h) of each cached integrand
COLUMNS = {
    "mean": (1, 0, 0),
    "second": (2, 0, 0),
    "slope_mean": (0, 1, 0),
    "slope_second": (0, 2, 0),
    "h_slope": (0, 1, 1),
    "h_psi": (1, 1, 1),
    "psi_mean": (1, 1, 0),
    "psi_second": (2, 2, 0),
    "slope_fourth": (0, 4, 0),
    "fourth": (4, 0, 0),
    "slope_second_h2": (0, 2, 2),
    "slope_second_h4": (0, 2, 4),
    "second_h2": (2, 0, 2),
    "second_h4": (2, 0, 4),
}


@cache
def legendre(nodes: int) -> tuple[Array, Array]:
    """Gauss-Legendre nodes and weights on [0, 1]."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    return 0.5 * (x + 1.0), 0.5 * w


def composite(edges: Array, nodes: int = NODES) -> tuple[Array, Array]:
    """Nodes and weights of Gauss-Legendre on every panel between neighbouring edges (flat arrays)."""
    x, w = legendre(nodes)
    width = np.diff(edges)
    return (edges[:-1, None] + width[:, None] * x).ravel(), (width[:, None] * w).ravel()


def graded_edges(
    low: float, high: float, points: tuple[float, ...], smallest: float, kinks: tuple[float, ...] = ()
) -> Array:
    """Panel edges on [low, high], graded by RATIO away from each of ``points``; points and ``kinks`` are edges."""
    reach = high - low
    steps = smallest * RATIO ** np.arange(max(1, math.ceil(math.log(reach / smallest, RATIO)) + 1))
    around = np.concatenate([[0.0], steps, -steps])
    edges = np.concatenate([(np.asarray(points)[:, None] + around).ravel(), kinks])
    edges = np.unique(np.concatenate([edges[(edges > low) & (edges < high)], [low, high]]))
    keep = np.concatenate([[True], np.diff(edges) > 1e-9 * smallest + 1e-12 * np.abs(edges[1:])])
    return edges[keep] if edges[keep][-1] == high else np.append(edges[keep], high)


@dataclass(frozen=True)
class Moments:
    """Moments of phi(beta + h), h = s Z, at an array of q = s^2 (every entry has the shape of ``log_q``).

    ``mean_ratio`` E phi / sqrt(E phi^2); ``log_second`` ln E phi^2; ``slope_mean`` E phi';
    ``log_slope_second`` ln E phi'^2; ``second_slope`` d(E phi^2)/dq = E[h phi phi'] / q (correct for kinks);
    ``mean_slope`` d(E phi)/dq times sqrt(q);
    ``psi_ratio`` E psi / sqrt(E psi^2) and ``log_psi_second`` ln E psi^2 for psi = phi phi'.
    """

    log_q: Array
    mean_ratio: Array
    log_second: Array
    slope_mean: Array
    log_slope_second: Array
    second_slope: Array
    mean_slope: Array
    psi_ratio: Array
    log_psi_second: Array


class GaussianMoments:
    """All Gaussian moments of phi(beta + .) for one activation, slope and shift; make it by :func:`moments_of`.

    ``offset`` takes phi(beta + h) - offset instead. With offset = phi(beta) ("centred") nothing cancels at small h:
    variances of activations that do not vanish at 0 keep their digits.
    """

    def __init__(self, activation: Activation, slope: float, shift: float = 0.0, offset: float = 0.0) -> None:
        self.activation, self.slope, self.shift, self.offset = activation, slope, shift, offset
        self.centred = offset != 0.0 and offset == float(activation.value(np.array(shift), slope))
        self.oscillates = activation.oscillates and self.offset == 0.0
        self.limits = tuple(limit - self.offset for limit in activation.limits)
        self.closed = activation.closed if shift == 0.0 and self.offset == 0.0 else None
        self._bands: dict[int, tuple[Array, Array, Array]] = {}
        self._ends: dict[float, float] = {}  # ln E phi^2 at the ends of the range
        self._last: tuple[object, Array] = (None, np.empty(0))
        self.unshifted = shift == 0.0
        self.kinks = tuple(k - shift for k in activation.kinks)
        tails = activation.tails(slope)
        self.homogeneous = activation.homogeneous and self.unshifted and offset == 0.0
        self.tail_square = 0.5 * (tails[0] ** 2 + tails[1] ** 2)

    # --- the function itself --------------------------------------------------------------------------------

    def value(self, h: Array) -> Array:
        """phi(beta + h), less the offset."""
        h = np.asarray(h, dtype=float)
        value = self.activation.value(h + self.shift, self.slope)
        if not self.centred:
            return value - self.offset
        return np.where(np.abs(h) < 1e-5, h * self.derivative(0.5 * h), value - self.offset)

    def derivative(self, h: Array) -> Array:
        """phi'(beta + h)."""
        return self.activation.derivative(np.asarray(h, dtype=float) + self.shift, self.slope)

    # --- the cached rule ------------------------------------------------------------------------------------

    def _rule(self, band: int) -> tuple[Array, Array, Array]:
        """(h^2, weights, integrand matrix of shape (columns, nodes)) for q in the band's three decades."""
        if band not in self._bands:
            s_low, s_high = math.exp(0.5 * band * BAND), math.exp(0.5 * (band + 1) * BAND)
            reach = REACH * s_high
            points = (0.0,) if self.unshifted else (0.0, -self.shift)
            h, w = composite(graded_edges(-reach, reach, points, 0.5 * min(1.0, s_low), self.kinks))
            f, d = self.value(h), self.derivative(h)
            rows = [f**i * d**j * h**k for i, j, k in COLUMNS.values()]
            self._bands[band] = (h * h, w / math.sqrt(2 * math.pi), np.array(rows) * (w / math.sqrt(2 * math.pi)))
        return self._bands[band]

    def expectations(self, log_q: Array, names: tuple[str, ...] = tuple(COLUMNS)) -> dict[str, Array]:
        """E[phi^i phi'^j h^k] of the named columns at each q within the quadrature's range (arrays of that shape)."""
        log_q = np.asarray(log_q, dtype=float)
        flat = np.clip(log_q.ravel(), LOG_LOW, LOG_HIGH)
        if self.oscillates:
            return _sine_moments(np.exp(flat).reshape(log_q.shape), self.shift)
        if flat.size < FEW:
            out = self._integrated(flat, names)
        else:  # a profile asks several times for the same layers, and layers repeat
            key = (flat.tobytes(), names)
            if self._last[0] != key:
                values, again = np.unique(flat, return_inverse=True)
                self._last = key, self._integrated(values, names)[:, again]
            out = self._last[1].copy()
        return {name: row.reshape(log_q.shape) for name, row in zip(names, out, strict=True)}

    def _integrated(self, flat: Array, names: tuple[str, ...]) -> Array:
        """(names, N) the expectations at ln q within the range."""
        rows = [list(COLUMNS).index(name) for name in names]
        out = np.empty((len(rows), flat.size))
        bands = np.floor(flat / BAND).astype(int)
        for band in np.unique(bands):
            h2, _, matrix = self._rule(int(band))
            index = np.flatnonzero(bands == band)
            for part in np.array_split(index, max(1, math.ceil(index.size * h2.size / MAX_CELLS))):
                q = np.exp(flat[part])
                out[:, part] = (
                    (matrix if len(rows) == len(COLUMNS) else matrix[rows])
                    @ np.exp(h2[:, None] * (-0.5 / q))
                    / np.sqrt(q)
                )
        return out

    # --- continuation beyond the quadrature's range ---------------------------------------------------------

    @cached_property
    def at_zero(self) -> tuple[float, float, float]:
        """phi and the one-sided slopes (left, right) at h = 0."""
        tiny = 1e-300 if self.unshifted else 1e-12 * max(1.0, abs(self.shift))
        value = float(self.value(np.array(0.0)))
        left, right = self.derivative(np.array([-tiny, tiny]))
        return value, float(left), float(right)

    @cached_property
    def powers(self) -> dict[str, tuple[float, float]]:
        """The power of q by which each moment continues (below the range, above the range)."""
        value, left, right = self.at_zero
        grows = self.tail_square > 0
        odd_part = (0.5 if left != right else 1.0) if value == 0.0 else 0.0
        small = 1.0 if value == 0.0 else 0.0
        if self.oscillates:
            return dict.fromkeys(COLUMNS, (small, 0.0)) | {"slope_mean": (0.0, 0.0), "slope_second": (0.0, 0.0)}
        return {
            "mean": (odd_part, 0.5 if grows else 0.0),
            "second": (small, 1.0 if grows else 0.0),
            "slope_mean": (0.0, 0.0 if grows else -0.5),
            "slope_second": (0.0, 0.0 if grows else -0.5),
            "h_slope": (0.5 if left != right else 1.0, 0.5 if grows else -0.5),
            "h_psi": (1.0, 1.0 if grows else -0.5),
            "psi_mean": (odd_part, 0.5 if grows else -0.5),
            "psi_second": (small, 1.0 if grows else -0.5),
        }

    def _exponent(self, name: str, log_q: Number, less: float = 0.0) -> Number:
        """The log of the factor that continues a moment from the clipped q to q, divided by q^less."""
        low, high = self.powers[name]
        below, above = np.minimum(log_q - LOG_LOW, 0.0), np.maximum(log_q - LOG_HIGH, 0.0)
        return (low - less) * below + (high - less) * above

    # --- what the recursions ask for ------------------------------------------------------------------------

    def log_second(self, log_q: float) -> float:
        """ln E phi(beta + s Z)^2 at one log q: the scalar fast path of the q-map."""
        if self.homogeneous:
            return log_q + math.log(self.tail_square) if self.tail_square > 0 else -math.inf
        if log_q == -math.inf:
            value = self.at_zero[0]
            return 2.0 * math.log(abs(value)) if value else -math.inf
        clipped = min(max(log_q, LOG_LOW), LOG_HIGH)
        if clipped != log_q:
            if clipped not in self._ends:
                self._ends[clipped] = self.log_second(clipped)
            return self._ends[clipped] + self.powers["second"][int(log_q > 0.0)] * (log_q - clipped)
        if self.oscillates:
            second = float(_sine_moments(np.float64(math.exp(clipped)), self.shift)["second"])
        elif self.closed is not None:
            second = float(self.closed(np.array(math.exp(clipped)))[1])
        else:
            h2, _, matrix = self._rule(math.floor(clipped / BAND))
            q = math.exp(clipped)
            second = float(matrix[1] @ np.exp(h2 * (-0.5 / q))) / math.sqrt(q)
        return math.log(second) if second > 0 else -math.inf

    def at(self, log_q: Array) -> Moments:
        """Every moment that the recursions use, at an array of log q (entries may be -inf)."""
        log_q = np.asarray(log_q, dtype=float)
        finite = np.where(np.isneginf(log_q), -1e6, log_q)
        if self.homogeneous:
            return self._homogeneous(finite)
        q = np.exp(np.clip(finite, LOG_LOW, LOG_HIGH))
        if self.oscillates:
            e = _sine_moments(q, self.shift)
        else:
            e = self.expectations(finite)
            if self.closed is not None:
                e["mean"], e["second"], e["slope_second"] = self.closed(q)

        def log_of(name: str) -> Array:
            return np.log(e[name]) + self._exponent(name, finite)

        def ratio(name: str, square: str) -> Array:
            decay = self._exponent(name, finite) - 0.5 * self._exponent(square, finite)
            return np.divide(e[name], np.sqrt(e[square]), out=np.zeros_like(q), where=e[square] > 0) * np.exp(decay)

        with np.errstate(divide="ignore"):
            return Moments(
                log_q=finite,
                mean_ratio=ratio("mean", "second"),
                log_second=log_of("second"),
                slope_mean=e["slope_mean"] * np.exp(self._exponent("slope_mean", finite)),
                log_slope_second=log_of("slope_second"),
                second_slope=e["h_psi"] / q * np.exp(self._exponent("h_psi", finite, less=1.0)),
                mean_slope=0.5 * e["h_slope"] / np.sqrt(q) * np.exp(self._exponent("h_slope", finite, less=0.5)),
                psi_ratio=ratio("psi_mean", "psi_second"),
                log_psi_second=log_of("psi_second"),
            )

    def _homogeneous(self, log_q: Array) -> Moments:
        """Exact moments of s_- min(h, 0) + s_+ max(h, 0)."""
        left, right = self.activation.tails(self.slope)
        with np.errstate(divide="ignore"):
            log_square, log_fourth = np.log([self.tail_square, 0.5 * (left**4 + right**4)])
        root = math.sqrt(2 * math.pi)
        ones = np.ones_like(log_q)
        return Moments(
            log_q=log_q,
            mean_ratio=(right - left) / (root * math.sqrt(self.tail_square)) * ones,
            log_second=log_q + log_square,
            slope_mean=0.5 * (left + right) * ones,
            log_slope_second=log_square * ones,
            second_slope=self.tail_square * ones,
            mean_slope=0.5 * (right - left) / root * ones,
            psi_ratio=(right**2 - left**2) / (root * math.exp(0.5 * log_fourth)) * ones,
            log_psi_second=log_q + log_fourth,
        )

    # --- shares of units ------------------------------------------------------------------------------------

    @cached_property
    def small_slope_intervals(self) -> list[tuple[float, float]]:
        """The intervals of h where abs(phi') < 0.05 max abs(phi')."""
        return small_slope_intervals(self)

    def saturated(self, log_q: Array) -> Array:
        """Share of Gaussian pre-activations with abs(phi') < 0.05 max abs(phi')."""
        from scipy.special import ndtr

        s = np.exp(0.5 * np.clip(np.asarray(log_q, dtype=float), -1400.0, 1400.0))
        share = np.zeros_like(s)
        if self.oscillates:
            return _sine_saturated(s, self.shift)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            for low, high in self.small_slope_intervals:
                top = np.where(s > 0, ndtr(high / s), float(high >= 0))
                bottom = np.where(s > 0, ndtr(low / s), float(low >= 0))
                share += top - bottom
        return np.clip(share, 0.0, 1.0)


def _sine_moments(q: Number, shift: float) -> dict[str, Number]:
    """Moments of sin(beta + h): by double angles, E exp(ik(beta + h)) = exp(ik beta - k^2 q / 2)."""

    def cosine(k: int) -> Number:
        return math.cos(k * shift) * np.exp(-k * k * q / 2)

    second = 0.5 * (math.sin(shift) ** 2 * 2 * np.exp(-2 * q) - np.expm1(-2 * q))
    quad = math.sin(2 * shift) ** 2 * 2 * np.exp(-8 * q) - np.expm1(-8 * q)
    return {
        "mean": math.sin(shift) * np.exp(-q / 2),
        "second": second,
        "slope_mean": cosine(1),
        "slope_second": 0.5 * (1 + cosine(2)),
        "h_slope": -q * math.sin(shift) * np.exp(-q / 2),
        "h_psi": q * cosine(2),
        "psi_mean": 0.5 * math.sin(2 * shift) * np.exp(-2 * q),
        "psi_second": quad / 8,
        "fourth": (3 - 4 * cosine(2) + cosine(4)) / 8,
        "slope_fourth": (3 + 4 * cosine(2) + cosine(4)) / 8,
        "slope_second_h2": 0.5 * q * (1 + (1 - 4 * q) * cosine(2)),
        "slope_second_h4": 0.5 * q * q * (3 + (3 - 24 * q + 16 * q * q) * cosine(2)),
        "second_h2": 0.5 * q * (1 - (1 - 4 * q) * cosine(2)),
        "second_h4": 0.5 * q * q * (3 - (3 - 24 * q + 16 * q * q) * cosine(2)),
    }


def _sine_saturated(s: Array, shift: float) -> Array:
    """P(abs(cos(shift + s Z)) < 0.05) by the Fourier series of the indicator in 2h."""
    width = math.asin(0.05)
    k = np.arange(1, 400)
    coefficient = 2.0 * np.sin(2 * k * width) / (math.pi * k) * np.cos(2 * k * (math.pi / 2 - shift))
    smooth = np.exp(-2.0 * (k * np.asarray(s)[..., None]) ** 2)
    return np.clip(2 * width / math.pi + smooth @ coefficient, 0.0, 1.0)


def small_slope_intervals(moments: GaussianMoments) -> list[tuple[float, float]]:
    """Intervals of h with abs(phi'(beta + h)) < 0.05 of its largest value, edges found by bisection."""
    from scipy.optimize import brentq

    grid = np.unique(np.concatenate([np.linspace(-40, 40, 8001), np.linspace(-1000, 1000, 8001)]))
    grid = grid - moments.shift
    slopes = np.abs(moments.derivative(grid))
    largest = float(slopes.max())
    if largest == 0.0:
        return [(-math.inf, math.inf)]
    threshold = 0.05 * largest
    below = slopes < threshold

    def edge(i: int) -> float:
        def gap(h: float) -> float:
            return float(np.abs(moments.derivative(np.array(h)))) - threshold

        root: Any = brentq(gap, grid[i], grid[i + 1], xtol=1e-13)
        return float(root)

    cuts = [edge(int(i)) for i in np.flatnonzero(below[1:] != below[:-1])]
    edges = [-math.inf, *cuts, math.inf]
    start = 0 if below[0] else 1
    return [(edges[i], edges[i + 1]) for i in range(start, len(edges) - 1, 2)]


@lru_cache(maxsize=256)
def moments_of(code: str, slope: float = 0.0, shift: float = 0.0, centred: bool = False) -> GaussianMoments:
    """The cached moments of one activation of the table at a negative slope and a shift beta."""
    offset = float(ACTIVATIONS[code].value(np.array(shift), slope)) if centred else 0.0
    return GaussianMoments(ACTIVATIONS[code], slope, shift, offset)
