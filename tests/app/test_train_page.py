"""The Train page: every control and preset, running, stopping and going on, remedies, symptoms, files, its link."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import pytest

pytest.importorskip("streamlit")
pytest.importorskip("sklearn")
pytest.importorskip("torch")
from streamlit.runtime.scriptrunner import StopException
from streamlit.testing.v1 import AppTest

from app import runner, state
from app.parts import train_box, train_controls, train_figures, train_files, train_state
from gradcore.charts import training as charts
from gradcore.charts.training_words import KINDS, course, headline, kind_of, plateau, spread
from gradcore.errors import SpecError
from gradcore.experiments import train_question
from gradcore.experiments.data import digits
from gradcore.experiments.first_step import predict_first_step
from gradcore.experiments.remedies import REMEDIES
from gradcore.experiments.symptoms import find_symptoms
from gradcore.experiments.train_question import PRESETS, TrainQuestion
from gradcore.experiments.training import Run, TrainStep, compare_runs, train_all
from gradcore.experiments.training_log import TrainingLog
from tests.app import pages
from tests.app.pages import captions

SHORT = {"train_steps": "5", "train_hidden": "2", "train_width": "8"}
QUESTION = TrainQuestion(hidden=2, width=8, steps=5)


def alone() -> None:
    from app import controls
    from app.views import train

    controls.ask("train")
    train.page()
    controls.sidebar()


@pytest.fixture(autouse=True)
def few_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prediction in little time."""
    monkeypatch.setattr(train_state, "NETWORKS", 12)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict]:
    """The last chart of every title, with its rows."""
    found: dict[str, dict] = {}
    real = train_figures._put

    def put(place, chart, height: int, words: str) -> None:
        made = chart.to_dict(validate=False)
        found[made["title"]] = made
        real(place, chart, height, words)

    monkeypatch.setattr(train_figures, "_put", put)
    return found


def open_page(**query: str) -> AppTest:
    app = AppTest.from_function(alone, default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def asked(app: AppTest) -> TrainQuestion:
    return TrainQuestion(**{f.name: app.session_state[train_state.key_of(f.name)] for f in fields(TrainQuestion)})


def widget(app: AppTest, kind: str, name: str):
    return getattr(app, kind)(key=train_state.key_of(name))


def go(app: AppTest):
    return app.button(key="train_go")


def kept(app: AppTest) -> list[Run]:
    return list(app.session_state["train_kept"].values()) if "train_kept" in app.session_state else []


def rows(spec: dict) -> list[dict]:
    return [row for data in spec.get("datasets", {}).values() for row in data]


def everything_shown(app: AppTest) -> str:
    return captions(app) + "\n".join(one.value for one in app.markdown)


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
    real, calls = runner.may_stop_here, []

    def stops() -> None:
        calls.append(1)
        if kept_now := train_state.kept():
            if len(next(iter(kept_now.values())).steps) == 2:
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


# --- files ----------------------------------------------------------------------------------------------------


def open_part(app: AppTest, name: str) -> AppTest:
    app.session_state[f"open_train_{name}"] = True
    return app.run()


def upload(app: AppTest, key: str, name: str, content: bytes) -> AppTest:
    return app.file_uploader(key=key).set_value((name, content, "application/octet-stream")).run()


def test_a_saved_run_opens_again_until_a_control_moves() -> None:
    spec = QUESTION.spec(digits()).replace(norm="batch", steps=8)
    run = train_all(spec, digits())
    run.steps = run.steps[:6]
    app = upload(open_part(open_page(**SHORT), "record"), "train_record_file", "run.json", run.to_json().encode())
    assert not app.exception and not app.error
    assert pages.headline(app) == headline(run, None).text() and go(app).label == "Continue (6 of 8 steps)"
    go(app).click().run()
    assert not app.exception and len(kept(app)[-1].steps) == 8
    widget(app, "number_input", "seed").set_value(9).run()
    assert go(app).label == "Start" and "seed 9" in captions(app)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"format": "other"}', b"\xff\xfe"])
def test_a_bad_record_is_refused(content: bytes) -> None:
    app = upload(open_part(open_page(**SHORT), "record"), "train_record_file", "run.json", content)
    assert not app.exception and "allowed" in app.error[0].value and not kept(app)


def test_a_record_that_does_not_fit_itself_is_refused() -> None:
    run = train_all(QUESTION.spec(digits()), digits())
    document = json.loads(run.to_json())
    document["steps"][2]["speeds"] = [1.0]
    with pytest.raises(SpecError):
        train_files.checked(Run.from_json(json.dumps(document)))
    for change in ({"planned": 2}, {"steps": run.steps[1:]}, {"steps": []}, {"data": {}}):
        with pytest.raises(SpecError):
            train_files.checked(replace(run, **change))
    assert train_files.checked(run) is run


def test_the_users_own_images() -> None:
    table = np.column_stack([np.arange(40) % 3, np.random.default_rng(0).integers(0, 256, (40, 9))])
    lines = "label," + ",".join(f"p{k}" for k in range(9)) + "\n" + "\n".join(",".join(map(str, r)) for r in table)
    app = upload(open_part(open_page(**SHORT), "data"), "train_images", "mine.csv", lines.encode())
    app.button(key="train_use").click().run()
    assert not app.exception and not app.error and "mine.csv, 40 images of 9 pixels, 3 classes" in captions(app)
    go(app).click().run()
    assert kept(app)[0].spec.network.layer_widths.tolist() == [8, 8, 3] and kept(app)[0].data["pixels"] == 9
    app.button(key="train_digits").click().run()
    assert "64-8-8-10" in captions(app)


def test_bad_images_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    app = upload(open_part(open_page(**SHORT), "data"), "train_images", "bad.gz", b"\x1f\x8bnot gzip")
    app.button(key="train_use").click().run()
    assert not app.exception and "bad.gz" in app.error[0].value
    monkeypatch.setattr(train_files, "MEGABYTE", 0)
    app.button(key="train_use").click().run()
    assert "at most 128 MB are read" in app.error[0].value and "64-8-8-10" in captions(app)


def test_symptoms_of_a_record_of_the_users_own() -> None:
    app = open_part(open_page(**SHORT), "log")
    content = "loss,grad_1,grad_2\n" + "\n".join(f"2.3,{1e-6},{1e-2}" for _ in range(20))
    upload(app, "train_log", "mine.csv", content.encode())
    assert not app.exception and "The loss does not improve" in everything_shown(app)
    assert "What helps: " in captions(app)
    upload(app, "train_log", "mine.csv", b"step,acc\n1,2\n")
    assert "no column" in app.error[0].value


# --- words and charts -----------------------------------------------------------------------------------------


def made(*speeds: tuple[float, ...], accuracy: float = 0.1) -> Run:
    run = train_all(QUESTION.spec(digits()).replace(steps=1), digits())
    run.steps = [TrainStep(k, 0.0, 1.0, accuracy=accuracy, speeds=row) for k, row in enumerate(speeds)]
    return run


def test_every_kind_of_run_has_its_look_and_sentence() -> None:
    found = {
        "vanishes": made((1e-3, 1.0, 1.0)),
        "explodes": made((1e3, 1.0, 1.0)),
        "balanced": made((1.0, 2.0, 1.0)),
        "zero": made((0.0, 1.0, 1.0)),
        "unknown": None,
    }
    assert {kind: kind_of(run, None) for kind, run in found.items()} == {kind: kind for kind in found}
    assert {*found, "stopped"} == set(KINDS) == set(train_box.LOOKS)
    assert "1000 times slower" in str(headline(found["vanishes"], None))
    assert "1000 times faster" in str(headline(found["explodes"], None))
    assert "no gradient at all" in str(headline(found["zero"], None))
    assert spread((0.1, 2.0, 9.0)) == 20.0 and spread((0.5, 1.0)) == 2.0
    assert "the output layer" in str(headline(made((0.5, 1.0)), None))


def test_a_smaller_ratio_on_a_plateau_is_called_no_recovery() -> None:
    falling = [(1e-3, 1.0, 1.0), (1e-4, 1e-3, 1.0)]
    assert "plateau" in str(plateau(made(*falling)))
    assert plateau(made(*falling, accuracy=0.9)) is None  # it has learned
    assert plateau(made((1e-3, 1.0, 1.0), (1e-2, 0.9, 1.0))) is None  # the last layer is as fast as before


def test_charts_of_few_steps_and_of_long_runs() -> None:
    run = made(*[(1e-3, 0.0, 1.0)] * 500)
    shown = [charts.Shown("plain", run)]
    found = rows(charts.layer_chart(charts.SPEEDS, shown, depth=3, steps=500).to_dict(validate=False))
    assert {row["layer"] for row in found} == {"1", "out"}  # what is exactly 0 leaves a gap
    assert len(found) == 2 * charts.MOST_POINTS and {0, 499} <= {row["step"] for row in found}
    assert any("not in this record" in str(row.get("text")) for row in rows(charts.neuron_chart(run).to_dict()))


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
