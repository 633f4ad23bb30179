"""Weight penalties (4.7): their share of the first update, and the norms of the weights over training."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from app import theme
from app.i18n import language, mark, t
from app.parts import pictures
from app.parts.place import Place
from gradcore.charts import clipping as charts
from gradcore.charts.ends import ends_text
from gradcore.errors import SpecError, UnsupportedError
from gradcore.experiments.data import Dataset
from gradcore.experiments.penalty_study import (
    FEWEST,
    NETWORKS,
    SEEDS,
    affordable_networks,
    penalty_alone,
    pooled,
    shares_over_seeds,
    two_norms,
)
from gradcore.experiments.regularization import PenaltyShare, predicted_share
from gradcore.experiments.remedies import REMEDIES
from gradcore.experiments.remedies_question import RemediesQuestion
from gradcore.experiments.train_spec import TrainSpec
from gradcore.experiments.training import Run

NAMES = {"l1": mark("L1"), "l2": mark("L2 (squared)"), "l2_norm": mark("the plain norm")}
DOES = mark("It pulls on all weights together with a force of λ, whatever their size.")
DOES_NOT = mark("It is not the weight decay of optimizers, which shrinks every weight by the same factor a step.")


def specs(question: RemediesQuestion, data: Dataset) -> list[TrainSpec]:
    """The run without and the run with the penalty."""
    return list(dict.fromkeys((question.plain_run(data), question.penalized_run(data))))


@st.cache_resource(max_entries=32, show_spinner=False, hash_funcs={TrainSpec: repr})
def predicted(spec: TrainSpec, digest: str, _data: Dataset) -> PenaltyShare | None:
    """The share before any network is built; None where it would take seconds, or theory has no answer."""
    count = affordable_networks(spec, _data, NETWORKS)
    if count < FEWEST:
        return None
    try:
        return predicted_share(spec, _data, networks=count)
    except (SpecError, UnsupportedError):
        return None


@st.cache_resource(max_entries=16, show_spinner=False, hash_funcs={TrainSpec: repr})
def _measured(spec: TrainSpec, digest: str, _data: Dataset) -> tuple[tuple[PenaltyShare, ...], np.ndarray]:
    """The shares of the run's seed and further ones, and the norms (steps, L) that the penalty alone would leave."""
    from gradcore.experiments.training_loop import first_gradients

    weights, _ = first_gradients(spec, _data)
    return shares_over_seeds(spec, _data, max(1, affordable_networks(spec, _data, SEEDS))), penalty_alone(
        spec, weights, spec.steps_on(_data)
    )


def headline(question: RemediesQuestion, expected: PenaltyShare | None) -> str:
    """The predicted share of the first update, at both ends of the network."""
    values = {"name": t(NAMES[question.penalty]), "strength": f"{question.strength:g}"}
    if expected is None:
        return t("{name} at λ = {strength}: not predicted, the network is large. Train it to measure", **values)
    first, last = (f"{float(expected.share[layer]):.3g}" for layer in (0, -1))
    values |= {"first": first, "last": last}
    return t(
        "Predicted: in the first update {name} at λ = {strength} is ×{first} the gradient in layer 1, ×{last} in the "
        "last",
        **values,
    )


def details(question: RemediesQuestion, data: Dataset, runs: list[Run | None]) -> list[str]:
    """The run's own share, and the two penalties that are called L2."""
    said = [two_norms(question.plain_run(data), data, question.strength).message.text(t)]
    if all(run is not None for run in runs):
        shares, _ = _measured(question.penalized_run(data), data.digest, data)
        first, last = (f"{float(pooled(shares).share[layer]):.3g}" for layer in (0, -1))
        text = t(
            "Measured on {count} seeds: ×{first} in layer 1, ×{last} in the last (root mean squares, as predicted).",
            count=len(shares),
            first=first,
            last=last,
        )
        said.insert(0, text)
        for run in runs:
            if run is not None and run.stop is not None:
                said.append(run.stop.message.text(t))
    return said


@st.cache_data(max_entries=32, show_spinner=False)
def _charts(
    key: tuple[Any, ...],
    _shares: tuple[PenaltyShare, ...],
    _expected: PenaltyShare | None,
    _norms: dict[str, np.ndarray],
) -> list[tuple[dict[str, Any], str]]:
    height = theme.CHART_HEIGHT
    title, axis = t("Norm of all weights over training"), t("norm of all weights")
    return [
        (
            charts.share_chart(_shares, _expected, height=height, t=t).to_dict(validate=False),
            ends_text(
                t("Penalty over gradient in the first update, from layer 1 to the last"),
                {t("predicted"): () if _expected is None else _expected.share, t("measured"): pooled(_shares).share},
                t,
            ),
        ),
        (
            charts.step_chart(_norms, title, axis, log=False, height=height, t=t).to_dict(validate=False),
            ends_text(title, _norms, t),
        ),
    ]


def draw(question: RemediesQuestion, data: Dataset, runs: list[Run], expected: PenaltyShare | None) -> None:
    """Both charts, and what the penalty does and does not."""
    spec = question.penalized_run(data)
    shares, alone = _measured(spec, data.digest, data)
    plain, penalized = (np.linalg.norm(run.series("weight_norms"), axis=1) for run in (runs[0], runs[-1]))
    norms = {
        t("with the penalty"): penalized,
        t("without"): plain,
        t("the penalty alone, predicted"): np.linalg.norm(alone, axis=1),
    }
    drawn = _charts((repr(spec), data.digest, language()), shares, expected, norms)
    for place, code, (chart, words) in zip(st.columns(2), ("shares", "norms"), drawn, strict=True):
        with place:
            pictures.chart(Place(), code, chart, words, height=theme.CHART_HEIGHT)
    if question.penalty in REMEDIES:
        does, does_not = (one.text(t) for one in (REMEDIES[question.penalty].does, REMEDIES[question.penalty].does_not))
    else:
        does, does_not = t(DOES), t(DOES_NOT)
    st.caption(t("**Does.** {text}", text=does))
    st.caption(t("**Does not.** {text}", text=does_not))
