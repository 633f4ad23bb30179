"""Batch norm on unequal samples: the recursion of Gram matrices against torch, and against the equicorrelated one."""

from __future__ import annotations

import numpy as np
import pytest

import gradcore as gc
from gradcore.measure import network
from gradcore.theory import gram_field

DIGITS = {"norm": "batch", "input": "digits", "init": "kaiming_normal", "depth": 10, "width": 300, "batch_size": 8}


@pytest.fixture
def batch(monkeypatch: pytest.MonkeyPatch):
    """Put a batch with any Gram matrix (of ones on its diagonal) in the place of the images."""

    def put(gram: np.ndarray) -> None:
        root = np.linalg.cholesky(gram + 1e-12 * np.eye(len(gram)))
        x = np.hstack([root, np.zeros((len(gram), 64 - len(gram)))]) * 8.0
        for module in (gram_field, network):
            monkeypatch.setattr(module, "digits_batch", lambda batch_size, rms: rms * x[:batch_size])

    return put


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"activation": "tanh", "bias_std": 0.3, "norm_gamma": 1.5, "norm_beta": -0.2},
        {"norm_position": "after", "activation": "tanh", "batch_size": 16},
        {"residual": "identity", "residual_scale": 0.5, "activation": "gelu"},
        {"residual": "identity", "norm_position": "after", "activation": "silu", "residual_scale": "1/sqrt(L)"},
        {"loss": "cross_entropy"},
        {"loss": "mse"},
        {"loss": "mse", "init": "orthogonal", "activation": "tanh", "bias_std": 0.3},
        {"batch_size": 40, "activation": "selu"},  # more directions than are sent back one by one
    ],
    ids=str,
)
def test_digits_against_torch(fields: dict) -> None:
    spec = gc.Spec(**{**DIGITS, **fields})
    comparison = gc.compare(gc.predict(spec), gc.measure(spec, networks=16, seed=1))
    assert comparison.agrees(), comparison


@pytest.mark.parametrize(("activation", "first"), [("relu", 5.31), ("linear", 10.68)])
def test_equal_correlations_are_the_known_case(batch, activation: str, first: float) -> None:
    """B = 32, all correlations 0.9: the closed recursion for equal samples, and its first factor (Yang et al. 2019)."""
    b, c = 32, 0.9
    batch(np.full((b, b), c) + (1 - c) * np.eye(b))
    fields = {**DIGITS, "activation": activation, "batch_size": b, "norm_eps": 1e-12, "depth": 8}
    sampled = gc.predict(gc.Spec(**fields))
    closed = gc.predict(gc.Spec(**{**fields, "input": "gaussian", "input_width": 64, "input_correlation": c}))
    assert isinstance(sampled._field, gram_field.GramField)
    for name in ("log_q", "log_p", "log_g", "log_dw"):
        assert getattr(sampled, name) == pytest.approx(getattr(closed, name), abs=0.02), name
    assert sampled.correlation == pytest.approx(closed.correlation, abs=0.01)
    assert sampled.chi[0] == pytest.approx(first, rel=0.01)
    assert sampled.chi[1:] == pytest.approx(closed.chi[1:], rel=0.01)


def test_two_clusters_take_several_layers(batch) -> None:
    """Within a cluster samples are correlated by 0.99: the factors fall over several layers, as measured ones do."""
    b = 16
    side = np.arange(b) < b // 2
    gram = np.where(np.equal.outer(side, side), 0.99, 0.0)
    np.fill_diagonal(gram, 1.0)
    batch(gram)
    spec = gc.Spec(**{**DIGITS, "batch_size": b, "width": 500, "depth": 9})
    profile, measured = gc.predict(spec), gc.measure(spec, networks=24, seed=2)
    assert gc.compare(profile, measured).agrees()
    factors = np.exp(profile.log_g[:-1] - profile.log_g[1:])[:5]
    logs = measured.log_g[:, :5] - measured.log_g[:, 1:6]
    error = logs.std(axis=0, ddof=1) / np.sqrt(24)
    assert np.abs(logs.mean(axis=0) - np.log(factors)).max() < (4.0 * error + 4.0 / 500).max()
    assert factors[0] > 2.0 * factors[1] > 2.0 * 1.3 * factors[4]  # a transient of more than one layer
