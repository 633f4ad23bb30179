"""Clipping (4.1): observed norms with a threshold to move, the first step before and after, and the clipped run."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import streamlit as st

from app import theme
from app.i18n import language, mark, t
from app.parts import pictures, remedies_controls, remedies_training
from app.parts.place import Place
from app.parts.remedies_controls import STAYS, key_of
from gradcore.charts import clipping as charts
from gradcore.charts.ends import ends_text
from gradcore.charts.training import Shown, scalar_chart
from gradcore.experiments.clip_study import ClippedGradient, clip_gradients, layer_gradients, norms_after
from gradcore.experiments.clipping import Proposal, Threshold, propose_threshold, share_clipped
from gradcore.experiments.data import Dataset
from gradcore.experiments.remedies import REMEDIES
from gradcore.experiments.remedies_question import LIMITS, RemediesQuestion
from gradcore.experiments.train_spec import TrainSpec
from gradcore.experiments.training import Run
from gradcore.words import number_text

SLIDER, PICK = "remedies_limit_slider", "remedies_limit_pick"
CHARTS = ("norms", "layers", "step", "loss")  # in the order in which they are made
ORIGINS = {
    "quantile": mark("{parameter}% of the norms lie below: {limit}"),
    "common": mark("common: {limit}"),
    "initial": mark("{parameter} × the mean initial norm: {limit}"),
}


def specs(question: RemediesQuestion, data: Dataset) -> list[TrainSpec]:
    """The runs that are needed next: the unclipped one, then the one clipped at the threshold."""
    plain = question.observed_run(data)
    run = remedies_training.run_of(plain, data)
    limit = None if run is None else limit_of(question, run)
    return [plain] if limit is None else [plain, question.clipped_run(data, limit)]


def limit_of(question: RemediesQuestion, run: Run) -> float | None:
    """The threshold: the given one, or the proposed; None where no norm is a number above 0."""
    return question.threshold(run.series("clip_norm"))


def _proposal(norms: np.ndarray) -> Proposal:
    return propose_threshold(norms[~np.isnan(norms)])


@st.cache_resource(max_entries=16, show_spinner=False, hash_funcs={TrainSpec: repr})
def _gradients(spec: TrainSpec, digest: str, _data: Dataset) -> list[list[np.ndarray]]:
    return layer_gradients(spec, _data)


def headline(question: RemediesQuestion, run: Run | None, limit: float | None, first: ClippedGradient | None) -> str:
    """What the threshold does, in one sentence; before the run what to press."""
    if run is None:
        return t("Train {steps} steps to observe the norms of the gradient", steps=question.steps)
    if limit is None or first is None:
        return t("No norm of the gradient is a number above 0: there is nothing to clip")
    share = share_clipped(run.series("clip_norm"), limit)
    if share == 0.0:
        return t("A threshold of {limit} lies above all norms: clipping never acts here", limit=_text(limit))
    values = {"limit": _text(limit), "share": f"{share:.0%}", "count": len(run.steps), "cosine": f"{first.cosine:.2f}"}
    if question.clip == "value":
        return t("Entries cut at {limit}: {share} of {count} steps are, and the first turns to a cosine of {cosine}",
                 **values)  # fmt: skip
    return t("A threshold of {limit} clips {share} of {count} steps and turns none: cosine {cosine}", **values)


def _text(value: float) -> str:
    return number_text(math.log10(value), 3)


def details(question: RemediesQuestion, run: Run, first: ClippedGradient) -> list[str]:
    """The layers' ratios, and the cosine that Gaussian entries would give."""
    before, after = (number_text(math.log10(r) if r > 0 else -math.inf, 3) for r in first.ratios)
    said = [
        t("At the first step layer 1 has {before} times the last layer's gradient norm before clipping, {after} times "
          "after it.", before=before, after=after)
    ]  # fmt: skip
    if question.clip == "value":
        values = {"share": f"{first.share:.2%}", "cosine": f"{first.predicted_cosine:.3f}"}
        said.append(t("There {share} of all entries are cut; Gaussian entries of the same size would keep a cosine of "
                      "{cosine}.", **values))  # fmt: skip
    if run.stop is not None:
        said.append(t("The unclipped run: {stop}", stop=run.stop.message.text(t)))
    return said


# --- the threshold ----------------------------------------------------------------------------------------------


def threshold(question: RemediesQuestion, run: Run, limit: float) -> None:
    """The threshold to move: a slider over the observed norms, a number, and the proposed ones."""
    norms = run.series("clip_norm")
    logs = np.log10(norms[np.isfinite(norms) & (norms > 0)])
    low = math.floor(10 * min(float(logs.min()), math.log10(limit))) / 10 - 0.1
    high = math.ceil(10 * max(float(logs.max()), math.log10(limit))) / 10 + 0.1
    with st.container(border=True):
        moved, typed = st.columns([3, 1], gap="medium", vertical_alignment="bottom")
        st.session_state[SLIDER] = min(max(round(math.log10(limit), 2), low), high)
        moved.slider(
            t("Threshold, as log10 of the norm"),
            low,
            high,
            step=0.01,
            key=SLIDER,
            on_change=_moved,
            help=t("Over all norms that were observed."),
        )
        more: dict[str, Any] = {"value": None, "placeholder": t("proposed: {limit}", limit=_text(limit)), **STAYS}
        typed.number_input(
            t("Threshold"), *LIMITS, format="%.6g", key=key_of("limit"), help=t("Empty: the proposed one."), **more
        )
        _proposals(_proposal(norms), limit)


def _moved() -> None:
    """Callback of the slider."""
    remedies_controls.put("limit", float(f"{10.0 ** st.session_state[SLIDER]:.4g}"))


def _proposals(found: Proposal, limit: float) -> None:
    """A button for each threshold that is proposed or common, with the share that it clips."""
    known = [one for one in found.thresholds if LIMITS[0] <= one.limit <= LIMITS[1]]
    values = [float(f"{one.limit:.4g}") for one in known]
    st.session_state[PICK] = values.index(limit) if limit in values else None
    st.pills(
        t("Proposed from the observed norms, and common ones (share of steps clipped)"),
        options=range(len(known)),
        format_func=lambda index: _label(known[index]),
        key=PICK,
        on_change=_picked,
        args=(values,),
    )


def _label(one: Threshold) -> str:
    parameter = 100 * one.parameter if one.origin == "quantile" else one.parameter
    said = t(ORIGINS[one.origin], parameter=f"{parameter:g}", limit=_text(one.limit))
    return f"{said} ({one.share:.0%})"


def _picked(values: list[float]) -> None:
    """Callback of the buttons."""
    index = st.session_state[PICK]
    if index is not None:
        remedies_controls.put("limit", values[index])


# --- charts -----------------------------------------------------------------------------------------------------


def first_step(question: RemediesQuestion, data: Dataset, limit: float) -> ClippedGradient:
    """What the threshold does to the first step's gradient. Loads torch."""
    layers = _gradients(question.plain_run(data), data.digest, data)
    return clip_gradients(layers, question.clip, limit)


@st.cache_data(max_entries=32, show_spinner=False)
def _charts(
    key: tuple[Any, ...], limit: float, _plain: Run, _clipped: Run | None, _first: ClippedGradient
) -> list[tuple[dict[str, Any], str]]:
    norms, height = _plain.series("clip_norm"), theme.CHART_HEIGHT
    share = share_clipped(norms, limit)
    curves = {t("unclipped run"): norms}
    runs = [Shown(t("unclipped"), _plain)]
    if _clipped is not None:
        before = _clipped.series("clip_norm")
        curves |= {t("clipped run, before clipping"): before, t("after clipping"): norms_after(_clipped)}
        runs.append(Shown(t("clipped"), _clipped))
    title, axis = t("Norms over the steps"), t("norm that is clipped (log scale)")
    drawn = (
        (charts.norm_histogram(norms, limit, height=height, t=t), charts.describe_norms(norms, limit, share, t)),
        (charts.layer_bars(_first, height=height, t=t), charts.describe_layers(_first, t)),
        (
            charts.step_chart(curves, title, axis, limit=limit, height=height, t=t),
            ends_text(title, curves, t),
        ),
        (
            scalar_chart("loss", runs, steps=_plain.planned, height=height, t=t),
            ends_text(t("Loss"), {one.name: one.run.series("loss") for one in runs}, t),
        ),
    )
    return [(chart.to_dict(validate=False), words) for chart, words in drawn]


def draw(question: RemediesQuestion, plain: Run, clipped: Run | None, first: ClippedGradient, limit: float) -> None:
    """The four charts, and what clipping does and does not."""
    key = (question.clip, repr(plain.spec), str(plain.data["digest"]), clipped is not None, language())
    places = (*st.columns(2), *st.columns(2))
    for place, code, (chart, words) in zip(places, CHARTS, _charts(key, limit, plain, clipped, first), strict=True):
        with place:
            pictures.chart(Place(), code, chart, words, height=theme.CHART_HEIGHT)
    remedy = REMEDIES["clip_value" if question.clip == "value" else "clip_norm"]
    st.caption(t("**Does.** {text}", text=remedy.does.text(t)))
    st.caption(t("**Does not.** {text}", text=remedy.does_not.text(t)))
