"""The whole law of a chain's log product, carried layer by layer on a lattice: the shape beside the moments.

The state is (activation, S): probabilities on a grid of activations times equal steps of S. Given the activation, the
step of S is ln |sigma'(z)| plus ln |w| for the normal law of w given z, so a layer is a convolution in S. What leaves
the lattice is lost: it is far outside every window asked for. Natural logarithms. Source: ours; tests/test_chain.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from gradcore.activations import ACTIVATIONS, Activation, negative_slope_of
from gradcore.experiments.chain.nodes import between, given_z, grid_between, nodes_of, singular_slopes
from gradcore.experiments.chain.single import LONGEST, check_length

Array = np.ndarray
STEP = math.log(10.0) / 8.0  # of S: a decade is a whole number of steps
HALF = 240  # steps to either side: 30 decades
SIZE = 2 * HALF + 1  # cells; cell m holds S between (m - HALF -+ 1/2) STEP
FFT = 972  # at least 2 SIZE - 1 and a product of small primes: no convolution wraps round
NODES = 6  # a panel of z
FINEST = 1e-3
SPAN = (1e-3, 1e3)  # sizes of a between which the grid of an unbounded activation reaches
POINTS = (26, 25)  # graded and even points of that grid
EDGES = (np.arange(SIZE + 1) - HALF - 0.5) * STEP


@dataclass(frozen=True)
class Lattice:
    """Probabilities of S for lengths 1, 2, ...: ``product`` and ``ratio`` (lengths, cells), see `Prediction`; every row
    sums to the share of chains that are on the lattice."""

    product: Array
    ratio: Array

    def share(self, length: int, low: float, high: float) -> float:
        """P(low <= ln ratio <= high) for chains of this length, within a cell by its part. Raises SpecError."""
        row = self.ratio[check_length(length) - 1]
        inside = np.minimum(EDGES[1:], high) - np.maximum(EDGES[:-1], low)
        return float(row @ np.clip(inside / STEP, 0.0, 1.0))

    def density(self, length: int) -> tuple[Array, Array]:
        """Cell centres of ln |product| and the density there."""
        return 0.5 * (EDGES[1:] + EDGES[:-1]), self.product[check_length(length) - 1] / STEP


def lattice_of(
    weights: tuple[float, float],
    biases: tuple[float, float],
    start: float,
    code: str,
    negative_slope: float | None,
    longest: int = LONGEST,
) -> Lattice:
    """Carry the law through ``longest`` layers. ``weights`` and ``biases`` are (mean, std); ``start`` is a_0."""
    entry, slope = ACTIVATIONS[code], negative_slope_of(code, negative_slope)
    grid = grid_between(entry, slope, SPAN, *POINTS)
    first = _kernel(entry, slope, weights, biases, start, grid, weighted=False)
    rows = [_kernel(entry, slope, weights, biases, float(a), grid, weighted=True) for a in grid]
    kernel = np.ascontiguousarray(np.fft.rfft(np.array(rows), FFT, axis=2).transpose(2, 1, 0))  # frequency, to, from
    last = np.fft.rfft(_log_weight(weights), FFT)
    state, product, ratio = first, np.zeros((longest, SIZE)), np.zeros((longest, SIZE))
    ratio[0, HALF] = 1.0
    for length in range(longest):
        product[length] = state.sum(axis=0)
        waves = np.fft.rfft(state, FFT, axis=1).T[..., None]
        if length + 1 < longest:
            ratio[length + 1] = _back(waves.sum(axis=1)[:, 0] * last)
            state = _back((kernel @ waves)[..., 0].T)
    return Lattice(product, ratio)


def _back(waves: Array) -> Array:
    """The convolution, on the lattice."""
    return np.maximum(np.fft.irfft(waves, FFT)[..., HALF : HALF + SIZE], 0.0)


def _kernel(
    entry: Activation,
    slope: float,
    weights: tuple[float, float],
    biases: tuple[float, float],
    a: float,
    grid: Array,
    weighted: bool,
) -> Array:
    """P(a' near grid point, step of S in cell) from the activation ``a``: (grid, cells)."""
    special = (*singular_slopes(entry.code, slope), biases[0])
    z, share, mean, spread = nodes_of(a, weights, biases, special, entry.kinks, FINEST, NODES)
    with np.errstate(divide="ignore"):
        log_slope = np.log(np.abs(entry.derivative(z, slope)))
    alive = np.isfinite(log_slope)
    z, share, log_slope = z[alive], share[alive], log_slope[alive]
    if weighted:
        centre, std = given_z(z, a, mean, spread, weights, biases)
        reached = _below(EDGES[None, :] - log_slope[:, None], centre[:, None], std)
        cells = np.diff(reached, axis=1)
    else:
        cells = _placed(log_slope)
    left, part = between(entry.value(z, slope), grid)
    spreading = np.zeros((len(grid), len(z)))
    np.add.at(spreading, (left, np.arange(len(z))), share * (1.0 - part))
    np.add.at(spreading, (left + 1, np.arange(len(z))), share * part)
    return spreading @ cells


def _placed(logs: Array) -> Array:
    """Each logarithm shared by the two cells around it, so that its mean is kept: (n, cells)."""
    cells = np.zeros((len(logs), SIZE))
    at = logs / STEP + HALF
    inside = np.flatnonzero((at >= 0.0) & (at < SIZE - 1))
    left = at[inside].astype(int)
    cells[inside, left] = 1.0 - (at[inside] - left)
    cells[inside, left + 1] = at[inside] - left
    return cells


def _log_weight(weights: tuple[float, float]) -> Array:
    """P(ln |w| in cell)."""
    return np.diff(_below(EDGES[None, :], np.array([[weights[0]]]), weights[1]), axis=1)[0]


def _below(log_size: Array, centre: Array, std: float) -> Array:
    """P(ln |w| <= log_size) for w ~ N(centre, std^2)."""
    size = np.exp(np.minimum(log_size, 300.0))
    if std == 0.0:
        return (np.abs(centre) <= size) & (centre != 0.0)
    return _phi((size - centre) / std) - _phi((-size - centre) / std)


@cache
def _phi_table() -> tuple[Array, Array]:
    at = np.linspace(-9.0, 9.0, 18001)
    return at, np.array([0.5 * math.erfc(-x / math.sqrt(2.0)) for x in at])


def _phi(x: Array) -> Array:
    """The normal distribution function, absolute error below 1e-7."""
    return np.interp(x, *_phi_table())
