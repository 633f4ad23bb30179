"""The Altair chart of one panel: log10 values on a linear axis whose labels print 1e-100."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.charts.data import Event, events, frame
from gradcore.charts.panels import NEUTRAL, PANELS, Panel
from gradcore.words import Translate, english

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

    from gradcore.measurement import Measurement
    from gradcore.profile import Profile

_POWER_LABEL = "abs(datum.value) < 3.5 ? format(pow(10, datum.value), '.2~r') : '1e' + format(datum.value, 'd')"


def _domain(table: pd.DataFrame) -> tuple[float, float]:
    """The y range: all curves and the rule at 1, at least a factor of ten in all so that a flat curve looks flat."""
    columns = [c for c in ("predicted", "band_low", "band_high", "measured", "low", "high") if c in table]
    values = table[columns].to_numpy()
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    low, high = min(low, -0.5), max(high, 0.5)
    margin = 0.04 * (high - low)
    return low - margin, high + margin


def _ticks(low: float, high: float) -> list[float]:
    """Positions of about six labels: whole powers of ten, or 1-2-5 steps where the range is short."""
    span = high - low
    if span <= 2.5:
        steps = (1, 2, 5) if span <= 1.6 else (1, 3)
        marks = [e + math.log10(m) for e in range(math.floor(low), math.ceil(high) + 1) for m in steps]
    else:
        size = next(s * 10**k for k in range(5) for s in (1, 2, 5) if span / (s * 10**k) <= 7)
        marks = [float(k * size) for k in range(math.ceil(low / size), math.floor(high / size) + 1)]
    return [mark for mark in marks if low <= mark <= high]


def _layer_axis(depth: int, t: Translate) -> alt.X:
    import altair as alt

    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000) if depth / s <= 10)
    values = sorted({1, *range(step, depth + 1, step)})
    title = t("layer (1 = next to the input)")
    scale = alt.Scale(domain=[0.5, depth + 0.5] if depth < 20 else [0, depth + 1], nice=False)
    return alt.X("layer:Q", title=title, scale=scale, axis=alt.Axis(values=values, format="d", grid=False))


def _value_axis(panel: Panel, moment: str, depth: int, domain: tuple[float, float], t: Translate) -> dict[str, Any]:
    """The same title, scale and axis for every layer of the chart: one of them alone would be overruled."""
    import altair as alt

    axis = alt.Axis(values=_ticks(*domain), labelExpr=_POWER_LABEL)
    title = t("{quantity} (log scale)", quantity=t(panel.axis[moment], depth=depth))
    return {"title": title, "axis": axis, "scale": alt.Scale(domain=list(domain), nice=False, zero=False)}


def chart(
    code: str,
    profile: Profile | None,
    measured: Measurement | None = None,
    *,
    moment: str = "rms",
    statistic: str = "mean",
    dtype: str = "float64",
    height: int = 300,
    t: Translate = english,
) -> alt.LayerChart:
    """The chart of one panel ("forward", "backward"): prediction as a line, networks as points with their spread.

    ``moment`` "rms" or "mean_square"; ``statistic`` "mean" or "median" over networks, for both. Either of ``profile``
    and ``measured`` may be None, not both. Colours come from the theme in force (Streamlit's, or Altair's).
    """
    import altair as alt

    panel = PANELS[code]
    table = frame(code, profile, measured, moment=moment, statistic=statistic)
    depth = len(table)
    names = (t("Predicted"), t("Measured"))
    x = _layer_axis(depth, t)
    domain = _domain(table)
    y = _value_axis(panel, moment, depth, domain, t)
    base = alt.Chart(table).encode(x=x)
    layers = [*_reference(y), *_measured_layers(base, table, y, names), *_predicted_layers(base, table, y, names)]
    layers += _event_layers(list(events(code, profile, measured, dtype, t)), table, x, y, domain)
    layers.append(_hover(base, table, y, names, t))
    return alt.LayerChart(layer=layers, title=t(panel.title, depth=depth), height=height)


def _legend(names: tuple[str, str], table: pd.DataFrame) -> alt.Legend:
    """One legend for colour and shape, of the curves that are there; the same in every layer, so that it is one."""
    import altair as alt

    present = [name for name, column in zip(names, ("predicted", "measured"), strict=True) if column in table]
    return alt.Legend(
        title=None,
        orient="top",
        values=present,
        symbolSize=90,
        symbolStrokeWidth=2.5,
        symbolOpacity=1,
        offset=4,
        padding=0,
    )


def _color(names: tuple[str, str], table: pd.DataFrame) -> alt.Color:
    import altair as alt

    return alt.Color("series:N", scale=alt.Scale(domain=list(names)), legend=_legend(names, table))


def _reference(y: dict[str, Any]) -> list[alt.Chart]:
    """The rule at 1: where nothing is gained or lost."""
    import altair as alt
    import pandas as pd

    rule = alt.Chart(pd.DataFrame({"one": [0.0]})).mark_rule(color=NEUTRAL, strokeDash=[2, 3])
    return [rule.encode(y=alt.Y("one:Q", **y))]


def _predicted_layers(
    base: alt.Chart, table: pd.DataFrame, y: dict[str, Any], names: tuple[str, str]
) -> Iterator[alt.Chart]:
    """The predicted line, and the edges of the band that theory gives for one random network."""
    import altair as alt

    if "predicted" not in table:
        return
    mine = base.transform_calculate(series=f"{names[0]!r}")
    for edge in ("band_low", "band_high"):
        if edge in table:
            thin = mine.mark_line(strokeWidth=1, strokeDash=[4, 3], opacity=0.7)
            yield thin.encode(y=alt.Y(f"{edge}:Q", **y), color=_color(names, table))
    line = mine.mark_line(strokeWidth=2) if len(table) > 1 else mine.mark_tick(thickness=3)
    yield line.encode(y=alt.Y("predicted:Q", **y), color=_color(names, table))


def _measured_layers(
    base: alt.Chart, table: pd.DataFrame, y: dict[str, Any], names: tuple[str, str]
) -> Iterator[alt.Chart]:
    """The spread over networks as an area, and their mean or median as points (at most about 60 of them)."""
    import altair as alt

    if "measured" not in table:
        return
    mine = base.transform_calculate(series=f"{names[1]!r}")
    yield mine.mark_area(opacity=0.25).encode(y=alt.Y("low:Q", **y), y2=alt.Y2("high:Q"), color=_color(names, table))
    every = math.ceil(len(table) / 60)
    shape = alt.Shape(
        "series:N",
        scale=alt.Scale(domain=list(names), range=["stroke", "circle"]),
        legend=_legend(names, table),
    )
    points = mine.transform_filter(f"datum.layer == 1 || datum.layer % {every} == 0")
    yield points.mark_point(filled=True, size=40, opacity=1).encode(
        y=alt.Y("measured:Q", **y), color=_color(names, table), shape=shape
    )


def _event_layers(
    happened: list[Event], table: pd.DataFrame, x: alt.X, y: dict[str, Any], domain: tuple[float, float]
) -> Iterator[alt.Chart]:
    """A labelled vertical rule at each event; the labels are stacked in the half of the frame without the curve."""
    import altair as alt
    import pandas as pd

    curve = table["predicted" if "predicted" in table else "measured"].to_numpy(dtype=float)
    for index, event in enumerate(happened):
        value = float(curve[event.layer - 1])
        high = math.isfinite(value) and value > sum(domain) / 2
        place = {"layer": [event.layer], "text": [event.text], "edge": [domain[0] if high else domain[1]]}
        here = alt.Chart(pd.DataFrame(place)).encode(x=x)
        yield here.mark_rule(color=NEUTRAL, strokeWidth=1.5)
        left = event.layer < len(table) / 2
        step = 26 + 15 * index  # clear of the rule at 1, which lies near the edge
        label = here.mark_text(
            color=NEUTRAL,
            align="left" if left else "right",
            dx=6 if left else -6,
            dy=-step if high else step,
            fontSize=12,
        )
        yield label.encode(text="text:N", y=alt.Y("edge:Q", **y))


def _hover(base: alt.Chart, table: pd.DataFrame, y: dict[str, Any], names: tuple[str, str], t: Translate) -> alt.Chart:
    """A rule that follows the pointer from layer to layer, with the numbers of that layer as its tooltip."""
    import altair as alt

    selection = alt.selection_point(
        name="layer", fields=["layer"], nearest=True, on="pointerover", clear="pointerout", empty=False
    )
    tooltip = [alt.Tooltip("layer:Q", title=t("Layer"), format="d")]
    for column, title in (
        ("predicted_text", names[0]),
        ("measured_text", names[1]),
        ("spread_text", t("90% of networks")),
    ):
        if column in table:
            tooltip.append(alt.Tooltip(f"{column}:N", title=title))
    rule = base.mark_rule(color=NEUTRAL, strokeWidth=8)
    return rule.encode(
        opacity=alt.condition(selection, alt.value(0.35), alt.value(0.0), empty=False), tooltip=tooltip
    ).add_params(selection)
