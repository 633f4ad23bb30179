"""Backward recursion for a cotangent that is correlated with the output: MSE with target 0.

delta = kappa h + rest, and W^T delta = kappa a x n Var(W) + noise by Gaussian conditioning W | W x. The first
part is a deterministic function f of the pre-activation below ("seen"), the rest is random. D = N + V with
N the noise's and V the seen part's second moment. For residual nets the seen parts of all layers add up
on one stream; their overlaps are kept as Hermite coefficients, which the Gaussian increments between layers
shrink by rho^k. Linear sigma_w = 1: D grows like 1 + (L - l); He-ReLU: 1 + 2 (L - l).

Source: re-derived here from Gaussian conditioning (Yang 2020, "Tensor Programs II/III" treats W, W^T jointly);
checked against torch by tests/test_losses.py. Exact as width -> infinity at fixed width ratios.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gradcore.theory.channel import DEAD, HERMITE_ORDERS, log_of

if TYPE_CHECKING:
    from gradcore.theory.mean_field import MeanField

Array = np.ndarray
ORDERS = np.arange(HERMITE_ORDERS)


class _State:
    """Second moments in units of exp(log_scale), so that noise + seen = 1."""

    def __init__(self, log_scale: float, share: float, correlation: Array, ratio: Array, skip: bool) -> None:
        self.log_scale = log_scale
        self.noise, self.seen = 1.0 - share, share
        self.seen_pairs = share * correlation
        self.noise_pairs = ratio - self.seen_pairs
        self.kappa = math.sqrt(share)  # kappa sqrt(q), in units of exp(log_scale / 2)
        self.skip = skip
        # residual nets: the seen part as a function of the stream
        self.hermite = self.kappa * np.eye(HERMITE_ORDERS)[1]

    def rescale(self) -> None:
        total = self.noise + self.seen
        if not total > 0.0:
            self.log_scale = -math.inf
            return
        self.log_scale += math.log(total)
        self.noise /= total
        self.seen /= total
        self.noise_pairs = self.noise_pairs / total
        self.seen_pairs = self.seen_pairs / total
        self.kappa /= math.sqrt(total)
        if self.skip:
            self.hermite /= math.sqrt(total)


def aligned_backward(
    field: MeanField, log_end: float, share: float = 1.0, ratio_end: Array | None = None
) -> tuple[Array, Array]:
    """(log_g (L,), ratio (L, P)) for a cotangent of second moment e^log_end of which the part kappa z has this share.

    MSE: delta^L = 2 z^L / n_L, all of it (share 1, correlated over samples as z is). ``ratio_end`` are the
    cotangents' correlations over samples where they differ from z's.
    """
    correlations = field.correlations[0] if field.spec.batch_size > 1 else np.empty((field.spec.depth, 0))
    log_g, ratio = np.full(field.spec.depth, -math.inf), np.zeros_like(correlations)
    end = correlations[-1] if ratio_end is None or not correlations.shape[1] else ratio_end + 0.0 * correlations[-1]
    state = _State(log_end, share, correlations[-1], end, field.skip)
    log_g[-1], ratio[-1] = log_end, end
    for i in range(field.spec.depth - 2, -1, -1):
        if not math.isfinite(state.log_scale):
            break
        _step(field, i, state, correlations[i])
        state.rescale()
        log_g[i] = state.log_scale
        ratio[i] = state.noise_pairs + state.seen_pairs
    return log_g, ratio if ratio.shape[1] else np.zeros((field.spec.depth, 1))


def _step(field: MeanField, i: int, state: _State, c: Array) -> None:
    """From layer i + 1 (index) down to layer i."""

    log_factor, _, log_seen, seen_slope = (float(a[i]) for a in field.factors)
    log_q, next_q = max(field.log_q[i], DEAD), max(field.log_q[i + 1], DEAD)
    a2 = field.log_alpha2
    log_through = a2 + log_factor + field.law.log_out[i + 1]
    # k f with k = kappa a n Var(W), times another a for residual branches
    log_k = log_of(abs(state.kappa)) - 0.5 * next_q + a2 + field.law.log_out[i + 1]
    if not field.skip and log_through > -math.inf:  # of any size: kept as a shift of the scale
        state.log_scale += log_through
        log_k, log_through = log_k - 0.5 * log_through, 0.0
    # the part of delta along the branch output W x is not random: orthogonal weights do not spread it
    along = _along(field, i, state, next_q) if field.spec.init_entry.kind == "orthogonal" else 0.0
    spread = state.noise + state.seen - along
    through = math.exp(log_through)
    noise = through * max(spread, 0.0)
    seen = math.exp(2.0 * log_k + log_seen) if log_k + 0.5 * log_seen > -700 else 0.0
    sign = math.copysign(1.0, state.kappa)
    kappa = math.copysign(math.exp(log_k + 0.5 * log_q + log_of(abs(seen_slope))), sign * seen_slope)
    slope_pairs = field.channel.slope_pairs(log_q, c) if c.size else c
    x_pairs = field.correlations[1][i + 1] if c.size else c
    inner = state.noise_pairs + state.seen_pairs - along * x_pairs
    noise_pairs = through * slope_pairs * inner
    seen_pairs = seen * field.channel.seen_pairs(log_q, c) if c.size and seen > 0.0 else np.zeros_like(c)
    if field.skip:
        shrink = math.exp(0.5 * (log_q - next_q))
        state.hermite *= shrink**ORDERS
        own = sign * field.channel.seen_hermite(log_q) * math.exp(log_k)
        overlap = state.hermite * own
        state.noise, state.noise_pairs = state.noise + noise, state.noise_pairs + noise_pairs
        state.seen += 2.0 * float(overlap.sum()) + seen
        state.seen_pairs = state.seen_pairs + 2.0 * (c[:, None] ** ORDERS) @ overlap + seen_pairs
        state.kappa = state.kappa * shrink + kappa
        state.hermite += own
    else:
        state.noise, state.seen, state.kappa = noise, seen, kappa
        state.noise_pairs, state.seen_pairs = noise_pairs, seen_pairs


def _along(field: MeanField, i: int, state: _State, next_q: float) -> float:
    """(a kappa)^2 E (W x)^2 min(1, n_(l+1) / n_l): what an orthogonal W maps back onto x alone."""
    log_branch = field.law.log_in[i + 1] + field.log_p[i + 1]
    ratio = min(1.0, float(field.spec.layer_widths[i + 1]) / float(field.spec.fan_ins[i + 1]))
    return state.kappa**2 * math.exp(field.log_alpha2 + log_branch - next_q) * ratio
