"""Cross-entropy above streams that are not Gaussian: the cotangent softmax - onehot of sampled units, against torch.

Tolerances: Student's limit times the scatter between networks (tests/agreement.py), 2/width a layer for what infinite
width leaves out (as in tests/test_grid.py), and the stated 1% of the sampled population.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

import gradcore as gc
from gradcore.measure.network import draw_inputs
from gradcore.theory import sampled_softmax
from gradcore.theory.particle_field import ParticleField
from tests.agreement import limit

NETWORKS, DRAWS, WIDTH, DEPTH, SAMPLED = 32, 4, 256, 5, 0.01
OPEN = 2.0 * DEPTH / WIDTH + SAMPLED
SPECS: dict[str, dict[str, Any]] = {
    "post_activation": {"residual": "post_activation"},
    "resnet_v1": {"residual": "resnet_v1"},
    "resnet_v1, batch norm": {"residual": "resnet_v1", "norm": "batch", "batch_size": 8},
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices this small lose to the start of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def spec_of(name: str) -> gc.Spec:
    """ReLU at a gain that makes the largest logits large: their units are alive more often than others."""
    base = {"depth": DEPTH, "width": WIDTH, "gain": 1.2, "batch_size": 4, "input_correlation": 0.4}
    return gc.Spec(**{**base, **SPECS[name]}, loss="cross_entropy")


def streams_of(spec: gc.Spec, network: int) -> tuple[list[Tensor], Tensor]:
    """(z^1 .. z^L, W x + b of layer L) of one network, written out."""
    model = spec.build(seed=9, network=network)
    x = draw_inputs(spec, 9, network, "float64")

    def unit(z: Tensor) -> Tensor:
        if spec.norm == "batch":
            variance, mean = torch.var_mean(z, dim=0, correction=0, keepdim=True)
            z = (z - mean) / torch.sqrt(variance + spec.norm_eps)
        return torch.relu(z)

    linears: list[torch.nn.Module] = list(model.linears)  # type: ignore[arg-type]
    streams, z = [linears[0](x)], x
    for linear in linears[1:]:
        z, h = linear(streams[-1]), streams[-1]
        streams.append(h + unit(z) if spec.residual == "post_activation" else unit(h + z))
    torch.testing.assert_close(streams[-1], model(x), rtol=1e-10, atol=1e-10)
    return streams, z


def measured(spec: gc.Spec) -> dict[str, np.ndarray]:
    """One row a network, means over DRAWS of labels: ``size`` E delta^2, ``pairs`` E delta_a delta_b and ``through``
    E delta^2 at W x + b of layer L; ``below`` E delta^2 of the layers below when each unit's cotangent gets a random
    sign, the same for all samples: its size on each unit stays, and it is no function of the unit's logit any more."""
    rows: dict[str, list[Any]] = {"size": [], "pairs": [], "through": [], "below": []}
    for network in range(NETWORKS):
        streams, last = streams_of(spec, network)
        draws = [_one(streams, last, torch.Generator().manual_seed(DRAWS * network + k)) for k in range(DRAWS)]
        for name, values in rows.items():
            values.append(np.mean([draw[name] for draw in draws], axis=0))
    return {name: np.array(values) for name, values in rows.items()}


def _one(streams: list[Tensor], last: Tensor, generator: torch.Generator) -> dict[str, Any]:
    """The statistics of one draw of labels and signs."""
    top = streams[-1]
    b, classes = top.shape
    labels = torch.randint(classes, (b,), generator=generator)
    signs = 2.0 * torch.randint(2, (classes,), generator=generator) - 1.0
    (delta,) = torch.autograd.grad(cross_entropy(top, labels, reduction="sum"), top, retain_graph=True)
    (at,) = torch.autograd.grad(top, last, delta, retain_graph=True)
    sent = torch.autograd.grad(top, streams[:-1], delta * signs, retain_graph=True)
    square = float(delta.square().mean())
    pairs = (float(delta.sum(dim=0).square().mean()) / b - square) / (b - 1)
    below = [float(g.square().mean()) for g in sent]
    return {"size": square, "pairs": pairs, "through": float(at.square().mean()), "below": below}


@pytest.mark.parametrize("name", SPECS)
def test_the_independent_cotangent_against_torch(name: str) -> None:
    """Its size, its correlation over samples, its meeting with the last slopes, and the gradient of every layer (in
    units of the size, which scatters most). The mean slope for all units, E delta^2 E phi'^2, would be outside."""
    spec = spec_of(name)
    field, rows = ParticleField(spec), measured(spec)
    size, looks = math.exp(field.log_g[-1]), 3 + DEPTH - 1

    def gap(values: np.ndarray, expected: Any) -> np.ndarray:
        """Distance beyond what is allowed: below 0 where they agree."""
        error = values.std(axis=0, ddof=1) / math.sqrt(NETWORKS)
        scale = np.maximum(np.abs(expected), 1.0) if values is shared else np.abs(expected)
        return np.abs(values.mean(axis=0) - expected) - limit(looks, NETWORKS) * error - OPEN * scale

    shared = rows["pairs"] / size
    assert gap(rows["size"], size) < 0
    assert gap(shared, float(field.backward[1][-1].mean())) < 0
    through = rows["through"] / rows["size"]
    assert gap(through, math.exp(field.rows["log_t"][-1]) / size) < 0
    below = rows["below"] / rows["size"][:, None]
    assert np.all(gap(below, np.exp(field.log_g[:-1]) / size) < 0)
    if name == "post_activation":
        assert gap(through, float(np.mean(field.population.steps[DEPTH - 1].seen.hat[0] > 0.0))) > 0


def test_so_many_classes_that_their_sum_is_its_mean() -> None:
    """Softmaxes of more than half the population, against softmaxes drawn with other units: E p and E p^2 of a unit,
    averaged over the units. The sum's own scatter, (e^q - 1)/k, is left out, of second order in E p^2 (three times)."""
    q, units, classes, draws = 0.5, 987, 500, 400
    rng = np.random.default_rng(2)
    logits = math.sqrt(q) * rng.standard_normal((2, units))
    population: Any = SimpleNamespace(rng=rng, coupled=False)
    mean, square, cross, _ = sampled_softmax._softmax(population, logits, classes)
    sums = {"mean": np.zeros(draws), "square": np.zeros(draws), "cross": np.zeros(draws)}
    for i in range(draws):
        p = np.exp(logits[:, rng.permutation(units)[:classes]])
        p /= p.sum(axis=1, keepdims=True)
        sums["mean"][i], sums["square"][i], sums["cross"][i] = p[0].mean(), (p[0] ** 2).mean(), (p[0] * p[1]).mean()
    for found, drawn in ((mean[0], sums["mean"]), (square[0], sums["square"]), (cross[0], sums["cross"])):
        error = limit(3, draws) * drawn.std(ddof=1) / math.sqrt(draws)
        assert abs(found.mean() - drawn.mean()) < error + 3.0 * math.expm1(q) / classes * drawn.mean()
