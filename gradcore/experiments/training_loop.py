"""The torch side of ``gradcore.experiments.training``: one update after the other, and what is read off it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from gradcore.experiments.clipping import TORCH_EPS
from gradcore.experiments.costs import COSTS
from gradcore.experiments.training import Stop, TrainStep
from gradcore.measure.blocks import Layer
from gradcore.measure.classifier import build_classifier
from gradcore.measure.network import DTYPES
from gradcore.measure.turns import one_intra_op_thread
from gradcore.theory.gaussian import moments_of

if TYPE_CHECKING:
    from gradcore.experiments.data import Dataset
    from gradcore.experiments.train_spec import TrainSpec

SEEN = 64  # items on which the factors W phi' are looked at ...
MOST_FACTORS = 2**20  # ... fewer of them where the matrix is large
_OPTIMIZERS: dict[str, Callable[[list[dict[str, Any]], TrainSpec], torch.optim.Optimizer]] = {
    "sgd": lambda groups, spec: torch.optim.SGD(groups, lr=spec.learning_rate),
    "momentum": lambda groups, spec: torch.optim.SGD(groups, lr=spec.learning_rate, momentum=spec.momentum),
    "adam": lambda groups, spec: torch.optim.Adam(groups, lr=spec.learning_rate),
    "adamw": lambda groups, spec: torch.optim.AdamW(groups, lr=spec.learning_rate),
}
_CLIPS: dict[str, Callable[[list[nn.Parameter], TrainSpec], Any]] = {
    "none": lambda parameters, spec: None,
    "norm": lambda parameters, spec: nn.utils.clip_grad_norm_(parameters, spec.clip_limit, spec.clip_norm_type),
    "value": lambda parameters, spec: nn.utils.clip_grad_value_(parameters, spec.clip_limit),
}


class Loop:
    """One run: the model, its optimizer and the data as tensors."""

    def __init__(self, spec: TrainSpec, data: Dataset, neurons: tuple[int, ...]) -> None:
        self.spec, self.data, self.neurons = spec, data, neurons
        sized = spec.sized(data)
        self.batches = spec.batches(data)
        self.model = build_classifier(spec.network, sized, spec.inner(), spec.seed, spec.dtype)
        self.weights = [cast(nn.Parameter, linear.weight) for linear in self.model.linears]
        self.shifts = [self.model.shift(index) for index in range(len(self.weights))]
        self.parameters = list(self.model.parameters())
        self.start = [weight.detach().clone() for weight in self.weights]
        own = {id(weight) for weight in self.weights}
        rest = [parameter for parameter in self.parameters if id(parameter) not in own]
        groups: list[dict[str, Any]] = [
            {"params": self.weights, "weight_decay": spec.l2},
            {"params": rest, "weight_decay": 0.0},
        ]
        self.optimizer = _OPTIMIZERS[spec.optimizer](groups, spec)
        self.inputs = torch.tensor(data.inputs, dtype=DTYPES[spec.dtype])
        self.targets = torch.tensor(data.targets, dtype=DTYPES[spec.dtype])
        self.floors: list[Tensor] = []
        moments = moments_of(spec.network.activation, spec.network.slope)
        self.small = 0.05 * float(np.abs(moments.derivative(np.linspace(-40, 40, 8001))).max())

    def steps(self, beat: Callable[[], None] | None = None) -> Updates:
        """A TrainStep per update, on one thread each; between them nothing is held."""
        return Updates(self, beat)

    def update(self, k: int, beat: Callable[[], None] | None = None) -> TrainStep:
        """Update k. ``beat`` is called between the layers while cost and gradients are computed; an exception that it
        raises leaves weights and optimizer as they were."""
        spec, seen = self.spec, self._seen(k, beat)
        if seen["stop"] is not None:
            return TrainStep(**seen)
        clipping = self._clip()
        before = [weight.detach().clone() for weight in self.weights]
        self.optimizer.step()
        old = [_norm(weight) for weight in before]
        new = [weight.detach() for weight in self.weights]
        seen["stop"] = _broken(k, "weights", [_finite(w) for w in new], last=False)
        return TrainStep(
            **seen,
            **clipping,
            weight_norms=tuple(old),
            update_ratios=tuple(_ratio(_norm(w - b), n) for w, b, n in zip(new, before, old, strict=True)),
            weight_changes=tuple(_ratio(_norm(w - s), _norm(s)) for w, s in zip(new, self.start, strict=True)),
            penalty=self._penalty(before, old) if spec.l1 or spec.l2 or spec.l2_norm else 0.0,
        )

    def _seen(self, k: int, beat: Callable[[], None] | None) -> dict[str, Any]:
        """Cost and gradients of this step's batch; the gradients stay in ``grad``, penalties added."""
        full = self.batches == 1 and self.spec.batch_items(self.data) == self.data.items
        rows = slice(None) if full else torch.from_numpy(self.spec.batch_indices(self.data, k))
        x, y = self.inputs[rows], self.targets[rows]
        layers = self.model.layers(x, beat)
        z = layers[-1].z
        if beat is not None:
            for layer in layers:
                layer.z.register_hook(lambda gradient: beat())  # None: the gradient goes on as it is
        cost = COSTS[self.spec.cost].torch_cost(torch, z, y)
        loss = float(cost.detach())
        accuracy = float((z.detach().argmax(dim=1) == y.argmax(dim=1)).double().mean())
        seen: dict[str, Any] = {"step": k, "epoch": k / self.batches, "loss": loss, "accuracy": accuracy, "stop": None}
        if not math.isfinite(loss):
            signal = _broken(k, "signal", [_finite(layer.z.detach()) for layer in layers], last=False)
            return {**seen, "stop": signal or Stop(k, None, "cost", loss)}
        for parameter, slope in zip(self.parameters, torch.autograd.grad(cost, self.parameters), strict=True):
            parameter.grad = slope
        slopes = [_grad(weight) for weight in self.weights]
        biases = [_grad(shift) for shift in self.shifts]
        seen.update(
            speeds=tuple(_norm(b) for b in biases),
            weight_gradients=tuple(_norm(w) for w in slopes),
            node_peaks=tuple(float(b.abs().max()) for b in biases),
            node_floors=self._floors(biases),
            neurons=tuple(tuple(biases[layer - 1].tolist()) for layer in self.neurons),
            **self._shares(layers, beat),
        )
        both = [_finite(torch.cat([w.flatten(), b])) for w, b in zip(slopes, biases, strict=True)]
        seen["stop"] = _broken(k, "gradient", both, last=True)
        return seen

    def _floors(self, biases: list[Tensor]) -> tuple[float, ...]:
        now = [b.abs() for b in biases]
        self.floors = [torch.minimum(f, b) for f, b in zip(self.floors, now, strict=True)] if self.floors else now
        return tuple(float(f.max()) for f in self.floors)

    def _shares(self, layers: list[Layer], beat: Callable[[], None] | None) -> dict[str, tuple[float, ...]]:
        """Of every hidden layer, as its activation sees it: saturated units, and factors W phi' above 1."""
        saturated, above = [], []
        for index in range(len(layers) - 1):
            if beat is not None:
                beat()
            acts_below = self.model.block.acts_below
            unit = index if acts_below else index - 1
            if unit < 0:  # layer 1 of a form whose activation lies inside the blocks has none
                saturated.append(0.0)
                above.append(math.nan)
                continue
            y = layers[index].seen.detach()
            if len(self.model.norms) and not self.model.norm_after:
                with torch.no_grad():
                    y = self.model.norms[unit](y)
            y = y.requires_grad_(True)
            slope = torch.autograd.grad(self.model.activations[unit](y).sum(), y)[0].abs()
            saturated.append(float((slope < self.small).double().mean()))
            weight = self.weights[index + 1].detach().abs()
            factors = weight * slope[: min(SEEN, max(1, MOST_FACTORS // weight.numel())), None, :]
            above.append(float((factors > 1.0).double().mean()))
        return {"saturated": tuple(saturated), "factors_above_one": tuple(above)}

    def _penalty(self, weights: list[Tensor], norms: list[float]) -> float:
        """lambda_1 sum |w| + (lambda_2 / 2) sum w^2 + lambda |w|."""
        square = sum(norm * norm for norm in norms)
        l1 = sum(float(weight.abs().sum()) for weight in weights)
        return self.spec.l1 * l1 + 0.5 * self.spec.l2 * square + self.spec.l2_norm * math.sqrt(square)

    def _clip(self) -> dict[str, Any]:
        """Add the penalties that are clipped, then clip by torch's own functions."""
        spec = self.spec
        if spec.l1 or spec.l2_norm:
            with torch.no_grad():
                size = _total([_norm(weight) for weight in self.weights])
                for weight in self.weights:
                    _grad(weight).add_(torch.sign(weight), alpha=spec.l1)
                    if size > 0:
                        _grad(weight).add_(weight, alpha=spec.l2_norm / size)
        slopes = [_grad(parameter) for parameter in self.parameters]
        norm = _total([_norm(slope) for slope in slopes])
        if spec.clip == "none":
            return {"norm": norm, "clip_norm": norm, "norm_after": norm, "cosine": 1.0}
        before = [slope.clone() for slope in slopes]
        kind = spec.clip_norm_type if spec.clip == "norm" else math.inf
        own = norm if kind == 2.0 else _total([_norm(slope, kind) for slope in slopes], kind)
        _CLIPS[spec.clip](self.parameters, spec)
        slopes = [_grad(parameter) for parameter in self.parameters]
        after = _total([_norm(slope) for slope in slopes])
        along = sum(float((a.double() * b.double()).sum()) for a, b in zip(before, slopes, strict=True))
        cosine = min(along / (norm * after), 1.0) if norm * after > 0 else math.nan
        return {
            "norm": norm,
            "clip_norm": own,
            "norm_after": after,
            "clipped": own + (TORCH_EPS if spec.clip == "norm" else 0.0) > spec.clip_limit,
            "cosine": cosine,
        }


class Updates(Iterator[TrainStep]):
    """The updates of a loop, one for each ``next``. No generator: an update that an exception of ``beat`` has ended is
    made again by the next ``next``, from the same weights."""

    def __init__(self, loop: Loop, beat: Callable[[], None] | None) -> None:
        self.loop, self.beat = loop, beat
        self.done, self.total = 0, loop.spec.steps_on(loop.data)

    def __next__(self) -> TrainStep:
        if self.done >= self.total:
            raise StopIteration
        with one_intra_op_thread(self.beat), torch.enable_grad():
            step = self.loop.update(self.done, self.beat)
        self.done = self.done + 1 if step.stop is None else self.total
        return step


def _grad(parameter: nn.Parameter) -> Tensor:
    return cast(Tensor, parameter.grad)


def _norm(x: Tensor, kind: float = 2.0) -> float:
    """The norm of all entries in float64, also where their squares would over- or underflow."""
    x = x.detach()
    value = float(torch.linalg.vector_norm(x, kind, dtype=torch.float64))
    if 1e-150 < value < math.inf or math.isnan(value):
        return value
    top = float(x.abs().max().double())
    if top == 0.0 or not math.isfinite(top):
        return top
    return top * float(torch.linalg.vector_norm(x.double() / top, kind))


def _total(norms: list[float], kind: float = 2.0) -> float:
    return float(np.linalg.norm(norms, kind)) if kind != 2.0 else math.hypot(*norms)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else (math.inf if part > 0 else 0.0)


def _finite(x: Tensor) -> float:
    """0 where all entries are finite, else the first that is not."""
    broken = ~torch.isfinite(x)
    return float(x[broken][0]) if bool(broken.any()) else 0.0


def _broken(step: int, quantity: str, values: list[float], last: bool) -> Stop | None:
    """The first layer in the direction of the pass whose value is not 0; ``last``: seen from the output."""
    order = range(len(values) - 1, -1, -1) if last else range(len(values))
    return next((Stop(step, layer + 1, quantity, values[layer]) for layer in order if values[layer] != 0.0), None)


def first_gradients(spec: TrainSpec, data: Dataset) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(weight matrices, dC/dW of the cost alone on the first batch), (fan_out, fan_in) each, float64."""
    loop = Loop(spec, data, ())
    with one_intra_op_thread(), torch.enable_grad():
        x, y = (part[torch.from_numpy(spec.batch_indices(data, 0))] for part in (loop.inputs, loop.targets))
        cost = COSTS[spec.cost].torch_cost(torch, loop.model.layers(x)[-1].z, y)
        slopes = torch.autograd.grad(cost, loop.weights)
    return [w.detach().double().numpy() for w in loop.weights], [s.double().numpy() for s in slopes]
