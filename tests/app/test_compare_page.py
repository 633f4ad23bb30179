"""The page Compare: pins by link, button and preset, their order, what is refused, the tables, the measurement."""

from __future__ import annotations

import pytest

pytest.importorskip("streamlit")
pytest.importorskip("torch")
from streamlit.testing.v1 import AppTest

import gradcore as gc
from app import runner, state
from app.parts import compare_measuring, pin
from app.parts.words import estimate_text
from gradcore.codec import to_compact
from gradcore.estimates import Estimate, estimates
from gradcore.pins import names
from gradcore.presets import PRESETS
from gradcore.spec import Spec
from gradcore.words import LN10, factor_text, number_text
from tests.app import pages
from tests.app.pages import button, captions, chart_specs, labels

THREE = [
    Spec(depth=5, width=16),
    Spec(depth=5, width=16, activation="tanh", gain=5 / 3),
    Spec(depth=8, width=16, gain=2.0),
]
LINKS = [to_compact(spec) for spec in THREE]
MANY = [to_compact(Spec(depth=depth, width=8)) for depth in range(2, 8)]


def alone() -> None:
    from app import controls
    from app.views import compare

    controls.ask("compare")
    compare.page()
    controls.sidebar()


def open_page(*pins: str, **query: str) -> AppTest:
    app = AppTest.from_function(alone, default_timeout=60)
    for name, value in {"networks": "2", **query}.items():
        app.query_params[name] = value
    if pins:
        app.query_params["pin"] = list(pins)
    return app.run()


def pinned(app: AppTest) -> tuple[Spec, ...]:
    return app.session_state[pin.KEY]


def texts(app: AppTest) -> str:
    return "\n".join(one.value for one in app.markdown)


def table(app: AppTest, number: int = 0) -> list[dict[str, str]]:
    return app.table[number].value.to_dict("records")


def measured(app: AppTest) -> list[bool]:
    """Which networks the table has a measured figure of."""
    return [any(sign in row["at layer 1, measured"] for sign in ("±", "×÷")) for row in table(app)]


def lines(app: AppTest, side: int = 1) -> list[str]:
    """The networks that have a line in the chart of this side (0 forward, 1 backward)."""
    return next(
        layer["encoding"]["strokeDash"]["scale"]["domain"]
        for layer in chart_specs(app)[side]["layer"]
        if layer["mark"]["type"] == "line"
    )


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is measured unasked."""
    monkeypatch.setattr(runner, "AUTO_SECONDS", 0.0)


# --- the link ---------------------------------------------------------------------------------------------------


def test_a_link_with_pins_opens_them(unmeasured: None) -> None:
    app = open_page(*LINKS)
    assert not app.exception and not app.warning and pinned(app) == tuple(THREE)
    assert app.query_params["pin"] == LINKS
    assert lines(app, 0) == lines(app, 1) == ["1", "2", "3"]
    for name in names(THREE):
        assert f":small[**{name}**]" in texts(app)
    stable = [gc.diagnose(gc.predict(spec)).stable for spec in THREE]
    assert pages.headline(app) == f"{sum(stable)} of 3 networks are stable"


def test_the_link_is_the_state() -> None:
    settings = state.Settings(pin=tuple(THREE), compare_x="relative")
    query = state.write_query(Spec(gain=2.0), settings)
    assert query == {"gain": "2.0", "compare_x": "relative", "pin": LINKS}
    assert state.read_query(query) == (Spec(gain=2.0), settings, [])
    assert state.read_query({"pin": "gain:2"})[1].pin == (Spec(gain=2.0),)
    assert "pin" not in state.write_query(Spec(), state.Settings())


def test_the_link_to_copy_holds_every_pin_readably(unmeasured: None) -> None:
    (shown,) = [code.value for code in open_page(*LINKS).code if "?" in code.value]
    assert shown.endswith("?networks=2&" + "&".join(f"pin={text}" for text in LINKS))


def test_a_bad_pin_is_named_and_the_others_stay(unmeasured: None) -> None:
    app = open_page("depth:5", "gain:nan", "bogus", "depth:3,width:4,5", "depth:5", "activation:tanh,depth:4")
    assert not app.exception and pinned(app) == (Spec(depth=5), Spec(depth=4, activation="tanh"))
    said = app.warning[0].value
    for number, field in ((2, "gain"), (3, "spec"), (4, "width")):
        assert f"`pin {number}: {field}`" in said
    assert said.count("- `") == 3 and "a number from 0" in said
    button(app, "Dismiss").click().run()
    assert app.query_params["pin"] == ["depth:5", "depth:4,activation:tanh"] and not app.warning


def test_a_seventh_pin_of_a_link_is_named(unmeasured: None) -> None:
    app = open_page(*MANY, "gain:2", "gain:3")
    said = app.warning[0].value
    assert len(pinned(app)) == 6 and "at most 6 pins" in said and said.count("- `") == 1  # said once


def test_back_brings_the_pins_of_the_link_before(unmeasured: None) -> None:
    app = open_page(*LINKS)
    app.query_params["pin"] = LINKS[:2]
    app.run()
    assert pinned(app) == tuple(THREE[:2])
    app.query_params["pin"] = LINKS
    app.run()
    assert pinned(app) == tuple(THREE)


def test_reset_keeps_the_pins(unmeasured: None) -> None:
    app = open_page(*LINKS, gain="3")
    button(app, "Reset").click().run()
    assert pages.asked(app) == Spec() and pinned(app) == tuple(THREE)


# --- pinning ----------------------------------------------------------------------------------------------------


def test_nothing_pinned_offers_three(unmeasured: None) -> None:
    app = open_page()
    assert not app.exception and pages.headline(app) == "Nothing is pinned yet" and not chart_specs(app)
    for code in ("vanishing", "critical", "exploding"):
        assert PRESETS[code].sentence in captions(app)
    app.button(key="pin_critical").click().run()
    assert pinned(app) == (PRESETS["critical"].spec,) and len(chart_specs(app)) == 2
    assert pages.headline(app) == gc.diagnose(gc.predict(PRESETS["critical"].spec)).sentence
    button(app, "Remove all").click().run()
    button(app, "Pin these three").click().run()
    assert [spec.gain for spec in pinned(app)] == [1.0, 1.0, 2.0]
    assert app.query_params["pin"] == ["default", "init:kaiming_normal", "gain:2.0"]


def test_the_sidebars_network_and_presets(unmeasured: None) -> None:
    app = open_page(LINKS[0], depth="7", width="16")
    button(app, "Pin the sidebar's network").click().run()
    assert pinned(app) == (THREE[0], Spec(depth=7, width=16))
    assert button(app, "Pinned: the sidebar's network").disabled
    app.selectbox(key="compare_preset").set_value("exploding").run()
    assert pinned(app)[-1] == PRESETS["exploding"].spec and app.selectbox(key="compare_preset").value is None
    app.selectbox(key="compare_preset").set_value("exploding").run()
    assert len(pinned(app)) == 3  # not twice


def test_order_and_removal(unmeasured: None) -> None:
    app = open_page(*LINKS)
    one, two, three = THREE
    for number, code, expected in (
        (1, "right", (two, one, three)),
        (3, "right", (two, one, three)),
        (3, "left", (two, three, one)),
        (1, "left", (two, three, one)),
        (2, "remove", (two, one)),
    ):
        app.menu_button(key=f"pin_more_{number}").click(code).run()
        assert not app.exception and pinned(app) == expected
        assert app.query_params["pin"] == [to_compact(spec) for spec in expected]
    assert lines(app) == ["1", "2"]


def test_six_is_the_most(unmeasured: None) -> None:
    app = open_page(*MANY)
    assert "6 is the most" in captions(app) and "Pin the sidebar's network" not in labels(app)
    assert lines(app) == list("123456")
    app.menu_button(key="pin_more_1").click("remove").run()
    assert button(app, "Pin the sidebar's network")


def test_explore_pins_once_and_says_when_it_is_full(unmeasured: None) -> None:
    app = pages.small_app()
    button(app, "Pin").click().run()
    assert pinned(app) == (Spec(depth=5, width=16),) and button(app, "Compare (1 pinned)")
    assert app.query_params["pin"] == "depth:5,width:16"  # one value comes as such
    app.session_state[pin.KEY] = tuple(Spec(depth=depth) for depth in range(2, 8))
    app.run()
    button(app, "Pin").click().run()
    assert len(pinned(app)) == 6 and "that is the most" in app.warning[0].value
    button(app, "Open Compare").click().run()
    assert not app.exception and "of 6 networks are stable" in pages.headline(app) and len(pinned(app)) == 6


def test_open_loads_a_pin_into_explore(unmeasured: None) -> None:
    app = pages.small_app()
    app.session_state[pin.KEY] = tuple(THREE)
    button(app.run(), "Compare (3 pinned)").click().run()
    app.button(key="pin_open_2").click().run()
    assert not app.exception and pages.asked(app) == THREE[1] and pinned(app) == tuple(THREE)
    assert app.query_params["activation"] == "tanh"


# --- what is shown ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("moment", "power"), [("rms", 1.0), ("mean_square", 2.0)])
def test_the_table_in_both_moments(moment: str, power: float) -> None:
    app = open_page(*LINKS, moment=moment)  # cheap: measured unasked
    assert not app.exception
    for row, spec in zip(table(app), THREE, strict=True):
        profile, measured = gc.predict(spec), gc.measure(spec, networks=2)
        verdict = gc.diagnose(profile)
        ours, theirs = estimates(profile), estimates(measured).ratio
        assert verdict.kind.capitalize() in row["verdict"] and ":material/" in row["verdict"]
        unit = {"rms": "RMS", "mean_square": "mean square"}[moment]
        assert row[f"gradient per layer ({unit})"] == "×" + factor_text(power * ours.factor.log / LN10)
        assert row["at layer 1, predicted"] == number_text(power * ours.ratio.log / LN10)
        scaled = Estimate(power * theirs.log, power * (theirs.error or 0.0))
        assert row["at layer 1, measured"].replace("\N{NO-BREAK SPACE}", " ") == estimate_text(scaled)
        mends = "nothing to mend" if verdict.stable else verdict.fixes[0].message.text()
        assert row["what mends it"] == mends
    title = chart_specs(app)[1]["layer"][0]["encoding"]["y"]["title"]
    assert title.startswith({"rms": "RMS", "mean_square": "mean square"}[moment])


def test_differing_fields_are_marked_and_equal_ones_named_once(unmeasured: None) -> None:
    app = open_page(*LINKS)
    found = {row["what differs"]: [row[f"**{k}**"] for k in (1, 2, 3)] for row in table(app, 1)}
    unlike = "**≠\N{NO-BREAK SPACE}{}**"
    assert found == {
        "Depth (layers)": ["5", "5", unlike.format(8)],
        "Activation": ["relu", unlike.format("tanh"), "relu"],
        "Gain": ["1", unlike.format("1.667"), unlike.format("2")],
    }
    same = next(one for one in captions(app).split("\n") if one.startswith("The same in all"))
    assert "width (units per layer) 16" in same and "weight initializer xavier_normal" in same
    assert "depth" not in same and "sparsity" not in same  # differs; does not act


def test_a_field_that_does_not_act_is_a_dash(unmeasured: None) -> None:
    app = open_page("depth:5,norm:layer,norm_gamma:2.0", "depth:5")
    found = {row["what differs"]: (row["**1**"], row["**2**"]) for row in table(app, 1)}
    assert found["Scale γ"] == ("2", "**≠\N{NO-BREAK SPACE}–**")


def test_the_share_of_the_depth_is_offered_where_depths_differ(unmeasured: None) -> None:
    app = open_page(*LINKS)
    app.button_group(key="setting_compare_x").set_value("relative").run()
    assert app.query_params["compare_x"] == "relative"
    assert "l/L" in chart_specs(app)[0]["layer"][-1]["encoding"]["x"]["title"]
    same = open_page(*LINKS[:2])
    assert "setting_compare_x" not in [one.key for one in same.button_group]


def test_a_network_without_a_prediction_says_why_and_is_measured() -> None:
    app = open_page("depth:4,width:16,norm:batch,batch_size:3", LINKS[0])
    assert not app.exception and "Network 1 has no prediction" in captions(app)
    row = table(app)[0]
    assert "No prediction" in row["verdict"] and row["at layer 1, predicted"] == "–" and measured(app) == [True, True]
    assert pages.headline(app) == "1 of 2 networks are stable"


def test_a_gain_that_does_not_exist_is_said_and_nothing_breaks() -> None:
    """Legal field by field, and found out when it is asked for: softplus has no critical gain."""
    app = open_page("depth:4,width:16,activation:softplus,gain:critical", LINKS[0])
    assert not app.exception and "softplus has no critical point" in captions(app)
    assert "`gain`" in table(app)[0]["at layer 1, measured"] and measured(app)[1]
    explored = pages.small_app(activation="softplus", gain="critical")
    assert not explored.exception and pages.headline(explored) == "Theory has no prediction for this network"


# --- measuring --------------------------------------------------------------------------------------------------


def test_what_is_dear_is_measured_when_asked_and_its_cost_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "AUTO_SECONDS", 0.0)
    app = open_page(*LINKS, seed="101")
    assert {row["at layer 1, measured"] for row in table(app)} == {"not measured"}
    assert "Points:" not in captions(app)
    button(app, "Measure 2 networks of each (about").click().run()
    assert not app.exception and all(measured(app))
    assert "Points:" in captions(app) and [
        layer for layer in chart_specs(app)[1]["layer"] if layer["mark"]["type"] == "point"
    ]
    button(app, "Draw other networks").click().run()
    assert app.session_state["setting_seed"] == 102


def test_cancelling_keeps_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = state.Settings(networks=2, seed=202)
    app = open_page(*LINKS, seed="202", networks="2")
    assert all(measured(app))  # cheap
    key = app.session_state["measured"][0]
    assert key == runner.key_of(THREE[2], settings)
    app.session_state[compare_measuring.WISH.cancelled] = compare_measuring._key([*THREE, Spec(depth=6)], settings)
    app.session_state[pin.KEY] = (*THREE, Spec(depth=6))
    app.run()
    assert measured(app) == [True, True, True, False] and table(app)[3]["at layer 1, measured"] == "not measured"
    assert button(app, "Measure 2 networks of each (about")
