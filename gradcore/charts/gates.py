"""Charts of recurrent cells: the gradient of the last step back to each step, the gates, and both over training.

Sizes are RMS values drawn as log10 on linear axes whose labels print 1e-100, as in the other charts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.cell_verdict import log_factor, window_of
from gradcore.charts import axes
from gradcore.charts.chain import color_of, domain_of, log_axis, rule
from gradcore.charts.ends import ends_text
from gradcore.experiments.long_range import Record
from gradcore.recurrent import CellMeasurement, CellProfile
from gradcore.words import LN10, Translate, english, number_text

if TYPE_CHECKING:
    import altair as alt

Array = np.ndarray
MOST_POINTS = 60  # measured points, or updates, of a curve
NAMES = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}
GATES = {"i": "input i", "f": "forget f", "o": "output o", "r": "reset r", "z": "update z"}
DASHED = [6, 4]
GATE_DASHES = [[1, 0], [10, 3], [3, 3]]  # gates that are equally open lie on each other


def _picked(length: int, most: int = MOST_POINTS) -> Array:
    """Indices of at most so many entries, first and last among them."""
    return np.unique(np.linspace(0, length - 1, min(length, most)).round().astype(int))


def _steps(steps: int, t: Translate) -> alt.X:
    import altair as alt

    axis = alt.Axis(values=axes.layer_ticks(steps), format="d", grid=False)
    scale = alt.Scale(domain=[0.5, steps + 0.5], nice=False)
    return alt.X("step:Q", title=t("step t (the loss is at the last one)"), axis=axis, scale=scale)


def _rows(logs: Array, series: str, most: int = MOST_POINTS) -> list[dict[str, Any]]:
    """log10 of the RMS at the steps, from ln of the mean square; what is 0 or no number is left out."""
    sizes = 0.5 * np.asarray(logs, dtype=float) / LN10
    return [
        {"step": int(k) + 1, "size": float(sizes[k]), "series": series, "text": number_text(float(sizes[k]), 3)}
        for k in _picked(len(sizes), most)
        if math.isfinite(sizes[k])
    ]


def _lines(rows: list[dict[str, Any]], x: alt.X, y: alt.Y, color: alt.Color, dashed: Iterable[str]) -> alt.Chart:
    """A line for each series; those named in ``dashed`` are dashed."""
    import altair as alt

    names = {row["series"]: None for row in rows}
    lines = {name: DASHED if name in set(dashed) else [1, 0] for name in names}
    dash = alt.StrokeDash("series:N", legend=None, scale=alt.Scale(domain=list(lines), range=list(lines.values())))
    return (
        alt.Chart({"values": rows})
        .mark_line(strokeWidth=2, clip=True, aria=False)
        .encode(x=x, y=y, color=color, strokeDash=dash)
    )


# --- the cell at initialization -------------------------------------------------------------------------------


def gradient_chart(
    profile: CellProfile, measured: CellMeasurement | None = None, *, height: int = 300, t: Translate = english
) -> alt.LayerChart:
    """RMS of dL/dh_t over that of dL/dh_T against t: predicted (tied), the untied product dashed, and the mean over
    the measured networks as points with the range of the networks."""
    import altair as alt

    axes.await_pandas()
    names = [t("predicted"), t("untied, as textbooks")]
    rows = _rows(profile.log_v, names[0], profile.spec.steps)
    if profile.untied is not profile:
        rows += _rows(profile.untied.log_v, names[1], profile.spec.steps)
    else:
        names = names[:1]
    dots: list[dict[str, Any]] = []
    if measured is not None:
        names.append(t("measured"))
        dots = _rows(measured.mean("log_v"), names[-1])
        low, high = (0.5 * end / LN10 for end in (measured.log_v.min(axis=0), measured.log_v.max(axis=0)))
        for row in dots:
            ends = low[row["step"] - 1], high[row["step"] - 1]
            row["low"], row["high"] = (float(end) if math.isfinite(end) else row["size"] for end in ends)
    domain = domain_of([row["size"] for row in (*rows, *dots)])
    x, y = _steps(profile.spec.steps, t), log_axis("size", t("RMS of dL/dh at step t, last step = 1"), domain)
    color = color_of(names)
    layers: list[alt.Chart] = [_lines(rows, x, y, color, names[1:2]), rule("size", 0.0)]
    if measured is not None:
        points = alt.Chart({"values": dots}).encode(x=x, y=y, color=color)
        tooltip = [alt.Tooltip("step:Q", title=t("step")), alt.Tooltip("text:N", title=t("measured (RMS)"))]
        layers.append(points.mark_rule(strokeWidth=1, clip=True, aria=False).encode(y=_again(y, "low"), y2="high:Q"))
        layers.append(points.mark_point(filled=True, size=28, opacity=1).encode(tooltip=tooltip))
    return alt.LayerChart(layer=layers, title=t("Gradient of the last step with respect to step t"), height=height)


def _again(y: alt.Y, column: str) -> alt.Y:
    """The same axis for another column."""
    found = y.copy()
    found.shorthand = f"{column}:Q"
    return found


def gate_chart(
    profile: CellProfile, measured: CellMeasurement | None = None, *, height: int = 300, t: Translate = english
) -> alt.LayerChart:
    """Mean value of every gate over the steps, predicted as lines and measured as points, the gates at steps in turn.
    The plain cell has none: then the RMS of its state h on a log axis."""
    import altair as alt

    axes.await_pandas()
    if profile.spec.cell == "rnn":
        return _state_chart(profile, measured, height, t)
    names = {code: t(GATES[code]) for code in profile.gates if code in GATES}
    lines = [row for code, name in names.items() for row in _gate_rows(profile.gates[code], name)]
    x = _steps(profile.spec.steps, t)
    y = alt.Y("value:Q", title=t("mean over units: 0 shut, 1 open"), scale=alt.Scale(domain=[0.0, 1.0], nice=False))
    color = color_of(names.values())
    dash = alt.StrokeDash("series:N", legend=None, scale=alt.Scale(domain=list(names.values()), range=GATE_DASHES))
    curves = alt.Chart({"values": lines}).mark_line(strokeWidth=2, aria=False)
    layers = [curves.encode(x=x, y=y, color=color, strokeDash=dash)]
    if measured is not None:
        means = [(name, measured.gates[code].mean(axis=0)) for code, name in names.items()]
        dots = [row for k, (name, values) in enumerate(means) for row in _gate_rows(values, name)[k :: len(means)]]
        tooltip = [alt.Tooltip("series:N", title=t("gate")), alt.Tooltip("value:Q", format=".4f")]
        points = alt.Chart({"values": dots}).mark_point(filled=True, size=28, opacity=1)
        layers.append(points.encode(x=x, y=y, color=color, tooltip=tooltip))
    title = t("Gates: lines predicted, points measured")
    return alt.LayerChart(layer=layers, title=title, height=height)


def describe_gates(profile: CellProfile, t: Translate = english) -> str:
    """The predicted gates in words; of a cell without gates, the RMS of its state."""
    if profile.spec.cell == "rnn":
        logs = {t("predicted"): 0.5 * profile.log_h / LN10}
        return ends_text(t("No gates: the state h over the steps"), logs, t, log10=True)
    lines = {t(GATES[code]): values for code, values in profile.gates.items() if code in GATES}
    return ends_text(t("Gates: lines predicted, points measured"), lines, t)


def _gate_rows(values: Array, series: str) -> list[dict[str, Any]]:
    return [
        {"step": int(k) + 1, "value": float(values[k]), "series": series}
        for k in _picked(len(values))
        if math.isfinite(values[k])
    ]


def _state_chart(profile: CellProfile, measured: CellMeasurement | None, height: int, t: Translate) -> alt.LayerChart:
    import altair as alt

    names = [t("predicted"), t("measured")]
    rows = _rows(profile.log_h, names[0], profile.spec.steps)
    dots = [] if measured is None else _rows(measured.mean("log_h"), names[1])
    domain = domain_of([row["size"] for row in (*rows, *dots)])
    x, y = _steps(profile.spec.steps, t), log_axis("size", t("RMS of h (log scale)"), domain)
    color = color_of(names if dots else names[:1])
    layers = [alt.Chart({"values": rows}).mark_line(strokeWidth=2, aria=False).encode(x=x, y=y, color=color)]
    if dots:
        points = alt.Chart({"values": dots}).mark_point(filled=True, size=28, opacity=1)
        layers.append(points.encode(x=x, y=y, color=color))
    return alt.LayerChart(layer=layers, title=t("No gates: the state h over the steps"), height=height)


# --- training -------------------------------------------------------------------------------------------------


def loss_chart(records: Sequence[Record], *, height: int = 300, t: Translate = english) -> alt.LayerChart:
    """The loss of each run over its updates (mean of those between two points), and the loss of the best answer
    without memory."""
    import altair as alt

    axes.await_pandas()
    rows = [
        {"update": at, "size": math.log10(value), "series": NAMES[one.spec.cell.cell]}
        for one in records
        for at, value in _averaged(one.series("loss"))
        if value > 0.0
    ]
    floor = math.log10(records[0].spec.task_entry.baseline)
    sizes = [*(row["size"] for row in rows), floor]
    margin = 0.08 * max(max(sizes) - min(sizes), 0.5)
    y = log_axis("size", t("loss (log scale)"), (min(sizes) - margin, max(sizes) + margin))
    x, color = _updates(records, t), color_of(_named(records))
    layers = [
        alt.Chart({"values": rows}).mark_line(strokeWidth=2, aria=False).encode(x=x, y=y, color=color),
        rule("size", floor),
    ]
    return alt.LayerChart(layer=layers, title=t("Loss (dotted: the best without memory)"), height=height)


def factor_chart(records: Sequence[Record], *, height: int = 300, t: Translate = english) -> alt.LayerChart:
    """By what the RMS of dC/dh_t changes per step back in time, between T/4 and 3T/4, over the updates; and 1."""
    import altair as alt

    axes.await_pandas()
    rows = [
        {"update": at, "size": value / LN10, "series": NAMES[one.spec.cell.cell]}
        for one in records
        for at, value in _averaged(log_factors(one))
    ]
    domain = domain_of([row["size"] for row in rows], least=0.1)
    x, color = _updates(records, t), color_of(_named(records))
    y = log_axis("size", t("factor per step back (RMS)"), domain)
    layers = [
        alt.Chart({"values": rows}).mark_line(strokeWidth=2, aria=False).encode(x=x, y=y, color=color),
        rule("size", 0.0),
    ]
    return alt.LayerChart(layer=layers, title=t("Gradient per step back in time, over training"), height=height)


def log_factors(record: Record) -> Array:
    """(updates,) ln of the factor of the RMS of dC/dh_t per step back, between steps T/4 and 3T/4; -inf or nan where
    no gradient arrives."""
    window = window_of(record.spec.cell.steps)
    return np.array([0.5 * log_factor(np.array(step.log_v), *window) for step in record.steps])


def reach_chart(records: Sequence[Record], *, height: int = 300, t: Translate = english) -> alt.LayerChart:
    """RMS of dC/dh_t against t at the first update (dashed) and at the last one so far, each over that at step T."""
    import altair as alt

    axes.await_pandas()
    rows: list[dict[str, Any]] = []
    for one in records:
        for when, step in ((0, one.steps[0]), (1, one.steps[-1])):
            last = step.log_v[-1]
            logs = np.array(step.log_v) - (last if math.isfinite(last) else 0.0)
            rows += [{**row, "when": when} for row in _rows(logs, NAMES[one.spec.cell.cell])]
    domain = domain_of([row["size"] for row in rows])
    x, y = _steps(records[0].spec.cell.steps, t), log_axis("size", t("RMS of dC/dh at step t, last = 1"), domain)
    dash = alt.StrokeDash("when:O", legend=None, scale=alt.Scale(domain=[0, 1], range=[DASHED, [1, 0]]))
    line = alt.Chart({"values": rows}).mark_line(strokeWidth=2, aria=False)
    layers = [line.encode(x=x, y=y, color=color_of(_named(records)), strokeDash=dash), rule("size", 0.0)]
    title = t("The same by step: now, and before training (dashed)")
    return alt.LayerChart(layer=layers, title=title, height=height)


def _named(records: Sequence[Record]) -> list[str]:
    return [NAMES[one.spec.cell.cell] for one in records]


def _updates(records: Sequence[Record], t: Translate) -> alt.X:
    import altair as alt

    last = max(1, max(len(one.steps) for one in records) - 1)
    axis = alt.Axis(grid=False, format="d", tickMinStep=1)
    return alt.X("update:Q", title=t("update"), scale=alt.Scale(domain=[0, last], nice=False), axis=axis)


def _averaged(values: Array) -> list[tuple[float, float]]:
    """(update, mean) of at most MOST_POINTS stretches of equal length; numbers that are not finite are left out."""
    stretch = max(1, math.ceil(len(values) / MOST_POINTS))
    found = []
    for start in range(0, len(values), stretch):
        part = values[start : start + stretch]
        part = part[np.isfinite(part)]
        if len(part):
            found.append((start + 0.5 * (min(stretch, len(values) - start) - 1), float(part.mean())))
    return found


def describe_training(records: Mapping[str, Record], t: Translate = english) -> str:
    """Each run in a few words: its loss at the start and at the end, and how many of its updates were clipped."""
    parts = []
    for code, one in records.items():
        averaged = _averaged(one.series("loss"))
        if averaged:
            first, last = (number_text(math.log10(v), 3) if v > 0 else "0" for _, v in (averaged[0], averaged[-1]))
            words = t("{cell}: loss {first} → {last}", cell=NAMES[code], first=first, last=last)
            if one.spec.clip_norm is not None:
                words += ", " + t("{share} of the updates clipped", share=f"{one.series('clipped').mean():.0%}")
            parts.append(words)
    return " · ".join(parts)
