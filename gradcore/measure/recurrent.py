"""Measuring recurrent cells: torch's own RNN, LSTM and GRU, one network at a time, back through time by autograd.

Each step is differentiated on its own and the cotangent of the state divided by its size, whose logarithm is kept:
exact up to rounding also where a plain gradient through all steps would be 0 or inf.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from gradcore.errors import SpecError, UnsupportedError
from gradcore.measure.network import (
    COTANGENTS,
    DTYPES,
    INPUTS,
    WEIGHTS,
    check_dtype,
    check_index,
    draw_dtype,
    generator,
)
from gradcore.measure.statistics import log_mean_square
from gradcore.measure.turns import one_intra_op_thread
from gradcore.theory.cells import CELLS

if TYPE_CHECKING:
    from gradcore.cell_spec import CellSpec

Array = np.ndarray
States = tuple[Tensor, ...]  # (h,) or (h, c), (B, n) each
LOGS = ("log_v", "log_h")
MOST_NUMBERS = 2e9  # entries of the weights, or of the inputs and states


class _Unset:
    """torch's module that leaves its weights to be drawn from a given generator."""

    def reset_parameters(self) -> None:
        """Leave the weights as they are."""


class _RNN(_Unset, nn.RNN):
    pass


class _LSTM(_Unset, nn.LSTM):
    pass


class _GRU(_Unset, nn.GRU):
    pass


class _RNNCell(_Unset, nn.RNNCell):
    pass


class _LSTMCell(_Unset, nn.LSTMCell):
    pass


class _GRUCell(_Unset, nn.GRUCell):
    pass


_MODULES: dict[str, tuple[type[nn.RNNBase], type[nn.RNNCellBase]]] = {
    "rnn": (_RNN, _RNNCell),
    "lstm": (_LSTM, _LSTMCell),
    "gru": (_GRU, _GRUCell),
}


# --- modules --------------------------------------------------------------------------------------------------


def _nonlinearity(spec: CellSpec) -> dict[str, Any]:
    return {"nonlinearity": spec.activation} if spec.cell == "rnn" else {}


def build(spec: CellSpec, seed: int = 0, network: int = 0, dtype: str = "float64") -> nn.RNNBase:
    """torch's nn.RNN, nn.LSTM or nn.GRU (one layer, input (T, B, d)) with the weights of measured network ``network``.

    The draws come from a generator of their own; torch's global one is not touched. Raises SpecError and
    UnsupportedError (more than 2e9 weights).
    """
    check_dtype(dtype)
    check_index("seed", seed)
    check_index("network", network)
    _check_size(spec)
    make: Any = _MODULES[spec.cell][0]
    module: nn.RNNBase = make(spec.input_size, spec.hidden_size, dtype=draw_dtype(dtype), **_nonlinearity(spec))
    parameters = {name: getattr(module, f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    with torch.no_grad():
        _fill(spec, parameters, generator(seed, network, WEIGHTS))
    return module.to(DTYPES[dtype])


def cell_of(module: nn.RNNBase) -> nn.RNNCellBase:
    """torch's cell (one step) that shares the weights of a one-layer module."""
    code = next(code for code, (kind, _) in _MODULES.items() if isinstance(module, kind))
    extra = {"nonlinearity": module.mode[4:].lower()} if code == "rnn" else {}
    make: Any = _MODULES[code][1]
    cell: nn.RNNCellBase = make(module.input_size, module.hidden_size, device="meta", **extra)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        setattr(cell, name, getattr(module, f"{name}_l0"))
    return cell


def _fill(spec: CellSpec, parameters: dict[str, Tensor], draws: torch.Generator) -> None:
    n, gates = spec.hidden_size, len(CELLS[spec.cell].gates)
    bound = 1.0 / math.sqrt(n)
    if spec.init == "default":
        for parameter in parameters.values():  # torch's order and law
            parameter.uniform_(-bound, bound, generator=draws)
    else:
        parameters["weight_ih"].normal_(0.0, 1.0 / math.sqrt(spec.input_size), generator=draws)
        for block in parameters["weight_hh"].chunk(gates):
            if spec.init == "orthogonal":
                nn.init.orthogonal_(block, generator=draws)
            else:
                block.normal_(0.0, bound, generator=draws)
        parameters["bias_ih"].zero_()
        parameters["bias_hh"].zero_()
    parameters["weight_hh"].mul_(spec.weight_scale)
    for gate, value in spec.given_biases.items():
        k = CELLS[spec.cell].gates.index(gate)
        parameters["bias_ih"][k * n : (k + 1) * n] = value
        parameters["bias_hh"][k * n : (k + 1) * n] = 0.0


def _check_size(spec: CellSpec) -> None:
    gates = len(CELLS[spec.cell].gates)
    weights = float(gates) * spec.hidden_size * (spec.hidden_size + spec.input_size)
    numbers = float(spec.steps) * spec.batch_size * (2 * spec.hidden_size + spec.input_size)
    for count, what in ((weights, "weights"), (numbers, "inputs and states")):
        if count > MOST_NUMBERS:
            raise UnsupportedError(
                f"a {spec.cell} of {count:.3g} {what}",
                f"in float64 they take {count * 8 / 2**30:.1f} GiB",
                f"up to {MOST_NUMBERS:.0g}; predict_cell needs none of them",
            )


# --- one step -------------------------------------------------------------------------------------------------


def step(cell: nn.RNNCellBase, x: Tensor, state: States) -> States:
    """The next state of torch's cell: (h,) or (h, c)."""
    after = cell(x, state if len(state) == 2 else state[0])
    return after if isinstance(after, tuple) else (after,)


def gate_values(cell: nn.RNNCellBase, x: Tensor, h: Tensor, after: Tensor) -> tuple[Tensor, ...]:
    """The gates (..., n) of a step, or of many, in torch's order, recomputed from torch's weights; (h_t,) for the plain
    cell. ``x`` (..., d), ``h`` the state before and ``after`` the one behind it (..., n)."""
    gates = cell.weight_hh.shape[0] // cell.hidden_size
    own = nn.functional.linear(x, cell.weight_ih, cell.bias_ih).chunk(gates, dim=-1)
    recurrent = nn.functional.linear(h, cell.weight_hh, cell.bias_hh).chunk(gates, dim=-1)
    if gates == 1:
        return (after,)
    if gates == 4:
        i, f, g, o = (a + b for a, b in zip(own, recurrent, strict=True))
        return torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
    r, z = (torch.sigmoid(own[k] + recurrent[k]) for k in range(2))
    return r, z, torch.tanh(own[2] + r * recurrent[2])


def initial_state(spec: CellSpec, draws: torch.Generator, dtype: str) -> States:
    """h_0 ~ N(0, state_rms^2) and, for the LSTM, c_0 = 0."""
    shape = (spec.batch_size, spec.hidden_size)
    h = (spec.state_rms * torch.randn(shape, generator=draws, dtype=draw_dtype(dtype))).to(DTYPES[dtype])
    return (h, torch.zeros_like(h)) if spec.cell == "lstm" else (h,)


# --- the measurement ------------------------------------------------------------------------------------------


class _Run:
    """One network: forward, then back step by step; ``rows`` its statistics, (T,) each."""

    def __init__(self, spec: CellSpec, seed: int, network: int, dtype: str) -> None:
        self.spec = spec
        module = build(spec, seed, network, dtype).requires_grad_(False)
        self.cell = cell_of(module)
        self.rows = {name: np.full(spec.steps, -math.inf) for name in LOGS}
        self.broken = False  # the dtype does not hold the signal
        self.gates: dict[str, Array] = {}
        draws = generator(seed, network, INPUTS)
        shape = (spec.steps, spec.batch_size, spec.input_size)
        self.x = (spec.input_rms * torch.randn(shape, generator=draws, dtype=draw_dtype(dtype))).to(DTYPES[dtype])
        self.states = [initial_state(spec, draws, dtype)]
        self._forward()
        self._backward(generator(seed, network, COTANGENTS), dtype)

    def _forward(self) -> None:
        with torch.no_grad():
            for x in self.x:
                self.states.append(step(self.cell, x, self.states[-1]))
            h = torch.stack([state[0] for state in self.states])
            names, values = CELLS[self.spec.cell].gates, gate_values(self.cell, self.x, h[:-1], h[1:])
            self.gates = {
                name: value.double().mean(dim=(1, 2)).numpy() for name, value in zip(names, values, strict=True)
            }
        self.rows["log_h"][:] = [log_mean_square(after) for after in h[1:]]
        self.broken = not bool(torch.isfinite(h).all())

    def _backward(self, draws: torch.Generator, dtype: str) -> None:
        if self.broken:
            self.rows["log_v"][:] = math.nan
            return
        h = self.states[-1][0]
        first = torch.randn(h.shape, generator=draws, dtype=draw_dtype(dtype)).to(h)
        cotangent: States = (first, *(torch.zeros_like(first) for _ in self.states[-1][1:]))
        scale = 0.0
        for t in range(self.spec.steps, 0, -1):
            sizes = [log_mean_square(d) for d in cotangent]
            size = max(sizes)
            if size == -math.inf:
                return
            if not math.isfinite(size):
                self.rows["log_v"][:t] = math.nan
                return
            self.rows["log_v"][t - 1] = scale + sizes[0]
            scale += size
            cotangent = tuple(d / math.exp(0.5 * size) for d in cotangent)
            leaves = tuple(s.detach().requires_grad_(True) for s in self.states[t - 1])
            after = step(self.cell, self.x[t - 1], leaves)
            cotangent = torch.autograd.grad(after, leaves, cotangent)


def measure_cells(
    spec: CellSpec,
    indices: tuple[int, ...],
    seed: int,
    dtype: str,
    progress: Callable[[int, int], Any] | None = None,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """(log_v, log_h) and the gates' means of these networks, each (networks, T)."""
    check_dtype(dtype)
    check_index("seed", seed)
    if progress is not None and not callable(progress):
        raise SpecError("progress", progress, "None or a function of (done, total)")
    runs = []
    for done, index in enumerate(indices, start=1):
        with one_intra_op_thread():
            run = _Run(spec, seed, index, dtype)
        runs.append((run.rows, run.gates))
        if progress is not None:
            progress(done, len(indices))
    rows = {name: np.array([r[name] for r, _ in runs]) for name in LOGS}
    gates = {name: np.array([g[name] for _, g in runs]) for name in CELLS[spec.cell].gates}
    return rows, gates
