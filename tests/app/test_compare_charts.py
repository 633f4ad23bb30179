"""The charts of the page Compare hold the library's numbers, and their words say what is on them."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest

pytest.importorskip("altair")
pytest.importorskip("torch")
import gradcore as gc
from gradcore.charts import DARK, LIGHT, compare
from gradcore.charts import compare_words as words
from gradcore.charts.compare import DASHES, SHAPES
from gradcore.charts.compare_words import Curve
from gradcore.estimates import estimates
from gradcore.pins import MOST, names
from gradcore.words import LN10, number_text

SPECS = [
    gc.Spec(depth=6, width=16),
    gc.Spec(depth=9, width=16, gain=2.0),
    gc.Spec(depth=4, width=16, activation="tanh"),
]


@pytest.fixture(scope="module")
def curves() -> list[Curve]:
    """Three networks of different depths; the second is not measured."""
    measured = [gc.measure(spec, networks=3) if spec.gain == 1.0 else None for spec in SPECS]
    return [Curve(name, gc.predict(spec), one) for name, spec, one in zip(names(SPECS), SPECS, measured, strict=True)]


def drawn(curves: list[Curve], code: str = "backward", **options) -> dict:
    return compare.compare_chart(curves, code, **options).to_dict(validate=False)


def rows(chart: dict, kind: str) -> list[dict]:
    """The rows of the layers of this mark."""
    found = [layer["data"] for layer in chart["layer"] if layer["mark"]["type"] == kind]
    return [row for data in found for row in data.get("values", None) or chart["datasets"][data["name"]]]


@pytest.mark.parametrize(("moment", "unit"), [("rms", 0.5), ("mean_square", 1.0)])
@pytest.mark.parametrize(("code", "quantity"), [("forward", "log_q"), ("backward", "log_g")])
def test_the_charts_hold_the_librarys_numbers(
    curves: list[Curve], moment: str, unit: float, code: str, quantity: str
) -> None:
    chart = drawn(curves, code, moment=moment)
    for number, curve in enumerate(curves, start=1):
        label = words.label_of(number, curve.name)
        for kind, answer in (("line", curve.profile), ("point", curve.measured)):
            mine = [row for row in rows(chart, kind) if row["series"] == label]
            if answer is None:
                assert mine == []
                continue
            logs = answer.at_hand.mean(quantity) if kind == "line" else answer.mean(quantity)
            logs = logs - logs[-1] if code == "backward" else logs
            assert [row["x"] for row in mine] == list(range(1, curve.depth + 1))
            assert [row["size"] for row in mine] == pytest.approx(list(unit * logs / math.log(10)), abs=1e-12)
            assert all(row["low"] <= row["high"] for row in mine if kind == "point")
    assert max(row["high"] - row["low"] for row in rows(chart, "point")) > 0.01  # a spread


def test_the_share_of_the_depth_is_the_other_axis(curves: list[Curve]) -> None:
    chart = drawn(curves, relative=True)
    for number, curve in enumerate(curves, start=1):
        mine = [row["x"] for row in rows(chart, "line") if row["series"].startswith(f"{number}:")]
        assert mine == pytest.approx([layer / curve.depth for layer in range(1, curve.depth + 1)])
    hover = [row for row in rows(chart, "rule") if "p1" in row]
    assert all("–" not in row.values() for row in hover)  # every network is there at every share
    by_layer = [row for row in rows(drawn(curves), "rule") if "p1" in row]
    assert [row["p3"] == "–" for row in by_layer] == [row["x"] > 4 for row in by_layer]
    last = next(row for row in hover if row["x"] == 1.0)
    assert last["p2"] == "1.00" and last["p1"] == "1.00, measured 1.00"


def test_colour_dash_and_shape_belong_to_the_number(curves: list[Curve]) -> None:
    chart = drawn([Curve("none", None), *curves], short=True)
    line = next(layer for layer in chart["layer"] if layer["mark"]["type"] == "line")["encoding"]
    assert line["color"]["scale"]["domain"] == ["(1)", "2", "3", "4"]  # the second colour stays the second's
    assert line["color"]["legend"]["values"] == ["2", "3", "4"] and "range" not in line["color"]["scale"]
    assert line["strokeDash"]["scale"] == {"domain": ["2", "3", "4"], "range": list(DASHES[1:4])}
    point = next(layer for layer in chart["layer"] if layer["mark"]["type"] == "point")["encoding"]
    assert point["shape"]["scale"] == {"domain": ["2", "3", "4"], "range": list(SHAPES[1:4])}
    assert len(LIGHT) == len(DARK) == len(set(map(tuple, DASHES))) == len(set(SHAPES)) == MOST


def test_labels_do_not_lie_on_each_other() -> None:
    """Six networks that end alike, and one far below."""
    alike = [Curve(str(k), gc.predict(gc.Spec(depth=30, init="kaiming_normal", gain=1 + k / 1e4))) for k in range(5)]
    for code in ("forward", "backward"):
        chart = drawn([*alike, Curve("far", gc.predict(gc.Spec(depth=30)))], code, height=330)
        text = rows(chart, "text")
        assert sorted(row["number"] for row in text) == list("123456")
        low, high = next(layer for layer in chart["layer"] if layer["mark"]["type"] == "line")["encoding"]["y"][
            "scale"
        ]["domain"]
        gap = compare.GAP * (high - low) / (330 - compare.AROUND)
        sizes = sorted(row["size"] for row in text)
        assert min(np.diff(sizes)) >= gap * (1 - 1e-9) and low <= sizes[0] and sizes[-1] <= high


def test_a_curve_far_below_any_float_and_one_that_is_zero() -> None:
    deep = gc.Spec(depth=500, activation="sigmoid", width=64, gain=0.25)
    dead = gc.Spec(depth=20, norm="layer", norm_beta=-4.0, init="kaiming_normal")
    found = [Curve("deep", gc.predict(deep)), Curve("dead", gc.predict(dead))]
    sizes = [row["size"] for row in rows(drawn(found), "line")]
    assert min(sizes) < -600 and all(math.isfinite(size) for size in sizes)
    said = "\n".join(words.happenings(found))
    assert "2: Signal z exactly zero from layer 4" in said and "1: Gradient δ underflows plain float64" in said
    assert "dead 0" in words.describe(found)


def test_one_layer_is_a_stroke() -> None:
    chart = drawn([Curve("one", gc.predict(gc.Spec(depth=1)))])
    assert [row["x"] for row in rows(chart, "point")] == [1.0]


def test_nothing_to_draw_is_a_chart_all_the_same() -> None:
    chart = drawn([Curve("none", None)])
    assert rows(chart, "line") == [] and words.describe([Curve("none", None)]).endswith("nothing predicted.")


def test_the_words_hold_the_librarys_numbers(curves: list[Curve]) -> None:
    for curve, number in zip(curves, (1, 2, 3), strict=True):
        assert curve.profile is not None
        ratio = number_text(estimates(curve.profile).ratio.log / LN10)
        assert f"{number}: {curve.name} {ratio}" in words.describe(curves)
        assert f"{number}: {curve.name} " in words.describe(curves, "forward")
    assert words.describe(curves).endswith("Measured: 1, 3.")
    verdicts = [gc.diagnose(curve.profile) for curve in curves if curve.profile is not None]
    said, span = (message.text() for message in words.headline(curves))
    assert said == f"{sum(v.stable for v in verdicts)} of 3 networks are stable"
    ends = [number_text(v.log_ratio / LN10) for v in verdicts]
    assert span == f"Layer 1 receives from {ends[0]} to {ends[1]} of the last layer's gradient (RMS)."
    assert words.headline(curves[:1])[0].text() == verdicts[0].sentence


@pytest.mark.parametrize("number", range(1, MOST + 1))
def test_a_swatch_is_a_picture_in_the_palettes_colour(number: int) -> None:
    for palette in (LIGHT, DARK):
        picture = ET.fromstring(compare.swatch(number, palette))
        assert picture.get("fill") == picture[0].get("stroke") == palette[number - 1]
        assert picture[0].get("stroke-dasharray") == " ".join(map(str, DASHES[number - 1]))
    assert len({compare.swatch(k, LIGHT) for k in range(1, MOST + 1)}) == MOST
