"""The cotangent at the output: delta_b = B dC/dz_b for each loss, its size and its correlation over samples.

random: N(0, 1), independent of everything. mse (target 0, mean over B n_L): delta = 2 z / n_L, correlated with
the output. cross_entropy (k = n_L classes, uniform random labels): delta = softmax(z) - onehot.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray
PAIR_DRAWS = 1_000_000  # Gaussian draws behind the cross-entropy pair moments
MAX_PAIR_CLASSES = 4096


def output_cotangent(spec: Spec, log_q: float, correlation: Callable[[], Array]) -> tuple[float, Array, bool]:
    """(ln E delta^2, E[delta_a delta_b] / E delta^2 per pair, whether delta is correlated with the output).

    ``correlation()`` gives the output's correlations (P,) and is called only where they matter.
    """
    if spec.loss == "random":
        return 0.0, np.zeros(1), False
    classes = int(spec.layer_widths[-1])
    if spec.loss == "mse":
        return math.log(4.0) + log_q - 2.0 * math.log(classes), correlation(), True
    if classes == 1:
        return -math.inf, np.zeros(1), False  # softmax of one class is 1: the loss is constant
    mean_square = softmax_second_moment(log_q, classes)
    per_unit = (1.0 - 2.0 / classes + classes * mean_square) / classes
    if spec.batch_size == 1:
        return math.log(per_unit), np.zeros(1), False
    cross = softmax_pair_moments(log_q, tuple(np.atleast_1d(correlation())), classes) - 1.0 / classes**2
    return math.log(per_unit), np.asarray(cross) / per_unit, False


def aligned_share(spec: Spec, log_q: float) -> float:
    """Share of E delta^2 along the output, kappa^2 q / E delta^2 with kappa = E[ddelta/dz]: 1 for MSE, 0 for random.

    Cross-entropy: kappa = E[p (1 - p)] <= 1/k, a share of order q / k that vanishes as all widths grow.
    """
    if spec.loss != "cross_entropy":
        return 1.0 if spec.loss == "mse" else 0.0
    k = int(spec.layer_widths[-1])
    if k == 1 or not math.isfinite(log_q):
        return 0.0
    square = softmax_second_moment(log_q, k)
    kappa = max(1.0 / k - square, 0.0)
    size = (1.0 - 2.0 / k + k * square) / k
    return min(1.0, kappa**2 * math.exp(min(log_q, 700.0)) / size)


@lru_cache(maxsize=256)
def softmax_second_moment(log_q: float, classes: int) -> float:
    """E[p_1^2] of p = softmax(z), z_i ~ N(0, q) independent over ``classes`` units; exact to quadrature.

    1/S^2 = int t exp(-t S) dt gives E p_1^2 = int own(tau) (1 - others(tau))^(k-1) dtau with t = e^tau,
    own = E exp(2x - e^x), others = E[1 - exp(-e^x)], x = z + tau. For q > 1e14 the softmax is the argmax: 1/k.
    """
    if log_q < math.log(1e-12):
        return 1.0 / classes**2
    if log_q > math.log(1e14):
        return 1.0 / classes
    s = math.exp(0.5 * log_q)
    step = max(0.1, s / 100.0)
    tau = np.arange(-9.0 * s - math.log(classes) - 40.0, 9.0 * s + 8.0, step)
    own, others = _narrow(tau, s) if s < 1.0 else _wide(tau, s)
    survive = np.exp((classes - 1) * np.log1p(-np.minimum(others, 1.0 - 1e-16)))
    return float(np.sum(own * survive)) * step


def _narrow(tau: Array, s: float) -> tuple[Array, Array]:
    """own and others by the trapezoid rule over the Gaussian (s < 1)."""
    z = np.arange(-36, 37) * (s / 4.0)
    weight = 0.25 * np.exp(-0.5 * (z / s) ** 2) / math.sqrt(2 * math.pi)
    x = np.minimum(tau[:, None] + z, 50.0)
    return np.exp(2.0 * x - np.exp(x)) @ weight, -(np.expm1(-np.exp(x)) @ weight)


def _wide(tau: Array, s: float) -> tuple[Array, Array]:
    """own and others by the trapezoid rule over the functions' own narrow support (s >= 1)."""
    from scipy.special import ndtr

    step = 0.1
    x = np.arange(-60.0, 5.0, step)
    gap = (tau[:, None] - x) / s
    density = np.exp(-0.5 * gap * gap) / (s * math.sqrt(2 * math.pi))
    own = density @ (step * np.exp(2.0 * x - np.exp(x)))
    return own, ndtr(gap) @ (step * np.exp(x - np.exp(x)))


@lru_cache(maxsize=256)
def softmax_pair_moments(log_q: float, correlation: tuple[float, ...], classes: int) -> Array:
    """(P,) E[p_a1 p_b1] of two samples' softmax whose logits correlate by c; exact where q is small, else sampled.

    Logits whose softmax spreads over many classes (q < ln(k)/2) use the exact large-k value e^(q c) / k^2; the rest
    is a mean over seeded draws (relative error about 1%; above 4096 classes the draws use 4096).
    """
    c = np.asarray(correlation)
    q = math.exp(min(log_q, math.log(1e8)))
    if log_q < math.log(1e-4):
        return (1.0 + q * c) / classes**2
    if classes > MAX_PAIR_CLASSES and q < 0.5 * math.log(classes):
        return np.exp(q * c) / classes**2
    k = min(classes, MAX_PAIR_CLASSES)
    levels = np.unique(np.round(c, 2)) if c.size > 8 else c
    draws = max(8, PAIR_DRAWS // (2 * k * levels.size))
    rng = np.random.default_rng(0)
    sampled = np.array([_sampled_pair(rng, q, float(level), k, draws) for level in levels])
    scaled = (sampled - 1.0 / k**2) * (k / classes) + 1.0 / classes**2 if k != classes else sampled
    return np.interp(c, levels, scaled) if c.size > 8 else scaled


def _sampled_pair(rng: np.random.Generator, q: float, c: float, k: int, draws: int) -> float:
    common = rng.standard_normal((draws, k))
    own = rng.standard_normal((2, draws, k))
    logits = math.sqrt(q) * (math.sqrt(max(c, 0.0)) * common + math.sqrt(1.0 - max(c, 0.0)) * own)
    p = np.exp(logits - logits.max(axis=2, keepdims=True))
    p /= p.sum(axis=2, keepdims=True)
    return float(np.mean(p[0] * p[1]))
