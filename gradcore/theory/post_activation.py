"""Residual blocks whose activation lies behind the weights: h' = h + alpha x with z = W h + b, x = phi(norm(z)) or
norm(phi(z)).

z is a fresh Gaussian with q_z = sigma_w^2 q + sigma_b^2, but x has a mean over the units, and so has the stream:
q' = q + alpha^2 A(q_z) + 2 alpha m M(q_z), m' = m + alpha M(q_z). The cross term 2 alpha m M is what a sum of second
moments leaves out: He-ReLU, alpha = 1/sqrt(20), 20 blocks: q grows 48.4 times, not 2.65 times. An independent
cotangent gets D = D' (1 + alpha^2 v F(q_z)); W meets what arrives at z, alpha^2 F D'.

The stream is a Gaussian plus a sum of independent alpha x, not Gaussian itself: MSE and the softmax at its end are
sampled (``theory.particles``). Source: Yang & Schoenholz 2017 for the block; the cross term with a mean is ours.
Infinite width, any norm over the features; checked against torch by tests/test_residual.py.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gradcore.theory.channel import DEAD, NormAfter, log_add
from gradcore.theory.mean_field import MeanField, batch_share

if TYPE_CHECKING:
    from gradcore.theory.channel import Channel
    from gradcore.theory.particle_field import ParticleField

Array = np.ndarray
STEP = 1e-3  # of ln q, for the slope of a mean


def mean_ratio(channel: Channel, log_q: Array) -> Array:
    """E x / sqrt(E x^2) of the channel's output at an array of ln q."""
    log_q = np.maximum(np.asarray(log_q, dtype=float), DEAD)
    ratio = channel.moments.at(channel.argument(log_q)).mean_ratio
    if not isinstance(channel, NormAfter):
        return ratio
    log_out = np.array([channel.log_out(float(q)) for q in log_q.ravel()]).reshape(log_q.shape)
    if channel.centers:  # the mean over the units is beta by construction
        return channel.beta * np.exp(-0.5 * np.maximum(log_out, -1400.0)) if channel.beta else np.zeros_like(log_q)
    return np.sign(channel.gamma) * ratio


class PostActivationField(MeanField):
    """MeanField for residual "post_activation" without batch norm."""

    @cached_property
    def _stream(self) -> tuple[Array, Array, Array, Array, Array]:
        """log_q, log_p, ln q_z (layer 1: ln q), m / sqrt(q), and per layer (a, b, mean ratio of x): the stream below
        and alpha sqrt(E x^2) in units of the larger of both, (3, L)."""
        law, depth = self.law, self.spec.depth
        log_q, log_p, log_z, rho = (np.empty(depth) for _ in range(4))
        mix = np.zeros((3, depth))
        log_p[0] = 2.0 * math.log(self.spec.input_rms)
        log_q[0] = log_z[0] = log_add(law.log_in[0] + log_p[0], law.log_bias[0])
        rho[0] = 0.0
        sign = math.copysign(1.0, self.spec.alpha)
        for i in range(1, depth):
            log_p[i] = q = float(log_q[i - 1])
            log_z[i] = log_add(law.log_in[i] + q, law.log_bias[i])
            x = self.log_alpha2 + self.channel.log_out(float(log_z[i]))
            kappa = float(mean_ratio(self.channel, log_z[i : i + 1])[0])
            top = max(q, x)
            if top == -math.inf:
                log_q[i], rho[i], mix[:, i] = -math.inf, 0.0, (1.0, 0.0, 0.0)
                continue
            a, b = math.exp(0.5 * (q - top)), sign * math.exp(0.5 * (x - top))
            mean = a * rho[i - 1] + b * kappa  # squares of the mean and of what varies: nothing cancels below zero
            second = mean**2 + a * a * max(1.0 - rho[i - 1] ** 2, 0.0) + b * b * max(1.0 - kappa**2, 0.0)
            log_q[i] = top + (math.log(second) if second > 0.0 else -math.inf)
            rho[i] = mean / math.sqrt(second) if second > 0.0 else 0.0
            mix[:, i] = a, b, kappa
        return log_q, log_p, log_z, rho, mix

    @property
    def forward(self) -> tuple[Array, Array]:
        return self._stream[0], self._stream[1]

    @property
    def log_z(self) -> Array:
        """(L,) ln E (W h + b)^2 of every block; layer 1 has no block: its own signal."""
        return self._stream[2]

    @cached_property
    def correlations(self) -> tuple[Array, Array]:
        from gradcore.theory.inputs import input_correlations

        first, depth = input_correlations(self.spec), self.spec.depth
        log_q, _, _, rho, mix = self._stream
        stream, x = np.empty((depth, first.size)), np.empty((depth, first.size))
        x[0] = first
        for i in range(depth):
            if log_q[i] == -math.inf:
                stream[i] = 1.0
            elif i == 0:
                stream[0] = self._pre_correlation(0, first)
            else:
                a, b, kappa = mix[:, i]
                second = (a * rho[i - 1] + b * kappa) ** 2 + a * a * (1 - rho[i - 1] ** 2) + b * b * (1 - kappa**2)
                c_x = self.channel.out_pairs(max(self.log_z[i], DEAD), self._pre_correlation(i, stream[i - 1]))
                pair = a * a * stream[i - 1] + b * b * c_x + 2.0 * a * b * rho[i - 1] * kappa
                stream[i] = np.clip(pair / second, -1.0, 1.0)
            if i + 1 < depth:
                x[i + 1] = stream[i]
        return stream, x

    def _pre_correlation(self, i: int, c: Array) -> Array:
        """Correlation of W x + b of layer index i, where x has correlation c."""
        log_z = self.log_z[i]
        if log_z == -math.inf:
            return np.ones_like(c)
        weight = math.exp(self.law.log_in[i] + self.log_p[i] - log_z)
        return np.minimum(weight * c + math.exp(self.law.log_bias[i] - log_z), 1.0)

    # --- backward -------------------------------------------------------------------------------------------

    @cached_property
    def _next_z(self) -> Array:
        """(L,) ln q_z of the block above every layer; the last takes the last weights again."""
        last = log_add(self.law.log_in[-1] + self.log_q[-1], self.law.log_bias[-1])
        return np.maximum(np.append(self.log_z[1:], last), DEAD)

    @cached_property
    def factors(self) -> tuple[Array, Array, Array, Array]:
        """``factors`` of the block above every layer, (L,) each."""
        b = self.channel.backward(self._next_z)
        return b.log_factor, b.out_slope, b.log_seen, b.seen_slope

    @cached_property
    def chi(self) -> Array:
        following = np.append(self.law.log_out[1:], self.law.log_in[-1])
        with np.errstate(over="ignore"):
            return 1.0 + np.exp(self.log_alpha2 + following + self.factors[0])

    @cached_property
    def log_step(self) -> Array:
        return np.logaddexp(0.0, self.log_alpha2 + self.law.log_out[1:] + self.factors[0][:-1])

    @cached_property
    def chi_parallel(self) -> Array:
        """(L,) slope dq'/dq at the stream's mean m: 1 + sigma_w^2 (alpha^2 dE x^2/dq_z + 2 alpha m dE x/dq_z)."""
        return 1.0 + self.slopes[0] + self.slopes[1]

    @cached_property
    def slopes(self) -> tuple[Array, Array]:
        """The second and third part of ``chi_parallel``, (L,) each."""
        following = np.append(self.law.log_in[1:], self.law.log_in[-1])
        z, m = self._next_z, self._stream[3]
        ends = []
        for at in (z + STEP, z - STEP):
            log_out = np.array([self.channel.log_out(float(q)) for q in at])
            ends.append(mean_ratio(self.channel, at) * np.exp(0.5 * np.clip(log_out, -1400.0, 1400.0)))
        with np.errstate(over="ignore", invalid="ignore"):
            slope = np.exp(self.log_alpha2 + following) * self.factors[1]
            cross = np.exp(0.5 * np.maximum(self.log_q, -1400.0) + following - z) * (ends[0] - ends[1]) / STEP
            cross = math.copysign(math.exp(0.5 * self.log_alpha2), self.spec.alpha) * m * cross
        return slope, np.nan_to_num(cross, posinf=0.0, neginf=0.0)

    @cached_property
    def backward(self) -> tuple[Array, Array]:
        if not self.sampled:
            return super().backward
        log_g, ratio = self.particles.backward
        return log_g + self._exactly, ratio

    @property
    def _exactly(self) -> float:
        """What the sampled output of MSE lies below the exact one."""
        if self.spec.loss != "mse" or self.log_q[-1] == -math.inf or self.particles.log_q[-1] == -math.inf:
            return 0.0
        return float(self.log_q[-1] - self.particles.log_q[-1])

    @cached_property
    def particles(self) -> ParticleField:
        """The sampled population, for cotangents that know the output."""
        from gradcore.theory.particle_field import ParticleField

        return ParticleField(self.spec)

    def _pair_backward(self, ratio: Array) -> None:
        for i in range(self.spec.depth - 2, -1, -1):
            part = -math.expm1(-self.log_step[i])
            ratio[i] = (1.0 - part) * ratio[i + 1] + part * self._at_weights(i + 1, ratio[i + 1])

    def _at_weights(self, i: int, ratio: Array) -> Array:
        """Correlations of the cotangents at W h + b of layer index i > 0, from those of its stream."""
        c = self._pre_correlation(i, self.correlations[1][i])
        return ratio * self.channel.slope_pairs(max(self.log_z[i], DEAD), c)

    @cached_property
    def parameter_gradients(self) -> tuple[Array, Array]:
        if self.sampled:
            log_dw, log_db = self.particles.parameter_gradients
            return log_dw + self._exactly, log_db + self._exactly
        log_g, ratio = self.backward
        b, depth = self.spec.batch_size, self.spec.depth
        pair_w, pair_b = np.zeros(depth), np.zeros(depth)
        if b > 1 and ratio.any():
            for i in range(depth):
                r = self._at_weights(i, ratio[i]) if i else ratio[0]
                pair_w[i], pair_b[i] = (r * self.correlations[1][i]).mean(), r.mean()
        scale = np.concatenate([[0.0], self.log_alpha2 + self.factors[0][:-1]])
        with np.errstate(divide="ignore"):
            share_w, share_b = np.log(batch_share(pair_w, b)), np.log(batch_share(pair_b, b))
        return log_g + self.log_p + share_w + scale, log_g + share_b + scale

    @property
    def aligned_quantities(self) -> dict[str, Array] | None:
        """log_g, log_dw, log_db with the aligned part of a cross-entropy cotangent; None for other losses."""
        return self.particles.aligned_quantities

    def mixing(self, i: int) -> tuple[float, float]:
        """m / sqrt(q) of the stream below layer index i > 0, and E x / sqrt(E x^2) of what the block adds."""
        return float(self._stream[3][i - 1]), float(self._stream[4][2, i])

    @property
    def sampled(self) -> bool:
        """Whether particles stand behind log_g."""
        return self.spec.loss != "random" and self.spec.depth > 1

    @property
    def seen(self) -> tuple[Array, Array, Array]:
        """Std, correlation over samples and mean of what the activation of every layer sees, (L,) each."""
        argument = self.channel.argument(np.maximum(self.log_z, DEAD))
        pairs = [self._pre_correlation(i, x) for i, x in enumerate(self.correlations[1])]
        c = np.array([p.mean() if p.size else 0.0 for p in pairs])
        return np.exp(0.5 * np.clip(argument, -600, 600)), c, np.full(c.shape, self.channel.moments.shift)

    @cached_property
    def saturated(self) -> Array:
        return self.channel.moments.saturated(self.channel.argument(np.maximum(self.log_z, DEAD)))
