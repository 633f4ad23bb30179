"""A page beside another session's measurement: while it is drawn, large measurements leave it a core."""

from __future__ import annotations

import threading

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
    drawing, other = runner._Drawing(), []

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
            assert drawing._pages == 1
    assert said == [1, 0, 1, 1, 1] and drawing._pages == 1


@pytest.mark.parametrize("stopped", [True, False])
def test_no_run_leaves_its_page_counted(monkeypatch: pytest.MonkeyPatch, stopped: bool) -> None:
    seen: list[int] = []

    def measure(spec: gc.Spec, **options: object) -> gc.Measurement:
        seen.append(runner._drawing._pages)
        if stopped:
            raise StopException
        return real(spec, **options)  # type: ignore[arg-type]

    real = gc.measure
    store.networks().clear()
    monkeypatch.setattr(gc, "measure", measure)
    app = small_app()
    assert not app.exception and ("measured" in app.session_state) is not stopped
    assert seen and set(seen) == {0} and runner._drawing._pages == 0
