"""Symptoms: what is wrong with a training record, where it shows, and what helps: an example, or one's own."""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import controls, theme
from app.i18n import t
from app.parts import notices, pictures, symptoms_list, symptoms_source
from app.parts.symptoms_source import Source
from gradcore.charts import record as charts
from gradcore.experiments.symptom_report import Entry, report

LOOK_KEY = "symptoms_look"
HEIGHT = theme.CHART_HEIGHT - 40  # px


def page() -> None:
    """The page: the worst symptom and its first remedy, what to press, the charts, and every symptom."""
    controls.no_sidebar()
    notices.draw()
    top = st.empty()
    symptoms_source.draw()
    source = symptoms_source.at_hand()
    if source is None:
        with top.container(), st.container(border=True):  # of the form of the answer, which takes its place
            st.subheader(t("Training the example …"), anchor=False)
        source = symptoms_source.train_example()
    if isinstance(source, str):
        top.info(source, icon=theme.ICONS["unsupported"])
        return
    entries = report(source.log)
    with top.container():
        symptoms_list.answer(source, entries)
    _charts(source, entries)
    symptoms_list.draw(source, entries)


def _charts(source: Source, entries: tuple[Entry, ...]) -> None:
    log, found = source.log, [entry.found for entry in entries if entry.found is not None]
    words = charts.describe_record(log, found, t)
    known = charts.known_quantities(log)
    left, right = st.columns(2, gap="medium")
    with left:
        _put("loss", charts.loss_chart(log, found, height=HEIGHT, t=t), HEIGHT, words)
    with right:
        if not known:
            st.caption(t("The record has no norms of its layers: add columns grad_1, grad_2, … to see them."))
            return
        _choose_look(source, charts.first_look(log, found))
        name = st.session_state[LOOK_KEY]
        _put(name, charts.record_chart(name, log, found, height=HEIGHT, t=t), HEIGHT, words)
        if len(known) > 1:
            st.selectbox(
                t("Look at"),
                known,
                format_func=lambda code: t(charts.QUANTITIES[code].title),
                key=LOOK_KEY,
                label_visibility="collapsed",
                persist_state="session",
            )
    st.caption(t("Rings and dashed lines mark the evidence: the layer and the step where a symptom shows."))


def _choose_look(source: Source, best: str) -> None:
    """For another record, begin with what its worst symptom lies on."""
    if st.session_state.get("symptoms_look_of") is not source.log or st.session_state.get(LOOK_KEY) is None:
        st.session_state["symptoms_look_of"] = source.log
        st.session_state[LOOK_KEY] = best


def _put(code: str, chart: Any, height: int, words: str) -> None:
    pictures.chart(st, code, chart.to_dict(validate=False), words, height=height)
