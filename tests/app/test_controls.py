"""The sidebar without a browser: every control, the presets, and the glimpse of the digits."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("streamlit")
from streamlit.testing.v1 import AppTest

from app import controls, digits, state, widgets
from gradcore.fields import FIELDS
from gradcore.presets import PRESETS
from gradcore.spec import Spec
from gradcore.theory.inputs import digits_batch
from tests.app.sidebar import asked, open_sidebar, preset_shown, small

# --- the fields --------------------------------------------------------------------------------------------

CHANGES = {
    "depth": ("slider", 7),
    "width": ("number_input", 24),
    "input_width": ("number_input", 20),
    "activation": ("selectbox", "tanh"),
    "init": ("selectbox", "orthogonal"),
    "gain": ("number_input", 1.5),
    "bias_std": ("number_input", 0.1),
    "norm": ("pills", "layer"),
    "residual": ("selectbox", "identity"),
    "batch_size": ("number_input", 8),
    "input": ("pills", "digits"),
    "input_rms": ("number_input", 2.0),
    "input_correlation": ("number_input", 0.5),
    "loss": ("selectbox", "mse"),
}
HIDDEN = {  # fields that matter only beside another one: how to bring them out, and the change
    "negative_slope": ({"activation": "leaky_relu"}, ("number_input", 0.2)),
    "sparsity": ({"init": "sparse", "width": "64", "sparsity": "0.5"}, ("number_input", 0.25)),
    "norm_position": ({"norm": "layer"}, ("pills", "after")),
    "norm_gamma": ({"norm": "layer"}, ("number_input", 2.0)),
    "norm_beta": ({"norm": "layer"}, ("number_input", 0.5)),
    "norm_eps": ({"norm": "layer"}, ("number_input", 1e-4)),
    "residual_scale": ({"residual": "identity"}, ("number_input", 0.5)),
}


def test_every_field_is_tried() -> None:
    assert set(CHANGES) | set(HIDDEN) == set(FIELDS)


def small_with(name: str, **query: str) -> AppTest:
    """The sidebar, with the part of it open that holds this field."""
    app = small(**query)
    part = controls.part_of(FIELDS[name])
    if part:
        app.session_state[part] = True
        app.run()
    return app


@pytest.mark.parametrize("name", FIELDS)
def test_each_control_changes_its_field(name: str) -> None:
    query, (widget, value) = HIDDEN.get(name, ({}, CHANGES.get(name)))
    app = small_with(name, **query)
    changed = app.get_by_key(widgets.key_of(name))
    assert changed.type == ("button_group" if widget == "pills" else widget)
    changed.set_value(value).run()
    assert not app.exception
    assert not app.error
    assert getattr(asked(app), name) == value
    assert app.query_params[name] == FIELDS[name].write(value)


@pytest.mark.parametrize(
    ("name", "word", "query"),
    [
        ("gain", "auto", {}),
        ("gain", "critical", {}),
        ("bias_std", "default", {}),
        ("residual_scale", "1/sqrt(L)", {"residual": "identity"}),
    ],
)
def test_words_beside_numbers(name: str, word: str, query: dict[str, str]) -> None:
    app = small_with(name, **query)
    app.get_by_key(widgets.key_of(name, "mode")).set_value(word).run()
    assert not app.exception
    assert app.query_params[name] == word
    app.get_by_key(widgets.key_of(name, "mode")).set_value(widgets.NUMBER).run()
    assert asked(app) == Spec(depth=5, width=16, **query)


def test_a_hidden_field_keeps_its_value() -> None:
    app = small(residual="identity", residual_scale="1/sqrt(L)", norm="layer", norm_beta="0.5", norm_position="after")
    before = asked(app)
    for name, off in (("residual", "none"), ("norm", "none"), ("activation", "tanh")):
        app.get_by_key(widgets.key_of(name)).set_value(off).run()
    for name in ("residual", "norm", "activation"):
        app.get_by_key(widgets.key_of(name)).set_value(getattr(before, name)).run()
    assert not app.exception
    assert asked(app) == before


def test_only_a_number_whose_absence_means_something_can_be_emptied() -> None:
    query = {"norm": "layer", "residual": "identity", "activation": "prelu", "init": "sparse", "width": "64"}
    app = small(**query)
    for part in ("open_network_rare", "open_initialization_rare", "open_data", "open_measurement"):
        app.session_state[part] = True
    app.run()
    can_be_empty = {number.key for number in app.number_input if not number.proto.required}
    assert can_be_empty == {widgets.key_of(name) for name in ("input_width", "negative_slope")}
    app.number_input(key=widgets.key_of("input_width")).set_value(7).run()
    app.number_input(key=widgets.key_of("input_width")).set_value(None).run()
    assert not app.exception
    assert asked(app).input_width is None


def test_a_field_without_an_entry_still_gets_a_widget(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("activation", "gain", "width"):
        monkeypatch.delitem(widgets.CONTROLS, name)
    app = small()
    app.selectbox(key=widgets.key_of("activation")).set_value("tanh").run()
    app.text_input(key=widgets.key_of("gain")).set_value("5/3").run()
    assert not app.exception and asked(app) == Spec(depth=5, width=16, activation="tanh", gain=5 / 3)
    app.text_input(key=widgets.key_of("width")).set_value("many").run()
    assert "`width` = `many` is not allowed" in app.error[0].value


def test_every_control_offers_only_what_its_field_allows() -> None:
    for name, field in FIELDS.items():
        control = widgets.control_of(field)
        for value in (control.low, control.high, *control.words):
            if value is not None:
                field.check(name, value)


def test_one_width_per_layer() -> None:
    app = small(width="8,16,32,16,8")
    assert asked(app).width == (8, 16, 32, 16, 8)
    assert app.number_input(key=widgets.key_of("width")).disabled
    app.text_input(key=widgets.key_of("width", "list")).set_value("8, 16").run()
    assert not app.exception
    assert any("depth = 5" in error.value for error in app.error)
    app.selectbox(key=widgets.key_of("activation")).set_value("prelu").run()
    app.number_input(key=widgets.key_of("negative_slope"))  # the rest of the sidebar goes on
    app.text_input(key=widgets.key_of("width", "list")).set_value("").run()
    assert asked(app).width == 32


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_has_help_that_ends_with_its_default(name: str) -> None:
    field = FIELDS[name]
    query, _ = HIDDEN.get(name, ({}, None))
    app = small_with(name, **query)
    text = app.get_by_key(widgets.key_of(name, "mode" if widgets.control_of(field).words else "")).help
    assert text == widgets.help_text(field)
    if field.default is None:
        assert "Empty: " in text
    else:
        assert text.endswith(f"Default: {field.write(field.default)}.")


def test_values_that_do_not_go_together_are_named_at_the_field() -> None:
    app = small_with("input_correlation", norm="batch")
    app.number_input(key=widgets.key_of("input_correlation")).set_value(1.0).run()
    assert not app.exception
    assert [error.value for error in app.error] == [state.spec_error_text(app.session_state["question"].error)]
    assert "input_correlation" in app.error[0].value
    assert asked(app) is None
    assert "input_correlation" not in app.query_params  # the address keeps the last question that can be asked


# --- the presets -------------------------------------------------------------------------------------------


def test_every_preset_is_offered_once() -> None:
    app = open_sidebar()
    experiments = app.selectbox(key="preset_experiment").options
    assert len(experiments) == len(set(experiments)), "labels tell them apart"
    assert [*controls.FIRST_VIEW, *controls.EXPERIMENTS] == list(PRESETS)
    assert len(experiments) + len(controls.FIRST_VIEW) == len(PRESETS)
    for code, label in zip(controls.EXPERIMENTS, experiments, strict=True):
        assert label.startswith(PRESETS[code].experiment) and PRESETS[code].title in label


@pytest.mark.parametrize(("picker", "code"), [("preset_first", "critical"), ("preset_experiment", "unequal_fan_in")])
def test_a_preset_sets_every_control_and_shows_until_a_field_changes(picker: str, code: str) -> None:
    app = small()
    assert preset_shown(app) is None
    app.get_by_key(picker).set_value(code).run()
    assert not app.exception
    assert asked(app) == PRESETS[code].spec
    assert preset_shown(app) == code
    assert app.caption[0].value == PRESETS[code].sentence
    app.selectbox(key=widgets.key_of("activation")).set_value("tanh").run()
    assert preset_shown(app) is None
    assert not app.caption
    app.selectbox(key=widgets.key_of("activation")).set_value("relu").run()
    assert preset_shown(app) == code


@pytest.mark.parametrize("code", PRESETS)
def test_a_link_that_is_a_preset_shows_it(code: str) -> None:
    app = open_sidebar(**state.write_query(PRESETS[code].spec, state.Settings()))
    assert not app.exception and not app.session_state["notices"]
    assert asked(app) == PRESETS[code].spec
    shown = preset_shown(app)
    assert shown is not None and PRESETS[shown].spec == PRESETS[code].spec


def test_of_two_presets_that_are_the_same_network_the_chosen_one_shows() -> None:
    assert PRESETS["relu_kaiming"].spec == PRESETS["init_kaiming_normal"].spec
    app = small()
    for code in ("init_kaiming_normal", "relu_kaiming"):
        app.selectbox(key="preset_experiment").set_value(code).run()
        assert preset_shown(app) == code


def test_a_chosen_preset_cannot_be_unchosen_only_replaced() -> None:
    app = open_sidebar()
    assert preset_shown(app) == "vanishing"
    app.get_by_key("preset_first").set_value(None).run()
    assert preset_shown(app) == "vanishing" and asked(app) == Spec()


def test_reset_goes_back_to_the_first_view() -> None:
    app = small(norm="layer", norm_beta="-4", seed="3")
    next(button for button in app.button if button.label == "Reset").click().run()
    assert not app.exception
    assert app.session_state["question"] == controls.Question(Spec(), state.Settings())
    assert preset_shown(app) == "vanishing" and app.query_params == {}


def test_a_closed_part_keeps_what_it_holds() -> None:
    query = {"depth": "2", "width": "3,4", "input_width": "7", "bias_std": "default", "batch_size": "4", "seed": "5"}
    app = open_sidebar(**query)
    before = app.session_state["question"]
    for shut in (False, True, False):
        for name in ("open_network_rare", "open_initialization_rare", "open_data", "open_measurement"):
            app.session_state[name] = shut
        app.run()
        assert not app.exception
        assert app.session_state["question"] == before
    assert len(app.number_input) == 2, "width and the number of the gain: nothing is drawn in closed parts"


def test_a_part_opens_when_something_is_wrong_in_it() -> None:
    app = small(norm="layer", input_correlation="1")
    app.session_state["open_data"] = False
    app.run()
    assert not app.error
    app.get_by_key(widgets.key_of("norm")).set_value("batch").run()
    assert "input_correlation" in app.error[0].value
    assert app.session_state["open_data"] is True


def test_closed_parts_open_where_the_link_says_something() -> None:
    def open_parts(**query: str) -> set[str]:
        return {part.label for part in open_sidebar(**query).expander if part.proto.expanded}

    assert open_parts() == set()
    assert open_parts(norm="layer", norm_beta="-4") == set()
    assert open_parts(depth="2", width="3,4") == {"Layer widths"}
    assert open_parts(bias_std="default") == {"Biases"}
    assert open_parts(norm="batch") == {"Data and loss"}
    assert open_parts(input="digits") == {"Data and loss"}
    assert open_parts(input_width="7", batch_size="4") == {"Layer widths", "Data and loss"}


# --- digits ------------------------------------------------------------------------------------------------


def test_a_mosaic_of_the_batch() -> None:
    images = digits_batch(11, 1.0)
    picture = digits.mosaic(images, enlarge=3)
    assert picture.shape == (3 * 17, 3 * 71, 4) and picture.dtype == np.uint8
    small = picture[::3, ::3]
    assert np.array_equal(picture, small.repeat(3, axis=0).repeat(3, axis=1)), "every pixel a crisp square"
    for k, image in enumerate(images):
        row, column = 9 * (k // 8), 9 * (k % 8)
        tile = small[row : row + 8, column : column + 8]
        assert (tile[..., 3] == 255).all() and tile[..., :3].max() == 255
        assert np.allclose(tile[..., 0] / 255, image.reshape(8, 8) / image.max(), atol=0.5 / 255)
    opaque = (small[..., 3] > 0).sum()
    assert opaque == 11 * 64, "nothing between the images"


@pytest.mark.parametrize(("batch", "shown"), [("64", 16), ("3", 3)])
def test_digits_are_shown_beside_the_choice(batch: str, shown: int) -> None:
    app = small(input="digits", batch_size=batch)
    assert not app.exception
    picture = app.get("image")[0].proto.imgs[0]
    assert picture.caption == f"the first {shown} of the batch's images, 8×8 pixels, scikit-learn digits"
    assert picture.alt
    app.get_by_key(widgets.key_of("input")).set_value("gaussian").run()
    assert not app.get("image")


def test_a_list_of_one_width_stays_a_list() -> None:
    assert asked(small(depth="1", width="4,")) == Spec(depth=1, width=(4,))
