"""Training a classifier, step by step, with the learning speed of every layer (Nielsen 2015, ch. 5).

    data = digits()
    run = Run.of(spec, data)
    for step in train(spec, data):      # one TrainStep per update: draw it, or stop here
        run.add(step)
    run.series("speeds")                # (steps, L)

A run is a record (JSON); a cancelled one keeps what it had. torch is loaded by ``train`` alone.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradcore.errors import SpecError
from gradcore.experiments.data import Dataset
from gradcore.experiments.train_spec import TrainSpec
from gradcore.words import Message, number_text

Array = np.ndarray
FORMAT = "gradcore.run"


@dataclass(frozen=True)
class Stop:
    """Why a run ended early: ``quantity`` ("signal", "cost", "gradient" or "weights") of ``layer`` (1-based; None for
    the cost) became ``value`` (inf, -inf or nan) at ``step``. ``remedies``: codes of gradcore.experiments.remedies."""

    step: int
    layer: int | None
    quantity: str
    value: float
    remedies: tuple[str, ...] = ("smaller_learning_rate", "clip_norm", "initialization")

    @property
    def message(self) -> Message:
        """The same as a sentence."""
        values: dict[str, str | Message] = {"step": str(self.step), "value": str(self.value)}
        if self.layer is None:
            return Message("stopped_cost", "Training stopped at step {step}: the cost is {value}.", values)
        template = STOPS[self.quantity]
        return Message(f"stopped_{self.quantity}", template, {**values, "layer": str(self.layer)})


STOPS = {
    "signal": "Training stopped at step {step}: the pre-activations of layer {layer} are {value}.",
    "gradient": "Training stopped at step {step}: the gradient of layer {layer} is {value}.",
    "weights": "Training stopped at step {step}: the weights of layer {layer} are {value} after the update.",
}


@dataclass(frozen=True)
class TrainStep:
    """One update k = 0, 1, ..., seen on its batch before the weights move, unless said. Norms are Euclidean.

    ``loss`` the cost C, ``penalty`` of the weights beside it, ``accuracy`` share of items. Per layer l = 1..L:
    ``speeds`` |dC/db^l| (of the mean over items; of the shift of a batch norm where that makes b^l void),
    ``weight_gradients`` |dC/dW^l|, ``weight_norms`` |W^l|, ``update_ratios`` |W' - W| / |W| of this update,
    ``weight_changes`` |W' - W_0| / |W_0| since the start, ``node_peaks`` the largest |dC/db_i^l| of a node,
    ``node_floors`` the largest over nodes of the least |dC/db_i^l| so far. Per hidden layer l = 1..L-1: ``saturated``
    share of units and items with |phi'| < 0.05 max |phi'|, ``factors_above_one`` share of |W^(l+1)_ij phi'(z_j^l)| > 1.

    Of all gradients together, penalties that are clipped included: ``norm`` before clipping (Euclidean),
    ``clip_norm`` before clipping in the norm that is clipped, ``norm_after``, whether it was ``clipped``, ``cosine``
    to the unclipped gradient. ``neurons`` dC/db^l of the layers asked for. ``stop``: the run ends here.
    """

    step: int
    epoch: float
    loss: float
    penalty: float = 0.0
    accuracy: float = math.nan
    speeds: tuple[float, ...] = ()
    weight_gradients: tuple[float, ...] = ()
    weight_norms: tuple[float, ...] = ()
    update_ratios: tuple[float, ...] = ()
    weight_changes: tuple[float, ...] = ()
    node_peaks: tuple[float, ...] = ()
    node_floors: tuple[float, ...] = ()
    saturated: tuple[float, ...] = ()
    factors_above_one: tuple[float, ...] = ()
    norm: float = math.nan
    clip_norm: float = math.nan
    norm_after: float = math.nan
    clipped: bool = False
    cosine: float = math.nan
    neurons: tuple[tuple[float, ...], ...] = ()
    stop: Stop | None = None


SERIES = tuple(f.name for f in dataclasses.fields(TrainStep) if f.name not in ("neurons", "stop"))


@dataclass
class Run:
    """What a run left: its question, its data (``name``, ``items``, ``pixels``, ``classes``, ``digest``), the
    ``versions`` of what computed it, the number of steps that were ``planned``, and every step."""

    spec: TrainSpec
    data: dict[str, Any]
    versions: dict[str, str] = field(default_factory=dict)
    planned: int = 0
    steps: list[TrainStep] = field(default_factory=list)

    @classmethod
    def of(cls, spec: TrainSpec, data: Dataset) -> Run:
        """The empty record of a run that is about to start."""
        about = {name: getattr(data, name) for name in ("name", "items", "pixels", "classes", "digest")}
        return cls(spec, about, _versions(), spec.steps_on(data))

    def add(self, step: TrainStep) -> None:
        """Keep one more step."""
        self.steps.append(step)

    def series(self, name: str) -> Array:
        """(steps,) or (steps, layers) of one field of TrainStep, nan where a stopped step has none. Raises
        SpecError."""
        if name not in SERIES:
            raise SpecError("name", name, "one of " + ", ".join(SERIES))
        values = [getattr(step, name) for step in self.steps]
        sizes = [len(v) for v in values if isinstance(v, tuple)]
        if sizes:
            values = [v if len(v) else (math.nan,) * max(sizes) for v in values]
        return np.array(values, dtype=float)

    @property
    def stop(self) -> Stop | None:
        """Why the run ended early; None where it did not."""
        return self.steps[-1].stop if self.steps else None

    @property
    def finished(self) -> bool:
        """Whether it came to its end: all steps that were planned, or a stop. Else it was cancelled."""
        return self.stop is not None or len(self.steps) >= self.planned

    @property
    def share_clipped(self) -> float:
        """Share of the steps that were clipped; nan without steps."""
        return float(np.mean([step.clipped for step in self.steps])) if self.steps else math.nan

    def to_json(self) -> str:
        """The record as JSON text; numbers that JSON does not have (inf, nan) are texts."""
        steps = [_step_json(step) for step in self.steps]
        about = {
            "format": FORMAT,
            "versions": self.versions,
            "spec": self.spec.to_json(),
            "data": self.data,
            "planned": self.planned,
        }
        return json.dumps(_plain({**about, "steps": steps}), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Run:
        """The record of a JSON text. Raises SpecError where it is not one."""
        try:
            document = json.loads(text)
            if document.get("format") != FORMAT:
                raise ValueError(f'"format" is {document.get("format")!r}')
            steps = [_step_of(row) for row in document["steps"]]
            spec, data = TrainSpec.from_json(document["spec"]), dict(document["data"])
            versions = {str(k): str(v) for k, v in document["versions"].items()}
            return cls(spec, data, versions, int(document["planned"]), steps)
        except SpecError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            allowed = f'JSON with "format": "{FORMAT}", spec, data, versions and steps, as Run.to_json makes'
            raise SpecError("record", _found(error), allowed) from None


def _found(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:60]


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("gradcore", "torch", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def _step_json(step: TrainStep) -> dict[str, Any]:
    """The fields that differ from their defaults."""
    out = {}
    for f in dataclasses.fields(step):
        value = getattr(step, f.name)
        if f.default is dataclasses.MISSING or not _same(value, f.default):
            out[f.name] = dataclasses.asdict(value) if isinstance(value, Stop) else value
    return out


def _same(value: Any, default: Any) -> bool:
    return value == default or (value != value and default != default)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{name} = {value!r}")
    return float(value)


def _step_of(row: Mapping[str, Any]) -> TrainStep:
    known = {f.name: f.default for f in dataclasses.fields(TrainStep)}
    out: dict[str, Any] = {}
    for name, value in row.items():
        if name not in known:
            raise ValueError(f"no field {name!r}")
        if name == "stop":
            layer = value["layer"]
            out[name] = Stop(
                int(value["step"]),
                None if layer is None else int(layer),
                str(value["quantity"]),
                _number("value", value["value"]),
                tuple(str(code) for code in value["remedies"]),
            )
        elif name == "neurons":
            out[name] = tuple(tuple(_number(name, v) for v in layer) for layer in value)
        elif name == "clipped":
            out[name] = bool(value)
        elif name == "step":
            out[name] = int(value)
        else:
            many = isinstance(known[name], tuple)
            out[name] = tuple(_number(name, v) for v in value) if many else _number(name, value)
    return TrainStep(**out)


def train(
    spec: TrainSpec,
    data: Dataset,
    *,
    neurons: Iterable[int] = (),
    beat: Callable[[], None] | None = None,
) -> Iterator[TrainStep]:
    """Train, yielding a TrainStep per update; pause by not asking for the next, stop by leaving the loop.

    Weights and biases: those of ``spec.sized(data).build(spec.seed)``; the same spec and data give the same numbers.
    The run ends after ``spec.steps_on(data)`` updates, or where cost, gradient or weights stop being numbers
    (``TrainStep.stop``). ``neurons``: layers (1-based) whose dC/db each step keeps. ``beat`` is called while waiting
    for a free core and between the layers of a step; an exception that it raises ends ``next``, and the next ``next``
    makes that step again. Raises SpecError, UnsupportedError.
    """
    if not isinstance(spec, TrainSpec):
        raise SpecError("spec", spec, "a TrainSpec", "Make one with TrainSpec(network=...).")
    if not isinstance(data, Dataset):
        raise SpecError("data", data, "a Dataset", "gradcore.experiments.data.digits() is one.")
    asked = tuple(neurons)
    for layer in asked:
        if isinstance(layer, bool) or not isinstance(layer, int) or not 1 <= layer <= spec.network.depth:
            raise SpecError("neurons", layer, f"layers from 1 to {spec.network.depth}")
    from gradcore.experiments.training_loop import Loop

    return Loop(spec, data, asked).steps(beat)


def train_all(
    spec: TrainSpec, data: Dataset, *, neurons: Iterable[int] = (), progress: Callable[[int, int], Any] | None = None
) -> Run:
    """The whole run at once; ``progress(done, total)`` is called after each step."""
    run, total = Run.of(spec, data), spec.steps_on(data)
    for step in train(spec, data, neurons=neurons):
        run.add(step)
        if progress is not None:
            progress(step.step + 1, total)
    return run


@dataclass(frozen=True)
class RunComparison:
    """A changed run beside a plain one of the same seed. ``lift_at_start`` and ``lift``: factor on the first layer's
    speed at the first step, and in the geometric mean over the steps that both have (nan without; inf from zero);
    ``spread_plain``, ``spread`` the last hidden layer's speed over the first's at the first step; ``loss_plain``,
    ``loss``, ``accuracy_plain``, ``accuracy`` at the last common step."""

    lift_at_start: float
    lift: float
    spread_plain: float
    spread: float
    loss_plain: float
    loss: float
    accuracy_plain: float
    accuracy: float

    @property
    def message(self) -> Message:
        """What the change does to the first layer, in a sentence."""
        text = "The first layer learns ×{lift} as fast at the start, ×{mean} over the run."
        values = {"lift": _factor(self.lift_at_start), "mean": _factor(self.lift)}
        return Message("run_comparison", text, values)


def _factor(value: float) -> str:
    return number_text(math.log10(value) if value > 0 else (-math.inf if value == 0 else math.nan))


def compare_runs(plain: Run, changed: Run) -> RunComparison:
    """What a change did. Raises SpecError where a run has no step or the two have different data."""
    for name, run in (("plain", plain), ("changed", changed)):
        if not run.steps or not run.steps[0].speeds:
            raise SpecError(name, len(run.steps), "a run of at least one whole step")
    if plain.data.get("digest") != changed.data.get("digest"):
        raise SpecError("changed", changed.data, f"a run on the same data, {plain.data}")
    common = min(len(plain.steps), len(changed.steps))
    a, b = (run.series("speeds")[:common] for run in (plain, changed))
    usable = np.isfinite(a[:, 0]) & np.isfinite(b[:, 0])
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(b[usable, 0]) - np.log(a[usable, 0])
        lift = float(np.exp(logs.mean())) if logs.size else math.nan
        start = float(np.divide(b[0, 0], a[0, 0]))
        spread_plain, spread = (float(np.divide(s[0, max(s.shape[1] - 2, 0)], s[0, 0])) for s in (a, b))
    p, c = plain.steps[common - 1], changed.steps[common - 1]
    return RunComparison(start, lift, spread_plain, spread, p.loss, c.loss, p.accuracy, c.accuracy)
