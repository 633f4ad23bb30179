"""One chain of single neurons: its values, its factors and its gradients, written out.

z_j = w_j a_{j-1} + b_j, a_j = sigma(z_j), j = 1 ... L, a_0 the input, cost C(a_L). All numbers are dimensionless.
Source: Nielsen, *Neural Networks and Deep Learning* (2015), ch. 5. Exact at every length.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from gradcore.activations import ACTIVATIONS, Activation, negative_slope_of
from gradcore.errors import SpecError

Array = np.ndarray
LONGEST = 100
WEIGHT, BIAS = 1e3, 1e6  # largest sizes
LARGEST = 1e100  # of any |z|: what follows from it still fits into a float


@dataclass(frozen=True)
class Cost:
    """A cost of the output a for the target y: ``value`` C, ``slope`` dC/da, ``change`` C(a + d) - C(a) without
    cancellation, and its LaTeX."""

    value: Callable[[float, float], float]
    slope: Callable[[float, float], float]
    change: Callable[[float, float, float], float]
    latex: str


COSTS: dict[str, Cost] = {
    "quadratic": Cost(
        lambda a, y: 0.5 * (a - y) ** 2,
        lambda a, y: a - y,
        lambda a, y, d: d * (a - y) + 0.5 * d * d,
        r"\tfrac12 (a_L - y)^2",
    ),
    "output": Cost(lambda a, y: a, lambda a, y: 1.0, lambda a, y, d: d, "a_L"),
}


def forward(entry: Activation, slope: float, weights: Array, biases: Array, inputs: Array | float) -> tuple[Array, ...]:
    """z and a of many chains at once. ``weights`` and ``biases`` (..., L), ``inputs`` (...) or a number; returns z
    (..., L) and a (..., L + 1), whose first entry is the input."""
    z = np.empty(weights.shape)
    a = np.empty((*weights.shape[:-1], weights.shape[-1] + 1))
    a[..., 0] = inputs
    for j in range(weights.shape[-1]):
        z[..., j] = weights[..., j] * a[..., j] + biases[..., j]
        a[..., j + 1] = entry.value(z[..., j], slope)
    return z, a


@dataclass(frozen=True)
class Chain:
    """A chain of L single neurons, 1 <= L <= 100.

    ``weights`` and ``biases``: L numbers each (|w| at most 1e3, |b| at most 1e6); ``input`` a_0; ``activation`` a code
    of gradcore's table with its ``negative_slope`` (None: torch's default); ``cost`` "quadratic" (a_L - y)^2 / 2 with
    ``target`` y, or "output", C = a_L. Raises SpecError, which names the field.

    >>> Chain((1.0, 1.0), (0.0, 0.0)).factors[1] < 0.25
    True
    """

    weights: tuple[float, ...]
    biases: tuple[float, ...]
    input: float = 0.5
    activation: str = "sigmoid"
    negative_slope: float | None = None
    cost: str = "quadratic"
    target: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", _numbers("weights", self.weights, WEIGHT))
        object.__setattr__(self, "biases", _numbers("biases", self.biases, BIAS))
        if len(self.biases) != len(self.weights):
            allowed = f"as many as weights ({len(self.weights)})"
            raise SpecError("biases", self.biases, allowed, f"{len(self.biases)} were given.")
        object.__setattr__(self, "input", check_number("input", self.input, WEIGHT))
        object.__setattr__(self, "target", check_number("target", self.target, WEIGHT))
        check_activation(self.activation, self.negative_slope)
        if self.cost not in COSTS:
            raise SpecError("cost", self.cost, "one of " + ", ".join(COSTS))
        if not (np.abs(self.z) <= LARGEST).all():
            layer = int(np.argmin(np.abs(self.z) <= LARGEST)) + 1
            allowed = f"weights under which no |z| exceeds {LARGEST:g}"
            raise SpecError("weights", self.weights, allowed, f"z does so at layer {layer}; a shorter chain helps too.")

    # --- what it computes -----------------------------------------------------------------------------------

    @property
    def length(self) -> int:
        """The number L of neurons."""
        return len(self.weights)

    @cached_property
    def _values(self) -> tuple[Array, ...]:
        with np.errstate(over="ignore", invalid="ignore"):
            weights, biases = np.array(self.weights), np.array(self.biases)
            return forward(self._entry, self._slope, weights, biases, self.input)

    @property
    def _entry(self) -> Activation:
        return ACTIVATIONS[self.activation]

    @property
    def _slope(self) -> float:
        return negative_slope_of(self.activation, self.negative_slope)

    @property
    def z(self) -> Array:
        """Pre-activations z_1 ... z_L, (L,)."""
        return self._values[0]

    @property
    def a(self) -> Array:
        """The input and the activations: a_0 ... a_L, (L + 1,)."""
        return self._values[1]

    @cached_property
    def slopes(self) -> Array:
        """sigma'(z_1) ... sigma'(z_L), (L,)."""
        return self._entry.derivative(self.z, self._slope)

    @cached_property
    def factors(self) -> Array:
        """The factors of da_L/db_1, (L,): sigma'(z_1), then w_j sigma'(z_j) for j = 2 ... L."""
        factors = np.array(self.weights) * self.slopes
        factors[0] = self.slopes[0]
        return factors

    @property
    def cost_value(self) -> float:
        """C."""
        return float(COSTS[self.cost].value(float(self.a[-1]), self.target))

    @property
    def cost_slope(self) -> float:
        """dC/da_L."""
        return float(COSTS[self.cost].slope(float(self.a[-1]), self.target))

    @cached_property
    def bias_gradients(self) -> Array:
        """dC/db_l = sigma'(z_l) prod_{j > l} w_j sigma'(z_j) dC/da_L, (L,); inf beyond the range of floats."""
        gradients, behind = np.empty(self.length), self.cost_slope
        with np.errstate(over="ignore"):
            for layer in reversed(range(self.length)):
                gradients[layer] = self.slopes[layer] * behind
                behind = self.weights[layer] * gradients[layer]
        return gradients

    @cached_property
    def log_bias_gradients(self) -> Array:
        """ln |dC/db_l|, (L,), also where the gradient leaves the range of floats; -inf where it is exactly 0."""
        with np.errstate(divide="ignore"):
            slopes, sizes = np.log(np.abs(self.slopes)), np.log(np.abs(np.array(self.weights)))
            behind = np.log(abs(np.float64(self.cost_slope)))
        steps = np.concatenate([slopes[:-1] + sizes[1:], [slopes[-1] + behind]])
        return np.cumsum(steps[::-1])[::-1]

    @property
    def gradient(self) -> float:
        """dC/db_1."""
        return float(self.bias_gradients[0])

    @property
    def weight_gradients(self) -> Array:
        """dC/dw_l = a_{l-1} dC/db_l, (L,)."""
        return self.a[:-1] * self.bias_gradients

    def log_ratio(self, early: int = 1, late: int | None = None) -> float:
        """ln |(dC/db_early) / (dC/db_late)|, layers from 1; -inf where a factor is 0.

        The ratio is prod sigma'(z_j) w_{j+1} over j = early ... late - 1: no cost and no last slope is left in it.
        """
        late = self.length if late is None else late
        for name, layer in (("early", early), ("late", late)):
            if not isinstance(layer, (int, np.integer)) or not 1 <= layer <= self.length:
                raise SpecError(name, layer, f"a layer from 1 to {self.length}")
        if early > late:
            raise SpecError("early", early, f"at most late ({late})")
        parts = np.abs(np.concatenate([self.slopes[early - 1 : late - 1], self.weights[early:late]]))
        with np.errstate(divide="ignore"):
            return float(np.log(parts).sum())

    def replace(self, **changes: Any) -> Chain:
        """The same chain with these fields changed."""
        return replace(self, **changes)


# --- checks --------------------------------------------------------------------------------------------------


def check_activation(code: str, negative_slope: float | None = None) -> None:
    """Raises SpecError unless this activation with this slope can be used in a chain."""
    if code not in ACTIVATIONS:
        raise SpecError("activation", code, "one of " + ", ".join(ACTIVATIONS))
    if negative_slope is not None and not (_is_number(negative_slope) and abs(negative_slope) <= 1.0):
        raise SpecError("negative_slope", negative_slope, "a number from -1 to 1, or None")


def check_length(length: Any, field: str = "length") -> int:
    """The number of neurons as an int. Raises SpecError."""
    if isinstance(length, bool) or not isinstance(length, (int, np.integer)) or not 1 <= length <= LONGEST:
        raise SpecError(field, length, f"an integer from 1 to {LONGEST}")
    return int(length)


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float, np.number)) and math.isfinite(value)


def check_number(field: str, value: Any, limit: float) -> float:
    """The value as a float of size up to ``limit``. Raises SpecError."""
    if not _is_number(value) or abs(value) > limit:
        raise SpecError(field, value, f"a number from {-limit:g} to {limit:g}")
    return float(value)


def _numbers(field: str, values: Sequence[float], limit: float) -> tuple[float, ...]:
    allowed = f"1 to {LONGEST} numbers from {-limit:g} to {limit:g}"
    if isinstance(values, str) or not isinstance(values, (Sequence, np.ndarray)):
        raise SpecError(field, values, allowed)
    if not 1 <= len(values) <= LONGEST:
        raise SpecError(field, values, allowed, f"{len(values)} were given.")
    for place, value in enumerate(values, start=1):
        if not _is_number(value) or abs(value) > limit:
            raise SpecError(field, values, allowed, f"Number {place} is {value!r}.")
    return tuple(float(value) for value in values)
