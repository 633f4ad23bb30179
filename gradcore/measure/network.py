"""The Spec as an ordinary ``nn.Module``, its weights drawn by torch's own initializers from explicit generators."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn

from gradcore.errors import SpecError, UnsupportedError
from gradcore.measure.blocks import BLOCKS, Layer
from gradcore.measure.drawing import Laws
from gradcore.measure.steps import Steps
from gradcore.normalization import NORMALIZATIONS
from gradcore.residual import inner_layers
from gradcore.theory.inputs import digits_batch

if TYPE_CHECKING:
    from gradcore.spec import Spec

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
WEIGHTS, INPUTS, COTANGENTS = 0, 1, 2  # streams of random numbers of one network


def check_dtype(dtype: str) -> str:
    """The dtype if it is known, else SpecError."""
    if dtype not in DTYPES:
        raise SpecError("dtype", dtype, "one of " + ", ".join(DTYPES))
    return dtype


def check_index(name: str, value: int) -> int:
    """A non-negative integer, else SpecError."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < 0:
        raise SpecError(name, value, "an integer from 0 on")
    return int(value)


def generator(seed: int, network: int, stream: int) -> torch.Generator:
    """The generator of one stream of one network: independent of every other, and of torch's global state."""
    words = np.random.SeedSequence([seed, network, stream]).generate_state(2, np.uint64)
    return torch.Generator().manual_seed(int(words[0] >> np.uint64(1)))


def draw_dtype(dtype: str) -> torch.dtype:
    """The dtype random numbers are drawn in: half precisions are rounded from float32 draws."""
    return torch.float64 if dtype == "float64" else torch.float32


class Linear(nn.Linear):
    """nn.Linear that leaves its weights to the initializer: torch's own draw would move its global generator, and
    ``nn.utils.skip_init`` takes ten times as long."""

    def reset_parameters(self) -> None:
        """Leave the weights as they are."""


class Network(nn.Module):
    """z^l = W^l x^(l-1) + b^l with x^l = phi(norm(z^l)) or norm(phi(z^l)), or the blocks of a residual form after it.

    ``linears[l-1]`` is layer l; ``activations[l-1]`` and ``norms[l-1]`` act on its output (l < L), in the forms whose
    activation lies behind the weights of the block (``post_activation``, ``resnet_v1``) in the block of layer l + 1.
    """

    def __init__(self, spec: Spec, dtype: torch.dtype, steps: Steps) -> None:
        super().__init__()
        self.inner = inner_layers(spec.residual, spec.depth).tolist()
        self.linears, self.activations, self.norms = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for index, (fan_in, width) in enumerate(zip(spec.fan_ins.tolist(), spec.layer_widths.tolist(), strict=True)):
            self.linears.append(Linear(fan_in, width, device="cpu", dtype=dtype))
            if index < spec.depth - 1:
                self.activations.append(make_activation(spec).to(dtype))
                norm = make_norm(spec, width)
                if norm is not None:
                    self.norms.append(nn.Identity() if self.inner[index] else norm.to(dtype))
            steps.beat()
        self.norm_after = spec.norm_position == "after"
        self.alpha = spec.alpha
        self.block = BLOCKS[spec.residual]

    def unit(self, index: int, z: Tensor) -> Tensor:
        """phi(norm(z)) or norm(phi(z)) by the modules of layer l = index + 1."""
        activation = self.activations[index]
        if not len(self.norms):
            return activation(z)
        norm = self.norms[index]
        return norm(activation(z)) if self.norm_after else activation(norm(z))

    def linear(self, index: int, x: Tensor) -> Tensor:
        """W x + b of layer l = index + 1."""
        return self.linears[index](x)

    def layer(self, index: int, x: Tensor, signals: list[Tensor]) -> Layer:
        """Layer l = index + 1 on the batch ``x`` (B, input_width) after the signals below it (the last two suffice)."""
        if index:
            return self.block.run(self, index, signals)
        z = self.linears[0](x)
        return Layer(x, z, z)

    def forward(self, x: Tensor) -> Tensor:
        """The output z^L of a batch (B, input_width)."""
        signals: list[Tensor] = []
        for index in range(len(self.linears)):
            signals = [*signals[-1:], self.layer(index, x, signals).z]
        return signals[-1]


def make_activation(spec: Spec) -> nn.Module:
    """torch's module of the Spec's activation."""
    return spec.activation_entry.torch_module(torch, spec.slope)


def make_norm(spec: Spec, width: int) -> nn.Module | None:
    """torch's module of the Spec's norm with gamma and beta filled in; None without a norm."""
    entry = NORMALIZATIONS[spec.norm]
    if entry.torch_module is None:
        return None
    module = entry.torch_module(torch, width, spec.norm_eps).double()  # gamma and beta keep their digits
    with torch.no_grad():
        module.weight.fill_(spec.norm_gamma)
        if entry.has_beta:
            module.bias.fill_(spec.norm_beta)
    return module


def check_supported(spec: Spec) -> None:
    """Raise UnsupportedError for what torch refuses to run."""
    if spec.norm == "batch" and spec.batch_size < 2:
        raise UnsupportedError(
            "batch norm with one sample", "torch refuses it: there is no variance over the batch", "batch_size >= 2"
        )


def _check_size(spec: Spec) -> None:
    weights = float(np.sum(spec.fan_ins.astype(float) * spec.layer_widths))
    if weights * 8 > 16e9:
        raise UnsupportedError(
            f"a dense network of {weights:.3g} weights",
            f"its float64 weights take {weights * 8 / 2**30:.1f} GiB",
            "networks below 2e9 weights; predict needs no weights at all",
        )


def build(spec: Spec, seed: int = 0, network: int = 0, dtype: str = "float64", steps: Steps | None = None) -> Network:
    """The module of measured network ``network`` of ``seed`` (training mode, so that batch norm uses the batch).
    ``steps`` hears of each layer."""
    check_dtype(dtype)
    check_index("seed", seed)
    check_index("network", network)
    check_supported(spec)
    _check_size(spec)
    steps = steps or Steps()
    model = Network(spec, draw_dtype(dtype), steps)
    draws, laws = generator(seed, network, WEIGHTS), Laws(spec)
    with torch.no_grad():
        for layer, module in enumerate(model.linears):
            linear = cast(nn.Linear, module)
            laws.fill_weight(layer, linear.weight, draws, steps)
            laws.fill_bias(layer, linear.bias, draws)
            linear.to(DTYPES[dtype])
            steps.next()
    return model if DTYPES[dtype] == draw_dtype(dtype) else model.to(DTYPES[dtype])


def draw_inputs(spec: Spec, seed: int, network: int, dtype: str) -> Tensor:
    """The batch (B, input_width) that network sees: digits, or rms (sqrt(c) u + sqrt(1-c) v_b)."""
    if spec.input == "digits":
        return torch.from_numpy(digits_batch(spec.batch_size, spec.input_rms)).to(DTYPES[dtype])
    draws, width, c = generator(seed, network, INPUTS), int(spec.fan_ins[0]), spec.input_correlation
    common = torch.randn(1, width, generator=draws, dtype=draw_dtype(dtype))
    own = torch.randn(spec.batch_size, width, generator=draws, dtype=draw_dtype(dtype))
    return (spec.input_rms * (math.sqrt(c) * common + math.sqrt(1.0 - c) * own)).to(DTYPES[dtype])


def draw_cotangent(spec: Spec, output: Tensor, seed: int, network: int, dtype: str) -> Tensor:
    """delta^L (B, n_L): B dC/dz_b of the Spec's loss at this output."""
    draws = generator(seed, network, COTANGENTS)
    if spec.loss == "random":
        return torch.randn(output.shape, generator=draws, dtype=draw_dtype(dtype)).to(output)
    z = output.detach().requires_grad_(True)
    if spec.loss == "mse":
        cost = nn.functional.mse_loss(z, torch.zeros_like(z))
    else:
        labels = torch.randint(output.shape[1], (output.shape[0],), generator=draws)
        cost = nn.functional.cross_entropy(z, labels.to(z.device))
    return torch.autograd.grad(cost, z)[0] * output.shape[0]
