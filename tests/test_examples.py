"""Every file of examples/ runs as it stands, without a warning, and says what its first line promises."""

from __future__ import annotations

import ast
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gallery import PICTURES

ROOT = Path(__file__).parents[1]
GALLERY = ROOT / "docs" / "gallery.md"
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SAYS = {  # words that each example must print
    "batch_norm": ["   32 "],
    "chain_of_neurons": ["-17.816 predicted"],
    "clip_by_norm": ["clipped by norm", "cosine 1.000"],
    "edge_of_chaos": ["   0.20  1.3041"],
    "forget_gates": ["forget bias 3: x1.03"],
    "learning_speeds": ["layer 1: |dC/db| = 0.00"],
    "singular_values": ["mean square 1.000 predicted, 1.000 measured; largest 1"],
    "wide_without_matrices": ["agree"],
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
    sentence = ast.get_docstring(ast.parse(text))
    assert sentence and sentence in GALLERY.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_makes_the_picture_that_the_gallery_shows(path: Path) -> None:
    """The picture is drawn by the example (its run above fails where that does), and it is there."""
    last = ast.parse(path.read_text(encoding="utf-8")).body[-1]
    assert isinstance(last, ast.Assign) and ast.unparse(last.targets[0]) == "picture"
    shown = PICTURES / f"{path.stem}.png"
    assert f"(images/gallery/{shown.name})" in GALLERY.read_text(encoding="utf-8")
    width, height = struct.unpack(">II", shown.read_bytes()[16:24])
    assert width > 900 and height > 400


def test_a_broken_example_would_be_seen(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text('import warnings\n\nwarnings.warn("old", DeprecationWarning)\n', encoding="utf-8")
    assert run(broken).returncode != 0
