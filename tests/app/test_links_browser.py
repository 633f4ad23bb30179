"""Hostile links in a real browser: the page opens, shows them as text, runs nothing and asks no other server."""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit

import numpy as np
import pytest

from app.pages import PAGES
from app.parts.notices import MOST
from tests import links
from tests.app.access import settle
from tests.app.browser import Visit

pytestmark = pytest.mark.browser
ADDRESSES = ["" if page is PAGES[0] else page.address for page in PAGES]
CARRIED = [text for text in links.HOSTILE if len(text) < 500]  # a server refuses longer addresses
NOTICE = '[data-testid="stAlert"]'
WATCH = """window.__hacked = 0;
for (const name of ['alert', 'confirm', 'prompt', 'open']) window[name] = () => { window.__hacked = name; };"""
FOREIGN = """box => [...box.querySelectorAll(
    'script, iframe, img, a, table, h1, h2, h3, svg[onload], b, .katex, [style*="color"]')].map(e => e.outerHTML)"""


class Watched(Visit):
    """A visit that notes dialogs and every request to another server."""

    def __init__(self, browser, server: str, address: str, query: dict[str, str]) -> None:
        self.requests: list[str] = []
        self.dialogs: list[str] = []
        self.origin = urlsplit(server).netloc
        super().__init__(browser, f"{server}/{address}".rstrip("/"), f"?{urlencode(query)}")
        self.page.locator(NOTICE).filter(has_text="Parts of this link").wait_for()
        settle(self)

    def _prepare(self) -> None:
        self.page.add_init_script(WATCH)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("dialog", self._dismiss)

    def _listen(self, message) -> None:
        if "_stcore" not in message.location.get("url", ""):  # Streamlit looks for its server below the page first
            super()._listen(message)

    def _dismiss(self, dialog) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    @property
    def foreign(self) -> list[str]:
        """Requests that left the app's own server."""
        return [url for url in self.requests if url[:5] not in ("data:", "blob:") and self.origin not in url[:40]]


def harmless(visit: Watched, count: int) -> str:
    """Nothing ran and nothing was fetched; returns what the notice says, in as many lines as were refused."""
    notice = visit.page.locator(NOTICE).filter(has_text="Parts of this link")
    assert notice.locator("li").count() == min(count, MOST + 1)
    assert notice.evaluate(FOREIGN) == []
    assert visit.page.evaluate("window.__hacked") == 0 and visit.dialogs == []
    assert visit.foreign == [] and visit.complaints == []
    return notice.inner_text()


@pytest.mark.parametrize("address", ["", "gates"])
def test_every_hostile_text_is_shown_as_it_is(chromium, server: str, address: str) -> None:
    """All of them in two links, as values and as names."""
    half = len(CARRIED) // 2
    part = CARRIED[:half] if address else CARRIED[half:]
    names = [name for name in links.PARAMETERS if name not in ("lang", "depth", "width", "networks")]
    query = {"depth": "5", "width": "16", "networks": "2", **dict(zip(names, part, strict=False))}
    query |= dict.fromkeys(part[: MOST - len(part)], "1")
    with Watched(chromium, server, address, query) as visit:
        said = harmless(visit, len(query) - 3)
        for text in part:
            plain = text.split("\n")[0].split("\r")[0].replace("`", "'").strip()[:40]
            plain = plain.replace(":material/", ":material_")  # Streamlit's own spelling, also in code; it stays text
            assert not plain.isprintable() or " ".join(plain.split()) in " ".join(said.split()), text
        if not address:  # what was not refused stands
            visit.page.get_by_text("5 layers × 16 units").first.wait_for()


@pytest.mark.slow
@pytest.mark.parametrize("number", range(30))
def test_random_hostile_links_do_nothing(chromium, server: str, number: int) -> None:
    rng = np.random.default_rng(100 + number)
    query = {}
    while not query:
        link = links.spoiled(rng, small=True, texts=tuple(CARRIED))
        query = {name: text for name, text in link.query.items() if name != "lang"}
        query = {"depth": "5", "width": "16", "networks": "2", **query} if link.refused - {"lang"} else {}
    refused = links.state.read_query(query)[2]
    with Watched(chromium, server, ADDRESSES[number % len(ADDRESSES)], query) as visit:
        harmless(visit, len(refused))
