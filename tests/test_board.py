"""Section 4 of the classic experiments, the remedies of a network: every figure predicted, and measured on torch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import gradcore as gc
from gradcore.activations import ACTIVATIONS
from gradcore.errors import SpecError, UnsupportedError
from gradcore.experiments.board import (
    Board,
    activation_factors,
    board,
    combined,
    factors,
    measure_board,
    residual_factors,
)
from gradcore.experiments.board_remedies import ALPHAS, BOARD, Choices, board_remedy, in_order
from gradcore.experiments.board_words import LARGE_BATCH, figure, headline
from gradcore.experiments.usable_depth import usable_depth
from gradcore.spec import Spec
from gradcore.verdict import USABLE
from gradcore.words import Message
from tests.agreement import assert_logs_agree, assert_means_agree, both, limit

SMALL: dict[str, Any] = {"depth": 8, "width": 200, "batch_size": 8}


def log_factors(profile: gc.Profile) -> np.ndarray:
    """(L - 1,) ln of the gradient's mean square at layer l over that at layer l + 1."""
    return -np.diff(profile.log_g)


def measured_mean_factor(measured: gc.Measurement) -> tuple[float, float]:
    """ln of the gradient's factor per layer in mean square between the layers next to the ends, with its error."""
    logs = measured.log_g[:, 1] - measured.log_g[:, -3]
    steps = measured.spec.depth - 4
    return float(logs.mean()) / steps, float(logs.std(ddof=1)) / math.sqrt(len(logs)) / steps


# --- 4.2 activation ---------------------------------------------------------------------------------------------


def test_4_2_each_activation_has_its_factor() -> None:
    found = board(Spec(activation="sigmoid"))
    plain, relu, tanh = found.plain, found.alone["relu"], found.alone["tanh"]
    assert plain.factors is not None and relu.factors is not None and tanh.factors is not None
    assert math.exp(plain.factors.backward.log) == pytest.approx(0.236, abs=5e-4)
    assert plain.verdict is not None and plain.verdict.kind == "vanishing"
    assert relu.factors.backward.log == pytest.approx(0.0, abs=1e-9)
    assert math.exp(tanh.factors.backward.log) == pytest.approx(0.96, abs=5e-3)
    assert relu.spec == Spec(activation="relu", gain=math.sqrt(2)) and tanh.spec == Spec(activation="tanh")
    assert found.best is relu


def test_4_2_tanh_falls_like_a_power_of_the_depth() -> None:
    """chi = 1 - 2q and q = 1/(2 l) give a product of 1/L: between 200 and 400 layers the ratio halves."""
    tanh = BOARD["tanh"].apply(Spec(activation="sigmoid", depth=400))
    logs = gc.predict(tanh).log_g
    assert logs[199] - logs[399] == pytest.approx(-math.log(2), abs=0.02)


def test_4_2_every_activation_with_its_factor() -> None:
    spec = Spec(activation="leaky_relu", negative_slope=0.2, depth=12)
    found = {code: (own, fitted) for code, own, fitted in activation_factors(spec)}
    assert list(found) == list(ACTIVATIONS)
    for own, _ in found.values():
        assert own.spec is not None and own.spec.init == "xavier_normal" and own.factors is not None
    own, fitted = found["leaky_relu"]
    assert own.spec == spec and fitted.factors is not None
    assert math.exp(2 * own.inner) == pytest.approx((1 + 0.2**2) / 2) and abs(fitted.factors.backward.log) < 1e-9
    assert found["tanh"][0].spec != spec and found["tanh"][1].spec == Spec(
        activation="tanh", init="lecun_normal", depth=12
    )
    for code in ("sigmoid", "gelu", "mish"):  # by far too small a gain for them
        assert found[code][1].distance < found[code][0].distance
    assert found["gelu"][1].spec == Spec(activation="gelu", init="lecun_normal", gain="auto", depth=12)
    assert found["softplus"][1].spec == Spec(activation="softplus", init="lecun_normal", gain="auto", depth=12)


@pytest.mark.parametrize("code", ["relu", "tanh"])
def test_4_2_measured(code: str) -> None:
    assert_means_agree(*both(BOARD[code].apply(Spec(activation="sigmoid", **SMALL)), 16))


# --- 4.3 norms ----------------------------------------------------------------------------------------------------


def test_4_3_batch_norm_pins_the_signal_and_not_the_gradient() -> None:
    for gain in (0.1, 1.0, 2.0):
        entry = board(Spec(gain=gain)).alone["batch_norm"]
        assert entry.profile is not None and entry.verdict is not None and entry.verdict.kind == "exploding"
        assert np.ptp(entry.profile.log_q[10:]) < 1e-9  # eps = 1e-5 is felt before, at small weights
        assert (log_factors(entry.profile)[1:-1] >= 0.0).all()
        assert math.exp(2 * entry.inner) == pytest.approx(1.59, abs=5e-3)


def test_4_3_batch_norm_tends_to_pi_over_pi_minus_1_from_above() -> None:
    inner = {b: board(Spec(depth=20, batch_size=b)).alone["batch_norm"].inner for b in (8, 16, 64, 1024, 8192)}
    squares = [math.exp(2 * log) for log in inner.values()]
    assert squares == sorted(squares, reverse=True) and squares[0] == pytest.approx(1.79, abs=5e-3)
    assert pytest.approx(1.46694, abs=1e-5) == LARGE_BATCH < squares[-1]
    assert squares[-1] - LARGE_BATCH == pytest.approx((squares[-2] - LARGE_BATCH) / 8, rel=0.1)  # like 1/batch


def test_4_3_measured_batch_norm() -> None:
    """The factor away from the ends on torch networks of 512 samples; the leading correction in 1/width is allowed."""
    spec = board(Spec(depth=7, width=200, batch_size=512)).alone["batch_norm"].spec
    assert spec is not None
    log, error = measured_mean_factor(gc.measure(spec, networks=6, seed=0))
    predicted = log_factors(gc.predict(spec))[1:-2].mean()
    assert math.exp(predicted) == pytest.approx(LARGE_BATCH, rel=0.02)
    assert abs(log - predicted) < limit(1, 6) * error + 4 / 200


@pytest.mark.parametrize("code", ["batch_norm", "layer_norm"])
def test_4_3_measured_signal_is_pinned(code: str) -> None:
    found = board(Spec(gain=2.0, **SMALL), [code])
    measured = measure_board(found, networks=6)
    mine, entry = factors(measured[code]).forward, found.alone[code]
    assert mine.error is not None and entry.factors is not None
    assert abs(mine.log - entry.factors.forward.log) < limit(1, 6) * mine.error + 2 / 200
    kept = measured[code].log_q[:, -1] - measured[code].log_q[:, 1]  # from the first normalized layer on
    assert abs(kept.mean()) < limit(1, 6) * kept.std(ddof=1) / math.sqrt(6) + 12 / 200
    plain = factors(measured["plain"]).forward
    assert plain.error is not None
    assert abs(plain.log - math.log(math.sqrt(2))) < limit(1, 6) * plain.error + 2 / 200


def test_4_3_layer_norm_does_not_mend_the_slope() -> None:
    entry = board(Spec(activation="sigmoid")).alone["layer_norm"]
    assert entry.verdict is not None and entry.verdict.kind == "vanishing"


# --- 4.4 residual connections -------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("gain", [1.0, 2.0])
def test_4_4_the_factor_is_one_plus_alpha_squared_chi(alpha: str, gain: float) -> None:
    found = board(Spec(gain=gain), ["residual"], Choices(alpha))
    entry = found.alone["residual"]
    assert entry.profile is not None and entry.spec is not None
    chi = gain**2 / 2  # of ReLU
    np.testing.assert_allclose(np.exp(log_factors(entry.profile)), 1 + entry.spec.alpha**2 * chi, rtol=1e-9)


def test_4_4_it_cures_vanishing_and_does_not_suppress_explosion() -> None:
    kinds = {}
    for gain in (1.0, 2.0):
        found = board(Spec(gain=gain))
        assert found.plain.factors is not None
        for alpha, entry in residual_factors(Spec(gain=gain)).items():
            assert entry.verdict is not None and entry.factors is not None
            kinds[gain, alpha] = entry.verdict.kind
            assert entry.factors.backward.log >= -1e-12  # never below 1
            if gain == 2.0 and alpha == "1":
                assert entry.factors.backward.log > found.plain.factors.backward.log  # sqrt(3) against sqrt(2)
    assert kinds[2.0, "1"] == "exploding" and kinds[2.0, "1/sqrt(L)"] == "stable"
    assert kinds[1.0, "1/sqrt(L)"] == "stable" and "vanishing" not in kinds.values()
    assert kinds[1.0, "0"] == kinds[2.0, "0"] == "dead"  # the blocks learn nothing


@pytest.mark.parametrize("alpha", ["1", "1/sqrt(2)", "1/sqrt(L)"])
def test_4_4_measured(alpha: str) -> None:
    """On an exploding net, one sample: factor and explosion are those of torch."""
    spec = BOARD["residual"].apply(Spec(gain=2.0, depth=8, width=200, batch_size=1), Choices(alpha))
    predicted, measured = both(spec, 20)
    assert_means_agree(predicted, measured)
    log, error = measured_mean_factor(measured)
    assert abs(log - math.log(1 + spec.alpha**2 * 2.0)) < limit(1, 20) * error + 4 / 200


# --- 4.5 initialization -------------------------------------------------------------------------------------------


def test_4_5_the_initialization_follows_the_activation() -> None:
    for activation, init, gain in (
        ("relu", "kaiming_normal", 1.0),
        ("leaky_relu", "kaiming_normal", 1.0),
        ("linear", "lecun_normal", 1.0),
        ("tanh", "lecun_normal", 1.0),
    ):
        entry = board(Spec(activation=activation, gain=3.0, bias_std=0.5)).alone["initialization"]
        assert entry.spec is not None and entry.verdict is not None and entry.verdict.stable
        assert (entry.spec.init, entry.spec.gain, entry.spec.bias_std) == (init, pytest.approx(gain), 0.0)


def test_4_5_measured() -> None:
    spec = BOARD["initialization"].apply(Spec(gain=2.0, **{**SMALL, "batch_size": 1}))
    predicted, measured = both(spec, 20)
    assert_logs_agree(predicted, measured)


# --- 4.8 fewer layers ---------------------------------------------------------------------------------------------


def test_4_8_the_largest_usable_depth() -> None:
    """ReLU at gain 1: (1/sqrt 2)^(L - 1) >= 1/100 up to L = 14."""
    found = usable_depth(Spec())
    assert found.depth == 14 == 1 + math.floor(math.log(USABLE) / math.log(math.sqrt(2)))
    for spec in (Spec(activation="sigmoid"), Spec(norm="batch"), Spec(gain=2.0, residual="identity")):
        depth = usable_depth(spec).depth
        ratios = [
            abs(0.5 * float(np.ptp(gc.predict(spec.replace(depth=d)).log_g[[0, -1]]))) for d in (depth, depth + 1)
        ]
        assert ratios[0] <= math.log(USABLE) < ratios[1]


def test_4_8_limits_of_the_search() -> None:
    assert usable_depth(Spec(init="kaiming_normal"), most=60).depth == 60
    assert usable_depth(Spec(), limit=10.0).depth == 7
    assert usable_depth(Spec(depth=3, width=(9, 8, 7))).depth == 3
    assert usable_depth(Spec(depth=1)).depth == 14 and usable_depth(Spec(), most=1).depth == 1
    for call in (lambda: usable_depth(Spec(), limit=1.0), lambda: usable_depth(Spec(), most=0)):
        with pytest.raises(SpecError):
            call()


def test_4_8_measured() -> None:
    """At the predicted depth the mean network's ratio is within 100, four layers deeper it is not."""
    spec = Spec(width=200, batch_size=4)
    depth = usable_depth(spec).depth
    for deeper, usable in ((0, True), (4, False)):
        ratio = factors(gc.measure(spec.replace(depth=depth + deeper), networks=12, seed=0)).ratio
        assert (ratio.log > -math.log(USABLE) - 0.2) == usable
    changed = BOARD["fewer_layers"].apply(Spec(width=(8,) * 49 + (3,)), Choices(depth=14))
    assert changed.depth == 14 and changed.width == (8,) * 13 + (3,)


# --- the board ----------------------------------------------------------------------------------------------------


def test_remedies_together_in_the_order_of_the_table() -> None:
    found = board(Spec(), ["residual", "batch_norm"])
    assert found.on == ("batch_norm", "residual") and found.together is not None
    assert found.together.spec == Spec(norm="batch", residual="identity")
    kinds = [e.verdict.kind for e in found.shown if e.verdict is not None]
    assert kinds == ["vanishing", "exploding", "exploding", "stable"]  # each alone explodes, both together hold
    assert board(Spec(), ["residual"]).together is None
    changed, skipped = combined(Spec(), ["relu", "initialization", "fewer_layers"])
    assert changed == Spec(init="kaiming_normal") and set(skipped) == {"relu", "fewer_layers"}
    changed, _ = combined(Spec(), ["tanh", "initialization"])
    assert changed.activation == "tanh" and changed.init == "lecun_normal"  # the suit is cut for the new activation


def test_what_does_not_apply_says_why() -> None:
    unequal = board(Spec(depth=3, width=(9, 8, 7)), ["residual"])
    reasons = {code: entry.refusal for code, entry in unequal.alone.items() if entry.refusal is not None}
    assert "differ in width" in str(reasons["residual"]) and unequal.shown == (unequal.plain,)
    assert "has it already" in str(reasons["relu"]) and "all 3 layers are usable" in str(reasons["fewer_layers"])
    assert "one sample" in str(board(Spec(batch_size=1)).alone["batch_norm"].refusal)
    assert "in force" in str(board(Spec(norm="layer")).alone["layer_norm"].refusal)
    refused = board(Spec(input_correlation=1.0)).alone["batch_norm"]
    assert isinstance(refused.refusal, UnsupportedError) and "input_correlation" in str(refused.refusal)
    for spec, depth in ((Spec(), 50), (Spec(), 60)):
        with pytest.raises(UnsupportedError):
            BOARD["fewer_layers"].apply(spec, Choices(depth=depth))
    with pytest.raises(UnsupportedError):
        BOARD["residual"].apply(Spec(depth=1))
    silent = board(Spec(norm="batch", batch_size=3))
    assert silent.plain.refusal is not None and silent.plain.spec is not None and silent.plain.factors is None


def test_wrong_codes_are_named() -> None:
    for call in (lambda: board_remedy("bn"), lambda: in_order(["relu", "tanh"]), lambda: Choices("2")):
        with pytest.raises(SpecError):
            call()


def said(found: Board) -> str:
    return " ".join(message.text() for message in headline(found))


def test_the_headline() -> None:
    text = said(board(Spec(), ["batch_norm", "residual"]))
    assert text.startswith("Plain: gradients vanish: ×0.71 per layer in norm (×0.50 in mean square)")
    assert "Best single remedy: initialization that suits the activation, ×1.00 per layer" in text
    assert "Switched on together: stable, ×1.05 per layer in RMS (×1.09 in mean square)," in text
    assert text.endswith("layer 1 receives 9.2 times the last layer's gradient.")
    alone = said(board(Spec(), ["residual"]))
    assert "Switched on: residual connections: exploding, ×1.22 per layer" in alone and "together" not in alone
    assert "Best" not in said(board(Spec(init="kaiming_normal")))
    assert "no prediction" in said(board(Spec(norm="batch", batch_size=3)))


def test_every_remedys_own_figures() -> None:
    spec = Spec()
    found = board(spec)
    text = {
        code: message.text()
        for code, entry in found.alone.items()
        if (message := figure(entry, found.plain, residual_factors(spec) if code == "residual" else None)) is not None
    }
    assert "×1.26 per layer in RMS (×1.59 in mean square); 1.467 in large batches" in text["batch_norm"]
    assert "α = 1: ×1.50, α = 1/sqrt(2): ×1.25, α = 1/sqrt(L): ×1.01, α = 0: ×1.00" in text["residual"]
    assert "kaiming_normal at gain 1, σ_w = 1.414" in text["initialization"]
    assert "14 layers instead of 50" in text["fewer_layers"] and "factor 100" in text["fewer_layers"]
    assert "layer_norm" not in text and "relu" not in text


def test_every_remedy_has_its_words() -> None:
    assert [one.experiment for one in BOARD.values()] == sorted(one.experiment for one in BOARD.values())
    for one in BOARD.values():
        for message in (one.title, one.does, one.does_not):
            assert isinstance(message, Message) and message.text() and "{" not in message.text()


def test_factors_of_a_measurement() -> None:
    """Forward and backward of a linear net of orthogonal matrices at gain 2: exactly 2, in every network."""
    found = factors(gc.measure(Spec(activation="linear", init="orthogonal", gain=2.0, **SMALL), networks=3))
    for one in (found.forward, found.backward):
        assert one.log == pytest.approx(math.log(2.0), abs=1e-9) and one.error == pytest.approx(0.0, abs=1e-7)
    single = factors(gc.measure(Spec(depth=1, width=8), networks=1))
    assert math.isnan(single.forward.log) and math.isnan(single.forward.error or 0.0)


def test_a_dead_network_has_factors_whose_error_is_no_number() -> None:
    dead = factors(gc.measure(gc.Spec(depth=4, width=8, gain=0.0), networks=2))
    assert dead.forward.log == -math.inf and dead.forward.error is not None and math.isnan(dead.forward.error)
