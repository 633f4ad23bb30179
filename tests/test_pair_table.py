"""Fast pair moments - tables, Mehler's series, integrals over theta, half-lines and bump - against the slow rules."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gradcore as gc
from gradcore.activations import ACTIVATIONS, negative_slope_of
from gradcore.theory import correlation, pair_table
from gradcore.theory.correlation import PSI, SLOPE, SLOPE_SQUARE, SQUARE, VALUE, pair_ratios
from gradcore.theory.gaussian import GaussianMoments, moments_of
from gradcore.theory.hermite_pairs import hermite_pairs
from gradcore.theory.pair_table import FROM_LAYERS_SLOW, PairReader
from gradcore.theory.spline_pairs import spline_pairs
from gradcore.theory.wide_pairs import wide_pairs

NAMES = (VALUE, SLOPE, PSI, SQUARE, SLOPE_SQUARE)
GROUPS = ((VALUE, SLOPE), (SQUARE, SLOPE_SQUARE), (PSI,))
SPLINES = ("relu6", "hardtanh", "hardsigmoid", "hardswish")
# 1 - c from 0 to 1
CORRELATIONS = 1.0 - np.array([0.0, 1e-9, 1e-6, 1e-3, 0.02, 0.2, 0.5, 0.9, 1.0])


def _moments(code: str, shift: float = 0.0) -> GaussianMoments:
    return moments_of(code, negative_slope_of(code, None), shift)


def _squares(moments: GaussianMoments, q: float) -> np.ndarray:
    e = moments.expectations(np.array(math.log(q)))
    return np.array([e[correlation.MOMENTS[name]] for name in NAMES])


def _gap_to_rules(code: str, q: float) -> float:
    """Largest difference of the table from the rules at one correlation after the other."""
    moments, log_q = _moments(code), math.log(q) + 0.01
    reader = PairReader(moments, np.full(FROM_LAYERS_SLOW, log_q))
    worst = 0.0
    for group in GROUPS:
        for c in CORRELATIONS.tolist():
            rule = np.array(pair_ratios(moments, group, log_q, np.array([c])))[:, 0]
            worst = max(worst, float(np.abs(np.array(reader.one(group, log_q, c)) - rule).max()))
    return worst


@pytest.mark.parametrize("code", ACTIVATIONS)
def test_table_against_rules(code: str) -> None:
    """1e-11 of E f^2 where most networks live, for all correlations, 1 - 1e-9 among them."""
    for q in (1e-12, 0.3):
        assert _gap_to_rules(code, q) < 1e-11, q


@pytest.mark.slow
@pytest.mark.parametrize("code", ACTIVATIONS)
def test_table_against_rules_everywhere(code: str) -> None:
    """1e-10 from q = 1e-6 to 1e12: within the table's range and beyond it, where it hands over to the rules."""
    for q in (1e-6, 0.02, 1.0, 3.0, 10.0, 60.0, 1e3, 1e5, 1e9, 1e12):
        assert _gap_to_rules(code, q) < 1e-10, q


@pytest.mark.parametrize("code", ["tanh", "relu6", "gelu", "relu", "elu"])
def test_arrays_and_numbers_agree(code: str) -> None:
    """One correlation, many at once and one a layer are the same lookup."""
    moments, log_q = _moments(code), np.linspace(-0.4, -0.1, 200)
    reader, c = PairReader(moments, log_q), np.linspace(0.0, 1.0, 40)
    at = float(log_q[7])
    one = np.array([reader.one((VALUE, SLOPE), at, x) for x in c.tolist()]).T
    assert np.abs(np.array(reader.ratios((VALUE, SLOPE), at, c)) - one).max() < 1e-13
    along = reader.along(SLOPE, log_q[:40], c[:, None])[:, 0]
    each = [reader.one((SLOPE,), x, y)[0] for x, y in zip(log_q.tolist(), c.tolist(), strict=False)]
    assert np.abs(along - np.array(each)).max() < 1e-13


def test_few_layers_and_negative_correlations_go_to_the_rules() -> None:
    """And what a network gets does not depend on what was asked before it."""
    moments = _moments("tanh")
    few = PairReader(moments, np.full(5, 0.3))
    before = few.one((VALUE,), 0.3, 0.7)
    many = PairReader(moments, np.full(500, 0.3))
    many.one((VALUE,), 0.3, 0.7)
    assert PairReader(moments, np.full(5, 0.3)).one((VALUE,), 0.3, 0.7) == before
    rule = pair_ratios(moments, (VALUE,), 0.3, np.array([-0.7]))[0]
    assert many.ratios((VALUE,), 0.3, np.array([-0.7]))[0] == rule


def test_leading_behaviour_is_read_from_far_cells() -> None:
    """Growing activations at q = e^300 and dying signals at e^-300: the extreme forms, from a table."""
    for code, log_q in (("gelu", 300.0), ("tanh", -300.0), ("sigmoid", -300.0)):
        moments = _moments(code)
        reader = PairReader(moments, np.linspace(log_q - 5.0, log_q, 50))
        for c in (0.0, 0.4, 0.99):
            rule = np.array(pair_ratios(moments, NAMES[:2], log_q, np.array([c])))[:, 0]
            assert np.abs(np.array(reader.one(NAMES[:2], log_q, c)) - rule).max() < 1e-12


@pytest.mark.parametrize(
    "fields",
    [
        {"activation": "tanh", "gain": 1.6, "bias_std": 0.2},
        {"activation": "relu6", "gain": 1.4, "loss": "cross_entropy", "bias_std": 0.1},
        {"activation": "gelu", "gain": 1.4, "norm": "layer", "norm_beta": 0.3},
        {"activation": "tanh", "residual": "identity", "residual_scale": 0.2, "loss": "mse"},
        {"activation": "sigmoid", "gain": 2.0, "input": "digits", "batch_size": 5, "loss": "cross_entropy"},
    ],
)
def test_profiles_with_tables_are_those_without(fields: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """Depth 60, with correlation, weight gradients and spread: the tables change nothing above 1e-9."""
    base = {"depth": 60, "width": 300, "init": "lecun_normal", "input_correlation": 0.3}
    spec = gc.Spec(**{**base, **fields})

    def numbers() -> list[np.ndarray]:
        p = gc.predict(spec)
        spread = p._finite.variance.values() if p._finite else ()
        return [p.correlation, p.log_dw, p.log_db, *spread]

    fast = numbers()
    monkeypatch.setattr(pair_table.PairTable, "least", lambda self, cell: 10**9)
    for a, b in zip(fast, numbers(), strict=True):
        assert np.abs(a - b).max() < 1e-9


@pytest.mark.parametrize("code", SPLINES)
@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_integrals_over_theta_against_the_conditional_rule(code: str, shift: float) -> None:
    """All five functions, c from -0.99 to 0.999, to the conditional rule's 1e-9."""
    moments = _moments(code, shift)
    for q in (0.1, 3.0, 60.0):
        pairs = spline_pairs(moments, q)
        assert pairs is not None
        for c in (0.999, 0.6, -0.5, -0.99):
            slow = np.array(correlation._conditional(moments, NAMES, q, c)) / _squares(moments, q)
            fast = [1.0 - float(pairs.drop(name, np.array([math.acos(c)]))[0]) for name in NAMES]
            assert np.abs(slow - fast).max() < 1e-9


def test_step_pairs_against_plackett() -> None:
    """E phi' phi' of hardtanh, a square's probability: its own 1-D integral by SciPy, to 1e-13."""
    from scipy.integrate import quad

    q, pairs = 0.5, spline_pairs(_moments("hardtanh"), 0.5)
    assert pairs is not None

    def density(t: float) -> float:
        apart = math.exp(-1.0 / (q * (1.0 + math.cos(t)))), math.exp(-1.0 / (q * (1.0 - math.cos(t))))
        return (apart[0] - apart[1]) / math.pi

    share = math.erf(1.0 / math.sqrt(2.0 * q))  # E phi'^2
    for c in (0.999, 0.9, 0.1, -0.7):
        exact = quad(density, 0.0, math.acos(c), epsabs=1e-15, epsrel=1e-13)[0] / share
        assert float(pairs.drop(SLOPE, np.array([math.acos(c)]))[0]) == pytest.approx(exact, abs=1e-13)


def test_only_piecewise_polynomials_have_integrals_over_theta() -> None:
    assert all(spline_pairs(_moments(code), 1.0) is None for code in ("tanh", "elu", "softsign", "selu", "sin"))
    assert all(spline_pairs(_moments(code), 1.0) is not None for code in (*SPLINES, "leaky_relu"))


@pytest.mark.parametrize("code", ["tanh", "gelu_tanh", "mish", "elu", "softsign"])
def test_series_against_the_polar_rule(code: str) -> None:
    """Where the series says that it holds, it agrees, at negative correlations too."""
    moments, c = _moments(code), np.array([-0.9, -0.3, 0.2, 0.6, 0.9, 0.999])
    for q in (0.2, 2.0, 7.0):
        found = hermite_pairs(moments, NAMES, np.array([q]))
        assert found is not None
        drop, known = found.drop(c)
        assert known[1:4].all()
        # kinks and sharp functions leave the neighbourhood of 1 to the rules
        assert known.all() or q > 1.0 or code in ("elu", "softsign")
        for i in np.flatnonzero(known):
            slow = np.array(correlation._polar(moments, NAMES, q, float(c[i]))) / _squares(moments, q)
            assert np.abs(1.0 - drop[:, 0, i] - slow).max() < 2e-11


@pytest.mark.parametrize("code", ["gelu", "mish", "hardswish", "selu", "tanh", "sigmoid"])
def test_half_lines_and_bump_against_the_rules(code: str) -> None:
    """From the narrowest ridge to independent samples, c of both signs, to 1e-11 of E f^2."""
    moments = _moments(code)
    rule = correlation._conditional if code == "hardswish" else correlation._polar
    for q in (1.0, 10.0, 1e4):
        for ridge in (x for x in (0.12, 0.6, 5.0, 13.0, 0.5 * q, q) if x <= q):
            c = math.sqrt(max(0.0, 1.0 - ridge / q))
            for sign in (1.0, -1.0):
                fast = wide_pairs(moments, NAMES, q, sign * c)
                if fast is None:  # a wide bump and a narrow ridge: left to the rule
                    assert ridge < 12.0
                    continue
                slow = np.array(rule(moments, NAMES, q, sign * c))
                assert np.abs((fast - slow) / _squares(moments, q)).max() < 1e-11


def test_bumps_without_an_end_are_left_to_the_rules() -> None:
    assert wide_pairs(_moments("softsign"), NAMES, 100.0, 0.3) is None
    assert wide_pairs(_moments("tanh"), NAMES, 0.9, 0.3) is None
    assert wide_pairs(_moments("tanh"), NAMES, 100.0, 0.9999) is None


@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_sine_pairs_keep_their_digits_at_small_q(shift: float) -> None:
    """Against the moments' own power series: sin(beta + h) to second order in h, whose error is of order q."""
    moments, q, c = _moments("sin", shift), 1e-8, 0.3
    found = pair_ratios(moments, NAMES, math.log(q), np.array([c]))
    sine, cosine = math.sin(shift), math.cos(shift)
    for name, f, slope, square in (
        (VALUE, sine, cosine, False),
        (PSI, sine * cosine, math.cos(2 * shift), False),
        (SQUARE, sine**2, math.sin(2 * shift), shift == 0.0),
    ):
        expected = (1 + 2 * c * c) / 3 if square else (f * f + slope**2 * q * c) / (f * f + slope**2 * q)
        assert float(found[NAMES.index(name)][0]) == pytest.approx(expected, abs=100 * q)
