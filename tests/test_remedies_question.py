"""The questions of the page Remedies and the studies behind its two training views, against torch and exact steps."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
import torch

from gradcore.codec import from_query as spec_of
from gradcore.errors import SpecError
from gradcore.experiments.board import board
from gradcore.experiments.clip_study import KINDS, clip_gradients, gaussian_cosine, layer_gradients, observing
from gradcore.experiments.clipping import share_clipped
from gradcore.experiments.data import digits
from gradcore.experiments.penalty_study import penalized, penalty_alone, two_norms
from gradcore.experiments.regularization import PENALTIES, decayed, first_update_share, predicted_share
from gradcore.experiments.remedies_question import PREFIX, PRESETS, READERS, RemediesQuestion, codes_text, from_query
from gradcore.experiments.train_spec import TrainSpec, nielsen
from gradcore.experiments.training import train, train_all
from gradcore.experiments.training_loop import first_gradients

DATA = digits()
FEW = digits(60)
SMALL = TrainSpec(network=nielsen([64, 9, 8, 10]), cost="cross_entropy", steps=4)
RNG = np.random.default_rng(5)


# --- links --------------------------------------------------------------------------------------------------------


def test_every_row_of_section_4_has_a_preset() -> None:
    assert {preset.experiment for preset in PRESETS.values()} == {"4.1", "4.2", "4.3", "4.4", "4.5", "4.7", "4.8"}
    for code, preset in PRESETS.items():
        query = preset.query
        assert preset.code == code and from_query(query) == preset.question
        assert spec_of({n: text for n, text in query.items() if not n.startswith(PREFIX)}) == preset.spec


def test_every_field_has_a_reader_and_round_trips() -> None:
    assert set(READERS) == {entry.name for entry in fields(RemediesQuestion)}
    asked = RemediesQuestion(
        view="penalties", on="tanh,residual", alpha="1/sqrt(L)", depth=7, hidden=2, width=9, activation="tanh",
        weights="scaled", cost="quadratic", rate=0.5, batch="full", steps=3, seed=4, clip="norm_inf", limit=0.25,
        penalty="l1", strength=0.2,
    )  # fmt: skip
    assert len(asked.to_query()) == len(READERS) and from_query(asked.to_query()) == asked
    assert from_query({"remedies_on": "residual, relu", "depth": "3"}).codes == ("relu", "residual")
    assert from_query({"remedies_on": "none"}).codes == () and codes_text([]) == "none"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("on", "relu,tanh"), ("on", "dropout"), ("on", ""), ("alpha", "2"), ("depth", "0"), ("limit", "0"),
        ("clip", "norm"), ("steps", "many"), ("rate", "-1"), ("colour", "red"),
    ],
)  # fmt: skip
def test_what_a_link_may_not_ask(name: str, text: str) -> None:
    with pytest.raises(SpecError) as caught:
        from_query({PREFIX + name: text})
    assert caught.value.field == PREFIX + name


# --- 4.1 clipping -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_4_1_the_norms_before_clipping_are_kept(kind: str) -> None:
    """Those of an unclipped run are torch's own of its gradients, and the first is that of layer_gradients."""
    norm_type = {"norm_1": 1.0, "norm_2": 2.0}.get(kind, math.inf)
    run = train_all(observing(SMALL, kind), FEW)
    assert run.share_clipped == 0.0 and run.series("loss").tolist() == train_all(SMALL, FEW).series("loss").tolist()
    flat = [torch.tensor(g) for layer in layer_gradients(SMALL, FEW) for g in layer]
    norms = [torch.linalg.vector_norm(g, norm_type) for g in flat]
    assert run.steps[0].clip_norm == pytest.approx(float(torch.linalg.vector_norm(torch.stack(norms), norm_type)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.2, 3.0])
def test_4_1_before_and_after_are_those_of_a_training_step(kind: str, share: float) -> None:
    layers = layer_gradients(SMALL, FEW)
    limit = share * clip_gradients(layers, kind, 1.0).norm
    found = clip_gradients(layers, kind, limit)
    clip, norm_type = KINDS[kind]
    step = next(train(SMALL.replace(clip=clip, clip_norm_type=norm_type, clip_limit=limit), FEW))
    assert found.norm == pytest.approx(step.clip_norm)
    assert np.linalg.norm(found.before) == pytest.approx(step.norm)
    assert np.linalg.norm(found.after) == pytest.approx(step.norm_after) and found.cosine == pytest.approx(step.cosine)
    before, after = found.ratios
    if kind != "value" or share > 1.0:
        assert after == pytest.approx(before, rel=1e-9) and found.cosine == pytest.approx(1.0)
    else:
        assert found.cosine < 0.99 and 0.0 < found.share < 1.0


@pytest.mark.parametrize("residual", ["none", "identity", "post_activation"])
@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
def test_4_1_the_layers_hold_every_parameter(norm: str, residual: str) -> None:
    """Together they are the gradient that a step clips, and each layer's weights are the step's own."""
    network = nielsen([64, 8, 8, 8, 10]).replace(
        norm=norm, residual=residual, width=8 if residual != "none" else (8, 8, 8, 10)
    )
    spec = SMALL.replace(network=network)
    layers, step = layer_gradients(spec, FEW), next(train(spec, FEW))
    assert math.sqrt(sum(float((g**2).sum()) for layer in layers for g in layer)) == pytest.approx(step.norm)
    assert [np.linalg.norm(layer[0]) for layer in layers] == pytest.approx(list(step.weight_gradients))
    normed = 0 if norm == "none" else 2 if residual == "post_activation" else 3  # layers that have one
    assert sorted(len(layer) for layer in layers) == [2] * (4 - normed) + [4] * normed


def test_4_1_gaussian_cosine_meets_draws() -> None:
    """Two arrays of unequal size and RMS; the error of a cosine of N entries is of order 1/sqrt(N)."""
    arrays = [RNG.standard_normal(30_000), 0.2 * RNG.standard_normal(60_000)]
    for limit in (0.1, 0.5, 2.0):
        found = clip_gradients([arrays], "value", limit)
        assert found.predicted_cosine == gaussian_cosine(arrays, limit)
        assert found.cosine == pytest.approx(found.predicted_cosine, abs=4 / math.sqrt(30_000))
    assert math.isnan(gaussian_cosine([np.zeros(3)], 1.0))


def test_4_1_the_figures_of_the_sentences() -> None:
    preset = PRESETS["clip_norm"].question
    norms = train_all(preset.observed_run(DATA), DATA).series("clip_norm")
    assert 11.5 < norms.min() < 12.5 and 850 < norms.max() < 870
    limit = float(np.quantile(norms, 0.9))
    assert share_clipped(norms, limit) == pytest.approx(0.1)
    asked = PRESETS["clip_value"].question
    entries = train_all(asked.observed_run(DATA), DATA).series("clip_norm")
    found = clip_gradients(layer_gradients(asked.plain_run(DATA), DATA), "value", float(np.quantile(entries, 0.9)))
    assert found.cosine == pytest.approx(0.94, abs=5e-3) and found.ratios[1] / found.ratios[0] > 1.2
    vanishing = PRESETS["clip_vanishing"].question.plain_run(DATA)
    found = clip_gradients(layer_gradients(vanishing, DATA), "norm_2", 1e-3)
    assert 1 / 300 < found.ratios[0] < 1 / 100 and found.ratios[1] == pytest.approx(found.ratios[0], rel=1e-9)


def test_4_1_what_is_not_allowed() -> None:
    for call in (
        lambda: observing(SMALL, "norm_3"),
        lambda: clip_gradients([[np.ones(2)]], "norm_2", 0.0),
        lambda: penalized(SMALL, "l3", 1.0),
    ):
        with pytest.raises(SpecError):
            call()


# --- 4.7 penalties ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("penalty", PENALTIES)
def test_4_7_the_penalty_alone(penalty: str) -> None:
    """Gradient descent on torch's own value of the penalty, without a cost."""
    spec = penalized(SMALL.replace(learning_rate=0.5), penalty, 0.02)
    weights, _ = first_gradients(spec, FEW)
    predicted = penalty_alone(spec, weights, 6)
    now = [torch.tensor(w, requires_grad=True) for w in weights]
    value = {
        "l1": lambda: sum(w.abs().sum() for w in now),
        "l2": lambda: sum((w**2).sum() for w in now) / 2,
        "l2_norm": lambda: torch.sqrt(sum((w**2).sum() for w in now)),  # type: ignore[arg-type]
    }[penalty]
    for k in range(6):
        assert predicted[k] == pytest.approx([float(w.detach().norm()) for w in now], rel=1e-10)
        slopes = torch.autograd.grad(0.02 * value(), now)
        now = [(w - 0.5 * s).detach().requires_grad_() for w, s in zip(now, slopes, strict=True)]
    if penalty == "l2":
        assert predicted[5] == pytest.approx([decayed(n, 0.5, 0.02, 5) for n in predicted[0]])
    if penalty == "l2_norm":
        whole = np.linalg.norm(predicted, axis=1)
        assert whole[5] == pytest.approx(whole[0] - 5 * 0.5 * 0.02)


def test_4_7_two_penalties_called_l2() -> None:
    asked = PRESETS["penalties"].question
    found = two_norms(asked.plain_run(DATA), DATA, asked.strength)
    weights, _ = first_gradients(asked.plain_run(DATA), DATA)
    drawn = math.sqrt(sum(float((w**2).sum()) for w in weights))
    count = sum(w.size for w in weights)
    assert found.norm == pytest.approx(drawn, rel=5 / math.sqrt(2 * count))
    assert found.square / found.plain == pytest.approx(11, abs=0.5)  # "an eleventh" in the preset's sentence
    assert "pulls with λ|w| = 0.114 here" in found.message.text()
    shares = {p: first_update_share(penalized(asked.plain_run(DATA), p, 0.01), DATA) for p in ("l2", "l2_norm")}
    ratio = shares["l2"].penalty / shares["l2_norm"].penalty
    assert ratio == pytest.approx(drawn)


def test_4_7_the_share_of_the_first_update() -> None:
    """Measured over seeds beside predicted, both as root mean squares, layer by layer; 26 and a tenth as the preset
    says."""
    asked = PRESETS["penalties"].question
    spec = asked.penalized_run(DATA)
    shares = first_update_share(spec, DATA).share
    assert shares[0] == pytest.approx(26, abs=0.6) and shares[-1] == pytest.approx(0.09, abs=0.012)
    found = [first_update_share(spec.replace(seed=seed), DATA) for seed in range(24)]
    predicted = predicted_share(spec, DATA, networks=100)
    for name in ("gradient", "penalty"):
        squares = np.array([getattr(one, name) for one in found]) ** 2
        error = squares.std(axis=0, ddof=1) / math.sqrt(24) / squares.mean(axis=0)
        ratio = squares.mean(axis=0) / getattr(predicted, name) ** 2
        assert np.all(np.abs(np.log(ratio)) < 4 * error * math.sqrt(1 + 24 / 100) + 1e-9), name


# --- the board's presets ------------------------------------------------------------------------------------------


def test_the_figures_of_the_boards_sentences() -> None:
    def square(code: str, which: str) -> tuple[str, str]:
        """(RMS, mean square) factors per layer of the plain network or a remedy alone, as printed."""
        preset = PRESETS[code]
        found = board(preset.spec, preset.question.codes, preset.question.choices)
        entry = found.plain if which == "plain" else found.alone[which]
        assert entry.factors is not None
        log = entry.inner if code == "batch_norm" else entry.factors.backward.log
        return f"{math.exp(log):.2f}", f"{math.exp(2 * log):.2g}" if log < -1 else f"{math.exp(2 * log):.2f}"

    assert square("activation", "plain") == ("0.24", "0.055") and square("activation", "relu") == ("1.00", "1.00")
    assert square("activation", "tanh") == ("0.96", "0.92")
    assert square("batch_norm", "batch_norm") == ("1.26", "1.59")
    assert square("residual", "plain")[1] == "0.50" and square("residual", "residual")[1] == "1.50"
    assert square("residual_exploding", "plain")[1] == "2.00" and square("residual_exploding", "residual")[1] == "3.00"
    assert (
        square("residual_scaled", "residual")[1] == "1.04" and square("initialization", "initialization")[0] == "1.00"
    )
    fewer = board(PRESETS["fewer_layers"].spec).alone["fewer_layers"]
    assert fewer.spec is not None and fewer.spec.depth == 14
    assert square("fewer_layers", "plain")[0] == "0.71" and square("fewer_layers", "fewer_layers")[0] == "0.71"
