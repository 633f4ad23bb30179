"""Prediction against measurement over the whole grid of tables.

z = ln(mean over networks) - prediction, in standard errors of the measured mean (scatter between networks) and the
allowance that theory states for the width (``gradcore.compare``): zero where the mean is exact at any width, second
order in depth/width where the first is predicted, first order (2/width a layer) elsewhere. At width 1024
(marker slow) every allowance is a quarter of that at 256.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

import gradcore as gc
from gradcore.compare import Comparison
from tests.grid import grid

DEPTH = 8
QUANTITIES = ("log_q", "log_g", "log_dw", "log_db")


def _run(specs: list[gc.Spec], networks: int) -> list[Comparison]:
    """Each Spec with seeds of its own: common random numbers would make all z's one draw."""
    return [gc.compare(gc.predict(s), gc.measure(s, networks=networks, seed=1000 + i)) for i, s in enumerate(specs)]


def _check(comparisons: list[Comparison]) -> None:
    middles, failures = [], []
    for c in comparisons:
        for name in QUANTITIES:
            layer, z = c.worst(name)
            # worst of 8 correlated layers, Student t of 31 (15) degrees: 5 happens once in some 2,000 such maxima
            if abs(z) > 5.0:
                failures.append(f"{name} layer {layer}: z = {z:.1f} for {gc.to_json(c.predicted.spec)}")
            if np.isfinite(c.z[name][DEPTH // 2]):
                middles.append(c.z[name][DEPTH // 2])
    assert not failures, "\n".join(failures)
    # four quantities of one Spec move together: count one of them as independent. Mean of z^2 is at most 1 plus
    # 4 of its standard deviations sqrt(2 / N); allowances only make it smaller.
    independent = len(comparisons)
    assert np.mean(np.square(middles)) < 1.0 + 4.0 * math.sqrt(2.0 / independent)
    assert abs(np.mean(middles)) < 0.2 + 4.0 / math.sqrt(independent)


def test_grid_touches_every_table_entry() -> None:
    from gradcore.fields import FIELDS, LOSSES

    specs = grid(256, DEPTH)
    for name in ("activation", "init", "norm", "norm_position"):
        assert {getattr(s, name) for s in specs} == set(FIELDS[name].choices)
    assert {s.loss for s in specs} == set(LOSSES)
    assert {s.residual for s in specs} == set(FIELDS["residual"].choices)
    assert {s.input for s in specs} == {"gaussian", "digits"}


def test_grid_agrees_at_width_256() -> None:
    _check(_run(grid(256, DEPTH), networks=32))


@pytest.mark.slow
def test_grid_agrees_at_width_1024() -> None:
    _check(_run(grid(1024, DEPTH), networks=16))


def test_exact_means_are_consistent_with_chance() -> None:
    """Bias-free homogeneous nets with independent cotangents: no allowance at all, so z^2 must average 1, not less."""
    specs = [
        gc.Spec(width=256, depth=DEPTH, activation=a, init=i, gain=math.sqrt(2) if a == "relu" else 1.0, batch_size=4)
        for a in ("relu", "linear", "leaky_relu", "prelu")
        for i in ("xavier_normal", "kaiming_uniform", "lecun_normal", "orthogonal", "xavier_uniform")
    ]
    z = []
    for c in _run(specs, networks=64):
        assert np.all(c.allowance["log_g"] < 1e-6)
        orthogonal_linear = c.predicted.spec.init == "orthogonal" and c.predicted.spec.activation == "linear"
        if not orthogonal_linear:  # an isometry: nothing scatters but the input
            z += [c.z["log_q"][DEPTH // 2], c.z["log_g"][DEPTH // 2]]
    mean = np.mean(np.square(z))
    assert abs(mean - 1.0) < 4.0 * math.sqrt(2.0 / len(z)) + 0.1


def test_a_wrong_formula_would_be_caught() -> None:
    """The test can fail: a gain 3% off (6% a layer in the second moment) is far outside."""
    spec = gc.Spec(width=256, depth=DEPTH, gain=math.sqrt(2))
    measured = gc.measure(spec, networks=32, seed=5)
    wrong = gc.predict(spec.replace(gain=1.03 * math.sqrt(2)))
    gap = (measured.mean("log_g") - wrong.mean("log_g"))[0] / measured.standard_error("log_g")[0]
    assert abs(gap) > 5.0


def test_correlation_saturated_and_dead_shares() -> None:
    """Shares and correlations of 32 networks against prediction: scatter between networks plus 4/width."""
    for spec in grid(256, DEPTH)[::3]:
        if spec.init in ("constant", "eye"):
            continue
        profile, measured = gc.predict(spec), gc.measure(spec, networks=32, seed=77)
        for name in ("correlation", "saturated", "dead"):
            values = getattr(measured, name)
            error = values.std(axis=0, ddof=1) / math.sqrt(32)
            gap = np.abs(values.mean(axis=0) - getattr(profile, name))
            assert np.all(gap < 4 * error + 2.0 * DEPTH / 256), (name, gc.to_json(spec), gap, error)


@pytest.mark.parametrize(("norm", "factor"), [("layer", 10 / 9), ("rms", 11 / 10)])
def test_normed_linear_nets_of_finite_width(norm: str, factor: float) -> None:
    """n = 12: (n-2)/(n-3) and (n-1)/(n-2) from layer 3 to 2, whose input has a fixed length (Gaussian inputs do not,
    which puts n/(n-2) into the first factor); both lie more than the limit of 4 standard errors above 1."""
    spec = gc.Spec(depth=3, width=12, activation="linear", init="lecun_normal", norm=norm, norm_eps=1e-12)
    mean_square = np.exp(gc.measure(spec, networks=200, seed=1).log_g)
    values = mean_square[:, 1] / mean_square[:, 2]
    error = values.std(ddof=1) / math.sqrt(200)
    assert abs(values.mean() - factor) < 4.0 * error
    assert values.mean() - 1.0 > 4.0 * error
