"""The table of lessons, in the order that a course would take."""

from __future__ import annotations

from gradcore.experiments.learn import blocks, chains, functions, remedies, weights
from gradcore.experiments.learn.lesson import Lesson, Taught
from gradcore.experiments.learn.question import LearnQuestion

LESSONS: dict[str, Lesson] = {
    lesson.code: lesson
    for lesson in (
        *chains.LESSONS,
        *weights.LESSONS,
        *functions.LESSONS,
        *blocks.LESSONS,
        *remedies.LESSONS,
        blocks.LAST,
    )
}


def teach(question: LearnQuestion) -> Taught:
    """The lesson that is asked for, at its numbers. Raises what gradcore raises where it has no answer."""
    return LESSONS[question.lesson].teach(question)


def place(lesson: str) -> int:
    """Its place in the course, from 1."""
    return list(LESSONS).index(lesson) + 1
