"""Singular values of the Jacobian: their moments and law against torch's own backward pass."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t

import gradcore as gc

NETWORKS, WIDTH = 12, 200
FALSE_ALARM = 0.001


def spec_of(**fields: object) -> gc.Spec:
    return gc.Spec(**{"depth": 4, "width": WIDTH, "init": "lecun_normal", "batch_size": 1, **fields})


@pytest.mark.parametrize(
    ("fields", "spread"),
    [
        ({"activation": "linear"}, 5.0),
        ({"activation": "relu", "gain": math.sqrt(2)}, 8.0),
        ({"activation": "relu", "init": "orthogonal", "gain": math.sqrt(2)}, 4.0),
        ({"activation": "linear", "init": "orthogonal"}, 1.0),
        ({"activation": "tanh", "gain": 1.5, "bias_std": 0.2}, None),
        ({"activation": "tanh", "init": "orthogonal", "gain": 1.2}, None),
        ({"activation": "gelu", "gain": 1.4, "depth": 3}, None),
    ],
)
def test_moments_of_real_networks(fields: dict, spread: float | None) -> None:
    """ln m_1 and ln(m_2 / m_1^2) over networks: Student's limit, and what a finite width leaves open, (L + 1) / n of
    the first and as much for each of the spread's terms."""
    spec = spec_of(**fields)
    predicted = gc.jacobian(spec)
    if spread is not None:
        assert predicted.spread == pytest.approx(spread, rel=1e-12)
    squares = np.array([gc.singular_values(spec, seed=2, network=k) ** 2 for k in range(NETWORKS)])
    mean = squares.mean(axis=1)
    limit = t.isf(FALSE_ALARM / 2, NETWORKS - 1)
    for measured, expected, open_ in (
        (np.log(mean), predicted.log_mean_square, 2.0 * (spec.depth + 1) / WIDTH),
        (np.log((squares**2).mean(axis=1) / mean**2), math.log(predicted.spread), 4.0 * (spec.depth + 1) / WIDTH),
    ):
        error = measured.std(ddof=1) / math.sqrt(NETWORKS)
        assert abs(measured.mean() - expected) < limit * error + open_, (measured.mean(), expected, error)


@pytest.mark.parametrize("depth", [1, 2, 4, 10])
def test_the_density_has_its_moments(depth: int) -> None:
    """It integrates to 1, the squares to m_1 and their squares to (1 + L) m_1^2: the Fuss-Catalan numbers."""
    predicted = gc.jacobian(spec_of(activation="linear", depth=depth, gain=1.3))
    x, density = predicted.log10_density(4000)
    square = 10.0 ** (2.0 * x)
    first = math.exp(predicted.log_mean_square)
    assert first == pytest.approx(1.3 ** (2 * depth), rel=1e-12)
    # the lower end goes to -infinity like a power of x that 4000 points do not reach
    assert np.trapezoid(density, x) == pytest.approx(1.0, abs=0.02)
    assert np.trapezoid(density * square, x) == pytest.approx(first, rel=1e-3)
    assert np.trapezoid(density * square**2, x) == pytest.approx((1 + depth) * first**2, rel=1e-3)


def test_the_density_is_that_of_real_networks() -> None:
    """Shares of singular values between the density's own quartiles, over networks."""
    spec = spec_of(activation="linear", depth=3)
    x, density = gc.jacobian(spec).log10_density(4000)
    below = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(x))])
    below = below + (1.0 - below[-1])
    for share in (0.25, 0.5, 0.75):
        edge = float(np.interp(share, below, x))
        shares = [np.mean(np.log10(gc.singular_values(spec, seed=4, network=k)) < edge) for k in range(NETWORKS)]
        # eigenvalues repel: the share of one matrix scatters by order 1/n only
        assert abs(np.mean(shares) - share) < 4.0 / WIDTH + 0.01


def test_what_is_not_known_is_refused() -> None:
    for fields in ({"norm": "layer"}, {"residual": "identity"}, {"width": (20, 10, 10, 10)}, {"init": "constant"}):
        with pytest.raises(gc.UnsupportedError):
            gc.jacobian(spec_of(**fields))
    with pytest.raises(gc.UnsupportedError, match="linear"):
        gc.jacobian(spec_of(activation="tanh")).log10_density()
    with pytest.raises(gc.UnsupportedError, match="batch norm"):
        gc.singular_values(spec_of(norm="batch", batch_size=8))
    with pytest.raises(gc.UnsupportedError, match="2048"):
        gc.singular_values(spec_of(width=4096))
    with pytest.raises(gc.SpecError, match="spec"):
        gc.singular_values("relu")


def test_depth_one_and_norms_are_measured() -> None:
    assert gc.jacobian(spec_of(depth=1)).spread == pytest.approx(2.0)
    values = gc.singular_values(spec_of(norm="layer", width=30))
    assert values.shape == (30,) and np.all(np.diff(values) <= 0.0)
