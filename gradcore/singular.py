"""Singular values of one real network's Jacobian, measured by torch: the counterpart of ``jacobian``."""

from __future__ import annotations

import numpy as np

from gradcore.errors import SpecError
from gradcore.spec import Spec


def singular_values(spec: Spec, *, seed: int = 0, network: int = 0) -> np.ndarray:
    """(min(input width, output width),) singular values of dz^L/dx^0, descending, of measured network ``network``.

    At the first sample of its batch, in float64; the same weights and input as ``measure`` uses for this seed and
    network. Raises SpecError, and UnsupportedError for widths beyond 2048 and for batch norm.
    """
    if not isinstance(spec, Spec):
        raise SpecError("spec", spec, "a gradcore.Spec", "Make one with gradcore.Spec(...).")
    from gradcore.measure.jacobian import singular_values as measured

    return measured(spec, seed, network)
