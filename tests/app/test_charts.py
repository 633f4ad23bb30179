"""Charts and sentences without Streamlit: values that floats cannot hold, dead networks, flat curves."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("altair")

import gradcore as gc
from gradcore import charts
from gradcore.words import english, number_text


@pytest.mark.parametrize(
    ("log10", "text"),
    [
        (0.0, "1.0"),
        (math.log10(0.5), "0.50"),
        (math.log10(0.0421), "0.042"),
        (math.log10(12.3), "12"),
        (math.log10(256.0), "256"),
        (math.log10(4.2e-8), "4.2e-8"),
        (math.log10(9.99e-8), "1.0e-7"),
        (-600.0, "1.0e-600"),
        (9843.5, "3.2e9843"),
        (-math.inf, "0"),
        (math.inf, "inf"),
        (math.nan, "–"),
    ],
)
def test_numbers_as_text(log10: float, text: str) -> None:
    assert number_text(log10) == text


@pytest.mark.parametrize(
    ("fields", "begins"),
    [
        ({}, "The gradient shrinks ×0.71 per layer in RMS (×0.50 in mean square): layer 1 receives 4.2e-8 of"),
        ({"init": "kaiming_normal"}, "The gradient keeps its size: ×1.00 per layer"),
        ({"gain": 2.0}, "The gradient grows ×1.41 per layer in RMS (×2.00 in mean square): layer 1 receives"),
        ({"depth": 1}, "One layer"),
        ({"gain": 0.0}, "No gradient reaches layer 1"),
    ],
)
def test_takeaway(fields: dict, begins: str) -> None:
    assert charts.takeaway(gc.predict(gc.Spec(**fields))).startswith(begins)


def test_series_are_the_profile_in_the_asked_unit() -> None:
    profile = gc.predict(gc.Spec(depth=10, width=32))
    rms = charts.series("forward", profile)["predicted"]
    square = charts.series("forward", profile, moment="mean_square")["predicted"]
    np.testing.assert_allclose(square, 2.0 * rms, rtol=1e-12)
    np.testing.assert_allclose(square, profile.log_q_mean / math.log(10.0), rtol=1e-12)
    backward = charts.series("backward", profile, statistic="median")["predicted"]
    np.testing.assert_allclose(
        backward, (profile.log_g_median - profile.log_g_median[-1]) / math.log(100.0), rtol=1e-12, atol=1e-15
    )


def test_the_measured_curve_lies_in_its_spread() -> None:
    spec = gc.Spec(depth=6, width=16)
    curves = charts.series("forward", None, gc.measure(spec, networks=5), statistic="median")
    assert "predicted" not in curves
    assert np.all(curves["low"] <= curves["measured"]) and np.all(curves["measured"] <= curves["high"])


@pytest.mark.parametrize("code", charts.PANELS)
@pytest.mark.parametrize(
    "fields",
    [
        {"depth": 1},
        {"depth": 2, "width": 3},
        {"gain": 0.0},
        {"activation": "linear", "init": "normal", "width": 64, "gain": 2.0, "depth": 300},
        {"activation": "sigmoid", "init": "normal", "gain": 1e-3, "width": 8, "depth": 300},
    ],
)
def test_every_value_on_the_chart_is_finite(code: str, fields: dict) -> None:
    """Vega draws one infinity or NaN as a broken axis; missing values are gaps."""
    profile = gc.predict(gc.Spec(**fields))
    drawn = charts.chart(code, profile).to_dict()
    for rows in drawn["datasets"].values():
        for row in rows:
            assert all(value is None or math.isfinite(value) for value in row.values() if not isinstance(value, str))
    for layer in drawn["layer"]:
        y = layer["encoding"].get("y")
        if y is not None:
            assert y["scale"]["domain"][0] < 0.0 < y["scale"]["domain"][1]


def test_values_far_outside_floats_are_drawn_and_listed() -> None:
    profile = gc.predict(gc.Spec(activation="linear", init="normal", width=64, gain=2.0, depth=300))
    assert charts.series("forward", profile)["predicted"][-1] == pytest.approx(300 * math.log10(16.0))
    texts = [event.text for event in charts.events("forward", profile)]
    assert texts == ["overflows plain float64 at layer 256"]
    shorter = gc.predict(profile.spec.replace(depth=252))
    assert charts.layer_table(shorter)["forward_predicted"].iloc[-1] == "2.74e303"


def test_a_dead_network_is_an_event_not_a_gap() -> None:
    profile = gc.predict(gc.Spec(gain=0.0))
    assert [e.text for e in charts.events("forward", profile)] == ["exactly zero from layer 1"]
    assert [e.layer for e in charts.events("backward", profile)] == [49]
    assert "exactly zero" in charts.describe("backward", profile)


def test_a_measured_zero_is_an_event() -> None:
    spec = gc.Spec(depth=40, width=8, init="normal", gain=1e-3, activation="linear")
    measured = gc.measure(spec, networks=2, dtype="float16")
    first = next(charts.events("forward", None, measured))
    assert first.text.startswith("measured: exactly zero at layer")


def test_texts_pass_through_the_translator() -> None:
    seen: list[str] = []

    def shout(msgid: str, **values: object) -> str:
        seen.append(msgid)
        return english(msgid, **values).upper()

    profile = gc.predict(gc.Spec(depth=5, width=8))
    drawn = charts.chart("backward", profile, t=shout).to_dict()
    assert drawn["title"] == "BACKWARD: SIZE OF THE GRADIENT Δ, RELATIVE TO LAYER 5"
    assert charts.takeaway(profile, shout).isupper()
    assert any("{factor}" in msgid for msgid in seen)
