"""Contract of every entry of the initializer table: the law that theory uses is the law that torch draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

import gradcore as gc
from gradcore.initializers import ALIASES, INITIALIZERS, Initializer, sparse_zeros, truncated_variance
from gradcore.theory.critical import critical_gain, exact_gain, resolve_gain, weight_variances

every_entry = pytest.mark.parametrize("entry", INITIALIZERS.values(), ids=list(INITIALIZERS))
RANDOM = [code for code, entry in INITIALIZERS.items() if entry.kind not in ("constant", "eye")]
SHAPES = [(150, 150), (100, 250), (250, 100)]  # (fan_out, fan_in)
SLOPE, SPARSITY = 0.5, 0.7
SIGMAS = 5.0  # two-sided chance 6e-7 a check, over about 200 checks

# E w^4 / (E w^2)^2 of one entry (of the non-zeros for sparse); 1 where the second moment is exact, not random.
KURTOSIS = {"gaussian": 3.0, "uniform": 9 / 5, "truncated": 3.0, "sparse": 3.0}


def draw(entry: Initializer, shape: tuple[int, int], gain: float, seed: int = 0, sparsity: float = SPARSITY):
    weight = torch.full(shape, math.nan, dtype=torch.float64)
    with torch.no_grad():
        entry.fill(torch, weight, gain, SLOPE, sparsity, torch.Generator().manual_seed(seed))
    return weight


def tolerance(entry: Initializer, shape: tuple[int, int]) -> float:
    """Relative: SIGMAS standard deviations of a mean of squares over the independent entries; rounding if exact."""
    if entry.kind not in KURTOSIS:
        return 1e-12
    entries = shape[0] * shape[1]
    if entry.kind == "sparse":
        entries = (shape[0] - sparse_zeros(shape[0], SPARSITY)) * shape[1]
    return SIGMAS * math.sqrt((KURTOSIS[entry.kind] - 1) / entries)


# --- the second moment --------------------------------------------------------------------------------------


@every_entry
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("gain", [1.0, 0.3, 5.0])
def test_variance_is_the_second_moment_of_torchs_draws(entry, shape, gain):
    measured = float(draw(entry, shape, gain).square().mean())
    expected = entry.variance(gain, shape[1], shape[0], SLOPE, SPARSITY)
    assert measured == pytest.approx(expected, rel=tolerance(entry, shape))


@every_entry
def test_variance_of_a_gain_of_zero_is_zero(entry):
    assert entry.variance(0.0, 50, 70, SLOPE, SPARSITY) == 0.0
    assert not draw(entry, (70, 50), 0.0).any()


@pytest.mark.parametrize("code", RANDOM)
def test_mean_is_zero(code):
    weight = draw(INITIALIZERS[code], (200, 200), 1.0)
    assert abs(float(weight.mean())) < SIGMAS * float(weight.std()) / 200


@every_entry
def test_kind_is_the_law(entry):
    """The kind decides which theory applies: check what sets each law apart."""
    weight = draw(entry, (250, 200), 1.0, sparsity=0.5).numpy()
    kurtosis = float(np.mean(weight**4) / np.mean(weight**2) ** 2)
    spread = 5 * math.sqrt(100 / weight.size)  # var(w^4)/E(w^2)^4 is below 100 for all these laws
    law = entry.kind
    if law == "uniform":
        assert kurtosis == pytest.approx(9 / 5, abs=spread)
        assert np.abs(weight).max() <= math.sqrt(3 * entry.variance(1.0, 200, 250, SLOPE, 0.5)) * (1 + 1e-12)
    elif law == "gaussian":
        assert kurtosis == pytest.approx(3.0, abs=spread)
    elif law == "truncated":
        assert 1.8 < kurtosis < 3.0 - spread and np.abs(weight).max() <= 2.0
    elif law == "sparse":
        assert kurtosis == pytest.approx(3.0 / 0.5, abs=2 * spread)
    elif law == "orthogonal":
        np.testing.assert_allclose(weight.T @ weight, np.eye(200), atol=1e-12)
    elif law == "constant":
        assert np.all(weight == weight[0, 0])
    else:
        assert law == "eye" and np.array_equal(weight, np.eye(250, 200))


# --- exact laws ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(60, 60), (40, 90), (90, 40), (1, 7)], ids=str)
@pytest.mark.parametrize("gain", [1.0, 2.5])
def test_orthogonal_has_the_exact_frobenius_norm(shape, gain):
    weight = draw(INITIALIZERS["orthogonal"], shape, gain)
    assert float(weight.square().sum()) == pytest.approx(gain**2 * min(shape), rel=1e-13)
    variance = INITIALIZERS["orthogonal"].variance(gain, shape[1], shape[0], 0.0, 0.0)
    assert variance * shape[0] * shape[1] == pytest.approx(gain**2 * min(shape), rel=1e-13)


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.799, 0.8, 0.99, 1.0])
@pytest.mark.parametrize("shape", [(50, 30), (7, 4), (1, 3)], ids=str)
def test_sparse_has_an_exact_count_of_zeros_in_every_column(sparsity, shape):
    weight = draw(INITIALIZERS["sparse"], shape, 1.0, sparsity=sparsity)
    theirs = nn.init.sparse_(torch.empty(shape), sparsity=sparsity)
    zeros = (weight == 0).sum(dim=0)
    assert zeros.tolist() == (theirs == 0).sum(dim=0).tolist() == [math.ceil(sparsity * shape[0])] * shape[1]
    assert sparse_zeros(shape[0], sparsity) == int(zeros[0])
    share = 1.0 - float(zeros[0]) / shape[0]
    assert INITIALIZERS["sparse"].variance(1.0, shape[1], shape[0], 0.0, sparsity) == pytest.approx(share, abs=1e-15)


@pytest.mark.parametrize(
    ("std", "variance", "digits"),
    [(1.0, 0.77374, 5e-6), (3.0, 1.25604, 5e-6), (0.5, 0.24973, 5e-6), (0.02, 4.0e-4, 1e-12)],
)
def test_truncated_variance_known_values(std, variance, digits):
    assert truncated_variance(std) == pytest.approx(variance, abs=digits)


@pytest.mark.parametrize("std", [1e-300, 1e-10, 0.02, 0.3, 0.7, 1.0, 2.0, 5.0, 30.0, 99.0, 99.9, 100.1, 500.0, 1e6])
def test_truncated_variance_is_the_integral(std):
    """E w^2 of a normal law cut at +-2, in 60 digits: no cancellation at either end."""
    import mpmath

    with mpmath.workdps(60):
        s = mpmath.mpf(std)
        k = 2 / s
        exact = s**2 * (1 - 2 * k * mpmath.npdf(k) / mpmath.erf(k / mpmath.sqrt(2)))
        assert truncated_variance(std) == pytest.approx(float(exact), rel=2e-9)


def test_truncated_variance_is_continuous_where_the_series_takes_over_and_tends_to_the_uniform_law():
    at = 2.0 / 0.02
    assert truncated_variance(at * (1 + 1e-12)) == pytest.approx(truncated_variance(at * (1 - 1e-12)), rel=2e-9)
    stds = np.logspace(-3, 6, 2001)
    values = np.array([truncated_variance(float(s)) for s in stds])
    assert np.all(np.diff(values) > -3e-9)
    assert values[-1] == pytest.approx(4 / 3, rel=1e-10) and np.all(values <= 4 / 3)
    assert truncated_variance(0.0) == 0.0


@pytest.mark.parametrize("std", [0.02, 1.0, 3.0, 50.0])
def test_torch_cuts_trunc_normal_at_two(std):
    shape = (200, 200)
    weight = draw(INITIALIZERS["trunc_normal"], shape, std)
    assert float(weight.abs().max()) <= 2.0
    relative = SIGMAS * math.sqrt(2.0 / weight.numel())
    assert float(weight.square().mean()) == pytest.approx(truncated_variance(std), rel=relative)


# --- torch's own call ---------------------------------------------------------------------------------------


def run_torch_code(entry: Initializer, shape: tuple[int, int], gain: float, seed: int) -> torch.Tensor:
    """The entry's torch_code as a reader would run it: torch's global generator, a fresh tensor ``w``."""
    weight = torch.full(shape, math.nan, dtype=torch.float64)
    code = entry.torch_code.format(gain=gain, slope=SLOPE, sparsity=SPARSITY)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        exec(code, {"nn": nn, "torch": torch, "math": math, "w": weight})
    return weight


@every_entry
@pytest.mark.parametrize("shape", [(30, 50), (50, 30)], ids=str)
def test_torch_code_draws_the_same_law(entry, shape):
    ours, theirs = draw(entry, shape, 1.7, seed=3), run_torch_code(entry, shape, 1.7, seed=3)
    assert not torch.isnan(theirs).any()
    if entry.kind == "sparse":  # where the zeros lie is drawn otherwise; how many, and the law, are the same
        assert torch.equal((ours == 0).sum(dim=0), (theirs == 0).sum(dim=0))
        return
    torch.testing.assert_close(ours, theirs, rtol=1e-15, atol=0.0)


@every_entry
def test_fill_depends_on_its_generator_alone(entry):
    """Neither reads nor moves torch's global generator (torch.nn.init.sparse_ does both)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        before = torch.get_rng_state()
        first = draw(entry, (40, 30), 1.0, seed=5)
        moved = not torch.equal(before, torch.get_rng_state())
        torch.manual_seed(2)
        second = draw(entry, (40, 30), 1.0, seed=5)
    assert torch.equal(first, second), "the draw depends on torch's global generator"
    assert not moved, "the draw moves torch's global generator"
    if entry.code in RANDOM:
        assert not torch.equal(first, draw(entry, (40, 30), 1.0, seed=6))


# --- names --------------------------------------------------------------------------------------------------


@every_entry
def test_entry_is_complete(entry):
    assert INITIALIZERS[entry.code] is entry
    for text in (entry.torch_code, entry.formula, entry.family, entry.source):
        assert text.strip()
    assert "{gain}" in entry.torch_code and "nn.init." in entry.torch_code


def test_glorot_is_xavier_and_he_is_kaiming():
    other_names = {"glorot_": "xavier_", "he_": "kaiming_"}
    for alias, code in ALIASES.items():
        for person, law in other_names.items():
            if alias.startswith(person):
                assert code == law + alias.removeprefix(person)
    assert {"glorot_uniform", "glorot_normal", "he_uniform", "he_normal"} <= set(ALIASES)


@pytest.mark.parametrize(("alias", "code"), ALIASES.items(), ids=list(ALIASES))
def test_aliases_are_stored_under_torchs_name(alias, code):
    assert code in INITIALIZERS and alias not in INITIALIZERS
    spec = gc.Spec(init=alias)
    assert spec.init == code and spec == gc.Spec(init=code)


# --- gain = "auto" and "critical" ---------------------------------------------------------------------------

RECTANGULAR = {"depth": 4, "width": (40, 90, 25, 60), "input_width": 30}


def sigmas_w(spec: gc.Spec) -> np.ndarray:
    """std(W) sqrt(fan_in) of each layer, from the multipliers and the law itself."""
    multipliers = resolve_gain(spec).multipliers
    fans = zip(multipliers, spec.fan_ins.tolist(), spec.layer_widths.tolist(), strict=True)
    return np.array(
        [math.sqrt(spec.init_entry.variance(g, n, m, spec.init_slope, spec.sparsity) * n) for g, n, m in fans]
    )


@pytest.mark.parametrize("code", RANDOM)
@pytest.mark.parametrize("activation", ["tanh", "relu", "leaky_relu", "gelu"])
@pytest.mark.parametrize("gain", ["auto", "critical"])
def test_auto_and_critical_give_the_wanted_sigma_w(code, activation, gain):
    spec = gc.Spec(init=code, activation=activation, gain=gain, **RECTANGULAR)
    if gain == "critical":
        wanted = critical_gain(activation)
    elif activation == "gelu":
        wanted = exact_gain("gelu")  # torch has no gain for it
    else:
        wanted = nn.init.calculate_gain(activation, spec.slope if activation == "leaky_relu" else None)
    np.testing.assert_allclose(sigmas_w(spec), wanted, rtol=1e-10)
    np.testing.assert_allclose(np.sqrt(weight_variances(spec) * spec.fan_ins), wanted, rtol=1e-10)
    assert resolve_gain(spec).sigma_w == pytest.approx(wanted, rel=1e-15)


@pytest.mark.parametrize("code", RANDOM)
def test_the_built_network_has_the_wanted_sigma_w(code):
    """From the torch weights themselves, rectangular layers."""
    shapes = {"depth": 3, "width": (150, 100, 200), "input_width": 90}
    spec = gc.Spec(init=code, activation="tanh", gain="auto", sparsity=SPARSITY, **shapes)
    for linear in spec.build(seed=1).linears:
        weight = linear.weight.detach()
        entry = INITIALIZERS[code]
        second = float(weight.square().mean()) * weight.shape[1]
        assert second == pytest.approx((5 / 3) ** 2, rel=tolerance(entry, tuple(weight.shape)))


def test_where_the_gain_comes_from_is_said():
    assert resolve_gain(gc.Spec(gain=2.0)).origin == "given"
    assert resolve_gain(gc.Spec(gain=2.0)).sigma_w is None
    assert "calculate_gain" in resolve_gain(gc.Spec(activation="tanh", gain="auto")).origin
    assert "exact" in resolve_gain(gc.Spec(activation="silu", gain="auto")).origin
    assert "critical" in resolve_gain(gc.Spec(activation="silu", gain="critical")).origin


def test_critical_takes_the_bias_into_account():
    with_bias = resolve_gain(gc.Spec(activation="tanh", gain="critical", bias_std=0.3)).sigma_w
    assert with_bias == pytest.approx(critical_gain("tanh", bias_std=0.3))
    assert with_bias > resolve_gain(gc.Spec(activation="tanh", gain="critical")).sigma_w


def test_a_sigma_w_beyond_the_cuts_is_refused_in_words():
    spec = gc.Spec(init="trunc_normal", gain="auto", activation="relu", width=1, depth=2)
    with pytest.raises(gc.SpecError) as caught:  # std sqrt(1) is at most sqrt(4/3) < sqrt 2
        resolve_gain(spec)
    assert caught.value.field == "gain" and caught.value.value == "auto" and "cut at -2 and 2" in str(caught.value)
