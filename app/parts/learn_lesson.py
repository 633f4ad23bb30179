"""What the page Learn says: the idea with its buttons, the derivation, the chart, and what else can be loaded."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import streamlit as st

from app import keys, theme
from app.i18n import language, t
from app.parts import learn_controls, learn_load, pictures
from gradcore.charts import lessons as charts
from gradcore.experiments.learn import LESSONS, LearnQuestion, Taught, place, teach


def own(question: LearnQuestion) -> LearnQuestion:
    """The question with the numbers of its lesson alone: the others change nothing."""
    names = LESSONS[question.lesson].parameters
    kept = {field.name: getattr(question, field.name) for field in fields(question) if field.name in names}
    return LearnQuestion(question.lesson, **kept)


@st.cache_resource(max_entries=128, show_spinner=False)
def taught(question: LearnQuestion) -> Taught:
    """The lesson at these numbers, shared between sessions. Raises SpecError and UnsupportedError."""
    return teach(question)


def box(question: LearnQuestion, found: Taught) -> None:
    """The idea in one sentence, and the buttons: load it, the lesson before, the next one."""
    lesson, last = LESSONS[question.lesson], len(LESSONS)
    at = place(question.lesson)
    with st.container(border=True):
        said, pressed = st.columns([3, 1], vertical_alignment="center", gap="medium")
        with said, st.container(gap="xxsmall"):
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.badge(t(lesson.title), icon=theme.ICONS["learn"], color="blue")
                st.caption(t("Lesson {at} of {last}", at=at, last=last), width="content")
            st.subheader(found.idea.text(t), anchor=False)
            st.caption(t("Sources: {sources}.", sources="; ".join(lesson.sources)))
        with pressed, st.container(gap="small"):
            learn_load.button(found.cases[0])
            with st.container(horizontal=True, gap="small"):
                _turn(t("Previous"), -1, at == 1, "previous")
                _turn(t("Next"), 1, at == last, "next")


def _turn(label: str, by: int, disabled: bool, icon: str) -> None:
    st.button(
        label,
        key=f"learn_{icon}",
        icon=theme.ICONS[icon],
        shortcut=keys.letter(icon),
        disabled=disabled,
        width="stretch",
        on_click=learn_controls.turn,
        args=(by,),
    )


def steps(found: Taught) -> None:
    """The derivation: each step a sentence and its formula with the numbers put in."""
    for count, step in enumerate(found.steps, start=1):
        with st.container(gap="xxsmall"):
            st.markdown(f"**{count}.** {_plain(step.text.text(t))}")
            st.latex(step.formula.latex)


def _plain(text: str) -> str:
    """The sentence as it is: an underscore or a bar is no Markdown."""
    for mark in ("_", "|", "*", "~"):
        text = text.replace(mark, f"\\{mark}")
    return text


@st.cache_data(max_entries=128, show_spinner=False)
def _chart(question: LearnQuestion, code: str) -> dict[str, Any]:
    return charts.figure_chart(taught(question).figure, height=theme.CHART_HEIGHT, t=t).to_dict(validate=False)


def figure(question: LearnQuestion, found: Taught) -> None:
    """Predicted lines and measured points."""
    document = _chart(own(question), language())
    words = charts.describe(found.figure, t)
    pictures.chart(st, question.lesson, document, words, height=theme.CHART_HEIGHT)


def error(found: Taught) -> None:
    """What is often told wrong, where there is something."""
    if found.error is not None:
        st.warning(_plain(found.error.text(t)), icon=theme.ICONS["corrected"], title=t("Often told wrong"))


def more(question: LearnQuestion, found: Taught) -> None:
    """The further cases to load."""
    others = [case for case in found.cases[1:] if learn_load.known(case)]
    if others:
        st.caption(t("Also to load:"))
        with st.container(horizontal=True, gap="small"):
            for case in others:
                learn_load.button(case, primary=False)
