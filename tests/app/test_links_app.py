"""Random links opened on every page: no exception, what is refused is named there as text, and the rest is asked."""

from __future__ import annotations

import re
import zlib

import numpy as np
import pytest

pytest.importorskip("streamlit")
from streamlit.testing.v1 import AppTest

from app import state
from app.pages import PAGES
from app.parts.notices import MOST
from tests import links
from tests.app.pages import open_page

ADDRESSES = [page.address for page in PAGES]
KINDS = {
    "legal": lambda rng: links.legal(rng, small=True),
    "damaged": lambda rng: links.spoiled(rng, small=True),
    "hostile": lambda rng: links.spoiled(rng, small=True, texts=links.HOSTILE),
}
CHEAP = {"depth": "5", "width": "16", "batch_size": "4", "networks": "2", "train_steps": "3", "train_width": "8"}
CHEAP |= {"gates_hidden_size": "16", "gates_steps": "8", "gates_networks": "2", "gates_updates": "2"}
CHEAP |= {"remedies_steps": "3", "remedies_width": "8"}
COUNTS = [pytest.param(1, id="few"), pytest.param(10, id="many", marks=pytest.mark.slow)]


def named(app: AppTest) -> str:
    """What the page says about the link."""
    return "\n".join(box.value for box in app.warning if box.value.startswith("- `"))


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("address", ADDRESSES)
def test_a_link_opens_on_every_page(address: str, kind: str, count: int) -> None:
    rng = np.random.default_rng(zlib.crc32(f"{address} {kind}".encode()))
    for _ in range(count):
        query = {**CHEAP, **KINDS[kind](rng).query}
        query.pop("lang", None)  # the sentences below are English
        app = open_page(address, **query)
        assert not app.exception, (query, app.exception)
        spec, settings, refused = state.read_query(query)
        assert app.session_state["url_means"] == (spec, settings)
        said = named(app)
        lines = said.splitlines()
        assert len(lines) == min(len(refused), MOST + 1)
        for line, error in zip(lines, refused, strict=False):
            literals = re.findall(r"`([^`]*)`", line)
            assert len(literals) == 2 and all(text.isprintable() for text in literals), line
            assert literals[0].startswith(error.field[:5].strip()) or not error.field.isprintable()
            assert not set("<[$") & set(re.sub(r"`[^`]*`", "", line)), line


def test_hundreds_of_refused_parts_make_a_short_notice() -> None:
    app = open_page("explore", **CHEAP, **{f"part{number}": "x" for number in range(900)})
    lines = named(app).splitlines()
    assert len(lines) == MOST + 1 and lines[-1] == f"- {900 - MOST} more"
