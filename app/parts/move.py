"""From one page to another within a visit: a button that opens a page on a question of its own.

A link would open the page anew, and what was uploaded would be gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import streamlit as st

from app import controls, state
from gradcore.spec import Spec

KEY = "move_to"


def go(address: str, settings: Mapping[str, Any] | None = None, spec: Spec | None = None) -> None:
    """Callback: open the page of this address, with these settings changed and all others as they are, and on this
    network, or the sidebar's."""
    held = controls.question()
    ask(address, state.write_query(spec or held.spec or Spec(), replace(held.settings, **(settings or {}))))


def ask(address: str, query: state.Query) -> None:
    """Callback: open the page of this address with these link parameters."""
    st.session_state[KEY] = (address, query)


def arrive(pages: Mapping[str, Any]) -> None:
    """Open the page that a button of the last run has asked for. ``pages``: address -> st.Page."""
    address, query = st.session_state.pop(KEY, (None, {}))
    if address in pages:
        st.switch_page(pages[address], query_params=query)
