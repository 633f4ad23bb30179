"""Sampled units through all layers: the infinite-width law where a stream is not Gaussian, or a batch norm sits in
such a block.

N units of S samples each meet fresh Gaussian fields z = W x + b with the exact covariance over the samples, forwards
and backwards (``theory.cotangents``), layer by layer as ``measure.blocks`` runs real networks. Without batch norm the
rows are one sample and one partner for each of up to 8 input correlations; the first row's fields come from a Fibonacci
lattice over (rank of the stream, uniform), so that its moments converge nearly as 1/N and not as 1/sqrt(N)
(Array-RQMC: L'Ecuyer, Lecot & Tuffin 2008). With batch norm they are the batch.

Seeded, hence deterministic. Errors: below 0.02% a layer of log_q and 0.1% of an independent cotangent's log_g without
batch norm, 1% of the rest (with batch norm about 5% over 20 layers); more where rare units make a mean: saturated
activations, or fewer units in nets of more than some hundred layers. Checked against torch and against the closed
recursions by tests/test_residual.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.residual import inner_layers
from gradcore.theory.channel import log_add, log_of
from gradcore.theory.cotangents import Drawn, Spread, Weights, modes, split
from gradcore.theory.inputs import input_correlations
from gradcore.theory.units import Signal, Unit

if TYPE_CHECKING:
    from gradcore.spec import Spec
    from gradcore.theory.mean_field import Law

Array = np.ndarray
Cotangent = Any  # Spread or Drawn
FIBONACCI = (377, 610, 987, 1597, 2584, 4181, 6765, 10946, 17711)
NODES = 8  # input correlations that stand for those of a batch of images
ENTRIES = 2**25  # numbers kept of all layers
ROWS = 4096  # samples of a batch that a batch norm is followed with


def partners(spec: Spec) -> Array:
    """(K,) input correlations, equally weighted: all of them where few, else the means of K equal groups."""
    c = input_correlations(spec)
    if c.size <= NODES:
        return c
    return np.array([group.mean() for group in np.array_split(np.sort(c), NODES)])


@dataclass(frozen=True)
class Step:
    """One weight layer: ``x`` what W multiplies (None for the input), ``z`` = W x + b, the signal left and what the
    layer's activation sees, with ln of their mean squares and their correlations over samples, (K,) each."""

    x: Array | None
    log_x: float
    pairs_x: Array
    z: Array
    log_z: float
    signal: Signal
    pairs: Array
    seen: Signal


class Particles:
    """The sampled population of one Spec with random weights; ``steps`` are its layers, one more than the network has
    (the last uses the last weights again, for its factors alone)."""

    def __init__(self, spec: Spec, law: Law) -> None:
        self.spec, self.law = spec, law
        self.coupled = spec.norm == "batch"
        self.inner = inner_layers(spec.residual, spec.depth + 1)
        self.inner[: spec.depth] = inner_layers(spec.residual, spec.depth)
        self.nodes = np.array([spec.input_correlation]) if self.coupled else partners(spec)
        self.rows = min(spec.batch_size, ROWS) if self.coupled else 1 + self.nodes.size
        budget = ENTRIES // (3 * self.rows * spec.depth)
        if self.coupled:
            self.units = max(8, min(2**17 // self.rows, budget))
        else:
            cap = min(budget, 2**16 // self.rows)
            self.units = max(n for n in FIBONACCI if n <= max(cap, FIBONACCI[0]))
        self.rng = np.random.default_rng(0)

    # --- fields ---------------------------------------------------------------------------------------------

    def draw(self, mean: float, contrast: float) -> Array:
        """(B, N) equicorrelated Gaussians of these variances of the batch mean and of one contrast per sample."""
        b = self.rows
        g = self.rng.standard_normal((b, self.units))
        centre = g.mean(axis=0, keepdims=True)
        return math.sqrt(max(contrast, 0.0) * b / (b - 1)) * (g - centre) + math.sqrt(max(mean, 0.0) * b) * centre

    def _field(self, pairs: Array, signal: Array | None) -> Array:
        """Fresh standard normal fields (S, N) with these correlations over samples."""
        if self.coupled:
            g = self.draw(*split(1.0, float(pairs[0]), self.rows))
            return g / math.sqrt(float(np.mean(g * g)))
        first = self._lattice(None if signal is None else signal[0])
        rows = [first]
        for k, c in enumerate(np.clip(pairs, -1.0, 1.0), start=1):
            own = self._lattice(None)
            known = [np.ones_like(first), first] + ([] if signal is None else [signal[0], signal[k]])
            basis = np.array(known)
            own = own - (np.linalg.pinv(basis @ basis.T, rcond=1e-9) @ (basis @ own)) @ basis
            size = math.sqrt(float(np.mean(own * own)))
            rows.append(c * first + math.sqrt(max(1.0 - c * c, 0.0)) * (own / size if size > 0.0 else own))
        return np.array(rows)

    @cached_property
    def _quantiles(self) -> Array:
        from scipy.special import ndtri

        g = ndtri((np.arange(self.units) + 0.5) / self.units)
        return g / math.sqrt(float(np.mean(g * g)))

    def _lattice(self, state: Array | None) -> Array:
        """Standard normals (N,): one lattice line through the units in the order of their state, or at random."""
        n = self.units
        if state is None:
            return self._quantiles[self.rng.permutation(n)]
        step = FIBONACCI[FIBONACCI.index(n) - 1] if n in FIBONACCI[1:] else 233
        g = np.empty(n)
        line = (np.arange(n) * step + int(self.rng.integers(n))) % n  # turned anew at every layer
        g[np.argsort(state, kind="stable")] = self._quantiles[line]
        return g

    # --- forward --------------------------------------------------------------------------------------------

    def correlations_of(self, hat: Array) -> Array:
        """(K,) correlations over samples of values with mean square 1."""
        if not self.coupled:
            return np.clip(np.mean(hat[:1] * hat[1:], axis=1), -1.0, 1.0)
        b = self.rows
        mean = float(np.mean(hat.mean(axis=0) ** 2)) / max(float(np.mean(hat * hat)), 1e-300)
        return np.array([(b * mean - 1.0) / (b - 1)])

    def _linear(self, i: int, x: Signal | None, pairs_x: Array, stream: Array | None) -> tuple[Array, float, Array]:
        """(z, ln E z^2, correlations) of z = W x + b of layer index i; past the end the last layer's law.

        The lattice runs through the units in the order of the stream that z joins; not inside a block, where the same
        order a second time would make both fields of the block one.
        """
        at = min(i, self.spec.depth - 1)
        log_x = 2.0 * math.log(self.spec.input_rms) if x is None else x.log
        weight, bias = float(self.law.log_in[at]) + log_x, float(self.law.log_bias[at])
        log_z = log_add(weight, bias)
        if log_z == -math.inf:
            return np.zeros((self.rows, self.units)), log_z, np.ones_like(pairs_x)
        pairs = np.minimum(math.exp(weight - log_z) * pairs_x + math.exp(bias - log_z), 1.0)
        return self._field(pairs, None if self.inner[i] else stream), log_z, pairs

    def _sum(self, h: Signal, z: Signal) -> Signal:
        """h + alpha z."""
        log_z = z.log + 2.0 * log_of(abs(self.spec.alpha))
        top = max(h.log, log_z)
        if top == -math.inf:
            return Signal(h.hat * 0.0, top)
        sign = math.copysign(1.0, self.spec.alpha)
        hat = math.exp(0.5 * (h.log - top)) * h.hat + sign * math.exp(0.5 * (log_z - top)) * z.hat
        return Signal(hat, top)

    @cached_property
    def steps(self) -> list[Step]:
        """Layers 1..L and one more."""
        steps: list[Step] = []
        for i in range(self.spec.depth + 1):
            below, x, pairs_x = self._received(i, steps)
            z, log_z, pairs_z = self._linear(i, x, pairs_x, below.hat if i else None)
            linear = Signal(z, log_z)
            seen = signal = linear
            pairs = pairs_z
            if i and not self.inner[i]:
                signal, seen = self.block(below, linear)
                signal = signal.scaled(self.coupled)
                pairs = self.correlations_of(signal.hat) if signal.log > -math.inf else np.ones_like(pairs_x)
            log_x = 2.0 * math.log(self.spec.input_rms) if x is None else x.log
            kind = np.float64 if self.coupled else np.float32  # batch norm lives on small differences between samples
            keep = [None if a is None else a.astype(kind) for a in (None if x is None else x.hat, z)]
            small = Signal(signal.hat.astype(kind), signal.log)
            mine = small if seen is signal else Signal(seen.hat.astype(kind), seen.log)
            steps.append(Step(keep[0], log_x, pairs_x, keep[1], log_z, small, pairs, mine))  # type: ignore[arg-type]
        return steps

    def _received(self, i: int, steps: list[Step]) -> tuple[Signal, Signal | None, Array]:
        """The stream below layer index i, what its weights multiply (None: the input) and that one's correlations."""
        if i == 0:
            return Signal(np.zeros((self.rows, self.units)), -math.inf), None, self.nodes
        below = steps[i - 2 if self.inner[i - 1] else i - 1].signal
        if not self.acts_below:
            return below, below, steps[i - 1].pairs
        x = Unit(self.spec, steps[i - 1].signal, bool(self.inner[i - 1])).out.scaled(self.coupled)
        return below, x, self.correlations_of(x.hat) if x.log > -math.inf else np.ones_like(self.nodes)

    @property
    def acts_below(self) -> bool:
        """Whether the activation acts on the stream before the weights."""
        return self.spec.residual in ("identity", "two_layer")

    def block(self, h: Signal, z: Signal) -> tuple[Signal, Signal]:
        """(stream behind the block, what its activation sees)."""
        if self.acts_below:
            out = self._sum(h, z)
            return out, out
        if self.spec.residual == "post_activation":
            return self._sum(h, Unit(self.spec, z).out), z
        seen = self._sum(h, z)
        return Unit(self.spec, seen).out, seen

    # --- backward -------------------------------------------------------------------------------------------

    def _weights(self, i: int) -> Weights:
        step, at = self.steps[i], min(i, self.spec.depth - 1)
        assert step.x is not None
        log_out = float(self.law.log_out[at])
        root = math.exp(0.5 * min(log_out + step.log_x - step.log_z, 700.0)) if step.log_z > -math.inf else 0.0
        orthogonal = self.spec.init_entry.kind == "orthogonal" and step.log_z > -math.inf
        along = math.exp(float(self.law.log_in[at]) + step.log_x - step.log_z) if orthogonal else 0.0
        # what goes back is in units of n Var W times the cotangent's: the noise's scale is exactly that
        return Weights(log_out, step.x, step.z, root, along, step.pairs_x, self.draw)

    def _pull(self, i: int, delta: Cotangent, held: Cotangent) -> tuple[Cotangent, Cotangent, Cotangent]:
        """(cotangent at W x + b, at the signal below, at the stream beside an inner layer) of layer index i > 0."""
        spec, alpha = self.spec, self.spec.alpha
        if not self.acts_below:
            passed = delta.through(Unit(spec, self.steps[i].seen))
            at = passed.scaled(alpha)
            stream = delta if spec.residual == "post_activation" else passed
            return at, stream.plus(at.sent(self._weights(i))), None
        at = delta if self.inner[i] else delta.scaled(alpha)
        unit = Unit(spec, self.steps[i - 1].signal, bool(self.inner[i - 1]))
        below = at.sent(self._weights(i)).through(unit)
        if self.inner[i - 1]:
            return at, below, delta
        return at, (held if self.inner[i] else delta).plus(below), None

    def backward(
        self, end: Cotangent, top: int | None = None, bottom: int = 0, parameters: bool = True
    ) -> dict[str, Array]:
        """From the cotangent ``end`` at layer index ``top`` (default: the output) down to ``bottom``.

        ``log_g`` and ``log_t``, ln of the mean squares at the signal and at W x + b, (L,); correlations over samples
        of both, ``ratio`` and ``ratio_t``, (L, K); with batch norm ``modes``, shares of the second in the mean over
        the batch and in the contrasts, (L, 2), where ``parameters``.
        """
        depth = self.spec.depth
        top = depth - 1 if top is None else top
        log_g, log_t = np.full(depth + 1, -math.inf), np.full(depth + 1, -math.inf)
        ratio, ratio_t = np.zeros((depth + 1, self.nodes.size)), np.zeros((depth + 1, self.nodes.size))
        parts = np.zeros((depth + 1, 2))
        delta, held = end, None
        for i in range(top, bottom - 1, -1):
            log_g[i], ratio[i] = self._moments(delta)
            at, below, held = self._pull(i, delta, held) if i > bottom else (delta, delta, None)
            log_t[i], ratio_t[i] = self._moments(at)
            if self.coupled and parameters and log_t[i] > -math.inf:
                parts[i] = self.shares(i, at)
            delta = below
        rows = {"log_g": log_g, "log_t": log_t, "ratio": ratio, "ratio_t": ratio_t, "modes": parts}
        return rows if top == depth else {name: values[:depth] for name, values in rows.items()}

    def shares(self, i: int, at: Cotangent) -> Array:
        """``modes`` of the cotangent at W x + b of layer index i."""
        modes = np.array(at.modes())
        return modes / float(modes.sum())

    def modes_of_x(self, i: int) -> tuple[float, float]:
        """E x^2 of what W of layer index i multiplies, in units of itself: in the batch mean and in the contrasts."""
        x = self.steps[i].x
        return split(1.0, float(self.nodes[0]), self.rows) if x is None else modes(x, x)

    @staticmethod
    def _moments(cotangent: Cotangent) -> tuple[float, Array]:
        total, pairs = cotangent.second()
        if cotangent.log == -math.inf or not total > 0.0:
            return -math.inf, np.zeros_like(pairs)
        return cotangent.log + math.log(total), pairs / total

    def cotangent(self, log: float, seen: Array | None, noise: Array) -> Drawn:
        """A cotangent over the whole batch."""
        return Drawn(log, seen, noise)

    def random(self, log: float = 0.0, pairs: Array | None = None, contrast: bool = False) -> Cotangent:
        """A cotangent independent of the signal, with correlations ``pairs`` over samples (``contrast``: summing to
        zero over the batch)."""
        pairs = np.zeros(self.nodes.size) if pairs is None else pairs
        if self.coupled:
            c = -1.0 / (self.rows - 1) if contrast else float(pairs[0])
            noise = self.draw(*split(1.0, c, self.rows))
            return self.cotangent(log, None, noise / math.sqrt(float(np.mean(noise**2))))
        shape = (self.rows, self.units)
        return Spread(log, None, np.ones(shape), np.repeat(pairs[:, None], self.units, axis=1))

    def along(self, log: float) -> Cotangent:
        """A cotangent proportional to the output."""
        h = self.steps[self.spec.depth - 1].signal.hat.astype(float)
        if self.coupled:
            return self.cotangent(log, h, np.zeros_like(h)).tidy()
        return Spread(log, h, np.zeros(h.shape), np.zeros((self.nodes.size, self.units))).tidy()
