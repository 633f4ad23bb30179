"""Train: a small network while it learns, the speed of every layer, a remedy beside it, and what is wrong."""

from __future__ import annotations

import streamlit as st

from app import controls, runner, theme
from app.i18n import spec_error_text, t, unsupported_text
from app.parts import notices, train_box, train_controls, train_figures, train_files, train_remedy, train_state
from app.parts import train_symptoms as symptoms
from app.parts.train_figures import Figures
from app.parts.train_state import Situation
from app.parts.verdict_box import missing_text
from gradcore.errors import SpecError, UnsupportedError
from gradcore.experiments.first_step import FirstStep
from gradcore.experiments.training import Run


def page() -> None:
    """The page: what is happening, what to press, the curves; then the prediction and the training themselves."""
    train_files.open_what_was_read()
    notices.draw()
    asked = train_state.asked()
    if asked.network != "spec":
        controls.no_sidebar()
    try:
        shown = train_state.situation(asked)
    except (SpecError, UnsupportedError) as error:
        st.error(_refused(error), icon=theme.ICONS["error"])
        train_controls.draw(asked)
        return
    figures = _frame(shown)
    first = train_state.predicted(shown.spec, shown.data) if train_state.known(shown.spec, shown.data) else None
    _draw(figures, shown, first)
    if shown.question.view == "start":
        train_figures.start_table(shown, figures.panel)
    symptoms.draw(shown)
    train_files.draw(shown)
    controls.sidebar()
    _compute(figures, shown, first)


def _refused(error: SpecError | UnsupportedError) -> str:
    return spec_error_text(error) if isinstance(error, SpecError) else unsupported_text(error)


def _frame(shown: Situation) -> Figures:
    """Everything but the charts, and the places for them."""
    with st.container(border=True):
        said, pressed = st.columns([3, 1], vertical_alignment="center", gap="medium")
        sentence = said.empty()
        with pressed, st.container(gap="small"):
            train_box.buttons(shown)
    train_controls.presets(shown.question)
    train_controls.draw(shown.question)
    train_remedy.draw(shown)
    left, right = st.columns(2)
    speeds = left.empty()
    left.caption(
        t(
            "Bars left of step 0: predicted 95% of random networks, diamonds their median, from the data and the law "
            "of the weights alone."
        )
    )
    with right:
        train_figures.switch()
        panel = st.empty()
    left, right = st.columns(2)
    return Figures(sentence, speeds, left.empty(), right.empty(), panel)


def _draw(figures: Figures, shown: Situation, first: FirstStep | None) -> None:
    with figures.sentence.container():
        train_box.sentence(shown, first)
    train_figures.draw(figures, shown, first)


def _compute(figures: Figures, shown: Situation, first: FirstStep | None) -> None:
    """What takes seconds, last: this run may be stopped anywhere in it."""
    if first is None:
        first = train_state.predicted(shown.spec, shown.data)
        if first is not None:
            _draw(figures, shown, first)
    fresh = shown.changed is not None and not train_state.known(shown.changed, shown.data)
    if fresh and shown.changed is not None and shown.changed.network != shown.spec.network:
        train_state.predicted(shown.changed, shown.data)
    if not shown.going or shown.data is None:
        return

    def redraw(run: Run) -> None:
        _draw(figures, shown, first)

    try:
        for spec in shown.missing:
            train_state.advance(spec, shown.data, redraw)
    except (SpecError, UnsupportedError) as error:
        figures.sentence.error(_refused(error), icon=theme.ICONS["error"])
        train_state.stop()
        return
    except ModuleNotFoundError as error:
        figures.sentence.info(missing_text(error.name or str(error)), icon=theme.ICONS["unsupported"])
        train_state.stop()
        return
    train_state.stop()
    runner.may_stop_here()
    st.rerun()
