"""Recurrent cells: torch's networks against theory, and the measurement against plain autograd.

Predictions are for infinite width. A network of width n differs by order 1/n in the logarithm of a per-step factor, so
two widths n and 2n give 2 f(2n) - f(n) without it; the error left is that of the networks' and the particles' scatter.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import t as student

import gradcore as gc
from gradcore.measure import recurrent as measured
from gradcore.theory.tied_linear import log_ginibre_power
from tests.cells import FALSE_ALARM, GRU, LSTM, PARTICLES, by_cell, by_row, predict


def _log_ratio(spec, networks):
    """ln(measured / predicted factor) and its standard error."""
    found, predicted = gc.measure_cell(spec, networks=networks), predict(spec)
    return math.log(found.factor() / predicted.factor()), found.factor_error() / found.factor()


RICHARDSON = [
    LSTM | {"forget_bias": 3},
    GRU,
    {"cell": "rnn", "init": "normal", "weight_scale": 1.5},
    LSTM | {"init": "orthogonal", "forget_bias": 1},
]


def _extrapolated(cell, n, networks):
    ratios = [_log_ratio(gc.CellSpec(hidden_size=m, input_size=m // 8, **cell), networks) for m in (n, 2 * n)]
    value = 2 * ratios[1][0] - ratios[0][0]
    return value, math.sqrt(4 * ratios[1][1] ** 2 + ratios[0][1] ** 2 + 5 * PARTICLES**2)


@pytest.mark.parametrize("cell", RICHARDSON, ids=str)
def test_torch_networks_agree(cell):
    """Widths 48 and 96, the part of order 1/n taken out; the untied value of gated cells is far outside."""
    value, error = _extrapolated(cell, 48, 8)
    limit = student.isf(0.5 * FALSE_ALARM / len(RICHARDSON), 7) * error
    assert abs(value) < limit, (value, limit)
    spec = gc.CellSpec(hidden_size=96, input_size=12, **cell)
    if spec.cell != "rnn":
        predicted = predict(spec)
        assert abs(math.log(predicted.untied.factor() / predicted.factor())) > limit


@pytest.mark.slow
@by_row
def test_torch_networks_of_the_table(row, spec):
    """n = 512. Allowed beside the scatter: what tied weights add at this width to a linear network at sigma_w = 1,
    whose products have the longest memory, between the same distances of 10 and 30 steps."""
    networks = 4
    value, error = _log_ratio(spec.replace(batch_size=8), networks)
    excess = (log_ginibre_power(512, 30) - log_ginibre_power(512, 10)) / 20
    chaotic = 3 if row[2] > 1.02 else 1
    assert abs(value) < student.isf(0.5 * FALSE_ALARM, networks - 1) * error + excess + 3 * chaotic * PARTICLES


def test_signal_and_gates_of_torch_networks():
    """E h_t^2 and mean gates at every step, width 128; the theory leaves order 1/n of the variance of h open."""
    spec = gc.CellSpec(hidden_size=128, input_size=16, steps=20, forget_bias=2)
    found, predicted, networks = gc.measure_cell(spec, networks=10), predict(spec), 10
    limit = student.isf(0.5 * FALSE_ALARM / (5 * spec.steps), networks - 1) / math.sqrt(networks)
    scatter = np.exp(found.log_h).std(axis=0, ddof=1)
    gap = np.exp(found.mean("log_h")) - np.exp(predicted.log_h)
    assert (np.abs(gap) < limit * scatter + (1 / 128 + 3 * PARTICLES) * np.exp(predicted.log_h)).all()
    for name, values in found.gates.items():
        spread = values.std(axis=0, ddof=1) + predicted.gate_spreads[name] / math.sqrt(20_000)
        assert (np.abs(values.mean(axis=0) - predicted.gates[name]) < limit * spread).all(), name
    assert predicted.gates["f"][-1] > 0.85


@by_cell
def test_measured_gradients_are_plain_autograds(spec):
    """The rescaled steps against one backward pass through torch's own sequence of cells."""
    found = gc.measure_cell(spec, networks=[2], seed=7)
    module = measured.build(spec, seed=7, network=2)
    cell = measured.cell_of(module)
    draws = measured.generator(7, 2, measured.INPUTS)
    shape = (spec.steps, spec.batch_size, spec.input_size)
    x = torch.randn(shape, generator=draws, dtype=torch.float64) * spec.input_rms
    states = [measured.initial_state(spec, draws, "float64")]
    for step in x:
        states.append(measured.step(cell, step, states[-1]))
    last = states[-1][0]
    whole, _ = module(x, states[0][0][None] if len(states[0]) == 1 else tuple(s[None] for s in states[0]))
    torch.testing.assert_close(whole[-1], last)  # the module's own sequence
    v = torch.randn(last.shape, generator=measured.generator(7, 2, measured.COTANGENTS), dtype=torch.float64)
    slopes = torch.autograd.grad(last, [s[0] for s in states[1:]], v)
    np.testing.assert_allclose(found.log_v[0], [math.log(float(s.square().mean())) for s in slopes], atol=1e-10)
    np.testing.assert_allclose(found.log_h[0], [math.log(float(s[0].detach().square().mean())) for s in states[1:]])


def test_far_below_the_range_of_floats():
    """1e-600 in mean square: the plain gradient is 0; the linear regime's factor is sigma_w^2."""
    spec = gc.CellSpec(cell="rnn", hidden_size=40, steps=200, init="normal", weight_scale=1e-3, input_rms=1e-3)
    found = gc.measure_cell(spec, networks=2)
    assert np.isfinite(found.log_v).all() and found.log_v.max(axis=1)[0] < 1 and found.log_v[:, 0].max() < -600 * 2.3
    assert math.isclose(predict(spec).factor(), 1e-6, rel_tol=1e-3)


def test_networks_can_be_chunked_and_merged():
    spec, calls = gc.CellSpec(hidden_size=6, input_size=2, steps=5), []
    whole = gc.measure_cell(spec, networks=3, progress=lambda done, total: calls.append((done, total)))
    parts = [gc.measure_cell(spec, networks=[i]) for i in (2, 0, 1)]
    merged = type(whole).merge(*parts)
    assert np.array_equal(merged.log_v, whole.log_v) and merged.networks == (0, 1, 2) and calls[-1] == (3, 3)
    assert all(np.array_equal(merged.gates[g], whole.gates[g]) for g in whole.gates)
    with pytest.raises(gc.SpecError):
        type(whole).merge(parts[0], parts[0])
    with pytest.raises(gc.SpecError):
        type(whole).merge(parts[0], gc.measure_cell(spec.replace(steps=6), networks=[5]))
