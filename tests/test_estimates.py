"""The headline numbers with their standard errors: against the verdict, and against the scatter they claim."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

import gradcore as gc
from gradcore.estimates import STATISTICS, estimates
from gradcore.measurement import Measurement

NETWORKS = 8


def drawn(log_g: np.ndarray, log_q: np.ndarray | None = None) -> Measurement:
    """A measurement that found these logs, (networks, L)."""
    log_q = np.zeros_like(log_g) if log_q is None else log_q
    arrays = [log_q, log_q, log_g, log_g, log_g, *[np.zeros_like(log_g)] * 3]
    spec = gc.Spec(depth=log_g.shape[1], width=8)
    return Measurement(spec, 0, "float64", "dense", tuple(range(len(log_g))), *arrays)


@pytest.mark.parametrize("fields", [{}, {"activation": "tanh", "gain": 5 / 3}, {"gain": 0.0}, {"depth": 1}])
def test_predicted_means_are_those_of_the_verdict(fields: dict) -> None:
    profile = gc.predict(gc.Spec(**fields))
    verdict, found = gc.diagnose(profile), estimates(profile)
    for name in ("factor", "ratio", "signal"):
        estimate = getattr(found, name)
        assert estimate.error is None
        np.testing.assert_equal(estimate.log, getattr(verdict, f"log_{name}"))


def test_predicted_medians_are_those_of_this_width() -> None:
    profile = gc.predict(gc.Spec(depth=30, width=64))
    found = estimates(profile, "median")
    assert found.ratio.log == 0.5 * (profile.log_g_median[0] - profile.log_g_median[-1])
    assert found.ratio.log < estimates(profile).ratio.log
    assert found.factor.log == found.ratio.log / 29


@pytest.mark.parametrize("statistic", STATISTICS)
def test_the_standard_error_is_the_scatter_between_repetitions(statistic: str) -> None:
    """Log-normal networks, drawn many times: the estimate scatters as much as its mean-square error says.

    The largest of 8 draws makes the mean's own scatter a little larger than the log-normal formula says; both agree
    to 10% at s = 0.3, and the sample's median with its asymptotic error to 10% at n = 9. 4,000 repetitions know a
    standard deviation to 1/sqrt(8,000) = 1.1%.
    """
    rng = np.random.default_rng(5)
    spread, networks, logs, claimed = 0.3, NETWORKS + 1, [], []
    for _ in range(4000):
        log_g = np.stack([rng.normal(1.0, spread, networks), np.zeros(networks)], axis=1)
        found = estimates(drawn(log_g), statistic).ratio
        assert found.error is not None
        logs.append(found.log)
        claimed.append(found.error)
    assert np.std(logs) == pytest.approx(math.sqrt(np.mean(np.square(claimed))), rel=0.1)


def test_what_layers_share_is_not_in_the_error_of_their_ratio() -> None:
    shared = np.random.default_rng(1).normal(0.0, 2.0, NETWORKS)
    found = estimates(drawn(np.stack([shared - 3.0, shared], axis=1)))
    assert found.ratio.log == pytest.approx(-1.5, abs=1e-12)
    assert found.ratio.error == pytest.approx(0.0, abs=1e-7)
    assert found.signal.error == 0.0


@pytest.mark.parametrize("statistic", STATISTICS)
def test_one_network_has_no_error(statistic: str) -> None:
    found = estimates(drawn(np.array([[-2.0, -1.0, 0.0]])), statistic)
    assert found.ratio.log == -1.0 and found.factor.log == -0.5
    assert found.ratio.error is not None and math.isnan(found.ratio.error)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_zeros_and_broken_networks(statistic: str) -> None:
    dead = estimates(drawn(np.array([[-math.inf, 0.0]] * 3)), statistic)
    assert dead.ratio.log == -math.inf
    broken = np.array([[math.inf, math.nan]] * 3)
    found = estimates(drawn(np.zeros((3, 2)), broken), statistic)
    assert math.isnan(found.signal.log) and math.isnan(found.signal.error or 0.0)
    half = np.array([[0.0, math.nan], [0.0, -4.0], [0.0, -4.0]])
    assert estimates(drawn(np.zeros((3, 2)), half), statistic).signal.log == -2.0


def test_wide_scatter_does_not_overflow() -> None:
    wild = np.stack([np.linspace(-4000.0, 0.0, NETWORKS), np.zeros(NETWORKS)], axis=1)
    assert estimates(drawn(wild)).ratio.error == pytest.approx(0.5 * np.std(wild[:, 0], ddof=1), rel=1e-3)


def test_it_agrees_with_real_networks() -> None:
    """Five standard errors of either statistic, on networks of a depth and width that scatter little."""
    spec = gc.Spec(depth=10, width=64)
    measured, profile = gc.measure(spec, networks=16), gc.predict(spec)
    for statistic in STATISTICS:
        ours, theirs = estimates(profile, statistic), estimates(measured, statistic)
        for field in dataclasses.fields(ours):
            mine, other = getattr(ours, field.name), getattr(theirs, field.name)
            assert abs(mine.log - other.log) < 5.0 * other.error, (statistic, field.name)
