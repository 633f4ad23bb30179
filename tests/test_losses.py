"""Cotangents that are correlated with the output: MSE and cross-entropy, prediction and torch."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gradcore as gc
from gradcore.theory.loss import softmax_pair_moments, softmax_second_moment
from tests.agreement import assert_means_agree, both, limit

# D^l / D^L at l = 1, 5, 9 of depth-10 nets, loss mean square with target 0
TABLE = [
    ({"activation": "linear", "gain": 1.0}, (10, 6, 2)),
    ({"activation": "relu", "gain": math.sqrt(2)}, (19, 11, 3)),
    ({"activation": "relu", "gain": math.sqrt(2), "bias_std": math.sqrt(0.1)}, (16, 10, 2.9333)),
]


@pytest.mark.parametrize(("fields", "ratios"), TABLE)
def test_mse_growth_predicted(fields: dict, ratios: tuple) -> None:
    profile = gc.predict(gc.Spec(depth=10, width=500, init="lecun_normal", loss="mse", batch_size=1, **fields))
    assert np.exp(profile.log_g - profile.log_g[-1])[[0, 4, 8]] == pytest.approx(ratios, abs=1e-4)


@pytest.mark.parametrize("fields", [row[0] for row in TABLE] + [{"activation": "tanh", "gain": 1.3}])
def test_mse_growth_measured(fields: dict) -> None:
    """Torch against theory at width 500, one sample; D^l / D^L cancels the scatter of the output's size.

    The finite-width part of the mean is of order L / n per unit of the aligned growth: 10 / 500 = 0.02.
    """
    spec = gc.Spec(depth=10, width=500, init="lecun_normal", loss="mse", batch_size=1, **fields)
    profile, measured = gc.predict(spec), gc.measure(spec, networks=48, seed=2)
    ratio = np.exp(measured.log_g - measured.log_g[:, -1:])
    expected = np.exp(profile.log_g - profile.log_g[-1])
    error = ratio.std(axis=0, ddof=1) / math.sqrt(48)
    z = (ratio.mean(axis=0) - expected)[:-1] / np.hypot(error, 0.02 * expected)[:-1]
    assert np.abs(z).max() < 4.0
    naive = gc.predict(spec.replace(loss="random"))
    assert np.exp(naive.log_g[0] - naive.log_g[-1]) < 0.2 * expected[0] or fields["activation"] == "tanh"


@pytest.mark.parametrize(
    ("activation", "norm", "gamma"),
    [("relu", "layer", 1e-2), ("relu", "layer", 1e-20), ("sigmoid", "layer", 1e-2), ("gelu", "rms", 1e-20)],
)
def test_mse_above_a_norm_that_leaves_little(activation: str, norm: str, gamma: float) -> None:
    """A norm after the activation, epsilon far above the variance: the signal shrinks by gamma a layer, and with it the
    part of the gradient along it. 24 networks of width 256, Student's limit, 2/width a layer."""
    spec = gc.Spec(
        depth=8,
        width=256,
        activation=activation,
        gain="auto",
        norm=norm,
        norm_position="after",
        norm_gamma=gamma,
        norm_eps=0.5,
        loss="mse",
        batch_size=6,
    )
    profile, measured = both(spec, 24)
    assert profile.log_g[0] < profile.log_g[-1] - 50.0
    gap = np.abs(measured.mean("log_g") - profile.log_g)
    assert np.all(gap < limit(8, 24) * measured.standard_error("log_g") + 2.0 * 8 / 256), gap


@pytest.mark.parametrize(
    "fields", [{"init": "orthogonal"}, {"init": "orthogonal", "width": (96, 256, 128, 256, 64), "depth": 5}]
)
def test_mse_through_orthogonal_weights(fields: dict) -> None:
    """Orthogonal weights send the aligned part back onto x alone: less growth than Gaussian ones."""
    spec = gc.Spec(
        **{"depth": 6, "width": 256, "activation": "tanh", "gain": 1.2, "loss": "mse", "batch_size": 1, **fields}
    )
    profile, measured = gc.predict(spec), gc.measure(spec, networks=48, seed=3)
    ratio = np.exp(measured.log_g - measured.log_g[:, -1:])
    expected = np.exp(profile.log_g - profile.log_g[-1])
    error = ratio.std(axis=0, ddof=1) / math.sqrt(48)
    allowed = 2.0 * float(np.sum(1.0 / spec.layer_widths))
    assert np.abs((ratio.mean(axis=0) - expected)[:-1] / np.hypot(error, allowed * expected)[:-1]).max() < 4.0
    gaussian = gc.predict(spec.replace(init="lecun_normal"))
    assert gaussian.log_g[0] - gaussian.log_g[-1] > profile.log_g[0] - profile.log_g[-1] + 0.05


def test_correlated_batch_does_not_average_out() -> None:
    """ReLU, L = 6, B = 8, correlation 0.9 at the input and equal cotangents: weight gradients do not fall as 1/B.

    Cotangents that are equal over samples come from a linear output with MSE on equal samples; here the same
    statement for input_correlation = 1: dW of the batch equals dW of one sample.
    """
    base = gc.Spec(depth=6, width=256, gain=math.sqrt(2), loss="mse", input_correlation=1.0)
    eight, one = gc.predict(base.replace(batch_size=8)), gc.predict(base.replace(batch_size=1))
    assert eight.log_dw == pytest.approx(one.log_dw, abs=1e-9)
    apart = gc.predict(base.replace(batch_size=8, input_correlation=0.0, activation="tanh"))
    single = gc.predict(base.replace(batch_size=1, input_correlation=0.0, activation="tanh"))
    assert apart.log_dw == pytest.approx(single.log_dw - math.log(8), abs=1e-9)


@pytest.mark.parametrize(("activation", "gain"), [("relu", math.sqrt(2)), ("tanh", 1.5)])
def test_mse_of_two_samples_measured(activation: str, gain: float) -> None:
    """Weight and bias gradients of a batch of two, in units of the output's cotangent: what the samples share of the
    aligned part. Student's limit, and 2/width a layer for each sample."""
    spec = gc.Spec(depth=8, width=400, init="lecun_normal", activation=activation, gain=gain, loss="mse", batch_size=2)
    profile, measured = both(spec, 40)
    for name in ("log_dw", "log_db"):
        values = np.exp(getattr(measured, name) - measured.log_g[:, -1:])
        expected = np.exp(getattr(profile, name) - profile.log_g[-1])
        error = values.std(axis=0, ddof=1) / math.sqrt(40)
        gap = np.abs(values.mean(axis=0) - expected)
        assert np.all(gap < limit(2 * spec.depth, 40) * error + 2 * 2 * spec.depth / 400 * expected), (name, gap)


@pytest.mark.parametrize(("q", "figure"), [(0.01, 0.9009), (1.0, 0.9947), (9.0, 1.339)])
def test_cross_entropy_size(q: float, figure: float) -> None:
    """E abs(softmax - onehot)^2 for 10 classes, by predict and by 200,000 draws."""
    k = 10
    exact = 1 - 2 / k + k * softmax_second_moment(math.log(q), k)
    rng = np.random.default_rng(0)
    p = np.exp(math.sqrt(q) * rng.standard_normal((200_000, k)))
    p /= p.sum(axis=1, keepdims=True)
    total = 1 - 2 / k + (p * p).sum(axis=1)
    assert abs(exact - total.mean()) < 5 * total.std() / math.sqrt(total.size)
    assert exact == pytest.approx(figure, abs=0.006)  # the quoted figures are Monte Carlo themselves


@pytest.mark.parametrize("classes", [2, 10, 256, 10**6])
def test_softmax_moment_is_continuous_and_bounded(classes: int) -> None:
    log_q = np.linspace(-30, 35, 60)
    values = np.array([softmax_second_moment(float(x), classes) for x in log_q])
    assert np.all(np.diff(values) > -1e-12 / classes)
    assert values[0] == pytest.approx(classes**-2.0, rel=1e-6) and values[-1] == pytest.approx(1 / classes, rel=1e-3)
    inside, outside = (softmax_second_moment(2 * math.log(s), classes) for s in (0.9999999, 1.0000001))
    assert inside == pytest.approx(outside, rel=1e-6)  # where the two quadratures meet


def test_softmax_pairs() -> None:
    """Equal logits give the second moment; independent ones 1/k^2; draws agree with an independent sample."""
    k, q = 20, 2.0
    moments = softmax_pair_moments(math.log(q), (0.0, 0.6, 1.0), k)
    assert moments[0] == pytest.approx(k**-2.0, rel=0.02)
    assert moments[2] == pytest.approx(softmax_second_moment(math.log(q), k), rel=0.02)
    rng = np.random.default_rng(5)
    u, w = rng.standard_normal((2, 50_000, k)) * math.sqrt(q)
    a, b = np.exp(u), np.exp(0.6 * u + 0.8 * w)
    product = (a / a.sum(1, keepdims=True) * b / b.sum(1, keepdims=True)).mean(axis=1)
    assert moments[1] == pytest.approx(product.mean(), rel=0.02)


@pytest.mark.parametrize(("classes", "q"), [(50, 5e-5), (10**4, 1.0), (10**6, 2.0)])
def test_leading_orders_of_softmax_pairs(classes: int, q: float) -> None:
    """Equal samples have E p^2, known by quadrature: 1 + qc for small q is off by q/k + q^2, e^(qc) for many classes by
    the scatter of the sum, of relative variance (e^q - 1)/k and met 1 + 2 e^q times in the mean of p^2."""
    pair = softmax_pair_moments(math.log(q), (1.0,), classes)[0]
    error = q / classes + q * q if q < 1e-4 else 3.0 * math.exp(2.0 * q) / classes
    assert pair == pytest.approx(softmax_second_moment(math.log(q), classes), rel=error)


def test_aligned_cross_entropy_against_torch() -> None:
    """He-ReLU, 8 layers of 64 units: the mean gradient is a third above its infinite-width value. In units of the
    output's, over 150 networks: Student's limit, and the square of the relative effect for the next order."""
    spec = gc.Spec(depth=8, width=64, init="kaiming_normal", loss="cross_entropy", batch_size=4)
    profile, measured = gc.predict(spec), gc.measure(spec, networks=150, seed=6)
    mean, wide = np.exp(profile.mean("log_g")), np.exp(profile.log_g)
    effect = mean[0] / wide[0] - 1.0
    assert effect == pytest.approx(0.358, abs=0.001)
    ratio = np.exp(measured.log_g[:, 0] - measured.log_g[:, -1])
    error = ratio.std(ddof=1) / math.sqrt(150)
    assert abs(ratio.mean() - mean[0] / mean[-1]) < 4.0 * error + effect**2
    for width, figure in ((64, 1.97), (256, 1.28)):
        deep = gc.predict(spec.replace(depth=20, width=width))
        assert math.exp(deep.mean("log_g")[0] - deep.log_g[0]) == pytest.approx(figure, abs=0.005)


def test_cross_entropy_alignment_is_a_finite_width_effect() -> None:
    """The mean of wide networks returns to the infinite-width value as width (and classes) grow."""

    def gap(width: int) -> float:
        spec = gc.Spec(depth=10, width=width, gain=math.sqrt(2), loss="cross_entropy", input_correlation=0.5)
        profile = gc.predict(spec)
        return float(profile.mean("log_db")[0] - profile.log_db[0])

    assert gap(128) > 3 * gap(1024) > 3 * gap(8192) > 0


def test_scaling_of_the_loss_scales_every_gradient() -> None:
    """MSE is quadratic: ten times the input of a linear net is 100 times every cotangent's second moment."""
    base = gc.Spec(depth=5, activation="linear", loss="mse")
    assert gc.predict(base.replace(input_rms=10.0)).log_g == pytest.approx(gc.predict(base).log_g + math.log(100.0))


@pytest.mark.parametrize("init", ["orthogonal", "lecun_normal"])
@pytest.mark.parametrize("residual", ["none", "identity"])
def test_a_part_seen_with_a_negative_slope_keeps_its_sign(init: str, residual: str) -> None:
    """sin of a layer norm shifted by pi/2 has E psi' < 0: the cotangent's aligned part changes sign on its way (a
    logarithm had lost it, and ln g of the orthogonal net lay 4.1 off)."""
    spec = gc.Spec(
        depth=3,
        width=200,
        activation="sin",
        norm="layer",
        norm_beta=math.pi / 2,
        norm_gamma=0.5,
        norm_eps=4.0,
        init=init,
        residual=residual,
        loss="mse",
        batch_size=1,
    )
    assert_means_agree(*both(spec, 40))


def test_tiny_slopes_do_not_underflow() -> None:
    """Logs of any size: gamma = 5e-209 loses 950 in ln a layer and is no zero."""
    log_g = gc.predict(gc.Spec(depth=5, activation="tanh", norm="layer", norm_gamma=5e-209, loss="mse")).log_g
    assert np.diff(log_g) == pytest.approx(-2 * math.log(5e-209) * np.ones(4), rel=0.02)
