"""Ten thousand links: legal ones mean one thing in every form, damaged and hostile ones lose what is wrong alone."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlencode

import numpy as np
import pytest

pytest.importorskip("streamlit")

import gradcore as gc
from app import i18n, state
from gradcore import cli, codec
from gradcore.errors import SpecError
from gradcore.export import script
from gradcore.fields import FIELDS
from tests import links

FEW, MANY = 1_000, 10_000
COUNTS = [pytest.param(FEW, id="few"), pytest.param(MANY, id="many", marks=pytest.mark.slow)]
PARSER = cli.build_parser()


def accounted(query: dict[str, str]) -> set[str]:
    """Read a link; every parameter is either in force as it reads alone, or refused by name. Returns the refused."""
    spec, settings, refused = state.read_query(query)
    assert all(isinstance(error, SpecError) and error.allowed for error in refused)
    names = {error.field for error in refused}
    for name, text in query.items():
        if name in names:
            continue
        held = getattr(settings if name in state.READERS else spec, name)
        value = links.read_alone(name, text)
        assert held == value and type(held) is type(value), name
    assert names <= set(query), "nothing is refused that was not asked"
    for name in names & set(FIELDS):  # a refused field is at its default, and the rest stands
        assert getattr(spec, name) == FIELDS[name].default, name
    written = state.write_query(spec, settings)
    assert state.read_query(written) == (spec, settings, []), "what is in force is itself a link"
    assert state.write_query(*state.read_query(written)[:2]) == written
    return names


# --- links ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", COUNTS)
def test_legal_links_refuse_nothing(count: int) -> None:
    rng = np.random.default_rng(1)
    for _ in range(count):
        query = dict(links.legal(rng).query)
        assert accounted(query) == set(), query


@pytest.mark.parametrize("count", COUNTS)
def test_damaged_links_lose_what_is_wrong_alone(count: int) -> None:
    rng = np.random.default_rng(2)
    seen = 0
    for _ in range(count):
        link = links.spoiled(rng)
        names = accounted(dict(link.query))
        seen += len(names)
        unknown = {name for name in link.query if name not in links.PARAMETERS}
        assert unknown <= names
    assert seen > count, "most damages are refused"


@pytest.mark.parametrize("count", COUNTS)
def test_hostile_links_are_refused_by_name_and_shown_as_text(count: int) -> None:
    rng = np.random.default_rng(3)
    for _ in range(count // 5):  # some are as long as a book
        link = links.spoiled(rng, texts=links.HOSTILE)
        query = dict(link.query)
        names = accounted(query)
        assert link.refused <= names, link.refused - names
        for error in state.read_query(query)[2]:
            shown_literally(i18n.spec_error_text(error))


def shown_literally(sentence: str) -> None:
    """The link's own words stand between backticks and hold nothing that ends or turns the line."""
    quoted, literal, rest = 0, "", sentence
    while "`" in rest:
        before, literal, rest = rest.split("`", 2)
        quoted += 1
        assert 1 <= len(literal) <= 6 * 61 and literal.isprintable()
        assert quoted > 2 or before in ("", " = ")
    assert quoted == 2 and not set("<[$") & set(rest)


@pytest.mark.parametrize("count", COUNTS)
def test_torn_texts_of_links_are_read_as_far_as_they_go(count: int) -> None:
    rng = np.random.default_rng(4)
    for _ in range(count):
        text = urlencode(links.legal(rng).query)
        for _ in range(int(rng.integers(1, 4))):
            text = links.torn(rng, text)
        parsed = parse_qs(text, keep_blank_values=True)
        spec, settings, refused = state.read_link(parsed)
        names = {error.field for error in refused}
        for name, values in parsed.items():
            if len(set(values)) > 1 or name not in links.PARAMETERS:
                assert name in names
        written = state.write_query(spec, settings)
        assert state.read_query(written) == (spec, settings, [])


def test_what_is_refused_can_be_shown_even_where_it_is_not_text() -> None:
    error = state.read_query({"depth": "\ud800\u202e\r\n`"})[2][0]
    text = i18n.spec_error_text(error)
    assert text.startswith("`depth` = `\\ud800\\u202e  '` is not allowed")
    text.encode()


# --- one Spec in four forms ----------------------------------------------------------------------------------


def forms(spec: gc.Spec) -> dict[str, gc.Spec]:
    """The Spec read back from a link's text, JSON text, the command line's own parser and the exported script."""
    query = {name: values[0] for name, values in parse_qs(urlencode(gc.to_query(spec)), keep_blank_values=True).items()}
    said: dict[str, gc.Spec] = {}
    line = script(spec).partition("spec = ")[2].partition("\n")[0]
    exec(f"spec = {line}", {"gc": gc}, said)
    return {
        "link": gc.from_query(query),
        "json": gc.from_json(json.loads(json.dumps(gc.to_json(spec), allow_nan=False))),
        "command": cli.spec_of(PARSER.parse_args(["predict", *codec.to_argv(spec)])),
        "script": said["spec"],
    }


@pytest.mark.parametrize("count", COUNTS)
def test_every_form_of_a_spec_is_that_spec(count: int) -> None:
    rng = np.random.default_rng(5)
    for _ in range(count):
        spec = links.legal_spec(rng, most=len(FIELDS))
        for form, again in forms(spec).items():
            assert again == spec and hash(again) == hash(spec), form
            assert all(type(getattr(again, name)) is type(getattr(spec, name)) for name in FIELDS), form


@pytest.mark.parametrize("count", [pytest.param(15, id="few"), pytest.param(200, id="many", marks=pytest.mark.slow)])
def test_every_form_predicts_the_same_bits(count: int) -> None:
    """Equal Specs are the same question, so a sample of the 10,000 says it for all."""
    rng = np.random.default_rng(6)
    done = 0
    found = [gc.Spec(depth=5, width=16, gain=0.0, norm="layer", norm_eps=0.0)]  # a dead signal, and 0/0 in its norm
    while done < count:
        spec = found.pop() if found else links.legal_spec(rng, small=True)
        try:
            profile = gc.predict(spec)
            numbers = {name: getattr(profile, name) for name in ("log_q", "log_g", "log_dw", "correlation")}
        except gc.UnsupportedError:
            continue
        for again in forms(spec).values():
            other = gc.predict(again)
            for name, values in numbers.items():
                assert values.tobytes() == getattr(other, name).tobytes(), name
        done += 1


@pytest.mark.parametrize("text", [*links.HOSTILE, *links.BROKEN])
def test_a_pin_that_is_none_is_named_and_the_others_stay(text: str) -> None:
    read = {"depth": "7", "pin": ["gain:2", text, "activation:tanh"]}
    spec, settings, refused = state.read_query(read)
    assert spec == gc.Spec(depth=7) and settings.pin == (gc.Spec(gain=2.0), gc.Spec(activation="tanh"))
    assert [error.field.split(":")[0] for error in refused] == ["pin 2"]
    assert state.spec_error_text(refused[0])
