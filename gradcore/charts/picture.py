"""The Altair chart of one panel: log10 values on a linear axis whose labels print 1e-100."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.charts import axes, labels
from gradcore.charts.data import Event, events, frame, scale
from gradcore.charts.panels import MAIN, NEUTRAL, PANELS, Panel
from gradcore.verdict import USABLE
from gradcore.words import Translate, english

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

    from gradcore.measurement import Measurement
    from gradcore.profile import Profile

_AROUND = 115  # px of a chart's height that its title, legend and x axis take
_DASHES = {"predicted": [1, 0], "measured": [1, 0], "factor_0": [6, 3], "factor_1": [2, 2]}
_LINE = "M-3.5,0L1.5,0"  # a line's symbol in the legend, long enough for its dashes beside a circle of the same size
_SHAPES = {"predicted": _LINE, "measured": "circle", "factor_0": _LINE, "factor_1": _LINE}


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
    """The chart of one panel (a code of PANELS): prediction as a line, networks as points with their spread.

    ``moment`` "rms" or "mean_square"; ``statistic`` "mean" or "median" over networks, for both. Either of ``profile``
    and ``measured`` may be None, not both. Colours come from the theme in force (Streamlit's, or Altair's). The layer
    under the pointer is marked in all charts of the web page, for they are bound to one element of it.
    """
    import altair as alt

    canvas = _canvas(code, profile, measured, moment, statistic, t)
    happened = list(events(code, profile, measured, dtype, t))
    layers = [
        *_usable_layer(canvas, moment),
        *_reference(canvas),
        *_measured_layers(canvas),
        *_factor_layers(canvas),
        *_predicted_layers(canvas),
        *_event_layers(happened, canvas),
        *_label_layers(happened, canvas, height, scale(moment), t),
        _hover(canvas, t),
    ]
    return alt.LayerChart(data=_rows(canvas.table), layer=layers, title=t(canvas.panel.title), height=height)


def _rows(table: pd.DataFrame) -> dict[str, Any]:
    """A table as Vega reads it. Altair would look at every column of it again for every layer."""
    return {"values": json.loads(table.to_json(orient="records", double_precision=15) or "[]")}


def _row(**values: Any) -> alt.Chart:
    """A chart of one row of its own, not of the table that the others share."""
    import altair as alt

    return alt.Chart({"values": [values]})


@dataclass(frozen=True)
class _Canvas:
    """What every layer of a chart shares: the data (the chart's own), the axes, and ``names``, the legend's text of
    each series.

    ``also`` holds the columns of further numbers in the tooltip, with their titles."""

    panel: Panel
    depth: int
    table: pd.DataFrame
    base: alt.Chart
    x: alt.X
    y: dict[str, Any]
    domain: tuple[float, float]
    names: dict[str, str]
    also: dict[str, str]

    def curve(self, column: str) -> alt.Y:
        import altair as alt

        return alt.Y(f"{column}:Q", **self.y)

    def of(self, series: str) -> alt.Chart:
        """The base chart, its rows named as this series."""
        return self.base.transform_calculate(series=f"{self.names[series]!r}")

    def channel(self, kind: type, values: dict[str, Any] | None = None) -> Any:
        """Colour, dash or shape by series. All have one legend, alike in every layer, so that it is drawn once."""
        import altair as alt

        legend = alt.Legend(
            title=None,
            orient="top",
            values=[name for series, name in self.names.items() if series in self.table],
            symbolType="circle" if "measured" in self.table else _LINE,  # where no layer has shapes
            symbolSize=45,
            labelOffset=7,
            symbolStrokeWidth=2,
            symbolOpacity=1,
            offset=4,
            padding=0,
            columns=2 if self.panel.factors else 0,  # 0: all in one row
        )
        span = [values[series] for series in self.names] if values else alt.Undefined
        return kind("series:N", scale=alt.Scale(domain=list(self.names.values()), range=span), legend=legend)


def _canvas(
    code: str,
    profile: Profile | None,
    measured: Measurement | None,
    moment: str,
    statistic: str,
    t: Translate,
) -> _Canvas:
    import altair as alt

    panel = PANELS[code]
    answer = profile if profile is not None else measured
    assert answer is not None
    depth = answer.spec.depth
    table = frame(code, profile, measured, moment=moment, statistic=statistic)
    names = {"predicted": t("Predicted"), "measured": t("Measured")}
    names |= {f"factor_{index}": t(name) for index, (_, name) in enumerate(panel.factors)}
    also = {f"{series}_text": name for series, name in names.items() if series.startswith("factor")}
    for other in MAIN if code in MAIN else ():
        if other != code:
            table[other] = _both_texts(frame(other, profile, measured, moment=moment, statistic=statistic), t)
            also[other] = t(PANELS[other].name)
    x = axes.layer_axis(depth, t)
    domain = axes.value_domain(table)
    y = axes.value_axis(panel, moment, depth, domain, t)
    return _Canvas(panel, depth, table, alt.Chart().encode(x=x), x, y, domain, names, also)


def _both_texts(table: pd.DataFrame, t: Translate) -> list[str]:
    """Prediction and measurement of another panel in one line of the tooltip."""
    if "measured" not in table:
        return list(table["predicted_text"])
    if "predicted" not in table:
        return list(table["measured_text"])
    pairs = zip(table["predicted_text"], table["measured_text"], strict=True)
    return [t("{predicted}, measured {measured}", predicted=one, measured=other) for one, other in pairs]


def _alone(table: pd.DataFrame, column: str) -> bool:
    """Whether a curve is a single point, which a line would not show."""
    return int(np.isfinite(table[column]).sum()) == 1


def _usable_layer(canvas: _Canvas, moment: str) -> Iterator[alt.Chart]:
    """The range of gradients that can share a learning rate with the last layer, where the axis reaches beyond it."""
    import altair as alt

    edge = _usable_edge(scale(moment))
    low, high = canvas.domain
    if not canvas.panel.usable or (low >= -edge and high <= edge):
        return
    place = _row(usable_low=max(-edge, low), usable_high=min(edge, high))
    area = place.mark_rect(color=NEUTRAL, opacity=0.14, aria=False)
    yield area.encode(y=canvas.curve("usable_low"), y2=alt.Y2(field="usable_high"))


def _usable_edge(unit: float) -> float:
    return 2.0 * math.log(USABLE) / unit


def _reference(canvas: _Canvas) -> Iterator[alt.Chart]:
    """The rule at 1: where nothing is gained or lost."""
    rule = _row(one=0.0).mark_rule(color=NEUTRAL, strokeDash=[2, 3], aria=False)
    yield rule.encode(y=canvas.curve("one"))


def _predicted_layers(canvas: _Canvas) -> Iterator[alt.Chart]:
    """The predicted line, and the band that theory gives for one random network."""
    import altair as alt

    if "predicted" not in canvas.table:
        return
    mine = canvas.of("predicted")
    color = canvas.channel(alt.Color)
    if "band_low" in canvas.table:
        edge = {"stroke": _color_of(canvas, "predicted"), "strokeWidth": 1, "strokeDash": [4, 3], "aria": False}
        band = mine.mark_area(fillOpacity=0.07, strokeOpacity=0.7, **edge)
        if _alone(canvas.table, "band_low"):
            band = mine.mark_rule(**edge)
        yield band.encode(y=canvas.curve("band_low"), y2=alt.Y2(field="band_high"), color=color)
    line = mine.mark_line(strokeWidth=2, aria=False)
    if _alone(canvas.table, "predicted"):
        line = mine.mark_point(shape="stroke", size=900, strokeWidth=3, opacity=1, aria=False)
    yield line.encode(y=canvas.curve("predicted"), color=color)


def _color_of(canvas: _Canvas, series: str) -> alt.ExprRef:
    """A series' colour in the theme in force, for what is not coloured by data."""
    import altair as alt

    return alt.ExprRef(f"scale('color', {canvas.names[series]!r})")


def _measured_layers(canvas: _Canvas) -> Iterator[alt.Chart]:
    """The spread over networks as an area, and their mean or median as points (at most about 60 of them)."""
    import altair as alt

    if "measured" not in canvas.table:
        return
    mine = canvas.of("measured")
    color = canvas.channel(alt.Color)
    spread = mine.mark_area(opacity=0.25, aria=False)
    if _alone(canvas.table, "low"):
        spread = mine.mark_rule(opacity=0.4, strokeWidth=10, aria=False)
    yield spread.encode(y=canvas.curve("low"), y2=alt.Y2(field="high"), color=color)
    every = math.ceil(len(canvas.table) / 60)
    shown = [int(layer) for layer in canvas.table["layer"].iloc[::every]]
    points = mine.transform_filter(alt.FieldOneOfPredicate("layer", shown)) if every > 1 else mine
    yield points.mark_point(filled=True, size=40, opacity=1, aria=False).encode(
        y=canvas.curve("measured"), color=color, shape=canvas.channel(alt.Shape, _SHAPES)
    )


def _factor_layers(canvas: _Canvas) -> Iterator[alt.Chart]:
    """The factors of a product as thinner dashed lines."""
    import altair as alt

    for index in range(len(canvas.panel.factors)):
        series = f"factor_{index}"
        line = canvas.of(series).mark_line(strokeWidth=1.5, aria=False)
        dash = canvas.channel(alt.StrokeDash, _DASHES)
        yield line.encode(y=canvas.curve(series), color=canvas.channel(alt.Color), strokeDash=dash)


def _event_layers(happened: list[Event], canvas: _Canvas) -> Iterator[alt.Chart]:
    """A vertical rule at each event."""
    import altair as alt

    if happened:
        places = {"values": [{"layer": layer} for layer in sorted({event.layer for event in happened})]}
        yield alt.Chart(places).mark_rule(color=NEUTRAL, strokeWidth=1.5, aria=False).encode(x=canvas.x)


def _label_layers(
    happened: list[Event], canvas: _Canvas, height: int, unit: float, t: Translate
) -> Iterator[alt.Chart]:
    """The texts of the events and of the usable range, off the curves and off each other."""

    low, high = canvas.domain
    ends = axes.layer_ends(canvas.depth)
    wanted = []
    edge = _usable_edge(unit)
    if canvas.panel.usable and (low < -edge or high > edge):
        text = t("usable: within ×{factor}", factor=f"{USABLE:.0f}")
        wanted.append(labels.Wanted(ends[0], text, max(low, -edge), min(high, edge)))
    wanted += [labels.Wanted(event.layer, event.text, low, high) for event in happened]
    curves = [name for name in axes.CURVES if name in canvas.table]
    placed = labels.place(wanted, canvas.table, curves, canvas.domain, ends, max(height - _AROUND, 80))
    # Only the first colour of the palette is dark enough for text on a light page and light enough on a dark one.
    color = _color_of(canvas, "predicted")
    for label in placed:
        text = _row(layer=label.layer, text=label.text, top=label.top).mark_text(
            align="left" if label.right else "right",
            baseline="top",
            dx=labels.GAP if label.right else -labels.GAP,
            color=color,
            fontSize=labels.FONT_SIZE,
            lineHeight=labels.LINE,
            lineBreak="\n",
            description=label.text.replace("\n", " "),
        )
        yield text.encode(x=canvas.x, y=canvas.curve("top"), text="text:N")


def _hover(canvas: _Canvas, t: Translate) -> alt.Chart:
    """A rule that follows the pointer from layer to layer, with the numbers of that layer as its tooltip.

    To screen readers these rules are the chart's data, in words; the other marks would read out logarithms.
    The hovered layer is also a property of the page's body, with an event of its own: Vega's external binding. All
    charts that are bound to it mark that layer, whichever of them is under the pointer.
    """
    import altair as alt

    selection = alt.selection_point(
        name="layer",
        fields=["layer"],
        nearest=True,
        on="pointerover",
        clear="pointerout",
        empty=False,
        bind=alt.BindDirect(element="body", event="gradcore-layer"),
    )
    titles = {
        "predicted_text": canvas.names["predicted"],
        "measured_text": canvas.names["measured"],
        "spread_text": t("90% of networks"),
        **canvas.also,
    }
    tooltip = [alt.Tooltip("layer:Q", title=t("Layer"), format="d")]
    tooltip += [alt.Tooltip(f"{name}:N", title=title) for name, title in titles.items() if name in canvas.table]
    rule = canvas.base.mark_rule(color=NEUTRAL, strokeWidth=8)
    return rule.encode(
        opacity=alt.condition(selection, alt.value(0.35), alt.value(0.0), empty=False), tooltip=tooltip
    ).add_params(selection)
