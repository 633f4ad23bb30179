"""Pinned networks side by side: in which fields they differ, what each is called among the others, what they share.

    pins([Spec(), Spec(activation="tanh", gain=5 / 3)])  ->  Pin(name="relu · gain 1"), Pin(name="tanh · gain 1.67")

A preset is a pin with a sentence. A link holds pins as ``gradcore.codec.to_compact`` writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gradcore.errors import SpecError
from gradcore.fields import FIELDS
from gradcore.presets import PRESETS, Preset
from gradcore.spec import Spec
from gradcore.words import Translate, english

MOST = 6  # curves that can be told apart in one chart
SHORT, EXACT = 3, 17  # digits of a number in a name; enough to tell any two apart
PARTS = 4  # of a short name
WIDTHS = 4  # of a list of widths in a short name

# What a name says of a field, in the order in which it says it; "" leaves out what is not there.
SAID: dict[str, str] = {
    "activation": "{value}",
    "negative_slope": "slope {value}",
    "init": "{value}",
    "gain": "gain {value}",
    "norm": "{value} norm",
    "residual": "{value} residual",
    "depth": "depth {value}",
    "width": "width {value}",
    "bias_std": "bias std {value}",
    "residual_scale": "residual scale {value}",
    "norm_position": "norm {value}",
    "norm_gamma": "norm scale {value}",
    "norm_beta": "norm shift {value}",
    "norm_eps": "norm ε {value}",
    "sparsity": "sparsity {value}",
    "batch_size": "batch of {value}",
    "input": "{value} input",
    "input_width": "input width {value}",
    "input_rms": "input RMS {value}",
    "input_correlation": "input correlation {value}",
    "loss": "loss: {value}",
}
ABSENT = {
    "norm": "no norm",
    "residual": "no residual",
    "input_width": "default input width",
    "negative_slope": "default slope",
}
ACTS: dict[str, Callable[[Spec], bool]] = {  # fields that another one makes inactive: where they act
    "negative_slope": lambda spec: spec.activation_entry.default_slope is not None,
    "sparsity": lambda spec: spec.init == "sparse",
    "norm_position": lambda spec: spec.norm != "none",
    "norm_gamma": lambda spec: spec.norm != "none",
    "norm_beta": lambda spec: spec.norm in ("batch", "layer"),
    "norm_eps": lambda spec: spec.norm != "none",
    "residual_scale": lambda spec: spec.residual != "none",
    "input_correlation": lambda spec: spec.input == "gaussian",
}
UNLESS_ALONE = ("activation", "init", "gain")  # what a network is called where nothing tells it from another


@dataclass(frozen=True)
class Pin:
    """One of several networks: ``name`` is what tells it from the others, ``title`` and ``sentence`` those of the
    preset that it is (empty where it is none)."""

    spec: Spec
    name: str
    title: str = ""
    sentence: str = ""


def pins(specs: Sequence[Spec], t: Translate = english) -> tuple[Pin, ...]:
    """These networks as pins, in their order; ``t`` translates names, titles and sentences."""
    found = []
    for spec, name in zip(specs, names(specs, t), strict=True):
        preset = preset_of(spec)
        words = ("", "") if preset is None else (t(preset.title), t(preset.sentence))
        found.append(Pin(spec, name, *words))
    return tuple(found)


def preset_of(spec: Spec) -> Preset | None:
    """The first preset that is this network; None where none is."""
    return next((preset for preset in PRESETS.values() if preset.spec == spec), None)


def added(specs: Sequence[Spec], spec: Spec) -> tuple[Spec, ...]:
    """These pins and this one behind them; the same pins where it is among them already.

    Raises SpecError where there are six already.
    """
    if spec in specs:
        return tuple(specs)
    if len(specs) >= MOST:
        raise SpecError("pin", f"{MOST + 1}", f"at most {MOST} pins", "Remove one first.")
    return (*specs, spec)


def differences(specs: Sequence[Spec]) -> tuple[str, ...]:
    """The names of the fields in which these networks are not all alike, in the Spec's order; none for a single one."""
    return tuple(name for name in FIELDS if len({getattr(spec, name) for spec in specs}) > 1)


def shared(specs: Sequence[Spec]) -> dict[str, Any]:
    """The fields that are the same in all of these networks, with their value, in the Spec's order."""
    apart = set(differences(specs))
    return {name: getattr(specs[0], name) for name in FIELDS if name not in apart} if specs else {}


def names(specs: Sequence[Spec], t: Translate = english) -> tuple[str, ...]:
    """A short name for each network: its values in the fields that differ ("tanh · gain 1.67").

    What is not there ("no norm") or does not act is left out, and so is all but the first four parts, as long as the
    names stay apart; numbers have three digits, more where they need them. Equal Specs have equal names.
    """
    apart = [name for name in SAID if name in set(differences(specs))] or list(UNLESS_ALONE)
    tries: tuple[Callable[[Spec], str], ...] = (
        lambda spec: _name(spec, apart, t, SHORT, whole=False),
        lambda spec: _name(spec, apart, t, SHORT, whole=True),
        lambda spec: _name(spec, apart, t, EXACT, whole=True),
    )
    distinct = len(set(specs))
    found: list[str] = []
    for attempt in tries:
        found = [attempt(spec) for spec in specs]
        if len(set(found)) == distinct:
            break
    return tuple(found)


def _name(spec: Spec, apart: Sequence[str], t: Translate, digits: int, whole: bool) -> str:
    there = [name for name in apart if whole or not _absent(spec, name)]
    parts = [said(name, getattr(spec, name), t, digits) for name in (there or apart[:1])]
    return " · ".join(parts if whole else parts[:PARTS])


def _absent(spec: Spec, name: str) -> bool:
    return not acts(spec, name) or (name in ABSENT and getattr(spec, name) in (None, "none"))


def acts(spec: Spec, name: str) -> bool:
    """Whether this field changes anything beside the Spec's others (``sparsity`` does with ``init="sparse"`` alone)."""
    return name not in ACTS or ACTS[name](spec)


def said(name: str, value: Any, t: Translate = english, digits: int = SHORT) -> str:
    """A field's value in a few words: "gain 1.67", "depth 100", "no norm"."""
    if name in ABSENT and value in (None, "none"):
        return t(ABSENT[name])
    return t(SAID[name], value=value_text(value, digits))


def value_text(value: Any, digits: int = SHORT) -> str:
    """A value alone: numbers with so many digits, of many widths the first and the last."""
    if isinstance(value, tuple):
        numbers = [f"{n:,}" for n in value]
        if len(numbers) > WIDTHS and digits < EXACT:
            numbers = [*numbers[: WIDTHS - 1], "…", numbers[-1]]
        return "–".join(numbers)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.{digits}g}"
