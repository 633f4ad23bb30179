"""The weights of one layer as torch draws them: counts for a histogram, mean and second moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from gradcore.errors import SpecError, UnsupportedError
from gradcore.measure.network import WEIGHTS, check_index, generator
from gradcore.theory.critical import resolve_gain

if TYPE_CHECKING:
    from gradcore.spec import Spec

MOST_WEIGHTS = 4_000_000  # one matrix that is drawn within about a second
SAME = 1e-12  # weights that lie closer together than this part of their size are one value


@dataclass(frozen=True, eq=False)
class WeightSample:
    """Drawn weights of one layer: ``edges`` (bins + 1,) and ``counts`` (bins,) of their values, their ``mean`` and
    ``rms`` (root mean square), and the ``shape`` (fan_out, fan_in). All equal: one bin of no width."""

    shape: tuple[int, int]
    mean: float
    rms: float
    edges: np.ndarray
    counts: np.ndarray


def sample_weights(spec: Spec, layer: int = 1, seed: int = 0, bins: int = 60) -> WeightSample:
    """Draw the weight matrix of layer ``layer`` (1-based) by torch's own initializer, in float64.

    Layer 1 holds the weights of measured network 0 of this seed; other layers are further draws of their law. Raises
    SpecError for no such layer, UnsupportedError for more than MOST_WEIGHTS weights.
    """
    check_index("seed", seed)
    if isinstance(layer, bool) or not isinstance(layer, int) or not 1 <= layer <= spec.depth:
        raise SpecError("layer", layer, f"an integer from 1 to {spec.depth:,}")
    fan_in, fan_out = int(spec.fan_ins[layer - 1]), int(spec.layer_widths[layer - 1])
    if fan_in * fan_out > MOST_WEIGHTS:
        raise UnsupportedError(
            f"drawing {fan_out:,} × {fan_in:,} weights", "they take too long", f"up to {MOST_WEIGHTS:,} weights"
        )
    gain = float(resolve_gain(spec).multipliers[layer - 1])
    weight = torch.empty(fan_out, fan_in, dtype=torch.float64)
    spec.init_entry.fill(torch, weight, gain, spec.init_slope, spec.sparsity, generator(seed, layer - 1, WEIGHTS))
    values = weight.numpy().ravel()
    largest = float(np.abs(values).max())
    if np.ptp(values) <= SAME * largest:
        edges, counts = np.full(2, values[0]), np.array([values.size])
    else:
        counts, edges = np.histogram(values, bins=bins)
    rms = largest * float(np.sqrt(np.mean((values / largest) ** 2))) if largest else 0.0
    return WeightSample((fan_out, fan_in), float(values.mean()), rms, edges, counts)
