"""The table of residual forms, the scale of the branch, and which weight layers lie inside a block."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Residual:
    """One residual form, from layer 2 on (layer 1 is plain): ``latex`` is its block.

    ``layers`` weight layers a block has; ``gaussian`` whether the stream stays Gaussian over the weights at
    infinite width, so that its second moments close by themselves.
    """

    code: str
    latex: str
    source: str
    layers: int = 1
    gaussian: bool = True


RESIDUALS: dict[str, Residual] = {
    r.code: r
    for r in (
        Residual("none", r"z^l = W^l \phi(z^{l-1}) + b^l", ""),
        Residual("identity", r"h^l = h^{l-1} + \alpha (W^l \phi(h^{l-1}) + b^l)", "He et al. 2016 (v2)"),
        Residual(
            "post_activation",
            r"h^l = h^{l-1} + \alpha \phi(W^l h^{l-1} + b^l)",
            "Yang & Schoenholz 2017",
            gaussian=False,
        ),
        Residual(
            "two_layer",
            r"h^l = h^{l-2} + \alpha (W^l \phi(W^{l-1} \phi(h^{l-2})) + b^l)",
            "He et al. 2016 (v2)",
            layers=2,
        ),
        Residual(
            "resnet_v1",
            r"h^l = \phi(h^{l-1} + \alpha (W^l h^{l-1} + b^l))",
            "He et al. 2016 (v1)",
            gaussian=False,
        ),
    )
}

INVERSE_SQRT_DEPTH = "1/sqrt(L)"


def branch_scale(residual_scale: float | str, depth: int) -> float:
    """The number alpha: a given one, or 1/sqrt(L) with L the depth."""
    if residual_scale == INVERSE_SQRT_DEPTH:
        return 1.0 / math.sqrt(depth)
    return float(residual_scale)


def inner_layers(residual: str, depth: int) -> np.ndarray:
    """(L,) bool: the layers whose output stays inside a block of several weight layers, off the stream.

    Blocks are filled from layer 2 on; where an odd number of layers remains for blocks of two, the last block has
    one layer, h + alpha (W phi(norm h) + b). An inner layer has weights and a bias parameter, which starts at 0.
    """
    place, size = np.arange(depth) - 1, RESIDUALS[residual].layers
    inside = (place >= 0) & (place % size < size - 1)
    inside[-1:] = False
    return inside
