"""Undo, redo, recent networks, the link and the list of keys at the head of the sidebar."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

pytest.importorskip("streamlit")
from streamlit.testing.v1 import AppTest

from app.keys import KEYS
from app.state import read_query
from app.trail import MOST, RECENT, Trail
from gradcore.spec import Spec
from tests.app.sidebar import asked, small

ROOT = Path(__file__).resolve().parents[2]
SPECS = [Spec(depth=depth) for depth in range(1, MOST + 10)]


# --- the trail -------------------------------------------------------------------------------------------------


def test_undo_and_redo_go_through_the_questions_in_order() -> None:
    trail = Trail()
    for spec in SPECS[:4]:
        trail.note(spec)
        trail.note(spec)  # asked once more by another run
    assert [trail.undo() for _ in range(4)] == [SPECS[2], SPECS[1], SPECS[0], None]
    assert [trail.redo() for _ in range(4)] == [SPECS[1], SPECS[2], SPECS[3], None]


def test_a_new_question_forgets_what_was_undone() -> None:
    trail = Trail()
    for spec in SPECS[:3]:
        trail.note(spec)
    trail.undo()
    trail.note(SPECS[7])
    assert trail.redo() is None and trail.undo() == SPECS[1]


def test_the_trail_is_bounded() -> None:
    trail = Trail()
    for spec in SPECS:
        trail.note(spec)
    assert len(trail.before) == MOST and len(trail.seen) == RECENT + 1
    assert trail.recent == SPECS[-2 : -2 - RECENT : -1]


def test_recent_networks_are_named_once_and_without_the_present_one() -> None:
    trail = Trail()
    for spec in (SPECS[0], SPECS[1], SPECS[0], SPECS[2], SPECS[1]):
        trail.note(spec)
    assert trail.recent == [SPECS[2], SPECS[0]]


# --- in the sidebar --------------------------------------------------------------------------------------------


def changed() -> AppTest:
    app = small()
    app.selectbox(key="field_activation").set_value("tanh").run()
    return app


def test_undo_and_redo_set_the_sidebar() -> None:
    app = small()
    assert app.button(key="trail_undo").disabled and app.button(key="trail_redo").disabled
    app = changed()
    app.button(key="trail_undo").click().run()
    assert asked(app).activation == "relu" and not app.button(key="trail_redo").disabled
    app.button(key="trail_redo").click().run()
    assert asked(app).activation == "tanh" and app.button(key="trail_redo").disabled


def test_a_recent_network_comes_back() -> None:
    app = changed()
    recent = app.button(key="recent_0")
    assert recent.label == "relu · 5 × 16 · xavier_normal 1"
    recent.click().run()
    assert asked(app).activation == "relu"
    assert app.button(key="recent_0").label.startswith("tanh")


def test_the_link_opens_exactly_this() -> None:
    app = changed()
    (shown,) = [code.value for code in app.code if "?" in code.value]
    query = dict(part.split("=") for part in shown.split("?")[1].split("&"))
    spec, settings, refused = read_query(query)
    assert spec == asked(app) and settings.networks == 2 and not refused


def test_the_list_names_every_key() -> None:
    app = small()
    app.button(key="keys").click().run()
    listed = "\n".join(markdown.value for markdown in app.markdown)
    for key in KEYS.values():
        assert f"[{key.letter}]" in listed and key.does in listed


# --- one table of keys -----------------------------------------------------------------------------------------


def shortcuts() -> list[ast.expr]:
    calls = [
        node
        for path in (ROOT / "app").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    ]
    return [word.value for call in calls for word in call.keywords if word.arg == "shortcut"]


def test_every_shortcut_is_of_the_table() -> None:
    found = [ast.unparse(value) for value in shortcuts()]
    assert len(found) >= 6 and all("letter(" in text for text in found), found


def test_no_page_has_a_key_twice() -> None:
    everywhere = [key.letter for key in KEYS.values() if not key.where]
    for page in {key.where for key in KEYS.values()} - {""}:
        letters = everywhere + [key.letter for key in KEYS.values() if key.where == page]
        assert len(set(letters)) == len(letters) and not {"R", "C"} & set(letters)
