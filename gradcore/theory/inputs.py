"""The input batch as theory sees it: its Gram matrix. Digits are scikit-learn's bundled handwritten digits."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray


@lru_cache(maxsize=1)
def _all_digits() -> Array:
    from sklearn.datasets import load_digits

    pixels, _labels = load_digits(return_X_y=True)
    return np.asarray(pixels, dtype=np.float64)


def digits_batch(batch_size: int, rms: float) -> Array:
    """(B, 64) the first images of scikit-learn's digits, each rescaled to this RMS, not centred."""
    x = _all_digits()[:batch_size]
    return x * (rms / np.sqrt(np.mean(x * x, axis=1, keepdims=True)))


@lru_cache(maxsize=16)
def _digit_correlations(batch_size: int) -> Array:
    x = digits_batch(batch_size, 1.0)
    rows, columns = np.triu_indices(batch_size, 1)
    return np.minimum((x @ x.T)[rows, columns] / x.shape[1], 1.0)


def input_correlations(spec: Spec) -> Array:
    """(P,) correlations x_a . x_b / (abs(x_a) abs(x_b)) of the pairs of samples.

    Gaussian inputs are alike for all pairs: one number (also for B = 1, as of two hypothetical samples).
    Digits: one entry per pair a < b (none for B = 1).
    """
    if spec.input == "digits":
        return _digit_correlations(spec.batch_size)
    return np.array([spec.input_correlation])
