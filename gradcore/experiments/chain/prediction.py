"""Products of factors along random chains, predicted: a recursion over the activation's value.

With random w_j, b_j the activation a_{j-1} is all that a layer knows of those before it: given it, z_j is normal, and
w_j given z_j is normal too. So the moments of S = sum ln |w_j sigma'(z_j)| obey a linear recursion over the values of
a, solved here on a grid; no draw is made. Exact up to the grid: mean to 1e-3 of a standard deviation, variance to 1%
(1e-4 where the activation is bounded); the shape between the moments is fitted (`LogLaw`) or carried whole (`Lattice`).
Natural logarithms. Source: ours; tests/test_chain.py checks it against random chains.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gradcore.activations import ACTIVATIONS, Activation, negative_slope_of
from gradcore.errors import SpecError
from gradcore.experiments.chain.lattice import Lattice, lattice_of
from gradcore.experiments.chain.laws import STANDARD, Normal
from gradcore.experiments.chain.log_law import LogLaw, law_of, mixed
from gradcore.experiments.chain.log_normal_weight import log_of_normal
from gradcore.experiments.chain.nodes import between, given_z, grid_between, nodes_of, singular_slopes
from gradcore.experiments.chain.single import LONGEST, WEIGHT, check_activation, check_length, check_number

Array = np.ndarray
SHORT = 20  # chains up to this length have a lattice of their own, which is there sooner
MOMENTS = 4  # 1, S, S^2, S^3
NODES = 8  # a panel of z
FINEST = 1e-7  # of a standard deviation of z: smallest panel beside a singularity of the logarithm
SPAN = (1e-4, 1e4)  # sizes of a between which the grid of an unbounded activation reaches
GRADED, EVEN = 140, 121  # points of the grid


@dataclass(frozen=True)
class Prediction:
    """What random chains of lengths 1 ... 100 do. ``input`` a_0; laws and activation as in `draw_chains`."""

    weights: Normal
    biases: Normal
    input: float
    activation: str
    negative_slope: float | None

    def product(self, length: int) -> LogLaw:
        """The law of ln |da_L/db_1|, the sum over all L factors, for chains of this length. Raises SpecError."""
        return law_of(self._sums[check_length(length) - 1])

    def ratio(self, length: int) -> LogLaw:
        """The law of ln |dC/db_1| / |dC/db_L|: the product of L - 1 layers and the last weight, which is independent of
        them. For length 1 the ratio is 1. Raises SpecError."""
        if check_length(length) == 1:
            return LogLaw(0.0, 0.0, 0.0, 1.0)
        last = log_of_normal(np.array([self.weights.mean]), np.array([self.weights.std]))[:, 0]
        return mixed(self.product(length - 1), law_of(last))

    def balanced(self, length: int, window: float = 10.0) -> float:
        """Share of chains whose ratio lies in [1/window, window], by the whole law. Raises SpecError."""
        if not 1.0 < window <= 1e12:
            raise SpecError("window", window, "a number above 1, up to 1e12")
        return self.lattice(length).share(length, -math.log(window), math.log(window))

    def lattice(self, length: int) -> Lattice:
        """The whole law, for this length and others; a fraction of a second, once. Raises SpecError."""
        return self._short if check_length(length) <= SHORT else self._whole

    @cached_property
    def _short(self) -> Lattice:
        return self._carried(SHORT)

    @cached_property
    def _whole(self) -> Lattice:
        return self._carried(LONGEST)

    def _carried(self, longest: int) -> Lattice:
        laws = self.weights.pair, self.biases.pair
        return lattice_of(*laws, self.input, self.activation, self.negative_slope, longest)

    @cached_property
    def per_layer(self) -> tuple[float, float]:
        """By what a further layer changes mean and variance of the log product, deep in a chain."""
        one, other = self.product(LONGEST - 1), self.product(LONGEST)
        return other.mean - one.mean, other.variance - one.variance

    @cached_property
    def _sums(self) -> Array:
        """E[S^k; no factor 0], k = 0 ... 3, for lengths 1 ... 100: (100, 4)."""
        entry, slope = ACTIVATIONS[self.activation], negative_slope_of(self.activation, self.negative_slope)
        grid = grid_between(entry, slope, SPAN, GRADED, EVEN)
        first = _step(entry, slope, self, np.array([self.input]), grid, weighted=False)
        further = _step(entry, slope, self, grid, grid, weighted=True)
        behind = np.zeros((MOMENTS, len(grid)))
        behind[0] = 1.0
        sums = np.empty((LONGEST, MOMENTS))
        for length in range(LONGEST):
            sums[length] = _onwards(first, behind)[:, 0]
            behind = _onwards(further, behind)
        return sums


def predict_chains(
    weights: Normal = STANDARD,
    biases: Normal = STANDARD,
    input: float = 0.5,
    activation: str = "sigmoid",
    negative_slope: float | None = None,
) -> Prediction:
    """The prediction for random chains of every length. Raises SpecError for an unknown activation.

    Meant for laws with some spread: without any, a `Chain` is the exact answer, and the grid's rounding of a would be
    all the spread there is. A derivative that underflows in float64 (a sigmoid beyond |z| = 745) counts as 0, as in a
    drawn chain.
    """
    check_activation(activation, negative_slope)
    return Prediction(weights, biases, check_number("input", input, WEIGHT), activation, negative_slope)


def _onwards(step: Array, behind: Array) -> Array:
    """One layer put in front: E (l + S)^k from the layer's moments l^i (``step``: i, from, to) and S^(k - i) behind."""
    return np.array([sum(math.comb(k, i) * step[i] @ behind[k - i] for i in range(k + 1)) for k in range(MOMENTS)])


# --- one layer ------------------------------------------------------------------------------------------------


def _step(entry: Activation, slope: float, law: Prediction, start: Array, grid: Array, weighted: bool) -> Array:
    """E[l^k; a' near grid point] from each a of ``start``: (4, len(start), len(grid)), l = ln |w sigma'(z)|, or
    ln |sigma'(z)| where not ``weighted``. A slope of 0 ends the chain and is left out."""
    found = np.zeros((MOMENTS, len(start), len(grid)))
    special = (*singular_slopes(entry.code, slope), law.biases.mean)
    for row, a in enumerate(start):
        z, share, mean, spread = nodes_of(a, law.weights.pair, law.biases.pair, special, entry.kinks, FINEST, NODES)
        with np.errstate(divide="ignore"):
            log_slope = np.log(np.abs(entry.derivative(z, slope)))
        logs = np.zeros((MOMENTS, len(z)))
        logs[0] = 1.0
        if weighted:
            centre, std = given_z(z, a, mean, spread, law.weights.pair, law.biases.pair)
            logs = log_of_normal(centre, np.full(len(z), std))
        alive = np.isfinite(log_slope) & (logs[0] > 0.0)
        logs = _shifted(logs[:, alive], log_slope[alive]) * share[alive]
        left, part = between(entry.value(z[alive], slope), grid)
        for k in range(MOMENTS):
            found[k, row] = np.bincount(left, logs[k] * (1.0 - part), len(grid))
            found[k, row] += np.bincount(left + 1, logs[k] * part, len(grid))
    return found


def _shifted(moments: Array, by: Array) -> Array:
    """Moments of X + by from those of X, both (4, n) and (n,)."""
    rows = range(MOMENTS)
    return np.array([sum(math.comb(k, i) * moments[i] * by ** (k - i) for i in range(k + 1)) for k in rows])
