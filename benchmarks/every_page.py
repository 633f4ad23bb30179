"""``python -m benchmarks.every_page``: first words and first chart of every page, beside the baselines of ``pages``.

Every visit is a fresh browser context and asks what no cache has seen, but for the page Symptoms, whose examples are
trained once per server. The limits are those of the page Explore: seconds more than an empty Streamlit app (words) or
one with a single chart (chart), in the same run.
"""

from __future__ import annotations

import argparse
import os
import statistics
from contextlib import ExitStack
from typing import Any

from benchmarks.pages import APPS, BASELINE, LIMITS, Server, find_chromium, seconds_to, serving, settle, visiting

QUESTIONS = {  # page: what its link asks on visit {n}
    "": "?depth={n}",  # Explore
    "compare": "?pin=depth:{n}&pin=depth:{n},activation:tanh",
    "phase-map": "?depth={n}",
    "activations": "?depth={n}&bias_std=0.{n}",
    "initializers": "?depth={n}",
    "chain": "?chain_seed={n}",
    "train": "?train_seed={n}",
    "symptoms": "",
    "remedies": "?depth={n}",
    "gates": "?gates_steps={n}",
    "learn": "?learn_width={n}",
}
SEEN = ("words", "chart")


def visit(browser: Any, address: str, names: tuple[str, ...] = SEEN) -> dict[str, float]:
    """Seconds from the navigation to each; the visit ends when the page is still."""
    with visiting(browser, address) as page:
        found = {name: seconds_to(page, name) for name in names}
        settle(page)
        return found


def rounds(browser: Any, servers: dict[str, Server], repeats: int) -> dict[str, list[dict[str, float]]]:
    """All pages and both baselines in turns."""
    times: dict[str, list[dict[str, float]]] = {}
    for repeat in range(repeats + 1):  # the first round starts the server's modules and the example's training
        for name in ("empty", "one chart"):
            seen = visit(browser, servers[name].address, SEEN[:1] if name == "empty" else SEEN)
            times.setdefault(name, []).append(seen)
        for page, question in QUESTIONS.items():
            address = f"{servers['explorer'].address}/{page}{question.format(n=20 + 3 * repeat)}"
            times.setdefault(page, []).append(visit(browser, address))
    return {name: seen[1:] for name, seen in times.items()}


def report(times: dict[str, list[dict[str, float]]]) -> int:
    """Print the table; returns how many limits were missed."""
    missed = 0
    base = {what: statistics.median(seen[what] for seen in times[BASELINE[what]]) for what in SEEN}
    limits = ", ".join(f"{what} at most {LIMITS[what]} s more than {base[what]:.2f} s" for what in SEEN)
    print(f"seconds, median (spread), and more than the baseline; {limits}")
    for page in QUESTIONS:
        line = f"{page or 'explore':<14}"
        for what in SEEN:
            found = [seen[what] for seen in times[page]]
            more = statistics.median(found) - base[what]
            over = more > LIMITS[what]
            missed += over
            line += f" {what} {statistics.median(found):5.2f} ({min(found):.2f}-{max(found):.2f}) {more:+.2f}"
            line += " MISSED " if over else "        "
        print(line.rstrip())
    return missed


def main() -> int:
    """Visit and print; exit status 1 if a limit was missed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.every_page", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--repeats", type=int, default=5, help="visits of each page that count (default 5)")
    repeats = parser.parse_args().repeats
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        raise SystemExit("Playwright is not installed: pip install playwright") from None
    before = os.getloadavg()[0]
    with sync_playwright() as playwright, ExitStack() as stack:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        servers = {name: stack.enter_context(serving(script)) for name, script in APPS.items()}
        times = rounds(browser, servers, repeats)
        browser.close()
    loads = f"{before:.1f} before, {os.getloadavg()[0]:.1f} after"
    print(f"{repeats} visits each in turns; {os.cpu_count()} cores, load {loads}")
    return 1 if report(times) else 0


if __name__ == "__main__":
    raise SystemExit(main())
