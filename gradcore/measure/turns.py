"""Who computes when: as many computations as cores over all sessions of a process, one intra-op thread each."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

MACHINE = os.cpu_count() or 1
CORES = MACHINE  # the most that compute at once
PATIENCE = 0.1  # seconds between two beats of one that waits
_turn = threading.Condition()
_queue: list[Turn] = []  # computations of the process in order of arrival, those that compute included
_THREADS = threading.Lock()
_thread_state = {"users": 0, "saved": 1}
_kept = {"free": 0}  # of the machine's cores, for other work than this


class Turn:
    """A place among the computations of the process: as many at once as cores, first come first served, but ``quick``
    ones before the others on all cores but one, so that a small question is not kept waiting by a large one.

    As a context it lasts as long as the computation. A long one calls ``pause`` between its steps. Whoever waits calls
    ``beat`` all the while; an exception it raises gives the place up.
    """

    def __init__(self, beat: Callable[[], None] | None = None, quick: bool = False) -> None:
        self._beat, self.quick, self.computes = beat, quick, False

    def __enter__(self) -> Turn:
        with _turn:
            _queue.append(self)
        try:
            self._wait()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def pause(self) -> None:
        """Stand back while quick ones are to compute here, or a core is to be kept free. What is held meanwhile stays
        bounded: who stood back goes on before those that have not begun."""
        if self.quick or len(_queue) <= _places():
            return
        with _turn:
            waited_for = any(turn.quick and not turn.computes for turn in _first())
            too_many = _computing() > _places() and self not in _first()
            if not too_many and (not waited_for or _computing() < _places()):
                return
            self.computes = False
            _turn.notify_all()
        self._wait()

    def _wait(self) -> None:
        while True:
            with _turn:
                if _turn.wait_for(self._may_compute, None if self._beat is None else PATIENCE):
                    self.computes = True
                    return
            if self._beat is not None:
                self._beat()

    def _may_compute(self) -> bool:
        return self in _first() and _computing() < _places()

    def _leave(self) -> None:
        with _turn:
            _queue.remove(self)
            _turn.notify_all()


def keep_free(cores: int) -> None:
    """Leave so many of the machine's cores to other work from now on; one place to compute there always is."""
    with _turn:
        _kept["free"] = cores
        _turn.notify_all()


def _places() -> int:
    return max(1, min(CORES, MACHINE - _kept["free"]))


def _computing() -> int:
    return sum(turn.computes for turn in _queue)


def _first() -> list[Turn]:
    """Those whose turn it is."""
    ahead = [turn for turn in _queue if turn.quick][: max(1, _places() - 1)]
    return (ahead + [turn for turn in _queue if turn not in ahead])[: _places()]


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
    with one_thread_setting(), Turn(beat):
        yield
