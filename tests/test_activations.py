"""Contract of every entry of the activation table: its NumPy side, its torch side and all its claims agree."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from gradcore.activations import ACTIVATIONS, Activation, negative_slope_of
from gradcore.theory.gaussian import LOG_HIGH, LOG_LOW, moments_of

every_entry = pytest.mark.parametrize("entry", ACTIVATIONS.values(), ids=list(ACTIVATIONS))
SLOPES = (None, 0.0, 0.5, -0.25, 1.5)  # None: torch's default; the others are exact in float32, as nn.PReLU needs

# Relative to 1 + abs(h), by which torch itself deviates from the function it names: (value, derivative).
ROUNDING = (4e-15, 1e-14)
TORCH_QUIRKS = {
    "hardsigmoid": (4e-15, 6e-9),  # autograd's slope is 1/6 rounded to float32
    "softplus": (3e-9, 3e-9),  # the identity above threshold 20, where exp(-20) = 2.1e-9
}
BIG = np.concatenate([-np.logspace(6, 1, 40), np.logspace(1, 6, 40)])
NEAR = np.linspace(-10.0, 10.0, 20001)  # a step of 1e-3; kinks of the table lie on the grid


def slope_of(entry: Activation, slope: float | None = None) -> float:
    return negative_slope_of(entry.code, slope)


def grid_away_from_kinks(entry: Activation) -> np.ndarray:
    tiny = np.concatenate([-np.logspace(-12, -3, 19), np.logspace(-12, -3, 19)])
    h = np.unique(np.concatenate([BIG, NEAR, tiny, np.linspace(-40, 40, 1601)]))
    return h[np.all([np.abs(h - kink) > 1e-9 for kink in entry.kinks], axis=0)] if entry.kinks else h


def torch_sides(module: nn.Module, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Value and autograd derivative of torch's module in float64."""
    x = torch.tensor(h, dtype=torch.float64, requires_grad=True)
    y = module(x)
    assert y.dtype == torch.float64
    return y.detach().numpy(), torch.autograd.grad(y.sum(), x)[0].numpy()


def matches(entry: Activation, module: nn.Module, slope: float) -> None:
    h = grid_away_from_kinks(entry)
    value, derivative = torch_sides(module, h)
    for_value, for_derivative = TORCH_QUIRKS.get(entry.code, ROUNDING)
    np.testing.assert_array_less(np.abs(entry.value(h, slope) - value), for_value * (1 + np.abs(h)))
    np.testing.assert_array_less(np.abs(entry.derivative(h, slope) - derivative), for_derivative)


# --- NumPy against torch ------------------------------------------------------------------------------------


@every_entry
@pytest.mark.parametrize("slope", SLOPES)
def test_value_and_derivative_are_torchs(entry, slope):
    if slope is not None and entry.default_slope is None:
        h = NEAR
        assert np.array_equal(entry.value(h, slope), entry.value(h, 0.0)), "a slope it does not have changes it"
        assert np.array_equal(entry.derivative(h, slope), entry.derivative(h, 0.0))
        return
    a = slope_of(entry, slope)
    matches(entry, entry.torch_module(torch, a).double(), a)


@every_entry
def test_value_at_the_kinks_is_torchs(entry):
    h, a = np.array([0.0, *entry.kinks]), slope_of(entry)
    value, _ = torch_sides(entry.torch_module(torch, a).double(), h)
    np.testing.assert_allclose(entry.value(h, a), value, rtol=0, atol=TORCH_QUIRKS.get(entry.code, ROUNDING)[0])


@every_entry
def test_no_nan_and_no_warning_over_the_range_that_exact_maps_use(entry):
    """theory.signed_log evaluates at magnitudes up to exp(300); warnings are errors here."""
    far = np.exp(np.linspace(-300, 300, 61))
    h = np.concatenate([-far, [-0.0, 0.0], far])
    with np.errstate(all="warn", under="ignore"):
        assert np.isfinite(entry.value(h, slope_of(entry))).all()
        assert np.isfinite(entry.derivative(h, slope_of(entry))).all()


@every_entry
def test_derivative_is_that_of_the_value(entry):
    """Central differences of the NumPy value: independent of torch."""
    a, step = slope_of(entry), 1e-5
    h = np.linspace(-8.0, 8.0, 1601) + 1e-4 * math.pi
    difference = (entry.value(h + step, a) - entry.value(h - step, a)) / (2 * step)
    np.testing.assert_allclose(entry.derivative(h, a), difference, rtol=0, atol=2e-9)


@every_entry
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3)])
def test_shapes_pass_through_and_the_input_is_kept(entry, shape):
    h = np.full(shape, 0.5)
    for function in (entry.value, entry.derivative):
        assert np.shape(function(h, slope_of(entry))) == shape
    assert np.array_equal(h, np.full(shape, 0.5))


@every_entry
@pytest.mark.parametrize("slope", [None, 0.5])
def test_torch_code_is_the_same_function(entry, slope):
    a = slope_of(entry, slope)
    module = eval(entry.torch_code.format(slope=a), {"nn": nn, "torch": torch})
    matches(entry, module.double() if isinstance(module, nn.Module) else module, a)
    if isinstance(module, nn.Module):
        assert type(module) is type(entry.torch_module(torch, a))


# --- claims -------------------------------------------------------------------------------------------------


@every_entry
def test_kinks_are_where_the_first_or_second_derivative_jumps_and_nowhere_else(entry):
    if entry.oscillates:
        assert not entry.kinks
    a, step = slope_of(entry), NEAR[1] - NEAR[0]
    first = entry.derivative(NEAR, a)
    second = np.diff(first) / step
    # smooth entries of the table have third derivatives below 5: a genuine jump is hundreds of times more
    jumps = np.abs(np.diff(second)) > 20 * step
    found = NEAR[1:-1][jumps]
    for kink in entry.kinks:
        assert np.any(np.abs(found - kink) < 1.5 * step), f"nothing jumps at {kink}"
    for h in found:
        assert any(abs(h - kink) < 2.5 * step for kink in entry.kinks), f"an undeclared kink at {h}"


@every_entry
def test_flat_intervals_are_exactly_the_zeros_of_the_derivative(entry):
    a = slope_of(entry)
    h = np.concatenate([BIG[np.abs(BIG) > 10], NEAR]) + 1e-4 * math.pi
    inside = np.zeros(h.shape, dtype=bool)
    for low, high in entry.flat:
        assert low < high and {low, high} <= {-math.inf, math.inf, *entry.kinks}
        inside |= (h > low) & (h < high)
    slopes = entry.derivative(h, a)
    assert np.all(slopes[inside] == 0.0)
    assert np.all(slopes[~inside & (np.abs(h) < 10)] != 0.0)


@every_entry
@pytest.mark.parametrize("slope", SLOPES)
def test_tails_and_limits(entry, slope):
    a = slope_of(entry, slope if entry.default_slope is not None else None)
    if entry.oscillates:
        turns = np.diff(np.sign(entry.derivative(np.linspace(500, 1000, 5001), a)))
        assert np.count_nonzero(turns) > 100
        return
    for end, tail, limit in zip((-1e6, 1e6), entry.tails(a), entry.limits, strict=True):
        assert float(entry.derivative(np.array(end), a)) == pytest.approx(tail, abs=2e-12)
        assert np.count_nonzero(np.diff(np.sign(entry.derivative(np.linspace(end, end / 2, 999), a)))) == 0
        if tail == 0.0:
            assert float(entry.value(np.array(end), a)) == pytest.approx(limit, abs=2e-6)


@every_entry
def test_odd_homogeneous_and_linear_are_said_of_those_that_are(entry):
    a = slope_of(entry)
    h = np.concatenate([NEAR, BIG])
    value = entry.value(h, a)
    assert entry.odd == bool(np.allclose(entry.value(-h, a), -value, rtol=1e-14, atol=1e-14))
    scaled = entry.value(3.0 * h, a)
    assert entry.homogeneous == bool(np.allclose(scaled, 3.0 * value, rtol=1e-14, atol=1e-14))
    assert entry.is_linear == bool(np.array_equal(value, h))


@every_entry
def test_default_slope_is_torchs(entry):
    if entry.default_slope is None:
        assert "{slope}" not in entry.torch_code
        return
    plain = eval(entry.torch_code.partition("(")[0] + "()", {"nn": nn})  # torch's own default
    assert plain(torch.tensor([-1.0])).item() == pytest.approx(-entry.default_slope, rel=1e-7)
    assert negative_slope_of(entry.code, None) == entry.default_slope
    assert negative_slope_of(entry.code, 0.3) == 0.3


@every_entry
def test_torch_gain_is_calculate_gain(entry):
    if entry.torch_gain is None:
        with pytest.raises(ValueError, match="nonlinearity"):
            nn.init.calculate_gain(entry.code)
        return
    slopes = (slope_of(entry), 0.3, -2.0) if entry.default_slope is not None else (0.0,)
    for a in slopes:
        parameter = a if entry.default_slope is not None else None
        assert entry.torch_gain(a) == pytest.approx(nn.init.calculate_gain(entry.code, parameter), rel=1e-15)


# --- closed moments -----------------------------------------------------------------------------------------

CLOSED = [code for code, entry in ACTIVATIONS.items() if entry.closed is not None]


def by_trapezoid(entry: Activation, q: float) -> list[float]:
    """(E phi, E phi^2, E phi'^2) by the trapezoid rule, spectrally accurate for smooth functions and s <= 100."""
    z = np.linspace(-13.0, 13.0, 400_001)
    weight = np.exp(-0.5 * z * z)
    weight /= weight.sum()
    value, slope = entry.value(math.sqrt(q) * z, 0.0), entry.derivative(math.sqrt(q) * z, 0.0)
    return [float(weight @ f) for f in (value, value * value, slope * slope)]


@pytest.mark.parametrize("code", CLOSED)
@pytest.mark.parametrize("q", [1e-8, 1e-3, 0.1, 1.0, 7.0, 1e2, 1e4])
def test_closed_moments_are_the_integrals(code, q):
    entry = ACTIVATIONS[code]
    np.testing.assert_allclose(entry.closed(np.float64(q)), by_trapezoid(entry, q), rtol=2e-12, atol=1e-15)


@pytest.mark.parametrize("code", CLOSED)
def test_closed_moments_are_the_quadrature(code):
    entry = ACTIVATIONS[code]
    log_q = np.linspace(LOG_LOW, LOG_HIGH, 241)
    table = moments_of(code).expectations(log_q)
    mean, second, slope_second = entry.closed(np.exp(log_q))
    np.testing.assert_allclose(second, table["second"], rtol=1e-11)
    np.testing.assert_allclose(slope_second, table["slope_second"], rtol=1e-11)
    np.testing.assert_array_less(np.abs(mean - table["mean"]), 1e-11 * np.abs(mean) + 1e-14 * np.sqrt(second) + 1e-300)


# --- the table itself ---------------------------------------------------------------------------------------


@every_entry
def test_entry_is_complete(entry):
    for text in (entry.latex, entry.source, entry.note, entry.torch_code):
        assert text.strip()
    assert ACTIVATIONS[entry.code] is entry
    assert entry.code.isidentifier() and entry.code == entry.code.lower()
    assert entry.latex.count("{") == entry.latex.count("}")
    assert list(entry.kinks) == sorted(set(entry.kinks))


def test_closed_and_quirks_name_entries_of_the_table():
    assert CLOSED
    assert set(TORCH_QUIRKS) <= set(ACTIVATIONS)
