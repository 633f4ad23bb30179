"""The answer of the page Symptoms: the worst symptom and its first remedy, every symptom found, and the others."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from app import theme
from app.i18n import mark, t
from app.parts import move, train_state
from app.parts.symptoms_source import Source, forget_own
from app.parts.train_symptoms import COLORS, WORDS, evidence_text
from gradcore.experiments.remedy_code import TORCH
from gradcore.experiments.symptom_examples import like_network
from gradcore.experiments.symptom_report import Entry
from gradcore.experiments.symptoms import FEWEST, Symptom
from gradcore.experiments.train_question import PREFIX, TrainQuestion

SEEN_ICON, UNSEEN_ICON, UNKNOWN_ICON = theme.ICONS["error"], ":material/check:", ":material/help:"
KINDS = {"exploding": mark("exploding"), "vanishing": mark("vanishing"), "either": mark("not learning")}


def answer(source: Source, entries: tuple[Entry, ...]) -> None:
    """What is wrong most severely, in which layer and step, and the first remedy."""
    found = [entry.found for entry in entries if entry.found is not None]
    steps = t("{name} · {steps} steps · {layers} layers", name=source.name, **_size(source))
    with st.container(border=True):
        said, beside = st.columns([3, 1], vertical_alignment="center", gap="medium")
        with said, st.container(gap="xxsmall"):
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                if found:
                    worst = found[0]
                    st.badge(t(WORDS[worst.severity]), icon=SEEN_ICON, color=COLORS[worst.severity])
                    st.badge(t(KINDS[worst.kind]), color="gray")
                else:
                    st.badge(t("no symptom"), icon=UNSEEN_ICON, color="green")
                st.caption(steps, width="content")
            if found:
                st.subheader(found[0].message.text(t), anchor=False)
                st.caption(_first_remedy(found))
            else:
                st.subheader(_nothing(source, entries), anchor=False)
                st.caption(t("Open a record of your own below, or press another example."))
        with beside:
            _beside(source, found)


def _size(source: Source) -> dict[str, str]:
    log = source.log
    known = [values for values in (log.grad, log.weight, log.update, log.change, log.node) if values is not None]
    return {"steps": f"{len(log.loss):,}", "layers": str(known[0].shape[1]) if known else "–"}


def _nothing(source: Source, entries: tuple[Entry, ...]) -> str:
    judged = sum(entry.missing is None for entry in entries)
    if len(source.log.loss) < FEWEST:
        return t("No symptom so far: of the course of a run nothing is said before {steps} steps.", steps=FEWEST)
    return t("No symptom: {judged} of {all} kinds were looked for.", judged=judged, all=len(entries))


def _first_remedy(found: list[Symptom]) -> str:
    parts = [t("What helps first: {remedy}.", remedy=one.message.text(t)) for one in found[0].remedies[:1]]
    if len(found) > 1:
        parts.append(t("Symptoms beside it: {count}.", count=len(found) - 1))
    return " ".join(parts)


def _beside(source: Source, found: list[Symptom]) -> None:
    """One click: the first remedy tried."""
    if found and found[0].remedies:
        _try(source, found[0], found[0].remedies[0].code, t("Try the first remedy"), key="symptoms_first", primary=True)
    elif source.example is not None:
        st.button(
            t("Train this network"),
            key="symptoms_train",
            icon=theme.ICONS["train"],
            width="stretch",
            on_click=_open,
            args=(source.example.question,),
        )
    if source.example is None:
        st.button(t("Back to the example"), key="symptoms_back", width="stretch", on_click=forget_own)


def _try(source: Source, symptom: Symptom, code: str, label: str, *, key: str, primary: bool = False) -> None:
    question = source.example.question if source.example is not None else like_network(source.log, symptom.code)
    if source.example is not None:
        text = t("Opens the page Train: this run, and the same once more with the remedy.")
    else:
        text = t("Opens the page Train on a network of as many layers with this symptom, and tries the remedy there.")
    st.button(
        label,
        key=key,
        icon=theme.ICONS["fix"],
        type="primary" if primary else "secondary",
        width="stretch" if primary else "content",
        help=text,
        on_click=_open,
        args=(replace(question, remedy=code),),
    )


def _open(question: TrainQuestion) -> None:
    """Callback: this question on the page Train, running."""
    train_state.start(question)
    move.go("train", {PREFIX + name: value for name, value in vars(question).items()})


# --- the list -------------------------------------------------------------------------------------------------


def draw(source: Source, entries: tuple[Entry, ...]) -> None:
    """Every symptom found with evidence and remedies; then a line for each of the others."""
    found = [entry for entry in entries if entry.found is not None]
    rest = [entry for entry in entries if entry.found is None]
    if found:
        st.markdown(f"**{t('Found')}**")
    for entry in found:
        if entry.found is not None:
            _card(source, entry.found)
    if rest:
        st.markdown(f"**{t('Not found')}**")
        with st.grid(2, min_column_width=320, gap="xxsmall"):
            for entry in rest:
                _line(entry)


def _card(source: Source, symptom: Symptom) -> None:
    with st.container(border=True, gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.badge(t(WORDS[symptom.severity]), color=COLORS[symptom.severity])
            st.markdown(symptom.message.text(t), width="content")
        if text := evidence_text(symptom):
            st.caption(text)
        with st.container(horizontal=True, gap="xsmall"):
            for one in symptom.remedies:
                _try(source, symptom, one.code, one.message.text(t), key=f"symptoms_try_{symptom.code}_{one.code}")
        with st.expander(t("The same in torch, an argument or a line each")):
            for one in symptom.remedies:
                if code := TORCH.get(one.code):
                    st.caption(one.message.text(t))
                    st.code(code, language="python")


def _line(entry: Entry) -> None:
    title = entry.title.text(t)
    if entry.missing is None:
        st.caption(t("{icon} {title}: not seen.", icon=UNSEEN_ICON, title=title))
    else:
        why = entry.missing.text(t)
        st.caption(t("{icon} {title}: cannot be judged, {why}.", icon=UNKNOWN_ICON, title=title, why=why))
