"""Where each dtype over- and underflows: prediction against plain torch runs."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gradcore as gc

DTYPES = ("float64", "float32", "bfloat16", "float16")


def _spec(std: float, depth: int, **fields: object) -> gc.Spec:
    base = {"width": 400, "activation": "linear", "init": "normal", "gain": std, "depth": depth}
    return gc.Spec(**{**base, **fields})


def test_the_classic_figures() -> None:
    """Std 1 at width 400: x20 a layer; float32 and bfloat16 overflow at 30, float16 at 4, float64 at 237."""
    events = gc.predict(_spec(1.0, 260)).precision
    assert [events[d].forward_overflow for d in DTYPES] == [237, 30, 30, 4]
    assert all(events[d].forward_underflow is None for d in DTYPES)
    shrink = gc.predict(_spec(0.01, 80)).precision  # x0.2 a layer
    assert shrink["float16"].forward_underflow == 12
    assert abs(shrink["float32"].forward_underflow - 65) <= 1
    assert abs(shrink["bfloat16"].forward_underflow - 54) <= 1
    assert shrink["float64"].forward_underflow is None


@pytest.mark.parametrize(("dtype", "std", "depth"), [("float32", 1.0, 34), ("float16", 1.0, 7), ("bfloat16", 1.0, 34)])
def test_overflow_against_torch(dtype: str, std: float, depth: int) -> None:
    """First layer with an inf or NaN in 12 plain runs: at most one layer off, on the layer in most."""
    spec = _spec(std, depth)
    predicted = gc.predict(spec).precision[dtype].forward_overflow
    run = gc.measure(spec.replace(depth=1), networks=12).plain("float32")  # cheap networks to take indices from
    assert run.log_q.shape == (12, 1)
    from gradcore.measure.plain import plain_run

    runs = plain_run(spec, tuple(range(12)), 0, dtype)
    first = np.array([min(x for x in pair if x) for pair in zip(runs.first_inf, runs.first_nan, strict=True)])
    assert np.all(np.abs(first - predicted) <= 1)
    assert np.mean(first == predicted) >= 0.75


@pytest.mark.parametrize(("dtype", "depth"), [("float32", 70), ("float16", 16)])
def test_underflow_against_torch(dtype: str, depth: int) -> None:
    from gradcore.measure.plain import plain_run

    spec = _spec(0.01, depth)
    predicted = gc.predict(spec).precision[dtype].forward_underflow
    zero = plain_run(spec, (0, 1, 2, 3), 0, dtype).first_zero
    assert np.all(np.abs(zero - predicted) <= 1), zero


def test_bfloat16_underflow_against_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processors with bfloat16 arithmetic of their own flush below its normal range (predicted: the earlier layer);
    others keep its subnormals down to 2^-133, and lose the signal where those end."""
    from gradcore.measure.plain import plain_run
    from gradcore.theory import precision

    spec = _spec(0.01, 64)
    flushed = gc.predict(spec).precision["bfloat16"].forward_underflow
    largest, _, by_product = precision.RANGES["bfloat16"]
    monkeypatch.setitem(precision.RANGES, "bfloat16", (largest, -134 * precision.LN2, by_product))
    gradual = gc.predict(spec).precision["bfloat16"].forward_underflow
    assert flushed + 2 < gradual
    zero = plain_run(spec, (0, 1, 2, 3), 0, "bfloat16").first_zero
    assert np.all(np.abs(zero - flushed) <= 1) or np.all(np.abs(zero - gradual) <= 1), zero


def test_gradient_underflow_against_torch() -> None:
    """Sigmoid keeps its signal and loses a factor 4.2 of the gradient a layer: zero in float32 where predicted."""
    from gradcore.measure.plain import plain_run

    spec = gc.Spec(depth=90, width=128, activation="sigmoid", batch_size=4)
    events = gc.predict(spec).precision["float32"]
    assert events.forward_underflow is None
    assert events.gradient_underflow is not None
    measured = plain_run(spec, (0, 1, 2, 3), 0, "float32").gradient_zero
    # the boundary holds to one layer, and the scatter of ln g after 70 layers of width 128 is worth one more
    assert np.all(np.abs(measured - events.gradient_underflow) <= 2), (measured, events)


def test_rescaled_measurement_goes_where_float32_cannot() -> None:
    """ReLU L = 300, sigma_w^2 = 0.5: plain float32 gradients are exactly 0, the rescaled ones are finite."""
    spec = gc.Spec(depth=300, width=32, init="lecun_normal", gain=math.sqrt(0.5), batch_size=2)
    measured = gc.measure(spec, networks=1, seed=3)
    assert np.all(np.isfinite(measured.log_g))
    plain = measured.plain("float32")
    assert np.isneginf(plain.log_g[0, 0])
