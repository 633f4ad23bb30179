"""Who computes when: as many computations as cores over all sessions of a process, one intra-op thread each."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

CORES = os.cpu_count() or 1
PATIENCE = 0.1  # seconds between two beats of one that waits
_turn = threading.Condition()
_queue: list[object] = []  # computations of the process in order of arrival: the first CORES compute, the others wait
_THREADS = threading.Lock()
_thread_state = {"users": 0, "saved": 1}


@contextmanager
def turn_to_compute(beat: Callable[[], None] | None) -> Iterator[None]:
    """As many computations as cores, over all sessions of the process, first come first served.

    Who waits calls ``beat`` all the while; an exception it raises gives the place in the queue up.
    """
    ticket = object()
    with _turn:
        _queue.append(ticket)
    try:
        while True:
            with _turn:
                if _turn.wait_for(lambda: ticket in _queue[:CORES], None if beat is None else PATIENCE):
                    break
            if beat is not None:
                beat()
        yield
    finally:
        with _turn:
            _queue.remove(ticket)
            _turn.notify_all()


@contextmanager
def one_thread_setting() -> Iterator[None]:
    """torch's setting of intra-op threads is 1 inside and what it was outside.

    torch keeps one process-wide number beside a per-thread one, so overlapping users share what was saved.
    """
    with _THREADS:
        if _thread_state["users"] == 0:
            _thread_state["saved"] = torch.get_num_threads()
        _thread_state["users"] += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _THREADS:
            _thread_state["users"] -= 1
            torch.set_num_threads(_thread_state["saved"])


@contextmanager
def one_intra_op_thread(beat: Callable[[], None] | None = None) -> Iterator[None]:
    """A turn to compute on one intra-op thread: small matrices run slower on several. The setting is put back.

    ``beat`` is called while waiting for a free core.
    """
    with one_thread_setting(), turn_to_compute(beat):
        yield
