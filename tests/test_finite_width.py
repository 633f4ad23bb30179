"""Finite width to leading order: known laws, and the scatter of real networks."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gradcore as gc
from gradcore.theory.finite_width import expansion


def _plain(**fields: object) -> gc.Spec:
    base = {"depth": 10, "width": 200, "init": "lecun_normal", "batch_size": 1, "input": "gaussian"}
    return gc.Spec(**{**base, **fields})


def _variance(profile: gc.Profile, name: str) -> np.ndarray:
    found = expansion(profile)
    assert found is not None
    return found.variance[name]


def test_linear_and_relu_laws() -> None:
    """Variance of ln q grows by 2/n a layer for linear nets and 5/n for He-ReLU (plus input and readout 2/n each)."""
    n = 200
    for activation, gain, rate in (("linear", 1.0, 2.0), ("relu", math.sqrt(2), 5.0)):
        variance = _variance(gc.predict(_plain(activation=activation, gain=gain)), "log_q")
        assert variance == pytest.approx((4.0 + rate * np.arange(10)) / n, rel=1e-9)
        back = _variance(gc.predict(_plain(activation=activation, gain=gain)), "log_g")
        assert back == pytest.approx((2.0 + rate * np.arange(10)[::-1]) / n, rel=1e-9)


def test_orthogonal_relu_has_three_over_n() -> None:
    variance = _variance(gc.predict(_plain(init="orthogonal", activation="relu", gain=math.sqrt(2))), "log_q")
    assert np.diff(variance) == pytest.approx(np.full(9, 3.0 / 200), rel=1e-9)


def test_homogeneous_means_are_exact() -> None:
    profile = gc.predict(_plain(activation="relu", gain=math.sqrt(2)))
    for name in ("log_q", "log_g"):
        assert profile.mean(name) == pytest.approx(getattr(profile, name), abs=1e-12)
        assert np.all(profile.median(name) < profile.mean(name))


@pytest.mark.parametrize(
    "fields",
    [
        {"activation": "linear"},
        {"activation": "relu", "gain": math.sqrt(2)},
        {"activation": "tanh", "gain": 1.2},
        {"activation": "selu"},
        {"activation": "relu", "gain": math.sqrt(2), "batch_size": 8},
        {"activation": "tanh", "gain": 1.3, "batch_size": 8, "input_correlation": 0.5, "bias_std": 0.2},
        {"activation": "tanh", "gain": 1.2, "init": "orthogonal"},
    ],
)
def test_band_covers_single_networks(fields: dict) -> None:
    """Nominal 95%: over 300 networks the share inside, layer by layer, lies within 4 binomial errors plus the
    second-order allowance (depth/width)^2 that a leading-order law leaves open."""
    spec = _plain(**{"depth": 8, "width": 100, **fields})
    profile, measured = gc.predict(spec), gc.measure(spec, networks=300, seed=21)
    comparison = gc.compare(profile, measured)
    limit = 4 * math.sqrt(0.95 * 0.05 / 300) + (8 / 100) ** 2
    for name in ("log_q", "log_g"):
        inside = comparison.inside[name]
        assert inside is not None
        assert np.abs(inside - 0.95).max() < limit, (name, inside)


@pytest.mark.parametrize("activation", ["tanh", "gelu", "sigmoid", "elu"])
def test_mean_shift_of_curved_activations(activation: str) -> None:
    """ln of the mean over 400 narrow networks against the leading-order mean; the shift itself must be needed."""
    spec = _plain(activation=activation, gain=1.2 if activation != "gelu" else 1.4, width=40, depth=5)
    profile, measured = gc.predict(spec), gc.measure(spec, networks=400, seed=31)
    for name in ("log_q", "log_g"):
        error = measured.standard_error(name)
        second_order = (2 * spec.depth / 40) ** 2
        gap = measured.mean(name) - profile.mean(name)
        assert np.all(np.abs(gap) < 4 * error + 0.5 * second_order), (name, gap, error)


def test_no_expansion_where_none_is_known() -> None:
    profile = gc.predict(gc.Spec(norm="layer"))
    assert profile.expansion.source is None and profile.expansion.band("log_q", 0.95) is None
    assert profile.expansion.mean("log_q") == pytest.approx(profile.log_q)


def test_band_levels_and_errors() -> None:
    profile = gc.predict(_plain())
    narrow, wide = profile.band("log_g", 0.5), profile.band("log_g", 0.99)
    assert np.all(wide[0] < narrow[0]) and np.all(narrow[1] < wide[1])
    with pytest.raises(gc.SpecError, match="level"):
        profile.band("log_g", 1.0)
    with pytest.raises(gc.SpecError, match="log_q"):
        profile.band("q")
