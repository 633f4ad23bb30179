"""The palette: one place, readable on both surfaces, its colours apart from each other."""

from __future__ import annotations

import itertools
import math
import tomllib
from pathlib import Path

import pytest

from gradcore import charts

CONFIG = tomllib.loads((Path(__file__).resolve().parents[2] / ".streamlit" / "config.toml").read_text("utf-8"))
THEMES = {mode: CONFIG["theme"][mode] for mode in ("light", "dark")}
LEAST_DISTANCE = 25.0  # CIE76, between any two chart colours


def linear(color: str) -> list[float]:
    """Linear-light red, green, blue of #RRGGBB (sRGB)."""
    parts = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    return [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]


def luminance(color: str) -> float:
    red, green, blue = linear(color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """WCAG 2.2 contrast ratio."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def lab(color: str) -> tuple[float, float, float]:
    """CIE L*a*b* under D65."""
    red, green, blue = linear(color)
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089
    fx, fy, fz = (v ** (1 / 3) if v > 216 / 24389 else (24389 / 27 * v + 16) / 116 for v in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def surfaces(mode: str) -> list[str]:
    return [THEMES[mode]["backgroundColor"], THEMES[mode]["secondaryBackgroundColor"]]


def test_the_library_and_the_page_share_one_palette() -> None:
    assert tuple(THEMES["light"]["chartCategoricalColors"]) == charts.LIGHT
    assert tuple(THEMES["dark"]["chartCategoricalColors"]) == charts.DARK


@pytest.mark.parametrize("mode", THEMES)
def test_marks_stand_out_from_their_surface(mode: str) -> None:
    for color in (*THEMES[mode]["chartCategoricalColors"], charts.NEUTRAL):
        assert all(contrast(color, surface) >= 3.0 for surface in surfaces(mode)), color


@pytest.mark.parametrize("mode", THEMES)
def test_text_is_readable(mode: str) -> None:
    theme = THEMES[mode]
    assert all(contrast(theme["textColor"], surface) >= 7.0 for surface in surfaces(mode))
    assert contrast("#FFFFFF", theme["primaryColor"]) >= 4.5
    assert contrast(theme["linkColor"], theme["backgroundColor"]) >= 4.5


@pytest.mark.parametrize("mode", THEMES)
def test_chart_colours_are_apart(mode: str) -> None:
    for one, other in itertools.combinations(THEMES[mode]["chartCategoricalColors"], 2):
        assert math.dist(lab(one), lab(other)) >= LEAST_DISTANCE, (one, other)
