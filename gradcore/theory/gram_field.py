"""Batch norm on a batch whose samples are not alike (digits): the whole Gram matrices of signal and cotangent.

Given its B x B covariance, a pre-activation is Gaussian over units; the next covariance is the mean over units of what
the unit (norm and activation) makes of it, taken over sampled units whose first and second moments are exact.
Backwards W^T delta is a part along x, where delta knows the output, and Gaussian noise of covariance n Var(W) E delta
delta^T (conditioning), sent through the units' own Jacobians. MSE on a residual stream, whose cotangent depends on the
stream's history, is followed by ``theory.batch_particles``; more samples than are followed: ``theory.batch_rows``.

Validity: infinite width, B >= 4, eps > 0. Sampled and seeded: log_q within 0.5%, log_g about 1% over 20 layers.
Source: Yang et al. 2019 for the steady state; the transient of any batch by this recursion. Checked against torch
by tests/test_gram_field.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gradcore.normalization import NORMALIZATIONS, normalize
from gradcore.theory.batch_rows import Sharing, chosen, grown, kept_mean, over_batch, projected, sizes
from gradcore.theory.channel import log_add, log_of
from gradcore.theory.inputs import digits_batch
from gradcore.theory.loss import output_cotangent
from gradcore.theory.mean_field import MeanField

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray
DIRECTIONS = 24  # of a cotangent's covariance, up to which each is sent back by itself
DRAWS = 8  # for each unit, beyond
LARGEST = 600.0  # of ln q, beyond which an activation before the norm sees a clipped signal


@dataclass(frozen=True)
class Gram:
    """exp(log) * hat, a covariance over the batch whose diagonal has mean 1 (or is 0)."""

    log: float
    hat: Array

    @classmethod
    def of(cls, log: float, matrix: Array) -> Gram:
        """Normalized."""
        mean = float(np.trace(matrix)) / len(matrix)
        return cls(log + math.log(mean), matrix / mean) if mean > 0.0 else cls(-math.inf, matrix * 0.0)

    def plus(self, other: Gram, log_factor: float = 0.0) -> Gram:
        """self + exp(log_factor) * other."""
        logs = self.log, other.log + log_factor
        top = max(logs)
        if top == -math.inf:
            return self
        return Gram.of(top, math.exp(logs[0] - top) * self.hat + math.exp(logs[1] - top) * other.hat)

    @property
    def pairs(self) -> Array:
        """(P,) correlations of the pairs of samples."""
        size = np.sqrt(np.maximum(np.diag(self.hat), 1e-300))
        return np.clip(_above(self.hat / np.outer(size, size)), -1.0, 1.0)


def _above(matrix: Array) -> Array:
    """(P,) entries above the diagonal."""
    return matrix[np.triu_indices(len(matrix), 1)]


def _root(matrix: Array) -> Array:
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(np.maximum(values, 0.0))


class GramField(MeanField):
    """``MeanField`` for batch norm on a batch of unequal samples, without residuals or with identity ones."""

    sampled = True

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self._rows, self._units = sizes(spec, 1)

    @property
    def followed(self) -> int:
        """How many samples of the batch are followed."""
        return self._rows

    @cached_property
    def _input(self) -> Array:
        """(M, 64) the samples that are followed."""
        spec = self.spec
        return digits_batch(spec.batch_size, spec.input_rms)[chosen(spec.batch_size, self._rows)]

    def _grown(self, logs: Array) -> Array:
        """ln of the gradient in the whole batch from that in the samples that are followed."""
        last = self._pass[0][-1]
        return logs + grown(self.spec, self._rows, last.log, float(last.pairs.mean()), logs)

    def _draw(self, rng: np.random.Generator) -> Array:
        """(B, N) standard normals with exactly mean 0 and covariance 1."""
        b = self._rows
        half = rng.standard_normal((b, self._units // 2))
        g = np.hstack([half, -half])
        values, vectors = np.linalg.eigh(g @ g.T / self._units)
        return (vectors / np.sqrt(values)) @ vectors.T @ g

    def _unit(self, q: Gram, z: Array):
        """(x, pullback from x to the signal, slopes) at z in units of exp(q.log / 2)."""
        spec, entry = self.spec, self.spec.activation_entry
        log = min(max(q.log, -LARGEST), LARGEST)
        norm, size = NORMALIZATIONS[spec.norm], math.exp(0.5 * log)
        if spec.norm_position == "after":
            slope = entry.derivative(size * z, spec.slope)
            out, pull = normalize(
                norm, entry.value(size * z, spec.slope), spec.norm_gamma, spec.norm_beta, spec.norm_eps
            )
            return out, lambda d: slope * pull(d), slope
        # the norm of z, with eps in z's own units; its pullback is to z in those units
        y, pull = normalize(norm, z, spec.norm_gamma, spec.norm_beta, spec.norm_eps * math.exp(-log))
        slope = entry.derivative(y, spec.slope)
        return entry.value(y, spec.slope), lambda d: pull(slope * d) / size, slope

    # --- forward --------------------------------------------------------------------------------------------

    @cached_property
    def _pass(self) -> tuple[list[Gram], list[Gram], list[Array]]:
        """(of z^l, of what W^l multiplies, the units' z^l)."""
        spec, law, rng = self.spec, self.law, np.random.default_rng(0)
        x = self._input
        p = Gram.of(0.0, x @ x.T / x.shape[1])
        ones = np.ones((self._rows, self._rows))
        signals, inputs, fields = [], [], []
        q: Gram | None = None
        for i in range(spec.depth):
            inputs.append(p)
            branch = Gram(float(law.log_in[i]) + p.log, p.hat).plus(Gram(float(law.log_bias[i]), ones))
            q = branch if q is None or not self.skip else q.plus(branch, self.log_alpha2)
            z = _root(q.hat) @ self._draw(rng)
            signals.append(q)
            fields.append(z)
            out = self._unit(q, z)[0]
            p = Gram.of(0.0, out @ out.T / self._units)
        return signals, inputs, fields

    @cached_property
    def forward(self) -> tuple[Array, Array]:
        signals, inputs, _ = self._pass
        return np.array([g.log for g in signals]), np.array([g.log for g in inputs])

    @cached_property
    def correlations(self) -> tuple[Array, Array]:
        signals, inputs, _ = self._pass
        return np.array([g.pairs for g in signals]), np.array([g.pairs for g in inputs])

    # --- backward -------------------------------------------------------------------------------------------

    def _end(self) -> tuple[Gram, Array | None]:
        """(covariance of delta^L, E delta z^T in units of both, where it knows the output)."""
        spec, b = self.spec, self._rows
        last = self._pass[0][-1]
        log, pairs, _ = output_cotangent(spec, last.log, lambda: last.pairs)
        if spec.loss == "mse":
            return Gram(log, last.hat), last.hat
        matrix = np.eye(b)
        rows, columns = np.triu_indices(b, 1)
        matrix[rows, columns] = matrix[columns, rows] = pairs
        return Gram(log, matrix), None

    def _sent_back(self, end: Gram, known: Array | None) -> list[Gram]:
        """Covariances of delta^1 .. delta^L."""
        signals, inputs, fields = self._pass
        rng, depth = np.random.default_rng(1), self.spec.depth
        found = [end]
        delta = end
        for i in range(depth - 2, -1, -1):
            x, pull, _ = self._unit(signals[i], fields[i])
            noise, log_noise = delta.hat, delta.log + float(self.law.log_out[i + 1])
            if self.skip:
                log_noise += self.log_alpha2
            total = np.zeros_like(noise)
            if known is not None:
                # W^T delta = n Var(W) E[delta z^T] K^-1 x and the rest; all in units of exp(log_noise / 2)
                above = signals[i + 1]
                if -math.inf in (above.log, delta.log):  # nothing goes back, and nothing is known of it
                    known, above = 0.0 * known, Gram(0.0, above.hat)
                regress = known @ np.linalg.pinv(above.hat, rcond=1e-12, hermitian=True)
                log_along = float(self.law.log_out[i + 1]) - above.log
                along = pull(math.exp(0.5 * log_along) * (regress @ x))
                total = along @ along.T / self._units
                if self.spec.init_entry.kind == "orthogonal":
                    share = math.exp(float(self.law.log_in[i + 1]) + inputs[i + 1].log - above.log)
                    noise = noise - share * regress @ inputs[i + 1].hat @ regress.T
            total = total + self._through(pull, noise, rng)
            new = Gram.of(log_noise, total)
            if known is not None:
                size = math.exp(0.5 * (log_noise - new.log)) if new.log > -math.inf else 0.0
                known = along @ fields[i].T / self._units * size
            delta = delta.plus(new) if self.skip else new
            found.append(delta)
        return found[::-1]

    def _through(self, pull, covariance: Array, rng: np.random.Generator) -> Array:
        """Mean over units of J^T covariance J: direction by direction, or of a few draws for each unit."""
        root = _root(covariance)
        b = len(root)
        if b <= DIRECTIONS:
            sent = (np.broadcast_to(column[:, None], (b, self._units)) for column in root.T)
        else:
            sent = (root @ self._draw(rng) / math.sqrt(DRAWS) for _ in range(DRAWS))
        total = np.zeros((b, b))
        for field in sent:
            back = pull(field)
            total += back @ back.T / self._units
        return total

    @cached_property
    def _cotangents(self) -> list[Gram]:
        return self._sent_back(*self._end())

    @property
    def log_g(self) -> Array:
        """ln E delta^2."""
        return self._grown(np.array([g.log for g in self._cotangents]))

    @cached_property
    def _apart(self) -> Array:
        """(L,) what batch norms alone make of noise (``batch_rows.Sharing``), which most of cross-entropy's is."""
        if self.spec.loss != "cross_entropy" or self._rows == self.spec.batch_size:
            return np.zeros(self.spec.depth)
        noise = self._sent_back(Gram(0.0, np.eye(self._rows)), None)
        return np.array([projected(d.hat, p.hat) for d, p in zip(noise, self._pass[1], strict=True)])

    @cached_property
    def parameter_gradients(self) -> tuple[Array, Array]:
        """ln of the mean square entry of dC/dW^l and dC/db^l."""
        b, rows, inputs = self.spec.batch_size, self._rows, self._pass[1]
        log_dw, log_db = np.full(self.spec.depth, -math.inf), np.full(self.spec.depth, -math.inf)
        kept = kept_mean(self.spec, rows, float(_above(self._cotangents[-1].hat).mean()))
        for i, (delta, p, log) in enumerate(zip(self._cotangents, inputs, self.log_g, strict=True)):
            scale = self.log_alpha2 if self.skip and i else 0.0
            for logs, weights, log_x in ((log_dw, p.hat, p.log), (log_db, np.ones((rows, rows)), 0.0)):
                apart = self._apart[i] if logs is log_dw else 0.0
                share = over_batch(delta.hat, weights, b, Sharing(self.spec.loss == "random", kept, apart))
                if share > 1e-12 / b:  # else zero: a batch norm takes off what all samples share
                    logs[i] = log + log_x + math.log(share) + scale
        return log_dw, log_db

    # --- factors of a layer ---------------------------------------------------------------------------------

    @cached_property
    def chi(self) -> Array:
        """(L,) factor of the squared gradient norm for a cotangent that is independent of the signal and sums to zero
        over the batch; the last entry repeats the one before it."""
        b, widths = self._rows, self.spec.layer_widths.astype(float)
        contrast = Gram.of(0.0, np.eye(b) - 1.0 / b)
        logs = self._grown(np.array([g.log for g in self._sent_back(contrast, None)])) + np.log(widths)
        with np.errstate(invalid="ignore", over="ignore"):
            factors = np.exp(logs[:-1] - logs[1:])
        return np.append(factors, factors[-1:] if factors.size else [1.0])

    @cached_property
    def chi_parallel(self) -> Array:
        """(L,) slope of the next signal's second moment with this one's, by central differences on the same units."""
        signals, _, fields = self._pass
        out, step = np.zeros(self.spec.depth), 1e-3
        for i, (q, z) in enumerate(zip(signals, fields, strict=True)):
            at = min(i + 1, self.spec.depth - 1)
            ends = []
            for s in (step, -step):
                x = self._unit(Gram(q.log + s, q.hat), z)[0]
                size = log_of(float(np.mean(x * x)))
                branch = log_add(float(self.law.log_in[at]) + size, float(self.law.log_bias[at]))
                ends.append(log_add(q.log + s, self.log_alpha2 + branch) if self.skip else branch)
            if -math.inf in (q.log, *ends):
                continue
            middle = 0.5 * (ends[0] + ends[1])
            out[i] = math.exp(min(middle - q.log, 700.0)) * (ends[0] - ends[1]) / (2.0 * step)
        return out

    # --- shares ---------------------------------------------------------------------------------------------

    @cached_property
    def _slopes(self) -> list[Array]:
        return [self._unit(q, z)[2] for q, z in zip(self._pass[0], self._pass[2], strict=True)]

    @cached_property
    def saturated(self) -> Array:
        largest = float(np.abs(self.channel.moments.derivative(np.linspace(-40.0, 40.0, 8001))).max())
        return np.array([float(np.mean(np.abs(s) < 0.05 * largest)) for s in self._slopes])

    @cached_property
    def dead_counted(self) -> Array:
        """(L,) share of units with slope 0 on the whole batch."""
        return np.array([float(np.mean((s == 0.0).all(axis=0))) for s in self._slopes])

    @property
    def seen(self) -> bool:
        """Units are counted, not integrated (``theory.shares``)."""
        return True

    @property
    def aligned_quantities(self) -> None:
        """No finite-width part is known here."""
        return None
