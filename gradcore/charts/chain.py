"""Charts of one single-neuron chain: factors, gradients, a change followed through it, slopes, training.

Sizes are drawn as log10 on linear axes whose labels print 1e-100, as in the other charts; what is exactly 0 has a word
instead of a mark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.activations import ACTIVATIONS, negative_slope_of
from gradcore.charts import axes
from gradcore.charts.ends import dash_of
from gradcore.charts.panels import NEUTRAL
from gradcore.experiments.chain import Chain, Nudge, Training, steepest
from gradcore.words import LN10, Translate, english, number_text

if TYPE_CHECKING:
    import altair as alt

Array = np.ndarray
LABEL_SIZE = 12
LABELLED = 6  # neurons up to which each mark has its value beside it, on a phone too
SLOPE_REACH = 8.0  # of z
SAMPLES = 321
MOST_LINES = 20  # factors that are followed over training
MOST_POINTS = 80  # of each


def log10(values: Any) -> Array:
    """log10 of the sizes; -inf for 0."""
    with np.errstate(divide="ignore"):
        return np.log10(np.abs(np.asarray(values, dtype=float)))


def domain_of(logs: Iterable[float], least: float = 0.5) -> tuple[float, float]:
    """Where finite log10 values and 0 lie, with a margin; at least ``least`` to either side."""
    values = [value for value in logs if math.isfinite(value)]
    low, high = min([-least, *values]), max([least, *values])
    margin = 0.07 * (high - low)
    return low - margin, high + margin


def log_axis(column: str, title: str, domain: tuple[float, float]) -> alt.Y:
    """A y channel of log10 values."""
    import altair as alt

    axis = alt.Axis(values=axes.value_ticks(*domain), labelExpr=axes.POWER_LABEL, minExtent=40)
    return alt.Y(f"{column}:Q", title=title, axis=axis, scale=alt.Scale(domain=list(domain), nice=False, zero=False))


def color_of(names: Iterable[str], symbol: str = "stroke") -> alt.Color:
    """A colour for each name, in the theme's order, with its legend on top."""
    import altair as alt

    legend = alt.Legend(title=None, orient="top", offset=4, padding=0, symbolType=symbol, symbolStrokeWidth=2)
    return alt.Color("series:N", scale=alt.Scale(domain=list(names)), legend=legend)


def rule(column: str, at: float) -> alt.Chart:
    """A dotted line across, or up where the column is not y."""
    import altair as alt

    mark = alt.Chart({"values": [{column: at}]}).mark_rule(
        color=NEUTRAL, strokeDash=[2, 3], strokeWidth=1.5, aria=False
    )
    return mark.encode(y=f"{column}:Q")


def neuron_axis(length: int, t: Translate) -> alt.X:
    """The x channel of neurons 1 ... L."""
    import altair as alt

    axis = alt.Axis(values=axes.layer_ticks(length), format="d", grid=False)
    scale = alt.Scale(domain=[0.4, length + 0.6], nice=False)
    return alt.X("neuron:Q", title=t("neuron (1 = next to the input)"), scale=scale, axis=axis)


# --- factors --------------------------------------------------------------------------------------------------


def factor_chart(chain: Chain, *, height: int = 300, t: Translate = english) -> alt.LayerChart:
    """Each factor of da_L/db_1 as a bar on a log scale, from the line at 1 down or up."""
    import altair as alt

    axes.await_pandas()
    logs = log10(chain.factors)
    domain = domain_of(logs)
    names = (t("below 1: shrinks"), t("at least 1: grows"))
    rows = [
        {
            "neuron": j,
            "size": float(log),
            "from": 0.0,
            "series": names[int(log >= 0.0)],
            "factor": factor_name(j),
            "text": f"{value:.4g}",
        }
        for j, (log, value) in enumerate(zip(logs, chain.factors, strict=True), start=1)
        if math.isfinite(log)
    ]
    x, y = neuron_axis(chain.length, t), log_axis("size", t("size of the factor (log scale)"), domain)
    tooltip = [alt.Tooltip("factor:N", title=t("factor")), alt.Tooltip("text:N", title=t("value"))]
    base = alt.Chart({"values": rows}).encode(x=x, y=y, y2="from:Q", tooltip=tooltip)
    bars = base.mark_bar(size=max(3.0, min(34.0, 200.0 / chain.length)), aria=False)
    layers = [bars.encode(color=color_of(names, "square")), rule("size", 0.0)]
    if chain.length <= LABELLED:
        layers += _bar_labels(rows, x, y)
    layers += _zeros(np.flatnonzero(~np.isfinite(logs)) + 1, x, y, domain, t)
    return alt.LayerChart(layer=layers, title=t("The factors of dC/db₁, one for each neuron"), height=height)


def factor_name(neuron: int) -> str:
    """How a factor is written in plain text: σ′(z₁), then w₂σ′(z₂)."""
    digits = str(neuron).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
    return f"σ′(z{digits})" if neuron == 1 else f"w{digits}σ′(z{digits})"


def _bar_labels(rows: list[dict[str, Any]], x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """The value beyond the end of each bar, seen from the line at 1."""
    import altair as alt

    layers = []
    for up in (False, True):
        data = [row for row in rows if (row["size"] >= 0.0) == up]
        if data:
            where: dict[str, Any] = {"baseline": "bottom", "dy": -3} if up else {"baseline": "top", "dy": 3}
            text = alt.Chart({"values": data}).mark_text(**where, fontSize=LABEL_SIZE, color=NEUTRAL, aria=False)
            layers.append(text.encode(x=x, y=y, text="text:N"))
    return layers


def _zeros(neurons: Array, x: alt.X, y: alt.Y, domain: tuple[float, float], t: Translate) -> list[alt.Chart]:
    """The word 0 where there is nothing to draw on a log scale."""
    import altair as alt

    if not len(neurons):
        return []
    rows = [{"neuron": int(j), "size": domain[0], "text": t("exactly 0")} for j in neurons[:12]]
    text = alt.Chart({"values": rows}).mark_text(angle=270, align="left", dx=6, color=NEUTRAL, fontSize=LABEL_SIZE)
    return [text.encode(x=x, y=y, text="text:N")]


# --- gradients of all biases ----------------------------------------------------------------------------------


def gradient_chart(chain: Chain, *, height: int = 300, t: Translate = english) -> alt.LayerChart:
    """|dC/db_l| of every neuron: how fast each would learn."""
    import altair as alt

    axes.await_pandas()
    logs = chain.log_bias_gradients / LN10
    finite = [float(log) for log in logs if math.isfinite(log)]
    low, high = (min(finite), max(finite)) if finite else (-1.0, 0.0)
    margin = 0.1 * max(high - low, 1.0)
    domain = (low - margin, high + margin)
    rows = [
        {"neuron": j, "size": float(log), "text": number_text(float(log), 3)}
        for j, log in enumerate(logs, start=1)
        if math.isfinite(log)
    ]
    x, y = neuron_axis(chain.length, t), log_axis("size", t("size of dC/db (log scale)"), domain)
    tooltip = [alt.Tooltip("neuron:Q", title=t("neuron")), alt.Tooltip("text:N", title=t("size of dC/db"))]
    base = alt.Chart({"values": rows}).encode(x=x, y=y, tooltip=tooltip)
    layers: list[alt.Chart] = [
        base.mark_line(strokeWidth=2, aria=False),
        base.mark_point(filled=True, size=60, opacity=1),
    ]
    if chain.length <= LABELLED:
        layers.append(base.mark_text(dy=-12, fontSize=LABEL_SIZE, color=NEUTRAL, aria=False).encode(text="text:N"))
    layers += _zeros(np.flatnonzero(~np.isfinite(logs)) + 1, x, y, domain, t)
    return alt.LayerChart(layer=layers, title=t("How fast each neuron learns: size of dC/db"), height=height)


# --- a change, followed ---------------------------------------------------------------------------------------


def nudge_chart(found: Nudge, *, height: int = 300, t: Translate = english) -> alt.LayerChart:
    """The change of each quantity on the way from b_1 to C: exact, and by the product of the factors so far."""
    import altair as alt

    axes.await_pandas()
    names = (t("product of the factors so far"), t("exact change"))
    rows = []
    for order, step in enumerate(found.steps):
        for series, value in zip(names, (step.linear, step.change), strict=True):
            if value:
                size = float(log10(value))
                rows.append(
                    {"order": order, "step": step_name(step.symbol, step.layer), "size": size, "series": series}
                )
                rows[-1]["text"] = f"{value:.5g}"
    domain = domain_of([row["size"] for row in rows])
    labels = [step_name(step.symbol, step.layer) for step in found.steps]
    axis = alt.Axis(labelAngle=0, labelOverlap=True, grid=False)
    x = alt.X("step:N", sort=labels, title=t("what changes, in order"), axis=axis, scale=alt.Scale(domain=labels))
    y = log_axis("size", t("size of the change (log scale)"), domain)
    tooltip = [alt.Tooltip("step:N", title=t("what changes")), alt.Tooltip("series:N", title=t("how")), "text:N"]
    color = color_of(names)
    line = alt.Chart({"values": [row for row in rows if row["series"] == names[0]]}).encode(x=x, y=y, color=color)
    dots = alt.Chart({"values": [row for row in rows if row["series"] == names[1]]}).encode(x=x, y=y, color=color)
    layers = [
        line.mark_line(strokeWidth=2, aria=False).encode(order="order:Q"),
        dots.mark_point(filled=True, size=60, opacity=1).encode(tooltip=tooltip),
    ]
    return alt.LayerChart(layer=layers, title=t("A change of b₁, followed to the cost"), height=height)


def step_name(symbol: str, layer: int) -> str:
    """Δz₂, and ΔC for the cost."""
    digits = str(layer).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
    return "ΔC" if symbol == "C" else f"Δ{symbol}{digits}"


# --- the slope ------------------------------------------------------------------------------------------------


def slope_chart(chain: Chain, *, height: int = 300, t: Translate = english) -> alt.LayerChart:
    """The derivative of the chain's activation, its largest value, and where each z_j of the chain stands on it."""
    import altair as alt

    axes.await_pandas()
    entry, slope = ACTIVATIONS[chain.activation], negative_slope_of(chain.activation, chain.negative_slope)
    top, most = steepest(chain.activation, chain.negative_slope)
    even = np.linspace(-SLOPE_REACH, SLOPE_REACH, SAMPLES)
    h = np.unique(np.concatenate([even, [kink + side for kink in entry.kinks for side in (-1e-9, 1e-9)]]))
    parts = np.digitize(h, entry.kinks)
    numbers = zip(h, entry.derivative(h, slope), parts, strict=True)
    curve = [{"z": round(float(z), 6), "slope": float(d), "part": int(p)} for z, d, p in numbers]
    names = (t("σ′(z)"), t("the neurons of this chain"))
    x = alt.X("z:Q", title=t("pre-activation z"), scale=alt.Scale(domain=[-SLOPE_REACH, SLOPE_REACH], nice=False))
    low = min(0.0, *(row["slope"] for row in curve))
    y = alt.Y("slope:Q", title=t("slope σ′(z)"), scale=alt.Scale(domain=[1.1 * low, 1.15 * most], nice=False))
    color = color_of(names)
    line = alt.Chart({"values": curve}).transform_calculate(series=f"{names[0]!r}").mark_line(strokeWidth=2, aria=False)
    layers = [line.encode(x=x, y=y, color=color, detail="part:N")]
    dots = [
        {"z": float(z), "slope": float(d), "series": names[1], "neuron": j}
        for j, (z, d) in enumerate(zip(chain.z, chain.slopes, strict=True), start=1)
        if abs(z) <= SLOPE_REACH
    ]
    tooltip = [
        alt.Tooltip("neuron:Q", title=t("neuron")),
        alt.Tooltip("z:Q", format=".4f"),
        alt.Tooltip("slope:Q", format=".4f"),
    ]
    points = alt.Chart({"values": dots}).mark_point(filled=True, size=70, opacity=0.9)
    layers.append(points.encode(x=x, y=y, color=color, tooltip=tooltip))
    shown = float(np.clip(top, -SLOPE_REACH, SLOPE_REACH))
    label = [{"z": shown, "slope": most, "text": t("largest: {slope}", slope=f"{most:.4g}")}]
    text = alt.Chart({"values": label}).mark_text(dy=-9, fontSize=LABEL_SIZE, color=NEUTRAL, aria=False)
    layers.append(text.encode(x=x, y=y, text="text:N"))
    return alt.LayerChart(layer=layers, title=t("The slope of the activation"), height=height)


# --- training -------------------------------------------------------------------------------------------------


def training_chart(run: Training, *, height: int = 300, t: Translate = english) -> alt.LayerChart:
    """|w_j sigma'(z_j)| of the neurons after the first over the steps of training, and the line at 1."""
    import altair as alt

    axes.await_pandas()
    steps = np.unique(np.linspace(0, len(run.cost) - 1, MOST_POINTS).astype(int))
    length = run.factors.shape[1]
    neurons = np.unique(np.linspace(2, length, min(length - 1, MOST_LINES)).astype(int)) if length > 1 else []
    logs = log10(run.factors)
    rows = [
        {"step": int(s), "size": float(logs[s, j - 1]), "series": factor_name(int(j)), "neuron": int(j)}
        for j in neurons
        for s in steps
        if math.isfinite(logs[s, j - 1])
    ]
    domain = domain_of([row["size"] for row in rows])
    x = alt.X("step:Q", title=t("step of gradient descent"), axis=alt.Axis(grid=False, format="d"))
    y = log_axis("size", t("size of the factor (log scale)"), domain)
    line = alt.Chart({"values": rows}).mark_line(strokeWidth=2, clip=True)
    tooltip = [alt.Tooltip("series:N", title=t("factor")), alt.Tooltip("step:Q", title=t("step"))]
    color: Any = alt.Undefined
    dash: Any = alt.Undefined
    if len(neurons) <= 5:
        color = color_of([factor_name(int(j)) for j in neurons])
        dash = dash_of([factor_name(int(j)) for j in neurons], legend=color.to_dict()["legend"])
    drawn = line.encode(x=x, y=y, color=color, strokeDash=dash, detail="neuron:N", tooltip=tooltip)
    return alt.LayerChart(
        layer=[drawn, rule("size", 0.0)], title=t("The factors while the chain is trained"), height=height
    )
