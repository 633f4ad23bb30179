"""Charts of one activation: the function with its slope, and the variance map with the signal's way along it."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.activations import ACTIVATIONS, Activation, negative_slope_of
from gradcore.charts import axes
from gradcore.charts.data import scale
from gradcore.charts.panels import NEUTRAL
from gradcore.guide.variance_map import VarianceMap
from gradcore.words import LN10, Translate, english, number_text

if TYPE_CHECKING:
    import altair as alt

Array = np.ndarray
REACH = 3.0  # of a signal of RMS 1, 99.7% lie within
BEYOND = 1.0  # what is shown beyond a kink
SAMPLES = 241
MOST_STEPS = 30  # layers of the way that are drawn
DECADES = 3.0  # of RMS, to either side of the start: fixed points further away are not drawn
WAY_DECADES = 1.0  # the same for the way: of a signal that runs away, the first steps say it all
_LABEL_SIZE = 12


def function_chart(
    activation: str, negative_slope: float | None = None, height: int = 300, t: Translate = english
) -> alt.LayerChart:
    """phi(h) and phi'(h) over the pre-activation h, dimensionless, kinks marked; the slope is cut where it jumps.

    h runs over three standard deviations of a signal of RMS 1, further where there are kinks, two periods of sin.
    """
    import altair as alt

    axes.await_pandas()
    entry, slope = ACTIVATIONS[activation], negative_slope_of(activation, negative_slope)
    names = {"value": t("φ(h)"), "slope": t("φ′(h), its slope")}
    h = _range(entry)
    parts = np.digitize(h, entry.kinks)
    numbers = zip(h, entry.value(h, slope), entry.derivative(h, slope), parts, strict=True)
    rows = [{"h": round(float(x), 6), "value": float(y), "slope": float(d), "part": int(p)} for x, y, d, p in numbers]
    x = alt.X("h:Q", title=t("pre-activation h"), scale=alt.Scale(domain=[float(h[0]), float(h[-1])], nice=False))
    base = alt.Chart().encode(x=x)
    layers: list[alt.Chart] = [_zero("h"), _zero("value")]
    for name, dash in (("value", [1, 0]), ("slope", [6, 3])):  # dashes stay visible on a line
        line = base.transform_calculate(series=f"{names[name]!r}").mark_line(strokeWidth=2, strokeDash=dash, aria=False)
        y = alt.Y(f"{name}:Q", title=t("value"))
        layers.append(line.encode(y=y, color=_color(names), detail="part:N"))
    layers += _kinks(entry, slope, x, t)
    layers.append(_reading(base, names, t))
    return alt.LayerChart(data={"values": rows}, layer=layers, title=t("The activation and its slope"), height=height)


def describe_function(activation: str, negative_slope: float | None = None, t: Translate = english) -> str:
    """The chart in words: what the function and its slope go through."""
    entry, slope = ACTIVATIONS[activation], negative_slope_of(activation, negative_slope)
    h = _range(entry)
    value, rise = entry.value(h, slope), entry.derivative(h, slope)
    return t(
        "{activation} over the pre-activation h from {left} to {right}: from {first} to {last}; its slope lies between "
        "{least} and {most}.",
        activation=activation,
        left=f"{h[0]:.3g}",
        right=f"{h[-1]:.3g}",
        first=f"{value[0]:.3g}",
        last=f"{value[-1]:.3g}",
        least=f"{rise.min():.3g}",
        most=f"{rise.max():.3g}",
    )


def _range(entry: Activation) -> Array:
    """Where phi is drawn: both sides of every kink are points of their own."""
    reach = 2.0 * math.pi if entry.oscillates else REACH
    low = min([-reach, *(kink - BEYOND for kink in entry.kinks)])
    high = max([reach, *(kink + BEYOND for kink in entry.kinks)])
    even = np.linspace(low, high, SAMPLES)
    even = even[np.all([np.abs(even - kink) > 1e-6 for kink in entry.kinks], axis=0)] if entry.kinks else even
    sides = np.array([kink + side for kink in entry.kinks for side in (-1e-9, 1e-9)])
    return np.unique(np.concatenate([even, sides]))


def _zero(column: str) -> alt.Chart:
    """An axis through 0."""
    import altair as alt

    rule = alt.Chart({"values": [{column: 0.0}]}).mark_rule(color=NEUTRAL, strokeWidth=0.5, aria=False)
    return rule.encode(x="h:Q") if column == "h" else rule.encode(y="value:Q")


def _color(names: dict[str, str]) -> alt.Color:
    import altair as alt

    legend = alt.Legend(title=None, orient="top", offset=4, padding=0, symbolType="stroke", symbolStrokeWidth=2)
    return alt.Color("series:N", scale=alt.Scale(domain=list(names.values())), legend=legend)


def _kinks(entry: Activation, slope: float, x: alt.X, t: Translate) -> list[alt.Chart]:
    """A ring and a word at every kink."""
    import altair as alt

    if not entry.kinks:
        return []
    rows = [{"h": kink, "value": float(entry.value(np.array(kink), slope)), "text": t("kink")} for kink in entry.kinks]
    base = alt.Chart({"values": rows}).encode(x=x, y="value:Q")
    ring = base.mark_point(size=90, strokeWidth=2, opacity=1, color=NEUTRAL, aria=False)
    word = base.mark_text(align="right", baseline="bottom", dx=-5, dy=-5, color=NEUTRAL, fontSize=_LABEL_SIZE)
    return [ring, word.encode(text="text:N")]


def _reading(base: alt.Chart, names: dict[str, str], t: Translate) -> alt.Chart:
    """The numbers under the pointer."""
    import altair as alt

    near = alt.selection_point(fields=["h"], nearest=True, on="pointerover", clear="pointerout", empty=False)
    tooltip = [
        alt.Tooltip("h:Q", title=t("pre-activation h"), format=".2f"),
        alt.Tooltip("value:Q", title=names["value"], format=".4f"),
        alt.Tooltip("slope:Q", title=names["slope"], format=".4f"),
    ]
    rule = base.mark_rule(color=NEUTRAL, strokeWidth=6, aria=False)
    shown = alt.condition(near, alt.value(0.35), alt.value(0.0), empty=False)
    return rule.encode(opacity=shown, tooltip=tooltip).add_params(near)


# --- the variance map ----------------------------------------------------------------------------------------


def map_chart(
    plain: VarianceMap,
    log_q: float,
    layers: int,
    *,
    moment: str = "rms",
    height: int = 300,
    t: Translate = english,
) -> alt.LayerChart:
    """The size of z in the next layer over that in this one, both on log scales, as a cobweb.

    ``log_q`` natural log of the mean square at layer 1; ``moment`` "rms" or "mean_square". Drawn: the map, the line of
    no change, the way of the first layers (at most MOST_STEPS of ``layers``), the fixed points with their values,
    filled where stable and rings where not.
    """
    import altair as alt

    axes.await_pandas()
    unit = scale(moment)
    start = log_q if math.isfinite(log_q) else 0.0
    way = plain.path(log_q, min(layers, MOST_STEPS + 1)) / unit
    points = [(math.log(point.q) / unit, point.stable) for point in plain.fixed_points]
    domain = _window(start / unit, way, [at for at, _ in points], scale("rms") / unit)
    names = {"map": t("next layer, by the map"), "way": t("this network, layer by layer")}
    axis: dict[str, Any] = {"scale": alt.Scale(domain=list(domain), nice=False, zero=False)}
    ticks = alt.Axis(values=_ticks(*domain), labelExpr=axes.POWER_LABEL)
    size = t("RMS of z") if moment == "rms" else t("mean square of z")
    x = alt.X("here:Q", title=t("{size} in layer l (log scale)", size=size), axis=ticks, **axis)
    y = alt.Y("next:Q", title=t("{size} in layer l + 1", size=size), axis=ticks, **axis)
    drawn = [
        _line(_diagonal(domain), x, y).mark_line(color=NEUTRAL, strokeDash=[2, 3], clip=True, aria=False),
        *_map(_map_rows(plain, domain, unit), x, y, names),
        _series(_way_rows(way), x, y, names, "way", 1.5),
        *_start(way, x, y, names, t),
        *_points(points, domain, x, y, names, t),
    ]
    title = t("The variance map: from one layer to the next")
    return alt.LayerChart(layer=drawn, title=title, height=height)


def _window(start: float, way: Array, points: list[float], decades: float) -> tuple[float, float]:
    """What is drawn, log10: the start, its way and the fixed points, within a few decades of the start."""
    seen = [start - 0.4 * decades, start + 0.4 * decades]
    seen += [at for at in points if abs(at - start) <= DECADES * decades]
    reach = WAY_DECADES * decades
    seen += [start + float(np.clip(at - start, -reach, reach)) for at in way[np.isfinite(way)]]
    low, high = min(seen), max(seen)
    margin = 0.08 * (high - low)
    return low - margin, high + margin


def _ticks(low: float, high: float) -> list[float]:
    """Where labels stand; closer together than a layer axis has them where the range is less than a decade."""
    if high - low > 1.2:
        return axes.value_ticks(low, high)
    marks = [e + math.log10(m) for e in range(math.floor(low), math.ceil(high) + 1) for m in (1, 1.5, 2, 3, 5, 7)]
    return [at for at in marks if low <= at <= high]


def _diagonal(domain: tuple[float, float]) -> list[dict[str, float]]:
    return [{"here": at, "next": at, "order": i} for i, at in enumerate(domain)]


def _map_rows(plain: VarianceMap, domain: tuple[float, float], unit: float) -> list[dict[str, float]]:
    here = np.linspace(*domain, SAMPLES)
    after = plain.log_next(here * unit) / unit
    return [
        {"here": float(a), "next": float(b), "order": i}
        for i, (a, b) in enumerate(zip(here, after, strict=True))
        if math.isfinite(b)
    ]


def _way_rows(way: Array) -> list[dict[str, Any]]:
    """The cobweb: up or down to the map, across to the line of no change, and again."""
    rows: list[dict[str, Any]] = []
    for layer, (here, after) in enumerate(pairwise(way), start=1):
        if not math.isfinite(after):
            break
        for spot in (here, after):
            rows.append({"here": float(here), "next": float(spot), "order": len(rows), "layer": layer})
    if rows:
        rows.append({"here": rows[-1]["next"], "next": rows[-1]["next"], "order": len(rows), "layer": len(way)})
    return rows


def _line(rows: list[dict[str, Any]], x: alt.X, y: alt.Y) -> alt.Chart:
    import altair as alt

    return alt.Chart({"values": rows}).encode(x=x, y=y, order="order:Q")


def _map(rows: list[dict[str, Any]], x: alt.X, y: alt.Y, names: dict[str, str]) -> list[alt.Chart]:
    """The map, and what it adds to a signal or takes away: the gap to the line of no change."""
    gap = _line(rows, x, y).mark_area(color=_ink(names), opacity=0.13, clip=True, aria=False)
    return [gap.encode(y2="here:Q"), _series(rows, x, y, names, "map", 2.5)]


def _series(
    rows: list[dict[str, Any]], x: alt.X, y: alt.Y, names: dict[str, str], name: str, width: float
) -> alt.Chart:
    line = _line(rows, x, y).transform_calculate(series=f"{names[name]!r}")
    return line.mark_line(strokeWidth=width, clip=True, aria=False).encode(color=_color(names))


def _start(way: Array, x: alt.X, y: alt.Y, names: dict[str, str], t: Translate) -> list[alt.Chart]:
    """Where the network begins."""
    import altair as alt

    if not math.isfinite(way[0]):
        return []
    at = float(way[0])
    row = {"here": at, "next": at, "text": t("layer 1: {size}", size=number_text(at, 3))}
    base = alt.Chart({"values": [row]}).encode(x=x, y=y)
    color = alt.ExprRef(f"scale('color', {names['way']!r})")
    mark = base.mark_point(shape="diamond", filled=True, size=110, color=color, opacity=1, aria=False)
    down = len(way) > 1 and way[1] < way[0]  # on the side of the line of no change that the map leaves free
    where: dict[str, Any] = {"align": "right", "baseline": "bottom", "dx": -9, "dy": -4}
    if not down:
        where = {"align": "left", "baseline": "top", "dx": 9, "dy": 4}
    text = base.mark_text(**where, color=_ink(names), fontSize=_LABEL_SIZE)
    return [mark, text.encode(text="text:N")]


def _ink(names: dict[str, str]) -> alt.ExprRef:
    """Only the first colour of the palette is dark enough for text on a light page and light enough on a dark one."""
    import altair as alt

    return alt.ExprRef(f"scale('color', {names['map']!r})")


def _points(
    points: list[tuple[float, bool]],
    domain: tuple[float, float],
    x: alt.X,
    y: alt.Y,
    names: dict[str, str],
    t: Translate,
) -> list[alt.Chart]:
    """The fixed points: filled where stable, rings where not, each with its value."""
    import altair as alt

    drawn = []
    for at, stable in points:
        if not domain[0] <= at <= domain[1]:
            continue
        kind = t("stable: {size}") if stable else t("unstable: {size}")
        row = {"here": at, "next": at, "text": kind.format(size=number_text(at, 3))}
        base = alt.Chart({"values": [row]}).encode(x=x, y=y)
        fill = _ink(names) if stable else "transparent"
        drawn.append(base.mark_point(size=130, stroke=_ink(names), fill=fill, strokeWidth=2.5, opacity=1, aria=False))
        left = at < domain[0] + 0.3 * (domain[1] - domain[0])  # no room beside the axis
        where: dict[str, Any] = {"align": "right", "baseline": "bottom", "dx": -9, "dy": -6}
        if left:
            where = {"align": "left", "baseline": "top", "dx": 10, "dy": 5}
        word = base.mark_text(**where, color=_ink(names), fontSize=_LABEL_SIZE, fontWeight="bold")
        drawn.append(word.encode(text="text:N"))
    return drawn


def describe_map(plain: VarianceMap, log_q: float, t: Translate = english) -> str:
    """The map in words, for readers who do not see it."""
    points = ", ".join(
        (t("stable at RMS {rms}") if point.stable else t("unstable at RMS {rms}")).format(
            rms=number_text(0.5 * math.log10(point.q), 3)
        )
        for point in plain.fixed_points
    )
    first = number_text(0.5 * log_q / LN10, 3)
    return t(
        "Size of the signal in one layer against the next, from RMS {first} at layer 1. Fixed points: {points}.",
        first=first,
        points=points or t("none"),
    )
