"""Explore: one network. Its verdict and what mends it, four numbers, its signal forward and gradient backward."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import controls, runner
from app.i18n import t
from app.parts import figures, measuring, notices, numbers, tabs, takeaway, verdict_box

if TYPE_CHECKING:
    from gradcore.measurement import Measurement


def page() -> None:
    """The page. All places are taken first, so that nothing jumps when fixes and measurement arrive in them."""
    notices.draw()
    asked = controls.question()
    spec = asked.spec if asked.spec is not None else st.session_state.get("shown")
    if spec is None:
        return
    st.session_state["shown"] = spec
    found = verdict_box.answer(spec)
    box = verdict_box.draw(found, asked.error)
    cards, tools, drawings, tab = numbers.frame(), figures.tools(), figures.frame(), tabs.frame()
    settings = asked.settings
    shown = takeaway.Shown(found, settings)

    def fill(measured: Measurement | None, waiting: str, runs: bool = False) -> None:
        shown.measured = measured
        numbers.fill(cards, found, measured, settings.statistic, waiting)
        figures.fill(drawings, found, measured, settings, runs)
        verdict_box.fill_measured(box, found, measured, waiting)

    measured = measuring.at_hand(tools, found, settings)
    runs = measuring.announce(tools, drawings, found, measured, settings)
    fill(measured, measuring.waiting_text(spec, settings), runs)
    runner.let_it_be_drawn()
    controls.sidebar()  # after the answer, before anything slow
    tab.draw(found, measured, settings)
    offered = found.profile is not None or not runs
    if offered:  # else it is not known yet what there is
        takeaway.draw(tools.takeaway, shown)
    verdict_box.fill_fixes(box, found)
    if runs:
        measured = measuring.run(tools, drawings, found, settings)
        fill(measured, t("not measured"))
        if measured is not None:
            measuring.announce(tools, drawings, found, measured, settings)
            tab.update(found, measured, settings)
    if found.profile is not None and measured is not None and runner.band_due(found.profile):
        with tools.progress.container():
            runner.sample_band(found.profile)
        tools.progress.empty()
        figures.fill(drawings, found, measured, settings)
        tab.update(found, measured, settings)
    if not offered:
        takeaway.draw(tools.takeaway, shown)
