"""Clipping and weight penalties against torch's own functions, autograd and random draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import gradcore as gc
from gradcore.experiments import clipping, regularization
from gradcore.experiments.data import Dataset, digits
from gradcore.experiments.train_spec import TrainSpec, nielsen
from gradcore.experiments.training import train, train_all
from gradcore.theory.gaussian import moments_of

FEW = digits(40)
SMALL = nielsen([64, 9, 8, 10])
RNG = np.random.default_rng(2)
GRADIENTS = [RNG.standard_normal((4, 5)), 0.01 * RNG.standard_normal(7), np.zeros(3)]


def in_torch(clip) -> list[np.ndarray]:
    parameters = [torch.nn.Parameter(torch.zeros(g.shape, dtype=torch.float64)) for g in GRADIENTS]
    for parameter, gradient in zip(parameters, GRADIENTS, strict=True):
        parameter.grad = torch.tensor(gradient)
    clip(parameters)
    return [parameter.grad.numpy() for parameter in parameters]


@pytest.mark.parametrize("norm_type", clipping.NORM_TYPES)
@pytest.mark.parametrize("limit", [0.3, 2.0, 100.0])
def test_clipping_by_norm_is_torchs(norm_type, limit):
    ours = clipping.clip_by_norm(GRADIENTS, limit, norm_type)
    theirs = in_torch(lambda parameters: torch.nn.utils.clip_grad_norm_(parameters, limit, norm_type))
    for a, b in zip(ours, theirs, strict=True):
        assert a == pytest.approx(b, rel=1e-14, abs=0)
    assert clipping.cosine(GRADIENTS, ours) == pytest.approx(1.0)
    before, after = ([np.linalg.norm(g) for g in part] for part in (GRADIENTS, ours))
    assert after[0] / after[1] == pytest.approx(before[0] / before[1])  # the ratio between layers stays


@pytest.mark.parametrize("limit", [0.3, 100.0])
def test_clipping_by_value_is_torchs_and_turns_the_direction(limit):
    ours = clipping.clip_by_value(GRADIENTS, limit)
    theirs = in_torch(lambda parameters: torch.nn.utils.clip_grad_value_(parameters, limit))
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert (clipping.cosine(GRADIENTS, ours) < 0.999) == (limit == 0.3)


def test_a_small_norm_is_scaled_by_torchs_epsilon():
    """|g| = 1e-7 below the limit 5e-7, yet multiplied by 5e-7 / 1.1e-6."""
    assert clipping.clip_factor(1e-7, 5e-7) == pytest.approx(5 / 11)
    assert clipping.clip_factor(0.5, 1.0) == 1.0


@pytest.mark.parametrize("limit", [0.05, 0.5, 1.0, 2.0, 6.0])
def test_gaussian_entries_cut_by_value(limit):
    """Against draws, within five standard errors, and the closed form of hardtanh."""
    std, draws = 0.7, 200_000
    g = std * RNG.standard_normal(draws)
    cut = np.clip(g, -limit, limit)
    said = clipping.value_clip_of_gaussian(std, limit)
    squares = cut**2 / std**2
    error = 5 * squares.std() / math.sqrt(draws) + 1e-12
    assert said.kept == pytest.approx(squares.mean(), abs=error)
    share = np.mean(np.abs(g) > limit)
    assert said.share == pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / draws) + 1e-6)
    assert said.cosine == pytest.approx(clipping.cosine([g], [cut]), abs=5 / math.sqrt(draws))
    log_ratio = 2 * math.log(std / limit)
    second = moments_of("hardtanh", 0.0).at(np.array([log_ratio])).log_second[0]
    assert said.kept == pytest.approx(math.exp(second - log_ratio), rel=1e-9)


def test_gaussian_cut_at_almost_nothing_keeps_signs():
    """kept -> t^2, cosine -> E|Z| = sqrt(2/pi); the series meets the closed form."""
    said = clipping.value_clip_of_gaussian(1.0, 1e-6)
    assert said.kept == pytest.approx(1e-12, rel=1e-5)
    assert said.cosine == pytest.approx(math.sqrt(2 / math.pi), rel=1e-5)
    below, above = (clipping.value_clip_of_gaussian(1.0, t).kept / t**2 for t in (0.999e-3, 1.001e-3))
    assert below == pytest.approx(above, rel=1e-5)
    with pytest.raises(gc.SpecError):
        clipping.value_clip_of_gaussian(0.0, 1.0)


def test_thresholds_are_proposed_from_what_was_seen():
    norms = np.arange(1.0, 101.0)
    proposal = clipping.propose_threshold(norms)
    by = {(entry.origin, entry.parameter): entry for entry in proposal.thresholds}
    assert proposal.proposed == by["quantile", 0.9] and proposal.proposed.share == pytest.approx(0.1)
    assert proposal.proposed.limit == pytest.approx(np.quantile(norms, 0.9))
    assert [by["common", c].share for c in clipping.COMMON] == [0.99, 0.98, 0.97, 0.96, 0.95]
    assert by["initial", 2.0].limit == pytest.approx(2 * np.mean(norms[:10]))
    assert clipping.propose_threshold(norms, initial=7.0, multiple=3.0).thresholds[-1].limit == 21.0
    assert "10%" in str(proposal.proposed.message) and "90%" in str(proposal.proposed.message)


def test_norms_that_are_no_numbers():
    norms = np.array([1.0, 2.0, math.inf, math.nan])
    assert clipping.share_clipped(norms, 5.0) == 0.5
    assert clipping.propose_threshold(norms).proposed.limit == pytest.approx(1.9)
    for bad in ([], [math.nan], [-1.0]):
        with pytest.raises(gc.SpecError):
            clipping.propose_threshold(np.array(bad))


def test_the_proposed_threshold_clips_that_share_of_a_run():
    """Replayed with a threshold nothing reaches: the recorded pre-clip norms are the unclipped run's."""
    spec = TrainSpec(network=SMALL, learning_rate=0.5, steps=20, batch=10)
    free = train_all(spec, FEW)
    same = train_all(spec.replace(clip="norm", clip_limit=1e9), FEW)
    assert np.array_equal(free.series("norm"), same.series("clip_norm")) and same.share_clipped == 0.0
    limit = clipping.propose_threshold(free.series("norm")).proposed.limit
    assert next(train(spec.replace(clip="norm", clip_limit=limit), FEW)).norm == free.steps[0].norm


# --- penalties ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", regularization.PENALTIES)
def test_penalties_are_autograds(code):
    penalty = regularization.PENALTIES[code]
    weights = [RNG.standard_normal((3, 4)), RNG.standard_normal((2, 3))]
    leaves = [torch.tensor(w, requires_grad=True) for w in weights]
    flat = torch.cat([leaf.flatten() for leaf in leaves])
    value = {"l1": flat.abs().sum(), "l2": 0.5 * (flat**2).sum(), "l2_norm": flat.norm()}[code]
    value.backward()
    assert penalty.value(weights) == pytest.approx(value.item())
    for ours, leaf in zip(penalty.gradient(weights), leaves, strict=True):
        assert ours == pytest.approx(leaf.grad.numpy())
    zero = penalty.gradient([np.zeros((2, 2))])
    assert not zero[0].any()  # also where the derivative does not exist


def test_the_square_and_the_plain_norm_differ_in_how_they_scale():
    """Ten times the weights: ten times the pull of the square, the same pull of the plain norm."""
    weights = [RNG.standard_normal((3, 4))]
    for code, factor in (("l2", 10.0), ("l2_norm", 1.0), ("l1", 1.0)):
        gradient = regularization.PENALTIES[code].gradient
        one, ten = gradient(weights)[0], gradient([10 * weights[0]])[0]
        assert np.linalg.norm(ten) == pytest.approx(factor * np.linalg.norm(one))


@pytest.mark.parametrize("penalty", [{"l1": 1e-3}, {"l2": 1e-2}, {"l2_norm": 0.05}, {"l1": 1e-3, "l2": 1e-2}], ids=str)
def test_the_share_of_the_first_update_is_exact(penalty):
    """|W' - W| of the first step of sgd is the learning rate times the update said, and its share is |p| / |g|."""
    spec = TrainSpec(network=SMALL, learning_rate=0.25, **penalty)
    share, step = regularization.first_update_share(spec, FEW), next(train(spec, FEW))
    moved = np.array(step.update_ratios) * np.array(step.weight_norms)
    assert moved == pytest.approx(0.25 * share.update, rel=1e-9)
    assert share.gradient == pytest.approx(step.weight_gradients, rel=1e-12)
    bare = next(train(spec.replace(l1=0.0, l2=0.0, l2_norm=0.0), FEW))
    assert share.gradient == pytest.approx(bare.weight_gradients, rel=1e-12)
    assert np.all(share.share > 0)


@pytest.mark.parametrize("penalty", [{"l1": 1e-3}, {"l2": 1e-2}, {"l1": 1e-3, "l2": 1e-2}, {"l2_norm": 0.05}], ids=str)
def test_the_predicted_share(penalty):
    """The root mean square of |p| over seeds: within five standard errors of the mean square of 60 networks."""
    spec = TrainSpec(network=SMALL, **penalty)
    said = regularization.predicted_share(spec, FEW, networks=200)
    seen = [regularization.first_update_share(spec.replace(seed=seed), FEW) for seed in range(60)]
    for name, tolerance in (("penalty", 1e-3 if "l2_norm" in penalty else 1e-12), ("gradient", 0.0)):
        squares = np.array([getattr(share, name) for share in seen]) ** 2
        own = getattr(said, name) ** 2
        scatter = squares.std(axis=0, ddof=1)
        error = 5 * scatter * math.sqrt(1 / 60 + (1 / 200 if name == "gradient" else 0.0)) + tolerance * own
        assert np.all(np.abs(squares.mean(axis=0) - own) <= error)


def test_l1_of_other_laws_is_not_predicted():
    spec = TrainSpec(network=SMALL.replace(init="xavier_uniform"), l1=0.1)
    with pytest.raises(gc.SpecError, match="Gaussian"):
        regularization.predicted_share(spec, FEW)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_weights_decay_by_a_factor_a_step(optimizer):
    """Images of zeros send no gradient to the first weights: decay alone moves them."""
    dark = Dataset("dark", np.zeros((3, 64)), np.arange(3), 10)
    spec = TrainSpec(network=SMALL, optimizer=optimizer, learning_rate=0.1, l2=0.5, steps=6)
    run = train_all(spec, dark)
    norms = run.series("weight_norms")[:, 0]
    assert norms == pytest.approx([regularization.decayed(norms[0], 0.1, 0.5, k) for k in range(6)], rel=1e-12)
