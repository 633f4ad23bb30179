"""Maps over two fields: equal to one prediction a cell, whichever way they are computed; and what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gradcore as gc
from gradcore import charts
from gradcore.activations import ACTIVATIONS, negative_slope_of
from gradcore.fields import FIELDS
from gradcore.phases import FAST, SCALARS, is_quick, scalar_of
from gradcore.theory.axes import AXES, RANGES, axis_values, place_of, with_values
from gradcore.theory.gaussian import LOG_HIGH, LOG_LOW, moments_of
from gradcore.theory.moment_table import COLUMNS, ELASTICITY, LOG_SECOND, LOG_SLOPE, SECOND, MomentTable

SIGMA_W, SIGMA_B = ("sigma_w", np.linspace(0.05, 4.0, 12)), ("sigma_b", np.linspace(0.0, 2.0, 9))
DEEP = gc.Spec(depth=100, activation="tanh", init="lecun_normal")


def one(spec: gc.Spec, of: str) -> float:
    """The scalar by predict alone."""
    scalar, layer = scalar_of(of)
    profile = gc.predict(spec)
    if scalar.code == "log_g_ratio":
        return float(profile.log_g[0] - profile.log_g[-1])
    if scalar.code == "log_factor":
        return float(profile.log_g[0] - profile.log_g[-1]) / (spec.depth - 1)
    return float(getattr(profile, scalar.code)[layer - 1 if layer > 0 else -1])


def agrees(found: gc.PhaseMap, every: int = 1) -> None:
    """Each (or every so manieth) cell is what predict says, to 1e-9 max(1, prod chi_parallel); factors relatively."""
    for cell in range(0, found.values.size, every):
        j, i = divmod(cell, found.xs.size)
        spec = found.cell(j, i)
        expected, value = one(spec, found.of), float(found.values[j, i])
        if expected == value:
            continue
        with np.errstate(over="ignore", divide="ignore"):
            spread = np.exp(max(0.0, float(np.sum(np.log(np.abs(gc.predict(spec).chi_parallel[:-1]))))))
        scale = abs(expected) if found.scalar.kind == "factor" else 1.0
        assert abs(value - expected) <= 1e-9 * max(spread, 1.0) * max(scale, 1e-300), (found.of, spec)


# --- the table of moments ------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [code for code, entry in ACTIVATIONS.items() if not entry.homogeneous])
def test_the_table_is_the_quadrature(code: str) -> None:
    moments = moments_of(code, negative_slope_of(code, None))
    rng = np.random.default_rng(1)
    log_q = np.concatenate([rng.uniform(LOG_LOW, LOG_HIGH, 400), [LOG_LOW, 0.0, LOG_HIGH], rng.uniform(-3, 3, 100)])
    found = MomentTable(moments).lookup(log_q, tuple(range(COLUMNS)))
    at = moments.at(log_q)
    slope = at.second_slope * np.exp(log_q - at.log_second)
    for column, expected in ((LOG_SECOND, at.log_second), (LOG_SLOPE, at.log_slope_second), (ELASTICITY, slope)):
        assert np.abs(found[column] - expected).max() < 1e-13
    assert np.abs(found[SECOND] * np.exp(-at.log_second) - 1.0).max() < 1e-13


@pytest.mark.parametrize("code", ["tanh", "gelu", "sigmoid", "elu", "sin"])
def test_beyond_the_table_the_moments_continue(code: str) -> None:
    moments = moments_of(code)
    log_q = np.array([-math.inf, -5e3, LOG_LOW - 1.0, 0.3, LOG_HIGH + 1.0, 5e3])
    found = MomentTable(moments).anywhere(log_q, (LOG_SECOND, LOG_SLOPE, ELASTICITY))
    at = moments.at(log_q[1:])
    assert found[0][1:] == pytest.approx(at.log_second, rel=1e-12, abs=1e-12)
    assert found[1][1:] == pytest.approx(at.log_slope_second, rel=1e-12, abs=1e-12)
    slope = at.second_slope[1:4] * np.exp(log_q[2:5] - at.log_second[1:4])
    assert found[2][2:5] == pytest.approx(slope, abs=1e-9)
    assert found[0][0] == pytest.approx(moments.log_second(-math.inf))


# --- equal to predict ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ACTIVATIONS)
def test_every_activation_over_weight_and_bias_scale(code: str) -> None:
    for of in ("log_g_1", "chi_last", "log_q_last"):
        found = gc.phase_map(DEEP.replace(activation=code), SIGMA_W, SIGMA_B, of=of)
        assert found.vectorised and found.values.shape == (9, 12)
        agrees(found, every=7)


@pytest.mark.parametrize("of", ["log_g_40", "log_q_last", "log_p_3", "log_dw_7", "chi_parallel_last", "log_factor"])
def test_every_vectorised_scalar(of: str) -> None:
    agrees(gc.phase_map(DEEP, SIGMA_W, SIGMA_B, of=of), every=5)


CASES = {
    "depth up": (DEEP.replace(gain=1.3), ("gain", [0.0, 0.6, 1.4, 3.0]), ("depth", [1, 2, 7, 90])),
    "depth across": (DEEP.replace(activation="gelu"), ("depth", [3, 50]), ("bias_std", [0.0, 0.4])),
    "width": (gc.Spec(activation="tanh", init="normal", gain=0.1), ("width", [10, 300]), ("depth", [5, 20])),
    "first layer": (gc.Spec(activation="tanh", input_width=7), ("width", [10, 300]), ("input_width", [3, 900])),
    "first layer at sigma_w": (
        gc.Spec(activation="tanh", input_width=7),
        ("sigma_w", [0.5, 2]),
        ("input_rms", [0.1, 9]),
    ),
    "one layer": (gc.Spec(activation="tanh", input_width=7), ("gain", [0.5, 2.0]), ("depth", [1, 4])),
    "default bias": (gc.Spec(activation="elu", bias_std="default"), ("gain", [0.5, 2.0]), ("width", [9, 99])),
    "input": (gc.Spec(activation="silu", depth=9), ("input_rms", [1e-20, 1.0, 1e20]), ("gain", [0.5, 1e4])),
    "slope": (gc.Spec(activation="leaky_relu", init="kaiming_normal"), ("negative_slope", [-1, 0.3]), ("gain", [1, 2])),
    "critical": (gc.Spec(activation="tanh", gain="critical"), ("bias_std", [0.0, 0.3]), ("depth", [5, 30])),
    "auto": (gc.Spec(activation="selu", gain="auto", init="kaiming_normal"), ("bias_std", [0, 1]), ("depth", [5, 9])),
    "cut law": (gc.Spec(activation="tanh", init="trunc_normal", width=9), ("gain", [0.1, 2.0]), ("bias_std", [0, 1])),
    "orthogonal": (gc.Spec(activation="erf", init="orthogonal"), ("gain", [0.5, 2.0]), ("bias_std", [0, 1])),
    "skip": (gc.Spec(activation="tanh", residual="identity"), ("gain", [0.5, 2.0]), ("residual_scale", [-1, 0, 0.3])),
    "skip by depth": (
        gc.Spec(activation="relu", residual="identity", residual_scale="1/sqrt(L)"),
        ("gain", [0.5, 2.0]),
        ("depth", [2, 9, 60]),
    ),
    "layer norm": (
        gc.Spec(activation="gelu", norm="layer", norm_beta=0.4),
        ("norm_gamma", [-2, 0.5]),
        ("gain", [1, 3]),
    ),
    "rms norm": (gc.Spec(activation="tanh", norm="rms", depth=30), ("norm_eps", [0.0, 1e-5, 10]), ("gain", [0.01, 3])),
    "norm and skip": (
        gc.Spec(activation="relu", norm="layer", residual="identity"),
        ("residual_scale", [0.1, 1]),
        ("depth", [3, 40]),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_vectorised_network(name: str) -> None:
    spec, x, y = CASES[name]
    for of in ("log_g_1", "log_q_last", "chi_last", "chi_parallel_last", "log_dw_1"):
        found = gc.phase_map(spec, x, y, of=of)
        assert found.vectorised, name
        agrees(found)


def test_weight_gradients_of_a_branch() -> None:
    spec, x, y = CASES["skip"]
    agrees(gc.phase_map(spec, x, y, of="log_dw_2"))


@pytest.mark.parametrize(
    ("fields", "y"),
    [
        ({"norm": "batch", "batch_size": 8}, ("norm_gamma", [0.5, 1.5])),
        ({"norm": "layer", "norm_position": "after"}, ("norm_eps", [1e-5, 0.1])),
        ({"norm": "layer"}, ("norm_beta", [0.0, 0.5])),
        ({"loss": "mse"}, ("bias_std", [0.0, 0.5])),
        ({"width": (5, 9, 7)}, ("bias_std", [0.0, 0.5])),
        ({"init": "constant", "width": 5}, ("bias_std", [0.0, 0.5])),
        ({"init": "sparse"}, ("sparsity", [0.0, 0.5])),
        ({"residual": "identity", "norm": "rms", "norm_position": "after"}, ("residual_scale", [0.2, 0.5])),
    ],
)
def test_other_networks_are_asked_one_by_one(fields: dict, y: tuple) -> None:
    calls = []
    spec = gc.Spec(depth=3, activation="tanh", **fields)
    found = gc.phase_map(spec, ("gain", [0.5, 1.5]), y, progress=lambda done, total: calls.append((done, total)))
    assert not found.vectorised and calls == [(n, 4) for n in range(4)]
    agrees(found)


def test_what_theory_refuses_is_an_empty_cell_with_its_reason() -> None:
    spec = gc.Spec(depth=4, norm="batch")
    found = gc.phase_map(spec, ("batch_size", [2, 8]), ("gain", [1.0, 2.0]))
    assert np.isnan(found.values[:, 0]).all() and np.isfinite(found.values[:, 1]).all()
    (reason,) = found.refused
    assert isinstance(reason, gc.UnsupportedError) and "batch_size = 2" in str(reason)


def test_cancelling_ends_the_run() -> None:
    class CancelledError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise CancelledError

    with pytest.raises(CancelledError):
        gc.phase_map(gc.Spec(depth=3, loss="mse"), ("gain", [1, 2]), ("bias_std", [0, 1]), progress=stop)


# --- where the signal settles --------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["tanh", "relu", "gelu", "sigmoid", "selu", "softplus"])
def test_the_settled_signal_is_that_of_a_deep_network(code: str) -> None:
    """By 3,000 layers, where they have settled (not at the critical point)."""
    spec = gc.Spec(activation=code, init="lecun_normal", depth=3000)
    axes = ("sigma_w", [0.4, 1.1, 1.3]), ("sigma_b", [0.0, 0.3])
    log_q, chi = (gc.phase_map(spec, *axes, of=of) for of in ("log_q_star", "chi_star"))
    for j, i in np.ndindex(log_q.values.shape):
        deep = gc.predict(log_q.cell(j, i))
        assert chi.values[j, i] == pytest.approx(deep.chi[-1], rel=1e-6)
        if math.isfinite(log_q.values[j, i]):
            assert log_q.values[j, i] == pytest.approx(deep.log_q[-1], abs=1e-6)
        else:
            assert deep.log_q[-1] * log_q.values[j, i] > 100.0, "gone the same way"


def test_depth_scales() -> None:
    spec = gc.Spec(activation="tanh", init="lecun_normal")
    found = gc.phase_map(spec, ("sigma_w", [1.3, 1.5]), ("sigma_b", [math.sqrt(0.05)]), of="xi_c")
    assert found.values[0] == pytest.approx([gc.fixed_points("tanh", w, math.sqrt(0.05))[0].xi_c for w in (1.3, 1.5)])
    assert found.values[0, 1] == pytest.approx(15.117, abs=1e-3)
    found = gc.phase_map(spec, ("sigma_w", [1.5]), ("sigma_b", [math.sqrt(0.05)]), of="xi_gradient")
    assert found.values[0, 0] == pytest.approx(1 / math.log(1.09234), rel=1e-4)


# --- questions -----------------------------------------------------------------------------------------------


def test_axes_are_the_numeric_fields() -> None:
    assert {"depth", "width", "gain", "bias_std", "residual_scale", "sigma_w", "sigma_b"} <= set(AXES)
    assert not {"activation", "init", "norm", "loss", "input", "residual"} & set(AXES)
    assert set(RANGES) == set(AXES), "every axis has an ordinary range"


@pytest.mark.parametrize("field", AXES)
def test_ordinary_ranges_are_legal_and_hold_the_network(field: str) -> None:
    spec = gc.Spec(
        activation="prelu", init="normal", gain=0.1, input_rms=5e3, residual_scale=7.0, width=20_000, depth=700
    )
    values = axis_values(spec, field, 15)
    here = place_of(spec, field)
    assert here is not None and values[0] <= here * (1 + 1e-9) and here <= values[-1] * (1 + 1e-9)
    assert np.all(np.diff(values) > 0) and 8 <= values.size <= 16
    for value in values[[0, -1]]:
        number = int(value) if float(value).is_integer() else float(value)
        changed = with_values(spec, {field: number})
        if field in FIELDS:
            assert getattr(changed, field) == number
        assert place_of(changed, field) == pytest.approx(number)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"x": "gain", "y": "gain"}, "y"),
        ({"x": "gain", "y": "sigma_w"}, "y"),
        ({"x": "sigma_b", "y": "bias_std"}, "y"),
        ({"x": "foo", "y": "gain"}, "x"),
        ({"x": "gain", "y": "activation"}, "y"),
        ({"x": 3, "y": "gain"}, "x"),
        ({"x": ("gain", []), "y": "depth"}, "x"),
        ({"x": ("gain", [math.nan]), "y": "depth"}, "x"),
        ({"x": ("gain", ["a"]), "y": "depth"}, "x"),
        ({"x": ("gain", [-1.0]), "y": "depth"}, "gain"),
        ({"x": ("depth", [2.5]), "y": "gain"}, "depth"),
        ({"x": "gain", "y": "depth", "of": "log_g_0"}, "of"),
        ({"x": "gain", "y": "depth", "of": "log_g"}, "of"),
        ({"x": "gain", "y": "depth", "of": "nonsense_3"}, "of"),
        ({"x": "gain", "y": "depth", "of": 7}, "of"),
        ({"x": "gain", "y": "bias_std", "of": "log_g_51"}, "of"),
    ],
)
def test_bad_questions_are_named(options: dict, field: str) -> None:
    with pytest.raises(gc.SpecError) as error:
        gc.phase_map(gc.Spec(), **options)
    assert error.value.field == field


def test_a_layer_that_only_deep_networks_have() -> None:
    found = gc.phase_map(gc.Spec(), ("gain", [1.0]), ("depth", [5, 20]), of="log_g_10")
    assert math.isnan(found.values[0, 0]) and found.values[1, 0] == pytest.approx(-10 * math.log(2))
    assert len(found.refused) == 1


def test_quick_ones_are_known_beforehand() -> None:
    assert is_quick(gc.Spec(), "gain", "depth", "log_g_1")
    assert not is_quick(gc.Spec(norm="batch"), "gain", "depth", "log_g_1")
    assert not is_quick(gc.Spec(norm="layer"), "gain", "depth", "chi_star")
    assert not is_quick(gc.Spec(), "gain", "depth", "correlation_last")
    assert set(FAST) < set(SCALARS)


# --- the chart and its words ---------------------------------------------------------------------------------


def cells_of(chart: dict) -> tuple[dict, list[dict]]:
    """The heatmap's layer and its rows."""
    layer = chart["layer"][0]
    return layer, chart["datasets"][layer["data"]["name"]]


@pytest.mark.parametrize("code", SCALARS)
@pytest.mark.parametrize("moment", ["rms", "mean_square"])
def test_every_scalar_is_drawn(code: str, moment: str) -> None:
    scalar = SCALARS[code]
    of = f"{code}_{scalar.layer}" if scalar.layer else code
    found = gc.phase_map(gc.Spec(depth=4, activation="tanh"), ("gain", [0.5, 1.5]), ("bias_std", [0.1, 0.5]), of=of)
    chart = charts.phase_chart(found, moment=moment).to_dict(validate=False)
    cells, rows = cells_of(chart)
    assert len(rows) == 4 and chart["params"][0]["name"] == charts.SELECTION
    assert ("domainMid" in cells["encoding"]["color"]["scale"]) == (scalar.kind in ("log", "factor"))
    for text in (charts.headline(found), charts.stands_text(found, moment), charts.critical_text(found)):
        assert text and "{" not in text
    assert charts.map_description(found, moment)


def test_extreme_values_are_ordinary() -> None:
    """1e-600 and exact zeros: colours end, tooltips do not."""
    spec = gc.Spec(activation="sigmoid", depth=1000)
    found = gc.phase_map(spec, ("gain", [0.0, 0.5, 30.0]), ("depth", [2, 1000]))
    chart = charts.phase_chart(found).to_dict()
    rows = cells_of(chart)[1]
    assert min(row["v"] for row in rows) == -1e6 and sorted(row["v"] for row in rows)[2] < -600
    assert chart["layer"][0]["encoding"]["color"]["scale"]["domain"] == [-10.0, 10.0]


def test_words_of_the_first_view() -> None:
    found = gc.phase_map(gc.Spec(), "gain", "depth")
    assert charts.headline(found).startswith("Ordered")
    said = charts.stands_text(found)
    assert "0.71 in norm" in said and "4.21e-8" in said and "gain = 1.414 (now 1)" in said
    assert "0.50 in mean square" in charts.stands_text(found, "mean_square")
    critical = gc.phase_map(gc.Spec(init="kaiming_normal"), "gain", "depth")
    assert charts.standing(critical).regime == "critical"
    chaotic = gc.phase_map(gc.Spec(activation="tanh", gain=2.0), "sigma_w", "sigma_b")
    assert charts.standing(chaotic).regime == "chaotic" and "σ_w = 1 (now 2)" in charts.stands_text(chaotic)


def test_an_unstable_critical_point_is_called_so() -> None:
    found = gc.phase_map(gc.Spec(activation="gelu", bias_std=0.2, gain=1.5), "gain", "bias_std")
    assert "unstable" in charts.stands_text(found) and "Dashed" in charts.critical_text(found)


def test_a_network_without_a_prediction() -> None:
    found = gc.phase_map(gc.Spec(norm="batch", batch_size=2, depth=3), ("gain", [1.0]), ("batch_size", [2, 8]))
    assert charts.standing(found).regime == "unknown" and charts.stands_text(found) == ""
    assert charts.phase_chart(found).to_dict()


@pytest.mark.parametrize("activation", ["relu", "hardtanh", "relu6", "hardswish"])
def test_units_that_a_norm_s_shift_switches_off_are_predicted_cell_by_cell(activation: str) -> None:
    """Where the activation is flat its moments are below any float at small signals: no table holds them."""
    spec = gc.Spec(depth=6, activation=activation, norm="layer", norm_beta=-4.0, init="kaiming_normal")
    found = gc.phase_map(spec, ("gain", [0.5, 2.0]), ("depth", [3, 6]), of="log_q_2")
    for j, depth in enumerate((3, 6)):
        for i, gain in enumerate((0.5, 2.0)):
            wanted = gc.predict(spec.replace(gain=gain, depth=depth)).log_q[1]
            assert found.values[j, i] == pytest.approx(wanted, rel=1e-9)
