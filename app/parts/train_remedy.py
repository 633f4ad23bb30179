"""A remedy beside the plain run: which, what it does and does not do, and the factor on the first layer's speed."""

from __future__ import annotations

import math

import streamlit as st

from app import theme
from app.i18n import spec_error_text, t, unsupported_text
from app.parts import train_state
from app.parts.train_controls import STAYS
from app.parts.train_state import Situation, key_of
from gradcore.errors import SpecError
from gradcore.experiments.remedies import REMEDIES, predicted_lift
from gradcore.experiments.train_question import NONE
from gradcore.experiments.training import compare_runs
from gradcore.words import number_text


def draw(shown: Situation) -> None:
    """The choice, its sentences and what it has done."""
    code = shown.question.remedy
    with st.container(border=True):
        choice, said = st.columns([1, 3], gap="medium", vertical_alignment="center")
        choice.selectbox(
            t("Remedy beside it"),
            (NONE, *REMEDIES),
            format_func=lambda one: t("none") if one == NONE else REMEDIES[one].title.text(t),
            key=key_of("remedy"),
            help=t("A second run from the same seed, with this one change."),
            **STAYS,
        )
        with said, st.container(gap="xxsmall"):
            if code == NONE:
                st.caption(t("Choose a remedy: the network is trained once more from the same seed, with it."))
                return
            if shown.why is not None:
                refused = shown.why
                text = spec_error_text(refused) if isinstance(refused, SpecError) else unsupported_text(refused)
                st.warning(text, icon=theme.ICONS["notice"])
                return
            _said(shown)


def _said(shown: Situation) -> None:
    remedy = REMEDIES[shown.question.remedy]
    outcome = _outcome(shown)
    if outcome:
        st.markdown(f"**{outcome}**")
    st.caption(t("It does: {text}", text=remedy.does.text(t)))
    st.caption(t("It does not: {text}", text=remedy.does_not.text(t)))


def _outcome(shown: Situation) -> str:
    """What was measured and what was predicted, as far as either is there."""
    parts = []
    plain, changed = shown.plain, shown.remedied
    if plain is not None and changed is not None:
        try:
            found = compare_runs(plain, changed)
        except SpecError:  # one of them broke off before its first step
            found = None
        if found is not None:
            parts.append(found.message.text(t))
            losses = {
                "loss": f"{found.loss:.3g}",
                "plain": f"{found.loss_plain:.3g}",
                "accuracy": f"{found.accuracy:.0%}",
                "plain_accuracy": f"{found.accuracy_plain:.0%}",
            }
            parts.append(t("Loss {loss} against {plain}, accuracy {accuracy} against {plain_accuracy}.", **losses))
        if changed.stop is not None:
            parts.append(changed.stop.message.text(t))
    lift = predicted(shown)
    if lift > 0.0:
        parts.append(t("Predicted at the start: ×{lift}.", lift=number_text(math.log10(lift))))
    return " ".join(parts)


def predicted(shown: Situation) -> float:
    """The predicted factor on the first layer's median speed at the start, where both laws are there; else nan."""
    if shown.changed is None:
        return math.nan
    if shown.changed.network == shown.spec.network:
        return 1.0
    if not (train_state.known(shown.spec, shown.data) and train_state.known(shown.changed, shown.data)):
        return math.nan
    plain = train_state.predicted(shown.spec, shown.data)
    changed = train_state.predicted(shown.changed, shown.data)
    return math.nan if plain is None or changed is None else predicted_lift(plain, changed)
