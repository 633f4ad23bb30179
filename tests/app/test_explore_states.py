"""The Explore page in its states: every tab, measuring, and every refusal in calm words."""

from __future__ import annotations

import json
import re

import pytest

pytest.importorskip("streamlit")
from streamlit.testing.v1 import AppTest

import gradcore as gc
from app import runner, store, widgets
from app.parts import tabs
from gradcore.charts import MAIN
from gradcore.export import torch_code
from gradcore.spec import Spec
from tests.app.pages import asked, button, captions, chart_specs, headline, open_app, open_tab, small_app


@pytest.fixture(scope="module")
def default() -> AppTest:
    return open_app()


# --- tabs ----------------------------------------------------------------------------------------------------


def test_only_the_open_tab_is_drawn(default: AppTest) -> None:
    assert [tab.label for tab in default.tabs] == [tab.title for tab in tabs.TABS]
    assert len(chart_specs(default)) == len(MAIN) + 1  # and the weight gradient's
    assert not default.dataframe and not default.main.code and not default.latex


def test_every_layer_is_in_the_table() -> None:
    table = open_tab(small_app(), "Layers").dataframe[0].value
    assert list(table["layer"]) == [1, 2, 3, 4, 5]
    assert {"forward_predicted", "forward_measured", "backward_predicted", "backward_measured"} <= set(table.columns)


def test_every_column_of_the_table_has_a_title() -> None:
    frame = open_tab(small_app(), "Layers").dataframe[0]
    columns = json.loads(frame.proto.columns)
    assert {columns[name]["label"] for name in frame.value.columns}.isdisjoint(set(frame.value.columns) - {"layer"})


def test_equations_follow_the_layer() -> None:
    app = open_tab(small_app(), "Equations")
    assert not app.exception
    assert app.latex
    before = [latex.value for latex in app.latex]
    app.slider(key="equation_layer_5").set_value(4).run()
    assert [latex.value for latex in app.latex] != before


def test_the_shown_script_runs(capsys: pytest.CaptureFixture[str]) -> None:
    code = open_tab(small_app(activation="tanh", gain="5/3"), "Code").main.code[0].value
    exec(compile(code, "<script>", "exec"), {})
    assert "2 networks, seed 0" in capsys.readouterr().out


def test_code_of_the_network_and_of_the_mended_one() -> None:
    spec = Spec(depth=60, width=16)
    app = open_tab(small_app(depth="60"), "Code")
    assert [code.value for code in app.main.code][1:] == [
        torch_code(spec).strip(),
        torch_code(gc.diagnose(gc.predict(spec)).fixes[0].spec).strip(),
    ]
    assert len(open_tab(small_app(init="kaiming_normal"), "Code").main.code) == 2


def test_assumptions_and_number_formats() -> None:
    app = open_tab(open_app(networks="1", width="32"), "Assumptions")
    assert not app.exception
    assert "single networks scatter widely" in "".join(m.value for m in app.markdown)
    lost = app.table[0].value.set_index("number format")
    assert list(lost.index) == ["float64", "float32", "bfloat16", "float16"]
    layer = gc.predict(Spec(width=32)).precision["float16"].gradient_underflow
    assert lost.loc["float16"].tolist() == ["nothing is lost", f"underflows to 0 at layer {layer}"]
    assert lost.loc["float64"].tolist() == ["nothing is lost", "nothing is lost"]


# --- measuring -----------------------------------------------------------------------------------------------


def test_the_status_line_tells_what_was_done(default: AppTest) -> None:
    status = next(c.value for c in default.caption if c.value.startswith("predicted in "))
    assert re.search(r"measured 8 networks( in [\d.]+ m?s)? · float64 · seed 0 · prediction holds: at most ", status)


def test_a_dear_measurement_waits_to_be_asked() -> None:
    app = open_app(depth="60", width="700", networks="64")
    assert button(app, "Measure 64 networks (about ")
    assert [metric.delta for metric in app.metric] == ["not measured"] * 4
    assert "press Measure" in captions(app)


def test_measuring_on_request_and_cancelling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "AUTO_SECONDS", 0.0)
    store.networks().clear()
    app = small_app()
    button(app, "Measure 2 networks (about ").click().run()
    assert app.metric[0].delta.startswith("measured ")
    settings = app.session_state["question"].settings
    app.session_state["cancelled"] = runner.key_of(asked(app), settings)
    del app.session_state["measured"]
    app.run()
    assert app.metric[0].delta == "not measured"
    button(app, "Show 2 measured networks").click().run()
    assert app.metric[0].delta.startswith("measured ")


def test_a_measurement_goes_on_from_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    store.networks().clear()
    small_app(networks="1")
    monkeypatch.setattr(runner, "AUTO_SECONDS", 0.0)
    app = small_app(networks="3")
    button(app, "Continue (1 of 3 done)").click().run()
    assert "measured 3 networks ·" in captions(app)


def test_other_networks_of_the_same_law() -> None:
    app = small_app()
    before = app.metric[1].delta
    button(app, "Draw other networks").click().run()
    assert app.query_params["seed"] == "1"
    assert app.metric[1].delta.startswith("measured ") and app.metric[1].delta != before


def test_after_the_last_seed_comes_the_first() -> None:
    app = small_app(seed=str(2**31 - 1))
    button(app, "Draw other networks").click().run()
    assert not app.exception
    assert "seed" not in app.query_params


def test_a_network_too_large_to_measure_is_still_predicted() -> None:
    app = open_app(depth="10", width="1000000")
    assert not app.exception
    assert "×0.71 per layer" in headline(app)
    assert "does not fit" in captions(app)
    assert app.metric[0].delta == "too large to measure"


def test_what_does_not_fit_as_matrices_is_offered_without_them() -> None:
    app = open_app(depth="5", width="20000", networks="2", dtype="float32")
    assert "its weight matrices do not fit" in captions(app)
    button(app, "Matrix-free, same law (about ").click().run()
    assert not app.exception and app.query_params["sampler"] == "exact"
    assert "matrix-free, same law" in captions(app) and "matrix-free networks of the same law: 2" in captions(app)
    assert all(metric.delta.startswith("measured ") for metric in app.metric)
    app = open_app(depth="5", width="20000", init="xavier_uniform")
    assert "only predicted" in captions(app)
    assert not [offered for offered in app.button if "Matrix-free" in offered.label]


def test_a_long_measurement_is_offered_without_matrices_too() -> None:
    app = open_app(depth="50", width="1000", networks="8")
    assert [offered.label for offered in app.button if "Matrix-free" in offered.label]
    app = open_app(depth="50", width="1000", networks="1", dtype="float32")
    assert not [offered for offered in app.button if "Matrix-free" in offered.label]


def test_a_sampler_that_cannot_measure_it_says_why() -> None:
    app = small_app(init="orthogonal", sampler="exact")
    assert not app.exception
    assert "only independent Gaussian weights" in captions(app)
    app = small_app(sampler="magic")
    assert "sampler" in app.warning[0].value


def test_one_network_has_no_standard_error() -> None:
    app = small_app(networks="1", norm="batch")
    assert not app.exception
    assert app.metric[1].delta.startswith("measured ") and "±" not in app.metric[1].delta
    assert "no error to compare by" in captions(app)


# --- refusals ------------------------------------------------------------------------------------------------


def test_unsupported_is_explained_calmly() -> None:
    app = small_app(norm="batch", batch_size="1")
    assert not app.exception and not app.error
    assert headline(app) == "Theory has no prediction for this network"
    assert "Supported:" in captions(app)
    assert "it cannot be measured either" in captions(app)
    assert not any("measuring" in element.value for element in (*app.caption, *app.markdown))
    assert [metric.value for metric in app.metric] == ["–"] * 4
    assert "Nothing to draw: " in captions(app)


def test_without_a_prediction_the_networks_are_still_measured() -> None:
    app = small_app(norm="batch", batch_size="3")
    assert not app.exception
    assert "Supported:" in captions(app)
    fields = {layer["encoding"].get("y", {}).get("field") for layer in chart_specs(app)[0]["layer"]}
    assert "measured" in fields and "predicted" not in fields
    assert [metric.value for metric in app.metric] == ["–"] * 4
    assert all(metric.delta.startswith("measured ") for metric in app.metric)
    assert any("Measured: " in m.value for m in app.markdown)


@pytest.mark.parametrize("title", [tab.title for tab in tabs.TABS])
@pytest.mark.parametrize("query", [{"residual": "two_layer"}, {"norm": "batch", "batch_size": "3"}, {"gain": "0"}])
def test_every_tab_says_something_in_every_state(title: str, query: dict[str, str]) -> None:
    app = open_tab(small_app(**query), title)
    assert not app.exception and not app.error


def test_a_refused_value_leaves_the_last_network_on_the_page() -> None:
    app = small_app(norm="batch")
    before = [metric.value for metric in app.metric]
    app.number_input(key=widgets.key_of("input_correlation")).set_value(1.0).run()
    assert not app.exception
    assert headline(app) == "This network is not allowed"
    assert "input_correlation" in captions(app) and "the last network that was allowed" in captions(app)
    assert [metric.value for metric in app.metric] == before
    button(app, "Back to the last allowed network").click().run()
    assert asked(app) == Spec(depth=5, width=16, norm="batch")
    assert "not allowed" not in headline(app)


def test_refused_parts_of_a_link_are_named_above_the_verdict() -> None:
    app = small_app(activation="foo")
    assert "activation" in app.warning[0].value
    button(app, "Dismiss").click().run()
    assert not app.warning


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*args: object) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(runner, "measure", missing)
    app = small_app(seed="77")
    assert not app.exception and not app.error
    assert "needs the Python package torch" in captions(app)
    assert [metric.delta for metric in app.metric] == ["not measured"] * 4
    monkeypatch.setattr(runner, "predict", missing)
    app = small_app(gain="1.2345")
    assert not app.exception and not app.error
    assert headline(app) == "A package is missing"
