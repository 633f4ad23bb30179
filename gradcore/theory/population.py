"""Population solver: N units x B samples with fresh Gaussian fields, the infinite-width law by sampling.

Used where no low-dimensional recursion exists: a cotangent aligned with the output (MSE) above batch norm on a
residual stream, or above batch norm whose epsilon matters. Forward statistics come from the exact
recursion; only the backward pass is sampled, downwards, the stream drawn by Gaussian regression on the layer above.
Standard error about 1% of log_g; seeded, hence deterministic.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gradcore.theory.channel import DEAD

if TYPE_CHECKING:
    from gradcore.theory.batch_norm import BatchNormField

Array = np.ndarray


def _modes(a: Array, b: Array) -> tuple[float, float]:
    """E[a b] per sample: in the mean over the batch, and in the contrasts."""
    mean = float(np.mean(a.mean(axis=1) * b.mean(axis=1)))
    return mean, float(np.mean(a * b)) - mean


class _Draw:
    """Equicorrelated fields, given by the variance of the batch mean and of one contrast per sample."""

    def __init__(self, units: int, batch: int) -> None:
        self.rng, self.shape = np.random.default_rng(0), (units, batch)

    def field(self, mean: float, contrast: float) -> Array:
        b = self.shape[1]
        g = self.rng.standard_normal(self.shape)
        centre = g.mean(axis=1, keepdims=True)
        spread = math.sqrt(max(contrast, 0.0) * b / (b - 1)) * (g - centre)
        return spread + math.sqrt(max(mean, 0.0) * b) * centre


def _split(second: float, correlation: float, b: int) -> tuple[float, float]:
    """(variance of the batch mean, contrast variance per sample) of an equicorrelated field."""
    mean = second * (1.0 + (b - 1) * correlation) / b
    return mean, second - mean


def population_backward(field: BatchNormField) -> tuple[Array, Array]:
    """(log_g (L,), ratio (L, 1)) for delta^L = 2 z^L / n_L."""
    spec, b = field.spec, field.spec.batch_size
    log_q, _, c_z = field._pass[:3]
    if log_q[-1] == -math.inf:
        return np.full(spec.depth, -math.inf), np.zeros((spec.depth, 1))
    log_q = np.maximum(log_q, DEAD)
    depth = spec.depth
    units = max(8, min(2**17, max(2**13, 2**23 // depth)) // b)
    draw = _Draw(units, b)
    width = float(spec.layer_widths[-1])
    h = draw.field(*_split(1.0, c_z[-1], b))  # in units of sqrt(q^L)
    delta = h.copy()
    log_g, ratio = np.full(depth, -math.inf), np.zeros((depth, 1))
    log_g[-1], ratio[-1] = math.log(4.0) + log_q[-1] - 2.0 * math.log(width), c_z[-1]
    scale = log_g[-1]
    for i in range(depth - 2, -1, -1):
        a = math.exp(0.5 * field.log_alpha2) if field.skip else 1.0
        kappa = [x / y if y > 0 else 0.0 for x, y in zip(_modes(h, delta), _modes(h, h), strict=True)]
        shrink = math.exp(log_q[i] - log_q[i + 1])
        below = _stream_below(draw, field, i, h, shrink) if field.skip else draw.field(*_split(1.0, c_z[i], b))
        sent = _sent(field, i, draw, h, delta, kappa, below, a)
        new = a * _through_unit(field, i, below, sent) + (delta if field.skip else 0.0)
        total = float(np.mean(new**2))
        if not total > 0:
            break
        scale += math.log(total)
        delta, h = new / math.sqrt(total), below
        mean, _ = _modes(delta, delta)
        log_g[i], ratio[i] = scale, (b * mean - 1.0) / (b - 1)
    return log_g, ratio


def _stream_below(draw: _Draw, field: BatchNormField, i: int, h: Array, shrink: float) -> Array:
    """The stream one layer down given the one above, in units of its own sqrt(q)."""
    b = field.spec.batch_size
    c_z = field._pass[2]
    low, high = _split(shrink, c_z[i], b), _split(1.0, c_z[i + 1], b)
    rho = [x / y if y > 0 else 0.0 for x, y in zip(low, high, strict=True)]
    centre = h.mean(axis=1, keepdims=True)
    noise = draw.field(*(x * (1.0 - r) for x, r in zip(low, rho, strict=True)))
    return (rho[1] * (h - centre) + rho[0] * centre + noise) / math.sqrt(shrink)


def _unit_output(field: BatchNormField, i: int, z: Array) -> tuple[Array, Array, Array, Array]:
    """x, phi' and the parts of the norm's Jacobian (hat, gamma / s) at z in units of sqrt(q_i)."""
    spec = field.spec
    raw = z * math.exp(0.5 * field._pass[0][i])
    entry = spec.activation_entry
    source = entry.value(raw, spec.slope) if field.after else raw
    centred = source - source.mean(axis=1, keepdims=True)
    s = np.sqrt(np.mean(centred**2, axis=1, keepdims=True) + spec.norm_eps)
    hat = centred / s
    y = spec.norm_gamma * hat + spec.norm_beta
    x = y if field.after else entry.value(y, spec.slope)
    slope = entry.derivative(raw if field.after else y, spec.slope)
    return x, slope, hat, spec.norm_gamma / s


def _sent(
    field: BatchNormField, i: int, draw: _Draw, h: Array, delta: Array, kappa: list[float], below: Array, a: float
) -> Array:
    """W^T delta per unit: a deterministic part along x and Gaussian noise (delta in units of exp(scale / 2))."""
    law, b = field.law, field.spec.batch_size
    n_var = math.exp(law.log_out[i + 1])
    x = _unit_output(field, i, below)[0]
    centre = x.mean(axis=1, keepdims=True)
    # kappa relates delta to the stream above in units of sqrt(q^(l+1))
    k = [value * a * n_var * math.exp(-0.5 * field._pass[0][i + 1]) for value in kappa]
    aligned = k[1] * (x - centre) + k[0] * centre
    mean, contrast = _modes(delta, delta)
    if field.spec.init_entry.kind == "orthogonal":
        # the rest beside kappa h is sampled, the part along it exact: no sampling error where nothing is left
        centre_h = h.mean(axis=1, keepdims=True)
        rest = delta - kappa[1] * (h - centre_h) - kappa[0] * centre_h
        whole = _split(1.0, field._pass[2][i + 1], b)
        mean, contrast = (r + k * k * w for r, k, w in zip(_modes(rest, rest), kappa, whole, strict=True))
        least = min(1.0, float(field.spec.layer_widths[i + 1]) / float(field.spec.fan_ins[i + 1]))
        branch = math.exp(law.log_in[i + 1] + field._pass[1][i + 1] - field._pass[0][i + 1]) * least
        along = _split(branch, field._pass[3][i + 1], b)
        mean -= (a * kappa[0]) ** 2 * along[0]
        contrast -= (a * kappa[1]) ** 2 * along[1]
    return aligned + math.sqrt(n_var) * draw.field(max(mean, 0.0), max(contrast, 0.0))


def _through_unit(field: BatchNormField, i: int, z: Array, sent: Array) -> Array:
    """J^T of the unit (activation and batch norm) applied to ``sent``."""
    _, slope, hat, factor = _unit_output(field, i, z)
    inner = sent if field.after else slope * sent
    projected = inner - inner.mean(axis=1, keepdims=True) - hat * np.mean(inner * hat, axis=1, keepdims=True)
    return factor * projected * (slope if field.after else 1.0)
