"""Groups of networks on several threads, and what of them is done told to the caller in the caller's own thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch

from gradcore.measure import turns
from gradcore.measure.steps import Steps

Callback = Callable[[int, int], Any] | None
Work = Callable[[tuple[int, ...], Steps], Any]  # measures these networks, telling its steps
Worker = Callable[[], Work]  # what a thread begins with
POLL = 0.05  # seconds between two looks of the caller at what its threads have done


class _StoppedError(BaseException):
    """Raised in a thread whose work nobody wants any more."""


class Teller:
    """Calls ``on_layer(step, total)`` and ``progress(done, networks)`` as if networks were measured one after another,
    in their order: each step once, then the network, then the next one's steps."""

    def __init__(self, networks: int, total: int, progress: Callback, on_layer: Callback) -> None:
        self._networks, self._total = networks, total
        self._progress, self._on_layer = progress, on_layer
        self._network, self._step = 0, -1  # the network being told of, and its last step told
        self._reached: dict[int, int] = {}
        self._finished: set[int] = set()

    def tell(self, positions: range, step: int, finished: bool = False) -> None:
        """The networks at these positions have reached ``step``."""
        self._reached.update(dict.fromkeys(positions, step))
        if finished:
            self._finished.update(positions)
        said = False
        while self._network < self._networks:
            said |= self._steps_of_one()
            if self._network not in self._finished:
                break
            self._network, self._step = self._network + 1, -1
            if self._progress is not None:
                self._progress(self._network, self._networks)
        if not said and self._network < self._networks:  # a step, or the wait for one, goes on
            self.beat()

    def beat(self) -> None:
        """Once more the last step told."""
        if self._on_layer is not None:
            self._step = max(self._step, 0)
            self._on_layer(self._step, self._total)

    def _steps_of_one(self) -> bool:
        reached = self._reached.get(self._network, -1)
        if self._on_layer is None or reached <= self._step:
            return False
        for step in range(self._step + 1, reached + 1):
            self._step = step
            self._on_layer(step, self._total)
        return True


def run(
    groups: Sequence[tuple[int, ...]], worker: Worker, threads: int, teller: Teller, total: int, quick: bool = False
) -> list[Any]:
    """What ``work(group, steps)`` returns for each group, on so many threads; each group takes a turn of its own among
    all computations of the process (``quick``: a short one, see ``turns.Turn``). One thread is the caller's own. An
    exception of ``teller``'s callbacks, or of the work, ends all threads before it passes through."""
    starts = [sum(map(len, groups[:k])) for k in range(len(groups))]
    positions = [range(start, start + len(group)) for start, group in zip(starts, groups, strict=True)]
    with turns.one_thread_setting():
        if threads == 1:
            return _in_this_thread(groups, positions, worker(), teller, total, quick)
        return _Team(groups, worker, threads, total, quick).finish(positions, teller)


def _steps_of_a_turn(tell: Callable[[int], None], total: int, quick: bool) -> tuple[turns.Turn, Steps]:
    """A turn and the steps of what computes in it: each is told, and after it a quick computation may go first."""

    def step(done: int, _: int) -> None:
        tell(done)
        turn.pause()

    steps = Steps(step, total)
    turn = turns.Turn(lambda: tell(steps.done), quick)
    return turn, steps


def _in_this_thread(
    groups: Sequence[tuple[int, ...]], positions: list[range], work: Work, teller: Teller, total: int, quick: bool
) -> list[Any]:
    out = []
    for group, places in zip(groups, positions, strict=True):
        turn, steps = _steps_of_a_turn(lambda done, places=places: teller.tell(places, done), total, quick)
        with turn:
            out.append(work(group, steps))
        teller.tell(places, steps.done, finished=True)
    return out


class _Team:
    """Threads that take groups one after another; the caller's thread listens."""

    def __init__(
        self, groups: Sequence[tuple[int, ...]], worker: Worker, threads: int, total: int, quick: bool
    ) -> None:
        self._groups, self._worker, self._total, self._quick = groups, worker, total, quick
        self._changed = threading.Condition()
        self._next, self._stopped = 0, False
        self._steps = [0] * len(groups)
        self._results: dict[int, Any] = {}
        self._error: BaseException | None = None
        self._threads = [threading.Thread(target=self._serve, name="gradcore measure") for _ in range(threads)]

    def finish(self, positions: list[range], teller: Teller) -> list[Any]:
        """Run to the end, telling of it; all threads have ended when this returns or raises."""
        try:
            for thread in self._threads:
                thread.start()
            self._listen(positions, teller)
        finally:
            self._stopped = True
            for thread in self._threads:
                if thread.ident is not None:
                    thread.join()
        return [self._results[k] for k in range(len(self._groups))]

    def _listen(self, positions: list[range], teller: Teller) -> None:
        told: set[int] = set()
        while len(told) < len(self._groups):
            with self._changed:
                self._changed.wait_for(lambda: self._error or len(self._results) > len(told), POLL)
                finished = [k for k in self._results if k not in told]
            if self._error is not None:
                raise self._error
            for k in finished:
                told.add(k)
                teller.tell(positions[k], self._steps[k], finished=True)
            for k, step in enumerate(self._steps):
                if step and k not in told:
                    teller.tell(positions[k], step)
            if not finished:
                teller.beat()

    def _beat(self, group: int) -> Callable[[int], None]:
        def told(done: int) -> None:
            if self._stopped:
                raise _StoppedError
            self._steps[group] = done

        return told

    def _serve(self) -> None:
        try:
            torch.set_num_threads(1)  # of this thread
            work = self._worker()
            while (group := self._take()) is not None:
                turn, steps = _steps_of_a_turn(self._beat(group), self._total, self._quick)
                with turn:
                    result = work(self._groups[group], steps)
                with self._changed:
                    self._results[group] = result
                    self._changed.notify_all()
        except _StoppedError:
            pass
        except BaseException as error:  # raised again in the caller's thread
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()

    def _take(self) -> int | None:
        with self._changed:
            if self._stopped or self._next == len(self._groups):
                return None
            self._next += 1
            return self._next - 1
