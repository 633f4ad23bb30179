"""What measured networks depend on: chunks, threads, seeds and dtypes; what is refused; the summary over networks."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import gradcore as gc
from gradcore.initializers import INITIALIZERS
from gradcore.measure.network import draw_inputs
from gradcore.measurement import QUANTITIES, SHARES

ROOT = Path(__file__).parents[1]
SMALL = gc.Spec(depth=5, width=12, batch_size=4, activation="gelu", gain="auto", bias_std=0.1)


def identical(a: gc.Measurement, b: gc.Measurement) -> None:
    """Bit for bit, NaN included."""
    assert (a.spec, a.seed, a.dtype, a.sampler, a.networks) == (b.spec, b.seed, b.dtype, b.sampler, b.networks)
    for name in (*QUANTITIES, *SHARES):
        assert np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True), name


# --- chunked, resumed, merged ---------------------------------------------------------------------------------


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
        assert float(output.detach().square().mean().log()) == pytest.approx(measured.log_q[row, -1], abs=1e-12)
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
