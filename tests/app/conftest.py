"""The app on a port of its own and a system Chromium, for the tests that drive them."""

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

import pytest

from app import runner

ROOT = Path(__file__).resolve().parents[2]
REQUIRED = os.environ.get("GRADCORE_REQUIRE_BROWSER") == "1"


@pytest.fixture(autouse=True)
def _no_browser_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """AppTest runs the page in this process, where nothing draws it; the server below is another one. Bands that
    have to be sampled have tests of their own."""
    monkeypatch.setattr(runner, "FIRST_PICTURE", 0.0)
    monkeypatch.setattr(runner, "AUTO_SAMPLE", 0.0)  # seconds of every page with a norm or a residual


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
