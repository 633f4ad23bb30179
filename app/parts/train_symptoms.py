"""The symptoms panel: what a run's record shows, where, and remedies of one click each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import streamlit as st

from app import theme
from app.i18n import mark, t
from app.parts import train_state
from app.parts.train_state import Situation
from gradcore.experiments.symptoms import FEWEST, Symptom, find_symptoms
from gradcore.experiments.train_question import TrainQuestion
from gradcore.experiments.training import Run
from gradcore.experiments.training_log import TrainingLog

COLORS: dict[str, Literal["yellow", "orange", "red"]] = {"mild": "yellow", "serious": "orange", "fatal": "red"}
WORDS = {"mild": mark("mild"), "serious": mark("serious"), "fatal": mark("fatal")}
MOST_EVIDENCE = 4


def draw(shown: Situation) -> None:
    """The panel of the plain run, and what the remedy has left."""
    run = shown.plain
    st.markdown(f"**{t('Symptoms')}**")
    if run is None or not run.steps:
        st.caption(t("What is wrong with a run, and what helps, is said here once there is one."))
        return
    if shown.going:
        st.caption(t("The record is read once the run has ended."))
        return
    found = symptoms_of(run)
    listed(found, shown.question)
    if not found:
        _none(run)
    if shown.remedied is not None and shown.remedied.steps:
        left = symptoms_of(shown.remedied)
        text = " ".join(symptom.message.text(t) for symptom in left) or t("no symptom.")
        st.caption(t("With the remedy: {text}", text=text))


def symptoms_of(run: Run) -> tuple[Symptom, ...]:
    """What its record shows."""
    return find_symptoms(TrainingLog.from_run(run))


def _none(run: Run) -> None:
    if len(run.steps) < FEWEST:
        text = t("No symptom so far; of the course of a run nothing is said before {steps} steps.", steps=FEWEST)
    else:
        text = t("No symptom: loss, gradients, updates and units are within the usual limits in this record.")
    st.caption(text)


def listed(found: Sequence[Symptom], question: TrainQuestion) -> None:
    """Every symptom with its evidence; its remedies as buttons, each a change of the ``question``."""
    for symptom in found:
        with st.container(border=True, gap="xsmall"):
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.badge(t(WORDS[symptom.severity]), color=COLORS[symptom.severity])
                st.markdown(symptom.message.text(t), width="content")
            if evidence := evidence_text(symptom):
                st.caption(evidence)
            _buttons(symptom, question)


def evidence_text(symptom: Symptom) -> str:
    """Further places where it shows, beside the one in the sentence."""
    rows = [
        t("layer {layer}, step {step}: {value}", layer=one.layer, step=one.step, value=f"{one.value:.3g}")
        if one.layer is not None
        else t("step {step}: {value}", step=one.step, value=f"{one.value:.3g}")
        for one in symptom.evidence[:MOST_EVIDENCE]
    ]
    more = len(symptom.evidence) - len(rows)
    if more > 0:
        rows.append(t("{count} more", count=more))
    return t("Evidence: {places}.", places="; ".join(rows)) if rows else ""


def _buttons(symptom: Symptom, question: TrainQuestion) -> None:
    with st.container(horizontal=True, gap="xsmall"):
        for one in symptom.remedies:
            st.button(
                one.message.text(t),
                key=f"train_try_{symptom.code}_{one.code}",
                icon=theme.ICONS["fix"],
                disabled=question.remedy == one.code,
                help=t("Trains once more from the same seed with this change, beside the plain run."),
                on_click=train_state.start,
                args=(replace(question, remedy=one.code),),
            )
