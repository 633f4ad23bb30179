"""Signal and gradient of constant and eye weights, by following the exact map (see ``theory.paths``).

The classes offer what ``MeanField`` offers: log_q, log_p, correlations, chi, chi_parallel, log_g, parameter
gradients, saturated share. log_q, log_p, log_g are exact at any width without biases; parameter gradients
leave out terms of order B / width (entries i = j of eye, layer 1 of constant), biases others of order 1 / width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gradcore.theory.critical import bias_variances, resolve_gain
from gradcore.theory.gaussian import composite, moments_of
from gradcore.theory.inputs import digits_batch, input_correlations
from gradcore.theory.loss import softmax_second_moment
from gradcore.theory.paths import Cloud, all_flat, input_sum_cloud
from gradcore.theory.signed_log import SignedLog, activate, log_mean

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray


@dataclass(frozen=True)
class _Layer:
    """One layer on every path: z (mean over units), E x, E x^2, E phi', E phi'^2 over the units' biases."""

    z: SignedLog
    log_bias: float
    x: SignedLog
    log_x2: Array
    slope: SignedLog
    log_slope2: Array
    small: Array


class ConstantField:
    """Every weight equal to g: z' = g n phi(z) (+ bias), one scalar map per sample."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        gain = resolve_gain(spec)
        self.gains, self.origin = gain.multipliers, gain.origin
        self.skip, self.alpha = spec.residual != "none", spec.alpha if spec.residual != "none" else 1.0
        self.moments = moments_of(spec.activation, spec.slope)
        self.biases = bias_variances(spec)
        self.cloud: Cloud = input_sum_cloud(spec)
        small = self.cloud.points.size > 4096
        if self.biases.any():
            z, w = composite(np.array([-9.0, -3.0, -1.0, 0.0, 1.0, 3.0, 9.0]), 3 if small else 12)
            w = w * np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
            self.bias_nodes, self.bias_weight = z, w / w.sum()
        else:
            self.bias_nodes, self.bias_weight = np.zeros(1), np.ones(1)

    # --- forward --------------------------------------------------------------------------------------------

    def _layers(self) -> Iterator[_Layer]:
        """The layers 1..L on all paths."""
        spec = self.spec
        z = SignedLog.of(self.cloud.points).scaled(float(self.gains[0]))
        variance = 0.0
        for i in range(spec.depth):
            variance = variance + self.alpha**2 * self.biases[i] if (self.skip and i) else float(self.biases[i])
            layer = self._unit(z, variance)
            yield layer
            if i + 1 < spec.depth:
                branch = layer.x.scaled(float(self.gains[i + 1]) * float(spec.layer_widths[i]) * self.alpha)
                z = z.plus(branch) if self.skip else branch

    def _unit(self, z: SignedLog, variance: float) -> _Layer:
        shifted = SignedLog(z.sign[..., None], z.log[..., None])
        if variance > 0:
            nodes = SignedLog.of(self.bias_nodes * math.sqrt(variance))
            shifted = shifted.plus(SignedLog(nodes.sign + 0 * shifted.sign, nodes.log + 0 * shifted.sign))
        x, slope = activate(self.moments, shifted)
        log_bias = math.log(variance) if variance > 0 else -math.inf
        inside = np.zeros(shifted.log.shape)
        value = shifted.value()
        for low, high in self.moments.small_slope_intervals:
            inside += (value > low) & (value <= high)
        return _Layer(
            z,
            log_bias,
            self._mean(x),
            self._log_mean(2.0 * x.log),
            self._mean(slope),
            self._log_mean(2.0 * slope.log),
            inside @ self.bias_weight,
        )

    def _mean(self, x: SignedLog) -> SignedLog:
        top = x.log.max(axis=-1)
        safe = np.where(np.isneginf(top), 0.0, top)
        total = (x.sign * np.exp(x.log - safe[..., None])) @ self.bias_weight
        with np.errstate(divide="ignore"):
            return SignedLog(np.sign(total), safe + np.log(np.abs(total)))

    def _log_mean(self, logs: Array) -> Array:
        top = logs.max(axis=-1)
        safe = np.where(np.isneginf(top), 0.0, top)
        with np.errstate(divide="ignore"):
            return safe + np.log(np.exp(logs - safe[..., None]) @ self.bias_weight)

    @cached_property
    def forward_pass(self) -> dict[str, Array]:
        """Everything that one forward sweep gives, each (L,), and the total factor of the sum of cotangents."""
        spec, depth = self.spec, self.spec.depth
        names = ("log_q", "log_p", "log_pair_z", "sign_pair_z", "log_pair_x", "sign_pair_x")
        out = {name: np.full(depth, -math.inf) for name in (*names, "chi", "chi_parallel", "saturated")}
        out["log_p"][0] = 2 * math.log(spec.input_rms)
        weight = self.cloud.weight
        for i, layer in enumerate(self._all_layers):
            out["log_q"][i] = np.logaddexp(self.cloud.mean_square(layer.z), layer.log_bias)
            out["sign_pair_z"][i], pair = self.cloud.mean_pair(layer.z)
            bias = math.exp(layer.log_bias - out["log_q"][i]) if layer.log_bias > -math.inf else 0.0
            own = math.exp(pair - out["log_q"][i]) if pair > -math.inf else 0.0
            out["log_pair_z"][i] = out["sign_pair_z"][i] * own + bias
            if i + 1 < depth:
                out["log_p"][i + 1] = log_mean(layer.log_x2, weight)
                out["sign_pair_x"][i + 1], out["log_pair_x"][i + 1] = self.cloud.mean_pair(layer.x)
            out["chi"][i], out["chi_parallel"][i] = self._slopes(i, layer, out["log_q"][i])
            out["saturated"][i] = float(np.sum(weight * layer.small))
        return out

    def _slopes(self, i: int, layer: _Layer, log_q: float) -> tuple[float, float]:
        """chi (squared factor of the summed cotangent) and chi_parallel, averaged over the paths."""
        step = self._factor(min(i, self.spec.depth - 2) + 1, i, layer)
        with np.errstate(over="ignore"):
            chi = math.exp(min(log_mean(2.0 * step.log, self.cloud.weight), 700.0))
            if log_q == -math.inf:  # no signal: the map stays at 0
                return chi, 1.0 if self.skip else 0.0
            logs = layer.x.log + layer.slope.log + layer.z.log - log_q
            logs += 2.0 * math.log(abs(self._gain_times_width(min(i, self.spec.depth - 2) + 1, i)) or 1e-300)
            sign = layer.x.sign * layer.slope.sign * layer.z.sign
            parallel = float(np.sum(self.cloud.weight * sign * np.exp(np.minimum(logs, 700.0))))
        return chi, (1.0 + self.alpha**2 * parallel if self.skip else parallel)

    def _gain_times_width(self, above: int, i: int) -> float:
        above = min(above, self.spec.depth - 1)
        return float(self.gains[above]) * float(self.spec.layer_widths[i])

    def _factor(self, above: int, i: int, layer: _Layer) -> SignedLog:
        """The factor of the summed cotangent from layer ``above`` to layer i (indices)."""
        branch = layer.slope.scaled(self._gain_times_width(above, i) * self.alpha)
        return branch.plus(SignedLog.of(np.ones(branch.log.shape))) if self.skip else branch

    @property
    def log_q(self) -> Array:
        """ln E z^2."""
        return self.forward_pass["log_q"]

    @property
    def log_p(self) -> Array:
        """ln E (x^(l-1))^2."""
        return self.forward_pass["log_p"]

    @cached_property
    def correlations(self) -> tuple[Array, Array]:
        """Correlations of z^l and of x^(l-1), (L, 1) each, averaged over pairs."""
        f = self.forward_pass
        z = np.where(np.isneginf(f["log_q"]), 1.0, f["log_pair_z"])
        with np.errstate(invalid="ignore"):
            x = np.where(np.isneginf(f["log_p"]), 1.0, f["sign_pair_x"] * np.exp(f["log_pair_x"] - f["log_p"]))
        first = input_correlations(self.spec)
        x[0] = float(first.mean()) if first.size else 1.0
        return np.clip(np.nan_to_num(z), -1, 1)[:, None], np.clip(np.nan_to_num(x), -1, 1)[:, None]

    @property
    def chi(self) -> Array:
        """(L,) squared factor per layer of the cotangent summed over units."""
        return self.forward_pass["chi"]

    @property
    def chi_parallel(self) -> Array:
        """(L,) slope of the second moment's map."""
        return self.forward_pass["chi_parallel"]

    @property
    def saturated(self) -> Array:
        """(L,) share of units and samples with a small slope."""
        return self.forward_pass["saturated"]

    def dead(self, i: int, flat: tuple[tuple[float, float], ...]) -> float:
        """Share of units of layer index i with phi' = 0 on every sample: units differ by their biases alone."""
        z, log_bias = self._all_layers[i].z.value(), self._all_layers[i].log_bias
        spread = math.exp(0.5 * log_bias) if log_bias > -math.inf else 0.0
        share = 0.0
        for node, weight in zip(self.bias_nodes, self.bias_weight, strict=True):
            inside = np.zeros(z.shape, dtype=bool)
            for low, high in flat:
                inside |= (z + spread * node >= low) & (z + spread * node <= high)
            share += float(weight) * all_flat(self.cloud, inside, self.spec.batch_size)
        return share

    # --- backward -------------------------------------------------------------------------------------------

    @cached_property
    def _all_layers(self) -> list[_Layer]:
        return list(self._layers())

    @cached_property
    def _suffix(self) -> list[SignedLog]:
        """T^l: factor of the summed cotangent from the output to layer l, for every layer (index l - 1)."""
        layers = self._all_layers
        total = SignedLog.of(np.ones(self.cloud.points.shape))
        out = [total] * len(layers)
        for i in range(len(layers) - 2, -1, -1):
            total = total.times(self._factor(i + 1, i, layers[i]))
            out[i] = total
        return out

    def _cotangent(self, i: int) -> tuple[SignedLog, Array]:
        """delta^l on every path: a signed value common to the units, and ln of the mean square over units."""
        suffix, layers, depth = self._suffix, self._all_layers, self.spec.depth
        n = float(self.spec.layer_widths[-1])
        end = layers[-1].z.scaled(2.0 / n) if self.spec.loss == "mse" else SignedLog.of(np.zeros_like(suffix[0].log))
        bias = math.log(4.0) - 2.0 * math.log(n) + layers[-1].log_bias if self.spec.loss == "mse" else -math.inf
        if i == depth - 1 or (self.skip and self.spec.loss == "cross_entropy"):
            if self.spec.loss == "mse":
                return end, np.logaddexp(2.0 * end.log, bias)
            return end, np.full(end.log.shape, self._log_end)
        if self.skip:
            total = suffix[i]
            if self.spec.loss == "mse":
                common = end.times(total)
                return common, np.logaddexp(2.0 * common.log, bias)
            aligned = total.plus(SignedLog.of(np.full(total.log.shape, -1.0))).scaled(1.0 / n)
            spread = aligned.plus(aligned).plus(SignedLog(np.abs(aligned.sign), 2 * aligned.log + math.log(n)))
            return end, spread.plus(SignedLog.of(np.ones(total.log.shape))).log
        if self.spec.loss == "cross_entropy":
            return end, np.full(end.log.shape, -math.inf)
        # the sum over the units above, times g, times phi'
        log_gain = math.log(abs(float(self.gains[i + 1])) or 1e-300)
        above = suffix[i + 1]
        if self.spec.loss == "mse":
            common = end.scaled(n).times(above).times(layers[i].slope).scaled(float(self.gains[i + 1]))
            square = 2.0 * (math.log(n) + end.log + above.log + log_gain) + layers[i].log_slope2
            return common, square
        return end, math.log(n) + 2.0 * (above.log + log_gain) + layers[i].log_slope2

    @cached_property
    def _log_end(self) -> float:
        """ln E (delta^L)^2 of the random and cross-entropy losses."""
        if self.spec.loss == "random":
            return 0.0
        k = int(self.spec.layer_widths[-1])
        if k == 1:
            return -math.inf
        return math.log((1.0 - 2.0 / k + k * self._softmax_square) / k)

    @cached_property
    def _softmax_square(self) -> float:
        bias = math.log(max(float(self.biases[-1]), 1e-300))
        return softmax_second_moment(bias, int(self.spec.layer_widths[-1]))

    @cached_property
    def gradients(self) -> tuple[Array, Array, Array, Array]:
        """log_g, log_dw, log_db and the cotangents' correlation over samples, each (L,)."""
        spec, b, weight = self.spec, self.spec.batch_size, self.cloud.weight
        out = np.full((3, spec.depth), -math.inf)
        ratio = np.zeros(spec.depth)
        for i in range(spec.depth):
            common, square = self._cotangent(i)
            log_x2 = self._all_layers[i - 1].log_x2 if i else np.full(square.shape, 2 * math.log(spec.input_rms))
            out[0, i] = log_mean(square, weight)
            pair_d = self._pair(common, out[0, i])
            pair_w = self._pair_weight(i, common, pair_d)
            branch = 2.0 * math.log(abs(self.alpha) or 1e-300) if (self.skip and i) else 0.0
            own = log_mean(square + log_x2, weight)
            out[1, i] = branch + _log_sum(own, pair_w[0], pair_w[1] + math.log(max(b - 1, 1e-300))) - math.log(b)
            out[2, i] = branch + _log_sum(out[0, i], pair_d[0], pair_d[1] + math.log(max(b - 1, 1e-300))) - math.log(b)
            if out[0, i] > -math.inf and pair_d[1] > -math.inf:
                ratio[i] = pair_d[0] * math.exp(pair_d[1] - out[0, i])
        return out[0], out[1], out[2], ratio

    def _pair(self, common: SignedLog, log_g: float) -> tuple[float, float]:
        """(sign, ln abs) of E delta_a delta_b, a != b."""
        if self.spec.loss == "random" or log_g == -math.inf:
            return 0.0, -math.inf
        if self.spec.loss == "cross_entropy":
            excess = self._softmax_square - 1.0 / float(self.spec.layer_widths[-1]) ** 2
            return (1.0, math.log(excess)) if excess > 1e-30 else (0.0, -math.inf)
        sign, log = self.cloud.mean_pair(common)
        bias = math.log(4.0) - 2.0 * math.log(float(self.spec.layer_widths[-1])) + self._all_layers[-1].log_bias
        if bias > -math.inf and (self.skip or np.array_equal(common.log, self._cotangent(self.spec.depth - 1)[0].log)):
            return 1.0, float(np.logaddexp(log if sign > 0 else -math.inf, bias))
        return sign, log

    def _pair_weight(self, i: int, common: SignedLog, pair_d: tuple[float, float]) -> tuple[float, float]:
        """(sign, ln abs) of E delta_a delta_b x_a x_b, a != b."""
        if self.spec.loss == "random" or (pair_d[0] == 0.0 and self.spec.loss == "cross_entropy"):
            return 0.0, -math.inf
        if i == 0 and self.cloud.finite and self.spec.loss == "mse":
            return self._digits_pair(common)
        if i == 0:
            mean = float(self.correlations[1][0, 0])
            return (
                (pair_d[0], pair_d[1] + 2 * math.log(self.spec.input_rms) + math.log(mean))
                if mean > 0
                else (0.0, -math.inf)
            )
        if self.spec.loss == "mse":
            return self.cloud.mean_pair(common.times(self._all_layers[i - 1].x))
        sign, log = self.cloud.mean_pair(self._all_layers[i - 1].x)
        return sign * pair_d[0], log + pair_d[1]

    def _digits_pair(self, common: SignedLog) -> tuple[float, float]:
        """The same at layer 1 of a batch of digits, whose Gram matrix is known entry by entry."""
        x = digits_batch(self.spec.batch_size, self.spec.input_rms)
        top, b = float(common.log.max()), self.spec.batch_size
        if top == -math.inf:
            return 0.0, -math.inf
        delta = (common.sign * np.exp(common.log - top)).ravel()
        gram = np.outer(delta, delta) * (x @ x.T) / x.shape[1]
        total = float(gram.sum() - np.trace(gram)) / max(b * (b - 1), 1)
        return float(np.sign(total)), 2.0 * top + math.log(abs(total)) if total else -math.inf

    @property
    def backward(self) -> tuple[Array, Array]:
        """(log_g, correlation of the cotangents (L, 1))."""
        return self.gradients[0], self.gradients[3][:, None]

    @property
    def log_g(self) -> Array:
        """ln E delta^2."""
        return self.gradients[0]

    @property
    def parameter_gradients(self) -> tuple[Array, Array]:
        """(log_dw, log_db)."""
        return self.gradients[1], self.gradients[2]


def _log_sum(log_a: float, sign_b: float, log_b: float) -> float:
    """ln(e^a + sign e^b), -inf where it is not positive."""
    if sign_b == 0.0 or log_b == -math.inf:
        return log_a
    if sign_b > 0:
        return float(np.logaddexp(log_a, log_b))
    return log_a + math.log1p(-math.exp(log_b - log_a)) if log_b < log_a else -math.inf
