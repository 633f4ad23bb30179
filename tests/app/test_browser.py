"""The real app in a real browser: `streamlit run app/main.py`, opened in a system Chromium."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parents[2]
REQUIRED = os.environ.get("GRADCORE_REQUIRE_BROWSER") == "1"
CHART = '[data-testid="stVegaLiteChart"] :is(canvas, svg.marks)'
PATIENCE = 60_000  # ms: a cold start on a busy machine


def _give_up(reason: str) -> None:
    if REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)


def find_chromium() -> str | None:
    """The browser to drive: $CHROMIUM, Debian's place, or the PATH."""
    for candidate in (os.environ.get("CHROMIUM"), "/usr/bin/chromium", shutil.which("chromium")):
        if candidate and Path(candidate).is_file():
            return candidate
    return None


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The app on a free loopback port; its own output is shown where it does not come up."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    options = ["--server.headless=true", f"--server.port={port}", "--server.address=127.0.0.1"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", "app/main.py", *options],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        if not _healthy(process, address):
            process.terminate()
            pytest.fail(f"the app did not start:\n{process.communicate(timeout=10)[0]}")
        yield address
    finally:
        process.terminate()
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _healthy(process: subprocess.Popen[str], address: str) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2) as answer:
                if answer.read() == b"ok":
                    return True
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.2)
    return False


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _give_up("playwright is not installed: pip install playwright")
    executable = find_chromium()
    if executable is None:
        _give_up("no Chromium found: set CHROMIUM, or install the package chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield running
        running.close()


class Visit:
    """A fresh page of the app, with what the browser's console complained about."""

    def __init__(self, browser, address: str, query: str = "", **context) -> None:
        self.complaints: list[str] = []
        self.context = browser.new_context(viewport={"width": 1440, "height": 900}, **context)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._listen)
        self.page.on("requestfailed", lambda request: self.complaints.append(f"{request.url}: {request.failure}"))
        self.page.goto(f"{address}/{query}")
        self.headline = self.page.get_by_role("heading", level=3).first
        self.headline.wait_for()

    def _listen(self, message) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def wait_for_charts(self) -> None:
        self.page.locator(CHART).nth(1).wait_for()

    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.page.url).query)

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_the_default_page_draws_both_charts_without_complaints(chromium, server: str, color_scheme: str) -> None:
    with Visit(chromium, server, color_scheme=color_scheme) as visit:
        assert "×0.71 per layer in RMS" in visit.headline.inner_text()
        visit.wait_for_charts()
        visit.page.get_by_text("torch networks").first.wait_for()  # measured without being asked
        assert visit.page.locator(CHART).count() == 2
        assert visit.complaints == []


def test_a_link_opens_what_its_sender_saw(chromium, server: str) -> None:
    with Visit(chromium, server, "?activation=tanh&gain=1.5") as visit:
        visit.wait_for_charts()
        visit.page.get_by_text("tanh · xavier_normal at gain 1.5").wait_for()
        assert visit.query() == {"activation": ["tanh"], "gain": ["1.5"]}
        assert visit.complaints == []


def test_a_bad_link_is_named_and_cleaned(chromium, server: str) -> None:
    with Visit(chromium, server, "?depth=99999999&activation=tanh") as visit:
        visit.page.get_by_text("Parts of this link were not used").wait_for()
        visit.page.get_by_role("button", name="Dismiss").click()
        visit.page.get_by_text("Parts of this link were not used").wait_for(state="detached")
        assert visit.query() == {"activation": ["tanh"]}


def test_a_control_writes_the_address_and_back_undoes_it(chromium, server: str) -> None:
    with Visit(chromium, server, "?depth=10&width=32") as visit:
        visit.wait_for_charts()
        visit.page.get_by_role("combobox", name="Activation").click()
        visit.page.get_by_role("option", name="tanh", exact=True).click()
        visit.page.wait_for_url("**activation=tanh**")
        visit.page.get_by_text("32 units · tanh").wait_for()
        visit.page.go_back()
        visit.page.get_by_text("32 units · relu").wait_for()


def test_hovering_a_layer_tells_its_numbers(chromium, server: str) -> None:
    with Visit(chromium, server, "?depth=10&width=32") as visit:
        visit.wait_for_charts()
        visit.page.get_by_text("torch networks").first.wait_for()
        visit.page.wait_for_timeout(500)  # the charts are drawn once more with the measurement
        box = visit.page.locator(CHART).first.bounding_box()
        visit.page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.6)
        visit.page.mouse.move(box["x"] + box["width"] * 0.5 + 3, box["y"] + box["height"] * 0.6)
        tooltip = visit.page.locator("#vg-tooltip-element.visible")
        tooltip.wait_for()
        assert "Predicted" in tooltip.inner_text() and "90% of networks" in tooltip.inner_text()


def test_a_measurement_can_be_cancelled(chromium, server: str) -> None:
    with Visit(chromium, server, "?depth=40&width=512&networks=200&seed=3") as visit:
        visit.page.get_by_role("button", name="Measure 200 networks").click()
        visit.page.get_by_text("of 200 networks").wait_for()
        started = time.monotonic()
        visit.page.get_by_role("button", name="Cancel measurement").click()
        visit.page.get_by_role("button", name="Measure 200 networks").wait_for()
        assert time.monotonic() - started < 20.0
