"""Numbers and messages in words, shared by everything that speaks: 4.2e-8, and sentences with named values.

Texts pass through a translator ``t(template, **values)``; the default fills the English template itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

LN10 = math.log(10.0)
Translate = Callable[..., str]


def english(msgid: str, **values: Any) -> str:
    """The default translator: the English sentence itself, with its values filled in."""
    return msgid.format(**values) if values else msgid


@dataclass(frozen=True)
class Message:
    """One thing to say: ``message_id`` (a stable code), the English ``template`` and its named ``values``: texts, or
    messages that are translated themselves."""

    message_id: str
    template: str
    values: Mapping[str, str | Message] = field(default_factory=dict)

    def text(self, t: Translate = english) -> str:
        """The sentence in the translator's language."""
        said = {name: v.text(t) if isinstance(v, Message) else v for name, v in self.values.items()}
        return t(self.template, **said)

    def __str__(self) -> str:
        return self.text()


def number_text(log10: float, digits: int = 2) -> str:
    """The number 10**log10 in a few characters: 0.71, 12, 4.2e-8, 1e-600; 0 for -inf."""
    if math.isnan(log10):
        return "–"
    if math.isinf(log10):
        return "0" if log10 < 0 else "inf"
    if -3.0 <= log10 < 4.0:
        return f"{10.0**log10:#.{digits}g}".rstrip(".") if log10 < digits else f"{10.0**log10:.0f}"
    exponent = math.floor(log10)
    mantissa = f"{10.0 ** (log10 - exponent):.{digits - 1}f}"
    if float(mantissa) >= 10.0:
        mantissa, exponent = f"{1:.{digits - 1}f}", exponent + 1
    return f"{mantissa}e{exponent}"


def factor_text(log10: float) -> str:
    """A per-layer factor 10**log10 with two decimals where that says enough: 0.71, 1.00, 12.30; else as a number."""
    return f"{10.0**log10:.2f}" if -1.0 <= log10 < 2.0 else number_text(log10)


def factors_text(log: float) -> str:
    """A factor per layer in RMS from its natural log, its square (of the mean square) in brackets; a dash for nan."""
    return "–" if math.isnan(log) else f"×{factor_text(log / LN10)} ({number_text(2.0 * log / LN10)})"
