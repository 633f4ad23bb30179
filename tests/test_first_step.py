"""Nielsen's figures of chapter 5, the predicted law of the first step against torch's, remedies beside plain runs."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import ks_2samp

import gradcore as gc
from gradcore.experiments.data import digits
from gradcore.experiments.first_step import QUANTITIES, FirstStep, measure_first_step, predict_first_step, usable_depth
from gradcore.experiments.remedies import REMEDIES, predicted_lift, remedy, try_remedy
from gradcore.experiments.train_spec import TrainSpec, nielsen
from gradcore.experiments.training import compare_runs, train, train_all

BOOK = (0.003, 0.017, 0.070, 0.285)  # single draws on MNIST, Nielsen 2015, ch. 5
BOOKS = {1: (), 2: (0.07, 0.31), 3: (0.012, 0.060, 0.283), 4: BOOK}  # by hidden layers
MEDIANS = {"scaled": (0.0023, 0.0120, 0.0580, 0.289), "standard": (0.28, 0.48, 0.81, 1.27)}
HALF_DIGIT = {"scaled": (5e-5, 5e-5, 5e-5, 5e-4), "standard": (5e-3,) * 4}  # of what is given
FEW = digits(40)
SMALL = nielsen([64, 9, 8, 10])
FALSE_ALARM = 0.01


# --- Nielsen's figures, and what is predicted of them ------------------------------------------------------------


def near_medians(speeds: np.ndarray, weights: str) -> None:
    """Within four standard errors of a median of log-normal values, and half a unit of the last digit given."""
    logs = np.log(speeds[:, :4])
    error = 4 * 1.2533 * logs.std(axis=0, ddof=1) / math.sqrt(len(logs))
    for layer, value in enumerate(MEDIANS[weights]):
        digit = HALF_DIGIT[weights][layer] / value
        assert abs(np.median(logs[:, layer]) - math.log(value)) < error[layer] + digit


@pytest.mark.parametrize("weights", MEDIANS)
def test_speeds_of_sixty_seeds(weights):
    spec = TrainSpec(network=nielsen([64, 30, 30, 30, 30, 10], weights))
    data = digits()
    measured = measure_first_step(spec, data, networks=60)
    near_medians(measured.speeds, weights)
    predicted = predict_first_step(spec, data, networks=60)
    near_medians(predicted.speeds, weights)
    assert least_p_value(predicted, measured) > FALSE_ALARM / 15
    if weights == "scaled":
        ratio = measured.speeds[:, 3] / measured.speeds[:, 0]
        assert 90 < np.median(ratio) < 180 and ratio.min() > 30


@pytest.mark.slow
def test_speeds_of_400_seeds():
    spec, data = TrainSpec(), digits()
    measured = measure_first_step(spec, data, networks=400)
    predicted = predict_first_step(spec, data, networks=400)
    near_medians(measured.speeds, "scaled")
    near_medians(predicted.speeds, "scaled")
    for speeds in (measured.speeds, predicted.speeds):
        low, high = np.quantile(speeds, [0.025, 0.975], axis=0)
        assert np.all(low[:4] < BOOK) and np.all(high[:4] > BOOK)
        ratio = speeds[:, 3] / speeds[:, 0]
        assert 90 < np.median(ratio) < 180 and ratio.min() > 30
    assert least_p_value(predicted, measured) > FALSE_ALARM / 15
    low, high = predicted.band()
    inside = np.mean((measured.speeds > low) & (measured.speeds < high), axis=0)
    assert np.all(np.abs(inside - 0.95) < 4 * math.sqrt(2 * 0.95 * 0.05 / 400))


@pytest.mark.slow
def test_speeds_grow_towards_the_output_at_every_depth():
    """And every single draw of the book lies inside the 95% band."""
    for hidden, book in BOOKS.items():
        measured = measure_first_step(TrainSpec(network=nielsen([64, *[30] * hidden, 10])), digits(), networks=150)
        assert np.all(np.diff(measured.median()) > 0)
        low, high = measured.band()
        assert np.all(low[: len(book)] < book) and np.all(high[: len(book)] > book)


def least_p_value(predicted: FirstStep, measured: FirstStep) -> float:
    """Kolmogorov-Smirnov, over quantities and layers; equal up to rounding counts as equal."""
    pairs = [(predicted.values(name), measured.values(name)) for name in QUANTITIES]
    pairs = [(np.round(a, 14), np.round(b, 14)) for a, b in pairs]
    return min(ks_2samp(a[:, layer], b[:, layer]).pvalue for a, b in pairs for layer in range(a.shape[1]))


LAWS = {
    "uniform, default biases": {"activation": "tanh", "init": "xavier_uniform", "bias_std": "default"},
    "orthogonal": {"activation": "relu", "init": "orthogonal"},
    "sparse": {"activation": "tanh", "init": "sparse", "gain": 0.3},
    "batch norm": {"activation": "relu", "init": "kaiming_normal", "norm": "batch"},
    "batch norm on a stream": {"activation": "tanh", "norm": "batch", "residual": "identity"},
    "layer norm in two layers": {"activation": "relu", "norm": "layer", "residual": "two_layer", "bias_std": 0.2},
    "batch norm in post-activation": {"activation": "tanh", "residual": "post_activation", "norm": "batch"},
    "resnet v1": {"activation": "relu", "residual": "resnet_v1", "norm": "rms"},
}


@pytest.mark.parametrize("law", LAWS)
def test_the_predicted_law_is_torchs(law):
    """Every quantity of every layer, over seeds; Bonferroni over all looks."""
    cost = "quadratic" if len(law) % 2 else "cross_entropy"
    spec = TrainSpec(network=gc.Spec(depth=5, width=9, **LAWS[law]), cost=cost)
    predicted = predict_first_step(spec, FEW, networks=150)
    assert least_p_value(predicted, measure_first_step(spec, FEW, networks=40)) > FALSE_ALARM / len(LAWS) / 15


def test_measured_first_steps_are_those_of_train():
    """The seeds follow each other, and all see the first seed's first batch."""
    spec = TrainSpec(network=SMALL, batch=13, seed=4)
    measured = measure_first_step(spec, FEW, networks=(0, 2))
    assert measured.speeds[0] == pytest.approx(next(train(spec, FEW)).speeds)
    batch = FEW.part(spec.batch_indices(FEW, 0))
    assert measured.speeds[1] == pytest.approx(next(train(spec.replace(seed=6, batch="full"), batch)).speeds)
    with pytest.raises(gc.SpecError):
        measure_first_step(spec, FEW, networks=0)
    broken = TrainSpec(network=gc.Spec(depth=8, width=20, init="normal", gain=1e6), dtype="float32")
    with pytest.raises(gc.UnsupportedError, match="pre-activations"):
        measure_first_step(broken, FEW, networks=1)


def test_another_law_is_noticed():
    spec = TrainSpec(network=gc.Spec(depth=5, width=9, activation="tanh"), cost="quadratic")
    measured = measure_first_step(spec, FEW, networks=40)
    for other in (spec.replace(bias_std=0.5), spec.replace(gain=1.3), spec.replace(cost="cross_entropy")):
        assert least_p_value(predict_first_step(other, FEW, networks=150), measured) < 1e-5


def test_prediction_loads_no_torch():
    code = (
        "import sys; from gradcore.experiments import clipping, regularization, remedies, symptoms\n"
        "from gradcore.experiments.data import digits; from gradcore.experiments.train_spec import TrainSpec\n"
        "regularization.predicted_share(TrainSpec(l2=1.0), digits(20), networks=2)\n"
        "assert not {'torch', 'pandas', 'sklearn', 'altair'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_prediction_is_a_function_of_its_question_and_has_a_band():
    spec = TrainSpec(network=SMALL)
    one, other = (predict_first_step(spec, FEW, networks=50) for _ in range(2))
    assert np.array_equal(one.speeds, other.speeds)
    low, high = one.band()
    assert np.all(low < one.median()) and np.all(one.median() < high) and np.all(one.mean() < high)
    assert one.norms == pytest.approx(np.sqrt((one.speeds**2).sum(1) + (one.weight_gradients**2).sum(1)))
    with pytest.raises(gc.SpecError):
        one.band(level=1.0)
    with pytest.raises(gc.SpecError):
        one.median("loss")


def test_usable_depth_falls_with_a_stricter_limit():
    spec = TrainSpec()
    loose, strict = (usable_depth(spec, FEW, limit=limit, networks=40) for limit in (100.0, 10.0))
    assert 1 <= strict.hidden < loose.hidden
    assert loose.spreads[loose.hidden - 1] <= 100.0 < loose.spreads[loose.hidden]


# --- remedies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", REMEDIES)
def test_every_remedy_changes_the_run(code):
    plain = train_all(TrainSpec(network=nielsen([64, 8, 8, 8, 8, 10]), steps=3), FEW)
    changed = remedy(code).apply(plain.spec)
    assert changed != plain.spec and changed.seed == plain.spec.seed
    run = train_all(changed, FEW)
    assert len(run.steps) == 3
    same = code in ("clip_norm", "clip_value", "l1", "l2", "smaller_learning_rate", "adam")
    assert (compare_runs(plain, run).lift_at_start == 1.0) == same
    assert str(remedy(code).does) and str(remedy(code).does_not)


def test_a_remedy_says_by_what_factor():
    """ReLU lifts the sigmoid net's first layer by orders; predicted from the medians, measured from one seed."""
    plain = train_all(TrainSpec(steps=2), FEW)
    first = predict_first_step(plain.spec, FEW, networks=60)
    tried = try_remedy("relu", plain, FEW, first)
    assert tried.comparison.lift_at_start > 10 and tried.predicted > 10
    changed = predict_first_step(remedy("relu").apply(plain.spec), FEW, networks=60)
    assert predicted_lift(first, changed) == pytest.approx(changed.median()[0] / first.median()[0])
    assert try_remedy("l2", plain, FEW).predicted == 1.0
    assert "×" in str(tried.comparison.message)


def test_the_comparison_of_two_runs():
    """Factors of the first layer's speed, at the start and in the geometric mean over the common steps."""
    plain = train_all(TrainSpec(network=SMALL, steps=4), FEW)
    changed = train_all(TrainSpec(network=SMALL, steps=3).replace(activation="tanh"), FEW)
    said, a, b = compare_runs(plain, changed), plain.series("speeds"), changed.series("speeds")
    assert said.lift_at_start == pytest.approx(b[0, 0] / a[0, 0]) and said.lift_at_start > 1
    assert said.lift == pytest.approx(np.prod(b[:3, 0] / a[:3, 0]) ** (1 / 3))
    assert (said.spread_plain, said.spread) == pytest.approx((a[0, 1] / a[0, 0], b[0, 1] / b[0, 0]))
    assert (said.loss_plain, said.loss) == (plain.steps[2].loss, changed.steps[2].loss)


def test_remedies_that_do_not_fit_say_so():
    with pytest.raises(gc.UnsupportedError, match="residual"):
        REMEDIES["residual"].apply(TrainSpec(network=nielsen([64, 9, 8, 10])))
    with pytest.raises(gc.UnsupportedError, match="fewer layers"):
        REMEDIES["fewer_layers"].apply(TrainSpec(network=nielsen([64, 9, 10])))
    with pytest.raises(gc.UnsupportedError, match="no room"):
        REMEDIES["residual"].apply(TrainSpec(network=nielsen([64, 9, 10])))
    with pytest.raises(gc.UnsupportedError, match="one item"):
        REMEDIES["batch_norm"].apply(TrainSpec(batch=1))
    with pytest.raises(gc.SpecError):
        remedy("prayer")


def test_runs_on_other_data_are_not_compared():
    one, other = (train_all(TrainSpec(network=SMALL, steps=1), data) for data in (FEW, FEW.first(30)))
    with pytest.raises(gc.SpecError, match="same data"):
        compare_runs(one, other)
    with pytest.raises(gc.SpecError):
        compare_runs(one, dataclasses.replace(one, steps=[]))
