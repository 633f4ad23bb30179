"""Large batches of unequal samples (digits under batch norm): some stand for all, and what their number does is added.

Of B images M are followed, evenly spaced. The Gram matrix of the others is like theirs; what depends on the number of
samples is corrected to first order in 1/B:

- A normalized unit multiplies a gradient by a factor that falls with B towards its limit. Its ratio rho between B and M
  samples is taken from equally correlated samples (``theory.batch_norm``), where the law is closed, and applied to the
  share of the gradient that has passed a batch norm in each layer.
- A mean over all pairs, V_M = (1/M^2) sum_ab D_ab X_ab, is s + v/M: s by the unbiased estimate of HSIC (Song et al.
  2012), then V_B = s + v/B.

Validity: log_g within 5% over 20 layers, weight gradients within 20% where the loss depends on the output; deeper than
some hundred layers M is less (memory), and the error some 1/M^2 a layer. Checked against torch on up to 1797 images by
tests/test_batch_particles.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gradcore.residual import inner_layers
from gradcore.theory.batch_norm import normalized_unit, sampled_unit
from gradcore.theory.sphere import sphere_moments

if TYPE_CHECKING:
    from gradcore.residual import inner_layers
    from gradcore.spec import Spec
from gradcore.theory.batch_norm import BatchUnit

Array = np.ndarray
ROWS = 128  # samples that are followed
LAYER = 2**17  # numbers of one layer: samples times units
ALL = 2**26  # numbers of all layers
UNITS = 8  # for each sample at least: the covariance of fewer is too smooth (by rows / units of its 1/B terms)
FLAT = 64  # samples without which a unit may be flat on all of them


def sizes(spec: Spec, kept: int) -> tuple[int, int]:
    """(samples, units) that are followed, ``kept`` arrays of them in memory for each layer."""
    entries = min(LAYER, ALL // (kept * (spec.depth + 1)))
    few = math.isqrt(entries // UNITS)
    if spec.norm_position == "after" and spec.activation_entry.flat:
        few = max(few, FLAT)
    rows = min(spec.batch_size, ROWS, max(few, 4))
    return rows, max(2 * rows, entries // rows // 2 * 2)


def chosen(batch: int, rows: int) -> Array:
    """(M,) indices of the samples that are followed."""
    return np.arange(rows) * batch // rows


def grown(spec: Spec, rows: int, log_q: float, correlation: float, logs: Array) -> Array:
    """(L,) ln of what a batch of B does to a gradient's mean square, whose ln in one of ``rows`` is ``logs``."""
    if rows == spec.batch_size or logs.size < 2 or not np.all(np.isfinite(logs)):
        return np.zeros_like(logs)
    few, all_ = (_log_factor(spec, b, log_q, correlation) for b in (rows, spec.batch_size))
    more, above = np.zeros_like(logs), logs.size - 1
    inner = inner_layers(spec.residual, logs.size)
    for i in range(logs.size - 2, -1, -1):
        if inner[i]:  # inside a block there is no norm, and the stream passes beside it
            more[i] = more[above]
            continue
        share = 1.0
        if spec.residual not in ("none", "resnet_v1"):  # what comes down the stream has passed no norm
            share = min(max(-math.expm1(logs[above] - logs[i]), 0.0), 1.0)
        more[i] = more[above] + math.log1p(share * math.expm1(all_ - few))
        above = i
    return more


def _log_factor(spec: Spec, b: int, log_q: float, correlation: float) -> float:
    """ln of a unit's factor for a gradient that sums to zero over the batch, over the variance that it leaves."""
    unit = _unit(spec, b, log_q, correlation)
    diagonal, _ = unit.send(1.0, -1.0 / (b - 1), spec.norm_position == "before", b)
    log = unit.log_scale + math.log(max(diagonal, 1e-300)) - unit.log_contrast
    return log if math.isfinite(log) else 0.0


def _unit(spec: Spec, b: int, log_q: float, correlation: float) -> BatchUnit:
    c = min(max(correlation, 0.0), 0.999)
    log_q = min(max(log_q, -600.0), 600.0)
    log_contrast = round(log_q + math.log1p(-c), 1)
    if spec.norm_position == "after":
        return sampled_unit(spec.replace(batch_size=b), round(log_q, 1), log_contrast)
    sphere = sphere_moments(spec.activation, spec.slope, spec.norm_gamma, spec.norm_beta, b)
    return normalized_unit(sphere, spec.norm_eps, log_contrast)


def kept_mean(spec: Spec, rows: int, pairs: float) -> float | None:
    """What the mean square of a cotangent's mean over the batch is multiplied by in a batch of B, of the output's mean
    correlation over ``pairs`` of samples; it holds all the way down a stream past norms before the activation, which
    leave the mean alone, and is None elsewhere."""
    if spec.residual in ("none", "resnet_v1") or spec.norm_position == "after":
        return None
    of_all, of_few = ((1.0 + (b - 1) * pairs) / b for b in (spec.batch_size, rows))
    return max(of_all, 0.0) / of_few if of_few > 0.0 else 1.0


@dataclass(frozen=True)
class Sharing:
    """What the samples of a cotangent share: ``alone``, noise that is independent over the samples where it enters;
    ``kept`` as of ``kept_mean``, where it is known; ``apart`` what a batch norm's own projections make of noise alone,
    an HSIC in units of its mean square (``projected``)."""

    alone: bool
    kept: float | None = None
    apart: float = 0.0


def projected(delta: Array, x: Array) -> float:
    """``Sharing.apart`` of independent noise of covariance ``delta`` behind batch norms."""
    return _hsic(delta, x) / float(np.trace(delta)) * len(delta)


def over_batch(delta: Array, x: Array, batch: int, sharing: Sharing) -> float:
    """(1/B^2) sum_ab D_ab X_ab of a batch of B from the (M, M) covariances of M of its samples."""
    few = len(delta)
    mean, centred, rows_d = _parts(delta)
    mean_x, centred_x, rows_x = _parts(x)
    own = float(np.trace(delta)) / few**2
    if mean < 1e-12 * own:  # a batch norm takes off what all samples share
        mean = 0.0
    contrasts = float(np.sum(centred * centred_x)) / few**2
    together = mean * mean_x + 2.0 * float(np.mean(rows_d * rows_x))
    if few == batch:
        return contrasts + together
    kept = sharing.kept
    if kept is None:
        kept = few / batch if sharing.alone or mean <= 1.5 * own else 1.0
    shared = 0.0 if sharing.alone else max(_hsic(delta, x) - sharing.apart * own * few, 0.0)
    return max(shared + (contrasts - shared) * few / batch + kept * together, 0.0)


def _parts(matrix: Array) -> tuple[float, Array, Array]:
    """(mean, what is left without row and column means, row means without the mean)."""
    rows = matrix.mean(axis=1)
    mean = float(rows.mean())
    return mean, matrix - rows[:, None] - rows + mean, rows - mean


def _hsic(a: Array, b: Array) -> float:
    """The unbiased estimate of the mean of a centred over independent pairs times b centred (Song et al. 2012)."""
    n = len(a)
    a, b = a - np.diag(np.diag(a)), b - np.diag(np.diag(b))
    cross = float(a.sum(axis=0) @ b.sum(axis=0))
    both = float(a.sum()) * float(b.sum()) / ((n - 1) * (n - 2))
    return (float(np.sum(a * b)) + both - 2.0 * cross / (n - 2)) / (n * (n - 3))
