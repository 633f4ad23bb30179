"""The exact law of linear and ReLU networks with one sample: cumulants, quantiles and dead networks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import chi2, kstest, norm

import gradcore as gc
from gradcore.theory import exact_product

FALSE_ALARM = 0.01


def test_one_linear_layer_is_chi_squared() -> None:
    """ln(chi^2_n / n): quantiles of four cumulants against SciPy's."""
    profile = gc.predict(gc.Spec(depth=1, width=20, activation="linear", input="digits", batch_size=1))
    assert profile.band_source == "exact"
    for level in (0.5, 0.9, 0.95):
        low, high = profile.band("log_q", level)
        exact = np.log(chi2.ppf([0.5 - level / 2, 0.5 + level / 2], 20) / 20)
        assert [low[0] - profile.log_q[0], high[0] - profile.log_q[0]] == pytest.approx(exact, abs=4e-3)


def test_relu_cumulants_of_hanin_and_nica() -> None:
    """n = 50: mean -0.05174, variance 0.10817 of a layer's log."""
    mean, variance, *_ = exact_product._factor(50, True)
    assert (mean, variance) == (pytest.approx(-0.05174, abs=5e-6), pytest.approx(0.10817, abs=5e-6))
    wide = exact_product._factor(10_000, True)
    assert wide[:2] == (pytest.approx(-2.5 / 10_000, rel=1e-3), pytest.approx(5 / 10_000, rel=1e-3))


@pytest.mark.parametrize(
    "fields",
    [{"activation": "relu", "width": 12, "depth": 20}, {"activation": "linear", "width": (8, 20, 10, 6)}],
    ids=str,
)
def test_real_networks_follow_it(fields: dict) -> None:
    """Kolmogorov-Smirnov of 1,000 torch networks at every quantity's ends, and exactly 95% of them in the band."""
    spec = gc.Spec(**{"depth": 4, "init": "kaiming_normal", "batch_size": 1, **fields})
    profile, measured = gc.predict(spec), gc.measure(spec, networks=1000, seed=21)
    assert profile.band_source == "exact"
    looks = [(name, layer) for name in ("log_q", "log_g", "log_dw") for layer in (0, spec.depth - 1)]
    levels = np.linspace(0.01, 0.99, 99)
    for name, layer in looks:
        logs = getattr(measured, name)[:, layer]
        alive = logs[np.isfinite(logs)]
        quantiles = [profile.expansion._quantile(name, share)[layer] for share in levels]
        p = kstest(np.interp(alive, quantiles, levels, left=0.0, right=1.0), "uniform").pvalue
        assert p > FALSE_ALARM / len(looks), (name, layer, p)
    limit = norm.isf(FALSE_ALARM / len(looks) / 2) * math.sqrt(0.95 * 0.05 / 1000)
    for name, layer in looks:
        low, high = profile.band(name)
        logs = getattr(measured, name)[:, layer]
        assert abs(np.mean((logs >= low[layer]) & (logs <= high[layer])) - 0.95) < limit + 0.002  # four cumulants


def test_dead_networks_pull_the_quantiles_to_zero() -> None:
    """Nets of two ReLU units: after 6 layers 1 - (3/4)^5 = 76% are dead, so the median network is."""
    spec = gc.Spec(depth=6, width=2, batch_size=1, init="kaiming_normal")
    profile = gc.predict(spec)
    assert profile.expansion.dead["log_q"][-1] == pytest.approx(1 - 0.75**5)
    assert profile.median("log_q")[-1] == -math.inf and math.isfinite(profile.median("log_q")[1])
    assert profile.mean("log_q") == pytest.approx(profile.log_q)  # the mean is kept exactly, by few


def test_only_where_it_holds() -> None:
    for fields in (
        {"batch_size": 2},
        {"bias_std": 0.1},
        {"loss": "mse"},
        {"activation": "tanh"},
        {"init": "orthogonal"},
    ):
        spec = gc.Spec(**{"depth": 4, "width": 16, "batch_size": 1, **fields})
        assert gc.predict(spec).expansion.source != "exact"
