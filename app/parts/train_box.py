"""The answer of the page Train in a sentence, and the one button that starts, stops and continues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import streamlit as st

from app import costs, theme
from app.i18n import mark, t
from app.parts import train_state
from app.parts.train_state import Situation
from app.parts.verdict_box import Look
from app.parts.words import seconds_text
from gradcore.charts.training_words import course, headline, kind_of, plateau, predicted_text
from gradcore.experiments.first_step import FirstStep
from gradcore.spec import Spec

LISTED = 8  # sizes that are written out
LONG = 3.0  # seconds of a run that are said beforehand
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
        if shown.data is not None and not train_state.networks_of(shown.spec, shown.data):
            st.caption(
                t("The speeds at the start are not predicted: random networks of this size would take too long to run.")
            )


def _made_of(shown: Situation) -> str:
    spec, run = shown.spec, shown.plain
    values: dict[str, Any] = {
        "sizes": sizes_text(_sizes(shown)),
        "activation": _form(spec.network),
        "data": str(run.data["name"]) if shown.record and run is not None else shown.data.name if shown.data else "",
        "seed": spec.seed,
        "done": len(run.steps) if run is not None else 0,
        "total": run.planned if run is not None else spec.steps,
    }
    return t("{sizes} · {activation} · {data} · seed {seed} · {done} of {total} steps", **values)


def _form(network: Spec) -> str:
    """Activation, norm and residual form."""
    parts = [network.activation]
    if network.norm != "none":
        parts.append(t("{norm} norm", norm=network.norm))
    if network.residual != "none":
        parts.append(t("{residual} residual", residual=network.residual))
    return " · ".join(parts)


def _sizes(shown: Situation) -> list[int]:
    spec, run = shown.spec.network, shown.plain
    pixels = run.data["pixels"] if run is not None else shown.data.pixels if shown.data else 0
    widths = spec.width if isinstance(spec.width, tuple) else (spec.width,) * (spec.depth - 1)
    classes = run.data["classes"] if run is not None else shown.data.classes if shown.data else 0
    return [int(pixels), *widths, *([] if isinstance(spec.width, tuple) else [int(classes)])]


def sizes_text(sizes: Sequence[int]) -> str:
    """64-30-30-10; many layers of one width are counted: 64-49×256-10."""
    if len(sizes) <= LISTED:
        return "-".join(str(size) for size in sizes)
    groups = ((size, len(list(same))) for size, same in groupby(sizes[1:-1]))
    inner = [f"{count}×{size}" if count > 1 else str(size) for size, count in groups]
    parts = [str(sizes[0]), *inner, str(sizes[-1])]
    return "-".join(parts if len(parts) <= LISTED else [*parts[: LISTED - 2], "…", parts[-1]])


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
        disabled=shown.data is None or shown.refused is not None,
    )
    if text := cost_text(shown):
        st.caption(text)
    if shown.record:
        st.button(t("Close the record"), key="train_close", width="stretch", on_click=train_state.close_record)


TOO_LARGE = {
    "step": mark("Too large to train here: one step would take about {seconds}. Fewer units, layers or items help."),
    "memory": mark("Too large to train here: it would need about {gigabytes} GB. Fewer units or layers help."),
    "record": mark("Too long a record: {steps} steps of {layers} layers. Fewer steps or layers help."),
}


def cost_text(shown: Situation) -> str:
    """What the run will take where it is more than a moment, or what is too large about it."""
    sized, data = shown.sized, shown.data
    if sized is None or data is None:
        return ""
    each = shown.step_seconds
    if shown.refused == "host":
        return shown.hosts_refusal
    if (refused := shown.refused) is not None:
        memory = costs.step_bytes(sized, shown.spec.batch_items(data)) / 1e9
        values = {"gigabytes": f"{memory:.1f}", "steps": f"{shown.spec.steps:,}", "layers": f"{sized.depth:,}"}
        return t(TOO_LARGE[refused], seconds=seconds_text(each), **values)
    runs = {spec: train_state.kept().get((spec, shown.digest)) for spec in shown.missing}
    left = sum(spec.steps_on(data) - (0 if run is None else len(run.steps)) for spec, run in runs.items())
    if shown.going or left * each < LONG:
        return ""
    return t("About {each} a step, {whole} in all.", each=seconds_text(each), whole=seconds_text(left * each))


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
