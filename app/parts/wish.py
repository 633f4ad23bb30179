"""What a visitor wishes of something that the page's own run computes: that it is made, or that it is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st


@dataclass(frozen=True)
class Wish:
    """One computation of a page by its ``name``; a ``key`` says which question a wish is about."""

    name: str

    @property
    def asked(self) -> str:
        """Where the session keeps the question that was asked for."""
        return f"{self.name}_asked"

    @property
    def cancelled(self) -> str:
        """Where it keeps the one that was cancelled."""
        return f"{self.name}_cancelled"

    def allows(self, key: Any, cheap: bool) -> bool:
        """Whether it is to be computed: asked for, or cheap; not cancelled."""
        return st.session_state.get(self.cancelled) != key and (cheap or st.session_state.get(self.asked) == key)

    def ask(self, key: Any) -> None:
        """Callback of the button that starts it."""
        st.session_state[self.asked] = key
        st.session_state.pop(self.cancelled, None)

    def cancel(self, key: Any) -> None:
        """Callback of the button that stops it."""
        st.session_state[self.cancelled] = key
        st.session_state.pop(self.asked, None)
