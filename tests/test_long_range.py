"""Training cells to remember: the same numbers as a plain torch loop, records, and runs that end early."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import gradcore as gc
from gradcore.experiments.long_range import COPY_ALPHABET, COPY_SYMBOLS, TASKS, LongRange, Record, train
from gradcore.experiments.sequence_training import build_model, draw_batch

CELL = gc.CellSpec(cell="lstm", hidden_size=12, steps=14, forget_bias=1, batch_size=8)
RUNS = [
    LongRange(cell=CELL, updates=25, dtype="float64"),
    LongRange(cell=CELL.replace(cell="gru"), task="copy", updates=25, dtype="float64", clip_norm=0.05),
    LongRange(cell=CELL.replace(cell="rnn"), updates=25, dtype="float64", optimizer="sgd", clip_norm=1, seed=3),
    LongRange(
        cell=CELL.replace(cell="rnn", activation="relu"), task="copy", updates=25, dtype="float64", optimizer="sgd"
    ),
]
by_run = pytest.mark.parametrize("spec", RUNS, ids=lambda s: f"{s.cell.cell}-{s.task}-{s.optimizer}")


def run(spec):
    record = Record(spec)
    for step in train(spec):
        record.add(step)
    return record


def _plain_loop(spec):
    """(losses, norms) by torch's whole-sequence module, losses and optimizers: nothing of ours but the draws."""
    module, readout = build_model(spec)
    parameters = [*module.parameters(), *readout.parameters()]
    make = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[spec.optimizer]
    optimizer = make(parameters, lr=spec.learning_rate)
    losses, norms = [], []
    for k in range(spec.updates):
        inputs, targets = draw_batch(spec, k)
        hidden, _ = module(inputs)
        if spec.task == "adding":
            loss = nn.MSELoss()(readout(hidden[-1]), targets[0])
        else:
            answers = readout(hidden[-COPY_SYMBOLS:]).reshape(-1, COPY_ALPHABET)
            loss = nn.CrossEntropyLoss()(answers, targets.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        bound = math.inf if spec.clip_norm is None else spec.clip_norm
        norms.append(float(nn.utils.clip_grad_norm_(parameters, bound)))
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses, norms


@by_run
def test_a_plain_torch_loop_gives_the_same_losses(spec):
    record, (losses, norms) = run(spec), _plain_loop(spec)
    np.testing.assert_allclose(record.series("loss"), losses, rtol=1e-9)
    np.testing.assert_allclose(record.series("norm"), norms, rtol=1e-9)
    if spec.clip_norm is not None:
        assert np.array_equal(record.series("clipped") == 1, np.array(norms) > spec.clip_norm)
        assert record.series("clipped").any()


@by_run
def test_gradients_back_in_time(spec):
    """log_v of the first step: the whole sequence differentiated with respect to an offset added to each h_t."""
    step = next(train(spec))
    module, readout = build_model(spec)
    from gradcore.measure import recurrent

    cell, (inputs, targets) = recurrent.cell_of(module), draw_batch(spec, 0)
    offsets = torch.zeros(*inputs.shape[:2], spec.cell.hidden_size, dtype=torch.float64, requires_grad=True)
    state = (torch.zeros_like(offsets[0]),) * (2 if spec.cell.cell == "lstm" else 1)
    hidden = []
    for x, offset in zip(inputs, offsets, strict=True):
        after = recurrent.step(cell, x, state)
        state = (after[0] + offset, *after[1:])
        hidden.append(state[0])
    answers = readout(torch.stack(hidden[-len(targets) :]))
    if spec.task == "adding":
        loss = nn.functional.mse_loss(answers, targets)
    else:
        loss = nn.functional.cross_entropy(answers.reshape(-1, COPY_ALPHABET), targets.reshape(-1))
    slopes = torch.autograd.grad(loss, offsets)[0] * spec.cell.batch_size
    np.testing.assert_allclose(step.log_v, torch.log(slopes.square().mean(dim=(1, 2))).numpy(), atol=1e-9)


def test_the_tasks():
    """Adding: two markers, one in each half, and their sum. Copy: five symbols, blanks, and a marker before the end."""
    inputs, targets = draw_batch(RUNS[0], 0)
    marks = inputs[:, :, 1]
    assert inputs.shape == (14, 8, 2) and torch.equal(marks[:7].sum(dim=0), torch.ones(8, dtype=torch.float64))
    assert torch.equal(marks[7:].sum(dim=0), torch.ones(8, dtype=torch.float64))
    torch.testing.assert_close((inputs[:, :, 0] * marks).sum(dim=0), targets[0, :, 0])
    inputs, targets = draw_batch(RUNS[1], 0)
    codes = inputs.argmax(dim=2)
    assert inputs.shape == (14, 8, 10) and torch.equal(inputs.sum(dim=2), torch.ones(14, 8, dtype=torch.float64))
    assert torch.equal(codes[:5], targets) and (codes[5:8] == 8).all() and (codes[8] == 9).all()
    assert (codes[9:] == 8).all() and not torch.equal(targets, draw_batch(RUNS[1], 1)[1])


def test_baselines():
    """The loss of the best answer without memory, by draws: Var of a sum of two U(0, 1); ln 8."""
    spec = RUNS[0].replace(cell=CELL.replace(batch_size=20_000))
    targets = draw_batch(spec, 0)[1].numpy().ravel()
    error = np.std((targets - 1) ** 2) / math.sqrt(len(targets))
    assert abs(np.mean((targets - 1) ** 2) - TASKS["adding"].baseline) < 4 * error
    assert math.isclose(TASKS["copy"].baseline, math.log(8))


def test_an_lstm_learns_to_add():
    """Below half the loss that is possible without memory; the first steps' gradient is no longer lost."""
    spec = LongRange(cell=CELL.replace(hidden_size=24, batch_size=32, steps=8, forget_bias=2), updates=250)
    record = run(spec)
    assert np.mean(record.series("loss")[-20:]) < 0.5 * TASKS["adding"].baseline
    assert record.series("accuracy")[-20:].mean() > 2 * record.series("accuracy")[:20].mean()


def test_numbers_that_break_end_the_run():
    cell = gc.CellSpec(cell="rnn", activation="relu", hidden_size=8, steps=20, batch_size=4)
    record = run(LongRange(cell=cell, optimizer="sgd", learning_rate=1e20, updates=50))
    last = record.steps[-1]
    assert 0 < last.update < 49 and last.stopped in ("loss", "gradient") and len(record.steps) == last.update + 1
    assert f"update {last.update}" in str(record.stopped) and "not" in str(record.stopped).replace("no longer", "not")
    assert all(step.stopped is None for step in record.steps[:-1])
    json.dumps(record.to_json(), allow_nan=False)


@pytest.mark.parametrize(("scale", "stopped"), [(18.0, None), (21.0, "gradient"), (23.0, "loss")])
def test_which_number_broke_first(scale, stopped):
    """Near the end of float32's range the gradient is lost while the loss is still a number; no update is made then."""
    cell = gc.CellSpec(cell="rnn", activation="relu", hidden_size=8, steps=20, batch_size=4, weight_scale=scale)
    steps = list(train(LongRange(cell=cell, updates=2, optimizer="sgd", learning_rate=0)))
    assert steps[0].stopped == stopped and len(steps) == (2 if stopped is None else 1)
    assert math.isfinite(steps[0].loss) == (stopped != "loss")


def test_a_run_that_is_left_keeps_what_it_had():
    record = Record(RUNS[0])
    for step in itertools.islice(train(RUNS[0]), 3):
        record.add(step)
    assert len(record.series("loss")) == 3 and record.series("log_v").shape == (3, 14) and record.stopped is None
    assert np.array_equal(record.series("loss"), run(RUNS[0].replace(updates=3)).series("loss"))


def test_the_record_goes_through_json():
    record = run(RUNS[2].replace(updates=3))
    again = Record.from_json(json.loads(json.dumps(record.to_json(), allow_nan=False)))
    assert again.spec == record.spec and again.steps == record.steps
    for bad in ({}, {"spec": {}, "steps": [{"x": 1}]}, {"spec": {}, "steps": 3}, []):
        with pytest.raises(gc.SpecError) as caught:
            Record.from_json(bad)
        assert caught.value.field == "record"


def test_an_open_generator_holds_nothing():
    """No thread setting, no gradient mode, no global random state is changed between steps."""
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    steps = train(RUNS[0])
    with torch.no_grad():
        next(steps)
        assert not torch.is_grad_enabled()
    assert torch.get_num_threads() == threads and torch.equal(before, torch.random.get_rng_state())
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("task", {"task": "sorting"}),
        ("updates", {"updates": 0}),
        ("optimizer", {"optimizer": "lion"}),
        ("learning_rate", {"learning_rate": -1}),
        ("clip_norm", {"clip_norm": 0}),
        ("seed", {"seed": -1}),
        ("dtype", {"dtype": "float16"}),
        ("cell", {"cell": "lstm"}),
        ("steps", {"cell": CELL.replace(steps=10), "task": "copy"}),
    ],
)
def test_bad_values_name_their_field(field, changes):
    with pytest.raises(gc.SpecError) as caught:
        LongRange(**changes)
    assert caught.value.field == field


def test_spec_as_json():
    for spec in RUNS:
        assert LongRange.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    for document in ({"momentum": 1}, {"cell": {"depth": 3}}):
        with pytest.raises(gc.SpecError):
            LongRange.from_json(document)
    with pytest.raises(gc.SpecError):
        train("adding")
    with pytest.raises(gc.SpecError):
        Record(RUNS[0]).series("weights")


def test_the_question_loads_no_torch():
    code = "import sys, gradcore.experiments.long_range as lr; lr.LongRange(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=True, timeout=120)
