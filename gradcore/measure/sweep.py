"""Forward and rescaled backward pass of a group of networks: one batched operation for all of them.

Backpropagation is linear in the cotangent, so at every layer it is divided by a power of two near its size and the
exponent is kept: exact for any network whose forward pass is representable, also where a plain float32 or float64
gradient is 0 or inf.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from gradcore.measure import statistics
from gradcore.measure.blocks import BLOCKS, Layer, Pulled
from gradcore.measure.drawing import Weights
from gradcore.measure.network import (
    DTYPES,
    WEIGHTS,
    draw_cotangent,
    draw_dtype,
    draw_inputs,
    generator,
    make_activation,
    make_norm,
)
from gradcore.measure.steps import Steps
from gradcore.theory.gaussian import moments_of

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray
LOGS = ("log_q", "log_p", "log_g", "log_dw", "log_db")
SHARES = ("correlation", "saturated", "dead")
PASSES = 4  # over the layers: drawn, run forward, differentiated, run backward
LN2 = math.log(2.0)


class Machine:
    """What one thread measures networks of a Spec with: the memory of its weights, the modules, the constants."""

    def __init__(self, spec: Spec, dtype: str, device: str, keep: bool = True) -> None:
        self.spec, self.dtype, self.device = spec, dtype, device
        self.kind = DTYPES[dtype]
        self.weights = Weights(spec, self.kind, draw_dtype(dtype), device, keep)
        self.activation = make_activation(spec).to(device=device, dtype=self.kind).requires_grad_(False)
        self.norms: dict[int, nn.Module] = {}
        slopes = moments_of(spec.activation, spec.slope).derivative(np.linspace(-40, 40, 8001))
        self.small = 0.05 * float(np.abs(slopes).max())

    def norm(self, width: int) -> nn.Module | None:
        """torch's module of the Spec's norm over ``width`` units, in training mode; None without a norm."""
        if width not in self.norms:
            made = make_norm(self.spec, width)
            if made is None:
                return None
            self.norms[width] = made.to(device=self.device, dtype=self.kind).train().requires_grad_(False)
        return self.norms[width]

    def run(self, seed: int, networks: tuple[int, ...], steps: Steps) -> dict[str, Array]:
        """The statistics of these networks, (G, L) each."""
        with torch.no_grad():
            return _Sweep(self, seed, networks, steps).rows


class _Unit:
    """phi(norm(.)) or norm(phi(.)) on a batch (G, B, n): its value, the slope of phi, and J^T of the whole."""

    def __init__(self, machine: Machine, z: Tensor, normed: bool) -> None:
        norm = machine.norm(z.shape[-1]) if normed else None
        self._after = norm is not None and machine.spec.norm_position == "after"
        self._leaf = self._image = None
        if norm is None or self._after:
            value, self.slope = _differentiated(machine.activation, z)
            self.value = value if norm is None else self._normalized(norm, value)
        else:
            self.value, self.slope = _differentiated(machine.activation, self._normalized(norm, z))

    def _normalized(self, norm: nn.Module, z: Tensor) -> Tensor:
        """Its graph is kept for the way back. torch's batch norm takes one network at a time."""
        self._leaf = z.detach().requires_grad_(True)
        with torch.enable_grad():
            self._image = norm(self._leaf.flatten(0, 1)).view_as(self._leaf)
        return self._image.detach()

    def pull(self, delta: Tensor) -> Tensor:
        """J^T delta."""
        if self._leaf is None:
            return delta * self.slope
        if self._after:
            return self.slope * torch.autograd.grad(self._image, self._leaf, delta)[0]
        return torch.autograd.grad(self._image, self._leaf, delta * self.slope)[0]


def _differentiated(activation: nn.Module, y: Tensor) -> tuple[Tensor, Tensor]:
    """phi(y) and phi'(y), by torch's own backward."""
    leaf = y.detach().requires_grad_(True)
    with torch.enable_grad():
        x = activation(leaf)
        if x is leaf:  # the identity
            return y, torch.ones_like(y)
    return x.detach(), torch.autograd.grad(x, leaf, torch.ones_like(x))[0]


class _Sweep:
    """One group's passes; ``rows`` are the statistics, (G, L) each."""

    def __init__(self, machine: Machine, seed: int, networks: tuple[int, ...], steps: Steps) -> None:
        self.machine, self.spec, self.steps = machine, machine.spec, steps
        self.inner, self.alpha, self.block = machine.weights.laws.inner, self.spec.alpha, BLOCKS[self.spec.residual]
        self.norms_in = self.spec.norm != "none"
        depth, dtype = self.spec.depth, machine.dtype
        self.rows = {name: np.full((len(networks), depth), math.nan) for name in (*LOGS, *SHARES)}
        self.units: list[_Unit | None] = [None] * depth
        self.gradients = statistics.WeightGradients(depth)
        machine.weights.load([generator(seed, network, WEIGHTS) for network in networks], steps)
        inputs = torch.stack([draw_inputs(self.spec, seed, network, dtype) for network in networks])
        output = self._forward(inputs.to(machine.device))
        with torch.enable_grad():
            drawn = [
                draw_cotangent(self.spec, z, seed, network, dtype) for z, network in zip(output, networks, strict=True)
            ]
        self._backward(torch.stack(drawn))

    # --- what the blocks ask for ------------------------------------------------------------------------------

    def unit(self, index: int, z: Tensor) -> Tensor:
        """Unit l = index + 1 on ``z``."""
        self.units[index] = unit = self._differentiate(index if self.block.acts_below else index + 1, z)
        return unit.value

    def linear(self, index: int, x: Tensor) -> Tensor:
        """W x + b of layer ``index``; half precisions are summed in float32 as torch sums them."""
        weight, bias = self.machine.weights.draw(index)
        self.steps.next()
        bias = None if bias is None else statistics.widened(bias)
        z = statistics.product(statistics.widened(x), statistics.widened(weight).mT, bias)
        return z.to(self.machine.kind)

    def pull_unit(self, index: int, delta: Tensor) -> Tensor:
        """J^T delta of the unit where it was run, for the last time."""
        unit, self.units[index] = self.units[index], None
        assert unit is not None
        return unit.pull(delta)

    def times(self, delta: Tensor, index: int) -> Tensor:
        """delta W of layer ``index``, for the last time."""
        weight = self.machine.weights.again(index)
        return statistics.product(statistics.widened(delta), statistics.widened(weight)).to(self.machine.kind)

    # --- the passes -------------------------------------------------------------------------------------------

    def _forward(self, inputs: Tensor) -> Tensor:
        signals: list[Tensor] = []
        for index in range(self.spec.depth):
            if index:
                layer = self.block.run(self, index, signals)
            else:
                z = self.linear(0, inputs)
                layer = Layer(inputs, z, z)
            signals = [*signals[-1:], layer.z]
            log_q, log_p = statistics.mean_squares(layer.z), statistics.mean_squares(layer.x)
            self.rows["log_q"][:, index], self.rows["log_p"][:, index] = log_q, log_p
            self.rows["correlation"][:, index] = statistics.correlations(layer.z, log_q)
            self.gradients.forward(index, layer.x, log_p, layer.z.shape[-1])
            self.steps.next()
            if index == (self.spec.depth - 1 if self.block.acts_below else 0):  # no unit acts here; as one would
                self._differentiate(index, layer.seen)
            self.steps.next()
        return signals[-1]

    def _differentiate(self, layer: int, z: Tensor) -> _Unit:
        """A unit on ``z``, what it does to slopes written down for layer ``layer``."""
        unit = _Unit(self.machine, z, self.norms_in and not self.inner[layer])
        saturated, dead = statistics.shares(unit.slope, self.machine.small)
        self.rows["saturated"][:, layer], self.rows["dead"][:, layer] = saturated, dead
        return unit

    def _backward(self, delta: Tensor) -> None:
        exponents, held = np.zeros(len(delta)), None
        broken = np.zeros(len(delta), dtype=bool)
        for index in range(self.spec.depth - 1, -1, -1):
            size = own = statistics.mean_squares(delta)
            if held is not None:  # one scale for all that crosses this layer
                size = np.maximum(size, statistics.mean_squares(held))
            broken |= np.isnan(size) | (size == math.inf)  # the forward pass broke: nothing below is a number
            if broken.all():
                return
            powers = statistics.exponents(size)
            delta = statistics.divided(delta, powers)
            held = None if held is None else statistics.divided(held, powers)
            self.rows["log_g"][:, index] = own + 2.0 * LN2 * exponents
            exponents = exponents + powers
            pulled = self.block.pull(self, index, delta, held) if index else Pulled(delta, 1.0, delta)
            self._parameters(index, pulled, 2.0 * LN2 * exponents)
            for name in ("log_g", "log_dw", "log_db"):
                self.rows[name][broken, index] = math.nan
            delta, held = pulled.delta, pulled.held
            self.steps.next()

    def _parameters(self, index: int, pulled: Pulled, scale: Array) -> None:
        """Mean squares of the gradients of W and b, whose cotangent is exp(scale / 2) * pulled.scale * pulled.sent."""
        sent, shape = pulled.sent, self.machine.weights.laws.shapes[index]
        mean = scale + 2.0 * (math.log(abs(pulled.scale)) if pulled.scale else -math.inf)
        mean = mean - 2.0 * math.log(self.spec.batch_size)
        with np.errstate(invalid="ignore"):
            self.rows["log_dw"][:, index] = mean + self.gradients.backward(index, sent) - math.log(math.prod(shape))
        self.rows["log_db"][:, index] = mean + statistics.mean_squares(sent.sum(dim=1, keepdim=True))
