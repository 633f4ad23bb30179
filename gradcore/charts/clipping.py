"""Charts of clipping and of weight penalties: observed norms with the threshold, layers before and after, shares."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.charts import axes
from gradcore.charts.chain import color_of, log10, log_axis
from gradcore.charts.panels import NEUTRAL
from gradcore.charts.training import picked
from gradcore.experiments.clip_study import ClippedGradient
from gradcore.experiments.penalty_study import pooled
from gradcore.experiments.regularization import PenaltyShare
from gradcore.words import Translate, english, number_text

if TYPE_CHECKING:
    import altair as alt

Array = np.ndarray
BINS = 24
DASHES: tuple[list[int], ...] = ([1, 0], [2, 3], [8, 3])


def _domain(values: Array, least: float = 0.25) -> tuple[float, float]:
    """Where these log10 values lie, with a margin; without any, around 1."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    margin = max(0.06 * (high - low), 0.5 * (least - (high - low)), 0.02)
    return low - margin, high + margin


def norm_histogram(norms: Array, limit: float, *, height: int = 300, t: Translate = english) -> alt.LayerChart:
    """The observed norms before clipping, on a log scale, those above the threshold in the second colour; the rule is
    the threshold. A norm of 0 or that is no number is left out."""
    import altair as alt

    axes.await_pandas()
    logs = log10(norms)
    logs, at = logs[np.isfinite(logs)], math.log10(limit)
    low, high = _domain(np.append(logs, at))
    step = (high - low) / BINS
    edges = at + step * np.arange(math.floor((low - at) / step), math.ceil((high - at) / step) + 1)  # one is the limit
    counts, _ = np.histogram(logs, edges)
    names = [t("kept as it is"), t("clipped")]
    rows = [
        {"low": float(a), "high": float(b), "count": int(n), "series": names[int(a > at - 0.5 * step)]}
        for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    for row in rows:
        row["text"] = f"{number_text(row['low'], 3)} … {number_text(row['high'], 3)}"
    axis = alt.Axis(values=axes.value_ticks(low, high), labelExpr=axes.POWER_LABEL, grid=False)
    scale = alt.Scale(domain=[float(edges[0]), float(edges[-1])], nice=False, zero=False)
    x = alt.X(
        "low:Q", bin="binned", title=t("norm of the gradient before clipping (log scale)"), axis=axis, scale=scale
    )
    y = alt.Y("count:Q", title=t("steps"), axis=alt.Axis(format="d", tickMinStep=1))
    tooltip = [
        alt.Tooltip("text:N", title=t("norm")),
        alt.Tooltip("count:Q", title=t("steps")),
        alt.Tooltip("series:N", title=t("what happens")),
    ]
    bars = alt.Chart({"values": rows}).mark_bar(aria=False)
    mark = alt.Chart({"values": [{"low": at}]}).mark_rule(color=NEUTRAL, strokeWidth=2.5, aria=False)
    layers = [
        bars.encode(x=x, x2="high:Q", y=y, color=color_of(names, "square"), tooltip=tooltip),
        mark.encode(x=alt.X("low:Q")),
    ]
    return alt.LayerChart(layer=layers, title=t("Observed norms, and the threshold"), height=height)


def layer_bars(found: ClippedGradient, *, height: int = 300, t: Translate = english) -> alt.LayerChart:
    """Euclidean norm of every layer's gradient at the first step, before and after clipping, on a log scale."""
    import altair as alt

    axes.await_pandas()
    names = [t("before"), t("after clipping")]
    both = np.stack([log10(found.before), log10(found.after)])
    low, high = _domain(both, 1.0)
    rows = [
        {"layer": layer + 1, "size": float(both[k, layer]), "series": name, "side": k,
         "text": number_text(float(both[k, layer]), 3)}
        for k, name in enumerate(names)
        for layer in range(both.shape[1])
        if math.isfinite(both[k, layer])
    ]  # fmt: skip
    x = alt.X("layer:O", title=t("layer (1 = next to the input)"), axis=alt.Axis(labelAngle=0, grid=False))
    y = log_axis("size", t("norm of the layer's gradient (log scale)"), (low, high))
    tooltip = [
        alt.Tooltip("layer:O", title=t("layer")),
        alt.Tooltip("series:N", title=t("when")),
        alt.Tooltip("text:N", title=t("norm")),
    ]
    bars = alt.Chart({"values": rows}).mark_bar(aria=False, clip=True)
    encoded = bars.encode(
        x=x,
        xOffset=alt.XOffset("side:O"),
        y=y,
        y2=alt.datum(low),
        color=color_of(names, "square"),
        tooltip=tooltip,
    )
    return alt.LayerChart(layer=[encoded], title=t("The first step's gradient, layer by layer"), height=height)


def step_chart(
    curves: Mapping[str, Array],
    title: str,
    axis: str,
    *,
    limit: float | None = None,
    log: bool = True,
    height: int = 300,
    t: Translate = english,
) -> alt.LayerChart:
    """Positive quantities over the steps by name, on a log scale or a plain one; ``limit`` is drawn as a rule.
    ``title`` and ``axis`` are translated already."""
    import altair as alt

    axes.await_pandas()
    rows = [row for name, values in curves.items() for row in _steps(values, name, log)]
    marks = [] if limit is None else [math.log10(limit) if log else limit]
    steps = max([row["step"] for row in rows], default=1)
    x = alt.X(
        "step:Q",
        title=t("step"),
        axis=alt.Axis(format="d", grid=False, tickMinStep=1, tickCount=6),
        scale=alt.Scale(domain=[0, max(steps, 1)], nice=False),
    )
    domain = _domain(np.array([row["size"] for row in rows] + marks), 0.5)
    plain = alt.Y("size:Q", title=axis, scale=alt.Scale(zero=False), axis=alt.Axis(minExtent=40))
    y, color = log_axis("size", axis, domain) if log else plain, color_of(curves)
    tooltip = [
        alt.Tooltip("series:N", title=t("curve")),
        alt.Tooltip("step:Q", title=t("step")),
        alt.Tooltip("text:N", title=t("value")),
    ]
    line = alt.Chart({"values": rows}).mark_line(strokeWidth=2, clip=True, aria=False)
    scale = alt.Scale(domain=list(curves), range=list(DASHES[: len(curves)]))
    dash = alt.StrokeDash("series:N", scale=scale, legend=None)
    layers = [line.encode(x=x, y=y, color=color, strokeDash=dash, tooltip=tooltip)]
    for at in marks:
        rule = alt.Chart({"values": [{"size": at}]}).mark_rule(color=NEUTRAL, strokeWidth=1.5, aria=False)
        layers.append(rule.encode(y=y))
    return alt.LayerChart(layer=layers, title=title, height=height)


def _steps(values: Array, series: str, log: bool) -> list[dict[str, Any]]:
    sizes = log10(values) if log else np.asarray(values, dtype=float)
    return [
        {"step": int(k), "size": float(sizes[k]), "series": series, "text": f"{float(values[k]):.4g}"}
        for k in picked(len(sizes))
        if math.isfinite(sizes[k])
    ]


def share_chart(
    measured: Sequence[PenaltyShare], predicted: PenaltyShare | None, *, height: int = 300, t: Translate = english
) -> alt.LayerChart:
    """The penalty's norm over the gradient's in the first update, per layer: predicted as a line with marks; measured
    over seeds as points of their root mean squares with the range of the seeds. The rule is 1, where both are alike."""
    import altair as alt

    axes.await_pandas()
    names = [t("predicted"), t("measured")]
    lines = [] if predicted is None else _shares(log10(predicted.share), names[0])
    each = np.stack([log10(one.share) for one in measured])
    dots = _shares(log10(pooled(measured).share), names[1])
    for row in dots:
        ends = each[:, row["layer"] - 1]
        row["low"], row["high"] = float(ends.min()), float(ends.max())
    sizes = [row[end] for row in (*lines, *dots) for end in ("size", "low", "high") if end in row]
    domain = _domain(np.array([0.0, *sizes]), 1.0)
    x = axes.layer_axis(each.shape[1], t)
    y, color = log_axis("size", t("penalty over gradient (log scale)"), domain), color_of(names)
    low = log_axis("low", t("penalty over gradient (log scale)"), domain)
    tooltip = [
        alt.Tooltip("layer:Q", title=t("layer")),
        alt.Tooltip("series:N", title=t("what")),
        alt.Tooltip("text:N", title=t("penalty over gradient")),
    ]
    line = alt.Chart({"values": lines}).mark_line(
        strokeWidth=2, point={"shape": "diamond", "size": 60, "filled": True}, aria=False
    )
    points = alt.Chart({"values": dots}).encode(x=x, color=color)
    one = alt.Chart({"values": [{"size": 0.0}]}).mark_rule(color=NEUTRAL, strokeDash=[2, 3], aria=False)
    layers = [
        one.encode(y=y),
        line.encode(x=x, y=y, color=color, tooltip=tooltip),
        points.mark_rule(strokeWidth=1.5, aria=False).encode(y=low, y2="high:Q"),
        points.mark_point(filled=True, size=60, opacity=1).encode(y=y, tooltip=tooltip),
    ]
    return alt.LayerChart(layer=layers, title=t("The penalty's share of the first update"), height=height)


def _shares(logs: Array, series: str) -> list[dict[str, Any]]:
    return [
        {"layer": layer, "size": float(size), "series": series, "text": number_text(float(size), 3)}
        for layer, size in enumerate(logs, start=1)
        if math.isfinite(size)
    ]


def describe_norms(norms: Array, limit: float, share: float, t: Translate = english) -> str:
    """The histogram in words."""
    logs = log10(norms)
    finite = logs[np.isfinite(logs)]
    ends = (float(finite.min()), float(finite.max())) if finite.size else (math.nan, math.nan)
    return t(
        "Norms of {count} steps before clipping, from {low} to {high}; {share} of them lie above the threshold "
        "{limit}.",
        count=len(norms),
        low=number_text(ends[0], 3),
        high=number_text(ends[1], 3),
        share=f"{share:.0%}",
        limit=number_text(math.log10(limit), 3),
    )


def describe_layers(found: ClippedGradient, t: Translate = english) -> str:
    """The bars in words: the ratio between the first and the last layer, and the direction."""
    before, after = (number_text(float(log10(ratio)), 3) for ratio in found.ratios)
    return t(
        "Layer 1 over the last layer: {before} before, {after} after clipping; cosine to the unclipped gradient "
        "{cosine}.",
        before=before,
        after=after,
        cosine=f"{found.cosine:.3f}",
    )
