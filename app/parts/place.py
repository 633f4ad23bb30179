"""A spot of the page that is drawn more than once in a run, without being empty in between."""

from __future__ import annotations

from typing import Any

import streamlit as st


class Place:
    """Taken now, drawn later. ``st.empty`` would clear at once what the last run left there, and the page would
    flicker at every change; here that stands until it is drawn anew. For elements only: no widgets, no containers."""

    def __init__(self) -> None:
        self._spot: Any = st.container()

    def draw(self, element: str, *args: Any, **options: Any) -> None:
        """Draw ``st.<element>(*args, **options)`` here; a later call replaces it."""
        self._spot = getattr(self._spot, element)(*args, **options)
