"""The sampler against torch's dense networks: the same law of every quantity, for every kind of weights and block."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import digamma, polygamma
from scipy.stats import binom, ks_2samp, kstest, norm

import gradcore as gc
from gradcore.profile import QUANTITIES
from gradcore.theory import sampler, weight_law

NETWORKS = 200
FALSE_ALARM = 0.01  # of each test
# One Spec for each thing the sampler does: every kind of weights, biases, norms and their position, residual, losses,
# inputs, unequal widths, batches wider than a layer.
SPECS = {
    "gaussian, biases": {"activation": "tanh", "gain": 1.5, "init": "lecun_normal", "bias_std": 0.2},
    "uniform, default biases": {
        "activation": "relu",
        "init": "kaiming_uniform",
        "bias_std": "default",
        "input_correlation": 0.9,
    },
    "truncated": {"activation": "gelu", "init": "trunc_normal", "gain": 1.0, "width": 24},
    "sparse": {"activation": "tanh", "init": "sparse", "gain": 0.25, "width": 32, "sparsity": 0.3},
    "orthogonal": {"activation": "selu", "init": "orthogonal", "bias_std": 0.1},
    "orthogonal, unequal widths": {
        "activation": "gelu",
        "init": "orthogonal",
        "gain": 1.4,
        "width": (24, 40, 40, 16, 30, 12),
    },
    "constant": {"activation": "linear", "init": "constant", "gain": 0.05},
    "eye": {"activation": "tanh", "init": "eye", "gain": 0.9, "bias_std": 0.3},
    "batch norm": {"activation": "relu", "init": "kaiming_normal", "norm": "batch", "batch_size": 8, "norm_gamma": 1.3},
    "batch norm after": {"activation": "tanh", "norm": "batch", "norm_position": "after", "batch_size": 8},
    "layer norm on a stream": {"activation": "relu", "norm": "layer", "norm_beta": 0.5, "residual": "identity"},
    "rms norm after": {
        "activation": "silu",
        "norm": "rms",
        "norm_position": "after",
        "residual": "identity",
        "residual_scale": -0.5,
    },
    "post-activation": {"activation": "tanh", "residual": "post_activation", "bias_std": 0.2, "norm": "layer"},
    "two layers": {"activation": "relu", "residual": "two_layer", "norm": "rms", "bias_std": 0.3, "depth": 7},
    "two layers, homogeneous": {"activation": "leaky_relu", "residual": "two_layer", "residual_scale": -0.7},
    "resnet v1": {"activation": "relu", "residual": "resnet_v1", "loss": "mse", "depth": 5},
    "mse": {"activation": "relu", "init": "kaiming_normal", "loss": "mse"},
    "cross-entropy": {"activation": "tanh", "gain": 2.0, "loss": "cross_entropy", "width": (24, 24, 24, 24, 24, 4)},
    "digits, wider than the layers": {
        "activation": "relu",
        "init": "kaiming_normal",
        "input": "digits",
        "batch_size": 30,
        "width": 20,
    },
}


def spec_of(name: str) -> gc.Spec:
    return gc.Spec(**{"depth": 6, "width": 24, "batch_size": 4, **SPECS[name]})


def p_values(spec: gc.Spec, sampled: sampler.Sample, measured: gc.Measurement) -> list[float]:
    """Kolmogorov-Smirnov p-values of every quantity at the first, a middle and the last layer; dead networks count."""
    values = []
    for name in QUANTITIES:
        if name == "log_db" and spec.norm == "batch":
            continue  # exactly zero below a batch norm, and rounding in torch
        for layer in {0, spec.depth // 2, spec.depth - 1}:
            one, other = sampled.logs[name][:, layer], getattr(measured, name)[:, layer]
            if np.ptp(np.nan_to_num(other, neginf=-1e3)) > 1e-9:
                values.append(
                    float(ks_2samp(np.nan_to_num(one, neginf=-1e3), np.nan_to_num(other, neginf=-1e3)).pvalue)
                )
    return values


@pytest.mark.parametrize("name", SPECS)
def test_same_law_as_real_networks(name: str) -> None:
    """The least of the p-values, Bonferroni over all looks of this test."""
    spec = spec_of(name)
    measured = gc.measure(spec, networks=NETWORKS, seed=5)
    values = p_values(spec, sampler.sample(spec, networks=2 * NETWORKS), measured)
    assert len(values) >= 5
    assert min(values) > FALSE_ALARM / len(SPECS) / len(values), sorted(values)[:3]


@pytest.mark.slow
def test_p_values_are_uniform() -> None:
    """Over all Specs together, the quantities of one network at one layer being one look each."""
    values = []
    for name in SPECS:
        spec = spec_of(name)
        for seed in (11, 12):
            measured = gc.measure(spec, networks=2 * NETWORKS, seed=seed)
            sampled = sampler.sample(spec, networks=2 * NETWORKS, seed=seed)
            values.append(np.random.default_rng(seed).choice(p_values(spec, sampled, measured)))
    assert kstest(values, "uniform").pvalue > FALSE_ALARM, sorted(values)


def test_wrong_conditioning_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backward pass through weights that forget what they did forward: MSE shows it, as it must."""
    spec = spec_of("mse")
    measured = gc.measure(spec, networks=NETWORKS, seed=5)
    monkeypatch.setattr(
        weight_law.Gaussian,
        "backward",
        lambda self, d: self.std * (d @ self.rng.standard_normal((d.shape[0], d.shape[2], self.rows.shape[2]))),
    )
    values = p_values(spec, sampler.sample(spec, networks=2 * NETWORKS), measured)
    assert min(values) < 1e-6


@pytest.mark.parametrize("kind", ["lecun_normal", "orthogonal"])
def test_a_transpose_is_a_transpose(kind: str) -> None:
    """<d, W x> = <W^T d, x> for every network and pair of samples, also where samples are alike."""
    rng = np.random.default_rng(3)
    spec = gc.Spec(depth=1, width=12, input_width=20, init=kind)
    x = rng.standard_normal((5, 4, 20))
    x[:, 3] = x[:, 2]  # a batch without four directions
    for fan_in, fan_out in ((20, 12), (12, 20), (16, 16)):
        x_in = x[:, :, :fan_in]
        weights = weight_law.weights_of(spec, 1.0, 1.0 / fan_in, fan_in, fan_out, rng)
        h, d = weights.forward(x_in), rng.standard_normal((5, 4, fan_out))
        back = weights.backward(d)
        assert d @ h.swapaxes(1, 2) == pytest.approx(back @ x_in.swapaxes(1, 2), abs=1e-9)


def test_orthogonal_weights_keep_lengths() -> None:
    rng = np.random.default_rng(4)
    x, d = rng.standard_normal((2, 6, 3, 16))
    weights = weight_law.Orthogonal(2.0, 16, 16, rng)
    assert np.linalg.norm(weights.forward(x), axis=2) == pytest.approx(2.0 * np.linalg.norm(x, axis=2))
    back = weights.backward(d)
    assert back @ back.swapaxes(1, 2) == pytest.approx(4.0 * d @ d.swapaxes(1, 2))


def test_same_spec_same_sample() -> None:
    spec = spec_of("mse")
    one, other = sampler.sample(spec, networks=20), sampler.sample(spec, networks=20)
    assert all(np.array_equal(one.logs[name], other.logs[name]) for name in QUANTITIES)
    another = sampler.sample(spec.replace(loss="random"), networks=20)
    assert not np.array_equal(one.logs["log_q"], another.logs["log_q"])


def test_sizes_beyond_floats() -> None:
    """ReLU nets whose gradients reach 1e-380: ln of a layer's factor is ln(chi^2_K / n), K ~ Bin(n, 1/2), whose mean
    and variance are sums of digamma and trigamma values (Hanin & Nica 2019)."""
    n, depth, networks = 32, 2000, 8
    spec = gc.Spec(depth=depth, width=n, gain=1.0, batch_size=1)
    units = np.arange(1, n + 1)
    weights = binom.pmf(units, n, 0.5)
    weights /= weights.sum()
    logs = digamma(units / 2) + math.log(2.0 / n)
    mean = float(weights @ logs)
    variance = float(weights @ (polygamma(1, units / 2) + (logs - mean) ** 2))
    measured = sampler.sample(spec, networks=networks).logs["log_g"][:, 0]
    assert measured.max() < -380.0 * math.log(10.0)
    error = math.sqrt(variance * depth / networks)
    assert abs(measured.mean() - depth * mean) < norm.isf(FALSE_ALARM / 2) * error


def test_a_wide_network_is_sampled_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deviations of a network twice as wide as WIDEST, against those of networks sampled at its own width: two
    estimated variances, and the next order in 1/width; centres within half of their own distance from infinite width
    and the sample's error."""
    spec = gc.Spec(depth=6, width=64, norm="layer", batch_size=4, init="kaiming_normal")
    whole, narrow = gc.predict(spec), gc.predict(spec)
    whole.sample()
    monkeypatch.setattr(sampler, "WIDEST", 32)
    narrow.sample()
    count = sampler.networks_for(spec)
    for name in ("log_q", "log_g", "log_dw"):
        ours, theirs = narrow.variance(name), whole.variance(name)
        assert np.abs(np.log(ours / theirs)).max() < 5.0 * 2.0 / math.sqrt(count) + 6.0 / 32
        error = 5.0 * np.sqrt(2.0 * theirs / count)
        bias = np.abs(whole.median(name) - getattr(whole, name))
        assert np.all(np.abs(narrow.median(name) - whole.median(name)) < 2.0 * error + 0.5 * bias), name


def test_dead_networks_are_counted() -> None:
    """Nets of three ReLU units: 1 - (1 - 2^-3)^l are dead after l layers, exactly (Hanin 2018)."""
    spec = gc.Spec(depth=11, width=3, batch_size=1, init="kaiming_normal")
    profile = gc.predict(spec)
    exact = 1.0 - (1.0 - 2.0**-3) ** np.append(np.arange(1, 11), 10)
    assert profile.dead_network == pytest.approx(exact, rel=1e-12)
    measured = gc.measure(spec, networks=400, seed=1)
    dead = np.isneginf(measured.log_g[:, 0]).mean()
    assert abs(dead - exact[-1]) < norm.isf(FALSE_ALARM / 2) * math.sqrt(exact[-1] * (1 - exact[-1]) / 400)
    sampled = np.isneginf(sampler.sample(spec, networks=2000).logs["log_g"][:, 0]).mean()
    assert abs(sampled - exact[-1]) < norm.isf(FALSE_ALARM / 2) * math.sqrt(exact[-1] * (1 - exact[-1]) / 2000)


def test_sampling_can_be_stopped_and_is_drawn_once() -> None:
    spec = spec_of("layer norm on a stream")
    profile, heard = gc.predict(spec), []

    def stop(done: int, total: int) -> None:
        heard.append((done, total))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        profile.sample(stop)
    assert heard == [(0, sampler.networks_for(spec))]  # at the first layer
    assert profile.at_hand is profile.expansion and profile.band_source == "sampler"
    band = profile.band("log_g")
    assert profile.at_hand.source == "sampler" and band is not None
    profile.sample(stop)  # already there
    assert np.array_equal(band[0], profile.band("log_g")[0])
