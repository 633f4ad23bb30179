"""Charts of the board of remedies: gradient and signal of the plain network and of every remedy that is switched on.

Sizes are drawn as log10 on linear axes whose labels print 1e-100, as in the other charts. A slot of the board (one
activation, one norm, ...) keeps its colour; the plain network and all remedies together are neutral.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.charts import axes
from gradcore.charts.chain import domain_of, log_axis, rule
from gradcore.charts.ends import dash_of
from gradcore.charts.panels import NEUTRAL
from gradcore.experiments.board import PLAIN, TOGETHER, Board, Entry
from gradcore.experiments.board_remedies import BOARD
from gradcore.measurement import Measurement
from gradcore.verdict import USABLE
from gradcore.words import LN10, Translate, english, number_text

if TYPE_CHECKING:
    import altair as alt

Array = np.ndarray
MOST_POINTS = 30  # measured points of a curve
SIDES = {"backward": "log_g", "forward": "log_q"}
TITLES = {
    "backward": "Backward: size of the gradient δ, last layer = 1",
    "forward": "Forward: size of the signal z",
}
AXES = {  # short: a title longer than its axis pushes the chart out of its frame
    "backward": {"rms": "RMS of δ", "mean_square": "mean square of δ"},
    "forward": {"rms": "RMS of z", "mean_square": "mean square of z"},
}


def name_of(code: str, t: Translate = english) -> str:
    """What an entry of the board is called in a legend."""
    return {PLAIN: t("plain"), TOGETHER: t("all switched on")}.get(code) or BOARD[code].title.text(t)


def board_chart(
    found: Board,
    measured: Mapping[str, Measurement],
    side: str = "backward",
    *,
    moment: str = "rms",
    height: int = 300,
    t: Translate = english,
) -> alt.LayerChart:
    """One curve per network that is switched on: predicted as a line, the mean over the measured networks as points
    with the range of the networks. ``side`` "backward" (relative to the last layer) or "forward"."""
    import altair as alt

    axes.await_pandas()
    unit = 1.0 if moment == "rms" else 2.0
    lines = [row for entry in found.shown for row in _line(entry, side, unit, t)]
    dots = [row for entry in found.shown for row in _dots(entry, measured.get(entry.code), side, unit, t)]
    depth = max([entry.spec.depth for entry in found.shown if entry.spec is not None], default=1)
    values = [row[end] for row in (*lines, *dots) for end in ("size", "low", "high") if end in row]
    domain = domain_of(values)
    x, y = axes.layer_axis(depth, t), log_axis("size", t("{size} (log scale)", size=t(AXES[side][moment])), domain)
    names = [name_of(code, t) for code in found.on if found.alone[code].spec is not None]
    layers = [_usable(unit, domain, y)] if side == "backward" else []
    layers.append(rule("size", 0.0))
    for neutral in ((PLAIN,), (TOGETHER,), ()):
        mine, points = ([row for row in rows if _belongs(row, neutral)] for rows in (lines, dots))
        layers += _curves(mine, points, x, y, _look(neutral, names), t)
    layers += _named(lines, side, x, y)
    return alt.LayerChart(layer=layers, title=t(TITLES[side]), height=height)


def _usable(unit: float, domain: tuple[float, float], y: alt.Y) -> alt.Chart:
    """The range of usable gradients, as far as it shows."""
    import altair as alt

    edge = unit * math.log10(USABLE)
    band = {"values": [{"size": max(-edge, domain[0]), "end": min(edge, domain[1])}]}
    mark = alt.Chart(band).mark_rect(color=NEUTRAL, opacity=0.1, aria=False)
    return mark.encode(y=y, y2="end:Q")


def _belongs(row: dict[str, Any], neutral: tuple[str, ...]) -> bool:
    return row["code"] in neutral if neutral else row["code"] not in (PLAIN, TOGETHER)


def _look(neutral: tuple[str, ...], names: list[str]) -> tuple[dict[str, Any], Any]:
    """How a line is marked, its colour and dash: by remedy; neutral the plain network, dashed, and all together."""
    import altair as alt

    if neutral:
        dash = [4, 4] if PLAIN in neutral else [1, 0]
        return {"strokeWidth": 3.0, "strokeDash": dash}, (alt.value(NEUTRAL), alt.Undefined)
    legend = alt.Legend(
        title=None,
        orient="top",
        offset=2,
        padding=0,
        symbolType="stroke",
        symbolStrokeWidth=2,
        labelLimit=260,
        columns=3,
    )
    color = alt.Color("series:N", scale=alt.Scale(domain=names), legend=legend if names else None)
    return {"strokeWidth": 2.0}, (color, dash_of(names, legend=legend if names else None))


def _named(lines: list[dict[str, Any]], side: str, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """The names of the neutral curves at the end where curves lie apart, on the side that the curve leaves free."""
    import altair as alt

    layers = []
    for code in (PLAIN, TOGETHER):
        mine = [row for row in lines if row["code"] == code]
        if not mine:
            continue
        end, other = (mine[0], mine[-1]) if side == "backward" else (mine[-1], mine[0])
        where: dict[str, Any] = {"align": "left" if side == "backward" else "right"}
        where["dy"] = 12 if end["size"] < other["size"] else -9
        text = alt.Chart({"values": [end]}).mark_text(**where, color=NEUTRAL, fontSize=12, fontWeight="bold")
        layers.append(text.encode(x=x, y=y, text="series:N"))
    return layers


def _curves(
    lines: list[dict[str, Any]],
    dots: list[dict[str, Any]],
    x: alt.X,
    y: alt.Y,
    look: tuple[dict[str, Any], Any],
    t: Translate,
) -> list[alt.Chart]:
    import altair as alt

    marks, (color, dash) = look
    tooltip = [
        alt.Tooltip("series:N", title=t("network")),
        alt.Tooltip("layer:Q", title=t("layer")),
        alt.Tooltip("text:N", title=t("predicted")),
    ]
    layers = []
    if lines:
        curve = alt.Chart({"values": lines}).mark_line(**marks, clip=True, aria=False)
        layers.append(curve.encode(x=x, y=y, color=color, strokeDash=dash, tooltip=tooltip))
    if dots:
        points = alt.Chart({"values": dots}).encode(x=x, color=color)
        low = y.copy()
        low.shorthand = "low:Q"
        layers.append(points.mark_rule(strokeWidth=1, clip=True, aria=False).encode(y=low, y2="high:Q"))
        said = [*tooltip[:2], alt.Tooltip("text:N", title=t("measured"))]
        layers.append(points.mark_point(filled=True, size=30, opacity=1, clip=True).encode(y=y, tooltip=said))
    return layers


def _row(code: str, layer: int, size: float, t: Translate) -> dict[str, Any]:
    return {"series": name_of(code, t), "layer": layer, "size": size, "text": number_text(size, 3), "code": code}


def _sizes(logs: Array, side: str, unit: float) -> Array:
    with np.errstate(invalid="ignore"):
        relative = logs - logs[..., -1:] if side == "backward" else logs
    return 0.5 * unit * relative / LN10


def _line(entry: Entry, side: str, unit: float, t: Translate) -> list[dict[str, Any]]:
    if entry.profile is None:
        return []
    sizes = _sizes(getattr(entry.profile, SIDES[side]), side, unit)
    places = np.unique(np.linspace(0, len(sizes) - 1, min(len(sizes), 200)).round().astype(int))
    return [_row(entry.code, int(k) + 1, float(sizes[k]), t) for k in places if math.isfinite(sizes[k])]


def _dots(entry: Entry, measured: Measurement | None, side: str, unit: float, t: Translate) -> list[dict[str, Any]]:
    if measured is None:
        return []
    mean = _sizes(measured.mean(SIDES[side]), side, unit)
    each = _sizes(getattr(measured, SIDES[side]), side, unit)
    places = np.unique(np.linspace(0, len(mean) - 1, min(len(mean), MOST_POINTS)).round().astype(int))
    rows = []
    for k in places:
        if math.isfinite(mean[k]):
            ends = float(each[:, k].min()), float(each[:, k].max())
            row = _row(entry.code, int(k) + 1, float(mean[k]), t)
            row["low"], row["high"] = (end if math.isfinite(end) else row["size"] for end in ends)
            rows.append(row)
    return rows


def describe(found: Board, side: str = "backward", t: Translate = english) -> str:
    """The chart in words: what every curve comes to at the end that matters."""
    parts = []
    for entry in found.shown:
        if entry.profile is None:
            continue
        sizes = _sizes(getattr(entry.profile, SIDES[side]), side, 1.0)
        end = float(sizes[0] if side == "backward" else sizes[-1])
        parts.append(f"{name_of(entry.code, t)} {number_text(end) if not math.isnan(end) else '0'}")
    said = ", ".join(parts) or t("nothing predicted")
    if side == "backward":
        return t("RMS of the gradient at layer 1, the last layer's being 1: {said}.", said=said)
    return t("RMS of the signal at the last layer: {said}.", said=said)
