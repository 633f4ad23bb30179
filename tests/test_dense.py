"""The dense engine: the same bits in any grouping, on any number of threads, weights kept or drawn twice; cancelled
promptly; turns shared; memory as stated."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import gradcore as gc
from gradcore.initializers import INITIALIZERS
from gradcore.measure import drawing, memory, pool, turns
from gradcore.measure.network import WEIGHTS, draw_dtype, draw_inputs, generator
from gradcore.measure.steps import Steps
from gradcore.measure.sweep import Machine
from gradcore.measurement import QUANTITIES, SHARES

ROOT = Path(__file__).parents[1]
NARROW = gc.Spec(depth=6, width=32, batch_size=8, activation="tanh", gain=1.3, bias_std=0.1)


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    """Bit for bit, NaN included."""
    for name in (*QUANTITIES, *SHARES):
        assert np.array_equal(a[name], b[name], equal_nan=True), name


def rows(measured: gc.Measurement) -> dict[str, np.ndarray]:
    return {name: getattr(measured, name) for name in (*QUANTITIES, *SHARES)}


def run(spec: gc.Spec, networks: tuple[int, ...], dtype: str = "float32", keep: bool = True) -> dict[str, np.ndarray]:
    """These networks in one group."""
    return Machine(spec, len(networks), dtype, "cpu", keep).run(3, networks, Steps())


# --- one network is a function of itself ----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"activation": "gelu", "bias_std": "default"},
        {"activation": "prelu", "loss": "cross_entropy"},
        {"width": (64, 8, 32, 16, 128, 8), "input_width": 16, "batch_size": 32, "activation": "silu"},
        {"residual": "identity", "activation": "softplus", "loss": "mse"},
        {"residual": "two_layer", "activation": "mish", "residual_scale": 0.5},
        {"residual": "post_activation", "activation": "sigmoid"},
        {"residual": "resnet_v1", "activation": "erf"},
        {"init": "orthogonal", "activation": "sin"},
        {"width": 64, "batch_size": 3, "activation": "elu"},
        {"gain": 1e-3, "activation": "sigmoid"},
        {"activation": "linear", "gain": 1e9},
    ],
    ids=str,
)
def test_company_changes_no_bit(fields: dict, dtype: str) -> None:
    """Alone, and in any place of groups of several sizes: the rule by which ``group_size`` allows groups suffices."""
    spec = NARROW.replace(**fields)
    assert memory.group_size(spec, 99, 2) > 1
    whole = run(spec, (0, 1, 2, 3, 4, 5, 6), dtype)
    for group in ((2,), (5, 0), (6, 4, 1), (3, 2, 1, 0)):
        part = run(spec, group, dtype)
        same(part, {name: values[list(group)] for name, values in whole.items()})


def test_the_rule_for_groups_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of odd length are cut elsewhere by torch: there, company does change bits, and no groups are made."""
    differ = 0
    for width, batch in ((7, 5), (13, 3), (9, 9), (21, 5), (33, 3)):
        spec = NARROW.replace(width=width, batch_size=batch, activation="gelu")
        assert memory.group_size(spec, 99, 2) == 1
        alone = run(spec, (1,), "float64")
        grouped = run(spec, (0, 1, 2), "float64")
        differ += any(not np.array_equal(grouped[name][1:2], alone[name]) for name in QUANTITIES)
    assert differ > 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_and_chunks_change_no_bit(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for spec in (NARROW, NARROW.replace(width=40, norm="batch"), gc.Spec(depth=3, width=210, activation="tanh")):
        whole = rows(gc.measure(spec, networks=9, dtype=dtype))
        chunks = [gc.measure(spec, networks=part, dtype=dtype) for part in (range(0, 1), range(1, 5), range(5, 9))]
        same(rows(gc.Measurement.merge(*chunks)), whole)
        for cores in (1, 2, 3):
            monkeypatch.setattr(turns, "CORES", cores)
            same(rows(gc.measure(spec, networks=9, dtype=dtype)), whole)


def test_quick_sums_agree_with_careful_ones() -> None:
    """In float64 both are exact up to roundoff; far below and above 1 the careful ones take over, bit for bit as before
    where they are not needed."""
    for gain in (1e-30, 1e-9, 1.0, 1e9, 1e30):
        spec = gc.Spec(depth=5, width=64, batch_size=8, activation="linear", gain=gain)
        measured, expected = run(spec, (0,), "float64"), run(spec.replace(gain=1.0), (0,), "float64")
        for name, powers in (("log_q", np.arange(1, 6)), ("log_p", np.arange(5)), ("log_g", np.arange(4, -1, -1))):
            np.testing.assert_allclose(measured[name][0], expected[name][0] + 2 * np.log(gain) * powers, atol=1e-9)
        np.testing.assert_allclose(measured["log_dw"][0], expected["log_dw"][0] + 8 * np.log(gain), atol=1e-9)


def test_float32_sums_are_as_good_as_their_networks() -> None:
    """Against float64 arithmetic on the same weights (float32 draws)."""
    spec = gc.Spec(depth=4, width=128, batch_size=16, activation="relu", gain=1.4, loss="mse")
    measured = run(spec, (0,), "float32")
    model = spec.build(3, network=0, dtype="float32").double()
    x = draw_inputs(spec, 3, 0, "float32").double()
    signals: list[torch.Tensor] = []
    for linear in model.linears:
        linear.register_forward_hook(lambda m, i, z: signals.append(z))
    output = model(x)
    gradients = torch.autograd.grad(output.square().mean(), [*signals, *(p.weight for p in model.linears)])
    for layer, z in enumerate(signals):
        pairs = (
            ("log_q", z, 1.0),
            ("log_g", gradients[layer], spec.batch_size),
            ("log_dw", gradients[len(signals) + layer], 1.0),
        )
        for name, tensor, factor in pairs:
            expected = float((factor * tensor).detach().square().mean().log())
            assert measured[name][0, layer] == pytest.approx(expected, abs=2e-5), name


# --- weights --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("init", INITIALIZERS)
def test_the_weights_are_those_of_build(init: str, dtype: str) -> None:
    """Bit for bit, biases too, kept and drawn again; and torch's own initializer draws them."""
    spec = gc.Spec(depth=4, width=(24, 9, 40, 9), input_width=11, init=init, gain=0.7, bias_std="default")
    kind = getattr(torch, dtype)
    models = [spec.build(5, network=network, dtype=dtype) for network in (3, 0)]
    for keep in (True, False):
        weights = drawing.Weights(spec, kind, draw_dtype(dtype), "cpu", keep)
        weights.load([generator(5, network, WEIGHTS) for network in (3, 0)], Steps())
        for layer in range(spec.depth):
            weight, bias = weights.draw(layer)
            assert bias is not None
            for g, model in enumerate(models):
                assert torch.equal(weight[g], model.linears[layer].weight)
                assert torch.equal(bias[g, 0], model.linears[layer].bias)
        for layer in (3, 2, 1):
            weight = weights.again(layer)
            assert all(torch.equal(weight[g], model.linears[layer].weight) for g, model in enumerate(models))
    plain = torch.empty(24, 11, dtype=draw_dtype(dtype))
    gain = float(drawing.Laws(spec).gains[0])
    spec.init_entry.fill(torch, plain, gain, spec.init_slope, spec.sparsity, generator(5, 3, WEIGHTS))
    assert torch.equal(plain.to(kind), models[0].linears[0].weight)


@pytest.mark.parametrize("fields", [{}, {"residual": "two_layer"}, {"norm": "layer", "bias_std": "default"}], ids=str)
def test_drawing_twice_changes_no_bit(fields: dict) -> None:
    spec = NARROW.replace(**fields)
    same(run(spec, (0, 1), keep=False), run(spec, (0, 1)))


def test_weights_are_drawn_twice_where_they_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = gc.Spec(depth=12, width=96, activation="tanh")
    whole = rows(gc.measure(spec, networks=2))
    assert memory.plan(spec, 2, "float64", "cpu").keep
    between = 0.5 * (memory.memory(spec, 1, threads=1) + memory.memory(spec, 1, threads=1, keep=False))
    monkeypatch.setattr(memory, "available", lambda: between / memory.FREE_SHARE)
    plan = memory.plan(spec, 2, "float64", "cpu")
    assert not plan.keep and plan.bytes <= between
    same(rows(gc.measure(spec, networks=2)), whole)


def test_what_does_not_fit_is_refused_with_the_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 2e9)
    with pytest.raises(gc.UnsupportedError) as caught:
        gc.measure(gc.Spec(depth=3, width=20_000), networks=1)
    assert " GiB" in caught.value.asked and 'sampler="exact"' in caught.value.supported
    needed = float(caught.value.asked.split(" takes ")[1].split(" GiB")[0])
    assert 20_000**2 * 8 / 2**30 < needed < 2 * 20_000**2 * 8 / 2**30


PEAK = """
import sys, threading, resource
import gradcore as gc
from gradcore.measure import memory, turns
turns.CORES = {cores}
def resident():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024
small = gc.Spec(depth=2, width=16, norm="{norm}")
gc.measure(small, networks=2, dtype="{dtype}")
open("/proc/self/clear_refs", "w").write("5")
before = resident()
spec = gc.Spec(**{fields})
gc.measure(spec, networks={networks}, dtype="{dtype}")
print((resident() - before) / memory.memory(spec, {networks}, "{dtype}"))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no record of the peak on this system")
@pytest.mark.parametrize(
    ("fields", "networks", "dtype", "cores"),
    [
        ({"depth": 30, "width": 800, "batch_size": 16}, 1, "float32", 2),
        ({"depth": 20, "width": 700, "batch_size": 16}, 2, "float32", 2),
        ({"depth": 20, "width": 400, "batch_size": 1000}, 1, "float32", 1),
        ({"depth": 15, "width": 300, "batch_size": 1000, "norm": "layer"}, 1, "float32", 1),
    ],
    ids=["weights", "two threads", "signals", "norm"],
)
def test_memory_as_stated(fields: dict, networks: int, dtype: str, cores: int) -> None:
    code = PEAK.format(fields=fields, networks=networks, dtype=dtype, cores=cores, norm=fields.get("norm", "none"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert 0.7 < float(done.stdout) < 1.3


# --- callbacks and threads ------------------------------------------------------------------------------------

SLOW = gc.Spec(depth=40, width=256, activation="tanh")


class Stop(BaseException):
    """Raised by a callback to cancel."""


def test_callbacks_come_in_the_callers_thread_and_often() -> None:
    threads, times, steps = set(), [time.monotonic()], []

    def heard(done: int, total: int) -> None:
        threads.add(threading.get_ident())
        times.append(time.monotonic())
        steps.append((done, total))

    gc.measure(SLOW, networks=6, on_layer=heard, progress=lambda done, total: threads.add(threading.get_ident()))
    assert threads == {threading.get_ident()}
    assert max(np.diff(times)) < 0.1 + 0.4  # 0.1 s, and what a busy machine adds
    assert [step for step, _ in steps].count(4 * SLOW.depth) >= 6  # each network to its end


@pytest.mark.parametrize("callback", ["on_layer", "progress"])
def test_an_exception_ends_all_threads_at_once(callback: str) -> None:
    before, raised = threading.active_count(), []

    def stop(done: int, total: int) -> None:
        raised.append(time.monotonic())
        raise Stop

    with pytest.raises(Stop):
        gc.measure(SLOW, networks=40, **{callback: stop})
    assert time.monotonic() - raised[0] < 0.3 + 0.3  # 0.3 s, and what a busy machine adds
    assert len(raised) == 1 and threading.active_count() == before and turns._queue == []


def test_an_error_in_a_thread_passes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr(Machine, "run", fails)
    before = threading.active_count()
    with pytest.raises(RuntimeError, match="no memory"):
        gc.measure(SLOW, networks=6)
    assert threading.active_count() == before and turns._queue == []


def test_a_small_measurement_does_not_wait_for_a_long_one() -> None:
    """Turns are per group: the other session gets a core when one network of the long run ends."""
    went_on, finished = threading.Event(), threading.Event()

    def long_run() -> None:
        def progress(done: int, total: int) -> None:
            went_on.set()
            if finished.is_set():
                raise Stop

        try:
            gc.measure(SLOW, networks=2000, progress=progress)
        except Stop:
            return
        raise AssertionError("the small one waited for the end of the long one")

    session = threading.Thread(target=long_run)
    session.start()
    assert went_on.wait(60)
    small = gc.measure(NARROW, networks=20)
    finished.set()
    session.join()
    assert np.isfinite(small.log_g).all()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_what_is_told_is_in_order(order: tuple[int, ...]) -> None:
    """Whatever finishes first: network by network, every step once."""
    told: list[tuple] = []
    teller = pool.Teller(3, 2, lambda *a: told.append(("network", *a)), lambda *a: told.append(("step", *a)))
    for k in order:
        teller.tell(range(k, k + 1), 2, finished=True)
    steps = [("step", 0, 2), ("step", 1, 2), ("step", 2, 2)]
    expected = [*steps, ("network", 1, 3), *steps, ("network", 2, 3), *steps, ("network", 3, 3)]
    repeated = [entry for k, entry in enumerate(told) if k == 0 or entry != told[k - 1]]
    assert [entry for entry in repeated if entry != ("step", 0, 2)] == [e for e in expected if e != ("step", 0, 2)]


# --- another device -------------------------------------------------------------------------------------------


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("fields", [{}, {"norm": "batch"}, {"residual": "two_layer", "loss": "mse"}], ids=str)
def test_a_gpu_measures_the_same_networks(fields: dict) -> None:
    """The weights are drawn on the CPU: equal up to the roundoff of float64 sums in another order."""
    spec = NARROW.replace(**fields)
    here, there = gc.measure(spec, networks=3), gc.measure(spec, networks=3, device="cuda")
    for name in QUANTITIES:
        np.testing.assert_allclose(getattr(there, name), getattr(here, name), atol=1e-8)
