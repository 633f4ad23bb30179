"""The address bar without a browser: links, what they may not say, Back and Forward, and another page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("streamlit")
from streamlit.testing.v1 import AppTest

from app import state, widgets
from gradcore.errors import SpecError
from gradcore.spec import Spec
from tests.app.sidebar import SMALL, asked, open_sidebar, preset_shown, sidebar_alone, small

MAIN = Path(__file__).resolve().parents[2] / "app" / "main.py"


def notices(app: AppTest) -> str:
    """What the page will say about the link."""
    return "\n".join(app.session_state["notices"])


def test_every_refused_part_of_a_link_is_named() -> None:
    app = small(activation="foo", seed="-1", gain="1.5", colour="red")
    assert not app.exception
    lines = app.session_state["notices"]
    assert len(lines) == 3
    for field, value, line in zip(("activation", "colour", "seed"), ("foo", "red", "-1"), lines, strict=True):
        assert line.startswith(f"`{field}` = `{value}` is not allowed; allowed: ")
    assert asked(app) == Spec(depth=5, width=16, gain=1.5)


def test_values_that_do_not_go_together_are_named() -> None:
    app = open_sidebar(norm="batch", norm_eps="0", width="3,4")
    assert not app.exception
    assert "`norm_eps`" in notices(app) and "`width`" in notices(app)
    assert asked(app) == Spec(norm="batch")


def test_a_parameter_with_two_values_is_named() -> None:
    app = AppTest.from_function(sidebar_alone)
    app.query_params["depth"] = ["5", "7"]
    app.query_params["width"] = ["16", "16"]
    app.run()
    assert notices(app) == "`depth` = `5, 7` is not allowed; allowed: one value."
    assert asked(app) == Spec(width=16)


@pytest.mark.parametrize(
    "hostile",
    [
        "[here](https://example.com)",
        "<script>alert(1)</script>",
        "**bold** :red[x] $x^2$",
        "` `` code",
        "line\nbreak",
        "x" * 5000,
        "",
        "nan",
        "1e999",
        "9" * 5000,
    ],
)
@pytest.mark.parametrize("name", ["activation", "gain", "width", "networks", "unknown"])
def test_hostile_values_are_shown_as_text(name: str, hostile: str) -> None:
    app = small(**{name: hostile})
    assert not app.exception
    literals = re.findall(r"`[^`\n]*`", notices(app))
    assert literals[0] == f"`{name}`" and len(literals) == 2
    assert len(app.session_state["notices"]) == 1 and "\n" not in notices(app)
    assert len(literals[1]) <= 62
    rest = re.sub(r"`[^`\n]*`", "", notices(app))
    assert not re.search(r"[<\[*$]", rest)


def test_a_link_stays_as_it_was_written_until_the_question_changes() -> None:
    """Otherwise the browser's Back button could never leave a link that is not in our own words."""
    written = {**SMALL, "gain": "5/3", "activation": "foo"}
    app = open_sidebar(**written)
    assert app.query_params == written
    app.number_input(key=widgets.key_of("gain")).set_value(2.0).run()
    assert app.query_params == {**SMALL, "gain": "2.0"}
    app.number_input(key=widgets.key_of("gain")).set_value(5 / 3).run()
    assert app.query_params == {**SMALL, "gain": repr(5 / 3)}


def test_dismissing_what_was_refused_cleans_the_address() -> None:
    app = AppTest.from_file(str(MAIN), default_timeout=60)
    for name, text in {**SMALL, "activation": "foo"}.items():
        app.query_params[name] = text
    app.run()
    assert "activation" in app.warning[0].value and "foo" in app.warning[0].value
    next(button for button in app.button if button.label == "Dismiss").click().run()
    assert not app.exception and not app.warning
    assert app.query_params == SMALL


def test_back_and_forward_read_the_address_again() -> None:
    app = small()
    app.selectbox(key=widgets.key_of("activation")).set_value("tanh").run()
    forward = dict(app.query_params)
    for query, activation in ((SMALL, "relu"), (forward, "tanh"), ({}, "relu")):
        app.query_params = dict(query)
        app.run()
        assert not app.exception
        assert asked(app).activation == activation
        assert app.selectbox(key=widgets.key_of("activation")).value == activation
    assert preset_shown(app) == "vanishing"


def page_of_two() -> None:
    """Which page shows is in the session, as the navigation would say."""
    import streamlit as st

    from app import controls

    controls.ask(st.session_state.get("which", ""))


def test_another_page_keeps_the_question() -> None:
    """The navigation opens a page without parameters."""
    app = AppTest.from_function(page_of_two)
    app.query_params["activation"] = "tanh"
    app.run()
    app.session_state["which"] = "other"
    app.query_params = {}
    app.run()
    assert asked(app) == Spec(activation="tanh")
    assert app.query_params == {"activation": "tanh"}
    app.query_params = {}
    app.run()
    assert asked(app) == Spec()


@pytest.mark.parametrize("query", [{}, {"gain": "critical", "activation": "gelu"}, {"width": "3,4,5,6,7"}])
def test_query_round_trip(query: dict[str, str]) -> None:
    spec, settings, refused = state.read_query({**SMALL, **query, "seed": "7", "dtype": "float32"})
    assert not refused
    again = state.read_query(state.write_query(spec, settings))
    assert again == (spec, settings, [])


def test_settings_outside_their_range_are_refused() -> None:
    _, settings, refused = state.read_query({"networks": "100000", "dtype": "int8"})
    assert settings == state.Settings()
    assert [error.field for error in refused] == ["networks", "dtype"]
    assert all(isinstance(error, SpecError) for error in refused)
