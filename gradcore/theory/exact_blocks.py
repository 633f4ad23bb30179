"""Constant and eye weights in residual blocks beyond identity, by following the exact map (see ``theory.paths``).

Eye weights keep every unit alone, z = g x. Constant weights make all units equal: one scalar a sample, z = g n x, and
act on a cotangent through its sum over the units. A unit's cotangent is then P own + (T - P) mean(own), with own the
output's: P the factor of what passes beside the weights, T of the sum. Both are products over the block's slopes.

Constant weights with random biases: ``theory.exact_units``. Status as in ``theory.exact_weights``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gradcore.residual import inner_layers
from gradcore.theory.critical import bias_variances, resolve_gain
from gradcore.theory.gaussian import moments_of
from gradcore.theory.inputs import input_correlations
from gradcore.theory.mean_field import batch_share
from gradcore.theory.paths import Cloud, all_flat, input_entry_cloud, input_sum_cloud
from gradcore.theory.signed_log import SignedLog, activate, log_mean

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray
STEP = 1e-3  # of ln q, for slopes


@dataclass
class Group:
    """Units with the same history: ``share`` of the layer, the paths of their input, and per layer the signal, what
    the activation sees and the slope there."""

    share: float
    cloud: Cloud
    start: SignedLog
    z: list[SignedLog] = field(default_factory=list)
    seen: list[SignedLog] = field(default_factory=list)
    slope: list[SignedLog] = field(default_factory=list)


@dataclass(frozen=True)
class Factors:
    """Of one group and layer: T and P of the cotangent of the signal, and of that at W x + b."""

    total: SignedLog
    own: SignedLog
    total_at: SignedLog
    own_at: SignedLog


def _one(like: SignedLog) -> SignedLog:
    return SignedLog.of(np.ones(like.log.shape))


class ExactBlocks:
    """What ``MeanField`` offers, for constant and eye weights in these blocks."""

    def __init__(self, spec: Spec) -> None:
        self.spec, self.depth = spec, spec.depth
        gain = resolve_gain(spec)
        self.origin, self.width = gain.origin, int(spec.layer_widths[0])
        self.constant = spec.init_entry.kind == "constant"
        self.inner = inner_layers(spec.residual, spec.depth + 1)
        self.inner[: spec.depth] = inner_layers(spec.residual, spec.depth)
        units = np.where(np.arange(spec.depth) > 0, self.width, 1) if self.constant else 1
        self.gains = np.append(gain.multipliers * units, gain.multipliers[-1] * (self.width if self.constant else 1))
        self.biases = np.append(bias_variances(spec), bias_variances(spec)[-1])
        self.moments = moments_of(spec.activation, spec.slope)
        self.rng = np.random.default_rng(1)

    # --- forward --------------------------------------------------------------------------------------------

    @cached_property
    def groups(self) -> list[Group]:
        """The units by their history, followed through all layers and one more."""
        spec = self.spec
        cloud = input_sum_cloud(spec) if self.constant else input_entry_cloud(spec, bool(self.biases.any()))
        if spec.input == "digits" and not self.constant and self.width < int(spec.fan_ins[0]):
            kept = cloud.points[np.arange(cloud.points.shape[0]) % int(spec.fan_ins[0]) < self.width]
            cloud = Cloud(kept, np.full(kept.shape, 1.0 / kept.size), True)
        points = SignedLog.of(cloud.points)
        fed = 1.0 if self.constant else min(1.0, float(spec.fan_ins[0]) / self.width)
        groups = [Group(fed, cloud, points)]
        if fed < 1.0:
            groups.append(Group(1.0 - fed, cloud, SignedLog.of(np.zeros(cloud.points.shape))))
        for group in groups:
            for i in range(self.depth + 1):
                z, seen = self._layer(i, group, None)
                group.z.append(z)
                group.seen.append(seen)
                group.slope.append(activate(self.moments, seen)[1])
        return groups

    def _layer(self, i: int, group: Group, below: SignedLog | None) -> tuple[SignedLog, SignedLog]:
        """(signal, what the activation sees) of layer index i; ``below`` in place of the signal of layer i - 1."""
        form, alpha = self.spec.residual, self.spec.alpha
        if i == 0:
            z = self._linear(0, group.start)
            return z, z
        h = group.z[i - 1] if below is None else below
        if form in ("post_activation", "resnet_v1"):
            z = self._linear(i, h)
            if form == "post_activation":
                return h.plus(activate(self.moments, z)[0].scaled(alpha)), z
            seen = h.plus(z.scaled(alpha))
            return activate(self.moments, seen)[0], seen
        z = self._linear(i, activate(self.moments, h)[0])
        if not self.inner[i]:
            z = (group.z[i - 2] if self.inner[i - 1] else h).plus(z.scaled(alpha))
        return z, z

    def _linear(self, i: int, x: SignedLog) -> SignedLog:
        z = x.scaled(float(self.gains[i]))
        if self.biases[i] > 0.0:  # one bias a unit (rows), common to its samples
            draw = math.sqrt(float(self.biases[i])) * self.rng.standard_normal((z.log.shape[0], 1))
            z = z.plus(SignedLog.of(draw + np.zeros(z.log.shape)))
        return z

    def _received(self, i: int, group: Group) -> SignedLog:
        """What the weights of layer index i > 0 multiply."""
        if self.spec.residual in ("post_activation", "resnet_v1"):
            return group.z[i - 1]
        return activate(self.moments, group.z[i - 1])[0]

    def _mean(self, logs: list[float]) -> float:
        """ln of the mean over the units of e^log, one log a group."""
        total = -math.inf
        for group, log in zip(self.groups, logs, strict=True):
            total = float(np.logaddexp(total, log + math.log(group.share)))
        return total

    def _pairs(self, values: list[SignedLog], log_square: float) -> float:
        """E f_a f_b / E f^2 over pairs of samples, 1 where f is zero."""
        if log_square == -math.inf:
            return 1.0
        total = 0.0
        for group, value in zip(self.groups, values, strict=True):
            sign, log = group.cloud.mean_pair(value)
            total += group.share * sign * math.exp(min(log - log_square, 700.0)) if sign else 0.0
        return float(np.clip(total, -1.0, 1.0))

    def _square(self, values: list[SignedLog]) -> float:
        return self._mean([g.cloud.mean_square(v) for g, v in zip(self.groups, values, strict=True)])

    @cached_property
    def log_q(self) -> Array:
        """ln E z^2."""
        return np.array([self._square([g.z[i] for g in self.groups]) for i in range(self.depth)])

    @cached_property
    def log_p(self) -> Array:
        """ln E (x^(l-1))^2."""
        rows = [self._square([self._received(i, g) for g in self.groups]) for i in range(1, self.depth)]
        return np.array([2.0 * math.log(self.spec.input_rms), *rows])

    @cached_property
    def correlations(self) -> tuple[Array, Array]:
        """Correlations of z^l and of x^(l-1), (L, 1) each."""
        first = input_correlations(self.spec)
        z = [self._pairs([g.z[i] for g in self.groups], self.log_q[i]) for i in range(self.depth)]
        x = [float(first.mean()) if first.size else 1.0]
        x += [self._pairs([self._received(i, g) for g in self.groups], self.log_p[i]) for i in range(1, self.depth)]
        return np.array(z)[:, None], np.array(x)[:, None]

    # --- backward -------------------------------------------------------------------------------------------

    def _factors(self, group: Group, top: int) -> list[Factors]:
        """From layer index ``top`` down to the first, at their indices."""
        one = _one(group.z[0])
        out = [Factors(one, one, one, one)] * (top + 1)
        total, own, held = one, one, (one, one)
        for i in range(top, -1, -1):
            step, below, held = self._pull(i, group, (total, own), held)
            out[i] = Factors(total, own, *step)
            total, own = below
        return out

    def _pull(self, i: int, group: Group, at: tuple, held: tuple) -> tuple[tuple, tuple, tuple]:
        """((T, P) at W x + b, at the signal below, at the stream beside an inner layer) of layer index i."""
        total, own = at
        if i == 0:
            return at, at, held
        alpha, gain = self.spec.alpha, float(self.gains[i])
        nothing = total.scaled(0.0) if self.constant else None  # what constant weights send back is common to the units
        if self.spec.residual in ("post_activation", "resnet_v1"):
            s, p = total.times(group.slope[i]), own.times(group.slope[i])
            step = s.scaled(alpha), p.scaled(alpha)
            beside = (total, own) if self.spec.residual == "post_activation" else (s, p)
            total = beside[0].plus(step[0].scaled(gain))
            return step, (total, beside[1] if self.constant else total), held
        step = at if self.inner[i] else (total.scaled(alpha), own.scaled(alpha))
        sent = step[0].scaled(gain).times(group.slope[i - 1])
        if self.inner[i - 1]:
            return step, (sent, nothing if nothing is not None else sent), at
        stream = held if self.inner[i] else at
        total = stream[0].plus(sent)
        return step, (total, stream[1] if self.constant else total), held

    @cached_property
    def _end(self) -> list[tuple[SignedLog | None, Array]]:
        """Per group: the part of delta^L that is a function of the path (None: independent over the samples), and
        ln of its mean square on the path."""
        n, spec = float(self.width), self.spec
        ends: list[tuple[SignedLog | None, Array]] = []
        for group in self.groups:
            z = group.z[self.depth - 1]
            if spec.loss == "mse":
                end = z.scaled(2.0 / n)
                ends.append((end, 2.0 * end.log))
            elif spec.loss == "random":
                ends.append((None, np.zeros(z.log.shape)))
            elif self.width == 1:
                ends.append((None, np.full(z.log.shape, -math.inf)))
            elif self.constant:  # equal logits
                ends.append((None, np.full(z.log.shape, math.log((1.0 - 1.0 / n) / n))))
            else:
                p = self._softmax(group)
                square = np.log(np.maximum(p * p - 2.0 * p / n + 1.0 / n, 1e-300))
                ends.append((SignedLog.of(p - 1.0 / n), square))
        return ends

    def _softmax(self, group: Group) -> Array:
        """e^z / sum e^z with the sum at its large-n value, at most 1."""
        values = [np.clip(g.z[self.depth - 1].value(), -1e6, 1e6) for g in self.groups]
        top = max(float(v.max()) for v in values)
        pairs = zip(self.groups, values, strict=True)
        mean = sum(g.share * float(np.sum(g.cloud.weight * np.exp(v - top))) for g, v in pairs)
        mine = values[[g is group for g in self.groups].index(True)]
        return np.minimum(np.exp(mine - top) / (self.width * mean), 1.0)

    def _path_square(self, total: SignedLog, own: SignedLog, end: Array) -> Array:
        """ln of a unit's mean square cotangent on every path."""
        n = float(self.width)
        if not self.constant or self.spec.loss == "mse":
            return end + 2.0 * total.log
        if self.spec.loss == "cross_entropy":  # softmax minus onehot sums to zero over the units
            return end + 2.0 * own.log
        alone = 2.0 * own.log + (math.log1p(-1.0 / n) if n > 1 else -math.inf)
        return np.logaddexp(alone, 2.0 * total.log - math.log(n))

    def _moments(self, factors: list[tuple[SignedLog, SignedLog]]) -> tuple[float, float]:
        """(ln E t^2, E t_a t_b / E t^2) of a cotangent, (T, P) a group."""
        squares, shared = [], []
        for group, (total, own), (end, square) in zip(self.groups, factors, self._end, strict=True):
            squares.append(log_mean(self._path_square(total, own, square), group.cloud.weight))
            shared.append(None if end is None else end.times(total))
        log = self._mean(squares)
        if log == -math.inf or any(value is None for value in shared):
            return log, 0.0
        return log, self._pairs([value for value in shared if value is not None], log)

    @cached_property
    def _gradients(self) -> dict[str, Array]:
        """log_g, log_t (at W x + b) and the correlations over samples of both, (L,) each."""
        per_group = [self._factors(g, self.depth - 1) for g in self.groups]
        signal = [self._moments([(f[i].total, f[i].own) for f in per_group]) for i in range(self.depth)]
        at = [self._moments([(f[i].total_at, f[i].own_at) for f in per_group]) for i in range(self.depth)]
        rows = [*zip(*signal, strict=True), *zip(*at, strict=True)]
        return dict(zip(("log_g", "ratio", "log_t", "ratio_t"), (np.array(row) for row in rows), strict=True))

    @property
    def backward(self) -> tuple[Array, Array]:
        """(log_g, correlation of the cotangents (L, 1))."""
        return self._gradients["log_g"], self._gradients["ratio"][:, None]

    @property
    def log_g(self) -> Array:
        """ln E delta^2."""
        return self._gradients["log_g"]

    @cached_property
    def parameter_gradients(self) -> tuple[Array, Array]:
        """(log_dw, log_db): eye entries i != j dominate, whose units are independent; constant weights join cotangent
        and input on one path."""
        rows, b = self._gradients, self.spec.batch_size
        pairs = rows["ratio_t"] * self.correlations[1][:, 0]
        with np.errstate(divide="ignore"):
            log_dw = rows["log_t"] + self.log_p + np.log(batch_share(pairs, b))
            log_db = rows["log_t"] + np.log(batch_share(rows["ratio_t"], b))
        if self.constant:
            factors = self._factors(self.groups[0], self.depth - 1)
            log_dw[1:] = [self._joint(i, factors[i]) for i in range(1, self.depth)]
        return log_dw, log_db

    def _joint(self, i: int, factors: Factors) -> float:
        """ln of the mean square weight gradient of layer index i > 0 where one path carries delta and x."""
        group, b = self.groups[0], self.spec.batch_size
        end, square = self._end[0]
        x = self._received(i, group)
        logs = self._path_square(factors.total_at, factors.own_at, square) + 2.0 * x.log
        own = log_mean(logs, group.cloud.weight)
        if own == -math.inf or end is None or b == 1:
            return own - math.log(b)
        sign, log = group.cloud.mean_pair(end.times(factors.total_at).times(x))
        share = float(batch_share(np.array(sign * math.exp(min(log - own, 0.0)) if sign else 0.0), b))
        return own + (math.log(share) if share > 0.0 else -math.inf)

    # --- factors and shares ---------------------------------------------------------------------------------

    @cached_property
    def chi(self) -> Array:
        """(L,) factor of the squared gradient norm per layer for an independent cotangent; one more layer on top."""
        logs = []
        per_group = [self._factors(g, self.depth) for g in self.groups]
        for i in range(self.depth + 1):
            ends = zip(self.groups, per_group, strict=True)
            squares = [log_mean(self._random_square(f[i]), g.cloud.weight) for g, f in ends]
            logs.append(self._mean(squares))
        with np.errstate(invalid="ignore", over="ignore"):
            return np.nan_to_num(np.exp(np.array(logs[:-1]) - np.array(logs[1:])), nan=0.0, posinf=math.inf)

    def _random_square(self, factors: Factors) -> Array:
        if not self.constant:
            return 2.0 * factors.total.log
        n = float(self.width)
        alone = 2.0 * factors.own.log + (math.log1p(-1.0 / n) if n > 1 else -math.inf)
        return np.logaddexp(alone, 2.0 * factors.total.log - math.log(n))

    @cached_property
    def chi_parallel(self) -> Array:
        """(L,) slope of the next signal's second moment with this one's, by central differences on the paths."""
        return np.array([self._slope(i) for i in range(self.depth)])

    def _slope(self, i: int) -> float:
        log_q = float(self.log_q[i])
        if log_q == -math.inf:
            return 0.0
        ends = []
        for sign in (1.0, -1.0):
            self.rng = np.random.default_rng(2)  # the same biases on both sides
            scaled = [g.z[i].scaled(math.exp(0.5 * sign * STEP)) for g in self.groups]
            nexts = [self._layer(i + 1, g, z)[0] for g, z in zip(self.groups, scaled, strict=True)]
            ends.append(self._square(nexts))
        if -math.inf in ends:
            return 0.0
        size = math.exp(min(0.5 * (ends[0] + ends[1]) - log_q, 700.0))
        return size * (ends[0] - ends[1]) / (2.0 * STEP)

    @cached_property
    def saturated(self) -> Array:
        """(L,) share of units and samples with a small slope."""
        out = np.zeros(self.depth)
        for i in range(self.depth):
            for group in self.groups:
                value = group.seen[i].value()
                inside = sum((value > low) & (value <= high) for low, high in self.moments.small_slope_intervals)
                out[i] += group.share * float(np.sum(group.cloud.weight * inside))
        return out

    def dead(self, i: int, flat: tuple[tuple[float, float], ...]) -> float:
        """Share of units of layer index i with phi' = 0 on every sample of the batch."""
        total = 0.0
        for group in self.groups:
            value = group.seen[i].value()
            inside = np.zeros(value.shape, dtype=bool)
            for low, high in flat:
                inside |= (value >= low) & (value <= high)
            total += group.share * all_flat(group.cloud, inside, self.spec.batch_size)
        return total
