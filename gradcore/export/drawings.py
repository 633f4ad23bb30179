"""Charts as they stand on a page, and the numbers in them: one CSV table per chart, the units in its header."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gradcore.charts.axes import POWER_LABEL

COMPOSED = ("layer", "concat", "hconcat", "vconcat")
SECOND = {"x2": "x", "y2": "y"}
TABLE = "table"  # the column that tells apart what several marks of a chart are drawn from


@dataclass(frozen=True, eq=False)
class Drawing:
    """A chart: its ``code`` on the page, its Vega-Lite ``document``, and the ``words`` that say what is to be seen."""

    code: str
    document: Mapping[str, Any]
    words: str

    @property
    def title(self) -> str:
        """The chart's own title, or its code where it has none."""
        title = self.document.get("title")
        text = title.get("text") if isinstance(title, Mapping) else title
        return (" ".join(text) if isinstance(text, list) else text) or self.code

    def tables(self) -> list[Table]:
        """What the marks are drawn from, each source of rows once."""
        return tables(self.document)

    def csv(self) -> str:
        """The chart's numbers as CSV: a row per row of its data, columns named "field [title with unit]", "log10: "
        before the title where they are logarithms. Where marks are drawn from several sources, the first column numbers
        them and a cell that a source lacks is empty."""
        found = self.tables()
        several = len(found) > 1
        names = list(dict.fromkeys(name for table in found for name in table.columns.values()))
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([TABLE, *names] if several else names)
        for number, table in enumerate(found, start=1):
            fields = {name: field for field, name in table.columns.items()}
            for row in table.rows:
                cells = [_cell(row.get(fields[name])) if name in fields else "" for name in names]
                writer.writerow([number, *cells] if several else cells)
        return out.getvalue()


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of a chart, and what its axes and legends call their fields: ``columns`` field -> "field [title]"."""

    columns: Mapping[str, str]
    rows: list[Mapping[str, Any]]


def tables(document: Mapping[str, Any]) -> list[Table]:
    """The data of a Vega-Lite document that holds its values itself, as Altair writes them: only fields that something
    shows, in the order in which they are first shown."""
    titles: dict[str, dict[str, str]] = {}
    rows: dict[str, list[Mapping[str, Any]]] = {}
    datasets = document.get("datasets", {})
    for data, encoding in _marks(document, None, {}):
        values = datasets.get(data.get("name")) if data and "name" in data else (data or {}).get("values")
        if not isinstance(values, list):
            continue  # made by a generator: grid lines of a mark
        key = str(data["name"]) if data and "name" in data else json.dumps(values, default=str)
        rows[key] = [value if isinstance(value, Mapping) else {"data": value} for value in values]
        known = titles.setdefault(key, {})
        for field, title in _fields(encoding):
            if any(field in row for row in rows[key]):
                known[field] = known.get(field) or title
    return [
        Table({field: f"{field} [{title}]" if title and title != field else field for field, title in known.items()}, r)
        for (key, known), r in ((pair, rows[pair[0]]) for pair in titles.items())
        if known
    ]


def _marks(
    part: Mapping[str, Any], data: Any, encoding: Mapping[str, Any]
) -> Iterator[tuple[Mapping[str, Any] | None, Mapping[str, Any]]]:
    """Every mark's data and encoding, both inherited from what it lies in."""
    data = part.get("data", data)
    encoding = {**encoding, **part.get("encoding", {})}
    facet = part.get("facet")
    if isinstance(facet, Mapping):  # one field, or one for rows and one for columns
        encoding |= {"facet": facet} if "field" in facet else facet
    if "mark" in part:
        yield data, encoding
    for name in COMPOSED:
        for child in part.get(name, ()):
            yield from _marks(child, data, encoding)
    if isinstance(part.get("spec"), Mapping):
        yield from _marks(part["spec"], data, encoding)


def _fields(encoding: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The fields of an encoding with their titles, "" where they have none."""
    for name, channel in encoding.items():
        for shown in channel if isinstance(channel, list) else [channel]:
            if not isinstance(shown, Mapping):
                continue
            if isinstance(shown.get("field"), str):
                of = encoding.get(SECOND.get(name, name), shown)  # a second end belongs to the axis of the first
                yield shown["field"], _title(shown) or _title(of if isinstance(of, Mapping) else shown)
            condition = shown.get("condition")
            if isinstance(condition, Mapping):
                yield from _fields({"condition": condition})


def _title(channel: Mapping[str, Any]) -> str:
    """What the reader is told of it; an axis whose labels are powers has logarithms."""
    axis = channel.get("axis") or channel.get("legend") or {}
    axis = axis if isinstance(axis, Mapping) else {}
    title = channel.get("title") or axis.get("title") or ""
    text = " ".join(title) if isinstance(title, list) else title
    return f"log10: {text}" if axis.get("labelExpr") == POWER_LABEL else text


def _cell(value: Any) -> Any:
    return "" if value is None else json.dumps(value) if isinstance(value, list | dict) else value
