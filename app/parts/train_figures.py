"""The charts of the page Train: places that are drawn into again while a run goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import theme
from app.i18n import mark, t
from app.parts import pictures, train_state
from app.parts.train_controls import STAYS
from app.parts.train_state import Situation, key_of
from gradcore.charts import training as charts
from gradcore.charts.ends import ends_text
from gradcore.charts.training_words import describe, factors_text
from gradcore.experiments.data import Dataset
from gradcore.experiments.first_step import FirstStep
from gradcore.experiments.train_question import BOOK, VIEWS
from gradcore.experiments.train_spec import TrainSpec

SCALAR_HEIGHT = 230  # px
WORDS_HEIGHT = 40  # px: two lines below a chart
PANEL_HEIGHT = theme.CHART_HEIGHT - 50  # px: the switch stands above it
DEEPEST = len(BOOK)  # hidden layers in the table of speeds at the start
TITLES = {
    "updates": mark("Update over weights"),
    "saturated": mark("Saturated units"),
    "factors": mark("Factors |w φ'(z)| above 1"),
    "neurons": mark("Single neurons before training"),
    "start": mark("Speeds at the start, by depth"),
}


@dataclass
class Figures:
    """The places, in the order of the page."""

    sentence: DeltaGenerator
    speeds: DeltaGenerator
    loss: DeltaGenerator
    accuracy: DeltaGenerator
    panel: DeltaGenerator


def runs(shown: Situation) -> list[charts.Shown]:
    """The runs to draw, the plain one first."""
    found = [charts.Shown(t("plain"), shown.plain)] if shown.plain is not None else []
    if shown.remedied is not None and shown.remedied.steps:
        found.append(charts.Shown(t("remedy"), shown.remedied))
    return found


def draw(figures: Figures, shown: Situation, first: FirstStep | None) -> None:
    """All charts once more."""
    drawn, steps = runs(shown), shown.spec.steps if shown.plain is None else shown.plain.planned
    size: dict[str, Any] = {"depth": shown.spec.network.depth, "steps": steps, "t": t}
    words = describe(shown.plain, first).text(t)
    speeds = charts.layer_chart(charts.SPEEDS, drawn, first=first, height=theme.CHART_HEIGHT, **size)
    _put(figures.speeds, "speeds", speeds, theme.CHART_HEIGHT, words)
    for name, place in (("loss", figures.loss), ("accuracy", figures.accuracy)):
        chart = charts.scalar_chart(name, drawn, steps=steps, height=SCALAR_HEIGHT, t=t)
        lines = {one.name: one.run.series(name) for one in drawn}
        _put(place, name, chart, SCALAR_HEIGHT, ends_text(t(charts.SCALARS[name][0]), lines, t))
    view = shown.question.view
    if view in charts.QUANTITIES:
        said = _said_of(view, shown)
        height = PANEL_HEIGHT - (WORDS_HEIGHT if said else 0)
        chart = charts.layer_chart(charts.QUANTITIES[view], drawn, height=height, **size)
        with figures.panel.container(gap="xxsmall"):
            words = charts.describe_layers(charts.QUANTITIES[view], drawn, depth=shown.spec.network.depth, t=t)
            _put(st.empty(), view, chart, height, f"{words} {said}".strip())
            if said:
                st.caption(said)
    elif view == "neurons":
        _neurons(figures.panel, shown)


def _said_of(view: str, shown: Situation) -> str:
    """The chart's numbers in a sentence, where it has one."""
    run = shown.plain
    if view != "factors":
        return ""
    found = factors_text(run, charts.factor_counts(run)) if run is not None else None
    if found is None:
        return t("Press Start: the factors |w φ'(z)| are counted at every step.")
    return found.text(t)


def _put(place: DeltaGenerator, code: str, chart: Any, height: int, words: str) -> None:
    pictures.chart(place, code, chart.to_dict(validate=False), words, height=height)


def _neurons(place: DeltaGenerator, shown: Situation) -> None:
    run = shown.plain
    if run is None or not run.steps:
        place.caption(t("Press Start: the bars are those of the first step."))
        return
    chart = charts.neuron_chart(run, height=PANEL_HEIGHT, t=t)
    _put(place, "neurons", chart, PANEL_HEIGHT, t("dC/db of every neuron of the first two layers, at the first step."))


def switch() -> None:
    """What the second chart shows."""
    st.selectbox(
        t("Look at"), options=list(VIEWS), format_func=lambda code: t(TITLES[code]), key=key_of("view"), **STAYS
    )


def _with_hidden(shown: Situation, found: Dataset, hidden: int) -> TrainSpec:
    """The plain run with so many hidden layers, of the width of the first one."""
    return shown.question.with_hidden(hidden, shown.spec, found)


def start_table(shown: Situation, place: DeltaGenerator) -> None:
    """Predicted medians and bands of the speeds for 1 to 4 hidden layers, beside the book's single draws."""
    found, plain = shown.data, shown.question.network != "spec"
    if found is None:
        place.caption(t("The data of this record are not here."))
        return
    rows: dict[str, list[str]] = {"hidden": [], "median": [], "band": [], "book": []}
    with place, st.spinner(t("Predicting the speeds at every depth …")):
        for hidden in range(1, DEEPEST + 1):
            first = train_state.predicted(_with_hidden(shown, found, hidden), found)
            if first is None:
                continue
            low, high = first.band()
            rows["hidden"].append(str(hidden))
            rows["median"].append(", ".join(f"{v:.2g}" for v in first.median()[:-1]))
            ends = zip(low[:-1], high[:-1], strict=True)
            rows["band"].append(", ".join(f"{a:.1g}…{b:.1g}" for a, b in ends))
            rows["book"].append(BOOK[hidden - 1] if plain else "–")
    if not rows["hidden"]:
        place.caption(t("Nothing is predicted for networks of this width: it would take too long."))
        return
    with place.container(gap="xsmall"):
        st.dataframe(
            rows,
            column_config={
                "hidden": st.column_config.TextColumn(t("layers"), width=55),
                "median": t("predicted median, layer 1, 2 …"),
                "band": t("95% of networks"),
                "book": t("the book's draw, MNIST"),
            },
            hide_index=True,
            height="content",
            alt=t("Speeds of the hidden layers at the start, for 1 to 4 hidden layers"),
        )
        st.caption(
            t("The book's networks: sigmoid, 30 units, scaled weights, binary cross-entropy, 1000 images in one batch.")
        )
