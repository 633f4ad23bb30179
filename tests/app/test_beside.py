"""A page beside another session's measurement: while it is drawn, large measurements leave it a core."""

from __future__ import annotations

import threading
import time

import pytest

pytest.importorskip("streamlit")
pytest.importorskip("torch")
from streamlit.runtime.scriptrunner import StopException

import gradcore as gc
from app import runner, store
from tests.app.pages import small_app


def test_a_page_that_is_drawn_keeps_a_core_free_and_gives_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    runner.start_torch()
    said: list[int] = []
    monkeypatch.setattr(runner, "keep_free", said.append)
    drawing, other = runner._Drawing(2), []

    def begin() -> None:
        other.append(drawing.page())
        other[0].__enter__()

    with drawing.page():
        assert said == [1]
        with drawing.interrupted():
            assert said == [1, 0]  # it measures itself
        assert said == [1, 0, 1]
        thread = threading.Thread(target=begin)
        thread.start()
        thread.join()
        assert drawing.ends() and not drawing.ends()  # it trains from here on; the other page is still drawn
        with drawing.interrupted():
            assert drawing.pages == 1
    assert said == [1, 0, 1, 1, 1] and drawing.pages == 1


@pytest.mark.parametrize("stopped", [True, False])
def test_no_run_leaves_its_page_counted(monkeypatch: pytest.MonkeyPatch, stopped: bool) -> None:
    seen: list[int] = []

    def measure(spec: gc.Spec, **options: object) -> gc.Measurement:
        seen.append(runner._drawing.pages)
        if stopped:
            raise StopException
        return real(spec, **options)  # type: ignore[arg-type]

    real = gc.measure
    store.networks().clear()
    monkeypatch.setattr(gc, "measure", measure)
    app = small_app()
    assert not app.exception and ("measured" in app.session_state) is not stopped
    assert seen and set(seen) == {0} and runner._drawing.pages == 0


def test_a_few_pages_at_once_in_order_and_one_that_went_on_before_new_ones() -> None:
    drawing, order = runner._Drawing(1), []
    leave = {name: threading.Event() for name in "ab"}

    def run(name: str) -> None:
        with drawing.page():
            order.append(name)
            leave[name].wait(30)

    with drawing.page():
        threads = [threading.Thread(target=run, args=(name,), daemon=True) for name in "ab"]
        for waiting, thread in enumerate(threads, start=2):
            thread.start()
            while drawing.pages < waiting:
                time.sleep(0.001)
        assert order == []
        with drawing.interrupted():
            while order != ["a"]:
                time.sleep(0.001)
            leave["a"].set()  # it ends: this run goes on before the one that has not begun, or after it had begun
            leave["b"].set()
    for thread in threads:
        thread.join(30)
    assert order == ["a", "b"] and drawing.pages == 0


def test_one_who_waits_to_be_drawn_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    drawing = runner._Drawing(0)

    def stop() -> None:
        raise StopException

    monkeypatch.setattr(runner, "may_stop_here", stop)
    with pytest.raises(StopException), drawing.page():
        raise AssertionError("nothing may be drawn")
    assert drawing.pages == 0
