"""Every file of examples/ runs as it stands, without a warning, and says what its first line promises."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SAYS = {  # words that each example must print
    "find_the_overflow": ["float16   layer   4", "float32   layer  30"],
    "mend_a_deep_net": ["it vanishes", "it survives"],
    "predict_measure_compare": ["95% of single networks", "agree"],
}


def run(path: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    argv = [sys.executable, "-W", "error", str(path)]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_each_example_is_listed() -> None:
    assert {path.stem for path in EXAMPLES} == set(SAYS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path: Path) -> None:
    done = run(path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for words in SAYS[path.stem]:
        assert words in done.stdout
    assert "DISAGREE" not in done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_short_and_says_what_it_shows(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 30
    assert ast.get_docstring(ast.parse(text))


def test_a_broken_example_would_be_seen(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text('import warnings\n\nwarnings.warn("old", DeprecationWarning)\n', encoding="utf-8")
    assert run(broken).returncode != 0
