"""Measuring the board of remedies: everything that is switched on, unasked where cheap, by the app's runner.

What was measured is in the store of all sessions: a stopped run goes on where it was, and a remedy that is switched on
again is there at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import streamlit as st

from app import costs, runner, theme
from app.i18n import spec_error_text, t, unsupported_text
from app.parts.wish import Wish
from app.parts.words import seconds_text
from app.state import Settings
from gradcore.errors import SpecError, UnsupportedError
from gradcore.experiments.board import Board
from gradcore.spec import Spec

if TYPE_CHECKING:
    from gradcore.measurement import Measurement

WISH, REFUSED = Wish("remedies"), "remedies_refused"


def specs(found: Board) -> list[Spec]:
    """The networks that are switched on, each once, those that fit this machine."""
    each = dict.fromkeys(entry.spec for entry in found.shown if entry.spec is not None)
    return [spec for spec in each if not runner.too_large(spec)]


def measured(found: Board, settings: Settings) -> dict[str, Measurement]:
    """What is there, by code."""
    there = {entry.code: runner.at_hand(entry.spec, settings) for entry in found.shown if entry.spec is not None}
    return {code: one for code, one in there.items() if one is not None}


def refusal(spec: Spec, settings: Settings) -> str:
    """Why this network cannot be measured; "" where nothing is known against it."""
    if runner.too_large(spec, settings.sampler):
        return t("too large to measure")
    if refused := runner.refusal(spec, settings):
        return refused
    return st.session_state.get(REFUSED, {}).get(runner.key_of(spec, settings), "")


def missing(found: Board, settings: Settings) -> list[Spec]:
    """What is still to be measured."""
    return [s for s in specs(found) if runner.at_hand(s, settings) is None and not refusal(s, settings)]


def _key(found: Board, settings: Settings) -> tuple[Any, ...]:
    return tuple(runner.key_of(spec, settings) for spec in specs(found))


def due(found: Board, settings: Settings) -> bool:
    """Whether networks are missing and should be measured now: asked for, or cheap in all; not cancelled."""
    left, key = missing(found, settings), _key(found, settings)
    each = (costs.modelled_seconds(spec, settings.dtype, settings.sampler) for spec in left)
    return bool(left) and WISH.allows(key, settings.networks * sum(each) < runner.AUTO_SECONDS)


def button(found: Board, settings: Settings, other_networks: Callable[[], None]) -> None:
    """The one button for what can be done now; ``other_networks`` is the callback that takes the next seed."""
    left, key = missing(found, settings), _key(found, settings)
    call: Callable[..., None] = WISH.ask
    args: tuple[Any, ...] = (key,)
    if due(found, settings):
        label, icon, call = t("Cancel measurement"), "cancel", WISH.cancel
    elif left:
        about = sum(runner.seconds(spec, settings.networks, settings.dtype, settings.sampler) for spec in left)
        values = {"count": settings.networks, "seconds": seconds_text(about)}
        label, icon = t("Measure {count} networks of each (about {seconds})", **values), "measure"
    else:
        label, icon, call, args = t("Draw other networks"), "redraw", other_networks, ()
    refused = next((said for spec in specs(found) if (said := runner.refusal(spec, settings))), "")
    st.button(
        label,
        key="remedies_measure",
        icon=theme.ICONS[icon],
        type="primary",
        width="stretch",
        on_click=call,
        args=args,
        disabled=bool(refused) and not left and not measured(found, settings),
        help=t("Real torch networks of the plain network and of everything that is switched on, against theory."),
    )
    if refused:
        st.caption(refused)


def run(found: Board, settings: Settings) -> None:
    """Measure what is missing, with a progress bar where this is called; a refusal is kept with its network. Raises
    ModuleNotFoundError where torch is not installed."""
    place = st.empty()
    for spec in missing(found, settings):
        try:
            with place.container():
                runner.measure(spec, settings)
        except (SpecError, UnsupportedError) as error:
            said = spec_error_text(error) if isinstance(error, SpecError) else unsupported_text(error)
            st.session_state.setdefault(REFUSED, {})[runner.key_of(spec, settings)] = said
