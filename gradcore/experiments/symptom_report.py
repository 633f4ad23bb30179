"""Every symptom of a record: found, not seen, or what the record would have to hold for it to be judged.

for entry in report(read_log("mine.csv", text)):
    print(entry.code, entry.title, entry.found or entry.missing or "not seen")
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gradcore.experiments.symptoms import FEWEST, SYMPTOMS, Symptom, find_symptoms
from gradcore.experiments.training_log import TrainingLog
from gradcore.words import Message


@dataclass(frozen=True, eq=False)
class Entry:
    """One symptom of the table: its ``title``; ``found`` where the record shows it, ``missing`` where it cannot be
    judged; neither: it was looked for and not seen."""

    code: str
    title: Message
    found: Symptom | None
    missing: Message | None


TITLES = {
    "loss_flat": "The loss does not improve",
    "loss_jumps": "The loss jumps between steps",
    "loss_nan": "The loss is nan or infinite",
    "weights_jump": "Weights change by a large factor in a step",
    "weights_nan": "Weights are nan or infinite",
    "gradient_large": "A layer's gradient norm stays above 1",
    "node_large": "A single node's gradient stays above 1",
    "gradient_grows": "Gradients grow towards the input",
    "first_layer_slow": "The first layer learns orders slower than the last",
    "first_weights_unchanged": "The first weights are practically unchanged",
    "gradient_zero": "A layer's gradient is exactly zero",
    "saturated": "Units are saturated",
}


def _columns(names: str) -> Message:
    return Message("symptom_needs_columns", "the record has no {columns}", {"columns": names})


def _steps(count: int) -> Message:
    return Message("symptom_needs_steps", "the record has fewer than {count} steps", {"count": str(count)})


def _layers(count: int) -> Message:
    return Message(
        "symptom_needs_layers", "the record has gradients of fewer than {count} layers", {"count": str(count)}
    )


def _spread(log: TrainingLog) -> Message | None:
    if log.grad is None:
        return _columns("grad_1, grad_2, …")
    return _layers(3) if log.grad.shape[1] < 3 else None


def _throughout(name: str) -> Callable[[TrainingLog], Message | None]:
    def missing(log: TrainingLog) -> Message | None:
        if getattr(log, name) is None:
            return _columns(f"{name}_1, {name}_2, …")
        return _steps(FEWEST) if len(log.loss) < FEWEST else None

    return missing


def _finite_steps(log: TrainingLog) -> Message | None:
    return _steps(FEWEST) if int(np.isfinite(log.loss).sum()) < FEWEST else None


MISSING: dict[str, Callable[[TrainingLog], Message | None]] = {
    "loss_flat": _finite_steps,
    "loss_jumps": lambda log: _steps(3) if len(log.loss) < 3 else None,
    "loss_nan": lambda log: None,
    "weights_jump": lambda log: _columns("update_1, … or weight_1, …") if log.update is log.weight is None else None,
    "weights_nan": lambda log: (
        _columns("weight_1, …, update_1, … or change_1, …") if log.weight is log.update is log.change is None else None
    ),
    "gradient_large": _throughout("grad"),
    "node_large": _throughout("node"),
    "gradient_grows": _spread,
    "first_layer_slow": _spread,
    "first_weights_unchanged": _throughout("change"),
    "gradient_zero": lambda log: _columns("grad_1, grad_2, …") if log.grad is None else None,
    "saturated": lambda log: _columns("saturated_1, saturated_2, …") if log.saturated is None else None,
}


def report(log: TrainingLog) -> tuple[Entry, ...]:
    """All symptoms of the table: those found first, the worst of them first, then the others in the table's order."""
    found = {symptom.code: symptom for symptom in find_symptoms(log)}
    codes = [*found, *(code for code in SYMPTOMS if code not in found)]
    return tuple(
        Entry(
            code,
            Message(f"symptom_title_{code}", TITLES[code]),
            found.get(code),
            None if code in found else MISSING[code](log),
        )
        for code in codes
    )
