"""Measuring for the pages: what is kept, what a stopped run leaves, how torch is loaded, and what it costs."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np
import pytest

pytest.importorskip("streamlit")
from streamlit.runtime.scriptrunner import StopException
from streamlit.testing.v1 import AppTest

import gradcore as gc
from app import costs, runner, store
from app.state import Settings
from gradcore.initializers import INITIALIZERS
from gradcore.measurement import QUANTITIES, SHARES
from gradcore.spec import Spec
from tests.app.pages import ROOT, asked, button, labels, open_app

QUERY = {"depth": "6", "width": "20", "networks": "5", "seed": "4"}
SPEC, SETTINGS = Spec(depth=6, width=20), Settings(networks=5, seed=4)


@pytest.fixture(autouse=True)
def nothing_measured(monkeypatch: pytest.MonkeyPatch):
    """The store is of the process: each test begins with an empty one, and measures one network a call."""
    monkeypatch.setattr(runner, "_at_once", lambda spec, settings: 1)
    store.networks().clear()
    yield
    store.networks().clear()


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The networks that are really measured, in order."""
    seen: list[int] = []
    real = gc.measure

    def measure(spec: Spec, **options) -> gc.Measurement:
        measured = real(spec, **options)
        seen.extend(measured.networks)
        return measured

    monkeypatch.setattr(gc, "measure", measure)
    return seen


def stop_in(monkeypatch: pytest.MonkeyPatch, network: int) -> None:
    """Streamlit stops the run in the middle of this network, as it does at an ``st`` call."""
    real = gc.measure

    def measure(spec: Spec, **options) -> gc.Measurement:
        def stop(steps: int, total: int) -> None:
            if network in options["networks"] and steps > total // 2:
                raise StopException

        return real(spec, **{**options, "on_layer": stop})

    monkeypatch.setattr(gc, "measure", measure)


def identical(a: gc.Measurement, b: gc.Measurement) -> None:
    """Bit for bit, NaN included."""
    assert (a.spec, a.seed, a.dtype, a.networks) == (b.spec, b.seed, b.dtype, b.networks)
    for name in (*QUANTITIES, *SHARES):
        assert np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True), name


# --- stopped and resumed --------------------------------------------------------------------------------------


def test_a_stopped_measurement_goes_on_from_what_was_done(monkeypatch: pytest.MonkeyPatch, computed: list[int]) -> None:
    whole = gc.measure(SPEC, networks=5, seed=4)
    computed.clear()
    with monkeypatch.context() as stopped:
        stop_in(stopped, network=3)
        app = open_app(**QUERY)
        assert not app.exception
        assert runner.done(SPEC, SETTINGS) == 3  # nothing of the interrupted network is kept
        assert runner.finished(SPEC, SETTINGS) is None and "measured" not in app.session_state
    app.run()
    assert computed == [0, 1, 2, 3, 4]  # each one once
    identical(app.session_state["measured"][1], whole)
    assert runner.done(SPEC, SETTINGS) == 5


def test_of_several_measured_at_once_the_finished_calls_are_kept(
    monkeypatch: pytest.MonkeyPatch, computed: list[int]
) -> None:
    monkeypatch.setattr(runner, "_at_once", lambda spec, settings: 2)
    with monkeypatch.context() as stopped:
        stop_in(stopped, network=3)
        open_app(**QUERY)
        assert runner.done(SPEC, SETTINGS) == 2 and computed == [0, 1]
    app = open_app(**QUERY)
    assert computed == [0, 1, 2, 3, 4]
    identical(app.session_state["measured"][1], gc.measure(SPEC, networks=5, seed=4))


def test_small_networks_are_measured_many_at_once_and_dear_ones_one_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(runner.os, "cpu_count", lambda: 3)
    assert runner._at_once(SPEC, SETTINGS) == runner.MOST_AT_ONCE
    assert runner._at_once(Spec(depth=60, width=700), SETTINGS) == 3


def test_another_session_goes_on_from_it_too(monkeypatch: pytest.MonkeyPatch, computed: list[int]) -> None:
    with monkeypatch.context() as stopped:
        stop_in(stopped, network=2)
        open_app(**QUERY)
    second = open_app(**{**QUERY, "networks": "7"})
    assert computed == [0, 1, 2, 3, 4, 5, 6]
    assert second.session_state["measured"][1].networks == (0, 1, 2, 3, 4, 5, 6)


def test_what_was_cancelled_waits_to_be_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as stopped:
        stop_in(stopped, network=3)
        app = open_app(**QUERY)
    app.session_state["cancelled"] = runner.key_of(SPEC, SETTINGS)  # as the callback of the Cancel button leaves it
    app.run()
    assert "Continue (3 of 5 done)" in labels(app)
    assert "measured" not in app.session_state
    button(app, "Continue").click().run()
    assert app.session_state["measured"][1].networks == (0, 1, 2, 3, 4)


def test_a_dear_measurement_that_was_shown_is_shown_again_at_once(
    monkeypatch: pytest.MonkeyPatch, computed: list[int]
) -> None:
    monkeypatch.setattr(runner, "AUTO_SECONDS", 0.0)
    app = open_app(**QUERY)
    button(app, "Measure 5 networks").click().run()
    app.query_params = {**QUERY, "activation": "tanh"}
    app.run()
    assert asked(app).activation == "tanh" and any(label.startswith("Measure 5") for label in labels(app))
    app.query_params = QUERY
    app.run()
    assert runner.key_of(SPEC, SETTINGS) == app.session_state["measured"][0]
    assert computed == [0, 1, 2, 3, 4]
    other = open_app(**QUERY)  # another session has not asked for it
    assert "measured" not in other.session_state


@pytest.mark.parametrize(
    "change", [{"seed": "5"}, {"dtype": "float32"}, {"gain": "1.1"}, {"norm": "layer"}], ids=lambda c: next(iter(c))
)
def test_only_networks_of_the_same_question_are_taken(change: dict[str, str], computed: list[int]) -> None:
    open_app(**QUERY)
    app = open_app(**{**QUERY, **change})
    assert computed == [0, 1, 2, 3, 4] * 2
    identical(
        app.session_state["measured"][1],
        gc.measure(asked(app), networks=5, seed=int(change.get("seed", 4)), dtype=change.get("dtype", "float64")),
    )


def test_sessions_at_the_same_time_do_not_mix() -> None:
    questions = [QUERY, {**QUERY, "activation": "tanh"}, {**QUERY, "seed": "5"}, QUERY]
    apps: dict[int, AppTest] = {}

    def visit(number: int) -> None:
        apps[number] = open_app(**questions[number])

    visitors = [threading.Thread(target=visit, args=(number,)) for number in range(len(questions))]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    for number, query in enumerate(questions):
        spec = SPEC.replace(activation=query.get("activation", "relu"))
        assert not apps[number].exception and asked(apps[number]) == spec
        alone = gc.measure(spec, networks=5, seed=int(query["seed"]))
        identical(apps[number].session_state["measured"][1], alone)


# --- the store ------------------------------------------------------------------------------------------------


def measured(network: int, depth: int = 3) -> gc.Measurement:
    return gc.measure(Spec(depth=depth, width=2, batch_size=2), networks=[network])


def test_the_store_is_bounded_and_forgets_what_was_not_used_for_longest() -> None:
    parts = [measured(network) for network in range(5)]
    kept = store.Store(3.5 * store.size(parts[0]))
    for part in parts[:3]:
        kept.put(part.networks, part)
    assert kept.get((0,)) is parts[0]
    kept.put((3,), parts[3])
    assert [kept.get((network,)) is not None for network in range(4)] == [True, False, True, True]
    kept.put((3,), parts[3])  # once more: it takes no second place
    assert kept.count([(0,), (1,), (2,), (3,)]) == 3
    kept.put("large", measured(0, depth=2000))  # alone too large for it
    assert kept.count([(0,), (2,), (3,), "large"]) == 0
    kept.put((4,), parts[4])
    assert kept.get((4,)) is parts[4]


def test_a_store_in_many_hands() -> None:
    part = measured(0)
    kept = store.Store(20.5 * store.size(part))

    def work(own: int) -> None:
        for k in range(400):
            kept.put((own, k % 30), part)
            kept.get((own, (k * 7) % 30))

    threads = [threading.Thread(target=work, args=(own,)) for own in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept.count((own, k) for own in range(4) for k in range(30)) == 20


# --- torch ----------------------------------------------------------------------------------------------------


class Imports:
    """Stands for the import of torch: as slow as the test wants, and counted."""

    def __init__(self, error: Exception | None = None) -> None:
        self.count, self.go_on, self.error = 0, threading.Event(), error

    def __call__(self) -> None:
        self.count += 1
        assert self.go_on.wait(30)
        if self.error is not None:
            raise self.error


def test_a_run_can_be_stopped_while_torch_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    imports = Imports()
    monkeypatch.setattr(runner, "load_torch", imports)
    loader, touches = runner._TorchLoader(), []

    def stop_at_third() -> None:
        touches.append(time.monotonic())
        if len(touches) == 3:
            raise StopException

    with pytest.raises(StopException):
        loader.wait(stop_at_third)
    assert len(touches) == 3 and imports.count == 1
    imports.go_on.set()
    loader.wait(lambda: None)  # the import was not given up
    loader.wait(lambda: pytest.fail("nothing to wait for"))
    assert imports.count == 1


def test_two_sessions_wait_for_one_import(monkeypatch: pytest.MonkeyPatch) -> None:
    imports = Imports()
    monkeypatch.setattr(runner, "load_torch", imports)
    loader, both = runner._TorchLoader(), threading.Barrier(3)
    waiting = [threading.Thread(target=lambda: (both.wait(), loader.wait(lambda: None))) for _ in range(2)]
    for thread in waiting:
        thread.start()
    both.wait()
    imports.go_on.set()
    for thread in waiting:
        thread.join()
    assert imports.count == 1


def test_without_torch_it_says_so_and_tries_again_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    imports = Imports(ModuleNotFoundError("No module named 'torch'", name="torch"))
    imports.go_on.set()
    monkeypatch.setattr(runner, "load_torch", imports)
    monkeypatch.setattr(runner, "_torch", runner._TorchLoader())
    app = open_app(**QUERY)
    assert not app.exception and not app.error
    words = [element.value for kind in ("caption", "markdown", "info") for element in app.get(kind)]
    assert any("package torch, which is not installed" in text for text in words)
    app.run()
    assert imports.count == 2


@pytest.mark.parametrize(("query", "loads"), [({"depth": "60", "width": "700"}, False), (QUERY, True)])
def test_torch_is_loaded_by_the_first_measurement_only(query: dict[str, str], loads: bool) -> None:
    """In a fresh process; the second case shows that the check can fail."""
    code = (
        "import sys\n"
        "from tests.app.pages import open_app\n"
        f"app = open_app(**{query!r})\n"
        "assert not app.exception, app.exception\n"
        "sys.exit(3 if 'torch' in sys.modules else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == (3 if loads else 0), done.stderr


# --- progress and costs ---------------------------------------------------------------------------------------


def test_the_bar_says_how_far_how_long_and_how_much_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 1))  # a second passes between any two looks at it
    monkeypatch.setattr(runner.time, "monotonic", lambda: float(next(clock)))
    texts: list[tuple[float, str]] = []

    class Bar:
        def progress(self, value: float, text: str) -> None:
            texts.append((value, text))

    monkeypatch.setattr(runner.st, "progress", lambda value, text: (texts.append((value, text)), Bar())[1])
    monkeypatch.setattr(costs, "calibration", costs.Calibration)
    progress = runner._Progress(SPEC, SETTINGS, ready=2)
    progress.torch_starts()
    progress.chunk_starts()
    progress.layer_done(12, 24)
    progress.network_done(1, 2)
    values, words = zip(*texts, strict=True)
    assert values == (0.4, 0.4, 0.5, 0.6)
    assert words[0] == "Measured 2 of 5 networks" and words[1] == "Starting torch …"
    assert words[2].startswith("Measured 2 of 5 networks in 3 s, about ")
    assert words[3].startswith("Measured 3 of 5 networks in 4 s, about ")


FAMILIES = [
    Spec(depth=500, width=32),
    Spec(depth=5, width=1024),
    Spec(depth=100, width=256),
    Spec(depth=50, width=256, init="orthogonal"),
    Spec(depth=200, width=64, norm="batch"),
    Spec(depth=15, width=512, init="kaiming_uniform", activation="tanh"),
    Spec(depth=60, width=256, input="digits", batch_size=64),
    Spec(depth=50, width=128, init="sparse"),
    Spec(depth=20, width=256, init="trunc_normal"),
]


def test_the_cost_model_is_right_within_a_factor_of_two() -> None:
    """After calibration, by the computing time of this thread: the best of two, as noise only adds."""
    runner.load_torch()
    ratios = []
    for spec in FAMILIES:
        times = []
        for network in range(2):
            began = time.thread_time()
            gc.measure(spec, networks=[network])
            times.append(time.thread_time() - began)
        ratios.append(min(times) / costs.modelled_seconds(spec, "float64"))
    scale = np.median(ratios)
    assert all(0.5 < ratio / scale < 2.0 for ratio in ratios), dict(zip(FAMILIES, ratios / scale, strict=True))


def test_estimates_follow_the_machine_but_what_starts_by_itself_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = costs.Calibration()
    monkeypatch.setattr(costs, "calibration", lambda: slow)
    before = runner.seconds(SPEC, 5)
    assert before == 5 * costs.modelled_seconds(SPEC, "float64") and runner.starts_by_itself(SPEC, SETTINGS)
    for observed in (200.0, 300.0, 1e6):
        slow.learn(observed, 1.0)
    assert runner.seconds(SPEC, 5) == 300 * before  # one stall does not count
    assert runner.starts_by_itself(SPEC, SETTINGS)
    assert runner.seconds(SPEC, 5, "float32") < runner.seconds(SPEC, 5)


def test_the_default_network_starts_by_itself_and_a_dear_one_does_not() -> None:
    assert runner.starts_by_itself(Spec(), Settings())
    assert not runner.starts_by_itself(Spec(depth=60, width=700), Settings())


@pytest.mark.parametrize("init", INITIALIZERS)
def test_every_law_has_a_cost(init: str) -> None:
    for gain in (0.0, 0.5, 3.0, 1e30):
        assert 0.0 < costs.modelled_seconds(Spec(init=init, gain=gain), "float64") < 100.0


@pytest.mark.parametrize(
    ("fields", "large"),
    [
        ({}, False),
        ({"width": 2000}, False),  # 1.6 GB of weights
        ({"width": 3000}, True),
        ({"batch_size": 5000}, False),  # 1 GB of signals
        ({"batch_size": 20_000}, True),
        ({"depth": 1, "width": 4, "batch_size": 10**6}, False),
        ({"width": 10**9}, True),
    ],
    ids=str,
)
def test_what_does_not_fit_into_memory(fields: dict, large: bool) -> None:
    assert runner.too_large(Spec(**fields)) == large
