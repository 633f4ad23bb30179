"""``python -m benchmarks.pages``: how soon the explorer speaks, draws, answers and stops, in a real browser.

Beside two baselines on the same machine in the same run: an empty Streamlit app and one with a single chart. Times are
taken inside the page, by its own clock, at the first frame that shows the thing. Needs Playwright and a Chromium
($CHROMIUM, /usr/bin/chromium or the PATH). Ratios and differences are what counts; a busy machine spoils both.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.app.measuring import CANCEL, OFFER, cancel_latency, start

ROOT = Path(__file__).resolve().parents[1]
APPS = {"explorer": "app/main.py", "empty": "benchmarks/empty_app.py", "one chart": "benchmarks/one_chart_app.py"}
LIMITS = {"words": 0.4, "chart": 0.6, "answer": 0.3}  # seconds more than the baseline
BASELINE = {"words": "empty", "chart": "one chart", "answer": "empty"}
LABELS = {
    "words": "navigation to first words",
    "chart": "navigation to first chart",
    "answer": "changed control to new words",
}
UNASKED = "?depth=60&width=700&networks=64"  # too dear to be measured without being asked
DEAR = "?depth=100&width=512&activation=tanh&init=trunc_normal&gain=2&networks=12"  # 10 s a network
CANCEL_LIMIT = 0.5  # seconds from the click on Cancel until Measure can be pressed in its place
PATIENCE = 90_000  # ms

# On every frame until all is seen: the headline's words, and a chart that has been painted. Times in seconds since
# the navigation (or since the key was pressed, for words that follow a key).
WATCH = """
window.seen = {};
const words = () => document.querySelector('[data-testid="stHeading"] h3')?.textContent.trim() ?? '';
const painted = () => {
  const svg = document.querySelector('[data-testid="stVegaLiteChart"] svg.marks path');
  if (svg) return true;
  const canvas = document.querySelector('[data-testid="stVegaLiteChart"] canvas');
  if (!canvas || !canvas.width || !canvas.height) return false;
  const small = document.createElement('canvas');
  small.width = small.height = 24;
  const context = small.getContext('2d');
  context.drawImage(canvas, 0, 0, 24, 24);
  const pixels = new Uint32Array(context.getImageData(0, 0, 24, 24).data.buffer);
  return pixels.some(p => p !== pixels[0]);
};
const look = () => {
  const now = performance.now() / 1000;
  if (!('words' in seen) && words()) seen.words = now;
  if (!('chart' in seen) && painted()) seen.chart = now;
  if (seen.pressed && !('answer' in seen) && words() && words() !== seen.before) seen.answer = now - seen.pressed;
  requestAnimationFrame(look);
};
requestAnimationFrame(look);
addEventListener('keydown', () => { seen.before = words(); seen.pressed = performance.now() / 1000; }, true);
"""


@dataclass
class Server:
    """One running app: its address and its process."""

    address: str
    process: subprocess.Popen[bytes]
    times: dict[str, list[float]] = field(default_factory=dict)

    def loaded(self, library: str) -> bool:
        """Whether the process has this shared library in its memory (Linux)."""
        return library in Path(f"/proc/{self.process.pid}/maps").read_text(encoding="utf-8")


@contextmanager
def serving(script: str) -> Iterator[Server]:
    """The script on a port of its own, by the project's own configuration."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--server.headless=true", f"--server.port={port}", "--server.address=127.0.0.1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", script, *options],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_healthy(f"http://127.0.0.1:{port}/_stcore/health")
        yield Server(f"http://127.0.0.1:{port}", process)
    finally:
        process.terminate()
        process.wait()


def _wait_until_healthy(address: str) -> None:
    deadline = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"no server at {address}")


@contextmanager
def visiting(browser: Any, address: str) -> Iterator[Any]:
    """A page in a fresh browser context (nothing cached), opened at this address."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.add_init_script(WATCH)
    page.goto(address)
    try:
        yield page
    finally:
        context.close()


def seconds_to(page: Any, name: str) -> float:
    """When the page first showed this (see WATCH)."""
    return page.wait_for_function(f"window.seen.{name}").json_value()


def settle(page: Any) -> None:
    """Wait until the script has come to its end and the page has been still for a moment."""
    page.wait_for_function("!document.querySelector('[data-testid=\"stStatusWidget\"]')")
    page.wait_for_timeout(500)


def answer(page: Any) -> float:
    """Seconds from a key on the depth slider to the first frame with other words."""
    page.get_by_role("slider").first.focus()
    page.keyboard.press("ArrowRight")
    return seconds_to(page, "answer")


def first_visit(browser: Any, name: str, server: Server) -> dict[str, float]:
    """The very first visit to a freshly started server; of the explorer, with nothing that is measured unasked."""
    with visiting(browser, f"{server.address}/{UNASKED if name == 'explorer' else ''}") as page:
        return {what: seconds_to(page, what) for what in ("words", "chart") if name != "empty" or what == "words"}


def cancels(browser: Any, server: Server, repeats: int) -> tuple[float, list[float]]:
    """Seconds that Cancel took while torch was still imported, and then within a network, at another place each
    time. To be called on a server that has measured nothing yet."""
    with visiting(browser, f"{server.address}/{DEAR}") as page:
        page.get_by_role("button", name=OFFER).first.click()
        page.get_by_role("button", name=CANCEL).wait_for()
        page.wait_for_timeout(300)
        importing = cancel_latency(page)
        times = []
        for repeat in range(repeats):
            start(page)
            page.wait_for_timeout(500 + 150 * repeat)
            times.append(cancel_latency(page))
            settle(page)
        return importing, times


def visit(browser: Any, name: str, server: Server, repeat: int) -> None:
    """One more of each time; every visit of the explorer asks for depths that no cache has seen."""
    question = f"?depth={40 + 2 * repeat}" if name == "explorer" else ""
    with visiting(browser, f"{server.address}/{question}") as page:
        server.times.setdefault("words", []).append(seconds_to(page, "words"))
        if name != "empty":
            server.times.setdefault("chart", []).append(seconds_to(page, "chart"))
        if name != "one chart":
            settle(page)
            server.times.setdefault("answer", []).append(answer(page))


def report(servers: dict[str, Server], first: dict[str, dict[str, float]]) -> int:
    """Print the table; returns how many limits were missed."""
    missed = 0
    print(f"{'seconds (median, spread)':<30} {'explorer':>18} {'baseline':>18} {'more':>6} {'limit':>6} {'ratio':>6}")
    for what, limit in LIMITS.items():
        ours, base = servers["explorer"].times[what], servers[BASELINE[what]].times[what]
        mine, theirs = statistics.median(ours), statistics.median(base)
        over = mine - theirs > limit
        missed += over
        print(
            f"{LABELS[what]:<30} {_spread(ours):>18} {_spread(base):>18} {mine - theirs:>6.2f} {limit:>6.2f} "
            f"{mine / theirs:>6.2f}  {BASELINE[what]}{'  MISSED' if over else ''}"
        )
    print("\nfirst visit to a freshly started server, seconds")
    for what in ("words", "chart"):
        ours, theirs = first["explorer"][what], first[BASELINE[what]][what]
        print(f"{LABELS[what]:<30} {ours:>18.2f} {theirs:>18.2f} {ours - theirs:>6.2f}        {ours / theirs:>6.2f}")
    return missed


def report_cancels(importing: float, times: list[float]) -> int:
    """Print how soon Cancel took effect; returns 1 if the median missed its limit."""
    over = statistics.median(times) > CANCEL_LIMIT
    print(f"\nCancel to the button in its place, seconds: {_spread(times)}, limit {CANCEL_LIMIT:.2f}", end="")
    print(f"{'  MISSED' if over else ''}; while torch was imported: {importing:.2f}")
    return int(over)


def _spread(times: list[float]) -> str:
    return f"{statistics.median(times):.2f} ({min(times):.2f}-{max(times):.2f})"


def find_chromium() -> str:
    """The browser to drive."""
    for candidate in (os.environ.get("CHROMIUM"), "/usr/bin/chromium", shutil.which("chromium")):
        if candidate and Path(candidate).is_file():
            return candidate
    raise SystemExit("no Chromium found: set CHROMIUM, or install the package chromium")


def main() -> int:
    """Run all visits in turns, print the tables; exit status 1 if a limit was missed or torch was loaded too early."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="visits of each app (default 5)")
    repeats = parser.parse_args().repeats
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        raise SystemExit("Playwright is not installed: pip install playwright") from None
    before = os.getloadavg()[0]
    with sync_playwright() as playwright, ExitStack() as stack:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        servers = {name: stack.enter_context(serving(script)) for name, script in APPS.items()}
        first = {name: first_visit(browser, name, server) for name, server in servers.items()}
        early = servers["explorer"].loaded("libtorch")
        importing, stopped = cancels(browser, servers["explorer"], repeats)
        for repeat in range(repeats):
            for name, server in servers.items():
                visit(browser, name, server, repeat)
        late = servers["explorer"].loaded("libtorch")
        browser.close()
    loads = f"{before:.1f} before, {os.getloadavg()[0]:.1f} after"
    print(f"{repeats} visits each in turns, a fresh browser context each; {os.cpu_count()} cores, load {loads}\n")
    missed = report(servers, first)
    missed += report_cancels(importing, stopped)
    print(f"\ntorch in the server before the first measurement: {'yes, MISSED' if early else 'no'}", end="")
    print(f"; after it: {'yes' if late else 'no (so this check says nothing)'}")
    return 1 if missed or early else 0


if __name__ == "__main__":
    raise SystemExit(main())
