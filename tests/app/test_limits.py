"""A host's limits: read from the environment, shown, held to on every page, and named where they cannot be read."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("streamlit")
from streamlit.testing.v1 import AppTest

from app import limits, runner, store
from app.parts import gates_measuring, measuring, symptoms_source
from app.state import Settings
from gradcore.errors import SpecError
from gradcore.experiments.gates import GatesQuestion
from gradcore.spec import Spec
from tests.app import pages
from tests.app.pages import ROOT, button, captions, headline, labels, open_app, open_tab, small_app

LARGE = {"depth": "60", "width": "700", "networks": "64"}  # too dear to be measured unasked
OWN_MACHINE = "Your own machine has no such limit"


@pytest.fixture(autouse=True)
def own_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No limit but those that a test sets."""
    for limit in limits.LIMITS.values():
        monkeypatch.delenv(limit.variable, raising=False)
    store.networks().clear()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch):
    """Sets limits by their codes."""

    def set_limits(**values: object) -> None:
        for code, value in values.items():
            monkeypatch.setenv(limits.LIMITS[code].variable, str(value))

    return set_limits


# --- reading them ---------------------------------------------------------------------------------------------


def test_unset_and_empty_are_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.LIMITS["layers"].variable, " ")
    assert [limits.of(code) for code in limits.LIMITS] == [None] * len(limits.LIMITS)
    assert limits.notice() == "" and limits.refusal(Spec(depth=10_000, width=10**9), 256) == ""
    assert limits.training_refusal(1e9, Spec(depth=500)) == "" and limits.upload_mb(32) == 32


@pytest.mark.parametrize("code", list(limits.LIMITS))
@pytest.mark.parametrize("text", ["0", "-1", "abc", "nan", "inf", "1e400", "1;2"])
def test_what_is_no_limit_is_named(code: str, text: str, host) -> None:
    host(**{code: text})
    with pytest.raises(SpecError) as caught:
        limits.check()
    assert caught.value.field == limits.LIMITS[code].variable and text in str(caught.value)


def test_counts_are_whole_and_seconds_need_not_be(host) -> None:
    host(layers="1.5")
    with pytest.raises(SpecError, match="GRADCORE_MAX_LAYERS"):
        limits.of("layers")
    host(seconds="1.5", layers=" 20 ")
    assert limits.of("seconds") == 1.5 and limits.of("layers") == 20


@pytest.mark.parametrize(("text", "status", "said"), [("90", 0, "90 layers"), ("many", 2, "GRADCORE_MAX_LAYERS")])
def test_the_command_says_what_is_set_and_stops_a_start(text: str, status: int, said: str, host) -> None:
    host(layers=text)
    done = subprocess.run([sys.executable, "-m", "app.limits"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == status and said in done.stdout + done.stderr


def test_the_page_names_the_variable_and_shows_nothing_else(host) -> None:
    host(units="wide")
    app = small_app()
    assert not app.exception and len(app.error) == 1 and not app.metric
    assert "GRADCORE_MAX_UNITS" in app.error[0].value and "wide" in app.error[0].value


# --- beyond them ----------------------------------------------------------------------------------------------

QUESTION = Spec(depth=20, width=50, input_width=80)


@pytest.mark.parametrize(
    ("code", "holds", "refuses"),
    [
        ("layers", 20, 19),
        ("units", 80, 79),  # the input counts: its weights are drawn too
        ("network_mb", limits.costs.network_bytes(QUESTION) / 1e6 * 1.001, 0.1),
        ("seconds", 8 * limits.costs.modelled_seconds(QUESTION, "float64") * 1.001, 0.01),
    ],
)
def test_each_limit_refuses_just_what_is_beyond_it(code: str, holds: float, refuses: float, host) -> None:
    host(**{code: holds})
    assert limits.refusal(QUESTION, 8) == ""
    host(**{code: refuses})
    assert OWN_MACHINE in limits.refusal(QUESTION, 8) and limits.INSTALL in limits.refusal(QUESTION, 8)


def test_the_command_that_is_offered_is_the_readmes() -> None:
    assert f"```bash\n{limits.INSTALL}\n```" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_a_matrix_free_measurement_is_held_to_its_own_cost(host) -> None:
    host(seconds=5, network_mb=200)
    wide = Spec(depth=50, width=4096)
    assert limits.refusal(wide, 8) and not limits.refusal(wide, 8, sampler="exact")


# --- on the pages ---------------------------------------------------------------------------------------------


def open_page(address: str, **query: str) -> AppTest:
    """One page, on a small network."""
    return pages.open_page(address, **{**pages.SMALL, **query})


def test_explore_predicts_and_says_why_it_does_not_measure(host) -> None:
    host(layers=4)
    app = small_app()  # 5 layers, which would be measured unasked
    assert not app.exception and headline(app) and app.metric[0].value.startswith("×")
    assert app.metric[0].delta == "not measured" and "measured" not in app.session_state
    assert "networks of up to 4 layers; this one has 5" in captions(app) and limits.INSTALL in captions(app)
    assert not [label for label in labels(app) if label.startswith(("Measure", "Cancel measurement"))]
    assert "This host's limits: 4 layers. Your own machine has none." in captions(app)


def test_explore_offers_the_measurement_without_matrices_within_the_limit(host) -> None:
    host(seconds=5)
    app = open_app(**{**LARGE, "depth": "50", "width": "2048", "networks": "8"})
    assert "This host measures for up to 5 s" in captions(app)
    assert button(app, "Matrix-free")
    host(seconds=0.01)
    assert not [label for label in labels(app.run()) if label.startswith("Matrix-free")]


def test_within_the_limits_all_is_as_ever(host) -> None:
    host(layers=5, units=16, seconds=60, network_mb=100)
    app = small_app()
    assert app.metric[0].delta.startswith("measured ") and OWN_MACHINE not in captions(app)


def test_a_press_from_before_does_not_measure(host) -> None:
    """The page was open when the host set its limit."""
    spec, settings = Spec(depth=5, width=16), Settings(networks=2)
    host(seconds=1e-6)
    assert not runner.starts_by_itself(spec, settings) or runner.refusal(spec, settings)
    app = small_app()
    app.session_state["asked"] = runner.key_of(spec, settings)
    app.run()
    assert "measured" not in app.session_state and not app.exception


def test_train_says_the_limit_and_does_not_start(host) -> None:
    host(training_seconds=0.05)
    app = open_page("train")
    assert not app.exception and "This host trains for up to 50 ms" in captions(app)
    assert app.button(key="train_go").disabled
    host(training_seconds=10_000)
    assert not app.run().button(key="train_go").disabled


def test_gates_predict_and_say_the_limits(host) -> None:
    host(seconds=0.001, training_seconds=0.001)
    app = open_page("gates")
    assert not app.exception and "This host measures for up to 1 ms" in captions(app)
    assert "This host trains for up to 1 ms" in captions(app)
    assert app.button(key="gates_measure").disabled and app.button(key="gates_train").disabled
    assert not gates_measuring.due(GatesQuestion())


def test_remedies_are_predicted_and_not_measured(host) -> None:
    host(layers=3, training_seconds=0.001)
    app = open_page("remedies")
    assert not app.exception and "networks of up to 3 layers; this one has 5" in captions(app)
    assert app.button(key="remedies_measure").disabled


def test_the_jacobian_is_predicted_and_not_taken_apart(host) -> None:
    host(units=8)
    app = open_tab(small_app(), "Jacobian")
    assert not app.exception and captions(app).count("layers of up to 8 units; this network has 16") == 2
    assert any("Predicted" in text.value for text in app.markdown)


def test_uploads_are_held_to_the_smaller_limit(host, monkeypatch: pytest.MonkeyPatch) -> None:
    host(upload_mb=1)
    assert limits.upload_mb(32) == 1
    host(upload_mb=64)
    assert limits.upload_mb(32) == 32
    host(upload_mb=1)
    app = open_page("symptoms")
    assert [each.proto.max_upload_size_mb for each in app.get("file_uploader")] == [1]
    state: dict[str, object] = {}
    monkeypatch.setattr(symptoms_source.st, "session_state", state)
    symptoms_source._read("long.csv", b"0" * (2**20 + 1))
    assert "at most 1 MB" in str(state["symptoms_error"]) and "symptoms_own" not in state


def test_computations_at_once_are_set_when_torch_is_there(host, monkeypatch: pytest.MonkeyPatch) -> None:
    from gradcore.measure import turns

    monkeypatch.setattr(turns, "CORES", 7)
    loader = runner._TorchLoader()
    loader.wait(lambda: None)
    assert turns.CORES == 7
    host(computing=3)
    runner._TorchLoader().wait(lambda: None)
    assert turns.CORES == 3


def test_nothing_is_said_where_there_is_no_limit() -> None:
    app = small_app()
    assert "This host" not in captions(app) and measuring.waiting_text(Spec(), Settings()) in (
        "not measured",
        "measuring …",
    )
