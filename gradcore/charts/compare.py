"""Charts of several pinned networks overlaid.

Each network has a number, and with it a colour of the theme, a dash, a shape of its points and a label where its curve
ends. Sizes are drawn as log10 on linear axes whose labels print 1e-100, as in the other charts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.charts import axes
from gradcore.charts.chain import domain_of, log_axis, rule
from gradcore.charts.compare_words import Curve, label_of
from gradcore.charts.data import scale, series
from gradcore.charts.panels import NEUTRAL, PANELS
from gradcore.verdict import USABLE
from gradcore.words import Translate, english, number_text

if TYPE_CHECKING:
    import altair as alt

Array = np.ndarray
DASHES = ([1, 0], [8, 3], [2, 2], [10, 3, 2, 3], [5, 5], [16, 4])  # by number, as the theme's colours are
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
MOST_SAMPLES, MOST_POINTS, MOST_RULES = 200, 24, 120  # of a curve: its vertices, its measured points; of the pointer
GAP = 13.0  # px between two labels
AROUND = 100  # px of a chart's height that its title, legend and x axis take
BESIDE = 0.05  # of the x axis: room for the labels
AXES = {  # short: a title longer than its axis pushes the chart out of its frame
    "backward": {"rms": "RMS of δ, last layer = 1", "mean_square": "mean square of δ, last layer = 1"},
    "forward": {"rms": "RMS of z", "mean_square": "mean square of z"},
}


@dataclass(frozen=True)
class _Line:
    """The log10 values of a curve, (L,) each, as ``gradcore.charts.data.series`` gives them, and its x values."""

    number: int
    label: str
    x: Array
    values: dict[str, Array]

    def rows(self, name: str, most: int) -> list[dict[str, Any]]:
        """About so many finite values at most: every layer, every second, ..., and the last one."""
        sizes = self.values.get(name, np.empty(0))
        every = max(1, math.ceil(len(sizes) / most))
        places = sorted({*range(0, len(sizes), every), *range(len(sizes))[-1:]})
        return [self._row(k, name) for k in places if math.isfinite(sizes[k])]

    def _row(self, k: int, name: str) -> dict[str, Any]:
        size = float(self.values[name][k])
        row = {"x": float(self.x[k]), "layer": k + 1, "size": size, "series": self.label, "text": number_text(size, 3)}
        if name == "measured":
            ends = (float(self.values[end][k]) for end in ("low", "high"))
            row["low"], row["high"] = (end if math.isfinite(end) else size for end in ends)
        return row


def compare_chart(
    curves: Sequence[Curve],
    code: str = "backward",
    *,
    moment: str = "rms",
    statistic: str = "mean",
    relative: bool = False,
    short: bool = False,
    height: int = 300,
    t: Translate = english,
) -> alt.LayerChart:
    """All networks in one chart: ``code`` "forward" (the signal's size) or "backward" (the gradient's, last layer = 1).

    Predicted as lines, measured as points with the central 90% of the networks. ``moment`` "rms" or "mean_square",
    ``statistic`` "mean" or "median" over networks. The x axis is the layer l or, ``relative``, its share l/L of the
    depth, which puts networks of different depths upon each other. ``short``: numbers alone in the legend.
    """
    import altair as alt

    axes.await_pandas()
    lines = list(_lines(curves, code, moment, statistic, relative, short))
    predicted = [row for line in lines for row in line.rows("predicted", MOST_SAMPLES)]
    points = [row for line in lines for row in line.rows("measured", MOST_POINTS)]
    domain = domain_of([row[end] for row in (*predicted, *points) for end in ("size", "low", "high") if end in row])
    depth = max([curve.depth for curve in curves], default=1) or 1
    x = _x_axis(depth, code, relative, t)
    y = log_axis("size", t("{quantity} (log scale)", quantity=t(AXES[code][moment])), domain)
    layers = [_usable(scale(moment), domain, y)] if PANELS[code].usable else []
    layers.append(rule("size", 0.0))
    look = _Look([line.label for line in lines], [line.number for line in lines], short, bool(points))
    layers += _measured_layers(points, x, y, look)
    layers += _predicted_layers(predicted, x, y, look)
    layers += _end_labels(lines, code, depth, relative, domain, height, x, y, look)
    layers.append(_hover(lines, depth, relative, x, t))
    return alt.LayerChart(layer=layers, title=t(PANELS[code].title), height=height)


def _lines(
    curves: Sequence[Curve], code: str, moment: str, statistic: str, relative: bool, short: bool
) -> Iterator[_Line]:
    for number, curve in enumerate(curves, start=1):
        if curve.depth:
            values = series(code, curve.profile, curve.measured, moment=moment, statistic=statistic)
            x = np.arange(1, curve.depth + 1) / (curve.depth if relative else 1.0)
            yield _Line(number, label_of(number, "" if short else curve.name), x, values)


def _x_axis(depth: int, code: str, relative: bool, t: Translate) -> alt.X:
    """Layers, or shares of the depth, with room for labels where the curves end."""
    import altair as alt

    low, high = (0.0, 1.0) if relative else (1.0, float(max(depth, 2)))
    room, edge = BESIDE * (high - low), 0.01 * (high - low)
    ends = [low - room, high + edge] if PANELS[code].relative else [low - edge, high + room]
    title = t("share of the depth l/L (1 = output)") if relative else t("layer (1 = next to the input)")
    ticks = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0] if relative else [float(layer) for layer in axes.layer_ticks(depth)]
    axis = alt.Axis(values=ticks, format=".1f" if relative else "d", grid=False)
    return alt.X("x:Q", title=title, scale=alt.Scale(domain=ends, nice=False, zero=False), axis=axis)


def _usable(unit: float, domain: tuple[float, float], y: alt.Y) -> alt.Chart:
    """The range of gradients that can share a learning rate with the last layer, as far as it shows."""
    import altair as alt

    edge = 2.0 * math.log(USABLE) / unit
    band = {"values": [{"size": max(-edge, domain[0]), "end": min(edge, domain[1])}]}
    return alt.Chart(band).mark_rect(color=NEUTRAL, opacity=0.1, aria=False).encode(y=y, y2="end:Q")


@dataclass(frozen=True)
class _Look:
    """Colour, dash and shape by series, with one legend: the same domain and texts in every layer."""

    labels: list[str]
    numbers: list[int]
    short: bool
    points: bool  # whether there are any: then the legend shows their shapes

    @property
    def domain(self) -> list[str]:
        """A text for every number up to the last: a colour stays the same where one before it has no curve."""
        by_number = dict(zip(self.numbers, self.labels, strict=True))
        return [by_number.get(number, f"({number})") for number in range(1, max(self.numbers, default=0) + 1)]

    def color(self) -> alt.Color:
        import altair as alt

        return alt.Color("series:N", scale=alt.Scale(domain=self.domain), legend=self._legend())

    def dash(self) -> alt.StrokeDash:
        import altair as alt

        kinds = [DASHES[(number - 1) % len(DASHES)] for number in self.numbers]
        scale = alt.Scale(domain=self.labels, range=kinds)
        return alt.StrokeDash("series:N", scale=scale, legend=self._legend())

    def shape(self) -> alt.Shape:
        import altair as alt

        kinds = [SHAPES[(number - 1) % len(SHAPES)] for number in self.numbers]
        return alt.Shape("series:N", scale=alt.Scale(domain=self.labels, range=kinds), legend=None)

    def _legend(self) -> alt.Legend:
        import altair as alt

        return alt.Legend(
            title=None,
            orient="top",
            values=self.labels,
            symbolType="stroke",
            symbolStrokeWidth=0 if self.points else 2,
            symbolSize=90 if self.points else 500,
            labelLimit=240,
            offset=2,
            padding=0,
            columns=0 if self.short else 2,
        )


def _predicted_layers(rows: list[dict[str, Any]], x: alt.X, y: alt.Y, look: _Look) -> Iterator[alt.Chart]:
    import altair as alt

    if rows:
        line = alt.Chart({"values": rows}).mark_line(strokeWidth=2, clip=True, aria=False)
        yield line.encode(x=x, y=y, color=look.color(), strokeDash=look.dash())
        alone = [row for row in rows if sum(other["series"] == row["series"] for other in rows) == 1]
        if alone:  # a single layer, which a line would not show
            mark = alt.Chart({"values": alone}).mark_point(shape="stroke", size=600, strokeWidth=3, aria=False)
            yield mark.encode(x=x, y=y, color=look.color())


def _measured_layers(rows: list[dict[str, Any]], x: alt.X, y: alt.Y, look: _Look) -> Iterator[alt.Chart]:
    import altair as alt

    if not rows:
        return
    points = alt.Chart({"values": rows}).encode(x=x, color=look.color())
    low = y.copy()
    low.shorthand = "low:Q"
    yield points.mark_rule(strokeWidth=1, clip=True, aria=False).encode(y=low, y2="high:Q")
    yield points.mark_point(filled=True, size=45, opacity=1, clip=True, aria=False).encode(y=y, shape=look.shape())


def _end_labels(
    lines: list[_Line],
    code: str,
    depth: int,
    relative: bool,
    domain: tuple[float, float],
    height: int,
    x: alt.X,
    y: alt.Y,
    look: _Look,
) -> Iterator[alt.Chart]:
    """The number of each network beside the end of its curve where the curves lie apart, none upon another."""
    import altair as alt

    backward = PANELS[code].relative
    found = []
    for line in lines:
        rows = line.rows("predicted", MOST_SAMPLES) or line.rows("measured", MOST_SAMPLES)
        if rows:
            found.append({**rows[0 if backward else -1], "number": str(line.number)})
    near = BESIDE * (1.0 if relative else max(depth - 1, 1))
    _part(found, near, GAP * (domain[1] - domain[0]) / max(height - AROUND, 80), domain)
    if found:
        # of the theme's colours only the first is dark enough for text on a light page and light enough on a dark one
        ink = alt.ExprRef(f"scale('color', {look.domain[0]!r})")
        where: dict[str, Any] = {"align": "right", "dx": -6} if backward else {"align": "left", "dx": 6}
        text = alt.Chart({"values": found}).mark_text(**where, color=ink, fontSize=12, fontWeight="bold", aria=False)
        yield text.encode(x=x, y=y, text="number:N")


def _part(found: list[dict[str, Any]], near: float, gap: float, domain: tuple[float, float]) -> None:
    """Push labels that stand beside each other apart to this gap, about evenly to either side, within the chart."""
    beside: list[list[dict[str, Any]]] = []
    for row in sorted(found, key=lambda row: row["x"]):
        if not beside or row["x"] - beside[-1][0]["x"] > near:
            beside.append([])
        beside[-1].append(row)
    for group in beside:
        group.sort(key=lambda row: row["size"])
        wanted = np.array([row["size"] for row in group])
        steps = gap * np.arange(len(group))
        up = np.maximum.accumulate(wanted - steps) + steps
        down = np.minimum.accumulate((wanted - steps)[::-1])[::-1] + steps
        places = 0.5 * (up + down)
        places -= max(places[-1] + 0.5 * gap - domain[1], 0.0)
        places += max(domain[0] + 0.5 * gap - places[0], 0.0)
        for row, place in zip(group, places, strict=True):
            row["size"] = float(place)


def _hover(lines: list[_Line], depth: int, relative: bool, x: alt.X, t: Translate) -> alt.Chart:
    """A rule that follows the pointer, with every network's numbers there; in words they are the chart's data."""
    import altair as alt

    event = "gradcore-share" if relative else "gradcore-layers"
    selection = alt.selection_point(
        name="layer",
        fields=["x"],
        nearest=True,
        on="pointerover",
        clear="pointerout",
        empty=False,
        bind=alt.BindDirect(element="body", event=event),
    )
    rows = []
    for layer in np.unique(np.linspace(1, depth, min(depth, MOST_RULES)).round().astype(int)):
        at = float(layer) / depth if relative else float(layer)
        rows.append({"x": at, **{f"p{line.number}": _said(line, at, relative, t) for line in lines}})
    title = t("Share of the depth") if relative else t("Layer")
    tooltip = [alt.Tooltip("x:Q", title=title, format=".2f" if relative else "d")]
    tooltip += [alt.Tooltip(f"p{line.number}:N", title=line.label) for line in lines]
    mark = alt.Chart({"values": rows}).mark_rule(color=NEUTRAL, strokeWidth=8)
    shown = alt.condition(selection, alt.value(0.35), alt.value(0.0), empty=False)
    return mark.encode(x=x, opacity=shown, tooltip=tooltip).add_params(selection)


def _said(line: _Line, at: float, relative: bool, t: Translate) -> str:
    """Prediction and measurement of a network at this layer or share of its depth; a dash beyond its last layer."""
    k = round(at * len(line.x)) - 1 if relative else round(at) - 1
    k = max(k, 0)
    if k >= len(line.x):
        return "–"
    one, other = (
        number_text(float(line.values[name][k]), 3) if name in line.values else "" for name in ("predicted", "measured")
    )
    return t("{predicted}, measured {measured}", predicted=one, measured=other) if one and other else one or other


# --- the mark of a network beside its name ----------------------------------------------------------------------

_MARKS = {  # around the middle (22, 7) of a swatch of 44 x 14 px
    "circle": '<circle cx="22" cy="7" r="4"/>',
    "square": '<rect x="18" y="3" width="8" height="8"/>',
    "triangle-up": '<path d="M22 2L27 11H17Z"/>',
    "diamond": '<path d="M22 1L27 7L22 13L17 7Z"/>',
    "cross": '<path d="M20 2H24V5H27V9H24V12H20V9H17V5H20Z"/>',
    "triangle-down": '<path d="M22 12L27 3H17Z"/>',
}


def swatch(number: int, palette: Sequence[str]) -> str:
    """A network's line and point as an SVG picture, in this palette (``charts.LIGHT`` or ``charts.DARK``)."""
    color = palette[(number - 1) % len(palette)]
    dashes = " ".join(map(str, DASHES[(number - 1) % len(DASHES)]))
    line = f'<path d="M0 7H44" stroke="{color}" stroke-width="2" stroke-dasharray="{dashes}"/>'
    mark = _MARKS[SHAPES[(number - 1) % len(SHAPES)]]
    size = 'width="44" height="14" viewBox="0 0 44 14"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} fill="{color}">{line}{mark}</svg>'
