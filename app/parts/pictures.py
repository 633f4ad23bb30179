"""Every chart of a page is drawn here, and known until the run ends to who offers it as a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from app.parts.place import Place
from gradcore.export import Drawing

KEY = "pictures"


def begin() -> None:
    """A run begins with no chart."""
    st.session_state[KEY] = {}


def chart(where: Any, code: str, document: Mapping[str, Any], words: str, **look: Any) -> None:
    """Draw a Vega-Lite document at a :class:`Place`, a container or ``st`` itself, as wide as that is.

    ``code`` names the chart on its page and in its file, ``words`` say what is to be seen. A chart of the same code
    takes the place of the one before.
    """
    st.session_state.setdefault(KEY, {})[code] = Drawing(code, document, words)
    options = {"width": "stretch", "alt": words, **look}
    if isinstance(where, Place):
        where.draw("vega_lite_chart", None, document, **options)
    else:
        where.vega_lite_chart(None, document, **options)


def taken() -> list[Drawing]:
    """The charts of this run, in their order; and no run keeps them after this."""
    return list(st.session_state.pop(KEY, {}).values())


def here() -> list[Drawing]:
    """The same, while the run goes on."""
    return list(st.session_state.get(KEY, {}).values())
