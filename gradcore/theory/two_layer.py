"""Residual blocks of two weight layers: h' = h + alpha (W2 phi(W1 u) + b), u = phi(norm(h)) or norm(phi(h)).

The stream stays Gaussian, so everything closes as for blocks of one layer, with a plain layer on the way: the inner
one, whose signal is z = W1 u, of second moment q_m = sigma_w^2 E u^2 (no bias), and whose cotangent is
delta_m = alpha phi'(z) W2^T delta'. Forward q' = q + alpha^2 (sigma_w^2 A(q_m) + sigma_b^2); an independent cotangent
gets D = D' (1 + alpha^2 v D2(q_m) v F(q)). A rest of one layer is a block of one.

Source: He et al. 2016 (v2) for the block, Yang & Schoenholz 2017 for the method. Infinite width, any norm over the
features; checked against torch by tests/test_residual.py.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gradcore.residual import inner_layers
from gradcore.theory.channel import DEAD, Backward, Channel, log_add
from gradcore.theory.gaussian import moments_of
from gradcore.theory.mean_field import MeanField

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray


class TwoLayerField(MeanField):
    """MeanField for residual "two_layer"; arrays (L,) hold the stream behind a block and the inner signal within."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.inner = inner_layers(spec.residual, spec.depth)

    @cached_property
    def plain(self) -> Channel:
        """The activation without a norm: what the inner layer's signal meets."""
        return Channel(self.spec, moments_of(self.spec.activation, self.spec.slope))

    def channel_at(self, i: int) -> Channel:
        """What acts on the signal of layer index i on its way up."""
        return self.plain if self.inner[i] else self.channel

    def below_block(self, i: int) -> int:
        """Index of the stream that layer index i > 0 is added to."""
        return i - 2 if self.inner[i - 1] else i - 1

    @cached_property
    def forward(self) -> tuple[Array, Array]:
        law, depth = self.law, self.spec.depth
        log_q, log_p = np.empty(depth), np.empty(depth)
        p = 2.0 * math.log(self.spec.input_rms)
        for i in range(depth):
            log_p[i] = p
            log_q[i] = log_add(law.log_in[i] + p, law.log_bias[i])
            if i and not self.inner[i]:
                log_q[i] = log_add(log_q[self.below_block(i)], self.log_alpha2 + log_q[i])
            p = self.channel_at(i).log_out(float(log_q[i]))
        return log_q, log_p

    @cached_property
    def correlations(self) -> tuple[Array, Array]:
        from gradcore.theory.inputs import input_correlations

        cx = input_correlations(self.spec)
        z, x = np.empty((self.spec.depth, cx.size)), np.empty((self.spec.depth, cx.size))
        for i in range(self.spec.depth):
            x[i] = cx
            z[i] = self._mixed(i, z, cx)
            cx = self.channel_at(i).out_pairs(max(self.log_q[i], DEAD), z[i])
        return z, x

    def _mixed(self, i: int, z: Array, cx: Array) -> Array:
        """Correlation of the signal of layer index i: branch, bias and the stream below in their shares."""
        log_q, law = self.log_q, self.law
        if log_q[i] == -math.inf:
            return np.ones_like(cx)
        joins = i > 0 and not self.inner[i]
        a2 = self.log_alpha2 if joins else 0.0
        c = math.exp(a2 + law.log_in[i] + self.log_p[i] - log_q[i]) * cx + math.exp(a2 + law.log_bias[i] - log_q[i])
        if joins:
            below = self.below_block(i)
            c = c + z[below] * math.exp(log_q[below] - log_q[i])
        return np.minimum(c, 1.0)

    # --- backward -------------------------------------------------------------------------------------------

    @cached_property
    def factors(self) -> tuple[Array, Array, Array, Array]:
        log_q = np.maximum(self.log_q, DEAD)
        both: list[Backward] = [self.channel.backward(log_q), self.plain.backward(log_q)]
        rows = [(b.log_factor, b.out_slope, b.log_seen, b.seen_slope) for b in both]
        f, s, e, k = (np.where(self.inner, inner, outer) for outer, inner in zip(*rows, strict=True))
        return f, s, e, k

    def through(self, i: int) -> float:
        """ln of the factor that the branch between layer indices i + 1 and i puts on a gradient's mean square."""
        a2 = 0.0 if self.inner[i + 1] else self.log_alpha2
        return a2 + float(self.law.log_out[i + 1]) + float(self.factors[0][i])

    @cached_property
    def chi(self) -> Array:
        """(L,) factor of the squared gradient norm from layer l + 1 to l; the last entry uses the last weights again.

        Within a block from the stream to the inner signal, and from there to the stream below, which the block's own
        stream joins: inf where the branch passes nothing to the inner layer.
        """
        out = np.empty(self.spec.depth)
        out[-1] = self.log_alpha2 + self.law.log_in[-1] + self.factors[0][-1]
        for i in range(self.spec.depth - 2, -1, -1):
            out[i] = self.through(i)
        log = out.copy()
        for i in np.flatnonzero(~self.inner):
            stream = -out[i + 1] if i + 1 < self.spec.depth and self.inner[i + 1] else 0.0
            log[i] = np.logaddexp(stream, out[i])
        with np.errstate(over="ignore"):
            return np.exp(log)

    @cached_property
    def chi_parallel(self) -> Array:
        """(L,) slope of the next signal's second moment with respect to this one, the stream beside an inner layer
        held; the last entry uses the last weights again."""
        joins = np.append(~self.inner[1:], True)
        following = np.append(self.law.log_in[1:], self.law.log_in[-1]) + np.where(joins, self.log_alpha2, 0.0)
        with np.errstate(over="ignore"):
            branch = np.exp(following) * self.factors[1]
        return np.where(joins & ~self.inner, 1.0 + branch, branch)

    def _independent(self, log_end: float, ratio_end: Array) -> tuple[Array, Array]:
        depth, z = self.spec.depth, self.correlations[0]
        log_g, ratio = np.full(depth, -math.inf), np.zeros((depth, ratio_end.size))
        log_g[-1], ratio[-1] = log_end, ratio_end
        paired = bool(ratio_end.any())
        if paired and ratio.shape[1] != z.shape[1]:
            ratio = np.broadcast_to(ratio, z.shape).copy()
        log_stream, r_stream = log_end, ratio[-1]
        for i in range(depth - 2, -1, -1):
            branch = log_g[i + 1] + self.through(i)
            r = ratio[i + 1]
            if paired:
                r = r * self.channel_at(i).slope_pairs(max(self.log_q[i], DEAD), z[i])
            if self.inner[i]:
                log_g[i], ratio[i] = branch, r
                continue
            total = log_add(log_stream, branch)
            if total > -math.inf:
                share = math.exp(branch - total)
                r_stream = (1.0 - share) * r_stream + share * r
            log_g[i], ratio[i] = total, r_stream
            log_stream = total
        return log_g, ratio

    def _aligned(self, log_end: float, share: float = 1.0, ratio_end: Array | None = None) -> tuple[Array, Array]:
        from gradcore.theory.aligned_blocks import aligned_blocks

        return aligned_blocks(self, log_end, share, ratio_end)

    @property
    def branch_scales(self) -> Array:
        """(L,) ln of what multiplies the mean square of a layer's parameter gradients: alpha^2 where it joins."""
        scales = np.where(self.inner, 0.0, self.log_alpha2)
        scales[0] = 0.0
        return scales

    @property
    def seen(self) -> tuple[Array, Array, Array]:
        """Std, correlation over samples and mean of what the activation of every layer sees, (L,) each."""
        log_q = np.maximum(self.log_q, DEAD)
        argument = np.where(self.inner, log_q, self.channel.argument(log_q))
        pairs = self.correlations[0]
        c = pairs.mean(axis=1) if pairs.shape[1] else np.zeros(self.spec.depth)
        shift = np.where(self.inner, 0.0, self.channel.moments.shift)
        return np.exp(0.5 * np.clip(argument, -600, 600)), c, shift

    @cached_property
    def saturated(self) -> Array:
        log_q = np.maximum(self.log_q, DEAD)
        normed = self.channel.moments.saturated(self.channel.argument(log_q))
        return np.where(self.inner, self.plain.moments.saturated(log_q), normed)
