"""Every legal question gets an honest answer: numbers without NaN, a reason for every zero, or a named refusal."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings

import gradcore as gc
from gradcore.activations import ACTIVATIONS
from gradcore.initializers import sparse_zeros
from gradcore.profile import QUANTITIES
from gradcore.residual import RESIDUALS
from gradcore.theory.critical import weight_variances
from tests.samples import small_samples  # noqa: F401
from tests.strategies import specs

SHARES = ("saturated", "dead")
FLAT = {"relu", "relu6", "hardtanh", "hardsigmoid", "hardswish"}
BLOCKS = {"post_activation", "two_layer", "resnet_v1"}
SILENCES = {  # where this quantity is exactly zero, one of these notes says why
    "log_q": {"dead_signal"},
    "log_p": {"dead_signal", "dead_activation"},
    "log_g": {"dead_gradient"},
    "log_dw": {"dead_signal", "dead_activation", "dead_gradient", "dead_branch", "unresolved_samples"},
    "log_db": {"dead_gradient", "bias_cancelled", "dead_branch", "unresolved_samples"},
}


# --- the closed list of refusals ----------------------------------------------------------------------------


def refusals(spec: gc.Spec) -> dict[str, bool]:
    """Every reason for which the contract allows an UnsupportedError, by a phrase of its sentence."""
    batch = spec.norm == "batch"
    fans = zip(spec.fan_ins.tolist(), spec.layer_widths.tolist(), strict=True)
    non_zeros = min(n * (1 - sparse_zeros(m, spec.sparsity) / m) for n, m in fans)
    flat_after = spec.norm_position == "after" and spec.activation in FLAT
    return {
        "infinite for B <= 3": batch and spec.batch_size <= 3,
        "rare draws": batch and flat_after and spec.batch_size < 64,
        "units are not random": spec.init in ("constant", "eye") and spec.norm != "none",
        "not Gaussian": spec.init == "sparse" and spec.activation != "linear" and non_zeros < 20,
    }


def check_refusal(spec: gc.Spec, error: gc.UnsupportedError) -> None:
    allowed = [phrase for phrase, holds in refusals(spec).items() if holds]
    assert any(phrase in error.reason for phrase in allowed), (str(error), allowed)
    for text in (error.asked, error.reason, error.supported):
        assert text.strip() and text in str(error)


# --- the answers --------------------------------------------------------------------------------------------


def check_logs(name: str, logs: np.ndarray, spec: gc.Spec) -> None:
    depth = spec.depth
    assert logs.shape == (depth,) and logs.dtype == np.float64, name
    assert not np.isnan(logs).any() and not np.isposinf(logs).any(), (name, logs)
    if depth <= 60 and name in QUANTITIES:
        # the largest factors of these Specs are 1e25, a slope of 1e-186, or gamma in every layer, squared: a finite
        # number below this stands for -inf and says it wrongly
        gammas = 2.0 * depth * math.log(min(abs(spec.norm_gamma), 1.0)) if spec.norm_gamma else 0.0
        assert np.all(logs[np.isfinite(logs)] > -6e4 + gammas), (name, logs)


def check_profile(spec: gc.Spec, profile: gc.Profile) -> None:
    depth = spec.depth
    for name in QUANTITIES:
        check_logs(name, getattr(profile, name), spec)
    for name in ("chi", "chi_parallel", "correlation", "saturated", "dead", "sigma_w"):
        values = getattr(profile, name)
        assert values.shape == (depth,) and not np.isnan(values).any(), (name, values)
    for name in SHARES:
        assert np.all((getattr(profile, name) >= 0) & (getattr(profile, name) <= 1))
    assert np.all(np.abs(profile.correlation) <= 1 + 1e-9) and np.all(profile.chi >= 0)
    assert np.isfinite(profile.sigma_w).all() and np.all(profile.sigma_w >= 0)
    check_finite_width(spec, profile)
    check_reasons(spec, profile)


def check_finite_width(spec: gc.Spec, profile: gc.Profile) -> None:
    assert profile.band_source in ("exact", "expansion", "sampler", None)
    for name in QUANTITIES:
        check_logs(name + "_mean", getattr(profile, name + "_mean"), spec)
        check_logs(name + "_median", getattr(profile, name + "_median"), spec)
        band = profile.band(name)
        assert (band is None) == (profile.band_source is None)
        if band is not None:
            low, high = band
            check_logs(name + " low", low, spec)
            check_logs(name + " high", high, spec)
            assert np.all(low <= high), name


def check_reasons(spec: gc.Spec, profile: gc.Profile) -> None:
    """Each exact zero is explained by a note; what the note says is true."""
    notes = {note.message_id: note for note in profile.notes}
    for note in notes.values():
        assert str(note).strip().endswith((".", "!")) and isinstance(note.values, dict)
    for name, reasons in SILENCES.items():
        if np.isneginf(getattr(profile, name)).any():
            assert reasons & set(notes), (name, sorted(notes))
    if "dead_signal" in notes:
        layer = notes["dead_signal"].values["layer"]
        assert layer == profile.dead_from == int(np.argmax(np.isneginf(profile.log_q))) + 1
        if "weights are all zero" in str(notes["dead_signal"]):
            assert weight_variances(spec)[layer - 1] == 0.0, "the note blames the weights, which are not zero"
    if "dead_gradient" in notes:
        assert notes["dead_gradient"].values["layer"] == int(np.flatnonzero(np.isneginf(profile.log_g))[-1]) + 1
    if profile.dead_from is not None:
        assert "dead_signal" in notes


def examine(spec: gc.Spec) -> None:
    try:
        profile = gc.predict(spec)
    except gc.UnsupportedError as error:
        event(f"unsupported: {error.reason[:30]}")
        check_refusal(spec, error)
        return
    except gc.SpecError as error:  # a sigma_w that weights cut at +-2 cannot have
        assert error.field == "gain" and isinstance(spec.gain, str) and spec.init == "trunc_normal", str(error)
        event("gain out of reach")
        return
    assert not any(refusals(spec).values()), "predicted what the contract calls unsupported"
    event("predicted")
    check_profile(spec, profile)


search = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)


@settings(search, max_examples=200)
@given(specs(max_depth=20))
def test_any_spec_is_predicted_or_refused_by_name(spec):
    examine(spec)


@pytest.mark.slow
@settings(search, max_examples=1000)
@given(specs())
def test_a_thousand_specs_are_predicted_or_refused_by_name(spec):
    examine(spec)


# --- corners that chance seldom meets -----------------------------------------------------------------------

CORNERS = {
    "one unit": {"depth": 3, "width": 1},
    "one layer": {"depth": 1, "width": 5},
    "one sample": {"depth": 4, "batch_size": 1},
    "a billion units": {"depth": 6, "width": 10**9, "activation": "gelu"},
    "no weights": {"depth": 4, "gain": 0},
    "no weights but biases": {"depth": 4, "gain": 0, "bias_std": 1},
    "all sparse": {"depth": 4, "init": "sparse", "sparsity": 1, "activation": "linear"},
    "no weights but a norm": {"depth": 4, "norm": "layer", "gain": 0, "activation": "tanh"},
    "no weights but a norm after": {"depth": 4, "norm": "rms", "gain": 0, "norm_position": "after"},
    "no weights but a saturated norm after": {
        "depth": 4,
        "norm": "rms",
        "gain": 0,
        "norm_position": "after",
        "activation": "hardsigmoid",
    },
    "no weights but a batch norm after": {
        "depth": 4,
        "norm": "batch",
        "gain": 0,
        "norm_position": "after",
        "activation": "sigmoid",
    },
    "contrasts far below the biases": {
        "depth": 4,
        "norm": "batch",
        "norm_position": "after",
        "activation": "selu",
        "bias_std": 1e17,
        "batch_size": 12,
    },
    "contrasts no float holds": {
        "depth": 9,
        "activation": "erf",
        "norm": "batch",
        "norm_gamma": 4e-92,
        "norm_beta": 4.5,
        "norm_eps": 0.13,
        "bias_std": "default",
        "batch_size": 27,
    },
    "no weights and nothing in a residual stream": {
        "depth": 4,
        "activation": "relu6",
        "gain": 0,
        "residual": "post_activation",
        "norm": "rms",
    },
    "edges of hardtanh far beyond a float's reach": {
        "depth": 3,
        "activation": "hardtanh",
        "norm": "layer",
        "norm_gamma": -9.8e-214,
        "norm_eps": 0.008,
        "residual": "resnet_v1",
        "batch_size": 37,
    },
    "branches next to nothing beside their stream": {
        "depth": 3,
        "activation": "relu6",
        "bias_std": 1.0,
        "residual": "two_layer",
        "residual_scale": -2.3e-309,
        "batch_size": 30,
    },
    "more rows than are followed, all alike": {
        "depth": 3,
        "width": 64,
        "activation": "gelu",
        "bias_std": 4.0,
        "norm": "batch",
        "norm_position": "after",
        "norm_gamma": 0.0,
        "residual": "two_layer",
        "batch_size": 177,
    },
    "no weights but biases and a batch norm": {
        "depth": 5,
        "norm": "batch",
        "activation": "gelu",
        "gain": 0,
        "bias_std": "default",
        "loss": "mse",
    },
    "gamma 0": {"depth": 4, "norm": "layer", "norm_gamma": 0, "activation": "tanh"},
    "gamma 0, relu shut": {"depth": 4, "norm": "layer", "norm_gamma": 0, "norm_beta": -1},
    "gamma 0 after": {"depth": 4, "norm": "rms", "norm_gamma": 0, "norm_position": "after"},
    "residual off": {"depth": 4, "residual": "identity", "residual_scale": 0},
    "residual without weights": {"depth": 4, "residual": "identity", "gain": 0},
    "slope 1 is linear": {"depth": 9, "activation": "leaky_relu", "negative_slope": 1},
    "slope -1 is abs": {"depth": 9, "activation": "leaky_relu", "negative_slope": -1, "gain": "critical"},
    "same samples": {"depth": 9, "activation": "tanh", "input_correlation": 1},
    "tiny eps": {"depth": 5, "norm": "batch", "norm_eps": 1e-300},
    "no eps": {"depth": 5, "norm": "layer", "norm_eps": 0, "gain": 1e-20},
    "batch of 4": {"depth": 5, "norm": "batch", "batch_size": 4},
    "one class": {"depth": 3, "width": (8, 8, 1), "loss": "cross_entropy"},
    "constant without weights": {"depth": 1, "width": 2, "init": "constant", "gain": 0},
    "vanishing constant": {"depth": 5, "init": "constant", "gain": 1e-30, "loss": "cross_entropy"},
    "saturating constant": {"depth": 5, "init": "constant", "width": 10**9, "activation": "erf", "loss": "mse"},
    "exploding eye": {"depth": 5, "init": "eye", "gain": 1e30},
}
CORNERS |= {
    f"exploding eye {code}": {"depth": 6, "width": 64, "init": "eye", "gain": 1e30, "activation": code}
    for code in ACTIVATIONS
}


@pytest.mark.parametrize("fields", CORNERS.values(), ids=list(CORNERS))
@pytest.mark.parametrize("data", ["gaussian", "digits"])
def test_corners(fields, data):
    spec = gc.Spec(**fields, input=data)
    if any(refusals(spec).values()):
        with pytest.raises(gc.UnsupportedError) as caught:
            gc.predict(spec)
        check_refusal(spec, caught.value)
        return
    check_profile(spec, gc.predict(spec))


def ten_thousand_layers(activation: str, gain: float) -> None:
    spec = gc.Spec(depth=10_000, width=100, activation=activation, gain=gain, bias_std=0.05)
    check_profile(spec, gc.predict(spec))


@pytest.mark.parametrize(
    ("activation", "gain"),
    [("relu", 0.5), ("relu", 3.0), ("linear", 3.0), ("tanh", 1.0), ("sin", 3.0), ("gelu", 3.0), ("sigmoid", 1.0)],
)
def test_ten_thousand_layers(activation, gain):
    ten_thousand_layers(activation, gain)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("gain", [0.5, 1.0, 3.0])
def test_ten_thousand_layers_of_every_activation(activation, gain):
    ten_thousand_layers(activation, gain)


@pytest.mark.parametrize(
    "fields",
    [
        {"norm": "layer"},
        {"norm": "rms", "norm_position": "after"},
        *({"residual": form} for form in RESIDUALS if form not in ("none", "resnet_v1")),
    ],
    ids=str,
)
def test_ten_thousand_layers_with_a_remedy(fields):
    spec = gc.Spec(depth=10_000, width=10**6, activation="silu", gain="auto", **fields)
    check_profile(spec, gc.predict(spec))


@pytest.mark.slow
def test_ten_thousand_sampled_layers():
    spec = gc.Spec(depth=10_000, width=10**6, activation="silu", gain="auto", residual="resnet_v1", loss="mse")
    check_profile(spec, gc.predict(spec))


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_ten_thousand_layers_of_unequal_samples_and_a_loss(loss):
    spec = gc.Spec(depth=10_000, width=10**6, activation="silu", norm="layer", input="digits", batch_size=4, loss=loss)
    check_profile(spec, gc.predict(spec))


# --- the refusals, each once --------------------------------------------------------------------------------

REFUSED = [
    {"norm": "batch", "batch_size": 1},
    {"norm": "batch", "batch_size": 3},
    *({"norm": "batch", "norm_position": "after", "activation": code, "batch_size": 63} for code in sorted(FLAT)),
    *({"init": init, "norm": norm} for init in ("constant", "eye") for norm in ("batch", "layer", "rms")),
    {"init": "sparse", "sparsity": 0.95, "width": 256, "activation": "tanh"},
]


@pytest.mark.parametrize("fields", REFUSED, ids=str)
def test_refusals_say_what_was_asked_why_not_and_what_is_supported(fields):
    spec = gc.Spec(depth=4, **fields)
    with pytest.raises(gc.UnsupportedError) as caught:
        gc.predict(spec)
    check_refusal(spec, caught.value)
    assert caught.value.message_id == "unsupported" and isinstance(caught.value, NotImplementedError)


@pytest.mark.parametrize(
    "fields",
    [
        {"norm": "batch", "batch_size": 4},
        *({"norm": "batch", "norm_position": "after", "activation": code, "batch_size": 64} for code in sorted(FLAT)),
        {"norm": "batch", "norm_position": "after", "activation": "tanh", "batch_size": 4},
        {"init": "sparse", "sparsity": 0.9, "width": 256, "activation": "tanh"},
        {"init": "sparse", "sparsity": 0.99, "width": 256, "activation": "linear"},
        *({"residual": form, "init": "constant", "bias_std": 0.1, "loss": "cross_entropy"} for form in sorted(BLOCKS)),
        {"norm": "batch", "input": "digits", "batch_size": 257},
        {"norm": "batch", "input": "digits", "residual": "two_layer", "loss": "cross_entropy"},
        {"norm": "batch", "input": "digits", "residual": "identity", "loss": "mse", "batch_size": 4},
    ],
    ids=str,
)
def test_neighbours_of_the_refused_are_predicted(fields):
    spec = gc.Spec(depth=4, **fields)
    check_profile(spec, gc.predict(spec))


def test_flat_activations_are_those_of_the_table():
    """A new activation with a flat piece must be weighed before batch norm after it is predicted."""
    assert {code for code, entry in ACTIVATIONS.items() if entry.flat} == FLAT


def test_predict_wants_a_spec():
    for nonsense in (None, {}, "relu", gc.Spec):
        with pytest.raises(gc.SpecError) as caught:
            gc.predict(nonsense)
        assert caught.value.field == "spec"
