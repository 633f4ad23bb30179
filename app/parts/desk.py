"""A row of tools at the head of the sidebar: undo, redo, recent networks, the link of this page, the keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from app import keys, state, theme
from app.i18n import t
from app.parts.words import short_text
from app.state import Settings
from app.trail import trail
from gradcore.spec import Spec


def draw(spec: Spec | None, settings: Settings, load: Callable[[Spec], None]) -> None:
    """The row; ``load`` sets the sidebar to a Spec."""
    past = trail()
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        _step("undo", t("Undo the last change of the network."), past.undo, bool(past.before), load)
        _step("redo", t("Redo what was undone."), past.redo, bool(past.after), load)
        _recent(past.recent, load)
        if spec is not None:
            link(spec, settings)
        keys.sheet()


def _step(code: str, words: str, step: Callable[[], Spec | None], possible: bool, load: Callable[[Spec], None]) -> None:
    def go() -> None:
        if (spec := step()) is not None:
            load(spec)

    st.button(
        theme.ICONS[code],
        key=f"trail_{code}",
        type="tertiary",
        shortcut=keys.letter(code),
        disabled=not possible,
        help=words,
        on_click=go,
    )


def _recent(specs: list[Spec], load: Callable[[Spec], None]) -> None:
    with st.popover(
        theme.ICONS["recent"], type="tertiary", disabled=not specs, help=t("Recent networks."), key="recent"
    ):
        st.markdown(f"**{t('Recent networks')}**")
        for number, spec in enumerate(specs):
            st.button(
                short_text(spec), key=f"recent_{number}", type="tertiary", on_click=load, args=(spec,), width="stretch"
            )


def link(spec: Spec, settings: Settings) -> None:
    """The address that opens exactly this page with this question, with Streamlit's own button to copy it."""
    with st.popover(theme.ICONS["link"], type="tertiary", help=t("Copy the link of this page."), key="link"):
        st.markdown(f"**{t('Opens exactly this')}**")
        st.code(address(spec, settings), language=None, wrap_lines=True, width=theme.LINK_WIDTH)
        st.markdown(t("Network, measurement and settings are in it; what is at its default is left out."))


def address(spec: Spec, settings: Settings) -> str:
    """The whole link."""
    query: dict[str, Any] = state.write_query(spec, settings)
    base = (st.context.url or "").split("?")[0]
    return f"{base}?{urlencode(query, doseq=True, safe=':,')}" if query else base
