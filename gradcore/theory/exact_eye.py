"""Signal and gradient of eye weights: every unit alone, z' = g phi(z) + b, the input's law pushed forward.

Rectangular layers cut units off or start new ones at 0 (torch's eye_ leaves their rows empty); indices with the
same history form one cohort. Sources and conventions as in ``theory.exact_weights``.
"""

from __future__ import annotations

import math
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from gradcore.theory.critical import bias_variances, resolve_gain
from gradcore.theory.gaussian import moments_of
from gradcore.theory.inputs import input_correlations
from gradcore.theory.paths import Cloud, all_flat, input_entry_cloud, particles
from gradcore.theory.signed_log import SignedLog, activate, log_mean

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray


class _Cohort:
    """Units with one history: z, phi(z) and phi'(z) by layer index, of the layers at which they exist."""

    def __init__(self, field: EyeField, low: int, high: int, seed: int) -> None:
        self.size = high - low
        self.present = field.spec.layer_widths >= high
        self.from_input = bool(field.spec.fan_ins[0] >= high)
        self.field, self.rng = field, np.random.default_rng([1, seed + 1])  # apart from the inputs' own stream
        if self.from_input:
            self.cloud = self._input_cloud(low, high)
        elif field.biased:
            shape = (particles(field.spec.depth), max(2, field.cloud.points.shape[1] if field.cloud.finite else 2))
            self.cloud = Cloud(np.zeros(shape), np.full(shape, 1.0 / (shape[0] * shape[1])), True)
        else:
            self.cloud = Cloud(np.zeros((1, 1)), np.ones((1, 1)), False)
        self.z: dict[int, SignedLog] = {}
        self.x: dict[int, SignedLog] = {}
        self.slope: dict[int, SignedLog] = {}
        self._run()

    def _input_cloud(self, low: int, high: int) -> Cloud:
        """The input's law; of digits the pixels of these units alone."""
        cloud, spec = self.field.cloud, self.field.spec
        if spec.input != "digits":
            return cloud
        rows = np.arange(cloud.points.shape[0]) % int(spec.fan_ins[0])
        points = cloud.points[(rows >= low) & (rows < high)]
        return Cloud(points, np.full(points.shape, 1.0 / points.size), True)

    def _bias(self, variance: float) -> SignedLog:
        rows = self.cloud.points.shape[0]
        draw = self.rng.standard_normal((rows, 1)) * math.sqrt(variance)
        return SignedLog.of(draw + np.zeros_like(self.cloud.points))

    def _run(self) -> None:
        field = self.field
        zero = SignedLog.of(np.zeros_like(self.cloud.points))
        x: SignedLog | None = SignedLog.of(self.cloud.points) if self.from_input else None
        z: SignedLog | None = None
        for i in range(field.spec.depth):
            if not self.present[i]:
                x, z = None, None
                continue
            new = x.scaled(float(field.gains[i])) if x is not None else zero
            if field.biases[i] > 0:
                new = new.plus(self._bias(float(field.biases[i])))
            z = z.plus(new.scaled(field.alpha)) if (field.skip and i and z is not None) else new
            x, slope = activate(field.moments, z)
            self.z[i], self.x[i], self.slope[i] = z, x, slope

    def step(self, i: int) -> SignedLog | None:
        """Factor of the cotangent from layer index i + 1 to i, None where layer i + 1 lacks these units."""
        if i not in self.z or i + 1 not in self.z:
            return None
        branch = self.slope[i].scaled(float(self.field.gains[i + 1]) * self.field.alpha)
        return branch.plus(SignedLog.of(np.ones(branch.log.shape))) if self.field.skip else branch


class EyeField:
    """What ``MeanField`` offers, for weights g times the identity."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        gain = resolve_gain(spec)
        self.gains, self.origin = gain.multipliers, gain.origin
        self.skip, self.alpha = spec.residual != "none", spec.alpha if spec.residual != "none" else 1.0
        self.moments = moments_of(spec.activation, spec.slope)
        self.biases = bias_variances(spec)
        self.biased = bool(self.biases.any())
        self.cloud = input_entry_cloud(spec, self.biased)

    @cached_property
    def cohorts(self) -> list[_Cohort]:
        """All cohorts of units that some layer has."""
        cuts = sorted({0, *self.spec.layer_widths.tolist(), int(self.spec.fan_ins[0])})
        top = int(self.spec.layer_widths.max())
        pairs = [(a, b) for a, b in pairwise(cuts) if a < top]
        return [_Cohort(self, a, b, k) for k, (a, b) in enumerate(pairs)]

    def _share(self, cohort: _Cohort, i: int) -> float:
        return cohort.size / float(self.spec.layer_widths[i])

    def _average(self, i: int, logs: list[tuple[_Cohort, float]]) -> float:
        """ln of the mean over the units of layer index i of e^log."""
        total = -math.inf
        for cohort, log in logs:
            total = float(np.logaddexp(total, log + math.log(self._share(cohort, i))))
        return total

    def _alive(self, i: int) -> list[_Cohort]:
        return [c for c in self.cohorts if i in c.z]

    def _pairs(self, i: int, logs: list[tuple[_Cohort, tuple[float, float]]]) -> float:
        """Signed mean over the units, of pair means; returned as an ordinary number relative to nothing."""
        return sum(sign * math.exp(min(log, 700.0)) * self._share(c, i) for c, (sign, log) in logs if sign)

    @cached_property
    def log_q(self) -> Array:
        """ln E z^2."""
        rows = range(self.spec.depth)
        return np.array([self._average(i, [(c, c.cloud.mean_square(c.z[i])) for c in self._alive(i)]) for i in rows])

    @cached_property
    def log_p(self) -> Array:
        """ln E (x^(l-1))^2."""
        out = [2.0 * math.log(self.spec.input_rms)]
        for i in range(self.spec.depth - 1):
            out.append(self._average(i, [(c, c.cloud.mean_square(c.x[i])) for c in self._alive(i)]))
        return np.array(out)

    @cached_property
    def correlations(self) -> tuple[Array, Array]:
        """Correlations of z^l and of x^(l-1), (L, 1) each."""
        first = input_correlations(self.spec)
        z, x = np.ones(self.spec.depth), np.ones(self.spec.depth)
        x[0] = float(first.mean()) if first.size else 1.0
        for i in range(self.spec.depth):
            z[i] = self._ratio(i, [(c, c.z[i]) for c in self._alive(i)], self.log_q[i])
            if i + 1 < self.spec.depth:
                x[i + 1] = self._ratio(i, [(c, c.x[i]) for c in self._alive(i)], self.log_p[i + 1])
        return z[:, None], x[:, None]

    def _ratio(self, i: int, values: list[tuple[_Cohort, SignedLog]], log_square: float) -> float:
        if log_square == -math.inf:
            return 1.0
        pairs = []
        for cohort, value in values:
            sign, log = cohort.cloud.mean_pair(value)
            pairs.append((cohort, (sign, log - log_square)))
        return float(np.clip(self._pairs(i, pairs), -1.0, 1.0))

    # --- slopes ---------------------------------------------------------------------------------------------

    def _per_layer(self, i: int, log_of: str) -> float:
        total = 0.0
        above = min(i + 1, self.spec.depth - 1)
        g2 = (float(self.gains[above]) * self.alpha) ** 2
        for c in self._alive(i):
            z, x, slope = c.z[i], c.x[i], c.slope[i]
            if log_of == "chi":
                factor = slope.scaled(float(self.gains[above]) * self.alpha)
                factor = factor.plus(SignedLog.of(np.ones(factor.log.shape))) if self.skip else factor
                value = math.exp(min(log_mean(2.0 * factor.log, c.cloud.weight), 700.0))
            else:
                logs = x.log + slope.log + z.log - self.log_q[i]
                signs = x.sign * slope.sign * z.sign
                value = g2 * float(np.sum(c.cloud.weight * signs * np.exp(np.clip(logs, -700.0, 600.0))))
            total += self._share(c, i) * value
        return total

    @cached_property
    def chi(self) -> Array:
        """(L,) mean squared factor of the elementwise gradient."""
        return np.array([self._per_layer(i, "chi") for i in range(self.spec.depth)])

    @cached_property
    def chi_parallel(self) -> Array:
        """(L,) slope of the second moment's map."""
        if not np.all(np.isfinite(self.log_q)):
            return np.zeros(self.spec.depth)
        plain = np.array([self._per_layer(i, "chi_parallel") for i in range(self.spec.depth)])
        return 1.0 + plain if self.skip else plain

    @cached_property
    def saturated(self) -> Array:
        """(L,) share of units and samples with a small slope."""
        out = np.zeros(self.spec.depth)
        for i in range(self.spec.depth):
            for c in self._alive(i):
                value = c.z[i].value()
                inside = sum((value > low) & (value <= high) for low, high in self.moments.small_slope_intervals)
                out[i] += self._share(c, i) * float(np.sum(c.cloud.weight * inside))
        return out

    def dead(self, i: int, flat: tuple[tuple[float, float], ...]) -> float:
        """Share of units of layer index i with phi' = 0 on every sample of the batch."""
        total = 0.0
        for c in self._alive(i):
            value = c.z[i].value()
            inside = np.zeros(value.shape, dtype=bool)
            for low, high in flat:
                inside |= (value >= low) & (value <= high)
            total += self._share(c, i) * all_flat(c.cloud, inside, self.spec.batch_size)
        return total

    # --- backward -------------------------------------------------------------------------------------------

    def _end(self, cohort: _Cohort) -> tuple[SignedLog, Array]:
        """(value correlated over samples, ln mean square over labels) of delta^L on the cohort's paths."""
        n = float(self.spec.layer_widths[-1])
        z = cohort.z[self.spec.depth - 1]
        if self.spec.loss == "mse":
            end = z.scaled(2.0 / n)
            return end, 2.0 * end.log
        if self.spec.loss == "random":
            return SignedLog.of(np.zeros(z.log.shape)), np.zeros(z.log.shape)
        p = self._softmax(cohort)
        return SignedLog.of(p - 1.0 / n), np.log(np.maximum(p * p - 2.0 * p / n + 1.0 / n, 1e-300))

    def _softmax(self, cohort: _Cohort) -> Array:
        """p_i = e^(z_i) / sum e^z with the sum at its large-n value, at most 1."""
        n = float(self.spec.layer_widths[-1])
        alive = self._alive(self.spec.depth - 1)
        values = {id(c): np.clip(c.z[self.spec.depth - 1].value(), -1e6, 1e6) for c in alive}
        top = max(float(v.max()) for v in values.values())
        mean = sum(
            self._share(c, self.spec.depth - 1) * float(np.sum(c.cloud.weight * np.exp(values[id(c)] - top)))
            for c in alive
        )
        return np.minimum(np.exp(values[id(cohort)] - top) / (n * mean), 1.0)

    @cached_property
    def _gradients(self) -> tuple[Array, Array]:
        """(log_g, correlation of the cotangents), each (L,)."""
        depth = self.spec.depth
        squares: list[list[tuple[_Cohort, float]]] = [[] for _ in range(depth)]
        pairs: list[list[tuple[_Cohort, tuple[float, float]]]] = [[] for _ in range(depth)]
        if int(self.spec.layer_widths[-1]) == 1 and self.spec.loss == "cross_entropy":
            return np.full(depth, -math.inf), np.zeros(depth)
        for cohort in self.cohorts:
            self._descend(cohort, squares, pairs)
        log_g = np.array([self._average(i, squares[i]) for i in range(depth)])
        ratio = np.zeros(depth)
        for i in range(depth):
            if log_g[i] > -math.inf:
                ratio[i] = self._pairs(i, [(c, (s, log - log_g[i])) for c, (s, log) in pairs[i]])
        return log_g, np.clip(ratio, -1.0, 1.0)

    def _descend(self, cohort: _Cohort, squares: list, pairs: list) -> None:
        common: SignedLog | None = None
        square: Array | None = None
        for i in range(self.spec.depth - 1, -1, -1):
            if i == self.spec.depth - 1:
                common, square = self._end(cohort) if i in cohort.z else (None, None)
            else:
                step = cohort.step(i)
                if common is None or square is None or step is None:
                    common = square = None
                else:
                    common, square = common.times(step), square + 2.0 * step.log
            if common is not None and square is not None:
                squares[i].append((cohort, log_mean(square, cohort.cloud.weight)))
                pairs[i].append((cohort, cohort.cloud.mean_pair(common)))

    @property
    def backward(self) -> tuple[Array, Array]:
        """(log_g, correlation of the cotangents (L, 1))."""
        return self._gradients[0], self._gradients[1][:, None]

    @property
    def log_g(self) -> Array:
        """ln E delta^2."""
        return self._gradients[0]

    @cached_property
    def parameter_gradients(self) -> tuple[Array, Array]:
        """(log_dw, log_db): entries i != j dominate, whose units are independent."""
        from gradcore.theory.mean_field import batch_share

        b = self.spec.batch_size
        log_g, ratio = self._gradients
        branch = np.full(self.spec.depth, 2.0 * math.log(abs(self.alpha) or 1e-300) if self.skip else 0.0)
        branch[0] = 0.0
        with np.errstate(divide="ignore"):
            share_w = np.log(batch_share(ratio * self.correlations[1][:, 0], b))
            share_b = np.log(batch_share(ratio, b))
        return log_g + self.log_p + share_w + branch, log_g + share_b + branch
