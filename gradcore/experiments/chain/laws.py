"""Random chains: weights and biases drawn from normal laws, and what their products of factors are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcore.activations import ACTIVATIONS, negative_slope_of
from gradcore.errors import SpecError
from gradcore.experiments.chain.single import (
    LARGEST,
    WEIGHT,
    Chain,
    check_activation,
    check_length,
    check_number,
    forward,
)

Array = np.ndarray
WIDEST = 100.0  # largest mean or standard deviation of a law
MOST_DRAWS = 200_000
CELLS = 2_000_000  # weights held at once


@dataclass(frozen=True)
class Normal:
    """The law N(mean, std^2) of a weight or a bias; std 0 is a fixed number. Raises SpecError for |mean| or std beyond
    100."""

    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        for field, low in (("mean", -WIDEST), ("std", 0.0)):
            value = getattr(self, field)
            if not isinstance(value, (int, float, np.number)) or not low <= value <= WIDEST:
                raise SpecError(field, value, f"a number from {low:g} to {WIDEST:g}")
            object.__setattr__(self, field, float(value))

    @property
    def pair(self) -> tuple[float, float]:
        """(mean, std)."""
        return self.mean, self.std

    def below(self, size: float) -> float:
        """P(|x| < size)."""
        if self.std == 0.0:
            return float(abs(self.mean) < size)
        scale = self.std * math.sqrt(2.0)
        return 0.5 * (math.erf((size - self.mean) / scale) - math.erf((-size - self.mean) / scale))


STANDARD = Normal()


def random_chain(
    length: int = 4, weights: Normal = STANDARD, biases: Normal = STANDARD, seed: int = 0, **fields: Any
) -> Chain:
    """The chain of this seed: weights and biases drawn one layer after the other, so that a longer chain of the same
    seed begins alike. ``fields`` are those of Chain. Raises SpecError."""
    return Chain(*drawn_numbers(length, weights, biases, seed), **fields)


def drawn_numbers(
    length: int, weights: Normal, biases: Normal, seed: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The weights and biases of that chain. Raises SpecError."""
    drawn = np.random.default_rng(_seed(seed)).standard_normal((check_length(length), 2))
    w, b = weights.mean + weights.std * drawn[:, 0], biases.mean + biases.std * drawn[:, 1]
    return tuple(w.tolist()), tuple(b.tolist())


def _seed(seed: Any) -> int:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise SpecError("seed", seed, "an integer from 0")
    return int(seed)


@dataclass(frozen=True)
class Draws:
    """Random chains of one law.

    ``log_product`` (chains,): ln of |da_L/db_1|, the product of all factors without the cost's. ``log_ratio``
    (chains, L): ln |dC/db_1| / |dC/db_l| for l = 1 ... L. ``above`` (chains,): factors |w_j sigma'(z_j)| >= 1 of the
    L - 1. ``small``: share of the weights with |w| < 1 and < 1/4. -inf where a derivative is 0 in float64.
    """

    log_product: Array
    log_ratio: Array
    above: Array
    small: tuple[float, float]

    @property
    def alive(self) -> float:
        """Share of the chains whose product is not exactly 0."""
        return float(np.isfinite(self.log_product).mean())

    @property
    def mean(self) -> float:
        """Mean ln of the product, of the chains where it is not 0."""
        return float(self.log_product[np.isfinite(self.log_product)].mean())

    @property
    def std(self) -> float:
        """Its standard deviation."""
        return float(self.log_product[np.isfinite(self.log_product)].std(ddof=1))

    def balanced(self, window: float = 10.0) -> Array:
        """Share of chains whose ratio |dC/db_1| / |dC/db_l| lies in [1/window, window], for l = 1 ... L, (L,)."""
        return (np.abs(self.log_ratio) <= math.log(window)).mean(axis=0)


def draw_chains(
    length: int = 4,
    weights: Normal = STANDARD,
    biases: Normal = STANDARD,
    draws: int = 10_000,
    seed: int = 0,
    input: float = 0.5,
    activation: str = "sigmoid",
    negative_slope: float | None = None,
) -> Draws:
    """Draw ``draws`` chains and multiply their factors, in float64. Raises SpecError.

    Chains that explode so far that |z| passes 1e100 are held there: a unit that large is on a tail of its activation,
    where the slope no longer changes.
    """
    check_activation(activation, negative_slope)
    length, input = check_length(length), check_number("input", input, WEIGHT)
    if isinstance(draws, bool) or not isinstance(draws, (int, np.integer)) or not 1 <= draws <= MOST_DRAWS:
        raise SpecError("draws", draws, f"an integer from 1 to {MOST_DRAWS:,}")
    generator = np.random.default_rng(_seed(seed))
    parts, left = [], int(draws)
    while left:
        size = min(left, max(1, CELLS // length))
        drawn = generator.standard_normal((size, length, 2))
        w, b = weights.mean + weights.std * drawn[..., 0], biases.mean + biases.std * drawn[..., 1]
        parts.append(_products(activation, negative_slope_of(activation, negative_slope), w, b, input))
        left -= size
    product, ratio, above, small = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    shares = small.mean(axis=0)
    return Draws(product, ratio, above, (float(shares[0]), float(shares[1])))


def _products(code: str, slope: float, w: Array, b: Array, start: float) -> tuple[Array, ...]:
    entry = ACTIVATIONS[code]
    with np.errstate(over="ignore", invalid="ignore"):
        z, _ = forward(entry, slope, w, b, start)
    z = np.clip(np.nan_to_num(z, nan=LARGEST, posinf=LARGEST, neginf=-LARGEST), -LARGEST, LARGEST)
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = np.log(np.abs(entry.derivative(z, slope)))
        sizes = np.log(np.abs(w))
        product = slopes.sum(axis=1) + sizes[:, 1:].sum(axis=1)
        steps = np.cumsum(slopes[:, :-1] + sizes[:, 1:], axis=1)
    ratio = np.concatenate([np.zeros((len(w), 1)), steps], axis=1)
    above = (slopes[:, 1:] + sizes[:, 1:] >= 0.0).sum(axis=1)
    small = np.stack([(np.abs(w) < 1.0).mean(axis=1), (np.abs(w) < 0.25).mean(axis=1)], axis=1)
    return product, ratio, above, small
