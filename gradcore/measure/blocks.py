"""One weight layer of each residual form, forwards and backwards: a table beside ``gradcore.residual``.

Signals are z^1 .. z^L, that is the stream after every block, and inside a block of two layers the pre-activation of
the inner one. Backwards ``delta`` is the cotangent of a layer's signal, ``held`` that of the stream beside it while
an inner layer is passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcore.measure.network import Network


@dataclass(frozen=True)
class Layer:
    """One weight layer on a batch, (B, n) each: ``x`` what W multiplies, ``seen`` what activation (and norm before
    it) acts on, ``z`` the signal that it leaves."""

    x: Tensor
    seen: Tensor
    z: Tensor


@dataclass(frozen=True)
class Pulled:
    """Cotangents of one weight layer: ``scale`` * ``sent`` at W x + b, ``delta`` and ``held`` at the signal below."""

    sent: Tensor
    scale: float
    delta: Tensor
    held: Tensor | None = None


def times(delta: Tensor, weight: Tensor) -> Tensor:
    """delta W, half precisions summed in float32 as torch sums them; its own loop takes 40 times as long."""
    if weight.dtype in (torch.bfloat16, torch.float16):
        return (delta.float() @ weight.float()).to(weight.dtype)
    return delta @ weight


def through(unit: Callable[[Tensor], Tensor], z: Tensor, delta: Tensor) -> Tensor:
    """J^T delta of a unit at z, by torch's own backward."""
    leaf = z.detach().requires_grad_(True)
    with torch.enable_grad():
        x = unit(leaf)
    return torch.autograd.grad(x, leaf, delta)[0]


class Block:
    """No residual: z^l = W^l x^(l-1) + b^l with x = phi(norm(z)) or norm(phi(z))."""

    acts_below = True  # the activation of layer l acts on z^l on the way to layer l + 1, not inside layer l

    def run(self, net: Network, index: int, signals: list[Tensor]) -> Layer:
        """Layer ``index`` > 0 after the ``signals`` below it."""
        x = net.unit(index - 1, signals[-1])
        z = net.linears[index](x)
        return Layer(x, z, z)

    def pull(self, net: Network, index: int, layers: list[Layer], delta: Tensor, held: Tensor | None) -> Pulled:
        """The cotangents below layer ``index`` > 0."""
        sent = net.back(index, delta)
        return Pulled(delta, 1.0, net.back_unit(index - 1, layers[index - 1].z, sent))


class Identity(Block):
    """h' = h + alpha (W u + b), u = phi(norm(h)) or norm(phi(h))."""

    def run(self, net: Network, index: int, signals: list[Tensor]) -> Layer:
        x = net.unit(index - 1, signals[-1])
        z = signals[-1] + net.alpha * net.linears[index](x)
        return Layer(x, z, z)

    def pull(self, net: Network, index: int, layers: list[Layer], delta: Tensor, held: Tensor | None) -> Pulled:
        sent = net.alpha * net.back(index, delta)
        below = net.back_unit(index - 1, layers[index - 1].z, sent)
        return Pulled(delta, net.alpha, delta + below)


class TwoLayer(Identity):
    """h' = h + alpha (W2 phi(W1 u) + b), u = phi(norm(h)) or norm(phi(h)); the inner layer's signal is W1 u."""

    def run(self, net: Network, index: int, signals: list[Tensor]) -> Layer:
        if net.inner[index]:
            x = net.unit(index - 1, signals[-1])
            z = net.linears[index](x)
            return Layer(x, z, z)
        if not net.inner[index - 1]:
            return super().run(net, index, signals)
        x = net.unit(index - 1, signals[-1])
        z = signals[-2] + net.alpha * net.linears[index](x)
        return Layer(x, z, z)

    def pull(self, net: Network, index: int, layers: list[Layer], delta: Tensor, held: Tensor | None) -> Pulled:
        z = layers[index - 1].z
        if net.inner[index]:
            assert held is not None
            below = net.back_unit(index - 1, z, net.back(index, delta))
            return Pulled(delta, 1.0, held + below)
        if not net.inner[index - 1]:
            return super().pull(net, index, layers, delta, held)
        sent = net.alpha * net.back(index, delta)
        return Pulled(delta, net.alpha, net.back_unit(index - 1, z, sent), delta)


class PostActivation(Block):
    """h' = h + alpha phi(norm(W h + b)), or the norm after phi."""

    acts_below = False

    def run(self, net: Network, index: int, signals: list[Tensor]) -> Layer:
        h = signals[-1]
        seen = net.linears[index](h)
        return Layer(h, seen, h + net.alpha * net.unit(index - 1, seen))

    def pull(self, net: Network, index: int, layers: list[Layer], delta: Tensor, held: Tensor | None) -> Pulled:
        sent = net.back_unit(index - 1, layers[index].seen, delta)
        return Pulled(sent, net.alpha, delta + net.alpha * net.back(index, sent))


class ResNetV1(Block):
    """h' = phi(norm(h + alpha (W h + b))), or the norm after phi."""

    acts_below = False

    def run(self, net: Network, index: int, signals: list[Tensor]) -> Layer:
        h = signals[-1]
        seen = h + net.alpha * net.linears[index](h)
        return Layer(h, seen, net.unit(index - 1, seen))

    def pull(self, net: Network, index: int, layers: list[Layer], delta: Tensor, held: Tensor | None) -> Pulled:
        sent = net.back_unit(index - 1, layers[index].seen, delta)
        return Pulled(sent, net.alpha, sent + net.alpha * net.back(index, sent))


BLOCKS: dict[str, Block] = {
    "none": Block(),
    "identity": Identity(),
    "post_activation": PostActivation(),
    "two_layer": TwoLayer(),
    "resnet_v1": ResNetV1(),
}
