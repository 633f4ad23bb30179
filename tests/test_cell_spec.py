"""The question about a cell: legal values, errors that name the field, text and back."""

from __future__ import annotations

import json
import math

import pytest

import gradcore as gc
from gradcore.cell_spec import CELL_FIELDS, CELL_INITS

CHANGED = gc.CellSpec(
    cell="gru", hidden_size=7, input_size=3, steps=9, init="orthogonal", weight_scale=0.3, update_bias=-1.5, state_rms=2
)


def test_the_table_is_the_spec():
    spec = gc.CellSpec()
    assert {name: getattr(spec, name) for name in CELL_FIELDS} == {n: f.default for n, f in CELL_FIELDS.items()}


@pytest.mark.parametrize("spec", [gc.CellSpec(), CHANGED, gc.CellSpec(cell="rnn", activation="relu", forget_bias=0.1)])
def test_text_and_back(spec):
    assert gc.CellSpec.from_query(spec.to_query()) == spec
    assert gc.CellSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_defaults_are_left_out():
    assert gc.CellSpec().to_query() == {} and gc.CellSpec(forget_bias=1).to_query() == {"forget_bias": "1.0"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cell", "lstmm"),
        ("hidden_size", 0),
        ("input_size", 1.5),
        ("steps", 1),
        ("activation", "gelu"),
        ("init", "xavier"),
        ("weight_scale", -1),
        ("forget_bias", math.nan),
        ("update_bias", "much"),
        ("input_rms", math.inf),
        ("state_rms", -0.1),
        ("batch_size", True),
    ],
)
def test_bad_values_name_their_field(field, value):
    with pytest.raises(gc.SpecError) as caught:
        gc.CellSpec(**{field: value})
    assert caught.value.field == field and caught.value.allowed


def test_unknown_fields_and_unreadable_text():
    for call in (gc.CellSpec.from_query, gc.CellSpec.from_json):
        with pytest.raises(gc.SpecError) as caught:
            call({"depth": "3"})
        assert caught.value.field == "depth"
    with pytest.raises(gc.SpecError) as caught:
        gc.CellSpec.from_query({"weight_scale": "big"})
    assert caught.value.field == "weight_scale"


def test_torch_default_law():
    """U(+-1/sqrt n): n Var W = 1/3, an input of d entries and RMS r brings d r^2 / 3n, a bias 1/3n."""
    spec = gc.CellSpec(hidden_size=512, input_size=64, input_rms=2, weight_scale=5)
    assert math.isclose(spec.sigma_w**2, 25 / 3) and math.isclose(spec.input_variance, 4 * 64 / (3 * 512))
    assert math.isclose(spec.bias_variance, 1 / (3 * 512))
    assert CELL_INITS["normal"].inputs(64, 512) == 1.0


def test_given_biases_belong_to_their_cell():
    assert gc.CellSpec(forget_bias=3, update_bias=2).given_biases == {"f": 3}
    assert gc.CellSpec(cell="gru", forget_bias=3, update_bias=2).given_biases == {"z": 2}
    assert gc.CellSpec(cell="rnn", forget_bias=3).given_biases == {}
