"""One weight layer of each residual form, forwards and backwards: a table beside ``gradcore.residual``.

Signals are z^1 .. z^L, that is the stream after every block, and inside a block of two layers the pre-activation of
the inner one. Backwards ``delta`` is the cotangent of a layer's signal, ``held`` that of the stream beside it while
an inner layer is passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Layer:
    """One weight layer on a batch, (..., B, n) each: ``x`` what W multiplies, ``seen`` what activation (and norm before
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


class Forward(Protocol):
    """What a block needs of a network: unit l = index + 1 is phi(norm(.)) or norm(phi(.)) between two weight layers."""

    inner: list[bool]
    alpha: float

    def unit(self, index: int, z: Tensor) -> Tensor:
        """The unit on ``z``."""
        ...

    def linear(self, index: int, x: Tensor) -> Tensor:
        """W x + b of layer ``index``."""
        ...


class Backward(Protocol):
    """What a block needs of a network that has been run."""

    inner: list[bool]
    alpha: float

    def pull_unit(self, index: int, delta: Tensor) -> Tensor:
        """J^T delta of the unit where it was run."""
        ...

    def times(self, delta: Tensor, index: int) -> Tensor:
        """delta W of layer ``index``."""
        ...


class Block:
    """No residual: z^l = W^l x^(l-1) + b^l with x = phi(norm(z)) or norm(phi(z))."""

    acts_below = True  # the activation of layer l acts on z^l on the way to layer l + 1, not inside layer l

    def run(self, net: Forward, index: int, signals: list[Tensor]) -> Layer:
        """Layer ``index`` > 0 after the ``signals`` below it."""
        x = net.unit(index - 1, signals[-1])
        z = net.linear(index, x)
        return Layer(x, z, z)

    def pull(self, net: Backward, index: int, delta: Tensor, held: Tensor | None) -> Pulled:
        """The cotangents below layer ``index`` > 0."""
        sent = net.times(delta, index)
        return Pulled(delta, 1.0, net.pull_unit(index - 1, sent))


class Identity(Block):
    """h' = h + alpha (W u + b), u = phi(norm(h)) or norm(phi(h))."""

    def run(self, net: Forward, index: int, signals: list[Tensor]) -> Layer:
        x = net.unit(index - 1, signals[-1])
        z = signals[-1] + net.alpha * net.linear(index, x)
        return Layer(x, z, z)

    def pull(self, net: Backward, index: int, delta: Tensor, held: Tensor | None) -> Pulled:
        sent = net.alpha * net.times(delta, index)
        below = net.pull_unit(index - 1, sent)
        return Pulled(delta, net.alpha, delta + below)


class TwoLayer(Identity):
    """h' = h + alpha (W2 phi(W1 u) + b), u = phi(norm(h)) or norm(phi(h)); the inner layer's signal is W1 u."""

    def run(self, net: Forward, index: int, signals: list[Tensor]) -> Layer:
        if net.inner[index]:
            x = net.unit(index - 1, signals[-1])
            z = net.linear(index, x)
            return Layer(x, z, z)
        if not net.inner[index - 1]:
            return super().run(net, index, signals)
        x = net.unit(index - 1, signals[-1])
        z = signals[-2] + net.alpha * net.linear(index, x)
        return Layer(x, z, z)

    def pull(self, net: Backward, index: int, delta: Tensor, held: Tensor | None) -> Pulled:
        if net.inner[index]:
            assert held is not None
            below = net.pull_unit(index - 1, net.times(delta, index))
            return Pulled(delta, 1.0, held + below)
        if not net.inner[index - 1]:
            return super().pull(net, index, delta, held)
        sent = net.alpha * net.times(delta, index)
        return Pulled(delta, net.alpha, net.pull_unit(index - 1, sent), delta)


class PostActivation(Block):
    """h' = h + alpha phi(norm(W h + b)), or the norm after phi."""

    acts_below = False

    def run(self, net: Forward, index: int, signals: list[Tensor]) -> Layer:
        h = signals[-1]
        seen = net.linear(index, h)
        return Layer(h, seen, h + net.alpha * net.unit(index - 1, seen))

    def pull(self, net: Backward, index: int, delta: Tensor, held: Tensor | None) -> Pulled:
        sent = net.pull_unit(index - 1, delta)
        return Pulled(sent, net.alpha, delta + net.alpha * net.times(sent, index))


class ResNetV1(Block):
    """h' = phi(norm(h + alpha (W h + b))), or the norm after phi."""

    acts_below = False

    def run(self, net: Forward, index: int, signals: list[Tensor]) -> Layer:
        h = signals[-1]
        seen = h + net.alpha * net.linear(index, h)
        return Layer(h, seen, net.unit(index - 1, seen))

    def pull(self, net: Backward, index: int, delta: Tensor, held: Tensor | None) -> Pulled:
        sent = net.pull_unit(index - 1, delta)
        return Pulled(sent, net.alpha, sent + net.alpha * net.times(sent, index))


BLOCKS: dict[str, Block] = {
    "none": Block(),
    "identity": Identity(),
    "post_activation": PostActivation(),
    "two_layer": TwoLayer(),
    "resnet_v1": ResNetV1(),
}
