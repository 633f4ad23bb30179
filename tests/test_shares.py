"""Dead units: orthant probabilities, and real networks where a norm shifts the kink."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gradcore as gc
from tests.agreement import limit


@pytest.mark.parametrize("c", [0.0, 0.3, 0.9])
def test_dead_relus_are_orthant_probabilities(c: float) -> None:
    """P(z_b < 0 for all b): 1/2, 1/4 + arcsin(c)/2 pi and 1/8 + 3 arcsin(c)/4 pi for 1, 2 and 3 samples."""
    exact = (0.5, 0.25 + math.asin(c) / (2 * math.pi), 0.125 + 3 * math.asin(c) / (4 * math.pi))
    for batch, share in zip((1, 2, 3), exact, strict=True):
        profile = gc.predict(gc.Spec(depth=2, batch_size=batch, input_correlation=c))
        assert profile.dead[0] == pytest.approx(share, abs=1e-6)


@pytest.mark.parametrize(
    "fields",
    [
        {"norm": "batch", "norm_beta": -1.0},
        {"norm": "layer", "norm_beta": -0.5, "input_correlation": 0.5},
        {"init": "eye", "gain": 0.9, "input_correlation": 0.5},
        {"init": "constant", "gain": 0.05, "input_correlation": 0.5},
    ],
    ids=str,
)
def test_dead_share_against_torch(fields: dict) -> None:
    """Mean over networks of the counted share: their scatter, and 2/width a layer where infinite width is used."""
    networks, width = 60, 200
    spec = gc.Spec(**{"depth": 3, "width": width, "batch_size": 4, **fields})
    dead = gc.measure(spec, networks=networks, seed=1).dead
    error = dead.std(axis=0, ddof=1) / math.sqrt(networks)
    gap = np.abs(dead.mean(axis=0) - gc.predict(spec).dead)
    assert np.all(gap < limit(3, networks) * error + 2.0 * spec.depth / width), (gap, error)
    assert gc.predict(spec).dead.max() > 0.05
