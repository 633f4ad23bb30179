"""The Initializers page: every law opens, its button loads it, table and chart hold the library's numbers."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("streamlit")
from streamlit.testing.v1 import AppTest

import gradcore as gc
from app import runner
from app.parts import schemes as part
from app.parts.verdict_box import LOOKS
from gradcore.charts import initializer as charts
from gradcore.guide.schemes import scheme, schemes, with_init
from gradcore.initializers import INITIALIZERS, SCALINGS
from gradcore.measure.weights import sample_weights
from gradcore.spec import Spec
from tests.app.pages import asked, button, captions, chart_specs, headline, labels

SMALL = {"depth": "6", "width": "40", "activation": "tanh", "sparsity": "0.2"}
SPEC = Spec(depth=6, width=40, activation="tanh", sparsity=0.2)


def alone() -> None:
    from app import controls
    from app.views import initializers

    controls.ask("initializers")
    initializers.page()
    controls.sidebar()


def open_page(**query: str) -> AppTest:
    app = AppTest.from_function(alone, default_timeout=60)
    for name, value in {**SMALL, **query}.items():
        app.query_params[name] = value
    return app.run()


def open_tab(title: str, **query: str) -> AppTest:
    app = AppTest.from_function(alone, default_timeout=60)
    for name, value in {**SMALL, **query}.items():
        app.query_params[name] = value
    app.session_state["initializers_tab"] = title
    return app.run()


@pytest.fixture(scope="module")
def default() -> AppTest:
    return open_page()


@pytest.mark.parametrize("code", INITIALIZERS)
def test_every_initializer_opens_with_its_weights_and_its_verdict(code: str) -> None:
    app = open_page(init=code, seed="4")
    assert not app.exception
    spec = SPEC.replace(init=code)
    verdict = gc.diagnose(gc.predict(spec))
    assert headline(app).lower() == f"{code}: {verdict.sentence}".lower()
    drawn = sample_weights(spec, 2, seed=4)
    assert part.weights_text(scheme(spec), drawn, 4) in captions(app)
    factors, weights = (chart["title"] for chart in chart_specs(app))
    assert factors.startswith("Factor per layer") and weights == f"40 × 40 weights of {code}"


def test_a_button_for_each_with_its_verdict_beside_it(default: AppTest) -> None:
    assert not default.exception
    loads = [label for label in labels(default) if label.startswith("Load ") or label.endswith("(loaded)")]
    assert sorted(label.removeprefix("Load ").removesuffix(" (loaded)") for label in loads) == sorted(INITIALIZERS)
    shown = [m.value for m in default.markdown]
    assert all(f"**{title}**" in shown for title in SCALINGS.values())
    badges = [value for value in shown if "-badge[" in value][1:]  # the first is the headline's
    expected = [LOOKS[row.verdict.kind] for row in schemes(SPEC) if row.verdict is not None]
    assert badges == [f":{look.color}-badge[{look.icon} {look.word}]" for look in expected]


@pytest.mark.parametrize("code", [code for code in INITIALIZERS if code != "xavier_normal"])
def test_its_button_loads_it_at_its_own_gain(code: str) -> None:
    app = open_page()
    app.button(key=f"load_{code}").click().run()
    assert not app.exception
    assert asked(app) == with_init(SPEC, code)
    assert app.button(key=f"load_{code}").disabled and app.button(key=f"load_{code}").label == f"{code} (loaded)"


def test_all_at_the_sidebars_gain() -> None:
    app = open_page(gain="1.4")
    app.segmented_control(key=part.GAIN_KEY).set_value("given").run()
    assert app.button(key="load_xavier_normal").disabled  # the sidebar's own
    app.button(key="load_lecun_normal").click().run()
    assert asked(app) == SPEC.replace(init="lecun_normal", gain=1.4)


def test_the_table_holds_the_librarys_numbers() -> None:
    app = open_tab("Numbers")
    assert not app.exception
    table = app.dataframe[0].value
    rows = schemes(SPEC)
    assert list(table["init"]) == [row.entry.code for row in rows]
    for (_, shown), row in zip(table.iterrows(), rows, strict=True):
        assert shown["std"] == row.std and shown["variance"] == f"{row.variance:.3g}"
        assert shown["backward"] == part.factors_text(row.log_backward)
        assert shown["forward"] == part.factors_text(row.log_forward)
        assert shown["verdict"] == LOOKS[row.verdict.kind].word
        assert shown["family"] == SCALINGS[row.entry.scaling].partition(":")[0]
    assert "fan-in n = 40, fan-out m = 40" in captions(app)


def test_factors_in_words() -> None:
    assert part.factors_text(0.5 * math.log(0.5)) == "×0.71 (0.50)"
    assert part.factors_text(math.nan) == "–" and part.factors_text(-math.inf) == "×0 (0)"


def test_the_derivation_has_live_numbers() -> None:
    app = open_tab("Derivation", init="kaiming_normal", gain="1.1")
    assert not app.exception
    formulas = [latex.value for latex in app.latex]
    assert any(r"\mathrm{Var}\,W" in text for text in formulas) and any("40" in text for text in formulas)


def test_refused_laws_say_why() -> None:
    app = open_tab("Derivation", init="eye", norm="layer")
    assert not app.exception
    assert headline(app) == "eye: theory has no prediction for this network"
    assert "Supported" in captions(app)
    table = open_tab("Numbers", init="eye", norm="layer").dataframe[0].value.set_index("init")
    assert "Supported" in table.loc["eye", "verdict"] and table.loc["eye", "forward"] == "–"


def test_one_layer_is_no_error() -> None:
    app = open_page(depth="1", init="orthogonal")
    assert not app.exception and len(chart_specs(app)) == 2


def test_large_matrices_are_drawn_when_asked() -> None:
    app = open_page(width="1100", depth="2")
    assert len(chart_specs(app)) == 1
    button(app, "Draw the 1,210,000 weights").click().run()
    assert not app.exception and len(chart_specs(app)) == 2
    refused = open_page(width="100000", depth="2")
    button(refused, "Draw the ").click().run()
    assert not refused.exception and "take too long" in captions(refused)


def test_without_torch_the_rest_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ModuleNotFoundError(name="torch")

    monkeypatch.setattr(runner, "start_torch", missing)
    app = open_page()
    assert not app.exception and "needs the Python package torch" in captions(app)
    assert len(chart_specs(app)) == 1


# --- the charts themselves -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("moment", "power"), [("rms", 1.0), ("mean_square", 2.0)])
def test_dots_are_the_factors(moment: str, power: float) -> None:
    rows = schemes(SPEC)
    chart = charts.factor_chart(rows, "normal", moment=moment).to_dict(validate=False)
    dots = [row for data in chart["datasets"].values() for row in data if "rms" in row]
    found = {(row["init"], row["series"]): row for row in dots}
    for row in rows:
        for series, log in (("signal, forward", row.log_forward), ("gradient, backward", row.log_backward)):
            dot, at = found[row.entry.code, series], power * log / math.log(10)
            if "beyond" in dot:
                assert abs(at) > charts.DECADES * power and abs(dot["at"]) == charts.DECADES * power
            else:
                assert dot["at"] == pytest.approx(at)


def test_the_exact_std_is_drawn_on_the_weights() -> None:
    row = scheme(SPEC)
    sample = sample_weights(SPEC, 2)
    chart = charts.weight_chart(row, sample.edges, sample.counts).to_dict(validate=False)
    rows = [r for data in chart["datasets"].values() for r in data]
    bins, ends = [r for r in rows if "share" in r], [r for r in rows if "share" not in r]
    assert sorted(r["low"] for r in ends) == pytest.approx([-row.std, row.std])
    assert sum(r["share"] for r in bins) == pytest.approx(1.0)


# --- in a browser --------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_the_page_in_a_browser(chromium, server: str) -> None:
    from tests.app.browser import Visit

    with Visit(chromium, server, "?depth=30&width=32&networks=2") as visit:
        visit.page.get_by_role("link", name="Initializers").click()
        visit.page.get_by_role("heading", name="xavier_normal: gradients vanish").wait_for()
        visit.wait_for_charts()
        visit.page.get_by_role("button", name="Load kaiming_normal", exact=True).click()
        visit.page.get_by_role("heading", name="kaiming_normal: signals and gradients survive").wait_for()
        assert visit.query()["init"] == ["kaiming_normal"]
        assert visit.complaints == []
