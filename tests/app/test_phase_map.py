"""The Phase map page without a browser: every option of its questions, and its part of the link."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("streamlit")
from streamlit.testing.v1 import AppTest

from app import state
from app.parts import phase
from gradcore.spec import Spec
from gradcore.theory.axes import AXES

SMALL = {"depth": "6", "width": "16"}


def phase_map_alone() -> None:
    """A script with the sidebar and this page only."""
    from app import controls
    from app.views import phase_map

    controls.ask("phase-map")
    phase_map.page()
    controls.sidebar()


def open_page(**query: str) -> AppTest:
    app = AppTest.from_function(phase_map_alone, default_timeout=60)
    for name, value in {**SMALL, **query}.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def chart(app: AppTest) -> dict:
    (found,) = app.get("vega_lite_chart")
    return json.loads(found.proto.spec)


def asked(app: AppTest) -> Spec:
    return app.session_state["question"].spec


@pytest.fixture(autouse=True)
def few_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every option in little time."""
    monkeypatch.setattr(phase, "QUICK_CELLS", 8)
    monkeypatch.setattr(phase, "SLOW_CELLS", (3, 4))


def test_first_view() -> None:
    app = open_page()
    assert app.subheader[0].value.startswith("Ordered")
    assert "gain = 1.414 (now 1)" in app.markdown[0].value
    assert {name: app.selectbox(key=f"setting_map_{name}").value for name in ("x", "y", "of")} == {
        "x": "gain",
        "y": "depth",
        "of": "log_g_1",
    }
    titles = [chart(app)["layer"][0]["encoding"][side]["title"] for side in ("x", "y")]
    assert titles == ["gain (factor on the weights)", "depth (layers)"]
    assert app.query_params == SMALL, "defaults stay out of the link"


@pytest.mark.parametrize("of", phase.OPTIONS)
def test_every_number(of: str) -> None:
    app = open_page(activation="tanh")
    app.selectbox(key="setting_map_of").set_value(of).run()
    assert not app.exception and chart(app)["layer"]
    assert app.query_params.get("map_of", "log_g_1") == of


@pytest.mark.parametrize("axis", [axis for axis in AXES if axis not in ("gain", "sigma_w")])
def test_every_axis(axis: str) -> None:
    app = open_page(activation="prelu", norm="layer", residual="identity")
    app.selectbox(key="setting_map_y").set_value(axis).run()
    assert not app.exception and not app.error and chart(app)["layer"]
    assert app.query_params.get("map_y", "depth") == axis


def test_two_equal_axes_are_named() -> None:
    app = open_page()
    app.selectbox(key="setting_map_y").set_value("gain").run()
    assert not app.exception and "another field than gain" in app.error[0].value
    app.selectbox(key="setting_map_y").set_value("sigma_w").run()
    assert not app.exception and "another field than gain" in app.error[0].value


def test_the_link_round_trip() -> None:
    query = {"map_x": "sigma_w", "map_y": "sigma_b", "map_of": "log_q_3", "activation": "tanh"}
    app = open_page(**query)
    assert app.query_params == {**SMALL, **query}
    assert app.selectbox(key="setting_map_of").value == "log_q_3"
    spec, settings, refused = state.read_query({**SMALL, **query})
    assert not refused and state.write_query(spec, settings) == {**SMALL, **query}


@pytest.mark.parametrize("name", ["map_x", "map_y", "map_of"])
@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "[x](https://example.com)", "", "log_g_0", "x" * 999])
def test_hostile_parts_are_named(name: str, hostile: str) -> None:
    app = open_page(**{name: hostile})
    (notice,) = app.session_state["notices"]
    assert notice.startswith(f"`{name}` = `")
    assert getattr(app.session_state["question"].settings, name) == getattr(state.Settings(), name)
    assert chart(app)["layer"]


@pytest.mark.parametrize(
    "fields",
    [
        {"norm": "batch", "batch_size": "5"},
        {"norm": "batch", "batch_size": "2"},
        {"loss": "mse"},
        {"init": "constant", "width": "4"},
        {"activation": "softplus", "map_y": "bias_std"},
        {"activation": "sigmoid", "gain": "critical"},
        {"width": "5,6,7,8,9,10", "map_y": "bias_std"},
        {"depth": "1"},
        {"gain": "0"},
    ],
)
def test_every_kind_of_network(fields: dict[str, str]) -> None:
    app = open_page(**fields)
    assert chart(app)["layer"] and not app.error
    assert app.caption[-1].value


def test_mean_squares() -> None:
    app = open_page(moment="mean_square")
    assert "0.50 in mean square" in app.markdown[0].value


def test_a_slow_map_is_kept() -> None:
    app = open_page(norm="batch", batch_size="5")
    kept = dict(app.session_state["phase_maps"])
    app.run()
    assert all(app.session_state["phase_maps"][key] is found for key, found in kept.items()) and len(kept) == 1
