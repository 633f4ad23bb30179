"""Networks whose weights are known in law only, in torch: the activations, norms and blocks are those of the dense
networks, ``conditioning`` stands in place of the weight matrices. Arrays are (S, B, n): S networks side by side.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gradcore.measure.blocks import BLOCKS
from gradcore.measure.conditioning import Batch, Draws, GaussianLayer, Store, batch_of
from gradcore.measure.network import DTYPES, make_activation, make_norm
from gradcore.residual import inner_layers
from gradcore.theory.critical import bias_variances, weight_variances
from gradcore.theory.gaussian import moments_of

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray


class Plan:
    """What all networks of one run share: the law of every layer, the threshold of a saturated slope."""

    def __init__(self, spec: Spec, dtype: str, device: str) -> None:
        self.spec, self.dtype, self.device = spec, dtype, device
        self.stds = np.sqrt(weight_variances(spec)).tolist()
        self.bias_stds = np.sqrt(bias_variances(spec)).tolist()
        self.inner = inner_layers(spec.residual, spec.depth).tolist()
        self.activation = make_activation(spec).to(DTYPES[dtype]).to(device).requires_grad_(False)
        slopes = moments_of(spec.activation, spec.slope).derivative(np.linspace(-40, 40, 8001))
        self.small = 0.05 * float(np.abs(slopes).max())
        self.homogeneous = spec.activation_entry.homogeneous and spec.norm == "none" and not spec.bias_std


class Unit:
    """An activation with its norm at one place: the pullback of what ``of`` computes, without a second run."""

    @classmethod
    def of(cls, plan: Plan, norm: torch.nn.Module | None, z: Tensor) -> tuple[Unit, Tensor]:
        """(the unit, its value at z), which the unit itself need not keep."""
        unit = cls()
        return unit, unit._run(plan, norm, z)

    def _run(self, plan: Plan, norm: torch.nn.Module | None, z: Tensor) -> Tensor:
        self.after = plan.spec.norm_position == "after"
        self.norm: _Recorded | None = None
        if norm is not None and not self.after:
            self.norm = _Recorded(norm, z)
            z = self.norm.take()
        recorded = _Recorded(plan.activation, z)
        self.slope = None if recorded.linear else recorded.pull(torch.ones_like(z))
        self.networks = len(z)
        if norm is None or not self.after:
            return recorded.take()
        self.norm = _Recorded(norm, recorded.take())
        return self.norm.take()

    def pull(self, d: Tensor) -> Tensor:
        """J^T d at z."""
        if self.norm is not None and self.after:
            d = self.norm.pull(d)
        d = d if self.slope is None else self.slope * d
        return self.norm.pull(d) if self.norm is not None and not self.after else d

    def shares(self, small: float) -> Array:
        """(2, S): share of saturated entries, share of units that are dead on the whole batch."""
        if self.slope is None:
            return np.zeros((2, self.networks))
        size = self.slope.abs()
        saturated, alive = (size < small).cpu().numpy(), size.amax(dim=1).cpu().numpy()
        shares = [np.count_nonzero(own) / own.size for own in saturated]  # one axis at a time is slow
        return np.array([shares, [1.0 - np.count_nonzero(own) / own.size for own in alive]])


class _OneBatch(torch.nn.Module):
    """Batch norm for one network among (1, B, n): torch's module would take three axes for (B, n, length)."""

    def __init__(self, norm: torch.nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, z: Tensor) -> Tensor:
        return self.norm(z[0])[None]


class _Recorded:
    """A module's value at z, with torch's own backward of it at hand, to be called once."""

    def __init__(self, module: torch.nn.Module, z: Tensor) -> None:
        leaf = z.detach().requires_grad_(True)
        with torch.enable_grad():
            out = module(leaf)
        self.linear = out is leaf
        self._value: Tensor | None = out.detach()
        self._node = None if self.linear else out.grad_fn
        self._graph: tuple[Tensor, Tensor] | None = None
        if self._node is not None and not _single(self._node):
            self._graph = (out, leaf)

    def take(self) -> Tensor:
        """The value, which is not kept."""
        value, self._value = self._value, None
        assert value is not None
        return value

    def pull(self, d: Tensor) -> Tensor:
        """J^T d: by the one backward operation itself where there is one, which autograd's engine only slows down."""
        if self.linear:
            return d
        if self._graph is not None:
            return torch.autograd.grad(*self._graph, d)[0]
        sent = self._node(d)  # type: ignore[misc]
        return sent[0] if isinstance(sent, tuple) else sent


def _single(node: Any) -> bool:
    """Whether this node of a backward graph leads straight to the leaf, and to nothing else."""
    (first, _), *others = node.next_functions
    return type(first).__name__ == "AccumulateGrad" and all(other is None for other, _ in others)


class Network:
    """S networks in law, as ``gradcore.measure.blocks`` asks for one: units and linear layers by index."""

    def __init__(self, plan: Plan, draws: Draws) -> None:
        spec = plan.spec
        self.plan, self.draws = plan, draws
        self.inner, self.alpha, self.block = plan.inner, spec.alpha, BLOCKS[spec.residual]
        fans = zip(plan.stds, spec.fan_ins.tolist(), spec.layer_widths.tolist(), strict=True)
        self.store = Store(draws, kept_entries(spec), 3 * spec.depth)
        self.layers = [GaussianLayer(std, fan_in, width, draws, self.store) for std, fan_in, width in fans]
        self.units: dict[int, Unit] = {}
        self.shares = np.full((2, len(draws.generators), spec.depth), math.nan)
        self.sent: tuple[Tensor, Batch] | None = None  # what was last sent back
        self._norms: dict[int, torch.nn.Module | None] = {}

    def linear(self, index: int, x: Tensor) -> Tensor:
        """W x + b of layer l = index + 1."""
        z = self.layers[index](x)
        return z if self.inner[index] or not self.plan.spec.bias_std else z + self._bias(index)

    def _bias(self, index: int) -> Tensor:
        std, width = self.plan.bias_stds[index], int(self.plan.spec.layer_widths[index])
        if self.plan.spec.bias_std == "default":
            return std * math.sqrt(3.0) * self.draws.uniform(self.draws.empty(1, width))
        return std * self.draws.normal(self.draws.empty(1, width))

    def unit(self, index: int, z: Tensor) -> Tensor:
        """phi(norm(z)) or norm(phi(z)) of layer l = index + 1."""
        unit, value = self.unit_at(index, z)
        self.units[index] = unit
        self.shares[:, :, index if self.block.acts_below else index + 1] = unit.shares(self.plan.small)
        if unit.slope is not None:
            unit.slope = self.store.take(*z.shape[1:]).copy_(unit.slope)
        return value

    def unit_at(self, index: int, z: Tensor) -> tuple[Unit, Tensor]:
        """The unit of layer l = index + 1 at z, and its value; the norm's module is one for all layers of a width."""
        width, plan = z.shape[-1], self.plan
        if width not in self._norms:
            norm = make_norm(plan.spec, width)
            norm = None if norm is None else norm.to(z).requires_grad_(False).train()
            self._norms[width] = _OneBatch(norm) if norm is not None and plan.spec.norm == "batch" else norm
        return Unit.of(plan, None if plan.inner[index] else self._norms[width], z)

    def pull_unit(self, index: int, delta: Tensor) -> Tensor:
        """The cotangent below the unit of layer l = index + 1, which ran before."""
        return self.units.pop(index).pull(delta)

    def times(self, delta: Tensor, index: int) -> Tensor:
        """W^T delta of layer l = index + 1; what was sent is kept for the parameters' gradients."""
        if self.sent is None or self.sent[0] is not delta:
            self.sent = (delta, batch_of(delta))
        return self.layers[index].pull(*self.sent)


def kept_entries(spec: Spec) -> int:
    """Entries that one network keeps from the forward to the backward pass, but for its norms: in every layer the
    batch's frame and its images, and the slopes of the activation."""
    nonlinear = 0 if spec.activation_entry.is_linear else 1
    return spec.batch_size * int(np.sum(spec.fan_ins) + (1 + nonlinear) * np.sum(spec.layer_widths))
