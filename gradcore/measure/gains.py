"""Gains by experiment: torch's own functions on N(0, 1) samples, and what calculate_gain says."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gradcore.activations import ACTIVATIONS, Activation, negative_slope_of
from gradcore.errors import SpecError
from gradcore.fields import FIELDS
from gradcore.measure.network import INPUTS, check_index, generator

SAMPLES = 10_000  # the usual exercise's
MOST_SAMPLES = 10_000_000


@dataclass(frozen=True)
class SampledGain:
    """Monte-Carlo gains of one activation from ``samples`` draws, each with its standard error (a factor in RMS).

    ``forward`` mean(phi(x)^2)^(-1/2), ``backward`` mean(phi'(x)^2)^(-1/2), ``spread`` std(x)/std(phi(x));
    ``torch`` what calculate_gain returns, None where it raises ValueError.
    """

    activation: str
    samples: int
    torch: float | None
    forward: float
    forward_error: float
    backward: float
    backward_error: float
    spread: float
    spread_error: float

    def distance(self, name: str, exact: float) -> float:
        """Standard errors between the estimate ``name`` and this exact value; 0 where they are equal to rounding."""
        gap = getattr(self, name) - exact
        if abs(gap) <= 1e-12 * abs(exact):
            return 0.0
        error = getattr(self, f"{name}_error")
        return gap / error if error > 0.0 else math.copysign(math.inf, gap)

    def farthest(self, forward: float, backward: float) -> float:
        """The larger of both distances from these exact gains, in standard errors."""
        return max(abs(self.distance("forward", forward)), abs(self.distance("backward", backward)))


def calculate_gain(activation: str, negative_slope: float | None = None) -> float | None:
    """torch.nn.init.calculate_gain of this activation; None where torch has none (it raises ValueError)."""
    slope = negative_slope_of(activation, negative_slope)
    parameter = slope if ACTIVATIONS[activation].default_slope is not None else None
    try:
        return float(torch.nn.init.calculate_gain(activation, parameter))  # type: ignore[arg-type]
    except ValueError:
        return None


def sample_gains(samples: int = SAMPLES, seed: int = 0, negative_slope: float | None = None) -> tuple[SampledGain, ...]:
    """The gains of every activation from ``samples`` draws of N(0, 1) each, in the table's order.

    Every activation has draws of its own, set by (seed, its place in the table), so that their errors are independent.
    Values and derivatives are torch's (float64, autograd). Standard errors by the delta method. The bias of an
    estimate is of order 1/samples, below a hundredth of its error from 10,000 samples on. Raises SpecError.
    """
    if isinstance(samples, bool) or not isinstance(samples, int) or not 2 <= samples <= MOST_SAMPLES:
        raise SpecError("samples", samples, f"an integer from 2 to {MOST_SAMPLES:,}")
    check_index("seed", seed)
    negative_slope = FIELDS["negative_slope"].check("negative_slope", negative_slope)
    return tuple(
        _sampled(entry, samples, generator(seed, index, INPUTS), negative_slope)
        for index, entry in enumerate(ACTIVATIONS.values())
    )


def _sampled(entry: Activation, samples: int, draws: torch.Generator, negative_slope: float | None) -> SampledGain:
    x = torch.randn(samples, generator=draws, dtype=torch.float64).requires_grad_(True)
    module = entry.torch_module(torch, negative_slope_of(entry.code, negative_slope)).double()
    value = module(x)
    (slope,) = torch.autograd.grad(value.sum(), x)
    x, value = x.detach(), value.detach()
    gain = calculate_gain(entry.code, negative_slope)
    return SampledGain(
        entry.code, samples, gain, *_root_gain(value.square()), *_root_gain(slope.square()), *_spread(x, value)
    )


def _root_gain(squares: Tensor) -> tuple[float, float]:
    """mean^(-1/2) of these squares and its standard error."""
    mean = float(squares.mean())
    if mean == 0.0:
        return math.inf, math.inf
    error = float(squares.std()) / math.sqrt(len(squares))
    return mean**-0.5, 0.5 * mean**-1.5 * error


def _spread(x: Tensor, value: Tensor) -> tuple[float, float]:
    """std(x)/std(value) and its standard error: x and its image scatter together, so the error is of their ratio."""
    x, value = (x - x.mean()).square(), (value - value.mean()).square()
    if float(value.mean()) == 0.0:
        return math.inf, math.inf
    ratio = math.sqrt(float(x.mean() / value.mean()))
    influence = 0.5 * (x / x.mean() - value / value.mean())
    return ratio, ratio * float(influence.std()) / math.sqrt(len(x))
