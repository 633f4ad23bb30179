"""What a page of the explorer holds: its question as link parameters, and the numbers of its charts. It loads back.

    record = PageRecord.from_json(Path("chain-record.json").read_bytes())
    record.page, record.query          # "chain", {"chain_length": ["8"]}: what a link to it says
    record.tables["factors"].rows      # the numbers of one chart, columns named with their units

The page Explore has a record of its own (``gradcore.export.Record``), with every measured network.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import urlencode

import gradcore as gc
from gradcore import codec
from gradcore.cli_output import jsonable
from gradcore.errors import SpecError
from gradcore.export import reading
from gradcore.export.drawings import Drawing
from gradcore.export.markup import document, figure, heading, made, paragraphs, pre, table
from gradcore.export.record import FORMAT as RECORD
from gradcore.export.record import Record, versions
from gradcore.fields import FIELDS
from gradcore.spec import Spec
from gradcore.words import Translate, english

FORMAT, FORMAT_VERSION = "gradcore.page", 1
PLAIN = (str, bool, int, float)
Query = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Numbers:
    """One source of numbers of a chart: ``title`` and ``words`` of the chart, the names of the ``columns`` with their
    units, and ``rows`` with a value per column, None where there is none."""

    title: str
    words: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class PageRecord:
    """A page's question and what its charts showed. ``query`` are the parameters of its link, each with all its values,
    defaults left out; ``spec`` the network of the sidebar; ``tables`` by the chart's code, "-2" for its second source.
    """

    page: str
    query: dict[str, tuple[str, ...]]
    spec: Spec
    tables: dict[str, Numbers]
    versions: dict[str, str]

    @classmethod
    def of(cls, page: str, query: Query, spec: Spec, drawings: Iterable[Drawing]) -> PageRecord:
        """The record of these charts."""
        found: dict[str, Numbers] = {}
        for drawing in drawings:
            for number, one in enumerate(drawing.tables(), start=1):
                code = drawing.code if number == 1 else f"{drawing.code}-{number}"
                rows = tuple(tuple(_kept(row.get(field)) for field in one.columns) for row in one.rows)
                found[code] = Numbers(drawing.title, drawing.words, tuple(one.columns.values()), rows)
        return cls(page, {name: tuple(values) for name, values in query.items()}, spec, found, versions())

    @property
    def link(self) -> str:
        """What follows the explorer's address: ``chain?chain_length=8``."""
        return link(self.page, self.query)

    def to_json(self) -> str:
        """The record as JSON text. Raises SpecError where it would be larger than ``from_json`` reads."""
        about = {"format": FORMAT, "format_version": FORMAT_VERSION, "versions": self.versions}
        spec = {name: getattr(self.spec, name) for name in FIELDS}
        tables = {code: vars(numbers) for code, numbers in self.tables.items()}
        parts = {"page": self.page, "query": self.query, "spec": spec, "tables": tables}
        text = json.dumps(jsonable({**about, **parts}), allow_nan=False)
        if len(text) > reading.MOST_BYTES:
            raise SpecError("record", f"{len(text):,} bytes", f"at most {reading.MOST_BYTES:,} bytes")
        return text

    @classmethod
    def from_json(cls, text: str | bytes) -> PageRecord:
        """The record of a JSON text from ``to_json``. Raises SpecError naming what is wrong and what is allowed."""
        part = reading.Part("record", reading.parsed(text))
        if part.given("format") != FORMAT:
            raise SpecError("record: format", part.given("format"), f'"{FORMAT}", as the explorer makes')
        if part.given("format_version") != FORMAT_VERSION:
            allowed = f"{FORMAT_VERSION}, the only version there is"
            raise SpecError("record: format_version", part.given("format_version"), allowed)
        query, tables, made_with = (part.inner(name) for name in ("query", "tables", "versions"))
        return cls(
            part.text("page"),
            {name: tuple(query.texts(name)) for name in query.values},
            codec.from_json(part.inner("spec").values),
            {code: _numbers(tables.inner(code)) for code in tables.values},
            {name: made_with.text(name) for name in made_with.values},
        )


def opened(text: str | bytes) -> Record | PageRecord:
    """The record of a JSON text, of either kind. Raises SpecError naming what is wrong and what is allowed."""
    kind = reading.Part("record", reading.parsed(text)).given("format")
    readers: dict[Any, Callable[[str | bytes], Record | PageRecord]] = {
        RECORD: Record.from_json,
        FORMAT: PageRecord.from_json,
    }
    if not isinstance(kind, str) or kind not in readers:
        raise SpecError("record: format", kind, " or ".join(f'"{name}"' for name in readers))
    return readers[kind](text)


def link(page: str, query: Query) -> str:
    """What follows the explorer's address to open this."""
    asked = urlencode(query, doseq=True, safe=":,")
    return f"{page}?{asked}" if asked else page


def page_caption(page: str, query: Query) -> str:
    """The question in one line, for an image of one of the page's charts."""
    return f"gradcore {gc.__version__}: {link(page, query)}"


def page_report(
    title: str,
    sentence: str,
    page: str,
    query: Query,
    drawings: Sequence[Drawing],
    code: str = "",
    t: Translate = english,
    language: str = "en",
) -> str:
    """A page of the explorer as one HTML file that opens without a server or network: its charts, their numbers, the
    link of its question, and the script that computes it again. Raises ModuleNotFoundError without vl-convert."""
    parts = [f"<h1>{escape(title)}</h1>", *paragraphs([sentence])]
    parts += [f'<p class="soft">{escape(page_caption(page, query))}</p>']
    parts += [figure(one.code, one.document, page_caption(page, query), one.words) for one in drawings]
    parts += [*paragraphs([t("The explorer opens it at {link}", link=link(page, query))])]
    record = PageRecord.of(page, query, Spec(), drawings)
    for name, numbers in record.tables.items():
        rows = [[_cell(value) for value in row] for row in numbers.rows]
        parts += [heading(numbers.title), table(f"{name}-numbers", numbers.columns, rows)]
    parts += [heading(t("Code: every number on this page")), pre(code)] if code else []
    return document(f"gradcore: {title}", language, [*parts, made(t)])


def _kept(value: Any) -> Any:
    """A number, a text or nothing; what else a chart may hold is written as JSON."""
    return value if value is None or isinstance(value, PLAIN) else json.dumps(value)


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _numbers(part: reading.Part) -> Numbers:
    columns = tuple(part.texts("columns"))
    rows = part.given("rows")
    good = isinstance(rows, list) and all(isinstance(row, list) and len(row) == len(columns) for row in rows)
    if not good or not all(value is None or isinstance(value, PLAIN) for row in rows for value in row):
        part.refuse("rows", str(rows)[:60], f"lists of {len(columns)} numbers or texts, one per column")
    return Numbers(part.text("title"), part.text("words"), columns, tuple(tuple(row) for row in rows))
