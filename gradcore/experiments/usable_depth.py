"""How deep a network of this kind may be while its first layer still gets a usable gradient (experiment 4.8).

usable_depth(Spec(activation="sigmoid")).depth       # 4: at 5 layers layer 1 gets less than a hundredth
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gradcore.errors import SpecError
from gradcore.fields import MAX_DEPTH
from gradcore.profile import predict
from gradcore.spec import Spec
from gradcore.verdict import USABLE

MOST = 1000


@dataclass(frozen=True)
class UsableDepth:
    """``depth`` layers are usable and depth + 1 are not, or depth is ``most``, beyond which nothing was tried.
    ``tried`` (depth, ln of the gradient's RMS at layer 1 over the last layer's), by depth; ``limit`` the factor still
    usable."""

    depth: int
    most: int
    limit: float
    tried: tuple[tuple[int, float], ...]


def usable_depth(spec: Spec, *, limit: float = USABLE, most: int = MOST) -> UsableDepth:
    """The largest depth at which the gradient's RMS at layer 1 is within a factor ``limit`` of the last layer's.

    By doubling and halving over predictions of the same network at other depths; where a list of widths is given, of
    its first layers and the last one, up to its own depth. Validity: infinite width, as ``predict``, and a ratio that
    once out of the range stays out at greater depth, as every product of factors does that tends to a rate.
    Raises SpecError, UnsupportedError (no prediction).
    """
    if not limit > 1.0:
        raise SpecError("limit", limit, "a number above 1")
    if not 1 <= most <= MAX_DEPTH:
        raise SpecError("most", most, f"an integer from 1 to {MAX_DEPTH:,}")
    top = most if isinstance(spec.width, int) else min(most, spec.depth)
    tried: dict[int, float] = {}

    def usable(depth: int) -> bool:
        tried[depth] = log_ratio(_cut(spec, depth))
        return abs(tried[depth]) <= math.log(limit)

    low, high = 1, min(2, top)  # one layer is its own last one
    while high < top and usable(high):
        low, high = high, min(2 * high, top)
    if high == top and (top == 1 or usable(top)):
        return UsableDepth(top, top, limit, tuple(sorted(tried.items())))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if usable(middle) else (low, middle)
    return UsableDepth(low, top, limit, tuple(sorted(tried.items())))


def _cut(spec: Spec, depth: int) -> Spec:
    """The same network with so many layers."""
    width = spec.width if isinstance(spec.width, int) else (*spec.width[: depth - 1], spec.width[-1])
    return spec.replace(depth=depth, width=width)


def log_ratio(spec: Spec) -> float:
    """ln of the predicted gradient's RMS at layer 1 over the last layer's; -inf where one is 0. Raises
    UnsupportedError."""
    log_g = predict(spec).log_g
    first, last = float(log_g[0]), float(log_g[-1])
    return -math.inf if -math.inf in (first, last) else 0.5 * (first - last)
