"""Pair moments E f(u) f(v): the three rules against each other, closed forms and sampling."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gradcore.activations import ACTIVATIONS, negative_slope_of
from gradcore.theory import correlation
from gradcore.theory.correlation import PSI, SLOPE, SLOPE_SQUARE, SQUARE, VALUE, pair_ratios
from gradcore.theory.gaussian import moments_of

NAMES = (VALUE, SLOPE, PSI, SQUARE, SLOPE_SQUARE)
RULES = (correlation._polar, correlation._conditional)


def _squares(moments, log_q: float) -> np.ndarray:
    e = moments.expectations(np.array(log_q))
    return np.array([e[k] for k in ("second", "slope_second", "psi_second", "fourth", "slope_fourth")])


@pytest.mark.parametrize("code", ["tanh", "gelu_tanh", "selu", "softsign", "silu", "gelu"])
@pytest.mark.parametrize("q", [0.05, 1.0, 20.0])
def test_polar_and_conditional_rules_agree(code: str, q: float) -> None:
    """Two independent quadratures of the same double integral."""
    moments = moments_of(code)
    for c in (-0.7, 0.0, 0.5, 0.95):
        a, b = (np.array(rule(moments, NAMES, q, c)) for rule in RULES)
        assert np.abs((a - b) / _squares(moments, math.log(q))).max() < 1e-7


@pytest.mark.parametrize("q", [1e-4, 0.3, 5.0, 1e3])
def test_closed_forms_against_quadrature(q: float) -> None:
    c = np.array([-0.9, 0.0, 0.3, 0.99])
    for code in ("relu", "leaky_relu", "prelu", "erf", "gelu"):
        moments = moments_of(code, negative_slope_of(code, None))
        names = tuple(moments.activation.closed_pairs) or NAMES
        closed = pair_ratios(moments, names, math.log(q), c)
        scale = _squares(moments, math.log(q))[: len(names)]
        rows = np.array([correlation._polar(moments, names, q, float(x)) for x in c]).T
        assert np.abs(np.array(closed) - rows / scale[:, None]).max() < 1e-9


@pytest.mark.parametrize("code", ACTIVATIONS)
def test_pairs_against_sampling(code: str) -> None:
    """Every activation against 400,000 Gaussian pairs: within 5 standard errors of the sample mean."""
    moments = moments_of(code, negative_slope_of(code, None))
    rng = np.random.default_rng(1)
    for q, c in ((0.5, 0.6), (8.0, -0.3), (3.0, 0.97)):
        u, w = rng.standard_normal((2, 400_000)) * math.sqrt(q)
        v = c * u + math.sqrt(1 - c * c) * w
        fu, fv, du, dv = moments.value(u), moments.value(v), moments.derivative(u), moments.derivative(v)
        products = (fu * fv, du * dv, fu * du * fv * dv, (fu * fv) ** 2, (du * dv) ** 2)
        predicted = pair_ratios(moments, NAMES, math.log(q), np.array([c]))
        for product, ratio, square in zip(products, predicted, _squares(moments, math.log(q)), strict=True):
            error = product.std() / math.sqrt(product.size) + 1e-12
            assert abs(product.mean() - float(ratio[0]) * square) < 5 * error


@pytest.mark.parametrize("code", ["relu", "tanh", "hardswish", "elu"])
def test_ends_and_table(code: str) -> None:
    """c = 1 gives 1; many correlations are read from a table that agrees with direct evaluation."""
    moments = moments_of(code)
    assert pair_ratios(moments, (VALUE, SLOPE), 0.0, np.array([1.0]))[0] == pytest.approx(1.0, abs=1e-12)
    c = np.linspace(0.2, 0.98, 40)
    table = pair_ratios(moments, (VALUE,), 0.3, c)[0]
    direct = np.concatenate([pair_ratios(moments, (VALUE,), 0.3, c[i : i + 1])[0] for i in range(c.size)])
    assert np.abs(table - direct).max() < 1e-8


@pytest.mark.parametrize("code", [c for c, a in ACTIVATIONS.items() if not a.oscillates])
def test_extreme_q_joins_the_ordinary_range(code: str) -> None:
    """The leading behaviour at q = 1e-24 and at the upper end continues the quadrature beside it."""
    moments, c = moments_of(code, negative_slope_of(code, None)), np.array([-0.5, 0.3, 0.9])
    for log_q in (math.log(1e-24), correlation.GROWING_VALUE_HIGH, correlation.BOUNDED_HIGH):
        inside, outside = (pair_ratios(moments, (VALUE,), log_q + s, c)[0] for s in (1e-6, -1e-6))
        assert np.abs(inside - outside).max() < 1e-7


def test_edge_of_chaos_fixed_point() -> None:
    """tanh, sigma_w^2 = 2.25, sigma_b^2 = 0.05: c* = 0.56722 and chi at c* = 0.93599."""
    import gradcore as gc

    spec = gc.Spec(
        depth=400, activation="tanh", init="lecun_normal", gain=1.5, bias_std=0.05**0.5, input_correlation=0.5
    )
    profile = gc.predict(spec)
    assert math.exp(profile.log_q[-1]) == pytest.approx(0.88942, abs=1e-5)
    assert profile.chi[-1] == pytest.approx(1.09234, abs=1e-5)
    assert profile.chi_parallel[-1] == pytest.approx(0.45586, abs=1e-5)
    assert profile.correlation[-1] == pytest.approx(0.56722, abs=1e-5)
    at_c = pair_ratios(moments_of("tanh"), (SLOPE,), profile.log_q[-1], profile.correlation[-1:])[0][0]
    assert profile.chi[-1] * at_c == pytest.approx(0.93599, abs=1e-5)
