"""Initializers: every law on the network of the sidebar, what each does per layer, and a button that loads it."""

from __future__ import annotations

import streamlit as st

from app import controls, runner
from app.i18n import mark, t
from app.parts import figures, notices, schemes, verdict_box
from app.parts.place import Place
from gradcore.guide.schemes import scheme

TABS = (mark("Weights"), mark("Numbers"), mark("Derivation"))


def page() -> None:
    """The page: verdict and chart first, then the sidebar and the buttons, drawn weights last."""
    notices.draw()
    spec = notices.network()
    if spec is None:
        return
    settings = controls.question().settings
    schemes.headline(verdict_box.answer(spec))
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        own_gain = schemes.gain_switch()
        figures.moment_switch()
    left, right = st.columns([3, 2], gap="medium")
    with left:
        chart = Place()
    schemes.draw_factors(chart, spec, own_gain, settings.moment)
    rows = schemes.all_schemes(spec, own_gain)
    runner.let_it_be_drawn()
    controls.sidebar()
    with right:
        schemes.buttons(rows, spec)
    drawn = st.tabs([t(title) for title in TABS], key="initializers_tab", on_change="rerun")
    bodies = (
        lambda: schemes.weights(scheme(spec, runner.predict), settings.seed),
        lambda: schemes.table(rows, spec),
        lambda: schemes.derivation(scheme(spec, runner.predict)),
    )
    opened = next((index for index, tab in enumerate(drawn) if tab.open), 0)
    with drawn[opened]:
        bodies[opened]()
