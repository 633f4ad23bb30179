"""What measuring is compared with: written once and then left alone, so that ratios of different days mean the same.

``plain_hooks`` is what one writes first in torch, with torch's own thread setting. ``matmul_loop`` only draws the
weights and multiplies. ``floor`` is the arithmetic that no dense measurement can avoid, as fast as this machine
does it. Nothing of gradcore's engines enters; a Spec is only read.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from gradcore.spec import Spec

DTYPES = {"float32": torch.float32, "float64": torch.float64}
THREADS = 2


def plain_hooks(spec: Spec, networks: int, dtype: str = "float32") -> list[dict[str, list[float]]]:
    """The obvious torch code: for each network build nn.Sequential, keep the mean square of every layer's output in a
    forward hook and of its gradient in a tensor hook by ``.item()``, call ``.backward()`` with a random cotangent, and
    read the mean squares of every weight's and bias's gradient. Networks without norms and residual connections."""
    return [_plain_network(spec, seed, DTYPES[dtype]) for seed in range(networks)]


def _plain_network(spec: Spec, seed: int, dtype: torch.dtype) -> dict[str, list[float]]:
    torch.manual_seed(seed)
    modules: list[nn.Module] = []
    for fan_in, width in zip(spec.fan_ins.tolist(), spec.layer_widths.tolist(), strict=True):
        linear = nn.Linear(fan_in, width, dtype=dtype)
        nn.init.xavier_normal_(linear.weight)
        nn.init.zeros_(linear.bias)
        modules += [linear, spec.activation_entry.torch_module(torch, spec.slope)]
    model = nn.Sequential(*modules[:-1])
    found: dict[str, list[float]] = {"q": [], "g": [], "dw": [], "db": []}

    def forward_hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        found["q"].append(output.square().mean().item())
        output.register_hook(lambda gradient: found["g"].append(gradient.square().mean().item()))

    linears = [module for module in model if isinstance(module, nn.Linear)]
    for linear in linears:
        linear.register_forward_hook(forward_hook)
    output = model(torch.randn(spec.batch_size, int(spec.fan_ins[0]), dtype=dtype))
    output.backward(torch.randn_like(output) / spec.batch_size)
    for linear in linears:
        assert linear.weight.grad is not None and linear.bias.grad is not None
        found["dw"].append(linear.weight.grad.square().mean().item())
        found["db"].append(linear.bias.grad.square().mean().item())
    return found


def matmul_loop(spec: Spec, networks: int, dtype: str = "float32") -> None:
    """Draw the weights of every layer and multiply, forwards and then backwards; no activation and no statistic."""
    kind = DTYPES[dtype]
    for seed in range(networks):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(spec.batch_size, int(spec.fan_ins[0]), dtype=kind, generator=generator)
        weights = []
        for fan_in, width in zip(spec.fan_ins.tolist(), spec.layer_widths.tolist(), strict=True):
            weights.append(torch.empty(width, fan_in, dtype=kind).normal_(0.0, fan_in**-0.5, generator=generator))
            x = x @ weights[-1].T
        delta = torch.randn(x.shape, dtype=kind, generator=generator)
        for weight in reversed(weights):
            delta = delta @ weight


def floor(spec: Spec, networks: int, dtype: str = "float32") -> None:
    """Three products a layer (forwards, backwards, the weight gradient) and the random numbers, on THREADS threads: one
    network per thread, one intra-op thread each, every operand in a buffer that is used again."""
    setting = torch.get_num_threads()
    shares = [range(first, networks, THREADS) for first in range(THREADS)]
    threads = [threading.Thread(target=_floor_share, args=(spec, share, DTYPES[dtype])) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    torch.set_num_threads(setting)  # beside a number per thread torch keeps one of the process


def _floor_share(spec: Spec, seeds: range, kind: torch.dtype) -> None:
    torch.set_num_threads(1)
    batch, shapes = spec.batch_size, list(zip(spec.layer_widths.tolist(), spec.fan_ins.tolist(), strict=True))
    weights = [torch.empty(shape, dtype=kind) for shape in shapes]
    gradients = [torch.empty(shape, dtype=kind) for shape in dict.fromkeys(shapes)]
    gradient = dict(zip(dict.fromkeys(shapes), gradients, strict=True))
    signals = [torch.empty(batch, width, dtype=kind) for width in (shapes[0][1], *(rows for rows, _ in shapes))]
    cotangents = [torch.empty_like(signal) for signal in signals]
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        signals[0].normal_(generator=generator)
        for layer, weight in enumerate(weights):
            weight.normal_(0.0, weight.shape[1] ** -0.5, generator=generator)
            torch.mm(signals[layer], weight.T, out=signals[layer + 1])
        cotangents[-1].normal_(generator=generator)
        for layer in range(len(weights) - 1, -1, -1):
            torch.mm(cotangents[layer + 1].T, signals[layer], out=gradient[shapes[layer]])
            torch.mm(cotangents[layer + 1], weights[layer], out=cotangents[layer])
