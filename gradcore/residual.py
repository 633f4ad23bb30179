"""The table of residual forms, and the scale of the branch."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Residual:
    """One residual form; ``latex`` is its block, ``supported`` whether prediction and measurement know it."""

    code: str
    latex: str
    source: str
    supported: bool = True


RESIDUALS: dict[str, Residual] = {
    r.code: r
    for r in (
        Residual("none", r"z^l = W^l \phi(z^{l-1}) + b^l", ""),
        Residual("identity", r"h^l = h^{l-1} + \alpha (W^l \phi(h^{l-1}) + b^l)", "He et al. 2016 (v2)"),
        Residual("post_activation", r"h + \alpha \phi(W h + b)", "Yang & Schoenholz 2017", False),
        Residual("two_layer", r"h + \alpha (W_2 \phi(W_1 \phi(h)) + b)", "He et al. 2016 (v2)", False),
        Residual("resnet_v1", r"\phi(h + \alpha (W h + b))", "He et al. 2016 (v1)", False),
    )
}

INVERSE_SQRT_DEPTH = "1/sqrt(L)"


def branch_scale(residual_scale: float | str, depth: int) -> float:
    """The number alpha: a given one, or 1/sqrt(L) with L the depth."""
    if residual_scale == INVERSE_SQRT_DEPTH:
        return 1.0 / math.sqrt(depth)
    return float(residual_scale)
