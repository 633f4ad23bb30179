"""The markup of a report: one HTML file without a script, that loads nothing.

Everything that is not markup of this file is escaped, and a content policy forbids loading anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from gradcore.export.images import svg
from gradcore.export.record import versions
from gradcore.words import Translate

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #10141B; background: #FFFFFF; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; line-height: 1.3; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.soft, figcaption { color: #4B5361; font-size: 0.9rem; }
figure { margin: 1rem 0; } figure svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; } th, td { border: 1px solid #CBD2DC; padding: 0.2rem 0.6rem; text-align: right; }
th { background: #F3F5F8; } th:first-child, td:first-child { text-align: left; }
#spec td { text-align: left; }
.scroll { overflow: auto; max-height: 40rem; }
@media print { .scroll { overflow: visible; max-height: none; } }
pre { background: #F3F5F8; padding: 0.8rem; overflow: auto; }
"""


def document(title: str, language: str, parts: Iterable[str]) -> str:
    """The whole file."""
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title><style>{STYLE}</style>'
    )
    body = "\n".join(parts)
    return f'<!DOCTYPE html>\n<html lang="{escape(language)}"><head>{head}</head><body>\n{body}\n</body></html>\n'


def heading(text: str) -> str:
    """A heading of a part."""
    return f"<h2>{escape(text)}</h2>"


def paragraphs(texts: Iterable[str]) -> list[str]:
    """A paragraph each."""
    return [f"<p>{escape(text)}</p>" for text in texts]


def table(name: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column names the row."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    lines = (
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    body = "\n".join(lines)
    return (
        f'<div class="scroll"><table id="{name}"><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'
    )


def pre(code: str) -> str:
    """Code as it stands."""
    return f"<pre><code>{escape(code)}</code></pre>"


def figure(code: str, chart: Any, caption: str, words: str) -> str:
    """A chart as SVG, and below it what is to be seen. Raises ModuleNotFoundError without vl-convert."""
    image = own_names(svg(chart, caption), code)
    image = image.replace("<svg ", f'<svg role="img" aria-label="{escape(words)}" ', 1)
    return f'<figure id="{escape(code)}">{image}<figcaption>{escape(words)}</figcaption></figure>'


def own_names(image: str, name: str) -> str:
    """The ids of an image made its own: several on one page have the same."""
    image = re.sub(r'(?<![\w-])id="([^"]+)"', rf'id="{name}-\1"', image)
    return re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", image)


def made(t: Translate) -> str:
    """With which versions."""
    text = ", ".join(f"{name} {version}" for name, version in versions().items())
    return f'<p class="soft">{escape(t("Made with {versions}.", versions=text))}</p>'
