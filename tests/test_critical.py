"""Critical points and gains: the known figures, and the resolution of gain="auto" and "critical"."""

from __future__ import annotations

import math

import pytest

import gradcore as gc
from gradcore.activations import ACTIVATIONS


@pytest.mark.parametrize(
    ("bias2", "sigma_w", "q"), [(0.01, 1.19340, 0.27330), (0.05, 1.32701, 0.57005), (0.25, 1.54967, 1.31794)]
)
def test_tanh_critical_line(bias2: float, sigma_w: float, q: float) -> None:
    (point,) = gc.critical_points("tanh", math.sqrt(bias2))
    assert point.sigma_w == pytest.approx(sigma_w, abs=1e-5)
    assert point.q == pytest.approx(q, abs=1e-5)
    assert point.stable


@pytest.mark.parametrize(
    ("activation", "sigma_w"),
    [("relu", math.sqrt(2)), ("linear", 1.0), ("tanh", 1.0), ("selu", 0.69049), ("elu", 1.0), ("sigmoid", 10.14926)],
)
def test_bias_free_critical_gain(activation: str, sigma_w: float) -> None:
    assert gc.critical_gain(activation) == pytest.approx(sigma_w, abs=1e-5)


@pytest.mark.parametrize("activation", ["gelu", "silu", "mish", "hardswish"])
def test_fixed_points_of_the_gelu_family_are_unstable(activation: str) -> None:
    (point,) = gc.critical_points(activation, math.sqrt(0.05))
    assert point.chi_parallel > 1.0 and not point.stable
    (trivial,) = gc.critical_points(activation, 0.0)
    assert trivial.q == 0.0 and not trivial.stable


def test_gelu_point_of_the_sheet() -> None:
    (point,) = gc.critical_points("gelu", math.sqrt(0.05))
    assert (point.sigma_w, point.q, point.chi_parallel) == pytest.approx((1.5174, 0.7220, 1.085), abs=1e-3)


def test_softplus_has_none() -> None:
    with pytest.raises(gc.SpecError, match="softplus") as error:
        gc.critical_gain("softplus")
    assert error.value.field == "gain" and error.value.hint
    with pytest.raises(gc.SpecError):
        gc.predict(gc.Spec(activation="softplus", gain="critical"))


@pytest.mark.parametrize("activation", [a for a in ACTIVATIONS if a != "softplus"])
@pytest.mark.parametrize("bias", [0.0, 0.2])
def test_chi_is_one_at_every_critical_point(activation: str, bias: float) -> None:
    """Independent check: a deep profile started at q* stays there and has chi = 1 (homogeneous: at any q)."""
    for point in gc.critical_points(activation, bias):
        if not 0.0 < point.q < math.inf:
            continue
        # layer 1 is linear in the input: choose the rms that puts q^1 at q*
        rms = math.sqrt((point.q - bias**2) / point.sigma_w**2)
        spec = gc.Spec(
            depth=2, activation=activation, init="lecun_normal", gain=point.sigma_w, bias_std=bias, input_rms=rms
        )
        profile = gc.predict(spec)
        assert profile.chi[0] == pytest.approx(1.0, abs=1e-9)
        if not ACTIVATIONS[activation].homogeneous:
            assert math.exp(profile.log_q[1]) == pytest.approx(point.q, rel=1e-8)


def test_exact_gains() -> None:
    """1/sqrt(E phi(Z)^2) beside torch's calculate_gain."""
    known = {"tanh": 1.59254, "sigmoid": 1.84623, "gelu": 1.53353, "silu": 1.67653, "softsign": 2.33753, "selu": 1.0}
    for activation, gain in known.items():
        assert gc.exact_gain(activation) == pytest.approx(gain, abs=1e-5)


def test_gain_auto_says_where_it_comes_from() -> None:
    tanh, gelu = (gc.predict(gc.Spec(activation=a, gain="auto", depth=3)) for a in ("tanh", "gelu"))
    assert tanh.sigma_w[-1] == pytest.approx(5 / 3) and "calculate_gain" in tanh.gain_origin
    assert gelu.sigma_w[-1] == pytest.approx(gc.exact_gain("gelu")) and "exact" in gelu.gain_origin


def test_five_thirds_is_not_critical_for_tanh() -> None:
    """q* = 1.17848 and the gradient's second moment grows 1.20983 a layer."""
    profile = gc.predict(gc.Spec(depth=200, activation="tanh", gain=5 / 3))
    assert math.exp(profile.log_q[-1]) == pytest.approx(1.17848, abs=1e-5)
    assert profile.chi[-1] == pytest.approx(1.20983, abs=1e-5)
    deep = gc.predict(gc.Spec(depth=200, activation="tanh", gain="critical"))
    assert deep.chi[-1] < 1.0 < profile.chi[-1]
