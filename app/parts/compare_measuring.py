"""Measuring the pinned networks one after the other, unasked where all are cheap, by the app's runner.

What was measured is in the store of all sessions: a stopped run goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from app import controls, costs, runner, theme
from app.i18n import t
from app.keys import letter
from app.parts.verdict_box import refusal_text
from app.parts.wish import Wish
from app.parts.words import seconds_text
from app.state import Settings
from gradcore.errors import SpecError, UnsupportedError
from gradcore.spec import Spec

if TYPE_CHECKING:
    from gradcore.measurement import Measurement

WISH, REFUSED = Wish("compare"), "compare_refused"


def measured(specs: Sequence[Spec], settings: Settings) -> list[Measurement | None]:
    """The measurement of each, where it is there."""
    return [runner.at_hand(spec, settings) for spec in specs]


def refusal(spec: Spec, settings: Settings) -> str:
    """Why this network cannot be measured; "" where nothing is known against it."""
    if runner.too_large(spec, settings.sampler):
        return t("too large to measure")
    return st.session_state.get(REFUSED, {}).get(runner.key_of(spec, settings), "")


def missing(specs: Sequence[Spec], settings: Settings) -> list[Spec]:
    """What is still to be measured, and can be."""
    return [s for s in specs if not refusal(s, settings) and runner.done(s, settings) < settings.networks]


def _key(specs: Sequence[Spec], settings: Settings) -> tuple[Any, ...]:
    return tuple(sorted(runner.key_of(spec, settings) for spec in specs))


def due(specs: Sequence[Spec], settings: Settings) -> bool:
    """Whether networks are missing and should be measured now: asked for, or cheap in all; not cancelled."""
    left, key = missing(specs, settings), _key(specs, settings)
    each = (costs.modelled_seconds(spec, settings.dtype, settings.sampler) for spec in left)
    return bool(left) and WISH.allows(key, settings.networks * sum(each) < runner.AUTO_SECONDS)


def button(specs: Sequence[Spec], settings: Settings) -> None:
    """The one button for what can be done now."""
    left, key = missing(specs, settings), _key(specs, settings)
    shown: dict[str, Any] = {"on_click": WISH.ask, "args": (key,)}
    if due(specs, settings):
        label, icon, shown["on_click"] = t("Cancel measurement"), "cancel", WISH.cancel
    elif left:
        about = sum(runner.seconds(spec, settings.networks, settings.dtype, settings.sampler) for spec in left)
        values = {"count": settings.networks, "seconds": seconds_text(about)}
        label, icon = t("Measure {count} networks of each (about {seconds})", **values), "measure"
    elif all(refusal(spec, settings) for spec in specs):
        st.caption(t("None of them can be measured; all are only predicted."))
        return
    else:
        label, icon = t("Draw other networks"), "redraw"
        shown = {
            "on_click": controls.load_settings,
            "args": (replace(settings, seed=(settings.seed + 1) % 2**31),),
        }
    st.button(
        label,
        key="compare_measure",
        icon=theme.ICONS[icon],
        type="primary",
        width="stretch",
        wrap=True,
        shortcut=letter("measure_pins"),
        help=t("Real torch networks of every pin, against theory."),
        **shown,
    )


def run(specs: Sequence[Spec], settings: Settings) -> Iterator[Spec]:
    """Measure what is missing, with a progress bar where this is called; gives each network once it is measured. A
    refusal is kept with its network. Raises ModuleNotFoundError where torch is not installed."""
    left = missing(specs, settings)
    place = st.empty()
    for number, spec in enumerate(left, start=1):
        try:
            with place.container(gap="xxsmall"):
                if len(left) > 1:
                    st.caption(t("Network {number} of {count}", number=number, count=len(left)))
                runner.measure(spec, settings)
            yield spec
        except (SpecError, UnsupportedError) as error:
            st.session_state.setdefault(REFUSED, {})[runner.key_of(spec, settings)] = refusal_text(error)
