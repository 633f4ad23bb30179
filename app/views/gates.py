"""Gates: recurrent cells at initialization, how far back in time their gradient reaches, and cells in training."""

from __future__ import annotations

import streamlit as st

from app import controls, theme
from app.i18n import t
from app.parts import gates_answer, gates_controls, gates_training, notices
from app.parts import gates_measuring as measuring
from app.parts.verdict_box import missing_text
from gradcore.errors import SpecError, UnsupportedError
from gradcore.experiments.gates import GatesQuestion


def page() -> None:
    """The page: the verdict, what to press, the factors per step, the charts, and the training."""
    controls.no_sidebar()
    notices.draw()
    asked = gates_controls.asked()
    try:
        with st.spinner(t("Predicting …")):
            profile = gates_answer.predict(asked.spec)
    except (SpecError, UnsupportedError) as error:
        st.error(gates_answer.refusal(error), icon=theme.ICONS["error"])
        gates_controls.draw(asked)
        return
    measured = measuring.measured(asked)
    progress = gates_answer.box(asked, profile, measured)
    gates_controls.presets(asked)
    gates_controls.draw(asked)
    waiting = t("measuring …") if measuring.due(asked) else t("not measured")
    gates_answer.cards(profile, measured, waiting)
    gates_answer.draw_charts(asked, profile, measured)
    trained = gates_training.draw(asked)
    if measuring.due(asked):
        with progress:
            _measure(asked)
    gates_training.go_on(trained)


def _measure(asked: GatesQuestion) -> None:
    """Measure, then draw the page with it; every refusal in calm words."""
    try:
        measuring.run(asked)
    except (SpecError, UnsupportedError) as error:
        st.caption(gates_answer.refusal(error))
    except ModuleNotFoundError as error:
        st.caption(missing_text(error.name or str(error)))
    else:
        st.rerun()
