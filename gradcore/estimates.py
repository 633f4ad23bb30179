"""The three headline numbers of a Profile or a Measurement, each with its standard error, in one form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gradcore.measurement import Measurement
from gradcore.profile import Profile

Array = np.ndarray
STATISTICS = ("mean", "median")


@dataclass(frozen=True)
class Estimate:
    """ln of an RMS value: ``log`` (-inf is exactly zero, nan unknown) and ``error``, the standard error of ``log``:
    None for a prediction, nan where one cannot be told (a single network)."""

    log: float
    error: float | None = None

    @property
    def squared(self) -> Estimate:
        """The same of the mean square, which has twice the log and twice its error."""
        return Estimate(2.0 * self.log, None if self.error is None else 2.0 * self.error)


@dataclass(frozen=True)
class Estimates:
    """``factor`` mean change of the gradient's RMS per layer, from layer L towards layer 1 (nan at depth 1);
    ``ratio`` RMS of the gradient at layer 1 over layer L; ``signal`` RMS of the pre-activations of layer L."""

    factor: Estimate
    ratio: Estimate
    signal: Estimate


def estimates(answer: Profile | Measurement, statistic: str = "mean") -> Estimates:
    """The headline numbers, of the mean or the median network.

    A Profile's mean is the infinite-width value, as in its Verdict; its median is that of this width. A Measurement's
    ratio is taken within each network (median), or between the means over networks. Its standard errors are those of
    log-normal scatter with variance s^2 of ln(second moment) between n networks: sqrt(ln(1 + (exp(s^2) - 1)/n)) for
    ln of the mean (Fenton-Wilkinson), sqrt(pi/2) s / sqrt(n) for the median; half of that for an RMS.
    """
    depth = answer.spec.depth
    if isinstance(answer, Profile):
        log_g, log_q = (_predicted(answer, name, statistic) for name in ("log_g", "log_q"))
        ratio = Estimate(_half_difference(log_g[0], log_g[-1]))
        signal = Estimate(0.5 * float(log_q[-1]))
    else:
        ratio, signal = _measured_ratio(answer, statistic), _measured(answer.log_q[:, -1], statistic)
    steps = depth - 1
    factor = Estimate(
        ratio.log / steps if steps else math.nan,
        None if ratio.error is None else (ratio.error / steps if steps else math.nan),
    )
    return Estimates(factor, ratio, signal)


def _predicted(profile: Profile, name: str, statistic: str) -> Array:
    return profile.at_hand.median(name) if statistic == "median" else getattr(profile, name)


def _half_difference(first: float, last: float) -> float:
    """Half of first - last; -inf where either is exactly zero."""
    return -math.inf if -math.inf in (first, last) else 0.5 * float(first - last)


def _measured_ratio(measured: Measurement, statistic: str) -> Estimate:
    first, last = measured.log_g[:, 0], measured.log_g[:, -1]
    with np.errstate(invalid="ignore"):
        within = _measured(first - last, statistic)
    if statistic == "median":
        return within
    means = measured.mean("log_g")
    return Estimate(_half_difference(means[0], means[-1]), within.error)


def _measured(logs: Array, statistic: str) -> Estimate:
    """ln RMS of these networks, (n,) ln of second moments; those whose number format broke are left out."""
    held = logs[~(np.isnan(logs) | np.isposinf(logs))]
    n = held.size
    if n == 0:
        return Estimate(math.nan, math.nan)
    if np.isneginf(held).all():
        return Estimate(-math.inf, 0.0)
    spread = float(np.var(held, ddof=1)) if n > 1 and np.isfinite(held).all() else math.nan
    if statistic == "median":
        return Estimate(0.5 * float(np.median(held)), 0.5 * math.sqrt(math.pi / 2 * spread / n))
    top = float(held.max())
    mean = top + math.log(float(np.mean(np.exp(held - top))))
    # ln(1 + (e^s - 1)/n), also where e^s overflows
    error = math.log1p(math.expm1(spread) / n) if not spread > 500.0 else spread - math.log(n)
    return Estimate(0.5 * mean, 0.5 * math.sqrt(error))
