"""Networks whose weights are known in law only: their forward and backward pass, batched over networks.

The same blocks as gradcore.measure.blocks, with ``weight_law`` in place of matrices. Arrays are (S, B, n). Cotangents
are rescaled at every layer (backward is linear), so no gradient under- or overflows; signals are where the network
is homogeneous. Checked against torch's networks by tests/test_sampler.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from gradcore.normalization import NORMALIZATIONS, normalize
from gradcore.residual import inner_layers
from gradcore.theory.critical import bias_variances, resolve_gain, weight_variances
from gradcore.theory.inputs import digits_batch
from gradcore.theory.weight_law import weights_of

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray
Pull = Callable[[Array], Array]
Pulled = Callable[[Array, Array, "Array | None"], "tuple[Array, Array | None]"]
QUANTITIES = ("log_q", "log_p", "log_g", "log_dw", "log_db")


class Laws:
    """Gain and E[W^2] of every layer. A narrowed network keeps the fan-in times variance of the asked one."""

    def __init__(self, spec: Spec, narrow: Spec) -> None:
        self.gains = resolve_gain(spec).multipliers
        self.variances = weight_variances(spec) * (spec.fan_ins / narrow.fan_ins)
        self.bias_stds = np.sqrt(bias_variances(spec))


class Networks:
    """S networks at once: the forward pass, what it leaves for the backward pass, and the backward pass."""

    def __init__(self, spec: Spec, laws: Laws, count: int, rng: np.random.Generator) -> None:
        self.spec, self.laws, self.count, self.rng = spec, laws, count, rng
        self.entry, self.norm = spec.activation_entry, NORMALIZATIONS[spec.norm]
        self.out = {name: np.full((count, spec.depth), -math.inf) for name in QUANTITIES}
        self.inner = inner_layers(spec.residual, spec.depth).tolist()
        self.scaled = rescales(spec)
        self.scale = np.zeros(count)  # natural log: the true signal is exp(scale) times the one held here

    def logs(self, beat: Callable[[], object] = lambda: None) -> dict[str, Array]:
        """Every quantity (S, L), as ``measure`` would have it; ``beat`` is called at every layer, both ways."""
        signals: list[Array] = []
        pulls: list[Pulled] = []
        for layer in range(self.spec.depth):
            z, pull = BLOCKS[self.spec.residual](self, layer, signals) if layer else self._first()
            signals = self._rescaled([*signals[-1:], z])
            self.out["log_q"][:, layer] = _log_mean_square(signals[-1]) + 2.0 * self.scale
            pulls.append(pull)
            beat()
        d, scale = self._cotangent(signals[-1])
        held: Array | None = None
        for layer in range(self.spec.depth - 1, -1, -1):
            size = _size(d)
            if held is not None:  # a branch of scale 1e-309 sends next to nothing beside it
                size = np.maximum(size, 1e-300 * _size(held))
            d, scale = d / size, scale + np.log(size[:, 0, 0])
            held = None if held is None else held / size
            self.out["log_g"][:, layer] = _log_mean_square(d) + 2.0 * scale
            d, held = pulls.pop()(d, scale, held)
            beat()
        return self.out

    def _first(self) -> tuple[Array, Pulled]:
        """Layer 1, which is plain in every form."""
        z, pull = self.linear(0, self._inputs())
        return z, lambda d, scale, held: (pull(d, scale), None)

    # --- parts of a block -----------------------------------------------------------------------------------

    def linear(self, layer: int, x: Array, alpha: float = 1.0) -> tuple[Array, Callable[[Array, Array], Array]]:
        """(alpha (W x + b), its pullback); the pullback notes the parameter gradients."""
        spec, laws = self.spec, self.laws
        fan_in, fan_out = int(spec.fan_ins[layer]), int(spec.layer_widths[layer])
        weights = weights_of(spec, float(laws.gains[layer]), float(laws.variances[layer]), fan_in, fan_out, self.rng)
        self.out["log_p"][:, layer] = _log_mean_square(x) + 2.0 * self.scale
        z = weights.forward(x)
        if spec.bias_std and not self.inner[layer]:
            z = z + self._biases(float(laws.bias_stds[layer]), fan_out) * np.exp(-self.scale)[:, None, None]
        gram, at = x @ x.swapaxes(1, 2), self.scale + (math.log(abs(alpha)) if alpha else -math.inf)
        bias_at = at - self.scale

        def pull(d: Array, scale: Array) -> Array:
            own = d @ d.swapaxes(1, 2)
            batch = float(spec.batch_size) ** 2
            with np.errstate(divide="ignore"):
                dw = np.log(np.maximum(np.sum(own * gram, axis=(1, 2)), 0.0) / (batch * fan_in * fan_out))
                db = np.log(np.maximum(np.sum(own, axis=(1, 2)), 0.0) / (batch * fan_out))
            self.out["log_dw"][:, layer] = dw + 2.0 * (scale + at)
            self.out["log_db"][:, layer] = db + 2.0 * (scale + bias_at)
            return alpha * weights.backward(d) if layer else d

        return alpha * z, pull

    def unit(self, layer: int, z: Array) -> tuple[Array, Pull]:
        """phi(norm(z)) or norm(phi(z)), and its pullback; no norm inside a block."""
        after = self.spec.norm_position == "after"
        steps = [self._phi] if self.inner[layer] or self.norm.over == "none" else [self._norm, self._phi]
        pulls = []
        for step in reversed(steps) if after else steps:
            z, pull = step(z)
            pulls.append(pull)
        return z, lambda d: reduce(lambda c, pull: pull(c), reversed(pulls), d)

    def _norm(self, z: Array) -> tuple[Array, Pull]:
        spec = self.spec
        return normalize(self.norm, z, spec.norm_gamma, spec.norm_beta, spec.norm_eps)

    def _phi(self, z: Array) -> tuple[Array, Pull]:
        slope = self.entry.derivative(z, self.spec.slope)
        return self.entry.value(z, self.spec.slope), lambda d: slope * d

    # --- ends -----------------------------------------------------------------------------------------------

    def _inputs(self) -> Array:
        spec = self.spec
        if spec.input == "digits":
            return np.repeat(digits_batch(spec.batch_size, spec.input_rms)[None], self.count, axis=0)
        shape, c = (self.count, spec.batch_size, int(spec.fan_ins[0])), spec.input_correlation
        common = self.rng.standard_normal((self.count, 1, shape[2]))
        own = self.rng.standard_normal(shape)
        return spec.input_rms * (math.sqrt(c) * common + math.sqrt(1.0 - c) * own)

    def _biases(self, std: float, width: int) -> Array:
        shape = (self.count, 1, width)
        if self.spec.bias_std == "default":
            return std * math.sqrt(3.0) * self.rng.uniform(-1.0, 1.0, shape)
        return std * self.rng.standard_normal(shape)

    def _rescaled(self, signals: list[Array]) -> list[Array]:
        """A homogeneous network's signals with the last at RMS 1, its size kept as a log."""
        if not self.scaled:
            return signals
        size = _size(signals[-1])
        self.scale = self.scale + np.log(size[:, 0, 0])
        return [signal / size for signal in signals]

    def _cotangent(self, output: Array) -> tuple[Array, Array]:
        """(delta^L, its scale): B dC/dz for each loss."""
        spec, zero = self.spec, np.zeros(self.count)
        if spec.loss == "random":
            return self.rng.standard_normal(output.shape), zero
        if spec.loss == "mse":
            return output * (2.0 / output.shape[2]), self.scale
        from scipy.special import softmax

        z = output * np.exp(self.scale)[:, None, None]
        labels = self.rng.integers(output.shape[2], size=output.shape[:2])
        hot = labels[:, :, None] == np.arange(output.shape[2])
        return softmax(z, axis=2) - hot, zero


def rescales(spec: Spec) -> bool:
    """Whether the network commutes with scaling its signal: then no size is out of float64's range."""
    homogeneous = spec.activation_entry.homogeneous and spec.norm == "none"
    return homogeneous and (spec.bias_std == 0.0 or not spec.bias_std)


def _log_mean_square(x: Array) -> Array:
    """(S,) ln of each network's mean square; a square alone may be no float."""
    largest = np.abs(x).max(axis=(1, 2), keepdims=True)
    with np.errstate(divide="ignore"):
        rest = np.mean((x / np.where(largest > 0.0, largest, 1.0)) ** 2, axis=(1, 2))
        return np.log(rest) + 2.0 * np.log(largest[:, 0, 0])


def _size(x: Array) -> Array:
    """(S, 1, 1) RMS of each network's part; 1 where that is 0."""
    size = np.exp(0.5 * _log_mean_square(x))[:, None, None]
    return np.where(size > 0.0, size, 1.0)


# --- blocks: one weight layer after the signals below it, and its pullback of (delta, scale, held) ---------------
# ``held`` is the cotangent of the stream beside an inner layer, as in gradcore.measure.blocks.


def _plain(net: Networks, layer: int, signals: list[Array]) -> tuple[Array, Pulled]:
    x, pull_unit = net.unit(layer - 1, signals[-1])
    z, pull = net.linear(layer, x)
    return z, lambda d, scale, held: (pull_unit(pull(d, scale)), None)


def _identity(net: Networks, layer: int, signals: list[Array]) -> tuple[Array, Pulled]:
    x, pull_unit = net.unit(layer - 1, signals[-1])
    branch, pull = net.linear(layer, x, net.spec.alpha)
    return signals[-1] + branch, lambda d, scale, held: (d + pull_unit(pull(d, scale)), None)


def _two_layer(net: Networks, layer: int, signals: list[Array]) -> tuple[Array, Pulled]:
    inside = net.inner[layer]
    if not inside and not net.inner[layer - 1]:
        return _identity(net, layer, signals)
    x, pull_unit = net.unit(layer - 1, signals[-1])
    branch, pull = net.linear(layer, x, 1.0 if inside else net.spec.alpha)
    if inside:
        return branch, lambda d, scale, held: (held + pull_unit(pull(d, scale)), None)
    return signals[-2] + branch, lambda d, scale, held: (pull_unit(pull(d, scale)), d)


def _post_activation(net: Networks, layer: int, signals: list[Array]) -> tuple[Array, Pulled]:
    h, alpha = signals[-1], net.spec.alpha
    seen, pull = net.linear(layer, h)
    out, pull_unit = net.unit(layer - 1, seen)
    return h + alpha * out, lambda d, scale, held: (d + pull(alpha * pull_unit(d), scale), None)


def _resnet_v1(net: Networks, layer: int, signals: list[Array]) -> tuple[Array, Pulled]:
    h = signals[-1]
    branch, pull = net.linear(layer, h, net.spec.alpha)
    out, pull_unit = net.unit(layer - 1, h + branch)

    def pulled(d: Array, scale: Array, held: Array | None) -> tuple[Array, None]:
        sent = pull_unit(d)
        return sent + pull(sent, scale), None

    return out, pulled


BLOCKS: dict[str, Callable[[Networks, int, list[Array]], tuple[Array, Pulled]]] = {
    "none": _plain,
    "identity": _identity,
    "post_activation": _post_activation,
    "two_layer": _two_layer,
    "resnet_v1": _resnet_v1,
}
