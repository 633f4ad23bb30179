"""The table of normalizations: how theory treats each one, beside torch's own module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Normalization:
    """One normalization.

    ``over`` is what its statistics are taken over: "none", "features" (one sample at a time) or "batch".
    ``centers`` tells whether it subtracts the mean. ``torch_module(torch, width, eps)`` is torch's module.
    """

    code: str
    over: str
    centers: bool
    has_beta: bool
    torch_module: Callable[[Any, int, float], Any] | None
    torch_code: str
    latex: str
    source: str


NORMALIZATIONS: dict[str, Normalization] = {
    n.code: n
    for n in (
        Normalization("none", "none", False, False, None, "", r"z", ""),
        Normalization(
            "batch",
            "batch",
            True,
            True,
            lambda torch, width, eps: torch.nn.BatchNorm1d(width, eps=eps),
            "nn.BatchNorm1d({width}, eps={eps})",
            r"\gamma (z-\bar z)/\sqrt{\mathrm{var}_B(z)+\epsilon}+\beta",
            "Ioffe & Szegedy 2015; Yang et al. 2019",
        ),
        Normalization(
            "layer",
            "features",
            True,
            True,
            lambda torch, width, eps: torch.nn.LayerNorm(width, eps=eps),
            "nn.LayerNorm({width}, eps={eps})",
            r"\gamma (z-\bar z)/\sqrt{\mathrm{var}_n(z)+\epsilon}+\beta",
            "Ba et al. 2016",
        ),
        Normalization(
            "rms",
            "features",
            False,
            False,
            lambda torch, width, eps: torch.nn.RMSNorm(width, eps=eps),
            "nn.RMSNorm({width}, eps={eps})",
            r"\gamma z/\sqrt{\mathrm{mean}_n(z^2)+\epsilon}",
            "Zhang & Sennrich 2019",
        ),
    )
}


def normalize(
    entry: Normalization, z: np.ndarray, gamma: float, beta: float, eps: float
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """gamma (z - mean) / sqrt(mean square + eps) + beta as torch's module does it in training mode, and its pullback.

    ``z`` is (..., B, n); the pullback maps the cotangent of the output to that of z. Statistics are taken over the
    entry's own axis and take part in the pullback.
    """
    axis = -2 if entry.over == "batch" else -1
    centred = z - z.mean(axis=axis, keepdims=True) if entry.centers else z
    scale = 1.0 / np.sqrt(np.mean(centred * centred, axis=axis, keepdims=True) + eps)
    hat = centred * scale

    def pull(d: np.ndarray) -> np.ndarray:
        inner = d - hat * np.mean(d * hat, axis=axis, keepdims=True)
        if entry.centers:
            inner = inner - d.mean(axis=axis, keepdims=True)
        return (gamma * scale) * inner

    return gamma * hat + (beta if entry.has_beta else 0.0), pull
