"""A Gaussian process in time whose covariance is only known as it goes: sampled by a Cholesky factor that grows."""

from __future__ import annotations

import math

import numpy as np

Array = np.ndarray
JITTER = 1e-6  # share of a variance below which a new step counts as determined by the ones before: rounding
SINGLE = np.float32  # of the samples: an error of 1e-7 beside a scatter of 1e-3, in a quarter of the time


class GrowingGaussian:
    """``fields`` independent processes with one common covariance, ``particles`` samples of each.

    ``next(row, variance)`` draws step k = 0, 1, ... given Cov(k, 0..k-1) and Var(k). The steps may be in units of their
    own each, as long as the covariances are in the same: the factor's rows scale with them. With ``tied=False`` the
    covariances with earlier steps are taken as 0, as if the weights were drawn anew at every step.
    """

    def __init__(self, rng: np.random.Generator, steps: int, fields: int, particles: int, tied: bool = True) -> None:
        self._rng, self._tied = rng, tied
        self._normals = np.empty((steps if tied else 1, fields * particles), SINGLE)
        self._inverse = np.zeros((steps, steps))  # of the Cholesky factor, which grows by a row a step
        self._shape, self._step = (fields, particles), 0

    def next(self, row: Array, variance: float) -> Array:
        """(fields, particles): the next step, of variance ``variance`` and covariances ``row`` (k,) with those
        before."""
        k, self._step = self._step, self._step + 1
        if not self._tied:
            self._rng.standard_normal(out=self._normals[0], dtype=SINGLE)
            return math.sqrt(variance) * self._normals[0].reshape(self._shape)
        self._rng.standard_normal(out=self._normals[k], dtype=SINGLE)
        known = np.zeros(0)
        if k and variance > 0:
            known = self._inverse[:k, :k] @ row
        rest = math.sqrt(max(variance - float(known @ known), JITTER * variance))
        pivot = rest or 1.0  # a step that is exactly zero: any pivot will do, its covariances are 0 as well
        self._inverse[k, : known.size] = -(known @ self._inverse[: known.size, : known.size]) / pivot
        self._inverse[k, k] = 1.0 / pivot
        drawn = rest * self._normals[k]
        if known.size:
            drawn += known.astype(SINGLE) @ self._normals[:k]
        return drawn.reshape(self._shape)
