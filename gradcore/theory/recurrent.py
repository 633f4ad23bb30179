"""Dynamical mean-field theory of recurrent cells with tied weights: particles in Gaussian fields that remember.

The same W_h acts at every step, so the recurrent part of a gate, H_g(t) = W_hg h_(t-1), is over the units of a wide
network a Gaussian process in time with Cov(H_g(t), H_g(s)) = sigma_w^2 E[h_(t-1) h_(s-1)], and the backward field
U(t-1) = sum_g W_hg^T dH_g(t) one with Cov(U(t-1), U(s-1)) = sigma_w^2 sum_g E[dH_g(t) dH_g(s)]. Biases persist; inputs
are drawn anew at every step. N particles, one unit each, are stepped through the cell itself and give the expectations.

With fresh weights and biases at each step (``tied=False``) the fields forget: the product of mean factors that
textbooks give. It is wrong for cells with a path around the weights (LSTM, GRU), whose terms add up coherently: see
``gradcore.theory.tied_linear``.

Units: second moments per unit, natural logs. Source: Sompolinsky, Crisanti & Zippelius 1988; Chen, Pennington &
Schoenholz 2018 and Gilboa et al. 2019 for the untied product; the backward fields are ours. Validity: infinite width
at a fixed number of steps; weights independent with equal variance, or each W_hg a Haar orthogonal matrix times
sigma_w (given the steps before, it maps what is new of h onto a uniform direction in the complement of few vectors:
the same law). Scatter of N = 2e4 particles: about 0.3% of a per-step factor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradcore.theory.cells import Cell, Pulled, State
from gradcore.theory.growing import SINGLE, GrowingGaussian

Array = np.ndarray
MOST_PARTICLES = 20_000
FEWEST_PARTICLES = 1_000
PARTICLE_STEPS = 800_000  # particles times steps held at once: 20,000 for 40 steps


@dataclass(frozen=True)
class CellLaw:
    """What the fields depend on: ``recurrent`` n Var W_h; ``inputs`` d Var W_i times the input's mean square;
    ``bias`` the variance of each bias; ``given`` gate -> the bias put in its input part (its recurrent bias is 0);
    ``initial`` the mean square of h_0 ~ N (c_0 = 0)."""

    recurrent: float
    inputs: float
    bias: float
    given: dict[str, float] = field(default_factory=dict)
    initial: float = 0.0


@dataclass(frozen=True)
class Curves:
    """(T,) each, step t at index t - 1: ``log_v`` ln E (dL/dh_t)^2 for the cotangent N(0, 1) on h_T alone, ``log_h``
    ln E h_t^2; ``gates`` name -> (T,) mean value over the units, ``spreads`` its std."""

    log_v: Array
    log_h: Array
    gates: dict[str, Array]
    spreads: dict[str, Array]


def particle_count(steps: int) -> int:
    """Units followed: 20,000 up to 40 steps, then so many that memory stays the same."""
    return int(min(MOST_PARTICLES, max(FEWEST_PARTICLES, PARTICLE_STEPS // steps)))


def curves(cell: Cell, law: CellLaw, steps: int, seed: int = 0, tied: bool = True, particles: int = 0) -> Curves:
    """Mean-field curves of a cell over ``steps`` steps; the same seed gives the same numbers."""
    return _Particles(cell, law, steps, particles or particle_count(steps), np.random.default_rng(seed), tied).run()


@dataclass(frozen=True)
class _Moment:
    """What one step keeps for the way back."""

    inputs: Array
    hidden: Array
    before: State
    after: State
    values: Array


class _Particles:
    def __init__(self, cell: Cell, law: CellLaw, steps: int, n: int, rng: np.random.Generator, tied: bool) -> None:
        self.cell, self.law, self.steps, self.n, self.rng, self.tied = cell, law, steps, n, rng, tied
        self.count = len(cell.gates)

    def run(self) -> Curves:
        """Forward, then backward."""
        moments, states = self._forward()
        values = np.array([[(v.mean(), v.std()) for v in m.values] for m in moments], dtype=float)  # (T, G, 2)
        gates, spreads = ({name: values[:, k, which] for k, name in enumerate(self.cell.gates)} for which in range(2))
        return Curves(self._backward(moments), _log(np.mean(states[1:] ** 2, axis=1)), gates, spreads)

    def _biases(self) -> tuple[Array, Array]:
        """Of the input and the recurrent parts, (G, N) each."""
        both = math.sqrt(self.law.bias) * self.rng.standard_normal((2, self.count, self.n), SINGLE)
        for name, value in self.law.given.items():
            k = self.cell.gates.index(name)
            both[0, k], both[1, k] = value, 0.0
        return both[0], both[1]

    def _overlaps(self, rows: Array, last: int) -> Array:
        """sigma_w^2 times the mean products of row ``last`` with those up to it; untied, with itself alone."""
        first = 0 if self.tied else last
        return (self.law.recurrent / self.n) * (rows[first : last + 1] @ rows[last]).astype(float)

    def _forward(self) -> tuple[list[_Moment], Array]:
        rng, law = self.rng, self.law
        states = np.empty((self.steps + 1, self.n))  # in double precision: without inputs they decay far
        states[0] = math.sqrt(law.initial) * rng.standard_normal(self.n)
        state = State(states[0], np.zeros(self.n))
        field_in_time = GrowingGaussian(rng, self.steps, self.count, self.n, self.tied)
        own, recurrent = self._biases()
        moments = []
        for t in range(self.steps):
            if t and not self.tied:
                own, recurrent = self._biases()
            overlaps = self._overlaps(states, t)
            hidden = field_in_time.next(overlaps[:-1], float(overlaps[-1])) + recurrent
            inputs = math.sqrt(law.inputs) * rng.standard_normal((self.count, self.n), SINGLE) + own
            after, values = self.cell.step(inputs, hidden, state)
            moments.append(_Moment(inputs, hidden, state, after, values))
            state, states[t + 1] = after, after.h
        return moments, states

    def _backward(self, moments: list[_Moment]) -> Array:
        """(T,) ln E (dL/dh_t)^2; every step in units of its own size, whose logarithm is kept."""
        log_v, scale = np.full(self.steps, -math.inf), 0.0
        sent = np.empty((self.steps, self.count * self.n), SINGLE)  # dH of the steps done, in their units
        field_in_time = GrowingGaussian(self.rng, self.steps, 1, self.n, self.tied)
        d = State(self.rng.standard_normal(self.n, SINGLE), np.zeros(self.n, SINGLE))
        d = State(d.h / math.sqrt(float(np.mean(d.h**2))), d.c)
        for k, moment in enumerate(reversed(moments)):
            size = float(np.mean(d.h**2) + np.mean(d.c**2))
            if size == 0.0:
                break
            log_v[self.steps - 1 - k] = scale + _log(float(np.mean(d.h**2)))
            scale += math.log(size)
            d = State(d.h / math.sqrt(size), d.c / math.sqrt(size))
            pulled: Pulled = self.cell.pull(moment.inputs, moment.hidden, moment.before, moment.after, moment.values, d)
            sent[k] = pulled.hidden.ravel()
            overlaps = self._overlaps(sent, k)
            fresh = field_in_time.next(overlaps[:-1], float(overlaps[-1]))[0]
            d = State(pulled.skip.h + fresh, pulled.skip.c)
        return log_v


def _log(square: Any) -> Any:
    with np.errstate(divide="ignore"):
        return np.log(square)
