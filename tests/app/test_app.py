"""The explorer without a browser: every control, links, refusals, and what the charts carry."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("streamlit")
from streamlit.testing.v1 import AppTest

from app import controls, runner, state
from gradcore.charts import PANELS
from gradcore.errors import SpecError
from gradcore.fields import FIELDS
from gradcore.spec import Spec

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"depth": "5", "width": "16", "networks": "2"}  # measured in milliseconds


def open_app(**query: str) -> AppTest:
    """The app opened by a link with these parameters."""
    app = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def small_app(**query: str) -> AppTest:
    """The same on a network that costs nothing."""
    return open_app(**{**SMALL, **query})


def chart_specs(app: AppTest) -> list[dict]:
    """The Vega-Lite specifications of the page's charts."""
    return [json.loads(chart.proto.spec) for chart in app.get("vega_lite_chart")]


def headline(app: AppTest) -> str:
    return app.subheader[0].value


@pytest.fixture(scope="module")
def default() -> AppTest:
    return open_app()


def test_default_page_says_what_happens(default: AppTest) -> None:
    assert not default.exception
    assert headline(default).startswith("The gradient shrinks ×0.71 per layer in RMS (×0.50 in mean square)")
    assert "4.2e-8" in headline(default)
    values = [metric.value for metric in default.metric]
    assert values[:3] == ["×0.71", "4.2e-8", "4.2e-8"]
    assert len(values) == 4 and values[3].endswith("σ")
    assert default.query_params == {}


def test_both_charts_carry_prediction_and_measurement(default: AppTest) -> None:
    specs = chart_specs(default)
    assert len(specs) == len(PANELS) == 2
    for spec in specs:
        fields = {layer["encoding"].get("y", {}).get("field") for layer in spec["layer"]}
        assert {"predicted", "measured", "low", "one"} <= fields
        axes = [layer["encoding"]["y"] for layer in spec["layer"] if "y" in layer["encoding"]]
        assert len({json.dumps([axis.get("title"), axis.get("scale")], sort_keys=True) for axis in axes}) == 1
        assert "log scale" in axes[0]["title"]
        assert "1e" in axes[0]["axis"]["labelExpr"]


def test_charts_have_words_for_those_who_do_not_see_them(default: AppTest) -> None:
    texts = [chart.proto.alt for chart in default.get("vega_lite_chart")]
    assert "4.2e-8 at layer 50" in texts[0] and "8 measured networks" in texts[0]
    assert texts[1].startswith("The gradient shrinks")


def test_every_layer_is_in_the_table() -> None:
    table = small_app().dataframe[0].value
    assert list(table["layer"]) == [1, 2, 3, 4, 5]
    assert {"forward_predicted", "forward_measured", "backward_predicted", "backward_measured"} <= set(table.columns)


CHANGES = {
    "depth": ("slider", 7),
    "width": ("number_input", 24),
    "input_width": ("number_input", 20),
    "activation": ("selectbox", "tanh"),
    "init": ("selectbox", "orthogonal"),
    "gain": ("number_input", 1.5),
    "bias_std": ("number_input", 0.1),
    "norm": ("selectbox", "layer"),
    "residual": ("selectbox", "identity"),
    "batch_size": ("number_input", 8),
    "input": ("selectbox", "digits"),
    "input_rms": ("number_input", 2.0),
    "input_correlation": ("number_input", 0.5),
    "loss": ("selectbox", "mse"),
}
HIDDEN = {  # fields that matter only beside another one: how to bring them out, and the change
    "negative_slope": ({"activation": "leaky_relu"}, ("number_input", 0.2)),
    "sparsity": ({"init": "sparse", "width": "64", "sparsity": "0.5"}, ("number_input", 0.25)),
    "norm_position": ({"norm": "layer"}, ("selectbox", "after")),
    "norm_gamma": ({"norm": "layer"}, ("number_input", 2.0)),
    "norm_beta": ({"norm": "layer"}, ("number_input", 0.5)),
    "norm_eps": ({"norm": "layer"}, ("number_input", 1e-4)),
    "residual_scale": ({"residual": "identity"}, ("number_input", 0.5)),
}


def test_every_field_is_tried() -> None:
    assert set(CHANGES) | set(HIDDEN) == set(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
def test_each_control_changes_its_field(name: str) -> None:
    query, (widget, value) = HIDDEN.get(name, ({}, CHANGES.get(name)))
    app = small_app(**query)
    getattr(app, widget)(key=controls.key_of(name)).set_value(value).run()
    assert not app.exception
    assert not app.error
    asked = app.session_state["question"].spec
    assert getattr(asked, name) == value
    assert app.query_params[name] == FIELDS[name].write(value)


@pytest.mark.parametrize(
    ("name", "word", "query"),
    [
        ("gain", "auto", {}),
        ("gain", "critical", {}),
        ("bias_std", "default", {}),
        ("residual_scale", "1/sqrt(L)", {"residual": "identity"}),
    ],
)
def test_words_beside_numbers(name: str, word: str, query: dict[str, str]) -> None:
    app = small_app(**query)
    app.get_by_key(controls.key_of(name, "mode")).set_value(word).run()
    assert not app.exception
    assert app.query_params[name] == word
    app.get_by_key(controls.key_of(name, "mode")).set_value(controls.NUMBER).run()
    assert app.session_state["question"].spec == Spec(depth=5, width=16, **query)


def test_every_control_offers_only_what_its_field_allows() -> None:
    for name, field in FIELDS.items():
        control = controls.control_of(field)
        for value in (control.low, control.high, *control.words):
            if value is not None:
                field.check(name, value)


def test_one_width_per_layer() -> None:
    app = small_app(width="8,16,32,16,8")
    assert app.session_state["question"].spec.width == (8, 16, 32, 16, 8)
    app.text_input(key=controls.key_of("width", "list")).set_value("8, 16").run()
    assert not app.exception
    assert any("depth = 5" in error.value for error in app.error)
    app.text_input(key=controls.key_of("width", "list")).set_value("").run()
    assert app.session_state["question"].spec.width == 32


def test_a_refused_parameter_is_named_and_can_be_dismissed() -> None:
    app = small_app(activation="foo", seed="-1", gain="1.5")
    assert not app.exception
    assert "activation" in app.warning[0].value and "foo" in app.warning[0].value
    assert "seed" in app.warning[0].value
    assert app.session_state["question"].spec.gain == 1.5
    next(button for button in app.button if button.label == "Dismiss").click().run()
    assert not app.warning


def test_a_refused_parameter_is_shown_as_text_not_as_markdown() -> None:
    app = small_app(activation="[here](https://example.com)")
    assert "`[here](https://example.com)`" in app.warning[0].value


def test_unsupported_is_explained_calmly() -> None:
    app = small_app(residual="two_layer")
    assert not app.exception
    assert headline(app) == "Theory has no prediction for this network"
    assert "Supported:" in app.info[0].value
    assert not app.error


def test_without_a_prediction_the_networks_are_still_measured() -> None:
    app = small_app(norm="batch", batch_size="3")
    assert not app.exception
    assert "Supported:" in app.info[0].value
    fields = {layer["encoding"].get("y", {}).get("field") for layer in chart_specs(app)[0]["layer"]}
    assert "measured" in fields and "predicted" not in fields


def test_values_that_do_not_go_together_are_named_at_the_field() -> None:
    app = small_app(norm="batch")
    app.number_input(key=controls.key_of("input_correlation")).set_value(1.0).run()
    assert not app.exception
    assert headline(app) == "This network is not allowed"
    assert len(app.error) == 2  # at the field, and on the page
    assert "input_correlation" in app.error[0].value


def test_second_moments_and_the_median_on_request() -> None:
    app = small_app(moment="mean_square", statistic="median")
    assert not app.exception
    titles = [spec["layer"][0]["encoding"]["y"]["title"] for spec in chart_specs(app)]
    assert all("mean square" in title for title in titles)
    app.get_by_key("setting_moment").set_value("rms").run()
    assert "moment" not in app.query_params
    assert app.query_params["statistic"] == "median"


def test_a_dear_measurement_waits_to_be_asked() -> None:
    app = open_app(depth="60", width="700", networks="64")
    label = next(button.label for button in app.button if button.label.startswith("Measure"))
    assert label.startswith("Measure 64 networks (about ")
    assert app.metric[3].value == "–"


def test_measuring_on_request_and_cancelling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "AUTO_SECONDS", 0.0)
    app = small_app()
    next(button for button in app.button if button.label.startswith("Measure")).click().run()
    assert app.metric[3].value.endswith("σ")
    spec, settings = app.session_state["question"].spec, app.session_state["question"].settings
    app.session_state["cancelled"] = runner.key_of(spec, settings)
    del app.session_state["measured"]
    app.run()
    assert app.metric[3].value == "–"


def test_a_network_too_large_to_measure_is_still_predicted() -> None:
    app = open_app(depth="10", width="1000000")
    assert not app.exception
    assert headline(app).startswith("The gradient shrinks ×0.71")
    assert any("does not fit" in caption.value for caption in app.caption)


def test_back_button_reads_the_url_again() -> None:
    app = small_app()
    app.query_params = {**SMALL, "activation": "tanh"}
    app.run()
    assert app.session_state["question"].spec.activation == "tanh"
    assert app.selectbox(key=controls.key_of("activation")).value == "tanh"


def test_one_network_has_no_standard_error() -> None:
    app = small_app(networks="1", norm="batch")
    assert not app.exception
    assert app.metric[3].value == "–"
    assert app.metric[3].delta == "needs two networks or more"


def test_presets_set_every_control() -> None:
    if not controls.PRESETS:
        pytest.skip("no presets yet")
    app = small_app()
    app.selectbox(key="preset").set_value("critical").run()
    assert not app.exception
    assert app.session_state["question"].spec == controls.PRESETS["critical"].spec
    app.selectbox(key=controls.key_of("activation")).set_value("tanh").run()
    assert app.selectbox(key="preset").value is None


@pytest.mark.parametrize("query", [{}, {"gain": "critical", "activation": "gelu"}, {"width": "3,4,5,6,7"}])
def test_query_round_trip(query: dict[str, str]) -> None:
    spec, settings, refused = state.read_query({**SMALL, **query, "seed": "7", "dtype": "float32"})
    assert not refused
    again = state.read_query(state.write_query(spec, settings))
    assert again == (spec, settings, [])


def test_settings_outside_their_range_are_refused() -> None:
    _, settings, refused = state.read_query({"networks": "100000", "dtype": "int8"})
    assert settings == state.Settings()
    assert [error.field for error in refused] == ["networks", "dtype"]
    assert all(isinstance(error, SpecError) for error in refused)


def test_the_shown_snippet_runs(capsys: pytest.CaptureFixture[str]) -> None:
    code = small_app(activation="tanh", gain="5/3").code[0].value
    exec(compile(code, "<snippet>", "exec"), {})
    assert "2 networks, seed 0" in capsys.readouterr().out


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def test_no_torch_in_the_app() -> None:
    for path in sorted((ROOT / "app").rglob("*.py")):
        assert not {name for name in _imports(path) if name.split(".")[0] == "torch" or "measure." in name}, path


@pytest.mark.parametrize(("extra", "loads"), [("", False), ("import torch\n", True)])
def test_predicting_in_the_app_loads_no_torch(extra: str, loads: bool) -> None:
    """The second case shows that the check can fail."""
    code = (
        "import sys\n"
        "from app import controls, runner, state\n"
        "from app.views import explore\n"
        "from gradcore import charts\n"
        "from gradcore.spec import Spec\n"
        "profile = runner.predict(Spec())\n"
        "charts.chart('forward', profile)\n"
        "assert charts.takeaway(profile)\n"
        f"{extra}"
        "sys.exit(3 if 'torch' in sys.modules else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == (3 if loads else 0), done.stderr
