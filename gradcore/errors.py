"""Errors that say what was given, what is allowed and what to do next.

Every error carries a ``message_id`` and named ``values``; the English sentence in ``str(error)`` is one
rendering of them, so that a presentation layer can say the same thing in another language.
"""

from __future__ import annotations

from typing import Any


class GradcoreError(Exception):
    """Base of all errors of this package: ``message_id`` plus named ``values``."""

    def __init__(self, message_id: str, sentence: str, **values: Any) -> None:
        super().__init__(sentence)
        self.message_id = message_id
        self.values = values


class SpecError(GradcoreError, ValueError):
    """An illegal value of one field of a :class:`gradcore.Spec`.

    Attributes: ``field`` (its name), ``value`` (what was given), ``allowed`` (what is legal, in words),
    ``hint`` (what to do next; may be empty).
    """

    def __init__(self, field: str, value: Any, allowed: str, hint: str = "") -> None:
        shown = repr(value)
        if len(shown) > 80:
            shown = shown[:77] + "..."
        sentence = f"{field} = {shown} is not allowed; allowed: {allowed}."
        if hint:
            sentence += f" {hint}"
        super().__init__("spec_error", sentence, field=field, value=value, allowed=allowed, hint=hint)
        self.field = field
        self.value = value
        self.allowed = allowed
        self.hint = hint


class UnsupportedError(GradcoreError, NotImplementedError):
    """A legal question that the theory cannot answer honestly.

    Attributes: ``asked`` (what was asked), ``reason`` (why there is no answer), ``supported`` (what is).
    """

    def __init__(self, asked: str, reason: str, supported: str) -> None:
        super().__init__(
            "unsupported",
            f"{asked} is not supported: {reason}. Supported: {supported}.",
            asked=asked,
            reason=reason,
            supported=supported,
        )
        self.asked = asked
        self.reason = reason
        self.supported = supported
