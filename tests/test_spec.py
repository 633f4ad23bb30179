"""The Spec: its defaults, what every field refuses and how the refusal speaks, and what it stores."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest

import gradcore as gc
from gradcore.activations import ACTIVATIONS
from gradcore.fields import FIELDS
from gradcore.initializers import INITIALIZERS
from gradcore.normalization import NORMALIZATIONS
from gradcore.residual import RESIDUALS
from gradcore.spec import field_names

DEFAULTS = {
    "depth": 50,
    "width": 256,
    "input_width": None,
    "activation": "relu",
    "negative_slope": None,
    "init": "xavier_normal",
    "gain": 1.0,
    "sparsity": 0.8,
    "bias_std": 0.0,
    "norm": "none",
    "norm_position": "before",
    "norm_gamma": 1.0,
    "norm_beta": 0.0,
    "norm_eps": 1e-5,
    "residual": "none",
    "residual_scale": 1.0,
    "batch_size": 16,
    "input": "gaussian",
    "input_rms": 1.0,
    "input_correlation": 0.0,
    "loss": "random",
}
NAN, INF = math.nan, math.inf

# --- legal values -------------------------------------------------------------------------------------------

NUMBER_ANY_SIGN = (-2, -0.5, 0, 0.0, 1.5, Fraction(1, 2), np.float32(0.25), np.int64(3))
NUMBER_NOT_NEGATIVE = tuple(x for x in NUMBER_ANY_SIGN if x >= 0)
LEGAL = {
    "depth": (1, 10_000, 7.0, np.int32(9)),
    "width": (1, 10**9, 64.0, np.int64(8), (3,) * 50, [3] * 50, np.full(50, 3)),
    "input_width": (None, 1, 10**9, np.int64(5)),
    "activation": tuple(ACTIVATIONS),
    "negative_slope": (None, *NUMBER_ANY_SIGN, -1000, 1000),
    "init": tuple(INITIALIZERS),
    "gain": ("auto", "critical", 1e-300, 1e30, *NUMBER_NOT_NEGATIVE),
    "sparsity": (0, 0.5, 1, 1.0),
    "bias_std": ("default", 1e30, *NUMBER_NOT_NEGATIVE),
    "norm": tuple(NORMALIZATIONS),
    "norm_position": ("before", "after"),
    "norm_gamma": NUMBER_ANY_SIGN,
    "norm_beta": NUMBER_ANY_SIGN,
    "norm_eps": (0.0, 1e-12, 1),
    "residual": tuple(RESIDUALS),
    "residual_scale": ("1/sqrt(L)", *NUMBER_ANY_SIGN),
    "batch_size": (1, 4096, 10**6, 32.0),
    "input": ("gaussian", "digits"),
    "input_rms": (1e-30, 1e30, 2, np.float64(0.5)),
    "input_correlation": (0, 0.5, 1, 1.0),
    "loss": ("random", "mse", "cross_entropy"),
}
LEGAL_CASES = [(name, value) for name, values in LEGAL.items() for value in values]


def shown(value: object) -> str:
    """A short test id that is the same in every run (the repr of a bare object is not)."""
    return "object()" if type(value) is object else repr(value)[:30]


def test_defaults_are_the_contracts():
    spec = gc.Spec()
    assert {name: getattr(spec, name) for name in field_names()} == DEFAULTS
    assert {name: field.default for name, field in FIELDS.items()} == DEFAULTS
    assert {f.name: f.default for f in dataclasses.fields(gc.Spec)} == DEFAULTS
    assert list(field_names()) == list(DEFAULTS) == [f.name for f in dataclasses.fields(gc.Spec)]


@pytest.mark.parametrize(("name", "value"), LEGAL_CASES, ids=shown)
def test_legal_values_are_stored_as_plain_python(name, value):
    spec = gc.Spec(**{name: value})
    stored = getattr(spec, name)
    assert type(stored) in (int, float, str, tuple, type(None))
    if isinstance(stored, tuple):
        assert stored == tuple(value) and all(type(entry) is int for entry in stored)
    else:
        assert stored == value
    assert gc.Spec(**{name: stored}) == spec and hash(gc.Spec(**{name: stored})) == hash(spec)


def test_every_field_and_table_entry_is_covered_here():
    assert set(LEGAL) == set(ILLEGAL) == set(FIELDS)


# --- illegal values -----------------------------------------------------------------------------------------

NOT_INTEGERS = (True, False, "7", "", None, NAN, INF, -INF, 2.5, [7], (), {}, object(), 3 + 0j, np.bool_(True))
NOT_NUMBERS = (True, False, np.bool_(True), "1", "", "nan", b"1", NAN, INF, -INF, np.float64(NAN), 10**400)
NOT_NUMBERS += (1j, np.complex128(1), [1.0], np.array([1.0]), (), {}, object())
NOT_CHOICES = (None, True, 1, "", "nope", "ReLU!", ["relu"], ("relu",), NAN, b"relu")
NOT_POSITIVE = (0, -1)
ILLEGAL = {
    "depth": (*NOT_INTEGERS, *NOT_POSITIVE, 10_001, 10**30),
    "width": (
        *(v for v in NOT_INTEGERS if v != [7]),
        *NOT_POSITIVE,
        10**9 + 1,
        [True] * 50,
        [2.5] * 50,
        [0] * 50,
        ["7"] * 50,
        [None] * 50,
        [[3]] * 50,
        [NAN] * 50,
    ),
    "input_width": (*(v for v in NOT_INTEGERS if v is not None), *NOT_POSITIVE, 10**9 + 1),
    "activation": NOT_CHOICES,
    "negative_slope": (*NOT_NUMBERS, 1000.1, -1000.1),
    "init": NOT_CHOICES,
    "gain": (*NOT_NUMBERS, None, -0.1, -1, 1.1e30, "Auto", "default"),
    "sparsity": (*NOT_NUMBERS, None, -0.1, 1.1, "auto"),
    "bias_std": (*NOT_NUMBERS, None, -0.1, 1.1e30, "auto", "none"),
    "norm": NOT_CHOICES,
    "norm_position": NOT_CHOICES,
    "norm_gamma": (*NOT_NUMBERS, None, 1.1e6, -1.1e6),
    "norm_beta": (*NOT_NUMBERS, None, 1.1e6, -1.1e6),
    "norm_eps": (*NOT_NUMBERS, None, -1e-9, 1.1e6),
    "residual": NOT_CHOICES,
    "residual_scale": (*NOT_NUMBERS, None, 1.1e6, -1.1e6, "1/sqrt(l)"),
    "batch_size": (*NOT_INTEGERS, *NOT_POSITIVE, 10**6 + 1),
    "input": NOT_CHOICES,
    "input_rms": (*NOT_NUMBERS, None, 0, 0.0, -1, 1e-31, 1.1e30),
    "input_correlation": (*NOT_NUMBERS, None, -0.1, 1.0001),
    "loss": NOT_CHOICES,
}
ILLEGAL_CASES = [(name, value) for name, values in ILLEGAL.items() for value in values]


def refused(**fields: object) -> gc.SpecError:
    with pytest.raises(gc.SpecError) as caught:
        gc.Spec(**fields)
    return caught.value


def speaks(error: gc.SpecError, field: str, value: object) -> None:
    """The error and its sentence name the field, the value and what is allowed."""
    assert error.field == field
    assert error.value is value or error.value == value or repr(error.value) == repr(value)
    assert isinstance(error.allowed, str) and error.allowed
    sentence = str(error)
    text = repr(value)
    assert sentence.startswith(f"{field} = ") and error.allowed in sentence
    assert text in sentence or (len(text) > 80 and text[:77] + "..." in sentence)
    assert error.hint in sentence and "\n" not in sentence
    assert error.message_id == "spec_error"
    assert set(error.values) == {"field", "value", "allowed", "hint"} and error.values["field"] == field
    assert isinstance(error, ValueError) and isinstance(error, gc.GradcoreError)


@pytest.mark.parametrize(("name", "value"), ILLEGAL_CASES, ids=shown)
def test_illegal_values_are_refused_in_words(name, value):
    error = refused(**{name: value})
    if name == "width" and isinstance(value, list) and value:
        speaks(error, "width", value[0])  # the entry that is wrong, which is easier to find than the whole list
        assert "sequence" in error.allowed  # but what is allowed is what width may be, not one entry
    else:
        speaks(error, name, value)


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if field.choices])
def test_choices_are_all_named_and_the_nearest_is_offered(name):
    choices = FIELDS[name].choices
    for code in choices:
        error = refused(**{name: code + "x"})
        assert all(choice in error.allowed for choice in choices)
        assert error.hint.startswith("Did you mean ") and error.hint.rstrip("?").split()[-1] in choices
    assert refused(**{name: "@@@@"}).hint == ""


@pytest.mark.parametrize(
    ("name", "wrong", "meant"),
    [
        ("activation", "rellu", "relu"),
        ("activation", "leakyrelu", "leaky_relu"),
        ("init", "xavier", "xavier"),
        ("init", "he_norml", "he_normal"),
        ("loss", "crossentropy", "cross_entropy"),
        ("norm", "layernorm", "layer"),
        ("residual", "resnetv1", "resnet_v1"),
    ],
)
def test_did_you_mean(name, wrong, meant):
    assert f"Did you mean {meant}" in str(refused(**{name: wrong}))


def test_unknown_field_is_refused():
    with pytest.raises(TypeError, match="widht"):
        gc.Spec(widht=3)
    with pytest.raises(TypeError):
        gc.Spec(50)  # by name only: nothing depends on the order of 21 fields


# --- values that are illegal together -----------------------------------------------------------------------

UNEQUAL = (4, 4, 5)
TOGETHER = [
    ({"depth": 3, "width": (4, 4)}, "width", "depth=2"),
    ({"depth": 3, "width": [4] * 4}, "width", "depth=4"),
    ({"depth": 1, "width": [4] * 10_001}, "width", ""),
    ({"depth": 3, "width": UNEQUAL, "residual": "identity"}, "width", "residual"),
    ({"depth": 3, "width": UNEQUAL, "residual": "resnet_v1"}, "width", "residual"),
    ({"input": "digits", "input_width": 10}, "input_width", "input_width"),
    ({"input": "digits", "batch_size": 1798}, "batch_size", "no more images"),
    ({"norm": "batch", "norm_eps": 0}, "norm_eps", ""),
    ({"norm": "batch", "input_correlation": 1}, "input_correlation", "variance"),
]


@pytest.mark.parametrize(("fields", "wrong", "hint"), TOGETHER, ids=lambda v: str(v)[:60])
def test_values_that_do_not_go_together(fields, wrong, hint):
    error = refused(**fields)
    value = fields[wrong]
    speaks(error, wrong, tuple(value) if isinstance(value, (list, tuple)) else value)
    assert hint in error.hint


@pytest.mark.parametrize(
    "fields",
    [
        {"depth": 3, "width": UNEQUAL},
        {"depth": 3, "width": (4, 4, 4), "residual": "identity"},
        {"depth": 3, "width": (4, 4, 4), "residual": "identity", "input_width": 9},
        {"depth": 1, "width": (4,)},
        {"input": "digits", "input_width": 64},
        {"input": "digits", "batch_size": 1797},
        {"batch_size": 1798},
        {"norm": "batch", "input_correlation": 0.999},
        {"norm": "batch", "norm_eps": 1e-30},
        {"norm": "layer", "norm_eps": 0, "input_correlation": 1},
        {"norm": "batch", "input": "digits", "input_correlation": 1},
    ],
    ids=str,
)
def test_neighbours_of_what_is_refused_are_accepted(fields):
    gc.Spec(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"residual_scale": 3.0},
        {"residual_scale": "1/sqrt(L)"},
        {"sparsity": 0.1},
        {"negative_slope": 0.3},
        {"norm_gamma": 2.0, "norm_beta": 1.0, "norm_eps": 0.1, "norm_position": "after"},
        {"input": "digits", "input_correlation": 0.5},
    ],
    ids=str,
)
def test_inactive_fields_are_accepted_kept_and_ignored(fields):
    spec = gc.Spec(depth=4, width=30, **fields)
    for name, value in fields.items():
        assert getattr(spec, name) == value
    plain = gc.Spec(depth=4, width=30, input=fields.get("input", "gaussian"))
    assert spec != plain  # a Spec is what was said
    for name in ("log_q", "log_g", "log_dw", "log_db", "chi", "saturated"):
        np.testing.assert_array_equal(getattr(gc.predict(spec), name), getattr(gc.predict(plain), name))


# --- frozen, hashable, flat ---------------------------------------------------------------------------------


def test_frozen():
    spec = gc.Spec()
    for name in FIELDS:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(spec, name, getattr(spec, name))
        with pytest.raises(dataclasses.FrozenInstanceError):
            delattr(spec, name)


def test_equal_and_hashable_by_value():
    a, b = gc.Spec(depth=3, width=[4, 5, 6], gain=2), gc.Spec(width=(4, 5, 6), gain=2.0, depth=3)
    assert a == b and hash(a) == hash(b) and len({a, b}) == 1
    assert a != a.replace(gain=3) and a != gc.Spec()
    assert a.layer_widths is not None and a == b and hash(a) == hash(b)  # what is derived does not enter
    for twin in (copy.copy(a), copy.deepcopy(a), pickle.loads(pickle.dumps(a)), eval(repr(a), {"Spec": gc.Spec})):
        assert twin == a and hash(twin) == hash(a)


def test_negative_zero_is_zero():
    spec = gc.Spec(gain=-0.0, bias_std=-0.0, norm_beta=-0.0)
    assert all(math.copysign(1, getattr(spec, name)) == 1 for name in ("gain", "bias_std", "norm_beta"))


def test_replace_checks_again():
    assert gc.Spec().replace(depth=3) == gc.Spec(depth=3)
    with pytest.raises(gc.SpecError) as caught:
        gc.Spec().replace(depth=0)
    speaks(caught.value, "depth", 0)
    with pytest.raises(gc.SpecError):
        gc.Spec(depth=3, width=(4, 5, 6)).replace(residual="identity")


# --- derived quantities -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "widths", "fans"),
    [
        ({"depth": 3, "width": 5}, [5, 5, 5], [5, 5, 5]),
        ({"depth": 3, "width": 5, "input_width": 2}, [5, 5, 5], [2, 5, 5]),
        ({"depth": 3, "width": (7, 8, 9)}, [7, 8, 9], [7, 7, 8]),
        ({"depth": 2, "width": (7, 8), "input": "digits"}, [7, 8], [64, 7]),
        ({"depth": 1, "width": 10**9}, [10**9], [10**9]),
    ],
    ids=str,
)
def test_widths_and_fan_ins(fields, widths, fans):
    spec = gc.Spec(**fields)
    assert spec.layer_widths.tolist() == widths and spec.fan_ins.tolist() == fans
    assert spec.layer_widths.dtype == spec.fan_ins.dtype == np.int64


def test_slopes_and_branch_scale():
    assert gc.Spec(activation="leaky_relu").slope == 0.01 == gc.Spec(activation="leaky_relu").init_slope
    assert gc.Spec(activation="prelu").slope == 0.25
    assert gc.Spec(activation="prelu", negative_slope=0.1).init_slope == 0.1
    assert gc.Spec(activation="tanh", negative_slope=0.3).init_slope == 0.0
    assert gc.Spec(depth=16, residual="identity", residual_scale="1/sqrt(L)").alpha == 0.25
    assert gc.Spec(residual_scale=-2).alpha == -2.0
