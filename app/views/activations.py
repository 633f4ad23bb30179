"""Activations: one activation, where it drives the signal, and the gains of all of them."""

from __future__ import annotations

import streamlit as st

from app import controls, runner
from app.parts import figures, gains, notices, qmap
from app.parts.place import Place


def page() -> None:
    """The page: the answer and its charts first, then the sidebar and the table, the experiment last."""
    notices.draw()
    spec = notices.network()
    if spec is None:
        return
    settings = controls.question().settings
    found = qmap.answer(spec)
    qmap.draw(found)
    figures.moment_switch()
    left, right = st.columns(2)
    with left:
        function = Place()
    with right:
        cobweb = Place()
    qmap.draw_charts(function, cobweb, found, settings.moment)
    st.caption(qmap.legend(found))
    runner.let_it_be_drawn()
    controls.sidebar()
    table = gains.frame()
    gains.draw(table, spec)
    gains.measure(table, spec, settings.seed)
