"""The page Train without a browser: opening it on a small network, and finding what is on it."""

from __future__ import annotations

from dataclasses import fields

from streamlit.testing.v1 import AppTest

from app.parts import train_state
from gradcore.experiments.train_question import TrainQuestion
from gradcore.experiments.training import Run
from tests.app.pages import captions

SHORT = {"train_steps": "5", "train_hidden": "2", "train_width": "8"}
QUESTION = TrainQuestion(hidden=2, width=8, steps=5)


def alone() -> None:
    from app import controls
    from app.views import train

    controls.ask("train")
    train.page()
    controls.sidebar()


def open_page(**query: str) -> AppTest:
    app = AppTest.from_function(alone, default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def asked(app: AppTest) -> TrainQuestion:
    return TrainQuestion(**{f.name: app.session_state[train_state.key_of(f.name)] for f in fields(TrainQuestion)})


def widget(app: AppTest, kind: str, name: str):
    return getattr(app, kind)(key=train_state.key_of(name))


def go(app: AppTest):
    return app.button(key="train_go")


def kept(app: AppTest) -> list[Run]:
    return list(app.session_state["train_kept"].values()) if "train_kept" in app.session_state else []


def rows(spec: dict) -> list[dict]:
    return [row for data in spec.get("datasets", {}).values() for row in data]


def everything_shown(app: AppTest) -> str:
    return captions(app) + "\n".join(one.value for one in app.markdown)
