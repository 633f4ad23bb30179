"""Any of our charts as an SVG or PNG image that can stand alone: light or dark, its question written under the title.

Drawn by vl-convert (Vega without a browser or a network), which is loaded when an image is made.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradcore as gc
from gradcore.charts import DARK, LIGHT
from gradcore.codec import to_snippet
from gradcore.errors import SpecError

if TYPE_CHECKING:
    from gradcore.measurement import Measurement
    from gradcore.spec import Spec

WIDTH = 640  # px of a single chart's plot
SCALE = 2.0  # image pixels of a PNG to a px
CAPTION_SIZE = 10
CAPTION_LINE, CAPTION_LINES = 118, 6  # characters of a line, and lines: a network of 10,000 widths is cut off
INSTALL = "pip install vl-convert-python"


@dataclass(frozen=True)
class Palette:
    """The colours of an image: those of the explorer's theme of this name (tests hold the two together)."""

    background: str
    text: str
    soft: str
    grid: str
    categories: tuple[str, ...]
    sequential: tuple[str, ...]
    diverging: tuple[str, ...]


PALETTES = {
    "light": Palette(
        "#FFFFFF",
        "#10141B",
        "#4B5361",
        "#CBD2DC",
        LIGHT,
        (
            *("#F7FBFF", "#E3EEF9", "#CFE1F2", "#B5D4E9", "#93C3DF"),
            *("#6DAED5", "#4B97C9", "#2F7EBC", "#1864AA", "#0A4A90"),
        ),
        (
            *("#B35806", "#D67A1C", "#EE9F4B", "#FAC587", "#FBE5CA"),
            *("#DCE6F2", "#A9CBE6", "#6FA6D2", "#3B7FBB", "#0B5394"),
        ),
    ),
    "dark": Palette(
        "#14161C",
        "#ECEFF4",
        "#BCC3CF",
        "#3A4150",
        DARK,
        (
            *("#0A2540", "#0D3B63", "#115286", "#1B6AA6", "#2F82BF"),
            *("#4F9AD0", "#75B1DD", "#9CC7E8", "#C2DCF1", "#E6F1FA"),
        ),
        (
            *("#F7A14B", "#D98333", "#B0682A", "#7F5029", "#4B3A2E"),
            *("#2E3A4A", "#2C5276", "#2F72A8", "#4C95CF", "#88C2F0"),
        ),
    ),
}


def caption(spec: Spec, measured: Measurement | None = None) -> str:
    """The question in one line of Python, and which networks were measured."""
    text = f"gradcore {gc.__version__}: {to_snippet(spec)}"
    if measured is None:
        return text
    count = len(measured.networks)
    networks = "1 network" if count == 1 else f"{count} networks"
    return f"{text}; measured: {networks}, seed {measured.seed}, {measured.dtype}, {measured.sampler}"


def svg(chart: Any, text: str = "", palette: str = "light") -> str:
    """The chart as an SVG document. ``chart``: an Altair chart, or its Vega-Lite document; ``text`` stands under the
    title; ``palette`` "light" or "dark". Raises SpecError for another palette, ModuleNotFoundError without vl-convert.
    """
    import vl_convert

    return vl_convert.vegalite_to_svg(dressed(chart, text, palette))


def png(chart: Any, text: str = "", palette: str = "light", scale: float = SCALE) -> bytes:
    """The same as a PNG image of ``scale`` pixels to a px."""
    import vl_convert

    return vl_convert.vegalite_to_png(dressed(chart, text, palette), scale=scale)


def dressed(chart: Any, text: str = "", palette: str = "light") -> dict[str, Any]:
    """The chart's Vega-Lite document with the palette's colours, a width of its own and ``text`` below its title."""
    if palette not in PALETTES:
        raise SpecError("palette", palette, "one of " + ", ".join(PALETTES))
    document = dict(chart) if isinstance(chart, Mapping) else chart.to_dict()
    if ("layer" in document or "mark" in document) and not isinstance(document.get("width"), int | float):
        document["width"] = WIDTH
    if text:
        document["title"] = _titled(document.get("title"), _lines(text), PALETTES[palette])
    document["config"] = _config(PALETTES[palette], document.get("config", {}))
    return document


def _titled(title: Any, lines: list[str], colors: Palette) -> dict[str, Any]:
    """The title with these lines below it; without a title (Vega draws no subtitle then) they are one themselves."""
    if not title:
        return {"text": lines, "fontSize": CAPTION_SIZE, "fontWeight": "normal", "color": colors.soft}
    return {**(title if isinstance(title, Mapping) else {"text": title}), "subtitle": lines}


def _lines(text: str) -> list[str]:
    return textwrap.wrap(text, CAPTION_LINE, max_lines=CAPTION_LINES, placeholder=" …")


def _config(colors: Palette, own: Mapping[str, Any]) -> dict[str, Any]:
    label = {"labelColor": colors.soft, "titleColor": colors.text, "titleFontWeight": "normal"}
    look = {
        "background": colors.background,
        "padding": 12,
        "font": "sans-serif",
        "title": {
            "anchor": "start",
            "frame": "bounds",
            "color": colors.text,
            "fontSize": 15,
            "fontWeight": 600,
            "subtitleColor": colors.soft,
            "subtitleFontSize": CAPTION_SIZE,
            "subtitlePadding": 6,
            "offset": 10,
        },
        "axis": {
            **label,
            "gridColor": colors.grid,
            "domainColor": colors.grid,
            "tickColor": colors.grid,
            "labelFontSize": 11,
            "titleFontSize": 12,
        },
        "legend": {**label, "labelFontSize": 11, "titleFontSize": 12},
        "header": label,
        "text": {"color": colors.text},
        "range": {
            "category": list(colors.categories),
            "ramp": list(colors.sequential),
            "heatmap": list(colors.sequential),
            "ordinal": list(colors.sequential),
            "diverging": list(colors.diverging),
        },
    }
    own = dict(own)
    view = {**own.pop("view", {}), "stroke": "transparent"}
    return {**look, "view": view, **own}
