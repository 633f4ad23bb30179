"""The users' documentation: a document for every page, whose table of link parameters is that of the code."""

from __future__ import annotations

import math
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from app.pages import PAGES, Page
from app.state import QUESTIONS, READERS, Settings, Shared
from gradcore.cell_spec import CELL_CODES
from gradcore.errors import SpecError
from gradcore.experiments.board_remedies import BOARD
from gradcore.experiments.learn import LESSONS
from gradcore.phases import SCALARS

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "pages"
INDEX = FOLDER / "README.md"
IMAGES = ROOT / "docs" / "images"
DEFAULTS = {field.name: field.default for field in fields(Settings)}
SHARED = {field.name for field in fields(Shared)}
SEVERAL = {"remedies_on": {"none", *BOARD}, "gates_cells": set(CELL_CODES)}  # codes with commas between them
CODE = re.compile(r"`([^`]+)`")
RANGE = re.compile(r"(−?[\d.,e+-]+) to (−?[\d.,e+-]+?)(?=,? |,?$)")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.address)


def document(page: Page) -> Path:
    return FOLDER / f"{page.address}.md"


def tables(text: str) -> list[list[list[str]]]:
    """The cells of every table, its header first and its rule left out."""
    found = re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE)
    rows = [[[cell.strip() for cell in line.strip("|").split(" | ")] for line in one.splitlines()] for one in found]
    return [[one[0], *one[2:]] for one in rows]


def parameters(path: Path) -> dict[str, list[str]]:
    """Default, what is allowed and meaning of each parameter that the document's table names."""
    rows = [row for one in tables(path.read_text(encoding="utf-8")) if one[0][0] == "Parameter" for row in one[1:]]
    names = [CODE.fullmatch(row[0]) for row in rows]
    assert all(names) and len(rows) == len({row[0] for row in rows}), path.name
    return {name[1]: row[1:] for name, row in zip(names, rows, strict=True) if name}


def own(page: Page) -> set[str]:
    """The parameters of the page's own question."""
    prefix = page.address.replace("-", "_") + "_"
    return {found + name for found, _, readers in QUESTIONS for name in readers if found == prefix}


def accepts(name: str, text: str) -> bool:
    try:
        READERS[name](name, text)
    except SpecError:
        return False
    return True


def ends(allowed: str) -> list[str]:
    """The ends of a range as texts that a link may hold; none where there is no range."""
    found = RANGE.search(allowed)
    return [end.replace("−", "-").replace(",", "") for end in found.groups()] if found else []


DOCUMENTS = [INDEX, *(document(page) for page in PAGES)]
ROWS = [(path.stem, name, row) for path in DOCUMENTS if path.exists() for name, row in parameters(path).items()]
each_row = pytest.mark.parametrize(("name", "row"), [pytest.param(n, r, id=f"{p}-{n}") for p, n, r in ROWS])


# --- every page ---------------------------------------------------------------------------------------------


@each_page
def test_every_page_has_its_document_with_picture_and_script(page: Page) -> None:
    text = document(page).read_text(encoding="utf-8")
    assert text.startswith(f"# {page.title}\n")
    assert re.search(r"`/`" if page is PAGES[0] else rf"`/{page.address}[`?]", text)
    assert f"](../images/{page.address}.png)" in text
    assert re.search(r"```python\n(?:.*\n)*?assert .*\n", text)


def test_the_index_lists_every_page_and_no_other() -> None:
    text = INDEX.read_text(encoding="utf-8")
    rows = next(one[1:] for one in tables(text) if one[0][0] == "Page")
    assert [row[0] for row in rows] == [f"[{page.title}]({page.address}.md)" for page in PAGES]
    assert {path.stem for path in FOLDER.glob("*.md")} == {"README", *(page.address for page in PAGES)}
    assert "docs/pages/README.md" in (ROOT / "README.md").read_text(encoding="utf-8")


# --- the link -----------------------------------------------------------------------------------------------


@each_page
def test_the_table_names_every_parameter_of_the_page_and_no_other(page: Page) -> None:
    named = set(parameters(document(page)))
    assert named & set(READERS) == named
    assert named - SHARED == own(page)


def test_every_shared_setting_and_every_question_is_in_some_table() -> None:
    assert {name for _, name, _ in ROWS} == set(READERS)


@each_row
def test_defaults_are_those_of_the_code(name: str, row: list[str]) -> None:
    written = CODE.fullmatch(row[0])
    if written is None:
        assert row[0] == "empty" and DEFAULTS[name] in ("", ())
    else:
        assert written[1] == str(DEFAULTS[name]) and READERS[name](name, written[1]) == DEFAULTS[name]


@each_row
def test_what_is_allowed_is_accepted_and_nothing_beyond(name: str, row: list[str]) -> None:
    allowed = row[1]
    codes = [code for code in CODE.findall(allowed) if code not in ("sigma_w", "sigma_b", "length")]
    assert [code for code in codes if not accepts(name, code)] == []
    if name in SEVERAL:
        assert set(codes) == SEVERAL[name]
    elif "](" not in allowed and not ends(allowed):
        with pytest.raises(SpecError) as refused:
            READERS[name](name, "no such code")
        assert refused.value.allowed == "one of " + ", ".join(codes)
    assert accepts(name, "None") is ("`None`" in allowed)
    for end, away in zip(ends(allowed), (-1.0, 1.0), strict=False):
        beyond = int(end) + away if allowed.startswith("integer") else math.nextafter(float(end), away * math.inf)
        text = str(int(beyond)) if allowed.startswith("integer") else repr(beyond)
        assert accepts(name, end) and not accepts(name, text)


@each_row
def test_numbers_have_a_range_and_say_whether_they_are_whole(name: str, row: list[str]) -> None:
    default: Any = DEFAULTS[name]
    if isinstance(default, (int, float)):
        assert len(ends(row[1])) == 2
        assert row[1].startswith("integer" if isinstance(default, int) else "number")


def test_a_wrong_range_is_seen() -> None:
    assert ends("integer, 0 to 2,147,483,647") == ["0", "2147483647"]
    assert ends("number, 1e-6 to 1e30, or `None`") == ["1e-6", "1e30"]
    assert ends("numbers, −1000 to 1000, one or `length` of them") == ["-1000", "1000"]
    assert not accepts("networks", "257") and accepts("networks", "256")


def test_each_number_of_a_lesson_names_its_lessons() -> None:
    for name, row in parameters(FOLDER / "learn.md").items():
        if name != "learn_lesson":
            using = {code for code, lesson in LESSONS.items() if name.removeprefix("learn_") in lesson.parameters}
            assert set(CODE.findall(row[2])) == using, name


# --- what else repeats the code -----------------------------------------------------------------------------


def test_the_colours_of_the_phase_map_are_all_there() -> None:
    text = (FOLDER / "phase-map.md").read_text(encoding="utf-8")
    rows = next(one[1:] for one in tables(text) if one[0][0] == "Code")
    units = {"log": "RMS or mean square", "factor": "RMS or mean square", "layers": "layers", "share": "plain number"}
    said = {code: row[2] for row in rows for code in CODE.findall(row[0])}
    assert said == {f"{s.code}_{s.layer}" if s.layer else s.code: units[s.kind] for s in SCALARS.values()}


def test_every_picture_is_referred_to() -> None:
    texts = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    named = {Path(name).name for path in texts for name in re.findall(r"\]\(([^)\s]+\.png)\)", path.read_text("utf-8"))}
    assert {path.name for path in IMAGES.iterdir()} - named == set()
