"""``on_layer``: called between the layers of a network, stops the measurement by an exception, and changes nothing."""

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
from gradcore.measure import steps, turns
from gradcore.measurement import QUANTITIES, SHARES

ROOT = Path(__file__).parents[1]
SMALL = gc.Spec(depth=5, width=12, batch_size=4, activation="gelu", gain="auto", bias_std=0.1)


class Stop(BaseException):
    """What a caller raises to cancel; no Exception, as Streamlit's is none."""


def identical(a: gc.Measurement, b: gc.Measurement) -> None:
    """Bit for bit, NaN included."""
    assert (a.spec, a.seed, a.dtype, a.networks) == (b.spec, b.seed, b.dtype, b.networks)
    for name in (*QUANTITIES, *SHARES):
        assert np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True), name


def nothing(done: int, total: int) -> None:
    """Somebody who only listens."""


def stop_at_call(number: int):
    """A callback that cancels at its call of this number."""
    calls = iter(range(number, -1, -1))

    def callback(done: int, total: int) -> None:
        if next(calls) == 0:
            raise Stop

    return callback


@pytest.fixture(autouse=True)
def left_as_it_was():
    """Every test leaves torch's thread setting and the queue as they were."""
    threads = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == threads
    assert turns._queue == []


# --- what is called when ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{}, {"depth": 1}, {"norm": "batch"}, {"residual": "identity"}], ids=str)
def test_four_steps_a_layer_in_order(fields):
    spec, seen = SMALL.replace(**fields), []
    gc.measure(spec, networks=2, on_layer=lambda done, total: seen.append((done, total)))
    assert {total for _, total in seen} == {4 * spec.depth}
    counts = [done for done, _ in seen]
    starts = [k for k in range(1, len(counts)) if counts[k] < counts[k - 1]]
    assert len(starts) == 1  # two networks
    for network in (counts[: starts[0]], counts[starts[0] :]):
        assert network == sorted(network) and set(network) == set(range(4 * spec.depth + 1))


def test_a_broken_network_ends_early():
    seen = []
    broken = gc.Spec(depth=12, width=4, activation="linear", gain=1e30, loss="cross_entropy")
    gc.measure(broken, networks=1, on_layer=lambda done, total: seen.append(done))
    assert max(seen) == 3 * 12  # no backward pass


def test_both_callbacks_together():
    seen = []
    gc.measure(
        SMALL,
        networks=[4, 2],
        progress=lambda done, total: seen.append(("network", done, total)),
        on_layer=lambda done, total: seen.append(("layer", done, total)),
    )
    whole = [entry for entry in seen if entry[0] == "network"]
    assert whole == [("network", 1, 2), ("network", 2, 2)]
    assert seen[-1] == whole[-1] and seen[seen.index(whole[0]) - 1] == ("layer", 20, 20)


def test_only_something_that_can_be_called():
    with pytest.raises(gc.SpecError) as caught:
        gc.measure(SMALL, networks=1, on_layer=3)
    assert caught.value.field == "on_layer"


# --- how often -----------------------------------------------------------------------------------------------


def longest_pause(spec: gc.Spec, network: int, dtype: str = "float64") -> float:
    """The largest share of a network's computing time (of this thread) between two calls."""
    times = [time.thread_time()]
    gc.measure(spec, networks=[network], dtype=dtype, on_layer=lambda done, total: times.append(time.thread_time()))
    times.append(time.thread_time())
    return max(np.diff(times)) / (times[-1] - times[0])


@pytest.mark.parametrize(
    ("fields", "dtype"),
    [
        ({"depth": 100}, "float64"),
        ({"depth": 25, "norm": "layer"}, "float64"),
        ({"depth": 25, "init": "sparse"}, "float64"),
        ({"depth": 25}, "bfloat16"),
    ],
    ids=str,
)
def test_no_part_of_a_deep_wide_network_is_long(fields, dtype):
    """100 layers of 512 take 0.8 s of one core of a small machine: at most 6 layers' worth of it, 0.05 s, pass between
    two calls. The best of three networks: a pause of the machine makes a share larger, never smaller."""
    spec = gc.Spec(width=512, **fields)
    gc.measure(spec.replace(depth=2), networks=1, dtype=dtype)  # what torch loads on first use
    assert min(longest_pause(spec, network, dtype) for network in range(3)) < 6 / spec.depth


def test_a_single_very_wide_layer_is_not_long_either():
    """36 million weights: 1 s to draw, in blocks of 0.1 s."""
    spec = gc.Spec(depth=1, width=6000)
    assert min(longest_pause(spec, network) for network in range(2)) < 0.25


# --- it changes nothing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_listening_changes_no_number(dtype):
    for fields in ({}, {"norm": "batch", "norm_position": "after"}, {"residual": "identity", "loss": "cross_entropy"}):
        spec = SMALL.replace(**fields)
        identical(
            gc.measure(spec, networks=3, dtype=dtype), gc.measure(spec, networks=3, dtype=dtype, on_layer=nothing)
        )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("init", INITIALIZERS)
def test_drawing_in_blocks_changes_no_number(init, dtype, monkeypatch):
    """Every law, on matrices of 1, 2 and 3 blocks and a rest that is no multiple of anything torch groups by."""
    width = (64, 77, 101, 9, 130)
    fields = {"init": init, "gain": 3.0 if init == "trunc_normal" else 0.9, "bias_std": "default"}
    spec = gc.Spec(depth=5, width=width, input_width=90, batch_size=4, sparsity=0.5, **fields)
    whole = gc.measure(spec, networks=2, dtype=dtype)

    def calls() -> int:
        """Of one network, which is measured in this thread."""
        heard: list[int] = []
        part = gc.measure(spec, networks=[1], dtype=dtype, on_layer=lambda done, total: heard.append(done))
        assert np.array_equal(part.log_g[0], whole.log_g[1])
        return len(heard)

    regular = calls()
    monkeypatch.setattr(steps, "BLOCK", 2048)
    identical(gc.measure(spec, networks=2, dtype=dtype), whole)  # in other threads
    assert calls() > regular if init not in ("constant", "eye") else calls() == regular


def test_torch_draws_the_same_in_blocks_but_not_in_any():
    """The check of the test above can fail: 16 normals are drawn together."""

    def drawn(sizes: list[int]) -> torch.Tensor:
        generator, out = torch.Generator().manual_seed(1), torch.empty(sum(sizes), dtype=torch.float64)
        for part in out.split(sizes):
            part.normal_(generator=generator)
        return out

    assert torch.equal(drawn([4096]), drawn([2048, 2048]))
    assert not torch.equal(drawn([4096]), drawn([2040, 2056]))


# --- cancelling ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [0, 3, 7, 12, 18, 23, 24])
def test_cancelled_at_any_point_and_resumed(call):
    whole = gc.measure(SMALL, networks=3)
    finished: list[int] = []
    with pytest.raises(Stop):
        gc.measure(SMALL, networks=[1], on_layer=stop_at_call(call), progress=lambda done, total: finished.append(done))
    assert finished == []  # nothing of an interrupted network
    rest = gc.measure(SMALL, networks=[1, 2])
    identical(gc.Measurement.merge(gc.measure(SMALL, networks=1), rest), whole)


THREADS = """
import threading, torch
import gradcore as gc
from gradcore.measure import turns

class Stop(BaseException): pass
def stopper(at):
    def callback(done, total):
        if done == at: raise Stop
    return callback

def fresh():
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads())); thread.start(); thread.join()
    return seen[0]

spec = gc.Spec(depth=4, width=50, norm="layer")
for threads in (1, 2, 3):
    torch.set_num_threads(threads)
    new = fresh()
    for at in range(16):
        try: gc.measure(spec, networks=2, on_layer=stopper(at))
        except Stop: pass
        else: raise AssertionError("not cancelled")
        assert torch.get_num_threads() == threads and fresh() == new, "a cancelled run left its thread count"
        assert torch.is_grad_enabled() and turns._queue == []
"""


def test_cancelling_leaves_torch_as_it_was():
    """In a fresh process: counts of intra-op threads are state of the process and of each thread."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", THREADS], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


# --- waiting for a core --------------------------------------------------------------------------------------


class Occupant(threading.Thread):
    """Somebody who holds a core until let go."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.inside, self.leave = threading.Event(), threading.Event()

    def run(self) -> None:
        with turns.one_intra_op_thread():
            self.inside.set()
            self.leave.wait()

    def __enter__(self) -> Occupant:
        self.start()
        assert self.inside.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self.leave.set()
        self.join()


def test_one_who_waits_can_cancel(monkeypatch):
    monkeypatch.setattr(turns, "CORES", 1)
    with Occupant():
        began = time.monotonic()
        with pytest.raises(Stop):
            gc.measure(SMALL, networks=1, on_layer=stop_at_call(2))
        assert time.monotonic() - began > 2 * turns.PATIENCE  # it waited, and was asked meanwhile
        assert len(turns._queue) == 1  # and gave its place up
    identical(gc.measure(SMALL, networks=1, on_layer=nothing), gc.measure(SMALL, networks=1))


def test_first_come_first_served(monkeypatch):
    monkeypatch.setattr(turns, "CORES", 1)
    order: list[int] = []

    def work(number: int) -> None:
        with turns.one_intra_op_thread():
            order.append(number)

    with Occupant():
        waiting = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for place, thread in enumerate(waiting, start=2):
            thread.start()
            while len(turns._queue) < place:
                time.sleep(0.001)
        assert order == []
    for thread in waiting:
        thread.join()
    assert order == [0, 1, 2, 3, 4, 5]


def test_as_many_at_once_as_cores(monkeypatch):
    monkeypatch.setattr(turns, "CORES", 2)
    with Occupant():
        identical(gc.measure(SMALL, networks=1), gc.measure(SMALL, networks=1, on_layer=nothing))
        with Occupant(), pytest.raises(Stop):
            gc.measure(SMALL, networks=1, on_layer=stop_at_call(0))
