"""Charts of initializers: the factors per layer of all of them, and the weights that one of them draws."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.charts import axes
from gradcore.charts.panels import NEUTRAL
from gradcore.guide.schemes import Scheme
from gradcore.initializers import SCALINGS
from gradcore.words import LN10, Translate, english, number_text

if TYPE_CHECKING:
    import altair as alt

Array = np.ndarray
ROW = 29  # px of a row
AROUND = 110  # px of title, legend and axis
APART = 5  # px between the dots of a row
DECADES = 2.5  # to either side of 1 in RMS; what lies beyond is drawn there, with its number


def factor_chart(
    schemes: Iterable[Scheme], current: str, *, moment: str = "rms", t: Translate = english
) -> alt.LayerChart:
    """What each initializer does per layer: a dot for the signal, one for the gradient, on a log scale around 1.

    ``current`` is the code whose row is marked; ``moment`` "rms" or "mean_square". A factor beyond DECADES to
    either side, or exactly zero, stands there with its number.
    """
    import altair as alt

    axes.await_pandas()
    schemes = tuple(schemes)
    unit = 1.0 if moment == "rms" else 2.0
    names = {"forward": t("signal, forward"), "backward": t("gradient, backward")}
    rows = [row for scheme in schemes for row in _dots(scheme, unit, names, t)]
    heads = {scaling: t(title).partition(":")[0] for scaling, title in SCALINGS.items()}
    order = []
    for scaling, head in heads.items():
        order += [head, *(scheme.entry.code for scheme in schemes if scheme.entry.scaling == scaling)]
    known = [row["at"] for row in rows]
    low, high = min([-0.3, *known]), max([0.3, *known])
    margin = 0.06 * (high - low)
    domain = low - margin, high + margin
    size = t("RMS") if moment == "rms" else t("mean square")
    x = alt.X(
        "at:Q",
        title=t("factor per layer, {size} (log scale)", size=size),
        scale=alt.Scale(domain=list(domain), nice=False, zero=False),
        axis=alt.Axis(values=axes.value_ticks(*domain), labelExpr=axes.POWER_LABEL),
    )
    bold = alt.condition(f"indexof({list(heads.values())!r}, datum.value) >= 0", alt.value("bold"), alt.value("normal"))
    y = alt.Y(
        "init:N",
        title=None,
        sort=order,
        scale=alt.Scale(domain=order),
        axis=alt.Axis(labelFontWeight=bold, ticks=False, domain=False, grid=False, labelLimit=180),
    )
    layers = [
        alt.Chart({"values": [{"init": current}]})
        .mark_bar(color=NEUTRAL, opacity=0.18, size=ROW - 3, aria=False)
        .encode(y=y, x=alt.value(0), x2=alt.value("width")),
        alt.Chart({"values": [{"at": 0.0}]}).mark_rule(color=NEUTRAL, strokeDash=[2, 3], aria=False).encode(x=x),
        *_dot_layers(rows, x, y, names, t),
    ]
    title = t("Factor per layer, 1: nothing gained or lost")
    return alt.LayerChart(layer=layers, title=title, height=ROW * len(order) + AROUND)


def _dots(scheme: Scheme, unit: float, names: dict[str, str], t: Translate) -> list[dict[str, Any]]:
    """The rows of one initializer; none where there is no prediction."""
    rows = []
    for name, log in (("forward", scheme.log_forward), ("backward", scheme.log_backward)):
        if math.isnan(log):
            continue
        at = unit * log / LN10
        edge = DECADES * unit
        row: dict[str, Any] = {"init": scheme.entry.code, "series": names[name], "at": float(np.clip(at, -edge, edge))}
        if abs(at) > edge:
            row["beyond"] = f"×{number_text(at)}"
        row |= {"rms": f"×{number_text(log / LN10, 3)}", "square": f"×{number_text(2.0 * log / LN10, 3)}"}
        rows.append(row)
    return rows


def _dot_layers(
    rows: list[dict[str, Any]], x: alt.X, y: alt.Y, names: dict[str, str], t: Translate
) -> Iterator[alt.Chart]:
    """The dots of the signal a little above the middle of their row, those of the gradient below it."""
    import altair as alt

    span = list(names.values())
    legend = alt.Legend(title=None, orient="top", offset=4, padding=0, symbolSize=70)
    color = alt.Color("series:N", scale=alt.Scale(domain=span), legend=legend)
    shape = alt.Shape("series:N", scale=alt.Scale(domain=span, range=["triangle-right", "circle"]), legend=legend)
    tooltip = [
        alt.Tooltip("init:N", title=t("Initializer")),
        alt.Tooltip("series:N", title=t("What")),
        alt.Tooltip("rms:N", title=t("Per layer, RMS")),
        alt.Tooltip("square:N", title=t("Per layer, mean square")),
    ]
    for name, offset in zip(span, (-APART, APART), strict=True):
        mine = alt.Chart({"values": [row for row in rows if row["series"] == name]})
        points = mine.mark_point(size=70, opacity=1, filled=True, yOffset=offset, aria=False)
        yield points.encode(x=x, y=y, color=color, shape=shape, tooltip=tooltip)
    ink = alt.ExprRef(f"scale('color', {span[0]!r})")
    for side in (-1, 1):
        beyond = alt.Chart({"values": [row for row in rows if "beyond" in row and side * row["at"] > 0]})
        where: dict[str, Any] = {"align": "left" if side < 0 else "right", "dx": -10 * side}
        words = beyond.mark_text(**where, color=ink, fontSize=11, aria=False)
        yield words.encode(x=x, y=y, text="beyond:N")


# --- the weights of one layer --------------------------------------------------------------------------------


def weight_chart(
    scheme: Scheme, edges: Array, counts: Array, height: int = 300, t: Translate = english
) -> alt.LayerChart:
    """The drawn weights of one layer as a histogram, and the exact law's -std and std as rules.

    ``edges`` (bins + 1,) and ``counts`` (bins,) as ``measure.weights.sample_weights`` gives them; drawn as shares.
    """
    import altair as alt

    axes.await_pandas()
    rows = _bins(edges, counts)
    names = {"drawn": t("drawn by torch"), "exact": t("exact: ± root of E[W²]")}
    legend = alt.Legend(title=None, orient="top", offset=4, padding=0, symbolType="square")
    color = alt.Color("series:N", scale=alt.Scale(domain=list(names.values())), legend=legend)
    x = alt.X("low:Q", bin="binned", title=t("weight"), scale=alt.Scale(zero=False))
    y = alt.Y("share:Q", title=t("share of the weights per bin"), axis=alt.Axis(format="%"))
    tooltip = [
        alt.Tooltip("low:Q", title=t("from"), format=".4g"),
        alt.Tooltip("high:Q", title=t("to"), format=".4g"),
        alt.Tooltip("share:Q", title=t("share of the weights"), format=".2%"),
    ]
    bars = alt.Chart({"values": rows}).transform_calculate(series=f"{names['drawn']!r}")
    ends = {"values": [{"low": side * scheme.std} for side in (-1, 1)]}
    rules = alt.Chart(ends).transform_calculate(series=f"{names['exact']!r}")
    layers = [
        bars.mark_bar(opacity=0.75, aria=False).encode(x=x, x2="high:Q", y=y, color=color, tooltip=tooltip),
        rules.mark_rule(strokeWidth=2.5, strokeDash=[6, 3], aria=False).encode(
            x=alt.X("low:Q", title=t("weight")), color=color
        ),
    ]
    columns, count = scheme.fans
    title = t("{rows} × {columns} weights of {init}", rows=count, columns=columns, init=scheme.entry.code)
    return alt.LayerChart(layer=layers, title=title, height=height)


def _bins(edges: Array, counts: Array) -> list[dict[str, float]]:
    """The bins; a single value gets a bar of a width that can be seen."""
    total = float(counts.sum())
    if len(counts) == 1:
        half = 0.02 * (abs(float(edges[0])) or 1.0)
        return [{"low": float(edges[0]) - half, "high": float(edges[0]) + half, "share": 1.0}]
    return [
        {"low": float(low), "high": float(high), "share": float(count) / total}
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]


def describe_factors(schemes: Iterable[Scheme], t: Translate = english) -> str:
    """The chart of factors in words: which initializers keep the gradient, for readers who do not see it."""
    kept = [s.entry.code for s in schemes if s.verdict is not None and s.verdict.stable]
    return t(
        "Factor per layer of the signal and of the gradient for every initializer. Stable: {codes}.",
        codes=", ".join(kept) or t("none"),
    )
