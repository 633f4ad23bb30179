"""A record as one tidy CSV table: a row per layer and quantity, the unit of every column in its header."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from gradcore.cli_output import LN, scientific
from gradcore.export.record import LEVEL, NUMBERS, Record
from gradcore.measurement import QUANTITIES, SHARES, Measurement

Array = np.ndarray
RMS_DIGITS = 6
PLAIN = "plain number: factor, cosine or share"
EDGES = ("measured_low", "measured_high")
LOGS = ("infinite_width", "mean", "median", "low", "high")  # of a prediction
MEASURED = ("measured_mean", "measured_median", *EDGES)
STATISTICS = (*(f"predicted_{name}" for name in LOGS), *MEASURED)
ERROR = "measured_standard_error"
COLUMNS = (
    "layer",
    "quantity",
    *(f"{name} [{LN}]" for name in STATISTICS),
    f"{ERROR} [relative to second moment]",
    *(f"{name} [RMS]" for name in STATISTICS),
    *(f"{name} [{PLAIN}]" for name in ("predicted_infinite_width", *MEASURED, ERROR)),
    "measured_networks [count]",
)


def tidy_csv(record: Record) -> str:
    """The CSV text; header ``COLUMNS``.

    A row of log_q, log_p, log_g, log_dw or log_db has natural logarithms of second moments and the RMS values
    exp(log / 2) beside them, as text in scientific notation of any exponent (1e-600). A row of chi, chi_parallel,
    correlation, saturated, dead or sigma_w has plain numbers. low and high are the central 90% of single networks,
    predicted or measured. "-inf" is an exact zero; an empty cell is what is not known or has no such unit.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rows(record))
    return out.getvalue()


def _rows(record: Record) -> Iterator[dict[str, Any]]:
    for name in QUANTITIES:
        columns = _log_columns(record, name)
        yield from _each_layer(record, name, columns)
    for name in NUMBERS:
        yield from _each_layer(record, name, _number_columns(record, name))


def _each_layer(record: Record, name: str, columns: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    count = {} if record.measured is None or name not in (*QUANTITIES, *SHARES) else _counts(record.measured, name)
    for k in range(record.spec.depth):
        values = {title: column[k] for title, column in (columns | count).items()}
        if values:
            yield {"layer": k + 1, "quantity": name, **values}


def _log_columns(record: Record, name: str) -> dict[str, list[Any]]:
    logs: dict[str, Array] = {}
    if record.predicted is not None:
        found = {kind: getattr(record.predicted, kind) for kind in LOGS}
        logs = {f"predicted_{kind}": values[name] for kind, values in found.items() if values is not None}
    columns: dict[str, list[Any]] = {}
    if record.measured is not None:
        m = record.measured
        logs |= {"measured_mean": m.mean(name), "measured_median": m.median(name), **_spread(m, name)}
        columns[f"{ERROR} [relative to second moment]"] = m.standard_error(name).tolist()
    columns |= {f"{title} [{LN}]": values.tolist() for title, values in logs.items()}
    return columns | {
        f"{title} [RMS]": [scientific(0.5 * float(value), RMS_DIGITS) for value in values]
        for title, values in logs.items()
    }


def _number_columns(record: Record, name: str) -> dict[str, list[Any]]:
    columns: dict[str, Array] = {}
    if record.predicted is not None:
        columns["predicted_infinite_width"] = record.predicted.infinite_width[name]
    if record.measured is not None and name in SHARES:
        rows = getattr(record.measured, name)
        n = len(rows)
        columns |= {"measured_mean": rows.mean(axis=0), "measured_median": np.median(rows, axis=0)}
        columns |= _spread(record.measured, name)
        if n > 1:
            columns[ERROR] = rows.std(axis=0, ddof=1) / np.sqrt(n)
    return {f"{title} [{PLAIN}]": values.tolist() for title, values in columns.items()}


def _spread(measured: Measurement, name: str) -> dict[str, Array]:
    """The central networks, as the charts draw them: quantiles that are networks themselves."""
    levels = [0.5 - LEVEL / 2, 0.5 + LEVEL / 2]
    return dict(zip(EDGES, np.quantile(getattr(measured, name), levels, axis=0, method="nearest"), strict=True))


def _counts(measured: Measurement, name: str) -> dict[str, list[int]]:
    """How many networks held in their number format: those of the mean."""
    rows = getattr(measured, name)
    return {"measured_networks [count]": np.sum(~(np.isnan(rows) | np.isposinf(rows)), axis=0).tolist()}
