"""Fixed points of the variance map: they are fixed, their slopes are the map's, and known figures."""

from __future__ import annotations

import math

import pytest

import gradcore as gc
from gradcore.activations import ACTIVATIONS
from gradcore.theory.fixed_points import variance_fixed_points


def one_step(activation: str, sigma_w: float, sigma_b: float, q: float) -> float:
    """q of layer 2 when that of layer 1 is q, by the profile itself."""
    rms = math.sqrt(max(q - sigma_b**2, 0.0)) / sigma_w
    spec = gc.Spec(
        depth=2, activation=activation, init="lecun_normal", gain=sigma_w, bias_std=sigma_b, input_rms=max(rms, 1e-30)
    )
    return math.exp(gc.predict(spec).log_q[1])


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("sigma_w", "sigma_b"), [(0.8, 0.3), (1.5, 0.1), (2.5, 0.5)])
def test_the_map_returns_what_it_is_given(activation: str, sigma_w: float, sigma_b: float) -> None:
    for point in variance_fixed_points(activation, sigma_w, sigma_b):
        if point.q < sigma_b**2 * (1 + 1e-12):
            continue  # reached from no input
        assert one_step(activation, sigma_w, sigma_b, point.q) == pytest.approx(point.q, rel=1e-10)
        step = 1e-4 * point.q
        if point.q - step > sigma_b**2:
            slope = one_step(activation, sigma_w, sigma_b, point.q + step)
            slope -= one_step(activation, sigma_w, sigma_b, point.q - step)
            assert slope / (2 * step) == pytest.approx(point.chi_parallel, rel=1e-4, abs=1e-6)


def test_tanh_at_five_thirds() -> None:
    (point,) = variance_fixed_points("tanh", 5 / 3)
    assert point.q == pytest.approx(1.1785, abs=1e-4) and point.chi == pytest.approx(1.2098, abs=1e-4)
    assert point.stable


def test_gelu_at_its_exact_gain_is_unstable() -> None:
    points = variance_fixed_points("gelu", gc.exact_gain("gelu") * 1.0)
    unstable = [point for point in points if not point.stable]
    assert len(unstable) == 1 and unstable[0].chi_parallel > 1.0


def test_homogeneous_and_weightless_maps_have_none() -> None:
    assert variance_fixed_points("relu", 1.3) == () == variance_fixed_points("tanh", 0.0)


# --- correlations, depth scales, the public function ---------------------------------------------------------


@pytest.mark.parametrize(
    ("sigma_w", "q", "chi"), [(1.3, 0.607047, 0.939807), (2.5, 4.079124, 1.585225), (4.0, 12.604149, 2.367261)]
)
def test_tanh_with_a_bias(sigma_w: float, q: float, chi: float) -> None:
    (point,) = gc.fixed_points("tanh", sigma_w, 0.3)
    assert (point.q, point.chi) == pytest.approx((q, chi), abs=1e-6)
    assert point.stable and point.ordered == (chi < 1.0)


def test_all_figures_of_one_chaotic_network() -> None:
    (point,) = gc.fixed_points("tanh", 1.5, math.sqrt(0.05))
    found = (point.q, point.chi, point.chi_parallel, point.c, point.chi_c)
    assert found == pytest.approx((0.88942, 1.09234, 0.45586, 0.56722, 0.93599), abs=1e-5)
    assert point.xi_c == pytest.approx(15.117, abs=1e-3)
    assert point.xi_q == pytest.approx(-1.0 / math.log(0.45586), rel=1e-4)


@pytest.mark.parametrize("activation", ["tanh", "erf", "sin", "hardtanh", "softsign", "selu"])
def test_the_correlation_of_a_deep_chaotic_network_settles_at_c(activation: str) -> None:
    """c* by the profile's own recursion; the last step towards it shrinks by chi_c."""
    (point,) = gc.fixed_points(activation, {"selu": 1.1, "softsign": 3.0}.get(activation, 1.9), 0.3)
    assert point.chi > 1.0 and point.c is not None and point.chi_c is not None
    rms = math.sqrt(point.q - 0.3**2) / point.sigma_w
    spec = gc.Spec(
        depth=400,
        activation=activation,
        init="lecun_normal",
        gain=point.sigma_w,
        bias_std=0.3,
        input_rms=rms,
        batch_size=2,
        input_correlation=min(point.c + 0.2, 0.95),
    )
    away = gc.predict(spec).correlation - point.c
    assert abs(away[-1]) < max(1e-9, 2.0 * abs(away[0]) * point.chi_c**399)
    step = next(i for i in range(400) if abs(away[i]) < 1e-4)
    assert away[step + 1] / away[step] == pytest.approx(point.chi_c, rel=2e-3)


def test_ordered_networks_end_at_one() -> None:
    (point,) = gc.fixed_points("tanh", 1.2, 0.5)
    assert point.c == 1.0 and point.chi_c == point.chi
    assert point.xi_c == -1.0 / math.log(point.chi)


def test_no_bias_and_an_odd_activation_decorrelate() -> None:
    zero, point = gc.fixed_points("tanh", 2.0)
    assert zero.q == 0.0 and zero.chi == zero.chi_parallel == 4.0 and not zero.stable
    assert zero.c is None and zero.chi_c is None and zero.xi_c is None
    assert zero.xi_q == -1.0 / math.log(4.0), "negative: it grows"
    assert point.stable and point.c == 0.0


def test_homogeneous_activations() -> None:
    (point,) = gc.fixed_points("relu", 1.2, 0.5)
    assert point.q == pytest.approx(0.25 / (1 - 0.72)) and point.chi == pytest.approx(0.72)
    assert gc.fixed_points("relu", 1.5, 0.5) == ()
    (zero,) = gc.fixed_points("relu", math.sqrt(2.0))
    assert zero.q == 0.0 and zero.chi == pytest.approx(1.0)


@pytest.mark.parametrize(("sigma_w", "sigma_b"), [(0.5, 1e-9), (1e8, 0.1), (0.9, 1e7)])
def test_fixed_points_far_from_one(sigma_w: float, sigma_b: float) -> None:
    (point,) = gc.fixed_points("tanh", sigma_w, sigma_b)
    assert one_step("tanh", sigma_w, sigma_b, point.q) == pytest.approx(point.q, rel=1e-9)


def test_weightless_networks_have_the_bias() -> None:
    (point,) = gc.fixed_points("tanh", 0.0, 0.5)
    assert (point.q, point.chi, point.chi_parallel, point.xi_q) == (0.25, 0.0, 0.0, 0.0)


def test_a_spec_is_taken_by_its_last_layer() -> None:
    spec = gc.Spec(activation="tanh", init="xavier_normal", width=64, input_width=3, gain=1.5, bias_std=math.sqrt(0.05))
    assert gc.fixed_points(spec)[0].q == pytest.approx(0.88942, abs=1e-5)


@pytest.mark.parametrize("change", [{"norm": "layer"}, {"residual": "identity"}, {"init": "eye"}, {"init": "constant"}])
def test_other_maps_are_refused(change: dict[str, str]) -> None:
    with pytest.raises(gc.UnsupportedError, match=next(iter(change.values()))):
        gc.fixed_points(gc.Spec(activation="tanh", **change))


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("tanhh", 1.0), "activation"),
        (("tanh",), "sigma_w"),
        (("tanh", -1.0), "sigma_w"),
        (("tanh", "critical"), "sigma_w"),
        (("tanh", math.nan), "sigma_w"),
        (("tanh", 1.0, math.inf), "sigma_b"),
        ((gc.Spec(), 1.0), "sigma_w"),
    ],
)
def test_bad_questions_are_named(arguments: tuple, field: str) -> None:
    with pytest.raises(gc.SpecError) as error:
        gc.fixed_points(*arguments)
    assert error.value.field == field


# --- the correlation map -------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["tanh", "gelu", "hardtanh", "selu", "relu", "erf", "sin", "softplus"])
def test_correlation_map_against_the_pair_rule(activation: str) -> None:
    """The table against one direct integral a correlation."""
    import numpy as np

    from gradcore.activations import negative_slope_of
    from gradcore.theory.correlation import VALUE, pair_ratios
    from gradcore.theory.gaussian import moments_of

    found = gc.correlation_map(activation, 1.1, 0.3, c=[-0.7, -0.1, 0.3, 0.85, 0.999, 1.0])
    moments = moments_of(activation, negative_slope_of(activation, None))
    bias = 0.09 / found.point.q
    ratios = [pair_ratios(moments, (VALUE,), math.log(found.point.q), np.array([c]))[0][0] for c in found.c]
    assert found.mapped == pytest.approx((1.0 - bias) * np.array(ratios) + bias, abs=1e-9)
    assert found.mapped[-1] == pytest.approx(1.0, abs=1e-12)


def test_paths_tend_to_the_fixed_point() -> None:
    found = gc.correlation_map("tanh", 1.5, math.sqrt(0.05), starts=[0.0, 0.9], depth=400)
    assert found.paths.shape == (2, 400) and found.point.c == pytest.approx(0.56722, abs=1e-5)
    assert found.paths[:, -1] == pytest.approx(found.point.c, abs=1e-9)
    assert found.paths[:, 0].tolist() == [0.0, 0.9]


def test_a_bias_free_relu_has_the_arc_cosine_map_at_any_gain() -> None:
    found = gc.correlation_map("relu", 0.3, c=[0.0, 0.5])
    assert found.mapped == pytest.approx([1 / math.pi, (math.sqrt(0.75) + 0.5 * (math.pi - math.acos(0.5))) / math.pi])


def test_correlation_map_refuses() -> None:
    with pytest.raises(gc.UnsupportedError, match="dies out"):
        gc.correlation_map("tanh", 0.5)
    for name, options in (("c", {"c": [2.0]}), ("starts", {"starts": []}), ("depth", {"depth": 0})):
        with pytest.raises(gc.SpecError) as error:
            gc.correlation_map("tanh", 1.5, 0.1, **options)
        assert error.value.field == name
