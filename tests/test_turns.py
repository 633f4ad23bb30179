"""Who computes when: a short measurement is not kept waiting by a long one, and no more compute than cores."""

from __future__ import annotations

import contextlib
import threading
import time

import numpy as np
import pytest

import gradcore as gc
from gradcore.measure import memory, turns
from gradcore.measurement import QUANTITIES

SMALL = gc.Spec(depth=5, width=12, batch_size=4, activation="gelu", gain="auto", bias_std=0.1)
LONG = gc.Spec(depth=60, width=256, batch_size=8, init="trunc_normal", gain=2.0)  # some seconds a network


class Stop(BaseException):
    """What a caller raises to cancel."""


class Long(threading.Thread):
    """Measures large networks until it is told to stop; counts the steps of them."""

    def __init__(self, networks: int) -> None:
        super().__init__(daemon=True)
        self.networks, self.steps, self.over = networks, 0, False

    def step(self, done: int, total: int) -> None:
        self.steps += 1
        if self.over:
            raise Stop

    def run(self) -> None:
        with contextlib.suppress(Stop):
            gc.measure(LONG, networks=self.networks, on_layer=self.step)

    def __enter__(self) -> Long:
        self.start()
        while not any(turn.computes for turn in turns._queue):
            time.sleep(0.001)
        return self

    def __exit__(self, *_: object) -> None:
        self.over = True
        self.join()


def test_what_is_quick_is_told_by_its_size(monkeypatch):
    assert memory.quick(gc.Spec(), 1) and memory.quick(SMALL, memory.MOST_IN_GROUP)
    assert not memory.quick(gc.Spec(width=1024), 1) and memory.quick(gc.Spec(width=1024), 1, weights=False)
    assert not memory.quick(gc.Spec(depth=2000, width=8), 1)
    monkeypatch.setattr(memory, "QUICK", 2**18)
    assert not memory.quick(LONG, 1) and memory.quick(SMALL, 1)


@pytest.mark.parametrize("cores", [1, 2])
def test_a_short_measurement_does_not_wait_for_a_long_one(monkeypatch, cores):
    """It stands back between two of its steps, computes on, and its numbers are the same."""
    monkeypatch.setattr(turns, "CORES", cores)
    monkeypatch.setattr(memory, "QUICK", 2**18)
    with Long(cores) as other:
        for _ in range(3):
            measured = gc.measure(SMALL, networks=1)
        assert len(turns._queue) == cores and other.is_alive()  # none of the long ones has come to its end
        before = other.steps
        while other.steps < before + 3:
            time.sleep(0.001)
    assert turns._queue == []
    alone = gc.measure(SMALL, networks=1)
    assert all(np.array_equal(getattr(measured, name), getattr(alone, name), equal_nan=True) for name in QUANTITIES)


def test_never_more_than_the_cores_compute_and_quick_ones_go_first(monkeypatch):
    monkeypatch.setattr(turns, "CORES", 2)
    order: list[str] = []
    most = 0

    def work(name: str, quick: bool, steps: int) -> None:
        nonlocal most
        with turns.Turn(None, quick) as turn:
            for _ in range(steps):
                most = max(most, turns._computing())
                time.sleep(0.002)
                turn.pause()
            order.append(name)

    long = [threading.Thread(target=work, args=(f"long {k}", False, 100)) for k in range(3)]
    for place, thread in enumerate(long, start=1):
        thread.start()
        while len(turns._queue) < place:
            time.sleep(0.001)
    quick = [threading.Thread(target=work, args=(f"quick {k}", True, 3)) for k in range(4)]
    for thread in quick:
        thread.start()
    for thread in long + quick:
        thread.join(30)
    assert sorted(order[:4]) == [f"quick {k}" for k in range(4)]
    assert order[-1] == "long 2" and most == 2  # who stood back goes on before the one that had not begun


def test_one_who_stands_back_can_cancel(monkeypatch):
    monkeypatch.setattr(turns, "CORES", 1)
    monkeypatch.setattr(memory, "QUICK", 2**18)
    calls = 0

    def stop_while_waiting(done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            threading.Thread(target=occupy, daemon=True).start()
            assert asked.wait(30)
        if calls > 3 and inside.is_set():
            raise Stop

    asked, inside, leave = threading.Event(), threading.Event(), threading.Event()

    def occupy() -> None:
        turn = turns.Turn(asked.set, quick=True)  # its beat: it waits
        with turn:
            inside.set()
            leave.wait(30)

    with pytest.raises(Stop):
        gc.measure(LONG, networks=1, on_layer=stop_while_waiting)
    assert [turn.quick for turn in turns._queue] == [True]  # the long one has given its place up
    leave.set()


def test_a_core_that_is_kept_free_is_left_at_the_next_step_and_taken_again(monkeypatch):
    monkeypatch.setattr(turns, "CORES", 2)
    monkeypatch.setattr(turns, "MACHINE", 2)
    over = threading.Event()

    def work() -> None:
        with turns.Turn() as turn:  # without a beat: nothing but a word wakes it
            while not over.is_set():
                time.sleep(0.001)
                turn.pause()

    both = [threading.Thread(target=work, daemon=True) for _ in range(2)]
    for thread in both:
        thread.start()
    try:
        for free, computing in ((0, 2), (1, 1), (0, 2), (5, 1), (0, 2)):
            turns.keep_free(free)
            deadline = time.monotonic() + 30.0
            while turns._computing() != computing and time.monotonic() < deadline:
                time.sleep(0.001)
            assert turns._computing() == computing
    finally:
        turns.keep_free(0)
        over.set()
        for thread in both:
            thread.join(30)
    monkeypatch.setattr(turns, "CORES", 1)  # where less than the machine may compute, a core is free already
    turns.keep_free(1)
    assert turns._places() == 1
    turns.keep_free(0)
