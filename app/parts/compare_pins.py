"""The pins of the page Compare: a card for each, what can be pinned, and what stands there while nothing is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import streamlit as st

from app import theme
from app.controls import EXPERIMENTS, FIRST_VIEW, experiment_title
from app.i18n import mark, t
from app.keys import letter
from app.parts import move, pin
from app.parts.verdict_box import LOOKS, UNKNOWN, Answer
from gradcore import charts
from gradcore.charts import compare
from gradcore.pins import MOST, Pin
from gradcore.presets import PRESETS
from gradcore.spec import Spec

PRESET_KEY = "compare_preset"
ACTIONS = {"left": mark("Move left"), "right": mark("Move right"), "remove": mark("Remove")}


def palette() -> tuple[str, ...]:
    """The colours of the charts in the theme in force."""
    return charts.DARK if st.context.theme.type == "dark" else charts.LIGHT


def cards(pins: Sequence[Pin], found: Sequence[Answer]) -> None:
    """A card for each pin: its line, its name, its verdict, and what can be done with it."""
    with st.grid(min(len(pins), MOST), min_column_width=theme.PIN_MIN_WIDTH):
        for number, (one, answer) in enumerate(zip(pins, found, strict=True), start=1):
            with st.container(border=True, gap="xxsmall", height="stretch"):
                _card(number, one, answer, len(pins))


def _card(number: int, one: Pin, answer: Answer, count: int) -> None:
    look = UNKNOWN if answer.verdict is None else LOOKS[answer.verdict.kind]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{number}**", width="content")
        st.image(compare.swatch(number, palette()), width=44)
        st.badge(t(look.word), icon=look.icon, color=look.color)
    st.markdown(f":small[**{one.name}**]", help=f"{one.title}: {one.sentence}" if one.sentence else None)
    with st.container(horizontal=True, gap="xsmall"):
        st.button(
            t("Open"),
            key=f"pin_open_{number}",
            type="tertiary",
            icon=theme.ICONS["load"],
            help=t("Opens network {number} on the page Explore and in the sidebar.", number=number),
            on_click=move.go,
            args=("explore", None, one.spec),
        )
        offered = [code for code in ACTIONS if count > 1 or code == "remove"]
        st.menu_button(
            t("More"),
            offered,
            key=f"pin_more_{number}",
            type="tertiary",
            format_func=lambda code: t(ACTIONS[code]),
            on_click=partial(_act, number),
        )


def _act(number: int) -> None:
    """Callback of a card's menu."""
    code = st.session_state[f"pin_more_{number}"]
    if code == "remove":
        pin.remove(number)
    elif code is not None:
        pin.shift(number, -1 if code == "left" else 1)


def adding(asked: Spec | None, pins: Sequence[Spec]) -> None:
    """What can be pinned besides: the sidebar's network, and any preset."""
    side: Any = "right" if pins else "left"
    with st.container(horizontal=True, horizontal_alignment=side, vertical_alignment="center", gap="small"):
        if len(pins) >= MOST:
            st.caption(t("{count} is the most: remove one to pin another.", count=MOST), width="content")
        else:
            _offer(asked, pins)
        if pins:
            st.button(t("Remove all"), key="pin_clear", type="tertiary", on_click=pin.clear)


def _offer(asked: Spec | None, pins: Sequence[Spec]) -> None:
    st.button(
        t("Pinned: the sidebar's network") if asked in pins else t("Pin the sidebar's network"),
        key="pin_sidebar",
        icon=theme.ICONS["pin"],
        shortcut=letter("pin_here"),
        disabled=asked is None or asked in pins,
        help=t("{count} pins at most; the link of this page holds them.", count=MOST),
        on_click=pin.add,
        args=([asked],),
    )
    st.selectbox(
        t("Pin a preset"),
        options=[*FIRST_VIEW, *EXPERIMENTS],
        index=None,
        format_func=experiment_title,
        key=PRESET_KEY,
        on_change=_pin_preset,
        placeholder=t("pin a preset"),
        label_visibility="collapsed",
        width=250,
    )


def _pin_preset() -> None:
    """Callback: the choice is pinned, and the list is free for the next."""
    code = st.session_state[PRESET_KEY]
    if code is not None:
        pin.add([PRESETS[code].spec])
    st.session_state[PRESET_KEY] = None


def empty(asked: Spec | None) -> None:
    """Nothing is pinned: what this page does, and three networks to begin with."""
    with st.container(border=True):
        said, pressed = st.columns([3, 1], vertical_alignment="center", gap="medium")
        with said, st.container(gap="xxsmall"):
            st.subheader(t("Nothing is pinned yet"), anchor=False)
            st.caption(
                t(
                    "Pin up to {count} networks, and they are drawn over each other: signal and gradient by layer, and "
                    "a table of their verdicts with what differs between them.",
                    count=MOST,
                )
            )
        with pressed:
            st.button(
                t("Pin these three"),
                key="pin_three",
                icon=theme.ICONS["pin"],
                type="primary",
                width="stretch",
                on_click=pin.add,
                args=([PRESETS[code].spec for code in FIRST_VIEW],),
            )
    with st.grid(len(FIRST_VIEW), min_column_width=theme.CARD_MIN_WIDTH):
        for code in FIRST_VIEW:
            with st.container(border=True, gap="xsmall", height="stretch"):
                _ready(code)
    adding(asked, ())


def _ready(code: str) -> None:
    preset = PRESETS[code]
    st.markdown(f"**{t(preset.title)}**")
    st.caption(t(preset.sentence))
    st.button(
        t("Pin"), key=f"pin_{code}", icon=theme.ICONS["pin"], width="stretch", on_click=pin.add, args=([preset.spec],)
    )
