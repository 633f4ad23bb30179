"""The Gates page: every control and preset, what it says about a cell, its measurement, a short training, the link."""

from __future__ import annotations

import json
import math
import re
from dataclasses import fields

import numpy as np
import pytest

pytest.importorskip("streamlit")
from streamlit.testing.v1 import AppTest

import gradcore as gc
from app import state
from app.parts import gates_answer, gates_controls, gates_measuring, gates_training
from gradcore.charts import gates as charts
from gradcore.errors import SpecError
from gradcore.experiments.gates import PREFIX, PRESETS, READERS, GatesQuestion
from gradcore.experiments.long_range import LongRange, Record, train
from gradcore.words import number_text
from tests.app import pages
from tests.app.pages import button, captions, chart_specs

SMALL = {"gates_hidden_size": "24", "gates_input_size": "6", "gates_steps": "12", "gates_networks": "3"}
SHORT = {"gates_units": "6", "gates_length": "8", "gates_updates": "4"}


def alone() -> None:
    from app import controls
    from app.views import gates

    controls.ask("gates")
    gates.page()
    controls.sidebar()


def open_page(**query: str) -> AppTest:
    app = AppTest.from_function(alone, default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def asked(app: AppTest) -> GatesQuestion:
    return GatesQuestion(**{f.name: app.session_state[gates_controls.key_of(f.name)] for f in fields(GatesQuestion)})


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is measured unasked."""
    monkeypatch.setattr(gates_measuring, "AUTO_SECONDS", 0.0)


# --- the answer -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", PRESETS)
def test_every_presets_link_opens_it(code: str, unmeasured: None) -> None:
    preset = PRESETS[code]
    app = open_page(**preset.query)
    assert not app.exception and not app.warning and asked(app) == preset.question
    profile = gates_answer.predict(preset.question.spec)
    assert pages.headline(app) == profile.verdict.sentence and preset.sentence in captions(app)
    assert app.session_state[gates_controls.PRESET_KEY] == code
    values = [metric.value for metric in app.metric]
    assert values[0] == f"×{math.sqrt(profile.factor()):.3g}" and values[1] == "–"
    assert values[2] == f"×{math.sqrt(profile.untied.factor()):.3g}"
    assert app.metric[1].delta == "not measured"
    left = 0.5 * (profile.log_v[0] - profile.log_v[-1]) / math.log(10)
    assert app.metric[3].value == "×" + number_text(left, 3)


def test_the_figures_of_the_sentences() -> None:
    found = {code: gates_answer.predict(preset.question.spec) for code, preset in PRESETS.items()}
    kinds = {code: profile.verdict.kind for code, profile in found.items()}
    assert {code for code, kind in kinds.items() if kind == "exploding"} == {"forget_3", "large"}
    assert set(kinds.values()) == {"vanishing", "exploding"}
    assert found["forget_3"].factor() > 1.04 and found["forget_3"].untied.factor() < 0.93
    assert math.sqrt(found["lstm"].factor()) < 1 - 1 / 3 and abs(found["lstm"].gates["f"][-1] - 0.5) < 0.01
    assert abs(found["forget_1"].gates["f"][-1] - 0.73) < 0.005
    assert 2.5 < found["forget_1"].verdict.reach / found["lstm"].verdict.reach < 3.2
    assert abs(found["update_3"].gates["z"][-1] - 0.95) < 0.005 and math.sqrt(found["update_3"].factor()) > 0.95
    assert abs(found["gru"].gates["z"][-1] - 0.5) < 0.01
    assert abs(found["gru"].factor() - found["lstm"].factor()) < 0.01
    assert found["rnn"].untied is found["rnn"]


def test_a_press_on_a_preset_loads_it_and_leaves_the_training(unmeasured: None) -> None:
    app = open_page(gates_updates="7", gates_steps="20")
    assert app.session_state[gates_controls.PRESET_KEY] is None
    app.button_group(key=gates_controls.PRESET_KEY).set_value("forget_3").run()
    assert not app.exception and asked(app).spec == PRESETS["forget_3"].question.spec and asked(app).updates == 7
    assert "Gradients explode in time" in pages.headline(app)
    assert "conclude that gradients vanish: wrong here" in captions(app)
    assert ":red-badge[:material/trending_up: Exploding]" in app.markdown[0].value


def test_every_control_changes_the_question(unmeasured: None) -> None:
    app = open_page(gates_steps="12")

    def put(kind: str, name: str, value: object) -> None:
        getattr(app, kind)(key=gates_controls.key_of(name)).set_value(value).run()
        assert not app.exception and getattr(asked(app), name) == value

    numbers = {
        "hidden_size": 32, "input_size": 5, "steps": 8, "weight_scale": 0.5, "forget_bias": 1.5, "networks": 4,
        "seed": 3, "units": 8, "length": 12, "updates": 9, "learning_rate": 0.02, "clip_norm": 2.0,
    }  # fmt: skip
    for name, value in numbers.items():
        put("number_input", name, value)
    put("selectbox", "init", "orthogonal")
    put("selectbox", "task", "copy")
    put("button_group", "cell", "rnn")
    put("selectbox", "activation", "relu")
    put("button_group", "cell", "gru")
    put("number_input", "update_bias", -1.0)
    spec = gc.CellSpec(
        cell="gru", hidden_size=32, input_size=5, steps=8, weight_scale=0.5, update_bias=-1.0, init="orthogonal"
    )
    assert asked(app).spec == spec and pages.headline(app) == gates_answer.predict(spec).verdict.sentence
    put("number_input", "update_bias", None)
    trained = app.button_group(key=gates_controls.CELLS_KEY)
    trained.set_value(["gru", "rnn"]).run()
    assert asked(app).cells == "rnn,gru" and not app.exception
    app.button_group(key=gates_controls.CELLS_KEY).set_value([]).run()
    assert asked(app).cells == "rnn,gru"  # one has to be trained


def test_fields_that_a_cell_does_not_have_are_disabled(unmeasured: None) -> None:
    for cell, own in (("rnn", "activation"), ("lstm", "forget_bias"), ("gru", "update_bias")):
        app = open_page(gates_cell=cell)
        kinds = {"forget_bias": "number_input", "update_bias": "number_input", "activation": "selectbox"}
        off = {n for n, kind in kinds.items() if getattr(app, kind)(key=gates_controls.key_of(n)).disabled}
        assert off == set(kinds) - {own}


def test_a_bad_link_is_named(unmeasured: None) -> None:
    app = open_page(
        gates_cell="lstn", gates_steps="100000", gates_forget_bias="x", gates_cells="gru,elman", gates_seed="5"
    )
    assert not app.exception and asked(app) == GatesQuestion(seed=5)
    said = app.warning[0].value
    assert all(f"`gates_{name}`" in said for name in ("cell", "steps", "forget_bias", "cells"))
    assert "`100000`" in said and "Did you mean lstm?" in said


def test_the_settings_are_the_questions_fields() -> None:
    settings = state.Settings()
    assert set(READERS) == {field.name for field in fields(GatesQuestion)}
    for field in fields(GatesQuestion):
        assert getattr(settings, PREFIX + field.name) == field.default
    link = {"gates_forget_bias": "3.0", "gates_cells": "gru", "gates_clip_norm": "None"}
    found = state.Settings(gates_forget_bias=3.0, gates_cells="gru", gates_clip_norm=None)
    assert state.write_query(pages.Spec(), found) == link
    assert state.read_query(link)[1:] == (found, [])
    assert GatesQuestion(forget_bias=3.0, cells="gru", clip_norm=None).to_query() == link


def test_no_sidebar_and_the_network_is_kept(unmeasured: None) -> None:
    app = open_page(activation="tanh", depth="7")
    assert not app.sidebar.number_input and pages.asked(app) == pages.Spec(activation="tanh", depth=7)


# --- the measurement ------------------------------------------------------------------------------------------


def test_what_is_cheap_is_measured_unasked() -> None:
    app = open_page(**SMALL, gates_seed="4")
    assert not app.exception
    mine = gc.measure_cell(asked(app).spec, networks=3, seed=4)
    assert app.metric[1].value == f"×{math.sqrt(mine.factor()):.3g}" and "±" in app.metric[1].delta
    assert "Measured 3 of 3 networks, seed 4: vanishing." in captions(app)
    button(app, "Draw other networks").click().run()
    assert asked(app).seed == 5 and "Measured 3 of 3 networks, seed 5" in captions(app)


def test_a_measurement_is_started_stopped_and_goes_on(unmeasured: None, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page(**SMALL)
    assert app.metric[1].value == "–"
    once = gc.measure_cell
    drawn: list[int] = []

    def counted(spec, *, networks, seed):
        drawn.extend(networks)
        return once(spec, networks=networks, seed=seed)

    monkeypatch.setattr(gc, "measure_cell", counted)
    first = once(asked(app).spec, networks=[0])
    app.session_state[gates_measuring.KEPT] = {(asked(app).spec, 0): {0: first}}
    app.run()
    assert "Measured 1 of 3 networks" in captions(app) and "no" not in app.metric[1].value
    button(app, "Continue (1 of 3 done)").click().run()
    assert drawn == [1, 2] and "Measured 3 of 3 networks" in captions(app)
    app.number_input(key=gates_controls.key_of("networks")).set_value(2).run()
    assert "Measured 2 of 2 networks" in captions(app) and drawn == [1, 2]  # kept in the session


def test_cancel_leaves_what_was_done() -> None:
    question = GatesQuestion(hidden_size=24, networks=3)
    app = open_page(**SMALL)
    assert (
        gates_measuring.seconds(question)
        < gates_measuring.AUTO_SECONDS
        < gates_measuring.seconds(GatesQuestion(hidden_size=2048))
    )
    key = (asked(app).spec, 0, 4)
    app.session_state[gates_measuring.WISH.cancelled] = key
    app.number_input(key=gates_controls.key_of("networks")).set_value(4).run()
    assert "Measured 3 of 4 networks" in captions(app)
    button(app, "Continue (3 of 4 done)").click().run()
    assert "Measured 4 of 4 networks" in captions(app)


def test_the_charts_hold_the_librarys_numbers() -> None:
    spec = gc.CellSpec(hidden_size=24, input_size=6, steps=12)
    profile, measured = gc.predict_cell(spec), gc.measure_cell(spec, networks=3)
    found = rows(charts.gradient_chart(profile, measured))
    sizes = {name: [r["size"] for r in found if r.get("series") == name] for name in ("predicted", "measured")}
    assert sizes["predicted"] == pytest.approx(list(profile.log_v / 2 / math.log(10)))
    assert sizes["measured"] == pytest.approx(list(measured.mean("log_v") / 2 / math.log(10)))
    assert all(r["low"] <= r["size"] <= r["high"] for r in found if "low" in r)
    gates = rows(charts.gate_chart(profile, measured))
    assert {r["series"] for r in gates} == {"input i", "forget f", "output o"} and len(gates) == 3 * 12 + 12
    plain = gc.predict_cell(spec.replace(cell="rnn"))
    assert "untied, as textbooks" not in {r.get("series") for r in rows(charts.gradient_chart(plain))}
    state_rows = [r["size"] for r in rows(charts.gate_chart(plain))]
    assert state_rows == pytest.approx(list(plain.log_h / 2 / math.log(10)))
    dead = gc.predict_cell(spec.replace(cell="rnn", weight_scale=0.0))
    assert len([r for r in rows(charts.gradient_chart(dead)) if "step" in r]) == 1  # the others are exactly 0


def rows(chart) -> list[dict]:
    drawn = chart.to_dict(validate=False)
    json.dumps(drawn, allow_nan=False)
    return [row for data in drawn["datasets"].values() for row in data]


def test_cells_without_a_number_are_said_and_nothing_breaks() -> None:
    app = open_page(**SMALL, gates_cell="rnn", gates_weight_scale="0")
    assert not app.exception and "exactly zero" in pages.headline(app) and app.metric[0].value == "×0"
    app = open_page(
        **{**SMALL, "gates_steps": "400"}, gates_cell="rnn", gates_activation="relu", gates_weight_scale="100"
    )
    assert not app.exception and app.metric[1].delta == "no gradient that is a number"


# --- training -------------------------------------------------------------------------------------------------


def test_a_short_training_is_kept(unmeasured: None) -> None:
    app = open_page(**SMALL, **SHORT)
    assert "Not trained yet" in captions(app)
    button(app, "Start training").click().run()
    assert not app.exception and button(app, "Start training")
    mine = app.session_state[gates_training.HELD]
    assert mine.over and not mine.going and not mine.ahead
    for run in asked(app).runs():
        assert mine.records[run.cell.cell].steps == list(train(run))
    titles = [spec["title"] for spec in chart_specs(app)][2:]
    assert titles[0].startswith("Loss") and titles[1].startswith("Gradient per step back") and len(titles) == 3
    assert "RNN: loss" in captions(app) and "GRU: loss" in captions(app)
    app.number_input(key=gates_controls.key_of("seed")).set_value(9).run()
    assert len(chart_specs(app)) == 5 and len(mine.records["gru"].steps) == 4  # another question, what was done stays
    documents = json.loads(gates_training._json(mine))
    assert Record.from_json(documents[1]).spec == mine.runs[1]


def test_a_stopped_training_goes_on_where_it_stopped(unmeasured: None) -> None:
    app = open_page(**SMALL, **SHORT, gates_cells="gru")
    mine = gates_training.Training.of(asked(app).runs())
    mine.start()
    mine.update()
    mine.going = False
    app.session_state[gates_training.HELD] = mine
    app.run()
    assert "update 1 of 4" in app.get("progress")[0].proto.text and len(chart_specs(app)) == 5
    button(app, "Continue training").click().run()
    assert not app.exception
    assert mine.records["gru"].steps == list(train(asked(app).runs()[0]))  # as if it had never stopped


def test_another_question_stops_a_training(unmeasured: None) -> None:
    app = open_page(**SMALL, **SHORT)
    mine = gates_training.Training.of(asked(app).runs())
    app.session_state[gates_training.HELD] = mine
    app.number_input(key=gates_controls.key_of("units")).set_value(7).run()
    assert not mine.going and not mine.records["gru"].steps and button(app, "Start training")


def test_a_training_that_is_not_possible_or_breaks_is_said(unmeasured: None) -> None:
    app = open_page(**SMALL, **{**SHORT, "gates_length": "8"}, gates_task="copy")
    assert not app.exception and "at least 11 steps for the copy task" in app.error[0].value
    assert button(app, "Start training").disabled
    short = {**SHORT, "gates_length": "100", "gates_updates": "30"}
    app = open_page(
        **SMALL, **short, gates_cells="rnn", gates_activation="relu", gates_weight_scale="100", gates_clip_norm="None"
    )
    button(app, "Start training").click().run()
    assert not app.exception and "RNN: Training stopped at update" in app.warning[0].value


def test_the_charts_of_a_training_hold_its_record() -> None:
    run = LongRange(cell=gc.CellSpec(cell="gru", hidden_size=6, steps=12, batch_size=4), updates=5)
    record = Record(run, list(train(run)))
    losses = [row["size"] for row in rows(charts.loss_chart([record])) if "update" in row]
    assert losses == pytest.approx(list(np.log10(record.series("loss"))))
    logs = record.series("log_v")
    expected = (logs[:, 2] - logs[:, 8]) / (9 - 3) / 2 / math.log(10)
    drawn = [row["size"] for row in rows(charts.factor_chart([record])) if "update" in row]
    assert drawn == pytest.approx(list(expected))
    reach = [row for row in rows(charts.reach_chart([record])) if "when" in row]
    assert [r["size"] for r in reach if r["when"] == 1] == pytest.approx(
        list((logs[-1] - logs[-1, -1]) / 2 / math.log(10))
    )


def test_the_runs_are_what_the_question_asks() -> None:
    question = GatesQuestion(
        cells="lstm,gru", units=8, length=12, updates=9, learning_rate=0.02, clip_norm=2.0, task="copy", seed=3,
        forget_bias=1.0, weight_scale=2.0, init="normal",
    )  # fmt: skip
    law = {"init": "normal", "weight_scale": 2.0, "forget_bias": 1.0}
    for run, cell in zip(question.runs(), ("lstm", "gru"), strict=True):
        assert run == LongRange(
            cell=gc.CellSpec(cell=cell, hidden_size=8, steps=12, batch_size=32, **law),
            task="copy", updates=9, learning_rate=0.02, clip_norm=2.0, seed=3,
        )  # fmt: skip


def test_clipping_is_counted() -> None:
    run = LongRange(cell=gc.CellSpec(cell="gru", hidden_size=6, steps=12, batch_size=4), updates=4, clip_norm=1e-6)
    assert "100% of the updates clipped" in charts.describe_training({"gru": Record(run, list(train(run)))})
    free = Record(run.replace(clip_norm=None), list(train(run.replace(clip_norm=None))))
    assert "clipped" not in charts.describe_training({"gru": free})


def test_the_question_refuses_what_is_not_allowed() -> None:
    with pytest.raises(SpecError) as caught:
        READERS["cells"]("gates_cells", "")
    assert caught.value.field == "gates_cells"
    assert READERS["cells"]("gates_cells", "gru, rnn") == "rnn,gru"


# --- in a browser ---------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_the_page_in_a_browser(chromium, server: str) -> None:
    from tests.app.browser import Visit

    link = {**SMALL, **SHORT, "gates_updates": "1500", "gates_cell": "gru"}
    query = "?" + "&".join(f"{name}={value}" for name, value in link.items())
    with Visit(chromium, server, query) as visit:
        visit.page.get_by_role("link", name="Gates").click()
        visit.page.get_by_text("GRU · 24 units, 6 inputs · 12 steps").wait_for()
        visit.page.get_by_text("Measured 3 of 3 networks").wait_for()
        visit.wait_for_charts()
        visit.page.get_by_role("radio", name="Forget bias 3").click()
        visit.page.get_by_role("heading", name="Gradients explode in time").wait_for()
        visit.page.wait_for_url("**gates_forget_bias=3.0**")
        assert "gates_cell" not in visit.query() and visit.query()["gates_updates"] == ["1500"]
        visit.page.go_back()
        visit.page.get_by_text("GRU · 24 units, 6 inputs · 12 steps").wait_for()
        visit.page.get_by_role("button", name="Start training").click()
        visit.page.get_by_text(re.compile(r"update [1-9]\d* of 1500")).wait_for()
        visit.page.get_by_role("button", name="Stop training").click()
        visit.page.get_by_role("button", name="Continue training").wait_for()
        assert visit.complaints == []
