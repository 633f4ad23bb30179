"""The container's recipe, as far as it can be held to without a container: what it copies, pins, sets and starts.

Its start command is run for real: in a folder that holds nothing but what the recipe copies, by a user without rights
where the tests run as root.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("streamlit")
pytest.importorskip("torch")

from app import limits
from benchmarks.sessions import Visit, Visitor
from gradcore.spec import Spec

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60  # seconds for the server to come up
NOBODY = 65534


def instructions(text: str) -> list[tuple[str, str]]:
    """(name, rest) of every instruction, continued lines joined, comments left out."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\s*\\\n\s*", " ", lines)
    return [(name.upper(), rest.strip()) for name, rest in re.findall(r"^(\w+) (.+)$", joined, re.MULTILINE)]


RECIPE = instructions((ROOT / "Dockerfile").read_text(encoding="utf-8"))


def rests(name: str) -> list[str]:
    return [rest for each, rest in RECIPE if each == name]


def variables() -> dict[str, str]:
    """What ENV sets."""
    return dict(pair.split("=", 1) for rest in rests("ENV") for pair in shlex.split(rest))


def copied() -> list[str]:
    """The sources of every COPY."""
    return [source for rest in rests("COPY") for source in rest.split()[:-1]]


# --- what it says ---------------------------------------------------------------------------------------------


def test_the_recipe_is_read() -> None:
    text = "# x\nFROM a\nRUN one \\\n    && two\nENV A=1 \\\n    B=2\n"
    assert instructions(text) == [("FROM", "a"), ("RUN", "one && two"), ("ENV", "A=1 B=2")]
    assert RECIPE[0] == ("FROM", "python:3.11-slim") and RECIPE[-1][0] == "CMD"


def test_what_is_copied_is_there_and_not_ignored() -> None:
    sources = copied()
    assert {"requirements.txt", "app", "gradcore", ".streamlit"} == set(sources)
    assert all((ROOT / source).exists() for source in sources)
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line[1:] for line in ignore if line.startswith("!")}
    assert "*" in ignore and kept == set(sources)
    assert ignore.index(".streamlit/secrets.toml") > ignore.index("!.streamlit")  # the last rule that fits decides


def test_torch_is_the_pinned_one_without_cuda() -> None:
    pins = dict(line.split("==") for line in (ROOT / "requirements.txt").read_text().split())
    (install,) = [rest for rest in rests("RUN") if "torch" in rest]
    torch, others = install.split("&&")
    assert torch.split()[-1] == f"torch=={pins['torch']}" and "https://download.pytorch.org/whl/cpu" in torch
    assert others.strip().endswith("-r requirements.txt")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"--index-url https://download.pytorch.org/whl/cpu torch=={pins['torch']}" in readme


def test_it_runs_as_a_user_without_rights_from_then_on() -> None:
    users = rests("USER")
    assert users and not {"root", "0"} & set(users)
    (created,) = [rest for rest in rests("RUN") if "useradd" in rest]
    assert users[-1] in created.split() and "--uid 10001" in created
    names = [name for name, _ in RECIPE]
    after = names[len(names) - names[::-1].index("USER") :]
    assert not {"RUN", "COPY", "ADD"} & set(after)


def test_its_settings_are_options_of_streamlit_and_limits_of_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    from streamlit import config

    env = variables()
    known = {re.sub(r"(?<!^)(?=[A-Z])", "_", key).replace(".", "_").upper() for key in config.get_config_options()}
    assert {name.removeprefix("STREAMLIT_") for name in env if name.startswith("STREAMLIT_")} <= known
    assert {name for name in env if name.startswith("GRADCORE_")} == {each.variable for each in limits.LIMITS.values()}
    assert env["STREAMLIT_SERVER_FILE_WATCHER_TYPE"] == "none"
    assert env["STREAMLIT_CLIENT_SHOW_ERROR_DETAILS"] == "none"
    assert env["STREAMLIT_BROWSER_GATHER_USAGE_STATS"] == "false"
    assert env["STREAMLIT_SERVER_MAX_UPLOAD_SIZE"] == env["GRADCORE_MAX_UPLOAD_MB"]
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    limits.check()
    assert limits.refusal(Spec(), 8) == ""  # the first page is measured
    assert limits.notice()


def test_the_document_lists_every_limit_and_the_recipes_values() -> None:
    text = (ROOT / "docs" / "hosting.md").read_text(encoding="utf-8")
    env = variables()
    for limit in limits.LIMITS.values():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{limit.variable}` |"))
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[1:] == [limit.unit, limit.bounds, env[limit.variable]]


# --- what it starts -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """What the container's folder holds, and nothing else."""
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        place.chmod(0o755)
        for source in copied():
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place / source, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, place)
        yield place


def powerless() -> dict[str, Any]:
    """Another user for the process, where that can be: the tests run as root and everybody may run this Python."""
    places = [Path(sys.prefix), *Path(sys.prefix).parents, *Path(os.path.realpath(sys.executable)).parents]
    if os.geteuid() != 0 or not all(place.stat().st_mode & 0o001 for place in places):
        return {}
    return {"user": NOBODY, "group": NOBODY}


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The recipe's own variables and hardly any other; ``python`` and ``streamlit`` are those of this environment."""
    path = os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"])
    return {"PATH": path, "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **variables(), **more}


@contextmanager
def container(folder: Path, **more: str) -> Iterator[tuple[subprocess.Popen[str], str, dict[str, str]]]:
    """The recipe's CMD on a free port: the process, its address, its environment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    env = environment(folder, PORT=port, STREAMLIT_SERVER_ADDRESS="127.0.0.1", **more)
    command = json.loads(rests("CMD")[-1])
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        **powerless(),
    )
    try:
        yield process, f"http://127.0.0.1:{port}", env
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=20)


def healthy(process: subprocess.Popen[str], address: str) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            time.sleep(0.1)
    return False


def test_its_command_serves_a_measured_page_and_its_health_check_passes(folder: Path) -> None:
    (check,) = rests("HEALTHCHECK")
    probe = shlex.split(check.split("CMD", 1)[1])
    visit = Visit.of(Spec(depth=6, width=32, activation="tanh"))

    async def look(address: str) -> object:
        async with Visitor(address) as visitor:
            return await visitor.follow(visit)

    with container(folder) as (process, address, env):
        assert healthy(process, address), process.communicate(timeout=20)[0]
        answer = asyncio.run(look(address))
        assert (answer.errors, answer.wrong) == ([], [])  # type: ignore[attr-defined]
        assert subprocess.run(probe, env=env, timeout=30).returncode == 0
    assert process.returncode in (0, -signal.SIGTERM)  # the server itself got the signal: exec
    assert subprocess.run(probe, env=env, timeout=30, stderr=subprocess.DEVNULL).returncode != 0


def test_a_limit_that_cannot_be_read_ends_it_at_once(folder: Path) -> None:
    with container(folder, GRADCORE_MAX_UNITS="wide") as (process, _, _):
        said, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 2 and "GRADCORE_MAX_UNITS" in said
