"""Fixed points of the variance map q -> sigma_w^2 E phi(sqrt(q) Z)^2 + sigma_b^2, and whether they hold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from gradcore.activations import negative_slope_of
from gradcore.theory.critical import SCAN
from gradcore.theory.gaussian import moments_of

Array = np.ndarray
SIGN = 1e-11  # ln f(q) - ln q below this is rounding, not a sign


@dataclass(frozen=True)
class FixedPoint:
    """One q* > 0 with its slopes: ``chi`` (squared gradient norm per layer) and ``chi_parallel`` (dq'/dq)."""

    q: float
    chi: float
    chi_parallel: float

    @property
    def stable(self) -> bool:
        """Whether a small deviation of q shrinks from layer to layer."""
        return self.chi_parallel < 1.0


@lru_cache(maxsize=1024)
def variance_fixed_points(
    activation: str, sigma_w: float, sigma_b: float = 0.0, negative_slope: float | None = None
) -> tuple[FixedPoint, ...]:
    """Every fixed point q* in 1e-12..1e12, smallest first, found by signs on 40 q per decade and refined by brentq.

    Empty for homogeneous activations (without bias every q is one at the critical gain, and none elsewhere).
    Oscillating activations are scanned below q = 1e3. Source: Poole et al. 2016.
    """
    from scipy.optimize import brentq

    moments = moments_of(activation, negative_slope_of(activation, negative_slope))
    if moments.homogeneous or sigma_w == 0.0:
        return ()
    scan = SCAN[math.log(1e3) > SCAN] if moments.activation.oscillates else SCAN

    def gap(log_q: float | Array) -> Array:
        """ln f(q) - ln q."""
        x = np.asarray(log_q)
        signal = 2.0 * math.log(sigma_w) + moments.at(x).log_second
        if sigma_b:
            signal = np.logaddexp(signal, 2.0 * math.log(sigma_b))
        return signal - x

    values = gap(scan)
    clear = np.abs(values) > SIGN
    scan, values = scan[clear], values[clear]
    points = []
    for i in np.flatnonzero((values[:-1] < 0) != (values[1:] < 0)):
        root: Any = brentq(lambda x: float(gap(x)), scan[i], scan[i + 1], xtol=1e-14)
        at = moments.at(np.array(root))
        chi = sigma_w**2 * math.exp(float(at.log_slope_second))
        points.append(FixedPoint(math.exp(root), chi, sigma_w**2 * float(at.second_slope)))
    return tuple(points)
