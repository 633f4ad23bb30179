"""A Spec as a network that is trained: residual blocks in layers 2..L-1 at most, layer L the plain readout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from gradcore.measure.blocks import BLOCKS, Layer
from gradcore.measure.network import DTYPES, Linear, Network, build, make_activation, make_norm

if TYPE_CHECKING:
    from gradcore.spec import Spec


class Classifier(Network):
    """z^l of layers 1..L-1 as in Network, z^L = W^L x + b^L with x the last unit, or the stream itself in the forms
    whose activation lies inside the block. ``spec`` has the network's form, ``sized`` the widths of every layer."""

    def __init__(self, spec: Spec, sized: Spec, inner: Sequence[bool], dtype: torch.dtype) -> None:
        nn.Module.__init__(self)
        self.inner = list(inner)
        self.block, self.alpha = BLOCKS[spec.residual], spec.alpha
        self.norm_after = spec.norm_position == "after"
        widths = sized.layer_widths.tolist()
        units = max(len(widths) - (1 if self.block.acts_below else 2), 0)
        self.linears = nn.ModuleList(
            Linear(fan_in, width, dtype=dtype) for fan_in, width in zip(sized.fan_ins.tolist(), widths, strict=True)
        )
        self.activations = nn.ModuleList(make_activation(spec).to(dtype) for _ in range(units))
        norms = [make_norm(spec, width) for width in widths[:units]]
        self.norms = nn.ModuleList(
            nn.Identity() if inside else norm.to(dtype)
            for norm, inside in zip(norms, self.inner, strict=False)
            if norm is not None
        )

    def layer(self, index: int, x: Tensor, signals: list[Tensor]) -> Layer:
        """As in Network, the last one plain."""
        if not 0 < index == len(self.linears) - 1:
            return super().layer(index, x, signals)
        below = self.unit(index - 1, signals[-1]) if self.block.acts_below else signals[-1]
        z = self.linears[index](below)
        return Layer(below, z, z)

    def layers(self, x: Tensor, beat: Callable[[], None] | None = None) -> list[Layer]:
        """All layers of one forward pass; ``beat`` is called before each."""
        out: list[Layer] = []
        for index in range(len(self.linears)):
            if beat is not None:
                beat()
            out.append(self.layer(index, x, [layer.z for layer in out[-2:]]))
        return out

    def shift(self, index: int) -> nn.Parameter:
        """What shifts layer index + 1 as a bias does: the bias, or the shift of the batch norm that takes it away."""
        place = index if self.block.acts_below else index - 1
        if 0 <= place < len(self.norms) and not self.norm_after and isinstance(self.norms[place], nn.BatchNorm1d):
            return cast(nn.Parameter, self.norms[place].bias)
        return cast(nn.Parameter, self.linears[index].bias)


def build_classifier(spec: Spec, sized: Spec, inner: Sequence[bool], seed: int, dtype: str) -> Classifier:
    """The network with the weights and biases of ``sized.build(seed)``; biases inside a block start at 0."""
    model = Classifier(spec, sized, inner, DTYPES[dtype])
    drawn = build(sized.replace(norm="none"), seed, 0, dtype)
    with torch.no_grad():
        for module, source, inside in zip(model.linears, drawn.linears, model.inner, strict=True):
            module.load_state_dict(source.state_dict())
            if inside:
                cast(nn.Linear, module).bias.zero_()
    return model
