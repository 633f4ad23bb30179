"""A Spec's network as a plain PyTorch script: no gradcore needed, made to be pasted into a project of one's own.

``build_network`` and ``initialize`` of the script stand for themselves; the rest sends one batch through and prints
the RMS of every layer's signal and gradient. Laws, activations and norms come from the tables' ``torch_code``.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from gradcore.errors import UnsupportedError
from gradcore.normalization import NORMALIZATIONS
from gradcore.residual import INVERSE_SQRT_DEPTH, RESIDUALS, inner_layers
from gradcore.theory.critical import resolve_gain

if TYPE_CHECKING:
    from gradcore.spec import Spec

LINE = 100  # characters of a line of code


def torch_code(spec: Spec) -> str:
    """A self-contained script of this Spec's network, its initialization and one pass forward and backward.

    It prints, per layer, the RMS of z^l and of delta^l = B dC/dz^l of one network in torch's default float32, in
    which what over- or underflows does so as in ordinary training. Raises UnsupportedError for what torch refuses
    (batch norm with one sample), SpecError for a gain that does not exist.
    """
    _check_supported(spec)
    functions = [_activation_class(spec), _block_class(spec), _build(spec), _initialize(spec), _RMS]
    body = "\n\n\n".join([_constants(spec), *(part for part in functions if part), _run(spec)])
    return f"{_head(spec, body)}\n\n{body}\n"


def _check_supported(spec: Spec) -> None:
    if spec.norm == "batch" and spec.batch_size < 2:
        raise UnsupportedError(
            "batch norm with one sample", "torch refuses it: there is no variance over the batch", "batch_size >= 2"
        )


# --- numbers and lists as code -----------------------------------------------------------------------------


def _number(x: float) -> str:
    """The number as Python code that reads back the same; whole ones without a decimal point."""
    return repr(int(x)) if isinstance(x, int) or (x.is_integer() and abs(x) < 1e6) else repr(x)


def _runs(values: Sequence[float]) -> list[str]:
    """Lists whose sum is ``values``, as Python code: equal neighbours are written ``[x] * n``."""
    parts: list[str] = []
    single: list[str] = []
    for value, group in groupby(values):
        count = len(list(group))
        if count < 4:
            single += [_number(value)] * count
            continue
        parts += [f"[{', '.join(single)}]"] if single else []
        parts.append(f"[{_number(value)}] * {count}")
        single = []
    return [*parts, f"[{', '.join(single)}]"] if single else parts


def _assign(name: str, values: Sequence[float], comment: str = "") -> str:
    """``name = values`` as Python code in lines of at most ``LINE`` characters."""
    parts = _runs(values)
    code = " + ".join(parts)
    if len(f"{name} = {code}{comment}") <= LINE:
        return f"{name} = {code}{comment}"
    left, right = ("[", "]") if len(parts) == 1 else ("(", ")")
    inner = code[1:-1] if len(parts) == 1 else code
    lines = textwrap.wrap(inner, LINE - 4, break_long_words=False, break_on_hyphens=False)
    return "\n".join([f"{name} = {left}{comment}", *(f"    {line}" for line in lines), right])


def _wrapped(start: str, items: list[str], end: str, indent: int) -> list[str]:
    """``start`` items ``end`` as one line of code, or with one item a line where that is too long."""
    space = " " * indent
    line = f"{space}{start}{', '.join(items)}{end}"
    if len(line) <= LINE:
        return [line]
    return [f"{space}{start}", *(f"{space}    {item}," for item in items), f"{space}{end}"]


# --- the network -------------------------------------------------------------------------------------------


def _uniform(spec: Spec) -> bool:
    """Whether all layers have the same width; the input may have another."""
    return len(set(spec.layer_widths.tolist())) == 1


def _input_width(spec: Spec) -> str:
    """The code for the fan-in of layer 1."""
    if not _uniform(spec):
        return "WIDTHS[0]"
    return "WIDTH" if spec.fan_ins[0] == spec.layer_widths[0] else "INPUT_WIDTH"


def _between(spec: Spec, width: str) -> list[str]:
    """The modules between two linear layers, in their order, as code."""
    norm, modules = NORMALIZATIONS[spec.norm], _activation(spec)
    if norm.torch_code:
        place = len(modules) if spec.norm_position == "after" else 0
        modules.insert(place, norm.torch_code.format(width=width, eps=_number(spec.norm_eps)))
    return modules


def _activation(spec: Spec) -> list[str]:
    """The activation's module as code; none for linear."""
    if _activation_class(spec):
        return ["Activation()"]
    entry = spec.activation_entry
    return [] if entry.is_linear else [entry.torch_code.format(slope=_number(spec.slope))]


def _activation_class(spec: Spec) -> str:
    """A module around a function that torch has no module for."""
    code = spec.activation_entry.torch_code
    if "(" in code or spec.depth == 1:
        return ""
    return f"class Activation(nn.Module):\n    def forward(self, x):\n        return {code}(x)"


def _has_blocks(spec: Spec) -> bool:
    return spec.residual != "none" and spec.depth > 1


@dataclass(frozen=True)
class _Form:
    """A residual block as code: its modules by name, in the order in which they are run ("norm", "phi" and "linear"
    stand for themselves), and what it returns; ``last`` is the form of a rest that is too short for a whole block."""

    modules: dict[str, tuple[str, ...]]
    returns: str
    last: str = ""


_FORMS = {
    "identity": _Form({"branch": ("unit", "linear")}, "h + {alpha}self.branch(h)"),
    "post_activation": _Form({"linear": ("linear",), "unit": ("unit",)}, "h + {alpha}self.unit(self.linear(h))"),
    "two_layer": _Form(
        {"inner": ("unit", "linear"), "outer": ("phi", "linear")}, "h + {alpha}self.outer(self.inner(h))", "identity"
    ),
    "resnet_v1": _Form({"linear": ("linear",), "unit": ("unit",)}, "self.unit(h + {alpha}self.linear(h))"),
}


def _blocks(spec: Spec) -> tuple[int, int]:
    """How many whole blocks follow layer 1, and how many layers are left for a shorter last one."""
    return divmod(spec.depth - 1, RESIDUALS[spec.residual].layers) if _has_blocks(spec) else (0, 0)


def _block_class(spec: Spec) -> str:
    if not _has_blocks(spec):
        return ""
    form, (whole, left) = _FORMS[spec.residual], _blocks(spec)
    classes = [_one_class(spec, "Block", form)] if whole else []
    return "\n\n\n".join(classes + ([_one_class(spec, "LastBlock", _FORMS[form.last])] if left else []))


def _one_class(spec: Spec, name: str, form: _Form) -> str:
    code = {"unit": _between(spec, "WIDTH"), "phi": _activation(spec), "linear": ["nn.Linear(WIDTH, WIDTH)"]}
    lines = [f"class {name}(nn.Module):", "    def __init__(self):", "        super().__init__()"]
    for attribute, parts in form.modules.items():
        modules = [module for part in parts for module in code[part]]
        if parts == ("linear",):
            lines.append(f"        self.{attribute} = {modules[0]}")
        else:
            lines += _wrapped(f"self.{attribute} = nn.Sequential(", modules, ")", 8)
    scale = "" if spec.alpha == 1.0 else "ALPHA * "
    return "\n".join([*lines, "", "    def forward(self, h):", f"        return {form.returns.format(alpha=scale)}"])


def _build(spec: Spec) -> str:
    first = f"nn.Linear({_input_width(spec)}, {'WIDTH' if _uniform(spec) else 'WIDTHS[1]'})"
    if spec.depth == 1:
        lines = [f"    return nn.Sequential({first})"]
    elif _has_blocks(spec):
        whole, left = _blocks(spec)
        layers = RESIDUALS[spec.residual].layers
        count = "DEPTH - 1" if layers == 1 else f"(DEPTH - 1) // {layers}"
        parts = [first, *([f"*(Block() for _ in range({count}))"] if whole else []), *(["LastBlock()"] if left else [])]
        lines = _wrapped("return nn.Sequential(", parts, ")", 4)
    else:
        n, m = ("WIDTH", "WIDTH") if _uniform(spec) else ("n", "m")
        loop = "for _ in range(DEPTH - 1):" if _uniform(spec) else "for n, m in zip(WIDTHS[1:], WIDTHS[2:]):"
        lines = [
            f"    layers = [{first}]",
            f"    {loop}",
            *_wrapped("layers += [", [*_between(spec, n), f"nn.Linear({n}, {m})"], "]", 8),
            "    return nn.Sequential(*layers)",
        ]
    return "\n".join(["def build_network():", *lines])


# --- the weights -------------------------------------------------------------------------------------------


def _gains(spec: Spec) -> list[float]:
    return resolve_gain(spec).multipliers.tolist()


def _law(spec: Spec, gain: str) -> list[str]:
    """The lines that draw the weights w."""
    if not any(_gains(spec)):
        return ["nn.init.zeros_(w)"]  # torch's trunc_normal_ cannot do std = 0
    code = spec.init_entry.torch_code.format(gain=gain, slope=_number(spec.init_slope), sparsity=_number(spec.sparsity))
    return [line for line in code.split("; ") if line != "w.mul_(1)"]


def _biases(spec: Spec, linear: str) -> list[str]:
    if spec.bias_std == "default":
        bound = f"{linear}.in_features ** -0.5"
        return [f"bound = {bound}", f"nn.init.uniform_({linear}.bias, -bound, bound)"]
    if spec.bias_std:
        return [f"nn.init.normal_({linear}.bias, std={_number(float(spec.bias_std))})"]
    return [f"nn.init.zeros_({linear}.bias)"]


def _norm_lines(spec: Spec) -> list[str]:
    """Filling in gamma and beta where they are not torch's own 1 and 0."""
    norm = NORMALIZATIONS[spec.norm]
    if not norm.torch_code or spec.depth == 1:
        return []
    lines = []
    if spec.norm_gamma != 1.0:
        lines.append(f"nn.init.constant_(module.weight, {_number(spec.norm_gamma)})")
    if norm.has_beta and spec.norm_beta != 0.0:
        lines.append(f"nn.init.constant_(module.bias, {_number(spec.norm_beta)})")
    kind = norm.torch_code.split("(")[0]
    return [f"if isinstance(module, {kind}):", *(f"    {line}" for line in lines)] if lines else []


def _initialize(spec: Spec) -> str:
    several = len(set(_gains(spec))) > 1
    named = isinstance(spec.gain, str)
    gain = "gain" if several else "GAIN" if named else _number(_gains(spec)[0])
    linear = "linear" if several else "module"
    draw = [f"w = {linear}.weight", *_law(spec, gain), *_biases(spec, linear)]
    lines = ["@torch.no_grad()", "def initialize(model):"]
    norm = _norm_lines(spec)
    if several:
        lines += [
            "    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]",
            "    for linear, gain in zip(linears, GAINS):",
            *(f"        {line}" for line in draw),
        ]
        inner = norm
    else:
        inner = ["if isinstance(module, nn.Linear):", *(f"    {line}" for line in draw), *norm]
    loop = ["    for module in model.modules():", *(f"        {line}" for line in inner)]
    return "\n".join([*lines, *(loop if inner else []), *_inner_biases(spec)])


def _inner_biases(spec: Spec) -> list[str]:
    """Biases inside a block start at 0."""
    if spec.bias_std == 0.0 or not inner_layers(spec.residual, spec.depth).any():
        return []
    return [
        "    for module in model.modules():",
        "        if isinstance(module, Block):",
        "            nn.init.zeros_(module.inner[-1].bias)",
    ]


# --- the script around them --------------------------------------------------------------------------------

_RMS = """def rms(x):
    return x.double().square().mean().sqrt().item()"""


def _head(spec: Spec, body: str) -> str:
    """Docstring, and the imports that the body uses."""
    widths = f"width {int(spec.layer_widths[0]):,}" if _uniform(spec) else "given widths"
    parts = [f"Depth {spec.depth:,}, {widths}", spec.activation, spec.init]
    parts += [f"{spec.norm} norm"] if spec.norm != "none" else []
    parts += [f"{spec.residual} residual"] if spec.residual != "none" else []
    lines = [f'"""{", ".join(parts)}.', "", "Prints the RMS of every layer's signal and gradient before training."]
    lines += ['"""', ""]
    lines += ["import math", ""] if "math." in body else []
    lines += ["import torch"]
    lines += ["from sklearn.datasets import load_digits"] if spec.input == "digits" else []
    return "\n".join([*lines, "from torch import nn"])


def _constants(spec: Spec) -> str:
    gain = resolve_gain(spec)
    lines = [f"BATCH = {spec.batch_size}"]
    if _uniform(spec):
        lines = [f"WIDTH, BATCH = {int(spec.layer_widths[0])}, {spec.batch_size}"]
        if spec.depth > 1:
            lines = [f"DEPTH, WIDTH, BATCH = {spec.depth}, {int(spec.layer_widths[0])}, {spec.batch_size}"]
        if _input_width(spec) == "INPUT_WIDTH":
            lines.append(f"INPUT_WIDTH = {int(spec.fan_ins[0])}")
    else:
        lines.append(_assign("WIDTHS", [int(spec.fan_ins[0]), *spec.layer_widths.tolist()]))
    comment = f"  # {gain.origin}" if isinstance(spec.gain, str) else ""
    multipliers = gain.multipliers.tolist()
    if len(set(multipliers)) > 1:
        lines.append(_assign("GAINS", multipliers, comment))
    elif isinstance(spec.gain, str):
        lines.append(f"GAIN = {_number(multipliers[0])}{comment}")
    if _has_blocks(spec) and spec.alpha != 1.0:
        root = spec.residual_scale == INVERSE_SQRT_DEPTH
        lines.append("ALPHA = DEPTH**-0.5" if root else f"ALPHA = {_number(spec.alpha)}")
    return "\n".join(lines)


def _batch(spec: Spec) -> list[str]:
    scale = "" if spec.input_rms == 1.0 else f"{_number(spec.input_rms)} * "
    if spec.input == "digits":
        return [
            "images = torch.tensor(load_digits().data[:BATCH], dtype=torch.float32)",
            f"x = {scale}images / images.square().mean(dim=1, keepdim=True).sqrt()",
        ]
    width = _input_width(spec)
    if spec.input_correlation == 0.0:
        return [f"x = {scale}torch.randn(BATCH, {width})"]
    mixed = "c**0.5 * common + (1 - c) ** 0.5 * own"
    return [
        f"c = {_number(spec.input_correlation)}  # correlation of two samples",
        f"common, own = torch.randn(1, {width}), torch.randn(BATCH, {width})",
        f"x = {scale}({mixed})" if scale else f"x = {mixed}",
    ]


_LOSSES = {
    "random": ["loss = (output * torch.randn_like(output)).sum() / BATCH"],
    "mse": ["loss = nn.functional.mse_loss(output, torch.zeros_like(output))"],
    "cross_entropy": [
        "labels = torch.randint(output.shape[1], (BATCH,))",
        "loss = nn.functional.cross_entropy(output, labels)",
    ],
}


def _signals(spec: Spec) -> list[str]:
    """One forward pass that keeps z of every layer."""
    if inner_layers(spec.residual, spec.depth).any():
        return [
            "signals = []  # z of every layer: inside a block that of its first weights, then the stream behind it",
            "",
            "",
            "def keep(module, inputs, z):",
            "    z.retain_grad()",
            "    signals.append(z)",
            "",
            "",
            "blocks = [module for module in model if isinstance(module, Block)]",
            "hooks = [m.register_forward_hook(keep) for m in (*model, *(block.inner for block in blocks))]",
            "output = model(x)",
            "for hook in hooks:",
            "    hook.remove()",
        ]
    whole, left = _blocks(spec)
    names = ["Block"] * bool(whole) + ["LastBlock"] * bool(left)
    kinds = f"({', '.join(['nn.Linear', *names])})" if names else "nn.Linear"
    return [
        "signals = []  # z of every layer",
        "for module in model:",
        "    x = module(x)",
        f"    if isinstance(module, {kinds}):",
        "        x.retain_grad()",
        "        signals.append(x)",
        "output = signals[-1]",
    ]


def _run(spec: Spec) -> str:
    return "\n".join(
        [
            "torch.manual_seed(0)",
            "model = build_network()",
            "initialize(model)",
            "",
            *_batch(spec),
            *_signals(spec),
            *_LOSSES[spec.loss],
            "loss.backward()",
            "",
            'print("layer    RMS of z    RMS of gradient")',
            "# the loss is a mean over the batch: BATCH times its gradient is one sample's",
            "for layer, z in enumerate(signals, start=1):",
            '    print(f"{layer:5}  {rms(z):10.4g}  {BATCH * rms(z.grad):17.4g}")',
        ]
    )
