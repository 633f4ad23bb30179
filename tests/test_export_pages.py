"""Charts as tables, and the record and report of a page: what they hold is what the chart was drawn from."""

from __future__ import annotations

import csv
import io
import json
import math
from html.parser import HTMLParser

import altair as alt
import pytest

import gradcore as gc
from gradcore import charts
from gradcore.charts import chain as chain_charts
from gradcore.experiments.chain.question import ChainQuestion
from gradcore.export import Drawing, PageRecord, Record, opened, page_report
from gradcore.export.drawings import tables

SPEC = gc.Spec(depth=4, width=12)
QUERY = {"chain_length": ["3"], "pin": ["d=5", "d=6"]}


def factors() -> Drawing:
    chain = ChainQuestion(length=3).chain()
    return Drawing("factors", chain_charts.factor_chart(chain).to_dict(validate=False), "Three factors.")


def backward() -> Drawing:
    drawn = charts.chart("backward", gc.predict(SPEC), gc.measure(SPEC, networks=3))
    return Drawing("backward", drawn.to_dict(validate=False), "A curve.")


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


# --- tables ---------------------------------------------------------------------------------------------------


def test_a_table_holds_what_is_shown_with_the_titles_of_axes_and_tooltips() -> None:
    rows = [{"x": 1, "y": 0.5, "hidden": 9}, {"x": 2, "y": None, "hidden": 9}]
    chart = alt.Chart(alt.Data(values=rows)).encode(x=alt.X("x:Q", title="layer")).properties(title="Two points")
    both = chart.mark_line().encode(y=alt.Y("y:Q", axis=alt.Axis(title="RMS"))) + chart.mark_point().encode(
        y="y:Q", tooltip=[alt.Tooltip("y:Q", title="another name"), "z:Q"]
    )
    (table,) = tables(both.to_dict())
    assert table.columns == {"x": "x [layer]", "y": "y [RMS]"} and table.rows == rows
    assert Drawing("d", both.to_dict(), "").csv() == "x [layer],y [RMS]\n1,0.5\n2,\n"


def test_sources_of_several_marks_are_told_apart() -> None:
    points = alt.Chart(alt.Data(values=[{"x": 1, "y": 2}])).mark_point().encode(x="x:Q", y="y:Q")
    rule = alt.Chart(alt.Data(values=[{"limit": 5.0}])).mark_rule().encode(y=alt.Y("limit:Q", title="limit (RMS)"))
    rows = read(Drawing("d", (points + rule).to_dict(), "").csv())
    assert rows == [
        {"table": "1", "x": "1", "y": "2", "limit [limit (RMS)]": ""},
        {"table": "2", "x": "", "y": "", "limit [limit (RMS)]": "5.0"},
    ]


def test_facets_and_sequences() -> None:
    data = alt.Data(values=[{"x": 1, "kind": "a"}, {"x": 2, "kind": "b"}])
    faceted = alt.Chart(data).mark_point().encode(x="x:Q").facet(alt.Facet("kind:N", title="Kind"))
    (table,) = tables(faceted.to_dict())
    assert set(table.columns.values()) == {"kind [Kind]", "x"}
    counted = alt.Chart(alt.sequence(0, 3, as_="x")).mark_point().encode(x="x:Q")
    assert tables(counted.to_dict()) == []


def test_logarithms_are_named_and_a_second_end_belongs_to_the_axis_of_the_first() -> None:
    rows = [row for row in read(factors().csv()) if row["table"] == "1"]
    size, words = (next(name for name in rows[0] if name.startswith(start)) for start in ("size [log10: ", "text ["))
    assert len(rows) == 3 and "size of the factor" in size
    for row in rows:
        assert float(row[size]) == pytest.approx(math.log10(abs(float(row[words]))), abs=1e-3)
    high = [name for name in read(backward().csv())[0] if name.startswith(("high", "band_high"))]
    assert len(high) == 2 and all("[log10: RMS of" in name for name in high)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def test_predicted_and_measured_values_are_in_the_table() -> None:
    drawing = backward()
    profile, measured = gc.predict(SPEC), gc.measure(SPEC, networks=3)
    values = [float(cell) for row in read(drawing.csv()) for cell in row.values() if _is_number(cell)]
    curves = charts.series("backward", profile, measured)
    for name in ("predicted", "measured"):
        for log10 in curves[name]:
            wanted = (float(log10), 10.0 ** float(log10))
            assert any(any(math.isclose(value, w, rel_tol=1e-5, abs_tol=1e-9) for w in wanted) for value in values), (
                name
            )


# --- the record -----------------------------------------------------------------------------------------------


def test_a_record_loads_back() -> None:
    record = PageRecord.of("chain", QUERY, SPEC, [factors(), backward()])
    again = opened(record.to_json())
    assert again == record and isinstance(again, PageRecord)
    assert again.link == "chain?chain_length=3&pin=d%3D5&pin=d%3D6" and again.spec == SPEC
    assert again.versions["gradcore"] == gc.__version__ and again.tables["factors"].words == "Three factors."


def test_a_record_of_a_network_is_opened_too() -> None:
    record = Record.of(SPEC, gc.predict(SPEC))
    assert opened(record.to_json()) == record


BROKEN = [
    ({"format": "other"}, "format"),
    ({"format": None}, "format"),
    ({"format": ["gradcore.page"]}, "format"),
    ({"format_version": 2}, "format_version"),
    ({"page": 5}, "page"),
    ({"query": {"a": "b"}}, "a"),
    ({"query": []}, "query"),
    ({"spec": {"depth": -1}}, "depth"),
    ({"spec": {"other": 1}}, "other"),
    ({"tables": {"t": {"title": "t", "words": "", "columns": ["a"], "rows": [[1, 2]]}}}, "rows"),
    ({"tables": {"t": {"title": "t", "words": "", "columns": ["a"], "rows": [[{}]]}}}, "rows"),
    ({"tables": {"t": {"title": "t", "words": "", "columns": "a", "rows": []}}}, "columns"),
    ({"tables": {"t": 3}}, "t"),
    ({"versions": {"gradcore": 1}}, "gradcore"),
]


@pytest.mark.parametrize(("change", "field"), BROKEN)
def test_what_is_wrong_in_a_record_is_named(change: dict, field: str) -> None:
    document = json.loads(PageRecord.of("chain", QUERY, SPEC, [factors()]).to_json())
    with pytest.raises(gc.SpecError, match=field):
        opened(json.dumps({**document, **change}))


@pytest.mark.parametrize("name", ["format", "page", "query", "spec", "tables", "versions"])
def test_what_lacks_in_a_record_is_named(name: str) -> None:
    document = json.loads(PageRecord.of("chain", QUERY, SPEC, [factors()]).to_json())
    del document[name]
    with pytest.raises(gc.SpecError, match=name):
        opened(json.dumps(document))


@pytest.mark.parametrize("text", ["", "[]", "{", "nan", '{"format": NaN}', "\x00", "[" * 100_000])
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(gc.SpecError, match="record"):
        opened(text)


# --- the report -----------------------------------------------------------------------------------------------


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_report_shows_charts_numbers_link_and_code_and_fetches_nothing() -> None:
    drawing = factors()
    page = Tags(page_report("Chain", "What it is.", "chain", QUERY, [drawing], "print(1 < 2)"))
    names = [name for name, _ in page.tags]
    assert names.count("svg") == 1 and "script" not in names and "link" not in names
    assert not any("src" in attrs or "href" in attrs for tag, attrs in page.tags if tag in ("img", "a", "iframe"))
    assert "chain?chain_length=3" in page.text and "print(1 < 2)" in page.text and "Three factors." in page.text
    (table,) = [attrs for tag, attrs in page.tags if tag == "table"][:1]
    assert table["id"] == "factors-numbers"


def test_hostile_words_stay_words_in_the_report() -> None:
    evil = "<script>alert(1)</script>"
    drawing = Drawing(
        "d",
        {
            "title": evil,
            "mark": "point",
            "data": {"values": [{"x": evil}]},
            "encoding": {"x": {"field": "x", "type": "nominal"}},
        },
        evil,
    )
    page = Tags(page_report(evil, evil, "chain", {"a": [evil]}, [drawing], evil))
    assert "script" not in [name for name, _ in page.tags] and page.text.count("alert(1)") >= 5
