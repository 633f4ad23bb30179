"""Constant weights with biases in residual blocks: sampled units against torch, and against the exact map where biases
vanish.

Tolerances: five standard errors of the networks, and 10% of what the sampling states for itself.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

import gradcore as gc
from gradcore.theory.exact_blocks import ExactBlocks
from gradcore.theory.exact_units import ExactUnits

FORMS = ("post_activation", "two_layer", "resnet_v1")
CONSTANT: dict[str, Any] = {"depth": 5, "width": 256, "init": "constant", "gain": 0.005, "batch_size": 4}
CASES = [
    {
        "residual": form,
        "loss": loss,
        "activation": ("tanh", "relu", "gelu")[k % 3],
        "input_correlation": (0.0, 0.3, 1.0)[(k // 3) % 3],
        "input": "digits" if k % 4 == 3 else "gaussian",
        "bias_std": "default" if k % 5 == 4 else 0.3,
    }
    for k, (form, loss) in enumerate(itertools.product(FORMS, ("random", "mse", "cross_entropy")))
]


@pytest.mark.parametrize("fields", CASES, ids=str)
def test_against_torch(fields: dict[str, Any]) -> None:
    spec, networks = gc.Spec(**{**CONSTANT, **fields}), 60
    profile, measured = gc.predict(spec), gc.measure(spec, networks=networks, seed=5)
    assert "sampled_units" in [note.message_id for note in profile.notes]
    for name in ("log_q", "log_p", "log_g", "log_dw", "log_db"):
        ours = getattr(profile, name)
        nothing = np.isneginf(ours)  # cross-entropy inside a block: exactly zero, rounding in torch
        assert np.all(getattr(measured, name)[:, nothing] < -60.0)
        relative = np.exp(getattr(measured, name)[:, ~nothing] - ours[~nothing])
        error = relative.std(axis=0, ddof=1) / math.sqrt(networks)
        gap = np.abs(relative.mean(axis=0) - 1.0)
        assert np.all(gap < 5.0 * error + 0.1), (name, gap, error)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("loss", ["random", "mse"])
def test_vanishing_biases_are_the_exact_map(form: str, loss: str) -> None:
    """Biases of 1e-6: the paths' quadrature (1% of a moment, twice that of their square) and one draw of a random sum
    on each path (its square exact) are all that differs."""
    fields = {**CONSTANT, "residual": form, "loss": loss, "activation": "gelu", "input_correlation": 0.3}
    sampled, exact = ExactUnits(gc.Spec(**fields, bias_std=1e-6)), ExactBlocks(gc.Spec(**fields))
    for name in ("log_q", "log_p", "log_g", "correlations", "parameter_gradients", "chi", "chi_parallel"):
        ours, known = np.array(getattr(sampled, name)), np.array(getattr(exact, name))
        np.testing.assert_allclose(ours, known, atol=0.03, rtol=0.03, err_msg=name)


def test_sums_over_units_scatter() -> None:
    """tanh is odd: with biases of 1 and an input of 0.05 the sum over 256 units is mostly its own scatter."""
    spec = gc.Spec(
        **{**CONSTANT, "depth": 3, "residual": "two_layer", "activation": "tanh", "bias_std": 1.0, "input_rms": 0.05}
    )
    measured = np.exp(gc.measure(spec, networks=400, seed=6).log_q[:, 1])
    alone = float(spec.gain) ** 2 * 256 * 0.394  # g^2 n E tanh(Z)^2, all of it scatter
    error = measured.std(ddof=1) / 20.0
    ours = math.exp(gc.predict(spec).log_q[1])
    assert abs(measured.mean() - ours) < 4.0 * error + 0.1 * ours
    assert alone > 0.5 * ours
