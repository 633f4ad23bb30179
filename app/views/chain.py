"""Chain: single neurons in a row, the product behind their gradient, and the experiments on it."""

from __future__ import annotations

import streamlit as st

from app import controls
from app.parts import chain_controls, chain_panels, chain_story, notices


def page() -> None:
    """The page: what happens in this chain, what to press, the product, its factors and the chosen experiment."""
    controls.no_sidebar()
    notices.draw()
    asked = chain_controls.asked()
    found = chain_story.answer(asked)
    chain_story.draw(asked, found)
    chain_controls.presets(asked)
    if found.chain is not None:
        chain_story.equation(found.chain)
    chain_controls.draw(asked, found.error)
    if found.chain is None:
        return
    left, right = st.columns(2)
    with left:
        chain_story.factors(found.chain)
    with right:
        chain_panels.draw(asked, found.chain)
