"""Fixed points of the variance map q -> sigma_w^2 E phi(sqrt(q) Z)^2 + sigma_b^2, of the correlation map at each of
them, their slopes and the depth scales that follow.

Sources: Poole et al. 2016 (both maps), Schoenholz et al. 2017 (depth scales). Infinite width, independent weights
scaled by fan-in, no norm, no residual. Units: sigma_w = std(W_ij) sqrt(fan_in), sigma_b = std(b), q second moments.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.activations import negative_slope_of
from gradcore.errors import SpecError, UnsupportedError
from gradcore.fields import FIELDS
from gradcore.theory.correlation import SLOPE, VALUE, pair_ratios
from gradcore.theory.critical import SCAN, bias_variances, weight_variances
from gradcore.theory.gaussian import LOG_HIGH, LOG_LOW, GaussianMoments, moments_of

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray
SIGN = 1e-11  # ln f(q) - ln q below this is rounding, not a sign
NEAR_ONE = 1e-13  # a correlation map that leaves its diagonal by less does not leave it
STEPS_TO_ONE = 10.0 ** np.arange(-1.0, -12.5, -0.5)


@dataclass(frozen=True)
class FixedPoint:
    """One fixed point q* of the variance map with its slopes, and what follows at it.

    ``q`` second moment of the pre-activation; ``chi`` factor of the squared gradient norm per layer, also the slope
    of the correlation map at c = 1 (chi_1); ``chi_parallel`` dq'/dq. The correlation's fixed point ``c`` and slope
    ``chi_c`` and the depth scales ``xi_q``, ``xi_c`` (in layers) are computed on first use.
    """

    q: float
    chi: float
    chi_parallel: float
    activation: str = ""
    sigma_w: float = math.nan
    sigma_b: float = 0.0
    negative_slope: float | None = None

    @property
    def stable(self) -> bool:
        """Whether a small deviation of q shrinks from layer to layer (chi_parallel < 1; at 1 itself it is marginal)."""
        return self.chi_parallel < 1.0

    @property
    def ordered(self) -> bool:
        """Whether two nearly equal inputs become equal (chi < 1): gradients vanish. Chaotic where chi > 1."""
        return self.chi < 1.0

    @property
    def xi_q(self) -> float:
        """-1 / ln abs(chi_parallel): layers over which a deviation of q shrinks by e; negative: it grows."""
        return depth_scale(self.chi_parallel)

    @property
    def c(self) -> float | None:
        """The correlation c* to which two different inputs tend: 1 where chi <= 1, else the one below 1. None at
        q* = 0, where there is no signal left to correlate."""
        return self._correlation[0]

    @property
    def chi_c(self) -> float | None:
        """Slope sigma_w^2 E phi'(u) phi'(v) of the correlation map at c*; None at q* = 0."""
        return self._correlation[1]

    @property
    def xi_c(self) -> float | None:
        """-1 / ln chi_c: layers over which a deviation of the correlation from c* shrinks by e; inf at chi_c = 1."""
        return None if self.chi_c is None else depth_scale(self.chi_c)

    @cached_property
    def _correlation(self) -> tuple[float | None, float | None]:
        if self.q == 0.0:
            return None, None
        moments = moments_of(self.activation, negative_slope_of(self.activation, self.negative_slope))
        c = correlation_fixed_point(moments, self.sigma_w, self.sigma_b, math.log(self.q), self.chi)
        ratio = pair_ratios(moments, (SLOPE,), math.log(self.q), np.array([c]))[0]
        return c, self.chi * float(ratio[0]) if c < 1.0 else self.chi


def depth_scale(slope: float) -> float:
    """-1 / ln abs(slope): layers over which a deviation shrinks by e; 0 for slope 0, inf for 1, negative above 1."""
    size = abs(slope)
    if size == 0.0:
        return 0.0
    return math.inf if size == 1.0 else -1.0 / math.log(size)


def correlation_fixed_point(
    moments: GaussianMoments, sigma_w: float, sigma_b: float, log_q: float, chi: float
) -> float:
    """c* in [0, 1] of c' = (sigma_w^2 E phi(u) phi(v) + sigma_b^2) / q*, at ln q* with chi there.

    The map is a power series in c without negative terms, so it is convex on [0, 1] and has c' = 1 at c = 1: c* = 1
    where chi <= 1, and exactly one other point where chi > 1 (Poole et al. 2016). Within rounding of 1, 1 is returned.
    """
    if chi <= 1.0:
        return 1.0
    bias = sigma_b**2 * math.exp(-log_q)

    def gap(c: float) -> float:
        return (1.0 - bias) * float(pair_ratios(moments, (VALUE,), log_q, np.array([c]))[0][0]) + bias - c

    if gap(0.0) <= NEAR_ONE:
        return 0.0
    high = next((1.0 - step for step in STEPS_TO_ONE if gap(1.0 - step) < -NEAR_ONE), None)
    if high is None:
        return 1.0
    from scipy.optimize import brentq

    root: Any = brentq(gap, 0.0, high, xtol=1e-14)
    return float(root)


def _scan(moments: GaussianMoments, sigma_w: float, sigma_b: float) -> Array:
    """ln q at which signs are taken, 40 a decade: over 1e-12..1e12, and on to where a small or large bias, or a small
    or large value of the activation, puts a fixed point; no lower than sigma_b^2, which every q* exceeds, and no higher
    than a bounded activation reaches."""
    if moments.activation.oscillates:
        return SCAN[math.log(1e3) > SCAN]
    smallest = sigma_b**2 + (sigma_w * moments.at_zero[0]) ** 2
    largest = sigma_b**2 + (sigma_w * max(1.0, *map(abs, moments.limits))) ** 2
    step = SCAN[1] - SCAN[0]
    low = max(math.log(smallest) - 1.0, LOG_LOW) if smallest > 0.0 else SCAN[0]
    high = min(math.log(largest) + 1.0, LOG_HIGH)
    below = np.arange(SCAN[0], low, -step)[:0:-1]
    above = np.arange(SCAN[-1], high, step)[1:]
    scan = np.concatenate([below, SCAN, above])
    least = 2.0 * math.log(sigma_b) - 2.0 * step if sigma_b else -math.inf
    most = high if moments.tail_square == 0.0 else math.inf
    return scan[(scan >= least) & (scan <= most)]


@lru_cache(maxsize=1024)
def variance_fixed_points(
    activation: str, sigma_w: float, sigma_b: float = 0.0, negative_slope: float | None = None
) -> tuple[FixedPoint, ...]:
    """Every fixed point q* > 0, smallest first, found by signs on 40 q per decade and refined by brentq.

    Homogeneous activations have one where there is a bias and sigma_w^2 D < 1, by a closed form (without bias every q
    is one at the critical gain, and none elsewhere: empty). Oscillating activations are scanned below q = 1e3.
    Source: Poole et al. 2016.
    """
    from scipy.optimize import brentq

    moments = moments_of(activation, negative_slope_of(activation, negative_slope))
    asked = (activation, sigma_w, sigma_b, negative_slope)
    if sigma_w == 0.0:
        return (FixedPoint(sigma_b**2, 0.0, 0.0, *asked),) if sigma_b else ()
    if moments.homogeneous:
        slope = sigma_w**2 * moments.tail_square
        return (FixedPoint(sigma_b**2 / (1.0 - slope), slope, slope, *asked),) if sigma_b and slope < 1.0 else ()

    def gap(log_q: float | Array) -> Array:
        """ln f(q) - ln q."""
        x = np.asarray(log_q)
        signal = 2.0 * math.log(sigma_w) + moments.at(x).log_second
        if sigma_b:
            signal = np.logaddexp(signal, 2.0 * math.log(sigma_b))
        return signal - x

    scan = _scan(moments, sigma_w, sigma_b)
    values = gap(scan)
    clear = np.abs(values) > SIGN
    scan, values = scan[clear], values[clear]
    points = []
    for i in np.flatnonzero((values[:-1] < 0) != (values[1:] < 0)):
        root: Any = brentq(lambda x: float(gap(x)), scan[i], scan[i + 1], xtol=1e-14)
        at = moments.at(np.array(root))
        chi = sigma_w**2 * math.exp(float(at.log_slope_second))
        points.append(FixedPoint(math.exp(root), chi, sigma_w**2 * float(at.second_slope), *asked))
    return tuple(points)


def fixed_points(
    network: Spec | str, sigma_w: float | None = None, sigma_b: float = 0.0, *, negative_slope: float | None = None
) -> tuple[FixedPoint, ...]:
    """Every fixed point q* of the variance map, smallest first, with its slopes, correlation and depth scales.

        q*    = sigma_w^2 E phi(z)^2 + sigma_b^2,  z ~ N(0, q*)
        chi   = sigma_w^2 E phi'(z)^2              chi_parallel = sigma_w^2 dE phi(z)^2/dq
        c*    = (sigma_w^2 E phi(u) phi(v) + sigma_b^2) / q*,  chi_c = sigma_w^2 E phi'(u) phi'(v)
        xi_q  = -1 / ln abs(chi_parallel),  xi_c = -1 / ln chi_c   (layers)

    ``network`` is a Spec, whose last layer's law is taken, or the code of an activation with ``sigma_w`` and
    ``sigma_b`` (standard deviations). q* = 0 is among them where phi(0) = 0 and there is no bias. Searched are
    1e-12..1e12 and as far beyond as the bias asks; for sin q < 1e3. At its critical gain a homogeneous activation
    keeps every q; only q* = 0 is listed.

    Raises SpecError for values that are not allowed, UnsupportedError for a Spec with a norm, a residual or weights
    that are not random, whose maps are others. Source: Poole et al. 2016, Schoenholz et al. 2017. Infinite width.
    """
    activation, sigma_w, sigma_b, negative_slope = law_of(network, sigma_w, sigma_b, negative_slope)
    moments = moments_of(activation, negative_slope_of(activation, negative_slope))
    points = variance_fixed_points(activation, sigma_w, sigma_b, negative_slope)
    value, left, right = moments.at_zero
    if sigma_b or (value and sigma_w):
        return points
    slope = sigma_w**2 * 0.5 * (left * left + right * right)
    return (FixedPoint(0.0, slope, slope, activation, sigma_w, sigma_b, negative_slope), *points)


def law_of(
    network: Spec | str, sigma_w: float | None = None, sigma_b: float = 0.0, negative_slope: float | None = None
) -> tuple[str, float, float, float | None]:
    """(activation, sigma_w, sigma_b, negative slope) of a Spec's last layer, or of numbers, checked. Raises SpecError
    and UnsupportedError as :func:`fixed_points` does."""
    if isinstance(network, str):
        activation = FIELDS["activation"].check("activation", network)
        if sigma_w is None:
            raise SpecError("sigma_w", None, "a number of 0 or more", "Give sigma_w beside the activation, or a Spec.")
        slope = FIELDS["negative_slope"].check("negative_slope", negative_slope)
        return activation, checked_scale("sigma_w", sigma_w), checked_scale("sigma_b", sigma_b), slope
    if sigma_w is not None or sigma_b or negative_slope is not None:
        raise SpecError("sigma_w", sigma_w, "nothing beside a Spec", "The Spec says its own sigma_w and sigma_b.")
    check_plain(network)
    scale = math.sqrt(float(weight_variances(network)[-1]) * int(network.fan_ins[-1]))
    bias = math.sqrt(float(bias_variances(network)[-1]))
    return network.activation, scale, bias, network.negative_slope


def checked_scale(name: str, value: Any) -> float:
    """sigma_w or sigma_b as a float; raises SpecError naming it."""
    try:
        number = FIELDS["gain"].check(name, value)
    except SpecError:
        number = ""
    if isinstance(number, str):
        raise SpecError(name, value, "a number from 0 to 1e+30")
    return number


def check_plain(spec: Spec) -> None:
    """Raise UnsupportedError where the network's maps are not the plain variance and correlation map."""
    kind = spec.init_entry.kind
    random = kind not in ("constant", "eye")
    if spec.norm == "none" and spec.residual == "none" and random:
        return
    field = next(f for f in ("init", "norm", "residual") if f != "init" or not random if getattr(spec, f) != "none")
    raise UnsupportedError(
        f'fixed points with {field} "{getattr(spec, field)}"',
        "its signal does not follow q' = sigma_w^2 E phi(z)^2 + sigma_b^2",
        "random weights without norm and residual",
    )
