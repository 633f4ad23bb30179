"""The measured statistics are what the definitions say.

The reference is written from the definitions alone: plain float64 autograd through formulas of its own, on the
weights of ``spec.build``; where float64 cannot hold a gradient, arbitrary-precision backpropagation.
"""

from __future__ import annotations

import math
from pathlib import Path

import mpmath
import numpy as np
import pytest
import torch

import gradcore as gc
from gradcore.activations import ACTIVATIONS
from gradcore.initializers import INITIALIZERS
from gradcore.measure.network import draw_cotangent, draw_inputs
from gradcore.measurement import QUANTITIES, SHARES

ROOT = Path(__file__).parents[1]
TINY = {"depth": 4, "width": 7, "batch_size": 5, "activation": "tanh", "gain": 1.4, "bias_std": 0.3}
LOSSES = ("random", "mse", "cross_entropy")


# --- an independent computation -------------------------------------------------------------------------------


class Activate(torch.autograd.Function):
    """The table's NumPy function and derivative as a torch operation: nothing of torch's own activation enters."""

    @staticmethod
    def forward(ctx, h, spec):
        ctx.save_for_backward(h)
        ctx.spec = spec
        return torch.from_numpy(np.asarray(spec.activation_entry.value(h.detach().numpy(), spec.slope)))

    @staticmethod
    def backward(ctx, sent):
        (h,) = ctx.saved_tensors
        return sent * torch.from_numpy(ctx.spec.activation_entry.derivative(h.numpy(), ctx.spec.slope)), None


# torch's softplus and the slope of its hardsigmoid deviate by up to 3e-8 (see test_activations)
PRECISION = {"softplus": 1e-7, "hardsigmoid": 1e-6}


def normalized(spec: gc.Spec, z: torch.Tensor) -> torch.Tensor:
    """gamma (z - mean) / sqrt(var + eps) + beta, by formula; RMS norm has no mean and no beta."""
    if spec.norm == "none":
        return z
    if spec.norm == "rms":
        return spec.norm_gamma * z / (z.square().mean(dim=1, keepdim=True) + spec.norm_eps).sqrt()
    over = 0 if spec.norm == "batch" else 1
    centred = z - z.mean(dim=over, keepdim=True)
    variance = centred.square().mean(dim=over, keepdim=True)  # biased, as torch normalizes by
    return spec.norm_gamma * centred / (variance + spec.norm_eps).sqrt() + spec.norm_beta


def cost_of(spec: gc.Spec, z: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """The batch mean of the per-sample costs. ``drawn`` is only read for what is random: cotangents and labels."""
    if spec.loss == "random":
        return (drawn * z).sum() / spec.batch_size
    if spec.loss == "mse":
        return z.square().sum() / (spec.batch_size * z.shape[1])
    labels = drawn.argmin(dim=1)  # softmax - onehot is negative at the label alone
    picked = z[torch.arange(len(z)), labels]
    return (torch.logsumexp(z, dim=1) - picked).sum() / spec.batch_size


def log_ms(x: torch.Tensor) -> float:
    second = float(x.detach().square().mean())
    return math.log(second) if second > 0 else -math.inf


def correlation(gram: np.ndarray) -> float:
    """Mean of z_a . z_b over pairs by mean of abs(z)^2; 1 where all is zero; no number for one sample."""
    b, own = len(gram), gram.trace()
    return math.nan if b == 1 else (gram.sum() - own) / (b - 1) / own if own else 1.0


def reference(spec: gc.Spec, seed: int, network: int) -> dict[str, np.ndarray]:
    """Every statistic of one network by plain autograd, keyed by name, (L,) each."""
    model = spec.build(seed, network=network)
    entry = spec.activation_entry
    weights = [linear.weight.detach().clone().requires_grad_() for linear in model.linears]
    biases = [linear.bias.detach().clone().requires_grad_() for linear in model.linears]
    x, streams, received, arguments = draw_inputs(spec, seed, network, "float64"), [], [], []
    for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        received.append(x)
        branch = x @ weight.T + bias
        z = branch if spec.residual == "none" or index == 0 else streams[-1] + spec.alpha * branch
        z.retain_grad()
        streams.append(z)
        arguments.append(normalized(spec, z) if spec.norm_position == "before" else z)
        x = Activate.apply(arguments[-1], spec)
        if spec.norm_position == "after":
            x = normalized(spec, x)
    cost = cost_of(spec, streams[-1], draw_cotangent(spec, streams[-1].detach(), seed, network, "float64"))
    cost.backward()
    slopes = [np.abs(entry.derivative(a.detach().numpy(), spec.slope)) for a in arguments]
    small = 0.05 * np.abs(entry.derivative(np.linspace(-30, 30, 60_001), spec.slope)).max()
    grams = [(z @ z.T).detach().numpy() for z in streams]
    return {
        "log_q": np.array([log_ms(z) for z in streams]),
        "log_p": np.array([log_ms(x) for x in received]),
        "log_g": np.array([log_ms(spec.batch_size * z.grad) for z in streams]),
        "log_dw": np.array([log_ms(w.grad) for w in weights]),
        "log_db": np.array([log_ms(v.grad) for v in biases]),
        "correlation": np.array([correlation(g) for g in grams]),
        "saturated": np.array([np.mean(s < small) for s in slopes]),
        "dead": np.array([np.mean(np.all(s == 0, axis=0)) for s in slopes]),
    }


def agrees(spec: gc.Spec, networks: int = 2, seed: int = 3) -> None:
    measured = gc.measure(spec, networks=networks, seed=seed)
    for network in range(networks):
        expected = reference(spec, seed, network)
        sizes = np.exp(expected["log_g"])
        for name in QUANTITIES:
            got, want = getattr(measured, name)[network], expected[name]
            assert got.shape == (spec.depth,)
            # norms cancel: what is zero but for rounding is compared on the scale of the cotangent
            floor = 1e-20 * sizes.max() if name in ("log_dw", "log_db") else 0.0
            allowed = PRECISION.get(spec.activation, 1e-9) * np.exp(want) + floor + 1e-300
            np.testing.assert_array_less(np.abs(np.exp(got) - np.exp(want)), allowed, name)
        for name in SHARES:
            np.testing.assert_allclose(getattr(measured, name)[network], expected[name], atol=1e-10, err_msg=name)


NORMS = [("none", "before")] + [(norm, place) for norm in ("batch", "layer", "rms") for place in ("before", "after")]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("residual", ["none", "identity"])
@pytest.mark.parametrize(("norm", "place"), NORMS)
def test_definitions_with_every_norm_residual_and_loss(norm, place, residual, loss):
    extra = {"norm_gamma": 0.7, "norm_beta": 0.3, "norm_eps": 0.01, "residual_scale": 0.6}
    agrees(gc.Spec(**TINY, norm=norm, norm_position=place, residual=residual, loss=loss, **extra))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_definitions_with_every_activation(activation):
    agrees(gc.Spec(**{**TINY, "activation": activation}))


@pytest.mark.parametrize("init", INITIALIZERS)
def test_definitions_with_every_initializer(init):
    agrees(gc.Spec(**{**TINY, "init": init, "gain": 0.9, "sparsity": 0.5}))


@pytest.mark.parametrize(
    "fields",
    [
        {"depth": 1},
        {"width": (3, 9, 1, 4), "input_width": 6},
        {"width": (3, 9, 1, 4), "loss": "cross_entropy"},
        {"batch_size": 1},
        {"batch_size": 40},  # more samples than units: the other way to the weight gradient
        {"input": "digits", "batch_size": 9},
        {"input_rms": 3.0, "input_correlation": 0.7},
        {"input_correlation": 1.0},
        {"bias_std": "default", "gain": "auto"},
        {"bias_std": 0.0, "gain": "critical", "activation": "gelu"},
        {"residual": "identity", "residual_scale": "1/sqrt(L)"},
        {"residual": "identity", "residual_scale": -2.0, "input_width": 3},
        {"residual": "identity", "residual_scale": 0.0},
        {"activation": "prelu", "negative_slope": 0.1},
        {"activation": "relu", "width": 2, "bias_std": 0.0},
        {"norm": "layer", "norm_gamma": 0.1, "norm_beta": -0.1},
        {"norm": "batch", "batch_size": 2},
        {"norm": "batch", "activation": "relu", "norm_position": "after", "batch_size": 3},
    ],
    ids=str,
)
def test_definitions_in_the_corners(fields):
    agrees(gc.Spec(**{**TINY, **fields}), networks=3)


def test_the_reference_can_disagree():
    spec, other = gc.Spec(**TINY), gc.Spec(**{**TINY, "gain": 1.41})
    assert not np.allclose(reference(spec, 3, 0)["log_g"], reference(other, 3, 0)["log_g"], atol=1e-6)
    assert not np.allclose(reference(spec, 3, 0)["log_g"], reference(spec, 3, 1)["log_g"], atol=1e-6)


# --- beyond float64 -------------------------------------------------------------------------------------------


def log_g_by_many_digits(spec: gc.Spec, seed: int, network: int) -> tuple[np.ndarray, np.ndarray]:
    """(log_g, log_dw) by plain backpropagation in 30-digit numbers of unlimited exponent, on the float64 signals."""
    model, entry = spec.build(seed, network=network), spec.activation_entry
    x = draw_inputs(spec, seed, network, "float64")
    streams, received = [], []
    with torch.no_grad():
        for linear in model.linears:
            received.append(x.numpy())
            streams.append(linear(x))
            x = model.activations[0](streams[-1])
    weights = [linear.weight.detach().numpy() for linear in model.linears]
    exact = np.vectorize(mpmath.mpf, otypes=[object])
    log_g, log_dw = np.empty(spec.depth), np.empty(spec.depth)
    with mpmath.workdps(30):
        delta = exact(draw_cotangent(spec, streams[-1], seed, network, "float64").numpy())
        for index in range(spec.depth - 1, -1, -1):
            gradient = delta.T.dot(exact(received[index])) / spec.batch_size
            log_g[index] = float(mpmath.log((delta * delta).sum() / delta.size))
            log_dw[index] = float(mpmath.log((gradient * gradient).sum() / gradient.size))
            if index:
                slope = entry.derivative(streams[index - 1].numpy(), spec.slope)
                delta = delta.dot(exact(weights[index])) * exact(slope)
    return log_g, log_dw


@pytest.mark.parametrize(
    ("fields", "rms"),
    [
        ({"activation": "sigmoid", "depth": 200}, 1e-120),
        ({"activation": "sigmoid", "depth": 600}, 1e-300),
        ({"activation": "sin", "gain": 100.0, "depth": 220}, 1e300),
    ],
    ids=["1e-120", "below float64", "above float64"],
)
def test_gradients_no_float_can_hold(fields, rms):
    spec = gc.Spec(width=5, batch_size=2, **fields)
    measured = gc.measure(spec, networks=2, seed=1)
    for network in range(2):
        log_g, log_dw = log_g_by_many_digits(spec, 1, network)
        np.testing.assert_allclose(measured.log_g[network], log_g, rtol=0, atol=1e-9)
        np.testing.assert_allclose(measured.log_dw[network], log_dw, rtol=0, atol=1e-9)
    first = measured.log_g[:, 0]
    assert np.all(first < 2 * math.log(rms)) if rms < 1 else np.all(first > 2 * math.log(rms))


def test_rescaling_changes_nothing_that_plain_autograd_can_show():
    spec = gc.Spec(depth=60, width=20, batch_size=4, activation="sigmoid")
    measured = gc.measure(spec, networks=3)
    np.testing.assert_allclose(measured.plain("float64").log_g, measured.log_g, atol=1e-10)
    assert measured.log_g[0, 0] < -100


def test_plain_float32_loses_what_the_measurement_keeps():
    spec = gc.Spec(depth=80, width=20, batch_size=4, activation="sigmoid")
    measured = gc.measure(spec, networks=2)
    plain = measured.plain("float32")
    assert np.isfinite(measured.log_g).all() and np.isneginf(plain.log_g[:, 0]).all()
    for network, layer in enumerate(plain.gradient_zero):
        assert np.isneginf(plain.log_g[network, layer - 1]) and np.isfinite(plain.log_g[network, layer])


def test_a_signal_that_overflows_is_said_to():
    measured = gc.measure(gc.Spec(depth=12, width=4, activation="linear", gain=1e30), networks=2)
    assert np.all((measured.first_nonfinite > 9) & (measured.first_nonfinite < 12))
    assert not measured.first_zero.any()
    low = gc.measure(gc.Spec(depth=14, width=4, activation="linear", gain=1e-30), networks=2)
    assert np.all(low.first_zero > 10) and not low.first_nonfinite.any()
    none = gc.measure(gc.Spec(**TINY), networks=2)
    assert not none.first_nonfinite.any() and not none.first_zero.any()


def test_no_weights_is_exactly_zero_from_the_first_layer_on():
    dead = gc.measure(gc.Spec(depth=3, width=4, gain=0), networks=1)
    assert np.isneginf(dead.log_q).all() and dead.first_zero.tolist() == [1]
    assert np.isneginf(dead.log_g[0, :-1]).all() and np.isfinite(dead.log_g[0, -1])
    assert np.isneginf(dead.log_dw[0, 1:]).all() and not np.isnan(dead.log_db).any()


# --- an exact invariant ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ["linear", "relu", "leaky_relu", "prelu"])
def test_cotangent_times_signal_is_the_same_at_every_layer(activation, loss):
    """Euler: without biases x^l is homogeneous of degree 1 in z^l, so <delta^l, z^l> is conserved, sample by sample."""
    spec = gc.Spec(depth=12, width=24, batch_size=6, activation=activation, gain="auto", loss=loss, input_width=10)
    for network in range(5):
        model = spec.build(11, network=network)
        signals: list[torch.Tensor] = []
        keep = signals.append
        hooks = [linear.register_forward_hook(lambda m, i, z, keep=keep: keep(z)) for linear in model.linears]
        output = model(draw_inputs(spec, 11, network, "float64"))
        drawn = draw_cotangent(spec, output.detach(), 11, network, "float64")
        cotangents = torch.autograd.grad(cost_of(spec, output, drawn), signals)
        for hook in hooks:
            hook.remove()
        pairs = [(d, z.detach()) for d, z in zip(cotangents, signals, strict=True)]
        products = torch.stack([(d * z).sum(dim=1) for d, z in pairs])  # (L, B)
        scale = torch.stack([d.norm(dim=1) * z.norm(dim=1) for d, z in pairs])
        assert float(((products - products[-1]).abs() / scale).max()) < 1e-13
        total = products.sum(dim=1)
        assert float(((total - total[-1]) / total[-1]).abs().max()) < 1e-10
    with_bias = spec.replace(bias_std=0.5).build(11)
    assert with_bias.linears[0].bias.abs().sum() > 0  # the invariant is one of networks without them
