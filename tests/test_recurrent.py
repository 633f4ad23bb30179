"""Recurrent cells: the steps against torch's own, theory against the reference factors and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import t as student

import gradcore as gc
from gradcore.cell_verdict import KINDS, kind_of
from gradcore.measure import recurrent as measured
from gradcore.theory.cells import State, cell_of
from gradcore.theory.growing import GrowingGaussian
from gradcore.theory.recurrent import CellLaw, curves
from gradcore.theory.recurrent_maps import fixed_point, maps
from gradcore.theory.tied_linear import log_ginibre_power, log_skip_power, tied_horizon
from tests.cells import FALSE_ALARM, SPECS, by_cell, by_row, predict

# --- the cells' formulas against torch ------------------------------------------------------------------------


def _torch_step(spec):
    """torch's cell with weights, x, the state before, and a cotangent of the state after; a batch of one."""
    cell = measured.cell_of(measured.build(spec, seed=3).requires_grad_(False))
    draws = torch.Generator().manual_seed(1)
    vectors = torch.randn(5, 1, spec.hidden_size, generator=draws, dtype=torch.float64)
    x = torch.randn(1, spec.input_size, generator=draws, dtype=torch.float64)
    parts = 2 if spec.cell == "lstm" else 1
    return cell, x, tuple(vectors[:parts]), tuple(vectors[2 : 2 + parts])


def _numpy_step(spec, cell, x, state):
    """The same step by the particles' formulas: units are the particles."""
    ours, n = cell_of(spec.cell, spec.activation), spec.hidden_size
    inputs = (x @ cell.weight_ih.T + cell.bias_ih).numpy().reshape(len(ours.gates), n)
    hidden = (state[0] @ cell.weight_hh.T + cell.bias_hh).numpy().reshape(len(ours.gates), n)
    before = State(state[0][0].numpy(), state[1][0].numpy() if len(state) == 2 else np.zeros(n))
    return ours, inputs, hidden, before


@by_cell
def test_a_step_is_torchs(spec):
    cell, x, state, _ = _torch_step(spec)
    ours, inputs, hidden, before = _numpy_step(spec, cell, x, state)
    after, values = ours.step(inputs, hidden, before)
    expected = measured.step(cell, x, state)
    np.testing.assert_allclose(after.h, expected[0][0].numpy(), rtol=0, atol=1e-14)
    if spec.cell == "lstm":
        np.testing.assert_allclose(after.c, expected[1][0].numpy(), rtol=0, atol=1e-14)
    gates = measured.gate_values(cell, x, state[0], expected[0])
    np.testing.assert_allclose(values, torch.cat(gates).numpy(), rtol=0, atol=1e-14)


@by_cell
def test_a_pullback_is_autograds(spec):
    cell, x, state, cotangent = _torch_step(spec)
    leaves = tuple(s.clone().requires_grad_(True) for s in state)
    expected = torch.autograd.grad(measured.step(cell, x, leaves), leaves, cotangent)
    ours, inputs, hidden, before = _numpy_step(spec, cell, x, state)
    after, values = ours.step(inputs, hidden, before)
    d = State(cotangent[0][0].numpy(), cotangent[1][0].numpy() if len(cotangent) == 2 else np.zeros(spec.hidden_size))
    pulled = ours.pull(inputs, hidden, before, after, values, d)
    h = pulled.skip.h + pulled.hidden.ravel() @ cell.weight_hh.numpy()
    np.testing.assert_allclose(h, expected[0][0].numpy(), rtol=0, atol=1e-14)
    if spec.cell == "lstm":
        np.testing.assert_allclose(pulled.skip.c, expected[1][0].numpy(), rtol=0, atol=1e-14)


# --- the process in time --------------------------------------------------------------------------------------


def test_growing_process_has_the_covariance_it_is_told():
    """Also where every step is in units of its own; a sample covariance errs by sqrt((c_tt c_ss + c_ts^2) / N)."""
    rng, n, steps = np.random.default_rng(5), 40_000, 6
    root = rng.standard_normal((steps, steps)) * 10.0 ** np.arange(0, -12, -2)[:, None]
    wanted = root @ root.T
    process = GrowingGaussian(rng, steps, 2, n)
    drawn = np.array([process.next(wanted[k, :k], wanted[k, k]) for k in range(steps)])
    for gate in range(2):
        got = drawn[:, gate] @ drawn[:, gate].T / n
        error = np.sqrt((np.outer(np.diag(wanted), np.diag(wanted)) + wanted**2) / n)
        assert np.abs((got - wanted) / error).max() < 4.5  # 42 entries, two-sided 1 in 3,000
    assert abs(np.mean(drawn[-1, 0] * drawn[-1, 1])) < 4.5 * wanted[-1, -1] / math.sqrt(n)


def test_growing_process_that_stands_still_and_one_of_zeros():
    process = GrowingGaussian(np.random.default_rng(0), 4, 1, 100)
    first = process.next(np.zeros(0), 2.0)
    np.testing.assert_allclose(process.next(np.array([2.0]), 2.0), first, rtol=0, atol=0.01)  # sqrt(JITTER) of it
    assert not process.next(np.zeros(2), 0.0).any()
    np.testing.assert_allclose(process.next(np.array([2.0, 2.0, 0.0]), 2.0), first, rtol=0, atol=0.01)


def test_untied_process_forgets():
    process = GrowingGaussian(np.random.default_rng(0), 2, 1, 10_000, tied=False)
    first, second = process.next(np.zeros(0), 1.0).copy(), process.next(np.ones(1), 1.0)
    assert abs(np.mean(first * second)) < 4.5 / 100


# --- the reference factors ------------------------------------------------------------------------------------


@by_row
def test_factors_of_the_table(row, spec):
    """Both within 1%: the tied theory and the product of independent steps."""
    predicted = predict(spec)
    assert math.isclose(predicted.factor(10, 30), row[2], rel_tol=0.01)
    assert math.isclose(predicted.untied.factor(10, 30), row[3], rel_tol=0.01)
    assert predicted.window == (10, 30) and predicted.factor() == predicted.factor(10, 30)


def test_forward_signal_of_the_held_memory():
    """E h^2 with forget bias 3: 0.1236 tied, 0.0252 where weights and biases are drawn anew at each step."""
    predicted = predict(SPECS[4])
    assert math.isclose(math.exp(predicted.log_h[-1]), 0.1236, rel_tol=0.02)
    assert math.isclose(math.exp(predicted.untied.log_h[-1]), 0.0252, rel_tol=0.02)


def test_forget_bias_verdict():
    """Bias 3 explodes; the untied product says that it vanishes, and the verdict says so."""
    predicted = predict(SPECS[4])
    assert predicted.verdict.kind == "exploding" and predicted.untied.verdict.kind == "vanishing"
    assert "untied_wrong" in [d.message_id for d in predicted.verdict.details]
    assert "explode" in str(predicted.verdict) and "0.92" in str(predicted.verdict)
    assert [predict(SPECS[k]).verdict.kind for k in (0, 2, 5, 10)] == [
        "vanishing",
        "vanishing",
        "stable",
        "vanishing",
    ]
    measurement = gc.measure_cell(SPECS[4].replace(hidden_size=96, input_size=12), networks=4)
    assert measurement.verdict.kind == "exploding"


@pytest.mark.parametrize(
    ("law", "chi"),
    [
        (CellLaw(1.0, 1.0, 0.0), 0.3989),
        (CellLaw(4.0, 0.5, 0.0), 1.202),
        (CellLaw(2.25, 0.0, 0.0, initial=0.5), 1.139),
    ],
)
def test_plain_cell_follows_the_fully_connected_maps(law, chi):
    _, log_chi = fixed_point("tanh", law)
    assert abs(math.exp(log_chi) - chi) < 0.5 * 10.0 ** -(len(str(chi)) - 2)
    settled = maps("tanh", law, 40)
    assert math.isclose(math.exp((settled.log_v[9] - settled.log_v[29]) / 20), chi, rel_tol=1e-3)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_plain_cells_maps_against_its_particles(activation):
    """Two derivations of one limit: the quadrature's maps, and tied particles; the mean over seeds by Student's law."""
    law = CellLaw(1.2, 0.3, 0.05, initial=30.0)  # far from the fixed point: chi differs between the first and last step
    exact, seeds = maps(activation, law, 12), 8
    found = [curves(cell_of("rnn", activation), law, 12, seed, particles=5_000) for seed in range(seeds)]
    limit = student.isf(0.5 * FALSE_ALARM / 2, seeds - 1)
    for name, at in (("log_v", 0), ("log_h", -1)):
        values = np.array([getattr(f, name)[at] for f in found])
        assert abs(values.mean() - getattr(exact, name)[at]) < limit * values.std(ddof=1) / math.sqrt(seeds)


# --- closed forms of tied products ----------------------------------------------------------------------------


def test_skip_path_adds_up_coherently():
    assert abs(math.exp(log_skip_power(0.5, 0.144, 20)) - 3.43e-9) < 0.005e-9
    assert math.isclose((0.5**2 + 0.144**2) ** 20, 4.5e-12, rel_tol=0.01)
    slope = log_skip_power(0.5, 0.144, 4000) - log_skip_power(0.5, 0.144, 3999)
    assert math.isclose(slope, 2 * math.log(0.644), rel_tol=1e-3)
    assert log_skip_power(0.0, 0.0, 3) == -math.inf and log_skip_power(-2.0, 0.0, 3) == 6 * math.log(2)


def _powers(n, steps, networks, seed, skip=0.0, weight=1.0, imaginary=False):
    """(networks,) |(a I + b G)^k v|^2 of random matrices."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(networks):
        g = rng.standard_normal((n, n)) / math.sqrt(n)
        if imaginary:
            g = (g + 1j * rng.standard_normal((n, n)) / math.sqrt(n)) / math.sqrt(2)
        v = rng.standard_normal((n, 16)) / math.sqrt(n)
        for _ in range(steps):
            v = skip * v + weight * (g @ v)
        found.append(np.mean(np.sum(np.abs(v) ** 2, axis=0)))
    return np.array(found)


def test_skip_path_by_matrices():
    """n = 200, k = 10: order 1/n of the real matrices is at most that of the product without a skip path."""
    found = _powers(200, 10, 60, seed=0, skip=0.5, weight=0.144)
    plain = _powers(200, 10, 60, seed=1)
    exact = math.exp(log_skip_power(0.5, 0.144, 10))
    error = student.isf(0.5 * FALSE_ALARM, 59) * found.std(ddof=1) / math.sqrt(60)
    assert abs(found.mean() - exact) < error + exact * max(plain.mean() - 1, 0)
    assert exact > 5 * (0.5**2 + 0.144**2) ** 10  # what the check tells apart


def test_powers_of_complex_ginibre_matrices():
    """Exact mean at finite width; 1.20 for n = 50, k = 10, and 2 sqrt(n) steps as the horizon."""
    assert abs(math.exp(log_ginibre_power(50, 10)) - 1.20) < 0.005 and abs(log_ginibre_power(30, 0)) < 1e-12
    assert math.isclose(math.expm1(log_ginibre_power(10_000, 60)), 60**4 / (24 * 10_000**2), rel_tol=0.1)
    assert log_ginibre_power(3, 1000) > 0 and tied_horizon(100) == 20
    found = _powers(8, 6, 1500, seed=2, imaginary=True)
    exact = math.exp(log_ginibre_power(8, 6))
    assert abs(found.mean() - exact) < student.isf(0.5 * FALSE_ALARM, 1499) * found.std(ddof=1) / math.sqrt(1500)
    assert exact > 1.25


def test_real_matrices_grow_more():
    """n = 50, k = 10: about 1.40, above the complex value."""
    found = _powers(50, 10, 2000, seed=3)
    error = found.std(ddof=1) / math.sqrt(2000)
    assert abs(found.mean() - 1.40) < 2.6 * error and found.mean() - 2.6 * error > 1.20


# --- the answers as objects -----------------------------------------------------------------------------------


def test_seeds():
    spec = gc.CellSpec(steps=6)
    first, again, other = (gc.predict_cell(spec, seed=s) for s in (0, 0, 1))
    assert np.array_equal(first.log_v, again.log_v) and not np.array_equal(first.log_v, other.log_v)
    assert abs(first.log_v[-1]) < 1e-12
    before = torch.random.get_rng_state()
    gc.measure_cell(gc.CellSpec(hidden_size=4, steps=2), networks=1)
    assert torch.equal(before, torch.random.get_rng_state())


EXTREMES = [
    {"cell": "rnn", "weight_scale": 0},
    {"cell": "lstm", "weight_scale": 0},
    {"cell": "gru", "weight_scale": 0},
    {"cell": "rnn", "init": "normal", "input_rms": 0},
    {"cell": "gru", "init": "orthogonal", "input_rms": 0},
    {"cell": "rnn", "activation": "relu", "weight_scale": 1e6, "steps": 1000},
    {"cell": "lstm", "weight_scale": 1e6},
    {"cell": "gru", "input_rms": 1e6, "state_rms": 1e6},
    {"cell": "lstm", "forget_bias": -1000},
    {"cell": "gru", "update_bias": 1000},
    {"cell": "lstm", "steps": 2, "hidden_size": 10**9, "input_size": 1},
]


@pytest.mark.parametrize("changes", EXTREMES, ids=str)
def test_extremes_have_an_answer(changes):
    predicted = gc.predict_cell(gc.CellSpec(**{"steps": 8, **changes}))
    for values in (predicted.log_v, predicted.log_h, *predicted.gates.values(), *predicted.gate_spreads.values()):
        assert not np.isnan(values).any() and not np.isposinf(values).any()
    assert predicted.verdict.kind in KINDS and "{" not in str(predicted.verdict) and not math.isnan(predicted.factor())
    assert predicted.to_json()["spec"] == predicted.spec.to_json()


def test_a_broken_network_says_so():
    spec = gc.CellSpec(cell="rnn", activation="relu", init="normal", weight_scale=1e6, hidden_size=8, steps=100)
    found = gc.measure_cell(spec, networks=2)
    assert found.verdict.message.message_id == "cell_overflow" and found.verdict.kind == "exploding"


def test_finite_width_caveat_of_the_plain_cell():
    narrow, wide = (gc.predict_cell(gc.CellSpec(cell="rnn", hidden_size=n, steps=30)) for n in (64, 4096))
    assert [d.message_id for d in narrow.verdict.details] == ["tied_width_exceeded"]
    assert [d.message_id for d in wide.verdict.details] == ["tied_width"]
    assert narrow.horizon == 16 and narrow.untied is narrow


def test_kinds():
    """Within a factor 2 in RMS over all steps is stable."""
    assert kind_of(math.log(4) / 40 * 0.99, 40) == "stable" and kind_of(math.log(4) / 40 * 1.01, 40) == "exploding"
    assert kind_of(-math.log(4) / 40 * 1.01, 40) == "vanishing" and kind_of(-math.inf, 40) == "vanishing"


def test_bad_questions():
    profile = gc.predict_cell(gc.CellSpec(cell="rnn", steps=10))
    for call, field in (
        (lambda: gc.predict_cell(gc.Spec()), "spec"),
        (lambda: gc.predict_cell(gc.CellSpec(), seed=-1), "seed"),
        (lambda: gc.measure_cell("lstm"), "spec"),
        (lambda: gc.measure_cell(gc.CellSpec(), networks=0), "networks"),
        (lambda: gc.measure_cell(gc.CellSpec(), dtype="int8"), "dtype"),
        (lambda: gc.measure_cell(gc.CellSpec(), progress=3), "progress"),
        (lambda: profile.factor(0, 5), "start"),
        (lambda: profile.factor(5, 11), "stop"),
        (lambda: profile.factor(5, 5), "stop"),
        (lambda: log_ginibre_power(0, 5), "width"),
    ):
        with pytest.raises(gc.SpecError) as caught:
            call()
        assert caught.value.field == field
    with pytest.raises(gc.UnsupportedError):
        gc.measure_cell(gc.CellSpec(hidden_size=10**6), networks=1)
