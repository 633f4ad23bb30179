"""The plain recurrent network at infinite width: its one-time moments follow the maps of a fully connected net.

q_t = sigma_w^2 E[h_(t-1)^2] + sigma_u^2 + 2 sigma_b^2, E h_t^2 = E phi(sqrt(q_t) Z)^2, and backwards
E (dL/dh_(t-1))^2 = chi(q_t) E (dL/dh_t)^2 with chi(q) = sigma_w^2 E phi'(sqrt(q) Z)^2: tied weights change the
correlations between steps, not these. Source: Poole et al. 2016, Schoenholz et al. 2017; for tied weights Sompolinsky
et al. 1988, Yang 2020. Validity: infinite width, steps fixed; at width n up to about 2 sqrt(n) steps
(``gradcore.theory.tied_linear``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gradcore.theory.gaussian import GaussianMoments, moments_of

if TYPE_CHECKING:
    from gradcore.theory.recurrent import CellLaw

Array = np.ndarray
ITERATIONS = 2_000  # of the map, for its fixed point
SETTLED = 1e-12
LARGEST = 700.0  # ln of the largest RMS that is given as a number


@dataclass(frozen=True)
class Maps:
    """Natural logs, (T,) each, step t at index t - 1: ``log_q`` of the pre-activation, ``log_h`` of h_t, ``log_chi`` of
    the factor chi(q_t) from dL/dh_t to dL/dh_(t-1), ``log_v`` of dL/dh_t for N(0, 1) on h_T. Numbers: ``mean`` and
    ``spread`` of h_t over units (as large as a float allows)."""

    log_q: Array
    log_h: Array
    log_chi: Array
    log_v: Array
    mean: Array
    spread: Array


def maps(activation: str, law: CellLaw, steps: int) -> Maps:
    """The curves of the plain cell (``activation`` tanh or relu)."""
    moments, log_weight = moments_of(activation), _log(law.recurrent)
    log_before, log_q, log_h = _log(law.initial), np.empty(steps), np.empty(steps)
    for t in range(steps):
        log_q[t] = _next(log_weight, log_before, law)
        log_h[t] = log_before = moments.log_second(log_q[t])
    at = moments.at(log_q)
    log_chi = log_weight + at.log_slope_second
    log_v = np.zeros(steps)
    log_v[:-1] = np.cumsum(log_chi[:0:-1])[::-1]
    size = np.exp(np.minimum(0.5 * at.log_second, LARGEST))
    spread = size * np.sqrt(np.maximum(1.0 - at.mean_ratio**2, 0.0))
    return Maps(log_q, log_h, log_chi, log_v, at.mean_ratio * size, spread)


def fixed_point(activation: str, law: CellLaw) -> tuple[float, float]:
    """(ln q*, ln chi(q*)) that the maps tend to; inf and its slope where q grows without bound."""
    moments, log_weight = moments_of(activation), _log(law.recurrent)
    log_q = _next(log_weight, _log(law.initial), law)
    for _ in range(ITERATIONS):
        before, log_q = log_q, _next(log_weight, moments.log_second(log_q), law)
        if log_q == before or abs(log_q - before) < SETTLED:
            break
    return log_q, log_weight + _log_slope(moments, log_q)


def _log_slope(moments: GaussianMoments, log_q: float) -> float:
    return float(moments.at(np.array([log_q])).log_slope_second[0])


def _next(log_weight: float, log_before: float, law: CellLaw) -> float:
    return float(np.logaddexp(log_weight + log_before, _log(law.inputs + 2.0 * law.bias)))


def _log(value: float) -> float:
    return math.log(value) if value > 0.0 else -math.inf
