"""The recursion of ``theory.aligned`` through residual blocks of two weight layers.

On the way down a block's cotangent first becomes that of the inner signal z, delta_m = alpha phi'(z) (k x + noise),
whose own alignment with z is met by the inner weights; then what those send back joins the stream. Source, validity
and notation as in ``theory.aligned``; checked against torch by tests/test_residual.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gradcore.theory.aligned import ORDERS, _State
from gradcore.theory.channel import DEAD, log_of

if TYPE_CHECKING:
    from gradcore.theory.two_layer import TwoLayerField

Array = np.ndarray


@dataclass
class _Part:
    """Second moments of one cotangent in units of the stream's scale: noise, seen part, kappa sqrt(q), and pairs."""

    noise: float
    seen: float
    kappa: float
    noise_pairs: Array
    seen_pairs: Array
    log_k: float = -math.inf  # ln of the factor on the channel's seen part f
    sign: float = 1.0


def aligned_blocks(
    field: TwoLayerField, log_end: float, share: float = 1.0, ratio_end: Array | None = None
) -> tuple[Array, Array]:
    """(log_g (L,), ratio (L, P)) as ``theory.aligned.aligned_backward`` gives them for blocks of one layer."""
    depth = field.spec.depth
    correlations = field.correlations[0] if field.spec.batch_size > 1 else np.empty((depth, 0))
    log_g, ratio = np.full(depth, -math.inf), np.zeros_like(correlations)
    end = correlations[-1] if ratio_end is None or not correlations.shape[1] else ratio_end + 0.0 * correlations[-1]
    state = _State(log_end, share, correlations[-1], end, True)
    log_g[-1], ratio[-1] = log_end, end
    above, inner = depth - 1, None  # index of the stream above, and the inner cotangent below it
    for i in range(depth - 2, -1, -1):
        if not math.isfinite(state.log_scale):
            break
        if field.inner[i]:
            inner = _sent(
                field,
                i,
                _Part(state.noise, state.seen, state.kappa, state.noise_pairs, state.seen_pairs),
                correlations[i],
            )
            total = inner.noise + inner.seen
            log_g[i] = state.log_scale + log_of(total)
            ratio[i] = (inner.noise_pairs + inner.seen_pairs) / total if total > 0 else 0.0
            continue
        source = inner or _Part(state.noise, state.seen, state.kappa, state.noise_pairs, state.seen_pairs)
        _join(field, i, above, state, _sent(field, i, source, correlations[i]), correlations[i])
        state.rescale()
        log_g[i], ratio[i] = state.log_scale, state.noise_pairs + state.seen_pairs
        above, inner = i, None
    return log_g, ratio if ratio.shape[1] else np.zeros((depth, 1))


def _sent(field: TwoLayerField, i: int, source: _Part, c: Array) -> _Part:
    """What the weights of layer index i + 1 send down, through the channel of layer index i."""
    log_factor, _, log_seen, seen_slope = (float(a[i]) for a in field.factors)
    a2 = 0.0 if field.inner[i + 1] else field.log_alpha2
    log_q, next_q = max(field.log_q[i], DEAD), max(field.log_q[i + 1], DEAD)
    log_k = log_of(abs(source.kappa)) - 0.5 * next_q + a2 + float(field.law.log_out[i + 1])
    along = 0.0
    if field.spec.init_entry.kind == "orthogonal":  # equal widths: what lies along W x goes back onto x alone
        along = source.kappa**2 * math.exp(a2 + field.law.log_in[i + 1] + field.log_p[i + 1] - next_q)
    through = math.exp(a2 + log_factor + float(field.law.log_out[i + 1]))
    sign = math.copysign(1.0, source.kappa)
    kappa = math.copysign(math.exp(log_k + 0.5 * log_q + log_of(abs(seen_slope))), sign * seen_slope)
    seen = math.exp(2.0 * log_k + log_seen) if log_k + 0.5 * log_seen > -700 else 0.0
    channel = field.channel_at(i)
    slope_pairs = channel.slope_pairs(log_q, c) if c.size else c
    x_pairs = field.correlations[1][i + 1] if c.size else c
    inner = source.noise_pairs + source.seen_pairs - along * x_pairs
    seen_pairs = seen * channel.seen_pairs(log_q, c) if c.size and seen > 0.0 else np.zeros_like(c)
    noise = through * max(source.noise + source.seen - along, 0.0)
    return _Part(noise, seen, kappa, through * slope_pairs * inner, seen_pairs, log_k, sign)


def _join(field: TwoLayerField, i: int, above: int, state: _State, part: _Part, c: Array) -> None:
    """Add what came down the branch to the stream's cotangent, seen parts by their Hermite coefficients."""
    log_q, next_q = max(field.log_q[i], DEAD), max(field.log_q[above], DEAD)
    shrink = math.exp(0.5 * (log_q - next_q))
    state.hermite *= shrink**ORDERS
    own = part.sign * field.channel.seen_hermite(log_q) * math.exp(part.log_k)
    overlap = state.hermite * own
    state.noise, state.noise_pairs = state.noise + part.noise, state.noise_pairs + part.noise_pairs
    state.seen += 2.0 * float(overlap.sum()) + part.seen
    state.seen_pairs = state.seen_pairs + 2.0 * (c[:, None] ** ORDERS) @ overlap + part.seen_pairs
    state.kappa = state.kappa * shrink + part.kappa
    state.hermite += own
