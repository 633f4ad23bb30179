"""Several sessions of one server at once: no error, no number of another's, memory that stays."""

from __future__ import annotations

import asyncio
import time

import pytest

pytest.importorskip("streamlit")
pytest.importorskip("torch")

from benchmarks import sessions
from benchmarks.pages import serving
from benchmarks.sessions import Answer, Beside, Crowd, Visit
from gradcore.spec import Spec


@pytest.mark.slow
def test_six_sessions_see_their_own_numbers_alone() -> None:
    plans = sessions.visits(6, 4)
    with serving("app/main.py") as server:
        found = asyncio.run(sessions.crowd(server.address, server.process.pid, plans, seconds=20.0))
        swapped = Visit(plans[0][0].query, plans[1][0].headline, plans[0][0].predicted, plans[1][0].measured)
        answer = asyncio.run(sessions.crowd(server.address, server.process.pid, [[swapped]], 1.0)).answers[-1]
    assert found.errors == [] and found.wrong == []
    assert len(found.answers) >= 6 and all(answer.end > 0.0 for answer in found.answers)
    assert found.peak < sessions.MEMORY
    assert len(answer.wrong) == 2 and "headline" in answer.wrong[0]  # another's page would have been noticed


def test_every_link_has_a_page_of_its_own() -> None:
    plans = sessions.visits(2, 3)
    pages = {(visit.query, visit.predicted, visit.measured) for plan in plans for visit in plan}
    assert len(pages) == 6 and all(len(visit.predicted) == len(visit.measured) == 4 for visit in plans[0])


def test_the_expected_page_is_what_gradcore_says() -> None:
    visit = Visit.of(Spec(depth=60))
    assert visit.predicted[0] == "×0.707" and visit.predicted[3] == "14 of 60"
    assert visit.headline.startswith("Gradients vanish") and "depth=60" in visit.query


# --- what is reported ---------------------------------------------------------------------------------------------


def crowd_of(memory: list[float], *answers: Answer) -> Crowd:
    return Crowd(list(answers) or [Answer(0.1, 0.2)], [(float(second), held) for second, held in enumerate(memory)])


def test_flat_memory_and_right_answers_pass() -> None:
    flat = crowd_of([1e8, 9e8, 1e9, 1e9, 1.01e9, 1e9, 1.01e9, 1e9])
    assert list(sessions.report_crowd(flat, 1, 8.0)) == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (crowd_of([1e9] * 8, Answer(errors=["closed"])), "errors"),
        (crowd_of([1e9] * 8, Answer(0.1, 0.2, wrong=["another's"])), "wrong numbers"),
        (crowd_of([3e9] * 8), "memory above 2.5 GiB"),
        (crowd_of([1e9 + 5e7 * second for second in range(8)]), "memory that grows"),
    ],
)
def test_what_misses_its_limit_is_said(found: Crowd, said: str) -> None:
    (missed,) = sessions.report_crowd(found, 1, 8.0)
    assert missed.startswith(said)


def test_growth_is_that_of_the_last_half() -> None:
    assert crowd_of([0, 5e8, 1e9, 1e9, 1e9, 1e9]).growth == pytest.approx(0.0)
    assert crowd_of([1e9, 1e9, 1e9, 1e9, 1e9, 1.1e9]).growth == pytest.approx(1e8)


def test_a_slowed_second_tab_is_said() -> None:
    quick, slow = [Answer(0.1, 0.3)] * 5, [Answer(0.25, 0.5)] * 5
    assert list(sessions.report_beside(Beside(quick, quick))) == []
    (missed,) = sessions.report_beside(Beside(quick, slow))
    assert "predicted numbers" in missed


def test_a_server_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens there."""
    import os

    began = time.monotonic()
    monkeypatch.setattr(sessions, "THINK", (0.0, 0.0))
    visit = Visit("", "", (), ())
    with pytest.raises(OSError):
        asyncio.run(sessions.crowd("http://127.0.0.1:9", os.getpid(), [[visit]], seconds=1.0))
    assert time.monotonic() - began < 30.0
