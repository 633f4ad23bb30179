"""The app without a browser: opening it by a link, and finding what is on the page."""

from __future__ import annotations

import json
from pathlib import Path

from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Button

from gradcore.spec import Spec

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"depth": "5", "width": "16", "networks": "2"}  # measured in milliseconds


def open_app(**query: str) -> AppTest:
    """The app opened by a link with these parameters."""
    app = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def small_app(**query: str) -> AppTest:
    """The same on a network that costs nothing."""
    return open_app(**{**SMALL, **query})


def _one_page(address: str) -> None:
    """A script with one page of the explorer, as the entry point draws it."""
    from app.pages import PAGES, draw

    draw(next(page for page in PAGES if page.address == address))


def open_page(address: str, **query: str) -> AppTest:
    """The page of this address alone, opened with these parameters."""
    app = AppTest.from_function(_one_page, args=(address,), default_timeout=120)
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def chart_specs(app: AppTest) -> list[dict]:
    """The Vega-Lite specifications of the page's charts."""
    return [json.loads(chart.proto.spec) for chart in app.get("vega_lite_chart")]


def headline(app: AppTest) -> str:
    return app.subheader[0].value


def button(app: AppTest, label: str) -> Button:
    """The one button whose label begins so."""
    found = [b for b in app.button if b.label.startswith(label)]
    assert len(found) == 1, [b.label for b in app.button]
    return found[0]


def labels(app: AppTest) -> list[str]:
    return [b.label for b in app.button]


def captions(app: AppTest) -> str:
    return "\n".join(caption.value for caption in app.caption)


def asked(app: AppTest) -> Spec:
    return app.session_state["question"].spec


def open_tab(app: AppTest, title: str) -> AppTest:
    app.session_state["tab"] = title
    return app.run()
