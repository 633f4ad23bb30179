"""Old links keep opening: those of today by heart, and what a later version would do to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

pytest.importorskip("streamlit")

import gradcore as gc
from app import i18n, state
from gradcore import query as questions
from gradcore import versions
from gradcore.codec import from_query_leniently, to_argv
from gradcore.experiments import gates
from gradcore.fields import FIELDS
from gradcore.versions import CHANGES, Change, stamped, upgraded
from tests import links

# Links as they were written by version 1, and what they mean. A line is never changed or taken out; the first one
# spells out all defaults, which the others leave out. Where a field is renamed, its old name stays here.
GOLDEN = json.loads((Path(__file__).parent / "reference" / "links.json").read_text(encoding="utf-8"))
DEFAULTS = {"spec": {**GOLDEN[0]["spec"], "depth": 50}, "settings": GOLDEN[0]["settings"]}


def today(meaning: dict[str, Any]) -> dict[str, Any]:
    """The same under the names of today."""
    for _, change in sorted(CHANGES.items()):
        meaning = {change.renamed.get(name, name): value for name, value in meaning.items()}
    return meaning


@pytest.mark.parametrize("number", range(0, len(GOLDEN), 20))
def test_links_of_version_1_open_for_ever(number: int) -> None:
    for row in GOLDEN[number : number + 20]:
        spec, settings, refused = state.read_link(parse_qs(row["link"], keep_blank_values=True, strict_parsing=True))
        assert refused == [], row["link"]
        for part, held in (("spec", spec), ("settings", settings)):
            for name, value in today({**DEFAULTS[part], **row.get(part, {})}).items():
                found = getattr(held, name)
                assert (list(found) if isinstance(found, tuple) else found) == value, (row["link"], name)


def test_the_links_hold_every_parameter_of_version_1() -> None:
    held = {name for row in GOLDEN for name in parse_qs(row["link"], keep_blank_values=True)}
    spelled = {*GOLDEN[0]["spec"], *GOLDEN[0]["settings"]}
    assert spelled <= held and {"v"} == held - spelled
    if versions.VERSION == 1:
        assert set(links.PARAMETERS) >= spelled


def test_links_of_today_say_no_version() -> None:
    assert versions.VERSION == 1 and not CHANGES
    assert state.write_query(gc.Spec(depth=7), state.Settings(seed=3)) == {"depth": "7", "seed": "3"}
    assert state.read_query({"v": "1", "depth": "7"}) == (gc.Spec(depth=7), state.Settings(), [])
    assert gc.from_query({"v": "1", "depth": "7"}) == gc.Spec(depth=7)


@pytest.mark.parametrize("text", ["2", "999999999"])
def test_a_link_of_a_later_version_opens_as_far_as_it_is_known(text: str) -> None:
    spec, _, (newer, unknown) = state.read_query({"v": text, "depth": "7", "spectral_norm": "1"})
    assert spec == gc.Spec(depth=7) and (newer.field, unknown.field) == ("v", "spectral_norm")
    assert "a newer version" in i18n.spec_error_text(newer)
    for read in (gc.from_query, gates.from_query):
        with pytest.raises(gc.SpecError, match="a newer version"):
            read({"v": text})


@pytest.mark.parametrize("text", ["", "0", "-1", "1.0", "one", "²", "１", "9" * 10_000, "<b>"])
def test_a_version_that_is_none_is_refused_by_name(text: str) -> None:
    spec, _, refused = state.read_query({"v": text, "depth": "7"})
    assert spec == gc.Spec(depth=7) and [error.field for error in refused] == ["v"]
    assert "newer" not in refused[0].hint


# --- a later version -------------------------------------------------------------------------------------------

LATER = {
    2: Change(renamed={"layers": "depth", "gates_kind": "gates_cell"}, recoded={("init", "glorot"): "xavier_uniform"}),
    3: Change(recoded={("activation", "swish"): "silu"}, defaults={"width": "100", "networks": "4"}),
}


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if today were version 3."""
    monkeypatch.setattr(versions, "VERSION", 3)
    monkeypatch.setattr(versions, "CHANGES", LATER)


@pytest.mark.usefixtures("later")
def test_an_older_link_means_what_it_meant() -> None:
    spec, settings, refused = state.read_query({"layers": "7", "init": "glorot", "activation": "swish", "seed": "2"})
    assert refused == []
    assert spec == gc.Spec(depth=7, width=100, init="xavier_uniform", activation="silu")
    assert (settings.networks, settings.seed) == (4, 2)
    second = state.read_query({"v": "2", "init": "glorot", "activation": "swish"})
    assert [error.field for error in second[2]] == ["init"] and second[0] == gc.Spec(width=100, activation="silu")
    assert state.read_query({"v": "3", "depth": "7"})[:2] == (gc.Spec(depth=7), state.Settings())
    assert state.read_query({}) == (gc.Spec(), state.Settings(), [])  # a bare address: the defaults of today
    assert state.read_query({"layers": "7", "depth": "9"})[0].depth == 9


@pytest.mark.usefixtures("later")
def test_the_library_reads_older_links_as_well() -> None:
    assert gc.from_query({"layers": "7"}) == gc.Spec(depth=7, width=100)
    assert from_query_leniently({"layers": "7", "colour": "red"})[0] == gc.Spec(depth=7, width=100)
    assert gates.from_query({"gates_kind": "gru", "layers": "3"}).cell == "gru"


@pytest.mark.usefixtures("later")
def test_what_is_written_says_its_version() -> None:
    spec, settings = gc.Spec(depth=7), state.Settings(seed=3)
    query = state.write_query(spec, settings)
    assert query == {"depth": "7", "seed": "3", "v": "3"} and state.read_query(query) == (spec, settings, [])
    assert state.write_query(gc.Spec(), state.Settings()) == {} == gc.to_query(gc.Spec())
    assert gc.from_query(gc.to_query(spec)) == spec and gc.to_query(spec)["v"] == "3"
    assert questions.write(gates.GatesQuestion(cell="gru"), "gates_") == {"gates_cell": "gru", "v": "3"}
    assert to_argv(spec) == ["--depth=7"]


def test_every_version_but_the_first_says_what_it_changed() -> None:
    assert sorted(CHANGES) == list(range(2, versions.VERSION + 1))
    given_up = {old for change in CHANGES.values() for old in change.renamed}
    assert not given_up & {*FIELDS, *state.READERS, versions.KEY}, "a name that was given up is never used again"
    assert upgraded(stamped({"depth": "7"})) == ({"depth": "7"}, [])
