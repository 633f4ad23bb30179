"""A training record reduced to what symptoms are read off: ours, or a user's own as CSV or JSON.

CSV: one line per step with a header; the column "loss" and, each as far as it is there, "step", "grad_1", "grad_2" ...
(norm of a layer's gradient), "weight_1" ... (norm of its weights), "update_1" ... (norm of the update over that of the
weights), "change_1" ... (norm of the weights' change since the start over their norm then), "node_1" ... (largest
gradient of a single node), "saturated_1" ... (share of saturated units).
JSON: an object of the same names, {"loss": [...], "grad": [[layer 1, layer 2, ...] per step], ...}, or a Run.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcore.errors import SpecError
from gradcore.experiments.train_spec import TrainSpec
from gradcore.experiments.training import FORMAT, Run

Array = np.ndarray
LAYERED = ("grad", "weight", "update", "change", "node", "saturated")
MOST_BYTES = 2**26
MOST_LAYERS = 10_000
ALLOWED = (
    'CSV with a header line and a column "loss", beside it "step" and columns such as "grad_1" and "weight_1" for '
    'layer 1; or a JSON object {"loss": [...], "grad": [[...], ...]}'
)


@dataclass(frozen=True, eq=False)
class TrainingLog:
    """What is known of S steps: ``steps`` (S,) their numbers and ``loss`` (S,); ``accuracy`` (S,) or None.

    Per step and layer, (S, L) or None: ``grad`` gradient norms (of our runs the speeds), ``weight`` norms of the
    weights, ``update`` |W' - W| / |W|, ``change`` |W' - W_0| / |W_0|, ``node`` the largest gradient of a node (of our
    runs the largest over nodes of the least so far), ``saturated`` shares (S, hidden layers), ``matrix`` |dC/dW| beside
    the speeds of our runs. ``spec`` of our own runs.
    """

    steps: Array
    loss: Array
    grad: Array | None = None
    weight: Array | None = None
    update: Array | None = None
    change: Array | None = None
    node: Array | None = None
    saturated: Array | None = None
    matrix: Array | None = None
    accuracy: Array | None = None
    spec: TrainSpec | None = None

    def __post_init__(self) -> None:
        if not len(self.loss):
            raise SpecError("record", 0, "at least one step")
        if not (np.abs(self.steps) < 1e15).all():
            wrong = self.steps[~(np.abs(self.steps) < 1e15)][0]
            raise SpecError("record: step", float(wrong), "numbers of steps below 1e15, in every line")

    @classmethod
    def from_run(cls, run: Run) -> TrainingLog:
        """The log of one of our runs. Raises SpecError without a step."""
        if not run.steps:
            raise SpecError("record", 0, "a run of at least one step")
        sources = {
            "grad": "speeds",
            "matrix": "weight_gradients",
            "weight": "weight_norms",
            "update": "update_ratios",
            "change": "weight_changes",
            "node": "node_floors",
            "saturated": "saturated",
        }
        whole = {name: run.series(source) for name, source in sources.items()}
        known = {name: values for name, values in whole.items() if values.ndim == 2 and values.shape[1]}
        return cls(run.series("step"), run.series("loss"), accuracy=run.series("accuracy"), spec=run.spec, **known)


def read_log(name: str, content: str | bytes) -> TrainingLog:
    """The log of a user's file, or of an exported Run, parsed without evaluating anything.

    "nan", "inf" and empty entries are values too. Raises SpecError naming the file, what it holds, what is allowed.
    """
    if len(content) > MOST_BYTES:
        raise SpecError(name, f"{len(content):,} bytes", f"at most {MOST_BYTES:,} bytes")
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content.lstrip("\ufeff")
    except UnicodeDecodeError:
        raise SpecError(name, content[:8], "a text file: " + ALLOWED) from None
    if not text.strip():
        raise SpecError(name, "", ALLOWED)
    return _from_json(name, text) if text.lstrip()[0] in "{[" else _from_csv(name, text)


# --- JSON -----------------------------------------------------------------------------------------------------


def _from_json(name: str, text: str) -> TrainingLog:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(name, str(error)[:60], ALLOWED) from None
    if not isinstance(document, Mapping):
        raise SpecError(name, type(document).__name__, ALLOWED)
    if document.get("format") == FORMAT:
        return TrainingLog.from_run(Run.from_json(text))
    if "loss" not in document:
        raise SpecError(name, ", ".join(map(str, document))[:60], ALLOWED, 'There is no "loss".')
    loss = _column(name, "loss", document["loss"])
    known: dict[str, Any] = {}
    for key in (*LAYERED, "accuracy", "steps"):
        if key in document:
            known[key] = _array(name, key, document[key], len(loss), 2 if key in LAYERED else 1)
    return TrainingLog(known.pop("steps", np.arange(len(loss), dtype=float)), loss, **known)


def _column(name: str, key: str, values: Any) -> Array:
    if not isinstance(values, list) or not values:
        raise SpecError(f"{name}: {key}", values, "a list of numbers, one per step")
    return np.array([_entry(f"{name}: {key}", value) for value in values])


def _array(name: str, key: str, values: Any, steps: int, dims: int) -> Array:
    if not isinstance(values, list) or len(values) != steps:
        found = len(values) if isinstance(values, list) else values
        raise SpecError(f"{name}: {key}", found, f"one entry per step, {steps} as in loss")
    if dims == 1:
        return _column(name, key, values)
    rows = [_column(name, key, row) for row in values]
    if len({len(row) for row in rows}) != 1:
        raise SpecError(f"{name}: {key}", [len(row) for row in rows[:5]], "as many layers in every step")
    return np.array(rows)


def _entry(where: str, value: Any) -> float:
    if value is None or value == "":
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise SpecError(where, value, "numbers, also nan and inf")
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise SpecError(where, value, "numbers, also nan and inf") from None


# --- CSV ------------------------------------------------------------------------------------------------------


def _from_csv(name: str, text: str) -> TrainingLog:
    try:
        rows = [row for row in csv.reader(io.StringIO(text), strict=True) if any(entry.strip() for entry in row)]
    except csv.Error as error:
        raise SpecError(name, str(error), ALLOWED) from None
    heads = [head.strip().lower() for head in rows[0]]
    if "loss" not in heads:
        raise SpecError(name, ",".join(heads)[:60], ALLOWED, 'There is no column "loss".')
    if len(set(heads)) != len(heads):
        raise SpecError(name, ",".join(heads)[:60], "each column once")
    if len(rows) < 2:
        raise SpecError(name, "a header alone", "at least one line of numbers")
    for line, row in enumerate(rows[1:], 2):
        if len(row) != len(heads):
            raise SpecError(f"{name}: line {line}", f"{len(row)} entries", f"{len(heads)} entries, as in the header")
    wanted = _places(name, heads)
    columns = {
        key: np.array([[_entry(f"{name}: {heads[p]}", row[p].strip()) for p in places] for row in rows[1:]])
        for key, places in wanted.items()
    }
    known: dict[str, Any] = {key: columns[key] for key in LAYERED if key in columns}
    if "accuracy" in columns:
        known["accuracy"] = columns["accuracy"][:, 0]
    steps = columns["step"][:, 0] if "step" in columns else np.arange(len(rows) - 1, dtype=float)
    return TrainingLog(steps, columns["loss"][:, 0], **known)


def _places(name: str, heads: list[str]) -> dict[str, list[int]]:
    """The columns of every quantity, layer 1 first; other columns are left alone."""
    wanted = {key: [heads.index(key)] for key in ("loss", "step", "accuracy") if key in heads}
    for key in LAYERED:
        found = {int(m[1]): p for p, head in enumerate(heads) if (m := re.fullmatch(rf"{key}_(\d{{1,5}})", head))}
        if not found:
            continue
        if sorted(found) != list(range(1, len(found) + 1)) or len(found) > MOST_LAYERS:
            raise SpecError(name, f"{key} of layers {sorted(found)[:8]}", f"{key}_1, {key}_2, ... without a gap")
        wanted[key] = [found[layer] for layer in range(1, len(found) + 1)]
    return wanted
