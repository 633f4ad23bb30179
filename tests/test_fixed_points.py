"""Fixed points of the variance map: they are fixed, their slopes are the map's, and known figures."""

from __future__ import annotations

import math

import pytest

import gradcore as gc
from gradcore.activations import ACTIVATIONS
from gradcore.theory.fixed_points import variance_fixed_points


def one_step(activation: str, sigma_w: float, sigma_b: float, q: float) -> float:
    """q of layer 2 when that of layer 1 is q, by the profile itself."""
    rms = math.sqrt(max(q - sigma_b**2, 0.0)) / sigma_w
    spec = gc.Spec(
        depth=2, activation=activation, init="lecun_normal", gain=sigma_w, bias_std=sigma_b, input_rms=max(rms, 1e-30)
    )
    return math.exp(gc.predict(spec).log_q[1])


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("sigma_w", "sigma_b"), [(0.8, 0.3), (1.5, 0.1), (2.5, 0.5)])
def test_the_map_returns_what_it_is_given(activation: str, sigma_w: float, sigma_b: float) -> None:
    for point in variance_fixed_points(activation, sigma_w, sigma_b):
        if point.q < sigma_b**2 * (1 + 1e-12):
            continue  # reached from no input
        assert one_step(activation, sigma_w, sigma_b, point.q) == pytest.approx(point.q, rel=1e-10)
        step = 1e-4 * point.q
        if point.q - step > sigma_b**2:
            slope = one_step(activation, sigma_w, sigma_b, point.q + step)
            slope -= one_step(activation, sigma_w, sigma_b, point.q - step)
            assert slope / (2 * step) == pytest.approx(point.chi_parallel, rel=1e-4, abs=1e-6)


def test_tanh_at_five_thirds() -> None:
    (point,) = variance_fixed_points("tanh", 5 / 3)
    assert point.q == pytest.approx(1.1785, abs=1e-4) and point.chi == pytest.approx(1.2098, abs=1e-4)
    assert point.stable


def test_gelu_at_its_exact_gain_is_unstable() -> None:
    points = variance_fixed_points("gelu", gc.exact_gain("gelu") * 1.0)
    unstable = [point for point in points if not point.stable]
    assert len(unstable) == 1 and unstable[0].chi_parallel > 1.0


def test_homogeneous_and_weightless_maps_have_none() -> None:
    assert variance_fixed_points("relu", 1.3) == () == variance_fixed_points("tanh", 0.0)
