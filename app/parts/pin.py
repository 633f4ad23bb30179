"""Pins: the networks kept for the page Compare, in the session and in the link, and the button that adds one."""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

from app import controls, theme
from app.i18n import t
from app.keys import letter
from app.parts import move
from gradcore.errors import SpecError
from gradcore.pins import MOST, added
from gradcore.spec import Spec

KEY = "setting_pin"
FULL = "pins_full"  # the network for which there was no room
ADDRESS = "compare"


def held() -> tuple[Spec, ...]:
    """The pinned networks, in their order."""
    return st.session_state[KEY]


def add(specs: Iterable[Spec]) -> None:
    """Callback: pin these, each once; where there is no room, it is said."""
    for spec in specs:
        try:
            st.session_state[KEY] = added(held(), spec)
        except SpecError:
            st.session_state[FULL] = spec


def remove(number: int) -> None:
    """Callback: take the pin of this number (from 1) away."""
    st.session_state[KEY] = (*held()[: number - 1], *held()[number:])


def clear() -> None:
    """Callback: take all pins away."""
    st.session_state[KEY] = ()


def shift(number: int, step: int) -> None:
    """Callback: move the pin of this number by so many places; at either end it stays."""
    pins = list(held())
    to = min(max(number - 1 + step, 0), len(pins) - 1)
    pins.insert(to, pins.pop(number - 1))
    st.session_state[KEY] = tuple(pins)


def button(spec: Spec | None) -> None:
    """Pin this network, or the way to the page where it is pinned already; one key for both."""
    pinned = spec is not None and spec in held()
    if pinned:
        label = t("Compare ({count} pinned)", count=len(held()))
        hint = t("This network is pinned. Opens the page Compare.")
    else:
        label = t("Pin")
        hint = t("Keeps this network for the page Compare, beside up to five others; the link carries them.")
    st.button(
        label,
        key="pin",
        icon=theme.ICONS["compare" if pinned else "pin"],
        type="tertiary",
        shortcut=letter("pin"),
        help=hint,
        disabled=spec is None,
        on_click=move.go if pinned else add,
        args=(ADDRESS,) if pinned else ([spec],),
    )


def note() -> None:
    """That there was no room, as long as that holds, and the way to where some can be made."""
    if st.session_state.get(FULL) is None:
        return
    if len(held()) < MOST or st.session_state[FULL] != controls.question().spec:
        st.session_state[FULL] = None
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.warning(
            t("{count} networks are pinned, and that is the most. Remove one on the page Compare.", count=MOST),
            icon=theme.ICONS["notice"],
        )
        st.button(t("Open Compare"), key="pin_full", icon=theme.ICONS["compare"], on_click=move.go, args=(ADDRESS,))
