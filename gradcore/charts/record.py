"""Charts of a training record: the loss over its steps and a quantity of every layer, with the evidence marked.

Norms are drawn as log10 on linear axes whose labels print 1e-100; what is exactly 0 or no number leaves a gap, and its
evidence is a rule at its step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.charts import axes
from gradcore.charts.chain import LABEL_SIZE, log10
from gradcore.charts.panels import NEUTRAL
from gradcore.charts.training import WIDE, Quantity, drawn_names, layer_color, layer_names, picked, value_axis
from gradcore.experiments.symptoms import Evidence, Symptom
from gradcore.experiments.training_log import TrainingLog
from gradcore.words import Translate, english, number_text

if TYPE_CHECKING:
    import altair as alt

QUANTITIES: dict[str, Quantity] = {  # of a TrainingLog, in the order in which they are offered
    "grad": Quantity("grad", "Gradient norm of every layer", "norm of the gradient (log scale)"),
    "matrix": Quantity("matrix", "Weight gradient of every layer", "|dC/dW| (log scale)"),
    "update": Quantity("update", "Update over weights, |ΔW| / |W|", "update / weights (log scale)"),
    "weight": Quantity("weight", "Norm of the weights", "|W| (log scale)"),
    "change": Quantity("change", "Weights' change since the start", "|W − W₀| / |W₀| (log scale)"),
    "node": Quantity("node", "Largest gradient of a node", "gradient of a node (log scale)"),
    "saturated": Quantity("saturated", "Saturated units", "share of units", log=False, hidden_only=True),
}
OF_QUANTITY = {  # symptom -> the quantity that its evidence lies on; the others are of the loss
    "weights_jump": "update",
    "weights_nan": "weight",
    "gradient_large": "grad",
    "node_large": "node",
    "gradient_grows": "grad",
    "first_layer_slow": "grad",
    "first_weights_unchanged": "change",
    "gradient_zero": "grad",
    "saturated": "saturated",
}
MOST_MARKS = 6  # of evidence in a chart


def known_quantities(log: TrainingLog) -> list[str]:
    """What the record holds of its layers."""
    return [name for name in QUANTITIES if getattr(log, name) is not None]


def first_look(log: TrainingLog, found: Sequence[Symptom]) -> str:
    """The quantity that the worst symptom of a layer lies on; else the first one. Only of a record that has one."""
    known = known_quantities(log)
    of_layers = (OF_QUANTITY.get(symptom.code) for symptom in found)
    return next((name for name in of_layers if name in known), known[0])


def _kept_rows(log: TrainingLog, marked: Sequence[Evidence]) -> list[int]:
    """The rows that are drawn: evenly spread ones, and those of the evidence."""
    rows = _rows(log)
    return sorted({*(int(row) for row in picked(len(log.steps))), *(rows[one.step] for one in marked)})


def _rows(log: TrainingLog) -> dict[int, int]:
    """The row of each step as evidence names it."""
    return {int(step): row for row, step in reversed(list(enumerate(log.steps)))}


def loss_chart(
    log: TrainingLog, found: Sequence[Symptom], *, height: int = 230, t: Translate = english
) -> alt.LayerChart:
    """The loss over the steps, with the evidence of the symptoms that are read off it."""
    import altair as alt

    axes.await_pandas()
    shown = [(symptom, one) for symptom in found for one in symptom.evidence[:MOST_MARKS] if one.layer is None]
    shown = shown[:MOST_MARKS]
    rows = _kept_rows(log, [one for _, one in shown])
    finite = log.loss[np.isfinite(log.loss)]
    wide = finite.size > 0 and finite.min() > 0.0 and finite.max() / WIDE > finite.min()
    sizes = log10(log.loss) if wide else log.loss
    points = [
        {"step": float(log.steps[r]), "size": float(sizes[r]), "text": f"{log.loss[r]:.4g}"}
        for r in rows
        if math.isfinite(sizes[r])
    ]
    if wide:
        y = value_axis(Quantity("loss", "Loss", "loss (log scale)"), [point["size"] for point in points], t)
    else:
        y = alt.Y("size:Q", title=t("loss"), axis=alt.Axis(tickCount=4, minExtent=40, format=".3~g"))
    x = _step_axis(log, t)
    tooltip = [alt.Tooltip("step:Q", title=t("step")), alt.Tooltip("text:N", title=t("loss"))]
    base = alt.Chart({"values": points})
    layers = [base.mark_line(strokeWidth=2, clip=True, aria=False).encode(x=x, y=y, tooltip=tooltip)]
    if len(points) == 1:
        layers = [base.mark_point(filled=True, size=45, opacity=1).encode(x=x, y=y, tooltip=tooltip)]
    at = _rows(log)
    marks = [_mark(symptom, one, "", float(sizes[at[one.step]]), t) for symptom, one in shown]
    return alt.LayerChart(layer=[*layers, *_marked(marks, x, y, t)], title=t("Loss"), height=height)


def record_chart(
    name: str, log: TrainingLog, found: Sequence[Symptom], *, height: int = 300, t: Translate = english
) -> alt.LayerChart:
    """One quantity of every layer over the steps, with the evidence that lies on it. ``name``: of QUANTITIES, one that
    the record holds."""
    import altair as alt

    axes.await_pandas()
    quantity, values = QUANTITIES[name], getattr(log, name)
    shown = [
        (symptom, one)
        for symptom in found
        if OF_QUANTITY.get(symptom.code) == name
        for one in symptom.evidence[:MOST_MARKS]
        if one.layer is not None
    ][:MOST_MARKS]
    count = values.shape[1]
    every = [str(layer) for layer in range(1, count + 1)] if quantity.hidden_only else layer_names(count, t)
    of_evidence = {every[one.layer - 1] for _, one in shown if one.layer is not None and one.layer <= count}
    drawn = [layer for layer in every if layer in {*drawn_names(every), *of_evidence}]
    sizes = log10(values) if quantity.log else values
    rows = _kept_rows(log, [one for _, one in shown])
    points = [
        {
            "step": float(log.steps[row]),
            "size": float(sizes[row, k]),
            "layer": every[k],
            "text": _text(float(values[row, k]), quantity.log),
        }
        for k in range(count)
        if every[k] in drawn
        for row in rows
        if math.isfinite(sizes[row, k])
    ]
    x, y = _step_axis(log, t), value_axis(quantity, [point["size"] for point in points], t)
    color = layer_color(drawn, t)
    tooltip = [
        alt.Tooltip("layer:N", title=t("layer")),
        alt.Tooltip("step:Q", title=t("step")),
        alt.Tooltip("text:N", title=t("value")),
    ]
    base = alt.Chart({"values": points})
    line = base.mark_line(strokeWidth=2, clip=True, aria=False).encode(x=x, y=y, color=color, tooltip=tooltip)
    layers = [line]
    if len(rows) == 1:
        layers = [base.mark_point(filled=True, size=45, opacity=1).encode(x=x, y=y, color=color, tooltip=tooltip)]
    if len(drawn) > 1:  # never by colour alone
        layers.append(_end_labels(points, x, y, color))
    places = _rows(log)
    marks = []
    for symptom, one in shown:
        row, k = places[one.step], (one.layer or 1) - 1
        size = float(sizes[row, k]) if k < count else math.nan
        marks.append(_mark(symptom, one, every[k] if k < count else str(one.layer), size, t))
    title = t(quantity.title)
    if len(drawn) < count:
        title = t("{title}: {count} of {layers} layers", title=title, count=len(drawn), layers=count)
    return alt.LayerChart(layer=[*layers, *_marked(marks, x, y, t)], title=title, height=height)


def _text(value: float, log: bool) -> str:
    return number_text(math.log10(value), 3) if log and value > 0 and math.isfinite(value) else f"{value:.3g}"


def _end_labels(points: list[dict[str, Any]], x: alt.X, y: alt.Y, color: alt.Color) -> alt.Chart:
    """The layer at the end of its curve: its colour alone would not tell everyone."""
    import altair as alt

    ends = {point["layer"]: point for point in points}
    text = alt.Chart({"values": list(ends.values())}).mark_text(align="right", dx=-2, dy=-7, fontSize=LABEL_SIZE)
    return text.encode(x=x, y=y, color=color, text="layer:N")


def _mark(symptom: Symptom, one: Evidence, layer: str, size: float, t: Translate) -> dict[str, Any]:
    """A row of evidence; without ``size`` there is no point of the curve at its step."""
    row: dict[str, Any] = {"step": float(one.step), "what": symptom.message.text(t), "text": f"{one.value:.3g}"}
    if math.isfinite(size):
        row["size"] = size
    return {**row, "layer": layer} if layer else row


def _marked(marks: list[dict[str, Any]], x: alt.X, y: alt.Y, t: Translate) -> list[alt.Chart]:
    """Rings on the curves, rules where there is no curve."""
    import altair as alt

    tooltip = [
        alt.Tooltip("what:N", title=t("evidence")),
        alt.Tooltip("step:Q", title=t("step")),
        alt.Tooltip("text:N", title=t("value")),
    ]
    on, off = [m for m in marks if "size" in m], [m for m in marks if "size" not in m]
    layers = []
    if off:
        rule = alt.Chart({"values": off}).mark_rule(color=NEUTRAL, strokeDash=[4, 3], strokeWidth=1.5)
        layers.append(rule.encode(x=x, tooltip=tooltip))
    if on:
        ring = alt.Chart({"values": on}).mark_point(
            filled=False, size=150, strokeWidth=2.5, opacity=1, color=NEUTRAL, clip=False
        )
        layers.append(ring.encode(x=x, y=y, tooltip=tooltip))
    return layers


def _step_axis(log: TrainingLog, t: Translate) -> alt.X:
    import altair as alt

    finite = log.steps[np.isfinite(log.steps)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    domain = [low, high if high > low else low + 1.0]
    axis = alt.Axis(tickCount=6, tickMinStep=1, format="d", grid=False)
    return alt.X("step:Q", title=t("step"), axis=axis, scale=alt.Scale(domain=domain, nice=False))


def describe_record(log: TrainingLog, found: Sequence[Symptom], t: Translate = english) -> str:
    """The charts in words, for readers who do not see them."""
    finite = log.loss[np.isfinite(log.loss)]
    parts = []
    if finite.size:
        values = {"first": f"{finite[0]:.3g}", "last": f"{finite[-1]:.3g}", "steps": len(log.loss)}
        parts.append(t("The loss goes from {first} to {last} in {steps} steps.", **values))
    parts += [symptom.message.text(t) for symptom in found[:3]]
    return " ".join(parts)
