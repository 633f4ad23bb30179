"""Where the signal or the gradient leaves the range of a floating-point format.

A layer overflows when its largest entry does: sqrt(q) sqrt(2 ln(B n)) > largest number (extreme value of B n
Gaussians). It underflows to all zeros when the largest entry falls below half the smallest number that the
format's matrix products keep. Boundaries hold to about one layer. Source: extreme value theory; checked by
tests/test_precision.py against torch in each dtype.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from gradcore.profile import Profile

Array = np.ndarray
LN2 = math.log(2.0)

# dtype: (ln of the largest number, ln of the smallest number that a product must reach not to become 0,
#         whether products are rounded one by one, so that weight times signal must be representable)
RANGES: dict[str, tuple[float, float, bool]] = {
    "float64": (math.log(np.finfo(np.float64).max), -1075 * LN2, True),
    "float32": (math.log(float(np.finfo(np.float32).max)), -150 * LN2, True),
    "bfloat16": (math.log(3.3895313892515355e38), -126 * LN2, True),  # the first machines to lose it flush below 2^-126
    "float16": (math.log(65504.0), -25 * LN2, False),  # accumulated in float32, rounded once
}


@dataclass(frozen=True)
class DtypeEvents:
    """First layers (1-based, None where there is none) at which a dtype fails.

    Forward: the first in the direction l = 1, 2, ...; gradient (of the batch cost, dC/dz = delta / B): the first
    in the direction l = L, L - 1, ...
    """

    forward_overflow: int | None
    forward_underflow: int | None
    gradient_overflow: int | None
    gradient_underflow: int | None


def _log_largest(log_second: Array, count: Array) -> Array:
    """ln of the largest of ``count`` Gaussian entries of this second moment."""
    return 0.5 * (log_second + np.log(2.0 * np.log(np.maximum(count, 3.0))))


def _first(mask: Array, order: Array) -> int | None:
    hits = order[mask[order]]
    return int(hits[0]) + 1 if hits.size else None


def dtype_events(profile: Profile) -> dict[str, DtypeEvents]:
    """The events of every dtype for a profile."""
    spec = profile.spec
    from gradcore.theory.critical import weight_variances

    n_in, n_out, b = spec.fan_ins.astype(float), spec.layer_widths.astype(float), float(spec.batch_size)
    with np.errstate(divide="ignore"):
        log_w = np.log(weight_variances(spec))
    signal = _log_largest(profile.log_q, b * n_out)
    gradient = _log_largest(profile.log_g - 2.0 * math.log(b), b * n_out)
    product = _log_largest(profile.log_p, b * n_in) + _log_largest(log_w, n_in * n_out)
    back = np.append(gradient[1:] + _log_largest(log_w, n_in * n_out)[1:], math.inf)
    biased = spec.bias_std != 0.0 or spec.residual != "none"
    up = np.arange(spec.depth)
    events = {}
    for dtype, (largest, smallest, by_product) in RANGES.items():
        small = signal < smallest
        small_back = gradient < smallest
        if by_product and not biased:
            small = small | (product < smallest)
        if by_product and spec.residual == "none":
            small_back = small_back | (back < smallest)
        events[dtype] = DtypeEvents(
            forward_overflow=_first(signal > largest, up),
            forward_underflow=_first(small, up),
            gradient_overflow=_first(gradient > largest, up[::-1]),
            gradient_underflow=_first(small_back, up[::-1]),
        )
    return events
