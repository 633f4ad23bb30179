"""The answer of the page Gates: the verdict in one sentence, the three factors per step, and the two charts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import streamlit as st

import gradcore as gc
from app import theme
from app.i18n import language, mark, t, unsupported_text
from app.parts import gates_measuring as measuring
from app.parts import pictures
from app.parts.verdict_box import LOOKS
from app.parts.words import estimate_text
from gradcore.cell_spec import CellSpec
from gradcore.charts import gates as charts
from gradcore.errors import SpecError, UnsupportedError
from gradcore.estimates import Estimate
from gradcore.experiments.gates import GatesQuestion
from gradcore.words import LN10, number_text

if TYPE_CHECKING:
    from gradcore.recurrent import CellMeasurement, CellProfile

WHY_WRONG = mark(
    "Why textbooks are wrong here: the same matrix acts at every step, so the many ways a gradient can take, through "
    "the matrix at some steps and along the kept state at the others, add up; with fresh weights they would be "
    "independent."
)
WHY_ALIKE = mark(
    "Without a gate nothing is carried over past the matrix, and tied and fresh weights give the same factor as long "
    "as the network is wide."
)


@st.cache_resource(max_entries=64, show_spinner=False)
def predict(spec: CellSpec) -> CellProfile:
    """The profile of a cell, shared between sessions, with its curves computed. Raises UnsupportedError."""
    profile = gc.predict_cell(spec)
    for one in (profile, profile.untied):
        one.log_v  # noqa: B018  computed here once
    profile.verdict  # noqa: B018
    return profile


def box(question: GatesQuestion, profile: CellProfile, measured: CellMeasurement | None) -> Any:
    """The verdict, and the button of the measurement beside it. Returns the place of the progress bar."""
    look = LOOKS[profile.verdict.kind]
    with st.container(border=True):
        said, pressed = st.columns([3, 1], vertical_alignment="center", gap="medium")
        with said, st.container(gap="xxsmall"):
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.badge(t(look.word), icon=look.icon, color=look.color)
                st.caption(made_of(question.spec), width="content")
            st.subheader(profile.verdict.text(t), anchor=False)
            st.caption(" ".join(detail.text(t) for detail in profile.verdict.details))
        with pressed, st.container(gap="xsmall"):
            measuring.button(question)
            place = st.container()
            if measured is not None:
                st.caption(_status(question, measured))
    return place


def made_of(spec: CellSpec) -> str:
    """The cell in one line."""
    name = f"{charts.NAMES[spec.cell]} {spec.activation}" if spec.cell == "rnn" else charts.NAMES[spec.cell]
    parts = [
        t("{name} · {n} units, {d} inputs · {steps} steps", name=name, n=spec.hidden_size, d=spec.input_size,
          steps=spec.steps),
        t("weights: {init}", init=spec.init) + ("" if spec.weight_scale == 1.0 else f" × {spec.weight_scale:g}"),
    ]  # fmt: skip
    biases = {"f": t("forget bias"), "z": t("update bias")}
    parts += [f"{biases[gate]} {value:g}" for gate, value in spec.given_biases.items()]
    return " · ".join(parts)


def _status(question: GatesQuestion, measured: CellMeasurement) -> str:
    count, kind = len(measured.networks), LOOKS[measured.verdict.kind].word
    return t(
        "Measured {count} of {total} networks, seed {seed}: {kind}.",
        count=count,
        total=question.networks,
        seed=question.seed,
        kind=t(kind).lower(),
    )


# --- numbers --------------------------------------------------------------------------------------------------


def cards(profile: CellProfile, measured: CellMeasurement | None, waiting: str) -> None:
    """The factor of the RMS per step back: predicted, measured, and what textbooks give; in mean square below it."""
    start, stop = profile.window
    window = t(
        "What the RMS of dL/dh changes by, per step back, between steps {start} and {stop}; squared: the same for the "
        "mean square.",
        start=start,
        stop=stop,
    )
    rows = [
        (t("Predicted, per step"), *_texts(profile.factor()), t("Tied weights, infinite width.") + " " + window),
        _measured(measured, waiting, window),
        (
            t("Textbooks (untied)"),
            *_texts(profile.untied.factor()),
            t("Fresh weights at every step, which is not this cell.") + " " + window,
        ),
        (
            t("Reaches step 1"),
            "×" + number_text(profile.log_reach / LN10, 3),
            t("of the last step's RMS"),
            t(
                "Predicted RMS of the gradient at step 1 over that at step {last}. The first steps back differ from "
                "the others: the loss sees the last state alone, and the gradient first has to get into the memory.",
                last=profile.spec.steps,
            ),
        ),
    ]
    with st.grid(4, min_column_width=theme.METRIC_MIN_WIDTH):
        for label, value, below, text in rows:
            st.metric(
                label,
                value,
                below,
                delta_color="off",
                delta_arrow="off",
                border=True,
                height=theme.METRIC_HEIGHT,
                help=text,
            )
    st.caption(t(WHY_ALIKE if profile.spec.cell == "rnn" else WHY_WRONG))


def _log(factor: float) -> float:
    return math.log10(factor) if factor > 0.0 else -math.inf


def _texts(factor: float) -> tuple[str, str]:
    """The factor of the RMS, and that of the mean square."""
    return "×" + number_text(0.5 * _log(factor), 3), t("squared: {square}", square=number_text(_log(factor), 3))


def _measured(measured: CellMeasurement | None, waiting: str, window: str) -> tuple[str, str, str, str]:
    label, text = (
        t("Measured, per step"),
        t("Mean over networks of torch's own cell, ± its standard error.") + " " + window,
    )
    if measured is None:
        return label, "–", waiting, text
    factor = measured.factor()
    if not 0.0 < factor < math.inf:
        return label, "–", t("no gradient that is a number"), text
    relative = measured.factor_error() / factor
    log = math.log(factor)
    square = t("squared: {square}", square=estimate_text(Estimate(log, relative)))
    return label, "×" + number_text(0.5 * log / LN10, 3), square, text


# --- charts ---------------------------------------------------------------------------------------------------


@st.cache_data(max_entries=64, show_spinner=False)
def _charts(
    key: tuple[Any, ...], _profile: CellProfile, _measured: CellMeasurement | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    height = theme.CHART_HEIGHT
    made = (
        charts.gradient_chart(_profile, _measured, height=height, t=t),
        charts.gate_chart(_profile, _measured, height=height, t=t),
    )
    return made[0].to_dict(validate=False), made[1].to_dict(validate=False)


def draw_charts(question: GatesQuestion, profile: CellProfile, measured: CellMeasurement | None) -> None:
    """The gradient back to each step, and the gates."""
    networks = () if measured is None else measured.networks
    made = _charts((question.spec.to_query(), question.seed, networks, language()), profile, measured)
    words = (profile.verdict.text(t), charts.describe_gates(profile, t))
    for place, code, document, text in zip(st.columns(2), ("gradient", "gates"), made, words, strict=True):
        pictures.chart(place, code, document, text, height=theme.CHART_HEIGHT)


def refusal(error: SpecError | UnsupportedError) -> str:
    """What is not allowed or not supported, in words."""
    from app.i18n import spec_error_text

    return spec_error_text(error) if isinstance(error, SpecError) else unsupported_text(error)
