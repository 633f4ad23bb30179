"""Keyboard shortcuts: one table for the buttons that have them and for the sheet that lists them.

Streamlit has R and C for itself, and takes letters, digits and special keys, but no punctuation.
"""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from app import theme
from app.i18n import mark, t


@dataclass(frozen=True)
class Key:
    """A key, and what its button does; ``where`` names the page where it is not on all of them."""

    letter: str
    does: str
    where: str = ""


KEYS = {
    "fix": Key("F", mark("apply the first fix"), mark("Explore")),
    "measure": Key("M", mark("measure; once measured, draw other networks"), mark("Explore")),
    "pin": Key("P", mark("pin the network; once pinned, open the page Compare"), mark("Explore")),
    "pin_here": Key("P", mark("pin the sidebar's network"), mark("Compare")),
    "measure_pins": Key("M", mark("measure; once measured, draw other networks"), mark("Compare")),
    "undo": Key("Z", mark("undo the last change of the network")),
    "redo": Key("Y", mark("redo it")),
    "load": Key("L", mark("load the case of the lesson"), mark("Learn")),
    "previous": Key("P", mark("previous lesson"), mark("Learn")),
    "next": Key("N", mark("next lesson"), mark("Learn")),
    "keys": Key("H", mark("show this list")),
}
ALWAYS = {  # not ours, but worth knowing
    "Tab": mark("go to the next control"),
    "Esc": mark("close a menu or this list"),
    "R": mark("draw the page once more"),
}


def letter(code: str) -> str:
    """The key of this button, for its ``shortcut``."""
    return KEYS[code].letter


def sheet() -> None:
    """The button that opens the list of keys."""
    if st.button(
        theme.ICONS["keys"], key="keys", type="tertiary", shortcut=letter("keys"), help=t("All keyboard shortcuts.")
    ):
        st.dialog(t("Keyboard"))(_list)()


def _list() -> None:
    for code in KEYS:
        key = KEYS[code]
        where = t(" (page {page})", page=t(key.where)) if key.where else ""
        st.markdown(f":gray-badge[{key.letter}] {t(key.does)}{where}")
    for name, does in ALWAYS.items():
        st.markdown(f":gray-badge[{name}] {t(does)}")
    st.caption(t("Letters work while no text field has the focus."))
