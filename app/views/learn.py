"""Learn: a course of short derivations, one idea each, with live numbers, a control, a chart and cases to load."""

from __future__ import annotations

import streamlit as st

from app import controls, theme
from app.i18n import spec_error_text, t, unsupported_text
from app.parts import learn_controls, learn_lesson, notices
from gradcore.errors import SpecError, UnsupportedError


def page() -> None:
    """The page: the course at the side; the idea and what to press; derivation and chart; what is often told wrong."""
    controls.no_sidebar()
    asked = learn_controls.asked()
    learn_controls.course()
    notices.draw()
    try:
        with st.spinner(t("Working it out …")):
            taught = learn_lesson.taught(learn_lesson.own(asked))
    except (SpecError, UnsupportedError) as error:
        said = spec_error_text(error) if isinstance(error, SpecError) else unsupported_text(error)
        st.error(said, icon=theme.ICONS["error"])
        learn_controls.draw(asked)
        return
    learn_lesson.box(asked, taught)
    derivation, figure = st.columns([11, 9], gap="large")
    with derivation:
        learn_lesson.steps(taught)
    with figure:
        learn_controls.draw(asked)
        learn_lesson.figure(asked, taught)
        learn_lesson.error(taught)
    learn_lesson.more(asked, taught)
