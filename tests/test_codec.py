"""One codec, five texts: query string, compact text, JSON, command line and Python snippet, each read back to an equal
Spec."""

from __future__ import annotations

import json
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gradcore as gc
from gradcore.codec import (
    changed_fields,
    from_compact,
    from_query_leniently,
    read_value,
    to_argv,
    to_compact,
    to_snippet,
)
from gradcore.fields import FIELDS
from gradcore.initializers import ALIASES
from tests.strategies import specs

examples = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None
)


def same(a: gc.Spec, b: gc.Spec) -> None:
    """Equal, field by field, in value and in type."""
    assert a == b and hash(a) == hash(b)
    for name in FIELDS:
        assert type(getattr(a, name)) is type(getattr(b, name)), name


# --- round trips --------------------------------------------------------------------------------------------


@examples
@given(specs())
def test_query_round_trip_through_a_url(spec):
    query = gc.to_query(spec)
    assert all(isinstance(k, str) and isinstance(v, str) for k, v in query.items())
    same(gc.from_query(query), spec)
    same(gc.from_query(dict(parse_qsl(urlencode(query), keep_blank_values=True, strict_parsing=bool(query)))), spec)
    assert from_query_leniently(query) == (spec, [])


@examples
@given(specs())
def test_json_round_trip_through_text(spec):
    document = gc.to_json(spec)
    text = json.dumps(document, allow_nan=False)
    assert json.loads(text) == document
    same(gc.from_json(json.loads(text)), spec)


@examples
@given(specs())
def test_argv_round_trip(spec):
    flags = to_argv(spec)
    assert all(flag.startswith("--") and "=" in flag for flag in flags)
    same(gc.from_query(dict(flag[2:].split("=", 1) for flag in flags)), spec)


@examples
@given(specs())
def test_compact_round_trip_through_a_url(spec):
    text = to_compact(spec)
    same(from_compact(text), spec)
    query = urlencode([("pin", text), ("pin", to_compact(gc.Spec()))])
    assert parse_qsl(query, strict_parsing=True) == [("pin", text), ("pin", "default")]
    names = [part.split(":")[0] for part in text.split(",") if ":" in part]
    assert names == list(gc.to_query(spec))  # defaults are left out, the order is the Spec's


@examples
@given(specs())
def test_snippet_round_trip(spec):
    same(eval(to_snippet(spec), {"gc": gc}), spec)


@examples
@given(specs())
def test_defaults_are_left_out_everywhere(spec):
    names = {name for name, field in FIELDS.items() if getattr(spec, name) != field.default}
    assert set(changed_fields(spec)) == set(gc.to_query(spec)) == set(gc.to_json(spec)) == names
    assert {flag[2:].split("=")[0] for flag in to_argv(spec)} == names


@examples
@given(specs())
def test_each_field_alone_is_read_back(spec):
    for name, field in FIELDS.items():
        value = getattr(spec, name)
        if value is not None:  # None is the default of its fields and is never written
            again = read_value(name, field.write(value))
            assert again == value and type(again) is type(value), name


def test_the_default_spec_is_empty():
    assert gc.to_query(gc.Spec()) == gc.to_json(gc.Spec()) == {}
    assert to_argv(gc.Spec()) == [] and to_snippet(gc.Spec()) == "gc.Spec()"
    same(gc.from_query({}), gc.Spec())
    assert to_compact(gc.Spec()) == "default"
    same(from_compact("default"), gc.Spec())
    same(gc.from_json({}), gc.Spec())


@pytest.mark.parametrize("widths", [(7,), (7, 8), (1, 10**9, 3)], ids=str)
def test_width_lists(widths):
    spec = gc.Spec(depth=len(widths), width=widths)
    same(gc.from_query(gc.to_query(spec)), spec)
    same(from_compact(to_compact(spec)), spec)
    same(gc.from_json(json.loads(json.dumps(gc.to_json(spec)))), spec)
    same(eval(to_snippet(spec), {"gc": gc}), spec)


# --- reading ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("depth", "100", 100),
        ("depth", "1_000", 1000),
        ("width", "64,32", (64, 32)),
        ("width", "512", 512),
        ("gain", "5/3", 5 / 3),
        ("gain", "1.5", 1.5),
        ("gain", "1e-3", 1e-3),
        ("gain", "auto", "auto"),
        ("bias_std", "default", "default"),
        ("residual_scale", "1/sqrt(L)", "1/sqrt(L)"),
        ("residual_scale", "1/2", 0.5),
        ("residual_scale", "-0.5", -0.5),
        ("negative_slope", "", None),
        ("negative_slope", "none", None),
        ("input_width", "None", None),
        ("input_width", "12", 12),
        *[("init", alias, code) for alias, code in ALIASES.items()],
    ],
)
def test_texts_a_person_writes(name, text, value):
    assert read_value(name, text) == value


BAD = [
    ("depth", "0"),
    ("depth", "ten"),
    ("depth", "2.5"),
    ("depth", ""),
    ("width", "64,,"),
    ("width", "64,x"),
    ("width", ","),
    ("gain", "nan"),
    ("gain", "inf"),
    ("gain", "1/0"),
    ("gain", "-1"),
    ("gain", "automatic"),
    ("gain", "5/3/2"),
    ("activation", "rellu"),
    ("norm_eps", "-1"),
    ("input_correlation", "2"),
    ("batch_size", "None"),
    ("loss", ""),
]


@pytest.mark.parametrize(("name", "text"), BAD)
def test_illegal_texts_are_refused_by_name(name, text):
    for read in (lambda: read_value(name, text), lambda: gc.from_query({name: text})):
        with pytest.raises(gc.SpecError) as caught:
            read()
        assert caught.value.field == name
        assert caught.value.allowed in str(caught.value)


def test_a_compact_text_that_a_person_writes():
    same(from_compact(" activation:tanh, gain:5/3"), gc.Spec(activation="tanh", gain=5 / 3))
    same(from_compact("depth:2,width:64,32,gain:2"), gc.Spec(depth=2, width=(64, 32), gain=2.0))
    same(from_compact("depth:1,width:7,,gain:2"), gc.Spec(depth=1, width=(7,), gain=2.0))


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "spec"),
        ("bogus", "spec"),
        (",gain:2", "spec"),
        ("tanh,gain:2", "spec"),
        ("gain:nan", "gain"),
        ("gain:1,gain:2", "gain"),
        ("gain:1,2", "gain"),
        ("gian:1", "gian"),
        (":1", ""),
        ("depth:3,width:64,32", "width"),
        ("input:digits,input_width:10", "input_width"),
        ("default,gain:2", "spec"),
    ],
)
def test_a_bad_compact_text_is_refused_by_its_field(text, field):
    with pytest.raises(gc.SpecError) as caught:
        from_compact(text)
    assert caught.value.field == field and caught.value.allowed


def test_unknown_fields_are_refused_by_name():
    for read in (gc.from_query, gc.from_json):
        with pytest.raises(gc.SpecError) as caught:
            read({"depth": "3" if read is gc.from_query else 3, "detph": "3"})
        assert caught.value.field == "detph" and caught.value.value == "3" and "depth" in caught.value.allowed


# --- lenient reading ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "text"), BAD)
def test_lenient_names_what_is_refused_and_keeps_the_rest(name, text):
    kept = {"norm_gamma": "2.0", "sparsity": "0.5"}
    spec, refused = from_query_leniently({"norm_gamma": "2.0", name: text, "sparsity": "0.5", "detph": "3"})
    assert spec == gc.from_query(kept)
    assert [error.field for error in refused] == [name, "detph"]


@pytest.mark.parametrize(
    ("query", "refused", "kept"),
    [
        ({"depth": "3", "width": "4,5", "gain": "2"}, ["width"], {"depth": "3", "gain": "2"}),
        ({"input": "digits", "input_width": "10"}, ["input_width"], {"input": "digits"}),
        ({"norm": "batch", "input_correlation": "1"}, ["input_correlation"], {"norm": "batch"}),
        (
            {"norm": "batch", "norm_eps": "0", "input_correlation": "1", "gain": "2"},
            ["norm_eps", "input_correlation"],
            {"norm": "batch", "gain": "2"},
        ),
        (
            {"depth": "2", "width": "4,5", "residual": "identity", "loss": "mse"},
            ["width"],
            {"depth": "2", "residual": "identity", "loss": "mse"},
        ),
    ],
    ids=str,
)
def test_lenient_drops_one_of_what_does_not_go_together(query, refused, kept):
    spec, errors = from_query_leniently(query)
    assert spec == gc.from_query(kept)
    assert [error.field for error in errors] == refused


TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["1", "0", "-1", "nan", "inf", "1e999", "5/3", "1/0", "4,5", "auto", "batch", "digits", "identity"]
    ),
)


@examples
@given(st.dictionaries(st.one_of(st.sampled_from(list(FIELDS)), st.text(max_size=5)), TEXTS, max_size=8))
def test_lenient_reading_never_fails_and_accounts_for_every_parameter(query):
    spec, refused = from_query_leniently(query)
    names = {error.field for error in refused}
    for name, text in query.items():
        if name in FIELDS and name not in names:
            assert getattr(spec, name) == read_value(name, text)
        else:
            assert name in names
    if not refused:
        assert gc.from_query(query) == spec


@examples
@given(spec=specs(), junk=st.sampled_from(BAD))
def test_lenient_reading_of_a_link_with_one_bad_parameter(spec, junk):
    name, text = junk
    query = {**gc.to_query(spec), name: text}
    lenient, refused = from_query_leniently(query)
    assert refused[0].field == name and getattr(lenient, name) == FIELDS[name].default
