"""The chart of a lesson: predicted lines, measured points with their bars, and the lesson's own number."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.charts import axes
from gradcore.charts.chain import domain_of, log_axis, rule
from gradcore.charts.gates import DASHED
from gradcore.charts.panels import NEUTRAL
from gradcore.experiments.learn import Figure
from gradcore.words import Message, Translate, english, number_text

if TYPE_CHECKING:
    import altair as alt

Array = np.ndarray


def figure_chart(figure: Figure, *, height: int = 300, t: Translate = english) -> alt.LayerChart:
    """The figure: lines predicted, points measured; a dotted line across at 1 where y is on a log scale, and one up at
    the lesson's own number."""
    import altair as alt

    axes.await_pandas()
    lines = [row for order, line in enumerate(figure.lines) for row in _rows(line.name, line.x, line.y, t, order=order)]
    dots = [row for points in figure.points for row in _dots(points, figure.log, t)]
    x, y = _x(figure, t), _y(figure, [*lines, *dots], t)
    names = list(dict.fromkeys(row["series"] for row in (*lines, *dots)))
    color = _color(names)
    dashes = {line.name.text(t): DASHED if line.dashed else [1, 0] for line in figure.lines}
    dash = alt.StrokeDash("series:N", legend=None, scale=alt.Scale(domain=list(dashes), range=list(dashes.values())))
    curves = alt.Chart({"values": lines}).mark_line(strokeWidth=2, clip=True, aria=False)
    layers: list[alt.Chart] = [curves.encode(x=x, y=y, color=color, strokeDash=dash, detail="order:N")]
    if figure.log:
        layers.append(rule("y", 0.0))
    if figure.here is not None:
        mark = alt.Chart({"values": [{"x": figure.here}]}).mark_rule(color=NEUTRAL, strokeDash=[2, 3], strokeWidth=1.5)
        layers.append(mark.encode(x=x))
    if dots:
        layers += _measured(dots, x, y, color, t)
    below = figure.bars.text(t) if figure.bars else []
    title: Any = alt.TitleParams(figure.title.text(t), subtitle=below, subtitleColor=NEUTRAL)
    return alt.LayerChart(layer=layers, title=title, height=height)


def _rows(name: Message, x: Array, y: Array, t: Translate, **more: Any) -> list[dict[str, Any]]:
    """The points of a curve; what is 0 or no number on a log scale is left out."""
    series = name.text(t)
    found = zip(np.asarray(x, dtype=float), np.asarray(y, dtype=float), strict=True)
    return [{"x": float(a), "y": float(b), "series": series, **more} for a, b in found if math.isfinite(b)]


def _dots(points: Any, log: bool, t: Translate) -> list[dict[str, Any]]:
    ends = {float(x): ends for x, *ends in zip(points.x, points.low, points.high, strict=True)}
    rows = _rows(points.name, points.x, points.y, t)
    for row in rows:
        low, high = (float(end) if math.isfinite(end) else row["y"] for end in ends[row["x"]])
        row |= {"low": low, "high": high, "text": number_text(row["y"], 3) if log else f"{row['y']:.4g}"}
    return rows


def _measured(rows: list[dict[str, Any]], x: alt.X, y: alt.Y, color: alt.Color, t: Translate) -> list[alt.Chart]:
    import altair as alt

    base = alt.Chart({"values": rows}).encode(x=x, color=color)
    low = y.copy()
    low.shorthand = "low:Q"
    tooltip = [alt.Tooltip("series:N", title=t("series")), alt.Tooltip("x:Q", title=t("at"), format=".4~r")]
    tooltip.append(alt.Tooltip("text:N", title=t("value")))
    return [
        base.mark_rule(strokeWidth=1, clip=True, aria=False).encode(y=low, y2="high:Q"),
        base.mark_point(filled=True, size=30, opacity=1, clip=True).encode(y=y, tooltip=tooltip),
    ]


def _color(names: list[str]) -> alt.Color:
    import altair as alt

    legend = alt.Legend(
        title=None,
        orient="top",
        offset=4,
        padding=0,
        symbolType="stroke",
        symbolStrokeWidth=2,
        columns=2,
        labelLimit=230,
    )
    return alt.Color("series:N", scale=alt.Scale(domain=names), legend=legend)


def _x(figure: Figure, t: Translate) -> alt.X:
    import altair as alt

    ends = [float(end) for one in (*figure.lines, *figure.points) for end in (np.min(one.x), np.max(one.x))]
    low, high = min(ends), max(ends)
    title = figure.x_title.text(t)
    if figure.whole:
        axis = alt.Axis(values=axes.layer_ticks(int(high)), format="d", grid=False)
        scale = alt.Scale(domain=[low - 0.5, high + 0.5], nice=False)
        return alt.X("x:Q", title=title, axis=axis, scale=scale)
    if figure.log_x:
        scale = alt.Scale(type="log", domain=[low / 1.15, high * 1.15], nice=False)
        return alt.X("x:Q", title=title, axis=alt.Axis(grid=False, tickCount=6, format="~s"), scale=scale)
    margin = 0.02 * (high - low)
    return alt.X(
        "x:Q",
        title=title,
        axis=alt.Axis(grid=False),
        scale=alt.Scale(domain=[low - margin, high + margin], nice=False),
    )


def _y(figure: Figure, rows: list[dict[str, Any]], t: Translate) -> alt.Y:
    import altair as alt

    values = [row[name] for row in rows for name in ("y", "low", "high") if name in row]
    title = figure.y_title.text(t)
    if figure.log:
        return log_axis("y", title, domain_of(values))
    low, high = min([0.0, *values]), max([0.0, *values])
    scale = alt.Scale(domain=[low, high + 0.06 * (high - low)], nice=False, zero=False)
    return alt.Y("y:Q", title=title, axis=alt.Axis(minExtent=40), scale=scale)


def describe(figure: Figure, t: Translate = english) -> str:
    """The figure in words: its title, and each line from its first to its last point."""
    parts = []
    for line in figure.lines:
        ends = [number_text(float(y), 3) if figure.log else f"{float(y):.3g}" for y in (line.y[0], line.y[-1])]
        parts.append(t("{name}: from {first} to {last}", name=line.name.text(t), first=ends[0], last=ends[1]))
    return f"{figure.title.text(t)}. {'; '.join(dict.fromkeys(parts))}."
