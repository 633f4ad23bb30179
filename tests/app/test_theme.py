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
# CIE76, between any two chart colours or verdict colours, for every kind of sight: the most that five published
# colour-blind-safe colours reach which also stand out 3:1 from a light page
LEAST_DISTANCE = 24.7
VERDICT = ("red", "yellow", "green")  # st.error, st.warning, st.success
FADED = 0.6  # opacity of captions
TINT = 0.1  # share of the primary colour in the ground of a chosen pill
# Machado, Oliveira & Fernandes 2009, severity 1: what the eye makes of linear red, green, blue
SIGHT = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


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


def mixed(color: str, ground: str, share: float) -> str:
    """The colour with this opacity over a ground, as a browser mixes it."""
    parts = [(int(color[k : k + 2], 16), int(ground[k : k + 2], 16)) for k in (1, 3, 5)]
    return "#" + "".join(f"{round(share * one + (1 - share) * other):02X}" for one, other in parts)


def lab(color: str, sight: str = "normal") -> tuple[float, float, float]:
    """CIE L*a*b* under D65, as an eye of this kind sees it."""
    parts = linear(color)
    seen = (sum(a * p for a, p in zip(row, parts, strict=True)) for row in SIGHT[sight])
    red, green, blue = (min(max(value, 0.0), 1.0) for value in seen)
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
    for surface in surfaces(mode):
        assert contrast(theme["textColor"], surface) >= 7.0
        assert contrast(mixed(theme["textColor"], surface, FADED), surface) >= 4.5, "captions"
        assert contrast(theme["linkColor"], surface) >= 4.5
        assert contrast(theme["codeTextColor"], surface) >= 7.0
    assert contrast("#FFFFFF", theme["primaryColor"]) >= 4.5


@pytest.mark.parametrize("mode", THEMES)
def test_what_is_chosen_is_readable(mode: str) -> None:
    """A chosen pill stands on a tint of the primary colour and writes in the page's own (app/style.css), because the
    primary colour must also carry the white text of a button; its frame tells."""
    page, side = THEMES[mode], {**THEMES[mode], **THEMES[mode]["sidebar"]}
    for surface in (side["backgroundColor"], side["secondaryBackgroundColor"]):
        assert contrast(side["primaryColor"], mixed(side["primaryColor"], surface, TINT)) >= 4.5
    ground = mixed(page["primaryColor"], page["backgroundColor"], TINT)
    assert contrast(page["textColor"], ground) >= 4.5
    assert contrast(page["primaryColor"], ground) >= 3.0


@pytest.mark.parametrize("mode", THEMES)
def test_the_sidebar_swaps_the_surfaces(mode: str) -> None:
    side = THEMES[mode]["sidebar"]
    assert [side["secondaryBackgroundColor"], side["backgroundColor"]] == surfaces(mode)


@pytest.mark.parametrize("mode", THEMES)
@pytest.mark.parametrize("name", [*VERDICT, "orange", "blue", "gray"])
def test_boxes_and_badges_are_readable(mode: str, name: str) -> None:
    text, ground = THEMES[mode][f"{name}TextColor"], THEMES[mode][f"{name}BackgroundColor"]
    assert contrast(text, ground) >= 4.5
    assert all(contrast(text, surface) >= 4.5 for surface in surfaces(mode)), "as coloured text on the page"


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("mode", THEMES)
def test_the_verdicts_are_apart_for_every_eye(mode: str, sight: str) -> None:
    colors = [THEMES[mode][f"{name}TextColor"] for name in VERDICT]
    for one, other in itertools.combinations(colors, 2):
        assert math.dist(lab(one, sight), lab(other, sight)) >= LEAST_DISTANCE, (one, other)


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("mode", THEMES)
def test_chart_colours_are_apart_for_every_eye(mode: str, sight: str) -> None:
    for one, other in itertools.combinations(THEMES[mode]["chartCategoricalColors"], 2):
        assert math.dist(lab(one, sight), lab(other, sight)) >= LEAST_DISTANCE, (one, other)


def test_the_distance_can_fail() -> None:
    """Red and green of one lightness: apart for most, alike for one man in a hundred."""
    red, green = "#C05A3C", "#6E7F2B"
    assert math.dist(lab(red), lab(green)) >= LEAST_DISTANCE
    assert math.dist(lab(red, "deuteranopia"), lab(green, "deuteranopia")) < LEAST_DISTANCE


@pytest.mark.parametrize("mode", THEMES)
@pytest.mark.parametrize("kind", ["Sequential", "Diverging"])
def test_scales_of_colour_run_in_order(mode: str, kind: str) -> None:
    """Ten steps: lightness rises or falls all the way, to and from the middle for a diverging scale."""
    lightness = [lab(color)[0] for color in THEMES[mode][f"chart{kind}Colors"]]
    assert len(lightness) == 10
    halves = [lightness] if kind == "Sequential" else [lightness[:5], lightness[:4:-1]]
    for half in halves:
        assert half == sorted(half) or half == sorted(half, reverse=True)
