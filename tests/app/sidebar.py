"""The sidebar without a page, for the tests that ask what it asks."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

from gradcore.spec import Spec

SMALL = {"depth": "5", "width": "16", "networks": "2"}


def sidebar_alone() -> None:
    """A script with the sidebar and no page: nothing is predicted or measured."""
    from app import controls

    controls.ask()
    controls.sidebar()
    controls.sidebar()  # once a run, however often called


def open_sidebar(**query: str) -> AppTest:
    """The sidebar opened by a link with these parameters."""
    app = AppTest.from_function(sidebar_alone, default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def small(**query: str) -> AppTest:
    """The same on a network of 5 layers of 16 units."""
    return open_sidebar(**{**SMALL, **query})


def asked(app: AppTest) -> Spec:
    """The Spec that the sidebar asks for."""
    return app.session_state["question"].spec


def preset_shown(app: AppTest) -> str | None:
    """The code of the preset that shows as chosen, in one of the two pickers."""
    first, experiment = app.get_by_key("preset_first").value, app.selectbox(key="preset_experiment").value
    assert first is None or experiment is None
    return first or experiment
