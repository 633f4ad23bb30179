"""The four numbers under the verdict: predicted as the value, measured small below it, in cards of the same build."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

import gradcore as gc
from app import theme
from app.i18n import t
from app.parts.place import Place
from app.parts.words import estimate_text
from gradcore.estimates import Estimate, Estimates, estimates
from gradcore.verdict import USABLE
from gradcore.words import LN10, number_text

if TYPE_CHECKING:
    from app.parts.verdict_box import Answer
    from gradcore.measurement import Measurement

DIGITS = 3


@dataclass(frozen=True)
class Card:
    """One number: what it is, predicted (a dash where there is no prediction), what stands small below it, and its
    definition with its unit."""

    label: str
    predicted: str
    below: str
    help: str


def frame() -> list[Place]:
    """Room for the cards: four in a row, two on a phone."""
    with st.grid(4, min_column_width=theme.METRIC_MIN_WIDTH):
        return [Place() for _ in range(4)]


def fill(places: list[Place], found: Answer, measured: Measurement | None, statistic: str, waiting: str) -> None:
    """Draw the cards; ``waiting`` stands where a measured number will be."""
    for place, card in zip(places, cards(found, measured, statistic, waiting), strict=True):
        place.draw(
            "metric",
            card.label,
            card.predicted,
            card.below,
            delta_color="off",
            delta_arrow="off",
            border=True,
            height=theme.METRIC_HEIGHT,
            help=card.help,
        )


def cards(found: Answer, measured: Measurement | None, statistic: str, waiting: str) -> list[Card]:
    """The four cards of one network."""
    depth = found.spec.depth
    ours = None if found.profile is None else estimates(found.profile, statistic)
    theirs = None if measured is None else estimates(measured, statistic)
    how = _how(statistic)
    square = "" if ours is None or depth == 1 else f" {t('Predicted in mean square: ×{factor}.', factor=_square(ours))}"

    def texts(name: str, sign: str) -> tuple[str, str]:
        mine: Estimate | None = None if ours is None else getattr(ours, name)
        other: Estimate | None = None if theirs is None else getattr(theirs, name)
        return _predicted(mine, sign), _measured(other, measured, waiting)

    return [
        Card(
            t("Gradient per layer (RMS)"),
            *(texts("factor", "×") if depth > 1 else ("–", t("one layer only"))),
            t("By what the RMS of the gradient δ changes per layer, from the output towards the input.") + square + how,
        ),
        Card(
            t("Gradient at layer 1 (RMS)"),
            *texts("ratio", "×"),
            t("RMS of the gradient δ at layer 1, as a multiple of that at layer {depth}.", depth=depth) + how,
        ),
        Card(
            t("Signal at layer {depth} (RMS)", depth=depth),
            *texts("signal", ""),
            t(
                "RMS of the pre-activations z of layer {depth}; the input has {rms}.",
                depth=depth,
                rms=f"{found.spec.input_rms:g}",
            )
            + how,
        ),
        Card(
            t("Usable depth (layers)"),
            "–" if found.verdict is None else _of(found.verdict.usable_depth, depth),
            waiting if measured is None else _said(_of(gc.diagnose(measured).usable_depth, depth)),
            t(
                "How many layers, counted from the output, get a gradient within a factor {limit} in RMS of the last "
                "layer's: what one learning rate can serve. Measured: in the median network.",
                limit=f"{USABLE:g}",
            ),
        ),
    ]


def _predicted(estimate: Estimate | None, sign: str) -> str:
    return "–" if estimate is None else sign + number_text(estimate.log / LN10, DIGITS)


def _measured(estimate: Estimate | None, measured: Measurement | None, waiting: str) -> str:
    if estimate is None or measured is None:
        return waiting
    if math.isnan(estimate.log):
        return t("not finite in {dtype}", dtype=measured.dtype)
    return _said(estimate_text(estimate))  # without the sign: it must fit into a card on a phone


def _said(value: str) -> str:
    return t("measured {value}", value=value)


def _of(part: int, whole: int) -> str:
    return t("{part} of {whole}", part=part, whole=whole)


def _square(ours: Estimates) -> str:
    return number_text(2.0 * ours.factor.log / LN10, DIGITS)


def _how(statistic: str) -> str:
    if statistic == "median":
        return " " + t("Predicted and measured in the median network, ± standard error.")
    return " " + t("Predicted at infinite width; measured as the mean over networks, ± standard error.")
