"""The charts of the page Remedies hold the library's numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("altair")
pytest.importorskip("sklearn")
pytest.importorskip("torch")
from gradcore.charts import clipping as clip_charts
from gradcore.charts import remedies as charts
from gradcore.experiments.board import board, measure_board
from gradcore.experiments.clip_study import clip_gradients
from gradcore.experiments.data import digits
from gradcore.experiments.penalty_study import pooled, shares_over_seeds
from gradcore.experiments.regularization import predicted_share
from gradcore.experiments.remedies_question import RemediesQuestion
from gradcore.spec import Spec


def rows(chart) -> list[dict]:
    found = chart if isinstance(chart, dict) else chart.to_dict(validate=False)
    inline = [row for layer in found["layer"] for row in layer.get("data", {}).get("values", [])]
    return inline + [row for data in found.get("datasets", {}).values() for row in data]


def test_the_charts_hold_the_librarys_numbers() -> None:
    found = board(Spec(depth=6, width=16), ("batch_norm", "residual"))
    measured = measure_board(found, networks=3)
    for side, name in charts.SIDES.items():
        for moment, unit in (("rms", 0.5), ("mean_square", 1.0)):
            all_rows = rows(charts.board_chart(found, measured, side, moment=moment))
            for entry in found.shown:
                mine = [row for row in all_rows if row.get("code") == entry.code and "size" in row]
                lines, dots = ([r for r in mine if ("low" in r) == is_dot] for is_dot in (False, True))
                assert entry.profile is not None
                logs, mean = getattr(entry.profile, name), measured[entry.code].mean(name)
                if side == "backward":
                    logs, mean = logs - logs[-1], mean - mean[-1]
                sizes = [row["size"] for row in lines][:6]  # the last one is the curve's name, where it has one
                assert sizes == pytest.approx(list(unit * logs / math.log(10)), abs=1e-12)
                assert [row["size"] for row in dots] == pytest.approx(list(unit * mean / math.log(10)), abs=1e-12)
    assert "plain 0.18" in charts.describe(found) and "at the last layer" in charts.describe(found, "forward")


def test_the_histogram_counts_what_is_clipped() -> None:
    norms = np.array([0.5, 1.0, 2.0, 8.0, math.inf, 0.0])
    found = [row for row in rows(clip_charts.norm_histogram(norms, 1.5)) if "count" in row]
    counts = {name: sum(r["count"] for r in found if r["series"] == name) for name in ("kept as it is", "clipped")}
    assert counts == {"kept as it is": 2, "clipped": 2}
    assert any(row["low"] == pytest.approx(math.log10(1.5)) for row in found)  # a bin ends at the threshold
    assert "from 0.500 to 8.00; 50%" in clip_charts.describe_norms(norms, 1.5, 0.5)


def test_the_bars_hold_both_norms() -> None:
    found = clip_gradients([[np.array([3.0, 4.0])], [np.array([0.5])]], "value", 1.0)
    sizes = {(r["layer"], r["series"]): 10 ** r["size"] for r in rows(clip_charts.layer_bars(found)) if "layer" in r}
    assert sizes == pytest.approx(
        {(1, "before"): 5.0, (2, "before"): 0.5, (1, "after clipping"): math.sqrt(2), (2, "after clipping"): 0.5}
    )


def test_the_shares_are_those_of_all_seeds() -> None:
    data = digits(60)
    spec = RemediesQuestion(hidden=2, width=8, steps=3).penalized_run(data)
    shares, expected = shares_over_seeds(spec, data, 4), predicted_share(spec, data, networks=8)
    found = rows(clip_charts.share_chart(shares, expected))
    dots = [row for row in found if "low" in row]
    assert [10 ** row["size"] for row in dots] == pytest.approx(list(pooled(shares).share))
    assert all(row["low"] < row["size"] < row["high"] for row in dots)
    line = [10 ** row["size"] for row in found if row.get("series") == "predicted"]
    assert line == pytest.approx(list(expected.share))


def test_a_name_stands_where_its_curve_is_not() -> None:
    for gain, above in ((1.0, False), (2.0, True)):  # falling and rising towards the input
        drawn = charts.board_chart(board(Spec(depth=6, width=16, gain=gain)), {}).to_dict(validate=False)
        names = [layer["mark"] for layer in drawn["layer"] if layer["mark"]["type"] == "text"]
        assert len(names) == 1 and (names[0]["dy"] < 0) == above
