"""The critical line of every activation: known figures, chi = 1 along it, its stability, and why there is none."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gradcore as gc
from gradcore.activations import ACTIVATIONS
from gradcore.theory.critical_curve import critical_curve

NON_HOMOGENEOUS = [code for code, entry in ACTIVATIONS.items() if not entry.homogeneous]


def test_tanh() -> None:
    ((sigma_w, stable),) = gc.critical_line("tanh").crossings("sigma_b", math.sqrt(0.05))
    assert sigma_w**2 == pytest.approx(1.76095464, abs=1e-8) and stable
    line = gc.critical_line("tanh")
    assert line.message_id == "line" and line.stable.all()
    assert (line.sigma_w[0], line.sigma_b[0]) == pytest.approx((1.0, 0.0), abs=1e-9)


@pytest.mark.parametrize(
    ("activation", "least", "unstable_below"),
    [("gelu", 1.3985, 3.56155), ("silu", 1.4025, 14.3202), ("mish", 1.392, 1.67017), ("hardswish", 1.371, 4.80386)],
)
def test_lines_that_are_unstable_at_first(activation: str, least: float, unstable_below: float) -> None:
    line = gc.critical_line(activation)
    assert line.message_id == "partly_unstable"
    assert line.least_sigma_w == pytest.approx(least, abs=5e-4) and line.least_sigma_w < math.sqrt(2.0)
    ((low, high),) = line.stable_q
    assert low == pytest.approx(unstable_below, rel=1e-5) and high == math.inf
    assert line.values["q"] == low and f"{low:.3g}" in line.sentence
    assert line.pieces == ((0.0, math.inf),)


@pytest.mark.parametrize(
    ("activation", "sigma_w", "q"), [("sigmoid", 10.1493, 45.624), ("hardsigmoid", 10.3295, 47.274)]
)
def test_lines_that_start_late(activation: str, sigma_w: float, q: float) -> None:
    line = gc.critical_line(activation)
    assert line.message_id == "starts_late" and line.least_sigma_w == pytest.approx(sigma_w, abs=1e-4)
    assert line.pieces[0][0] == pytest.approx(q, abs=1e-3)
    assert line.sigma_b[0] == 0.0 and line.crossings("sigma_w", 9.0) == []


def test_softplus_has_none() -> None:
    line = gc.critical_line("softplus")
    assert not line.exists and line.message_id == "none_negative_bias" and line.values["share"] < 0.0
    assert math.isnan(line.least_sigma_w) and "softplus" in line.sentence
    assert line.crossings("sigma_b", 0.1) == [] == line.crossings("sigma_w", 2.0)


@pytest.mark.parametrize(("activation", "sigma_w"), [("relu", math.sqrt(2.0)), ("linear", 1.0)])
def test_homogeneous_ones_only_without_bias(activation: str, sigma_w: float) -> None:
    line = gc.critical_line(activation)
    assert line.message_id == "bias_free_only"
    assert line.crossings("sigma_b", 0.0) == [(pytest.approx(sigma_w), True)]
    assert line.crossings("sigma_b", 0.3) == [(pytest.approx(sigma_w), False)], "no fixed point holds q"
    assert line.crossings("sigma_w", 1.7) == []


def test_a_flat_activation_has_none() -> None:
    assert gc.critical_line("leaky_relu", negative_slope=-1.0).exists
    assert gc.critical_line("prelu", negative_slope=0.5).sigma_w[0] == pytest.approx(math.sqrt(2 / 1.25))


@pytest.mark.parametrize("activation", NON_HOMOGENEOUS)
def test_every_point_is_critical_and_its_stability_is_that_of_the_map(activation: str) -> None:
    """By the profile: from q* the signal stays and chi = 1; a nearby one comes back exactly where it is stable."""
    line = gc.critical_line(activation)
    if not line.exists:
        return
    inside = np.flatnonzero((line.q > 1e-2) & (line.q < 900.0) & (line.sigma_b > 1e-3))
    for i in inside[:: max(1, inside.size // 4)]:
        sigma_w, sigma_b, q = float(line.sigma_w[i]), float(line.sigma_b[i]), float(line.q[i])
        fields = {"depth": 2, "activation": activation, "init": "lecun_normal", "gain": sigma_w, "bias_std": sigma_b}
        start = [math.sqrt(q * factor - sigma_b**2) / sigma_w for factor in (1.0, 1.0001)]
        at, near = (gc.predict(gc.Spec(**fields, input_rms=rms)) for rms in start)
        assert at.chi[0] == pytest.approx(1.0, abs=1e-9)
        assert math.exp(at.log_q[1]) == pytest.approx(q, rel=1e-9)
        if abs(line.chi_parallel[i] - 1.0) > 1e-3:
            comes_back = near.log_q[1] - at.log_q[1] < near.log_q[0] - at.log_q[0]
            assert comes_back == line.stable[i]


@pytest.mark.parametrize("activation", NON_HOMOGENEOUS)
@pytest.mark.parametrize("bias", [0.1, 0.7])
def test_crossings_are_the_critical_points(activation: str, bias: float) -> None:
    points = gc.critical_points(activation, bias)
    crossings = gc.critical_line(activation).crossings("sigma_b", bias)
    assert [x for x, _ in crossings] == pytest.approx([p.sigma_w for p in points], rel=1e-9)
    for (sigma_w, _), point in zip(crossings, points, strict=True):
        back = gc.critical_line(activation).crossings("sigma_w", sigma_w)
        assert min(abs(b - point.sigma_b) for b, _ in back) < 1e-6


def test_bad_questions_are_named() -> None:
    for call, field in (
        (lambda: gc.critical_line("tanhh"), "activation"),
        (lambda: gc.critical_line("prelu", negative_slope="x"), "negative_slope"),
        (lambda: gc.critical_line("tanh").crossings("q", 1.0), "of"),
    ):
        with pytest.raises(gc.SpecError) as error:
            call()
        assert error.value.field == field


# --- on the axes of a map ------------------------------------------------------------------------------------

GAINS, BIASES, DEPTHS = np.linspace(0.1, 4.0, 40), np.linspace(0.0, 2.0, 21), np.arange(2.0, 101.0, 2.0)


@pytest.mark.parametrize("init", ["xavier_normal", "kaiming_normal", "normal", "linear_default"])
def test_gain_and_bias(init: str) -> None:
    """The line in gains is critical too: checked through the Spec's own law."""
    spec = gc.Spec(activation="tanh", init=init, width=64)
    curve = critical_curve(spec, ("gain", np.linspace(0.01, 100.0, 9)), ("bias_std", BIASES))
    ((gains, biases, stable),) = curve.pieces
    assert stable
    for i in range(10, gains.size, gains.size // 5):
        deep = gc.predict(spec.replace(depth=400, gain=float(gains[i]), bias_std=float(biases[i]), input_rms=0.5))
        assert deep.chi[-1] == pytest.approx(1.0, abs=2e-2 if biases[i] < 1e-3 else 1e-6)


def test_other_axes() -> None:
    spec = gc.Spec(activation="tanh", bias_std=0.2236068)
    ((x, y, stable),) = critical_curve(spec, ("gain", GAINS), ("depth", DEPTHS)).pieces
    assert stable and x == pytest.approx(1.32701, abs=1e-5) and y.tolist() == DEPTHS.tolist()
    ((x, y, _),) = critical_curve(spec, ("depth", DEPTHS), ("gain", GAINS)).pieces
    assert y == pytest.approx(1.32701, abs=1e-5)
    ((x, y, _),) = critical_curve(spec.replace(gain=1.32701), ("depth", DEPTHS), ("bias_std", BIASES)).pieces
    assert y == pytest.approx(0.2236, abs=1e-4)
    prelu = gc.Spec(activation="prelu", init="lecun_normal")
    ((x, y, _),) = critical_curve(prelu, ("gain", GAINS), ("negative_slope", BIASES)).pieces
    assert x == pytest.approx(np.sqrt(2 / (1 + y**2)))


@pytest.mark.parametrize(
    ("fields", "axes", "message"),
    [
        ({"activation": "softplus"}, ("gain", "bias_std"), "none_negative_bias"),
        ({"activation": "tanh"}, ("depth", "width"), "not_on_these_axes"),
        ({"activation": "tanh", "norm": "layer"}, ("gain", "bias_std"), "other_map"),
        ({"activation": "tanh", "residual": "identity"}, ("gain", "bias_std"), "other_map"),
        ({"activation": "tanh", "gain": "critical"}, ("depth", "bias_std"), "everywhere"),
        ({"activation": "sigmoid"}, ("gain", "bias_std"), "starts_late"),
        ({"activation": "erf", "init": "normal"}, ("gain", "bias_std"), "out_of_sight"),
    ],
)
def test_why_there_is_none(fields: dict, axes: tuple[str, str], message: str) -> None:
    low = np.linspace(1.0, 4.0, 20)
    curve = critical_curve(gc.Spec(**fields), (axes[0], low), (axes[1], low))
    assert curve.pieces == () and curve.message_id == message
    assert "{" not in curve.sentence
