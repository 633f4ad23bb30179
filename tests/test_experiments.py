"""Section 3 of the classic exercise, variance through layers: every figure predicted, and measured on torch networks.

Tolerances are derived in tests/agreement.py; nothing is tuned to what was measured.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import binom, norm

import gradcore as gc
from gradcore.initializers import INITIALIZERS
from gradcore.measure.network import draw_inputs
from gradcore.measure.plain import plain_run
from gradcore.presets import PRESETS
from gradcore.theory.critical import weight_variances
from tests.agreement import (
    FALSE_ALARM,
    assert_inside_band,
    assert_logs_agree,
    assert_means_agree,
    assert_slope,
    both,
    limit,
)

METHODS = [p for p in PRESETS.values() if p.experiment == "3.10"]


def gauss_hermite(function: object, q: float) -> float:
    """E f(sqrt(q) Z) by 200 Gauss-Hermite nodes: an implementation of its own, good for smooth f and q below 5."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    return float(weights @ function(math.sqrt(q) * nodes) / math.sqrt(2 * math.pi))  # type: ignore[operator]


def log_factors(log: np.ndarray) -> np.ndarray:
    """ln of the factor of a second moment from one layer to the next."""
    return np.diff(log)


def by_hand_and_by_torch(name: str, hand: object, **options: object) -> None:
    """The initializer called by name fills a weight with the very numbers of the bounds or std written by hand."""
    one, other = torch.empty(400, 400), torch.empty(400, 400)
    getattr(torch.nn.init, name)(one, generator=torch.Generator().manual_seed(1), **options)
    hand(other, torch.Generator().manual_seed(1))  # type: ignore[operator]
    assert torch.equal(one, other)


# --- 3.1 overflow ------------------------------------------------------------------------------------------

OVERFLOWS = {"float32": (40, 30), "bfloat16": (40, 30), "float16": (8, 4), "float64": (240, 237)}


def first_breaks(dtype: str, networks: int) -> np.ndarray:
    """First layer with an inf or NaN of each network, plain torch in ``dtype``; a network is a seed of its own."""
    spec = PRESETS["overflow_float64"].spec.replace(depth=OVERFLOWS[dtype][0])
    run = plain_run(spec, tuple(range(networks)), 0, dtype)
    firsts = np.array([run.first_inf, run.first_nan])
    return np.where(firsts > 0, firsts, 10**6).min(axis=0)


@pytest.mark.parametrize("dtype", OVERFLOWS)
def test_3_1_predicted_overflow(dtype: str) -> None:
    profile = gc.predict(PRESETS["overflow_float64"].spec)
    assert profile.precision[dtype].forward_overflow == OVERFLOWS[dtype][1]
    layers = np.arange(1, 261)
    np.testing.assert_allclose(0.5 * profile.log_q, layers * math.log(20), rtol=1e-12)  # std of layer l is 20^l


@pytest.mark.parametrize("dtype", OVERFLOWS)
def test_3_1_measured_overflow(dtype: str) -> None:
    """Few networks, each within one layer. Where 95% are exact, as the exercise has it, fewer than the binomial
    quantile (8 of 10) are exact in 1% of draws; the full count is the slow test's."""
    predicted, networks = OVERFLOWS[dtype][1], 6 if dtype == "float64" else 10
    firsts = first_breaks(dtype, networks)
    assert np.abs(firsts - predicted).max() <= 1
    assert np.sum(firsts == predicted) >= binom.ppf(FALSE_ALARM, networks, 0.95)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", OVERFLOWS)
def test_3_1_measured_overflow_of_100_networks(dtype: str) -> None:
    predicted = OVERFLOWS[dtype][1]
    firsts = first_breaks(dtype, 100)
    assert np.abs(firsts - predicted).max() <= 1
    assert np.sum(firsts == predicted) >= 95


# --- 3.2 and 3.3 linear nets -------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", ["normal", "uniform"])
def test_3_2_variance_of_a_product(draw: str) -> None:
    """Var(XY) = Var X Var Y for independent zero-mean X, Y; error of a mean of N draws of (XY)^2."""
    generator, n = np.random.default_rng(0), 400_000
    x = 3.0 * generator.standard_normal(n)
    y, variance = (generator.standard_normal(n), 1.0) if draw == "normal" else (generator.uniform(-2, 2, n), 4 / 3)
    squares = (x * y) ** 2
    error = squares.std() / math.sqrt(n)
    assert abs(squares.mean() - 9.0 * variance) < limit(1) * error


@pytest.mark.parametrize("width", [7, 100, 400, 1000])
def test_3_2_std_grows_by_sqrt_n(width: int) -> None:
    spec = PRESETS["sqrt_width"].spec.replace(width=width)
    rms_factors = np.exp(0.5 * log_factors(gc.predict(spec).log_q))
    np.testing.assert_allclose(rms_factors, math.sqrt(width), rtol=1e-11)
    predicted, measured = both(spec.replace(depth=4), 24)
    assert_means_agree(predicted, measured)


def test_3_3_scaled_weights_keep_the_std() -> None:
    preset = PRESETS["scaled_linear"].spec
    np.testing.assert_allclose(gc.predict(preset).log_q, 0.0, atol=1e-12)
    assert_means_agree(*both(preset.replace(depth=20), 24))
    predicted, measured = both(preset.replace(depth=30, batch_size=1), 24)
    assert_logs_agree(predicted, measured)
    for name, layer in (("log_q", 30), ("log_g", 1)):
        assert_inside_band(predicted, measured, name, layer)


def test_3_3_band_of_a_batch() -> None:
    """Sixteen orthogonal samples become correlated by chance, c^2 ~ layer/width: (layers/width)^2 in the variance of
    their mean, which is not small beside the band's 2 layers/(16 width)."""
    predicted, measured = both(PRESETS["scaled_linear"].spec.replace(depth=40, width=100, gain=0.1), 60)
    for name, layer in (("log_q", 40), ("log_g", 1)):
        assert_inside_band(predicted, measured, name, layer)


# --- 3.4 and 3.5 tanh --------------------------------------------------------------------------------------


def test_3_4_tanh_shrinks_as_the_q_map_says() -> None:
    preset = PRESETS["scaled_tanh"].spec
    profile = gc.predict(preset)
    assert (log_factors(profile.log_q) < 0).all()
    q = 1.0
    for log_q in profile.log_q:
        assert log_q == pytest.approx(math.log(q), abs=1e-9)
        q = gauss_hermite(lambda h: np.tanh(h) ** 2, q)
    predicted, measured = both(preset.replace(depth=20), 24)
    assert_means_agree(predicted, measured)
    assert (log_factors(measured.mean("log_q")) < 0).all()


def test_3_5_tanh_at_gain_5_3_is_not_critical() -> None:
    preset = PRESETS["tanh_xavier"].spec
    profile = gc.predict(preset)
    assert math.exp(profile.log_q[-1]) == pytest.approx(1.1785, abs=5e-5)
    assert math.exp(profile.log_g[48] - profile.log_g[49]) == pytest.approx(1.2098, abs=5e-5)
    assert profile.chi[48] == pytest.approx(1.2098, abs=5e-5)
    q = 1.0  # the same two figures by another quadrature
    for _ in range(200):
        q = 25 / 9 * gauss_hermite(lambda h: np.tanh(h) ** 2, q)
    assert profile.log_q[-1] == pytest.approx(math.log(q), abs=1e-8)
    chi = 25 / 9 * gauss_hermite(lambda h: (1 - np.tanh(h) ** 2) ** 2, q)
    assert profile.chi[48] == pytest.approx(chi, abs=1e-8)


def test_3_5_bounds_by_hand_are_the_library_call() -> None:
    bound = 5 / 3 * math.sqrt(6 / (400 + 400))
    by_hand_and_by_torch(
        "xavier_uniform_", lambda w, g: torch.nn.init.uniform_(w, -bound, bound, generator=g), gain=5 / 3
    )
    assert torch.nn.init.calculate_gain("tanh") == 5 / 3
    spec = PRESETS["tanh_xavier"].spec.replace(depth=2)
    largest = max(float(linear.weight.detach().abs().max()) for linear in spec.build().linears)
    # the largest of 160 000 uniform draws falls 1e-4 short of the bound with probability exp(-16)
    assert (1 - 1e-4) * bound < largest <= bound
    assert weight_variances(spec)[0] == pytest.approx(bound**2 / 3, rel=1e-12)


def test_3_5_measured() -> None:
    predicted, measured = both(PRESETS["tanh_xavier"].spec.replace(depth=30), 24)
    assert_means_agree(predicted, measured)
    assert assert_slope(predicted, measured, "log_g", 28, 10) > 1
    assert_slope(predicted, measured, "log_q", 10, 30)


# --- 3.6 to 3.9 --------------------------------------------------------------------------------------------


def test_3_6_relu_with_the_gain_of_tanh_explodes() -> None:
    preset = PRESETS["relu_tanh_gain"].spec
    profile = gc.predict(preset)
    for log in (log_factors(profile.log_q), -log_factors(profile.log_g)):
        np.testing.assert_allclose(np.exp(log), (5 / 3) ** 2 / 2, rtol=1e-12)
        np.testing.assert_allclose(np.exp(log), 1.389, atol=5e-4)
    predicted, measured = both(preset.replace(depth=30, batch_size=1), 32)
    assert_logs_agree(predicted, measured)
    for name, first, last in (("log_q", 1, 30), ("log_g", 30, 1)):
        assert_slope(predicted, measured, name, first, last)


def test_3_7_kaiming_keeps_relu_steady() -> None:
    preset = PRESETS["relu_kaiming"].spec
    std = math.sqrt(2 / 400)
    by_hand_and_by_torch(
        "kaiming_normal_", lambda w, g: torch.nn.init.normal_(w, std=std, generator=g), nonlinearity="relu"
    )
    profile, by_hand = gc.predict(preset), gc.predict(preset.replace(init="normal", gain=std))
    np.testing.assert_allclose(profile.log_q, math.log(2), atol=1e-12)
    np.testing.assert_allclose(profile.log_g, 0.0, atol=1e-12)
    np.testing.assert_allclose(by_hand.log_q, profile.log_q, atol=1e-12)
    np.testing.assert_allclose(by_hand.log_dw, profile.log_dw, atol=1e-12)


def test_3_7_measured_at_depth_100() -> None:
    """The full 100 layers of 400. Variance of ln q of one network by hand: 5/n for each of 99 ReLU layers (Hanin &
    Nica), 2/n for the input and 2/n for the last layer's units; a factor of 80 between the ends of the band."""
    predicted, measured = both(PRESETS["relu_kaiming"].spec.replace(batch_size=1), 16)
    assert_logs_agree(predicted, measured)
    for name, layer in (("log_q", 100), ("log_g", 1)):
        assert_inside_band(predicted, measured, name, layer)
    low, high = predicted.band("log_q")
    by_hand = math.sqrt((99 * 5 + 2 + 2) / 400)
    # by hand to leading order in 1/n; the exact law of products has the next one
    assert high[-1] - low[-1] == pytest.approx(2 * norm.ppf(0.975) * by_hand, rel=4 / 400)
    assert math.exp(high[-1] - low[-1]) == pytest.approx(80, abs=5)


@pytest.mark.parametrize("slope", [0.01, 0.2, 0.5])
def test_3_8_leaky_relu(slope: float) -> None:
    spec = PRESETS["leaky_kaiming"].spec.replace(negative_slope=slope)
    variance = 2 / ((1 + slope**2) * 400)
    np.testing.assert_allclose(weight_variances(spec), variance, rtol=1e-12)
    by_hand_and_by_torch(
        "kaiming_normal_",
        lambda w, g: torch.nn.init.normal_(w, std=math.sqrt(variance), generator=g),
        a=slope,
        nonlinearity="leaky_relu",
    )
    profile = gc.predict(spec)
    np.testing.assert_allclose(log_factors(profile.log_q), 0.0, atol=1e-12)
    np.testing.assert_allclose(log_factors(profile.log_g), 0.0, atol=1e-12)
    predicted, measured = both(spec.replace(depth=15), 32)
    assert_means_agree(predicted, measured)


def test_3_9_sigmoid_loses_18_in_mean_square() -> None:
    profile = gc.predict(PRESETS["sigmoid_xavier"].spec)
    loss = math.exp(profile.log_g[49] - profile.log_g[48])
    assert loss == pytest.approx(18, abs=0.5)
    assert math.sqrt(loss) == pytest.approx(4.2, abs=0.05)
    q = 0.25  # the same figure by another quadrature
    for _ in range(100):
        q = gauss_hermite(lambda h: 1 / (1 + np.exp(-h)) ** 2, q)
    assert 1 / loss == pytest.approx(gauss_hermite(lambda h: (0.25 / np.cosh(h / 2) ** 2) ** 2, q), rel=1e-8)


@pytest.mark.parametrize("init", ["xavier_normal", "xavier_uniform", "kaiming_normal", "linear_default"])
def test_3_9_measured_with_any_usual_init(init: str) -> None:
    """The derivative is at most 1/4, so a gradient's second moment keeps at most sigma_w^2 / 16 of itself."""
    spec = PRESETS["sigmoid_xavier"].spec.replace(init=init, depth=12)
    predicted, measured = both(spec, 24)
    assert_means_agree(predicted, measured)
    factor = assert_slope(predicted, measured, "log_g", 11, 2)
    assert factor < predicted.sigma_w[0] ** 2 / 16 < 0.2


# --- 3.10 initialization methods ---------------------------------------------------------------------------

BY_HAND = {  # E[W^2] of the presets' weights on 400 units, from torch's documentation
    "xavier_uniform": 2 * 2 / 800,
    "xavier_normal": 2 * 2 / 800,
    "kaiming_uniform": 2 / 400,
    "kaiming_normal": 2 / 400,
    "uniform": (6 / 400) / 3,
    "normal": 2 / 400,
    "constant": 1 / 400**2,
    "orthogonal": 2 / 400,
    "eye": 1 / 400,
    "sparse": 10 / 400 * (1 - 320 / 400),
    "trunc_normal": 2 / 400,
    "linear_default": 1 / (3 * 400),
}


@pytest.mark.parametrize("preset", METHODS, ids=lambda preset: preset.spec.init)
def test_3_10_variance_of_the_weights(preset: object) -> None:
    """E[W^2] exactly, and the mean of W^2 over one layer of torch weights, at its own standard error."""
    spec = preset.spec.replace(depth=1)  # type: ignore[attr-defined]
    exact = BY_HAND[spec.init]
    assert weight_variances(spec)[0] == pytest.approx(exact, rel=1e-9)
    squares = spec.build().linears[0].weight.detach().double().square()
    if spec.init in ("constant", "eye", "orthogonal"):  # no randomness in the mean square
        assert float(squares.mean()) == pytest.approx(exact, rel=1e-12)
    else:
        error = float(squares.std()) / 400
        assert abs(float(squares.mean()) - exact) < limit(len(METHODS)) * error


@pytest.mark.parametrize("preset", METHODS, ids=lambda preset: preset.spec.init)
def test_3_10_forward_and_backward_factors(preset: object) -> None:
    spec = preset.spec  # type: ignore[attr-defined]
    profile = gc.predict(spec)
    forward, backward = np.exp(log_factors(profile.log_q)), np.exp(-log_factors(profile.log_g))
    if spec.init == "linear_default":  # six times too small; the biases, variance 1/(3n), hold the signal up
        np.testing.assert_allclose(backward, 1 / 6, rtol=1e-12)
        assert math.exp(profile.log_q[-1]) == pytest.approx(1 / 1200 / (1 - 1 / 6), rel=1e-12)
    elif spec.init in ("constant", "eye"):  # the first ReLU met halves, either way; then nothing changes
        np.testing.assert_allclose(forward, [0.5] + [1.0] * 98, rtol=1e-9)
        top = 0.5 / 400 if spec.init == "constant" else 0.5  # the mean of 400 independent cotangents
        np.testing.assert_allclose(backward, [1.0] * 98 + [top], rtol=1e-9)
    else:
        np.testing.assert_allclose(forward, 1.0, rtol=1e-11)
        np.testing.assert_allclose(backward, 1.0, rtol=1e-11)
    predicted, measured = both(spec.replace(depth=6), 24)
    assert_means_agree(predicted, measured)


@pytest.mark.parametrize("init", [p.spec.init for p in METHODS])
def test_3_10_same_seed_same_weights(init: str) -> None:
    spec = gc.Spec(depth=1, width=100, init=init, gain=0.1)
    one, other = (spec.build(seed=7).linears[0].weight.detach() for _ in range(2))
    assert torch.equal(one, other)


def test_3_10_families() -> None:
    families = {INITIALIZERS[p.spec.init].family for p in METHODS}
    assert {"Xavier", "Kaiming", "plain distributions", "special matrices"} <= families


@pytest.mark.parametrize("code", ["init_constant", "init_eye"])
def test_3_10_exact_answers(code: str) -> None:
    """Not random, so measured exactly: the layer's mean (constant 1/n) or the unit itself (eye), cut by ReLU."""
    spec = PRESETS[code].spec.replace(depth=5)
    x = draw_inputs(spec, 0, 0, "float64").numpy()
    first = x.mean(axis=1) if code == "init_constant" else x
    measured = gc.measure(spec, networks=1).log_q[0]
    expected = [np.mean(first**2), *[np.mean(np.maximum(first, 0) ** 2)] * 4]
    np.testing.assert_allclose(np.exp(measured), expected, rtol=1e-10)


# --- 3.12 the weight gradient is a product -----------------------------------------------------------------


def test_3_12_predicted_product() -> None:
    profile = gc.predict(PRESETS["product_tanh"].spec)
    product = profile.log_g + profile.log_p - math.log(16)
    np.testing.assert_allclose(profile.log_dw, product, atol=1e-10)
    deep = slice(20, 90)  # past the first layers' transient the forward pass is pinned, the gradient is not
    np.testing.assert_allclose(log_factors(profile.log_p)[deep], 0.0, atol=1e-6)
    np.testing.assert_allclose(np.exp(-log_factors(profile.log_dw)[deep]), 1.2098, atol=5e-5)


def test_3_12_measured_product() -> None:
    """Network by network dC/dW is the product of its two factors, up to cross terms between samples of mean zero
    (independent inputs and cotangents) and a correlation of order 1/width between the factors."""
    predicted, measured = both(PRESETS["product_tanh"].spec.replace(depth=20), 24)
    gaps = measured.log_dw - (measured.log_g + measured.log_p - math.log(16))
    error = gaps.std(axis=0, ddof=1) / math.sqrt(24)
    # the log of a mean-one ratio lies half its variance below 0
    shift = 0.5 * gaps.var(axis=0, ddof=1) + 2 / 400
    assert (np.abs(gaps.mean(axis=0)) < limit(20, 24) * error + shift).all()
    assert_means_agree(predicted, measured, ("log_p", "log_g", "log_dw"))
    assert_slope(predicted, measured, "log_dw", 18, 5)


def test_3_12_batch_norm_pins_the_signal_alone() -> None:
    profile = gc.predict(PRESETS["product_batch_norm"].spec)
    np.testing.assert_allclose(log_factors(profile.log_p)[5:95], 0.0, atol=1e-6)
    np.testing.assert_allclose(np.exp(-log_factors(profile.log_dw)[5:90]), 1.590, atol=1e-3)
    predicted, measured = both(PRESETS["product_batch_norm"].spec.replace(depth=10), 20)
    assert_means_agree(predicted, measured, ("log_p", "log_g", "log_dw"))


# --- 3.13 unequal widths -----------------------------------------------------------------------------------

WIDTHS = np.array([300, 100, 500, 200, 400])
FAN_IN, FAN_OUT = WIDTHS[:-1], WIDTHS[1:]
VARIANCES = {  # Var W of layers 1..4 for ReLU
    "unequal_fan_in": 2 / FAN_IN,
    "unequal_fan_out": 2 / FAN_OUT,
    "unequal_xavier": 2 * 2 / (FAN_IN + FAN_OUT),
}


@pytest.mark.parametrize("code", VARIANCES)
def test_3_13_factors_of_each_scheme(code: str) -> None:
    """Forward factor fan_in Var W / 2 of layers 2..4; backward fan_out of the layer above, Var W / 2 likewise."""
    spec, variance = PRESETS[code].spec, VARIANCES[code]
    assert spec.fan_ins.tolist() == FAN_IN.tolist() and spec.layer_widths.tolist() == FAN_OUT.tolist()
    np.testing.assert_allclose(weight_variances(spec), variance, rtol=1e-12)
    profile = gc.predict(spec)
    forward, backward = (FAN_IN * variance / 2)[1:], (FAN_OUT * variance / 2)[1:]
    np.testing.assert_allclose(np.exp(log_factors(profile.log_q)), forward, rtol=1e-12)
    np.testing.assert_allclose(np.exp(-log_factors(profile.log_g)), backward, rtol=1e-12)
    assert (forward == 1).all() == (code == "unequal_fan_in")
    assert (backward == 1).all() == (code == "unequal_fan_out")
    assert_means_agree(*both(spec, 100), ("log_q", "log_p", "log_g", "log_dw"))
