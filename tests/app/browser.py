"""A visit to the app in a browser, for the tests that drive one."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

CHART = '[data-testid="stVegaLiteChart"] :is(canvas, svg.marks)'
PATIENCE = 60_000  # ms: a cold start on a busy machine


class Visit:
    """A fresh page of the app, with what the browser's console complained about."""

    def __init__(self, browser, address: str, query: str = "", **context) -> None:
        self.complaints: list[str] = []
        self.context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **context})
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._listen)
        self.page.on("requestfailed", lambda request: self.complaints.append(f"{request.url}: {request.failure}"))
        self._prepare()
        self.page.goto(f"{address}/{query}")
        self.headline = self.page.get_by_role("heading", level=3).first
        self.headline.wait_for()

    def _prepare(self) -> None:
        """Before the page is opened."""

    def _listen(self, message) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def wait_for_charts(self) -> None:
        self.page.locator(CHART).nth(1).wait_for()

    @property
    def own_complaints(self) -> list[str]:
        """All but Streamlit's own 404s: of a page that is opened by its address it first asks its server's health
        there."""
        return [text for text in self.complaints if "404" not in text]

    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.page.url).query)

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()
