"""The Symptoms page: every example, one's own record uploaded and pasted, what is refused, its link, its remedies."""

from __future__ import annotations

import re

import numpy as np
import pytest

pytest.importorskip("streamlit")
pytest.importorskip("sklearn")
pytest.importorskip("torch")
from streamlit.testing.v1 import AppTest

from app import state
from app.parts import move, symptoms_source
from gradcore.experiments.data import digits
from gradcore.experiments.remedies import REMEDIES
from gradcore.experiments.remedy_code import RECORD, TORCH
from gradcore.experiments.symptom_examples import EXAMPLES, like_network
from gradcore.experiments.symptom_report import report
from gradcore.experiments.symptoms import SYMPTOMS, find_symptoms
from gradcore.experiments.train_question import TrainQuestion, from_query
from gradcore.experiments.training import train_all
from gradcore.experiments.training_log import TrainingLog, read_log
from tests.app import pages
from tests.app.pages import captions, chart_specs

STUCK = "loss,grad_1,grad_2,grad_3\n" + "\n".join(f"2.3,{1e-6},{1e-4},{1e-2}" for _ in range(20))


def alone() -> None:
    from app import controls
    from app.views import symptoms

    controls.ask("symptoms")
    symptoms.page()
    controls.sidebar()


def open_page(**query: str) -> AppTest:
    app = AppTest.from_function(alone, default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def upload(app: AppTest, name: str, content: bytes) -> AppTest:
    return app.file_uploader(key="symptoms_file").set_value((name, content, "text/csv")).run()


def paste(app: AppTest, text: str) -> AppTest:
    app.text_area(key="symptoms_text").set_value(text).run()
    return app.button(key="symptoms_paste").click().run()


def shown(app: AppTest) -> str:
    return captions(app) + "\n".join(one.value for one in app.markdown)


# --- examples -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", EXAMPLES)
def test_every_examples_link_shows_its_symptoms(code: str) -> None:
    app = open_page(**EXAMPLES[code].query)
    assert not app.exception and not app.warning and not app.error and EXAMPLES[code].sentence in captions(app)
    entries = report(EXAMPLES[code].log(digits()))
    found = [entry.found for entry in entries if entry.found is not None]
    if found:
        assert pages.headline(app) == str(found[0])
        assert f"What helps first: {found[0].remedies[0].message}." in captions(app)
    else:
        assert pages.headline(app) == "No symptom: 12 of 12 kinds were looked for."
    assert all(str(symptom) in shown(app) for symptom in found)
    for entry in entries:
        unseen = entry.found is None and entry.missing is None
        assert (f"{entry.title}: not seen." in shown(app)) == unseen
        assert (f"{entry.title}: cannot be judged" in shown(app)) == (entry.missing is not None)
    assert len(chart_specs(app)) == 2 and chart_specs(app)[0]["title"] == "Loss"
    assert app.session_state["symptoms_pick"] == code and not app.sidebar.selectbox


def test_the_page_opens_with_an_example_and_a_press_shows_another() -> None:
    app = open_page()
    assert app.session_state["symptoms_pick"] == "vanishing" and "The loss is stuck" in pages.headline(app)
    app.button_group(key="symptoms_pick").set_value("diverging").run()
    assert not app.exception and pages.headline(app) == "The loss is nan from step 6 on."
    assert app.session_state["setting_symptoms_example"] == "diverging"
    link = state.write_query(pages.Spec(), state.Settings(symptoms_example="diverging"))
    assert link == {"symptoms_example": "diverging"}


def test_a_bad_link_is_named() -> None:
    app = open_page(symptoms_example="none")
    assert not app.exception and "`symptoms_example` = `none`" in app.warning[0].value
    assert app.session_state["symptoms_pick"] == "vanishing"


def test_a_second_visit_trains_no_example_again(monkeypatch: pytest.MonkeyPatch) -> None:
    open_page(symptoms_example="saturated")
    monkeypatch.setattr(symptoms_source, "train_example", lambda: pytest.fail("trained again"))
    assert not open_page(symptoms_example="saturated").exception


def test_what_the_second_chart_shows_begins_with_the_worst_symptom() -> None:
    app = open_page(symptoms_example="overflow")
    look = app.selectbox(key="symptoms_look")
    assert look.value == "weight" and chart_specs(app)[1]["title"] == "Norm of the weights"
    look.set_value("update").run()
    assert "Update over weights" in chart_specs(app)[1]["title"] and not app.exception
    app.button_group(key="symptoms_pick").set_value("vanishing").run()
    assert app.selectbox(key="symptoms_look").value == "grad"


# --- a record of one's own ------------------------------------------------------------------------------------


def test_an_uploaded_record_is_read_and_stays_until_it_is_put_away() -> None:
    app = upload(open_page(), "mine.csv", STUCK.encode())
    log = read_log("mine.csv", STUCK)
    assert not app.exception and not app.error and pages.headline(app) == str(find_symptoms(log)[0])
    assert "mine.csv · 20 steps · 3 layers" in captions(app) and app.session_state["symptoms_pick"] is None
    assert "cannot be judged, the record has no saturated_1, saturated_2, …" in captions(app)
    app.run()
    assert "mine.csv" in captions(app)
    app.button(key="symptoms_back").click().run()
    assert "Vanishing: sigmoid · 40 steps" in captions(app) and app.session_state["symptoms_pick"] == "vanishing"
    upload(app, "again.csv", STUCK.encode())
    app.button_group(key="symptoms_pick").set_value("healthy").run()
    assert "Healthy · 60 steps" in captions(app) and not app.exception


def test_a_pasted_record_and_a_healthy_one() -> None:
    app = paste(open_page(), STUCK)
    assert not app.exception and "record.csv · 20 steps" in captions(app)
    falling = "loss\n" + "\n".join(str(2.0 * 0.9**k) for k in range(30))
    paste(app, falling)
    assert pages.headline(app) == "No symptom: 3 of 12 kinds were looked for." and "– layers" in captions(app)
    assert "The record has no norms of its layers" in captions(app) and len(chart_specs(app)) == 1
    paste(app, "loss\n1\n")
    assert pages.headline(app).startswith("No symptom so far")
    assert not app.exception


def test_a_run_saved_on_train_is_read_too() -> None:
    run = train_all(TrainQuestion(hidden=2, width=8, steps=12, activation="linear", rate=1e4).spec(digits()), digits())
    app = upload(open_page(), "plain-run.json", run.to_json().encode())
    found = find_symptoms(TrainingLog.from_run(run))
    assert not app.exception and not app.error and found and pages.headline(app) == str(found[0])
    assert f"plain-run.json · {len(run.steps)} steps · 3 layers" in captions(app)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"step,acc\n1,2\n", 'There is no column "loss"'),
        ("a.csv", b"loss,grad_1\n1\n", "line 2"),
        ("a.csv", b"loss,grad_2\n1,2\n", "without a gap"),
        ("a.csv", b"step,loss\n,2\n", "numbers of steps"),
        ("a.json", b"{", "allowed"),
        ("a.json", b'{"format": "gradcore.run"}', "allowed"),
        ("a.csv", b"\xff\xfe\x00", "text file"),
        ("a.csv", b"", "allowed"),
    ],
)
def test_bad_files_are_refused_by_name_and_the_last_record_stays(name: str, content: bytes, said: str) -> None:
    app = upload(open_page(), name, content)
    assert not app.exception and said in app.error[0].value and "Vanishing: sigmoid · 40 steps" in captions(app)
    upload(app, "mine.csv", STUCK.encode())
    assert not app.error and "mine.csv · 20 steps" in captions(app)


def test_too_large_a_record_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symptoms_source, "MEGABYTE", 10)
    app = paste(open_page(), STUCK)
    assert not app.exception and "at most 32 MB are read" in app.error[0].value


def test_a_followed_link_shows_its_example() -> None:
    app = paste(open_page(), STUCK)
    app.query_params["symptoms_example"] = "healthy"
    app.run()
    assert "Healthy · 60 steps" in captions(app) and not app.exception


# --- remedies -------------------------------------------------------------------------------------------------


def arrives_at(app: AppTest) -> TrainQuestion:
    """The question of the page that the last click has asked for."""
    address, query = app.session_state[move.KEY]
    assert address == "train"
    return from_query(query)


def test_a_remedy_of_an_example_opens_that_run_with_it() -> None:
    app = open_page(symptoms_example="exploding")
    symptom = find_symptoms(EXAMPLES["exploding"].log(digits()))[1]
    code = symptom.remedies[-1].code
    app.button(key=f"symptoms_try_{symptom.code}_{code}").click().run()
    asked = arrives_at(app)
    assert asked.remedy == code and asked.spec(digits()) == EXAMPLES["exploding"].question.spec(digits())
    app.button(key="symptoms_first").click().run()
    worst = find_symptoms(EXAMPLES["exploding"].log(digits()))[0]
    assert arrives_at(app).remedy == worst.remedies[0].code


def test_a_remedy_of_ones_own_record_opens_a_network_of_as_many_layers() -> None:
    app = paste(open_page(), STUCK)
    worst = find_symptoms(read_log("mine.csv", STUCK))[0]
    app.button(key="symptoms_first").click().run()
    asked = arrives_at(app)
    assert asked.hidden == 2 and asked.remedy == worst.remedies[0].code
    assert asked.to_query() == {
        **like_network(read_log("mine.csv", STUCK), worst.code).to_query(),
        "train_remedy": asked.remedy,
    }


def test_every_remedy_has_its_line_of_torch_beside_it() -> None:
    app = open_page(symptoms_example="exploding")
    code = [block.value for block in app.code]
    found = find_symptoms(EXAMPLES["exploding"].log(digits()))
    lines = {TORCH[one.code].strip() for symptom in found for one in symptom.remedies}
    assert lines <= {text.strip() for text in code} and RECORD.strip() in {text.strip() for text in code}
    assert {one.code for symptom in found for one in symptom.remedies} <= set(REMEDIES)


def test_the_link_of_the_document_opens_what_it_says() -> None:
    table = (pages.ROOT / "docs" / "experiments.md").read_text(encoding="utf-8").split("## 5. Symptoms")[1]
    links = re.findall(r"`(\w+)` \|.*`/symptoms\?symptoms_example=(\w+)`", table)
    assert links
    for symptom, example in links:
        codes = {one.code for one in find_symptoms(EXAMPLES[example].log(digits()))}
        assert symptom in SYMPTOMS and symptom in codes


# --- in a browser ---------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_the_page_in_a_browser(chromium, server: str, tmp_path) -> None:
    from tests.app.browser import CHART, Visit

    path = tmp_path / "mine.csv"
    steps = np.arange(30)
    path.write_text("loss,grad_1,grad_2,grad_3\n" + "\n".join(f"{2.3 - 0.001 * s},1e-6,1e-4,1e-2" for s in steps))
    with Visit(chromium, server, "?depth=5&width=16&networks=2") as visit:
        visit.page.get_by_role("link", name="Symptoms").click()
        visit.page.get_by_role("heading", name="The loss is stuck").wait_for()
        visit.page.locator(CHART).nth(1).wait_for()
        assert visit.page.get_by_text("Training the example").count() == 0
        visit.page.get_by_role("radio", name="Exploding: ReLU").click()
        visit.page.wait_for_url("**symptoms_example=exploding**")
        visit.page.get_by_role("heading", name="The loss jumps 8 times").wait_for()
        visit.page.locator('input[type="file"]').set_input_files(path)
        visit.page.get_by_text("mine.csv · 30 steps · 3 layers").wait_for()
        visit.page.get_by_role("button", name="Try the first remedy").click()
        visit.page.wait_for_url("**/train?**train_remedy=**")
        visit.page.get_by_role("button", name="Train from another seed").wait_for()
        assert visit.query()["depth"] == ["5"] and visit.query()["train_hidden"] == ["2"]
        visit.page.get_by_role("link", name="Symptoms").click()
        visit.page.get_by_text("mine.csv · 30 steps · 3 layers").wait_for()  # it stays in the session
        assert visit.complaints == []
