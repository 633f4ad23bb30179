"""The Train page on any Spec: the sidebar's network, its link, its cost, refusals by name; factors over training."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from urllib.parse import parse_qsl

import numpy as np
import pytest

pytest.importorskip("streamlit")
pytest.importorskip("sklearn")
pytest.importorskip("torch")
from streamlit.runtime.scriptrunner import StopException

from app import costs, runner, state
from app.parts import train_box, train_figures, train_state
from app.parts.train_box import sizes_text
from gradcore.charts import training as charts
from gradcore.charts.training_words import factors_text, headline
from gradcore.experiments import first_step
from gradcore.experiments.data import digits
from gradcore.experiments.train_question import PRESETS, TrainQuestion
from gradcore.experiments.training import Run, TrainStep, train, train_all
from gradcore.spec import Spec
from tests.app import pages
from tests.app.pages import captions
from tests.app.train import asked, everything_shown, go, kept, open_page, rows, widget

NETWORK = {"depth": "5", "width": "9", "activation": "tanh", "norm": "batch", "residual": "identity"}
SPEC = Spec(depth=5, width=9, activation="tanh", norm="batch", residual="identity")
QUESTION = TrainQuestion(network="spec", steps=4, optimizer="momentum", batch="100")
LINK = {**NETWORK, **QUESTION.to_query()}


@pytest.fixture(autouse=True)
def few_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_state, "NETWORKS", 12)


def test_a_link_trains_the_network_of_the_sidebar_as_the_library_does() -> None:
    app = open_page(**LINK)
    assert not app.exception and not app.warning and asked(app) == QUESTION and pages.asked(app) == SPEC
    assert state.write_query(SPEC, state.Settings(train_network="spec", train_steps=4)) == {
        **NETWORK,
        "train_network": "spec",
        "train_steps": "4",
    }
    assert app.sidebar.selectbox(key="field_activation").value == "tanh"
    for kind, name in (("number_input", "hidden"), ("number_input", "width"), ("selectbox", "weights")):
        assert widget(app, kind, name).disabled
    assert "64-9-9-9-9-10 · tanh · batch norm · identity residual" in captions(app)
    go(app).click().run()
    assert not app.exception and go(app).label == "Train from another seed"
    whole = train_all(QUESTION.spec(digits(), SPEC), digits())
    assert whole.spec.network == SPEC and [replace(step, neurons=()) for step in kept(app)[0].steps] == whole.steps
    assert pages.headline(app) == headline(whole, None).text()


def test_plain_layers_have_no_sidebar_and_any_network_has() -> None:
    app = open_page(train_steps="4")
    assert not app.sidebar.selectbox and not widget(app, "number_input", "hidden").disabled
    app.button_group(key=train_state.key_of("network")).set_value("spec").run()
    assert not app.exception and app.sidebar.selectbox(key="field_activation").value == "relu"
    app.sidebar.selectbox(key="field_activation").set_value("tanh").run()
    assert not app.exception and "tanh" in captions(app) and "64-49×256-10" in captions(app)


def test_another_network_in_the_sidebar_is_another_run() -> None:
    app = open_page(**LINK)
    go(app).click().run()
    app.sidebar.selectbox(key="field_activation").set_value("relu").run()
    assert go(app).label == "Start" and len(kept(app)) == 1 and not app.exception
    app.sidebar.selectbox(key="field_activation").set_value("tanh").run()
    assert go(app).label == "Train from another seed"


def test_a_remedy_changes_the_sidebars_network() -> None:
    app = open_page(**{**LINK, "train_remedy": "fewer_layers"})
    go(app).click().run()
    assert not app.exception and [run.spec.network for run in kept(app)] == [SPEC, SPEC.replace(depth=3)]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"depth": "3", "width": "8,8,8"}, "`width`"),
        ({"depth": "3", "width": "8", "input_width": "32"}, "`input_width`"),
    ],
)
def test_networks_that_do_not_fit_the_data_are_refused_by_name(query: dict[str, str], named: str) -> None:
    app = open_page(**query, train_network="spec")
    assert not app.exception and named in app.error[0].value and app.sidebar.selectbox
    assert asked(app).network == "spec"  # the controls are there to mend it


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"depth": "4", "width": "3700", "train_network": "spec"}, "one step would take about"),
        ({"depth": "3", "width": "20000", "train_network": "spec", "train_batch": "10"}, "GB"),
        (
            {"depth": "3000", "width": "4", "train_network": "spec", "train_steps": "5000"},
            "5,000 steps of 3,000 layers",
        ),
        ({"depth": "30", "width": "200", "train_network": "spec"}, "a step, "),
    ],
)
def test_what_a_run_costs_is_said_before_it_starts(query: dict[str, str], said: str) -> None:
    app = open_page(**query)
    shown = captions(app)
    assert not app.exception and said in shown
    assert go(app).disabled == ("Too l" in shown) and (said == "a step, ") != go(app).disabled
    assert "not predicted" in shown


def test_the_default_run_says_no_cost() -> None:
    app = open_page(train_steps="20", train_hidden="1")
    assert "a step, " not in captions(app) and "Too l" not in captions(app) and not go(app).disabled


def test_the_prediction_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    counts = {}
    for width in (30, 100, 300):
        spec = TrainQuestion(hidden=6, width=width).spec(digits())
        counts[width] = train_state.networks_of(spec, digits())
        sized = spec.sized(digits())
        work = 6.0 * digits().items * float(np.sum(sized.fan_ins * sized.layer_widths))
        assert counts[width] * work <= first_step.QUICK_WORK
    assert counts[30] == train_state.NETWORKS > counts[100] >= first_step.FEWEST and counts[300] == 0


def test_the_model_of_a_steps_cost_is_of_the_right_size() -> None:
    """Within a factor of 8 of the clock on a busy machine, for a network of which a step takes long enough."""
    import time

    question = TrainQuestion(network="spec", steps=3, cost="cross_entropy")
    spec = question.spec(digits(), Spec(depth=12, width=96, init="kaiming_normal"))
    steps = train(spec, digits())
    next(steps)
    began = time.thread_time()
    took = min(_timed(steps) for _ in range(2))
    assert time.thread_time() >= began
    modelled = costs.modelled_step(spec.sized(digits()), 1000)
    assert modelled / 8 < took < modelled * 8


def _timed(steps) -> float:
    import time

    began = time.thread_time()
    next(steps)
    return time.thread_time() - began


def test_a_stop_takes_effect_within_a_step_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = runner.may_stop_here, itertools.count()
    app = open_page(**LINK)
    monkeypatch.setattr(runner, "POLL", 0.0)

    def stops() -> None:
        runs = list(train_state.kept().values())
        if runs and len(runs[0].steps) == 2 and next(calls) == 4:  # four beats into the third step
            raise StopException
        real()

    monkeypatch.setattr(runner, "may_stop_here", stops)
    go(app).click().run()
    waiting = app.session_state["train_waiting"]
    assert len(kept(app)[0].steps) == 2 and waiting.done == 2 and waiting.iterator.done == 2
    monkeypatch.setattr(runner, "may_stop_here", real)
    app.run()  # as the browser does: the run is still asked for
    assert not app.exception and app.session_state["train_waiting"] is None
    whole = train_all(QUESTION.spec(digits(), SPEC), digits())
    assert [replace(step, neurons=()) for step in kept(app)[0].steps] == whole.steps
    assert waiting.iterator.done == 4  # the same network went on


# --- many layers ----------------------------------------------------------------------------------------------


def test_of_many_layers_some_are_drawn_the_first_and_the_last_among_them() -> None:
    names = charts.layer_names(50, lambda text, **values: text)
    drawn = charts.drawn_names(names)
    assert len(drawn) == charts.MOST_LAYERS and (drawn[0], drawn[-2:]) == ("1", ["49", "out"])
    assert charts.drawn_names(names[-8:]) == names[-8:]
    run = Run(QUESTION.spec(digits(), SPEC.replace(depth=50)), {"classes": 10}, steps=[step(tuple(np.arange(1.0, 51)))])
    made = charts.layer_chart(charts.SPEEDS, [charts.Shown("plain", run)], depth=50, steps=4).to_dict(validate=False)
    assert {row["layer"] for row in rows(made)} == set(drawn) and "8 of 50 layers" in made["title"]
    assert {row["size"] for row in rows(made) if row["layer"] == "out"} == {math.log10(50)}


def test_sizes_of_many_layers_are_counted() -> None:
    assert sizes_text([64, 30, 30, 10]) == "64-30-30-10"
    assert sizes_text([64, *[64] * 19, 10]) == "64-19×64-10"
    assert sizes_text([64, *range(100, 120), 10]) == "64-100-101-102-103-104-…-10"
    assert set(train_box.TOO_LARGE) == {"step", "memory", "record"}


def test_one_layer_alone_has_nothing_to_compare() -> None:
    app = open_page(depth="1", width="9", train_network="spec", train_steps="3")
    go(app).click().run()
    assert not app.exception and "One layer alone" in pages.headline(app)


# --- factors over training (experiment 1.9) -------------------------------------------------------------------


def step(speeds: tuple[float, ...], *above: float, k: int = 0) -> TrainStep:
    return TrainStep(k, 0.0, 1.0, accuracy=0.1, speeds=speeds, factors_above_one=above)


def test_the_factors_of_the_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence of the preset: 99%, weights several times as large, about one factor in a thousand."""
    question = PRESETS["factors"].question
    run = train_all(question.spec(digits()), digits())
    first, last = run.steps[0], run.steps[-1]
    counts = charts.factor_counts(run)
    assert counts == [900, 300] and last.accuracy > 0.99
    assert all(after > 4 * before for before, after in zip(first.weight_norms, last.weight_norms, strict=True))
    share = np.dot(last.factors_above_one, counts) / sum(counts)
    assert max(first.factors_above_one) == 0.0 and 2e-4 < share < 2e-3
    said = str(factors_text(run, counts))
    assert (
        said.startswith("Of 1,200 factors |w φ'(z)|, 0 are above 1 at the start and 0.7") and "layer 2: 0.141%" in said
    )


def test_the_view_of_factors_draws_shares_with_numbers_and_words(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, dict] = {}
    real = train_figures._put

    def put(place, code: str, chart, height: int, words: str) -> None:
        drawn[chart.to_dict(validate=False)["title"]] = {**chart.to_dict(validate=False), "words": words}
        real(place, code, chart, height, words)

    monkeypatch.setattr(train_figures, "_put", put)
    query = {"train_hidden": "2", "train_width": "8", "train_steps": "5", "train_view": "factors"}
    app = open_page(**query, train_weights="standard", train_activation="relu")
    assert "Press Start: the factors" in captions(app)
    go(app).click().run()
    (run,) = kept(app)
    said = str(factors_text(run, [64, 80]))
    assert not app.exception and said in captions(app) and "above 1" in said
    made = drawn[charts.QUANTITIES["factors"].title]
    found = {(row["layer"], row["step"]): row for row in rows(made)}
    assert set(found) == {(layer, k) for layer in ("1", "2") for k in range(5)} and said in made["words"]
    share = run.steps[4].factors_above_one[1]
    assert found["2", 4]["size"] == share > 0.0
    assert found["2", 4]["text"] == f"{share:.3g} ({share * 80:.3g} / 80)"
    assert everything_shown(app)


def test_words_where_no_factor_is_above_one_and_where_none_was_counted() -> None:
    run = Run(TrainQuestion(hidden=2).spec(digits()), {"classes": 10}, steps=[step((1.0, 1.0, 1.0), 0.0, 0.0)])
    assert "none at step 0" in str(factors_text(run, [900, 300]))
    assert factors_text(replace(run, steps=[]), [900, 300]) is None and factors_text(run, []) is None


def test_the_row_of_the_document_opens_the_view() -> None:
    table = (pages.ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
    line = next(line for line in table.splitlines() if line.startswith("| 1.9 |"))
    link = line.split("`/train?")[1].split("`")[0]
    assert dict(parse_qsl(link)) == PRESETS["factors"].query


def test_explore_opens_its_network_on_train() -> None:
    app = pages.small_app(activation="tanh")
    app.button(key="to_train").click().run()
    assert not app.exception and asked(app).network == "spec" and pages.asked(app).activation == "tanh"
    assert go(app).label == "Start" and "64-16-16-16-16-10 · tanh" in captions(app)
