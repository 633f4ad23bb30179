"""Equations as lines of the page: what each says on the left, its formula and its live numbers on the right."""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

from gradcore.equations import Equation


def draw(found: Iterable[Equation]) -> None:
    """All of them, below each other."""
    for equation in found:
        words, formula = st.columns([2, 3], vertical_alignment="center", border=False)
        with words.container(gap=None):
            st.markdown(f"**{equation.title}**")
            for line in (equation.note, equation.source):
                if line:
                    st.caption(line)
        formula.latex(equation.latex)
        if equation.live:
            formula.latex(equation.live)
