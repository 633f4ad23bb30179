"""The foot of a page: its files, and what the sidebar holds where there is one."""

from __future__ import annotations

import streamlit as st

from app import controls, keys, limits
from app.i18n import t
from app.parts import desk, page_files, pictures


def draw(address: str, title: str, sentence: str, files: bool = True) -> None:
    """The row; ``files`` is False where the page offers its files itself."""
    alone = controls.without_sidebar()
    asked = controls.question()
    drawn = pictures.taken()
    if files or alone:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            if files:
                page_files.menu(address, t(title), t(sentence), drawn)
            if alone:
                controls.languages()
                if asked.spec is not None:
                    desk.link(asked.spec, asked.settings)
                keys.sheet()
    if alone:
        limits.draw()
