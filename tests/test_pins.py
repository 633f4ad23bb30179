"""Pinned networks: in which fields they differ, what each is called among the others, what is a preset."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gradcore as gc
from gradcore.fields import FIELDS
from gradcore.pins import ACTS, MOST, SAID, acts, added, differences, names, pins, preset_of, shared
from gradcore.presets import PRESETS
from tests.strategies import specs

examples = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None
)
several = st.lists(specs(), min_size=1, max_size=MOST)
TANH = gc.Spec(activation="tanh", gain=5 / 3)


def test_differing_and_shared_fields() -> None:
    two = [gc.Spec(depth=20), TANH]
    assert differences(two) == ("depth", "activation", "gain")
    assert shared(two) == {name: getattr(TANH, name) for name in FIELDS if name not in differences(two)}
    assert differences([TANH]) == differences([TANH, TANH]) == differences([]) == ()
    assert shared([]) == {} and list(shared([TANH])) == list(FIELDS)


@examples
@given(several)
def test_a_field_differs_or_is_shared(some: list[gc.Spec]) -> None:
    apart, same = differences(some), shared(some)
    assert sorted((*apart, *same)) == sorted(FIELDS)
    assert all(getattr(spec, name) == value for spec in some for name, value in same.items())
    assert all(any(getattr(spec, name) != getattr(some[0], name) for spec in some) for name in apart)


@examples
@given(several)
def test_names_are_apart_where_the_networks_are(some: list[gc.Spec]) -> None:
    found = names(some)
    assert all(found) and len(found) == len(some)
    for one, name in zip(some, found, strict=True):
        for other, its in zip(some, found, strict=True):
            assert (one == other) == (name == its)


@pytest.mark.parametrize(
    ("some", "found"),
    [
        ([gc.Spec(), TANH], ("relu · gain 1", "tanh · gain 1.67")),
        ([gc.Spec()], ("relu · xavier_normal · gain 1",)),
        ([gc.Spec(norm="layer"), gc.Spec(norm="batch"), gc.Spec()], ("layer norm", "batch norm", "no norm")),
        ([gc.Spec(residual="identity", gain=2), gc.Spec()], ("gain 2 · identity residual", "gain 1")),
        ([gc.Spec(gain=1.66666), gc.Spec(gain=1.66667)], ("gain 1.66666", "gain 1.66667")),
        ([gc.Spec(depth=10_000), gc.Spec(width=128)], ("depth 10,000 · width 256", "depth 50 · width 128")),
        ([gc.Spec(gain="auto"), gc.Spec(gain="critical")], ("gain auto", "gain critical")),
        ([gc.Spec(depth=6, width=(9, 8, 7, 6, 5, 4)), gc.Spec(depth=6)], ("width 9–8–7–…–4", "width 256")),
        (
            [gc.Spec(residual="identity", residual_scale=0.5), gc.Spec()],
            ("identity residual · residual scale 0.5", "no residual"),
        ),
    ],
    ids=str,
)
def test_names(some: list[gc.Spec], found: tuple[str, ...]) -> None:
    if "1.66666" in found[0]:  # three digits would not tell them apart
        assert [float(name.removeprefix("gain ")) for name in names(some)] == [1.66666, 1.66667]
    else:
        assert names(some) == found


def test_a_short_name_has_four_parts() -> None:
    far = gc.Spec(activation="tanh", gain=2, init="orthogonal", norm="layer", depth=9, width=9, loss="mse")
    assert [name.count(" · ") for name in names([gc.Spec(), far])] == [3, 3]


def test_names_pass_through_the_translator() -> None:
    found = names([gc.Spec(), gc.Spec(norm="layer")], lambda msgid, **values: f"<{msgid.format(**values)}>")
    assert found == ("<no norm>", "<layer norm>")


def test_every_field_has_words() -> None:
    assert set(SAID) == set(FIELDS)
    assert set(ACTS) < set(FIELDS)


@pytest.mark.parametrize("name", ACTS)
def test_a_field_that_does_not_act_changes_no_prediction(name: str) -> None:
    """And where it acts, it changes one: both ways, so that neither answer is a guess."""
    small = gc.Spec(depth=4, width=200, activation="tanh", init="normal", gain=0.3, batch_size=8, input_correlation=0.5)
    values = {"norm_position": "after", "norm_gamma": 2.0, "norm_beta": 0.5, "norm_eps": 0.5, "residual_scale": 0.5}
    change = {name: values.get(name, 0.25)}
    there = {
        "negative_slope": {"activation": "leaky_relu"},
        "sparsity": {"init": "sparse"},
        "residual_scale": {"residual": "identity"},
        "input_correlation": {"norm": "none"},
    }.get(name, {"norm": "layer"})
    asleep = {"input": "digits", "input_correlation": 0.0} if name == "input_correlation" else {}
    on, off = small.replace(**there), small.replace(**asleep)
    for spec, expected in ((on, True), (off, False)):
        assert acts(spec, name) == expected
        one, other = (gc.predict(each) for each in (spec, spec.replace(**change)))
        alike = all((getattr(one, q) == getattr(other, q)).all() for q in ("log_q", "log_g", "correlation"))
        assert alike != expected


def test_a_shift_is_no_part_of_an_rms_norm() -> None:
    assert not acts(gc.Spec(norm="rms"), "norm_beta") and acts(gc.Spec(norm="batch"), "norm_beta")


def test_a_preset_is_a_pin_with_its_sentence() -> None:
    for preset in PRESETS.values():
        found = preset_of(preset.spec)
        assert found is not None and found.spec == preset.spec
    one, other = pins([PRESETS["vanishing"].spec, gc.Spec(depth=7)])
    assert (one.title, one.sentence) == (PRESETS["vanishing"].title, PRESETS["vanishing"].sentence)
    assert (other.title, other.sentence, other.name) == ("", "", "depth 7")


def test_six_pins_each_once() -> None:
    some: tuple[gc.Spec, ...] = ()
    for depth in range(1, MOST + 1):
        some = added(added(some, gc.Spec(depth=depth)), gc.Spec(depth=depth))
    assert [spec.depth for spec in some] == list(range(1, 7))
    assert added(some, gc.Spec(depth=1)) == some
    with pytest.raises(gc.SpecError) as caught:
        added(some, gc.Spec(depth=7))
    assert caught.value.field == "pin" and "6" in caught.value.allowed
