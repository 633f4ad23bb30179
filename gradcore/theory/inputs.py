"""The input batch as theory sees it: its Gram matrix. Digits are scikit-learn's bundled handwritten digits."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from gradcore.errors import UnsupportedError

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray


@lru_cache(maxsize=1)
def digits_table() -> Array:
    """(1797, 65) float64, not to be written to: 64 pixels from 0 to 16 and the digit of each image of scikit-learn's
    handwritten digits. Raises UnsupportedError where scikit-learn is not installed."""
    import gzip
    from importlib.util import find_spec
    from pathlib import Path

    found = find_spec("sklearn")
    if found is None or not found.submodule_search_locations:
        raise UnsupportedError(
            'input "digits"', "scikit-learn, which brings the images, is not installed", "pip install scikit-learn"
        )
    # the file that sklearn.datasets.load_digits reads, without importing scikit-learn and pandas (0.5 s)
    path = Path(found.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    with gzip.open(path, "rt") as file:
        return np.loadtxt(file, delimiter=",", dtype=np.float64)


def digits_batch(batch_size: int, rms: float) -> Array:
    """(B, 64) the first images of scikit-learn's digits, each rescaled to this RMS, not centred."""
    x = digits_table()[:batch_size, :-1]
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
