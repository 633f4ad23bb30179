"""Finite width to leading order: mean, median and spread of ONE random network of the given width.

Plain networks (no norm, no residual, random weights). The kernel K of a layer fluctuates by
V' = chi_par^2 V + sigma_w^4 (E phi^4 - A^2)/n and its mean shifts by m' = chi_par m + sigma_w^2 A'' V / 2;
the gradient multiplies r_m = chi_m (1 + a k_m + eta_m). Homogeneous activations keep their mean exactly.
Orthogonal weights put z on a sphere, which takes Cov(phi^2, Z^2)^2 / 2 off the variance of phi^2.

Sources: Hanin & Nica 2019 (ReLU), Yaida 2020 and Roberts, Yaida & Hanin 2022 (general phi). First order in 1/width;
unreliable where V / K^2 > 0.2 or chi_par > 1 on the way. Checked by tests/test_finite_width.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gradcore.theory.correlation import SLOPE, SLOPE_SQUARE, SQUARE, VALUE
from gradcore.theory.mean_field import MeanField
from gradcore.theory.pair_table import PairReader

if TYPE_CHECKING:
    from gradcore.profile import Profile

Array = np.ndarray
NAMES = (VALUE, SLOPE, SQUARE, SLOPE_SQUARE)
SETTLED = 1e-12  # change a layer, beyond which layers are alike
LARGEST_SPREAD = 0.2  # V / K^2 of one sample's kernel
LARGEST_ASPECT = 0.25  # sum of 1/width over the layers
LARGEST_VARIANCE = 100.0  # of a log, beyond which the expansion is not offered


@dataclass(frozen=True)
class FiniteWidth:
    """``shift[name]`` = ln(mean over networks) - infinite-width log, ``variance[name]`` of the log; (L,) each.

    ``reliable`` is False where it is known to fail: for activations that are not homogeneous a kernel that scatters
    by more than LARGEST_SPREAD, a variance map that is unstable on the way, or a depth beyond LARGEST_ASPECT widths;
    orthogonal weights with biases or a batch; narrow layers whose weights are neither Gaussian nor orthogonal.
    """

    shift: dict[str, Array]
    variance: dict[str, Array]
    reliable: bool = True

    def reach(self, name: str, level: float) -> Array:
        """Half width of the central ``level`` of networks, the law being log-normal to this order."""
        from scipy.special import ndtri

        return float(ndtri(0.5 + 0.5 * level)) * np.sqrt(self.variance[name])


class _Vertices:
    """Relative (divided by K) coefficients of every layer, each (L,)."""

    def __init__(self, profile: Profile, field: MeanField) -> None:
        self.spec, self.field = profile.spec, field
        self.log_q = profile.log_q
        moments = field.channel.moments
        e = _normalized(field, self.log_q)
        self.chi_par = field.chi_parallel * np.exp(self.log_q - np.append(self.log_q[1:], self.log_q[-1]))
        n = self.spec.layer_widths.astype(float)
        orthogonal = self.spec.init_entry.kind == "orthogonal"
        spread = e["fourth"] - 1.0
        slope_spread = 3.0 * e["slope_fourth"] - 1.0
        if orthogonal:
            spread = spread - 0.5 * (e["second_z2"] - 1.0) ** 2
            slope_spread = slope_spread - 2.0
        # share of the next kernel that comes from the activations (the rest is bias)
        following = np.append(np.arange(1, self.spec.depth), self.spec.depth - 1)
        weight = field.law.log_in[following] + moments.at(self.log_q).log_second - self.log_q[following]
        self.weight = np.exp(np.minimum(weight, 0.0))
        self.eps = self.weight**2 * spread / n
        self.eta = slope_spread / n
        self.eps_eta = self.weight * (e["second_slope"] - 1.0) / n
        self.a = 0.5 * (e["slope_z2"] - 1.0)
        self.slope_bend = 0.25 * (e["slope_z4"] - 6.0 * e["slope_z2"] + 3.0)
        self.bend = 0.25 * (e["second_z4"] - 6.0 * e["second_z2"] + 3.0) * self.weight
        self.fourth, self.slope_fourth = e["fourth"], e["slope_fourth"]
        self.homogeneous = moments.homogeneous

    @cached_property
    def pairs(self) -> _Pairs:
        """What two samples of the batch share. Their overlap scatters itself (variance of order L / n), and it is
        the mean of its square that enters the fluctuations of a batch mean."""
        field, depth = self.field, self.spec.depth
        z = field.correlations[0]
        c = z.mean(axis=1) if z.size else np.ones(depth)
        at = field.channel.moments.at(self.log_q)
        steep = self.weight * np.exp(at.log_slope_second + self.log_q - at.log_second)  # d c' / d c by slope ratio
        own, _, _ = _input_variance(self)
        from_input = math.exp(2.0 * (field.law.log_in[0] + field.log_p[0] - self.log_q[0]))
        scatter = from_input * 0.5 * own * (1.0 + self.spec.input_correlation**2)
        reader = PairReader(field.channel.moments, self.log_q)
        fixed = np.stack([c**2, self.log_q, self.weight**2 / self.spec.layer_widths, steep**2], axis=1)
        still = _still_from(fixed)
        rows, fresh = np.empty((5, depth)), fixed.tolist()
        for i, (square_c, log_q, rate, growth) in enumerate(fresh):
            effective = math.sqrt(min(1.0, square_c + scatter))
            value, slope, square, slope_square = reader.one(NAMES, log_q, effective)
            rows[:, i] = effective, value, slope, square, slope_square
            known = self.fourth[i] * square
            now = min(1.0, growth * slope**2 * scatter + rate * max(known - value**2, 0.0))
            if i >= still and abs(now - scatter) <= SETTLED * now:
                rows[:, i + 1 :] = rows[:, i : i + 1]
                break
            scatter = now
        effective, _, slope, square, slope_square = rows
        return _Pairs(effective, slope, self.fourth * square - 1.0, self.slope_fourth * slope_square)


def _still_from(rows: Array) -> int:
    """First index from which these rows (L, K) stay what they are at the end."""
    moving = np.flatnonzero(np.abs(rows - rows[-1]).max(axis=1) > SETTLED)
    return int(moving[-1]) + 1 if moving.size else 0


@dataclass(frozen=True)
class _Pairs:
    """Two samples of the batch, (L,) each: root mean square correlation of z, E phi'_a phi'_b / D,
    E phi_a^2 phi_b^2 / A^2 - 1 and E phi'_a^2 phi'_b^2 / D^2."""

    correlation: Array
    slope: Array
    square: Array
    slope_square: Array


def _normalized(field: MeanField, log_q: Array) -> dict[str, Array]:
    """Fourth moments by A^2 or D^2, and Z-weighted moments by A or D; constants for homogeneous activations."""
    moments = field.channel.moments
    if moments.homogeneous:
        left, right = moments.activation.tails(moments.slope)
        square, fourth = moments.tail_square, 0.5 * (left**4 + right**4)
        ones = np.ones_like(log_q)
        return {
            "fourth": 3.0 * fourth / square**2 * ones,
            "slope_fourth": fourth / square**2 * ones,
            "second_slope": fourth / square**2 * ones,
            "slope_z2": ones,
            "slope_z4": 3.0 * ones,
            "second_z2": 3.0 * ones,
            "second_z4": 15.0 * ones,
        }
    clipped = np.clip(log_q, -60.0, 60.0)
    e, q = moments.expectations(clipped), np.exp(clipped)
    a, d = e["second"], e["slope_second"]
    return {
        "fourth": e["fourth"] / a**2,
        "slope_fourth": e["slope_fourth"] / d**2,
        "second_slope": e["psi_second"] / (a * d),
        "slope_z2": e["slope_second_h2"] / (d * q),
        "slope_z4": e["slope_second_h4"] / (d * q * q),
        "second_z2": e["second_h2"] / (a * q),
        "second_z4": e["second_h4"] / (a * q * q),
    }


def expansion(profile: Profile) -> FiniteWidth | None:
    """The leading-order finite-width law, or None where it is not known (norms, residuals, deterministic weights)."""
    spec, field = profile.spec, profile._field
    if not isinstance(field, MeanField) or spec.norm != "none" or spec.residual != "none":
        return None
    if spec.loss == "mse" or not np.all(np.isfinite(profile.log_q)) or not np.all(np.isfinite(profile.log_g)):
        return None
    v = _Vertices(profile, field)
    b = spec.batch_size
    own, shared, shift = _kernel(v)
    averaged = (own + (b - 1) * shared) / b
    n = spec.layer_widths.astype(float)
    c = v.pairs.correlation if b > 1 else np.zeros(spec.depth)
    orthogonal = spec.init_entry.kind == "orthogonal"
    signal = 0.0 if orthogonal else (2.0 / n) * (1.0 + (b - 1) * c * c) / b
    scale, log_p_variance = _to_input(v, averaged)
    gradient, gradient_shift, past, overlap = _gradient(v, own, shared, shift)
    weights = gradient + (2.0 * past * scale + scale**2) * averaged
    weights[0] += log_p_variance[0]
    # gradients summed over the batch: the random overlaps of the samples' cotangents scatter them as well
    summed = 2.0 * (b - 1) / b * overlap
    c_x = np.append(spec.input_correlation, c[:-1])
    input_p = shift * scale
    variance = {
        "log_q": averaged + signal,
        "log_p": log_p_variance,
        "log_g": gradient,
        "log_dw": weights + summed * c_x**2,
        "log_db": gradient + summed,
    }
    law = FiniteWidth(
        {
            "log_q": shift,
            "log_p": input_p,
            "log_g": gradient_shift,
            "log_dw": gradient_shift + input_p + past * scale * averaged,
            "log_db": gradient_shift,
        },
        {name: np.maximum(v, 0.0) for name, v in variance.items()},  # -1e-17 where all cancels (orthogonal, linear)
        _reliable(v, own),
    )
    # a leading order that says a factor e^20 of scatter says nothing
    return law if all(np.all(v < LARGEST_VARIANCE) for v in law.variance.values()) else None


def _reliable(v: _Vertices, own: Array) -> bool:
    """Whether the expansion covers what it claims (checked against samples of 450 random Specs).

    Homogeneous maps are linear in the kernel, so neither its scatter nor their slope of 1 spoils the order. Of
    orthogonal weights it knows neither what the biases add nor that they keep the angles between samples.
    """
    from gradcore.theory.weight_law import draws

    spec = v.spec
    if draws(spec) or (spec.init_entry.kind == "orthogonal" and (spec.bias_std or spec.batch_size > 1)):
        return False
    short = float(np.sum(1.0 / spec.layer_widths)) <= LARGEST_ASPECT
    stable = own.max() <= LARGEST_SPREAD and np.all(v.field.chi_parallel <= 1.0)
    return bool(v.homogeneous or (short and stable))


def _to_input(v: _Vertices, averaged: Array) -> tuple[Array, Array]:
    """Variance of log_p: the kernel's share that came from the activations (layer 1: the input's own)."""
    scale = np.append(0.0, 1.0 / v.weight[:-1])
    variance = averaged * scale**2
    variance[0] = _input_variance(v)[2]
    return scale, variance


def _input_variance(v: _Vertices) -> tuple[float, float, float]:
    """Relative variance of abs(x)^2: of one sample, between two samples, of the batch mean (0 for digits)."""
    spec = v.spec
    if spec.input == "digits":
        return 0.0, 0.0, 0.0
    own = 2.0 / float(spec.fan_ins[0])
    shared = own * spec.input_correlation**2
    return own, shared, (own + (spec.batch_size - 1) * shared) / spec.batch_size


def _kernel(v: _Vertices) -> tuple[Array, Array, Array]:
    """Relative variance of K (one sample), covariance between two samples, relative shift of the mean; (L,) each."""
    depth = v.spec.depth
    own, shared, shift = np.zeros(depth), np.zeros(depth), np.zeros(depth)
    from_input = math.exp(v.field.law.log_in[0] + v.field.log_p[0] - v.log_q[0])
    first = _input_variance(v)
    own[0], shared[0] = from_input**2 * first[0], from_input**2 * first[1]
    square = v.pairs.square if v.spec.batch_size > 1 else np.zeros(depth)
    cross = v.weight**2 * square / v.spec.layer_widths
    k, between, moved = float(own[0]), float(shared[0]), 0.0
    steps = np.stack([v.chi_par, v.eps, cross, v.bend], axis=1)[:-1].tolist()
    for i, (chi, eps, fresh, bend) in enumerate(steps, start=1):
        # the mean of a homogeneous net is exact: its A'' is 0
        moved = chi * moved + 0.5 * bend * k
        k, between = chi**2 * k + eps, chi**2 * between + fresh
        own[i], shared[i], shift[i] = k, between, moved
    return own, shared, np.log1p(np.clip(shift, -0.9, None))


def _gradient(v: _Vertices, own: Array, shared: Array, shift: Array) -> tuple[Array, Array, Array, Array]:
    """(variance of log_g of the batch mean, ln shift of its mean, coefficient of the layer's kernel, mean square
    overlap of two samples' cotangents), (L,) each."""
    depth, b = v.spec.depth, v.spec.batch_size
    n = v.spec.layer_widths.astype(float)
    past, overlap = np.zeros(depth), np.zeros(depth)
    random_end = 2.0 / n[-1] if v.spec.loss == "random" else 0.0
    one, two = random_end, 0.0
    s = 0.0  # sensitivity of everything above to the kernel of the layer above
    log_mean, w = 0.0, float(1.0 / n[-1])
    moved = v.a * shift + 0.5 * (v.slope_bend - v.a**2) * own - 0.5 * v.eta
    rows = np.stack([v.eps, v.eta, 2.0 * v.eps_eta, moved, v.a, v.chi_par, *_shared_rows(v)], axis=1).tolist()
    ones, twos, means = np.empty(depth), np.empty(depth), np.empty(depth)
    for i in range(depth - 1, -1, -1):
        if i < depth - 1:
            eps, eta, eps_eta, step, a, chi, square, together, rate, turn = rows[i]
            one += s * s * eps + eta + s * eps_eta
            two += s * s * square + together + rate * w
            w = min(1.0, turn * w + 0.5 * rate)
            log_mean += step
            s = a + chi * s
        past[i], overlap[i], ones[i], twos[i], means[i] = s, w, one, two, log_mean
    single, between = ones + past**2 * own, twos + past**2 * shared
    variance = (single + (b - 1) * between) / b
    mean = means + 0.5 * (single - random_end)  # ln of the mean: mean of the log plus half its single-sample variance
    if v.homogeneous and not v.spec.bias_std:
        mean[:] = 0.0
    return variance, mean, past, overlap


def _shared_rows(v: _Vertices) -> tuple[Array, Array, Array, Array]:
    """What two samples' cotangents share at every layer, (L,) each: by the kernel, alone, per overlap, and the factor
    on the overlap; 0 for one sample."""
    if v.spec.batch_size == 1:
        none = np.zeros(v.spec.depth)
        return none, none, none, np.ones(v.spec.depth)
    n, pairs = v.spec.layer_widths.astype(float), v.pairs
    alone = (pairs.slope_square - 1.0) / n
    return v.weight**2 * pairs.square / n, alone, 2.0 * pairs.slope_square / n, pairs.slope**2
