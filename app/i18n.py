"""Every visible string passes through ``t``: the English sentence is the message id, catalogues come by gettext."""

from __future__ import annotations

import gettext
from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import streamlit as st
from babel import Locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from streamlit.runtime.scriptrunner import get_script_run_ctx

from app.locale import spoken
from gradcore.errors import SpecError, UnsupportedError
from gradcore.profile import Note

LANGUAGES = {"en": "", "zh": "zh_CN"}  # code in the link -> catalogue; the message ids are English themselves
KEY = "language"  # of this run, in the session
R = TypeVar("R")
_CAPTURED: ContextVar[str] = ContextVar("captured_language", default="")


@cache
def catalogue(code: str) -> gettext.NullTranslations:
    """The compiled catalogue of this language, made in memory from its text file."""
    if not LANGUAGES[code]:
        return gettext.NullTranslations()
    compiled = BytesIO()
    with (Path(__file__).parent / "locale" / LANGUAGES[code] / "LC_MESSAGES" / "app.po").open("rb") as file:
        write_mo(compiled, read_po(file))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def translation() -> gettext.NullTranslations:
    """The catalogue of this run."""
    return catalogue(language())


def language() -> str:
    """The code of this run's language; English where there is no visitor."""
    if _CAPTURED.get():
        return _CAPTURED.get()
    if get_script_run_ctx(suppress_warning=True) is None:
        return "en"
    return st.session_state.get(KEY) or browsers()


def captured(work: Callable[[], R]) -> Callable[[], R]:
    """The same work in the language of this run, for when it is done later and outside of any run (a download)."""
    code = language()

    def later() -> R:
        before = _CAPTURED.set(code)
        try:
            return work()
        finally:
            _CAPTURED.reset(before)

    return later


def speak(code: str) -> None:
    """Set the language of this run; an empty code is the browser's own."""
    st.session_state[KEY] = code if code in LANGUAGES else browsers()


def browsers() -> str:
    """The language of the visitor's browser, as far as there is a catalogue for it."""
    first = (st.context.locale or "en").replace("_", "-").split("-")[0].lower()
    return first if first in LANGUAGES else "en"


def name_of(code: str) -> str:
    """What the language calls itself."""
    return str(Locale(code).display_name)


def t(msgid: str, **values: Any) -> str:
    """The text of this message in the language of the run, with its named values filled in."""
    text = translation().gettext(msgid) if msgid else ""  # the empty id is the catalogue's own header
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
        allowed=said_text(error.allowed),
    )
    return t("{sentence} {hint}", sentence=text, hint=said_text(error.hint)) if error.hint else text


def unsupported_text(error: UnsupportedError) -> str:
    """Why there is no answer, and what is supported."""
    return t(
        "{asked}: {reason}. Supported: {supported}.",
        asked=said_text(error.asked),
        reason=said_text(error.reason),
        supported=said_text(error.supported),
    )


def note_text(note: Note) -> str:
    """The sentence of a note."""
    return said_text(note.sentence)


def said_text(sentence: str) -> str:
    """A sentence whose values are filled in already, in the language of the run."""
    if language() == "en":
        return sentence
    return spoken.say(sentence, _templates(language()), t)


@cache
def _templates(code: str) -> tuple[str, ...]:
    """The templates of this catalogue for such sentences."""
    known = getattr(catalogue(code), "_catalog", {})
    return tuple(msgid for msgid in known if isinstance(msgid, str) and spoken.HOLE.search(msgid))


def _literal(value: Any, limit: int = 60) -> str:
    """The value as it is, not as Markdown: it may come from a link. What is not seen, such as a mark that turns the
    direction of writing, is shown by its number; a line's end would end the Markdown around it as well."""
    text = str(value)[: limit + 1].replace("`", "'")
    text = "".join(" " if c.isspace() else c if c.isprintable() else f"\\u{ord(c):04x}" for c in text) or " "
    return f"`{text if len(text) <= limit else text[: limit - 1] + '…'}`"
