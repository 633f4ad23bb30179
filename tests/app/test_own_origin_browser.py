"""A visit asks the app's own server and nobody else: no telemetry, no font, script or map from elsewhere."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from app.pages import PAGES
from tests.app.browser import PATIENCE

pytestmark = pytest.mark.browser
INLINE = ("data", "blob")  # what the page has made itself


def hosts(chromium, address: str, *pages: str) -> set[str]:
    """Whom a browser asked, by websockets too, while these pages were opened and came to rest."""
    asked: set[str] = set()

    def note(url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in INLINE:
            asked.add(parts.netloc)

    context = chromium.new_context()
    context.on("request", lambda request: note(request.url))
    try:
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("websocket", lambda socket: note(socket.url))
        for path in pages:
            page.goto(f"{address}/{path}")
            page.get_by_role("heading", level=3).first.wait_for()
            page.wait_for_timeout(1500)
    finally:
        context.close()
    return asked


def test_every_page_asks_its_own_server_alone(chromium, server: str) -> None:
    pages = [f"{page.address}?depth=5&width=16&networks=2" for page in PAGES[1:]]
    assert hosts(chromium, server, "?depth=5&width=16&networks=2", *pages) == {urlsplit(server).netloc}


def test_a_request_to_another_server_is_seen(chromium, server: str) -> None:
    other = "127.0.0.1:9"
    context = chromium.new_context()
    try:
        page, asked = context.new_page(), set()
        page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
        page.goto(f"{server}/_stcore/health")
        page.evaluate(f"fetch('http://{other}/font.woff').catch(() => 0)")
        assert asked == {urlsplit(server).netloc, other}
    finally:
        context.close()
