"""Gains against torch, the variance map against the profile's own layers, the sentences against what they rest on,
and every initializer's factors against the prediction they are read off."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import gradcore as gc
from gradcore.activations import ACTIVATIONS
from gradcore.guide.gains import gain_table, gains_of
from gradcore.guide.schemes import in_order, layer_of, schemes, with_init
from gradcore.guide.uses import traits_of, uses
from gradcore.guide.variance_map import KINDS, VarianceMap, story, unstable_story, variance_map
from gradcore.initializers import INITIALIZERS, SCALINGS
from gradcore.measure.gains import SampledGain, calculate_gain, sample_gains
from gradcore.measure.weights import sample_weights
from gradcore.theory.critical import weight_variances

every_activation = pytest.mark.parametrize("code", ACTIVATIONS)
SIGMAS = 4.5  # two-sided chance 7e-6 a check, over about 130 checks of one seed
SAMPLES = 200_000

# (forward, backward) to five decimals
KNOWN = {
    "tanh": (1.59254, 1.46741),
    "selu": (1.0, 0.96603),
    "gelu": (1.53353, 1.48111),
    "silu": (1.67653, 1.62332),
    "mish": (1.48685, 1.44476),
    "elu": (1.24520, 1.22343),
    "softplus": (1.04187, 1.84623),
    "softsign": (2.33753, 2.09578),
    "hardtanh": (1.39204, 1.21029),
    "hardswish": (1.73666, 1.67008),
    "sigmoid": (1.84623, 4.72265),
    "relu": (math.sqrt(2), math.sqrt(2)),
}

# --- gains -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sampled() -> dict[str, SampledGain]:
    return {gain.activation: gain for gain in sample_gains(SAMPLES, seed=1)}


@pytest.mark.parametrize("code", KNOWN)
def test_exact_gains_are_the_known_figures(code: str) -> None:
    gain = gains_of(code)
    assert (gain.forward, gain.backward) == pytest.approx(KNOWN[code], abs=6e-6)


@every_activation
@pytest.mark.parametrize("name", ["forward", "backward", "spread"])
def test_exact_gains_are_what_torchs_functions_give(code: str, name: str, sampled: dict[str, SampledGain]) -> None:
    exact = getattr(gains_of(code), name)
    assert abs(sampled[code].distance(name, exact)) < SIGMAS
    assert abs(sampled[code].distance(name, 1.1 * exact)) > SIGMAS  # so that the check above can fail


@every_activation
def test_standard_errors_are_the_scatter_between_seeds(code: str) -> None:
    """120 seeds of 500 draws: the std of their estimates scatters by 1/sqrt(238) about the stated error; 5 of those."""
    runs = [_one(code, seed) for seed in range(120)]
    for name in ("forward", "backward", "spread"):
        stated = np.sqrt(np.mean([getattr(run, f"{name}_error") ** 2 for run in runs]))
        seen = np.std([getattr(run, name) for run in runs], ddof=1)
        if stated > 1e-12:
            assert seen / stated == pytest.approx(1.0, abs=5 / math.sqrt(238) + 0.05)  # 0.05: draws are 500 only
        else:
            assert seen < 1e-12


def _one(code: str, seed: int, cache: dict[int, tuple[SampledGain, ...]] = {}) -> SampledGain:  # noqa: B006
    if seed not in cache:
        cache[seed] = sample_gains(500, seed)
    return next(gain for gain in cache[seed] if gain.activation == code)


@every_activation
def test_torchs_gain_is_asked_of_torch_and_stands_in_the_table(code: str) -> None:
    assert calculate_gain(code) == gains_of(code).torch
    try:
        expected = torch.nn.init.calculate_gain(code, 0.01 if code == "leaky_relu" else None)
    except ValueError:
        expected = None
    assert calculate_gain(code) == expected


def test_the_table_has_a_row_for_every_activation() -> None:
    table = gc.gain_table()
    assert [gain.activation for gain in table] == list(ACTIVATIONS)
    assert table == gain_table()
    assert {g.activation for g in table if g.agree} == {"linear", "relu", "leaky_relu", "prelu"}
    assert [g.activation for g in table if g.torch_is_exact is False] == ["selu", "tanh", "sigmoid"]
    assert gains_of("leaky_relu", 0.5).forward == pytest.approx(math.sqrt(2 / 1.25))
    assert gains_of("leaky_relu", 0.5).torch == pytest.approx(math.sqrt(2 / 1.25))


def test_equal_seeds_draw_equal_numbers_and_touch_no_global_state() -> None:
    before = torch.get_rng_state()
    first, again, other = sample_gains(50, 3), sample_gains(50, 3), sample_gains(50, 4)
    assert first == again and first != other
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: gains_of("nonsense"), "activation"),
        (lambda: gain_table("1"), "negative_slope"),  # type: ignore[arg-type]
        (lambda: gain_table(1e9), "negative_slope"),
        (lambda: sample_gains(1), "samples"),
        (lambda: sample_gains(10**9), "samples"),
        (lambda: sample_gains(100, -1), "seed"),
        (lambda: sample_weights(gc.Spec(depth=2, width=4), layer=3), "layer"),
        (lambda: uses("nonsense"), "activation"),
    ],
)
def test_bad_input_is_named(call, field: str) -> None:
    with pytest.raises(gc.SpecError) as caught:
        call()
    assert caught.value.field == field


# --- the variance map --------------------------------------------------------------------------------------


@every_activation
@pytest.mark.parametrize("bias_std", [0.0, 0.4])
def test_the_way_along_the_map_is_the_profiles(code: str, bias_std: float) -> None:
    spec = gc.Spec(depth=30, width=50, activation=code, gain=1.3, bias_std=bias_std, input_rms=1.7)
    plain, log_q = variance_map(spec)
    np.testing.assert_allclose(plain.path(log_q, 30), gc.predict(spec).log_q, atol=1e-10)
    assert plain.log_chi(log_q) == pytest.approx(math.log(gc.predict(spec).chi[0]), abs=1e-9)


@every_activation
def test_the_map_rises(code: str) -> None:
    """What ``fate`` rests on: the signal goes to the next fixed point in the direction of its first step."""
    log_q = np.linspace(-20.0, 20.0, 2001)
    assert (np.diff(VarianceMap(code, 1.5, 0.0, ACTIVATIONS[code].default_slope or 0.0).log_next(log_q)) > -1e-12).all()


ENDS = {
    "settles": lambda end, log_q, fate: abs(end - fate.log_q) < 1e-3,
    "keeps": lambda end, log_q, fate: abs(end - log_q) < 1e-6,
    "fades": lambda end, log_q, fate: end < log_q - 0.5,
    "swells": lambda end, log_q, fate: end > log_q + 0.5,
    "collapses": lambda end, log_q, fate: end < log_q - 5.0,
    "explodes": lambda end, log_q, fate: end > log_q + 5.0,
}


@pytest.mark.parametrize("code", [code for code in ACTIVATIONS if code != "relu6"])  # marginal: needs 1e9 layers
@pytest.mark.parametrize("gain", [0.8, "exact", "more"])
@pytest.mark.parametrize("bias_std", [0.0, 0.3])
def test_the_fate_is_where_1000_layers_lead(code: str, gain: float | str, bias_std: float) -> None:
    exact = gains_of(code).forward
    sigma = {"exact": exact, "more": 1.05 * exact}.get(gain, gain) if isinstance(gain, str) else gain
    plain, log_q = variance_map(gc.Spec(activation=code, init="lecun_normal", gain=sigma, bias_std=bias_std))
    fate, way = plain.fate(log_q), plain.path(log_q, 1000)
    assert ENDS[fate.kind](float(way[-1]), log_q, fate)
    last = plain.log_chi(float(way[-1]))
    assert last == pytest.approx(fate.log_chi, abs=0.05 if fate.kind in ("fades", "swells") else 2e-3)


def test_every_kind_of_fate() -> None:
    gelu = gains_of("gelu").forward
    found = {
        "settles": VarianceMap("tanh", 5 / 3).fate(0.0),
        "keeps": VarianceMap("relu", math.sqrt(2)).fate(3.0),
        "balances": VarianceMap("gelu", gelu).fate(math.log(VarianceMap("gelu", gelu).fixed_points[0].q)),
        "fades": VarianceMap("tanh", 1.0).fate(0.0),
        "swells": VarianceMap("relu", math.sqrt(2), 0.3).fate(0.0),
        "collapses": VarianceMap("gelu", gelu).fate(-0.1),
        "explodes": VarianceMap("gelu", gelu).fate(0.1),
    }
    assert {kind: fate.kind for kind, fate in found.items()} == {kind: kind for kind in KINDS}
    assert math.exp(found["settles"].log_q) == pytest.approx(1.17848, abs=1e-5)
    assert math.exp(found["settles"].log_chi) == pytest.approx(1.20983, abs=1e-5)
    assert math.exp(found["explodes"].log_chi) == pytest.approx(gelu**2 / 2)
    assert "settles at RMS 1.09" in str(story(found["settles"])) and "grow ×1.10" in str(story(found["settles"]))
    assert "(×1.21 in mean square)" in str(story(found["settles"]))
    assert found["settles"].usable(49) and not found["settles"].usable(50)  # 1.0999^(L - 1) within 100


def test_zero_signals_and_zero_weights() -> None:
    assert VarianceMap("relu", 1.2).fate(-math.inf).kind == "collapses"
    assert VarianceMap("sigmoid", 1.2).fate(-math.inf).kind == "settles"
    assert VarianceMap("tanh", 0.0).fate(0.0).log_q == -math.inf
    still = VarianceMap("tanh", 0.0, 0.5).fate(0.0)
    assert (
        still.kind == "settles" and still.log_q == pytest.approx(math.log(0.25)) and "exactly zero" in str(story(still))
    )


@pytest.mark.parametrize("code", ["gelu", "silu", "mish", "hardswish"])
def test_unstable_points_are_told(code: str) -> None:
    (told,) = unstable_story(VarianceMap(code, gains_of(code).forward).fixed_points)
    assert "Unstable fixed point at RMS 1.00" in str(told) and "shrinks to 0" in str(told)


@pytest.mark.parametrize("init", ["constant", "eye"])
def test_weights_that_are_not_random_have_no_map(init: str) -> None:
    with pytest.raises(gc.UnsupportedError):
        variance_map(gc.Spec(init=init))


# --- what each is good for ---------------------------------------------------------------------------------

CASES = {
    "homogeneous": {"linear", "relu", "leaky_relu", "prelu"},
    "none": {"softplus"},
    "unstable": {"gelu", "gelu_tanh", "silu", "mish", "hardswish"},
    "far": {"sigmoid", "hardsigmoid"},
    "marginal": {"relu6"},
    "line": {"elu", "selu", "celu", "tanh", "hardtanh", "softsign", "erf", "sin"},
}


@every_activation
def test_what_each_is_good_for(code: str) -> None:
    first, *more = uses(code)
    assert code in CASES[first.message_id.removeprefix("use_")]
    assert ("use_flat" in {message.message_id for message in more}) == bool(ACTIVATIONS[code].flat)
    for message in (first, *more):
        assert "{" not in str(message) and str(message).endswith(".")


def test_the_figures_in_the_sentences() -> None:
    assert "σ_w = 10.15" in str(uses("sigmoid")[0]) and "×0.39" in str(uses("sigmoid")[0])
    assert "×1.04" in str(uses("selu")[0])  # sqrt(1.07157)
    assert math.exp(traits_of("selu").log_chi) == pytest.approx(1.07157, abs=1e-5)
    assert "50%" in str(uses("relu")[1]) and "32%" in str(uses("hardtanh")[1])
    assert traits_of("leaky_relu", 0.0).flat == 0.5


@every_activation
def test_the_flat_share_is_that_of_drawn_inputs(code: str) -> None:
    h = np.random.default_rng(0).normal(size=100_000)
    share = float(np.mean(ACTIVATIONS[code].derivative(h, ACTIVATIONS[code].default_slope or 0.0) == 0.0))
    expected = traits_of(code).flat
    assert abs(share - expected) <= SIGMAS * math.sqrt(expected * (1 - expected) / 100_000)


# --- initializers side by side -----------------------------------------------------------------------------

RECTANGULAR = {"depth": 4, "input_width": 60, "width": (90, 120, 80, 50)}


def test_every_initializer_once_in_four_families() -> None:
    order = [entry.code for _, entries in in_order() for entry in entries]
    assert sorted(order) == sorted(INITIALIZERS) and len(SCALINGS) == 4
    assert [row.entry.code for row in schemes(gc.Spec(depth=3, width=30))] == order


@pytest.mark.parametrize("code", INITIALIZERS)
def test_the_family_is_what_the_variance_does(code: str) -> None:
    """Four times the width: a fan-scaled or orthogonal law has a quarter of the variance, a fixed one the same."""
    entry = INITIALIZERS[code]
    ratio = entry.variance(0.5, 4000, 4000, 0.0, 0.8) / entry.variance(0.5, 1000, 1000, 0.0, 0.8)
    assert (entry.scaling == "constant") == (entry.kind in ("constant", "eye"))
    assert (entry.scaling == "orthogonal") == (entry.kind == "orthogonal")
    if entry.scaling != "constant":
        assert ratio == pytest.approx(1.0 if entry.scaling == "fixed" else 0.25)


@pytest.mark.parametrize("code", ["normal", "trunc_normal", "sparse", "xavier_normal", "orthogonal", "kaiming_normal"])
def test_the_own_gain_is_torchs_default(code: str) -> None:
    """Torch's own call without a scale, against the law at its own gain (E W^2 of 40,000 entries, sparse 8000)."""
    weight = torch.empty(200, 200)
    call = getattr(torch.nn.init, f"{code}_")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        call(weight, sparsity=0.8) if code == "sparse" else call(weight)
    expected = INITIALIZERS[code].variance(INITIALIZERS[code].own_gain, 200, 200, 0.0, 0.8)
    assert float(weight.square().mean()) == pytest.approx(expected, rel=SIGMAS * math.sqrt(2 / 8000))


@pytest.mark.parametrize("own_gain", [True, False])
def test_factors_are_those_of_the_prediction(own_gain: bool) -> None:
    spec = gc.Spec(depth=12, width=40, activation="tanh", gain=1.4, sparsity=0.2)
    for row in schemes(spec, own_gain):
        assert row.spec == with_init(spec, row.entry.code, own_gain)
        profile = gc.predict(row.spec)
        assert row.verdict is not None and row.verdict.kind == gc.diagnose(profile).kind
        rms = np.exp(0.5 * profile.log_q)
        assert math.exp(11 * row.log_forward) == pytest.approx(rms[-1] / rms[0])
        assert row.log_backward == pytest.approx(0.5 * (profile.log_g[0] - profile.log_g[-1]) / 11)
        assert row.variance == pytest.approx(float(weight_variances(row.spec)[1])) and row.layer == 2
        assert row.spec.gain == (row.entry.own_gain if own_gain else 1.4)


def test_at_one_sigma_w_all_random_laws_are_alike() -> None:
    rows = schemes(gc.Spec(depth=20, width=100, activation="tanh", gain="critical", sparsity=0.5), own_gain=False)
    random = [row for row in rows if row.entry.scaling != "constant"]
    assert len(random) == 13
    np.testing.assert_allclose([row.log_backward for row in random], random[0].log_backward, rtol=1e-9)
    np.testing.assert_allclose([row.std for row in random], 0.1, rtol=1e-9)


def test_what_theory_refuses_carries_its_reason() -> None:
    rows = {row.entry.code: row for row in schemes(gc.Spec(depth=4, width=40, norm="layer"))}
    assert isinstance(rows["eye"].refusal, gc.UnsupportedError) and rows["eye"].verdict is None
    assert math.isnan(rows["eye"].log_forward) and rows["eye"].std == pytest.approx(math.sqrt(1 / 40))
    unreachable = schemes(gc.Spec(depth=2, width=1, gain="auto"), own_gain=False)
    (refused,) = [row for row in unreachable if isinstance(row.refusal, gc.SpecError)]
    assert refused.entry.code == "trunc_normal" and math.isnan(refused.std)


def test_one_layer_has_no_factor() -> None:
    (row,) = [row for row in schemes(gc.Spec(depth=1, width=9)) if row.entry.code == "normal"]
    assert layer_of(row.spec) == 1 and math.isnan(row.log_forward) and math.isnan(row.log_backward)


@pytest.mark.parametrize("code", INITIALIZERS)
def test_drawn_weights_have_the_exact_law(code: str) -> None:
    """RMS of n m weights of kurtosis at most 3/0.2 (sparse): relative error sqrt(14 / (4 n m)) at most."""
    spec = gc.Spec(init=code, gain=0.1, **RECTANGULAR)
    row = next(row for row in schemes(spec, own_gain=False) if row.entry.code == code)
    sample = sample_weights(spec, row.layer, seed=2)
    fan_in, fan_out = row.fans
    assert sample.shape == (fan_out, fan_in) == (120, 90)
    assert sample.counts.sum() == fan_in * fan_out and len(sample.edges) == len(sample.counts) + 1
    assert sample.rms == pytest.approx(row.std, rel=SIGMAS * math.sqrt(14 / (4 * fan_in * fan_out)))
    if code not in ("constant", "eye"):
        assert abs(sample.mean) < SIGMAS * row.std / math.sqrt(fan_in * fan_out)
        again, other = sample_weights(spec, 2, seed=2), sample_weights(spec, 2, seed=3)
        assert again.rms == sample.rms and other.edges.tolist() != sample.edges.tolist()


def test_layer_1_holds_the_weights_of_the_measured_network() -> None:
    spec = gc.Spec(init="kaiming_normal", **RECTANGULAR)
    weight = spec.build(seed=5).linears[0].weight.detach()  # type: ignore[union-attr,index]
    sample = sample_weights(spec, 1, seed=5)
    assert sample.rms == pytest.approx(float(weight.square().mean().sqrt()), rel=1e-12)
    assert (sample.edges[0], sample.edges[-1]) == pytest.approx((float(weight.min()), float(weight.max())))


def test_matrices_that_take_long_are_refused() -> None:
    with pytest.raises(gc.UnsupportedError, match="weights"):
        sample_weights(gc.Spec(width=10_000), 2)
