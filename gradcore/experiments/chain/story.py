"""What the chain's product means: a small change of b_1 followed step by step, early against late, and explosion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradcore.activations import ACTIVATIONS, Activation, negative_slope_of
from gradcore.errors import SpecError
from gradcore.experiments.chain.single import COSTS, WEIGHT, Chain, check_activation, check_length
from gradcore.theory.gaussian import composite

Array = np.ndarray
DELTA = (1e-12, 10.0)  # sizes of a change of b_1
SHORT = 0.5  # a change of z below which the change of a is integrated, not subtracted
NODES = 16


@dataclass(frozen=True)
class Step:
    """One quantity that the change reaches: ``symbol`` "z" or "a" (or "b", "C") and its ``layer``; its exact
    ``change``; ``linear``, the product of the factors so far times the change of b_1."""

    symbol: str
    layer: int
    change: float
    linear: float


@dataclass(frozen=True)
class Nudge:
    """A change Delta b_1 followed to the cost: ``steps`` from b_1 over z_1, a_1, z_2 ... to C; ``ratio``
    Delta C / Delta b_1; ``derivative`` dC/db_1; ``error`` their relative distance, which shrinks like ``delta`` (nan
    where the derivative is 0).
    """

    delta: float
    steps: tuple[Step, ...]
    ratio: float
    derivative: float

    @property
    def error(self) -> float:
        return abs(self.ratio / self.derivative - 1.0) if self.derivative else math.nan


def nudge(chain: Chain, delta: float) -> Nudge:
    """Add ``delta`` to b_1 and follow it. Delta z_{j+1} = w_{j+1} Delta a_j exactly; Delta a_j is the integral of
    sigma' over the way of z_j, so that no digits cancel however small it is (relative error about 1e-15).

    Raises SpecError unless 1e-12 <= |delta| <= 10. Source: Nielsen 2015, ch. 5.
    """
    if not isinstance(delta, (int, float, np.number)) or not DELTA[0] <= abs(delta) <= DELTA[1]:
        raise SpecError("delta", delta, f"a number of size {DELTA[0]:g} to {DELTA[1]:g}")
    entry, slope = ACTIVATIONS[chain.activation], negative_slope_of(chain.activation, chain.negative_slope)
    change = linear = float(delta)
    steps = [Step("b", 1, change, linear)]
    for layer in range(1, chain.length + 1):
        if layer > 1:
            change, linear = chain.weights[layer - 1] * change, chain.weights[layer - 1] * linear
        steps.append(Step("z", layer, change, linear))
        change = _difference(entry, slope, float(chain.z[layer - 1]), change)
        linear *= float(chain.slopes[layer - 1])
        steps.append(Step("a", layer, change, linear))
    change = float(COSTS[chain.cost].change(float(chain.a[-1]), chain.target, change))
    steps.append(Step("C", chain.length, change, linear * chain.cost_slope))
    return Nudge(float(delta), tuple(steps), change / delta, chain.gradient)


def nudges(chain: Chain, deltas: Sequence[float] = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)) -> tuple[Nudge, ...]:
    """The same for several sizes: the ratio tends to the derivative."""
    return tuple(nudge(chain, delta) for delta in deltas)


def _difference(entry: Activation, slope: float, z: float, change: float) -> float:
    """sigma(z + change) - sigma(z)."""
    if abs(change) > SHORT:
        there, here = entry.value(np.array([z + change, z]), slope)
        return float(there - here)
    inside = [(kink - z) / change for kink in entry.kinks if change and 0.0 < (kink - z) / change < 1.0]
    at, weight = composite(np.array([0.0, *sorted(inside), 1.0]), NODES)
    return change * float(weight @ entry.derivative(z + at * change, slope))


# --- early against late ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """dC/db_early beside dC/db_late: ``factors`` are those that the early gradient has more, each as
    ``(j, sigma'(z_j), w_{j+1})``; ``log_ratio`` is ln of the size of their product, ``shared`` how many factors both
    have.
    """

    early: int
    late: int
    factors: tuple[tuple[int, float, float], ...]
    log_ratio: float
    shared: int

    @property
    def ratio(self) -> float:
        """|dC/db_early| / |dC/db_late|; inf where that leaves the range of a float."""
        return math.exp(self.log_ratio) if self.log_ratio < 709.0 else math.inf


def early_against_late(chain: Chain, early: int = 1, late: int = 3) -> Comparison:
    """Why an early bias learns at another speed than a late one: the factors sigma'(z_j) w_{j+1} between them.

    With N(0, 1) weights most |sigma' w| are below 1/4, so two of them make the early gradient at most 1/16 of the late
    one. Raises SpecError for layers outside the chain. Source: Nielsen 2015, ch. 5.
    """
    log_ratio = chain.log_ratio(early, late)
    between = tuple((j, float(chain.slopes[j - 1]), chain.weights[j]) for j in range(early, late))
    return Comparison(early, late, between, log_ratio, chain.length - late + 1)


# --- the exploding case ---------------------------------------------------------------------------------------


def cancelling_biases(
    weights: Sequence[float], input: float = 0.5, activation: str = "sigmoid", negative_slope: float | None = None
) -> tuple[float, ...]:
    """b_j = -w_j a_{j-1}, which makes every z_j exactly 0. Raises SpecError for an unknown activation."""
    check_activation(activation, negative_slope)
    entry, slope = ACTIVATIONS[activation], negative_slope_of(activation, negative_slope)
    rest = float(entry.value(np.zeros(1), slope)[0])
    return tuple(-float(w) * (input if j == 0 else rest) for j, w in enumerate(weights))


def exploding(length: int = 4, weight: float = 100.0, activation: str = "sigmoid", input: float = 0.5) -> Chain:
    """The classic exploding chain: all weights ``weight``, b_j = -w a_{j-1}, so every z_j = 0 and every factor
    w sigma'(z_j) = w sigma'(0): exactly 25 for a sigmoid and w = 100. Raises SpecError. Source: Nielsen 2015, ch. 5."""
    if not isinstance(weight, (int, float, np.number)) or not abs(weight) <= WEIGHT:
        raise SpecError("weight", weight, f"a number from {-WEIGHT:g} to {WEIGHT:g}")
    weights = (float(weight),) * check_length(length)
    return Chain(weights, cancelling_biases(weights, input, activation), input, activation)
