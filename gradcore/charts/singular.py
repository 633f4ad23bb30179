"""The chart of the Jacobian's singular values: histograms of real networks, and the predicted law where it is known."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.charts import axes
from gradcore.charts.panels import NEUTRAL
from gradcore.words import LN10, Translate, english

if TYPE_CHECKING:
    import altair as alt

    from gradcore.theory.jacobian import Jacobian

Array = np.ndarray
BINS = 40
TAIL = 0.03  # share of the smallest singular values that are left out: a few of them would take most of the axis
FLOOR = 1e-17  # of the largest singular value: what lies below is rounding


def singular_chart(
    measured: Mapping[str, Array], predicted: Jacobian | None, *, height: int = 300, t: Translate = english
) -> alt.LayerChart:
    """Histograms over log10 of the singular values, one for each named set of ``measured``, as densities; the rule is
    the predicted RMS singular value, the line the predicted density where ``predicted.law`` has one."""
    import altair as alt

    logs = {name: _log10(values) for name, values in measured.items()}
    spans = [*(np.quantile(values, [TAIL, 1.0]) for values in logs.values()), *([_rms(predicted)] if predicted else [])]
    low, high = float(np.concatenate(spans).min()), float(np.concatenate(spans).max())
    margin = 0.04 * max(high - low, 0.5)
    domain = low - margin, high + margin
    edges = np.linspace(*domain, BINS + 1)
    names = list(logs)
    x = alt.X(
        "from:Q",
        title=t("singular value of dz/dx (log scale)"),
        scale=alt.Scale(domain=list(domain), nice=False, zero=False),
        axis=alt.Axis(values=axes.value_ticks(*domain), labelExpr=axes.POWER_LABEL, grid=False),
    )
    title = t("share per decade")
    y = alt.Y("share:Q", title=title, scale=alt.Scale(zero=True), axis=alt.Axis(format=".2~f"))
    color = alt.Color(
        "series:N",
        scale=alt.Scale(domain=names),
        legend=alt.Legend(title=None, orient="top", offset=4, padding=0),
    )
    layers = []
    for index, name in enumerate(names):
        bars = alt.Chart({"values": list(_bars(logs[name], edges, name))})
        dash = [1, 0] if index == 0 else [5, 3]
        layers.append(
            bars.mark_area(interpolate="step-after", fillOpacity=0.25, line={"strokeDash": dash}, aria=False).encode(
                x=x, y=y, color=color
            )
        )
    layers += _predicted(predicted, domain, x, y, t)
    return alt.LayerChart(layer=layers, title=t("Singular values of the Jacobian"), height=height)


def _log10(values: Array) -> Array:
    return np.log10(np.maximum(values, FLOOR * float(values.max()) if values.max() > 0.0 else 1e-300))


def _rms(predicted: Jacobian) -> Array:
    return np.array([0.5 * predicted.log_mean_square / LN10])


def _bars(logs: Array, edges: Array, name: str) -> Iterator[dict[str, Any]]:
    """Left edges of the bins, with a last one that closes the step."""
    counts, _ = np.histogram(logs, edges)
    width = float(edges[1] - edges[0])
    for edge, count in zip(edges, [*counts, 0], strict=True):
        yield {"from": float(edge), "share": float(count / (logs.size * width)), "series": name}


def _predicted(
    predicted: Jacobian | None, domain: tuple[float, float], x: alt.X, y: alt.Y, t: Translate
) -> Iterator[alt.Chart]:
    import altair as alt

    if predicted is None:
        return
    rule = alt.Chart({"values": [{"from": float(_rms(predicted)[0])}]})
    yield rule.mark_rule(color=NEUTRAL, strokeDash=[2, 3], strokeWidth=1.5, aria=False).encode(x=x)
    if predicted.law == "fuss_catalan":
        at, density = predicted.log10_density(400)
        rows = [
            {"from": float(a), "share": float(d)}
            for a, d in zip(at, density, strict=True)
            if domain[0] <= a <= domain[1] and math.isfinite(d)
        ]
        yield alt.Chart({"values": rows}).mark_line(color=NEUTRAL, strokeWidth=2, aria=False).encode(x=x, y=y)
