"""Groups of networks on several threads; the caller hears of one network after the other, on its own thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from gradcore.measure.dense import PATIENCE, one_intra_op_thread
from gradcore.measure.steps import Steps

Result = TypeVar("Result")
Group = tuple[int, ...]
Callback = Callable[[int, int], Any]


class Stopped(BaseException):
    """Ends a worker whose caller has given up; never seen outside."""


def each_in_order(
    work: Callable[[Group, Steps], Result],
    groups: Sequence[Group],
    total: int,
    threads: int,
    progress: Callback | None,
    on_layer: Callback | None,
) -> list[Result]:
    """``work(networks, steps)`` of every group, which takes ``total`` steps.

    ``on_layer(done, total)`` hears the steps of one network after the other, those of the others in its group all at
    once when it is done; ``progress(done, networks)`` follows each. What either raises ends all of them.
    """
    teller = _Teller([len(group) for group in groups], total, progress, on_layer)
    if threads > 1:
        return _Together(work, groups, threads).run(teller)
    found = []
    for group in groups:
        steps = Steps(on_layer, total)
        with one_intra_op_thread(None if on_layer is None else steps.beat):
            found.append(work(group, steps))
        teller.told = total
        teller.group_done()
    return found


class _Teller:
    """What the caller has heard: ``told`` steps of the network now told of."""

    def __init__(self, sizes: list[int], total: int, progress: Callback | None, on_layer: Callback | None) -> None:
        self.sizes, self.total, self.progress, self.on_layer = deque(sizes), total, progress, on_layer
        self.told, self.done, self.networks = 0, 0, sum(sizes)

    def beat(self) -> None:
        """Nothing new, but time has passed."""
        if self.on_layer is not None:
            self.on_layer(self.told, self.total)

    def tell(self, steps: int) -> None:
        """So many steps of the first network of the group are done."""
        while self.on_layer is not None and self.told < steps:
            self.told += 1
            self.on_layer(self.told, self.total)

    def group_done(self) -> None:
        """All networks of the group are done."""
        for _ in range(self.sizes.popleft()):
            self.tell(self.total)
            self.done += 1
            if self.progress is not None:
                self.progress(self.done, self.networks)
            self.told = 0


class _Together:
    """Worker threads that take groups in order, and the caller's thread that waits for them in order."""

    def __init__(self, work: Callable[[Group, Steps], Any], groups: Sequence[Group], threads: int) -> None:
        self.work, self.groups, self.threads = work, groups, threads
        self.news = threading.Condition()
        self.waiting = deque(range(len(groups)))
        self.steps = [0] * len(groups)
        self.found: dict[int, Any] = {}
        self.failed: BaseException | None = None
        self.stopped = False

    def run(self, teller: _Teller) -> list[Any]:
        """All results, in order."""
        workers = [threading.Thread(target=self._worker, daemon=True) for _ in range(self.threads)]
        for worker in workers:
            worker.start()
        try:
            for place in range(len(self.groups)):
                self._follow(place, teller)
        finally:
            with self.news:
                self.stopped = True
            for worker in workers:
                worker.join()
        return [self.found[place] for place in range(len(self.groups))]

    def _follow(self, place: int, teller: _Teller) -> None:
        """Tell of one group until it is done."""
        done = False
        while not done:
            with self.news:
                news = self.news.wait_for(lambda: self._news(place, teller), PATIENCE)
                if self.failed is not None:
                    raise self.failed
                done, steps = place in self.found, self.steps[place]
            if not news:
                teller.beat()
            teller.tell(steps)
        teller.group_done()

    def _news(self, place: int, teller: _Teller) -> bool:
        heard = teller.on_layer is None or self.steps[place] <= teller.told
        return self.failed is not None or place in self.found or not heard

    def _worker(self) -> None:
        try:
            while (place := self._next()) is not None:
                with one_intra_op_thread(self.check):
                    found = self.work(self.groups[place], _Told(self, place))
                with self.news:
                    self.found[place] = found
                    self.news.notify_all()
        except Stopped:
            pass
        except BaseException as error:
            with self.news:
                self.failed, self.stopped = error, True
                self.news.notify_all()

    def _next(self) -> int | None:
        with self.news:
            return self.waiting.popleft() if self.waiting and not self.stopped else None

    def check(self) -> None:
        """Go on only while the caller still wants it."""
        if self.stopped:
            raise Stopped


class _Told(Steps):
    """Steps that a worker takes and the caller's thread tells."""

    def __init__(self, together: _Together, place: int) -> None:
        super().__init__()
        self._together, self._place = together, place

    def next(self) -> None:
        """One more step is done."""
        self._together.check()
        with self._together.news:
            self._together.steps[self._place] += 1
            self._together.news.notify_all()

    def beat(self) -> None:
        """A step goes on."""
        self._together.check()
