"""The Learn page: every lesson by its link, its controls, the way through the course, and what its buttons load."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

pytest.importorskip("streamlit")
from streamlit.testing.v1 import AppTest

import app.pages
import gradcore as gc
from app import state
from app.controls import Question
from app.parts import learn_controls, learn_lesson, learn_load, move
from app.parts.learn_controls import LABELS, STEP, key_of
from gradcore.experiments import gates, learn, train_question
from gradcore.experiments.chain import question as chain_question
from gradcore.experiments.learn import LESSONS, PREFIX, LearnQuestion
from gradcore.experiments.learn.lesson import Case
from gradcore.words import Message
from tests.app import pages
from tests.app.pages import button, captions, chart_specs, labels


def alone() -> None:
    from app import controls
    from app.views import learn

    controls.ask("learn")
    learn.page()
    controls.sidebar()


def open_page(**query: str) -> AppTest:
    app = AppTest.from_function(alone, default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def asked(app: AppTest) -> LearnQuestion:
    return LearnQuestion(**{f.name: app.session_state[key_of(f.name)] for f in fields(LearnQuestion)})


# --- lessons ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", LESSONS)
def test_every_lesson_by_its_link(code: str) -> None:
    question = LearnQuestion(code, width=300, depth=15)
    app = open_page(**question.to_query())
    assert not app.exception and not app.error and asked(app) == question
    taught, lesson = learn.teach(question), LESSONS[code]
    assert pages.headline(app) == str(taught.idea)
    assert f"Lesson {learn.place(code)} of {len(LESSONS)}" in captions(app)
    assert all(source in captions(app) for source in lesson.sources)
    assert [formula.value for formula in app.latex] == [f"$$\n{step.formula.latex}\n$$" for step in taught.steps]
    shown = "\n".join(text.value for text in app.markdown)
    assert f"**{len(taught.steps)}.**" in shown and f"**{len(taught.steps) + 1}.**" not in shown
    (chart,) = chart_specs(app)
    assert chart["title"]["text"] == str(taught.figure.title)
    assert app.get("vega_lite_chart")[0].proto.alt.startswith(str(taught.figure.title))
    drawn = {w.key for kind in ("number_input", "selectbox") for w in getattr(app, kind)}
    assert drawn == {key_of(name) for name in lesson.parameters}
    assert taught.error is not None and app.warning[0].value == learn_lesson._plain(str(taught.error))


def test_the_first_view() -> None:
    app = open_page()
    assert not app.exception and asked(app) == LearnQuestion() and not app.query_params
    course = app.sidebar.radio[0]
    assert course.options == [f"{at}\u2002{lesson.title}" for at, lesson in enumerate(LESSONS.values(), start=1)]
    assert len(app.sidebar.number_input) == 0  # the network's controls are not drawn
    assert button(app, "Load this into Chain") and button(app, "Previous").disabled


def test_the_way_through_the_course() -> None:
    app, codes = open_page(), list(LESSONS)
    for code in codes[1:]:
        button(app, "Next").click().run()
        assert not app.exception and asked(app).lesson == code
    assert button(app, "Next").disabled
    button(app, "Previous").click().run()
    assert asked(app).lesson == codes[-2]
    app.sidebar.radio[0].set_value("kaiming").run()
    assert asked(app).lesson == "kaiming" and "rectifier" in pages.headline(app)
    assert list(app.query_params) == ["learn_lesson"]


def test_every_control_changes_its_lesson() -> None:
    for code, lesson in LESSONS.items():
        app = open_page(learn_lesson=code)
        for name in lesson.parameters:
            before = pages.headline(app)
            kind, value = (
                ("selectbox", "gelu")
                if name == "activation"
                else ("number_input", getattr(LearnQuestion(), name) + 2 * STEP[name])
            )
            getattr(app, kind)(key=key_of(name)).set_value(value).run()
            assert not app.exception and getattr(asked(app), name) == pytest.approx(value)
            assert pages.headline(app) == str(learn.teach(asked(app)).idea) != before
    assert set(LABELS) == {f.name for f in fields(LearnQuestion)} - {"lesson"} and set(STEP) < set(LABELS)


def test_a_bad_link_is_named() -> None:
    app = open_page(learn_lesson="glorot", learn_width="1", learn_alpha="x", learn_depth="7")
    assert not app.exception and asked(app) == LearnQuestion(depth=7)
    said = app.warning[0].value
    assert all(f"`learn_{name}`" in said for name in ("lesson", "width", "alpha"))


def test_the_settings_are_the_questions_fields() -> None:
    settings = state.Settings()
    for field in fields(LearnQuestion):
        assert getattr(settings, PREFIX + field.name) == field.default
    link = {"learn_lesson": "xavier", "learn_width": "300"}
    found = state.Settings(learn_lesson="xavier", learn_width=300)
    assert state.write_query(pages.Spec(), found) == link and state.read_query(link)[1:] == (found, [])
    assert LearnQuestion("xavier", width=300).to_query() == link


def test_what_theory_refuses_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(question: LearnQuestion) -> None:
        raise gc.UnsupportedError("this lesson", "of a reason", "others")

    monkeypatch.setattr(learn_lesson, "teach", refuse)
    learn_lesson.taught.clear()
    app = open_page(learn_lesson="norm", learn_batch="9")
    assert not app.exception and "of a reason" in app.error[0].value
    assert app.number_input(key=key_of("batch")).value == 9


def test_sentences_are_no_markdown() -> None:
    assert learn_lesson._plain("fan_in |w| * ~") == "fan\\_in \\|w\\| \\* \\~"


# --- loading ------------------------------------------------------------------------------------------------------

MINE = Question(gc.Spec(activation="gelu", depth=9), state.Settings(seed=5, chain_length=7, gates_units=8))


@pytest.mark.parametrize("code", LESSONS)
def test_a_case_replaces_what_its_page_is_about(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learn_load.controls, "question", lambda: MINE)
    for case in learn.teach(LearnQuestion(code)).cases:
        spec, settings, refused = state.read_query(learn_load.query_of(case))
        assert refused == [] and settings.seed == 5
        if case.address not in learn_load.OWN:
            assert spec == gc.from_query(case.query) and settings == MINE.settings
            continue
        prefix = f"{case.address}_"
        assert spec == MINE.spec
        others = {name for name in state.READERS if not name.startswith(prefix)}
        assert all(getattr(settings, name) == getattr(MINE.settings, name) for name in others)
        held = {name: getattr(settings, name) for name in state.READERS if name.startswith(prefix)}
        fresh = {name: getattr(state.Settings(), name) for name in held}
        assert {n: v for n, v in held.items() if v != fresh[n]} == {
            name: state.READERS[name](name, text) for name, text in case.query.items()
        }


def test_a_page_of_an_own_question_is_known_by_its_prefix() -> None:
    assert set(learn_load.OWN) <= {page.address for page in app.pages.PAGES}
    prefixes = [chain_question.PREFIX, gates.PREFIX, train_question.PREFIX]
    assert [f"{address}_" for address in learn_load.OWN] == prefixes


@pytest.mark.parametrize(("lesson", "page"), [("variance", "Explore"), ("gates", "Gates"), ("clipping", "Train")])
def test_a_press_opens_the_page(lesson: str, page: str) -> None:
    shown = open_page(learn_lesson=lesson, activation="tanh")
    button(shown, f"Load this into {page}").click().run()
    assert not shown.exception
    address, query = shown.session_state[move.KEY]
    case = learn.teach(LearnQuestion(lesson)).cases[0]
    assert address == page.lower() and query["learn_lesson"] == lesson and dict(case.query).items() <= query.items()
    assert ("activation" in query) == (page != "Explore" or "activation" in case.query)


def test_a_page_that_is_not_there_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(Message("somewhere", "Somewhere"), "somewhere", {})
    assert not learn_load.known(case) and learn_load.known(replace(case, address="explore"))
    taught = learn.teach(LearnQuestion("norm"))
    offered = [str(case.title) for case in taught.cases[1:] if learn_load.known(case)]
    shown = labels(open_page(learn_lesson="norm"))
    assert [label for label in shown if label in {str(case.title) for case in taught.cases}] == offered
    extra = replace(app.pages.PAGES[0], address="remedies")
    monkeypatch.setattr(app.pages, "PAGES", (*[p for p in app.pages.PAGES if p.address != "remedies"], extra))
    assert "Remedies: all of them on this net" in labels(open_page(learn_lesson="norm"))


def test_learn_is_the_last_page() -> None:
    assert app.pages.PAGES[-1].address == "learn" and learn_controls.PREFIX == "learn_"


# --- in a browser -------------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_the_page_in_a_browser(chromium, server: str) -> None:
    from tests.app.browser import CHART, Visit

    with Visit(chromium, server, "?learn_width=100&depth=6") as visit:
        page = visit.page
        page.get_by_role("link", name="Learn").click()
        page.get_by_text("Lesson 1 of").wait_for()
        page.get_by_role("heading", name="Every neuron on the way").wait_for()
        page.locator(CHART).first.wait_for()
        page.locator(".katex-html").nth(2).wait_for()
        page.get_by_role("button", name="Next").click()
        page.get_by_role("heading", name="A product of 10 random factors").wait_for()
        page.keyboard.press("n")
        page.get_by_role("heading", name="A unit with 100 inputs").wait_for()
        page.wait_for_url("**learn_lesson=variance**")
        assert visit.query() == {"learn_lesson": ["variance"], "learn_width": ["100"], "depth": ["6"]}
        page.get_by_role("button", name="Load this into Explore").click()
        page.wait_for_url("**/?*init=normal**")
        page.get_by_role("heading", name="overflow").wait_for()
        query = visit.query()
        assert (query["depth"], query["width"], query["activation"]) == (["100"], ["100"], ["linear"])
        page.go_back()
        page.get_by_role("heading", name="A unit with 100 inputs").wait_for()
        assert visit.query()["learn_lesson"] == ["variance"] and visit.query()["learn_width"] == ["100"]
        assert visit.complaints == []


@pytest.mark.browser
def test_a_phone_cuts_no_formula_off(chromium, server: str) -> None:
    from tests.app.browser import Visit

    wide = """all => all.map(shown => [...shown.querySelectorAll('.katex-html .base')]
        .map(part => part.getBoundingClientRect().width).reduce((a, b) => a + b, 0) - shown.clientWidth)"""
    with Visit(chromium, server, "?learn_lesson=gates", viewport={"width": 390, "height": 844}) as visit:
        page = visit.page
        page.get_by_role("button", name="Open sidebar").or_(page.get_by_test_id("stExpandSidebarButton")).first.click()
        page.get_by_role("link", name="Learn").click()
        page.get_by_text("Lesson 10 of").wait_for()
        page.locator(".katex-html").nth(3).wait_for()
        assert max(page.locator(".katex-display").evaluate_all(wide)) <= 1  # px, rounding
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert visit.complaints == []
