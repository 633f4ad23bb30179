"""Do measured networks agree with a prediction? Tolerances from the number of networks and the width.

- A figure of the exercise is compared at half a unit of its last printed decimal.
- ``assert_means_agree``: the measured mean over N networks against the predicted mean of one network. The standard
  error is estimated from the N networks, so the distance in standard errors follows Student's law with N - 1 degrees
  of freedom; the limit is its quantile at a false-alarm rate of 1% for the whole table of layers and quantities
  (Bonferroni; second moments have a longer upper tail than the normal law, so short nets only).
  What theory leaves open at this width is the Comparison's own allowance.
- ``assert_logs_agree``: for deep nets, whose second moments are nearly log-normal with a long tail, the mean of the
  logarithm of one sample (batch 1) against the predicted median; the spread is the predicted band's. Same false-alarm
  rate, normal law. The leading order in 1/width leaves a relative error of order 1/width in the shift of the median
  (ReLU, n = 50: -0.05174 a layer where the leading order says -0.05, Hanin & Nica), allowed for as 2/width of it.
- ``assert_slope``: the mean over networks of the per-layer slope of a log, against the slope of the predicted median.
- Shares of networks inside a band: binomial quantiles.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import binom, norm, t

import gradcore as gc

FALSE_ALARM = 0.01  # of each assertion
FORWARD_AND_BACKWARD = ("log_q", "log_g")


def limit(tests: int, networks: int | None = None) -> float:
    """Two-sided limit in standard errors for ``tests`` looks at once; Student's where the error is estimated."""
    tail = 0.5 * FALSE_ALARM / tests
    return float(norm.isf(tail) if networks is None else t.isf(tail, networks - 1))


def both(spec: gc.Spec, networks: int) -> tuple[gc.Profile, gc.Measurement]:
    return gc.predict(spec), gc.measure(spec, networks=networks, seed=0)


def assert_means_agree(
    predicted: gc.Profile, measured: gc.Measurement, names: tuple[str, ...] = FORWARD_AND_BACKWARD
) -> None:
    comparison = gc.compare(predicted, measured)
    z = np.array([comparison.z[name] for name in names])
    assert np.isfinite(z).all()
    bound = limit(z.size, len(measured.networks))
    assert np.abs(z).max() < bound, f"{np.abs(z).max():.2f} standard errors, limit {bound:.2f}\n{comparison}"


def assert_logs_agree(
    predicted: gc.Profile, measured: gc.Measurement, names: tuple[str, ...] = FORWARD_AND_BACKWARD
) -> None:
    level = 0.95
    for name in names:
        low, high = predicted.band(name, level)
        spread = (high - low) / (2 * norm.ppf(0.5 + level / 2))
        shift = np.abs(predicted.median(name) - predicted.mean(name))
        allowance = 2 * shift / predicted.spec.layer_widths + gc.compare(predicted, measured).allowance[name]
        gap = getattr(measured, name).mean(axis=0) - predicted.median(name)
        z = gap / np.hypot(spread / math.sqrt(len(measured.networks)), allowance)
        assert np.abs(z).max() < limit(len(names) * z.size), f"{name}: {z.round(2)}"


def assert_inside_band(predicted: gc.Profile, measured: gc.Measurement, name: str, layer: int) -> None:
    """The number of networks inside the 95% band is binomial; fewer than its lower quantile is a failure."""
    low, high = predicted.band(name, 0.95)
    logs = getattr(measured, name)[:, layer - 1]
    inside = int(np.sum((logs >= low[layer - 1]) & (logs <= high[layer - 1])))
    n = len(logs)
    assert inside >= binom.ppf(FALSE_ALARM, n, 0.95), f"{inside} of {n} inside"


def assert_slope(predicted: gc.Profile, measured: gc.Measurement, name: str, first: int, last: int) -> float:
    """Measured against predicted slope per layer on the way from ``first`` to ``last`` (backwards for gradients);
    returns the measured factor per layer of that way."""
    steps = abs(last - first)
    logs = getattr(measured, name)
    slopes = (logs[:, last - 1] - logs[:, first - 1]) / steps
    expected = (predicted.median(name)[last - 1] - predicted.median(name)[first - 1]) / steps
    error = slopes.std(ddof=1) / math.sqrt(len(slopes))
    allowance = 2 / float(predicted.spec.layer_widths.min()) ** 2  # second order in 1/width, per layer
    assert abs(slopes.mean() - expected) < limit(1, len(slopes)) * error + allowance
    return math.exp(slopes.mean())
