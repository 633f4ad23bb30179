"""Entry point of the explorer: ``streamlit run app/main.py``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = str(Path(__file__).resolve().parent.parent)
if ROOT not in sys.path:  # `streamlit run` puts only this file's own folder on the path
    sys.path.insert(0, ROOT)

import streamlit as st  # noqa: E402

from app import i18n, limits, runner, state, theme  # noqa: E402
from app.i18n import t  # noqa: E402
from app.pages import PAGES, Page, draw  # noqa: E402
from app.parts import move  # noqa: E402


def main() -> None:
    """Page frame: settings of the page, navigation, the shared sidebar, then the chosen page."""
    if "lang" in st.query_params and state.url_changed(moved=False):
        i18n.speak(st.query_params["lang"])  # the names of the pages come before the link is read
    st.set_page_config(
        page_title=t("gradcore explorer"),
        page_icon=theme.APP_ICON,
        layout="wide",
        initial_sidebar_state=theme.SIDEBAR_WIDTH,
    )
    st.html(theme.STYLE)
    if not limits.set_up_right():
        return
    pages = {one.address: _made(one) for one in PAGES}
    by_name = st.Page(_first_by_name, url_path=PAGES[0].address, visibility="hidden")
    page = st.navigation([*pages.values(), by_name], position="top")
    if page == by_name:
        page.run()
    move.arrive(pages)
    draw(next(one for one in PAGES if pages[one.address] == page))


def _made(page: Page) -> Any:
    """The page for Streamlit, which serves the first one at the bare address."""
    first = page is PAGES[0]
    address = "home" if first else page.address
    return st.Page(page.run, title=t(page.title), icon=page.icon, url_path=address, default=first, help=t(page.help))


def _first_by_name() -> None:
    """The first page under its own name: opened at the bare address, with what the link asks."""
    asked = {name: st.query_params.get_all(name) for name in st.query_params}
    st.switch_page(_made(PAGES[0]), query_params=asked)


with runner.drawing():
    main()
