"""The steps of torch's RNN, LSTM and GRU cells and their pullbacks, on arrays of units.

A cell sees, per gate g, an input part I_g = W_ig x_t + b_ig and a recurrent part H_g = W_hg h_(t-1) + b_hg, each (G,
N), and its state: h and, for the LSTM, c. One entry of ``CELLS`` is one cell; gates stand in torch's order of its
weights.

Source: Elman 1990; Hochreiter & Schmidhuber 1997 with Gers et al. 2000 (LSTM); Cho et al. 2014 as torch writes it (GRU,
reset gate inside the new gate: n = tanh(I_n + r H_n)). Exact; checked against torch by tests/test_recurrent.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray


def sigmoid(a: Array) -> Array:
    """1 / (1 + exp(-a)), without overflow."""
    return 0.5 + 0.5 * np.tanh(0.5 * a)


@dataclass(frozen=True)
class State:
    """h, and the LSTM's cell c (zeros elsewhere); also their cotangents. (N,) each."""

    h: Array
    c: Array


@dataclass(frozen=True)
class Pulled:
    """Cotangents: ``hidden`` (G, N) of the recurrent parts H_g; ``skip`` what reaches the previous h and c besides
    W_h^T hidden."""

    hidden: Array
    skip: State


@dataclass(frozen=True)
class Cell:
    """One cell: ``gates`` in torch's order; ``step(I, H, state)`` the next state and the values of the gates (G, N);
    ``pull(I, H, state, next, values, cotangent)`` its exact pullback; ``biased`` the gate whose bias may be given,
    whose opening keeps the memory; ``torch_name`` the classes torch.nn.<torch_name> and <torch_name>Cell."""

    code: str
    torch_name: str
    gates: tuple[str, ...]
    step: Callable[[Array, Array, State], tuple[State, Array]]
    pull: Callable[[Array, Array, State, State, Array, State], Pulled]
    biased: str | None
    source: str


# --- the plain recurrent network ------------------------------------------------------------------------------

ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {  # phi, and phi' as of phi's value
    "tanh": (np.tanh, lambda y: 1.0 - y * y),
    "relu": (lambda a: np.maximum(a, 0.0), lambda y: (y > 0).astype(y.dtype)),
}


def _rnn(code: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    phi, slope = ACTIVATIONS[code]

    def step(inputs: Array, hidden: Array, state: State) -> tuple[State, Array]:
        values = phi(inputs + hidden)
        return State(values[0], state.c), values

    def pull(inputs: Array, hidden: Array, state: State, after: State, values: Array, d: State) -> Pulled:
        return Pulled((d.h * slope(after.h))[None], State(np.zeros_like(d.h), np.zeros_like(d.h)))

    return step, pull


# --- LSTM -----------------------------------------------------------------------------------------------------


def _lstm_step(inputs: Array, hidden: Array, state: State) -> tuple[State, Array]:
    a = inputs + hidden
    values = sigmoid(a)
    values[2] = np.tanh(a[2])
    i, f, g, o = values
    c = f * state.c + i * g
    return State(o * np.tanh(c), c), values


def _lstm_pull(inputs: Array, hidden: Array, state: State, after: State, values: Array, d: State) -> Pulled:
    i, f, g, o = values
    squashed = np.tanh(after.c)
    dc = d.c + d.h * o * (1.0 - squashed * squashed)
    into = np.stack(
        [
            dc * g * i * (1.0 - i),
            dc * state.c * f * (1.0 - f),
            dc * i * (1.0 - g * g),
            d.h * squashed * o * (1.0 - o),
        ]
    )
    return Pulled(into, State(np.zeros_like(dc), dc * f))


# --- GRU ------------------------------------------------------------------------------------------------------


def _gru_step(inputs: Array, hidden: Array, state: State) -> tuple[State, Array]:
    r = sigmoid(inputs[0] + hidden[0])
    z = sigmoid(inputs[1] + hidden[1])
    n = np.tanh(inputs[2] + r * hidden[2])
    return State((1.0 - z) * n + z * state.h, state.c), np.stack([r, z, n])


def _gru_pull(inputs: Array, hidden: Array, state: State, after: State, values: Array, d: State) -> Pulled:
    r, z, n = values
    dn = d.h * (1.0 - z) * (1.0 - n * n)
    into = np.stack([dn * hidden[2] * r * (1.0 - r), d.h * (state.h - n) * z * (1.0 - z), dn * r])
    return Pulled(into, State(d.h * z, np.zeros_like(dn)))


CELLS: dict[str, Cell] = {
    "rnn": Cell("rnn", "RNN", ("h",), *_rnn("tanh"), None, "Elman 1990"),
    "lstm": Cell(
        "lstm",
        "LSTM",
        ("i", "f", "g", "o"),
        _lstm_step,
        _lstm_pull,
        "f",
        "Hochreiter & Schmidhuber 1997; Gers et al. 2000",
    ),
    "gru": Cell("gru", "GRU", ("r", "z", "n"), _gru_step, _gru_pull, "z", "Cho et al. 2014"),
}
RELU_RNN = Cell("rnn", "RNN", ("h",), *_rnn("relu"), None, "Elman 1990")


def cell_of(code: str, activation: str = "tanh") -> Cell:
    """The cell of this code; ``activation`` tells the two plain recurrent networks apart."""
    return RELU_RNN if (code, activation) == ("rnn", "relu") else CELLS[code]
