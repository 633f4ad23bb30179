"""The Chain page: every control and preset, what it says about a chain, and its part of the link."""

from __future__ import annotations

import math
from dataclasses import fields
from itertools import pairwise

import pytest

pytest.importorskip("streamlit")
from streamlit.testing.v1 import AppTest

from app import state
from app.parts import chain_controls, chain_panels, chain_story
from gradcore.activations import ACTIVATIONS
from gradcore.charts.chain import factor_chart, nudge_chart, slope_chart, training_chart
from gradcore.charts.chain_laws import balance_chart, histogram_chart, interval_chart
from gradcore.charts.chain_words import KINDS, headline, kind_of, why
from gradcore.equations.chain import product_latex, ratio_latex
from gradcore.experiments import chain
from gradcore.experiments.chain import PRESETS, Chain
from gradcore.experiments.chain.question import VIEWS, ChainQuestion
from tests.app import pages
from tests.app.pages import button, captions, chart_specs

TITLES = {
    "early": "How fast each neuron learns: size of dC/db",
    "nudge": "A change of b₁, followed to the cost",
    "derivative": "The slope of the activation",
    "random": "The product of all factors, over random chains",
    "interval": "Width of the interval of a in which |w σ′(w a + b)| ≥ 1",
    "balance": "Share of chains that are balanced",
    "training": "The factors while the chain is trained",
}


def alone() -> None:
    from app import controls
    from app.views import chain

    controls.ask("chain")
    chain.page()
    controls.sidebar()


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every view in little time."""
    monkeypatch.setattr(chain_panels, "DRAWS", 500)
    monkeypatch.setattr(chain_panels, "BALANCE_DRAWS", 200)
    monkeypatch.setattr(chain_panels, "SCALES", (1.0,))


def open_page(**query: str) -> AppTest:
    app = AppTest.from_function(alone, default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def asked(app: AppTest) -> ChainQuestion:
    return ChainQuestion(**{f.name: app.session_state[chain_controls.key_of(f.name)] for f in fields(ChainQuestion)})


def widget(app: AppTest, kind: str, name: str):
    return getattr(app, kind)(key=chain_controls.key_of(name))


@pytest.mark.parametrize("code", PRESETS)
def test_every_presets_link_opens_it(code: str) -> None:
    preset = PRESETS[code]
    app = open_page(**preset.query)
    assert not app.exception and not app.warning
    one = preset.question.chain()
    assert asked(app) == preset.question
    assert pages.headline(app) == headline(one).text() and why(one).text() in captions(app)
    assert preset.sentence in captions(app)
    assert app.session_state[chain_controls.PRESET_KEY] == code
    assert app.latex[0].value.strip("$\n ") == product_latex(one)
    first, second = (spec["title"] for spec in chart_specs(app))
    assert first == "The factors of dC/db₁, one for each neuron" and second == TITLES[preset.question.view]


def test_a_press_on_a_preset_loads_it() -> None:
    app = open_page(chain_seed="7")
    assert app.session_state[chain_controls.PRESET_KEY] is None
    app.button_group(key=chain_controls.PRESET_KEY).set_value("exploding").run()
    assert asked(app) == PRESETS["exploding"].question and not app.exception
    assert "explodes" in pages.headline(app) and ":red-badge[:material/trending_up: Explodes]" in app.markdown[0].value


@pytest.mark.parametrize("code", ACTIVATIONS)
def test_every_activation_opens(code: str) -> None:
    app = open_page(chain_activation=code, chain_view="interval")
    one = chain.random_chain(activation=code)
    assert not app.exception and pages.headline(app) == headline(one).text()


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_opens_on_chains_of_any_length(view: str) -> None:
    for length in ("1", "30"):
        app = open_page(chain_length=length, chain_view=view, chain_activation="relu", chain_weight_std="2")
        assert not app.exception
        assert [spec["title"] for spec in chart_specs(app)][1] == TITLES[view]


def test_every_control_changes_the_question() -> None:
    app = open_page()
    for kind, name, value in (
        ("number_input", "length", 6),
        ("selectbox", "activation", "tanh"),
        ("number_input", "weight_std", 2.5),
        ("number_input", "bias_std", 0.25),
        ("number_input", "input", -1.5),
        ("number_input", "target", 2.0),
        ("number_input", "seed", 3),
        ("selectbox", "view", "nudge"),
        ("number_input", "nudge", 0.02),
        ("selectbox", "view", "training"),
        ("number_input", "rate", 0.5),
        ("text_input", "weights", "1, 2, 3, 4, 5, 6"),
        ("text_input", "biases", "cancel"),
    ):
        widget(app, kind, name).set_value(value).run()
        assert not app.exception and getattr(asked(app), name) == value
    assert asked(app) == ChainQuestion(
        6, 2.5, 0.25, "1, 2, 3, 4, 5, 6", "cancel", "tanh", -1.5, 2.0, 3, 0.02, 0.5, "training"
    )
    assert pages.headline(app) == headline(asked(app).chain()).text()


def test_numbers_follow_the_length_and_can_be_edited() -> None:
    app = open_page(chain_weights="1,2,3,4")
    widget(app, "number_input", "length").set_value(5).run()
    assert asked(app).weights == "1, 2, 3, 4, 4" and not app.error
    button(app, "Edit the numbers").click().run()
    assert asked(app) == ChainQuestion(5, weights="1, 2, 3, 4, 4").written_out()
    assert button(app, "Edit the numbers").disabled and not asked(app).drawn
    button(app, "Draw another chain").click().run()
    assert (asked(app).seed, asked(app).weights, asked(app).biases) == (1, "", "")
    button(app, "Make it explode").click().run()
    assert asked(app) == PRESETS["exploding"].question and button(app, "Make it explode").disabled


def test_numbers_that_do_not_fit_are_named_and_nothing_else_breaks() -> None:
    app = open_page(chain_weights="1,2,3")
    assert not app.exception and "3 were given for 4 neurons" in app.error[0].value
    assert "not allowed" in pages.headline(app)
    widget(app, "text_input", "weights").set_value("1, zwei").run()
    assert not app.exception and "one number for all neurons" in app.error[0].value
    button(app, "Edit the numbers").click().run()
    assert not app.exception and asked(app).weights == "1, zwei"
    widget(app, "text_input", "weights").set_value("2").run()
    assert not app.error and pages.headline(app) == headline(ChainQuestion(weights="2").chain()).text()


def test_a_bad_link_is_named() -> None:
    app = open_page(chain_length="1000", chain_activation="swish", chain_biases="x", chain_seed="5")
    assert not app.exception and asked(app) == ChainQuestion(seed=5)
    said = app.warning[0].value
    assert all(f"`chain_{name}`" in said for name in ("length", "activation", "biases")) and "`1000`" in said


def test_the_settings_are_the_questions_fields() -> None:
    settings = state.Settings()
    for field in fields(ChainQuestion):
        assert getattr(settings, f"chain_{field.name}") == field.default
        assert f"chain_{field.name}" in state.READERS
    link = state.write_query(pages.Spec(), state.Settings(chain_length=7, chain_weights="2, 3"))
    assert link == {"chain_length": "7", "chain_weights": "2, 3"}
    assert state.read_query(link)[1:] == (state.Settings(chain_length=7, chain_weights="2, 3"), [])


def test_the_figures_below_the_charts() -> None:
    random = captions(open_page(**PRESETS["random"].query))
    assert "predicted -22.431 ± 3.382" in random and "68.3%" in random and "19.7%" in random and "-0.63518" in random
    assert "at most 0.25, at z = 0" in captions(open_page(**PRESETS["slope"].query))
    assert "only if |w| is at least 4." in captions(open_page(**PRESETS["interval"].query))
    assert "14% are balanced" in captions(open_page(**PRESETS["balance"].query))
    table = open_page(**PRESETS["nudge"].query).dataframe[0].value
    errors = [float(text) for text in table["error"]]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-8
    early = open_page(**PRESETS["early_late"].query)
    assert early.latex[1].value.strip("$\n ") == ratio_latex(
        chain.early_against_late(PRESETS["early_late"].question.chain())
    )


def test_no_sidebar_and_the_network_is_kept() -> None:
    app = open_page(activation="tanh", depth="7")
    assert not app.sidebar.number_input and pages.asked(app) == pages.Spec(activation="tanh", depth=7)


# --- words, equations and charts ------------------------------------------------------------------------------


def test_every_kind_of_chain_has_its_sentence_and_look() -> None:
    found = {
        "vanishes": PRESETS["product"].question.chain(),
        "explodes": chain.exploding(),
        "balanced": Chain((1.0, 4.0), (0.0, 0.0)),
        "zero": Chain((1.0, -1.0), (0.0, 0.0), activation="relu"),
        "single": Chain((1.0,), (0.0,)),
    }
    assert set(found) == set(KINDS) == set(chain_story.LOOKS)
    assert {kind: kind_of(one) for kind, one in found.items()} == {kind: kind for kind in KINDS}
    assert "w₂σ′(z₂) is exactly 0" in headline(found["zero"]).text()
    flat = Chain((1.0, 1.0), (0.0, 0.0), input=0.0, activation="linear")
    assert kind_of(flat) == "zero" and "cost does not change" in headline(flat).text()
    assert "15625 times faster" in headline(found["explodes"]).text() or "1.56e4" in headline(found["explodes"]).text()


def test_the_equation_marks_every_factor() -> None:
    text = product_latex(chain.exploding(3))
    assert text.count(r"_{25 \,>\, 1}") == 2 and r"_{0.25 \,<\, 1}" in text
    assert r"\ldots" in product_latex(chain.exploding(20)) and r"|-" in product_latex(chain.random_chain(4))
    assert r"\,=\, 1" in product_latex(Chain((1.0, 1.0), (0.0, 0.0), activation="linear"))


def rows(chart) -> list[dict]:
    drawn = chart.to_dict(validate=False)
    return [row for data in drawn["datasets"].values() for row in data]


def test_the_charts_hold_the_librarys_numbers() -> None:
    one = chain.random_chain(5, seed=3)
    sizes = {row["neuron"]: row["size"] for row in rows(factor_chart(one)) if "factor" in row}
    assert sizes == pytest.approx({j: math.log10(abs(f)) for j, f in enumerate(one.factors, start=1)})
    steps = [row for row in rows(nudge_chart(chain.nudge(one, 0.1))) if row["series"] == "exact change"]
    assert [row["step"] for row in steps][:3] == ["Δb₁", "Δz₁", "Δa₁"] and steps[-1]["step"] == "ΔC"
    assert any(row.get("text") == "largest: 0.25" for row in rows(slope_chart(one)))
    assert any("0.4477 at |w| = 6.894" in str(row.get("text")) for row in rows(interval_chart(one)))
    followed = [row for row in rows(training_chart(chain.train(one, 1.0, 20))) if "step" in row]
    assert {row["neuron"] for row in followed} == {2, 3, 4, 5}


def test_the_charts_of_random_chains() -> None:
    law, draws = chain.predict_chains(), chain.draw_chains(6, draws=2000, seed=1)
    found = rows(histogram_chart(draws, law, 6))
    drawn = sorted((row["at"], row["share"]) for row in found if row.get("series") == "drawn")
    area = sum(share * (after - at) for (at, share), (after, _) in pairwise(drawn))
    assert 0.98 < area <= 1.0 + 1e-9
    points = [row for row in rows(balance_chart({1.0: law}, {1.0: draws}, [2, 3, 6])) if "length" in row]
    assert len(points) == 6 and {row["length"] for row in points} == {2, 3, 6}
    dead = chain.predict_chains(chain.Normal(0.0, 0.0))
    assert any("exactly 0" in str(row.get("text")) for row in rows(histogram_chart(draws, dead, 6)))


# --- in a browser ---------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_the_page_in_a_browser(chromium, server: str) -> None:
    from tests.app.browser import Visit

    with Visit(chromium, server, "?chain_length=5&chain_activation=tanh&depth=5&width=16&networks=2") as visit:
        visit.page.get_by_role("link", name="Chain").click()
        visit.page.get_by_text("Neurons in a row: 5 · tanh").wait_for()
        visit.wait_for_charts()
        visit.page.locator(".katex").first.wait_for()
        visit.page.get_by_role("radio", name="1.6 Exploding chain").click()
        visit.page.get_by_role("heading", name="The gradient explodes").wait_for()
        visit.page.wait_for_url("**chain_biases=cancel**")
        assert visit.query()["chain_weights"] == ["100"] and "chain_length" not in visit.query()
        visit.page.go_back()
        visit.page.get_by_text("Neurons in a row: 5 · tanh").wait_for()
        visit.page.get_by_role("link", name="Explore").click()
        visit.page.get_by_text("16 units").first.wait_for()  # the network is kept meanwhile
        assert visit.complaints == []
