"""Sampled units through residual blocks with batch norm where the samples of the batch are not alike (digits).

As ``theory.particles``, with whole B x B covariances in the place of one correlation for all pairs: a field z = W x + b
is drawn with exactly the covariance that x has over the sampled units, and W^T t with that of t. Covariances are kept
as factors R, R R^T = K, from a QR decomposition of the units themselves: small differences between samples keep their
digits, which squares would lose. A part of t that is a function of the unit's signals is sent back as n Var(W) A x
with A = E[t z^T] K^-1 (``theory.gram_field``).

Seeded. Errors: see ``UnlikeParticles``. Checked against torch, and against the law of equal correlations, by
tests/test_batch_particles.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gradcore.theory.batch_rows import Sharing, chosen, grown, kept_mean, over_batch, projected, sizes
from gradcore.theory.channel import log_add
from gradcore.theory.cotangents import Drawn, Weights
from gradcore.theory.inputs import digits_batch
from gradcore.theory.particle_field import ParticleField
from gradcore.theory.particles import Particles
from gradcore.theory.units import Signal

if TYPE_CHECKING:
    from gradcore.spec import Spec
    from gradcore.theory.mean_field import Law

Array = np.ndarray
REGRESSED = 64  # units for each free direction of a cotangent's dependence on the signal
FREE = 4  # units for each direction that a fresh field is kept clear of


def factor(*parts: Array) -> Array:
    """(B, R) with R R^T the sum of a a^T over the parts (B, N), R at most B."""
    whole = np.hstack(parts)
    if whole.shape[1] <= whole.shape[0]:
        return whole
    return np.transpose(np.asarray(np.linalg.qr(whole.T, mode="r")))


def modes(root: Array) -> tuple[Array, Array]:
    """A factor's part in the mean over the batch, (R,), and in the contrasts, (B, R)."""
    mean = root.mean(axis=0)
    return mean, root - mean


def pairs_of(matrix: Array, correlations: bool = True) -> Array:
    """(P,) entries of a covariance above the diagonal, as correlations or as they are."""
    rows, columns = np.triu_indices(len(matrix), 1)
    if correlations:
        size = np.sqrt(np.maximum(np.diag(matrix), 1e-300))
        return np.clip((matrix / np.outer(size, size))[rows, columns], -1.0, 1.0)
    return matrix[rows, columns]


def aligned(t: Array, z: Array) -> Array:
    """A = E[t z^T] K^-1 of (B, N) units, the mean of t over the batch and its contrasts apart (where t sums to zero
    over the batch, so does A)."""
    mean = t.mean(axis=0, keepdims=True)
    apart = _regress(t - mean, z)
    together = _regress(np.broadcast_to(mean, t.shape), z)
    return apart - apart.mean(axis=0) + together.mean(axis=0)


def _regress(t: Array, z: Array) -> Array:
    """A, where units are few for each sample, with free columns for the largest eigenvectors of K alone; beyond them
    t_a depends on z_a alone. A free A would follow the scatter of the units, by B / N of E t^2."""
    units = z.shape[1]
    values, vectors = np.linalg.eigh(z @ z.T / units)
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = values > 1e-13 * values[0]
    values, vectors = values[kept], vectors[:, kept]
    modes = vectors / np.sqrt(values)
    known = (t @ z.T / units) @ modes  # E[t m], m the modes of z with variance 1
    own = vectors * np.sqrt(values)  # E[z m]
    few = max(1, units // REGRESSED)
    size = np.sum(own[:, few:] ** 2, axis=1, keepdims=True)
    slope = np.sum(known[:, few:] * own[:, few:], axis=1, keepdims=True) / np.maximum(size, 1e-300)
    known[:, few:] = slope * own[:, few:]
    return known @ modes.T


@dataclass(frozen=True)
class Unlike(Drawn):
    """A drawn cotangent whose covariance over the batch has no symmetry; ``kept`` as of ``batch_rows.kept_mean``."""

    kept: float | None = None

    def factor(self) -> Array:
        """(B, R) of its covariance."""
        parts = (self.noise,) if self.seen is None else (self.noise, self.seen)
        return factor(*parts) / math.sqrt(self.noise.shape[1])

    def second(self) -> tuple[float, Array]:
        """(mean square, E t_a t_b (P,)) in units of exp(log)."""
        gram = self.noise @ self.noise.T
        if self.seen is not None:
            gram = gram + self.seen @ self.seen.T
        gram /= self.noise.shape[1]
        return float(np.trace(gram)) / len(gram), pairs_of(gram, correlations=False)

    def tidy(self) -> Unlike:
        """In units in which the mean square is 1."""
        total = float(np.mean(self.noise**2)) + (0.0 if self.seen is None else float(np.mean(self.seen**2)))
        if not total > 0.0:
            return replace(self, log=-math.inf)
        root = math.sqrt(total)
        seen = None if self.seen is None else self.seen / root
        return replace(self, log=self.log + math.log(total), seen=seen, noise=self.noise / root)

    def sent(self, back: Weights) -> Unlike:
        """W^T of this cotangent."""
        log, units = self.log + back.log, self.noise.shape[1]
        if self.seen is None:
            return replace(self, log=log, noise=back.draw(self.factor(), self.noise))
        along = aligned(self.seen, back.z)
        left = [self.noise, self.seen]
        if back.along:  # an orthogonal matrix maps W x back onto x alone; what biases have of z is noise
            bias = math.sqrt(max(1.0 - back.along, 0.0) * units) * along.sum(axis=1, keepdims=True)
            left = [self.noise, self.seen - along @ back.z, bias]
        root = factor(*left) / math.sqrt(units)
        return replace(self, log=log, seen=back.root * (along @ back.x), noise=back.draw(root, self.noise))


class UnlikeParticles(Particles):
    """``Particles`` of a batch of unequal samples.

    Sampled: log_q within 1%, log_g about 5% over 20 layers (B = 16: 8192 units).
    """

    def __init__(self, spec: Spec, law: Law) -> None:
        super().__init__(spec, law)
        self.rows, self.units = sizes(spec, 3)
        self.input = digits_batch(spec.batch_size, 1.0)[chosen(spec.batch_size, self.rows)]
        self.nodes = pairs_of(self.input @ self.input.T)

    def draw(self, root: Array, beside: Array | None = None) -> Array:  # type: ignore[override]
        """(B, N) fields of covariance root root^T, exactly, and without mean; where units are many, also without
        correlation with ``beside`` (B, N), which the field is going to be added to."""
        g = self.rng.standard_normal((root.shape[1], self.units))
        g -= g.mean(axis=1, keepdims=True)
        if beside is not None and FREE * (len(g) + len(beside)) <= self.units:
            known = g @ beside.T @ np.linalg.pinv(beside @ beside.T, rcond=1e-10, hermitian=True)
            g -= known @ beside
        return (root @ np.linalg.inv(np.linalg.cholesky(g @ g.T / self.units))) @ g

    def correlations_of(self, hat: Array) -> Array:
        """(P,) correlations of the pairs of samples."""
        return pairs_of(hat @ hat.T)

    def _linear(self, i: int, x: Signal | None, pairs_x: Array, stream: Array | None) -> tuple[Array, float, Array]:
        at = min(i, self.spec.depth - 1)
        log_x = 2.0 * math.log(self.spec.input_rms) if x is None else x.log
        weight, bias = float(self.law.log_in[at]) + log_x, float(self.law.log_bias[at])
        log_z = log_add(weight, bias)
        if log_z == -math.inf:
            return np.zeros((self.rows, self.units)), log_z, np.ones_like(pairs_x)
        hat = self.input if x is None else x.hat
        parts = [math.exp(0.5 * (weight - log_z)) / math.sqrt(hat.shape[1]) * hat]
        if bias > -math.inf:
            parts.append(np.full((self.rows, 1), math.exp(0.5 * (bias - log_z))))
        root = factor(*parts)
        return self.draw(root, None if self.inner[i] else stream), log_z, pairs_of(root @ root.T)

    def cotangent(self, log: float, seen: Array | None, noise: Array) -> Unlike:
        """A cotangent over the whole batch."""
        made = Unlike(log, seen, noise)
        if self.rows == self.spec.batch_size:
            return made
        total, pairs = made.second()
        return replace(made, kept=kept_mean(self.spec, self.rows, float(pairs.mean()) / total) if total > 0.0 else None)

    def random(self, log: float = 0.0, pairs: Array | None = None, contrast: bool = False) -> Unlike:
        """A cotangent independent of the signal and over the samples (``contrast``: summing to zero over them)."""
        b = self.rows
        root = np.eye(b) - 1.0 / b if contrast else np.eye(b)
        return self.cotangent(log, None, self.draw(root * (math.sqrt(b / (b - 1)) if contrast else 1.0)))

    def shares(self, i: int, at: Unlike) -> Array:
        """(1/B^2) sum_ab E t_a t_b E x_a x_b and (1/B^2) sum_ab E t_a t_b, in units of E t^2 and E x^2."""
        x = self.input if self.steps[i].x is None else self.steps[i].x
        assert x is not None
        root = at.factor()
        mean, apart = modes(root)
        mean_x, apart_x = modes(factor(x) / math.sqrt(x.shape[1]))
        total = float(np.sum(root**2)) / self.rows
        if self.rows < self.spec.batch_size:
            delta, gram, one = root @ root.T / total, x @ x.T / x.shape[1], np.ones((self.rows, self.rows))
            alone = self.spec.loss == "random"
            own = Sharing(alone, at.kept, self._apart[i]), Sharing(alone, at.kept)
            return np.array(
                [over_batch(delta, k, self.spec.batch_size, s) for k, s in zip((gram, one), own, strict=True)]
            )
        along = apart.T @ apart_x + self.rows * np.outer(mean, mean_x)
        return np.array([float(np.sum(along**2)) / self.rows**2, float(mean @ mean)]) / total

    @cached_property
    def _apart(self) -> Array:
        """(L,) what batch norms alone make of noise (``batch_rows.Sharing``), which most of cross-entropy's is."""
        if self.spec.loss != "cross_entropy":
            return np.zeros(self.spec.depth)
        return _Noise(self).backward(self.random())["modes"][:, 0]

    def backward(
        self, end: Unlike, top: int | None = None, bottom: int = 0, parameters: bool = True
    ) -> dict[str, Array]:
        """As of ``Particles``, of the whole batch."""
        rows = super().backward(end, top, bottom, parameters)
        if self.rows < self.spec.batch_size:
            last = self.steps[self.spec.depth - 1].signal
            pairs = self.correlations_of(last.hat)
            more = grown(self.spec, self.rows, last.log, float(pairs.mean()), rows["log_g"])
            rows["log_g"], rows["log_t"] = rows["log_g"] + more, rows["log_t"] + more
        return rows


class _Noise(UnlikeParticles):
    """The same units, whose ``shares`` are those of ``batch_rows.projected``."""

    def __init__(self, units: UnlikeParticles) -> None:
        self.__dict__.update(units.__dict__)

    def shares(self, i: int, at: Unlike) -> Array:
        x = self.input if self.steps[i].x is None else self.steps[i].x
        assert x is not None
        root = at.factor()
        return np.array([projected(root @ root.T, x @ x.T / x.shape[1]), 0.0])


class UnlikeField(ParticleField):
    """``ParticleField`` for batch norm on digits."""

    @cached_property
    def population(self) -> UnlikeParticles:
        """The units."""
        return UnlikeParticles(self.spec, self.law)

    @property
    def followed(self) -> int:
        """How many samples of the batch are followed."""
        return self.population.rows

    def _parameters(self, rows: dict[str, Array]) -> tuple[Array, Array]:
        weights, biases = rows["modes"].T
        biases = np.where(biases < 1e-24, 0.0, biases)  # zero: a batch norm takes off what all samples share
        with np.errstate(divide="ignore"):
            return rows["log_t"] + self.log_p + np.log(weights), rows["log_t"] + np.log(biases)
