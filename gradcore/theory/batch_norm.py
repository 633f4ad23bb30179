"""The recursion with batch norm at finite batch size B >= 4: samples are coupled, cotangents become zero-sum.

Before the activation the law over one unit is a sphere times a radius (theory.sphere): the variance over the
batch is pinned after one layer, the multiplier is then constant and >= 1 (Yang et al. 2019; linear
(B-2)/(B-3)). After the activation no low-dimensional form exists at finite B, and the unit's law is sampled
from a fixed seed, with the linear unit as control variate. Gaussian inputs only (equicorrelated samples).

Validity: width -> infinity, any B >= 4, gamma, beta, eps > 0. All quantities are second moments.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from gradcore.theory.channel import DEAD, log_add, log_of
from gradcore.theory.loss import output_cotangent
from gradcore.theory.mean_field import MeanField, batch_share
from gradcore.theory.sphere import SphereMoments, radial_law, sphere_moments

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray
SMALLEST = math.log(1e-250)
ALIKE = 25.0  # ln of q over a contrast, from which phi is linear between the samples of a batch
FAR_BELOW = 40.0  # ln of epsilon over a contrast, from which V is linear in it
SAMPLES = 2**20  # Gaussian draws behind one sampled unit; residual nets, new at every layer, take a quarter


@dataclass(frozen=True)
class BatchUnit:
    """What one normalized unit does, in absolute logs where signals may be extreme.

    ``log_out`` ln E x^2, ``excess`` E x^2 less what an infinitesimal signal leaves of it, ``log_contrast``
    ln(E x_a^2 - E x_a x_b); a cotangent covariance (d, o) of W^T delta (diagonal, off-diagonal) becomes diagonal
    exp(log_scale) ((d - o) contrast + o common) and the off-diagonal of ``off_contrast``; ``seen`` the same for
    psi = phi phi' of a cotangent along x; ``loss`` is E[eps/(var+eps)].
    """

    log_out: float
    excess: float
    log_contrast: float
    log_scale: float
    contrast: float
    common: float
    off_contrast: float
    seen: float
    loss: float
    saturated: float

    def send(self, d: float, o: float, zero_sum: bool, b: int) -> tuple[float, float]:
        """(diagonal, off-diagonal) of the cotangent at z in units of exp(log_scale)."""
        diagonal = (d - o) * self.contrast + o * self.common
        return diagonal, -diagonal / (b - 1) if zero_sum else (d - o) * self.off_contrast


class BatchNormField(MeanField):
    """MeanField for a Spec with norm "batch"."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.after = spec.norm_position == "after"

    def unit(self, log_q: float, c: float) -> BatchUnit:
        """The unit at the pre-activations' second moment and correlation."""
        return self._unit_at(log_q, log_q + log_of(max(1.0 - c, 0.0)))

    @cached_property
    def _sphere(self) -> SphereMoments:
        s = self.spec
        return sphere_moments(s.activation, s.slope, s.norm_gamma, s.norm_beta, s.batch_size)

    @cached_property
    def _pass(self) -> tuple[Array, Array, Array, Array, list[BatchUnit], Array, Array]:
        """log_q, log_p, correlations of z and of x, the unit of every layer, ln(E x_a^2 - E x_a x_b) of its input,
        ln(1 - correlation of z)."""
        law, depth = self.law, self.spec.depth
        log_q, log_p, c_z, c_x, contrasts, apart = (np.empty(depth) for _ in range(6))
        units: list[BatchUnit] = []
        p, c = 2.0 * math.log(self.spec.input_rms), self.spec.input_correlation
        log_contrast = p + log_of(1.0 - c)  # ln(E x_a^2 - E x_a x_b)
        q = stream_contrast = -math.inf
        for i in range(depth):
            log_p[i], c_x[i], contrasts[i] = p, c, log_contrast
            a2 = self.log_alpha2 if (self.skip and i) else 0.0
            branch = log_add(law.log_in[i] + p, law.log_bias[i]) + a2
            difference = law.log_in[i] + log_contrast + a2
            q = log_add(q, branch) if (self.skip and i) else branch
            stream_contrast = log_add(stream_contrast, difference) if (self.skip and i) else difference
            log_q[i] = q
            apart[i] = stream_contrast - q if q > -math.inf else -math.inf
            c_z[i] = 1.0 - math.exp(apart[i])
            unit = self._unit_at(q, stream_contrast)
            units.append(unit)
            p, log_contrast = unit.log_out, unit.log_contrast
            c = 1.0 - math.exp(log_contrast - p) if p > -math.inf else 1.0
        return log_q, log_p, c_z, c_x, units, contrasts, apart

    def _unit_at(self, log_q: float, log_lambda: float) -> BatchUnit:
        """The unit at ln q and ln(E z_a^2 - E z_a z_b)."""
        if self.after:
            return sampled_unit(self.spec, round(max(log_q, DEAD), 5), round(log_lambda, 5))
        return normalized_unit(self._sphere, self.spec.norm_eps, max(log_lambda, DEAD))

    @property
    def forward(self) -> tuple[Array, Array]:
        return self._pass[0], self._pass[1]

    @property
    def correlations(self) -> tuple[Array, Array]:
        return self._pass[2][:, None], self._pass[3][:, None]

    @property
    def log_contrasts(self) -> Array:
        """(L,) ln(E x_a^2 - E x_a x_b) of each layer's input."""
        return self._pass[5]

    @property
    def log_apart(self) -> Array:
        """(L,) ln(1 - c) of the pre-activations: c alone would round to 1."""
        return self._pass[6]

    # --- backward -------------------------------------------------------------------------------------------

    @cached_property
    def chi(self) -> Array:
        """(L,) factor of the total squared gradient norm for a cotangent that already sums to zero."""
        b = self.spec.batch_size
        following = np.append(self.law.log_in[1:], self.law.log_in[-1])
        logs = [u.log_scale + log_of(u.send(1.0, -1.0 / (b - 1), False, b)[0]) for u in self._pass[4]]
        plain = np.exp(following + np.array(logs))
        return 1.0 + math.exp(self.log_alpha2) * plain if self.skip else plain

    @cached_property
    def chi_parallel(self) -> Array:
        """(L,) slope of the variance map, by central differences (0 up to epsilon: batch norm pins it)."""
        following = np.append(self.law.log_in[1:], self.law.log_in[-1])
        slopes = np.zeros(self.spec.depth)
        if not self.after:
            step = 1e-4
            for i, (q, c) in enumerate(zip(self._pass[0], self._pass[2], strict=True)):
                q = max(q, SMALLEST)  # far below epsilon the map is linear, its slope constant
                high, low = (self.unit(q + s, c).excess for s in (step, -step))
                slopes[i] = math.exp(following[i] - q) * (high - low) / (2 * step)
        return 1.0 + math.exp(self.log_alpha2) * slopes if self.skip else slopes

    @property
    def couples_aligned_cotangent(self) -> bool:
        """Whether MSE needs the population solver: on a residual stream, or where epsilon lets x through."""
        if self.spec.loss != "mse" or self.spec.depth == 1:
            return False
        annihilated = self.after and self.spec.init_entry.kind == "orthogonal"  # only what epsilon lets through is left
        return self.skip or annihilated or max(u.loss for u in self._pass[4][:-1]) > 1e-3

    @cached_property
    def backward(self) -> tuple[Array, Array]:
        """(log_g, ratio (L, 1)). Below the first batch norm a cotangent along x is annihilated."""
        if self.couples_aligned_cotangent:
            from gradcore.theory.population import population_backward

            log_g, self._log_mean, self._log_contrast = population_backward(self)
            with np.errstate(invalid="ignore", over="ignore"):
                correlation = np.where(log_g > -math.inf, 1.0 - np.exp(self._log_contrast - log_g), 0.0)
            return log_g, correlation[:, None]
        spec, law, b, depth = self.spec, self.law, self.spec.batch_size, self.spec.depth
        log_q, _, c_z, _, units = self._pass[:5]
        log_end, ratio_end, aligned = output_cotangent(spec, log_q[-1], lambda: c_z[-1:])
        log_g, ratio = np.full(depth, -math.inf), np.zeros((depth, 1))
        log_g[-1], ratio[-1] = log_end, ratio_end
        log_d, r = log_end, float(ratio_end[0])
        self._log_mean = np.full(depth, -math.inf)  # ln of the cotangents' mean mode D (1 + (B-1) r), kept apart
        self._log_mean[-1] = log_d + math.log(b) + log_of(float(batch_share(np.array(r), b)))
        for i in range(depth - 2, -1, -1):
            d, o = 1.0, r
            seen = 0.0
            if aligned and i == depth - 2:
                d, o, seen = self._aligned_end(units[i], d, o)
            diagonal, off = units[i].send(d, o, not self.after, b)
            if seen:
                diagonal, off = diagonal + seen, off - seen / (b - 1)
            through = self.log_alpha2 + law.log_out[i + 1] + units[i].log_scale
            # zero-sum by construction before the activation; a residual stream keeps the mean mode it has
            sent = -math.inf if not self.after else log_d + through + log_of(diagonal + (b - 1) * off)
            self._log_mean[i] = log_add(self._log_mean[i + 1], sent) if self.skip else sent
            log_d, r = self._combine(log_d, r, through, diagonal, off)
            log_g[i], ratio[i] = log_d, r
            if log_d == -math.inf:
                break
        with np.errstate(divide="ignore"):
            self._log_contrast = log_g + np.log1p(-ratio[:, 0])
        return log_g, ratio

    @cached_property
    def parameter_gradients(self) -> tuple[Array, Array]:
        """(log_dw, log_db) by the two modes of cotangents and inputs over the batch: contrasts and the mean.

        sum_ab E[delta_a delta_b] E[x_a x_b] = (B-1) contrast contrast + mean mean: nothing cancels when samples are
        nearly equal or cotangents sum to zero.
        """
        _ = self.backward  # it leaves the two modes
        b = self.spec.batch_size
        _, log_p, _, c_x, _, contrasts, _ = self._pass
        branch = np.full(self.spec.depth, self.log_alpha2)
        branch[0] = 0.0
        with np.errstate(divide="ignore"):
            apart = math.log(b - 1) + self._log_contrast + contrasts
            together = self._log_mean + log_p + np.log(np.maximum(1.0 + (b - 1) * c_x, 0.0))
        scale = branch - 2.0 * math.log(b)
        return np.logaddexp(apart, together) + scale, self._log_mean + math.log(b) + scale

    def _combine(self, log_d: float, r: float, through: float, diagonal: float, off: float) -> tuple[float, float]:
        """Branch (and stream) cotangent: new ln D and correlation over samples."""
        if diagonal <= 0.0:
            return (log_d, r) if self.skip else (-math.inf, 0.0)
        branch = through + math.log(diagonal)
        if not self.skip:
            return log_d + branch, off / diagonal
        total = log_add(0.0, branch)
        share = math.exp(branch - total)
        return log_d + total, (1.0 - share) * r + share * off / diagonal

    def _aligned_end(self, unit: BatchUnit, d: float, o: float) -> tuple[float, float, float]:
        """MSE at the last layer: covariance of the random part, and the seen part k^2 E f^2, k = kappa n Var W.

        delta = kappa z with kappa^2 = D / q, so in units of D the seen part is n Var W / q times unit.seen.
        """
        law, log_q, log_p, c_x = self.law, self._pass[0][-1], self._pass[1][-1], self._pass[3][-1]
        seen = math.exp(law.log_out[-1] - log_q) * unit.seen
        if self.spec.init_entry.kind == "orthogonal":
            ratio = min(1.0, float(self.spec.layer_widths[-1]) / float(self.spec.fan_ins[-1]))
            along = math.exp(law.log_in[-1] + log_p - log_q) * ratio
            d, o = d - along, o - along * c_x
        return d, o, seen

    @property
    def aligned_quantities(self) -> None:
        """None: the first batch norm below the output annihilates what is aligned with it."""
        return None

    @cached_property
    def saturated(self) -> Array:
        """(L,) share of units and samples with abs(phi') < 0.05 of its maximum."""
        return np.array([u.saturated for u in self._pass[4]])


@lru_cache(maxsize=16384)
def normalized_unit(sphere: SphereMoments, eps: float, log_lambda: float) -> BatchUnit:
    """Batch norm before the activation, ln of the variance that samples have independently of each other."""
    b, gamma2 = sphere.batch, sphere.gamma**2
    least = math.log(eps) - FAR_BELOW  # below it what is left of the samples is linear in their variance
    beyond = min(log_lambda - least, 0.0) if log_lambda > DEAD else -math.inf
    log_lambda = max(log_lambda, least)
    nodes, weight = radial_law(b)
    log_var = log_lambda + np.log(nodes)
    log_s2 = np.logaddexp(log_var, math.log(eps))
    v, left = np.exp(log_var - log_s2), np.exp(math.log(eps) - log_s2)
    m = sphere.interpolate(v)
    log_scale = float(np.min(log_s2[weight > 1e-12]))  # 1 / s^2 in units that cannot overflow
    inverse = weight * gamma2 * np.exp(log_scale - log_s2)
    two = 2.0 - v

    def form(second: str, z_second: str, pair: str, z_pair: str) -> Array:
        return (b - 1) * (m[second] - m[pair]) - two * (m[z_second] + (b - 1) * m[z_pair])

    trace = (b - 1) * m["slope_second"] - two * m["z_slope_second"]
    common = form("slope_second", "z_slope_second", "slope_pair", "z_slope_pair")
    seen = form("psi_second", "z_psi_second", "psi_pair", "z_psi_pair")
    second, pair = float(weight @ m["second"]), float(weight @ m["second_pair"])
    excess = second + 2.0 * sphere.offset * float(weight @ m["offset"])
    log_out = log_of(excess + sphere.offset**2) if sphere.offset else log_of(excess) + beyond
    return BatchUnit(
        log_out=log_out,
        excess=excess * math.exp(beyond),
        log_contrast=log_of(second - pair) + beyond,
        log_scale=-log_scale,
        contrast=float(inverse @ trace) / b,
        common=float(inverse @ common) / b,
        off_contrast=-float(inverse @ trace) / (b * (b - 1)),
        seen=max(0.0, float(inverse @ seen) / b),
        loss=float(weight @ left),
        saturated=float(weight @ m["flat"]),
    )


@lru_cache(maxsize=256)
def sampled_unit(spec: Spec, log_q: float, log_lambda: float) -> BatchUnit:
    """Batch norm after the activation: a seeded mean over B-dimensional units of second moment q and contrasts lambda =
    q (1 - c), linear control variate.

    Standard error about 0.1% of the multiplier. The control variate f_linear has the exact mean
    (B-2)/((B-3) lambda) (eps = 0), and takes away the heavy tail of 1/s^2 that small B has.
    """
    b, eps = spec.batch_size, spec.norm_eps
    draws = SAMPLES if spec.residual == "none" else SAMPLES // 4
    # far below epsilon and below the common part everything is linear in the contrasts
    least = max(log_of(eps) - FAR_BELOW, SMALLEST)
    log_lambda, beyond = max(log_lambda, least), min(log_lambda - least, 0.0)
    apart, common = _equicorrelated(draws, b, log_q, log_lambda)
    z = apart + common
    slope2_root = spec.activation_entry.derivative(z, spec.slope)
    if log_lambda < log_q - ALIKE:  # differences of values would be rounding
        centred = slope2_root * apart
    else:
        value = spec.activation_entry.value(z, spec.slope)
        centred = value - value.mean(axis=1, keepdims=True)
    var = np.mean(centred**2, axis=1, keepdims=True)
    s2 = var + eps
    v = var / s2
    hat = centred / np.sqrt(s2)
    trace, off = _projected(slope2_root, hat, 2.0 - v, s2)
    lam = math.exp(log_lambda)
    typical = float(np.median(var))
    if typical > 1e3 * eps and lam > 0:
        linear_var = np.mean(apart**2, axis=1, keepdims=True)  # of the activation's argument
        linear_trace, linear_off = _projected(np.ones_like(z), apart / np.sqrt(linear_var), 1.0, linear_var)
        known = (b - 2) / ((b - 3) * lam)
        trace = trace - linear_trace + known
        off = off - linear_off - known / (b - 1)
    gamma2, kept = spec.norm_gamma**2, float(v.mean())
    log_gamma2 = 2.0 * log_of(abs(spec.norm_gamma))  # gamma^2 may be too small for a float
    log_kept = log_of(kept) + beyond
    largest = np.abs(spec.activation_entry.derivative(np.linspace(-40, 40, 8001), spec.slope)).max()
    return BatchUnit(
        log_out=log_add(log_gamma2 + log_kept, 2.0 * log_of(abs(spec.norm_beta))),
        excess=gamma2 * kept,
        log_contrast=log_gamma2 + log_kept + math.log(b / (b - 1)),
        log_scale=log_gamma2,
        contrast=float(np.mean(trace)),
        common=0.0,
        off_contrast=float(np.mean(off)),
        seen=0.0,
        loss=1.0 - kept,
        saturated=float(np.mean(np.abs(slope2_root) < 0.05 * largest)),
    )


def _equicorrelated(draws: int, b: int, log_q: float, log_lambda: float) -> tuple[Array, Array]:
    """(N, B) contrasts and (N, 1) means over the batch of Gaussian samples with variance q and covariance q - lambda,
    from a fixed seed."""
    g = np.random.default_rng(0).standard_normal((max(8, draws // b), b))
    mean = g.mean(axis=1, keepdims=True)
    q, lam = math.exp(log_q), math.exp(log_lambda)
    return math.sqrt(lam) * (g - mean), math.sqrt(max(lam + b * (q - lam), 0.0)) * mean


def _projected(slope: Array, hat: Array, two: Array | float, s2: Array) -> tuple[Array, Array]:
    """Diagonal and off-diagonal of D P^2 D / s^2, averaged over the batch: (N,) each."""
    b = slope.shape[1]
    diagonal = np.mean(slope**2 * (1.0 - 1.0 / b - two * hat**2 / b) / s2, axis=1)
    square_sum = np.sum(slope**2, axis=1) - np.sum(slope, axis=1) ** 2 / b
    along = np.sum(slope * hat, axis=1, keepdims=True) ** 2
    total = (square_sum[:, None] - two * along / b) / s2
    return diagonal, (total[:, 0] - b * diagonal) / (b * (b - 1))
