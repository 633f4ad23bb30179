"""The Explore page without a browser: verdict and fixes, numbers, charts, tabs, measuring, and every refusal."""

from __future__ import annotations

import ast
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("streamlit")
from streamlit.testing.v1 import AppTest

import gradcore as gc
from app.parts import verdict_box
from app.parts.words import estimate_text, seconds_text
from gradcore.charts import MAIN
from gradcore.estimates import Estimate
from gradcore.spec import Spec
from gradcore.verdict import KINDS
from tests.app.pages import ROOT, asked, button, captions, chart_specs, headline, labels, open_app, small_app


@pytest.fixture(scope="module")
def default() -> AppTest:
    return open_app()


# --- the verdict and its fixes -------------------------------------------------------------------------------


def test_the_first_view_says_what_happens(default: AppTest) -> None:
    assert not default.exception
    verdict = gc.diagnose(gc.predict(Spec()))
    assert headline(default) == verdict.sentence
    assert "×0.71 per layer" in headline(default) and "4.2e-8" in headline(default)
    assert ":red-badge[:material/trending_down: Vanishing]" in "".join(m.value for m in default.markdown)
    for detail in verdict.details:
        assert detail.text() in captions(default)
    assert "50 layers × 256 units · relu · xavier_normal at gain 1" in captions(default)
    assert default.query_params == {}


def test_every_kind_of_verdict_has_a_look() -> None:
    assert set(verdict_box.LOOKS) == set(KINDS)
    for looks in ("word", "icon"):
        assert len({getattr(look, looks) for look in verdict_box.LOOKS.values()}) == len(KINDS)


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ({"gain": "2", "depth": "50"}, "exploding"),
        ({"activation": "linear", "init": "normal", "depth": "100", "width": "400"}, "overflow"),
        ({"norm": "layer", "norm_beta": "-4"}, "dead"),
        ({"init": "kaiming_normal"}, "stable"),
    ],
)
def test_the_badge_is_the_verdict(query: dict[str, str], kind: str) -> None:
    app = open_app(networks="1", **query)
    assert not app.exception
    look = verdict_box.LOOKS[kind]
    assert f":{look.color}-badge[{look.icon} {look.word}]" in "".join(m.value for m in app.markdown)
    assert any(label.startswith("Fix: ") for label in labels(app)) == (kind != "stable")


def test_one_click_mends_the_network_and_one_takes_it_back() -> None:
    app = open_app(networks="1")
    fix = gc.diagnose(gc.predict(Spec())).fixes[0]
    button(app, "Fix: ").click().run()
    assert not app.exception
    assert asked(app) == fix.spec
    assert gc.diagnose(gc.predict(asked(app))).stable
    assert headline(app) == fix.verdict.sentence
    assert "All 50 layers are usable" in captions(app) and "Mended: set the gain to 1.414." in captions(app)
    assert app.query_params["gain"] == repr(fix.spec.gain)
    assert not any(label.startswith(("Fix", "More")) for label in labels(app))
    button(app, "Undo the fix").click().run()
    assert asked(app) == Spec()
    assert "Undo the fix" not in labels(app)


def test_every_further_fix_says_its_cost_and_loads_its_network() -> None:
    first, *others = gc.diagnose(gc.predict(Spec())).fixes
    assert others
    app = open_app(networks="1")
    assert f"More fixes ({len(others)})" in [block.proto.popover.label for block in app.get("popover")]
    for fix in others:
        assert fix.cost.text() in captions(app)
    app.button(key=f"fix_{others[0].code}").click().run()
    assert asked(app) == others[0].spec != first.spec


def test_where_nothing_mends_it_the_page_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc.Verdict, "iter_fixes", lambda verdict: iter(()))
    app = small_app(depth="60", gain="0.7")
    assert not app.exception
    assert "No single change that was tried" in captions(app)
    assert not any(label.startswith(("Fix", "More", "Looking")) for label in labels(app))


def test_a_drifting_but_stable_network_says_up_to_which_depth() -> None:
    app = open_app(networks="1", activation="tanh", gain="5/3")
    assert ":green-badge" in "".join(m.value for m in app.markdown)
    assert "layers would leave the usable factor" in captions(app)


# --- the four numbers ----------------------------------------------------------------------------------------


def test_four_numbers_predicted_and_measured(default: AppTest) -> None:
    assert [metric.value for metric in default.metric] == ["×0.707", "×4.21e-8", "4.21e-8", "14 of 50"]
    assert all(metric.delta.startswith("measured ") for metric in default.metric)
    assert all("±" in metric.delta for metric in default.metric[:3])
    assert all(metric.help for metric in default.metric)
    assert "×0.500" in default.metric[0].help  # the mean square


def test_the_median_on_request_in_numbers_too() -> None:
    mean, median = (open_app(networks="2", depth="40", width="32", statistic=s) for s in ("mean", "median"))
    assert mean.metric[1].value != median.metric[1].value
    assert mean.metric[1].delta != median.metric[1].delta


def test_one_layer_has_no_factor_per_layer() -> None:
    app = small_app(depth="1")
    assert not app.exception
    assert app.metric[0].value == "–" and app.metric[0].delta == "one layer only"
    assert app.metric[3].value == "1 of 1"


def test_a_number_format_that_breaks_is_named() -> None:
    app = small_app(activation="linear", init="normal", depth="20", width="64", dtype="float16")
    assert app.metric[2].delta == "not finite in float16"
    assert app.metric[1].delta.startswith("measured ")


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(math.log(0.7064), 0.0014 / 0.7064), "0.7064 ± 0.0014"),
        (Estimate(math.log(0.7064), 0.003 / 0.7064), "0.706 ± 0.003"),
        (Estimate(math.log(4e-8), 0.1), "(4.0 ± 0.4)e-8"),
        (Estimate(math.log(2e-9), 4.0), "2.0e-9 ×÷ 55"),
        (Estimate(math.log(256.0), 0.05), "256 ± 13"),
        (Estimate(math.log(2.0), 1e-16), "2.0000 ± 2e-16"),
        (Estimate(math.log(2.0), 0.0), "2.0000"),
        (Estimate(math.log(2.0), math.nan), "2.00"),
        (Estimate(math.log(2.0)), "2.00"),
        (Estimate(-math.inf, 0.0), "0"),
        (Estimate(math.nan, math.nan), "–"),
        (Estimate(-1500 * math.log(10.0), 0.1), "(1.00 ± 0.10)e-1500"),
    ],
)
def test_numbers_with_their_errors(estimate: Estimate, text: str) -> None:
    assert estimate_text(estimate) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0002, "1 ms"), (0.0123, "12 ms"), (0.42, "0.4 s"), (6.9, "7 s"), (600.0, "10 min"), (1e4, "3 h")],
)
def test_times(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


# --- charts and tabs -----------------------------------------------------------------------------------------


def test_both_charts_carry_prediction_and_measurement(default: AppTest) -> None:
    specs = chart_specs(default)[: len(MAIN)]
    assert len(specs) == len(MAIN) == 2
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
    assert texts[1].startswith("Gradients vanish")


def test_second_moments_and_the_median_on_request() -> None:
    app = small_app(moment="mean_square", statistic="median")
    assert not app.exception
    titles = [spec["layer"][0]["encoding"]["y"]["title"] for spec in chart_specs(app)]
    assert all("mean square" in title for title in titles)
    app.get_by_key("setting_moment").set_value("rms").run()
    assert "moment" not in app.query_params
    assert app.query_params["statistic"] == "median"


# --- weight --------------------------------------------------------------------------------------------------


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
        "assert charts.describe('forward', profile)\n"
        f"{extra}"
        "sys.exit(3 if 'torch' in sys.modules else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == (3 if loads else 0), done.stderr
