"""Measurements in a browser: starting and stopping them, how long stopping takes, and what the server computes."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from urllib.parse import urlsplit

OFFER = re.compile(r"^(science )?(Measure|Continue)")  # the button's name may begin with that of its icon
CANCEL = "Cancel measurement"

LATENCY = """
() => new Promise(resolve => {
    const buttons = name => [...document.querySelectorAll('button')].filter(
        button => button.innerText.includes(name) && button.offsetParent && !button.closest('[data-stale="true"]'));
    const [cancel] = buttons('Cancel measurement');
    const clicked = performance.now();
    const look = () => {
        const offered = buttons('Measure ').concat(buttons('Continue ')).length > 0;
        if (offered && !buttons('Cancel measurement').length) resolve((performance.now() - clicked) / 1000);
        else if (performance.now() - clicked > 30000) resolve(Infinity);
        else requestAnimationFrame(look);
    };
    cancel.click();
    look();
})
"""


def start(page) -> None:
    """Press Measure or Continue, and wait until networks are being measured."""
    page.get_by_role("button", name=OFFER).first.click()
    page.get_by_text(re.compile("networks in .* to go")).first.wait_for()


def cancel_latency(page) -> float:
    """Seconds from the click on Cancel until Measure or Continue can be pressed in its place, by the page's clock."""
    return page.evaluate(LATENCY)


def server_pid(address: str) -> int:
    """The process that serves this address."""
    option = f"--server.port={urlsplit(address).port}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if option in (entry / "cmdline").read_bytes().split(b"\0"):
                    return int(entry.name)
            except OSError:
                pass  # it has ended meanwhile, or is not ours to read
    raise LookupError(f"no process serves {address}")


def cpu_seconds(pid: int) -> float:
    """Computing time of a process so far, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_share(pid: int, seconds: float) -> float:
    """Computing time per second over the next so many seconds."""
    began, used = time.monotonic(), cpu_seconds(pid)
    time.sleep(seconds)
    return (cpu_seconds(pid) - used) / (time.monotonic() - began)


def seconds_until_quiet(pid: int, busy: float, patience: float = 30.0, *, lasting: float = 0.2) -> float:
    """Seconds until a process computes less than a fifth of ``busy``, its share while measuring, for ``lasting`` s."""
    began = time.monotonic()
    while cpu_share(pid, lasting) > 0.2 * busy:
        if time.monotonic() - began > patience:
            return float("inf")
    return time.monotonic() - began
