"""The infinite-width recursion through the layers: signal, correlation between samples, gradient.

Forward (Poole et al. 2016):   q' = sigma_b^2 + fan_in Var(W) E x^2, for residuals q' = q + alpha^2 (...).
Correlation (same source):     E z_a z_b by the pair moments, for every pair of samples of the batch.
Backward (Schoenholz et al. 2017): D = fan_out Var(W) F D', for residuals D = D' (1 + alpha^2 n Var(W) F).
A cotangent that is correlated with the output (MSE) keeps a part kappa x of W^T delta that is not
random (Gaussian conditioning; checked against torch in tests/test_losses.py); it is carried beside the random part.

All arrays have shape (L,), l = 1..L at index l - 1, natural logs, second moments, float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gradcore.theory.channel import DEAD, Channel, channel_of, log_add, log_of
from gradcore.theory.critical import bias_variances, resolve_gain, weight_variances
from gradcore.theory.inputs import input_correlations
from gradcore.theory.loss import aligned_share, output_cotangent

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray
SETTLED = 1e-14


@dataclass(frozen=True)
class Law:
    """The weights' and biases' law of every layer, each (L,): ln(fan_in Var W), ln(fan_out Var W), ln Var b."""

    log_in: Array
    log_out: Array
    log_bias: Array
    origin: str
    sigma_w: Array

    @classmethod
    def of(cls, spec: Spec) -> Law:
        """The law that a Spec's initializer, gain and bias give."""
        gain = resolve_gain(spec)
        with np.errstate(divide="ignore"):
            log_var = np.log(weight_variances(spec, gain))
            log_in = log_var + np.log(spec.fan_ins)
            log_bias = np.log(bias_variances(spec))
        return cls(log_in, log_var + np.log(spec.layer_widths), log_bias, gain.origin, np.exp(0.5 * log_in))


def batch_share(pairs: Array, b: int) -> Array:
    """(1 + (B-1) mean pair product) / B; exactly 0 where the samples cancel, as biases below a batch norm do."""
    share = (1.0 + (b - 1) * pairs) / b
    return np.where(share < 1e-12 / b, 0.0, share)


class MeanField:
    """The recursion for one Spec with random weights and a per-sample norm; parts are computed on first use."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.law = Law.of(spec)
        self.origin = self.law.origin
        self.skip = spec.residual != "none"
        self.log_alpha2 = 2.0 * log_of(abs(spec.alpha)) if self.skip else 0.0

    @cached_property
    def channel(self) -> Channel:
        """The activation with its norm."""
        return channel_of(self.spec)

    # --- forward --------------------------------------------------------------------------------------------

    @cached_property
    def forward(self) -> tuple[Array, Array]:
        """(log_q, log_p)."""
        law, depth = self.law, self.spec.depth
        log_q, log_p = np.empty(depth), np.empty(depth)
        p = 2.0 * math.log(self.spec.input_rms)
        q = -math.inf
        log_in, log_bias = law.log_in.tolist(), law.log_bias.tolist()
        alike = 2 if not isinstance(self.spec.width, tuple) and not self.skip else depth
        for i in range(depth):
            log_p[i], before = p, q
            branch = log_add(log_in[i] + p, log_bias[i])
            q = log_add(q, self.log_alpha2 + branch) if (self.skip and i) else branch
            log_q[i] = q
            if i >= alike and abs(q - before) <= 2e-16 * abs(q):  # a step of rounding: it stands still
                log_q[i:], log_p[i + 1 :] = q, p
                break
            p = self.channel.log_out(q)
        return log_q, log_p

    @property
    def log_q(self) -> Array:
        """ln E z^2."""
        return self.forward[0]

    @property
    def log_p(self) -> Array:
        """ln E (x^(l-1))^2."""
        return self.forward[1]

    @cached_property
    def correlations(self) -> tuple[Array, Array]:
        """(z, x): correlations of z^l and of x^(l-1), each (L, P) over the pairs of samples."""
        first, depth = input_correlations(self.spec), self.spec.depth
        z, x = np.empty((depth, first.size)), np.empty((depth, first.size))
        log_q = np.maximum(self.log_q, DEAD)
        self.channel.follow(log_q)
        weight, bias, stream = (share.tolist() for share in self._shares)
        single, still = first.size == 1, self._still
        out, least = (self.channel.out_pair, min) if single else (self.channel.out_pairs, np.minimum)
        c = cx = float(first[0]) if single else first
        for i, at in enumerate(log_q.tolist()):
            x[i], before = cx, c
            c = least(weight[i] * cx + bias[i] + stream[i] * c, 1.0)
            z[i] = c
            if i >= still and np.all(np.abs(c - before) < SETTLED):
                x[i + 1 :], z[i + 1 :] = out(at, c), c
                break
            if i + 1 < depth:
                cx = out(at, c)
        return z, x

    @property
    def _shares(self) -> tuple[Array, Array, Array]:
        """Shares of every layer's q, (L,) each: of the weights' part, the biases' and the stream's below. A signal of 0
        counts as all bias: equal for all samples."""
        log_q, law, alive = self.log_q, self.law, np.isfinite(self.log_q)
        a2 = np.full(log_q.shape, self.log_alpha2 if self.skip else 0.0)
        a2[0] = 0.0
        below = np.append(-math.inf, log_q[:-1]) if self.skip else np.full(log_q.shape, -math.inf)
        at = np.where(alive, log_q, 0.0)
        weight, bias, stream = (np.exp(part - at) for part in (a2 + law.log_in + self.log_p, a2 + law.log_bias, below))
        return np.where(alive, weight, 0.0), np.where(alive, bias, 1.0), np.where(alive, stream, 0.0)

    @property
    def _still(self) -> int:
        """First layer index, 2 at least, from which on the signal stands still; the depth where it never does."""
        if self.skip or isinstance(self.spec.width, tuple) or not math.isfinite(self.log_q[-1]):
            return self.spec.depth
        rest = self.log_q[::-1]
        spread = np.maximum.accumulate(rest) - np.minimum.accumulate(rest)
        return max(2, self.spec.depth - int(np.searchsorted(spread, SETTLED)))

    # --- backward -------------------------------------------------------------------------------------------

    @cached_property
    def factors(self) -> tuple[Array, Array, Array, Array]:
        """ln F, dE x^2/dq, ln E f^2, E[z f]/q at every layer (theory.channel.Backward)."""
        b = self.channel.backward(np.maximum(self.log_q, DEAD))
        return b.log_factor, b.out_slope, b.log_seen, b.seen_slope

    @cached_property
    def log_step(self) -> Array:
        """(L-1,) ln of the factor from E[(delta^(l+1))^2] to E[(delta^l)^2], independent cotangent."""
        plain = self.law.log_out[1:] + self.factors[0][:-1]
        return np.logaddexp(0.0, self.log_alpha2 + plain) if self.skip else plain

    @cached_property
    def chi(self) -> Array:
        """(L,) factor of the total squared gradient norm per layer; the last entry uses the last weights again."""
        following = np.append(self.law.log_in[1:], self.law.log_in[-1])
        with np.errstate(over="ignore"):
            plain = np.exp(following + self.factors[0])
            return 1.0 + math.exp(self.log_alpha2) * plain if self.skip else plain

    @cached_property
    def chi_parallel(self) -> Array:
        """(L,) slope dq^(l+1)/dq^l of the variance map; the last entry uses the last weights again."""
        following = np.append(self.law.log_in[1:], self.law.log_in[-1])
        with np.errstate(over="ignore"):
            plain = np.exp(following) * self.factors[1]
            return 1.0 + math.exp(self.log_alpha2) * plain if self.skip else plain

    @cached_property
    def backward(self) -> tuple[Array, Array]:
        """(log_g, ratio): ln E delta^2 and E[delta_a delta_b] / E delta^2 for every pair (L, P)."""
        log_end, ratio_end, aligned = output_cotangent(self.spec, self.log_q[-1], lambda: self.correlations[0][-1])
        return self._aligned(log_end) if aligned else self._independent(log_end, ratio_end)

    def _aligned(self, log_end: float, share: float = 1.0, ratio_end: Array | None = None) -> tuple[Array, Array]:
        """(log_g, ratio) for a cotangent of which this share lies along the output."""
        from gradcore.theory.aligned import aligned_backward

        return aligned_backward(self, log_end, share, ratio_end)

    def _independent(self, log_end: float, ratio_end: Array) -> tuple[Array, Array]:
        """(log_g, ratio) for a cotangent that knows nothing of the output."""
        depth = self.spec.depth
        with np.errstate(invalid="ignore"):
            log_g = log_end + np.append(np.cumsum(self.log_step[::-1])[::-1], 0.0)
        ratio = np.zeros((depth, ratio_end.size))
        ratio[-1] = ratio_end
        if ratio_end.any():
            self._pair_backward(ratio)
        return log_g, ratio

    def _pair_backward(self, ratio: Array) -> None:
        """Fill the cotangents' correlations downwards in place."""
        z = self.correlations[0][:-1]
        shrink = self.channel.slope_pairs_along(np.maximum(self.log_q[:-1], DEAD), z)
        if self.skip:
            part = -np.expm1(-self.log_step)[:, None]  # the branch's share of 1 + alpha^2 n Var F
            shrink = 1.0 - part + part * shrink
        ratio[:-1] = ratio[-1] * np.cumprod(shrink[::-1], axis=0)[::-1]

    @property
    def log_g(self) -> Array:
        """ln E delta^2."""
        return self.backward[0]

    @cached_property
    def parameter_gradients(self) -> tuple[Array, Array]:
        """(log_dw, log_db): ln of the mean square entry of dC/dW and dC/db, C the mean over the batch.

        E[(dC/dW)^2] = (1/B^2) sum_ab E[delta_a delta_b] E[x_a x_b]: equal samples do not average out.
        """
        return self._parameter_gradients(*self.backward)

    @cached_property
    def aligned_quantities(self) -> dict[str, Array] | None:
        """log_g, log_dw, log_db with the part of a cross-entropy cotangent that is aligned with the output.

        A finite-width effect of order q / n a layer (times B in the bias gradient of correlated samples); None for
        other losses.
        """
        if self.spec.loss != "cross_entropy":
            return None
        log_g, ratio = self.backward
        share = aligned_share(self.spec, self.log_q[-1])
        if share == 0.0 or not np.all(np.isfinite(log_g)):
            return None
        ends = ratio[-1] if self.spec.batch_size > 1 else None
        aligned = self._aligned(float(log_g[-1]), share, ends)
        log_dw, log_db = self._parameter_gradients(*aligned)
        return {"log_g": aligned[0], "log_dw": log_dw, "log_db": log_db}

    @property
    def branch_scales(self) -> Array:
        """(L,) ln of what multiplies the mean square of a layer's parameter gradients: alpha^2 on a branch."""
        scales = np.full(self.spec.depth, self.log_alpha2)
        scales[0] = 0.0
        return scales

    def _parameter_gradients(self, log_g: Array, ratio: Array) -> tuple[Array, Array]:
        b = self.spec.batch_size
        if b == 1 or not ratio.any():
            pair_w = pair_b = np.zeros(self.spec.depth)
        else:
            pair_w, pair_b = (ratio * self.correlations[1]).mean(axis=1), ratio.mean(axis=1)
        branch = self.branch_scales
        with np.errstate(divide="ignore"):
            share_w, share_b = np.log(batch_share(pair_w, b)), np.log(batch_share(pair_b, b))
        return log_g + self.log_p + share_w + branch, log_g + share_b + branch

    @cached_property
    def saturated(self) -> Array:
        """(L,) share of units and samples with abs(phi') < 0.05 of its maximum."""
        return self.channel.moments.saturated(self.channel.argument(np.maximum(self.log_q, DEAD)))
