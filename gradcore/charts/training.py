"""Charts of training runs: a quantity of every layer over the steps, loss and accuracy, single neurons' gradients.

Speeds and ratios are drawn as log10 on linear axes whose labels print 1e-100, as in the other charts; what is exactly 0
or no number leaves a gap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.charts import axes
from gradcore.charts.chain import LABEL_SIZE, log10
from gradcore.charts.ends import ends_text
from gradcore.charts.panels import NEUTRAL
from gradcore.experiments.first_step import FirstStep
from gradcore.experiments.training import Run
from gradcore.words import Translate, english, number_text

if TYPE_CHECKING:
    import altair as alt

MOST_POINTS = 100  # of a curve
MOST_LAYERS = (
    8  # curves of a chart: of deeper networks as many layers are drawn, evenly spread, first and last ones too
)
COLORS = 5  # of the theme
WIDE = 1e3  # ratio of losses from which their axis is logarithmic
BAND_SHARE = 0.022  # of the axis between the bands of two layers at step 0
DASHES: tuple[list[int], ...] = ([1, 0], [5, 3])  # the plain run, the one with the remedy


@dataclass(frozen=True, eq=False)
class Shown:
    """A run and what it is called in the legend."""

    name: str
    run: Run


@dataclass(frozen=True)
class Quantity:
    """What a chart of layers draws: a field of TrainStep, its texts (msgids), and whether its axis is logarithmic."""

    series: str
    title: str
    axis: str
    log: bool = True
    hidden_only: bool = False
    top: float | None = 1.0  # of an axis that is not logarithmic; None: that of the values


SPEEDS = Quantity("speeds", "Learning speed of every layer", "speed |dC/db| (log scale)")
QUANTITIES = {
    "updates": Quantity("update_ratios", "Update over weights, |ΔW| / |W|", "update / weights (log scale)"),
    "saturated": Quantity("saturated", "Saturated units", "share of units and items", log=False, hidden_only=True),
    "factors": Quantity(
        "factors_above_one",
        "Factors |w φ'(z)| above 1",
        "share of a layer's factors",
        log=False,
        hidden_only=True,
        top=None,
    ),
}
FACTORS = "factors_above_one"


def picked(steps: int) -> np.ndarray:
    """The rows of a run that are drawn."""
    return np.unique(np.linspace(0, steps - 1, min(steps, MOST_POINTS)).astype(int)) if steps else np.arange(0)


def layer_names(depth: int, t: Translate) -> list[str]:
    """The legend's names of layers 1..L; the last one is the output."""
    return [*(str(layer) for layer in range(1, depth)), t("out")]


def drawn_names(names: Sequence[str]) -> list[str]:
    """Those of them that are drawn."""
    if len(names) <= MOST_LAYERS:
        return list(names)
    rows = np.unique(np.linspace(0, len(names) - 2, MOST_LAYERS - 1).round().astype(int))
    return [*(names[int(row)] for row in rows), names[-1]]


def factor_counts(run: Run) -> list[int]:
    """(L-1,) how many factors w phi'(z) lead from hidden layer l to the next layer: the entries of W^(l+1)."""
    width, depth = run.spec.network.width, run.spec.network.depth
    widths = list(width) if isinstance(width, tuple) else [width] * (depth - 1) + [int(run.data["classes"])]
    return [int(a) * int(b) for a, b in pairwise(widths)]


def layer_chart(
    quantity: Quantity,
    shown: Sequence[Shown],
    *,
    depth: int,
    steps: int,
    first: FirstStep | None = None,
    height: int = 300,
    t: Translate = english,
) -> alt.LayerChart:
    """One curve per layer and run; ``first``: the predicted law at step 0, a bar and a mark left of the axis.

    ``depth``: weight layers of the plain run, ``steps`` the end of the axis.
    """
    import altair as alt

    axes.await_pandas()
    names = layer_names(depth, t)
    every = names[:-1] if quantity.hidden_only else names
    shown_names = drawn_names(every)
    rows = [row for one in shown for row in _curves(quantity, one, names, shown_names)]
    bands = _bands(first, names, shown_names, steps) if first is not None else []
    values = [row["size"] for row in rows] + [row[end] for row in bands for end in ("low", "high")]
    y = value_axis(quantity, values, t)
    x = _step_axis(steps, len(bands), t)
    color = layer_color(shown_names, t)
    dash = _dash([one.name for one in shown])
    tooltip = [
        alt.Tooltip("layer:N", title=t("layer")),
        alt.Tooltip("run:N", title=t("run")),
        alt.Tooltip("step:Q", title=t("step")),
        alt.Tooltip("text:N", title=t("value")),
    ]
    line = alt.Chart({"values": rows}).mark_line(
        strokeWidth=2, clip=True, aria=False, invalid="break-paths-show-domains"
    )
    layers = [line.encode(x=x, y=y, color=color, strokeDash=dash, tooltip=tooltip)]
    dots = [row for row in rows if row["alone"]]
    if dots:  # a line of one step cannot be seen
        mark = alt.Chart({"values": dots}).mark_point(filled=True, size=45, opacity=1, clip=True)
        layers.append(mark.encode(x=x, y=y, color=color, tooltip=tooltip))
    if rows and len(shown_names) > 1:  # never by colour alone
        layers.append(_end_labels([row for row in rows if row["run"] == shown[0].name], x, y, color))
    if bands:
        layers += _band_layers(bands, x, (y, value_axis(quantity, values, t, "low")), color, t)
    title = t(quantity.title)
    if len(shown_names) < len(every):
        title = t("{title}: {count} of {layers} layers", title=title, count=len(shown_names), layers=len(every))
    return alt.LayerChart(layer=layers, title=title, height=height)


def _end_labels(rows: list[dict[str, Any]], x: alt.X, y: alt.Y, color: alt.Color) -> alt.Chart:
    """The layer at the end of its curve: its colour alone would not tell everyone."""
    import altair as alt

    ends = {row["layer"]: row for row in rows}
    text = alt.Chart({"values": list(ends.values())}).mark_text(align="right", dx=-2, dy=-7, fontSize=LABEL_SIZE)
    return text.encode(x=x, y=y, color=color, text="layer:N")


def describe_layers(quantity: Quantity, shown: Sequence[Shown], *, depth: int, t: Translate = english) -> str:
    """The chart of layers in words: every layer of every run from its first value to its last."""
    lines = {}
    for one in shown:
        values = one.run.series(quantity.series) if one.run.steps else np.zeros(0)
        for name, column in zip(layer_names(depth, t), values.T if values.ndim == 2 else (), strict=False):
            layer = name if name == t("out") else t("layer {layer}", layer=name)
            lines[f"{one.name}, {layer}" if len(shown) > 1 else layer] = column
    return ends_text(t(quantity.title), lines, t)


def _curves(quantity: Quantity, shown: Shown, names: list[str], drawn: list[str]) -> list[dict[str, Any]]:
    """The rows of one run; layers are named from the plain run's, the output's by its own name."""
    if not shown.run.steps:
        return []
    values = shown.run.series(quantity.series)
    if values.ndim != 2:
        return []
    steps = shown.run.series("step")
    sizes = log10(values) if quantity.log else values
    count = values.shape[1]
    own = names if count == len(names) else [*names[: count - 1], names[-1]]
    if quantity.hidden_only:
        own = names[:count]
    counts = factor_counts(shown.run) if quantity.series == FACTORS else [0] * count
    return [
        {
            "step": int(steps[row]),
            "size": float(sizes[row, layer]),
            "layer": own[layer],
            "run": shown.name,
            "text": _text(float(values[row, layer]), quantity.log, counts[layer]),
            "alone": len(steps) == 1,
        }
        for layer in range(count)
        if own[layer] in drawn
        for row in picked(len(steps))
        if math.isfinite(sizes[row, layer])
    ]


def _text(value: float, log: bool, count: int = 0) -> str:
    if count:
        return f"{value:.3g} ({value * count:.3g} / {count:,})"
    return number_text(math.log10(value), 3) if log and value > 0 else f"{value:.3g}"


def _bands(first: FirstStep, names: list[str], drawn: list[str], steps: int) -> list[dict[str, Any]]:
    """The predicted 95% band and median of each layer, side by side left of step 0."""
    (low, high), middle = first.band(), first.median()
    apart = BAND_SHARE * max(steps, 1)
    return [
        {
            "step": -apart * (len(drawn) - drawn.index(name)),
            "low": float(log10(low[k])),
            "high": float(log10(high[k])),
            "size": float(log10(middle[k])),
            "layer": name,
            "text": f"{middle[k]:.2g} ({low[k]:.2g} … {high[k]:.2g})",
        }
        for k, name in enumerate(names)
        if name in drawn and k < len(middle) and low[k] > 0.0
    ]


def _band_layers(
    bands: list[dict[str, Any]], x: Any, ys: tuple[alt.Y, alt.Y], color: Any, t: Translate
) -> list[alt.Chart]:
    import altair as alt

    base = alt.Chart({"values": bands})
    tooltip = [alt.Tooltip("layer:N", title=t("layer")), alt.Tooltip("text:N", title=t("predicted at the start"))]
    bar = base.mark_rule(strokeWidth=5, opacity=0.45, strokeCap="round")
    y, low = ys
    marks = base.mark_point(filled=True, shape="diamond", size=45, opacity=1)
    zero = alt.Chart({"values": [{"step": 0}]}).mark_rule(color=NEUTRAL, strokeDash=[2, 3], aria=False)
    return [
        bar.encode(x=x, y=low, y2="high:Q", color=color, tooltip=tooltip),
        marks.encode(x=x, y=y, color=color, tooltip=tooltip),
        zero.encode(x=x),
    ]


def _step_axis(steps: int, bands: int, t: Translate) -> alt.X:
    import altair as alt

    left = -BAND_SHARE * max(steps, 1) * (bands + 1) if bands else 0.0
    every = _every(steps)
    axis = alt.Axis(values=list(range(0, steps + 1, every)), format="d", grid=False)
    return alt.X("step:Q", title=t("step"), axis=axis, scale=alt.Scale(domain=[left, max(steps, 1)], nice=False))


def _every(steps: int) -> int:
    return next(s * 10**k for k in range(8) for s in (1, 2, 5) if steps / (s * 10**k) <= 6)


def value_axis(quantity: Quantity, values: list[float], t: Translate, column: str = "size") -> alt.Y:
    """The axis of a quantity's values; where it is logarithmic, ``values`` are logarithms to base 10."""
    import altair as alt

    if not quantity.log:
        top = quantity.top or max(1.1 * max(values, default=0.0), 1e-3)
        scale = alt.Scale(domain=[0, top], nice=False)
        return alt.Y(f"{column}:Q", title=t(quantity.axis), scale=scale, axis=alt.Axis(tickCount=5, format="~g"))
    finite = [value for value in values if math.isfinite(value)] or [-1.0, 0.0]
    low, high = min(finite), max(finite)
    margin = 0.05 * max(high - low, 1.0)
    domain = (low - margin, high + margin)
    axis = alt.Axis(values=axes.value_ticks(*domain), labelExpr=axes.POWER_LABEL, minExtent=40)
    return alt.Y(f"{column}:Q", title=t(quantity.axis), axis=axis, scale=alt.Scale(domain=list(domain), nice=False))


def layer_color(names: list[str], t: Translate) -> alt.Color:
    """One colour for each layer, with the legend above the chart."""
    import altair as alt

    legend = alt.Legend(
        title=t("layer"),
        titleOrient="left",
        orient="top",
        offset=4,
        padding=0,
        columnPadding=7,
        symbolType="stroke",
        columns=len(names) if len(names) <= COLORS else 4,  # on a phone
    )
    return alt.Color("layer:N", scale=alt.Scale(domain=names), legend=legend)


def _dash(names: list[str]) -> Any:
    import altair as alt

    if len(names) < 2:
        return alt.Undefined
    legend = alt.Legend(title=None, orient="bottom", offset=4, padding=0, symbolType="stroke", symbolStrokeWidth=2)
    return alt.StrokeDash("run:N", scale=alt.Scale(domain=names, range=list(DASHES[: len(names)])), legend=legend)


# --- loss and accuracy ----------------------------------------------------------------------------------------

SCALARS = {"loss": ("Loss", "loss C"), "accuracy": ("Accuracy", "share of items")}


def scalar_chart(
    name: str, shown: Sequence[Shown], *, steps: int, height: int = 130, t: Translate = english
) -> alt.LayerChart:
    """Loss or accuracy of each run over the steps."""
    import altair as alt

    axes.await_pandas()
    rows = []
    for one in shown:
        values, at = one.run.series(name), one.run.series("step")
        rows += [
            {"step": int(at[r]), "size": float(values[r]), "run": one.name, "alone": len(at) == 1}
            for r in picked(len(at))
            if math.isfinite(values[r])
        ]
    title, axis = SCALARS[name]
    sizes = [row["size"] for row in rows]
    if name == "loss" and sizes and min(sizes) > 0.0 and max(sizes) > WIDE * min(sizes):
        for row in rows:
            row["text"], row["size"] = f"{row['size']:.4g}", math.log10(row["size"])
        y = value_axis(Quantity(name, title, "loss C (log scale)"), [row["size"] for row in rows], t)
    else:
        for row in rows:
            row["text"] = f"{row['size']:.4g}"
        y = _scalar_axis(name, t)
    x = _step_axis(steps, 0, t)
    names = [one.name for one in shown]
    legend: Any = (
        alt.Legend(title=None, orient="top", offset=2, padding=0, symbolType="stroke") if len(names) > 1 else None
    )
    color = alt.Color("run:N", scale=alt.Scale(domain=names), legend=legend)
    tooltip = [
        alt.Tooltip("run:N", title=t("run")),
        alt.Tooltip("step:Q", title=t("step")),
        alt.Tooltip("text:N", title=t(axis)),
    ]
    dash = alt.StrokeDash("run:N", scale=alt.Scale(domain=names, range=list(DASHES[: len(names)])), legend=legend)
    line = alt.Chart({"values": rows}).mark_line(strokeWidth=2, clip=True, aria=False)
    layers = [line.encode(x=x, y=y, color=color, strokeDash=dash, tooltip=tooltip)]
    dots = [row for row in rows if row["alone"]]
    if dots:
        layers.append(
            alt.Chart({"values": dots})
            .mark_point(filled=True, size=45, opacity=1)
            .encode(x=x, y=y, color=color, tooltip=tooltip)
        )
    return alt.LayerChart(layer=layers, title=t(title), height=height)


def _scalar_axis(name: str, t: Translate) -> alt.Y:
    import altair as alt

    scale = alt.Scale(domain=[0, 1], nice=False) if name == "accuracy" else alt.Scale(zero=True)
    return alt.Y(
        "size:Q", title=t(SCALARS[name][1]), scale=scale, axis=alt.Axis(tickCount=4, minExtent=40, format=".3~g")
    )


# --- single neurons -------------------------------------------------------------------------------------------


def neuron_chart(run: Run, *, layers: int = 2, height: int = 300, t: Translate = english) -> alt.LayerChart:
    """dC/db of every neuron of the first hidden layers at the first step, as bars, both signs."""
    import altair as alt

    axes.await_pandas()
    found = run.steps[0].neurons[:layers] if run.steps else ()
    names = [t("layer {layer}", layer=layer) for layer in range(1, len(found) + 1)]
    rows = [
        {"neuron": j, "size": value, "layer": names[k], "side": k}
        for k, values in enumerate(found)
        for j, value in enumerate(values, start=1)
        if math.isfinite(value)
    ]
    count = max((len(values) for values in found), default=1)
    x = alt.X(
        "neuron:O",
        title=t("neuron"),
        axis=alt.Axis(values=axes.layer_ticks(count), labelAngle=0, grid=False),
    )
    y = alt.Y("size:Q", title=t("dC/db of the neuron"), axis=alt.Axis(minExtent=40, format="~g"))
    color = alt.Color(
        "layer:N", scale=alt.Scale(domain=names), legend=alt.Legend(title=None, orient="top", offset=4, padding=0)
    )
    tooltip = [
        alt.Tooltip("layer:N", title=t("layer")),
        alt.Tooltip("neuron:O", title=t("neuron")),
        alt.Tooltip("size:Q", title=t("dC/db"), format=".3g"),
    ]
    bars = alt.Chart({"values": rows}).mark_bar(aria=False).encode(x=x, y=y, color=color, tooltip=tooltip)
    drawn: list[alt.Chart] = [bars.encode(xOffset=alt.XOffset("side:O"))]
    if not rows:
        text = alt.Chart({"values": [{"text": t("not in this record")}]}).mark_text(color=NEUTRAL, fontSize=LABEL_SIZE)
        drawn = [text.encode(text="text:N")]
    return alt.LayerChart(layer=drawn, title=t("dC/db of single neurons, before any training"), height=height)
