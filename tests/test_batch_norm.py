"""Batch norm at finite batch size: the factors, the transients, and torch."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gradcore as gc
from gradcore.theory.sphere import COLUMNS, sphere_moments
from tests.agreement import assert_means_agree, both, limit


def _spec(**fields: object) -> gc.Spec:
    base = {"depth": 12, "width": 512, "init": "lecun_normal", "gain": 1.3, "norm": "batch", "norm_eps": 1e-12}
    return gc.Spec(**{**base, **fields})


@pytest.mark.parametrize("b", [4, 5, 8, 16, 64, 256, 4096])
def test_linear_factor_is_exact(b: int) -> None:
    """(B-2)/(B-3), and (B-2)(B-1)/((B-3)B) for the cotangent that is not yet zero-sum."""
    log_g = gc.predict(_spec(activation="linear", batch_size=b)).log_g
    assert log_g[4] - log_g[5] == pytest.approx(math.log((b - 2) / (b - 3)), abs=2e-6 if b == 4 else 1e-9)
    end = (b - 2) * (b - 1) / ((b - 3) * b)
    assert log_g[-2] - log_g[-1] == pytest.approx(math.log(end), abs=2e-6 if b == 4 else 1e-9)


def _closed_relu(b: int) -> float:
    """Yang et al. 2019, steady state of ReLU: B T / ((B-3)(B-1)(1/2 - c'))."""
    c = -1.0 / (b - 1)
    overlap = (math.sqrt(1 - c * c) + c * (math.pi - math.acos(c))) / (2 * math.pi)
    both = 0.25 + math.asin(c) / (2 * math.pi)
    mean = b / 2 - (b / 2 + b * (b - 1) * overlap) / b
    t = (1 - 1 / b) ** 2 * b / 2 + (b - 1) * both / b - mean / b
    return b * t / ((b - 3) * (b - 1) * (0.5 - overlap))


@pytest.mark.parametrize("b", [5, 8, 16, 64, 256])
def test_relu_factor_equals_the_closed_form(b: int) -> None:
    log_g = gc.predict(_spec(activation="relu", batch_size=b)).log_g
    assert math.exp(log_g[4] - log_g[5]) == pytest.approx(_closed_relu(b), rel=1e-8)


def test_large_batches_tend_to_pi_over_pi_minus_one() -> None:
    chi = gc.predict(_spec(activation="relu", batch_size=100_000)).chi[5]
    assert chi == pytest.approx(math.pi / (math.pi - 1), rel=1e-4)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_large_batches_know_no_position(activation: str) -> None:
    """Before or after the activation: factors differ by order 1/B (twice at most here), the sampled one by 0.1%."""
    spec = _spec(activation=activation, batch_size=1024, gain=1.0)
    before, after = (gc.predict(spec.replace(norm_position=p)).chi[5] for p in ("before", "after"))
    assert after == pytest.approx(before, rel=2.0 / 1024 + 4e-3)


@pytest.mark.parametrize("position", ["before", "after"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "softplus", "elu"])
def test_explodes_unless_linear(activation: str, position: str) -> None:
    """Gaussian Poincare: the factor is above 1 for every activation that is not affine."""
    profile = gc.predict(_spec(activation=activation, batch_size=128, norm_position=position))
    assert profile.chi[5] > 1.0


@pytest.mark.parametrize(
    ("activation", "b"), [("linear", 8), ("relu", 8), ("relu", 16), ("relu", 64), ("tanh", 8), ("gelu", 16)]
)
def test_factor_against_torch(activation: str, b: int) -> None:
    """Mean per-layer factor over layers 2..9 of 24 networks of width 512; finite width adds O(1/n) a layer."""
    spec = _spec(activation=activation, batch_size=b, norm_eps=1e-8)
    profile, measured = gc.predict(spec), gc.measure(spec, networks=24, seed=11)
    steps = (measured.log_g[:, 1] - measured.log_g[:, 9]) / 8
    error = steps.std(ddof=1) / math.sqrt(24)
    predicted = (profile.log_g[1] - profile.log_g[9]) / 8
    # mean of the log lies half the variance below the log of the mean
    spread = 8 * (measured.log_g[:, 1] - measured.log_g[:, 9]).var(ddof=1) / 16 / 8
    assert abs(steps.mean() + spread - predicted) < 4 * error + 2 / 512


@pytest.mark.parametrize(
    ("activation", "c", "figure"), [("relu", 0.9, 5.31), ("relu", 0.0, 0.531), ("linear", 0.9, 10.68)]
)
def test_transient_of_correlated_inputs(activation: str, c: float, figure: float) -> None:
    """B = 32: only the first ratio differs from the steady factor, by the variance that correlated samples lack.

    sigma_w = sqrt(2) for ReLU and 1 for linear, unit input RMS, as the figures were computed.
    """
    gain = math.sqrt(2) if activation == "relu" else 1.0
    spec = _spec(activation=activation, batch_size=32, input_correlation=c, gain=gain)
    log_g = gc.predict(spec).log_g
    assert math.exp(log_g[0] - log_g[1]) == pytest.approx(figure, rel=2e-3)
    assert log_g[1] - log_g[2] == pytest.approx(log_g[4] - log_g[5], abs=1e-9)


def test_biases_below_batch_norm_get_no_gradient() -> None:
    profile = gc.predict(_spec(activation="relu", bias_std=0.3))
    assert np.all(np.isneginf(profile.log_db[:-1])) and math.isfinite(profile.log_db[-1])
    assert any(note.message_id == "bias_cancelled" for note in profile.notes)
    measured = gc.measure(profile.spec.replace(depth=6, width=64), networks=2)
    assert measured.log_db[:, :-1].max() < measured.log_g[:, :-1].min() + math.log(1e-25)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("position", ["before", "after"])
@pytest.mark.parametrize("residual", ["none", "identity"])
def test_losses_through_batch_norm_against_torch(loss: str, position: str, residual: str) -> None:
    spec = _spec(
        depth=8, activation="tanh", batch_size=8, loss=loss, norm_position=position, residual=residual, norm_eps=1e-5
    )
    comparison = gc.compare(gc.predict(spec), gc.measure(spec, networks=24, seed=4))
    assert comparison.agrees(), str(comparison)


def test_epsilon_matters_once_the_signal_is_small() -> None:
    """Input RMS 1e-3 with eps 1e-5: the variance is a tenth of eps; prediction follows torch, eps = 0 does not."""
    spec = _spec(depth=6, activation="tanh", batch_size=8, input_rms=1e-3, norm_eps=1e-5)
    profile, measured = gc.predict(spec), gc.measure(spec, networks=24, seed=9)
    assert gc.compare(profile, measured).agrees()
    ideal = gc.predict(spec.replace(norm_eps=1e-14))
    assert abs(ideal.log_q[1] - profile.log_q[1]) > 1.0


@pytest.mark.parametrize("activation", ["relu", "hardtanh"])
def test_kinks_where_epsilon_leaves_little_of_the_signal(activation: str) -> None:
    """Variances of a tenth and of a thousandth of eps: half of ReLU's units are on at any size of the signal."""
    for rms in (3e-3, 3e-4):
        spec = _spec(depth=4, width=256, activation=activation, batch_size=8, input_rms=rms, norm_eps=1e-4)
        comparison = gc.compare(gc.predict(spec), gc.measure(spec, networks=32, seed=3))
        assert comparison.agrees(), str(comparison)


@pytest.mark.parametrize(
    ("activation", "beta"), [("relu", 0.0), ("hardtanh", 1.0), ("hardtanh", 0.99), ("relu6", -0.2), ("tanh", 0.3)]
)
def test_tables_are_the_moments_they_table(activation: str, beta: float) -> None:
    """At every share v of the variance that epsilon leaves, also where a kink lies at or near beta."""
    sphere = sphere_moments(activation, 0.0, 1.0, beta, 8)
    shares = np.array([0.99, 0.6, 0.1, 3e-2, 1e-3, 3e-5, 1e-7])
    found = sphere.interpolate(shares)
    for k, v in enumerate(shares.tolist()):
        for name, exact in zip(COLUMNS, sphere.at(math.sqrt(v)).tolist(), strict=True):
            if name != "flat" or activation != "tanh":  # a share of units: not smooth in v
                assert found[name][k] == pytest.approx(exact, rel=1e-7, abs=1e-12), (name, v)


def test_population_solver_meets_the_recursion() -> None:
    """Where both apply (MSE, plain net, eps negligible) the sampled solver agrees with the exact recursion."""
    from gradcore.theory.batch_norm import BatchNormField
    from gradcore.theory.population import population_backward

    for position in ("before", "after"):
        field = BatchNormField(_spec(activation="tanh", batch_size=8, loss="mse", norm_position=position))
        exact, sampled = field.backward[0], population_backward(field)[0]
        # 2^17 draws a layer, heavy tail of 1/s^2 at B = 8: about 1% a layer, added in quadrature
        assert np.abs(exact - sampled).max() < 4 * 0.01 * math.sqrt(field.spec.depth)


@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_mse_where_epsilon_leaves_contrasts_below_rounding(activation: str) -> None:
    """norm_gamma 0.001 and a bias: what tells the samples apart shrinks a hundredfold a layer, and the loss' gradient
    is all but the same for all of them; only its contrasts pass the norm. The biases below it get nothing. Sixteen
    networks, Student's limit, 2/width a layer."""
    spec = _spec(depth=6, width=256, activation=activation, norm_gamma=1e-3, bias_std=0.001, loss="mse", norm_eps=1e-5)
    spec = spec.replace(batch_size=32)
    profile, measured = gc.predict(spec), gc.measure(spec, networks=16, seed=2)
    assert profile.log_g[0] < profile.log_g[-1] - 20.0 and np.isneginf(profile.log_db[:-1]).all()
    gap = np.abs(measured.mean("log_g") - profile.log_g)
    assert np.all(gap < limit(6, 16) * measured.standard_error("log_g") + 2.0 * 6 / 256), gap


def test_nearly_equal_samples_keep_their_weight_gradient() -> None:
    """Signal 1e-10 of epsilon's root: inputs of W agree to 1e-13, and only their contrasts meet zero-sum cotangents."""
    spec = _spec(depth=4, width=64, activation="softsign", norm_beta=3.3, norm_eps=1e-5, input_rms=4e-10, batch_size=32)
    profile, measured = gc.predict(spec), gc.measure(spec, networks=16)
    assert np.all(np.isfinite(profile.log_dw)) and profile.log_dw[1] < -25
    assert gc.compare(profile, measured).agrees()


@pytest.mark.parametrize("activation", ["linear", "gelu"])
def test_orthogonal_weights_below_mse_leave_what_epsilon_lets_through(activation: str) -> None:
    """W^T W x = g^2 x, and a batch norm after the activation annihilates x but for epsilon: tiny, and not zero."""
    spec = gc.Spec(
        depth=6,
        width=200,
        activation=activation,
        init="orthogonal",
        norm="batch",
        norm_position="after",
        batch_size=64,
        loss="mse",
    )
    profile, measured = both(spec, 16)
    assert np.isfinite(profile.log_g).all() and profile.log_g[-2] < profile.log_g[-1] - 15
    assert_means_agree(profile, measured)


def test_a_small_gamma_behind_large_biases() -> None:
    """norm_gamma 0.001 after the activation: samples that biases make all but equal (1 - c below 1e-6) are told apart
    by the norm again. Twelve networks of width 256, 5 standard errors and 2/width a layer."""
    spec = gc.Spec(
        depth=8,
        width=256,
        activation="tanh",
        init="lecun_normal",
        bias_std=0.5,
        norm="batch",
        norm_position="after",
        norm_gamma=1e-3,
    )
    profile, measured = gc.predict(spec), gc.measure(spec, networks=12, seed=3)
    for name in ("log_p", "log_g", "log_dw"):
        gap = np.abs(measured.mean(name) - getattr(profile, name))
        assert np.all(gap < 5.0 * measured.standard_error(name) + 2.0 * 8 / 256), (name, gap)


def test_contrasts_below_floats() -> None:
    """Linear in the contrast, down to where its square is no float."""
    spec = gc.Spec(depth=3, norm="batch", norm_position="after", norm_gamma=1e-200, bias_std=1.0, activation="tanh")
    steps = np.diff([float(gc.predict(spec.replace(depth=d)).log_p[-1]) for d in (3, 4, 5)])
    assert np.all(np.isfinite(steps)) and steps[0] == pytest.approx(steps[1], abs=0.2) and steps[0] < -800.0
