"""The axes of a chart: layers below, and log10 values whose labels print 1e-100 at the side."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.charts.panels import Panel
from gradcore.words import Translate

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

CURVES = ("predicted", "band_low", "band_high", "measured", "low", "high", "factor_0", "factor_1")
POWER_LABEL = "abs(datum.value) < 3.5 ? format(pow(10, datum.value), '.2~r') : '1e' + format(datum.value, 'd')"
_LABEL_SPACE = 40  # px: the same in all panels, so that charts below each other line up


def await_pandas() -> None:
    """Import pandas, which Altair looks up among the loaded modules: another thread may be halfway through it."""
    import pandas  # noqa: F401


def value_domain(table: pd.DataFrame) -> tuple[float, float]:
    """The y range: all curves and the rule at 1, at least a factor of ten in all so that a flat curve looks flat."""
    values = table[[name for name in CURVES if name in table]].to_numpy()
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    low, high = min(low, -0.5), max(high, 0.5)
    margin = 0.04 * (high - low)
    return low - margin, high + margin


def value_ticks(low: float, high: float) -> list[float]:
    """Positions of about six labels: whole powers of ten, or 1-2-5 steps where the range is short."""
    span = high - low
    if span <= 2.5:
        steps = (1, 2, 5) if span <= 1.6 else (1, 3)
        marks = [e + math.log10(m) for e in range(math.floor(low), math.ceil(high) + 1) for m in steps]
    else:
        size = next(s * 10**k for k in range(9) for s in (1, 2, 5) if span / (s * 10**k) <= 7)
        marks = [float(k * size) for k in range(math.ceil(low / size), math.floor(high / size) + 1)]
    return [mark for mark in marks if low <= mark <= high]


def layer_ticks(depth: int) -> list[int]:
    """Layers 1 and L, and multiples of 1, 2, 5, 10, 20, ... between them that are not too close to either."""
    step = 1 if depth <= 10 else next(s for s in (2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000) if depth / s <= 8)
    inner = (layer for layer in range(step, depth, step) if step == 1 or min(layer - 1, depth - layer) > 0.6 * step)
    return sorted({1, *inner, depth})


def layer_ends(depth: int) -> tuple[float, float]:
    """The ends of the x axis: a little beyond the first and the last layer."""
    return (0.5, depth + 0.5) if depth < 20 else (0.0, depth + 1.0)


def layer_axis(depth: int, t: Translate) -> alt.X:
    """The x channel of every layer of a chart."""
    import altair as alt

    title = t("layer (1 = next to the input)")
    axis = alt.Axis(values=layer_ticks(depth), format="d", grid=False)
    return alt.X("layer:Q", title=title, scale=alt.Scale(domain=list(layer_ends(depth)), nice=False), axis=axis)


def value_axis(panel: Panel, moment: str, depth: int, domain: tuple[float, float], t: Translate) -> dict[str, Any]:
    """The same title, scale and axis for every layer of the chart: one of them alone would be overruled."""
    import altair as alt

    axis = alt.Axis(values=value_ticks(*domain), labelExpr=POWER_LABEL, minExtent=_LABEL_SPACE)
    title = t("{quantity} (log scale)", quantity=t(panel.axis[moment], depth=depth))
    return {"title": title, "axis": axis, "scale": alt.Scale(domain=list(domain), nice=False, zero=False)}
