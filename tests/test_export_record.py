"""Records of a question: what they hold is what the library says, they load back, and wrong ones are named."""

from __future__ import annotations

import json
import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings

import gradcore as gc
from gradcore.export import Record, reading
from gradcore.export.record import NUMBERS, fits
from gradcore.measurement import QUANTITIES, SHARES
from tests.strategies import specs

SPEC = gc.Spec(depth=4, width=16, batch_size=4, activation="tanh", gain=5 / 3, bias_std=0.1)
SMALL = {
    "plain": SPEC,
    "widths": gc.Spec(depth=3, width=(8, 12, 16), input_width=5),
    "dead": gc.Spec(depth=4, width=16, gain=0.0),
    "one sample": gc.Spec(depth=3, width=8, batch_size=1),
    "shuffled": gc.Spec(depth=2, width=4),
    "underflow": gc.Spec(depth=40, width=8, gain=1e-30, batch_size=2),
}


@cache
def record(name: str = "plain") -> Record:
    spec = SMALL[name]
    dtype = "float32" if name == "underflow" else "float64"
    indices = (5, 0, 9) if name == "shuffled" else 3
    return Record.of(spec, gc.predict(spec), gc.measure(spec, networks=indices, seed=7, dtype=dtype))


@pytest.mark.parametrize("name", SMALL)
def test_a_record_loads_back_as_it_was(name):
    again = Record.from_json(record(name).to_json())
    assert again == record(name)
    assert again.to_json() == record(name).to_json()
    assert again.spec == SMALL[name] and again.measured is not None and again.predicted is not None
    for quantity in (*QUANTITIES, *SHARES):
        assert np.array_equal(
            getattr(again.measured, quantity), getattr(record(name).measured, quantity), equal_nan=True
        )


def test_the_small_records_hold_infinities_and_nan():
    """So that the round trips above go over them."""
    texts = {name: record(name).to_json() for name in SMALL}
    assert '"-inf"' in texts["dead"] and '"-inf"' in texts["underflow"] and '"nan"' in texts["one sample"]
    assert "NaN" not in "".join(texts.values()) and "Infinity" not in "".join(texts.values())


def test_what_it_holds_is_what_the_library_says():
    document = json.loads(record().to_json())
    profile, measured = gc.predict(SPEC), gc.measure(SPEC, networks=3, seed=7)
    for name in QUANTITIES:
        assert document["predicted"]["infinite_width"][name] == getattr(profile, name).tolist()
        assert document["predicted"]["mean"][name] == profile.mean(name).tolist()
        assert document["predicted"]["median"][name] == profile.median(name).tolist()
        low, high = profile.band(name, 0.9)
        assert document["predicted"]["low"][name] == low.tolist()
        assert document["predicted"]["high"][name] == high.tolist()
        assert document["measured"][name] == getattr(measured, name).tolist()
    for name in NUMBERS:
        assert document["predicted"]["infinite_width"][name] == getattr(profile, name).tolist()
    assert document["verdict"]["kind"] == gc.diagnose(profile).kind
    assert document["verdict"]["numbers"] == gc.diagnose(profile).numbers
    assert document["measured_verdict"]["numbers"] == gc.diagnose(measured).numbers
    assert (document["seed"], document["dtype"], document["sampler"]) == (7, "float64", "dense")
    assert document["versions"]["gradcore"] == gc.__version__ and document["versions"]["numpy"] == np.__version__


def test_a_loaded_measurement_is_compared_and_merged():
    loaded = Record.from_json(record().to_json().encode()).measured
    assert loaded is not None
    fresh = gc.measure(SPEC, networks=5, seed=7)
    merged = gc.Measurement.merge(loaded, fresh.part([3, 4]))
    assert np.array_equal(merged.log_g, fresh.log_g)
    theirs, ours = gc.compare(gc.predict(SPEC), loaded), gc.compare(gc.predict(SPEC), record().measured)
    assert all(np.array_equal(theirs.z[name], ours.z[name], equal_nan=True) for name in QUANTITIES)


def test_a_question_without_answers_is_a_record_too():
    asked = Record.of(SPEC, seed=3, dtype="float32", sampler="exact")
    again = Record.from_json(asked.to_json())
    assert again == asked and again.predicted is None and again.measured is None and again.verdict is None
    assert (again.seed, again.dtype, again.sampler) == (3, "float32", "exact")
    assert again != Record.of(SPEC, seed=4, dtype="float32", sampler="exact") and again != "text"


def test_every_field_is_written_so_that_a_changed_default_changes_nothing():
    fields = json.loads(record().to_json())["spec"]
    assert {**fields, "width": 16} == {name: getattr(SPEC, name) for name in gc.Spec.__dataclass_fields__}


@settings(max_examples=25, deadline=None)
@given(spec=specs())
def test_any_spec_survives(spec):
    assert Record.from_json(Record.of(spec).to_json()).spec == spec


def test_answers_to_another_question_are_refused():
    with pytest.raises(gc.SpecError, match="same Spec"):
        Record.of(SPEC, gc.predict(gc.Spec(depth=4)))


def _with(path: str, value: object) -> str:
    document = json.loads(record().to_json())
    *places, last = path.split("/")
    inner = document
    for place in places:
        inner = inner[place]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "record"),
        ("[1]", "record"),
        ("{", "record"),
        ('{"format": NaN}', "NaN"),
        ("[" * 100_000, "record"),
        (b"\xff\xfe", "record"),
        ("{}", "format"),
        ('{"format": "gradcore.run"}', "gradcore.run"),
        (_with("format_version", 2), "format_version"),
        (_with("spec", ...), "spec"),
        (_with("spec", [1]), "spec"),
        (_with("spec/depth", 0), "depth"),
        (_with("spec/colour", 1), "colour"),
        (_with("spec/depth", 5), "5 numbers, one per layer"),
        (_with("seed", -1), "seed"),
        (_with("seed", True), "seed"),
        (_with("dtype", "float128"), "dtype"),
        (_with("sampler", ["dense"]), "sampler"),
        (_with("versions", 3), "versions"),
        (_with("versions/torch", 3), "torch"),
        (_with("measured/networks", [0, 0, 1]), "networks"),
        (_with("measured/networks", [0, 1]), "2 rows"),
        (_with("measured/networks", []), "networks"),
        (_with("measured/log_q", ...), "log_q"),
        (_with("measured/log_q", [[1, 2]] * 3), "log_q"),
        (_with("measured/log_q", [[1, 2, 3, "4"]] * 3), "log_q"),
        (_with("measured/log_q", [[1, 2, 3, None]] * 3), "log_q"),
        (_with("measured/log_q", [[1, 2, 3, True]] * 3), "log_q"),
        (_with("measured/log_q", [[1, 2, 3, 10**400]] * 3), "log_q"),
        (_with("predicted/infinite_width/log_g", [0, 0, 0, "nan"]), "log_g"),
        (_with("predicted/mean/log_g", [0, 0, 0, "inf"]), "log_g"),
        (_with("predicted/level", 1.5), "level"),
        (_with("predicted/band_source", "guess"), "band_source"),
        (_with("predicted/notes", "one"), "notes"),
        (_with("verdict/kind", "fine"), "kind"),
        (_with("verdict/numbers/factor", "much"), "factor"),
    ],
)
def test_what_is_no_record_is_named(text, named):
    with pytest.raises(gc.SpecError) as caught:
        Record.from_json(text)
    assert named in str(caught.value)


def test_sizes_are_bounded_both_ways(monkeypatch):
    whole = record().to_json()
    monkeypatch.setattr(reading, "MOST_BYTES", len(whole) - 1)
    with pytest.raises(gc.SpecError, match="at most"):
        record().to_json()
    with pytest.raises(gc.SpecError, match="at most"):
        Record.from_json(whole)


def test_what_fits_is_known_before_it_is_written(monkeypatch):
    assert fits(50, 256) and fits(1000, 256) and not fits(10_000, 256)
    monkeypatch.setattr(reading, "MOST_BYTES", len(record().to_json()) - 1)
    assert not fits(SPEC.depth, 3)


def test_equality_sees_every_number():
    changed = json.loads(record().to_json())
    changed["measured"]["log_db"][2][3] = math.nextafter(changed["measured"]["log_db"][2][3], 9.0)
    assert Record.from_json(json.dumps(changed)) != record()
