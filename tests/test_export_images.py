"""Charts as images: they open, hold their question, wear the explorer's colours and have ink for every script."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import tomllib
import xml.etree.ElementTree as ElementTree
import zlib
from pathlib import Path

import numpy as np
import pytest

import gradcore as gc
from gradcore import charts
from gradcore.export import images

ROOT = Path(__file__).resolve().parent.parent
SPEC = gc.Spec(depth=6, width=16, batch_size=4)


@pytest.fixture(scope="module")
def answers() -> tuple[gc.Profile, gc.Measurement]:
    return gc.predict(SPEC), gc.measure(SPEC, networks=3, seed=5)


def pixels(png: bytes) -> np.ndarray:
    """(height, width, 4) of an 8-bit RGBA image, by the PNG specification."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    place, data = 8, b""
    head = struct.unpack(">IIBBBBB", png[16:29])
    while place < len(png):
        (length,), kind = struct.unpack(">I", png[place : place + 4]), png[place + 4 : place + 8]
        data += png[place + 8 : place + 8 + length] if kind == b"IDAT" else b""
        place += length + 12
    width, height, bits, color = head[:4]
    assert (bits, color, head[6]) == (8, 6, 0)
    lines = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, 1 + 4 * width)
    out = np.zeros((height, width, 4), np.int64)
    above = np.zeros((width, 4), np.int64)
    for row, line in enumerate(lines):
        above = out[row] = _line(int(line[0]), line[1:].reshape(width, 4).astype(np.int64), above)
    return out


def _line(kind: int, line: np.ndarray, above: np.ndarray) -> np.ndarray:
    if kind == 0:
        return line
    if kind == 1:
        return np.cumsum(line, axis=0) % 256
    if kind == 2:
        return (line + above) % 256
    out, left, corner = np.empty_like(line), np.zeros(4, np.int64), np.zeros(4, np.int64)
    for k in range(len(line)):
        up = above[k]
        if kind == 3:
            guess = (left + up) // 2
        else:
            p = left + up - corner
            a, b, c = abs(p - left), abs(p - up), abs(p - corner)
            guess = np.where((a <= b) & (a <= c), left, np.where(b <= c, up, corner))
        left, corner = (line[k] + guess) % 256, up
        out[k] = left
    return out


def texts(svg: str) -> str:
    return " ".join("".join(e.itertext()) for e in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"))


@pytest.mark.parametrize("code", charts.PANELS)
def test_an_svg_holds_its_title_and_its_question_and_needs_no_network(code, answers):
    drawn = images.svg(charts.chart(code, *answers), images.caption(SPEC, answers[1]))
    shown = texts(drawn)
    assert charts.PANELS[code].title in shown
    assert "gc.Spec(depth=6, width=16, batch_size=4); measured: 3 networks, seed 5, float64, dense" in shown
    assert gc.__version__ in shown
    assert set(re.findall(r"https?://[^\"'\s<)]+", drawn)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert "<script" not in drawn


@pytest.mark.parametrize("palette", images.PALETTES)
def test_images_wear_the_colours_of_the_explorer(palette, answers):
    theme = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())["theme"][palette]
    colors = images.PALETTES[palette]
    assert (colors.background, colors.text) == (theme["backgroundColor"], theme["textColor"])
    assert (colors.soft, colors.grid) == (theme["grayTextColor"], theme["borderColor"])
    assert list(colors.categories) == theme["chartCategoricalColors"]
    assert list(colors.sequential) == theme["chartSequentialColors"]
    assert list(colors.diverging) == theme["chartDivergingColors"]
    drawn = images.svg(charts.chart("forward", *answers), "", palette).upper()
    for color in (colors.background, colors.text, *colors.categories[:2]):
        assert color in drawn


def test_a_png_is_twice_the_size_of_the_svg_and_on_its_ground(answers):
    chart, text = charts.chart("backward", *answers), images.caption(SPEC)
    root = ElementTree.fromstring(images.svg(chart, text, "dark"))
    image = pixels(images.png(chart, text, "dark"))
    assert abs(image.shape[1] - 2 * float(root.attrib["width"])) <= 2
    assert abs(image.shape[0] - 2 * float(root.attrib["height"])) <= 2
    assert tuple(image[2, 2]) == (0x14, 0x16, 0x1C, 255)


def _titled(title: str) -> np.ndarray:
    chart = {"data": {"values": [{"x": 1}]}, "mark": "point", "title": title, "width": 200, "height": 20}
    return pixels(images.png(chart))


def _has_chinese_font() -> bool:
    tool = shutil.which("fc-list")
    return tool is not None and bool(subprocess.run([tool, ":lang=zh-cn"], capture_output=True).stdout.strip())


def test_a_chinese_title_has_ink_and_its_characters_differ():
    """A font without them draws nothing, or the same box for each."""
    if not _has_chinese_font():
        pytest.skip("no Chinese font is installed")
    blank, one, other = _titled(" "), _titled("\u68af\u5ea6"), _titled("\u4fe1\u53f7")
    dark = [int((image[..., :3].sum(axis=2) < 384).sum()) for image in (blank, one, other)]
    assert dark[1] > dark[0] + 200 and dark[2] > dark[0] + 200
    assert one.shape == other.shape and (one != other).any(axis=2).sum() > 100


def test_other_charts_are_drawn_too(answers):
    """Any of our charts: the phase map with its diverging colours."""
    found = gc.phase_map(gc.Spec(depth=5, width=16), ("gain", [0.5, 1.0, 2.0]), ("depth", [2, 4, 6]))
    drawn = images.svg(charts.phase_chart(found), images.caption(SPEC), "light")
    assert "gc.Spec(" in texts(drawn)


def test_a_long_question_is_cut_and_says_so():
    long = gc.Spec(depth=2000, width=tuple(range(1, 2001)))
    lines = images.dressed({"mark": "point"}, images.caption(long))["title"]["text"]
    assert len(lines) == images.CAPTION_LINES and lines[-1].endswith("…")
    assert max(map(len, lines)) <= images.CAPTION_LINE


def test_an_unknown_palette_is_named():
    with pytest.raises(gc.SpecError, match="light, dark"):
        images.svg({"mark": "point"}, "", "pink")
