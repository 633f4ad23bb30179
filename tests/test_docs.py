"""The documents are executed and checked: code blocks, links, named files, and the tables that repeat the code's."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gradcore.activations import ACTIVATIONS
from gradcore.fields import FIELDS
from gradcore.initializers import INITIALIZERS
from gradcore.normalization import NORMALIZATIONS
from gradcore.residual import RESIDUALS

ROOT = Path(__file__).resolve().parent.parent
DOCS = sorted((ROOT / "docs").rglob("*.md"))
DOCUMENTS = [ROOT / "README.md", ROOT / "README.zh-CN.md", ROOT / "CHANGELOG.md", *DOCS]
FOLLOWED = ROOT / "docs" / "add-an-activation.md"  # by a test of its own
EXECUTED = [ROOT / "README.md", *(path for path in DOCS if path != FOLLOWED)]
SECONDS = 300  # a document that takes longer hangs

FENCE = re.compile(r"^( *)(`{3,}|~{3,})[ \t]*([\w+-]*)[^\n]*\n(.*?)^\1\2[ \t]*$", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)")
MATH = re.compile(r"\$\$.+?\$\$|\$[^$\n]+\$", re.DOTALL)
LINK = re.compile(r"\]\(\s*<?([^)>\s]+)>?(?:\s+[\"'][^)]*[\"'])?\s*\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
HTML_LINK = re.compile(r"<(?:img|a|source)\b[^>]*?\b(?:src|href|srcset)=[\"']([^\"'\s]+)", re.IGNORECASE)
NAMED_FILE = re.compile(r"(?<![\w/.:-])(?:gradcore|app|tests|examples|docs|benchmarks)/[\w./-]*\w\.(?:py|md|json)\b")

NAMED_TEST = re.compile(r"(tests/[\w/]+\.py)::(\w+)")


def identity(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def python_blocks(text: str) -> list[tuple[int, str]]:
    """(line number of the first line, source) of every Python block, however it is labelled."""
    blocks = []
    for found in FENCE.finditer(text):
        indent, language, source = found[1], found[3].lower(), found[4]
        if language in ("python", "py", "python3"):
            lines = [line.removeprefix(indent) for line in source.splitlines(keepends=True)]
            blocks.append((text.count("\n", 0, found.start(4)) + 1, "".join(lines)))
    return blocks


def functions_of(path: Path) -> set[str]:
    """The names of a module's own functions."""
    return {node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)}


def prose(text: str) -> str:
    """The text without code and formulas."""
    return MATH.sub("", INLINE_CODE.sub("", FENCE.sub("", text)))


def anchors(text: str) -> set[str]:
    """The ids that GitHub gives to the headings."""
    headings = re.findall(r"^#{1,6}[ \t]+(.+?)[ \t]*#*$", FENCE.sub("", text), re.MULTILINE)
    ids: set[str] = set(re.findall(r"\b(?:id|name)=[\"']([^\"']+)", text))
    for heading in headings:
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        number = 0
        while (slug if not number else f"{slug}-{number}") in ids:
            number += 1
        ids.add(slug if not number else f"{slug}-{number}")
    return ids


def table_after(text: str, heading: str) -> Iterator[list[str]]:
    """The cells of each row of the first table below this heading."""
    below = re.split(rf"^#+ {re.escape(heading)}$", text, maxsplit=1, flags=re.MULTILINE)[1]
    lines = below.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|"))
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split("|")]


# --- code --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EXECUTED, ids=identity)
def test_python_blocks_run(path: Path, tmp_path: Path) -> None:
    """All blocks of one document run in order, in one namespace of a fresh interpreter, warnings being errors."""
    blocks = python_blocks(path.read_text(encoding="utf-8"))
    lines = ["space = {'__name__': '__main__'}"]
    for line, source in blocks:
        padded = "\n" * (line - 1) + source  # so that tracebacks name the document's own line
        lines.append(f"exec(compile({padded!r}, {identity(path)!r}, 'exec'), space)")
    script = tmp_path / "blocks.py"
    script.write_text("\n".join(lines), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    run = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert run.returncode == 0, run.stderr


def test_blocks_are_found() -> None:
    text = "a\n```python\nx = 1\n```\nb\n  ```py\n  y = 2\n  ```\n```bash\nls\n```\n"
    assert python_blocks(text) == [(3, "x = 1\n"), (7, "y = 2\n")]
    assert sum(len(python_blocks(path.read_text(encoding="utf-8"))) for path in DOCS) >= 6


# --- links and names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", DOCUMENTS, ids=identity)
def test_relative_links_resolve(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    bare = prose(text)
    targets = [a or b for a, b in LINK.findall(bare)] + HTML_LINK.findall(bare)
    broken = []
    for target in targets:
        if re.match(r"[a-z][a-z0-9+.-]*:|//", target, re.IGNORECASE):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name.partition("?")[0]).resolve() if name else path
        found = file.exists() and file.is_relative_to(ROOT)
        if found and anchor and file.suffix == ".md":
            found = anchor in anchors(file.read_text(encoding="utf-8"))
        if not found:
            broken.append(target)
    assert not broken


def test_a_broken_link_is_seen() -> None:
    assert LINK.findall("see [x](no.md#y) and ![z](<a.png> 'title')\n[k]: other.md\n") == [
        ("no.md#y", ""),
        ("a.png", ""),
        ("", "other.md"),
    ]
    assert prose("a `[b](c.md)` $f](x)$ d") == "a   d"
    assert anchors("## Weight laws\n# A & B: `c_d`\n## Weight laws\n") == {"weight-laws", "a--b-c_d", "weight-laws-1"}


@pytest.mark.parametrize("path", DOCUMENTS, ids=identity)
def test_named_files_exist(path: Path) -> None:
    named = set(NAMED_FILE.findall(path.read_text(encoding="utf-8")))
    assert not sorted(name for name in named if not (ROOT / name).is_file())


@pytest.mark.parametrize("path", DOCS, ids=identity)
def test_named_tests_exist(path: Path) -> None:
    missing = []
    for file, name in sorted(set(NAMED_TEST.findall(path.read_text(encoding="utf-8")))):
        if not (ROOT / file).is_file() or name not in functions_of(ROOT / file):
            missing.append(f"{file}::{name}")
    assert not missing


def test_a_missing_test_is_seen() -> None:
    assert NAMED_TEST.findall("`tests/app/test_a.py::test_b`, tests/test_c.py") == [("tests/app/test_a.py", "test_b")]
    assert "test_a_missing_test_is_seen" in functions_of(Path(__file__)) and "test_b" not in functions_of(
        Path(__file__)
    )


def test_theory_has_a_status_for_every_formula() -> None:
    """Six cells a row, the last of them naming tests; every numbered section but the last, a summary, is there."""
    text = (ROOT / "docs" / "theory.md").read_text(encoding="utf-8")
    rows = list(table_after(text, "Status of every formula"))
    assert len(rows) >= 80
    assert not [row for row in rows if len(row) != 6 or not all(row)]
    assert not [row for row in rows if not all(NAMED_TEST.search(cell) for cell in row[5].split(","))]
    assert len({row[0] for row in rows}) == len(rows)
    sections = re.findall(r"^## (\d+)\.", text, flags=re.MULTILINE)
    assert len(sections) >= 15 and {row[1] for row in rows} == set(sections[:-1])


# --- tables that repeat the code's -------------------------------------------------------------------------

CONVENTIONS = ROOT / "docs" / "conventions.md"


def test_field_table_is_that_of_the_code() -> None:
    rows = list(table_after(CONVENTIONS.read_text(encoding="utf-8"), "The Spec"))
    documented = {row[0].strip("`"): ast.literal_eval(row[1].strip("`")) for row in rows}
    assert list(documented) == list(FIELDS)
    assert documented == {name: field.default for name, field in FIELDS.items()}
    for row, field in zip(rows, FIELDS.values(), strict=True):
        if field.choices and field.choices not in (tuple(ACTIVATIONS), tuple(INITIALIZERS)):
            assert re.findall(r"`(\w+)`", row[2]) == list(field.choices), field.name


@pytest.mark.parametrize("table", [ACTIVATIONS, INITIALIZERS, NORMALIZATIONS, RESIDUALS], ids=lambda t: next(iter(t)))
def test_every_code_is_documented(table: dict[str, object]) -> None:
    text = CONVENTIONS.read_text(encoding="utf-8")
    assert not [code for code in table if f"`{code}`" not in text]


def test_weight_laws_have_a_row_each() -> None:
    rows = list(table_after(CONVENTIONS.read_text(encoding="utf-8"), "Weight laws"))
    assert sorted(code for row in rows for code in re.findall(r"`(\w+)`", row[0])) == sorted(INITIALIZERS)
