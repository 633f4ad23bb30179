"""Constant and eye weights: the exact maps against torch, and their closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gradcore as gc


def test_constant_linear_and_relu_in_closed_form() -> None:
    """z' = c n z: q^l = c^2 n0 rms^2 (c n)^(2(l-1)); ReLU keeps the positive half of the samples from layer 2 on."""
    n, c = 64, 0.02
    layers = np.arange(8)
    base = 2 * math.log(c) + math.log(n) + layers * 2 * math.log(c * n)
    spec = gc.Spec(depth=8, width=n, init="constant", gain=c, activation="linear")
    assert gc.predict(spec).log_q == pytest.approx(base, abs=1e-9)
    relu = gc.predict(spec.replace(activation="relu")).log_q
    assert relu == pytest.approx(base + np.where(layers > 0, math.log(0.5), 0.0), abs=1e-9)


def test_eye_relu_in_closed_form() -> None:
    spec = gc.Spec(depth=6, width=32, init="eye", gain=1.1, activation="relu")
    layers = np.arange(6)
    expected = 2 * (layers + 1) * math.log(1.1) + np.where(layers > 0, math.log(0.5), 0.0)
    assert gc.predict(spec).log_q == pytest.approx(expected, abs=1e-9)


def test_far_beyond_float64() -> None:
    """Constant weights 1 at width 256: 256^2 a layer, e^22182 after 2000 layers, and no NaN."""
    profile = gc.predict(gc.Spec(depth=2000, init="constant", gain=1.0, activation="linear"))
    assert profile.log_q[-1] == pytest.approx(math.log(256) + 1999 * 2 * math.log(256))
    for name in ("log_q", "log_p", "log_g", "log_dw", "log_db"):
        assert np.all(np.isfinite(getattr(profile, name)))


CASES = [
    {"activation": "relu"},
    {"activation": "tanh", "loss": "mse", "input_correlation": 0.3},
    {"activation": "gelu", "loss": "mse", "input_correlation": 1.0},
    {"activation": "sigmoid", "loss": "random"},
    {"activation": "tanh", "residual": "identity", "residual_scale": 0.3},
    {"activation": "relu", "residual": "identity", "residual_scale": 0.2, "loss": "mse"},
    {"input": "digits", "activation": "tanh", "loss": "mse"},
    {"input": "digits", "activation": "softsign", "loss": "random"},
]


@pytest.mark.parametrize("fields", CASES)
@pytest.mark.parametrize(("init", "gain"), [("constant", 0.02), ("eye", 0.9)])
def test_against_torch(init: str, gain: float, fields: dict) -> None:
    """One scalar (constant) or a few hundred (eye) Gaussian numbers make a network, so 200 networks are measured.

    z by the scatter between networks alone: these predictions are exact at any width. Heavy-tailed products
    (a squared Gaussian has kurtosis 15) justify the limit of 5.
    """
    spec = gc.Spec(**{"depth": 5, "width": 48, "init": init, "gain": gain, "batch_size": 6, **fields})
    profile, measured = gc.predict(spec), gc.measure(spec, networks=200, seed=7)
    for name in ("log_q", "log_p", "log_g", "log_dw", "log_db"):
        gap, error = measured.mean(name) - getattr(profile, name), measured.standard_error(name)
        floor = 1e-9 if init == "constant" else 2.0 / 48  # eye: entries i = j of dW are left out, 1/n of them
        assert np.all(np.abs(gap) < 5 * error + floor), (name, gap, error)


def test_constant_with_cross_entropy_sends_nothing_back() -> None:
    profile = gc.predict(gc.Spec(depth=4, width=32, init="constant", gain=0.05, loss="cross_entropy"))
    assert np.all(np.isneginf(profile.log_g[:-1])) and math.isfinite(profile.log_g[-1])
    assert any("sums to zero" in str(note) for note in profile.notes)
    measured = gc.measure(profile.spec, networks=3)
    assert measured.log_g[:, :-1].max() < math.log(1e-28)


@pytest.mark.parametrize("init", ["constant", "eye"])
def test_biases_against_torch(init: str) -> None:
    """With random biases: constant exact as width grows (1/n left), eye sampled to about 1%."""
    gain = 0.004 if init == "constant" else 0.9
    spec = gc.Spec(depth=5, width=256, init=init, gain=gain, activation="tanh", bias_std=0.5)
    profile, measured = gc.predict(spec), gc.measure(spec, networks=60, seed=3)
    for name in ("log_q", "log_g"):
        gap, error = measured.mean(name) - getattr(profile, name), measured.standard_error(name)
        assert np.all(np.abs(gap) < 4 * np.hypot(error, 0.01) + 2 / 256), (name, gap, error)


def test_eye_of_rectangular_layers() -> None:
    """Units that a narrower layer cuts off start again at 0: q falls by the share that survives."""
    widths = (40, 20, 40)
    spec = gc.Spec(depth=3, width=widths, input_width=40, init="eye", activation="linear", batch_size=2)
    profile, measured = gc.predict(spec), gc.measure(spec, networks=200, seed=1)
    assert np.exp(profile.log_q) == pytest.approx([1.0, 1.0, 0.5])
    assert np.exp(profile.log_g) == pytest.approx([0.5, 1.0, 1.0])
    for name in ("log_q", "log_g"):
        gap = np.abs(measured.mean(name) - getattr(profile, name))
        assert np.all(gap < 5 * measured.standard_error(name) + 1e-9)
