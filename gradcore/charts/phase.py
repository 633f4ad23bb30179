"""The chart of a phase map: a heatmap whose neutral colour is critical, the critical line, and where a network stands.

Colours come from the theme in force (its diverging range, or its heatmap range where nothing is critical). What is far
from critical is drawn in the colour of the end, so that 1e-600 is ordinary; its number stands in the tooltip.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.charts.axes import value_ticks
from gradcore.phases import PhaseMap, Scalar
from gradcore.theory.axes import LOGARITHMIC
from gradcore.words import LN10, Translate, english

if TYPE_CHECKING:
    import altair as alt

Array = np.ndarray
SELECTION = "cell"  # name of the chart's selection: fields i (column) and j (row) of the clicked cell
FULL_COLOUR = 10.0  # powers of ten at which the colour ends
FULL_FACTOR = math.log10(2.0)  # the same for a factor per layer
FULL_LAYERS = 4.0  # and for a depth scale
LEAST_COLOUR = 0.05  # and at least this much, so that a flat map looks flat
EDGE = 12  # px
LABELLED = 0.06  # share of the map that a labelled region has at least
POWER = "abs({0}) < 3.5 ? format(pow(10, {0}), '.3~r') : '1e' + format(floor({0} + 0.5), 'd')"
EXACT_POWER = (
    "abs({0}) < 3.5 ? format(pow(10, {0}), '.3~r') : format(pow(10, {0} - floor({0})), '.2~f') + 'e' + "
    "format(floor({0}), 'd')"
)

AXIS_TITLES = {  # msgids, with the unit
    "depth": "depth (layers)",
    "width": "width (units per layer, log scale)",
    "input_width": "input width (features, log scale)",
    "negative_slope": "negative slope",
    "gain": "gain (factor on the weights)",
    "sparsity": "sparsity (share of zeros)",
    "bias_std": "std of the biases",
    "norm_gamma": "norm scale γ",
    "norm_beta": "norm shift β",
    "norm_eps": "norm ε (signal's unit squared, log scale)",
    "residual_scale": "residual scale α",
    "batch_size": "batch size (samples, log scale)",
    "input_rms": "RMS of the input (log scale)",
    "input_correlation": "correlation between inputs",
    "sigma_w": "σ_w = std(W) √fan_in",
    "sigma_b": "σ_b = std(b)",
}
AXIS_NAMES = {"gain": "gain", "bias_std": "bias std", "sigma_w": "σ_w", "sigma_b": "σ_b"}  # msgids, within a sentence
UNITS = {  # msgids by moment, of the number in the scalar's label
    "rms": "RMS of the {what}",
    "mean_square": "mean square of the {what}",
}
FACTOR_UNITS = {"rms": "{what} (RMS)", "mean_square": "{what} (mean square)"}
RATIOS = ("log_g_ratio", "log_factor")


def axis_title(field: str, t: Translate = english) -> str:
    """The title of an axis, with its unit."""
    return t(AXIS_TITLES[field]) if field in AXIS_TITLES else field.replace("_", " ")


def axis_name(field: str, t: Translate = english) -> str:
    """The name of an axis within a sentence."""
    return t(AXIS_NAMES[field]) if field in AXIS_NAMES else field.replace("_", " ")


def scalar_label(scalar: Scalar, layer: int, t: Translate = english) -> str:
    """The scalar in words: gradient δ at layer 1."""
    return t(scalar.label, layer=t("L (the last)") if layer < 0 else layer)


def value_title(found: PhaseMap, moment: str = "rms", t: Translate = english) -> str:
    """What the colours show, with its unit."""
    what = scalar_label(found.scalar, found.layer, t)
    if found.scalar.kind == "log" and found.scalar.code not in RATIOS:
        return t(UNITS[moment], what=what)
    return t(FACTOR_UNITS[moment], what=what) if found.scalar.kind in ("log", "factor") else what


def shown_values(scalar: Scalar, values: Array, moment: str = "rms") -> Array:
    """What is drawn: log10 of the RMS (or mean square) for "log" and "factor", log10 of the layers for "layers", the
    number itself for "share"; -inf for an exact zero, NaN where there is no answer."""
    if scalar.kind == "share":
        return values
    power = 1.0 if moment == "mean_square" or scalar.kind == "layers" else 0.5
    with np.errstate(divide="ignore", invalid="ignore"):
        return power * (values / LN10 if scalar.kind == "log" else np.log10(values))


def diverges(scalar: Scalar) -> bool:
    """Whether the scalar is critical at 1, the middle of the colours."""
    return scalar.kind in ("log", "factor")


def phase_chart(found: PhaseMap, *, moment: str = "rms", height: int = 420, t: Translate = english) -> alt.LayerChart:
    """The heatmap of a phase map with the critical line (solid where its fixed point is stable, else dashed) and the
    map's own network as a ring. ``moment``: "rms" or "mean_square". The selection named SELECTION holds the clicked
    cell's ``i`` (column) and ``j`` (row)."""
    import altair as alt
    import pandas as pd  # noqa: F401  altair asks what it finds of it: half imported by another thread is an error

    canvas = _Canvas(found, moment, t)
    layers = [_cells(canvas), *_line(canvas), *_region_labels(canvas), *_here(canvas)]
    return alt.LayerChart(layer=layers, height=height).resolve_scale(color="independent")


class _Canvas:
    """What the layers share: the axes, the drawn numbers and the ends of the colours."""

    def __init__(self, found: PhaseMap, moment: str, t: Translate) -> None:
        self.found, self.moment, self.t = found, moment, t
        self.shown = shown_values(found.scalar, found.values, moment)
        self.x, self.y = _Side(found.x, found.xs, t), _Side(found.y, found.ys, t)
        finite = self.shown[np.isfinite(self.shown)]
        self.low, self.high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        if diverges(found.scalar):
            full = FULL_FACTOR if found.scalar.kind == "factor" or found.scalar.code == "log_factor" else FULL_COLOUR
            self.largest = math.inf if np.isinf(self.shown).any() else max(abs(self.low), abs(self.high))
            self.high = min(max(self.largest, LEAST_COLOUR), full)
            self.low = -self.high
        elif found.scalar.kind == "layers":
            self.high = min(self.high, FULL_LAYERS)
            self.low = min(self.low, self.high - LEAST_COLOUR)

    def channels(self) -> dict[str, Any]:
        """x and y of a layer whose data has columns x and y."""
        import altair as alt

        return {"x": alt.X("x:Q", **self.x.options()), "y": alt.Y("y:Q", **self.y.options())}


class _Side:
    """One axis: the places of its values (log10 on a log axis) and the edges of the cells."""

    def __init__(self, field: str, values: Array, t: Translate) -> None:
        self.field, self.title = field, axis_title(field, t)
        self.logarithmic = field in LOGARITHMIC and bool((values > 0).all())
        self.values = values
        at = self.place(values)
        order = np.sort(np.unique(at))
        middles = 0.5 * (order[1:] + order[:-1])
        ends = [order[0] - 0.5, order[0] + 0.5]
        if order.size > 1:
            ends = [order[0] - (middles[0] - order[0]), order[-1] + (order[-1] - middles[-1])]
        self.edges = np.concatenate([[ends[0]], middles, [ends[1]]])
        self.rank = np.searchsorted(order, at)

    def place(self, values: Any) -> Array:
        """Where values stand on the axis."""
        return np.log10(values) if self.logarithmic else np.asarray(values, dtype=float)

    def options(self) -> dict[str, Any]:
        """Title, scale and ticks, alike in every layer."""
        import altair as alt

        domain = [float(self.edges[0]), float(self.edges[-1])]
        ticks: dict[str, Any] = {"tickCount": 8}
        if self.logarithmic:
            ticks = {"values": value_ticks(*domain), "labelExpr": POWER.format("datum.value")}
        axis = alt.Axis(grid=False, labelOverlap=True, **ticks)
        return {"title": self.title, "axis": axis, "scale": alt.Scale(domain=domain, nice=False, zero=False)}

    def share(self, place: float) -> float:
        """How far along the axis a place lies, from 0 to 1."""
        return float((place - self.edges[0]) / (self.edges[-1] - self.edges[0]))

    def holds(self, place: float) -> bool:
        """Whether a place lies on the map."""
        return bool(self.edges[0] <= place <= self.edges[-1])


def _cells(canvas: _Canvas) -> alt.Chart:
    """The rectangles: rows of column i, row j and the number v; edges and texts are computed by the browser."""
    import altair as alt

    found = canvas.found
    j, i = np.nonzero(~np.isnan(canvas.shown))
    values = np.clip(canvas.shown[j, i], -1e6, 1e6)
    rows = [{"i": int(a), "j": int(b), "v": round(float(v), 5)} for a, b, v in zip(i, j, values, strict=True)]
    chart = alt.Chart({"values": rows}).mark_rect(strokeWidth=0.7)
    for name, side, index in (("x", canvas.x, "i"), ("y", canvas.y, "j")):
        low, high = side.edges[side.rank], side.edges[side.rank + 1]
        chart = chart.transform_calculate(
            **{
                name: _pick(low, index),
                f"{name}2": _pick(high, index),
                f"{name}_text": _pick([_short(value) for value in side.values], index),
            }
        )
    chart = chart.transform_calculate(shade=f"clamp(datum.v, {canvas.low}, {canvas.high})", text=_value_text(canvas))
    tooltip = [
        alt.Tooltip("text:N", title=value_title(found, canvas.moment, canvas.t)),
        alt.Tooltip("x_text:N", title=canvas.x.title),
        alt.Tooltip("y_text:N", title=canvas.y.title),
    ]
    click = alt.selection_point(name=SELECTION, fields=["i", "j"], on="click", toggle=False)
    scale, legend = _shade(canvas)
    return chart.encode(
        **canvas.channels(),
        x2="x2:Q",
        y2="y2:Q",
        color=alt.Color("shade:Q", scale=scale, legend=legend),
        stroke=alt.Stroke("shade:Q", scale=scale, legend=None),  # else the ground shows between the cells
        tooltip=tooltip,
    ).add_params(click)


def _pick(values: Any, index: str) -> str:
    """A Vega expression: the index-th of these values."""
    return f"{json.dumps([v if isinstance(v, str) else round(float(v), 9) for v in values])}[datum.{index}]"


def _short(value: float) -> str:
    return f"{value:.4g}"


def _value_text(canvas: _Canvas) -> str:
    if canvas.found.scalar.kind == "share":
        return "format(datum.v, '.3f')"
    return f"datum.v <= -1e6 ? '0' : datum.v >= 1e6 ? '∞' : {EXACT_POWER.format('datum.v')}"


def _shade(canvas: _Canvas) -> tuple[alt.Scale, alt.Legend]:
    """Scale and legend of the colours; the legend's labels say where they end."""
    import altair as alt

    scale: dict[str, Any] = {"domain": [canvas.low, canvas.high], "nice": False}
    legend: dict[str, Any] = {"title": None, "orient": "right", "gradientLength": 280, "gradientThickness": 12}
    if canvas.found.scalar.kind != "share":
        legend["labelExpr"] = POWER.format("datum.value")
    if diverges(canvas.found.scalar):
        scale |= {"domainMid": 0.0, "interpolate": "rgb"}
        legend["values"] = value_ticks(canvas.low, canvas.high)
        if canvas.largest > canvas.high:
            ends = POWER.format(canvas.high), POWER.format(f"({canvas.low})")
            legend["labelExpr"] = (
                f"datum.value > {0.999 * canvas.high} ? '≥ ' + ({ends[0]}) : "
                f"datum.value < {0.999 * canvas.low} ? '≤ ' + ({ends[1]}) : " + POWER.format("datum.value")
            )
    return alt.Scale(**scale), alt.Legend(**legend)


def _line(canvas: _Canvas) -> Iterator[alt.Chart]:
    """The critical line, dashed where its fixed point does not hold, black on white: it shows on any colour."""
    import altair as alt

    for x, y, stable in canvas.found.critical.pieces:
        px, py = canvas.x.place(x), canvas.y.place(y)
        if px.size == 1:
            continue
        rows = [{"x": float(a), "y": float(b)} for a, b in zip(*_ended(canvas, px, py), strict=True)]
        for colour, width in (("white", 4.5), ("black", 2.0)):
            dash = [1, 0] if stable else [5, 4]
            line = alt.Chart({"values": rows}).mark_line(
                color=colour, strokeWidth=width, strokeDash=dash, clip=True, aria=False, tooltip=None
            )
            yield line.encode(**canvas.channels(), order=alt.Order("y:Q") if _upright(px, py) else alt.Undefined)


def _upright(x: Array, y: Array) -> bool:
    return bool(np.ptp(x) == 0.0) or bool(np.all(np.diff(y) >= 0.0))


def _ended(canvas: _Canvas, x: Array, y: Array) -> tuple[Array, Array]:
    """The line out to the map's edges where it stops at the last cell's middle."""
    for mine, other, side in ((y, x, canvas.y), (x, y, canvas.x)):
        at = side.place(side.values)
        if np.array_equal(mine, at[: mine.size]) and mine.size == at.size > 1:
            mine, other = np.concatenate([[side.edges[0]], mine, [side.edges[-1]]]), np.pad(other, 1, mode="edge")
            return (other, mine) if side is canvas.y else (mine, other)
    return x, y


@dataclass(frozen=True)
class _Text:
    """Words at a place of the map; near its left or right end they run inwards from there."""

    x: float
    y: float
    text: str
    gap: int = 0

    def align(self, side: _Side) -> tuple[str, int]:
        """How the text is aligned, and its offset in px."""
        share = side.share(self.x)
        if self.gap:
            return ("right", -self.gap) if share > 0.5 else ("left", self.gap)
        return ("left", -EDGE) if share < 0.08 else ("right", EDGE) if share > 0.92 else ("center", 0)


def _texts(canvas: _Canvas, texts: list[_Text], weight: str = "normal") -> Iterator[alt.Chart]:
    """Black words with a white halo, readable on any colour; moved inwards at the upper and lower end of the map."""
    import altair as alt

    for one in texts:
        align, dx = one.align(canvas.x)
        height = canvas.y.share(one.y)
        dy = -EDGE if height < 0.04 else EDGE if height > 0.96 else 0
        base = alt.Chart({"values": [{"x": one.x, "y": one.y, "text": one.text}]})
        for halo in (True, False):
            stroke = {"stroke": "white", "strokeWidth": 4, "strokeJoin": "round"} if halo else {}
            look = {"color": "black", "fontSize": 13, "fontWeight": weight, "align": align, "dx": dx, "dy": dy}
            look |= {"lineBreak": "\n", "lineHeight": 15, "baseline": "middle"}
            mark = base.mark_text(**look, **stroke, aria=False, tooltip=None)
            yield mark.encode(**canvas.channels(), text="text:N")


def _region_labels(canvas: _Canvas) -> Iterator[alt.Chart]:
    """What happens in the regions of the outermost colours."""
    if canvas.found.scalar.code not in REGIONS:
        return
    texts = []
    for sign, msgid in zip((-1.0, 1.0), REGIONS[canvas.found.scalar.code], strict=True):
        region = sign * canvas.shown > 0.5 * canvas.high
        if region.mean() < LABELLED:
            continue
        j, i = _middle(region, canvas)
        x = float(canvas.x.place(canvas.x.values)[i])
        texts.append(_Text(x, float(canvas.y.place(canvas.y.values)[j]), canvas.t(msgid)))
    yield from _texts(canvas, texts, "bold")


REGIONS = {  # msgids of the low and the high end
    "log_g": ("gradients\nvanish", "gradients\nexplode"),
    "log_g_ratio": ("gradients\nvanish", "gradients\nexplode"),
    "log_g_median": ("gradients\nvanish", "gradients\nexplode"),
    "log_factor": ("gradients\nvanish", "gradients\nexplode"),
    "log_dw": ("weight gradients\nvanish", "weight gradients\nexplode"),
    "chi": ("ordered:\ngradients shrink", "chaotic:\ngradients grow"),
    "chi_star": ("ordered:\ngradients shrink", "chaotic:\ngradients grow"),
    "log_q": ("signal\ndies out", "signal\nexplodes"),
    "log_q_star": ("signal\ndies out", "signal\nexplodes"),
    "log_p": ("signal\ndies out", "signal\nexplodes"),
}


def _middle(region: Array, canvas: _Canvas) -> tuple[int, int]:
    """The row and column of the region's innermost cell: the one farthest from cells outside and from the edges."""
    depth = np.zeros(region.shape)
    layer = np.pad(region, 1)
    while layer.any():
        depth += layer[1:-1, 1:-1]
        shrunk = layer.copy()
        for shift, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)):
            shrunk &= np.roll(layer, shift, axis)
        layer = shrunk
    j, i = np.nonzero(depth == depth.max())
    pick = int(np.argmin((j - j.mean()) ** 2 + (i - i.mean()) ** 2))
    return int(j[pick]), int(i[pick])


def _here(canvas: _Canvas) -> Iterator[alt.Chart]:
    """A ring at the map's own network, and its label."""
    import altair as alt

    x, y = canvas.found.here
    if x is None or y is None:
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        px, py = float(canvas.x.place(x)), float(canvas.y.place(y))
    if not (math.isfinite(px) and math.isfinite(py) and canvas.x.holds(px) and canvas.y.holds(py)):
        return
    ring = alt.Chart({"values": [{"x": px, "y": py}]})
    for colour, width in (("white", 6), ("black", 2.5)):
        mark = ring.mark_point(
            size=190, filled=False, color=colour, strokeWidth=width, opacity=1, aria=False, tooltip=None
        )
        yield mark.encode(**canvas.channels())
    yield from _texts(canvas, [_Text(px, py, canvas.t("this network"), gap=14)])
