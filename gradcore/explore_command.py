"""``python -m gradcore explore``: start the explorer's server and open the browser at the link that holds the Spec.

The server runs in this process, so that ending the command ends it. Nothing here is needed by ``import gradcore``.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from urllib.parse import urlencode

from gradcore.codec import to_query
from gradcore.errors import SpecError, UnsupportedError
from gradcore.spec import Spec

HOST = "127.0.0.1"
FIRST_PORT, LAST_PORT = 8501, 65_535
PATIENCE = 60.0  # seconds for the server to come up


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of this command beside those of a Spec."""
    group = parser.add_argument_group("server")
    group.add_argument(
        "--port", metavar="N", help=f"port on this machine (default: the first free one from {FIRST_PORT})"
    )
    group.add_argument("--no-browser", action="store_true", help="print the address, do not open it")
    group.add_argument("server", nargs="*", metavar="-- OPTION", help="options of Streamlit itself, after --")


def link(spec: Spec, port: int) -> str:
    """The address at which the explorer on this port opens exactly this Spec."""
    query = urlencode(to_query(spec))
    return f"http://{HOST}:{port}/" + (f"?{query}" if query else "")


def explore(spec: Spec, port: str | None, browser: bool, options: list[str]) -> int:
    """Serve the explorer until it is interrupted; returns the exit status.

    Raises UnsupportedError where the app or Streamlit is not installed, SpecError for a port that cannot be used.
    """
    from threading import Thread

    page = find_app()
    chosen = choose_port(port)
    opener = Thread(target=_open_when_ready, args=(link(spec, chosen), chosen, browser), daemon=True)
    opener.start()
    return _serve(page, chosen, options)


def find_app() -> Path:
    """The explorer's entry script beside this package. Raises UnsupportedError where it or Streamlit is missing."""
    from importlib.util import find_spec

    page = Path(__file__).resolve().parent.parent / "app" / "main.py"
    if not page.is_file():
        raise UnsupportedError(
            "explore", f"the explorer's pages are not beside this package ({page})", "a checkout of the repository"
        )
    if find_spec("streamlit") is None:
        raise UnsupportedError("explore", "Streamlit is not installed", "pip install -r requirements.txt")
    return page


def choose_port(text: str | None) -> int:
    """The port asked for, or the first free one. Raises SpecError where it is no port or not free."""
    if text is None:
        return next(port for port in range(FIRST_PORT, LAST_PORT) if _is_free(port))
    if not (text.isdecimal() and 1 <= int(text) <= LAST_PORT):
        raise SpecError("port", text, f"an integer from 1 to {LAST_PORT:,}")
    if not _is_free(int(text)):
        raise SpecError("port", int(text), "a port that is free", "Leave out --port to take the next free one.")
    return int(text)


def _is_free(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: a port just left is free
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _serve(page: Path, port: int, options: list[str]) -> int:
    """Run ``streamlit run`` here: it ends at SIGINT (Ctrl-C) and SIGTERM, and nothing is left behind."""
    import runpy

    os.chdir(page.parent.parent)  # where Streamlit looks for .streamlit/config.toml
    flags = [f"--server.port={port}", f"--server.address={HOST}", "--server.headless=true"]
    quiet = ["--logger.hideWelcomeMessage=true", "--logger.level=warning"]
    sys.argv = ["streamlit", "run", str(page), *flags, *quiet, *options]
    try:
        runpy.run_module("streamlit", run_name="__main__")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


def _open_when_ready(address: str, port: int, browser: bool) -> None:
    """Wait for the server, print the address and open it; the process ends on its own where the server fails."""
    import urllib.request
    import webbrowser

    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/_stcore/health", timeout=2):
                break
        except OSError:
            time.sleep(0.1)
    else:
        print("error: the server did not answer; Ctrl-C ends it", file=sys.stderr, flush=True)
        return
    print(address, flush=True)
    if browser and not webbrowser.open(address):
        print("no browser found: open this address in one", file=sys.stderr, flush=True)
