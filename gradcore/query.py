"""Questions as query parameters: a flat frozen dataclass, each of whose fields is read by a named check.

    READERS = {"hidden": whole(1, 6), "rate": real(1e-6, 1e4), "cost": one_of(COSTS)}
    query.read(TrainQuestion, READERS, "train_", {"train_hidden": "2"})

A reader is ``reader(name, text)``: the value, or SpecError naming the parameter, the text and what is allowed. The
checks and the forms of numbers are those of the Spec's own fields (``gradcore.fields``): 5/3 and 1_000 are numbers too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from gradcore.errors import SpecError
from gradcore.fields import choice, integer, number, read_int, read_number, read_optional
from gradcore.fields import optional as optional_check
from gradcore.versions import stamped, upgraded

Reader = Callable[[str, str], Any]
Asked = TypeVar("Asked")


def _reader(read: Callable[[str], Any], check: Callable[[str, Any], Any]) -> Reader:
    return lambda name, text: check(name, read(text))


def whole(low: int, high: int) -> Reader:
    """An integer within these bounds."""
    return _reader(read_int, integer(low, high))


def whole_or_none(low: int, high: int) -> Reader:
    """The same, or None, written "None"."""
    return _reader(read_optional(read_int), optional_check(integer(low, high)))


def real(low: float, high: float) -> Reader:
    """A finite number within these bounds."""
    return _reader(read_number, number(low, high))


def real_or_none(low: float, high: float) -> Reader:
    """The same, or None, written "None"."""
    return _reader(read_optional(read_number), optional_check(number(low, high)))


def one_of(codes: Sequence[str]) -> Reader:
    """One of these codes."""
    return _reader(str, choice(codes))


def write(question: Any, prefix: str) -> dict[str, str]:
    """The parameters of a link to this question; defaults are left out."""
    held = ((field, getattr(question, field.name)) for field in fields(question))
    return stamped({prefix + field.name: str(value) for field, value in held if value != field.default})


def read(kind: Callable[..., Asked], readers: Mapping[str, Reader], prefix: str, query: Mapping[str, str]) -> Asked:
    """The question of these parameters; names without the prefix are left alone. Raises SpecError, also at a name
    that has the prefix and is none of ``readers``, and at a link of a later version than this one."""
    known, refused = upgraded(query, lambda name: name.startswith(prefix))
    if refused:
        raise refused[0]
    mine = {name.removeprefix(prefix): text for name, text in known.items() if name.startswith(prefix)}
    for name in mine:
        if name not in readers:
            raise SpecError(prefix + name, mine[name], "one of " + ", ".join(prefix + known for known in readers))
    return kind(**{name: readers[name](prefix + name, text) for name, text in mine.items()})
