"""Remedies: each on and off beside the plain network, predicted and measured; clipping and penalties in training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import streamlit as st

from app import controls, runner, theme
from app.i18n import t
from app.parts import (
    figures,
    notices,
    remedies_activations,
    remedies_board,
    remedies_clipping,
    remedies_controls,
    remedies_penalties,
)
from app.parts import remedies_measuring as measuring
from app.parts import remedies_training as training
from app.parts.verdict_box import missing_text
from gradcore.errors import SpecError, UnsupportedError
from gradcore.experiments.data import Dataset, digits
from gradcore.experiments.remedies_question import RemediesQuestion


def page() -> None:
    """The page: the board of the sidebar's network, or one of the two remedies that act in training."""
    notices.draw()
    asked = remedies_controls.asked()
    if asked.view == "board":
        _board(asked)
        return
    controls.no_sidebar()
    try:
        VIEWS[asked.view](asked, digits())
    except (SpecError, UnsupportedError) as error:
        st.error(remedies_board.reason(error), icon=theme.ICONS["error"])
        remedies_controls.presets(asked)
        remedies_controls.draw(FIRST[asked.view])


def _board(asked: RemediesQuestion) -> None:
    spec = notices.network()
    if spec is None:
        return
    settings = controls.question().settings
    with st.spinner(t("Predicting …")):
        shown = remedies_board.found(spec, asked)

    def other_networks() -> None:
        controls.load_settings(replace(settings, seed=(settings.seed + 1) % 2**31))

    progress = remedies_board.box(shown, settings, other_networks)
    remedies_controls.presets(asked, spec)
    measured, runs = measuring.measured(shown, settings), measuring.due(shown, settings)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        with st.container(horizontal=True, vertical_alignment="center"):
            figures.moment_switch()
        remedies_board.draw_charts(shown, measured, settings)
    with right:
        remedies_board.cards(shown, measured, asked, settings, runs)
    runner.let_it_be_drawn()
    controls.sidebar()
    with left:
        remedies_activations.draw(spec)
    if not runs:
        return
    with progress:
        try:
            measuring.run(shown, settings)
        except ModuleNotFoundError as error:
            st.caption(missing_text(error.name or str(error)))
            return
    st.rerun()


def _frame(headline: str, said: list[str]) -> tuple[Any, Any]:
    """The answer, and the places of the button and of the progress bar."""
    with st.container(border=True):
        words, pressed = st.columns([3, 1], vertical_alignment="center", gap="medium")
        with words, st.container(gap="xxsmall"):
            st.subheader(headline, anchor=False)
            for sentence in said:
                st.caption(sentence)
        with pressed, st.container(gap="xsmall"):
            return st.container(), st.container()


def _clipping(asked: RemediesQuestion, data: Dataset) -> None:
    needed = remedies_clipping.specs(asked, data)
    plain = training.run_of(needed[0], data)
    limit = None if plain is None else remedies_clipping.limit_of(asked, plain)
    first = None if limit is None else remedies_clipping.first_step(asked, data, limit)
    said = remedies_clipping.details(asked, plain, first) if plain is not None and first is not None else []
    button, progress = _frame(remedies_clipping.headline(asked, plain, limit, first), said)
    with button:
        training.button(asked, needed, data)
    remedies_controls.presets(asked)
    if plain is not None and limit is not None and first is not None:
        remedies_clipping.threshold(asked, plain, limit)
        clipped = training.run_of(needed[-1], data)
        remedies_clipping.draw(asked, plain, clipped, first, limit)
    remedies_controls.draw(FIRST["clipping"])
    if training.due(asked, needed, data):
        with progress:
            training.advance(needed, data)


def _penalties(asked: RemediesQuestion, data: Dataset) -> None:
    needed = remedies_penalties.specs(asked, data)
    runs = [training.run_of(spec, data) for spec in needed]
    expected = remedies_penalties.predicted(asked.penalized_run(data), data.digest, data)
    said = remedies_penalties.details(asked, data, runs)
    button, progress = _frame(remedies_penalties.headline(asked, expected), said)
    with button:
        training.button(asked, needed, data)
    remedies_controls.presets(asked)
    there = [run for run in runs if run is not None]
    if len(there) == len(runs):
        remedies_penalties.draw(asked, data, there, expected)
    remedies_controls.draw(FIRST["penalties"])
    if training.due(asked, needed, data):
        with progress:
            training.advance(needed, data)


VIEWS = {"clipping": _clipping, "penalties": _penalties}
FIRST: dict[str, tuple[str, ...]] = {"clipping": ("clip",), "penalties": ("penalty", "strength")}
