"""The experiments on a chain, one at a time: a chart each, and the figures below it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from app import theme
from app.i18n import language, mark, t
from app.parts import pictures
from app.parts.chain_controls import STAYS, key_of
from app.widgets import KEPT
from gradcore.charts import chain as charts
from gradcore.charts import chain_laws
from gradcore.charts.chain_words import describe_gradients
from gradcore.equations.chain import ratio_latex
from gradcore.experiments.chain import (
    MEAN_LOG,
    VARIANCE_LOG,
    Chain,
    Draws,
    Normal,
    Prediction,
    Training,
    draw_chains,
    early_against_late,
    explosive_interval,
    has_width,
    least_weight,
    nudge,
    nudges,
    predict_chains,
    steepest,
    train,
)
from gradcore.experiments.chain.question import (
    BALANCE_DRAWS,
    DRAWS,
    LENGTHS,
    RATE,
    SCALES,
    STEPS,
    VIEWS,
    ChainQuestion,
)
from gradcore.experiments.chain.story import DELTA
from gradcore.words import LN10, number_text

TABLE_HEIGHT = 245
PANEL_HEIGHT = theme.CHART_HEIGHT - 50  # px: the switch stands above it
HASH: dict[Any, Callable[[Any], Any]] = {Chain: repr, Normal: repr}


@dataclass(frozen=True)
class Panel:
    """One experiment: its short title, what draws it, and a field of its own where it has one."""

    title: str
    draw: Callable[[ChainQuestion, Chain], None]
    field: Callable[[], None] | None = None


def draw(question: ChainQuestion, chain: Chain) -> None:
    """The switch, and the panel that it is set to."""
    panel = PANELS[question.view]
    switch, beside = st.columns([3, 2], vertical_alignment="bottom", gap="small")
    switch.selectbox(
        t("Look at"),
        options=list(VIEWS),
        format_func=lambda code: t(PANELS[code].title),
        key=key_of("view"),
        **STAYS,
    )
    if panel.field is not None:
        with beside:
            panel.field()
    panel.draw(question, chain)


def _chart(document: dict[str, Any], words: str) -> None:
    pictures.chart(st, "panel", document, words, height=PANEL_HEIGHT)


@st.cache_data(max_entries=128, show_spinner=False, hash_funcs=HASH)
def _drawn(name: str, chain: Chain, code: str) -> dict[str, Any]:
    """A chart that the chain alone decides."""
    return CHARTS[name](chain).to_dict(validate=False)


CHARTS: dict[str, Callable[[Chain], Any]] = {
    "gradients": lambda chain: charts.gradient_chart(chain, height=PANEL_HEIGHT, t=t),
    "slope": lambda chain: charts.slope_chart(chain, height=PANEL_HEIGHT, t=t),
    "interval": lambda chain: chain_laws.interval_chart(chain, height=PANEL_HEIGHT, t=t),
}


# --- early against late, a small change, the slope ------------------------------------------------------------


def _early(question: ChainQuestion, chain: Chain) -> None:
    _chart(_drawn("gradients", chain, language()), describe_gradients(chain, t))
    found = early_against_late(chain, 1, min(3, chain.length))
    st.latex(ratio_latex(found))
    limit = number_text(-(found.late - 1) * math.log10(4.0), 3)
    st.caption(
        t(
            "dC/db₁ has {more} factors more than dC/db of neuron {late}; if each is below 1/4, it is less than {limit} "
            "of it.",
            more=found.late - found.early,
            late=found.late,
            limit=limit,
        )
    )


def _nudge_field() -> None:
    st.number_input(
        t("Change Δb₁"), *DELTA, step=0.01, format="%.6g", key=key_of("nudge"), help=t("Added to b₁."), **KEPT, **STAYS
    )


def _nudge(question: ChainQuestion, chain: Chain) -> None:
    found = nudge(chain, question.nudge)
    words = t(
        "A change of {delta} in b₁ becomes {change} in the cost.",
        delta=f"{found.delta:.4g}",
        change=f"{found.steps[-1].change:.4g}",
    )
    _chart(charts.nudge_chart(found, height=PANEL_HEIGHT, t=t).to_dict(validate=False), words)
    st.caption(
        words
        + " "
        + t("The smaller the change, the closer ΔC/Δb₁ is to dC/db₁ = {slope}:", slope=f"{found.derivative:.6g}")
    )
    sizes = sorted({question.nudge, 1e-1, 1e-2, 1e-3, 1e-4, 1e-6}, reverse=True)
    rows = nudges(chain, sizes)
    st.dataframe(
        {
            "delta": [f"{row.delta:g}" for row in rows],
            "ratio": [f"{row.ratio:.8g}" for row in rows],
            "error": ["–" if math.isnan(row.error) else f"{row.error:.1e}" for row in rows],
        },
        column_config={"delta": t("Δb₁"), "ratio": t("ΔC/Δb₁"), "error": t("relative error")},
        hide_index=True,
        height="content",
        alt=t("ΔC/Δb₁ for smaller and smaller changes"),
    )


def _derivative(question: ChainQuestion, chain: Chain) -> None:
    at, most = steepest(chain.activation, chain.negative_slope)
    words = t(
        "The slope of {activation} is at most {most}, at z = {z}.",
        activation=chain.activation,
        most=f"{most:.6g}",
        z=f"{at + 0.0:.3g}",
    )
    _chart(_drawn("slope", chain, language()), words)
    least = t("So no factor |w σ′(z)| reaches 1 unless |w| is at least {least}.", least=f"{1.0 / most:.4g}")
    st.caption(f"{words} {least}")


# --- random chains --------------------------------------------------------------------------------------------


@st.cache_resource(max_entries=32, show_spinner=False, hash_funcs=HASH)
def predicted(weights: Normal, biases: Normal, start: float, activation: str) -> Prediction:
    """The prediction for random chains of this law, shared between sessions."""
    return predict_chains(weights, biases, start, activation)


@st.cache_resource(max_entries=32, show_spinner=False, hash_funcs=HASH)
def drawn_chains(
    length: int, weights: Normal, biases: Normal, draws: int, seed: int, start: float, activation: str
) -> Draws:
    """Drawn chains, shared between sessions."""
    return draw_chains(length, weights, biases, draws, seed, start, activation)


@st.cache_data(max_entries=64, show_spinner=False)
def _histogram(key: tuple[Any, ...], _draws: Draws, _law: Prediction) -> dict[str, Any]:
    chart = chain_laws.histogram_chart(_draws, _law, key[0], height=PANEL_HEIGHT, t=t)
    return chart.to_dict(validate=False)


def _random(question: ChainQuestion, chain: Chain) -> None:
    weights, biases = question.laws
    with st.spinner(t("Predicting and drawing random chains …")):
        law = predicted(weights, biases, question.input, question.activation)
        draws = drawn_chains(
            question.length, weights, biases, DRAWS, question.seed, question.input, question.activation
        )
        key = (question.length, question.weight_std, question.bias_std, question.seed, question.input)
        chart = _histogram((*key, question.activation, language()), draws, law)
    mine = law.product(question.length)
    alive = int(draws.alive * DRAWS + 0.5)
    if alive < 2 or not mine.alive > 0.0:
        said = t("The product is exactly 0 in nearly every one of {draws} chains.", draws=f"{DRAWS:,}")
    else:
        said = t(
            "ln of the product: predicted {mean} ± {std} (mean and spread), drawn {drawn_mean} ± {drawn_std} over "
            "{draws} chains, standard error {error}. Per further neuron {rate}: a factor {factor} each.",
            mean=f"{mine.mean:.3f}",
            std=f"{mine.std:.3f}",
            drawn_mean=f"{draws.mean:.3f}",
            drawn_std=f"{draws.std:.3f}",
            draws=f"{DRAWS:,}",
            error=f"{draws.std / math.sqrt(alive):.3f}",
            rate=f"{law.per_layer[0]:.3f}",
            factor=number_text(law.per_layer[0] / LN10, 3),
        )
    words = t("Histogram of the product of all factors over random chains, beside its predicted law.")
    _chart(chart, f"{words} {said}")
    st.caption(said)
    st.caption(_weights_text(question, weights, draws, mine.alive))


def _weights_text(question: ChainQuestion, weights: Normal, draws: Draws, alive: float) -> str:
    text = t(
        "|w| < 1 holds for {one} of the weights (drawn: {drawn_one}), |w| < 1/4 for {quarter} (drawn: "
        "{drawn_quarter}).",
        one=f"{weights.below(1.0):.1%}",
        drawn_one=f"{draws.small[0]:.1%}",
        quarter=f"{weights.below(0.25):.1%}",
        drawn_quarter=f"{draws.small[1]:.1%}",
    )
    if weights.std > 0.0:
        mean = MEAN_LOG + math.log(weights.std)
        spread = math.sqrt(VARIANCE_LOG)
        text += " " + t("E ln |w| = {mean}, with spread {std}.", mean=f"{mean:.5f}", std=f"{spread:.4f}")
    if alive < 0.9995:
        more = t(
            "Not exactly 0: {alive} of the chains (drawn: {drawn}).", alive=f"{alive:.2%}", drawn=f"{draws.alive:.2%}"
        )
        text = f"{text} {more}"
    return text


@st.cache_data(max_entries=32, show_spinner=False)
def _balance_chart(
    start: float, bias_std: float, activation: str, scales: tuple[float, ...], code: str
) -> dict[str, Any]:
    biases = Normal(0.0, bias_std)
    laws = {std: predicted(Normal(0.0, std), biases, start, activation) for std in scales}
    draws = {
        std: drawn_chains(LENGTHS[-1], Normal(0.0, std), biases, BALANCE_DRAWS, 0, start, activation) for std in scales
    }
    return chain_laws.balance_chart(laws, draws, LENGTHS, height=PANEL_HEIGHT, t=t).to_dict(validate=False)


def _balance(question: ChainQuestion, chain: Chain) -> None:
    scales = tuple(sorted({*SCALES, question.weight_std} - {0.0}))
    with st.spinner(t("Predicting the balance of random chains …")):
        chart = _balance_chart(question.input, question.bias_std, question.activation, scales, language())
        law = predicted(*question.laws, question.input, question.activation)
        share = law.balanced(question.length)
    words = t(
        "Of random chains of {length} neurons with σ_w = {std}, {share} are balanced (predicted).",
        length=question.length,
        std=f"{question.weight_std:g}",
        share=f"{100.0 * share:.2g}%",
    )
    _chart(chart, words)
    how = t(
        "Lines: predicted; points: {draws} drawn chains each. Balanced: |dC/db₁| and |dC/db_L| within a factor 10.",
        draws=f"{BALANCE_DRAWS:,}",
    )
    st.caption(f"{words} {how}")


# --- where explosion is possible, and training ----------------------------------------------------------------


def _interval(question: ChainQuestion, chain: Chain) -> None:
    least = least_weight(chain.activation, chain.negative_slope)
    words = t("A factor |w σ′(z)| can reach 1 only if |w| is at least {least}.", least=f"{least:.4g}")
    _chart(_drawn("interval", chain, language()), words)
    if not has_width(chain.activation, chain.negative_slope):
        words += " " + t(
            "With {activation} it then does so without an end to the interval.", activation=chain.activation
        )
    st.caption(words + " " + t("Each neuron, and the activations before it at which its factor would be at least 1:"))
    st.dataframe(_intervals(chain), hide_index=True, height=TABLE_HEIGHT, alt=t("The interval of each neuron"))


def _intervals(chain: Chain) -> dict[str, list[Any]]:
    rows: dict[str, list[Any]] = {
        t("neuron"): [],
        t("w"): [],
        t("interval of a"): [],
        t("a before it"): [],
        t("|w σ′(z)|"): [],
    }
    for j in range(2, chain.length + 1):
        weight, bias = chain.weights[j - 1], chain.biases[j - 1]
        found = explosive_interval(chain.activation, weight, bias, chain.negative_slope) if weight else ()
        shown = " ∪ ".join(f"[{low:.4g}, {high:.4g}]" for low, high in found[:2]) + (" …" if len(found) > 2 else "")
        shown = shown.replace("inf", "∞")
        cells = (j, f"{weight:.4g}", shown or t("none"), f"{chain.a[j - 1]:.4g}", f"{abs(chain.factors[j - 1]):.4g}")
        for column, cell in zip(rows.values(), cells, strict=True):
            column.append(cell)
    return rows


@st.cache_data(max_entries=64, show_spinner=False, hash_funcs=HASH)
def _trained(chain: Chain, rate: float) -> Training:
    return train(chain, rate, STEPS)


def _rate_field() -> None:
    st.number_input(
        t("Learning rate"),
        *RATE,
        step=0.5,
        format="%.6g",
        key=key_of("rate"),
        help=t("Of plain gradient descent."),
        **KEPT,
        **STAYS,
    )


def _training(question: ChainQuestion, chain: Chain) -> None:
    run = _trained(chain, question.rate)
    words = t(
        "In {steps} steps the cost goes from {first} to {last}; factors of at least 1: {before} before, {after} after, "
        "{most} at the most, of {total}.",
        steps=len(run.cost) - 1,
        first=f"{run.cost[0]:.4g}",
        last=f"{run.cost[-1]:.4g}",
        before=run.above[0],
        after=run.above[-1],
        most=run.above.max(),
        total=chain.length - 1,
    )
    _chart(charts.training_chart(run, height=PANEL_HEIGHT, t=t).to_dict(validate=False), words)
    st.caption(words)
    if run.stopped is not None:
        st.warning(
            t("Training left the range of numbers at step {step}: lower the learning rate.", step=run.stopped),
            icon=theme.ICONS["notice"],
        )


PANELS = {
    "early": Panel(mark("Early against late layers"), _early),
    "nudge": Panel(mark("A small change of b₁, followed"), _nudge, _nudge_field),
    "derivative": Panel(mark("The slope of the activation"), _derivative),
    "random": Panel(mark("Random chains: the product's law"), _random),
    "interval": Panel(mark("Where explosion is possible"), _interval),
    "balance": Panel(mark("Balanced chains are rare"), _balance),
    "training": Panel(mark("The factors over training"), _training, _rate_field),
}
