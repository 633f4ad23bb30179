"""What the command line prints: tables in RMS, and the JSON and CSV documents in natural logarithms.

RMS is the square root of a second moment; it is taken from the logarithm, so that 1e-600 is a number like any other.
Every function returns text or a plain document; nothing here computes.
"""

from __future__ import annotations

import csv
import io
import json
import math
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

import gradcore as gc
from gradcore.codec import to_argv, to_json
from gradcore.errors import SpecError

Array = np.ndarray
Columns = Mapping[str, Iterable[Any]]
LOGS = {
    "log_q": "signal",
    "log_p": "input",
    "log_g": "gradient",
    "log_dw": "dC/dW",
    "log_db": "dC/db",
}
SHARES = {"correlation": "cosine", "saturated": "share", "dead": "share"}
NUMBERS = {
    "chi": "factor of second moment",
    "chi_parallel": "factor of second moment",
    **SHARES,
    "sigma_w": "std(W) sqrt(fan_in)",
}
PLAIN_EVENTS = ("first_inf", "first_nan", "first_zero", "gradient_zero")
LN = "ln of second moment"
UNITS = {
    "log_*, infinite_width, mean, median, band_95": f"natural logarithm ({LN}, not centred); RMS = exp(log / 2)",
    "difference": "natural logarithm of the measured by the predicted second moment",
    "standard_error, allowance": "relative to the second moment",
    "z": "standard errors",
    "chi, chi_parallel": "factor of the second moment per layer",
    "correlation": "cosine between the z of two samples",
    "saturated, dead, inside": "share from 0 to 1",
    "sigma_w": "std(W) * sqrt(fan_in)",
    "layers, precision, plain": "layer numbers from 1 (plain: 0 where none)",
    "infinities": 'the strings "-inf" (an exact zero), "inf" and "nan"',
}


# --- numbers as text ---------------------------------------------------------------------------------------


def scientific(log: float, digits: int = 4) -> str:
    """e^log in scientific notation, built from the logarithm: any exponent is legal, -inf is 0."""
    if not math.isfinite(log):
        return "0" if log == -math.inf else "inf" if log == math.inf else "nan"
    tens = log / math.log(10.0)
    exponent = math.floor(tens)
    mantissa = f"{10.0 ** (tens - exponent):.{digits - 1}f}"
    if mantissa.startswith("10"):  # 9.9996 rounds up to the next power of ten
        mantissa, exponent = f"{1.0:.{digits - 1}f}", exponent + 1
    return f"{mantissa}e{exponent:+03d}"


def chosen_layers(depth: int, wanted: str) -> list[int]:
    """The layers (1-based) of a table of ``wanted`` rows, "all" or a number: spread evenly, first and last included.

    Raises SpecError where ``wanted`` is neither.
    """
    if wanted == "all":
        return list(range(1, depth + 1))
    if not wanted.isdecimal() or int(wanted) < 1:
        raise SpecError("layers", wanted, 'a number of rows from 1 on, or "all"')
    count = min(int(wanted), depth)
    return [depth] if count == 1 else sorted({round(x) for x in np.linspace(1, depth, count).tolist()})


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Right-aligned columns, two blanks between them."""
    lines = [list(header), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)) for line in lines)


class Scale:
    """How second moments are shown: as RMS, or as they are. ``name`` says which; calling it formats a logarithm."""

    def __init__(self, second_moments: bool = False) -> None:
        self.power = 1.0 if second_moments else 0.5
        self.name = "second moments (mean squares)" if second_moments else "RMS (square roots of second moments)"

    def __call__(self, log: float) -> str:
        return scientific(self.power * float(log))


# --- tables ------------------------------------------------------------------------------------------------


def predicted_text(p: gc.Profile, show: Scale, layers: Sequence[int]) -> str:
    """The per-layer table of a profile, then its factors, gain, bands, dtypes and notes."""
    rows = (
        [str(k), *(show(getattr(p, name)[k - 1]) for name in LOGS)]
        + [f"{getattr(p, name)[k - 1]:.4g}" for name in ("chi", "correlation", "saturated", "sigma_w")]
        for k in layers
    )
    lines = [
        f"predicted at infinite width; {show.name}; chi is the factor of the second moment",
        "",
        table(["layer", *LOGS.values(), "chi", "correlation", "saturated", "sigma_w"], rows),
        "",
        *_factors(p.log_q, p.log_g),
        f"gain: {p.gain_origin}; sigma_w = std(W) sqrt(fan_in) = {p.sigma_w[-1]:.6g} at the last layer",
    ]
    for name, layer in (("log_q", p.spec.depth), ("log_g", 1)):
        band = p.at_hand.band(name, 0.95)
        ends = "not known here" if band is None else " to ".join(show(edge[layer - 1]) for edge in band)
        lines.append(f"95% of single networks, {LOGS[name]} at layer {layer}: {ends}")
    return "\n".join([*lines, "", _precision(p), *(f"note: {note}" for note in p.notes)])


def _factors(log_q: Array, log_g: Array) -> Iterator[str]:
    """One line each for signal and gradient: the geometric mean of its factor over the layers."""
    steps = len(log_q) - 1
    ways = (("signal", log_q[-1], log_q[0], "output"), ("gradient", log_g[0], log_g[-1], "input"))
    for name, end, start, way in ways:
        if steps and np.isfinite(end) and np.isfinite(start):
            log = float(end - start) / steps
            rms, second = (f"{math.exp(x):.4g}" if abs(x) < 9 else scientific(x) for x in (0.5 * log, log))
            yield f"{name:<8} ×{rms} per layer in RMS (×{second} in second moment), mean on its way to the {way}"


def _precision(p: gc.Profile) -> str:
    header = ["dtype", "forward overflow", "forward underflow", "gradient overflow", "gradient underflow"]
    rows = ([dtype, *(str(v or "-") for v in asdict(events).values())] for dtype, events in p.precision.items())
    return "first layer out of a format's range (gradient: counted from the output)\n" + table(header, rows)


def verdict_text(v: gc.Verdict) -> str:
    """Kind, sentence and details; then each fix with its cost and the flags that ask for it."""
    lines = [f"{v.kind.replace('_', ' ')}: {v.sentence}", *(f"  {detail}" for detail in v.details)]
    for fix in v.fixes:
        lines += [f"fix: {fix.message}", f"  {fix.cost}", f"  {shlex.join(to_argv(fix.spec)) or '(all defaults)'}"]
    return "\n".join(lines)


def measured_text(m: gc.Measurement, show: Scale, layers: Sequence[int]) -> str:
    """The per-layer table of a measurement (means over networks), its factors, and where its dtype broke."""
    means = {name: m.mean(name) for name in LOGS}
    shares = {name: getattr(m, name).mean(axis=0) for name in SHARES}
    rows = (
        [str(k), *(show(mean[k - 1]) for mean in means.values()), *(f"{s[k - 1]:.4g}" for s in shares.values())]
        for k in layers
    )
    lines = [
        f"measured on {len(m.networks)} networks, seed {m.seed}, {m.dtype}; {show.name}, mean over networks",
        "",
        table(["layer", *LOGS.values(), *SHARES], rows),
        "",
        *_factors(means["log_q"], means["log_g"]),
    ]
    for name, first in (("not finite", m.first_nonfinite), ("zero", m.first_zero)):
        if np.any(first):
            lines.append(f"signal {name} from layer {_range(first)}")
    return "\n".join(lines)


def compared_text(c: gc.Comparison, show: Scale, layers: Sequence[int]) -> str:
    """Predicted beside measured, layer by layer, then the summary of the comparison."""
    names = ("log_q", "log_g", "log_dw")
    ours = {name: c.predicted.at_hand.mean(name) for name in names}
    theirs = {name: c.measured.mean(name) for name in names}
    rows = []
    for k in (layer - 1 for layer in layers):
        cells = ((show(ours[n][k]), show(theirs[n][k]), f"{c.z[n][k]:.2f}") for n in names)
        rows.append([str(k + 1), *(cell for group in cells for cell in group)])
    header = ["layer", *(word for name in names for word in (f"{LOGS[name]} predicted", "measured", "z"))]
    title = f"mean over networks of this width; {show.name}; z in standard errors"
    return "\n".join([title, "", table(header, rows), "", "in logarithms of second moments:", str(c)])


def plain_text(runs: Mapping[str, Any], p: gc.Profile | None) -> str:
    """Where plain autograd breaks in each dtype, beside the predicted layers where there is a profile."""
    header = ["dtype", *(event.replace("_", " ") for event in PLAIN_EVENTS)]
    rows = [[dtype, *(_range(getattr(run, event)) for event in PLAIN_EVENTS)] for dtype, run in runs.items()]
    if p is not None:
        header += ["predicted overflow", "underflow"]
        for row, events in zip(rows, (p.precision[dtype] for dtype in runs), strict=True):
            row += [str(events.forward_overflow or "-"), str(events.forward_underflow or "-")]
    title = "plain autograd, nothing rescaled: first layer (networks that show it), gradient counted from the output"
    return title + "\n" + table(header, rows)


def _range(values: Array) -> str:
    """First layers of several networks (0 = none) in one cell."""
    hits = values[values > 0]
    if not hits.size:
        return "-"
    span = f"{hits.min()}" if hits.min() == hits.max() else f"{hits.min()}-{hits.max()}"
    return f"{span} ({hits.size}/{values.size})"


# --- JSON --------------------------------------------------------------------------------------------------


def json_text(command: str, spec: gc.Spec, **parts: Any) -> str:
    """One JSON object: version, command, spec (changed fields), units, layers, and the given parts."""
    head = {"gradcore": gc.__version__, "command": command, "spec": to_json(spec), "units": UNITS}
    document = {**head, "layers": list(range(1, spec.depth + 1)), **parts}
    return json.dumps(jsonable(document), allow_nan=False)


def jsonable(value: Any) -> Any:
    """The value as JSON knows it: arrays and tuples as lists, infinities and NaN as strings."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return jsonable(value.tolist())
    if isinstance(value, list | tuple):
        return [jsonable(entry) for entry in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def predicted_part(p: gc.Profile) -> dict[str, Any]:
    """A profile as a document."""
    bands = {name: p.at_hand.band(name, 0.95) for name in LOGS}
    return {
        "infinite_width": {name: getattr(p, name) for name in LOGS},
        "mean": {name: p.at_hand.mean(name) for name in LOGS},
        "median": {name: p.at_hand.median(name) for name in LOGS},
        "band_95": {name: band and {"low": band[0], "high": band[1]} for name, band in bands.items()},
        "band_source": p.band_source,
        **{name: getattr(p, name) for name in NUMBERS},
        "gain_origin": p.gain_origin,
        "precision": {dtype: asdict(events) for dtype, events in p.precision.items()},
        "notes": [{"message_id": n.message_id, "values": n.values, "sentence": n.sentence} for n in p.notes],
    }


def verdict_part(v: gc.Verdict) -> dict[str, Any]:
    """The "verdict" part of a document."""
    fixes = [
        {"code": f.code, "message": str(f.message), "cost": str(f.cost), "changes": f.changes, "spec": to_json(f.spec)}
        for f in v.fixes
    ]
    details = [str(detail) for detail in v.details]
    return {"kind": v.kind, "sentence": v.sentence, "details": details, "numbers": v.numbers, "fixes": fixes}


def verdict_columns(v: gc.Verdict) -> Columns:
    """A row per fix."""
    return {
        "kind": [v.kind for _ in v.fixes],
        "fix": [fix.code for fix in v.fixes],
        "message": [str(fix.message) for fix in v.fixes],
        "cost": [str(fix.cost) for fix in v.fixes],
        "flags": [shlex.join(to_argv(fix.spec)) for fix in v.fixes],
    }


def measured_part(m: gc.Measurement) -> dict[str, Any]:
    """A measurement as a document: every network, and the means."""
    head = {"seed": m.seed, "dtype": m.dtype, "sampler": m.sampler, "networks": m.networks}
    rows = {name: getattr(m, name) for name in (*LOGS, *SHARES)}
    return {**head, **rows, "mean": {name: m.mean(name) for name in LOGS}}


def compared_part(c: gc.Comparison) -> dict[str, Any]:
    """A comparison as a document."""
    names = ("difference", "bias", "standard_error", "allowance", "z", "inside")
    return {**{name: getattr(c, name) for name in names}, "agrees": c.agrees()}


def plain_part(runs: Mapping[str, Any]) -> dict[str, Any]:
    """First layers per network of each plain run."""
    return {dtype: {event: getattr(run, event) for event in PLAIN_EVENTS} for dtype, run in runs.items()}


# --- CSV ---------------------------------------------------------------------------------------------------


def csv_text(columns: Columns) -> str:
    """A CSV table with one header line that states the units; one row per observation."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(np.asarray(column).tolist() for column in columns.values()), strict=True))
    return out.getvalue().rstrip("\n")


def predicted_columns(p: gc.Profile) -> Columns:
    """One row per layer; nan where no band is known."""
    columns: dict[str, Iterable[Any]] = {"layer": range(1, p.spec.depth + 1)}
    for name in LOGS:
        band = p.at_hand.band(name, 0.95) or (np.full(p.spec.depth, math.nan),) * 2
        kinds = {"": getattr(p, name), "_mean": p.at_hand.mean(name), "_median": p.at_hand.median(name)}
        kinds |= {"_low95": band[0], "_high95": band[1]}
        columns |= {f"{name}{kind} [{LN}]": values for kind, values in kinds.items()}
    return columns | {f"{name} [{unit}]": getattr(p, name) for name, unit in NUMBERS.items()}


def measured_columns(m: gc.Measurement) -> Columns:
    """One row per network and layer."""
    depth, count = m.spec.depth, len(m.networks)
    head = {"network": np.repeat(m.networks, depth), "layer": np.tile(np.arange(1, depth + 1), count)}
    units = {**dict.fromkeys(LOGS, LN), **SHARES}
    return {**head, **{f"{name} [{unit}]": getattr(m, name).ravel() for name, unit in units.items()}}


def compared_columns(c: gc.Comparison) -> Columns:
    """One row per quantity and layer; nan where no band is known."""
    depth, names = c.predicted.spec.depth, list(LOGS)

    def stacked(columns: Mapping[str, Array | None]) -> Array:
        known = (columns[name] for name in names)
        return np.concatenate([np.full(depth, math.nan) if column is None else column for column in known])

    return {
        "layer": np.tile(np.arange(1, depth + 1), len(names)),
        "quantity": np.repeat(names, depth),
        f"predicted [{LN}]": stacked({name: c.predicted.at_hand.mean(name) for name in names}),
        f"measured [{LN}]": stacked({name: c.measured.mean(name) for name in names}),
        "standard_error [relative to second moment]": stacked(c.standard_error),
        "allowance [relative to second moment]": stacked(c.allowance),
        "z [standard errors]": stacked(c.z),
        "inside [share of networks in the 95% band]": stacked(c.inside),
    }
