"""Two pages that only say what the sidebar asks: what the navigation does to it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import streamlit as st

from app import controls


def _say(name: str) -> None:
    asked = controls.question()
    st.subheader(f"{name}: {asked.spec.depth} {asked.spec.activation}, seed {asked.settings.seed}", anchor=False)


def one() -> None:
    _say("one")


def two() -> None:
    _say("two")


page = st.navigation([st.Page(one, url_path="one", default=True), st.Page(two, url_path="two")], position="top")
controls.ask(page.url_path)
controls.sidebar()
page.run()
