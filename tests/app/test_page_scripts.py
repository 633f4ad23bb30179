"""The pages' scripts: what a page shows in numbers stands in what its script prints, to the digit.

Every number of headlines, captions, metrics, formulas and tables is looked for, but those of sentences that are the
same on every question (STATIC) and of papers' years on the pages that name sources.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

pytest.importorskip("streamlit")
pytest.importorskip("sklearn")
pytest.importorskip("torch")
from streamlit.testing.v1 import AppTest

from app.pages import PAGES
from app.parts import phase
from gradcore.activations import ACTIVATIONS
from gradcore.codec import to_compact
from gradcore.experiments.chain.question import VIEWS, ChainQuestion
from gradcore.experiments.gates import GatesQuestion
from gradcore.experiments.learn import LearnQuestion
from gradcore.experiments.remedies_question import RemediesQuestion
from gradcore.experiments.symptom_examples import SymptomsQuestion
from gradcore.experiments.train_question import TrainQuestion
from gradcore.export import PAGE_SCRIPTS
from gradcore.spec import Spec
from tests.app.pages import SMALL

NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")
INDEX = re.compile(r"_(?:\{\d+\}|\d+(?![.\d]))")
POWER = re.compile(r" \\times 10\^\{(-?\d+)\}")
STATIC = (  # what begins so says the same of every question
    "4.1 clipping and 4.7",
    "By experiment: torch's own functions on",  # float64
    "Lines: predicted.",
    "Predicted change of the gradient per layer",
    "The book's networks",
    "**Does.**",
    "**Does not.**",
)
PAGE = """
from app import controls
from app.views import {view}
controls.ask("{address}")
{view}.page()
controls.sidebar()
"""


def _slow(value: str) -> Any:
    return pytest.param(value, marks=pytest.mark.slow)


def open_page(address: str, **query: Any) -> AppTest:
    source = PAGE.format(view=address.replace("-", "_"), address=address)
    app = AppTest.from_string(source, default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    app = app.run()
    assert not app.exception
    return app


def printed(code: str) -> str:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, "script", "exec"), {"__name__": "__main__"})
    return output.getvalue()


def numbers(text: str) -> set[str]:
    """The numbers of a text as they are written, 7.7 x 10^-4 as 7.7e-4; indices are none."""
    return {found.replace(",", "") for found in NUMBER.findall(INDEX.sub("", POWER.sub(r"e\1", text)))}


def texts(app: AppTest) -> list[str]:
    """What the page says, tables as their texts."""
    main: Any = app.main
    found = [one.value for kind in ("subheader", "caption", "markdown", "latex") for one in getattr(main, kind)]
    found += [text for metric in main.metric for text in (metric.value, metric.delta)]
    return [str(text) for text in found] + [value for value in cells(app) if isinstance(value, str)]


def cells(app: AppTest) -> list[Any]:
    main: Any = app.main
    return [value for table in (*main.dataframe, *main.table) for value in table.value.to_numpy().ravel()]


def assert_printed(app: AppTest, code: str) -> None:
    """Every number of the page is in the script's output: texts to the digit, cells of tables to their four digits."""
    there = numbers(printed(code))
    for text in texts(app):
        if not text.startswith(STATIC):
            assert numbers(text) <= there, (text, sorted(numbers(text) - there))
    values = sorted(float(text) for text in there)
    for cell in cells(app):
        if isinstance(cell, float) and math.isfinite(cell):
            assert any(abs(value - cell) <= 5e-4 * abs(cell) for value in values), cell


def asked(app: AppTest, kind: type, prefix: str) -> Any:
    settings = app.session_state["question"].settings
    return kind(**{field.name: getattr(settings, prefix + field.name) for field in fields(kind)})


def test_every_page_has_a_script() -> None:
    assert list(PAGE_SCRIPTS) == [page.address for page in PAGES]


# --- pages of networks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", [{}, {"moment": "mean_square", "statistic": "median"}])
def test_compare(view: dict[str, str]) -> None:
    specs = (Spec(depth=5, width=16), Spec(depth=5, width=16, activation="tanh", gain=5 / 3), Spec(depth=8, width=16))
    app = open_page("compare", networks="2", seed="3", pin=[to_compact(spec) for spec in specs], **view)
    assert app.main.table[0].value.shape[0] == 3
    assert_printed(app, PAGE_SCRIPTS["compare"](specs, 2, 3, **view))


def test_compare_with_a_network_that_theory_refuses() -> None:
    specs = (Spec(depth=5, width=16), Spec(depth=5, width=16, norm="batch", batch_size=3))
    app = open_page("compare", networks="2", pin=[to_compact(spec) for spec in specs])
    assert_printed(app, PAGE_SCRIPTS["compare"](specs, 2))


@pytest.mark.parametrize("of", ["log_g_1", "chi_star", "xi_gradient"])
def test_phase_map(of: str) -> None:
    app = open_page("phase-map", map_of=of, moment="mean_square", **SMALL)
    spec = app.session_state["question"].spec
    assert_printed(app, PAGE_SCRIPTS["phase-map"](spec, of=of, moment="mean_square") + _network(spec))


def test_a_slow_phase_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its size hangs on the machine: the script is told it."""
    monkeypatch.setattr(phase, "SLOW_CELLS", (3, 3))
    app = open_page("phase-map", norm="batch", **SMALL)
    spec = app.session_state["question"].spec
    assert_printed(app, PAGE_SCRIPTS["phase-map"](spec, cells=3) + _network(spec))


def _network(spec: Spec) -> str:
    """The page's line on the network says its fields, which the script holds as code."""
    return f'\nprint("{spec.depth} {spec.width} {spec.batch_size} {spec.gain:.4g}")'


@pytest.mark.parametrize("query", [{"activation": "tanh", "gain": "5/3", "bias_std": "0.1"}, {"activation": "gelu"}])
def test_activations(query: dict[str, str]) -> None:
    app = open_page("activations", seed="2", **query)
    assert_printed(app, PAGE_SCRIPTS["activations"](app.session_state["question"].spec, 2))


@pytest.mark.parametrize("tab", ["Weights", "Numbers", "Derivation"])
def test_initializers(tab: str) -> None:
    app = open_page("initializers", seed="4", **SMALL)
    app.session_state["initializers_tab"] = tab
    app = app.run()
    spec = app.session_state["question"].spec
    assert_printed(app, PAGE_SCRIPTS["initializers"](spec, True, 4) + _network(spec))


# --- experiments ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", [_slow(view) if view == "balance" else view for view in VIEWS])
def test_chain(view: str) -> None:
    app = open_page("chain", chain_view=view, chain_seed="5")
    assert_printed(app, PAGE_SCRIPTS["chain"](asked(app, ChainQuestion, "chain_")))


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_gates(cell: str) -> None:
    sizes = {"hidden_size": "24", "input_size": "6", "steps": "12", "networks": "3"}
    app = open_page("gates", gates_cell=cell, **{f"gates_{name}": value for name, value in sizes.items()})
    app = app.run()
    assert app.metric[1].value != "–"
    assert_printed(app, PAGE_SCRIPTS["gates"](asked(app, GatesQuestion, "gates_")))


@pytest.mark.slow
def test_gates_in_training() -> None:
    sizes = {"hidden_size": "12", "input_size": "6", "steps": "8", "networks": "2"}
    training = {"units": "6", "length": "8", "updates": "4", "cells": "rnn,gru"}
    app = open_page("gates", **{f"gates_{name}": value for name, value in {**sizes, **training}.items()})
    app = app.button(key="gates_train").click().run()
    assert not app.exception and "loss" in app.caption[-1].value
    assert_printed(app, PAGE_SCRIPTS["gates"](asked(app, GatesQuestion, "gates_"), trained=True))


@pytest.mark.parametrize("lesson", ["chain_rule", "xavier", "chaos", "residual", "clipping"])
def test_learn(lesson: str) -> None:
    app = open_page("learn", learn_lesson=lesson)
    assert len(app.latex) > 2
    assert_printed(app, PAGE_SCRIPTS["learn"](asked(app, LearnQuestion, "learn_")))


@pytest.mark.parametrize("example", ["vanishing", _slow("exploding"), "diverging", _slow("healthy")])
def test_symptoms(example: str) -> None:
    app = open_page("symptoms", symptoms_example=example)
    assert_printed(app, PAGE_SCRIPTS["symptoms"](asked(app, SymptomsQuestion, "symptoms_")))


@pytest.mark.parametrize("view", ["updates", _slow("factors"), _slow("start")])
def test_train(view: str) -> None:
    short = {"train_steps": "12", "train_hidden": "2", "train_width": "8"}
    app = open_page("train", train_view=view, train_remedy="relu_kaiming", **short)
    app = app.button(key="train_go").click().run()
    assert not app.exception and len(app.session_state["train_kept"]) == 2
    assert_printed(app, PAGE_SCRIPTS["train"](asked(app, TrainQuestion, "train_")))


def test_train_before_it_is_trained() -> None:
    app = open_page("train", train_steps="12", train_hidden="2", train_width="8")
    app = app.run()
    code = PAGE_SCRIPTS["train"](asked(app, TrainQuestion, "train_"), trained=False)
    assert app.subheader[0].value in printed(code)


@pytest.mark.parametrize("query", [{}, {"gain": "2.0", "remedies_alpha": "1/sqrt(L)", "remedies_on": "residual"}])
def test_the_board(query: dict[str, str]) -> None:
    app = open_page("remedies", **{**SMALL, **query})
    app = app.run()
    question, spec = asked(app, RemediesQuestion, "remedies_"), app.session_state["question"].spec
    assert sum("Measured ×" in one.value for one in app.markdown) == (2 if query else 4)
    assert_printed(app, PAGE_SCRIPTS["remedies"](question, spec, 2) + _network(spec))


@pytest.mark.slow
def test_every_activation_on_the_board() -> None:
    app = open_page("remedies", **SMALL)
    app.session_state["remedies_activations"] = True
    app = app.run()
    question, spec = asked(app, RemediesQuestion, "remedies_"), app.session_state["question"].spec
    assert len(app.main.dataframe[0].value) == len(ACTIVATIONS)
    assert_printed(app, PAGE_SCRIPTS["remedies"](question, spec, 2, activations=True) + _network(spec))


@pytest.mark.parametrize("query", [{"view": "clipping"}, {"view": "clipping", "clip": "value"}, {"view": "penalties"}])
def test_remedies_in_training(query: dict[str, str]) -> None:
    short = {"steps": "6", "hidden": "2", "width": "8", **query}
    app = open_page("remedies", **{f"remedies_{name}": value for name, value in short.items()})
    app = app.run()
    assert len(app.get("vega_lite_chart")) >= 2
    assert_printed(app, PAGE_SCRIPTS["remedies"](asked(app, RemediesQuestion, "remedies_"), Spec()))


def test_the_check_can_fail() -> None:
    """Of another seed the measured numbers are others."""
    specs = (Spec(depth=5, width=16), Spec(depth=8, width=16))
    app = open_page("compare", networks="2", pin=[to_compact(spec) for spec in specs])
    make: Callable[..., str] = PAGE_SCRIPTS["compare"]
    with pytest.raises(AssertionError):
        assert_printed(app, make(specs, 2, 1))
