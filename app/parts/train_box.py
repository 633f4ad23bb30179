"""The answer of the page Train in a sentence, and the one button that starts, stops and continues."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import streamlit as st

from app import theme
from app.i18n import mark, t
from app.parts import train_state
from app.parts.train_state import Situation
from app.parts.verdict_box import Look
from gradcore.charts.training_words import course, headline, kind_of, plateau, predicted_text
from gradcore.experiments.first_step import FirstStep

LOOKS = {  # one for each of gradcore.charts.training_words.KINDS
    "vanishes": Look(mark("Vanishing"), ":material/trending_down:", "red"),
    "explodes": Look(mark("Exploding"), ":material/trending_up:", "red"),
    "balanced": Look(mark("Even"), ":material/balance:", "green"),
    "zero": Look(mark("Zero"), ":material/block:", "red"),
    "stopped": Look(mark("Broken off"), theme.ICONS["error"], "red"),
    "unknown": Look(mark("Not trained"), theme.ICONS["unsupported"], "gray"),
}


def sentence(shown: Situation, first: FirstStep | None) -> None:
    """What is happening."""
    run = shown.plain
    look = LOOKS[kind_of(run, first)]
    with st.container(gap="xxsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.badge(t(look.word), icon=look.icon, color=look.color)
            st.caption(_made_of(shown), width="content")
        st.subheader(headline(run, first).text(t), anchor=False)
        said = [] if run is None else [course(run), plateau(run)]
        if first is not None:
            said.append(predicted_text(first))
        for message in said:
            if message is not None:
                st.caption(message.text(t))


def _made_of(shown: Situation) -> str:
    spec, run = shown.spec, shown.plain
    values: dict[str, Any] = {
        "sizes": "-".join(str(size) for size in _sizes(shown)),
        "activation": spec.network.activation,
        "data": str(run.data["name"]) if shown.record and run is not None else shown.data.name if shown.data else "",
        "seed": spec.seed,
        "done": len(run.steps) if run is not None else 0,
        "total": run.planned if run is not None else spec.steps,
    }
    return t("{sizes} · {activation} · {data} · seed {seed} · {done} of {total} steps", **values)


def _sizes(shown: Situation) -> list[int]:
    spec, run = shown.spec.network, shown.plain
    pixels = run.data["pixels"] if run is not None else shown.data.pixels if shown.data else 0
    widths = spec.width if isinstance(spec.width, tuple) else (spec.width,) * (spec.depth - 1)
    return [int(pixels), *widths]


def buttons(shown: Situation) -> None:
    """Start, stop, continue, another seed; and the way back from a record."""
    label, icon, press = _press(shown)
    st.button(
        label,
        key="train_go",
        icon=icon,
        type="primary",
        width="stretch",
        on_click=press[0],
        args=press[1:],
        disabled=shown.data is None,
    )
    if shown.record:
        st.button(t("Close the record"), key="train_close", width="stretch", on_click=train_state.close_record)


def _press(shown: Situation) -> tuple[str, str, tuple[Any, ...]]:
    question, run = shown.question, shown.plain
    begin = (train_state.start, question)
    if shown.going:
        return t("Stop"), theme.ICONS["stop"], (train_state.stop,)
    if not shown.missing and shown.data is not None and not shown.record:
        other = replace(question, seed=(question.seed + 1) % 2**31)
        return t("Train from another seed"), theme.ICONS["redraw"], (train_state.start, other)
    if run is None or not run.steps:
        return t("Start"), theme.ICONS["start"], begin
    if not run.finished:
        label = t("Continue ({done} of {total} steps)", done=len(run.steps), total=run.planned)
        return label, theme.ICONS["start"], begin
    return t("Train with the remedy"), theme.ICONS["start"], begin
