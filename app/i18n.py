"""Every visible string passes through ``t``: the English sentence is the message id, catalogues come by gettext."""

from __future__ import annotations

import gettext
from typing import Any

from gradcore.errors import SpecError, UnsupportedError
from gradcore.profile import Note

_ENGLISH = gettext.NullTranslations()


def translation() -> gettext.NullTranslations:
    """The catalogue of this run; a language choice will pick another one."""
    return _ENGLISH


def language() -> str:
    """The code of this run's language."""
    return "en"


def t(msgid: str, **values: Any) -> str:
    """The text of this message in the language of the run, with its named values filled in."""
    text = translation().gettext(msgid)
    return text.format(**values) if values else text


def mark(msgid: str) -> str:
    """Marks a text of a table for extraction; it is translated where it is shown."""
    return msgid


def spec_error_text(error: SpecError) -> str:
    """What is allowed for this field, and what to do next."""
    text = t(
        "{field} = {value} is not allowed; allowed: {allowed}.",
        field=_literal(error.field),
        value=_literal(error.value),
        allowed=t(error.allowed),
    )
    return f"{text} {t(error.hint)}" if error.hint else text


def unsupported_text(error: UnsupportedError) -> str:
    """Why there is no answer, and what is supported."""
    return t(
        "{asked}: {reason}. Supported: {supported}.",
        asked=t(error.asked),
        reason=t(error.reason),
        supported=t(error.supported),
    )


def note_text(note: Note) -> str:
    """The sentence of a note (its message id and values are there for a catalogue)."""
    return note.sentence


def _literal(value: Any, limit: int = 60) -> str:
    """The value as it is, not as Markdown: it may come from a link."""
    text = str(value).replace("`", "'").replace("\n", " ") or " "
    return f"`{text if len(text) <= limit else text[: limit - 1] + '…'}`"
