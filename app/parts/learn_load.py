"""'Load this': a case of a lesson, opened on its page as a link would open it.

The case replaces what its page is about, the network or that page's own question; all other settings stay.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from app import controls, keys, state, theme
from app.i18n import t
from app.parts import move
from gradcore.codec import from_query
from gradcore.experiments.learn import Case
from gradcore.spec import Spec

if TYPE_CHECKING:
    from app.pages import Page

OWN = ("chain", "gates", "train")  # pages that the network does not concern: it stays as it is


def page_of(case: Case) -> Page | None:
    """The page of the case; None where the explorer has no page at that address."""
    from app.pages import PAGES  # it imports the views, and they this module

    return next((page for page in PAGES if page.address == case.address), None)


def known(case: Case) -> bool:
    """Whether its page is there."""
    return page_of(case) is not None


def query_of(case: Case) -> state.Query:
    """The parameters that open the case: its own in place of the network, or of its page's question. A page's settings
    begin with its address."""
    asked = controls.question()
    mine = {name: text for name, text in case.query.items() if name in state.READERS}
    fresh: dict[str, Any] = {
        name: state.READERS[name](name, mine[name]) if name in mine else getattr(state.Settings(), name)
        for name in state.READERS
        if name.startswith(f"{case.address}_")
    }
    network = {name: text for name, text in case.query.items() if name not in mine}
    spec = (asked.spec or Spec()) if case.address in OWN else from_query(network)
    return state.write_query(spec, replace(asked.settings, **fresh))


def button(case: Case, primary: bool = True) -> None:
    """Open the case on its page; the main one of a lesson says what it is in its help."""
    st.button(
        t("Load this into {page}", page=_name(case)) if primary else case.title.text(t),
        key=f"load_{case.title.message_id}",
        icon=theme.ICONS["load"],
        type="primary" if primary else "secondary",
        shortcut=keys.letter("load") if primary else None,
        width="stretch" if primary else "content",
        help=case.title.text(t) if primary else None,
        on_click=_open,
        args=(case,),
    )


def _name(case: Case) -> str:
    page = page_of(case)
    return t(page.title) if page is not None else case.address


def _open(case: Case) -> None:
    """Callback: go to the page of the case."""
    move.ask(case.address, query_of(case))
