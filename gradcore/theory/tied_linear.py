"""What tied weights do to products of steps, in closed form: a linear recurrent network and a cell with a skip path.

G is n x n with independent entries of variance 1/n, the same at every step; v a unit vector independent of it.
"""

from __future__ import annotations

import math

import numpy as np

from gradcore.errors import SpecError

Array = np.ndarray


def log_skip_power(skip: float, weight: float, steps: int) -> float:
    """ln E|(a I + b G)^k v|^2 for a = skip, b = weight, k = steps and the same G at each step.

    E|J^k v|^2 = sum_j C(k, j)^2 a^(2(k-j)) b^(2j), which grows as (|a| + |b|)^(2k) / sqrt(k): the k!/(j!(k-j)!) orders
    in which the weights can act all give the same vector and add up coherently. Independent G at each step give
    (a^2 + b^2)^k. Source: ours (a Legendre polynomial). Validity: infinite width, k fixed; -inf for an exact zero.
    """
    a, b = abs(skip), abs(weight)
    if a == 0.0 or b == 0.0:
        return 2.0 * steps * math.log(a + b) if a + b > 0.0 and steps else (0.0 if steps == 0 else -math.inf)
    j = np.arange(steps + 1)
    fact = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, steps + 1)))])
    terms = 2.0 * (fact[steps] - fact[j] - fact[steps - j] + (steps - j) * math.log(a) + j * math.log(b))
    return float(np.logaddexp.reduce(terms))


def log_ginibre_power(width: int, steps: int) -> float:
    """ln E|G^k v|^2 for a complex Ginibre matrix of this width: what a finite width adds to the 0 of infinite width.

    E = (rising(n, k+2) - falling(n, k+2)) / ((k+1)(k+2) n^(k+1)), about 1 + k^4/(24 n^2): tied products leave the
    infinite-width value once k reaches about 2 sqrt(n), long before independent ones (k of order n). Real matrices
    have more (n = 50, k = 10: 1.40 measured, 1.20 here). Source: exact moments of complex Ginibre matrices. Exact.
    Raises SpecError for a width below 1 or negative steps.
    """
    if width < 1 or steps < 0:
        raise SpecError("width" if width < 1 else "steps", min(width, steps), "a width from 1 on and steps from 0 on")
    i = np.arange(steps + 2) / width
    rising = float(np.log1p(i).sum())
    falling = float(np.log1p(-i).sum()) if i[-1] < 1.0 else -math.inf
    difference = rising + math.log(-math.expm1(falling - rising))
    return difference + math.log(width) - math.log((steps + 1.0) * (steps + 2.0))


def tied_horizon(width: int) -> float:
    """Number of steps, 2 sqrt(n), from which a plain recurrent network of width n leaves its infinite-width theory.

    There the relative excess k^4 / (24 n^2) of a linear network at sigma_w = 1 is 2/3.
    """
    return 2.0 * math.sqrt(width)
