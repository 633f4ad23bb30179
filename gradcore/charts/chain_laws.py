"""Charts of random chains: the law of their products, where explosion is possible, and how rare balance is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.charts import axes
from gradcore.charts.chain import LABEL_SIZE, color_of
from gradcore.charts.ends import dash_of
from gradcore.charts.panels import NEUTRAL
from gradcore.experiments.chain import Chain, Draws, Prediction, explosive_width, has_width, least_weight, widest
from gradcore.words import LN10, Translate, english

if TYPE_CHECKING:
    import altair as alt

Array = np.ndarray
BINS = 50
TAIL = 0.002  # share of the smallest products that is left out of the picture
ON_LATTICE = 0.99  # share of the chains for which the whole law is drawn, not the one fitted to the moments
WIDTHS = 161


def histogram_chart(
    draws: Draws, predicted: Prediction, length: int, *, height: int = 300, t: Translate = english
) -> alt.LayerChart:
    """log10 |da_L/db_1| of drawn chains as a density of those that are not 0, the predicted law, and its mean."""
    import altair as alt

    axes.await_pandas()
    logs = draws.log_product[np.isfinite(draws.log_product)] / LN10
    law = predicted.product(length)
    names = (t("predicted"), t("drawn"))
    if not law.alive > 0.0:
        return _empty(t("The product of all factors, over random chains"), t("every product is exactly 0"), height)
    mean, std = law.mean / LN10, law.std / LN10
    seen = [*np.quantile(logs, [TAIL, 1.0])] if len(logs) else []
    low, high = min([mean - 3.0 * std, *seen]), max([mean + 3.0 * std, *seen])
    low, high = max(low, mean - 8.0 * std), max(high, low + 0.5)
    x = alt.X(
        "at:Q",
        title=t("size of da/db₁, the product of all factors (log scale)"),
        scale=alt.Scale(domain=[low, high], nice=False, zero=False),
        axis=alt.Axis(values=axes.value_ticks(low, high), labelExpr=axes.POWER_LABEL, grid=False),
    )
    y = alt.Y("share:Q", title=t("share per decade"), scale=alt.Scale(zero=True), axis=alt.Axis(format=".2~f"))
    color = color_of(names)
    counts, edges = np.histogram(logs, BINS, (low, high))
    heights = counts / max(1, len(logs)) / (edges[1] - edges[0])
    bars = [
        {"at": float(a), "share": float(s), "series": names[1]} for a, s in zip(edges, [*heights, 0.0], strict=True)
    ]
    area = alt.Chart({"values": bars}).mark_area(interpolate="step-after", fillOpacity=0.25, line=True, aria=False)
    at, density = _law(predicted, length, np.linspace(low, high, 241))
    inside = (at >= low) & (at <= high)
    rows = zip(at[inside], density[inside], strict=True)
    curve = [{"at": float(a), "share": float(d), "series": names[0]} for a, d in rows]
    layers = [
        *_spread_band(mean, std, low, high, x, t),
        area.encode(x=x, y=y, color=color),
        alt.Chart({"values": curve}).mark_line(strokeWidth=2.5, aria=False).encode(x=x, y=y, color=color),
        *_mean_rule(mean, low, high, x, t),
    ]
    return alt.LayerChart(layer=layers, title=t("The product of all factors, over random chains"), height=height)


def _law(predicted: Prediction, length: int, even: Array) -> tuple[Array, Array]:
    """log10 values and the predicted density per decade, of the chains whose product is not 0."""
    law, lattice = predicted.product(length), predicted.lattice(length)
    at, density = lattice.density(length)
    if lattice.product[length - 1].sum() >= ON_LATTICE * law.alive:
        return at / LN10, density * LN10 / law.alive
    return even, law.density(even * LN10) * LN10 / law.alive


def _mean_rule(mean: float, low: float, high: float, x: alt.X, t: Translate) -> list[alt.Chart]:
    import altair as alt

    base = alt.Chart({"values": [{"at": mean, "text": t("predicted mean of the log")}]})
    side = "left" if mean < 0.5 * (low + high) else "right"
    shift = 5 if side == "left" else -5
    return [
        base.mark_rule(color=NEUTRAL, strokeDash=[2, 3], strokeWidth=1.5, aria=False).encode(x=x),
        base.mark_text(align=side, baseline="top", dx=shift, y=2, color=NEUTRAL, fontSize=LABEL_SIZE).encode(
            x=x, text="text:N"
        ),
    ]


def _spread_band(mean: float, std: float, low: float, high: float, x: alt.X, t: Translate) -> list[alt.Chart]:
    """One predicted standard deviation to either side of the predicted mean."""
    import altair as alt

    ends = {"at": max(low, mean - std), "to": min(high, mean + std), "text": t("predicted mean ± spread of the log")}
    band = alt.Chart({"values": [ends]}).mark_rect(color=NEUTRAL, opacity=0.12)
    return [band.encode(x=x, x2="to:Q", tooltip=[alt.Tooltip("text:N", title=t("shaded"))])]


def _empty(title: str, text: str, height: int) -> alt.LayerChart:
    import altair as alt

    word = alt.Chart({"values": [{"text": text}]}).mark_text(color=NEUTRAL, fontSize=LABEL_SIZE).encode(text="text:N")
    return alt.LayerChart(layer=[word], title=title, height=height)


# --- where explosion is possible ------------------------------------------------------------------------------


def interval_chart(chain: Chain, *, height: int = 300, t: Translate = english) -> alt.LayerChart:
    """How wide the activations are for which |w sigma'(w a + b)| >= 1, against |w|; the widest, and this
    chain's weights. Empty for an activation that goes on rising, whose intervals have no end."""
    import altair as alt

    axes.await_pandas()
    title = t("Width of the interval of a in which |w σ′(w a + b)| ≥ 1")
    code, slope = chain.activation, chain.negative_slope
    if not has_width(code, slope):
        return _empty(title, t("no end: this activation goes on rising, or oscillates"), height)
    least, peak = least_weight(code, slope), widest(code, slope)
    names = (t("any bias"), t("the weights of this chain"))
    weights = sorted({abs(w) for w in chain.weights if w})
    high = max([15.0 * least, 3.0 * peak.size, *[w for w in weights if w <= 60.0 * least]])
    sizes = np.unique(np.concatenate([np.geomspace(0.5 * least, high, WIDTHS), [least * (1 - 1e-9), least]]))
    rows = [{"weight": float(w), "width": explosive_width(code, float(w), slope)} for w in sizes]
    scale = alt.Scale(type="log", domain=[0.5 * least, high], nice=False)
    x = alt.X(
        "weight:Q", title=t("size of the weight |w| (log scale)"), scale=scale, axis=alt.Axis(grid=False, tickCount=6)
    )
    y = alt.Y("width:Q", title=t("width in a"))
    color = color_of(names)
    line = alt.Chart({"values": rows}).transform_calculate(series=f"{names[0]!r}").mark_line(strokeWidth=2, aria=False)
    inside = [w for w in weights if 0.5 * least <= w <= high]
    dots = [{"weight": w, "width": explosive_width(code, w, slope), "series": names[1]} for w in inside]
    tooltip = [alt.Tooltip("weight:Q", format=".4g"), alt.Tooltip("width:Q", format=".4g")]
    text = t("widest: {width} at |w| = {size}", width=f"{peak.width:.4g}", size=f"{peak.size:.4g}")
    top = alt.Chart({"values": [{"weight": peak.size, "width": peak.width, "text": text}]}).encode(x=x, y=y)
    layers = [
        line.encode(x=x, y=y, color=color),
        alt.Chart({"values": dots})
        .mark_point(filled=True, size=80, opacity=1)
        .encode(x=x, y=y, color=color, tooltip=tooltip),
        top.mark_point(size=90, strokeWidth=2, color=NEUTRAL, opacity=1, aria=False),
        top.mark_text(align="left", baseline="bottom", dx=8, dy=-4, color=NEUTRAL, fontSize=LABEL_SIZE).encode(
            text="text:N"
        ),
    ]
    return alt.LayerChart(layer=layers, title=title, height=height)


# --- balance --------------------------------------------------------------------------------------------------


def balance_chart(
    predicted: Mapping[float, Prediction],
    measured: Mapping[float, Draws],
    lengths: Sequence[int],
    *,
    height: int = 300,
    t: Translate = english,
) -> alt.LayerChart:
    """Share of random chains whose |dC/db_1| / |dC/db_L| lies in [0.1, 10] against the length L, a colour for each
    standard deviation of the weights: lines predicted, points drawn."""
    import altair as alt

    axes.await_pandas()
    names = {std: f"σ_w = {std:g}" for std in predicted}
    lines = [
        {"length": n, "share": law.balanced(n), "series": names[std]} for std, law in predicted.items() for n in lengths
    ]
    shares = {std: drawn.balanced() for std, drawn in measured.items()}
    dots = [
        {"length": n, "share": float(shares[std][n - 1]), "series": names[std]} for std in measured for n in lengths
    ]
    axis = alt.Axis(values=axes.layer_ticks(max(lengths)), format="d", grid=False)
    domain = [min(lengths) - 0.3, max(lengths) + 0.3]
    x = alt.X("length:Q", title=t("neurons in the chain"), axis=axis, scale=alt.Scale(domain=domain, nice=False))
    y = alt.Y("share:Q", title=t("share of chains"), axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0.0, 1.0]))
    color = color_of(names.values())
    described: Any = color.to_dict()
    dash = dash_of(names.values(), legend=described["legend"])
    tooltip = [
        alt.Tooltip("length:Q", title=t("neurons")),
        alt.Tooltip("share:Q", format=".2%", title=t("share of chains")),
    ]
    layers = [
        alt.Chart({"values": lines})
        .mark_line(strokeWidth=2, aria=False)
        .encode(x=x, y=y, color=color, strokeDash=dash),
        alt.Chart({"values": dots})
        .mark_point(filled=True, size=45, opacity=1)
        .encode(x=x, y=y, color=color, tooltip=tooltip),
    ]
    title = t("Share of chains that are balanced")
    return alt.LayerChart(layer=layers, title=title, height=height)
