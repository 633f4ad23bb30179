"""What a link asked for and was refused, and which network a page shows."""

from __future__ import annotations

import streamlit as st

from app import controls, state, theme
from app.i18n import t
from gradcore.spec import Spec

MOST = 20  # lines of a notice: a link may hold thousands of refused parts


def draw() -> None:
    """What the link asked for and was refused, until dismissed."""
    if not state.notices():
        return
    lines = [f"- {text}" for text in state.notices()[:MOST]]
    if (more := len(state.notices()) - MOST) > 0:
        lines.append("- " + t("{count} more", count=more))
    st.warning(
        "\n".join(lines),
        icon=theme.ICONS["notice"],
        title=t("Parts of this link were not used; defaults stand instead"),
    )
    st.button(t("Dismiss"), on_click=state.dismiss_notices)


def network() -> Spec | None:
    """The network to show: what the sidebar asks, or the last allowed one with a word on that; None where none was."""
    asked = controls.question()
    if asked.spec is not None:
        st.session_state["shown"] = asked.spec
    elif "shown" in st.session_state:
        st.caption(t("The sidebar asks what is not allowed. Shown below: the last network that was allowed."))
    return st.session_state.get("shown")
