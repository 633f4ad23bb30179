"""Population solver: N units x B samples with fresh Gaussian fields, the infinite-width law by sampling.

Used where no low-dimensional recursion exists: a cotangent aligned with the output (MSE) above batch norm on a
residual stream, or above batch norm whose epsilon matters. Forward statistics come from the exact
recursion; only the backward pass is sampled, downwards, the stream drawn by Gaussian regression on the layer above.
Standard error about 1% of log_g; seeded, hence deterministic. Every array over the batch is kept as its mean and its
contrasts, because what passes a batch norm is the contrasts alone, which may be smaller than rounding of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gradcore.theory.channel import DEAD, log_of

if TYPE_CHECKING:
    from gradcore.theory.batch_norm import BatchNormField

Array = np.ndarray


ALIKE = 1e-7  # contrasts beside the mean below which a function is linear between the samples


@dataclass(frozen=True)
class Parted:
    """(N, B) values as their mean over the batch (N, 1) and their contrasts (N, B), which sum to zero."""

    centre: Array
    apart: Array

    @classmethod
    def of(cls, values: Array) -> Parted:
        centre = values.mean(axis=1, keepdims=True)
        return cls(centre, values - centre)

    @property
    def whole(self) -> Array:
        return self.centre + self.apart

    def times(self, centre: float, apart: float) -> Parted:
        return Parted(centre * self.centre, apart * self.apart)

    def plus(self, other: Parted) -> Parted:
        return Parted(self.centre + other.centre, self.apart + other.apart)


def _modes(a: Parted, b: Parted) -> tuple[float, float]:
    """E[a b] per sample: in the mean over the batch, and in the contrasts."""
    return float(np.mean(a.centre * b.centre)), float(np.mean(a.apart * b.apart))


class _Draw:
    """Equicorrelated fields, given by the variance of the batch mean and of one contrast per sample."""

    def __init__(self, units: int, batch: int) -> None:
        self.rng, self.shape = np.random.default_rng(0), (units, batch)

    def field(self, mean: float, contrast: float) -> Parted:
        b = self.shape[1]
        g = Parted.of(self.rng.standard_normal(self.shape))
        return g.times(math.sqrt(max(mean, 0.0) * b), math.sqrt(max(contrast, 0.0) * b / (b - 1)))


def _split(second: float, log_apart: float, b: int) -> tuple[float, float]:
    """(variance of the batch mean, contrast variance per sample) of an equicorrelated field with this second moment
    and this ln(1 - correlation)."""
    contrast = second * math.exp(log_apart) * (b - 1) / b
    return max(second - contrast, 0.0), contrast


def population_backward(field: BatchNormField) -> tuple[Array, Array, Array]:
    """ln of the total (L,), of the batch's mean mode D (1 + (B-1) r) and of the contrasts D (1 - r) of the cotangents,
    for delta^L = 2 z^L / n_L."""
    spec, b = field.spec, field.spec.batch_size
    log_q, depth = field.log_q, spec.depth
    log_g, log_mean, log_contrast = (np.full(depth, -math.inf) for _ in range(3))
    if log_q[-1] == -math.inf:
        return log_g, log_mean, log_contrast
    log_q = np.maximum(log_q, DEAD)
    units = max(8, min(2**17, max(2**13, 2**23 // depth)) // b)
    draw = _Draw(units, b)
    h = draw.field(*_split(1.0, field.log_apart[-1], b))  # in units of sqrt(q^L)
    delta = h
    scale = log_g[-1] = math.log(4.0) + log_q[-1] - 2.0 * math.log(float(spec.layer_widths[-1]))
    mean, _ = _split(1.0, field.log_apart[-1], b)
    log_mean[-1], log_contrast[-1] = scale + log_of(b * mean), scale + field.log_apart[-1]
    for i in range(depth - 2, -1, -1):
        a = math.exp(0.5 * field.log_alpha2) if field.skip else 1.0
        kappa = [x / y if y > 0 else 0.0 for x, y in zip(_modes(h, delta), _modes(h, h), strict=True)]
        shrink = math.exp(log_q[i] - log_q[i + 1])
        below = (
            _stream_below(draw, field, i, h, shrink) if field.skip else draw.field(*_split(1.0, field.log_apart[i], b))
        )
        sent = _sent(field, i, draw, h, delta, kappa, below, a)
        new = _through_unit(field, i, below, sent).times(a, a)
        new = new.plus(delta) if field.skip else new
        mean, contrast = _modes(new, new)
        total = mean + contrast
        if not total > 0:
            break
        scale += math.log(total)
        log_g[i], log_mean[i] = scale, scale + log_of(b * mean / total)
        log_contrast[i] = scale + log_of(contrast / total * b / (b - 1))
        size = 1.0 / math.sqrt(total)
        delta, h = new.times(size, size), below
    return log_g, log_mean, log_contrast


def _stream_below(draw: _Draw, field: BatchNormField, i: int, h: Parted, shrink: float) -> Parted:
    """The stream one layer down given the one above, in units of its own sqrt(q)."""
    b = field.spec.batch_size
    low, high = _split(shrink, field.log_apart[i], b), _split(1.0, field.log_apart[i + 1], b)
    rho = [x / y if y > 0 else 0.0 for x, y in zip(low, high, strict=True)]
    noise = draw.field(*(x * (1.0 - r) for x, r in zip(low, rho, strict=True)))
    size = 1.0 / math.sqrt(shrink)
    return h.times(*rho).plus(noise).times(size, size)


def _at(function: Callable[[Array], Array], slope: Callable[[Array], Array], z: Parted) -> Parted:
    """The function's values at z: where samples are nearly equal, by its slope, as differences would be rounding."""
    values = Parted.of(function(z.whole))
    size = np.abs(z.apart).max(axis=1, keepdims=True)
    alike = size < ALIKE * np.abs(z.centre)
    if not alike.any():
        return values
    linear = Parted.of(slope(z.centre) * z.apart).apart
    return Parted(values.centre, np.where(alike, linear, values.apart))


def _unit_output(field: BatchNormField, i: int, z: Parted) -> tuple[Parted, Parted, Array, Array]:
    """x, phi' and the parts of the norm's Jacobian (hat, gamma / s) at z in units of sqrt(q_i)."""
    spec, entry = field.spec, field.spec.activation_entry
    size = math.exp(0.5 * field.log_q[i])
    raw = z.times(size, size)

    def value(h: Array) -> Array:
        return entry.value(h, spec.slope)

    def derivative(h: Array) -> Array:
        return entry.derivative(h, spec.slope)

    def curvature(h: Array) -> Array:
        step = 1e-4 * np.maximum(1.0, np.abs(h))
        return (derivative(h + step) - derivative(h - step)) / (2.0 * step)

    centred = (_at(value, derivative, raw) if field.after else raw).apart
    s = np.sqrt(np.mean(centred**2, axis=1, keepdims=True) + spec.norm_eps)
    hat = centred / s
    y = Parted(np.full((len(hat), 1), spec.norm_beta), spec.norm_gamma * hat)
    x = y if field.after else _at(value, derivative, y)
    slope = _at(derivative, curvature, raw if field.after else y)
    return x, slope, hat, spec.norm_gamma / s


def _sent(
    field: BatchNormField, i: int, draw: _Draw, h: Parted, delta: Parted, kappa: list[float], below: Parted, a: float
) -> Parted:
    """W^T delta per unit: a deterministic part along x and Gaussian noise (delta in units of exp(scale / 2))."""
    law, b = field.law, field.spec.batch_size
    n_var = math.exp(law.log_out[i + 1])
    x = _unit_output(field, i, below)[0]
    # kappa relates delta to the stream above in units of sqrt(q^(l+1))
    aligned = x.times(*(value * a * n_var * math.exp(-0.5 * field.log_q[i + 1]) for value in kappa))
    mean, contrast = _modes(delta, delta)
    if field.spec.init_entry.kind == "orthogonal":
        # the rest beside kappa h is sampled, the part along it exact: no sampling error where nothing is left
        rest = delta.plus(h.times(-kappa[0], -kappa[1]))
        whole = _split(1.0, field.log_apart[i + 1], b)
        mean, contrast = (r + k * k * w for r, k, w in zip(_modes(rest, rest), kappa, whole, strict=True))
        least = min(1.0, float(field.spec.layer_widths[i + 1]) / float(field.spec.fan_ins[i + 1]))
        branch = math.exp(law.log_in[i + 1] + field.log_p[i + 1] - field.log_q[i + 1]) * least
        along = _split(branch, field.log_contrasts[i + 1] - field.log_p[i + 1], b)
        mean -= (a * kappa[0]) ** 2 * along[0]
        contrast -= (a * kappa[1]) ** 2 * along[1]
    root = math.sqrt(n_var)
    return aligned.plus(draw.field(max(mean, 0.0), max(contrast, 0.0)).times(root, root))


def _through_unit(field: BatchNormField, i: int, z: Parted, sent: Parted) -> Parted:
    """J^T of the unit (activation and batch norm) applied to ``sent``."""
    _, slope, hat, factor = _unit_output(field, i, z)
    inner = sent.apart if field.after else Parted.of(slope.whole * sent.apart).apart + slope.apart * sent.centre
    projected = factor * (inner - hat * np.mean(inner * hat, axis=1, keepdims=True))
    if not field.after:
        return Parted(np.zeros_like(sent.centre), projected)
    centre = np.mean(slope.apart * projected, axis=1, keepdims=True)
    return Parted(centre, slope.whole * projected - centre)
