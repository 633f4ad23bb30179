"""Residual blocks beyond identity: the modules against their formulas, the rescaled passes against autograd, the
predictions against real networks, and the sampled population against the closed recursions.

Tolerances. Measured means: z of ``gradcore.compare`` (scatter of the networks and the allowance for the width), limit 5
as in tests/test_grid.py; two_layer of ReLU without bias has means that are exact at any width, so there the scatter
alone decides. Sampled against closed: four times the scatter over seeds, measured in the test itself.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gradcore as gc
from gradcore.measure.network import draw_cotangent, draw_inputs
from gradcore.residual import RESIDUALS, inner_layers
from gradcore.theory.mean_field import MeanField
from gradcore.theory.particle_field import ParticleField
from gradcore.theory.post_activation import PostActivationField
from gradcore.theory.two_layer import TwoLayerField

FORMS = ("post_activation", "two_layer", "resnet_v1")
NORMS = [("none", "before"), *itertools.product(("batch", "layer", "rms"), ("before", "after"))]
QUANTITIES = ("log_q", "log_p", "log_g", "log_dw", "log_db")


def small(**fields: Any) -> gc.Spec:
    return gc.Spec(**{"depth": 6, "width": 20, "batch_size": 5, "activation": "tanh", "bias_std": 0.3, **fields})


# --- definitions -------------------------------------------------------------------------------------------


def _norm(spec: gc.Spec, z: Tensor) -> Tensor:
    """The norm written out."""
    axis = 0 if spec.norm == "batch" else 1
    mean = 0.0 if spec.norm == "rms" else z.mean(dim=axis, keepdim=True)
    square = ((z - mean) ** 2).mean(dim=axis, keepdim=True)
    beta = 0.0 if spec.norm == "rms" else spec.norm_beta
    return spec.norm_gamma * (z - mean) / torch.sqrt(square + spec.norm_eps) + beta


def written_out(spec: gc.Spec, model: nn.Module, x: Tensor) -> list[Tensor]:
    """z^1 .. z^L by the formulas of docs/conventions.md."""
    linears: list[Callable[[Tensor], Tensor]] = list(model.linears)  # type: ignore[arg-type]

    def unit(z: Tensor) -> Tensor:
        if spec.norm == "none":
            return torch.tanh(z)
        return _norm(spec, torch.tanh(z)) if spec.norm_position == "after" else torch.tanh(_norm(spec, z))

    signals = [linears[0](x)]
    h, layer = signals[0], 1
    while layer < spec.depth:
        if spec.residual == "post_activation":
            h = h + spec.alpha * unit(linears[layer](h))
        elif spec.residual == "resnet_v1":
            h = unit(h + spec.alpha * linears[layer](h))
        elif layer + 1 < spec.depth:
            inner = linears[layer](unit(h))
            signals.append(inner)
            layer += 1
            h = h + spec.alpha * linears[layer](torch.tanh(inner))
        else:
            h = h + spec.alpha * linears[layer](unit(h))
        signals.append(h)
        layer += 1
    return signals


CASES = [
    small(
        residual=form,
        residual_scale=-0.7,
        norm=norm,
        norm_position=position,
        depth=depth,
        norm_gamma=1.3,
        norm_beta=0.2,
    )
    for form, (norm, position), depth in itertools.product(FORMS, NORMS, (5, 6))
]


@pytest.mark.parametrize("spec", CASES, ids=lambda s: f"{s.residual}-{s.norm}-{s.norm_position}-{s.depth}")
def test_blocks_are_their_formulas_and_the_rescaled_pass_is_autograd(spec: gc.Spec) -> None:
    """Forward by the formulas written out; log_g, log_dw, log_db by one plain backward pass of torch's autograd."""
    model = spec.build(seed=3)
    x = draw_inputs(spec, 3, 0, "float64")
    signals = written_out(spec, model, x)
    torch.testing.assert_close(model(x), signals[-1], rtol=1e-12, atol=1e-12)
    measured = gc.measure(spec, networks=1, seed=3)
    delta = draw_cotangent(spec, signals[-1], 3, 0, "float64")
    for signal in signals:
        signal.retain_grad()
    (signals[-1] * delta).sum().backward()
    b = spec.batch_size
    expected = {
        "log_q": [z.detach().square().mean() for z in signals],
        "log_g": [z.grad.square().mean() for z in signals],  # type: ignore[union-attr]
        "log_dw": [m.weight.grad.square().mean() / b**2 for m in model.linears],  # type: ignore[union-attr]
        "log_db": [m.bias.grad.square().mean() / b**2 for m in model.linears],  # type: ignore[union-attr]
    }
    for name, values in expected.items():
        logs = np.log([max(float(v), 1e-300) for v in values])
        ours = np.maximum(getattr(measured, name)[0], math.log(1e-28))  # batch norm cancels biases to rounding
        np.testing.assert_allclose(ours, np.maximum(logs, math.log(1e-28)), atol=1e-8, err_msg=name)


def test_layers_inside_a_block() -> None:
    """From layer 2 on in twos, the last alone where one remains; the bias inside starts at 0 and has a gradient."""
    assert inner_layers("two_layer", 6).tolist() == [False, True, False, True, False, False]
    assert inner_layers("two_layer", 5).tolist() == [False, True, False, True, False]
    for form in RESIDUALS:
        assert not inner_layers(form, 1).any() and inner_layers(form, 9).any() == (form == "two_layer")
    spec = small(residual="two_layer", bias_std="default")
    biases = [bool(m.bias.any()) for m in spec.build().linears]  # type: ignore[union-attr]
    assert biases == (~inner_layers("two_layer", 6)).tolist()
    assert np.isfinite(gc.predict(spec).log_db).all()


@pytest.mark.parametrize("form", FORMS)
def test_one_layer_has_no_block(form: str) -> None:
    plain, residual = (gc.predict(gc.Spec(depth=1, residual=r, loss="mse")) for r in ("none", form))
    for name in QUANTITIES:
        assert np.array_equal(getattr(plain, name), getattr(residual, name))


def test_a_rest_of_one_layer_is_an_identity_block() -> None:
    fields: dict[str, Any] = {"depth": 2, "activation": "gelu", "bias_std": 0.2, "residual_scale": 0.7, "norm": "layer"}
    for loss in ("random", "mse", "cross_entropy"):
        one, other = (gc.predict(gc.Spec(**fields, loss=loss, residual=r)) for r in ("two_layer", "identity"))
        for name in (*QUANTITIES, "chi", "chi_parallel", "correlation", "saturated"):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-12)


# --- figures -----------------------------------------------------------------------------------------------


def test_the_cross_term_of_post_activation() -> None:
    """He-ReLU, alpha = 1/sqrt(20), 20 blocks: 48.43, where adding second moments would give (1 + 1/20)^20 = 2.65."""
    p = gc.predict(gc.Spec(depth=21, init="kaiming_normal", residual="post_activation", residual_scale=20**-0.5))
    assert math.exp(p.log_q[-1] - p.log_q[0]) == pytest.approx(48.43, abs=0.005)
    assert math.exp(p.log_g[0] - p.log_g[-1]) == pytest.approx(1.05**20, rel=1e-12)
    by_hand_q, by_hand_m, alpha = 2.0, 0.0, 20**-0.5
    for _ in range(20):
        q_z = 2.0 * by_hand_q
        mean = math.sqrt(q_z / (2 * math.pi))
        by_hand_q += alpha**2 * q_z / 2 + 2 * alpha * by_hand_m * mean
        by_hand_m += alpha * mean
    assert math.exp(p.log_q[-1]) == pytest.approx(by_hand_q, rel=1e-12)


def test_two_layer_tanh() -> None:
    """sigma_w = 1, alpha = 1, 20 blocks: 7.03 forwards, 20.7 backwards."""
    p = gc.predict(gc.Spec(depth=41, activation="tanh", init="lecun_normal", residual="two_layer"))
    assert math.exp(p.log_q[-1] - p.log_q[0]) == pytest.approx(7.03, abs=0.005)
    assert math.exp(p.log_g[0] - p.log_g[-1]) == pytest.approx(20.7, abs=0.05)


def test_two_layer_relu_is_exact_at_any_width() -> None:
    """sigma_w^2 = 2: both directions 2^blocks; without bias every mean is exact, so 160 narrow networks decide."""
    spec = gc.Spec(depth=7, width=32, init="kaiming_normal", residual="two_layer", batch_size=2)
    p, m = gc.predict(spec), gc.measure(spec, networks=160, seed=2)
    assert math.exp(p.log_q[-1] - p.log_q[0]) == pytest.approx(8.0) and math.exp(p.log_g[0]) == pytest.approx(8.0)
    for name in ("log_q", "log_p", "log_g", "log_dw", "log_db"):
        relative = np.exp(getattr(m, name) - getattr(p, name))
        z = (relative.mean(axis=0) - 1.0) / (relative.std(axis=0, ddof=1) / math.sqrt(160))
        assert np.abs(z).max() < 4.5, (name, z)


def test_resnet_v1_relu() -> None:
    """sigma_w = alpha = 1, 20 blocks: q = 3.68e4 and a gradient of 2.12e3, against 40 networks."""
    spec = gc.Spec(depth=21, width=96, init="lecun_normal", residual="resnet_v1", batch_size=1)
    p = gc.predict(spec)
    assert math.exp(p.log_q[-1]) == pytest.approx(3.68e4, rel=0.01)
    assert math.exp(p.log_g[0]) == pytest.approx(2.12e3, rel=0.03)
    comparison = gc.compare(p, gc.measure(spec, networks=40, seed=4))
    assert max(abs(comparison.worst(name)[1]) for name in QUANTITIES) < 5.0, str(comparison)


# --- against networks --------------------------------------------------------------------------------------


def _mc() -> list[gc.Spec]:
    specs = []
    for k, (form, activation, scale) in enumerate(
        itertools.product(FORMS, ("relu", "tanh", "gelu"), (1.0, "1/sqrt(L)"))
    ):
        loss = ("random", "mse", "cross_entropy")[k % 3]
        common = {"residual": form, "activation": activation, "residual_scale": scale, "loss": loss}
        norm, position = NORMS[1 + (5 * k) % 6] if k % 2 else NORMS[0]
        position = "before" if activation == "relu" and norm == "batch" else position
        norms = {"norm": norm, "norm_position": position, "batch_size": 8 if norm == "batch" else 4}
        bias = 0.1 * (k % 4 > 1)
        specs.append(gc.Spec(depth=6, width=128, input_correlation=0.4, bias_std=bias, **norms, **common))
    return specs


@pytest.mark.parametrize("index", range(len(_mc())))
def test_predictions_agree_with_networks(index: int) -> None:
    """relu, tanh, gelu with alpha 1 and 1/sqrt(L), with and without a norm, all losses, correlated samples."""
    spec = _mc()[index]
    comparison = gc.compare(gc.predict(spec), gc.measure(spec, networks=12, seed=300 + index))
    worst = {name: comparison.worst(name) for name in QUANTITIES}
    assert all(math.isnan(z) or abs(z) < 5.0 for _, z in worst.values()), f"{gc.to_json(spec)}\n{comparison}"


@pytest.mark.parametrize("form", ["post_activation", "resnet_v1"])
def test_large_logits_sit_on_units_of_their_own_kind(form: str) -> None:
    """ReLU's largest outputs are alive: with the mean slope for all units the gradient would be 0.3 to 0.4 lower."""
    spec = gc.Spec(depth=8, width=256, gain=1.2, batch_size=4, residual=form, loss="cross_entropy")
    comparison = gc.compare(gc.predict(spec), gc.measure(spec, networks=12, seed=1))
    assert abs(comparison.worst("log_g")[1]) < 5.0, str(comparison)
    assert np.abs(comparison.difference["log_g"]).max() < 0.15


@pytest.mark.slow
@pytest.mark.parametrize("index", range(len(_mc())))
def test_predictions_agree_with_wide_networks(index: int) -> None:
    spec = _mc()[index].replace(width=1024)
    comparison = gc.compare(gc.predict(spec), gc.measure(spec, networks=16, seed=300 + index))
    worst = {name: comparison.worst(name) for name in QUANTITIES}
    assert all(math.isnan(z) or abs(z) < 5.0 for _, z in worst.values()), f"{gc.to_json(spec)}\n{comparison}"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("loss", ["random", "mse"])
@pytest.mark.parametrize("init", ["eye", "constant"])
def test_exact_maps_of_blocks(form: str, loss: str, init: str) -> None:
    """Weights that are not random: signal and gradient are exact at any width, so 120 narrow networks decide."""
    gain = 1.1 if init == "eye" else 0.03
    fields: dict[str, Any] = {"residual": form, "residual_scale": -0.6, "activation": "gelu", "input_correlation": 0.3}
    spec = gc.Spec(depth=5, width=32, init=init, gain=gain, loss=loss, batch_size=2, **fields)
    p, m = gc.predict(spec), gc.measure(spec, networks=120, seed=8)
    for name in ("log_q", "log_p", "log_g"):
        relative = np.exp(getattr(m, name) - getattr(p, name))
        error = relative.std(axis=0, ddof=1) / math.sqrt(120)
        assert np.abs((relative.mean(axis=0) - 1.0) / np.maximum(error, 1e-12)).max() < 5.0, name


def test_a_wrong_formula_would_be_caught() -> None:
    """Without its cross term post_activation is far outside."""
    spec = gc.Spec(depth=8, width=128, init="kaiming_normal", residual="post_activation", batch_size=4)
    measured = gc.measure(spec, networks=16, seed=5)
    naive = measured.log_q.mean(axis=0)[0] + 7 * math.log(2.0)
    assert measured.mean("log_q")[-1] - naive > 5.0 * measured.standard_error("log_q")[-1]
    assert abs(gc.compare(gc.predict(spec), measured).worst("log_q")[1]) < 5.0


# --- the sampled population --------------------------------------------------------------------------------


def _sampled(spec: gc.Spec, seed: int) -> ParticleField:
    field = ParticleField(spec)
    field.population.rng = np.random.default_rng(seed)
    return field


CLOSED: list[tuple[type[MeanField], dict[str, Any]]] = [
    (PostActivationField, {"residual": "post_activation", "activation": "gelu"}),
    (PostActivationField, {"residual": "post_activation", "norm": "layer", "norm_position": "after"}),
    (TwoLayerField, {"residual": "two_layer", "activation": "tanh"}),
    (TwoLayerField, {"residual": "two_layer", "activation": "tanh", "loss": "mse"}),
    (TwoLayerField, {"residual": "two_layer", "loss": "mse", "norm": "layer", "norm_beta": 0.3, "init": "orthogonal"}),
    (MeanField, {"residual": "identity", "loss": "mse", "norm": "rms", "norm_position": "after", "norm_eps": 0.1}),
    (MeanField, {"residual": "identity", "loss": "mse", "activation": "gelu", "residual_scale": -0.4}),
]


@pytest.mark.parametrize(("closed", "fields"), CLOSED)
def test_population_meets_the_closed_recursions(closed: type[MeanField], fields: dict[str, Any]) -> None:
    """Two implementations: eight seeds of the population scatter about the closed values within their standard error
    (Student's t of 7 degrees passes 8 once in 10,000), plus 2e-3 for the lattice, whose error is not random."""
    base: dict[str, Any] = {"depth": 9, "width": 64, "bias_std": 0.1, "input_correlation": 0.5, "batch_size": 4}
    spec = gc.Spec(**{**base, **fields})
    exact = closed(spec)
    rows = [_sampled(spec, seed) for seed in range(8)]
    for name, values, reference in (
        ("log_q", [f.log_q for f in rows], exact.log_q),
        ("log_p", [f.log_p for f in rows], exact.log_p),
        ("log_g", [f.log_g for f in rows], exact.log_g),
        ("log_dw", [f.parameter_gradients[0] for f in rows], exact.parameter_gradients[0]),
        ("log_db", [f.parameter_gradients[1] for f in rows], exact.parameter_gradients[1]),
        ("correlation", [f.correlations[0][:, 0] for f in rows], exact.correlations[0][:, 0]),
    ):
        error = np.std(values, axis=0, ddof=1)
        assert error.max() < 0.03, (name, error)
        gap = np.abs(np.mean(values, axis=0) - reference)
        assert np.all(gap < 8.0 * error / math.sqrt(8) + 2e-3), (name, gap, error)


def test_the_stated_sampling_error() -> None:
    """0.1% a layer for log_q and log_g without batch norm."""
    for activation in ("relu", "tanh"):
        spec = gc.Spec(depth=21, init="lecun_normal", gain=1.2, residual="resnet_v1", activation=activation)
        rows = [_sampled(spec, seed) for seed in range(6)]
        assert np.std([f.log_q[-1] for f in rows], ddof=1) < 0.02 / 4
        assert np.std([f.log_g[0] for f in rows], ddof=1) < 0.02


def test_sampled_predictions_are_deterministic_and_say_so() -> None:
    spec = gc.Spec(depth=5, residual="resnet_v1", loss="mse")
    first, again = gc.predict(spec), gc.predict(spec)
    assert np.array_equal(first.log_dw, again.log_dw)
    assert any(note.message_id == "sampled_units" for note in first.notes)
    quiet = gc.predict(gc.Spec(depth=5, residual="post_activation"))
    assert not any(note.message_id == "sampled_units" for note in quiet.notes)
