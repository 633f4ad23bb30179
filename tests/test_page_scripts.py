"""The pages' scripts run: every preset of every page, what theory refuses, files of the reader's own; and what they
print are the library's numbers. That these are the pages' numbers is tests/app/test_page_scripts.py.
"""

from __future__ import annotations

import ast
import contextlib
import io
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradcore as gc
from gradcore.charts import estimate_text
from gradcore.charts.remedies import name_of
from gradcore.estimates import Estimate
from gradcore.experiments import chain, gates, remedies_question
from gradcore.experiments.board import board, factors, measure_board
from gradcore.experiments.chain.question import VIEWS, ChainQuestion
from gradcore.experiments.clip_study import clipping_run, norms_after, observing
from gradcore.experiments.clipping import propose_threshold
from gradcore.experiments.data import digits
from gradcore.experiments.first_step import QUICK, affordable_networks, law_of, predict_first_step
from gradcore.experiments.gates import GatesQuestion
from gradcore.experiments.learn import LESSON_CODES, LESSONS, LearnQuestion, teach
from gradcore.experiments.penalty_study import affordable_networks as affordable_gradients
from gradcore.experiments.remedies_question import RemediesQuestion
from gradcore.experiments.symptom_examples import EXAMPLES, SymptomsQuestion
from gradcore.experiments.train_question import BOOK, PRESETS, TrainQuestion
from gradcore.experiments.train_question import VIEWS as TRAIN_VIEWS
from gradcore.experiments.training import train_all
from gradcore.export import PAGE_SCRIPTS, experiment_scripts, training_scripts
from gradcore.export.script_text import call, filled, whole
from gradcore.guide.gains import gain_table
from gradcore.measure.gains import sample_gains
from gradcore.presets import PRESETS as NETWORKS
from gradcore.spec import Spec
from gradcore.words import factors_text

ROOT = Path(__file__).parents[1]
SMALL: dict[str, Any] = {"depth": 5, "width": 16}
SHORT: dict[str, Any] = {"hidden": 2, "width": 8, "steps": 5}
CELL: dict[str, Any] = {"hidden_size": 12, "input_size": 6, "steps": 8, "networks": 2}
TRAINED_CELL: dict[str, Any] = {"units": 6, "length": 8, "updates": 4}
BATCH_OF_THREE = Spec(**SMALL, norm="batch", batch_size=3)  # theory has no prediction
NOWHERE_CRITICAL = Spec(**SMALL, activation="softplus", gain="critical")  # nor has torch


def printed(code: str) -> str:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, "script", "exec"), {"__name__": "__main__"})
    return output.getvalue()


# --- every page, every preset -----------------------------------------------------------------------------------


def _cases() -> dict[str, str]:
    make, cases = PAGE_SCRIPTS, {}
    for code, preset in chain.PRESETS.items():
        cases[f"chain {code}"] = make["chain"](preset.question)
    for code in LESSON_CODES:
        cases[f"learn {code}"] = make["learn"](LearnQuestion(code))
    for code, preset in gates.PRESETS.items():
        cases[f"gates {code}"] = make["gates"](replace(preset.question, **CELL))
    for code in EXAMPLES:
        cases[f"symptoms {code}"] = make["symptoms"](SymptomsQuestion(code))
    for code, preset in PRESETS.items():
        cases[f"train {code}"] = make["train"](replace(preset.question, **SHORT))
    for code, preset in remedies_question.PRESETS.items():
        spec = preset.spec.replace(**SMALL)
        cases[f"remedies {code}"] = make["remedies"](replace(preset.question, **SHORT), spec, 2)
    return cases | {
        "compare": make["compare"]([Spec(**SMALL), Spec(**SMALL, gain=2.0), BATCH_OF_THREE], 2, 1, "float32"),
        "compare nothing": make["compare"]([]),
        "compare predicted": make["compare"]([NOWHERE_CRITICAL, Spec(**SMALL)], 0, statistic="median"),
        "phase map": make["phase-map"](Spec(**SMALL), cells=8),
        "phase map, others": make["phase-map"](Spec(**SMALL), "sigma_w", "bias_std", "chi_star", cells=5),
        "phase map of one field": make["phase-map"](Spec(**SMALL), "gain", "sigma_w"),
        "phase map, refused": make["phase-map"](BATCH_OF_THREE, cells=2),
        "activations": make["activations"](Spec(activation="gelu", gain="auto")),
        "activations, not random": make["activations"](Spec(init="eye"), sampled=False),
        "activations, nowhere critical": make["activations"](NOWHERE_CRITICAL, sampled=False),
        "initializers": make["initializers"](Spec(**SMALL)),
        "initializers at one gain": make["initializers"](Spec(**SMALL, init="trunc_normal", gain=3.0), False, 7),
        "initializers, refused": make["initializers"](BATCH_OF_THREE),
        "chain, refused": make["chain"](ChainQuestion(weights="1, 2")),
        "gates, trained": make["gates"](GatesQuestion(cells="rnn,gru", **CELL, **TRAINED_CELL), trained=True),
        "gates, too short": make["gates"](GatesQuestion(**{**CELL, "length": 1}), measured=False, trained=True),
        "train, not yet": make["train"](TrainQuestion(**SHORT, remedy="batch_norm"), trained=False),
        "train, in force": make["train"](TrainQuestion(**SHORT, activation="relu", remedy="relu")),
        "train, sizes": make["train"](TrainQuestion(network="spec", steps=3), Spec(depth=3, width=(4, 5, 6))),
        "train a Spec": make["train"](TrainQuestion(network="spec", steps=3, view="start"), Spec(depth=3, width=9)),
        "remedies, refused": make["remedies"](RemediesQuestion(), BATCH_OF_THREE, 2),
        "remedies, nowhere critical": make["remedies"](RemediesQuestion(), NOWHERE_CRITICAL, 2),
    }


CASES = _cases()
REFUSED = {  # what the script prints in place of numbers, or beside them
    "chain, refused": "2 were given for 4 neurons",
    "compare": "predict: batch norm with batch_size = 3 is not supported",
    "compare predicted": "softplus has no critical point",
    "phase map of one field": "another field than gain",
    "phase map, refused": "cells without a prediction: batch norm",
    "activations, nowhere critical": "no critical gain: gain = 'critical'",
    "activations, not random": "variance map of eye weights is not supported",
    "initializers, refused": "batch norm with batch_size = 3 is not supported",
    "gates, too short": "steps = 1 is not allowed",
    "train, in force": "in force already",
    "train, sizes": "width = ",
    "remedies, refused": "batch norm with batch_size = 3 is not supported",
    "remedies, nowhere critical": "softplus has no critical point",
}


SLOW = ("chain balance", "learn gates", "symptoms overflow", "train a Spec", "train start")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in CASES])
def test_the_script_runs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    output = printed(CASES[name])
    assert REFUSED.get(name, "") in output and "Traceback" not in output
    assert len(output.splitlines()) > 5 or name in REFUSED or name == "compare nothing"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", CASES)
def test_the_script_is_short_and_of_public_names(name: str) -> None:
    code = CASES[name]
    lines = [line for line in code.splitlines() if "Question(" not in line and "Spec(" not in line]
    assert max(map(len, lines)) <= 120 and len(lines) < 100
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert not any(part.startswith("_") for part in [*str(node.module).split("."), *_names(node)])
            assert str(node.module).split(".")[0] in ("gradcore", "pathlib", "numpy")
        if isinstance(node, ast.Attribute):
            assert not node.attr.startswith("_") or node.attr == "__name__"
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    imported = {
        name for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom)) for name in _names(node)
    }
    assert imported <= used


def _names(node: ast.Import | ast.ImportFrom) -> list[str]:
    return [alias.asname or alias.name for alias in node.names]


def test_every_view_has_its_part() -> None:
    assert set(experiment_scripts.CHAIN_VIEWS) == set(VIEWS) and set(training_scripts.TRAIN_VIEWS) == set(TRAIN_VIEWS)


def test_a_script_in_an_interpreter_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "page.py"
    path.write_text(PAGE_SCRIPTS["chain"](ChainQuestion(view="random")), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    options: dict[str, Any] = {"cwd": tmp_path, "env": environment, "capture_output": True, "encoding": "utf-8"}
    done = subprocess.run([sys.executable, "-W", "error", str(path)], timeout=120, **options)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout == printed(path.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("code", NETWORKS)
def test_presets_of_networks(code: str) -> None:
    spec = NETWORKS[code].spec
    if spec.depth * int(spec.layer_widths.max()) > 50_000:
        pytest.skip("a network of that size is not measured here")
    for make in (PAGE_SCRIPTS["activations"], PAGE_SCRIPTS["initializers"], PAGE_SCRIPTS["phase-map"]):
        options: dict[str, Any] = {"cells": 3} if make is PAGE_SCRIPTS["phase-map"] else {}
        if options and isinstance(spec.width, tuple):
            options["y"] = "bias_std"  # a list of widths fixes the depth
        assert len(printed(make(spec, **options)).splitlines()) > 5
    try:
        said = gc.diagnose(gc.predict(spec)).sentence
    except gc.GradcoreError as error:
        said = str(error)
    assert said in printed(PAGE_SCRIPTS["compare"]([spec], 2))
    assert len(printed(PAGE_SCRIPTS["remedies"](RemediesQuestion(), spec, 2, activations=True)).splitlines()) > 40


@pytest.mark.slow
@pytest.mark.parametrize("code", PRESETS)
def test_training_presets_whole(code: str) -> None:
    assert "trained on digits: 1,000 images" in printed(PAGE_SCRIPTS["train"](PRESETS[code].question))


# --- files of the reader's own ----------------------------------------------------------------------------------


def test_a_file_that_is_not_there_is_named() -> None:
    for code in (
        PAGE_SCRIPTS["train"](TrainQuestion(**SHORT), images="no-images.gz", labels="no-labels.gz"),
        PAGE_SCRIPTS["symptoms"](record="no-record.csv"),
        PAGE_SCRIPTS["train"](TrainQuestion(**SHORT), record="no-run.json"),
    ):
        assert "set the path" in code or "set its path" in code
        assert "No such file" in printed(code)


def test_a_files_name_is_no_code() -> None:
    """Whatever a visitor's file is called, the script has it as a text."""
    name = 'a"); raise SystemExit("ran") #\\\n\'.csv'
    for code in (
        PAGE_SCRIPTS["train"](TrainQuestion(**SHORT), images=name, labels=name),
        PAGE_SCRIPTS["train"](TrainQuestion(**SHORT), record=name),
        PAGE_SCRIPTS["symptoms"](record=name),
    ):
        assert "No such file" in printed(code)
        assert name in {node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)}


@pytest.mark.parametrize("options", [{"x": "norm"}, {"y": "depth'"}, {"of": "log_g"}])
def test_a_map_of_nothing_is_refused(options: dict[str, str]) -> None:
    with pytest.raises(gc.SpecError):
        PAGE_SCRIPTS["phase-map"](Spec(), **options)


def test_own_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = digits(50)
    np.savez("mine.npz", images=data.inputs, labels=data.labels)
    output = printed(PAGE_SCRIPTS["train"](TrainQuestion(**SHORT), images="mine.npz"))
    assert "trained on mine.npz: 50 images, 10 classes" in output and "At the start the first hidden layer" in output


def test_own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    question = TrainQuestion(**SHORT)
    run = train_all(question.spec(digits()), digits(), neurons=[1, 2])
    Path("run.json").write_text(run.to_json(), encoding="utf-8")
    Path("record.csv").write_text("loss,grad_1,grad_2\n2.3,1,2\n2.2,1,2\n", encoding="utf-8")
    trained, read = (printed(PAGE_SCRIPTS["train"](question, **options)) for options in ({}, {"record": "run.json"}))
    assert trained.splitlines()[-8:] == read.splitlines()[-8:] and "data of the saved run" in read
    assert "2 steps, 2 layers" in printed(PAGE_SCRIPTS["symptoms"](record="record.csv"))
    assert "2 steps" not in printed(PAGE_SCRIPTS["symptoms"](record="run.json"))


# --- the numbers ------------------------------------------------------------------------------------------------


def test_the_board_is_the_librarys() -> None:
    spec, question = Spec(**SMALL, gain=1.7), RemediesQuestion(alpha="1/sqrt(L)")
    output = printed(PAGE_SCRIPTS["remedies"](question, spec, 3, 5))
    found = board(spec, question.codes, question.choices)
    for code, measured in measure_board(found, 3, 5).items():
        line = output[output.index("measured per layer", output.index(name_of(code) + ", every layer")) :]
        found_here = factors(measured)
        said = f"gradient x{estimate_text(found_here.backward)}, signal x{estimate_text(found_here.forward)}"
        assert line.splitlines()[0].endswith(said)


def test_a_lessons_sentences_are_printed() -> None:
    question = LearnQuestion("xavier", width=300, weight=7.0)
    code = PAGE_SCRIPTS["learn"](question)
    assert "weight=" not in code and set(LESSONS["xavier"].parameters) == {"width", "fan_out"}
    taught = teach(question)
    assert all(str(step.text) in printed(code) and step.formula.latex in printed(code) for step in taught.steps)


# --- what the scripts are made of -------------------------------------------------------------------------------


def test_a_call_leaves_out_defaults_and_makes_the_question_again() -> None:
    question = GatesQuestion(cell="gru", clip_norm=None, update_bias=3.0)
    text = call("GatesQuestion", question)
    assert text == "GatesQuestion(cell='gru', update_bias=3.0, clip_norm=None)" and eval(text) == question


def test_slots_are_filled_in_one_pass() -> None:
    assert filled("<a> < <b> <c>", a="<b>", b=2) == "<b> < 2 <c>"


def test_imports_are_sorted_and_each_is_there_once() -> None:
    code = whole("T.", ("math", "gradcore.words: LN10", "gradcore.b: z, Y", "gradcore.words: LN10, english"), ["x = 1"])
    head = (
        "import math\n\nimport gradcore as gc\nfrom gradcore.b import Y, z\nfrom gradcore.words import LN10, english\n"
    )
    assert code.startswith(f'"""T."""\n\n{head}\n\ndef main():\n    x = 1\n')


# --- what the pages compute with it -----------------------------------------------------------------------------


def test_the_farther_gain_counts() -> None:
    for exact, drawn in zip(gain_table(), sample_gains(1000), strict=True):
        apart = [abs(drawn.distance(name, getattr(exact, name))) for name in ("forward", "backward")]
        assert drawn.farthest(exact.forward, exact.backward) == max(apart)


def test_factors_in_words() -> None:
    assert factors_text(0.5 * math.log(0.5)) == "×0.71 (0.50)"
    assert factors_text(math.nan) == "–" and factors_text(-math.inf) == "×0 (0)"


def test_the_mean_square_of_an_estimate() -> None:
    assert Estimate(-1.5, 0.2).squared == Estimate(-3.0, 0.4) and Estimate(-1.5).squared == Estimate(-3.0)


def test_how_far_a_gradient_reaches() -> None:
    profile = gc.predict_cell(gc.CellSpec(cell="rnn", steps=6))
    assert math.exp(2 * profile.log_reach) == pytest.approx(math.exp(profile.log_v[0]) / math.exp(profile.log_v[5]))
    assert gc.predict_cell(gc.CellSpec(cell="rnn", steps=6, weight_scale=0.0)).log_reach == -math.inf


def test_equal_laws_are_equal() -> None:
    data, question = digits(), TrainQuestion(**SHORT)
    specs = [replace(question, rate=rate, seed=seed).spec(data) for rate, seed in ((0.1, 0), (0.2, 7))]
    assert law_of(specs[0]) == law_of(specs[1]) != law_of(replace(question, cost="quadratic").spec(data))
    batches = [replace(question, batch="32", seed=seed).spec(data) for seed in (0, 7)]
    assert law_of(batches[0]) != law_of(batches[1])
    firsts = [predict_first_step(law_of(spec), data, networks=8).speeds for spec in specs]
    assert np.array_equal(firsts[0], firsts[1])


def test_predictions_that_are_waited_for_are_bounded() -> None:
    data = digits()
    counts = [affordable_networks(TrainQuestion(hidden=6, width=width).spec(data), data) for width in (30, 100, 300)]
    assert counts[0] == QUICK > counts[1] >= 32 and counts[2] == 0
    assert affordable_networks(TrainQuestion().spec(data), data, 12) == 12
    spec = TrainQuestion(batch="32").spec(data)
    assert (
        affordable_gradients(spec, data, 60) == 60 > affordable_gradients(TrainQuestion(width=300).spec(data), data, 60)
    )


@pytest.mark.parametrize("hidden", range(1, len(BOOK) + 1))
def test_the_same_run_with_other_hidden_layers(hidden: int) -> None:
    data, question = digits(), TrainQuestion(width=8, rate=0.3)
    plain = question.spec(data)
    assert question.with_hidden(hidden, plain, data) == replace(question, hidden=hidden).spec(data)
    asked, network = TrainQuestion(network="spec"), Spec(depth=3, width=(9, 8, 10), norm="layer")
    deeper = asked.with_hidden(hidden, asked.spec(data, network), data).network
    assert (deeper.depth, deeper.width, deeper.norm) == (hidden + 1, 9, "layer")


def test_the_threshold_of_observed_norms() -> None:
    norms = np.array([1.0, math.nan, 2.0, 4.0, math.inf])
    proposed = propose_threshold(norms[~np.isnan(norms)]).proposed.limit
    assert RemediesQuestion().threshold(norms) == float(f"{proposed:.4g}")
    assert RemediesQuestion(limit=3.5).threshold(norms) == 3.5
    assert RemediesQuestion(limit=3.5).threshold(np.array([0.0, math.nan])) is None


@pytest.mark.parametrize("kind", ["norm_1", "norm_2", "norm_inf", "value"])
def test_norms_after_clipping(kind: str) -> None:
    """At half of the least observed norm every step is clipped to it, but for torch's 1e-6 beside the norm."""
    plain = RemediesQuestion(**SHORT).plain_run(digits())
    limit = 0.5 * float(train_all(observing(plain, kind), digits()).series("clip_norm").min())
    run = train_all(clipping_run(plain, kind, limit), digits())
    before, after = run.series("clip_norm"), norms_after(run)
    assert after == pytest.approx(limit, rel=1e-5) and (before > limit).all()
