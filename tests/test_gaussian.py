"""Gaussian moments against 30-digit integration (tests/reference), and their continuation beyond the quadrature."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from gradcore.activations import ACTIVATIONS, negative_slope_of
from gradcore.theory.gaussian import LOG_HIGH, LOG_LOW, GaussianMoments, moments_of

REFERENCE = json.loads((Path(__file__).parent / "reference" / "gaussian_moments.json").read_text())
LOG_Q = np.log([float(q) for q in REFERENCE["q"]])


def _moments(code: str) -> GaussianMoments:
    return moments_of(code, negative_slope_of(code, None))


def test_reference_covers_the_table() -> None:
    assert set(REFERENCE["activations"]) == set(ACTIVATIONS)
    assert LOG_Q[0] == pytest.approx(math.log(1e-12)) and LOG_Q[-1] == pytest.approx(math.log(1e12))


@pytest.mark.parametrize("code", ACTIVATIONS)
def test_moments_to_12_digits(code: str) -> None:
    """E phi^2 and E phi'^2 to 1e-12 relative, E phi to 1e-12 of sqrt(E phi^2), q from 1e-12 to 1e12."""
    rows = {name: np.array([float(x) for x in values]) for name, values in REFERENCE["activations"][code].items()}
    m = _moments(code).at(LOG_Q)
    assert np.abs(np.expm1(m.log_second - np.log(rows["A"]))).max() < 1e-12
    assert np.abs(np.expm1(m.log_slope_second - np.log(rows["D"]))).max() < 1e-12
    assert np.abs(m.mean_ratio - rows["M"] / np.sqrt(rows["A"])).max() < 1e-12


@pytest.mark.parametrize("code", ACTIVATIONS)
def test_scalar_path_equals_vectorised(code: str) -> None:
    moments = _moments(code)
    scalar = np.array([moments.log_second(q) for q in LOG_Q.tolist()])
    assert np.allclose(scalar, moments.at(LOG_Q).log_second, rtol=0, atol=1e-13)


@pytest.mark.parametrize("code", [c for c, a in ACTIVATIONS.items() if a.closed is not None and not a.oscillates])
def test_closed_forms_against_quadrature(code: str) -> None:
    moments = _moments(code)
    e = moments.expectations(LOG_Q)
    mean, second, slope = moments.closed(np.exp(LOG_Q))
    assert np.allclose(e["second"], second, rtol=1e-12)
    assert np.allclose(e["slope_second"], slope, rtol=1e-12)
    assert np.abs((e["mean"] - mean) / np.sqrt(second)).max() < 1e-12


@pytest.mark.parametrize("code", ACTIVATIONS)
def test_second_slope_is_the_derivative_of_the_second_moment(code: str) -> None:
    """dA/dq by h phi phi' against central differences of A, where differences carry enough digits."""
    moments, log_q, step = _moments(code), np.log(np.array([0.1, 0.5, 1.0, 2.0, 5.0])), 1e-4
    q = np.exp(log_q)
    high, low = (np.exp(moments.at(log_q + s).log_second) for s in (step, -step))
    numeric = (high - low) / (2 * step) / q
    # the difference quotient errs by step^2 / 6 times the third derivative, itself of the size of A
    assert np.allclose(
        moments.at(log_q).second_slope, numeric, rtol=0, atol=1e-7 * np.exp(moments.at(log_q).log_second) / q
    )


@pytest.mark.parametrize("code", ACTIVATIONS)
def test_continuation_is_continuous_and_finite(code: str) -> None:
    """Just inside and outside 1e-30 and 1e30 the moments join; at exp(+-50,000) they are numbers."""
    moments = _moments(code)
    for edge in (LOG_LOW, LOG_HIGH):
        a, b = (moments.at(np.array(edge + d)) for d in (-1e-9, 1e-9))
        assert abs(float(a.log_second - b.log_second)) < 1e-8
        assert abs(float(a.log_slope_second - b.log_slope_second)) < 1e-8
    far = moments.at(np.array([-5e4, -math.inf, 5e4]))
    for name, values in vars(far).items():
        assert not np.isnan(values).any(), name


@pytest.mark.parametrize("shift", [0.7, -2.0])
@pytest.mark.parametrize("code", ["relu", "tanh", "gelu", "hardtanh", "sin"])
def test_shifted_moments_against_dense_trapezoid(code: str, shift: float) -> None:
    """phi(beta + s Z) against a fine Riemann sum; kinks limit the sum to second order in its step."""
    moments = moments_of(code, 0.0, shift)
    z = np.linspace(-12, 12, 480_001)
    weight = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    for q in (0.01, 1.0, 9.0):
        h = shift + math.sqrt(q) * z
        value, slope = moments.activation.value(h, 0.0), moments.activation.derivative(h, 0.0)
        at = moments.at(np.array(math.log(q)))
        assert math.exp(at.log_second) == pytest.approx(float(weight @ value**2), rel=1e-7)
        assert math.exp(at.log_slope_second) == pytest.approx(float(weight @ slope**2), rel=1e-4)


@pytest.mark.parametrize("code", ACTIVATIONS)
def test_saturated_share_against_sampling(code: str) -> None:
    moments = _moments(code)
    z = np.random.default_rng(0).standard_normal(200_000)
    largest = np.abs(moments.derivative(np.linspace(-40, 40, 8001))).max()
    for q in (0.3, 4.0, 100.0):
        share = np.mean(np.abs(moments.derivative(math.sqrt(q) * z)) < 0.05 * largest)
        predicted = float(moments.saturated(np.array(math.log(q))))
        assert abs(share - predicted) < 5 * math.sqrt(0.25 / z.size)
