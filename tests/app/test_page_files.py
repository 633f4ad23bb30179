"""Take away on the pages beside Explore: every chart is offered, the files hold what the page shows, records open."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

pytest.importorskip("streamlit")
from streamlit.testing.v1 import AppTest

import gradcore as gc
from app.pages import PAGES
from app.parts import move, page_files, pictures, takeaway
from app.parts.page_files import Held
from app.state import read_link
from gradcore.charts import chain as chain_charts
from gradcore.codec import to_compact
from gradcore.experiments.chain.question import ChainQuestion
from gradcore.export import Drawing, PageRecord, Record, opened
from tests.app.pages import SMALL, chart_specs, open_page

CHEAP = SMALL | {"batch_size": "4", "train_steps": "3", "gates_hidden_size": "16", "gates_steps": "8"}
CHEAP |= {"gates_networks": "2", "remedies_depth": "4"}
OTHERS = [page.address for page in PAGES[1:]]
SPEC = gc.Spec(depth=5, width=16)


def with_menu(address: str, **query: str) -> AppTest:
    app = open_page(address, **{**CHEAP, **query})
    app.session_state[f"take_away_{address}"] = True
    return app.run()


def offered(app: AppTest) -> dict[str, Any]:
    return {button.proto.id.rpartition("take_")[2]: button.proto for button in app.get("download_button")}


@pytest.mark.parametrize("address", OTHERS)
def test_every_chart_of_a_page_is_offered_as_table_and_image(address: str) -> None:
    app = with_menu(address, pin=to_compact(SPEC))
    assert not app.exception
    charts, files = chart_specs(app), offered(app)
    assert charts
    for kind in page_files.KINDS:
        assert len([name for name in files if name.endswith(f".{kind}")]) == len(charts), (kind, sorted(files))
    assert f"{address}_record.json" in files and f"{address}_report.html" in files


def test_nothing_is_made_before_the_menu_is_open() -> None:
    app = open_page("chain", **CHEAP)
    assert not offered(app) and pictures.KEY not in app.session_state


def test_explore_offers_its_own_files() -> None:
    files = offered(with_menu("explore"))
    assert not [name for name in files if name.startswith("explore_")] and "record.json" in files


def held() -> Held:
    chain = ChainQuestion(length=3).chain()
    drawing = Drawing("factors", chain_charts.factor_chart(chain).to_dict(validate=False), "Three factors.")
    query = {"chain_length": ["3"]}
    return Held("chain", "Chain", "What it is.", query, SPEC, [drawing], lambda: "print(3)")


def test_the_files_hold_question_and_numbers() -> None:
    files = held()
    record = opened(files.record())
    assert isinstance(record, PageRecord) and record.link == "chain?chain_length=3" and record.spec == SPEC
    _, settings, refused = read_link(record.query)
    assert settings.chain_length == 3 and not refused
    assert len(list(csv.reader(io.StringIO(files.drawings[0].csv())))) > 3
    assert "print(3)" in files.report() and "chain?chain_length=3" in files.caption
    image = takeaway.dressed_image("svg", files.drawings[0].document, files.caption, "light")
    assert "chain_length=3" in str(image)


# --- a record is opened again ---------------------------------------------------------------------------------


def given(app: AppTest, content: str | bytes) -> AppTest:
    data = content.encode() if isinstance(content, str) else content
    app.file_uploader(key="record_file").upload("record.json", data, "application/json").run()
    assert not app.exception
    return app


def test_a_page_s_record_opens_its_page_with_its_question() -> None:
    app = given(with_menu("gates"), held().record())
    address, query = app.session_state[move.KEY]
    assert address == "chain" and query == {"chain_length": ["3"]}


def test_a_network_s_record_opens_explore_with_network_and_measurement() -> None:
    measured = gc.measure(SPEC, networks=3, seed=4, dtype="float32")
    record = Record.of(SPEC, gc.predict(SPEC), measured)
    app = given(with_menu("chain", chain_length="7"), record.to_json())
    address, query = app.session_state[move.KEY]
    spec, settings, refused = read_link({name: [text] for name, text in query.items()})
    assert address == "explore" and spec == SPEC and not refused
    assert (settings.networks, settings.seed, settings.dtype) == (3, 4, "float32") and settings.chain_length == 7


@pytest.mark.parametrize(
    ("content", "said"), [("", "record"), ("[1]", "record"), ('{"format": "x"}', "format"), (b"\xff\xfe\x00", "record")]
)
def test_what_is_no_record_is_named_and_nothing_is_lost(content: str | bytes, said: str) -> None:
    app = given(with_menu("chain", chain_length="7"), content)
    assert any(said in error.value for error in app.error) and move.KEY not in app.session_state
    assert app.session_state["question"].settings.chain_length == 7


def test_a_record_of_a_page_that_is_not_there_is_refused() -> None:
    document = {**json.loads(held().record()), "page": "../nowhere"}
    app = given(with_menu("chain"), json.dumps(document))
    assert any("page" in error.value and "nowhere" in error.value for error in app.error)
    assert move.KEY not in app.session_state


# --- the script -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", OTHERS)
def test_every_page_offers_its_script(address: str) -> None:
    """That scripts print what their pages show is tested with the scripts; here, that the page asks for its own."""
    app = with_menu(address, pin=to_compact(SPEC), activation="tanh")
    assert f"{address}_page.py" in offered(app)


def _with_its_script(address: str) -> None:
    import streamlit as st

    from app.pages import PAGES, draw
    from app.parts.page_scripts import script_of

    draw(next(page for page in PAGES if page.address == address))
    st.session_state["code"] = script_of(address)


@pytest.mark.parametrize(
    ("address", "query", "said"),
    [
        ("chain", {"chain_length": "9"}, ("ChainQuestion", "length=9")),
        ("phase-map", {"activation": "tanh", "map_x": "bias_std"}, ('activation="tanh"', "bias_std")),
        ("compare", {"pin": to_compact(SPEC), "seed": "6"}, ("depth=5", "seed=6", "networks=2")),
        ("train", {"train_network": "spec", "depth": "3"}, ('network="spec"', "depth=3")),
        ("gates", {"gates_cell": "gru"}, ('cell="gru"',)),
        ("symptoms", {"symptoms_example": "exploding"}, ("exploding",)),
        ("remedies", {"remedies_on": "layer_norm"}, ("layer_norm", "depth=5")),
        ("learn", {"learn_lesson": "gates"}, ('lesson="gates"',)),
        ("activations", {"activation": "gelu", "seed": "3"}, ('activation="gelu"', "3")),
        ("initializers", {"init": "orthogonal"}, ('init="orthogonal"',)),
    ],
)
def test_the_script_asks_what_the_page_asks(address: str, query: dict[str, str], said: tuple[str, ...]) -> None:
    app = AppTest.from_function(_with_its_script, args=(address,), default_timeout=120)
    for name, value in {**CHEAP, **query}.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    code = app.session_state["code"]()
    compile(code, address, "exec")
    assert all(text in code.replace("'", '"') for text in said), code


def test_a_question_that_is_not_allowed_has_no_script(monkeypatch: pytest.MonkeyPatch) -> None:
    from app.parts import page_scripts

    def refuse(spec: gc.Spec, settings: Any) -> Any:
        raise gc.SpecError("depth", 0, "1 or more")

    monkeypatch.setitem(page_scripts.ASKED, "chain", refuse)
    app = with_menu("chain")
    assert not app.exception and "chain_page.py" not in offered(app)
