"""Every text of the app and of the library's speaking modules, for the catalogue: ``python -m app.locale.extract``.

A text is marked where it is used, by ``t(...)``, ``mark(...)`` or ``Message(id, ...)``; the library also keeps texts
in plain tables, which know nothing of a translator. So in the modules of ``SPEAKING`` every string of two or more
words that is no formula, no code and no reference counts as a text, and so do the words of its tables. Errors and
notes come with their values filled in: their f-strings become templates with {0}, {1}, ... (see ``app.locale.spoken``).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from babel.messages import Catalog
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = Path(__file__).resolve().parent / "zh_CN" / "LC_MESSAGES" / "app.po"
SPEAKING = ("app", *(f"gradcore/{name}" for name in ("charts", "equations", "experiments", "guide", "verdict")))
SPEAKING += ("gradcore/cell_verdict.py", "gradcore/presets.py", "gradcore/phases.py", "gradcore/initializers.py")
SPEAKING += ("gradcore/pins.py", "gradcore/theory/critical_line.py")
SPEAKING += (
    "gradcore/export/report.py",
    "gradcore/export/markup.py",
    "gradcore/export/page.py",
    "gradcore/export/images.py",
)
SILENT = ("app/locale/", "gradcore/experiments/remedy_code.py")  # they hold code
FIELD_TABLES = ("gradcore/experiments/train_spec.py", "gradcore/experiments/long_range.py")  # fields that no page shows
NOTES = "gradcore/theory/notes.py"
MARKED = {"t": 0, "mark": 0, "Message": 1}
ERRORS = {"SpecError": (2, 3), "UnsupportedError": (0, 1, 2), "DataError": (1, 2, 3)}  # which arguments are words
NO_TEXT = re.compile(
    r"\\[a-zA-Z]|\\\\|<\w+>$|[_^]\{|datum\.|background-color|^select |^\s*[a-z_]+ = |^:|__|^load torch$|^Phi$|^Verdict$"
    r"|^<\w+ |viewBox=|color-scheme|^default-src|format\(|^\w+ \| None$|nn\.init\.|^g\^2"
    r"|^[A-Z][^;:]{,40}\b(19|20)\d\d\b(,? (ch|sec|eq)\. ?\d+)?([;,] [A-Z].*)?$"
)
WORDS = re.compile(r"(?s)[^\W\d_]{2,}\S*\s.*[^\W\d_]|[^\W\d_]\S*\s[^\W\d_]{2,}")
ONE_WORD = re.compile(r"[A-Z][a-z]{2,}")
SMALL = {  # words of tables that begin with a small letter, where a code may look the same
    "gradcore/charts/phase.py": ("σ_b = std(b)",),
    "gradcore/cell_verdict.py": ("forget", "update"),
    "gradcore/experiments/board_words.py": ("stable", "vanishing", "exploding", "dead", "saturated", "overflow"),
}


def texts(path: str, source: str) -> Iterator[tuple[str, int]]:
    """(message id, line) of each text of this module of the package."""
    tree = ast.parse(source)
    names = dict(_constants(tree))
    speaks = path.startswith(SPEAKING) and not path.startswith(SILENT)
    used = set(_silent(tree))
    for node in ast.walk(tree):
        for text, part in _worded(node, names, speaks):
            used |= {id(each) for each in ast.walk(part)}
            yield text, part.lineno
    if path == NOTES or speaks:
        yield from _loose(tree, names, used, path)


def template() -> Catalog:
    """The catalogue of all texts, untranslated, in the order of the files."""
    found = Catalog()
    for folder in ("app", "gradcore"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            for text, _ in sorted(texts(name, path.read_text(encoding="utf-8")), key=lambda pair: pair[1]):
                found.add(text, locations=[(name, 0)])
    return found


def _worded(node: ast.AST, names: dict[str, str], speaks: bool) -> Iterator[tuple[str, ast.expr]]:
    """The texts that this call marks, or that an error says, and the expressions that they are."""
    if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "").lower() in ("allowed", "hint", "reason"):
        for text in _said(node.value, names):
            if WORDS.search(text) and not NO_TEXT.search(text):
                yield text, node.value
    if not isinstance(node, ast.Call):
        return
    called = getattr(node.func, "id", getattr(node.func, "attr", ""))
    if called in MARKED and speaks and len(node.args) > MARKED[called]:
        part = node.args[MARKED[called]]
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value:
            yield part.value, part
    for place in ERRORS.get(called, ()):
        if len(node.args) > place:
            for text in _said(node.args[place], names):
                if WORDS.search(text) and not NO_TEXT.search(text):
                    yield text, node.args[place]


def _loose(tree: ast.Module, names: dict[str, str], used: set[int], path: str) -> Iterator[tuple[str, int]]:
    """The texts that no call marks: those of tables and variables."""
    tabled = {id(each) for table in _tables(tree) for each in ast.walk(table)}
    for node in ast.walk(tree):
        if id(node) in used:
            continue
        if isinstance(node, ast.JoinedStr):
            used |= {id(each) for each in ast.walk(node)}
            text = next(_said(node, names))
            if path != NOTES and re.search(r"\{\d", text):
                continue  # a key, a label of numbers or code
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
            if path in FIELD_TABLES and id(node) in tabled and not re.search(r"\{|the loss is|gradient is", text):
                continue
        else:
            continue
        one = (
            not NO_TEXT.search(text)
            and path != NOTES
            and id(node) in tabled
            and (ONE_WORD.fullmatch(text) or text in SMALL.get(path, ()))
        )
        if one or (WORDS.search(text) and not NO_TEXT.search(text)):
            yield text, node.lineno


def _said(part: ast.expr, names: dict[str, str]) -> Iterator[str]:
    """The texts that an expression may be, with {0}, {1}, ... for what is filled in."""
    if isinstance(part, ast.IfExp):
        yield from _said(part.body, names)
        yield from _said(part.orelse, names)
        return
    text, count = "", 0
    for piece in _pieces(part):
        if isinstance(piece, ast.Constant):
            text += str(piece.value)
        elif isinstance(piece, ast.FormattedValue) and isinstance(piece.value, ast.Name) and piece.value.id in names:
            text += names[piece.value.id]
        else:
            text, count = text + "{" + str(count) + "}", count + 1
    yield text


def _pieces(part: ast.expr) -> list[ast.expr]:
    """What a text is put together of."""
    if isinstance(part, ast.JoinedStr):
        return part.values
    if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Add):
        return [*_pieces(part.left), *_pieces(part.right)]
    return [part]


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The module's named texts."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, node.value.value


def _silent(tree: ast.AST) -> Iterator[int]:
    """What no page shows as a text of its own: docstrings, errors of the program itself, lists of exports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield id(node.value)
        exports = isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
        if exports or isinstance(node, ast.Raise) or (isinstance(node, ast.Call) and _is_error(node)):
            yield from (id(each) for each in ast.walk(node))


def _is_error(call: ast.Call) -> bool:
    name = getattr(call.func, "id", getattr(call.func, "attr", ""))
    return name.endswith(("Error", "compile")) or name in ("getattr", "fullmatch", "sub", "Record")


def _tables(tree: ast.Module) -> Iterator[ast.expr]:
    """The values that the module assigns at its top."""
    for node in tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.Expr)) and node.value is not None:
            yield node.value


def update(path: Path = CATALOGUE) -> Catalog:
    """Bring the catalogue to the texts of today: new ones empty, vanished ones gone, the others kept."""
    found = template()
    with path.open("rb") as file:
        kept = read_po(file, locale="zh_CN")
    for message in found:
        if message.id and message.id in kept:
            message.string = kept[message.id].string
    for name in ("locale", "header_comment", "project", "creation_date", "revision_date"):
        setattr(found, name, getattr(kept, name))
    with path.open("wb") as file:
        write_po(file, found, width=0, ignore_obsolete=True, include_lineno=False)
    return found


if __name__ == "__main__":
    today = update()
    print(f"{len(today)} texts, {sum(not message.string for message in today if message.id)} without a translation")
