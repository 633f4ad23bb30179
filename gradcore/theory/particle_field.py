"""What ``MeanField`` offers, read off a sampled population (``theory.particles``): streams that are not Gaussian
(resnet_v1; post_activation where the cotangent knows the output), and batch norm inside their blocks and two_layer's.

Infinite width; sampled, errors in ``theory.particles``.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from gradcore.theory.channel import log_add
from gradcore.theory.mean_field import MeanField, batch_share
from gradcore.theory.particles import Cotangent, Particles
from gradcore.theory.sampled_softmax import cross_entropy_end
from gradcore.theory.units import Signal, Unit, normalize

Array = np.ndarray
STEP = 1e-3  # of ln q, for slopes


class ParticleField(MeanField):
    """MeanField by sampled units, for any residual form, norm and loss."""

    sampled = True

    @cached_property
    def population(self) -> Particles:
        """The units."""
        return Particles(self.spec, self.law)

    @cached_property
    def forward(self) -> tuple[Array, Array]:
        steps = self.population.steps[: self.spec.depth]
        return np.array([s.signal.log for s in steps]), np.array([s.log_x for s in steps])

    @cached_property
    def correlations(self) -> tuple[Array, Array]:
        steps = self.population.steps[: self.spec.depth]
        return np.array([s.pairs for s in steps]), np.array([s.pairs_x for s in steps])

    # --- backward -------------------------------------------------------------------------------------------

    @cached_property
    def rows(self) -> dict[str, Array]:
        """``Particles.backward`` of the Spec's loss."""
        return self.population.backward(self._end())

    def _end(self, aligned: bool = False) -> Cotangent:
        spec, population = self.spec, self.population
        if spec.loss == "random":
            return population.random()
        if spec.loss == "mse":
            return population.along(math.log(4.0) + float(self.log_q[-1]) - 2.0 * math.log(int(spec.layer_widths[-1])))
        return cross_entropy_end(population, int(spec.layer_widths[-1]), aligned)

    @cached_property
    def backward(self) -> tuple[Array, Array]:
        return self.rows["log_g"], self._batch(self.rows["ratio"])

    def _batch(self, ratio: Array) -> Array:
        """Correlations in the batch that is asked for, where fewer samples stand for it (batch norm)."""
        few, b = self.population.rows, self.spec.batch_size
        if not self.population.coupled or few == b or ratio.shape[1] > 1:
            return ratio
        return np.where(ratio < 0.0, ratio * (few - 1) / (b - 1), ratio)

    @cached_property
    def parameter_gradients(self) -> tuple[Array, Array]:
        return self._parameters(self.rows)

    def _parameters(self, rows: dict[str, Array]) -> tuple[Array, Array]:
        if self.population.coupled:
            return self._coupled_parameters(rows)
        b, ratio = self.spec.batch_size, rows["ratio_t"]
        pair_w = pair_b = np.zeros(self.spec.depth)
        if b > 1:
            pair_w, pair_b = (ratio * self.correlations[1]).mean(axis=1), ratio.mean(axis=1)
        with np.errstate(divide="ignore"):
            share_w, share_b = np.log(batch_share(pair_w, b)), np.log(batch_share(pair_b, b))
        return rows["log_t"] + self.log_p + share_w, rows["log_t"] + share_b

    def _coupled_parameters(self, rows: dict[str, Array]) -> tuple[Array, Array]:
        """By the modes of cotangents and inputs over the batch: nothing cancels where samples are nearly equal.

        (1/B^2) sum_ab E t_a t_b E x_a x_b = mean mean + contrast contrast / (B - 1).
        """
        population, b = self.population, self.spec.batch_size
        mean, contrast = rows["modes"].T
        few = population.rows
        alone = mean <= 1.5 * contrast / (few - 1)  # of samples without anything in common: the mean of more of them
        mean = np.where(alone, mean * few / b, mean)
        mean = np.where(mean < 1e-24, 0.0, mean)
        x = np.array([population.modes_of_x(i) for i in range(self.spec.depth)])
        with np.errstate(divide="ignore"):
            log_dw = rows["log_t"] + self.log_p + np.log(mean * x[:, 0] + contrast * x[:, 1] / (b - 1))
            return log_dw, rows["log_t"] + np.log(mean)

    @property
    def aligned_quantities(self) -> dict[str, Array] | None:
        if self.spec.loss != "cross_entropy" or int(self.spec.layer_widths[-1]) == 1:
            return None
        rows = self.population.backward(self._end(aligned=True))
        log_dw, log_db = self._parameters(rows)
        return {"log_g": rows["log_g"], "log_dw": log_dw, "log_db": log_db}

    # --- factors of a layer ---------------------------------------------------------------------------------

    @cached_property
    def chi(self) -> Array:
        """(L,) factor of the squared gradient norm from layer l + 1 to l for a cotangent independent of the signal
        (batch norm: one that sums to zero over the batch); the last entry uses the last weights again."""
        depth, population = self.spec.depth, self.population
        if self.spec.loss == "random" and not population.coupled:
            inside = self.rows["log_g"]
        else:
            inside = population.backward(population.random(contrast=True), parameters=False)["log_g"]
        last = population.backward(population.random(contrast=True), depth, depth - 1, False)["log_g"]
        with np.errstate(invalid="ignore", over="ignore"):
            return np.nan_to_num(np.exp(np.append(inside[:-1] - inside[1:], last[-2] - last[-1])), posinf=math.inf)

    @cached_property
    def chi_parallel(self) -> Array:
        """(L,) slope of the next signal's second moment with this one's, by central differences on the same units."""
        return np.array([self._slope(i) for i in range(self.spec.depth)])

    def _slope(self, i: int) -> float:
        log_q = float(self.log_q[i])
        if log_q == -math.inf:
            return 0.0
        ends = [self._next_log_q(i, log_q + s) for s in (STEP, -STEP)]
        if -math.inf in ends:
            return 0.0
        middle = 0.5 * (ends[0] + ends[1])
        with np.errstate(over="ignore"):
            scale = float(np.exp(middle - log_q))
        return scale * (ends[0] - ends[1]) / (2.0 * STEP) if ends[0] != ends[1] else 0.0

    def _next_log_q(self, i: int, log_q: float) -> float:
        """ln of the next signal's second moment if this one's were e^log_q, on the same units and fields."""
        population = self.population
        steps, at = population.steps, min(i + 1, self.spec.depth - 1)
        rows = population.rows if population.coupled else 1  # one sample's law, but for a batch norm
        here = Signal(np.asarray(steps[i].signal.hat[:rows], dtype=float), log_q)
        x = here
        if population.acts_below:
            x = Unit(self.spec, here, bool(population.inner[i])).out.scaled(population.coupled)
        log_z = log_add(float(self.law.log_in[at]) + x.log, float(self.law.log_bias[at]))
        z = Signal(np.asarray(steps[i + 1].z[:rows], dtype=float), log_z)
        if population.inner[i + 1]:
            return log_z
        stream = steps[i - 1].signal if population.inner[i] else here
        out, _ = population.block(Signal(np.asarray(stream.hat[:rows], dtype=float), stream.log), z)
        return out.scaled(population.coupled).log

    # --- shares ---------------------------------------------------------------------------------------------

    @cached_property
    def saturated(self) -> Array:
        largest = float(np.abs(self.channel.moments.derivative(np.linspace(-40.0, 40.0, 8001))).max())
        return np.array([float(np.mean(np.abs(s) < 0.05 * largest)) for s in self._slopes()])

    def _slopes(self) -> list[Array]:
        population = self.population
        rows = population.rows if population.coupled else 1
        return [
            Unit(self.spec, Signal(step.seen.hat[:rows], step.seen.log), bool(population.inner[i])).slope
            for i, step in enumerate(population.steps[: self.spec.depth])
        ]

    @property
    def dead_counted(self) -> Array | None:
        """(L,) share of units with slope 0 on the whole batch, counted where the whole batch is there (batch norm)."""
        return (
            np.array([float(np.mean((s == 0.0).all(axis=0))) for s in self._slopes()])
            if self.population.coupled
            else None
        )

    @property
    def seen(self) -> tuple[Array, Array, Array]:
        """Std, correlation over samples and mean of what the activation of every layer sees, (L,) each."""
        out = np.zeros((3, self.spec.depth))
        for i, step in enumerate(self.population.steps[: self.spec.depth]):
            z = Signal(np.asarray(step.seen.hat, dtype=float), step.seen.log)
            if self.spec.norm != "none" and self.spec.norm_position == "before" and not self.population.inner[i]:
                z = normalize(self.spec, z)[0]
            mean = z.hat.mean(axis=1, keepdims=True)
            centred = z.hat - mean
            square = float(np.mean(centred[0] ** 2))
            size = math.exp(0.5 * min(max(z.log, -600.0), 600.0))
            pairs = np.mean(centred[:1] * centred[1:], axis=1) / square if square > 0.0 else np.ones(1)
            out[:, i] = max(math.sqrt(square) * size, 1e-300), pairs.mean() if pairs.size else 0.0, mean[0, 0] * size
        return out[0], out[1], out[2]
