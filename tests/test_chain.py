"""The single-neuron chain: every figure of its experiments, against torch's autograd, closed forms and drawn chains."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from gradcore.activations import ACTIVATIONS, negative_slope_of
from gradcore.errors import SpecError
from gradcore.experiments import chain
from gradcore.experiments.chain import Chain, Normal
from gradcore.experiments.chain.log_law import LogLaw, law_of
from gradcore.experiments.chain.log_normal_weight import log_moments, log_of_normal
from gradcore.experiments.chain.question import ChainQuestion, from_query
from gradcore.experiments.chain.single import COSTS
from tests.test_imports import HEAVY, passes

PRESETS = chain.PRESETS


def autograd(one: Chain) -> tuple[np.ndarray, np.ndarray]:
    """dC/db and dC/dw by torch, in float64."""
    module: Any = ACTIVATIONS[one.activation].torch_module(torch, negative_slope_of(one.activation, one.negative_slope))
    if one.activation == "hardsigmoid":  # torch's own multiplies by 1/6 in single precision, going back
        module = lambda z: torch.clamp(z + 3.0, 0.0, 6.0) / 6.0  # noqa: E731
    w, b = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (one.weights, one.biases))
    a = torch.tensor(one.input, dtype=torch.float64)
    for j in range(one.length):
        a = module((w[j] * a + b[j]).reshape(1)).reshape(())
    cost = a if one.cost == "output" else 0.5 * (a - one.target) ** 2
    cost.backward()
    assert w.grad is not None and b.grad is not None
    return b.grad.numpy(), w.grad.numpy()


# --- 1.1 the product ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ACTIVATIONS)
@pytest.mark.parametrize("length", [1, 4, 9])
def test_1_1_the_product_is_autograds_gradient(code: str, length: int) -> None:
    """To 1e-12 for |z| < 5, where torch's derivatives lose no digits (it takes 1 - s(z) for a sigmoid)."""
    for seed in range(3):
        one = chain.random_chain(length, seed=seed, activation=code, target=0.3)
        if np.abs(one.z).max() > 5.0:
            continue
        b, w = autograd(one)
        np.testing.assert_allclose(one.bias_gradients, b, rtol=1e-12, atol=1e-300)
        np.testing.assert_allclose(one.weight_gradients, w, rtol=1e-12, atol=1e-300)
        product = float(np.prod(one.factors)) * one.cost_slope
        assert one.gradient == pytest.approx(product, rel=1e-12)
        assert one.gradient == pytest.approx(float(b[0]), rel=1e-12)


def test_1_1_gradients_beyond_the_range_of_floats_keep_their_logarithm() -> None:
    one = chain.random_chain(9, seed=2, activation="tanh", target=0.3)
    np.testing.assert_allclose(one.log_bias_gradients, np.log(np.abs(one.bias_gradients)), rtol=1e-12)
    deep = Chain((20.0,) * 100, (5.0,) * 100, activation="tanh")
    assert deep.gradient == 0.0 and -1e4 < deep.log_bias_gradients[0] < -1000.0
    product = np.log(deep.factors).sum() + math.log(deep.cost_slope)
    assert deep.log_bias_gradients[0] == pytest.approx(product, rel=1e-12)
    assert Chain((1.0, -1.0), (0.0, 0.0), activation="relu").log_bias_gradients[0] == -math.inf


def test_1_1_the_preset_and_a_long_chain() -> None:
    for one in (PRESETS["product"].question.chain(), chain.random_chain(100, seed=3, activation="tanh")):
        np.testing.assert_allclose(one.bias_gradients, autograd(one)[0], rtol=1e-11)
    assert one.length == 100


@pytest.mark.parametrize("cost", COSTS)
def test_the_costs_slope_and_change_are_those_of_its_value(cost: str) -> None:
    entry = COSTS[cost]
    assert entry.change(0.7, 0.2, 1e-3) == pytest.approx(entry.value(0.701, 0.2) - entry.value(0.7, 0.2), rel=1e-10)
    assert entry.slope(0.7, 0.2) == pytest.approx(entry.change(0.7, 0.2, 1e-9) / 1e-9, rel=1e-8)


# --- 1.2 a small change followed ------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ACTIVATIONS)
def test_1_2_the_error_shrinks_like_the_change(code: str) -> None:
    """ΔC/Δb = C' + C'' Δ/2 + O(Δ²): the error over Δ tends to C''/(2 C'), which a step of 1e-3 and 1e-4 both give."""
    one = chain.random_chain(5, seed=4, activation=code, target=0.3)
    found = chain.nudges(one, (1e-3, 1e-4, 1e-5))
    if one.gradient == 0.0:  # a unit on a flat piece
        assert all(math.isnan(n.error) for n in found)
        return
    signed = [(n.ratio / n.derivative - 1.0) / n.delta for n in found]
    assert found[-1].error < 1e-3
    assert signed[1] == pytest.approx(signed[2], rel=0.02, abs=1e-6)
    assert signed[0] == pytest.approx(signed[2], rel=0.2, abs=1e-4)


def test_1_2_every_step_is_the_difference_of_two_chains() -> None:
    one = PRESETS["nudge"].question.chain()
    delta = PRESETS["nudge"].question.nudge
    moved = one.replace(biases=(one.biases[0] + delta, *one.biases[1:]))
    steps = {(s.symbol, s.layer): s for s in chain.nudge(one, delta).steps}
    for j in range(1, one.length + 1):
        assert steps["z", j].change == pytest.approx(moved.z[j - 1] - one.z[j - 1], abs=1e-15)
        assert steps["a", j].change == pytest.approx(moved.a[j] - one.a[j], abs=1e-15)
    assert steps["C", one.length].change == pytest.approx(moved.cost_value - one.cost_value, abs=1e-15)
    assert steps["C", one.length].linear == pytest.approx(one.gradient * delta, rel=1e-13)


def test_1_2_no_digits_are_lost_in_a_long_chain() -> None:
    """ΔC is 1e-30 of C, where a difference of two costs would be rounding alone."""
    one = chain.random_chain(30, seed=1)
    found = chain.nudge(one, 1e-6)
    assert abs(found.steps[-1].change) < 1e-25 and found.error < 1e-5


def test_1_2_a_change_across_a_kink() -> None:
    one = Chain((1.0, 1.0), (0.0, 0.2), input=-0.3, activation="relu")
    moved = one.replace(biases=(0.4, 0.2))
    assert chain.nudge(one, 0.4).steps[-1].change == pytest.approx(moved.cost_value - one.cost_value, abs=1e-15)


# --- 1.3 the slope --------------------------------------------------------------------------------------------


def test_1_3_the_sigmoids_slope_is_a_quarter_at_0() -> None:
    assert chain.steepest("sigmoid") == (0.0, 0.25)
    assert ACTIVATIONS["sigmoid"].derivative(np.zeros(1), 0.0)[0] == 0.25


@pytest.mark.parametrize("code", ACTIVATIONS)
def test_1_3_no_slope_is_above_the_steepest(code: str) -> None:
    z, most = chain.steepest(code)
    slope = negative_slope_of(code, None)
    derivative = ACTIVATIONS[code].derivative
    assert abs(derivative(np.array([z]), slope)[0]) == pytest.approx(most, rel=1e-12)
    assert np.abs(derivative(np.linspace(-50, 50, 200_001), slope)).max() <= most * (1 + 1e-12)


# --- 1.4 random chains ----------------------------------------------------------------------------------------


def test_1_4_the_logarithm_of_a_normal_weight() -> None:
    assert chain.MEAN_LOG == pytest.approx(-(np.euler_gamma + math.log(2)) / 2) == pytest.approx(-0.63518, abs=5e-6)
    moments = log_of_normal(np.zeros(1), np.array([3.0]))[:, 0]
    assert moments[1] == pytest.approx(chain.MEAN_LOG + math.log(3.0), abs=1e-6)
    assert moments[2] - moments[1] ** 2 == pytest.approx(chain.VARIANCE_LOG, abs=1e-5)


@pytest.mark.parametrize("r", [0.0, 0.013, 0.7, 3.3, 9.02, 39.99, 40.01, 300.0])
def test_1_4_moments_of_a_shifted_weight(r: float) -> None:
    from scipy import integrate

    def integrand(x: float, k: int) -> float:
        return math.log(abs(r + x)) ** k * math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)

    for k in (1, 2, 3):
        pieces = [-12.0, *([-r] if r < 12.0 else []), 12.0]  # the singularity at an end
        exact = sum(integrate.quad(integrand, a, b, (k,), limit=400)[0] for a, b in pairwise(pieces))
        assert log_moments(np.array([r]))[k, 0] == pytest.approx(exact, abs=2e-5, rel=2e-5)


def test_1_4_shares_of_small_weights() -> None:
    assert chain.Normal().below(1.0) == pytest.approx(0.6827, abs=5e-5)
    assert chain.Normal().below(0.25) == pytest.approx(0.1974, abs=5e-5)
    assert "68%" in PRESETS["random"].sentence and "20%" in PRESETS["random"].sentence
    drawn = chain.draw_chains(10, draws=10_000, seed=2).small
    error = 0.5 / math.sqrt(100_000)
    assert abs(drawn[0] - 0.6827) < 5 * error and abs(drawn[1] - 0.1974) < 5 * error


def test_1_4_the_sigmoid_chains_figures() -> None:
    mean, variance = chain.predict_chains().per_layer
    assert mean == pytest.approx(-2.3076, abs=5e-4) and variance == pytest.approx(1.2567, abs=5e-3)
    ten = chain.predict_chains().product(10)
    assert ten.mean == pytest.approx(-22.431, abs=2e-3) and ten.std == pytest.approx(3.382, abs=2e-3)


def test_1_4_most_factors_are_below_a_quarter() -> None:
    """The sentence of the preset: |w sigma'(z)| < 1/4 for most draws; E over the chain of 10 of N(0, 1)."""
    found = np.concatenate([np.abs(chain.random_chain(10, seed=s).factors[1:]) for s in range(200)])
    assert (found < 0.25).mean() > 0.75


LAWS = [(1.0, 1.0), pytest.param((3.0, 0.5), marks=pytest.mark.slow), pytest.param((1.5, 0.0), marks=pytest.mark.slow)]


@pytest.mark.parametrize("code", ACTIVATIONS)
@pytest.mark.parametrize("laws", LAWS)
def test_1_4_mean_and_spread_meet_drawn_chains(code: str, laws: tuple[float, float]) -> None:
    """Within 5 standard errors of 20,000 chains, plus the grid's 1e-3 of a spread; the share that is not 0 as well."""
    w, b, draws, length = Normal(0.0, laws[0]), Normal(0.0, laws[1]), 20_000, 6
    law = chain.predict_chains(w, b, activation=code).product(length)
    drawn = chain.draw_chains(length, w, b, draws, 7, activation=code)
    share_error = math.sqrt(law.alive * (1.0 - law.alive) / draws)
    assert abs(drawn.alive - law.alive) < 5 * share_error + 2e-3
    logs = drawn.log_product[np.isfinite(drawn.log_product)]
    if len(logs) < 100:
        return
    spread = float(logs.std())
    assert (
        abs(logs.mean() - law.mean)
        < 5 * spread / math.sqrt(len(logs)) + 1e-3 * law.std + 0.02 * (1.0 - law.alive) * law.std
    )
    kurtosis = float(((logs - logs.mean()) ** 4).mean() / spread**4)
    error = spread**2 * math.sqrt(max(kurtosis - 1.0, 2.0) / len(logs))
    assert abs(spread**2 - law.variance) < 6 * error + 2e-3 * law.variance


@pytest.mark.parametrize("biases", [Normal(0.0, 0.0), Normal(-2.0, 0.3)])
@pytest.mark.parametrize("weights", [Normal(2.0, 1.0), Normal(-1.0, 0.2), Normal(0.0, 10.0)])
def test_1_4_laws_with_a_mean_or_no_spread(weights: Normal, biases: Normal) -> None:
    law = chain.predict_chains(weights, biases, input=0.4, activation="tanh").product(5)
    drawn = chain.draw_chains(5, weights, biases, 20_000, 3, input=0.4, activation="tanh")
    spread = max(drawn.std, 1e-12)
    assert abs(drawn.mean - law.mean) < 5 * spread / math.sqrt(20_000) + 2e-3
    assert law.std == pytest.approx(drawn.std, rel=0.06, abs=0.02)


def test_1_4_linear_chains_are_sums_of_independent_logarithms() -> None:
    law = chain.predict_chains(Normal(0.0, 2.0), activation="linear").product(7)
    assert law.mean == pytest.approx(6 * (chain.MEAN_LOG + math.log(2.0)), abs=1e-5)
    assert law.variance == pytest.approx(6 * chain.VARIANCE_LOG, rel=1e-5)
    assert law.skewness == pytest.approx(-1.5351 / math.sqrt(6), abs=1e-3)  # psi''(1/2)/8 over (pi^2/8)^1.5


def test_a_log_law_has_the_moments_it_is_made_of() -> None:
    at = np.linspace(-40.0, 30.0, 200_001)
    for skewness in (-0.8, 0.0, 0.5):
        law = LogLaw(-3.0, 4.0, skewness, 0.7)
        density = law.density(at) * (at[1] - at[0])
        mean = (density * at).sum() / density.sum()
        assert density.sum() == pytest.approx(0.7, abs=1e-6) and mean == pytest.approx(-3.0, abs=1e-5)
        assert (density * (at - mean) ** 2).sum() / 0.7 == pytest.approx(4.0, rel=1e-4)
        assert (density * (at - mean) ** 3).sum() / 0.7 == pytest.approx(skewness * 8.0, abs=1e-2)
    assert law_of(np.zeros(4)).alive == 0.0


# --- 1.5 early against late -----------------------------------------------------------------------------------


def test_1_5_two_more_factors() -> None:
    one = PRESETS["early_late"].question.chain()
    found = chain.early_against_late(one, 1, 3)
    (i, first, second), (j, third, fourth) = found.factors
    assert (i, j) == (1, 2)
    assert (first, second, third, fourth) == (one.slopes[0], one.weights[1], one.slopes[1], one.weights[2])
    assert found.ratio == pytest.approx(abs(one.bias_gradients[0] / one.bias_gradients[2]), rel=1e-12)
    assert abs(first * second) < 0.25 and abs(third * fourth) < 0.25 and found.ratio < 1 / 16
    assert abs(autograd(one)[0][0] / autograd(one)[0][2]) == pytest.approx(found.ratio, rel=1e-11)


# --- 1.6 the exploding chain ----------------------------------------------------------------------------------


def test_1_6_every_factor_is_exactly_25() -> None:
    for length in (2, 4, 100):
        one = chain.exploding(length)
        assert (one.z == 0.0).all() and (one.factors[1:] == 25.0).all() and one.factors[0] == 0.25
        assert one.biases == tuple(-100.0 * float(a) for a in one.a[:-1])
    assert PRESETS["exploding"].question.chain() == chain.exploding(4)
    assert chain.exploding(4).gradient == pytest.approx(float(autograd(chain.exploding(4))[0][0]), rel=1e-12)


@pytest.mark.parametrize("code", ACTIVATIONS)
def test_1_6_for_every_activation(code: str) -> None:
    one = chain.exploding(5, 30.0, code)
    slope = float(ACTIVATIONS[code].derivative(np.zeros(1), negative_slope_of(code, None))[0])
    assert (one.z == 0.0).all() and (one.factors[1:] == 30.0 * slope).all()


# --- 1.7 where explosion is possible --------------------------------------------------------------------------


def test_1_7_the_sigmoids_interval() -> None:
    peak = chain.widest("sigmoid")
    assert peak.width == pytest.approx(0.44774, abs=5e-6) and peak.size == pytest.approx(6.894, abs=5e-4)
    for w in (4.0, 4.1, 6.9, 20.0, 1000.0):
        assert chain.explosive_width("sigmoid", w) == pytest.approx(chain.sigmoid_width(w), rel=1e-9, abs=2e-7)
    assert chain.explosive_width("sigmoid", 3.999) == 0.0 and chain.least_weight("sigmoid") == 4.0


@pytest.mark.parametrize("code", ACTIVATIONS)
@pytest.mark.parametrize(("w", "b"), [(1.7, 0.4), (-9.0, 2.0)])
def test_1_7_inside_the_interval_and_nowhere_else(code: str, w: float, b: float) -> None:
    a = np.linspace(-6.0, 6.0, 24_001)
    slope = negative_slope_of(code, None)
    inside = np.abs(w * ACTIVATIONS[code].derivative(w * a + b, slope)) >= 1.0
    found, near = np.zeros(len(a), bool), np.zeros(len(a), bool)
    for low, high in chain.explosive_interval(code, w, b):
        found |= (a >= low) & (a <= high)
        near |= (np.abs(a - low) < 1e-6) | (np.abs(a - high) < 1e-6)
    assert (found == inside)[~near].all()


@pytest.mark.parametrize("code", ACTIVATIONS)
def test_1_7_the_widest_for_every_activation(code: str) -> None:
    if not chain.has_width(code):
        with pytest.raises(SpecError, match="activation"):
            chain.widest(code)
        return
    peak = chain.widest(code)
    least = chain.least_weight(code)
    widths = [chain.explosive_width(code, w) for w in np.geomspace(1.001 * least, 300.0, 200)]
    assert peak.width >= max(widths) - 1e-9
    assert chain.explosive_width(code, peak.size) == peak.width


# --- 1.8 balance ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ACTIVATIONS)
def test_1_8_the_predicted_share_meets_drawn_chains(code: str) -> None:
    """Within 5 standard errors of 20,000 chains and the lattice's 0.01."""
    w = Normal(0.0, 3.0)
    predicted = chain.predict_chains(w, activation=code)
    shares = chain.draw_chains(8, w, draws=20_000, seed=5, activation=code).balanced()
    for length in (2, 3, 5, 8):
        share = float(shares[length - 1])
        error = math.sqrt(max(share * (1.0 - share), 1e-4) / 20_000)
        assert abs(predicted.balanced(length) - share) < 5 * error + 0.01


@pytest.mark.parametrize("code", ["sigmoid", "tanh", "elu"])
def test_1_8_mean_and_spread_of_the_ratio(code: str) -> None:
    """The ratio of a chain of 5, of which the last weight is a factor and the last slope is not."""
    w = Normal(0.5, 2.0)
    law = chain.predict_chains(w, activation=code).ratio(5)
    logs = chain.draw_chains(5, w, draws=20_000, seed=9, activation=code).log_ratio[:, -1]
    assert abs(logs.mean() - law.mean) < 5 * logs.std() / math.sqrt(20_000) + 1e-3 * law.std
    assert law.std == pytest.approx(logs.std(), rel=0.03)


def test_1_8_no_scale_holds_the_share_up() -> None:
    for std in (1.0, 4.0, 30.0):
        shares = [chain.predict_chains(Normal(0.0, std)).balanced(length) for length in (2, 4, 8)]
        assert shares == sorted(shares, reverse=True) and shares[0] < 0.8 and shares[-1] < 0.01
    assert chain.predict_chains(Normal(0.0, 4.0)).balanced(4) == pytest.approx(0.144, abs=0.005)
    assert chain.predict_chains().balanced(1) == 1.0


def test_1_8_a_long_chain_uses_the_whole_lattice() -> None:
    law = chain.predict_chains(Normal(0.0, 1.887), activation="linear")  # E ln |w| is 0: the best scale there is
    shares = chain.draw_chains(60, Normal(0.0, 1.887), draws=20_000, seed=5, activation="linear").balanced()
    assert abs(law.balanced(60) - shares[59]) < 5 * math.sqrt(0.25 / 20_000) + 0.005


# --- 1.9 training ---------------------------------------------------------------------------------------------


def test_1_9_training_is_plain_gradient_descent() -> None:
    """The factors and costs of every step are those of torch's own SGD."""
    one = PRESETS["training"].question.chain()
    run = chain.train(one, 1.0, 40)
    w, b = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (one.weights, one.biases))
    optimizer = torch.optim.SGD([w, b], lr=1.0)
    for step in range(41):
        a, factors = torch.tensor(one.input, dtype=torch.float64), []
        for j in range(one.length):
            s = torch.sigmoid(w[j] * a + b[j])
            factors.append(float((s * (1 - s) * (w[j] if j else 1.0)).detach()))
            a = s
        cost = 0.5 * (a - one.target) ** 2
        np.testing.assert_allclose(run.factors[step], factors, rtol=1e-9)
        assert run.cost[step] == pytest.approx(float(cost.detach()), rel=1e-9)
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()


def test_1_9_the_presets_factors_never_reach_1() -> None:
    question = PRESETS["training"].question
    run = chain.train(question.chain(), question.rate, 300)
    assert run.above.max() == 0 and run.cost[-1] < 0.01 * run.cost[0] and run.stopped is None
    assert (chain.train(chain.exploding(4), 1e-3, 3).above == [3, 0, 0, 0]).any()


def test_1_9_a_rate_that_is_too_large_stops_with_its_step() -> None:
    run = chain.train(chain.random_chain(4, activation="linear", target=900.0), 50.0, 50)
    assert run.stopped is not None and len(run.cost) == run.stopped
    assert np.isfinite(run.factors).all() and np.isfinite(run.cost).all()


def test_it_needs_numpy_and_scipy_alone() -> None:
    passes(
        "from gradcore.experiments import chain\n"
        "law = chain.predict_chains(); law.product(4), law.balanced(4), chain.draw_chains(4, draws=10)\n"
        "chain.train(chain.random_chain(3), steps=2), chain.widest(), chain.nudges(chain.random_chain(3))\n"
        f"check(*{HEAVY!r})"
    )


# --- presets, links, bad input --------------------------------------------------------------------------------


def test_every_row_has_a_preset_whose_link_opens_it() -> None:
    assert [p.experiment for p in PRESETS.values()] == [f"1.{i}" for i in range(1, 10)]
    for code, preset in PRESETS.items():
        assert preset.code == code and from_query(preset.query) == preset.question
        assert chain.find_chain_preset(preset.experiment) is chain.find_chain_preset(code) is preset
        assert preset.question.chain().length == preset.question.length
    assert len({preset.question for preset in PRESETS.values()}) == len(PRESETS)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"chain_length": "0"}, "chain_length"),
        ({"chain_length": "x"}, "chain_length"),
        ({"chain_weights": "1, two"}, "chain_weights"),
        ({"chain_weights": "cancel"}, "chain_weights"),
        ({"chain_biases": "nan"}, "chain_biases"),
        ({"chain_input": "inf"}, "chain_input"),
        ({"chain_activation": "swish"}, "chain_activation"),
        ({"chain_view": ""}, "chain_view"),
        ({"chain_depth": "3"}, "chain_depth"),
    ],
)
def test_bad_links_name_their_parameter(query: dict[str, str], field: str) -> None:
    with pytest.raises(SpecError) as caught:
        from_query(query)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("weights", lambda: Chain((), ())),
        ("weights", lambda: Chain((1.0,) * 101, (0.0,) * 101)),
        ("weights", lambda: Chain((1.0, math.nan), (0.0, 0.0))),
        ("weights", lambda: Chain("12", (0.0, 0.0))),  # type: ignore[arg-type]
        ("weights", lambda: Chain((1e3,) * 60, (0.0,) * 60, activation="linear")),
        ("biases", lambda: Chain((1.0, 1.0), (0.0,))),
        ("activation", lambda: Chain((1.0,), (0.0,), activation="swish")),
        ("negative_slope", lambda: Chain((1.0,), (0.0,), activation="prelu", negative_slope=2.0)),
        ("cost", lambda: Chain((1.0,), (0.0,), cost="hinge")),
        ("input", lambda: Chain((1.0,), (0.0,), input=math.inf)),
        ("length", lambda: chain.random_chain(0)),
        ("seed", lambda: chain.random_chain(3, seed=-1)),
        ("std", lambda: Normal(0.0, -1.0)),
        ("mean", lambda: Normal(math.nan, 1.0)),
        ("draws", lambda: chain.draw_chains(3, draws=0)),
        ("delta", lambda: chain.nudge(chain.random_chain(2), 0.0)),
        ("late", lambda: chain.early_against_late(chain.random_chain(2))),
        ("early", lambda: chain.early_against_late(chain.random_chain(4), 3, 2)),
        ("weight", lambda: chain.exploding(3, math.nan)),
        ("weight", lambda: chain.explosive_width("tanh", 0.0)),
        ("bias", lambda: chain.explosive_interval("tanh", 1.0, math.nan)),
        ("rate", lambda: chain.train(chain.random_chain(2), 0.0)),
        ("steps", lambda: chain.train(chain.random_chain(100), steps=10_000)),
        ("length", lambda: chain.predict_chains().product(101)),
        ("activation", lambda: chain.predict_chains(activation="swish")),
        ("preset", lambda: chain.find_chain_preset("9.9")),
        ("input", lambda: chain.draw_chains(3, input=math.nan)),
        ("input", lambda: chain.predict_chains(input=math.inf)),
        ("window", lambda: chain.predict_chains().balanced(3, math.nan)),
        ("activation", lambda: chain.cancelling_biases((1.0,), activation="swish")),
        ("late", lambda: chain.random_chain(4).log_ratio(1, 2.5)),  # type: ignore[arg-type]
        ("weights", lambda: ChainQuestion(weights="1, 2, 3").chain()),
    ],
)
def test_bad_values_are_named(field: str, make: Any) -> None:
    with pytest.raises(SpecError) as caught:
        make()
    assert caught.value.field == field


def test_numbers_follow_the_length_and_can_be_written_out() -> None:
    asked = ChainQuestion(length=4, weights="1, 2, 3, 4", biases="cancel")
    assert asked.resized(2).weights == "1, 2" and asked.resized(6).weights == "1, 2, 3, 4, 4, 4"
    assert asked.resized(6).biases == "cancel" and asked.resized(6).chain().length == 6
    written = ChainQuestion(seed=5).written_out()
    np.testing.assert_allclose(written.chain().weights, ChainQuestion(seed=5).chain().weights, rtol=1e-5)
    assert written.listed and not written.drawn and not asked.listed and from_query(written.to_query()) == written
    assert chain.random_chain(7, seed=3).weights[:4] == chain.random_chain(4, seed=3).weights
