"""The tab on the Jacobian: how equally one network passes the directions of its input, Gaussian beside orthogonal."""

from __future__ import annotations

import math
import sys
from typing import Any

import streamlit as st

import gradcore as gc
from app import limits, runner, theme
from app.i18n import language, t, unsupported_text
from app.parts import pictures
from app.parts.words import network_text
from gradcore import charts
from gradcore.codec import to_query
from gradcore.errors import GradcoreError
from gradcore.spec import Spec
from gradcore.words import LN10, number_text

LARGEST = 512  # units that are taken apart without being asked
OTHER = {True: "lecun_normal", False: "orthogonal"}  # by whether the weights are orthogonal: what stands beside them


def draw(spec: Spec, seed: int) -> None:
    """Sentence, chart, and where torch is not there yet a button."""
    predicted = _predicted(spec)
    if predicted is not None:
        st.markdown(_sentence(predicted))
    if refused := limits.refusal(spec, 2):  # this network and the one beside it
        st.caption(refused)
        return
    if "torch" not in sys.modules or int(max(spec.layer_widths.max(), spec.fan_ins.max())) > LARGEST:
        if not st.button(t("Take one network's Jacobian apart"), icon=theme.ICONS["measure"], key="jacobian"):
            return
        runner.start_torch()
    try:
        document, words = _drawn((*_key(spec), language()), seed, spec)
    except GradcoreError as error:
        st.caption(unsupported_text(error) if isinstance(error, gc.UnsupportedError) else str(error))
        return
    pictures.chart(st, "jacobian", document, words, height=theme.CHART_HEIGHT)
    st.caption(words)


def _key(spec: Spec) -> tuple[Any, ...]:
    return tuple(to_query(spec).items())


def _predicted(spec: Spec) -> gc.Jacobian | None:
    """The predicted moments, or a caption that says why there are none."""
    try:
        return gc.jacobian(spec)
    except GradcoreError as error:
        st.caption(unsupported_text(error) if isinstance(error, gc.UnsupportedError) else str(error))
        return None


def _sentence(predicted: gc.Jacobian) -> str:
    rms = number_text(0.5 * predicted.log_mean_square / LN10, 3)
    if predicted.law == "isometry":
        return t("Every direction of the input is passed on with the same factor **{rms}** (an isometry).", rms=rms)
    return t(
        "Predicted: an RMS singular value of **{rms}**, and a spread m₂/m₁² of **{spread}** (1 would be an isometry: "
        "all directions of the input passed on alike).",
        rms=rms,
        spread=number_text(math.log10(predicted.spread), 3),
    )


def _beside(spec: Spec) -> Spec:
    """The same network with orthogonal weights, or Gaussian ones where they are orthogonal, at the same sigma_w."""
    sigma = float(gc.predict(spec).sigma_w[-1])
    return spec.replace(init=OTHER[spec.init_entry.kind == "orthogonal"], gain=sigma)


@st.cache_data(max_entries=16, show_spinner=False)
def _drawn(key: tuple[Any, ...], seed: int, _spec: Spec) -> tuple[dict[str, Any], str]:
    """The chart and its words."""
    spec, other = _spec, _beside(_spec)
    measured = {
        t("{init}, network 0", init=spec.init): gc.singular_values(spec, seed=seed),
        t("{init} at the same σ_w", init=other.init): gc.singular_values(other, seed=seed),
    }
    try:
        predicted = gc.jacobian(spec)
    except GradcoreError:
        predicted = None
    words = t(
        "Singular values of dz/dx at the first sample, measured on one network: {network}. Dotted: predicted RMS.",
        network=network_text(spec),
    )
    if predicted is not None and predicted.law == "fuss_catalan":
        words += " " + t("Grey line: the predicted law at infinite width (Fuss-Catalan).")
    return charts.singular_chart(measured, predicted, t=t).to_dict(validate=False), words
