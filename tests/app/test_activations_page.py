"""The Activations page: every activation opens, the table holds the library's numbers, the buttons set the gain."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("streamlit")
from streamlit.testing.v1 import AppTest

import gradcore as gc
from app import runner
from app.parts import gains, qmap
from gradcore.activations import ACTIVATIONS
from gradcore.charts import activation as charts
from gradcore.guide.gains import gain_table
from gradcore.guide.uses import uses
from gradcore.guide.variance_map import KINDS, story, variance_map
from gradcore.measure.gains import sample_gains
from gradcore.spec import Spec
from tests.app.pages import asked, button, captions, chart_specs, headline, labels


def alone() -> None:
    from app import controls
    from app.views import activations

    controls.ask("activations")
    activations.page()
    controls.sidebar()


def open_page(**query: str) -> AppTest:
    app = AppTest.from_function(alone, default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


@pytest.fixture(scope="module")
def tanh() -> AppTest:
    return open_page(activation="tanh", gain="5/3", seed="3")


@pytest.mark.parametrize("code", ACTIVATIONS)
def test_every_activation_opens_with_its_answer(code: str) -> None:
    app = open_page(activation=code, gain="auto")
    assert not app.exception
    plain, log_q = variance_map(Spec(activation=code, gain="auto"))
    assert headline(app) == story(plain.fate(log_q)).text()
    good, *more = uses(code)
    assert f"**Good for:** {good}" in [m.value for m in app.markdown]
    assert all(str(message) in captions(app) for message in more)
    assert [spec["title"] for spec in chart_specs(app)] == [
        "The activation and its slope",
        "The variance map: from one layer to the next",
    ]


def test_the_table_holds_the_librarys_numbers(tanh: AppTest) -> None:
    table = tanh.dataframe[0].value.set_index("activation")
    assert list(table.index) == list(ACTIVATIONS)
    for exact, drawn in zip(gain_table(), sample_gains(gains.SAMPLES, seed=3), strict=True):
        row = table.loc[exact.activation]
        assert (row["forward"], row["backward"]) == (exact.forward, exact.backward)
        assert row["torch"] == exact.torch if exact.torch is not None else row.isna()["torch"]
        assert row["sampled_forward"] == f"{drawn.forward:.3f} ± {drawn.forward_error:.3f}"
        assert row["sampled_backward"] == f"{drawn.backward:.3f} ± {drawn.backward_error:.3f}"
        assert row["agrees"].startswith("yes")
        assert row["spread"] == f"{drawn.spread:.3f} ({exact.spread:.3f})"
    assert "10,000 draws" in captions(tanh) and "seed 3" in captions(tanh) and "All agree" in captions(tanh)


def test_the_row_in_use_is_marked(tanh: AppTest) -> None:
    styled = gains._highlighted([gains._row(gain, None) for gain in gain_table()], "tanh")._compute()
    marked = {row for (row, _), style in styled.ctx.items() if style}
    assert marked == {list(ACTIVATIONS).index("tanh")}


def test_an_estimate_that_is_off_is_named() -> None:
    exact, drawn = gain_table(), sample_gains(1000, 0)
    wrong = (*drawn[:-1], drawn[0])
    assert "Further than 4 of them from exact: sin." in gains.status_text(exact, wrong, 0)


def test_the_first_view_says_where_the_variance_goes(tanh: AppTest) -> None:
    assert "settles at RMS 1.09" in headline(tanh) and "grow ×1.10 per layer in RMS (×1.21" in headline(tanh)
    badges = "".join(m.value for m in tanh.markdown)
    assert ":blue-badge[:material/adjust: Settles]" in badges
    assert "Gradients ×1.10 per layer]" in badges and ":red-badge[" in badges  # 1.1^49 is beyond 100
    assert "starts at RMS 1.67 and is at 1.09 in layer 50" in captions(tanh)


def test_every_kind_of_fate_has_a_look() -> None:
    assert set(qmap.LOOKS) == set(KINDS)
    assert len({look.word for look in qmap.LOOKS.values()}) == len(KINDS)


def test_the_buttons_set_the_gain() -> None:
    app = open_page(activation="gelu")
    button(app, "Set the critical gain (σ_w = 2, unstable)").click().run()
    assert asked(app) == Spec(activation="gelu", gain="critical") and not app.exception
    assert button(app, "Set the critical gain").disabled
    button(app, "Set the exact gain (σ_w = 1.534)").click().run()
    assert asked(app).gain == "auto" and button(app, "Set the exact gain").disabled
    assert "Unstable fixed point at RMS 1.00" in captions(app)


def test_softplus_has_no_critical_gain_and_a_refused_one_is_told() -> None:
    app = open_page(activation="softplus")
    assert not any(label.startswith("Set the critical") for label in labels(app))
    assert "softplus has no critical gain" in captions(app)
    refused = open_page(activation="softplus", gain="critical")
    assert not refused.exception and "no critical point" in captions(refused)


@pytest.mark.parametrize("init", ["constant", "eye"])
def test_weights_without_a_map_say_so(init: str) -> None:
    app = open_page(init=init)
    assert not app.exception
    assert headline(app) == "These weights have no variance map"
    assert len(chart_specs(app)) == 1 and "There is no map to draw" in captions(app)


def test_what_the_map_leaves_out_is_said() -> None:
    app = open_page(norm="layer", depth="3", width="20,30,40")
    assert "normalization and residual connections are left out" in captions(app)
    assert "Layers differ in width" in captions(app)


def test_a_zero_signal_and_no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ModuleNotFoundError(name="torch")

    monkeypatch.setattr(runner, "start_torch", missing)
    app = open_page(gain="0")
    assert not app.exception
    assert "needs the Python package torch" in captions(app)
    assert app.dataframe[0].value["forward"].iloc[1] == pytest.approx(2**0.5)


def test_a_network_that_is_not_allowed_keeps_the_last_one() -> None:
    app = open_page(activation="tanh")
    app.session_state["field_width_list"] = "3, 4"
    app.run()
    assert not app.exception
    assert "last network that was allowed" in captions(app)


# --- the charts themselves -----------------------------------------------------------------------------------


def values(chart: dict) -> list[dict]:
    """All rows of a chart, its own and its layers'."""
    return [row for rows in chart["datasets"].values() for row in rows]


@pytest.mark.parametrize("code", ACTIVATIONS)
def test_every_kink_is_marked(code: str) -> None:
    rows = values(charts.function_chart(code).to_dict(validate=False))
    assert sorted(row["h"] for row in rows if row.get("text") == "kink") == list(ACTIVATIONS[code].kinks)


def test_the_slope_is_cut_at_a_jump_and_the_range_holds_every_kink() -> None:
    chart = charts.function_chart("relu6").to_dict(validate=False)
    rows = [row for row in values(chart) if "part" in row]
    assert (rows[0]["h"], rows[-1]["h"]) == (-3.0, 7.0)
    assert {(row["part"], row["slope"]) for row in rows} == {(0, 0.0), (1, 1.0), (2, 0.0)}


def test_the_way_is_the_predicted_signal() -> None:
    spec = Spec(activation="tanh", gain=1.4, bias_std=0.2, depth=12)
    plain, log_q = variance_map(spec)
    for moment, power in (("rms", 0.5), ("mean_square", 1.0)):
        chart = charts.map_chart(plain, log_q, 12, moment=moment).to_dict(validate=False)
        steps = [row for row in values(chart) if "layer" in row]
        sizes = [10 ** row["here"] for row in steps if row["order"] % 2 == 0]
        expected = [float(x) for x in gc.predict(spec).log_q]
        assert sizes == pytest.approx([math.exp(power * log) for log in expected])


def test_fixed_points_are_labelled_stable_or_unstable() -> None:
    plain, log_q = variance_map(Spec(activation="gelu", gain="critical", bias_std=0.3))
    texts = {row["text"] for row in values(charts.map_chart(plain, log_q, 50).to_dict(validate=False)) if "text" in row}
    assert texts == {"layer 1: 1.48", "unstable: 1.19", "stable: 0.602"}
    assert "stable at RMS 0.602, unstable at RMS 1.19" in charts.describe_map(plain, log_q)


# --- in a browser --------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_the_page_in_a_browser(chromium, server: str) -> None:
    from tests.app.browser import Visit

    with Visit(chromium, server, "?activation=tanh&gain=1.5&depth=5&width=16&networks=2") as visit:
        visit.page.get_by_role("link", name="Activations").click()
        visit.page.get_by_role("heading", name="The signal settles").wait_for()
        visit.wait_for_charts()
        visit.page.get_by_text("All agree with the exact values").wait_for()
        assert visit.query()["activation"] == ["tanh"]
        assert visit.complaints == []
