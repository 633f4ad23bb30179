"""Constant weights with random biases in residual blocks beyond identity: sampled units around exact common sums.

All weights are g, so W x = g sum_j x_j is one number for all units. Units differ by their biases alone, which a block
keeps on its stream: N units with seeded biases are followed on every path of the input (``theory.paths``). A row of
paths is one network, in which each of the N units stands for n/N of them, up to a random count: so a sum over n units
scatters about n times the mean as it should (it matters where the mean is small: odd activations). Backwards the same:
a cotangent's sum over the units comes back to all of them. A part of it that is independent over the units (random
labels, the random loss) adds up to a random sum, of which one draw on every path is followed beside the units' own
parts.

Validity: n large. Sampled: some percent, more where rare networks make a mean.
Status: infinite width. Checked against torch by tests/test_exact_units.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gradcore.residual import inner_layers
from gradcore.theory.critical import bias_variances, resolve_gain
from gradcore.theory.gaussian import moments_of
from gradcore.theory.inputs import input_correlations
from gradcore.theory.network_paths import input_sums
from gradcore.theory.paths import Cloud, all_flat
from gradcore.theory.signed_log import SignedLog, activate, log_mean

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray
ENTRIES = 2**20  # units times paths times layers
UNITS = 48, 256  # fewest and most
STEP = 1e-3  # of ln q, for slopes


def _spread(x: SignedLog, shape: tuple[int, ...]) -> SignedLog:
    return SignedLog(np.broadcast_to(x.sign, shape), np.broadcast_to(x.log, shape))


def _sum(x: SignedLog, weight: Array | float) -> SignedLog:
    """sum over the units (first axis) of weight x, kept as an axis; 0 where nothing but rounding is left of it."""
    top = x.log.max(axis=0, keepdims=True)
    safe = np.where(np.isneginf(top), 0.0, top)
    terms = x.sign * np.exp(x.log - safe) * weight
    total = terms.sum(axis=0, keepdims=True)
    total = np.where(np.abs(total) > 1e-13 * np.abs(terms).sum(axis=0, keepdims=True), total, 0.0)
    with np.errstate(divide="ignore"):
        return SignedLog(np.sign(total), safe + np.log(np.abs(total)))


@dataclass(frozen=True)
class Parts:
    """A cotangent: ``own`` times noise that is independent over units and samples, ``common`` one draw of what sums of
    it send back, ``seen`` a function of the path; (N, T, V) each."""

    own: SignedLog
    common: SignedLog
    seen: SignedLog

    def times(self, factor: SignedLog) -> Parts:
        """The product with a number for each unit and path."""
        return Parts(self.own.times(factor), self.common.times(factor), self.seen.times(factor))

    def scaled(self, factor: float) -> Parts:
        """A multiple."""
        return Parts(self.own.scaled(factor), self.common.scaled(factor), self.seen.scaled(factor))

    def plus(self, other: Parts) -> Parts:
        """The sum with one that has no noise of its own."""
        return Parts(self.own, self.common.plus(other.common), self.seen.plus(other.seen))

    def square(self, noise: Array) -> Array:
        """ln of the mean square of every unit and path, (N, T, V); ``noise``, of the own parts, times 2/sqrt(n) of n
        units (what a unit gets back of its own share in a sum is as large as the square of the sum)."""
        parts = np.logaddexp(np.logaddexp(2.0 * self.own.log, 2.0 * self.common.log), 2.0 * self.seen.log)
        parts = np.broadcast_to(parts, noise.shape)
        whole = SignedLog(np.ones(()), parts).plus(_sum(self.own.times(self.common), noise / math.sqrt(len(noise))))
        return np.where(whole.sign > 0, whole.log, parts)


class ExactUnits:
    """What ``MeanField`` offers, for constant weights with biases in these blocks."""

    sampled = True

    def __init__(self, spec: Spec) -> None:
        self.spec, self.depth, self.width = spec, spec.depth, int(spec.layer_widths[0])
        gain = resolve_gain(spec)
        self.origin = gain.origin
        self.inner = inner_layers(spec.residual, spec.depth + 1)
        self.inner[: spec.depth] = inner_layers(spec.residual, spec.depth)
        self.gains = np.append(gain.multipliers, gain.multipliers[-1])
        self.biases = np.append(bias_variances(spec), bias_variances(spec)[-1])
        self.moments = moments_of(spec.activation, spec.slope)
        self.paths, self.gram = input_sums(spec)
        few, many = UNITS
        self.units = max(few, min(many, ENTRIES // (self.paths.points.size * (spec.depth + 1))))
        self.shape = (self.units, *self.paths.points.shape)
        self.rng = np.random.default_rng(1)
        g = self._directions(self.shape[1])[:, :, None]
        ratio = self.width / self.units
        # how often each unit stands in the network of a row: sums over n units scatter by sqrt(n)
        self.count = ratio + math.sqrt(ratio) * (g - g.mean(axis=0)) if self.width > 1 else np.full(g.shape, ratio)

    def _directions(self, rows: int) -> Array:
        """(N, T) normals, in blocks of orthogonal columns of mean square 1: together they scatter less."""
        blocks = [
            np.linalg.qr(self.rng.standard_normal((self.units, min(self.units, rows - start))))[0]
            for start in range(0, rows, self.units)
        ]
        return math.sqrt(self.units) * np.hstack(blocks)

    @cached_property
    def cloud(self) -> Cloud:
        """Every unit's paths, rows of samples."""
        rows = (-1, self.shape[2])
        weight = np.broadcast_to(self.paths.weight / self.units, self.shape).reshape(rows)
        return Cloud(np.broadcast_to(self.paths.points, self.shape).reshape(rows), weight, self.paths.finite)

    def _square(self, logs: Array) -> float:
        return log_mean(logs.reshape(-1, self.shape[2]), self.cloud.weight)

    def _pair(self, x: SignedLog, log_square: float) -> float:
        """E x_a x_b / E x^2 over pairs of samples, 1 where x is zero."""
        if log_square == -math.inf:
            return 1.0
        rows = (-1, self.shape[2])
        sign, log = self.cloud.mean_pair(SignedLog(x.sign.reshape(rows), x.log.reshape(rows)))
        return float(np.clip(sign * math.exp(min(log - log_square, 700.0)) if sign else 0.0, -1.0, 1.0))

    # --- forward --------------------------------------------------------------------------------------------

    @cached_property
    def _draws(self) -> list[SignedLog]:
        """(N, 1, 1) biases of every layer: normal quantiles in random order."""
        from scipy.special import ndtri

        quantiles, known = ndtri((np.arange(self.units) + 0.5) / self.units), np.ones((1, self.units))
        draws = []
        for variance in self.biases:
            g = quantiles[self.rng.permutation(self.units)]
            g = g - np.linalg.lstsq(known.T, g, rcond=None)[0] @ known  # no correlation with the layers below
            g /= math.sqrt(float(np.mean(g * g)))
            known = np.vstack([known[:1], known[1:][-(self.units // 4) :], g])
            draws.append(SignedLog.of((math.sqrt(variance) * g)[:, None, None]))
        return draws

    @cached_property
    def _layers(self) -> list[tuple[SignedLog, SignedLog, SignedLog]]:
        """(signal, what the activation sees, the slope there) of all layers and one more."""
        layers: list[tuple[SignedLog, SignedLog, SignedLog]] = []
        for i in range(self.depth + 1):
            signals = [layer[0] for layer in layers]
            z, seen = (_spread(part, self.shape) for part in self._layer(i, signals))
            layers.append((z, seen, activate(self.moments, seen)[1]))
        return layers

    def _layer(self, i: int, below: list[SignedLog]) -> tuple[SignedLog, SignedLog]:
        """(signal, what the activation sees) of layer index i above the signals ``below``."""
        form, alpha = self.spec.residual, self.spec.alpha
        if i == 0:
            z = SignedLog.of(self.paths.points[None]).scaled(float(self.gains[0])).plus(self._draws[0])
            return z, z
        h = below[-1]
        if form in ("post_activation", "resnet_v1"):
            z = self._linear(i, h)
            if form == "post_activation":
                return h.plus(activate(self.moments, z)[0].scaled(alpha)), z
            seen = h.plus(z.scaled(alpha))
            return activate(self.moments, seen)[0], seen
        z = self._linear(i, activate(self.moments, h)[0])
        if not self.inner[i]:
            z = (below[-2] if self.inner[i - 1] else h).plus(z.scaled(alpha))
        return z, z

    def _linear(self, i: int, x: SignedLog) -> SignedLog:
        z = _sum(x, self.count).scaled(float(self.gains[i]))
        return z.plus(self._draws[i]) if self.biases[i] > 0.0 else z

    def _received(self, i: int) -> SignedLog:
        """What the weights of layer index i > 0 multiply."""
        z = self._layers[i - 1][0]
        return z if self.spec.residual in ("post_activation", "resnet_v1") else activate(self.moments, z)[0]

    @cached_property
    def log_q(self) -> Array:
        """ln E z^2."""
        return np.array([self._square(2.0 * z.log) for z, _, _ in self._layers[: self.depth]])

    @cached_property
    def log_p(self) -> Array:
        """ln E (x^(l-1))^2."""
        rows = [self._square(2.0 * self._received(i).log) for i in range(1, self.depth)]
        return np.array([2.0 * math.log(self.spec.input_rms), *rows])

    @cached_property
    def correlations(self) -> tuple[Array, Array]:
        """Correlations of z^l and of x^(l-1), (L, 1) each."""
        first = input_correlations(self.spec)
        z = [self._pair(self._layers[i][0], self.log_q[i]) for i in range(self.depth)]
        x = [float(first.mean()) if first.size else 1.0]
        x += [self._pair(self._received(i), self.log_p[i]) for i in range(1, self.depth)]
        return np.array(z)[:, None], np.array(x)[:, None]

    # --- backward -------------------------------------------------------------------------------------------

    def _end(self, loss: str, top: int) -> tuple[Parts, Array]:
        """(the cotangent of layer index ``top``, the noise of its own part, (N, T, V))."""
        n, zero = float(self.width), _spread(SignedLog.of(np.zeros((1, 1, 1))), self.shape)
        z = self._layers[top][0]
        noise = self.rng.standard_normal(self.shape)
        if loss == "mse":
            return Parts(zero, zero, z.scaled(2.0 / n)), noise
        weight = np.ones(self.shape)
        if self.spec.residual in ("post_activation", "resnet_v1"):
            weight = self._layers[top][2].value()
        seen, size = zero, 1.0
        if loss == "cross_entropy":  # softmax minus onehot sums to zero over the units
            value = np.clip(z.value(), -1e6, 1e6)
            p = np.exp(value - value.max(axis=0))
            total = (self.count * p).sum(axis=0)
            p = p / np.where(total > 0.0, total, n * p.mean(axis=0))
            seen = SignedLog.of(np.minimum(p, 1.0) - 1.0 / n)
            size = math.sqrt((1.0 - 1.0 / n) / n)
            noise = noise - noise.mean(axis=0)
        top = np.abs(weight).max(axis=0)
        weight = weight - weight.mean(axis=0) if loss == "cross_entropy" else weight
        length = np.sqrt(np.sum(weight**2, axis=0))
        # the first sum that is met has exactly its standard deviation, so that few paths do for its square
        along = weight / np.where(length > 1e-9 * top, length, np.inf)
        noise = noise - along * np.sum(along * noise, axis=0) + along * self.rng.choice([-1.0, 1.0], self.shape[1:])
        return Parts(_spread(SignedLog.of(np.full((1, 1, 1), size)), self.shape), zero, seen), noise

    def _sent(self, i: int, at: Parts, noise: Array) -> Parts:
        """W^T of a cotangent: its sum over the units, for all of them."""
        ratio, zero = self.width / self.units, SignedLog.of(np.zeros((1, 1, 1)))
        common = _sum(at.own, math.sqrt(ratio) * noise).plus(_sum(at.common, self.count))
        return Parts(zero, common, _sum(at.seen, self.count)).scaled(float(self.gains[i]))

    def _pull(self, i: int, delta: Parts, held: Parts | None, noise: Array) -> tuple[Parts, Parts, Parts | None]:
        """(cotangent at W x + b, at the signal below, at the stream beside an inner layer) of layer index i > 0."""
        alpha = self.spec.alpha
        if self.spec.residual in ("post_activation", "resnet_v1"):
            passed = delta.times(self._layers[i][2])
            at = passed.scaled(alpha)
            beside = delta if self.spec.residual == "post_activation" else passed
            return at, beside.plus(self._sent(i, at, noise)), None
        at = delta if self.inner[i] else delta.scaled(alpha)
        sent = self._sent(i, at, noise).times(self._layers[i - 1][2])
        if self.inner[i - 1]:
            return at, sent, delta
        stream = held if self.inner[i] else delta
        assert stream is not None
        return at, stream.plus(sent), None

    def _backward(self, loss: str, top: int) -> list[tuple[Parts, Array, Parts, Array]]:
        """(at the signal, ln of its square, at W x + b, ln of its square) of layer indices 0 .. top."""
        if loss == "cross_entropy" and self.width == 1:
            loss, factor = "random", 0.0  # the softmax of one class is constant
        else:
            factor = 1.0
        end, noise = self._end(loss, top)
        delta, held = end.scaled(factor), None
        found = []
        for i in range(top, -1, -1):
            at, below, held = self._pull(i, delta, held, noise) if i else (delta, delta, None)
            own = 2.0 / math.sqrt(self.width) * noise
            found.append((delta, delta.square(own), at, at.square(own)))
            delta = below
        return found[::-1]

    @cached_property
    def _gradients(self) -> dict[str, Array]:
        """log_g, log_dw, log_db and the cotangents' correlation over samples, (L,) each."""
        rows = []
        for i, (delta, square, at, square_at) in enumerate(self._backward(self.spec.loss, self.depth - 1)):
            log_g = self._square(square)
            ratio = self._pair(_spread(delta.seen, self.shape), log_g) if log_g > -math.inf else 0.0
            rows.append((log_g, ratio, *(self._parameter(at, square_at, k) for k in (i, None))))
        return dict(zip(("log_g", "ratio", "log_dw", "log_db"), np.array(rows).T, strict=True))

    def _parameter(self, at: Parts, square: Array, i: int | None) -> float:
        """ln of the mean square gradient of layer index i's weights (None: biases): on every path the units' mean
        square, or their mean product for a pair of samples, of cotangent and input."""
        b = self.spec.batch_size
        one = SignedLog.of(np.ones((1, 1, 1)))
        x = self._received(i) if i else one.scaled(self.spec.input_rms if i == 0 else 1.0)
        log_t = _sum(SignedLog(np.ones(()), square), 1.0 / self.units).log[0]
        log_x = _sum(SignedLog(np.ones(()), 2.0 * np.broadcast_to(x.log, self.shape)), 1.0 / self.units).log[0]
        own = log_mean(log_t + log_x, self.paths.weight)
        if own == -math.inf or b == 1:
            return own - math.log(b)
        seen, x = _spread(at.seen, self.shape), _spread(x, self.shape)
        tops = float(seen.log.max()), float(x.log.max())
        if tops[0] == -math.inf:
            return own - math.log(b)
        t, y = (f.sign * np.exp(f.log - top) for f, top in zip((seen, x), tops, strict=True))
        total = self._over_pairs(t, y, i)
        log_pair = 2.0 * sum(tops) + math.log(abs(total)) if total else -math.inf
        share = (1.0 + (b - 1) * math.copysign(math.exp(min(log_pair - own, 0.0)), total)) / b
        return own + math.log(share) if share > 1e-12 / b else -math.inf

    def _over_pairs(self, t: Array, x: Array, i: int | None) -> float:
        """Mean over networks and pairs of their samples of (mean of t_a t_b over units) (mean of x_a x_b)."""
        products = np.einsum("ntv,ntw->tvw", t, t) / self.units
        inputs = np.einsum("ntv,ntw->tvw", x, x) / self.units
        if i == 0:  # of x only its sum is on the path
            whole = np.full((1, 1, 1), self.spec.input_correlation)
            inputs = whole if self.gram is None else self.gram[None] / self.spec.input_rms**2
        row = self.paths.weight
        weight = row[:, :, None] * row[:, None, :] / row.sum(axis=1)[:, None, None]
        if self.paths.finite:
            count = self.shape[2]
            weight = weight * (1.0 - np.eye(count)) * count / max(count - 1, 1)
        return float(np.sum(weight * products * inputs))

    @property
    def log_g(self) -> Array:
        """ln E delta^2."""
        return self._gradients["log_g"]

    @property
    def backward(self) -> tuple[Array, Array]:
        """(log_g, correlation of the cotangents (L, 1))."""
        return self.log_g, self._gradients["ratio"][:, None]

    @property
    def parameter_gradients(self) -> tuple[Array, Array]:
        """(log_dw, log_db)."""
        return self._gradients["log_dw"], self._gradients["log_db"]

    # --- factors and shares ---------------------------------------------------------------------------------

    @cached_property
    def chi(self) -> Array:
        """(L,) factor of the squared gradient norm per layer for an independent cotangent; one more layer on top."""
        logs = np.array([self._square(square) for _, square, _, _ in self._backward("random", self.depth)])
        with np.errstate(invalid="ignore", over="ignore"):
            return np.nan_to_num(np.exp(logs[:-1] - logs[1:]), nan=0.0, posinf=math.inf)

    @cached_property
    def chi_parallel(self) -> Array:
        """(L,) slope of the next signal's second moment with this one's, by central differences on the same units."""
        return np.array([self._slope(i) for i in range(self.depth)])

    def _slope(self, i: int) -> float:
        log_q = float(self.log_q[i])
        if log_q == -math.inf:
            return 0.0
        below = [layer[0] for layer in self._layers[max(i - 1, 0) : i]]
        ends = []
        for sign in (1.0, -1.0):
            scaled = self._layers[i][0].scaled(math.exp(0.5 * sign * STEP))
            ends.append(self._square(2.0 * _spread(self._layer(i + 1, [*below, scaled])[0], self.shape).log))
        if -math.inf in ends:
            return 0.0
        size = math.exp(min(0.5 * (ends[0] + ends[1]) - log_q, 700.0))
        return size * (ends[0] - ends[1]) / (2.0 * STEP)

    def _inside(self, i: int, intervals: tuple[tuple[float, float], ...]) -> Array:
        """(N T, V) whether what the activation sees lies in one of these intervals."""
        value = self._layers[i][1].value().reshape(-1, self.shape[2])
        inside = np.zeros(value.shape, dtype=bool)
        for low, high in intervals:
            inside |= (value >= low) & (value <= high)
        return inside

    @cached_property
    def saturated(self) -> Array:
        """(L,) share of units and samples with a small slope."""
        intervals = tuple(self.moments.small_slope_intervals)
        return np.array([float(np.sum(self.cloud.weight * self._inside(i, intervals))) for i in range(self.depth)])

    def dead(self, i: int, flat: tuple[tuple[float, float], ...]) -> float:
        """Share of units of layer index i with phi' = 0 on every sample of the batch."""
        return all_flat(self.cloud, self._inside(i, flat), self.spec.batch_size)
