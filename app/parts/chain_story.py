"""The answer of the page Chain: what happens in one sentence, the product with its live factors, and their chart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from app import theme
from app.i18n import language, mark, t
from app.parts import chain_controls, pictures
from app.parts.verdict_box import Look
from gradcore.charts import chain as charts
from gradcore.charts.chain_words import describe_factors, headline, kind_of, why
from gradcore.equations.chain import product_latex
from gradcore.errors import SpecError
from gradcore.experiments.chain import PRESETS, Chain
from gradcore.experiments.chain.question import ChainQuestion

LOOKS = {  # one for each of gradcore.charts.chain_words.KINDS
    "vanishes": Look(mark("Vanishes"), ":material/trending_down:", "red"),
    "explodes": Look(mark("Explodes"), ":material/trending_up:", "red"),
    "balanced": Look(mark("Balanced"), ":material/balance:", "green"),
    "zero": Look(mark("Zero"), ":material/block:", "red"),
    "single": Look(mark("One neuron"), ":material/adjust:", "gray"),
}
UNKNOWN = Look(mark("Not allowed"), theme.ICONS["unsupported"], "gray")


@dataclass(frozen=True)
class Answer:
    """The chain that is asked for; or what is not allowed."""

    chain: Chain | None
    error: SpecError | None = None


def answer(question: ChainQuestion) -> Answer:
    """The chain of this question."""
    try:
        return Answer(question.chain())
    except SpecError as error:
        return Answer(None, error)


def draw(question: ChainQuestion, found: Answer) -> None:
    """The box: what happens in this chain, and the button that draws another."""
    with st.container(border=True):
        said, pressed = st.columns([3, 1], vertical_alignment="center", gap="medium")
        with said, st.container(gap="xxsmall"):
            _sentence(question, found.chain)
        with pressed, st.container(gap="small"):
            _buttons(question)


def _sentence(question: ChainQuestion, chain: Chain | None) -> None:
    look = UNKNOWN if chain is None else LOOKS[kind_of(chain)]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(t(look.word), icon=look.icon, color=look.color)
        st.caption(_made_of(question), width="content")
    if chain is None:
        st.subheader(t("This chain is not allowed; the fields below say why"), anchor=False)
        return
    st.subheader(headline(chain).text(t), anchor=False)
    st.caption(why(chain).text(t))


def _made_of(question: ChainQuestion) -> str:
    values: dict[str, Any] = {"length": question.length, "activation": question.activation}
    if not question.drawn:
        return t("Neurons in a row: {length} · {activation} · weights and biases set", **values)
    return t("Neurons in a row: {length} · {activation} · seed {seed}", seed=question.seed, **values)


def _buttons(question: ChainQuestion) -> None:
    st.button(
        t("Draw another chain"),
        key="chain_draw",
        icon=theme.ICONS["redraw"],
        type="primary",
        width="stretch",
        help=t("New random weights and biases from the laws below: the next seed."),
        on_click=chain_controls.draw_another,
        args=(question,),
    )
    boom = PRESETS["exploding"].question
    st.button(
        t("Make it explode"),
        key="chain_explode",
        width="stretch",
        disabled=question == boom,
        help=t("Weights of 100, and biases that keep every neuron where its slope is largest."),
        on_click=chain_controls.load,
        args=(boom,),
    )


def equation(chain: Chain) -> None:
    """dC/db_1 written out."""
    st.latex(product_latex(chain))


def factors(chain: Chain) -> None:
    """The factors as bars."""
    document, words = _factors(chain, language())
    pictures.chart(st, "factors", document, words, height=theme.CHART_HEIGHT)


@st.cache_data(max_entries=128, show_spinner=False, hash_funcs={Chain: repr})
def _factors(chain: Chain, code: str) -> tuple[dict[str, Any], str]:
    drawn = charts.factor_chart(chain, height=theme.CHART_HEIGHT, t=t)
    return drawn.to_dict(validate=False), describe_factors(chain, t)
