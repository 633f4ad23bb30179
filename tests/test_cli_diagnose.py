"""``gradcore diagnose``: the verdict in words, JSON and CSV, and flags that ask for each fix."""

from __future__ import annotations

import shlex

import pytest

import gradcore as gc
from gradcore.cli import build_parser, spec_of
from gradcore.codec import from_json
from tests.test_cli import run, run_csv, run_json

DEFAULT = gc.diagnose(gc.predict(gc.Spec()))


def test_the_sentence_comes_first(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, "diagnose").splitlines()
    assert lines[0] == f"vanishing: {DEFAULT.sentence}"
    assert sum(line.startswith("fix: ") for line in lines) == len(DEFAULT.fixes)


def test_json_carries_the_same_and_its_specs_load(capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(capsys, "diagnose", "--activation=sigmoid", "--depth=20")["verdict"]
    assert found["kind"] == "vanishing" and found["numbers"]["factor"] == pytest.approx(0.24, abs=0.01)
    for fix in found["fixes"]:
        assert gc.diagnose(gc.predict(from_json(fix["spec"]))).stable


def test_the_flags_of_a_fix_ask_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    rows = run_csv(capsys, "diagnose")
    assert [row["fix"] for row in rows] == [fix.code for fix in DEFAULT.fixes]
    for row, fix in zip(rows, DEFAULT.fixes, strict=True):
        args = build_parser().parse_args(["diagnose", *shlex.split(row["flags"])])
        assert spec_of(args) == fix.spec


def test_a_stable_network_needs_no_fix(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "diagnose", "--init=kaiming_normal")
    assert text.startswith("stable: ") and "fix:" not in text
    assert run_csv(capsys, "diagnose", "--init=kaiming_normal") == []


def test_a_dead_network_is_a_document_too(capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(capsys, "diagnose", "--gain=0")["verdict"]
    assert found["kind"] == "dead" and found["numbers"]["log10_ratio"] == "-inf"
