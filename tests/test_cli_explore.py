"""``gradcore explore``: the server starts, its link holds the Spec, and ending the command leaves nothing behind."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given

import gradcore as gc
from gradcore import explore_command
from gradcore.cli import main
from gradcore.codec import from_query
from gradcore.presets import PRESETS
from tests.strategies import specs

ROOT = Path(__file__).parents[1]
PATIENCE = 60.0
needs_streamlit = pytest.mark.skipif(importlib.util.find_spec("streamlit") is None, reason="streamlit is not installed")


def spec_of_link(address: str) -> gc.Spec:
    return from_query(dict(parse_qsl(urlsplit(address).query, keep_blank_values=True, strict_parsing=True)))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def exploring(*argv: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The running command and the first line it printed; nothing of its session is left afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gradcore", "explore", *argv],
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def get(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=10) as answer:
        return answer.read()


# --- the running command -----------------------------------------------------------------------------------


@needs_streamlit
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_its_link_until_it_is_ended_and_leaves_nothing(ending: signal.Signals) -> None:
    port = free_port()
    flags = ["--preset=tanh_xavier", "--gain=5/4", f"--port={port}", "--no-browser"]
    with exploring(*flags) as (process, address):
        assert address.startswith(f"http://127.0.0.1:{port}/?")
        assert spec_of_link(address) == PRESETS["tanh_xavier"].spec.replace(gain=1.25)
        assert get(f"http://127.0.0.1:{port}/_stcore/health") == b"ok"
        assert b"<html" in get(address)
        process.send_signal(ending)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
        assert "Traceback" not in err and "http" not in out, "the address was all"
        with pytest.raises(ProcessLookupError):  # no process of its session is left
            os.killpg(process.pid, 0)
        with pytest.raises(OSError, match="refused"):
            get(address)


@needs_streamlit
def test_it_opens_the_browser_at_the_link(tmp_path: Path) -> None:
    seen, browser = tmp_path / "seen", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > "{seen}"\n', encoding="utf-8")
    browser.chmod(0o755)
    with exploring("--depth=7", "--", "--server.maxUploadSize=1", BROWSER=str(browser)) as (process, address):
        assert spec_of_link(address) == gc.Spec(depth=7)
        deadline = time.monotonic() + PATIENCE
        while not (seen.exists() and seen.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert seen.read_text() == address
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0


@needs_streamlit
def test_an_option_that_streamlit_refuses_ends_the_command() -> None:
    with exploring("--no-browser", "--", "--server.nonsense=1") as (process, address):
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 2 and address == ""
        assert "nonsense" in err


# --- links and refusals ------------------------------------------------------------------------------------


@given(specs())
def test_the_link_holds_exactly_the_spec(spec: gc.Spec) -> None:
    address = explore_command.link(spec, 8501)
    assert spec_of_link(address) == spec if spec != gc.Spec() else address == "http://127.0.0.1:8501/"


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line on stderr of a command that is refused with status 2."""
    assert main(["explore", *argv]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    return captured.err


@pytest.fixture
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(*args: object) -> int:
        raise AssertionError("a refused command must not start a server")

    monkeypatch.setattr(explore_command, "_serve", serve)


@needs_streamlit
@pytest.mark.usefixtures("no_server")
@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--port=0"], "an integer from 1 to 65,535"),
        (["--port=65536"], "an integer from 1 to 65,535"),
        (["--port=many"], "port = 'many'"),
        (["--activation=rleu"], "Did you mean relu?"),
        (["--preset=vanishin"], "Did you mean vanishing?"),
    ],
)
def test_what_is_not_allowed_is_one_line(capsys: pytest.CaptureFixture[str], argv: list[str], words: str) -> None:
    assert words in refused(capsys, *argv)


@needs_streamlit
@pytest.mark.usefixtures("no_server")
def test_a_port_in_use_is_refused_and_passed_over(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert "a port that is free" in refused(capsys, f"--port={port}")
        monkeypatch.setattr(explore_command, "FIRST_PORT", port)
        assert explore_command.choose_port(None) > port


@pytest.mark.usefixtures("no_server")
def test_without_the_app_or_streamlit_it_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        assert "Streamlit is not installed" in refused(capsys)
    monkeypatch.setattr(explore_command, "__file__", str(tmp_path / "gradcore" / "explore_command.py"))
    assert "not beside this package" in refused(capsys) and str(tmp_path) in explore_command.__file__
