"""Take away, on every page but Explore: its charts as images and tables, its question and numbers as a record, a script
that computes them, and all of it as one report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import streamlit as st

from app import controls, state, theme
from app.i18n import captured, language, t
from app.parts import open_record, takeaway
from app.parts.page_scripts import script_of
from gradcore.export import Drawing, PageRecord, images, page_report
from gradcore.export.page import page_caption
from gradcore.spec import Spec

KINDS = {"csv": "text/csv", "svg": "image/svg+xml", "png": "image/png"}


@dataclass(frozen=True)
class Held:
    """What the page holds: its address, title and help, its question as link parameters, its charts, and its code."""

    address: str
    title: str
    sentence: str
    query: dict[str, list[str]]
    spec: Spec
    drawings: list[Drawing]
    script: Callable[[], str] | None

    @property
    def caption(self) -> str:
        """The question in one line."""
        return page_caption(self.address, self.query)

    def record(self) -> str:
        """The record as JSON."""
        return PageRecord.of(self.address, self.query, self.spec, self.drawings).to_json()

    def code(self) -> str:
        """The script, "" where the page has none."""
        return "" if self.script is None else self.script()

    def report(self) -> str:
        """The report."""
        return page_report(
            self.title, self.sentence, self.address, self.query, self.drawings, self.code(), t, language()
        )


def menu(address: str, title: str, sentence: str, drawings: list[Drawing]) -> None:
    """The button; what it opens is made only while it is open."""
    room = takeaway.menu(address)
    if not room.open:
        return
    asked = controls.question()
    spec = asked.spec or st.session_state.get("shown") or Spec()
    query = state.write_query(spec, asked.settings)
    query.pop("lang", None)
    many = {name: [value] if isinstance(value, str) else value for name, value in query.items()}
    with room, st.container(gap="small", width=takeaway.WIDTH):
        _files(Held(address, title, sentence, many, spec, drawings, script_of(address)))
        open_record.draw()


def _files(held: Held) -> None:
    able = find_spec("vl_convert") is not None
    if not held.drawings:
        st.caption(t("No chart is drawn yet: the files hold the question alone."))
    elif able:
        _button(held, takeaway.REPORT, held.report)
    with st.grid(2, min_column_width=theme.METRIC_MIN_WIDTH):
        _button(held, takeaway.RECORD, held.record)
        if held.script is not None:
            _button(held, takeaway.SCRIPT, held.code)
    if not held.drawings:
        return
    palette = takeaway.palette() if able else "light"
    for drawing in held.drawings:
        st.caption(drawing.title)
        with st.container(horizontal=True, gap="small"):
            for kind, mime in KINDS.items():
                if kind == "csv" or able:
                    image = partial(takeaway.dressed_image, kind, drawing.document, held.caption, palette)
                    make = drawing.csv if kind == "csv" else image
                    _download(held, kind.upper(), f"{drawing.code}.{kind}", mime, make)
    if not able:
        st.caption(t("Images and the report need one more package: {install}", install=images.INSTALL))


def _button(held: Held, look: takeaway.Look, make: Callable[[], Any]) -> None:
    _download(held, t(look.label), look.ending, look.mime, make, help=t(look.help), width="stretch")


def _download(held: Held, label: str, ending: str, mime: str, make: Callable[[], Any], **look: Any) -> None:
    st.download_button(
        label,
        captured(make),
        file_name=f"gradcore-{held.address}-{ending}",
        mime=mime,
        key=f"take_{held.address}_{ending}",
        on_click="ignore",
        **look,
    )
