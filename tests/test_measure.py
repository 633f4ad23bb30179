"""The measured statistics are what the definitions say, and depend on nothing but (spec, seed, network, dtype).

The reference is written from the definitions alone: plain float64 autograd through formulas of its own, on the
weights of ``spec.build``; where float64 cannot hold a gradient, arbitrary-precision backpropagation.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
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


def identical(a: gc.Measurement, b: gc.Measurement) -> None:
    """Bit for bit, NaN included."""
    assert (a.spec, a.seed, a.dtype, a.sampler, a.networks) == (b.spec, b.seed, b.dtype, b.sampler, b.networks)
    for name in (*QUANTITIES, *SHARES):
        assert np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True), name


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


# --- chunked, resumed, merged ---------------------------------------------------------------------------------

SMALL = gc.Spec(depth=5, width=12, batch_size=4, activation="gelu", gain="auto", bias_std=0.1)


def test_chunks_merge_to_one_run_in_any_order():
    whole = gc.measure(SMALL, networks=6, seed=2)
    chunks = [gc.measure(SMALL, networks=part, seed=2) for part in ([5, 3], range(0, 2), (4,), {2})]
    identical(gc.Measurement.merge(*chunks), whole)
    identical(gc.Measurement.merge(*reversed(chunks)), whole)
    identical(gc.Measurement.merge(gc.Measurement.merge(*chunks[:2]), gc.Measurement.merge(*chunks[2:])), whole)
    identical(gc.Measurement.merge(whole), whole)
    assert whole.networks == (0, 1, 2, 3, 4, 5) and chunks[0].networks == (5, 3)


def test_a_cancelled_run_resumes():
    class CancelledError(Exception):
        pass

    seen = []

    def stop_after_two(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 2:
            raise CancelledError

    with pytest.raises(CancelledError):
        gc.measure(SMALL, networks=5, progress=stop_after_two)
    assert seen == [(1, 5), (2, 5)]
    parts = gc.measure(SMALL, networks=2), gc.measure(SMALL, networks=range(2, 5))
    identical(gc.Measurement.merge(*parts), gc.measure(SMALL, networks=5))


def test_progress_is_called_after_each_network():
    seen = []
    gc.measure(SMALL, networks=[7, 9, 8], progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("other", "field"),
    [
        ({"spec": SMALL.replace(gain=2)}, "spec"),
        ({"seed": 9}, "seed"),
        ({"dtype": "float32"}, "dtype"),
        ({"networks": [1, 2]}, "networks"),
    ],
    ids=["spec", "seed", "dtype", "twice"],
)
def test_what_does_not_belong_together_is_not_merged(other, field):
    arguments = {"spec": SMALL, "networks": [2, 3], "seed": 0, "dtype": "float64", **other}
    part = gc.measure(arguments.pop("spec"), **arguments)
    with pytest.raises(gc.SpecError) as caught:
        gc.Measurement.merge(gc.measure(SMALL, networks=2), part)
    assert caught.value.field == field
    with pytest.raises(gc.SpecError):
        gc.Measurement.merge()


# --- what the numbers depend on -------------------------------------------------------------------------------


@pytest.mark.parametrize("init", INITIALIZERS)
def test_build_gives_the_weights_of_the_measured_network(init):
    spec = SMALL.replace(init=init, gain=0.8)
    measured = gc.measure(spec, networks=[4, 1], seed=6)
    torch.rand(3)  # whoever else draws in between
    for row, network in enumerate(measured.networks):
        model = spec.build(6, network=network)
        again = spec.build(seed=6, network=network)
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
        output = model(draw_inputs(spec, 6, network, "float64"))
        assert log_ms(output) == pytest.approx(measured.log_q[row, -1], abs=1e-12)
        for linear, shape in zip(model.linears, zip(spec.layer_widths, spec.fan_ins, strict=True), strict=True):
            assert linear.weight.shape == shape and linear.weight.dtype == torch.float64


def test_seed_and_index_both_matter():
    rows = {tuple(gc.measure(SMALL, networks=[i], seed=s).log_q[0]) for i in range(3) for s in range(3)}
    assert len(rows) == 9  # in particular (seed 1, network 0) is not (seed 0, network 1)


def test_weights_inputs_and_cotangents_are_drawn_apart():
    """Another loss or batch leaves the weights as they are; another bias leaves the input as it is."""
    base = SMALL.build(0, network=1)
    for change in ({"loss": "mse"}, {"batch_size": 9}, {"input_rms": 2.0}, {"activation": "tanh", "gain": 1.0}):
        other = SMALL.replace(**change).build(0, network=1)
        if "gain" not in change:
            assert all(torch.equal(a, b) for a, b in zip(base.parameters(), other.parameters(), strict=True))
    torch.testing.assert_close(
        draw_inputs(SMALL, 0, 1, "float64"), draw_inputs(SMALL.replace(bias_std=0.7), 0, 1, "float64"), rtol=0, atol=0
    )


DEPENDENT = [SMALL, SMALL.replace(norm="layer", norm_gamma=0.1)]
DEPENDENT += [SMALL.replace(init=init, gain=0.8) for init in INITIALIZERS]
DEPENDENT += [SMALL.replace(activation=code, negative_slope=0.1, gain=1.0) for code in ("leaky_relu", "prelu")]
DEPENDENT_IDS = ["plain", "layer norm", *INITIALIZERS, "leaky_relu", "prelu"]


@pytest.mark.parametrize("spec", DEPENDENT, ids=DEPENDENT_IDS)
def test_global_state_changes_nothing_and_is_left_alone(spec):
    """torch's and NumPy's global generators, torch's default dtype: neither read nor written."""
    first = gc.measure(spec, networks=2)
    saved = torch.get_rng_state(), np.random.get_state(), torch.get_default_dtype()
    try:
        torch.manual_seed(123)
        np.random.seed(123)
        torch.set_default_dtype(torch.float64)
        before = torch.get_rng_state(), np.random.get_state()[1].copy()
        second = gc.measure(spec, networks=2)
        assert torch.equal(torch.get_rng_state(), before[0]), "torch's global generator was moved"
        assert np.array_equal(np.random.get_state()[1], before[1]), "NumPy's global generator was moved"
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_rng_state(saved[0])
        np.random.set_state(saved[1])
        torch.set_default_dtype(saved[2])
    identical(first, second)


THREADS = """
import threading, torch, numpy as np
import gradcore as gc

spec = gc.Spec(depth=4, width=200, batch_size=32, activation="tanh", gain=1.5)
seen = {}
def in_new_thread(key, work):
    thread = threading.Thread(target=lambda: seen.__setitem__(key, work()))
    thread.start(); thread.join()
    return seen[key]

class Cancelled(Exception): pass
def cancel(done, total): raise Cancelled

results = []
for threads in (1, 2, 3):
    torch.set_num_threads(threads)
    fresh = in_new_thread("before", torch.get_num_threads)
    results.append(gc.measure(spec, networks=2))
    assert torch.get_num_threads() == threads, "the caller's thread count changed"
    assert in_new_thread("after", torch.get_num_threads) == fresh, "a new thread's thread count changed"
    results.append(in_new_thread("worker", lambda: gc.measure(spec, networks=2)))
    assert torch.get_num_threads() == threads, "a worker changed the caller's thread count"
    assert in_new_thread("after", torch.get_num_threads) == fresh
    try: gc.measure(spec, networks=2, progress=cancel)
    except Cancelled: pass
    assert torch.get_num_threads() == threads, "a cancelled run left its thread count"
    results.append(gc.measure(spec, networks=2))
    gc.measure(spec, networks=1).plain("float32")
    assert torch.get_num_threads() == threads, "plain left its thread count"

overlapping = []
workers = [threading.Thread(target=lambda: overlapping.append(gc.measure(spec, networks=2))) for _ in range(4)]
for worker in workers: worker.start()
for worker in workers: worker.join()
assert torch.get_num_threads() == 3 and in_new_thread("after", torch.get_num_threads) == fresh, "after overlapping runs"
assert len(overlapping) == 4
for other in results[1:] + overlapping:
    for name in ("log_q", "log_p", "log_g", "log_dw", "log_db", "correlation", "saturated", "dead"):
        assert np.array_equal(getattr(results[0], name), getattr(other, name)), name
"""


def test_threads_change_nothing_and_are_left_alone():
    """In a fresh process: counts of intra-op threads are state of the process and of each thread."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", THREADS], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def test_measuring_in_a_thread_while_the_caller_works():
    alone = gc.measure(SMALL, networks=3)
    found: list[gc.Measurement] = []
    worker = threading.Thread(target=lambda: found.append(gc.measure(SMALL, networks=3)))
    worker.start()
    beside = gc.measure(SMALL, networks=3)
    worker.join()
    identical(beside, alone)
    identical(found[0], alone)


# --- precision ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_networks_are_of_the_dtype_and_the_statistics_are_float64(dtype):
    spec = gc.Spec(depth=3, width=30, batch_size=8, activation="tanh", gain=1.2)
    measured = gc.measure(spec, networks=2, dtype=dtype)
    assert measured.dtype == dtype
    model = spec.build(0, network=1, dtype=dtype)
    assert {p.dtype for p in model.parameters()} == {getattr(torch, dtype)}
    for name in (*QUANTITIES, *SHARES):
        values = getattr(measured, name)
        assert values.dtype == np.float64 and values.shape == (2, 3) and np.isfinite(values).all()
    plain = measured.plain(dtype)
    roundoff = 40 * torch.finfo(getattr(torch, dtype)).eps  # about ten operations a layer, each of half an eps
    np.testing.assert_allclose(measured.log_q, plain.log_q, atol=roundoff)
    np.testing.assert_allclose(measured.log_g, plain.log_g, atol=roundoff)


def test_float32_draws_are_its_own_and_half_precisions_round_them():
    single = SMALL.build(0, network=2, dtype="float32").linears[0].weight
    half = SMALL.build(0, network=2, dtype="bfloat16").linears[0].weight
    assert torch.equal(single.to(torch.bfloat16), half)


# --- refusals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("networks", bad) for bad in (0, -1, True, 1.5, None, "3", [], [1, 1], [-1], [1.5], ["3"], [True], [None])],
        *[("seed", bad) for bad in (-1, True, 1.5, None, "0")],
        *[("dtype", bad) for bad in ("float", "int64", None, torch.float64)],
        *[("sampler", bad) for bad in ("nope", None, 1)],
        *[("device", bad) for bad in ("nope", None, 1.5)],
        *[("progress", bad) for bad in (1, "print")],
    ],
    ids=lambda v: repr(v)[:20],
)
def test_illegal_arguments_are_refused_by_name(field, value):
    with pytest.raises(gc.SpecError) as caught:
        gc.measure(SMALL, **{"networks": 1, field: value})
    assert caught.value.field == field and caught.value.allowed in str(caught.value)


@pytest.mark.parametrize(("field", "value"), [("seed", -1), ("network", -1), ("network", 1.5), ("dtype", "double")])
def test_build_refuses_by_name(field, value):
    with pytest.raises(gc.SpecError) as caught:
        SMALL.build(**{field: value})
    assert caught.value.field == field


def test_measure_wants_a_spec():
    for nonsense in (None, {}, "relu"):
        with pytest.raises(gc.SpecError) as caught:
            gc.measure(nonsense)
        assert caught.value.field == "spec"


@pytest.mark.parametrize(
    "fields",
    [
        {"norm": "batch", "batch_size": 1},
        {"width": 10**6},
    ],
    ids=str,
)
def test_what_cannot_be_measured_is_refused_in_words(fields):
    with pytest.raises(gc.UnsupportedError) as caught:
        gc.measure(gc.Spec(depth=3, **fields), networks=1)
    for text in (caught.value.asked, caught.value.reason, caught.value.supported):
        assert text.strip() and text in str(caught.value)


def test_an_index_may_be_any_integer_type():
    identical(gc.measure(SMALL, networks=np.int64(2)), gc.measure(SMALL, networks=2))
    identical(gc.measure(SMALL, networks=np.arange(2)), gc.measure(SMALL, networks=2, seed=np.int64(0)))


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


# --- the summary over networks --------------------------------------------------------------------------------


def test_mean_median_and_standard_error_over_networks():
    measured = gc.measure(SMALL, networks=40)
    for name in QUANTITIES:
        values = np.exp(getattr(measured, name))
        np.testing.assert_allclose(measured.mean(name), np.log(values.mean(axis=0)), atol=1e-12)
        np.testing.assert_allclose(measured.median(name), np.median(np.log(values), axis=0), atol=1e-12)
        error = values.std(axis=0, ddof=1) / math.sqrt(40) / values.mean(axis=0)
        np.testing.assert_allclose(measured.standard_error(name), error, rtol=1e-10)
    assert np.isnan(gc.measure(SMALL, networks=1).standard_error("log_q")).all()


def test_to_frame_is_tidy():
    measured = gc.measure(SMALL, networks=[3, 1])
    frame = measured.to_frame()
    assert list(frame.columns) == ["network", "layer", "quantity", "value"]
    assert len(frame) == 2 * SMALL.depth * len((*QUANTITIES, *SHARES))
    row = frame[(frame.network == 1) & (frame.layer == 2) & (frame.quantity == "log_g")]
    assert row.value.item() == measured.log_g[1, 1]
