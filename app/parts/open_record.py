"""Opening a record that was taken away: its page, with its question."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from app import controls, limits, state, theme
from app.i18n import spec_error_text, t
from app.parts import move
from gradcore.errors import SpecError
from gradcore.export import PageRecord, Record, opened
from gradcore.export.reading import MOST_BYTES

KEY, PROBLEM = "record_file", "record_problem"


def draw() -> None:
    """The field for the file, and what is wrong with the one that was given."""
    st.file_uploader(
        t("Open a record (JSON)"),
        type=["json"],
        key=KEY,
        max_upload_size=limits.upload_mb(MOST_BYTES // 2**20),
        on_change=_read,
        help=t("A record taken away from any page: opens its page with its question. It is not kept."),
    )
    if problem := st.session_state.get(PROBLEM):
        st.error(problem, icon=theme.ICONS["error"])


def _read() -> None:
    """Callback of the file."""
    st.session_state.pop(PROBLEM, None)
    file = st.session_state.get(KEY)
    if file is None:
        return
    try:
        record = opened(file.getvalue())
        address, query = _of_page(record) if isinstance(record, PageRecord) else ("explore", _of_network(record))
    except SpecError as error:
        st.session_state[PROBLEM] = spec_error_text(error)
        return
    if lang := controls.question().settings.lang:
        query["lang"] = lang
    move.ask(address, query)


def _of_network(record: Record) -> state.Query:
    """The link of the network and of its measurement, pins and view as they are."""
    held = controls.question().settings
    networks = held.networks if record.measured is None else min(len(record.measured.networks), state.MAX_NETWORKS)
    how = {"networks": networks, "seed": record.seed, "dtype": record.dtype, "sampler": record.sampler}
    return state.write_query(record.spec, replace(held, **how))


def _of_page(record: PageRecord) -> tuple[str, state.Query]:
    """The page and its link, as it was written; the page itself names what is refused of it."""
    from app.pages import PAGES  # it imports the views, and they this module

    addresses = [page.address for page in PAGES]
    if record.page not in addresses:
        raise SpecError("record: page", record.page, ", ".join(addresses))
    return record.page, {name: list(values) for name, values in record.query.items() if name != "lang"}
