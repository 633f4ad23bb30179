"""Every chart of every page and view: a text that says more than its title, and no series told by its colour alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("streamlit")
pytest.importorskip("altair")

from gradcore.experiments.chain.question import VIEWS as CHAIN
from gradcore.experiments.learn import LESSON_CODES
from gradcore.experiments.remedies_question import VIEWS as REMEDIES
from gradcore.experiments.train_question import VIEWS as TRAIN
from tests.app.pages import open_page
from tests.app.test_links_app import CHEAP

PLACES = {  # what is opened: page, parameters
    **{page: (page, {}) for page in ("explore", "phase-map", "activations", "initializers", "symptoms", "gates")},
    **{f"chain {view}": ("chain", {"chain_view": view}) for view in CHAIN},
    **{f"train {view}": ("train", {"train_view": view}) for view in TRAIN},
    **{f"remedies {view}": ("remedies", {"remedies_view": view}) for view in REMEDIES},
    **{f"learn {code}": ("learn", {"learn_lesson": code}) for code in LESSON_CODES},
}
FIRST = ("activations", "symptoms", "gates", "chain balance", "chain training", "train updates", "remedies board")
NAMED = {"nominal", "ordinal"}
TOLD_BY_PLACE = {  # bars whose colour repeats where they stand
    "The factors of dC/db₁, one for each neuron": "below or above the line at 1",
    "Observed norms, and the threshold": "left or right of the rule at the threshold",
}


def layers(node: Any, above: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """All unit specifications, each with the encoding and the data of what is around it."""
    held = {name: node[name] for name in ("data", "encoding") if name in node}
    here = {**(above or {}), **held, "encoding": {**(above or {}).get("encoding", {}), **node.get("encoding", {})}}
    parts = [part for name in ("layer", "hconcat", "vconcat", "concat") for part in node.get(name, [])]
    for part in parts:
        yield from layers(part, here)
    if "mark" in node:
        yield {**node, **here}


def series(unit: dict[str, Any], datasets: dict[str, list[dict[str, Any]]]) -> tuple[str, set[Any]]:
    """The field that this layer's colours tell apart, and the values that it draws."""
    color = unit["encoding"].get("color", {})
    field = color.get("field", "") if isinstance(color, dict) and color.get("type") in NAMED else ""
    data = unit.get("data", {})
    rows = datasets.get(data["name"], []) if "name" in data else data.get("values", [])
    return field, {row[field] for row in rows if field in row} if field else set()


def by_colour_alone(spec: dict[str, Any]) -> list[str]:
    """What a reader without colours could not tell apart."""
    units = list(layers(spec))
    labelled = {unit["encoding"].get("text", {}).get("field") for unit in units if kind(unit) == "text"}
    found = []
    for unit in units:
        field, drawn = series(unit, spec.get("datasets", {}))
        mark, encoding = kind(unit), unit["encoding"]
        if len(drawn) < 2 or mark not in ("line", "bar", "area"):
            continue  # points and rules stand on the line of their series, or have a shape (tested in their own files)
        dashed = encoding.get("strokeDash", {}).get("field") == field
        beside = "xOffset" in encoding or "yOffset" in encoding
        if not (dashed or beside or field in labelled or title_of(spec) in TOLD_BY_PLACE):
            found.append(f"{mark}: {sorted(map(str, drawn))}")
    return found


def kind(unit: dict[str, Any]) -> str:
    return unit["mark"]["type"] if isinstance(unit["mark"], dict) else unit["mark"]


def title_of(spec: dict[str, Any]) -> str:
    title = spec.get("title") or ""
    return title.get("text", "") if isinstance(title, dict) else title


@pytest.mark.parametrize(
    "place", [pytest.param(p, marks=() if p in FIRST else pytest.mark.slow) for p in PLACES], ids=str
)
def test_every_chart_says_what_is_in_it_and_tells_its_series_without_colours(place: str) -> None:
    address, query = PLACES[place]
    app = open_page(address, **{**CHEAP, "depth": "12", "width": "24", **query})
    assert not app.exception
    charts = app.get("vega_lite_chart")
    assert charts
    for chart in charts:
        spec = json.loads(chart.proto.spec)
        title, words = title_of(spec), chart.proto.alt
        assert len(words) >= len(title) + 20 or (words != title and len(words) >= 40), (title, words)
        assert words.rstrip().endswith((".", "!", "?")), words
        assert by_colour_alone(spec) == [], title


def test_the_check_can_fail() -> None:
    rows = [{"x": x, "series": name} for x in (0, 1) for name in ("one", "other")]
    color = {"field": "series", "type": "nominal"}
    line = {"mark": "line", "encoding": {"color": color}, "data": {"values": rows}}
    assert by_colour_alone({"layer": [line]}) == ["line: ['one', 'other']"]
    assert by_colour_alone({"layer": [{**line, "encoding": {"color": color, "strokeDash": color}}]}) == []
    text = {"mark": {"type": "text"}, "encoding": {"text": {"field": "series"}}, "data": {"values": rows}}
    assert by_colour_alone({"layer": [line, text]}) == []
