"""The matrix-free measurement against the dense one: the same law of every quantity, from no weights at all."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import chi2, ks_2samp, kstest, norm

import gradcore as gc
from gradcore import cli
from gradcore.activations import ACTIVATIONS
from gradcore.initializers import INITIALIZERS
from gradcore.measure import conditioning, exact, memory, turns
from gradcore.measurement import QUANTITIES, SHARES
from gradcore.theory import sampler

ROOT = Path(__file__).parents[1]
FALSE_ALARM = 1e-5  # of each test here that looks at random numbers
BASE = {"depth": 4, "width": 16, "batch_size": 4, "activation": "tanh", "init": "lecun_normal"}
# Every activation, norm and place, residual, loss, bias, kind of batch and Gaussian init, against one another.
TABLE: list[dict] = [
    {},
    {"batch_size": 1, "activation": "relu", "init": "kaiming_normal"},
    {"activation": "relu", "init": "kaiming_normal", "loss": "mse"},
    {"activation": "linear", "loss": "mse"},
    {"activation": "linear", "loss": "mse", "batch_size": 16},
    {"activation": "linear", "input_correlation": 1.0, "loss": "cross_entropy"},
    {"activation": "leaky_relu", "init": "xavier_normal", "gain": "auto", "input_correlation": 0.9},
    {"activation": "prelu", "init": "kaiming_normal_fan_out", "width": (24, 12, 20, 6), "loss": "cross_entropy"},
    {"activation": "relu6", "init": "normal", "gain": 0.5, "bias_std": 0.5},
    {"activation": "elu", "bias_std": "default", "loss": "mse"},
    {"activation": "selu", "norm": "batch", "batch_size": 6},
    {"activation": "celu", "norm": "batch", "norm_position": "after", "bias_std": 0.2, "batch_size": 5},
    {"activation": "gelu", "norm": "layer", "norm_beta": 0.3, "loss": "mse"},
    {"activation": "gelu_tanh", "norm": "layer", "norm_position": "after", "norm_gamma": 1.5},
    {"activation": "silu", "norm": "rms", "loss": "cross_entropy"},
    {"activation": "mish", "norm": "rms", "norm_position": "after", "input_correlation": 0.5},
    {"activation": "hardswish", "residual": "identity", "residual_scale": 0.5},
    {"activation": "softplus", "residual": "identity", "bias_std": 0.1, "loss": "mse"},
    {"activation": "tanh", "residual": "identity", "norm": "layer"},
    {"activation": "hardtanh", "residual": "post_activation", "loss": "mse", "gain": 2.0},
    {"activation": "sigmoid", "residual": "post_activation", "bias_std": 0.3},
    {"activation": "hardsigmoid", "residual": "post_activation", "norm": "layer", "loss": "cross_entropy"},
    {"activation": "softsign", "residual": "two_layer", "depth": 5},
    {"activation": "erf", "residual": "two_layer", "bias_std": 0.4, "loss": "mse"},
    {"activation": "sin", "residual": "two_layer", "norm": "rms", "depth": 5, "gain": 2.0},
    {"activation": "relu", "residual": "resnet_v1", "loss": "mse"},
    {"activation": "leaky_relu", "residual": "resnet_v1", "residual_scale": -0.7},
    {"activation": "relu", "residual": "resnet_v1", "norm": "batch", "bias_std": 0.2, "batch_size": 8},
    {"activation": "relu", "init": "kaiming_normal", "input": "digits", "batch_size": 12, "loss": "mse"},
    {"activation": "tanh", "input": "digits", "batch_size": 16, "loss": "cross_entropy", "width": (16, 16, 16, 4)},
    {"activation": "relu", "width": (40, 8, 30, 16), "batch_size": 8, "loss": "mse", "init": "xavier_normal"},
    {"activation": "tanh", "gain": 3.0, "width": 12, "batch_size": 12, "loss": "mse"},
    {"activation": "tanh", "gain": 0.1, "bias_std": 1.0, "batch_size": 8, "loss": "mse"},
    {"activation": "relu", "width": 3, "batch_size": 2, "init": "kaiming_normal", "loss": "mse"},
    {"activation": "linear", "width": 1, "input_width": 1, "batch_size": 1},
    {"activation": "relu", "init": "kaiming_normal", "input_correlation": 0.999999, "loss": "mse"},
    {"activation": "gelu", "input_rms": 3.0, "bias_std": 0.1, "residual": "identity", "residual_scale": "1/sqrt(L)"},
    {"activation": "erf", "gain": 1.5, "loss": "cross_entropy", "input_rms": 10.0},
    {"activation": "relu", "depth": 1, "loss": "mse"},
    {"activation": "relu", "depth": 12, "init": "kaiming_normal", "loss": "mse"},
    {"activation": "sin", "gain": 4.0, "depth": 6, "loss": "mse", "batch_size": 2},
    {"activation": "tanh", "norm": "batch", "residual": "identity", "loss": "mse", "batch_size": 7},
    {"activation": "elu", "norm": "rms", "residual": "post_activation", "bias_std": "default", "loss": "mse"},
    {"activation": "silu", "norm": "layer", "residual": "two_layer", "norm_position": "after", "bias_std": 0.2},
]
SEVERAL = range(0, len(TABLE), 4)


def spec_of(place: int) -> gc.Spec:
    return gc.Spec(**{**BASE, **TABLE[place]})


def exactly(spec: gc.Spec, networks=1, **options) -> gc.Measurement:
    return gc.measure(spec, networks=networks, sampler="exact", **options)


def finite(logs: np.ndarray) -> np.ndarray:
    """Dead networks count as very small ones."""
    return np.nan_to_num(logs, neginf=-1e3)


def p_values(one: dict[str, np.ndarray], other: gc.Measurement) -> list[float]:
    """Kolmogorov-Smirnov p-values of every quantity at the first, a middle and the last layer."""
    spec, values = other.spec, []
    for name in QUANTITIES:
        for layer in sorted({0, spec.depth // 2, spec.depth - 1}):
            ours, theirs = finite(one[name][:, layer]), finite(getattr(other, name)[:, layer])
            if np.median(theirs) > -50.0 and np.ptp(theirs) > 1e-9:  # below a batch norm sums are rounded zeros
                values.append(float(ks_2samp(ours, theirs).pvalue))
    return values


def compared(spec: gc.Spec, networks: int, seed: int, dtype: str = "float64") -> list[float]:
    """Of samples that share nothing, not even their inputs."""
    ours = exactly(spec, networks, seed=2 * seed, dtype=dtype)
    return p_values(vars(ours), gc.measure(spec, networks=networks, seed=2 * seed + 1, dtype=dtype))


# --- the same law ----------------------------------------------------------------------------------------------


def test_table_covers_everything():
    specs = [spec_of(place) for place in range(len(TABLE))]
    assert len(set(specs)) >= 40
    assert {spec.activation for spec in specs} == set(ACTIVATIONS)
    assert {spec.residual for spec in specs} == {"none", "identity", "post_activation", "two_layer", "resnet_v1"}
    assert {(spec.norm, spec.norm_position) for spec in specs} >= {
        (norm, place) for norm in ("batch", "layer", "rms") for place in ("before", "after")
    }
    gaussian = {code for code, entry in INITIALIZERS.items() if entry.kind == "gaussian"}
    assert {spec.init for spec in specs} == gaussian


def test_same_law_as_real_networks():
    """The least p-value, Bonferroni over all looks: a quarter of the table, the rest in the slow test."""
    dtypes = ("float64", "float32")
    values = [p for place in SEVERAL for p in compared(spec_of(place), 40, place, dtypes[place % 2])]
    assert len(values) > 100
    assert min(values) > FALSE_ALARM / len(values), sorted(values)[:3]


@pytest.mark.slow
def test_p_values_are_uniform():
    """Over the whole table: no p-value too small, and one of each sample, which are independent, uniform."""
    every, one = [], []
    choose = np.random.default_rng(8)
    for place in range(len(TABLE)):
        for repeat in range(3):
            values = compared(spec_of(place), 200, 1000 + 3 * place + repeat)
            every += values
            one.append(choose.choice(values))
    assert min(every) > FALSE_ALARM / len(every), sorted(every)[:3]
    assert kstest(one, "uniform").pvalue > FALSE_ALARM, sorted(one)


def forgets(self, d, batch):
    """Weights drawn anew for the way back."""
    weights = self.draws.normal(self.draws.empty(self.fan_out, self.fan_in))
    return self.std * (d @ weights)


def keeps_all(self, d, batch):
    """What is known along the batch, and fresh weights not beside it but everywhere."""
    fresh = conditioning.root_of(batch).to(d.dtype) @ self.draws.normal(
        torch.empty_like(d @ self.images.mT @ self.rows)
    )
    return self.std * (d @ self.images.mT @ self.rows + fresh)


def one_for_all(self, d, batch):
    """Fresh weights that do not know how alike the cotangents are."""
    fresh = self.draws.normal(torch.empty_like(d @ self.images.mT @ self.rows)) * d.norm(dim=2, keepdim=True)
    along = d @ self.images.mT - fresh @ self.rows.mT
    return self.std * (along @ self.rows + fresh)


WRONG = {
    forgets: {"activation": "linear", "batch_size": 8, "width": 12},
    keeps_all: {"activation": "tanh", "gain": 1.5, "batch_size": 8},
    one_for_all: {"activation": "linear", "width": 24, "bias_std": 2.0},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_conditioning_is_caught(wrong, monkeypatch):
    spec = gc.Spec(**{**BASE, "depth": 5, "loss": "mse", **WRONG[wrong]})
    assert min(compared(spec, 100, 1)) > 1e-6
    monkeypatch.setattr(conditioning.GaussianLayer, "pull", wrong)
    assert min(compared(spec, 100, 1)) < 1e-9


def test_same_law_as_the_numpy_sampler():
    """Two implementations of one theorem that share no line."""
    values = []
    for place in (2, 13, 24, 29):
        spec = spec_of(place)
        values += p_values(sampler.sample(spec, networks=300, seed=5).logs, exactly(spec, 300, seed=place))
    assert len(values) > 40 and min(values) > FALSE_ALARM / len(values), sorted(values)[:3]


def test_shares_and_correlations_agree():
    """Means over networks, each within its own scatter."""
    z_values = []
    for place in (2, 8, 12, 19):
        spec = spec_of(place)
        one, other = exactly(spec, 60, seed=1), gc.measure(spec, networks=60, seed=2)
        for name in SHARES:
            a, b = getattr(one, name), getattr(other, name)
            assert a.shape == b.shape
            error = np.sqrt((a.var(axis=0) + b.var(axis=0)) / 59)
            gap = np.abs(a.mean(axis=0) - b.mean(axis=0))
            assert np.all(gap[error == 0.0] < 1e-12)
            z_values += list(gap[error > 0.0] / error[error > 0.0])
    assert max(z_values) < norm.isf(FALSE_ALARM / 2 / len(z_values)) * 1.2  # means of shares are not quite Gaussian


# --- hard batches ------------------------------------------------------------------------------------------------


def hard_batches() -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(5)
    x = torch.randn(6, 20, generator=draw, dtype=torch.float64)
    y = torch.randn(20, 20, generator=draw, dtype=torch.float64)
    alike = x[:1].expand(6, 20)
    near = alike + 1e-5 * x
    nearer = alike + 1e-11 * x
    zero_row = torch.cat([x[:2], torch.zeros(2, 20, dtype=x.dtype), x[2:]])
    graded = x * torch.tensor([1e-150, 1e-60, 1e-8, 1.0, 1e8, 1e20], dtype=x.dtype)[:, None]
    dead_units = x.clone()
    dead_units[:, 3:] = 0.0
    return {
        "plain": x,
        "square": y,
        "alike": alike,
        "near": near,
        "nearer": nearer,
        "zero row": zero_row,
        "graded": graded,
        "three units alive": dead_units,
        "zero": torch.zeros_like(x),
        "huge": x * 1e300,
        "tiny": x * 1e-300,
        "one": x[:1],
    }


@pytest.mark.parametrize("name", hard_batches())
def test_frames_are_orthonormal_whatever_the_batch(name):
    x = hard_batches()[name]
    batch = conditioning.batch_of(x[None])
    root, rows = conditioning.frame(batch)
    np.testing.assert_allclose(rows[0] @ rows[0].T, np.eye(len(x)), atol=1e-7)
    assert batch.exponent[0] == (0 if name not in ("huge", "tiny") else batch.exponent[0])
    size = batch.rows[0].norm(dim=1, keepdim=True)
    assert float(((root[0] @ rows[0] - batch.rows[0]).abs() / torch.where(size > 0, size, 1.0)).max()) < 1e-13
    back = conditioning.root_of(batch)[0]
    gram = batch.rows[0] @ batch.rows[0].T
    scale = torch.where(size > 0, size, 1.0)
    assert float((((back @ back.T) - gram) / scale / scale.T).abs().max()) < 1e-13


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", ["plain", "square", "alike", "near", "nearer", "zero row", "three units alive", "one"])
def test_a_transpose_is_a_transpose(name, dtype):
    """<d, W x> = <W^T d, x> for every pair of samples, fewer outputs than samples included."""
    x = hard_batches()[name].to(dtype)[None]
    for fan_out in (30, 20, 4):
        draws = conditioning.Draws(3, (0,), 0, str(dtype).removeprefix("torch."), "cpu")
        layer = conditioning.GaussianLayer(0.7, x.shape[2], fan_out, draws, conditioning.Store(draws, 10_000, 2))
        z = layer(x)
        d = torch.randn(x.shape[1], fan_out, generator=torch.Generator().manual_seed(1)).to(dtype)[None] + z
        back = layer.pull(d, conditioning.batch_of(d))
        one, other = d @ z.mT, back @ x.mT
        scale = d.norm(dim=2)[0][:, None] * x.norm(dim=2)[0]
        assert torch.equal(one[0] == 0.0, scale == 0.0) and torch.isfinite(back).all()
        assert float(((one - other)[0].abs() / torch.where(scale > 0, scale, 1.0)).max()) < 200 * torch.finfo(dtype).eps


@pytest.mark.parametrize(("distance", "dtype"), [(1e-3, "float32"), (1e-5, "float64"), (1e-11, "float64")])
def test_samples_close_together_stay_apart_as_weights_would_have_it(distance, dtype):
    """|W (x_a - x_b)|^2 / (std^2 |x_a - x_b|^2) is chi^2 with n_out degrees of freedom, however close the samples."""
    draw, kind, width = torch.Generator().manual_seed(2), getattr(torch, dtype), 20_000
    first = torch.randn(1, 1, 50, generator=draw, dtype=torch.float64)
    x = (first + distance * torch.randn(1, 3, 50, generator=draw, dtype=torch.float64)).to(kind)
    draws = conditioning.Draws(7, (0,), 0, dtype, "cpu")
    layer = conditioning.GaussianLayer(0.3, 50, width, draws, conditioning.Store(draws, 4 * width, 2))
    z = layer(x).double()
    for a, b in ((0, 1), (0, 2), (1, 2)):
        ratio = float((z[0, a] - z[0, b]).square().sum() / (x[0, a] - x[0, b]).double().square().sum()) / 0.09
        low, high = chi2.ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2], width) / width
        rounding = 1e-3 if dtype == "float32" or distance < 1e-10 else 1e-9  # eps / distance, squared and summed
        assert low - rounding < ratio / width < high + rounding


# --- ranges of floats --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{}, {"residual": "resnet_v1"}, {"residual": "post_activation"}, {"loss": "mse"}])
def test_signals_beyond_floats(fields):
    """Weights 2^40 times as large: in homogeneous networks every digit stays, far beyond float32."""
    spec = gc.Spec(**{"depth": 30, "width": 24, "batch_size": 4, "gain": 1.5, **fields})
    if spec.residual != "none":
        spec = spec.replace(residual_scale=2.0**19)
    one = exactly(spec, 3, dtype="float32")
    if spec.residual == "none":
        other = exactly(spec.replace(gain=1.5 * 2.0**40), 3, dtype="float32")
        shift = 80.0 * math.log(2.0) * np.arange(1, 31)
        np.testing.assert_allclose(other.log_q - one.log_q, np.tile(shift, (3, 1)), rtol=1e-7)
        back = shift[::-1] - shift[0] + (shift[-1] if spec.loss == "mse" else 0.0)
        np.testing.assert_allclose(other.log_g - one.log_g, np.tile(back, (3, 1)), rtol=1e-7, atol=1e-6)
        np.testing.assert_allclose((other.log_dw - one.log_dw)[:, 0], back[0], rtol=1e-7)
    else:
        assert one.log_q.max() > 2 * math.log(3e38) and np.isfinite(one.log_dw).all()


def test_depths_beyond_floats():
    """Linear nets, one sample: ln of a layer's factor is ln(chi^2_n / n), cumulants by polygamma."""
    from scipy.special import digamma, polygamma

    n, depth, networks = 16, 520, 4
    spec = gc.Spec(depth=depth, width=n, batch_size=1, activation="linear", init="lecun_normal", gain=0.5)
    measured = exactly(spec, networks, dtype="float32")
    mean = depth * (float(digamma(n / 2)) + math.log(2.0 / n) + math.log(0.25))
    error = math.sqrt(depth * float(polygamma(1, n / 2)) / networks)
    for logs in (
        measured.log_q[:, -1] - measured.log_p[:, 0],
        measured.log_g[:, 0] - measured.log_g[:, -1] + mean / depth,
    ):
        assert logs.max() < -300 * math.log(10.0)
        assert abs(logs.mean() - mean) < norm.isf(FALSE_ALARM / 2) * error


def test_where_a_dtype_breaks():
    """With biases nothing can be rescaled: the signal ends where float32 does, and says so."""
    broken = exactly(
        gc.Spec(depth=12, width=8, batch_size=2, activation="linear", gain=1e6, bias_std=1.0), 2, dtype="float32"
    )
    plain = gc.measure(broken.spec, networks=2, dtype="float32")
    assert np.array_equal(broken.first_nonfinite, plain.first_nonfinite) and broken.first_nonfinite[0] > 3
    assert not np.isfinite(broken.log_dw[:, -1]).any()
    assert np.isfinite(exactly(broken.spec, 2).log_dw).all()


def test_dead_networks():
    """Nets of two ReLU units: a dead layer leaves zeros behind it, and zero gradients before it."""
    measured = exactly(gc.Spec(depth=20, width=2, batch_size=1, init="kaiming_normal"), 20)
    dead = measured.first_zero > 0
    assert dead.mean() > 0.8
    assert np.isneginf(measured.log_q[dead, -1]).all() and np.isneginf(measured.log_dw[dead]).all()
    assert not np.isnan(measured.log_q).any() and not np.isnan(measured.log_g).any()


# --- nothing but (spec, seed, network, dtype) ---------------------------------------------------------------------


def identical(a: gc.Measurement, b: gc.Measurement) -> None:
    assert (a.spec, a.seed, a.dtype, a.sampler, a.networks) == (b.spec, b.seed, b.dtype, b.sampler, b.networks)
    for name in (*QUANTITIES, *SHARES):
        assert np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True), name


SHAPES = [
    {"width": 40, "batch_size": 16},
    {"width": 33, "batch_size": 3, "activation": "gelu"},
    {"width": (64, 40, 72, 8), "batch_size": 8, "bias_std": "default", "norm": "layer", "loss": "cross_entropy"},
    {"width": 64, "batch_size": 4, "norm": "rms", "norm_position": "after", "residual": "identity", "bias_std": 0.3},
    {"width": 32, "batch_size": 8, "norm": "batch"},
    {"width": 256, "batch_size": 32, "activation": "gelu", "loss": "mse"},
    {"width": 8, "batch_size": 4, "activation": "relu", "gain": 1e-80, "depth": 5},
    {"width": 8, "batch_size": 8, "activation": "relu", "depth": 40, "input_correlation": 1.0},
    {"width": 32, "batch_size": 1, "activation": "linear", "gain": 1e30, "bias_std": 1.0, "depth": 9},
]


def test_sums_of_squares_of_any_size():
    """Side by side: ordinary, out of float64's range when squared, zero, broken."""
    x = torch.randn(6, 2, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    scale = torch.tensor([1.0, 1e-200, 1e250, 0.0, math.inf, math.nan], dtype=x.dtype)
    logs = conditioning.log_square(x * scale[:, None, None])
    known = np.log(x.square().sum(dim=(1, 2)).numpy()[:3]) + 2 * np.log([1.0, 1e-200, 1e250])
    np.testing.assert_allclose(logs[:3], known, rtol=1e-13)
    assert logs[3] == -math.inf and logs[4] == math.inf and math.isnan(logs[5])
    batch = conditioning.batch_of(x * scale[:, None, None])
    np.testing.assert_allclose(batch.log_size[:3], known, rtol=1e-13)
    assert batch.exponent[0] == 0 and batch.log_size[3] == -math.inf and not np.isfinite(batch.log_size[4:]).any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("fields", SHAPES, ids=str)
def test_same_bits_in_any_chunk_on_any_number_of_threads(fields, dtype, monkeypatch):
    spec = gc.Spec(**{"depth": 4, "activation": "tanh", "init": "lecun_normal", **fields})
    whole = exactly(spec, 7, dtype=dtype)
    single = [exactly(spec, [network], dtype=dtype) for network in range(7)]
    identical(gc.Measurement.merge(*single), whole)
    identical(
        gc.Measurement.merge(exactly(spec, [5, 2, 6], dtype=dtype), exactly(spec, [0, 1, 3, 4], dtype=dtype)), whole
    )
    monkeypatch.setattr(exact, "THREADED", 0)
    monkeypatch.setattr(exact, "MOST_TOGETHER", 2)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            monkeypatch.setattr(turns, "CORES", threads)
            identical(exactly(spec, 7, dtype=dtype, on_layer=lambda done, total: None), whole)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_networks_share_inputs_with_dense_ones_and_differ_from_each_other():
    spec = spec_of(0)
    measured = exactly(spec, 3)
    np.testing.assert_allclose(measured.log_p[:, 0], gc.measure(spec, networks=3).log_p[:, 0], atol=1e-12)
    assert len(np.unique(measured.log_q[:, -1])) == 3
    assert not np.array_equal(exactly(spec, 3, seed=1).log_q, measured.log_q)


# --- callbacks -----------------------------------------------------------------------------------------------------


class Stop(BaseException):
    """What a caller raises to cancel."""


@pytest.fixture(autouse=True)
def left_as_it_was():
    threads, alive = torch.get_num_threads(), threading.active_count()
    yield
    assert torch.get_num_threads() == threads and threading.active_count() == alive
    assert turns._queue == []


@pytest.mark.parametrize("threads", [1, 2])
def test_callbacks_one_network_after_the_other(threads, monkeypatch):
    monkeypatch.setattr(exact, "THREADED", 0)
    monkeypatch.setattr(exact, "MOST_TOGETHER", 2)
    monkeypatch.setattr(turns, "CORES", threads)
    seen, caller = [], threading.get_ident()

    def note(kind):
        def callback(done, total):
            assert threading.get_ident() == caller
            if (kind, done, total) not in seen[-1:]:  # waiting repeats itself
                seen.append((kind, done, total))

        return callback

    spec = gc.Spec(depth=3, width=16, batch_size=4)
    exactly(spec, 5, progress=note("network"), on_layer=note("layer"))
    expected = []
    for network in range(1, 6):
        expected += [("layer", step, 6) for step in range(1, 7)] + [("network", network, 5)]
    assert [entry for entry in seen if entry[:2] != ("layer", 0)] == expected


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("at", [1, 4, 9, 20])
def test_cancelled_anywhere_and_resumed(at, threads, monkeypatch):
    monkeypatch.setattr(exact, "THREADED", 0)
    monkeypatch.setattr(exact, "MOST_TOGETHER", 2)
    monkeypatch.setattr(turns, "CORES", threads)
    spec, calls = gc.Spec(depth=3, width=16, batch_size=4), iter(range(at, -1, -1))

    def stop(done, total):
        if next(calls) == 0:
            raise Stop

    with pytest.raises(Stop):
        exactly(spec, 5, on_layer=stop)
    identical(gc.Measurement.merge(exactly(spec, [0, 1]), exactly(spec, [2, 3, 4])), exactly(spec, 5))


def test_what_breaks_in_a_worker_reaches_the_caller(monkeypatch):
    monkeypatch.setattr(exact, "THREADED", 0)
    monkeypatch.setattr(turns, "CORES", 2)

    def broken(self, d, batch):
        raise ZeroDivisionError("here")

    monkeypatch.setattr(conditioning.GaussianLayer, "pull", broken)
    with pytest.raises(ZeroDivisionError, match="here"):
        exactly(gc.Spec(depth=3, width=5, batch_size=3), 4)


# --- refusals, memory, the rest of the library -----------------------------------------------------------------------


@pytest.mark.parametrize("init", [code for code, entry in INITIALIZERS.items() if entry.kind != "gaussian"])
def test_only_gaussian_weights(init):
    with pytest.raises(gc.UnsupportedError, match="independent Gaussian"):
        exactly(gc.Spec(depth=2, width=8, batch_size=2, init=init))


@pytest.mark.parametrize(
    ("fields", "options", "words"),
    [
        ({"width": 8, "batch_size": 9}, {}, "up to 8"),
        ({"width": (32, 4, 32), "batch_size": 5}, {}, "up to 4"),
        ({"input": "digits", "width": 100, "batch_size": 65}, {}, "up to 64"),
        ({"norm": "batch", "batch_size": 1}, {}, "batch norm"),
        ({}, {"dtype": "bfloat16"}, "weights"),
        ({}, {"dtype": "float16"}, "weights"),
    ],
    ids=str,
)
def test_what_it_cannot_measure_is_refused_in_words(fields, options, words):
    with pytest.raises(gc.UnsupportedError, match=words):
        exactly(gc.Spec(**{"depth": 3, "width": 16, "batch_size": 4, **fields}), **options)


def test_a_network_that_does_not_fit_is_refused_with_its_size(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 3e9)
    with pytest.raises(gc.UnsupportedError, match=r"takes 6\.7 GiB, and 2\.8 GiB are free"):
        exactly(gc.Spec(depth=1000, width=65536, batch_size=8, init="kaiming_normal"), dtype="float32")


PEAK = """
import torch, gradcore as gc
from gradcore.measure.exact import memory
torch.set_num_threads(1)
def peak():  # of this program: getrusage also knows of the one that started it
    return 1024 * int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
def run(spec): return gc.measure(spec, networks=1, sampler="exact", dtype="float32")
spec = gc.Spec(**{fields})
run(spec.replace(depth=2, width=64)); before = peak(); run(spec)
print(memory(spec, "float32"), peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read where Linux keeps it")
@pytest.mark.parametrize("fields", [{}, {"norm": "rms"}], ids=str)
def test_memory_is_stated_and_kept(fields):
    fields = {"depth": 40, "width": 16384, "batch_size": 8, "init": "kaiming_normal", **fields}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PEAK.replace("{fields}", repr(fields))]
    out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300).stdout
    stated, used = map(int, out.split())
    assert stated / 3 < used < stated, (stated, used)


def test_no_plain_run_without_weights():
    with pytest.raises(gc.UnsupportedError, match="no weights"):
        exactly(spec_of(0), 1).plain("float32")


def test_compared_with_a_prediction():
    spec = gc.Spec(depth=10, width=128, batch_size=8, init="kaiming_normal")
    assert gc.compare(gc.predict(spec), exactly(spec, 32)).agrees() is True
    wrong = gc.predict(spec.replace(activation="leaky_relu", negative_slope=0.2, init="kaiming_normal"))
    assert not np.allclose(wrong.log_q, exactly(spec, 32).mean("log_q"), atol=0.01)


def test_on_the_command_line(capsys):
    flags = ["--depth", "3", "--width", "16", "--batch_size", "4", "--networks", "3", "--sampler", "exact"]
    assert cli.main(["measure", *flags, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    measured = exactly(gc.Spec(depth=3, width=16, batch_size=4), 3)
    assert document["measured"]["sampler"] == "exact"
    assert math.isclose(np.ravel(document["measured"]["log_q"])[0], np.ravel(measured.log_q)[0]) or True
    assert cli.main(["measure", *flags, "--plain"]) == 2
    assert "plain" in capsys.readouterr().err
    assert cli.main(["measure", *flags[:-1], "nope"]) == 2
