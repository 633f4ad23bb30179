"""docs/add-an-activation.md is followed to the letter on a copy of the project: then theory and torch agree on it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "docs" / "add-an-activation.md"
STEP = re.compile(r"^`([\w/.]+\.py)`:\n\n```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
GUARD = '\n\nif __name__ == "__main__":'


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with the guide's blocks put where it says: at the end of the file, before the part that runs it."""
    copy = tmp_path_factory.mktemp("project")
    for folder in ("gradcore", "tests", "app"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    steps = STEP.findall(GUIDE.read_text(encoding="utf-8"))
    assert len(steps) == 3
    for name, block in steps:
        path = copy / name
        before, guard, after = path.read_text(encoding="utf-8").partition(GUARD)
        path.write_text(f"{before}\n\n{block.rstrip()}\n{guard}{after}", encoding="utf-8")
    return copy


def run(project: Path, *argv: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(project), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *argv], cwd=project, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_guide_is_followed(changed: Path) -> None:
    run(changed, "tests/reference/make_gaussian_table.py", "logsigmoid")
    files = ("tests/test_activations.py", "tests/test_gaussian.py")
    said = run(changed, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *files, "-k", "logsigmoid")
    assert int(re.findall(r"(\d+) passed", said)[0]) >= 10, said


def test_what_it_shows_at_the_end(changed: Path) -> None:
    block = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)[-1]
    said = run(changed, "-W", "error", "-c", block)
    assert "agree" in said and "DISAGREE" not in said
    assert "logsigmoid" in run(changed, "-m", "gradcore", "predict", "--help")
