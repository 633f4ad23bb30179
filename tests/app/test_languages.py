"""The app in two languages: the catalogue is whole, and every page speaks the language that is asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter
from types import SimpleNamespace
from typing import Any

import pytest
from babel.messages import Catalog, Message
from babel.messages.pofile import read_po
from streamlit.testing.v1 import AppTest

import gradcore as gc
from app import i18n, state
from app.locale import extract
from app.pages import PAGES
from gradcore.theory.notes import notes_of
from tests.app import pages

ROOT = Path(__file__).resolve().parents[2]
HAN = re.compile("[\N{CJK UNIFIED IDEOGRAPH-4E00}-\N{CJK UNIFIED IDEOGRAPH-9FFF}]")
# written the same in both languages: signs, codes and names alone
SAME = {
    "Tab",
    "Esc",
    "RMS",
    "w",
    "L",
    "Xavier",
    "Kaiming",
    "E[W²]",
    "torch",
    "√n",
    "λ",
    "L1",
    "L1 λ",
    "L2 λ",
    "dC/db",
    "σ′(z)",
}

CODES = {"none", "number", "norm", "value", "default", "gain"}  # options are codes, the same in both languages


def catalogue() -> Catalog:
    with extract.CATALOGUE.open("rb") as file:
        return read_po(file, locale="zh_CN")


@pytest.fixture(scope="module")
def chinese() -> dict[str, str]:
    return {str(message.id): str(message.string) for message in catalogue() if message.id}


def holes(text: str) -> list[tuple[str, str]]:
    """The placeholders of a text and how they are formatted; braces of another use count as they are."""
    try:
        return sorted((name, spec or "") for _, name, spec, _ in Formatter().parse(text) if name is not None)
    except ValueError:
        return sorted((brace, "") for brace in re.findall(r"[{}]", text))


# --- the catalogue ----------------------------------------------------------------------------------------------


def test_the_catalogue_holds_the_texts_of_today_and_no_others(chinese: dict[str, str]) -> None:
    found = {str(message.id) for message in extract.template() if message.id}
    assert found - set(chinese) == set(), "run python -m app.locale.extract and translate what is new"
    assert set(chinese) - found == set(), "run python -m app.locale.extract"


def test_the_extraction_finds_each_kind_of_text() -> None:
    source = '''
"""A docstring that no page shows."""
TABLE = {"code": Entry("Word", "a sentence of a table")}
t("marked here"); Message("id", "said by {who}")
raise SpecError("field", 3, f"a number from {low} to {high}", "Try another one.")
formula = r"\\frac{a b}{c d}"
'''
    found = {text for text, _ in extract.texts("app/made_up.py", source)}
    assert found == {
        "Word",
        "a sentence of a table",
        "marked here",
        "said by {who}",
        "a number from {0} to {1}",
        "Try another one.",
    }


def test_every_entry_is_translated_and_none_is_fuzzy() -> None:
    entries = [message for message in catalogue() if message.id]
    assert [entry.id for entry in entries if not entry.string or entry.fuzzy] == []
    untouched = {str(e.id) for e in entries if e.string == e.id}
    words = {text for text in untouched if re.search(r"[A-Za-z]{3,} [a-z]{2,}", text)}
    assert all(text.startswith("pip install ") for text in words), words


def test_placeholders_line_breaks_and_marks_are_the_same() -> None:
    def differs(entry: Message) -> bool:
        ours, theirs = str(entry.id), str(entry.string)
        marks = all(ours.count(mark) == theirs.count(mark) for mark in ("\n", "$", "`", "**", "|", "]("))
        return holes(ours) != holes(theirs) or not marks

    assert [entry.id for entry in catalogue() if entry.id and differs(entry)] == []


def test_numbers_stay_as_they_are(chinese: dict[str, str]) -> None:
    number = re.compile(r"(?<![\w.])\d+\.\d+(?:e-?\d+)?")
    assert [
        text for text, said in chinese.items() if sorted(number.findall(text)) != sorted(number.findall(said))
    ] == []


def test_no_code_holds_chinese() -> None:
    files = [path for folder in ("app", "gradcore", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    assert [str(path) for path in files if HAN.search(path.read_text(encoding="utf-8"))] == []


def test_the_readme_has_the_same_code_and_links_in_both_languages() -> None:
    ours, theirs = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md"))

    def code(text: str) -> list[str]:
        blocks = re.findall(r"```\w+\n(.*?)```", text, re.DOTALL)
        return [re.sub(r" +#.*", "", block) for block in blocks]

    def links(text: str) -> set[str]:
        found = set(re.findall(r"\]\(([^)]+)\)", text)) - {"README.md", "README.zh-CN.md"}
        return {link.replace("-zh.png", ".png") for link in found}  # the picture speaks the language of its text

    assert code(ours) == code(theirs)
    assert links(ours) == links(theirs)
    assert "(README.zh-CN.md)" in ours and "(README.md)" in theirs


# --- which language ---------------------------------------------------------------------------------------------


def test_the_link_names_the_language_and_else_the_browser_does(monkeypatch: pytest.MonkeyPatch) -> None:
    assert HAN.search(pages.headline(pages.small_app(lang="zh")))
    assert not HAN.search(pages.headline(pages.small_app()))
    monkeypatch.setattr(i18n, "browsers", lambda: "zh")
    assert HAN.search(pages.headline(pages.small_app()))
    assert not HAN.search(pages.headline(pages.small_app(lang="en")))


@pytest.mark.parametrize(
    ("locale", "code"), [("zh-CN", "zh"), ("zh_TW", "zh"), ("en-GB", "en"), ("fr", "en"), (None, "en")]
)
def test_browsers_without_a_catalogue_get_english(
    locale: str | None, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(i18n, "st", SimpleNamespace(context=SimpleNamespace(locale=locale)))
    assert i18n.browsers() == code


def test_a_language_that_there_is_not_is_refused_in_words() -> None:
    app = pages.small_app(lang="klingon")
    assert not app.exception
    assert "lang" in app.warning[0].value
    assert not HAN.search(pages.headline(app))


def test_the_switch_changes_all_and_keeps_the_network() -> None:
    app = pages.small_app(activation="tanh")
    switch = next(one for one in app.segmented_control if one.key == "language_choice")
    assert len(switch.options) == 2
    switch.set_value("zh").run()
    assert HAN.search(pages.headline(app))
    assert app.session_state["setting_lang"] == "zh"
    assert app.session_state["question"].spec.activation == "tanh"
    switch = next(one for one in app.segmented_control if one.key == "language_choice")
    switch.set_value("en").run()
    assert not HAN.search(pages.headline(app))
    assert app.session_state["setting_lang"] == ""


def test_the_language_stands_in_the_link_only_where_it_is_chosen() -> None:
    assert "lang" not in state.write_query(gc.Spec(), state.Settings())
    assert state.write_query(gc.Spec(), state.Settings(lang="zh")) == {"lang": "zh"}
    assert state.read_query({"lang": "zh"})[1].lang == "zh"


# --- every page -------------------------------------------------------------------------------------------------


def open_page(address: str, **query: str) -> AppTest:
    return pages.open_page(address, **{**pages.SMALL, **query})


def chart_words(spec: Any, key: str = "") -> Iterator[str]:
    """The texts of a chart: titles, and the words of its marks."""
    if isinstance(spec, dict):
        for name, value in spec.items():
            yield from chart_words(value, str(name))
    elif isinstance(spec, list):
        for value in spec:
            yield from chart_words(value, key)
    elif isinstance(spec, str) and key in ("title", "text", "domain"):
        yield spec


def visible(app: AppTest) -> set[str]:
    """What a page says: texts, labels, helps, options and the words of its charts."""
    found = set()
    for element in app:
        if element.type == "code":
            continue
        chosen = () if hasattr(element, "options") else ("value",)  # of a choice it is a code
        for name in (*chosen, "label", "help", "placeholder"):
            text = getattr(element, name, None)
            found |= {text} if isinstance(text, str) else set()
        proto = getattr(element, "proto", None)
        found |= {str(option) for option in getattr(proto, "options", [])}
    for spec in pages.chart_specs(app):
        found |= set(chart_words(spec))
    return {text.strip() for text in found if text.strip()}


def english_left(app: AppTest, chinese: dict[str, str]) -> set[str]:
    """The English texts on the page that the catalogue knows in Chinese."""
    known = {text for text, said in chinese.items() if said != text} - SAME
    return {text for text in visible(app) if text in known or text.rstrip(".") in known} - CODES


@pytest.mark.parametrize("address", [page.address for page in PAGES])
def test_no_page_leaves_english_behind(address: str, chinese: dict[str, str]) -> None:
    app = open_page(address, lang="zh")
    assert not app.exception
    assert english_left(app, chinese) == set()
    said = {text for text in visible(app) if re.search(r"[a-z]{4,} [a-z]{2,} [a-z]{2,}", text)}
    assert {text for text in said if not re.search(r" et al\. \d{4}", text)} == set()  # papers keep their names


def test_a_page_in_english_would_be_noticed(chinese: dict[str, str]) -> None:
    app = open_page("explore")
    assert len(english_left(app, chinese)) > 30


# --- what the library says in whole sentences -------------------------------------------------------------------


def test_a_refused_value_is_named_in_chinese() -> None:
    app = pages.small_app(lang="zh", depth="0", activation="rleu")
    refused = app.warning[0].value
    assert "depth" in refused and "`0`" in refused and "rleu" in refused
    assert not re.search(r"allowed|integer|Did you mean", refused)
    assert refused.count("\n") == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"norm": "batch", "batch_size": 4},
        {"init": "eye", "bias_std": 0.1},
        {"init": "constant", "loss": "cross_entropy"},
        {"depth": 60, "width": 20},
        {"gain": 0.0},
    ],
)
def test_notes_are_said_in_chinese(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    notes = list(notes_of(gc.predict(gc.Spec(**{"depth": 6, "width": 30, **changes}))))
    assert notes
    monkeypatch.setattr(i18n, "language", lambda: "zh")
    for _, _, sentence in notes:
        told = i18n.said_text(sentence)
        assert HAN.search(told), told
        assert not re.search(r"[a-z]{3,} [a-z]{2,} [a-z]{2,}", told), told


def test_a_sentence_without_a_template_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(i18n, "language", lambda: "zh")
    assert i18n.said_text("nothing of this is known") == "nothing of this is known"
    assert json.loads(i18n.said_text('{"a": 1}')) == {"a": 1}
