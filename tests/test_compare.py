"""Comparison: rarely alarmed by correct theory, always by wrong theory, and honest where it can say nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gradcore as gc

CORRECT = [
    {"depth": 30, "width": 64, "activation": "linear", "init": "lecun_normal", "batch_size": 4},
    {"depth": 20, "width": 64, "init": "kaiming_normal"},
    {"depth": 20, "width": 64, "norm": "layer", "activation": "tanh"},
]


@pytest.mark.parametrize("fields", CORRECT)
@pytest.mark.parametrize("networks", [2, 4, 8])
def test_few_networks_raise_no_false_alarm(fields: dict, networks: int) -> None:
    """20 seeds: a limit of 4 is kept by correct theory, also where the scatter is log-normal and wide."""
    spec = gc.Spec(**fields)
    profile = gc.predict(spec)
    measured = gc.measure(spec, networks=20 * networks, seed=17)
    alarms = 0
    for k in range(20):
        rows = slice(k * networks, (k + 1) * networks)
        part = gc.Measurement(
            spec,
            17,
            "float64",
            "dense",
            measured.networks[rows],
            **{n: getattr(measured, n)[rows] for n in ("log_q", "log_p", "log_g", "log_dw", "log_db")},
            **{n: getattr(measured, n)[rows] for n in ("correlation", "saturated", "dead")},
        )
        alarms += gc.compare(profile, part).agrees() is False
    assert alarms <= 1


@pytest.mark.parametrize("change", [{"gain": 1.05}, {"activation": "leaky_relu", "negative_slope": 0.3}])
def test_wrong_theory_is_caught(change: dict) -> None:
    """A gain 5% off is 10% a layer in the second moment: caught with 16 networks of 10 layers."""
    base = gc.Spec(depth=10, width=256, gain=math.sqrt(2))
    wrong = base.replace(**({"gain": 1.05 * math.sqrt(2)} if "gain" in change else change))
    measured = gc.measure(base, networks=16, seed=3)
    fake = gc.Measurement(
        wrong,
        3,
        "float64",
        "dense",
        measured.networks,
        **{n: getattr(measured, n) for n in ("log_q", "log_p", "log_g", "log_dw", "log_db")},
        **{n: getattr(measured, n) for n in ("correlation", "saturated", "dead")},
    )
    assert gc.compare(gc.predict(base), measured).agrees() is True
    assert gc.compare(gc.predict(wrong), fake).agrees() is False


def test_one_network() -> None:
    """Without a predicted spread one network says nothing; with one it is compared with that."""
    norm, plain = gc.Spec(depth=4, width=64, norm="batch"), gc.Spec(depth=4, width=64)
    nothing = gc.compare(gc.predict(norm), gc.measure(norm, networks=1))
    assert nothing.agrees() is None and "at least two networks" in str(nothing)
    something = gc.compare(gc.predict(plain), gc.measure(plain, networks=1))
    assert something.agrees() is True and np.all(np.isfinite(something.z["log_q"]))


def test_different_specs_are_refused() -> None:
    with pytest.raises(gc.SpecError, match="same Spec"):
        gc.compare(gc.predict(gc.Spec(depth=3)), gc.measure(gc.Spec(depth=2, width=8), networks=1))


def test_slopes_below_float64_are_left_out() -> None:
    """tanh with constant weights 1: predicted e^-22664, measured exactly 0, not a disagreement."""
    spec = gc.Spec(depth=6, width=256, activation="tanh", init="constant", gain=10.0)
    comparison = gc.compare(gc.predict(spec), gc.measure(spec, networks=4))
    assert gc.predict(spec).log_g[0] < -1500
    assert math.isnan(comparison.z["log_g"][0])


def test_frame_and_text() -> None:
    spec = gc.Spec(depth=3, width=32)
    comparison = gc.compare(gc.predict(spec), gc.measure(spec, networks=4))
    frame = comparison.to_frame()
    assert list(frame.columns) == [
        "layer",
        "quantity",
        "predicted",
        "measured",
        "standard_error",
        "allowance",
        "z",
    ]
    assert len(frame) == 3 * 5
    text = str(comparison)
    assert "log_g" in text and text.splitlines()[-1] in (
        "agree",
        "DISAGREE: a layer lies more than 4 standard errors off",
    )
