"""Critical weight scales, and the resolution of ``gain="auto"`` and ``gain="critical"``.

A network is critical where chi = sigma_w^2 E phi'(sqrt(q) Z)^2 = 1 at a fixed point q of the variance map.
Parametrised by q: sigma_w^2 = 1 / D(q), sigma_b^2 = q - A(q) / D(q) (Poole et al. 2016; Schoenholz et al. 2017).
Units: sigma_w and sigma_b are standard deviations, sigma_w = std(W_ij) sqrt(fan_in).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.activations import ACTIVATIONS, negative_slope_of
from gradcore.errors import SpecError
from gradcore.fields import FIELDS
from gradcore.residual import inner_layers
from gradcore.theory.gaussian import GaussianMoments, moments_of

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray
SCAN = math.log(10.0) * np.linspace(-12.0, 12.0, 961)


@dataclass(frozen=True)
class CriticalPoint:
    """One point of the critical line: sigma_w, sigma_b, the fixed point q* and the slope chi_parallel there.

    ``stable`` tells whether the variance returns to q* after a small disturbance (chi_parallel < 1; at the
    trivial point q* = 0, where it is 1, by the next order; homogeneous activations are marginal and count).
    """

    sigma_w: float
    sigma_b: float
    q: float
    chi_parallel: float
    stable: bool


def _bias_variance(moments: GaussianMoments, log_q: Array) -> Array:
    """sigma_b^2 / q on the critical line: 1 - A / (q D)."""
    at = moments.at(log_q)
    return 1.0 - np.exp(at.log_second - log_q - at.log_slope_second)


def _point(moments: GaussianMoments, log_q: float, sigma_b: float) -> CriticalPoint:
    at = moments.at(np.array(log_q))
    slope = math.exp(float(at.log_slope_second))
    chi_parallel = float(at.second_slope) / slope
    return CriticalPoint(slope**-0.5, sigma_b, math.exp(log_q), chi_parallel, chi_parallel < 1.0)


def _point_at_zero(moments: GaussianMoments) -> CriticalPoint | None:
    """The point q* = 0, sigma_b = 0 of activations with phi(0) = 0: sigma_w = 1 / rms of the slopes at 0.

    Stability is read from the sign of the next order: whether A(q) / (q D(q)) grows with q.
    """
    value, left, right = moments.at_zero
    if value != 0.0 or left == right == 0.0:
        return None
    near = moments.at(np.log([1e-6, 1e-4]))
    growth = float(np.diff(near.log_second - near.log_q)[0])
    return CriticalPoint((0.5 * (left * left + right * right)) ** -0.5, 0.0, 0.0, 1.0, growth <= 0.0)


@lru_cache(maxsize=512)
def critical_points(activation: str, bias_std: float = 0.0, negative_slope: float | None = None) -> tuple:
    """Every critical point at this bias: a tuple of :class:`CriticalPoint`, smallest q* first.

    The variance map's fixed points with chi = 1 are found on a scan of 40 q per decade, 1e-12..1e12, and refined
    by bisection. Homogeneous activations are critical at sigma_w = 1/sqrt(D) for every q (no fixed point where
    bias_std > 0; the point is returned with q = inf then). Oscillating ones are scanned below q = 1e3.
    """
    from scipy.optimize import brentq

    moments = moments_of(activation, negative_slope_of(activation, negative_slope))
    if moments.homogeneous:
        if moments.tail_square == 0.0:
            return ()
        q = math.inf if bias_std else 1.0
        return (CriticalPoint(moments.tail_square**-0.5, bias_std, q, 1.0, True),)
    points = []
    if bias_std == 0.0:
        zero = _point_at_zero(moments)
        points += [zero] if zero else []
    scan = SCAN[math.log(1e3) > SCAN] if moments.activation.oscillates else SCAN
    if bias_std == 0.0 and points:
        scan = scan[scan > math.log(1e-3)]  # closer to 0 the trivial point itself is found, by rounding

    def gap(log_q: float | Array) -> Array:
        return _bias_variance(moments, np.asarray(log_q)) - bias_std**2 * np.exp(-np.asarray(log_q))

    values = gap(scan)
    clear = np.abs(values) > 1e-11  # below that the sign is rounding, as for relu6 where q is small
    scan, values = scan[clear], values[clear]
    for i in np.flatnonzero((values[:-1] < 0) != (values[1:] < 0)):
        root: Any = brentq(lambda x: float(gap(x)), scan[i], scan[i + 1], xtol=1e-14)
        points.append(_point(moments, float(root), bias_std))
    return tuple(points)


def critical_gain(activation: str, *, bias_std: float = 0.0, negative_slope: float | None = None) -> float:
    """sigma_w at which the gradient's second moment keeps its size: chi(q*) = 1 (a standard deviation).

    Of several critical points the first with a stable q* is taken, else the first. For homogeneous activations
    with a bias chi = 1 still holds while q grows by sigma_b^2 a layer. Raises SpecError where an activation has
    no critical point at this bias (softplus never has one).

    Source: Poole et al. 2016, Schoenholz et al. 2017. Valid at infinite width, weights scaled by fan-in.
    """
    activation = FIELDS["activation"].check("activation", activation)
    bias_std = FIELDS["bias_std"].check("bias_std", bias_std)
    if isinstance(bias_std, str):
        raise SpecError("bias_std", bias_std, "a number", "critical_gain knows no width; give the number.")
    negative_slope = FIELDS["negative_slope"].check("negative_slope", negative_slope)
    points = critical_points(activation, bias_std, negative_slope)
    if not points:
        raise SpecError(
            "gain",
            "critical",
            f"a number or auto where activation = {activation} and bias_std = {bias_std:g}",
            f"{activation} has no critical point there: chi = 1 holds at no fixed point of its variance map.",
        )
    return next((p for p in points if p.stable), points[0]).sigma_w


def exact_gain(activation: str, negative_slope: float | None = None) -> float:
    """1 / sqrt(E phi(Z)^2), Z ~ N(0, 1): the sigma_w that keeps q = 1 (forward), for any activation."""
    moments = moments_of(activation, negative_slope_of(activation, negative_slope))
    return math.exp(-0.5 * moments.log_second(0.0))


def auto_gain(activation: str, negative_slope: float | None = None) -> tuple[float, str]:
    """sigma_w of gain="auto" and where it comes from: torch's calculate_gain, else the exact gain."""
    entry = ACTIVATIONS[activation]
    if entry.torch_gain is not None:
        return entry.torch_gain(negative_slope_of(activation, negative_slope)), "torch's calculate_gain"
    return exact_gain(activation, negative_slope), "exact: 1/sqrt(E phi(Z)^2)"


def bias_variances(spec: Spec) -> Array:
    """(L,) variance of each layer's biases; "default" is U(-1/sqrt(fan_in), 1/sqrt(fan_in)); 0 inside a block."""
    drawn = ~inner_layers(spec.residual, spec.depth)
    if spec.bias_std == "default":
        return drawn / (3.0 * spec.fan_ins)
    return np.where(drawn, float(spec.bias_std) ** 2, 0.0)


@dataclass(frozen=True)
class ResolvedGain:
    """``multipliers`` (L,) of the weight law; ``sigma_w`` asked for (None for a number); ``origin`` in words."""

    multipliers: Array
    sigma_w: float | None
    origin: str


def resolve_gain(spec: Spec) -> ResolvedGain:
    """The multiplier of each layer: the number itself, or what gives std(W) sqrt(fan_in) the wanted sigma_w."""
    if not isinstance(spec.gain, str):
        return ResolvedGain(np.full(spec.depth, spec.gain), None, "given")
    if spec.gain == "auto":
        sigma_w, origin = auto_gain(spec.activation, spec.negative_slope)
    else:
        bias = float(np.sqrt(bias_variances(spec)[-1]))
        sigma_w = critical_gain(spec.activation, bias_std=bias, negative_slope=spec.negative_slope)
        origin = "critical: chi = 1 at a fixed point"
    fans = list(zip(spec.fan_ins.tolist(), spec.layer_widths.tolist(), strict=True))
    known = {fan: multiplier(spec, sigma_w, *fan) for fan in set(fans)}
    return ResolvedGain(np.array([known[fan] for fan in fans]), sigma_w, origin)


def multiplier(spec: Spec, sigma_w: float, fan_in: int, fan_out: int) -> float:
    entry = spec.init_entry
    if entry.unit_std_is_linear_in_gain:
        unit = entry.variance(1.0, fan_in, fan_out, spec.init_slope, spec.sparsity)
        if unit == 0.0:
            return 0.0  # sparse with every weight zero: no multiplier helps
        return sigma_w / math.sqrt(unit * fan_in)
    from scipy.optimize import brentq

    target = sigma_w**2 / fan_in

    def gap(log_gain: float) -> float:
        return entry.variance(math.exp(log_gain), fan_in, fan_out, 0.0, 0.0) - target

    if gap(math.log(1e9)) <= 0:
        raise SpecError(
            "gain",
            spec.gain,
            f"a number where init = {spec.init} and fan_in = {fan_in}",
            f"The weights are cut at -2 and 2, so sigma_w = {sigma_w:g} cannot be reached.",
        )
    start = math.log(sigma_w / math.sqrt(fan_in))
    root: Any = brentq(gap, start - 1e-6, math.log(1e9), xtol=1e-13)
    return math.exp(root)


def weight_variances(spec: Spec, gain: ResolvedGain | None = None) -> Array:
    """(L,) E[W_ij^2] of each layer."""
    multipliers = (gain or resolve_gain(spec)).multipliers
    entry = spec.init_entry
    rows = list(zip(multipliers.tolist(), spec.fan_ins.tolist(), spec.layer_widths.tolist(), strict=True))
    known = {row: entry.variance(*row, spec.init_slope, spec.sparsity) for row in set(rows)}
    return np.array([known[row] for row in rows])
