"""A grid of Specs that touches every activation, initializer, norm, position, residual and loss."""

from __future__ import annotations

from typing import Any

import gradcore as gc
from gradcore.activations import ACTIVATIONS
from gradcore.initializers import INITIALIZERS

LOSSES = ("random", "mse", "cross_entropy")


def scaled_gain(init: str, width: int) -> float:
    """A gain that keeps the signal of ordinary size for laws that do not scale with fan-in."""
    root = width**-0.5
    return {
        "uniform": 2.5 * root,
        "normal": 1.5 * root,
        "trunc_normal": 1.5 * root,
        "constant": 1.2 / width,
        "eye": 1.1,
        "sparse": 3.0 * root,
        "linear_default": 2.0,
    }.get(init, 1.2)


def _tables(width: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for i, code in enumerate(ACTIVATIONS):
        bias, correlation = [0.0, 0.1][i % 2], [0.0, 0.5][(i // 2) % 2]
        rows.append(
            {
                "activation": code,
                "gain": "auto",
                "loss": LOSSES[i % 3],
                "bias_std": bias,
                "input_correlation": correlation,
            }
        )
    for i, code in enumerate(INITIALIZERS):
        gain = scaled_gain(code, width)
        rows.append({"init": code, "gain": gain, "activation": ["tanh", "relu"][i % 2], "loss": LOSSES[(i // 2) % 3]})
    rows.append({"init": "orthogonal", "activation": "tanh", "loss": "mse", "gain": 1.2})
    rows.append({"init": "orthogonal", "activation": "relu", "loss": "mse", "gain": 1.4, "residual": "identity"})
    return rows


def _remedies() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    cases = [
        ("relu", "random", "none"),
        ("tanh", "mse", "none"),
        ("gelu", "cross_entropy", "identity"),
        ("silu", "random", "identity"),
        ("tanh", "mse", "identity"),
        ("sigmoid", "random", "none"),
    ]
    for norm in ("batch", "layer", "rms"):
        for position in ("before", "after"):
            for j, (activation, loss, residual) in enumerate(cases):
                flat = norm == "batch" and position == "after" and activation == "relu"
                rows.append(
                    {
                        "norm": norm,
                        "norm_position": position,
                        "activation": "elu" if flat else activation,
                        "loss": loss,
                        "residual": residual,
                        "gain": 1.2,
                        "norm_gamma": [1.0, 1.5][j % 2],
                        "norm_beta": [0.0, 0.3][(j // 2) % 2],
                        "bias_std": [0.0, 0.2][j % 2],
                        "residual_scale": [1.0, "1/sqrt(L)"][j % 2],
                        "batch_size": 8,
                    }
                )
    for activation in ("relu", "tanh", "linear", "selu"):
        for loss in LOSSES:
            rows.append({"residual": "identity", "activation": activation, "loss": loss, "residual_scale": 0.5})
    for activation, loss in (("relu", "mse"), ("tanh", "cross_entropy"), ("gelu", "random")):
        for residual in ("none", "identity"):
            rows.append(
                {"input": "digits", "activation": activation, "loss": loss, "residual": residual, "gain": "auto"}
            )
    return rows


def _blocks(width: int) -> list[dict[str, Any]]:
    """Residual blocks beyond identity: activations, scales, norms, losses, biases, inputs, an orthogonal law."""
    rows: list[dict[str, Any]] = []
    for form in ("post_activation", "two_layer", "resnet_v1"):
        for i, activation in enumerate(("relu", "tanh", "gelu")):
            for j, scale in enumerate((1.0, "1/sqrt(L)")):
                rows.append(
                    {
                        "residual": form,
                        "activation": activation,
                        "residual_scale": scale,
                        "loss": LOSSES[(i + j) % 3],
                        "bias_std": [0.0, 0.2][j],
                        "input_correlation": [0.0, 0.5][i % 2],
                    }
                )
        for k, norm in enumerate(("batch", "layer", "rms")):
            for position in ("before", "after"):
                rows.append(
                    {
                        "residual": form,
                        "norm": norm,
                        "norm_position": position,
                        "activation": ["gelu", "tanh"][k % 2],
                        "loss": LOSSES[(k + (position == "after")) % 3],
                        "norm_beta": [0.0, 0.3][k % 2],
                        "batch_size": 8,
                        "residual_scale": 0.7,
                    }
                )
        rows.append({"residual": form, "init": "orthogonal", "activation": "relu", "loss": "mse", "gain": 1.2})
        for init, activation in (("eye", "gelu"), ("constant", "relu")):
            gain = scaled_gain(init, width)
            rows.append({"residual": form, "init": init, "gain": gain, "activation": activation, "residual_scale": 0.5})
        rows.append({"residual": form, "input": "digits", "activation": "relu", "loss": "mse"})
    return rows


def grid(width: int, depth: int) -> list[gc.Spec]:
    """The Specs of the grid at this width and depth."""
    return [gc.Spec(width=width, depth=depth, **row) for row in (*_tables(width), *_remedies(), *_blocks(width))]
