"""Reading a document from outside: every value is checked, and what is wrong is named with its place."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

import numpy as np

from gradcore.errors import SpecError

Array = np.ndarray
MOST_BYTES = 2**26  # 256 networks of 1,500 layers
JSON = "a JSON object, as Record.to_json makes"
SPECIAL = {"inf": np.inf, "-inf": -np.inf, "nan": np.nan}


def parsed(text: str | bytes) -> dict[str, Any]:
    """The JSON object of a text. Raises SpecError where it is none, or too large."""
    if len(text) > MOST_BYTES:
        raise SpecError("record", f"{len(text):,} bytes", f"at most {MOST_BYTES:,} bytes")
    try:
        decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        document = json.loads(decoded, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise SpecError("record", str(error)[:60], JSON) from None
    if not isinstance(document, dict):
        raise SpecError("record", type(document).__name__, JSON)
    return document


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


class Part:
    """One object of the document, read by checks that name the place of what they refuse (SpecError)."""

    def __init__(self, name: str, values: Mapping[str, Any]) -> None:
        self.name, self.values = name, values

    def refuse(self, name: str, value: Any, allowed: str) -> NoReturn:
        """Say what is wrong."""
        raise SpecError(f"{self.name}: {name}", value, allowed)

    def given(self, name: str) -> Any:
        """The value as it stands; refused where there is none."""
        if name not in self.values:
            self.refuse(name, "nothing", f'an entry "{name}", as Record.to_json makes')
        return self.values[name]

    def inner(self, name: str) -> Part:
        """An object within."""
        value = self.given(name)
        if not isinstance(value, dict):
            self.refuse(name, value, "an object")
        return Part(f"{self.name}: {name}", value)

    def text(self, name: str) -> str:
        """A text."""
        value = self.given(name)
        return value if isinstance(value, str) else self.refuse(name, value, "a text")

    def texts(self, name: str) -> list[str]:
        """A list of texts."""
        values = self.given(name)
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            self.refuse(name, values, "a list of texts")
        return values

    def one_of(self, name: str, codes: Collection[str]) -> str:
        """One of these codes."""
        value = self.given(name)
        return value if isinstance(value, str) and value in codes else self.refuse(name, value, ", ".join(codes))

    def whole(self, name: str) -> int:
        """An integer from 0 on."""
        value = self.given(name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            self.refuse(name, value, "an integer from 0 on")
        return value

    def indices(self, name: str) -> tuple[int, ...]:
        """Different integers from 0 on, at least one."""
        values = self.given(name)
        good = isinstance(values, list) and values and all(type(value) is int and value >= 0 for value in values)
        if not good or len(set(values)) != len(values):
            self.refuse(name, values, "different integers from 0 on")
        return tuple(values)

    def real(self, name: str) -> float:
        """A number, inf, -inf and nan among them."""
        return self._number(name, self.given(name))

    def number_or_none(self, name: str) -> float | int | None:
        """A number, or none."""
        value = self.given(name)
        return value if value is None or type(value) is int else self._number(name, value)

    def _number(self, name: str, value: Any) -> float:
        if type(value) in (int, float):
            try:
                return float(value)
            except OverflowError:
                pass
        elif isinstance(value, str) and value in SPECIAL:
            return SPECIAL[value]
        return self.refuse(name, value, 'numbers, or the texts "inf", "-inf" and "nan"')

    def row(self, name: str, length: int, below_infinity: bool = False) -> Array:
        """(length,) numbers; ``below_infinity``: neither nan nor inf, as a predicted logarithm is."""
        values = self._row(name, self.given(name), length)
        if below_infinity and not (values < np.inf).all():
            self.refuse(name, "nan or inf", "numbers below infinity in a prediction")
        values.flags.writeable = False
        return values

    def rows(self, name: str, shape: tuple[int, int]) -> Array:
        """Numbers of this shape, a list of lists."""
        values = self.given(name)
        if not isinstance(values, list) or len(values) != shape[0]:
            found = f"{len(values)} rows" if isinstance(values, list) else values
            self.refuse(name, found, f"{shape[0]} rows, one per network")
        return np.array([self._row(name, row, shape[1]) for row in values])

    def _row(self, name: str, values: Any, length: int) -> Array:
        if not isinstance(values, list) or len(values) != length:
            found = f"{len(values)} numbers" if isinstance(values, list) else values
            self.refuse(name, found, f"{length} numbers, one per layer")
        return np.array([self._number(name, value) for value in values])
