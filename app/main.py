"""Entry point of the explorer: ``streamlit run app/main.py``."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parent.parent)
if ROOT not in sys.path:  # `streamlit run` puts only this file's own folder on the path
    sys.path.insert(0, ROOT)

import streamlit as st  # noqa: E402

from app import controls, i18n, limits, runner, state, theme  # noqa: E402
from app.i18n import t  # noqa: E402
from app.pages import PAGES  # noqa: E402
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
    first = PAGES[0]
    pages = {
        one.address: st.Page(
            one.run, title=t(one.title), icon=one.icon, url_path=one.address, default=one is first, help=t(one.help)
        )
        for one in PAGES
    }
    page = st.navigation(list(pages.values()), position="top")
    move.arrive(pages)
    controls.ask(page.url_path)
    page.run()
    controls.sidebar()  # unless the page has drawn it already
    controls.foot()


with runner.drawing():
    main()
