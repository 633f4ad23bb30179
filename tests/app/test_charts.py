"""Charts and sentences without Streamlit: values that floats cannot hold, dead networks, flat curves."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest

pytest.importorskip("altair")

import gradcore as gc
from gradcore import charts
from gradcore.presets import PRESETS
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


@pytest.mark.parametrize("fields", [{}, {"init": "kaiming_normal"}, {"gain": 2.0}, {"depth": 1}, {"gain": 0.0}])
def test_the_backward_chart_is_described_by_the_verdict(fields: dict) -> None:
    profile = gc.predict(gc.Spec(**fields))
    assert charts.describe("backward", profile) == gc.diagnose(profile).text()


def test_the_other_charts_are_described_by_their_ends() -> None:
    profile = gc.predict(gc.Spec(width=10**8))
    forward = charts.describe("forward", profile)
    assert forward == "The signal's RMS goes from 1.0 at layer 1 to 4.2e-8 at layer 50."
    text = charts.describe("weight_gradient", profile)
    assert "is 1.0 of layer 50's" in text and "δ is 4.2e-8 of it there, the layer input x 2.4e7" in text


def test_a_measurement_without_a_prediction_is_described() -> None:
    measured = gc.measure(gc.Spec(depth=4, width=16), networks=3)
    for code in charts.PANELS:
        text = charts.describe(code, None, measured)
        assert "theory has no prediction" in text and text.endswith("Points: 3 measured networks.")


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
    assert texts == ["overflows plain float64\nat layer 256"]
    shorter = gc.predict(profile.spec.replace(depth=252))
    assert charts.layer_table(shorter)["forward_predicted"].iloc[-1] == "2.74e303"


def test_a_dead_network_is_an_event_not_a_gap() -> None:
    profile = gc.predict(gc.Spec(gain=0.0))
    assert [e.text for e in charts.events("forward", profile)] == ["exactly zero\nfrom layer 1"]
    assert [e.text for e in charts.events("backward", profile)] == ["exactly zero\nin layers 1 to 49"]
    assert [e.layer for e in charts.events("backward", profile)] == [49]
    assert "exactly zero" in charts.describe("backward", profile)


def test_a_measured_zero_is_an_event() -> None:
    spec = gc.Spec(depth=40, width=8, init="normal", gain=1e-3, activation="linear")
    measured = gc.measure(spec, networks=2, dtype="float16")
    first = next(charts.events("forward", None, measured))
    assert first.text.startswith("measured: exactly zero\nat layer")


def test_a_measurement_that_broke_is_an_event() -> None:
    spec = gc.Spec(depth=30, width=64, activation="linear", init="normal")
    measured = gc.measure(spec, networks=2, dtype="float16")
    first = next(charts.events("forward", None, measured))
    assert first.layer == measured.first_nonfinite[0] == 5
    assert first.text == "measured: not finite\nat layer 5"


@pytest.mark.parametrize("code", charts.PANELS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_measurement_without_any_number_is_drawn(code: str, value: float) -> None:
    spec = gc.Spec(depth=5, width=8)
    measured = gc.measure(spec, networks=2)
    names = ("log_q", "log_p", "log_g", "log_dw", "log_db")
    lost = dataclasses.replace(measured, **{name: np.full((2, 5), value) for name in names})
    drawn = charts.chart(code, gc.predict(spec), lost, dtype="float32").to_dict()
    texts = [row["text"] for rows in drawn["datasets"].values() for row in rows if "text" in row]
    what = "exactly zero" if value < 0.0 else "not finite"
    assert texts == [f"measured: {what}\nat layer {5 if charts.PANELS[code].relative else 1}"]


def test_texts_pass_through_the_translator() -> None:
    seen: list[str] = []

    def shout(msgid: str, **values: object) -> str:
        seen.append(msgid)
        return english(msgid, **values).upper()

    profile = gc.predict(gc.Spec(depth=5, width=8))
    drawn = charts.chart("backward", profile, t=shout).to_dict()
    assert drawn["title"] == "BACKWARD: SIZE OF THE GRADIENT Δ"
    assert charts.describe("backward", profile, t=shout).isupper()
    assert any("{factor}" in msgid for msgid in seen)


# --- the weight gradient as a product ------------------------------------------------------------------------


@pytest.mark.parametrize("moment", charts.MOMENTS)
def test_the_weight_gradient_is_drawn_with_its_two_factors(moment: str) -> None:
    """Experiment 3.12: the input of the layers stays, the gradient does not, nor does their product."""
    profile = gc.predict(PRESETS["product_tanh"].spec.replace(width=10**8, input_width=10**8))
    curves = charts.series("weight_gradient", profile, moment=moment)
    delta, x = curves["factor_0"], curves["factor_1"]
    np.testing.assert_allclose(curves["predicted"], delta + x, atol=1e-6)
    assert np.abs(x[20:]).max() < 1e-3 < 1.0 < delta[20] < curves["predicted"][0]
    assert curves["predicted"][-1] == delta[-1] == x[-1] == 0.0
    fields = {layer["encoding"].get("y", {}).get("field") for layer in drawn_layers("weight_gradient", profile)}
    assert {"predicted", "factor_0", "factor_1"} <= fields


def test_two_charts_are_the_main_ones() -> None:
    assert charts.MAIN == ("forward", "backward") and set(charts.MAIN) < set(charts.PANELS)
    table = charts.layer_table(gc.predict(gc.Spec(depth=3)), panels=charts.PANELS)
    assert [c for c in table if c.endswith("predicted")] == [f"{code}_predicted" for code in charts.PANELS]


# --- the usable range ----------------------------------------------------------------------------------------


def drawn_layers(code: str, profile: gc.Profile, **options: object) -> list[dict]:
    return charts.chart(code, profile, **options).to_dict()["layer"]


@pytest.mark.parametrize(("moment", "edge"), [("rms", 2.0), ("mean_square", 4.0)])
@pytest.mark.parametrize("gain", [1.0, 2.0])
def test_the_curve_leaves_the_usable_range_where_the_verdict_says(gain: float, moment: str, edge: float) -> None:
    profile = gc.predict(gc.Spec(gain=gain, width=10**8))
    drawn = charts.chart("backward", profile, moment=moment).to_dict()
    (place,) = (rows for rows in drawn["datasets"].values() if "usable_low" in rows[0])
    low, high = place[0]["usable_low"], place[0]["usable_high"]
    assert (low, high)[0 if gain == 1.0 else 1] == pytest.approx((-edge, edge)[0 if gain == 1.0 else 1])
    curve = charts.series("backward", profile, moment=moment)["predicted"]
    outside = np.flatnonzero((curve < low) | (curve > high)) + 1
    assert outside.max() == gc.diagnose(profile).unusable_from


@pytest.mark.parametrize("code", charts.PANELS)
def test_no_range_is_shaded_where_nothing_leaves_it(code: str) -> None:
    profile = gc.predict(gc.Spec(init="kaiming_normal") if code == "backward" else gc.Spec())
    assert all(layer["mark"]["type"] != "rect" for layer in drawn_layers(code, profile))


# --- what a reader can make out ------------------------------------------------------------------------------

PHONE, PLOT = 280.0, 215.0  # px: width of the plot on a phone, height of it in a chart of the page
STATES = {
    "vanishing": ({}, "float64"),
    "exploding": ({"gain": 2.0}, "float64"),
    "overflow": ({"activation": "linear", "init": "normal", "depth": 60, "width": 400}, "float32"),
    "underflow": ({"activation": "linear", "init": "normal", "gain": 1e-2, "depth": 40, "width": 64}, "float16"),
    "late": ({"depth": 300, "width": 32}, "float32"),
    "dead": ({"gain": 0.0}, "float64"),
}


@pytest.mark.parametrize("code", charts.PANELS)
@pytest.mark.parametrize("state", STATES)
def test_labels_stay_on_a_phone_and_off_the_curves_and_each_other(state: str, code: str) -> None:
    fields, dtype = STATES[state]
    spec = gc.Spec(**fields)
    profile, measured = gc.predict(spec), gc.measure(spec, networks=1, dtype=dtype)
    drawn = charts.chart(code, profile, measured, dtype=dtype, height=330).to_dict()
    low, high = next(y["scale"]["domain"] for y in (layer["encoding"].get("y") for layer in drawn["layer"]) if y)
    left, right = drawn["layer"][-1]["encoding"]["x"]["scale"]["domain"]
    boxes = []
    for layer in drawn["layer"]:
        if layer["mark"]["type"] == "text":
            (row,) = drawn["datasets"][layer["data"]["name"]]
            lines, mark = row["text"].split("\n"), layer["mark"]
            wide = max(map(len, lines)) * mark["fontSize"] / 2
            x = (row["layer"] - left) / (right - left) * PHONE + mark["dx"] - (wide if mark["align"] == "right" else 0)
            y = (high - row["top"]) / (high - low) * PLOT
            boxes.append((x, x + wide, y, y + len(lines) * mark["lineHeight"]))
    assert boxes or not list(charts.events(code, profile, measured, dtype))
    for x0, x1, y0, y1 in boxes:
        assert x0 >= 0 and x1 <= PHONE and y0 >= 0 and y1 <= PLOT
    for (a0, a1, b0, b1), (c0, c1, d0, d1) in itertools.combinations(boxes, 2):
        assert a1 < c0 or c1 < a0 or b1 <= d0 or d1 <= b0
    curve = charts.series(code, profile)["predicted"]
    across = (np.arange(1, spec.depth + 1) - left) / (right - left) * PHONE
    for x0, x1, y0, y1 in boxes:
        under = (high - curve[(across > x0) & (across < x1)]) / (high - low) * PLOT
        assert not np.any((under > y0) & (under < y1))


def test_screen_readers_hear_values_never_logarithms() -> None:
    """Every mark whose y is a log10 is silent or has words of its own; the hover rules tell the layer's numbers."""
    spec = gc.Spec(gain=2.0, depth=20, width=16)
    for code in charts.PANELS:
        drawn = charts.chart(code, gc.predict(spec), gc.measure(spec, networks=2, dtype="float16"), dtype="float16")
        *others, hover = drawn.to_dict()["layer"]
        assert hover["mark"].get("aria", True) and "description" not in hover["mark"]
        for mark in (layer["mark"] for layer in others):
            assert mark.get("aria") is False or (mark["type"] == "text" and "\n" not in mark["description"])


def test_a_very_deep_net_is_thinned_to_few_marks() -> None:
    profile = gc.predict(gc.Spec(depth=10_000, width=32, init="kaiming_normal", gain=1.01))
    table = charts.frame("forward", profile)
    assert len(table) == 500 and table["layer"].iloc[0] == 1 and table["layer"].iloc[-1] == 10_000
    whole = charts.series("forward", profile)["predicted"]
    np.testing.assert_array_equal(table["predicted"], whole[table["layer"] - 1])
    assert list(charts.frame("forward", gc.predict(gc.Spec(depth=300)))["layer"]) == list(range(1, 301))


@pytest.mark.parametrize("gain", [1e30, 1e-30])
def test_the_widest_axis_has_readable_ticks(gain: float) -> None:
    """Nothing a Spec can ask for is beyond the ticks: some 600,000 powers of ten."""
    profile = gc.predict(gc.Spec(activation="linear", init="normal", gain=gain, depth=10_000))
    y = drawn_layers("forward", profile, moment="mean_square")[-2]["encoding"]["y"]
    low, high = y["scale"]["domain"]
    assert high - low > 5e5 and 3 <= len(y["axis"]["values"]) <= 8


def test_the_tooltip_tells_of_the_other_chart_as_well() -> None:
    spec = gc.Spec(depth=6, width=16)
    for code, other in (("forward", "Gradient δ"), ("backward", "Signal z"), ("weight_gradient", "Layer input x")):
        hover = charts.chart(code, gc.predict(spec), gc.measure(spec, networks=2)).to_dict()["layer"][-1]
        titles = [entry["title"] for entry in hover["encoding"]["tooltip"]]
        assert titles[:4] == ["Layer", "Predicted", "Measured", "90% of networks"] and other in titles
