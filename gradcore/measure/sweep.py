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
from gradcore.measure.ledger import Ledger
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
PASSES = 4  # over the layers: drawn, run forward, differentiated, run backward


class Machine:
    """What one thread measures groups of at most ``size`` networks of a Spec with: memory, modules, constants."""

    def __init__(self, spec: Spec, size: int, dtype: str, device: str, keep: bool = True) -> None:
        self.spec, self.dtype, self.device = spec, dtype, device
        self.kind = DTYPES[dtype]
        self.weights = Weights(spec, self.kind, draw_dtype(dtype), device, keep)
        self.ledger = Ledger(spec, size, self.kind, device)
        self.activation = make_activation(spec).to(device=device, dtype=self.kind).requires_grad_(False)
        self.norms: dict[int, nn.Module] = {}
        self._ones: dict[torch.Size, Tensor] = {}
        self._careful = False
        slopes = moments_of(spec.activation, spec.slope).derivative(np.linspace(-40, 40, 8001))
        self.small = 0.05 * float(np.abs(slopes).max())
        self.rises = float(slopes.min()) >= 0.0  # no slope is negative

    def ones(self, like: Tensor) -> Tensor:
        """Ones of this shape, to be read only."""
        if like.shape not in self._ones:
            self._ones[like.shape] = torch.ones_like(like)
        return self._ones[like.shape]

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
            while True:
                self.ledger.open(len(networks), self._careful)
                _Sweep(self, seed, networks, steps)
                rows = self.ledger.rows()
                if rows is not None:
                    return rows
                steps.repeat()
                self._careful = True  # and from now on: the next networks of this Spec will be like these


class _Unit:
    """phi(norm(.)) or norm(phi(.)) on a batch (G, B, n): its value, which ``take`` does not keep, the slope of phi, and
    J^T of the whole."""

    def __init__(self, machine: Machine, z: Tensor, normed: bool) -> None:
        norm = machine.norm(z.shape[-1]) if normed else None
        self._after = norm is not None and machine.spec.norm_position == "after"
        self._leaf: Tensor | None = None
        self._image: Tensor | None = None
        if norm is None or self._after:
            value, self.slope = _differentiated(machine, z)
            self._value: Tensor | None = value if norm is None else self._normalized(norm, value)
        else:
            self._value, self.slope = _differentiated(machine, self._normalized(norm, z))

    def take(self) -> Tensor:
        """The value, once."""
        value, self._value = self._value, None
        assert value is not None
        return value

    def _normalized(self, norm: nn.Module, z: Tensor) -> Tensor:
        """Its graph is kept for the way back. torch's batch norm takes one network at a time."""
        leaf = z.detach().requires_grad_(True)
        with torch.enable_grad():
            image = norm(leaf.flatten(0, 1)).view_as(leaf)
        self._leaf, self._image = leaf, image
        return image.detach()

    def pull(self, delta: Tensor) -> Tensor:
        """J^T delta."""
        if self._leaf is None:
            return delta * self.slope
        assert self._image is not None
        if self._after:
            return self.slope * torch.autograd.grad(self._image, self._leaf, delta)[0]
        return torch.autograd.grad(self._image, self._leaf, delta * self.slope)[0]


def _differentiated(machine: Machine, y: Tensor) -> tuple[Tensor, Tensor]:
    """phi(y) and phi'(y), by torch's own backward."""
    leaf = y.detach().requires_grad_(True)
    with torch.enable_grad():
        x = machine.activation(leaf)
    ones = machine.ones(x)
    if x is leaf:  # the identity
        return y, ones
    node = x.grad_fn
    assert node is not None
    if all(below is None or hasattr(below, "variable") for below, _ in node.next_functions):
        slope = node(ones)  # a single operation on the leaf: called without the engine, which takes longer than it
        return x.detach(), slope[0] if isinstance(slope, tuple) else slope
    return x.detach(), torch.autograd.grad(x, leaf, ones)[0]


class _Sweep:
    """One group's passes, written down in the machine's ledger."""

    def __init__(self, machine: Machine, seed: int, networks: tuple[int, ...], steps: Steps) -> None:
        self.machine, self.spec, self.steps, self.ledger = machine, machine.spec, steps, machine.ledger
        self.inner, self.alpha, self.block = machine.weights.laws.inner, self.spec.alpha, BLOCKS[self.spec.residual]
        self.norms_in = self.spec.norm != "none"
        depth, dtype = self.spec.depth, machine.dtype
        self.units: list[_Unit | None] = [None] * depth
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
        return unit.take()

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
            self.ledger.forward(index, layer.x, layer.z)
            self.steps.next()
            if index == (self.spec.depth - 1 if self.block.acts_below else 0):  # no unit acts here; as one would
                self._differentiate(index, layer.seen)
            self.steps.next()
        return signals[-1]

    def _differentiate(self, layer: int, z: Tensor) -> _Unit:
        """A unit on ``z``, what it does to slopes written down for layer ``layer``."""
        unit = _Unit(self.machine, z, self.norms_in and not self.inner[layer])
        self.ledger.shares(layer, unit.slope if self.machine.rises else unit.slope.abs(), self.machine.small)
        return unit

    def _backward(self, delta: Tensor) -> None:
        held, taken = None, [0] * len(delta)
        for index in range(self.spec.depth - 1, -1, -1):
            own = sizes = self.ledger.sizes(index, delta)
            if held is not None:  # one scale for all that crosses this layer
                sizes = [max(pair) for pair in zip(own, map(statistics.log_mean_square, held), strict=True)]
            if not all(size < math.inf for size in sizes):  # the forward pass broke: nothing below is a number
                self.ledger.end(index, np.array([not size < math.inf for size in sizes]))
                if self.ledger.ended:
                    return
            powers = statistics.exponents(sizes, self.ledger.tame_delta)
            log_g = [log + 2.0 * statistics.LN2 * out for log, out in zip(own, taken, strict=True)]
            if any(powers):
                delta = statistics.divided(delta, powers)
                held = None if held is None else statistics.divided(held, powers)
                taken = [out + power for out, power in zip(taken, powers, strict=True)]
            self.ledger.cotangent(index, log_g, taken)
            pulled = self.block.pull(self, index, delta, held) if index else Pulled(delta, 1.0, delta)
            self.ledger.parameters(index, pulled.sent, pulled.scale)
            delta, held = pulled.delta, pulled.held
            self.steps.next()
