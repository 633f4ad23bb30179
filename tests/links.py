"""Seeded random links: legal ones, damaged ones and hostile ones, over every parameter that the explorer reads.

What is legal is read off the refusals themselves ("an integer from 1 to 6"): a new field is covered as soon as it is
there, and a sentence that promises more than is taken makes a test fail.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import gradcore as gc
from app import state
from gradcore.codec import read_value
from gradcore.errors import SpecError
from gradcore.fields import FIELDS

HOSTILE = (
    "<script>window.__hacked=1</script>",
    '"><img src=x onerror=window.__hacked=1>',
    "<svg/onload=window.__hacked=1>",
    '<iframe src="javascript:parent.__hacked=1"></iframe>',
    "javascript:window.__hacked=1",
    "[press me](javascript:window.__hacked=1)",
    "![seen](https://attacker.invalid/seen.png)",
    "[a link](https://attacker.invalid)",
    "https://attacker.invalid/",
    "# heading\n\n**bold** _it_ ~~no~~",
    "a\r\r# heading [out](https://attacker.invalid)",
    "a\u2028\u2029b\x0b\x0c\x85c",
    "` `` ``` code",
    "`</code><b>bold</b>",
    "$x^2$ $$\\frac{1}{0}$$ \\href{javascript:alert(1)}{x}",
    ":red[red] :material/home: :smile:",
    "{0} {field} {value!r} {__class__} %s %d %(x)s ${x} $(id) `id`",
    "{{7*7}} <%= 7*7 %> #{7*7}",
    "'; DROP TABLE specs; --",
    "1 OR 1=1",
    "../../../../etc/passwd",
    "file:///etc/passwd",
    "__import__('os').system('id')",
    "\x00null\x00",
    "\u202egnp.exe\u202d \u200b\u200f\ufeff",
    "1,2|A1 \t<table><tr><td>",
    "- item\n- item\n\n---\n",
    "a" * 100_000,
    "<b>" * 30_000,
    "9" * 100_000,
    "1," * 50_000,
    "\u754c" * 20_000,
)
BROKEN = (
    "nan", "NaN", "inf", "-inf", "Infinity", "1e999", "-1e999", "1/0", "0/0", "5/3/2", "1e", "--1", "0x10", "1.5.2",
    "12px", "3 layers", "50%", "1,5", "1;2", "7e", "９９９９９９９９９９９９", "\u5341\u4e8c", "глубина", "عمق", "ε",
    "-1e31", "1e31", "99999999999999999999", "-99999999999999999999", "True", "[1]", "{}", "null", "undefined", "?",
    "reluu", " ", "+", "%", "%E4%B8", "\ufffd", "NONE ", "auto,auto", "1,,2", ",", "2.5e-", "one of",
)  # fmt: skip
CODES = re.compile(r"one of (.+)")
WHOLE = re.compile(r"an integer from ([-\d,]+) to ([-\d,]+)")
REAL = re.compile(r"a number from (\S+) to (\S+?)(?:,|$)")
WORD = re.compile(r'or "([^"]+)"')
FREE: dict[str, tuple[str, ...]] = {  # legal texts of parameters whose refusal is no list and no interval
    "map_of": ("log_g_1", "chi_last", "log_factor"),
    "chain_weights": ("", "0.5", "1, 2, 3, 4", "-1000,1e3"),
    "chain_biases": ("", "cancel", "0", "1, 2, 3, 4"),
    "gates_cells": ("rnn", "lstm,gru", "gru, rnn", "rnn,lstm,gru"),
    "remedies_on": ("none", "relu", "residual,batch_norm", "tanh, initialization"),
}
# ceilings under which a page answers in a fraction of a second
SMALL = {"depth": 6, "width": 24, "input_width": 24, "batch_size": 8, "networks": 2, "chain_length": 6}
SMALL |= {"train_steps": 3, "train_width": 8, "train_hidden": 2, "remedies_steps": 3, "remedies_width": 8}
SMALL |= {"remedies_hidden": 2, "remedies_depth": 8, "gates_hidden_size": 16, "gates_input_size": 8, "gates_steps": 8}
SMALL |= {"gates_networks": 2, "gates_units": 8, "gates_length": 12, "gates_updates": 2, "learn_depth": 10}
SMALL |= {"learn_width": 50, "learn_fan_out": 50}


@dataclass(frozen=True)
class Link:
    """The parameters of a link, and those of them that no reading may accept."""

    query: Mapping[str, str]
    refused: frozenset[str] = field(default_factory=frozenset)


def read_alone(name: str, text: str) -> Any:
    """The value of one parameter by itself. Raises SpecError."""
    return state.READERS[name](name, text) if name in state.READERS else read_value(name, text)


def allowed(name: str) -> str:
    """What the refusal of a parameter says is legal; ``tuple`` of its codes is in ``CODES``."""
    try:
        read_alone(name, "?")
    except SpecError as error:
        return error.allowed
    raise AssertionError(f"{name} takes anything")


SETTINGS = tuple(name for name in state.READERS if name not in state.REPEATED)
PARAMETERS = (*FIELDS, *SETTINGS)
ALLOWED = {name: allowed(name) for name in PARAMETERS}


def _pick(rng: np.random.Generator, options: Any) -> Any:
    return options[int(rng.integers(len(options)))]


def _whole(rng: np.random.Generator, low: int, high: int) -> int:
    """Ends, small numbers, and numbers of every size between."""
    if rng.random() < 0.2:
        return int(_pick(rng, (low, high)))
    size = np.exp(rng.uniform(0.0, np.log(high - low + 1.0)))
    return low + min(int(size) - 1, high - low)


def _real(rng: np.random.Generator, low: float, high: float) -> float:
    kind = rng.random()
    if kind < 0.1:
        return float(_pick(rng, (low, high)))
    if kind < 0.4:
        return float(np.clip(round(float(rng.normal(1.0, 1.0)), 2), low, high))
    top = min(high, 1e30)
    size = 10.0 ** rng.uniform(np.log10(max(low, top * 1e-12, 1e-30)), np.log10(top)) if top > 0 else 0.0
    return float(np.clip(-size if low < 0 and rng.random() < 0.5 else size, low, high))


def legal_text(rng: np.random.Generator, name: str, small: bool = False) -> str:
    """A text that this parameter's own refusal promises to take."""
    said = ALLOWED[name]
    if name in FREE:
        return str(_pick(rng, FREE[name]))
    if found := CODES.match(said):
        return str(_pick(rng, found.group(1).split(", ")))
    if (words := WORD.findall(said)) and rng.random() < 0.2:
        return str(_pick(rng, words))
    if found := WHOLE.match(said):
        low, high = (int(end.replace(",", "")) for end in found.groups())
        return str(_whole(rng, low, min(high, SMALL.get(name, high)) if small else high))
    found = REAL.match(said)
    assert found is not None, f"no legal text of {name} is known: put some into FREE"
    number = _real(rng, float(found.group(1)), float(found.group(2)))
    return str(_pick(rng, (repr(number), f"{number:.17g}", f" {number!r}")))


def legal_spec(rng: np.random.Generator, small: bool = False, most: int = 8) -> gc.Spec:
    """A legal Spec in which up to ``most`` fields are drawn; values that do not go together are drawn again."""
    while True:
        names = rng.choice(list(FIELDS), size=int(rng.integers(0, most + 1)), replace=False)
        values = {str(name): read_value(str(name), legal_text(rng, str(name), small)) for name in names}
        if small:
            values = {"depth": 5, "width": 16, "batch_size": 4, **values}
        if rng.random() < 0.15:
            values["depth"] = int(rng.integers(1, 9))
            values["width"] = tuple(int(n) for n in rng.integers(1, 25, values["depth"]))
        try:
            return gc.Spec(**values)
        except SpecError:
            continue


def legal_settings(rng: np.random.Generator, small: bool = False, most: int = 8) -> dict[str, str]:
    """Some of the pages' settings, each with a legal text."""
    names = rng.choice(SETTINGS, size=int(rng.integers(0, most + 1)), replace=False)
    return {str(name): legal_text(rng, str(name), small) for name in names}


def legal(rng: np.random.Generator, small: bool = False) -> Link:
    """A link in which nothing is wrong."""
    return Link({**gc.to_query(legal_spec(rng, small)), **legal_settings(rng, small)})


def spoiled(rng: np.random.Generator, small: bool = False, texts: tuple[str, ...] = BROKEN) -> Link:
    """A legal link in which one to four parameters hold such texts, some of them under names that nobody knows."""
    query = dict(legal(rng, small).query)
    refused = set()
    for _ in range(int(rng.integers(1, 5))):
        text = str(_pick(rng, texts))
        name = str(_pick(rng, PARAMETERS)) if rng.random() < 0.8 else unknown_name(rng, texts)
        query[name] = text
        refused.add(name)
    return Link(query, frozenset(refused))


def unknown_name(rng: np.random.Generator, texts: tuple[str, ...]) -> str:
    """A name that no parameter has: misspelt, of another page, or the text itself."""
    name = str(_pick(rng, PARAMETERS))
    return str(_pick(rng, (name + "x", name.upper(), "utm_source", "", "gates_", "depth ", _pick(rng, texts))))


def torn(rng: np.random.Generator, text: str) -> str:
    """The text of a link as mail programs and people leave it: cut off, with a character changed, or joined twice."""
    place = int(rng.integers(0, len(text) + 1))
    put = str(_pick(rng, ("%", "%zz", "%E4%B8", "&", "&&", "=", "==", "+", ";", "#", "?", "%00", "\udcff", " ", "…")))
    return str(_pick(rng, (text[:place], text[place:], text[:place] + put + text[place:], f"{text}&{text[place:]}")))
