"""The torch side of ``gradcore.experiments.long_range``: sequences, the model, and one update after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gradcore.experiments.long_range import CLOSE, COPY_ALPHABET, COPY_SYMBOLS, Step
from gradcore.measure.network import DTYPES, Linear, generator
from gradcore.measure.recurrent import build, cell_of, step
from gradcore.measure.statistics import log_mean_square
from gradcore.measure.turns import one_intra_op_thread

if TYPE_CHECKING:
    from gradcore.experiments.long_range import LongRange

READOUT, SEQUENCES = 3, 4  # streams of random numbers beside those of a measured network
Batch = tuple[Tensor, Tensor]  # inputs (T, B, d); targets


# --- tasks ----------------------------------------------------------------------------------------------------


def _adding(steps: int, size: int, dtype: torch.dtype, draws: torch.Generator) -> Batch:
    """Targets (1, B, 1): the sum of the two marked values."""
    values = torch.rand(steps, size, generator=draws, dtype=dtype)
    half, each = steps // 2, torch.arange(size)
    marks = torch.zeros(steps, size, dtype=dtype)
    marks[torch.randint(0, half, (size,), generator=draws), each] = 1.0
    marks[torch.randint(half, steps, (size,), generator=draws), each] = 1.0
    return torch.stack([values, marks], dim=2), (values * marks).sum(dim=0)[None, :, None]


def _copy(steps: int, size: int, dtype: torch.dtype, draws: torch.Generator) -> Batch:
    """Targets (5, B): the symbols, to be named in the last five steps."""
    symbols = torch.randint(0, COPY_ALPHABET, (COPY_SYMBOLS, size), generator=draws)
    codes = torch.full((steps, size), COPY_ALPHABET)  # blank
    codes[:COPY_SYMBOLS] = symbols
    codes[steps - COPY_SYMBOLS - 1] = COPY_ALPHABET + 1  # now
    return nn.functional.one_hot(codes, COPY_ALPHABET + 2).to(dtype), symbols


def _near(answers: Tensor, targets: Tensor) -> Tensor:
    return (answers - targets).abs() < CLOSE


def _named(answers: Tensor, targets: Tensor) -> Tensor:
    return answers.argmax(dim=-1) == targets


def _cross_entropy(answers: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(answers.flatten(0, 1), targets.flatten())


_DRAWS: dict[str, Callable[..., Batch]] = {"adding": _adding, "copy": _copy}
_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse_loss": nn.functional.mse_loss,
    "cross_entropy": _cross_entropy,
}
_RIGHT: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"adding": _near, "copy": _named}


def draw_batch(spec: LongRange, update: int) -> Batch:
    """The inputs (T, B, d) and targets of one update; they depend on (seed, update) and the cell's sizes alone."""
    draws = generator(spec.seed, update, SEQUENCES)
    return _DRAWS[spec.task](spec.cell.steps, spec.cell.batch_size, DTYPES[spec.dtype], draws)


def build_model(spec: LongRange) -> tuple[nn.RNNBase, nn.Linear]:
    """torch's recurrent module and the linear readout at initialization."""
    readout = Linear(spec.cell.hidden_size, spec.task_entry.outputs, dtype=DTYPES[spec.dtype])
    draws, bound = generator(spec.seed, 0, READOUT), 1.0 / math.sqrt(spec.cell.hidden_size)
    with torch.no_grad():
        for parameter in readout.parameters():
            parameter.uniform_(-bound, bound, generator=draws)
    return build(spec.cell, spec.seed, 0, spec.dtype), readout


# --- the run --------------------------------------------------------------------------------------------------


class _Training:
    def __init__(self, spec: LongRange) -> None:
        self.spec = spec
        module, self.readout = build_model(spec)
        self.cell = cell_of(module)
        self.parameters = [*module.parameters(), *self.readout.parameters()]
        make: Any = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[spec.optimizer]
        self.optimizer = make(self.parameters, lr=spec.learning_rate)
        self.loss = _LOSSES[spec.task_entry.loss]

    def update(self, k: int) -> Step:
        """One update; none where loss or gradient is not a number."""
        inputs, targets = draw_batch(self.spec, k)
        states = self._states(inputs)
        answers = torch.stack([self.readout(h) for h in states[len(states) - len(targets) :]])
        loss = self.loss(answers, targets)
        accuracy = float(_RIGHT[self.spec.task](answers, targets).double().mean())
        slopes = torch.autograd.grad(loss, [*self.parameters, *states])
        for parameter, slope in zip(self.parameters, slopes[: len(self.parameters)], strict=True):
            parameter.grad = slope
        per_sample = 2.0 * math.log(self.spec.cell.batch_size)
        log_v = tuple(per_sample + log_mean_square(s) for s in slopes[len(self.parameters) :])
        norm = _norm([p.grad for p in self.parameters])
        clip = self.spec.clip_norm
        clipped = clip is not None and norm > clip
        stopped = None if math.isfinite(norm) else "gradient"
        stopped = stopped if math.isfinite(float(loss.detach())) else "loss"
        if stopped is None:
            if clip is not None:
                nn.utils.clip_grad_norm_(self.parameters, clip)
            self.optimizer.step()
        return Step(k, float(loss.detach()), accuracy, norm, clipped, log_v, stopped)

    def _states(self, inputs: Tensor) -> list[Tensor]:
        """h_1..h_T, (B, n) each."""
        zero = torch.zeros(inputs.shape[1], self.spec.cell.hidden_size, dtype=inputs.dtype)
        state = (zero, zero) if self.spec.cell.cell == "lstm" else (zero,)
        states = []
        for x in inputs:
            state = step(self.cell, x, state)
            states.append(state[0])
        return states


def _norm(gradients: list[Tensor | None]) -> float:
    """Euclidean norm of all entries together, in float64."""
    logs = [log_mean_square(g) + math.log(g.numel()) for g in gradients if g is not None]
    if any(math.isnan(log) for log in logs):
        return math.nan
    top = max(logs)
    if not math.isfinite(top):
        return 0.0 if top < 0 else math.inf
    log = 0.5 * (top + math.log(sum(math.exp(log - top) for log in logs)))
    return math.exp(log) if log < 709.0 else math.inf


def run(spec: LongRange) -> Iterator[Step]:
    """A Step per update, on one thread each; between them nothing is held."""
    training = _Training(spec)
    for k in range(spec.updates):
        with one_intra_op_thread(), torch.enable_grad():
            done = training.update(k)
        yield done
        if done.stopped is not None:
            return
