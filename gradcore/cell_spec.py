"""The question about a recurrent cell: which cell at initialization, how many steps, what flows through it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gradcore.errors import SpecError
from gradcore.fields import Field, choice, integer, number, optional, read_int, read_number, read_optional

CELL_CODES = ("rnn", "lstm", "gru")
CELL_ACTIVATIONS = ("tanh", "relu")  # what torch's nn.RNN offers
MAX_STEPS = 1_000
MAX_SIZE = 10**9


@dataclass(frozen=True)
class CellInit:
    """How the weights of a cell are drawn: n Var W_h, d Var W_i as a multiple of d/n and of 1, n Var b of each bias.

    ``recurrent`` n Var(W_h entry); ``inputs(d, n)`` d Var(W_i entry); ``bias`` n Var(entry) of b_ih and of b_hh.
    """

    code: str
    recurrent: float
    inputs_by_size: bool  # W_i has the variance of W_h (torch), else 1/d
    bias: float
    source: str

    def inputs(self, d: int, n: int) -> float:
        """d Var(W_i entry): mean square of W_i x per unit for an input of RMS 1."""
        return self.recurrent * d / n if self.inputs_by_size else 1.0


CELL_INITS: dict[str, CellInit] = {
    i.code: i
    for i in (
        CellInit("default", 1 / 3, True, 1 / 3, "torch: everything U(-1/sqrt(n), 1/sqrt(n))"),
        CellInit("normal", 1.0, False, 0.0, "W_h ~ N(0, 1/n), W_i ~ N(0, 1/d), biases 0"),
        CellInit("orthogonal", 1.0, False, 0.0, "W_h of each gate Haar orthogonal (Saxe et al. 2014), W_i ~ N(0, 1/d)"),
    )
}

_INITS = tuple(CELL_INITS)
_BIAS = optional(number(-1e3, 1e3))

CELL_FIELDS: dict[str, Field] = {
    f.name: f
    for f in (
        Field("cell", "lstm", choice(CELL_CODES), str, "recurrent cell", "cell", CELL_CODES),
        Field("hidden_size", 256, integer(1, MAX_SIZE), read_int, "units n of the hidden state", "cell"),
        Field("input_size", 64, integer(1, MAX_SIZE), read_int, "entries d of the input of a step", "cell"),
        Field("steps", 40, integer(2, MAX_STEPS), read_int, "length T of the sequence", "cell"),
        Field(
            "activation",
            "tanh",
            choice(CELL_ACTIVATIONS),
            str,
            "activation of the plain cell (rnn)",
            "cell",
            CELL_ACTIVATIONS,
        ),
        Field("init", "default", choice(_INITS), str, "weight law of the cell", "initialization", _INITS),
        Field(
            "weight_scale", 1.0, number(0, 1e6), read_number, "factor on the recurrent weights W_h", "initialization"
        ),
        Field(
            "forget_bias",
            None,
            _BIAS,
            read_optional(read_number),
            "forget-gate bias of the LSTM, put in b_ih (b_hh 0 there); default: the law's own two",
            "initialization",
        ),
        Field(
            "update_bias",
            None,
            _BIAS,
            read_optional(read_number),
            "update-gate bias of the GRU, put in b_ih (b_hh 0 there); above 0 it keeps the state",
            "initialization",
        ),
        Field("input_rms", 1.0, number(0, 1e6), read_number, "RMS of the inputs, N(0, rms^2) anew each step", "data"),
        Field("state_rms", 0.0, number(0, 1e6), read_number, "RMS of the initial state h_0 (c_0 = 0)", "data"),
        Field("batch_size", 16, integer(1, 10**6), read_int, "sequences B that a measurement averages over", "data"),
    )
}
_GIVEN = {"lstm": ("forget_bias", "f"), "gru": ("update_bias", "z")}


@dataclass(frozen=True, kw_only=True)
class CellSpec:
    """A recurrent cell at initialization, as torch.nn.RNN, LSTM and GRU compute it; frozen, hashable, flat.

    The cell runs T = ``steps`` steps from h_0 (zero, or N(0, state_rms^2)) and c_0 = 0 on inputs x_t ~ N(0, rms^2)
    drawn anew at each step; a cotangent N(0, 1) enters h_T alone. torch's conventions: two biases per gate, gates in
    its order, GRU with h_t = (1 - z) n + z h_(t-1) and the reset gate inside n. ``weight_scale`` multiplies W_hh alone
    (to scale W_ih, set ``input_rms``). Setting both biases of a forget gate to 1, as is often done, is
    ``forget_bias=2``.

    Raises SpecError naming the field, the value and what is allowed. A field that the cell does not have
    (``forget_bias`` of a GRU) is checked and then ignored. The fields are described in ``CELL_FIELDS``.
    """

    cell: str = "lstm"
    hidden_size: int = 256
    input_size: int = 64
    steps: int = 40
    activation: str = "tanh"
    init: str = "default"
    weight_scale: float = 1.0
    forget_bias: float | None = None
    update_bias: float | None = None
    input_rms: float = 1.0
    state_rms: float = 0.0
    batch_size: int = 16

    def __post_init__(self) -> None:
        for name, field in CELL_FIELDS.items():
            object.__setattr__(self, name, field.check(name, getattr(self, name)))

    @property
    def init_entry(self) -> CellInit:
        """The entry of the table of weight laws."""
        return CELL_INITS[self.init]

    @property
    def given_biases(self) -> dict[str, float]:
        """Gate -> the bias put in its part of b_ih; its part of b_hh is 0 then."""
        name, gate = _GIVEN.get(self.cell, ("", ""))
        value = getattr(self, name, None)
        return {} if value is None else {gate: value}

    @property
    def sigma_w(self) -> float:
        """std(W_hh) sqrt(n)."""
        return self.weight_scale * math.sqrt(self.init_entry.recurrent)

    @property
    def input_variance(self) -> float:
        """Mean square of W_ih x per unit."""
        return self.init_entry.inputs(self.input_size, self.hidden_size) * self.input_rms**2

    @property
    def bias_variance(self) -> float:
        """Variance of an entry of b_ih, and of b_hh."""
        return self.init_entry.bias / self.hidden_size

    def replace(self, **changes: Any) -> CellSpec:
        """A copy with some fields changed (checked again)."""
        return dataclasses.replace(self, **changes)

    # --- as text: query parameters and JSON, defaults left out ---------------------------------------------------

    def changed_fields(self) -> dict[str, Any]:
        """The fields that differ from their defaults; also a JSON object of this Spec."""
        return {name: getattr(self, name) for name, f in CELL_FIELDS.items() if getattr(self, name) != f.default}

    def to_query(self) -> dict[str, str]:
        """Query parameters that open this Spec; defaults are left out."""
        return {name: CELL_FIELDS[name].write(value) for name, value in self.changed_fields().items()}

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> CellSpec:
        """The Spec of these parameters. Raises SpecError at the first unknown field or illegal value."""
        return cls(**{name: _field(name, text).read(text) for name, text in query.items()})

    def to_json(self) -> dict[str, Any]:
        """A JSON object of the changed fields."""
        return self.changed_fields()

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> CellSpec:
        """The Spec of a JSON object. Raises SpecError at an unknown field or an illegal value."""
        for name, value in document.items():
            _field(name, value)
        return cls(**document)


def _field(name: str, value: Any) -> Field:
    if name not in CELL_FIELDS:
        raise SpecError(name, value, "one of the fields " + ", ".join(CELL_FIELDS), "Check the spelling of the field.")
    return CELL_FIELDS[name]
