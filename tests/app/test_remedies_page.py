"""The Remedies page: every preset and control, the board's figures, its measurement, clipping, penalties, the link."""

from __future__ import annotations

import json
import math
from dataclasses import fields

import numpy as np
import pytest

pytest.importorskip("streamlit")
pytest.importorskip("sklearn")
pytest.importorskip("torch")
from streamlit.testing.v1 import AppTest

from app import runner, state
from app.parts import remedies_activations, remedies_controls, remedies_measuring, remedies_training
from app.parts.words import estimate_text
from gradcore.activations import ACTIVATIONS
from gradcore.experiments.board import board, factors, measure_board
from gradcore.experiments.board_remedies import BOARD
from gradcore.experiments.board_words import headline
from gradcore.experiments.clip_study import clip_gradients, layer_gradients
from gradcore.experiments.clipping import propose_threshold
from gradcore.experiments.data import digits
from gradcore.experiments.penalty_study import pooled, shares_over_seeds
from gradcore.experiments.regularization import predicted_share
from gradcore.experiments.remedies_question import PREFIX, PRESETS, READERS, RemediesQuestion
from gradcore.experiments.training import train_all
from gradcore.spec import Spec
from tests.app import pages
from tests.app.pages import SMALL, button, captions, chart_specs

TRAINED = {"remedies_steps": "6", "remedies_hidden": "2", "remedies_width": "8"}
CLIPPING = {**TRAINED, "remedies_view": "clipping"}
PENALTIES = {**TRAINED, "remedies_view": "penalties"}
DATA = digits()


def alone() -> None:
    from app import controls
    from app.views import remedies

    controls.ask("remedies")
    remedies.page()
    controls.sidebar()


def open_page(**query: str) -> AppTest:
    app = AppTest.from_function(alone, default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def asked(app: AppTest) -> RemediesQuestion:
    held = {f.name: app.session_state[remedies_controls.key_of(f.name)] for f in fields(RemediesQuestion)}
    return RemediesQuestion(**held)


def switch(app: AppTest, code: str):
    return app.toggle(key=f"remedies_switch_{code}")


def texts(app: AppTest) -> str:
    return "\n".join(one.value for one in app.markdown)


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is measured or trained unasked."""
    monkeypatch.setattr(runner, "AUTO_SECONDS", 0.0)
    monkeypatch.setattr(remedies_training, "AUTO_SECONDS", 0.0)


# --- question, link, controls ---------------------------------------------------------------------------------


@pytest.mark.parametrize("code", PRESETS)
def test_every_presets_link_opens_it(code: str, untrained: None) -> None:
    preset = PRESETS[code]
    app = open_page(**preset.query)
    assert not app.exception and not app.warning and asked(app) == preset.question
    assert pages.asked(app) == preset.spec and preset.sentence in captions(app)
    assert app.session_state[remedies_controls.PRESET_KEY] == code
    if preset.question.view == "board":
        found = board(preset.spec, preset.question.codes, preset.question.choices)
        assert pages.headline(app) == headline(found)[0].text()
        assert {one for one in BOARD if switch(app, one).value} == set(preset.question.codes)
        assert app.sidebar.number_input and len(chart_specs(app)) == 2
    else:
        assert not app.sidebar.number_input and button(app, "Train 100 steps (about")


def test_the_settings_are_the_questions_fields() -> None:
    settings = state.Settings()
    assert set(READERS) == {entry.name for entry in fields(RemediesQuestion)}
    for entry in fields(RemediesQuestion):
        assert getattr(settings, PREFIX + entry.name) == entry.default
    link = {"gain": "2.0", "remedies_on": "residual", "remedies_alpha": "1/sqrt(L)", "remedies_depth": "7"}
    found = state.Settings(remedies_on="residual", remedies_alpha="1/sqrt(L)", remedies_depth=7)
    assert state.write_query(Spec(gain=2.0), found) == link and state.read_query(link) == (Spec(gain=2.0), found, [])


def test_a_bad_link_is_named(untrained: None) -> None:
    app = open_page(**SMALL, remedies_on="relu,tanh", remedies_alpha="3", remedies_limit="-1", remedies_seed="5")
    assert not app.exception and asked(app) == RemediesQuestion(seed=5)
    assert all(f"`remedies_{name}`" in app.warning[0].value for name in ("on", "alpha", "limit"))


def test_a_press_on_a_preset_loads_network_and_remedy(untrained: None) -> None:
    app = open_page(**SMALL)
    assert app.session_state[remedies_controls.PRESET_KEY] is None
    app.button_group(key=remedies_controls.PRESET_KEY).set_value("residual_exploding").run()
    assert not app.exception and pages.asked(app) == Spec(gain=2.0) and asked(app).codes == ("residual",)
    assert "explode" in pages.headline(app)
    app.button_group(key=remedies_controls.PRESET_KEY).set_value("clip_value").run()
    assert asked(app) == PRESETS["clip_value"].question and pages.asked(app) == Spec(gain=2.0)  # it stays
    app.button_group(key=remedies_controls.key_of("view")).set_value("board").run()
    assert not app.exception and asked(app).view == "board" and pages.asked(app) == Spec(gain=2.0)


def test_every_switch(untrained: None) -> None:
    app = open_page(**SMALL, activation="sigmoid")
    assert asked(app).codes == ("batch_norm", "residual") and drawn(app) == ["Batch norm", "Residual connections"]
    switch(app, "layer_norm").set_value(True).run()
    assert asked(app).codes == ("layer_norm", "residual")  # one norm
    switch(app, "relu").set_value(True).run()
    switch(app, "tanh").set_value(True).run()
    assert asked(app).codes == ("tanh", "layer_norm", "residual")  # one activation
    switch(app, "initialization").set_value(True).run()
    titles = [BOARD[code].title.text() for code in ("tanh", "layer_norm", "residual", "initialization")]
    assert drawn(app) == titles and not app.exception
    for code in ("tanh", "layer_norm", "residual", "initialization"):
        switch(app, code).set_value(False).run()
    assert asked(app).on == "none" and "all switched on" not in texts(app)
    assert drawn(app) == [] and len(chart_specs(app)) == 2 and not app.exception


def drawn(app: AppTest) -> list[str]:
    """The remedies that have a curve, by the legend of the page's first chart."""
    encoded = [layer["encoding"].get("color", {}) for layer in chart_specs(app)[0]["layer"]]
    return next((color["scale"]["domain"] for color in encoded if "scale" in color), [])


def test_alpha_and_depth(untrained: None) -> None:
    app = open_page(depth="40", width="16", remedies_on="residual,fewer_layers")
    app.button_group(key=remedies_controls.key_of("alpha")).set_value("0").run()
    assert asked(app).alpha == "0" and ":red-badge[:material/block: Dead]" in texts(app)
    slider = app.slider(key="remedies_depth_slider")
    assert slider.value == 14 and slider.max == 40 and "14 layers instead of 40" in captions(app)
    slider.set_value(5).run()
    assert asked(app).depth == 5 and "5 layers instead of 40" in captions(app) and not app.exception
    button(app, "Back to the largest usable depth").click().run()
    assert asked(app).depth is None and app.slider(key="remedies_depth_slider").value == 14


def test_every_activation_in_a_table(untrained: None, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {code: ACTIVATIONS[code] for code in ("relu", "sigmoid", "softplus")}
    monkeypatch.setattr("gradcore.experiments.board.ACTIVATIONS", few)
    app = open_page(**SMALL)
    assert not app.dataframe
    app.session_state[remedies_activations.OPEN] = True
    app.run()
    table = app.dataframe[0].value.set_index("activation")
    assert not app.exception and list(table.index) == list(few)
    assert table.loc["relu", "own"] == "×0.71 (0.50)" and table.loc["relu", "fitted"] == "×1.00 (1.0)"
    assert table.loc["relu", "start"] == "kaiming_normal, σ_w = 1.41"


def test_what_does_not_apply_says_why(untrained: None) -> None:
    app = open_page(depth="3", width="9,8,7", remedies_on="relu")
    assert not app.exception and switch(app, "residual").disabled and not switch(app, "relu").disabled  # to be put off
    said = captions(app)
    for reason in ("the layers differ in width", "the network has it already", "all 3 layers are usable"):
        assert f"Not here: {reason}." in said
    app = open_page(**SMALL, norm="batch", batch_size="3", remedies_on="layer_norm,residual")
    assert not app.exception and "no prediction" in pages.headline(app) and "B <= 3" in captions(app)


# --- the board and its measurement ----------------------------------------------------------------------------


def test_the_board_shows_predicted_and_measured() -> None:
    app = open_page(**SMALL, seed="3")
    assert not app.exception and button(app, "Draw other networks")
    found = board(Spec(depth=5, width=16), ("batch_norm", "residual"))
    measured = measure_board(found, networks=2, seed=3)
    said = texts(app)
    for entry in found.shown:
        mine, predicted = factors(measured[entry.code]), entry.factors
        assert predicted is not None
        assert f"Measured ×{estimate_text(mine.backward)}; signal ×{estimate_text(mine.forward)}" in said
        factor = math.exp(predicted.backward.log)
        assert f"Gradient **×{factor:.2f}** per layer in RMS (×{factor**2:.2f} in mean square)" in said
    for one in BOARD.values():
        assert one.does.text() in captions(app) and one.does_not.text() in captions(app)
    button(app, "Draw other networks").click().run()
    assert app.session_state["setting_seed"] == 4 and not app.exception


def test_a_measurement_is_asked_for_cancelled_and_refused(untrained: None) -> None:
    app = open_page(**SMALL, seed="11")
    assert "Not measured yet." in captions(app)
    button(app, "Measure 2 networks of each (about").click().run()
    assert not app.exception and texts(app).count("Measured ×") == 4
    switch(app, "initialization").set_value(True).run()
    assert texts(app).count("Measured ×") == 3  # together is another network, initialization is new
    spec = board(Spec(depth=5, width=16), asked(app).codes)
    settings = app.session_state["question"].settings
    app.session_state[remedies_measuring.WISH.cancelled] = remedies_measuring._key(spec, settings)
    app.run()
    assert texts(app).count("Measured ×") == 3
    button(app, "Measure 2 networks of each").click().run()
    assert texts(app).count("Measured ×") == 5
    large = open_page(depth="4", width="30000", remedies_on="none")
    assert not large.exception and "Not measured: too large to measure" in captions(large)


# --- clipping -------------------------------------------------------------------------------------------------


def test_clipping_shows_the_runs_norms() -> None:
    app = open_page(**CLIPPING)
    assert not app.exception and button(app, "Train from another seed")
    question = asked(app)
    norms = train_all(question.observed_run(DATA), DATA).series("clip_norm")
    limit = float(f"{propose_threshold(norms).proposed.limit:.4g}")
    share = float(np.mean(norms > limit))
    assert f"clips {share:.0%} of 6 steps and turns none: cosine 1.00" in pages.headline(app)
    titles = [json.dumps(spec["title"]) for spec in chart_specs(app)]
    assert len(titles) == 4 and "Observed norms" in titles[0] and "layer by layer" in titles[1]
    first = clip_gradients(layer_gradients(question.plain_run(DATA), DATA), "norm_2", limit)
    assert f"layer 1 has {first.ratios[0]:.3g} times" in captions(app)
    at = round(float(np.log10(np.median(norms))), 2)
    app.slider(key="remedies_limit_slider").set_value(at).run()
    assert asked(app).limit == float(f"{10**at:.4g}") and not app.exception
    assert f"clips {np.mean(norms > 10**at):.0%} of 6 steps" in pages.headline(app)
    app.button_group(key="remedies_limit_pick").set_value(5).run()
    assert asked(app).limit == 1.0 and "clips 100% of 6 steps" in pages.headline(app)
    app.number_input(key=remedies_controls.key_of("limit")).set_value(1e9).run()
    assert "clipping never acts here" in pages.headline(app) and not app.exception


@pytest.mark.parametrize("kind", ["norm_1", "norm_inf", "value"])
def test_every_kind_of_clipping(kind: str) -> None:
    app = open_page(**CLIPPING, remedies_clip=kind, remedies_limit="1")  # below all: the first step is cut
    assert not app.exception and len(chart_specs(app)) == 4
    said = "turns to a cosine of" if kind == "value" else "turns none"
    assert said in pages.headline(app)
    bars = app.get("vega_lite_chart")[1].proto.alt
    if kind == "value":
        assert (
            "Gaussian entries of the same size" in captions(app)
            and "cosine to the unclipped gradient 1.000" not in bars
        )
    else:
        assert "cosine to the unclipped gradient 1.000" in bars


def test_every_field_of_the_runs(untrained: None) -> None:
    app = open_page(**CLIPPING)
    assert "Train 6 steps to observe the norms" in pages.headline(app)
    numbers = {"hidden": 1, "width": 9, "rate": 0.5, "steps": 4, "seed": 2}
    choices = {"activation": "tanh", "weights": "scaled", "cost": "quadratic", "batch": "100", "clip": "norm_1"}
    for kind, values in (("number_input", numbers), ("selectbox", choices)):
        for name, value in values.items():
            getattr(app, kind)(key=remedies_controls.key_of(name)).set_value(value).run()
            assert not app.exception and getattr(asked(app), name) == value
    app.button_group(key=remedies_controls.key_of("view")).set_value("penalties").run()
    app.selectbox(key=remedies_controls.key_of("penalty")).set_value("l1").run()
    app.number_input(key=remedies_controls.key_of("strength")).set_value(0.5).run()
    spec = asked(app).penalized_run(DATA)
    assert (spec.l1, spec.l2, spec.steps, spec.cost, spec.batch) == (0.5, 0.0, 4, "quadratic", 100)
    assert spec.network.activation == "tanh" and "L1 at λ = 0.5" in pages.headline(app)


def test_a_training_is_asked_for_and_cancelled(untrained: None) -> None:
    app = open_page(**CLIPPING, remedies_seed="8")
    button(app, "Train 6 steps (about").click().run()
    assert not app.exception and len(chart_specs(app)) == 4 and button(app, "Train from another seed")
    app.number_input(key=remedies_controls.key_of("seed")).set_value(9).run()
    app.session_state[remedies_training.WISH.asked] = asked(app)
    app.session_state[remedies_training.WISH.cancelled] = asked(app)
    app.run()
    assert not chart_specs(app) and button(app, "Train 6 steps")


def test_a_run_that_breaks_off_is_said() -> None:
    app = open_page(**CLIPPING, remedies_activation="linear", remedies_rate="10000")
    assert not app.exception and "The unclipped run: Training stopped" in captions(app)


# --- penalties ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("penalty", ["l1", "l2", "l2_norm"])
def test_penalties_show_predicted_and_measured_share(penalty: str) -> None:
    app = open_page(**PENALTIES, remedies_penalty=penalty, remedies_activation="sigmoid", remedies_weights="scaled")
    assert not app.exception and len(chart_specs(app)) == 2
    spec = asked(app).penalized_run(DATA)
    expected = predicted_share(spec, DATA, networks=60)
    assert f"×{expected.share[0]:.3g} the gradient in layer 1" in pages.headline(app)
    shares = shares_over_seeds(spec, DATA)
    assert f"Measured on 12 seeds: ×{pooled(shares).share[0]:.3g} in layer 1" in captions(app)
    assert "Two things are called L2" in captions(app) and "**Does not.**" in captions(app)
    title = json.dumps(chart_specs(app)[1]["title"])
    assert "Norm of all weights over training" in title


def test_a_large_run_is_not_predicted_unasked(untrained: None) -> None:
    large = {"remedies_batch": "full", "remedies_width": "300", "remedies_hidden": "6", "remedies_view": "penalties"}
    app = open_page(**large)
    assert not app.exception and "not predicted, the network is large" in pages.headline(app)


@pytest.mark.parametrize(
    "query",
    [
        {"remedies_rate": "0.1", "remedies_steps": "20"},  # norms up to 1e69
        {"remedies_limit": "1e-12"},
        {"remedies_hidden": "1", "remedies_activation": "linear", "remedies_clip": "norm_1"},
        {"remedies_activation": "hardtanh", "remedies_rate": "1000"},
    ],
)
def test_extreme_runs(query: dict[str, str]) -> None:
    for view in ("clipping", "penalties"):
        app = open_page(**{**CLIPPING, **query, "remedies_view": view})
        assert not app.exception and chart_specs(app)


def test_no_penalty_at_all() -> None:
    app = open_page(**PENALTIES, remedies_strength="0")
    assert not app.exception and "×0 the gradient in layer 1" in pages.headline(app)


# --- in a browser ---------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_the_page_in_a_browser(chromium, server: str) -> None:
    from tests.app.browser import Visit

    query = "?depth=6&width=16&networks=2&gain=2.0&remedies_on=residual"
    with Visit(chromium, server, query) as visit:
        visit.page.get_by_role("link", name="Remedies").click()
        visit.page.get_by_role("heading", name="Plain: ").wait_for()
        visit.page.get_by_text("Measured ×").first.wait_for()
        visit.wait_for_charts()
        visit.page.get_by_text("4.5 Initialization that suits the activation").click()
        visit.page.get_by_text("Switched on together").wait_for()
        visit.page.wait_for_url("**remedies_on=residual%2Cinitialization**")
        visit.page.go_back()
        visit.page.get_by_text("Switched on together").wait_for(state="hidden")
        assert visit.query()["remedies_on"] == ["residual"] and visit.query()["gain"] == ["2.0"]
        visit.page.get_by_role("radio", name="4.1 Clipping by value").click()
        visit.page.get_by_role("heading", name="turns to a cosine of 0.94").wait_for()
        visit.wait_for_charts()
        assert visit.query()["remedies_clip"] == ["value"]
        assert visit.complaints == []
