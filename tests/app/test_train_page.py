"""The Train page: every control and preset, running, stopping and going on, remedies, symptoms, files, its link."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from urllib.parse import parse_qsl

import numpy as np
import pytest

pytest.importorskip("streamlit")
pytest.importorskip("sklearn")
pytest.importorskip("torch")
from streamlit.runtime.scriptrunner import StopException

from app import runner, state
from app.parts import train_controls, train_figures, train_state
from gradcore.charts import training as charts
from gradcore.charts.training_words import course, headline
from gradcore.errors import SpecError
from gradcore.experiments import train_question
from gradcore.experiments.data import digits
from gradcore.experiments.first_step import predict_first_step
from gradcore.experiments.remedies import REMEDIES
from gradcore.experiments.symptoms import SYMPTOMS, find_symptoms
from gradcore.experiments.train_question import PRESETS, TrainQuestion
from gradcore.experiments.training import compare_runs, train_all
from gradcore.experiments.training_log import TrainingLog
from tests.app import pages
from tests.app.pages import captions
from tests.app.train import QUESTION, SHORT, asked, everything_shown, go, kept, open_page, rows, widget


@pytest.fixture(autouse=True)
def few_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prediction in little time."""
    monkeypatch.setattr(train_state, "NETWORKS", 12)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict]:
    """The last chart of every title, with its rows."""
    found: dict[str, dict] = {}
    real = train_figures._put

    def put(place, code: str, chart, height: int, words: str) -> None:
        made = chart.to_dict(validate=False)
        found[made["title"]] = made
        real(place, code, chart, height, words)

    monkeypatch.setattr(train_figures, "_put", put)
    return found


# --- question, link, controls ---------------------------------------------------------------------------------


@pytest.mark.parametrize("code", PRESETS)
def test_every_presets_link_opens_it_and_trains_nothing(code: str) -> None:
    preset = PRESETS[code]
    app = open_page(**preset.query)
    assert not app.exception and not app.warning and not app.error
    assert asked(app) == preset.question and train_question.from_query(preset.query) == preset.question
    assert app.session_state[train_controls.PRESET_KEY] == code and preset.sentence in captions(app)
    assert pages.headline(app).startswith("Predicted: ") and go(app).label == "Start"
    assert not kept(app)


def test_a_press_on_a_preset_loads_and_trains_it(monkeypatch: pytest.MonkeyPatch, drawn: dict[str, dict]) -> None:
    short = {c: replace(p, question=replace(p.question, steps=2)) for c, p in PRESETS.items()}
    monkeypatch.setattr(train_controls, "PRESETS", short)
    app = open_page(**SHORT)
    app.button_group(key=train_controls.PRESET_KEY).set_value("neurons").run()
    assert not app.exception and asked(app) == short["neurons"].question
    assert [run.spec for run in kept(app)] == [asked(app).spec(digits())] and len(kept(app)[0].steps) == 2
    bars = [row for row in rows(drawn["dC/db of single neurons, before any training"]) if "neuron" in row]
    assert len(bars) == 60
    of = {k: [row["size"] for row in bars if row["side"] == k] for k in (0, 1)}
    assert [np.linalg.norm(of[k]) for k in (0, 1)] == pytest.approx(kept(app)[0].steps[0].speeds[:2])


def test_every_control_changes_the_question() -> None:
    app = open_page(**SHORT)
    for kind, name, value in (
        ("number_input", "hidden", 3),
        ("number_input", "width", 6),
        ("selectbox", "weights", "standard"),
        ("selectbox", "activation", "tanh"),
        ("selectbox", "cost", "quadratic"),
        ("selectbox", "optimizer", "momentum"),
        ("number_input", "rate", 0.5),
        ("selectbox", "batch", "100"),
        ("number_input", "steps", 3),
        ("number_input", "seed", 2),
        ("selectbox", "clip", "norm"),
        ("number_input", "clip_limit", 2.0),
        ("number_input", "l1", 0.001),
        ("number_input", "l2", 0.002),
        ("selectbox", "view", "saturated"),
        ("selectbox", "remedy", "clip_value"),
    ):
        widget(app, kind, name).set_value(value).run()
        assert not app.exception and getattr(asked(app), name) == value
    spec = asked(app).spec(digits())
    assert spec.network.layer_widths.tolist() == [6, 6, 6, 10] and spec.network.input_width == 64
    assert (spec.batch, spec.clip, spec.clip_limit, spec.l1, spec.l2) == (100, "norm", 2.0, 0.001, 0.002)
    go(app).click().run()
    assert not app.exception and [run.spec for run in kept(app)] == [spec, REMEDIES["clip_value"].apply(spec)]


def test_a_bad_link_is_named() -> None:
    app = open_page(train_hidden="9", train_activation="swish", train_rate="nan", train_remedy="x", train_seed="5")
    assert not app.exception and asked(app) == TrainQuestion(seed=5)
    said = app.warning[0].value
    assert all(f"`train_{name}`" in said for name in ("hidden", "activation", "rate", "remedy")) and "`9`" in said
    with pytest.raises(SpecError):
        train_question.from_query({"train_depth": "3"})


def test_the_settings_are_the_questions_fields() -> None:
    settings = state.Settings()
    for field in fields(TrainQuestion):
        assert getattr(settings, f"train_{field.name}") == field.default
        assert f"train_{field.name}" in state.READERS
    link = state.write_query(pages.Spec(), state.Settings(train_hidden=2, train_rate=0.5))
    assert link == {"train_hidden": "2", "train_rate": "0.5"}
    assert state.read_query(link)[1:] == (state.Settings(train_hidden=2, train_rate=0.5), [])


# --- running --------------------------------------------------------------------------------------------------


def test_a_short_run_shows_the_librarys_numbers(drawn: dict[str, dict]) -> None:
    app = open_page(**SHORT)
    go(app).click().run()
    assert not app.exception and go(app).label == "Train from another seed"
    run = train_all(QUESTION.spec(digits()), digits())
    assert [replace(step, neurons=()) for step in kept(app)[0].steps] == run.steps
    first = predict_first_step(train_state._law_of(run.spec), digits(), networks=12)
    assert pages.headline(app) == headline(run, first).text() and str(course(run)) in captions(app)
    speeds = drawn[charts.SPEEDS.title]
    found = {(r["layer"], r["step"]): r["size"] for r in rows(speeds) if "run" in r}
    assert len(found) == 15 and found["1", 0] == pytest.approx(np.log10(run.steps[0].speeds[0]))
    low, high = first.band()
    bands = [row for row in rows(speeds) if "low" in row]
    assert [10 ** row["low"] for row in bands] == pytest.approx(list(low)) and all(row["step"] < 0 for row in bands)
    assert [10 ** row["high"] for row in bands] == pytest.approx(list(high))
    go(app).click().run()
    assert asked(app).seed == 1 and len(kept(app)) == 2 and not app.exception


def test_a_stopped_run_is_kept_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    real = runner.may_stop_here

    def stops() -> None:
        if (runs := train_state.kept()) and len(next(iter(runs.values())).steps) == 2:
            raise StopException
        real()

    app = open_page(**SHORT)
    monkeypatch.setattr(runner, "may_stop_here", stops)
    go(app).click().run()
    assert len(kept(app)[0].steps) == 2 and go(app).label == "Stop"
    monkeypatch.setattr(runner, "may_stop_here", real)
    monkeypatch.setattr(train_state, "advance", lambda spec, found, draw: None)
    go(app).click().run()  # Stop
    monkeypatch.undo()
    monkeypatch.setattr(train_state, "NETWORKS", 12)
    assert go(app).label == "Continue (2 of 5 steps)" and not app.exception
    widget(app, "number_input", "seed").set_value(3).run()
    assert go(app).label == "Start"
    widget(app, "number_input", "seed").set_value(0).run()
    assert go(app).label == "Continue (2 of 5 steps)"
    go(app).click().run()
    whole = train_all(QUESTION.spec(digits()), digits())
    assert [replace(step, neurons=()) for step in kept(app)[0].steps] == whole.steps


def test_a_run_whose_generator_is_gone_repeats_its_first_steps() -> None:
    app = open_page(**SHORT)
    go(app).click().run()
    (run,) = kept(app)
    last = run.steps.pop()
    app.run()
    assert go(app).label.startswith("Continue (4")
    go(app).click().run()
    assert run.steps[-1] == last and len(run.steps) == 5


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_state, "MOST_KEPT", 2)
    app = open_page(**SHORT)
    for _ in range(3):
        go(app).click().run()
    assert [run.spec.seed for run in kept(app)] == [1, 2]


def test_a_run_that_breaks_off_says_where() -> None:
    app = open_page(**{**SHORT, "train_activation": "linear", "train_rate": "10000", "train_steps": "60"})
    go(app).click().run()
    (run,) = kept(app)
    assert not app.exception and run.stop is not None
    assert pages.headline(app) == str(run.stop.message) and any("Broken off" in one.value for one in app.markdown)


# --- remedies and symptoms ------------------------------------------------------------------------------------


def test_a_remedied_run_stands_beside_the_plain_one(drawn: dict[str, dict]) -> None:
    app = open_page(**SHORT, train_remedy="relu_kaiming")
    remedy = REMEDIES["relu_kaiming"]
    assert str(remedy.does) in captions(app) and str(remedy.does_not) in captions(app)
    go(app).click().run()
    plain, changed = kept(app)
    assert changed.spec == remedy.apply(plain.spec) and changed.spec.seed == plain.spec.seed
    assert str(compare_runs(plain, changed).message) in everything_shown(app)
    assert "Predicted at the start: ×" in everything_shown(app)
    names = {row["run"] for row in rows(drawn[charts.SPEEDS.title]) if "run" in row}
    assert names == {"plain", "remedy"} and go(app).label == "Train from another seed"


@pytest.mark.parametrize("code", REMEDIES)
def test_every_remedy_opens(code: str) -> None:
    app = open_page(**SHORT, train_remedy=code)
    assert not app.exception and not app.warning and str(REMEDIES[code].does) in captions(app)


def test_a_remedy_that_does_not_fit_says_so() -> None:
    app = open_page(**{**SHORT, "train_hidden": "1", "train_remedy": "residual"})
    assert not app.exception and "one hidden layer has no room for a block" in app.warning[0].value
    go(app).click().run()
    assert len(kept(app)) == 1 and not app.exception


def test_symptoms_with_a_remedy_of_one_click() -> None:
    app = open_page(train_steps="12", train_width="10", train_hidden="4")
    go(app).click().run()
    (run,) = kept(app)
    found = find_symptoms(TrainingLog.from_run(run))
    assert found and all(str(symptom) in everything_shown(app) for symptom in found)
    symptom = found[0]
    code = symptom.remedies[0].code
    app.button(key=f"train_try_{symptom.code}_{code}").click().run()
    assert not app.exception and asked(app).remedy == code and len(kept(app)) == 2
    assert kept(app)[1].spec == REMEDIES[code].apply(run.spec) and kept(app)[1].finished
    assert "With the remedy: " in captions(app)


def test_the_links_of_the_symptoms_show_them() -> None:
    """Every link in the table of symptoms opens a run that has them."""
    table = (pages.ROOT / "docs" / "experiments.md").read_text(encoding="utf-8").split("## 5. Symptoms")[1]
    shown: dict[str, set[str]] = {}
    for code, link in re.findall(r"^\| [^|]+ \| `(\w+)` \| `/train\??([^`]*)`", table, re.MULTILINE):
        shown.setdefault(link, set()).add(code)
    assert set().union(*shown.values()) == set(SYMPTOMS)
    for link, codes in shown.items():
        question = train_question.from_query(dict(parse_qsl(link)))
        run = train_all(question.spec(digits()), digits())
        assert codes <= {symptom.code for symptom in find_symptoms(TrainingLog.from_run(run))}, link


# --- in a browser ---------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_the_page_in_a_browser(chromium, server: str) -> None:
    from tests.app.browser import Visit

    with Visit(chromium, server, "?train_steps=20&train_width=10&depth=5&width=16&networks=2") as visit:
        visit.page.get_by_role("link", name="Train").click()
        visit.page.get_by_text("64-10-10-10-10-10").wait_for()
        visit.wait_for_charts()
        visit.page.get_by_role("button", name="Start", exact=False).first.click()
        visit.page.get_by_role("button", name="Train from another seed").wait_for()
        visit.page.get_by_text("20 of 20 steps").wait_for()
        visit.page.get_by_role("button", name="Train from another seed").click()
        visit.page.wait_for_url("**train_seed=1**")
        assert visit.query()["train_width"] == ["10"] and "train_hidden" not in visit.query()
        visit.page.get_by_text("seed 1 · 20 of 20 steps").wait_for()
        visit.page.go_back()
        visit.page.get_by_text("seed 0 · 20 of 20 steps").wait_for()  # kept
        visit.page.get_by_role("link", name="Explore").click()
        visit.page.get_by_text("16 units").first.wait_for()  # the network is kept meanwhile
        assert visit.complaints == []
