"""The weights and biases of one network, layer by layer, as torch's own initializers draw them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor

from gradcore.measure.steps import Steps
from gradcore.residual import inner_layers
from gradcore.theory.critical import resolve_gain

if TYPE_CHECKING:
    from gradcore.spec import Spec

Call = tuple[str, tuple[float, ...]]  # a method of Tensor and its numbers
RECORDED = ("gaussian", "uniform")  # laws that torch draws by one call, and a factor


class _Recorder(Tensor):
    """Stands for a weight matrix and writes down what an initializer does to it."""

    calls: list[Call]

    def normal_(self, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
        self.calls.append(("normal_", (mean, std)))
        return self

    def uniform_(self, low: float = 0.0, high: float = 1.0, *, generator: Any = None) -> Tensor:
        self.calls.append(("uniform_", (low, high)))
        return self

    def mul_(self, factor: float) -> Tensor:  # type: ignore[override]
        if factor != 1.0:
            self.calls.append(("mul_", (factor,)))
        return self


def _calls(spec: Spec, shape: tuple[int, int], gain: float) -> tuple[Call, ...] | None:
    """What the Spec's initializer calls on a matrix of this shape; None where it does more than draw and multiply."""
    if spec.init_entry.kind not in RECORDED:
        return None
    recorder = torch.empty(shape, device="meta").as_subclass(_Recorder)
    recorder.calls = []
    spec.init_entry.fill(torch, recorder, gain, spec.init_slope, spec.sparsity, None)
    return tuple(recorder.calls)


class Laws:
    """How each layer of a Spec is drawn. torch's initializers spend as long on working out their scale as on drawing
    64 x 64 weights, so what they call is written down once per shape and gain."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self.shapes = list(zip(spec.layer_widths.tolist(), spec.fan_ins.tolist(), strict=True))
        self.gains = [float(gain) for gain in resolve_gain(spec).multipliers.tolist()]
        self.inner: list[bool] = inner_layers(spec.residual, spec.depth).tolist()
        kinds = list(zip(self.shapes, self.gains, strict=True))
        recorded = {kind: _calls(spec, *kind) for kind in set(kinds)}
        self._calls = [recorded[kind] for kind in kinds]

    def fill_weight(self, layer: int, weight: Tensor, draws: Generator, steps: Steps) -> None:
        """Draw the matrix (fan_out, fan_in) of layer ``layer`` (from 0) in place."""
        calls, target = self._calls[layer], steps.to_fill(weight)
        if calls is None:
            spec = self._spec
            spec.init_entry.fill(torch, target, self.gains[layer], spec.init_slope, spec.sparsity, draws)
            return
        for method, numbers in calls:
            if method == "mul_":
                weight.mul_(*numbers)
            else:
                getattr(target, method)(*numbers, generator=draws)

    def has_bias(self, layer: int) -> bool:
        """Whether the biases of a layer are drawn; else they are 0. Inner layers of a block have none."""
        return not self.inner[layer] and self._spec.bias_std != 0

    def fill_bias(self, layer: int, bias: Tensor, draws: Generator) -> None:
        """Draw the biases (fan_out,) of a layer in place."""
        std = self._spec.bias_std
        if not self.has_bias(layer):
            bias.zero_()
        elif std == "default":
            bound = 1.0 / math.sqrt(self.shapes[layer][1])
            bias.uniform_(-bound, bound, generator=draws)
        else:
            bias.normal_(0.0, float(std), generator=draws)


class Weights:
    """The matrices (G, fan_out, fan_in) of a group of networks: drawn on the way forward, read on the way back.

    Kept in between, or, with ``keep`` false, drawn a second time from the generators' states; the same numbers. Memory
    of the matrices is used again by the next group (``load``). ``dtype`` is the networks', ``drawn`` that of the draws.
    """

    def __init__(self, spec: Spec, dtype: torch.dtype, drawn: torch.dtype, device: str, keep: bool) -> None:
        self._dtype, self._drawn, self._device, self._keep = dtype, drawn, device, keep
        self.laws = Laws(spec)
        self._shapes = self.laws.shapes
        self._buffers: dict[object, Tensor] = {}
        self._slices: dict[object, tuple[Tensor, ...]] = {}
        self._steps = Steps()

    def load(self, generators: list[Generator], steps: Steps) -> None:
        """Begin a group with these generators, one per network."""
        self._generators, self._steps = generators, steps
        self._states: list[list[Tensor]] = []
        self._used: dict[int, Tensor] = {}

    def _draw(self, layer: int) -> Tensor:
        """Drawn into memory of their own if they are kept there, else into one for all of their shape."""
        own = self._keep and layer > 0 and self._drawn == self._dtype and self._device == "cpu"
        key: object = layer if own else self._shapes[layer]
        size = len(self._generators)
        if key not in self._buffers or len(self._buffers[key]) < size:
            self._buffers[key] = torch.empty(size, *self._shapes[layer], dtype=self._drawn)
            self._slices[key] = self._buffers[key].unbind()
        for matrix, draws in zip(self._slices[key], self._generators, strict=False):
            self._steps.beat()
            self.laws.fill_weight(layer, matrix, draws, self._steps)
        drawn = self._buffers[key] if len(self._buffers[key]) == size else self._buffers[key][:size]
        if self._drawn == self._dtype and self._device == "cpu":
            return drawn
        return drawn.to(device=self._device, dtype=self._dtype)

    def draw(self, layer: int) -> tuple[Tensor, Tensor | None]:
        """Weights (G, fan_out, fan_in) and biases (G, 1, fan_out) of layer ``layer`` from 0, called in order; None
        where all biases are 0. The weights are to be used before the next call."""
        if not self._keep:
            self._states.append([draws.get_state() for draws in self._generators])
        weight = self._draw(layer)
        if self._keep and layer > 0:  # no cotangent passes the first layer's weights
            self._used[layer] = weight
        if not self.laws.has_bias(layer):
            return weight, None
        bias = torch.empty(len(self._generators), self._shapes[layer][0], dtype=self._drawn)
        for row, draws in zip(bias.unbind(), self._generators, strict=True):
            self.laws.fill_bias(layer, row, draws)
        return weight, bias.to(device=self._device, dtype=self._dtype).unsqueeze(1)

    def again(self, layer: int) -> Tensor:
        """The weights of the layer once more, for the last time."""
        if self._keep:
            return self._used.pop(layer)
        for draws, state in zip(self._generators, self._states[layer], strict=True):
            draws.set_state(state)
        self._states[layer] = []
        return self._draw(layer)
