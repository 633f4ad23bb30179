"""Symptoms of exploding and vanishing gradients in a training record, each with its evidence and its remedies.

for symptom in find_symptoms(TrainingLog.from_run(run)):   # or read_log("mine.csv", text)
    print(symptom, symptom.evidence, [r.code for r in symptom.remedies])
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcore.errors import SpecError, UnsupportedError
from gradcore.experiments.remedies import REMEDIES
from gradcore.experiments.train_spec import TrainSpec
from gradcore.experiments.training_log import TrainingLog
from gradcore.words import Message, number_text

Array = np.ndarray

FLAT = 0.01  # of the first loss: what a run must gain at least to improve
FEWEST = 10  # steps that a record needs before anything is said of its course
LEARNED = 0.9  # accuracy from which a flat loss is no complaint
JUMP, NOISE = 1.5, 10.0  # a jump multiplies the loss by the one and is this many typical changes high
LARGE_UPDATE = 0.5  # of the weights' norm in one step; healthy training moves them by about 1e-3
HUGE_UPDATE = 1.0
ABOVE = 1.0  # gradient norm that stays above this throughout
SLOW, VERY_SLOW = 30.0, 300.0  # the last hidden layer's gradient over the first's, median over steps
UNCHANGED = 0.01  # relative change of a layer's weights over the whole run ...
MOVED = 10.0  # ... while another layer's changed this many times as much
SATURATED, MOSTLY = 0.5, 0.9  # share of a layer's units on flat pieces
SEVERITIES = ("mild", "serious", "fatal")


@dataclass(frozen=True)
class Evidence:
    """Where it shows: ``layer`` (1-based, None for the whole network), ``step`` of the record, ``value`` there."""

    layer: int | None
    step: int
    value: float


@dataclass(frozen=True, eq=False)
class Prescription:
    """A remedy that applies: ``code`` of gradcore.experiments.remedies, its ``message``, and ``changes``, the fields of
    TrainSpec or Spec that it sets (empty for a user's own record, whose spec is not known)."""

    code: str
    message: Message
    changes: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Symptom:
    """One symptom: ``code``, ``kind`` ("exploding", "vanishing" or "either"), ``severity`` (mild, serious, fatal),
    the ``message``, all ``evidence`` (the strongest first) and ``remedies``."""

    code: str
    kind: str
    severity: str
    message: Message
    evidence: tuple[Evidence, ...]
    remedies: tuple[Prescription, ...]

    def __str__(self) -> str:
        return str(self.message)


Found = tuple[str, Message, list[Evidence]]  # severity, message, evidence
Look = Callable[[TrainingLog], "Found | None"]


@dataclass(frozen=True)
class _Entry:
    code: str
    kind: str
    remedies: tuple[str, ...]
    look: Look


SYMPTOMS: dict[str, _Entry] = {}


def _add(code: str, kind: str, *remedies: str) -> Callable[[Look], Look]:
    def register(look: Look) -> Look:
        SYMPTOMS[code] = _Entry(code, kind, remedies, look)
        return look

    return register


def find_symptoms(log: TrainingLog) -> tuple[Symptom, ...]:
    """The symptoms that a record shows, the worst first."""
    return tuple(sorted(_found(log), key=lambda symptom: -SEVERITIES.index(symptom.severity)))


def _found(log: TrainingLog) -> Iterator[Symptom]:
    for entry in SYMPTOMS.values():
        found = entry.look(log)
        if found is not None:
            severity, message, evidence = found
            remedies = tuple(_prescriptions(entry.remedies, log.spec))
            yield Symptom(entry.code, entry.kind, severity, message, tuple(evidence), remedies)


def _prescriptions(codes: tuple[str, ...], spec: TrainSpec | None) -> Iterator[Prescription]:
    """Those that fit the run and change something."""
    for code in codes:
        remedy, changes = REMEDIES[code], {}
        if spec is not None:
            try:
                changes, changed = remedy.change(spec), remedy.apply(spec)
            except (UnsupportedError, SpecError):
                continue
            if changed == spec:
                continue
        yield Prescription(code, remedy.title, changes)


def _text(value: float) -> str:
    if math.isnan(value):
        return "nan"
    sign = "-" if value < 0 else ""
    return sign + number_text(math.log10(abs(value)) if value else -math.inf)


def _said(code: str, template: str, evidence: Evidence, **more: str) -> Message:
    values = {"layer": str(evidence.layer), "step": str(evidence.step), "value": _text(evidence.value), **more}
    return Message(f"symptom_{code}", template, {k: v for k, v in values.items() if "{" + k + "}" in template})


def _at(log: TrainingLog, row: int, layer: int | None, value: float) -> Evidence:
    return Evidence(layer, int(log.steps[row]), float(value))


# --- the loss ---------------------------------------------------------------------------------------------------

_EXPLODING = ("smaller_learning_rate", "clip_norm", "initialization", "batch_norm", "l2")
_VANISHING = ("relu_kaiming", "residual", "batch_norm", "fewer_layers", "adam")


@_add("loss_flat", "either", "relu_kaiming", "initialization", "batch_norm", "residual", "adam")
def _loss_flat(log: TrainingLog) -> Found | None:
    """Over the whole record; where the accuracy is known, and low, also over its second half."""
    loss = log.loss[np.isfinite(log.loss)]
    if len(loss) < FEWEST or (log.accuracy is not None and np.nanmax(log.accuracy) >= LEARNED):
        return None
    whole = _stuck(log, loss, 0, "The loss does not improve: {first} in the first steps, {value} at step {step}.")
    if whole is not None or log.accuracy is None or len(loss) < 2 * FEWEST:
        return whole
    text = "The loss is stuck: {first} half way, {value} at step {step}."
    return _stuck(log, loss, len(loss) // 2, text)


def _stuck(log: TrainingLog, loss: Array, start: int, text: str) -> Found | None:
    loss = loss[start:]
    part = max(1, len(loss) // 10)
    early, late = min(float(loss[0]), float(np.median(loss[:part]))), float(np.median(loss[-part:]))
    gained = (early - late) / abs(early) if early else 0.0
    if gained >= FLAT:
        return None
    evidence = _at(log, len(log.loss) - 1, None, late)
    return "serious", _said("loss_flat" if not start else "loss_stuck", text, evidence, first=_text(early)), [evidence]


@_add("loss_jumps", "exploding", *_EXPLODING)
def _loss_jumps(log: TrainingLog) -> Found | None:
    loss = log.loss
    if len(loss) < 3:
        return None
    with np.errstate(invalid="ignore"):
        change = np.diff(loss)
        typical = float(np.nanmedian(np.abs(change))) if np.isfinite(change).any() else math.nan
        jumps = np.flatnonzero((loss[1:] > JUMP * loss[:-1]) & (change > NOISE * typical) & (loss[:-1] > 0))
    if not jumps.size:
        return None
    ratios = loss[jumps + 1] / loss[jumps]
    order = np.argsort(-ratios)
    evidence = [_at(log, int(jumps[i]) + 1, None, float(ratios[i])) for i in order]
    text = "The loss jumps {count} times between two steps; the worst is ×{value}, at step {step}."
    severity = "serious" if len(jumps) > 1 or ratios.max() > 10 else "mild"
    return severity, _said("loss_jumps", text, evidence[0], count=str(len(jumps))), evidence


@_add("loss_nan", "exploding", *_EXPLODING)
def _loss_nan(log: TrainingLog) -> Found | None:
    broken = np.flatnonzero(~np.isfinite(log.loss))
    if not broken.size:
        return None
    evidence = _at(log, int(broken[0]), None, float(log.loss[broken[0]]))
    return "fatal", _said("loss_nan", "The loss is {value} from step {step} on.", evidence), [evidence]


# --- weights ----------------------------------------------------------------------------------------------------


@_add("weights_jump", "exploding", *_EXPLODING)
def _weights_jump(log: TrainingLog) -> Found | None:
    """A step that changes a layer's weights by a large part of their norm."""
    ratio = log.update if log.update is not None else _growth(log.weight)
    if ratio is None or not np.nanmax(np.where(np.isfinite(ratio), ratio, 0.0), initial=0.0) > LARGE_UPDATE:
        return None
    evidence = _worst(log, ratio, LARGE_UPDATE)
    severity = "serious" if evidence[0].value > HUGE_UPDATE else "mild"
    text = "The weights of layer {layer} change by {value} times their norm in one step (step {step})."
    return severity, _said("weights_jump", text, evidence[0]), evidence


def _growth(weight: Array | None) -> Array | None:
    """The least that an update can have been, from the weights' norms alone: their relative change."""
    if weight is None:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.abs(np.diff(weight, axis=0)) / weight[:-1]
    return np.vstack([change, np.zeros((1, weight.shape[1]))])


@_add("weights_nan", "exploding", *_EXPLODING)
def _weights_nan(log: TrainingLog) -> Found | None:
    known = [values for values in (log.weight, log.update, log.change) if values is not None]
    if not known:
        return None
    rows = [int(np.argmax(broken.any(axis=1))) for v in known if (broken := ~np.isfinite(v)).any()]
    rows = [row for row in rows if not _stopped_before(log, known, row)]
    if not rows:
        return None
    row = min(rows)
    values = next(v for v in known if not np.isfinite(v[row]).all())
    layer = int(np.argmax(~np.isfinite(values[row])))
    evidence = _at(log, row, layer + 1, values[row, layer])
    text = "The weights of layer {layer} are {value} at step {step}."
    return "fatal", _said("weights_nan", text, evidence), [evidence]


def _stopped_before(log: TrainingLog, known: list[Array], row: int) -> bool:
    """A last step of ours that ended before its update has no weights to speak of: nan in every layer."""
    return log.spec is not None and row == len(log.loss) - 1 and all(np.isnan(v[row]).all() for v in known)


# --- gradients --------------------------------------------------------------------------------------------------


def _throughout(log: TrainingLog, values: Array | None, code: str, text: str) -> Found | None:
    """Layers whose value is above ABOVE in every step."""
    if values is None or len(values) < FEWEST:
        return None
    whole = values[np.isfinite(values).all(axis=1)]
    if len(whole) < FEWEST:
        return None
    least = whole.min(axis=0)
    layers = [int(layer) for layer in np.argsort(-least) if least[layer] > ABOVE]
    if not layers:
        return None
    evidence = []
    for layer in layers:
        rows = np.flatnonzero(values[:, layer] == least[layer])
        evidence.append(_at(log, int(rows[0]), layer + 1, least[layer]))
    severity = "serious" if evidence[0].value > 10.0 * ABOVE else "mild"
    return severity, _said(code, text, evidence[0], limit=_text(ABOVE)), evidence


@_add("gradient_large", "exploding", *_EXPLODING)
def _gradient_large(log: TrainingLog) -> Found | None:
    text = "The gradient of layer {layer} has a norm above {limit} throughout; its least is {value}, at step {step}."
    return _throughout(log, log.grad if log.matrix is None else log.matrix, "gradient_large", text)


@_add("node_large", "exploding", *_EXPLODING)
def _node_large(log: TrainingLog) -> Found | None:
    text = "A node of layer {layer} has a gradient above {limit} throughout; its least is {value}, at step {step}."
    return _throughout(log, log.node, "node_large", text)


@_add("gradient_grows", "exploding", *_EXPLODING)
def _gradient_grows(log: TrainingLog) -> Found | None:
    """The first layer's gradient orders above the last hidden layer's: it explodes on its way back."""
    spread, row = min(_spreads(log), default=(math.nan, 0))
    if not spread < 1.0 / SLOW:
        return None
    evidence = _at(log, row, 1, 1.0 / spread if spread else math.inf)
    text = "The gradient explodes backwards: layer {layer} gets ×{value} that of layer {last} (step {step})."
    severity = "serious" if spread < 1.0 / VERY_SLOW else "mild"
    return severity, _said("gradient_grows", text, evidence, last=str(_last_hidden(log))), [evidence]


@_add("first_layer_slow", "vanishing", *_VANISHING)
def _first_layer_slow(log: TrainingLog) -> Found | None:
    spread, row = max(_spreads(log), default=(math.nan, 0))
    if not SLOW < spread < math.inf:  # exactly zero is a symptom of its own
        return None
    evidence = _at(log, row, 1, 1.0 / spread)
    text = "The first layer learns at {value} of the speed of layer {last} (step {step}): the gradient vanishes."
    severity = "serious" if spread > VERY_SLOW else "mild"
    return severity, _said("first_layer_slow", text, evidence, last=str(_last_hidden(log))), [evidence]


def _last_hidden(log: TrainingLog) -> int:
    assert log.grad is not None
    return max(log.grad.shape[1] - 1, 1)


def _spreads(log: TrainingLog) -> list[tuple[float, int]]:
    """(the last hidden layer's gradient over the first's, the step nearest to it): its median over all steps, and over
    the first tenth of them, as a run that is stuck forgets how it came there."""
    if log.grad is None or log.grad.shape[1] < 3:
        return []
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = log.grad[:, _last_hidden(log) - 1] / log.grad[:, 0]
    usable = np.flatnonzero(np.isfinite(log.grad).all(axis=1) & ~np.isnan(ratio))
    out = []
    for rows in (usable, usable[: max(1, len(usable) // 10)]):
        if rows.size:
            row = int(rows[np.argsort(ratio[rows])[(rows.size - 1) // 2]])
            out.append((float(ratio[row]), row))
    return out


@_add("first_weights_unchanged", "vanishing", *_VANISHING)
def _first_weights_unchanged(log: TrainingLog) -> Found | None:
    if log.change is None or len(log.change) < FEWEST:
        return None
    rows = np.flatnonzero(np.isfinite(log.change).all(axis=1))
    if not rows.size:
        return None
    row, last = int(rows[-1]), log.change[rows[-1]]
    if not (last[0] < UNCHANGED and last.max() > MOVED * last[0]):
        return None
    evidence = [_at(log, row, i + 1, last[i]) for i in range(len(last)) if last[i] < UNCHANGED]
    most = int(np.argmax(last))
    text = (
        "The weights of layer {layer} have changed by {value} times their norm up to step {step}; those of layer "
        "{most} by {moved}."
    )
    values = {"most": str(most + 1), "moved": _text(float(last[most]))}
    severity = "serious" if last[0] < 0.1 * UNCHANGED else "mild"
    return severity, _said("first_weights_unchanged", text, evidence[0], **values), evidence


@_add("gradient_zero", "vanishing", "relu_kaiming", "initialization", "batch_norm", "residual")
def _gradient_zero(log: TrainingLog) -> Found | None:
    """A layer whose gradient is exactly zero: dead units, or underflow."""
    if log.grad is None:
        return None
    zero = np.argwhere(log.grad == 0.0)
    if not len(zero):
        return None
    row, layer = (int(n) for n in zero[0])
    evidence = _at(log, row, layer + 1, 0.0)
    text = "The gradient of layer {layer} is exactly zero at step {step}: it learns nothing."
    return "serious", _said("gradient_zero", text, evidence), [evidence]


@_add("saturated", "vanishing", "relu_kaiming", "initialization", "batch_norm", "smaller_learning_rate")
def _saturated(log: TrainingLog) -> Found | None:
    limit = _saturated_limit(log.spec)
    evidence = [] if log.saturated is None else _worst(log, log.saturated, limit)
    if not evidence:
        return None
    text = "Saturated: {percent} of the units of layer {layer} sit where the activation is flat (step {step})."
    severity = "serious" if evidence[0].value > MOSTLY else "mild"
    percent = f"{100 * evidence[0].value:.0f}%"
    return severity, _said("saturated", text, evidence[0], percent=percent), evidence


def _saturated_limit(spec: TrainSpec | None) -> float:
    """Where one side of the activation is flat, as of a ReLU, half of the units sit there in a healthy network."""
    if spec is None:
        return MOSTLY  # it may be a ReLU
    return SATURATED if spec.network.activation_entry.tails(spec.network.slope) == (0.0, 0.0) else MOSTLY


def _worst(log: TrainingLog, values: Array, limit: float) -> list[Evidence]:
    """The worst step of every layer that is above the limit, the worst layer first."""
    usable = np.where(np.isfinite(values), values, -math.inf)
    rows = usable.argmax(axis=0)
    tops = usable[rows, np.arange(usable.shape[1])]
    order = [int(layer) for layer in np.argsort(-tops) if tops[layer] > limit]
    return [_at(log, int(rows[layer]), layer + 1, tops[layer]) for layer in order]
