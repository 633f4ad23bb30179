"""What is asked of a chain in plain values: the text forms that a link carries, and the chain they mean.

The names are query parameters with "chain_" before them: ``chain_length=6&chain_weights=100&chain_biases=cancel``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gradcore import query
from gradcore.activations import ACTIVATIONS
from gradcore.errors import SpecError
from gradcore.experiments.chain.laws import WIDEST, Normal, drawn_numbers
from gradcore.experiments.chain.single import BIAS, LONGEST, WEIGHT, Chain
from gradcore.experiments.chain.story import DELTA, cancelling_biases
from gradcore.query import Reader, one_of, real, whole

PREFIX = "chain_"
CANCEL = "cancel"
VIEWS = ("early", "nudge", "derivative", "random", "interval", "balance", "training")
RATE = (1e-6, 1e4)
DRAWS = 10_000  # chains beside the predicted law of the product
STEPS = 300  # of gradient descent
SCALES = (1.0, 4.0, 10.0, 30.0)  # standard deviations of the weights, for the balance
LENGTHS = tuple(range(2, 17))  # of the chains whose balance is looked at ...
BALANCE_DRAWS = 4_000  # ... and how many are drawn of each law


@dataclass(frozen=True)
class ChainQuestion:
    """A chain and what is looked at.

    ``weights`` and ``biases``: "" draws them from N(0, weight_std^2) and N(0, bias_std^2) by ``seed``; one number
    stands for all; several, separated by commas, are one for each neuron; biases may be "cancel", b_j = -w_j a_{j-1}.
    ``nudge`` is the change of b_1, ``rate`` the learning rate, ``view`` one of VIEWS.
    """

    length: int = 4
    weight_std: float = 1.0
    bias_std: float = 1.0
    weights: str = ""
    biases: str = ""
    activation: str = "sigmoid"
    input: float = 0.5
    target: float = 0.0
    seed: int = 0
    nudge: float = 0.1
    rate: float = 1.0
    view: str = "early"

    @property
    def laws(self) -> tuple[Normal, Normal]:
        """The laws of a weight and of a bias."""
        return Normal(0.0, self.weight_std), Normal(0.0, self.bias_std)

    @property
    def drawn(self) -> bool:
        """Whether the seed matters."""
        return not (self.weights and self.biases)

    @property
    def listed(self) -> bool:
        """Whether weights and biases are lists with a number for each neuron."""
        texts = (self.weights, self.biases)
        return all(text != CANCEL and len(text.replace(",", " ").split()) == self.length for text in texts)

    def chain(self) -> Chain:
        """The chain. Raises SpecError, also where the numbers are not as many as neurons."""
        rest: dict[str, Any] = {"input": self.input, "activation": self.activation, "target": self.target}
        drawn = drawn_numbers(self.length, *self.laws, seed=self.seed)
        weights = _all(read_numbers("weights", self.weights), self.length, "weights") or drawn[0]
        if self.biases == CANCEL:
            return Chain(weights, cancelling_biases(weights, self.input, self.activation), **rest)
        return Chain(weights, _all(read_numbers("biases", self.biases), self.length, "biases") or drawn[1], **rest)

    def resized(self, length: int) -> ChainQuestion:
        """The same with another length: lists of numbers lose their last ones, or repeat the last one."""
        texts = {name: _resized(getattr(self, name), length) for name in ("weights", "biases")}
        return replace(self, length=length, **texts)

    def written_out(self) -> ChainQuestion:
        """The same chain with its weights and biases as numbers, six digits each, to be edited one by one."""
        chain = self.chain()
        texts = {name: ", ".join(f"{x:.6g}" for x in getattr(chain, name)) for name in ("weights", "biases")}
        return replace(self, **texts)

    def to_query(self) -> dict[str, str]:
        """The parameters of a link; defaults are left out."""
        return query.write(self, PREFIX)


def from_query(parameters: Mapping[str, str]) -> ChainQuestion:
    """The question of these parameters; others than chain_... are left alone. Raises SpecError."""
    return query.read(ChainQuestion, READERS, PREFIX, parameters)


# --- reading text ---------------------------------------------------------------------------------------------


def read_numbers(name: str, text: str) -> tuple[float, ...]:
    """The numbers of a text, separated by commas or spaces; () where it is empty. Raises SpecError."""
    limit = BIAS if name.endswith("biases") else WEIGHT
    parts = text.replace(",", " ").split()
    allowed = f"one number for all neurons, or one for each, separated by commas, each from {-limit:g} to {limit:g}"
    if len(parts) > LONGEST:
        raise SpecError(name, text, allowed, f"{len(parts)} were given; {LONGEST} is the most.")
    try:
        numbers = tuple(float(part) for part in parts)
    except ValueError:
        numbers = (math.nan,)
    if not all(abs(number) <= limit for number in numbers):
        raise SpecError(name, text, allowed)
    return numbers


def _all(numbers: tuple[float, ...], length: int, name: str) -> tuple[float, ...]:
    if len(numbers) == 1:
        return numbers * length
    if numbers and len(numbers) != length:
        counted = f"{len(numbers)} were given for {length} neurons."
        raise SpecError(name, ", ".join(f"{n:g}" for n in numbers), "one number, or as many as neurons", counted)
    return numbers


def _resized(text: str, length: int) -> str:
    parts = text.replace(",", " ").split()
    if len(parts) < 2:
        return text
    return ", ".join((parts + parts[-1:] * length)[:length])


def _list(name: str, text: str) -> str:
    if not (text.strip() == CANCEL and name.endswith("biases")):
        read_numbers(name, text)
    return text.strip()


READERS: dict[str, Reader] = {
    "length": whole(1, LONGEST),
    "weight_std": real(0.0, WIDEST),
    "bias_std": real(0.0, WIDEST),
    "weights": _list,
    "biases": _list,
    "activation": one_of(tuple(ACTIVATIONS)),
    "input": real(-WEIGHT, WEIGHT),
    "target": real(-WEIGHT, WEIGHT),
    "seed": whole(0, 2**31 - 1),
    "nudge": real(*DELTA),
    "rate": real(*RATE),
    "view": one_of(VIEWS),
}
