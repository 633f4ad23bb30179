"""Training against an independent plain torch loop, the figures of Nielsen's chapter 5, records, stops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

import gradcore as gc
from gradcore.experiments.costs import COSTS
from gradcore.experiments.data import digits
from gradcore.experiments.remedies import REMEDIES
from gradcore.experiments.train_spec import OPTIMIZERS, TRAIN_FIELDS, TrainSpec, nielsen
from gradcore.experiments.training import Run, train, train_all
from gradcore.experiments.training_loop import _norm

FEW = digits(40)
SMALL = nielsen([64, 9, 8, 10])


# --- against a plain loop ---------------------------------------------------------------------------------------


def quadratic(z, y):
    return ((torch.sigmoid(z) - y) ** 2).sum() / (2 * len(z))


def binary(z, y):
    a = torch.sigmoid(z)
    return -(y * torch.log(a) + (1 - y) * torch.log(1 - a)).sum() / len(z)


def softmax(z, y):
    return -(y * torch.log_softmax(z, dim=1)).sum() / len(z)


PLAIN_COSTS = {"quadratic": quadratic, "binary_cross_entropy": binary, "cross_entropy": softmax}


def plain_loop(spec: TrainSpec, data) -> list[tuple[float, list[float], list[float]]]:
    """(loss, speeds, norms of dC/dW) of every step, by nn.Sequential, loss.backward and torch.optim alone."""
    drawn = spec.sized(data).build(spec.seed)
    linears = [torch.nn.Linear(m.in_features, m.out_features, dtype=torch.float64) for m in drawn.linears]
    for own, source in zip(linears, drawn.linears, strict=True):
        own.load_state_dict(source.state_dict())
    parts = list(itertools.chain.from_iterable((linear, torch.nn.Sigmoid()) for linear in linears))[:-1]
    net = torch.nn.Sequential(*parts)
    weights, biases = [m.weight for m in linears], [m.bias for m in linears]
    groups = [{"params": weights, "weight_decay": spec.l2}, {"params": biases, "weight_decay": 0.0}]
    make = {
        "sgd": lambda: torch.optim.SGD(groups, lr=spec.learning_rate),
        "momentum": lambda: torch.optim.SGD(groups, lr=spec.learning_rate, momentum=spec.momentum),
        "adam": lambda: torch.optim.Adam(groups, lr=spec.learning_rate),
        "adamw": lambda: torch.optim.AdamW(groups, lr=spec.learning_rate),
    }
    optimizer, out = make[spec.optimizer](), []
    for k in range(spec.steps):
        rows = spec.batch_indices(data, k)
        x, y = torch.tensor(data.inputs[rows]), torch.tensor(data.targets[rows])
        optimizer.zero_grad()
        cost = PLAIN_COSTS[spec.cost](net(x), y)
        cost.backward(retain_graph=True)
        out.append((cost.item(), [b.grad.norm().item() for b in biases], [w.grad.norm().item() for w in weights]))
        optimizer.zero_grad()
        flat = torch.cat([w.flatten() for w in weights])
        (cost + spec.l1 * flat.abs().sum() + spec.l2_norm * flat.norm()).backward()
        if spec.clip == "norm":
            torch.nn.utils.clip_grad_norm_(net.parameters(), spec.clip_limit, norm_type=spec.clip_norm_type)
        elif spec.clip == "value":
            torch.nn.utils.clip_grad_value_(net.parameters(), spec.clip_limit)
        optimizer.step()
    return out


CLIPS = [
    {},
    {"clip": "norm", "clip_limit": 0.05},
    {"clip": "norm", "clip_limit": 0.3, "clip_norm_type": 1},
    {"clip": "norm", "clip_limit": 0.005, "clip_norm_type": math.inf},
    {"clip": "value", "clip_limit": 0.002},
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("clip", CLIPS, ids=lambda c: "-".join(map(str, c.values())) or "none")
def test_a_plain_loop_gives_the_same(optimizer, clip):
    costs = itertools.cycle(PLAIN_COSTS)
    for cost, extra in zip(
        costs, ({}, {"l1": 0.01, "batch": 13}, {"l2": 0.02, "l2_norm": 0.3, "batch": 20}), strict=False
    ):
        spec = TrainSpec(
            network=SMALL, cost=cost, optimizer=optimizer, learning_rate=0.3, steps=5, seed=7, **clip, **extra
        )
        run, plain = train_all(spec, FEW), plain_loop(spec, FEW)
        assert run.series("loss") == pytest.approx([p[0] for p in plain], rel=1e-9)
        assert run.series("speeds") == pytest.approx(np.array([p[1] for p in plain]), rel=1e-9)
        assert run.series("weight_gradients") == pytest.approx(np.array([p[2] for p in plain]), rel=1e-9)
        if clip:
            assert run.steps[0].clipped and run.share_clipped > 0


def test_the_plain_loop_would_notice():
    """Another seed, cost or clip is far outside 1e-9."""
    spec = TrainSpec(network=SMALL, learning_rate=0.3, steps=5)
    losses = train_all(spec, FEW).series("loss")
    for other in (spec.replace(seed=1), spec.replace(clip="norm"), spec.replace(l2=1e-3), spec.replace(momentum=0.5)):
        same = other.momentum == 0.5  # which sgd does not use
        assert (np.abs(losses[-1] / plain_loop(other, FEW)[-1][0] - 1) < 1e-9) == same


@pytest.mark.parametrize("residual", ["identity", "post_activation", "resnet_v1"])
def test_residual_blocks_and_a_plain_readout(residual):
    """The written-out network has the same cost and gradients."""
    network = gc.Spec(depth=4, width=6, activation="tanh", residual=residual, residual_scale=0.5, bias_std=0.3)
    spec = TrainSpec(network=network, cost="cross_entropy", seed=3)
    step = next(train(spec, FEW))
    drawn = spec.sized(FEW).build(3)
    (w1, b1), (w2, b2), (w3, b3), (w4, b4) = [(m.weight, m.bias) for m in drawn.linears]
    h = torch.tensor(FEW.inputs) @ w1.T + b1
    for w, b in ((w2, b2), (w3, b3)):
        h = {
            "identity": lambda h, w, b: h + 0.5 * (torch.tanh(h) @ w.T + b),
            "post_activation": lambda h, w, b: h + 0.5 * torch.tanh(h @ w.T + b),
            "resnet_v1": lambda h, w, b: torch.tanh(h + 0.5 * (h @ w.T + b)),
        }[residual](h, w, b)
    z = (torch.tanh(h) if residual == "identity" else h) @ w4.T + b4
    cost = softmax(z, torch.tensor(FEW.targets))
    assert step.loss == pytest.approx(cost.item(), rel=1e-12)
    slopes = torch.autograd.grad(cost, [b1, b2, b3, b4])
    assert step.speeds == pytest.approx([s.norm().item() for s in slopes], rel=1e-9)


@pytest.mark.parametrize("code", COSTS)
def test_costs_agree_with_torch(code):
    rng = np.random.default_rng(1)
    z, y = 3 * rng.standard_normal((7, 10)), np.eye(10)[rng.integers(10, size=7)]
    leaf = torch.tensor(z, requires_grad=True)
    cost = COSTS[code].torch_cost(torch, leaf, torch.tensor(y))
    cost.backward()
    assert COSTS[code].value(z, y) == pytest.approx(cost.item(), rel=1e-12)
    assert cost.item() == pytest.approx(PLAIN_COSTS[code](leaf, torch.tensor(y)).item(), rel=1e-12)
    assert COSTS[code].cotangent(z, y) == pytest.approx(7 * leaf.grad.numpy(), rel=1e-9, abs=1e-14)


# --- what a step says -------------------------------------------------------------------------------------------


def test_ratios_changes_and_neurons():
    spec = TrainSpec(network=SMALL, learning_rate=0.3, steps=6, clip="value", clip_limit=0.05)
    run = Run.of(spec, FEW)
    for step in train(spec, FEW, neurons=(1, 3)):
        run.add(step)
    first, last = run.steps[0], run.steps[-1]
    assert [len(n) for n in first.neurons] == [9, 10]
    assert np.linalg.norm(first.neurons[0]) == pytest.approx(first.speeds[0])
    assert np.abs(first.neurons[1]).max() == pytest.approx(first.node_peaks[2])
    floors = np.abs([step.neurons[1] for step in run.steps]).min(axis=0)
    assert last.node_floors[2] == pytest.approx(floors.max())
    assert first.update_ratios == pytest.approx(first.weight_changes)
    start = [m.weight.detach().numpy() for m in spec.sized(FEW).build(0).linears]
    assert first.weight_norms == pytest.approx([np.linalg.norm(w) for w in start])
    assert 0 < first.cosine < 1 and first.norm_after < first.norm
    assert last.epoch == 5.0 and 0.0 <= last.accuracy <= 1.0


def test_penalty_and_norm_are_of_all_weights():
    spec = TrainSpec(network=SMALL, l1=0.1, l2=0.02, l2_norm=0.3)
    step = next(train(spec, FEW))
    flat = np.concatenate([m.weight.detach().numpy().ravel() for m in spec.sized(FEW).build(0).linears])
    size = np.linalg.norm(flat)
    assert step.penalty == pytest.approx(0.1 * np.abs(flat).sum() + 0.01 * size**2 + 0.3 * size)
    bare = next(train(TrainSpec(network=SMALL), FEW))
    assert bare.norm == pytest.approx(math.hypot(*bare.speeds, *bare.weight_gradients))
    assert step.speeds == bare.speeds and step.norm > bare.norm  # what is clipped holds the penalties


def test_norm_clipping_keeps_direction_and_ratios():
    spec = TrainSpec(network=SMALL, steps=3, clip="norm", clip_limit=0.01)
    for step in train(spec, FEW):
        assert step.cosine == pytest.approx(1.0) and step.norm_after == pytest.approx(0.01, rel=1e-5) and step.clipped


def test_factors_and_saturation_of_a_known_network():
    """Biases of 100 put every sigmoid on its flat piece; weights of 5 times a slope of 1/4 are above 1."""
    saturated = gc.Spec(depth=3, width=8, activation="sigmoid", init="constant", gain=100.0)
    assert next(train(TrainSpec(network=saturated), FEW)).saturated == (1.0, 1.0)
    factors = [
        next(train(TrainSpec(network=saturated.replace(activation="linear", gain=g)), FEW)).factors_above_one
        for g in (0.99, 1.01)
    ]
    assert factors == [(0.0, 0.0), (1.0, 1.0)]


def test_batch_norm_speed_is_the_shift():
    """The bias before a batch norm learns nothing; the norm's own shift takes its place."""
    network = gc.Spec(depth=3, width=8, norm="batch")
    step = next(train(TrainSpec(network=network), FEW))
    assert min(step.speeds) > 1e-4
    after = next(train(TrainSpec(network=network.replace(norm_position="after")), FEW))
    assert min(after.speeds) > 1e-4
    with pytest.raises(gc.UnsupportedError, match="batch norm with one item"):
        next(train(TrainSpec(network=network, batch=1), FEW))


def test_epochs_and_batches():
    spec = TrainSpec(network=SMALL, batch=13, epochs=2)
    assert spec.steps_on(FEW) == 6  # 3 whole batches of 13 in 40 items
    rows = [spec.batch_indices(FEW, k) for k in range(6)]
    assert len(np.unique(np.concatenate(rows[:3]))) == 39
    assert not np.array_equal(rows[0], rows[3])
    assert [step.epoch for step in train(spec, FEW)] == pytest.approx([0, 1 / 3, 2 / 3, 1, 4 / 3, 5 / 3])


# --- stops, records ---------------------------------------------------------------------------------------------


def test_nan_stops_with_step_layer_and_remedies():
    deep = gc.Spec(depth=8, width=20, init="normal", gain=1e6)
    run = train_all(TrainSpec(network=deep, cost="cross_entropy", dtype="float32", steps=5), FEW)
    stop = run.stop
    assert stop is not None and len(run.steps) == 1
    assert (stop.step, stop.quantity) == (0, "signal") and math.isinf(stop.value)
    zs = torch.tensor(FEW.inputs, dtype=torch.float32)
    layer = 0
    while torch.isfinite(zs).all():
        zs = torch.relu(run.spec.sized(FEW).build(0, dtype="float32").linears[layer](zs))
        layer += 1
    assert stop.layer == layer
    assert f"step 0: the pre-activations of layer {layer}" in str(stop.message)
    assert stop.remedies and set(stop.remedies) <= set(REMEDIES)
    assert Run.from_json(run.to_json()).stop == stop


def test_a_huge_step_breaks_the_weights_of_a_layer():
    spec = TrainSpec(network=SMALL, cost="cross_entropy", learning_rate=1e30, l2=1e30, steps=5, dtype="float32")
    run = train_all(spec, FEW)
    assert run.stop is not None and (run.stop.step, run.stop.quantity, run.stop.layer) == (0, "weights", 1)
    assert run.steps[0].speeds and not math.isfinite(run.steps[0].update_ratios[0])


def test_a_gradient_that_overflows_names_the_layer():
    """Sines keep the signal at 1 and pass a gradient of about 1e15 a layer: beyond float32 three layers down."""
    network = gc.Spec(depth=5, width=8, activation="sin", init="normal", gain=1e15)
    run = train_all(TrainSpec(network=network, cost="cross_entropy", steps=3, dtype="float32"), FEW)
    assert run.stop is not None and (run.stop.step, run.stop.quantity, run.stop.layer) == (0, "gradient", 2)


def test_a_cancelled_run_keeps_what_it_had():
    spec = TrainSpec(network=SMALL, steps=50)
    run, steps = Run.of(spec, FEW), train(spec, FEW)
    for step in itertools.islice(steps, 4):
        run.add(step)
    whole = train_all(spec.replace(steps=4), FEW)
    assert run.steps == whole.steps and run.series("speeds").shape == (4, 3)
    assert not run.finished and whole.finished and not Run.from_json(run.to_json()).finished


class Interrupted(BaseException):
    """As Streamlit ends a script."""


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_a_run_stopped_within_a_step_goes_on_with_the_same_numbers(norm):
    """Stopped at one call of beat after the other: on the way forward, on the way back, between the shares."""
    network = gc.Spec(depth=4, width=7, activation="tanh", norm=norm, residual="identity")
    spec = TrainSpec(network=network, optimizer="adam", clip="norm", steps=3)
    calls, stops = 0, 0

    def beat() -> None:
        nonlocal calls, stops
        calls += 1
        if calls > stops:
            calls, stops = 0, stops + 1
            raise Interrupted

    run, steps = Run.of(spec, FEW), train(spec, FEW, beat=beat)
    while True:
        try:
            run.add(next(steps))
        except Interrupted:
            continue
        except StopIteration:
            break
    assert stops >= 3 * 4 - 1  # 4 layers forward, 4 back, 3 shares in the longest of them
    assert run.steps == train_all(spec, FEW).steps


def test_the_same_question_gives_the_same_run_and_json_returns_it():
    spec = TrainSpec(network=SMALL, steps=3, batch=9, clip="norm", clip_norm_type=math.inf, seed=11)
    one, other = train_all(spec, FEW, neurons=(2,)), train_all(spec, FEW, neurons=(2,))
    assert one.steps == other.steps
    read = Run.from_json(one.to_json())
    assert read == one and read.spec == spec and read.data["digest"] == FEW.digest
    assert set(read.versions) == {"gradcore", "torch", "numpy"}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": "other"}', '{"format": "gradcore.run", "spec": {}, "data": {}, "versions": {}}'],
)
def test_a_bad_record_is_refused(text):
    with pytest.raises(gc.SpecError, match="record"):
        Run.from_json(text)


def test_a_record_with_a_bad_step_or_spec_is_refused():
    good = train_all(TrainSpec(network=SMALL, steps=1), FEW).to_json()
    for old, new in (('"loss": ', '"lost": '), ('"step": 0', '"step": "x"'), ('"seeds"', "")):
        if old in good:
            with pytest.raises(gc.SpecError):
                Run.from_json(good.replace(old, new, 1))


def test_no_global_state_moves():
    torch.manual_seed(5)
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    train_all(TrainSpec(network=SMALL, steps=2, batch=9), FEW)
    assert torch.equal(before, torch.random.get_rng_state()) and torch.get_num_threads() == threads


# --- the question -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRAIN_FIELDS)
def test_every_field_is_checked(name):
    with pytest.raises(gc.SpecError) as error:
        TrainSpec(**{name: object()})
    assert error.value.field == name


def test_sizes_must_be_the_datas():
    for network, field in ((nielsen([784, 30, 10]), "input_width"), (nielsen([64, 30, 9]), "width")):
        with pytest.raises(gc.SpecError) as error:
            train(TrainSpec(network=network), FEW)
        assert error.value.field == field
    assert TrainSpec(network=gc.Spec(depth=3, width=7)).sized(FEW).layer_widths.tolist() == [7, 7, 10]


def test_spec_json_and_replace():
    spec = TrainSpec().replace(activation="tanh", learning_rate=0.5, clip_norm_type=math.inf)
    assert spec.network.activation == "tanh" and spec.learning_rate == 0.5
    assert TrainSpec.from_json(spec.to_json()) == spec
    with pytest.raises(gc.SpecError):
        TrainSpec.from_json({"lr": 1})
    with pytest.raises(gc.SpecError):
        spec.replace(lr=1)


@pytest.mark.parametrize(
    "spec",
    [
        TrainSpec(),
        TrainSpec(network=gc.Spec(), batch=20, epochs=3, clip="norm", clip_norm_type=math.inf, dtype="float32"),
        TrainSpec(network=gc.Spec(gain="auto", batch_size=3), l1=1e-3, optimizer="adamw", seed=5),
    ],
    ids=["plain", "clipped", "adamw"],
)
def test_a_link_opens_the_same_run(spec):
    assert TrainSpec.from_query(spec.to_query()) == spec
    assert not set(TRAIN_FIELDS) & set(gc.from_query({}).__dataclass_fields__)
    with pytest.raises(gc.SpecError):
        TrainSpec.from_query({"lr": "1"})
    with pytest.raises(gc.SpecError):
        TrainSpec.from_query({"steps": "many"})


@pytest.mark.parametrize(("kind", "norm"), [(2.0, 5.0), (1.0, 7.0), (math.inf, 4.0)])
@pytest.mark.parametrize("size", [1e-300, 1e-200, 1.0, 1e200, 1e300])
def test_norms_do_not_over_or_underflow(kind, norm, size):
    assert _norm(size * torch.tensor([3.0, 0.0, -4.0], dtype=torch.float64), kind) == pytest.approx(norm * size)
    assert _norm(torch.zeros(3)) == 0.0 and math.isnan(_norm(torch.tensor([1.0, math.nan])))
