"""The table of presets: complete, predictable, the same through every codec, and its sentences say true figures."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gradcore as gc
from gradcore.cli import build_parser, spec_of
from gradcore.codec import from_json, from_query, to_argv, to_json, to_query
from gradcore.presets import PRESETS, Preset, find_preset
from tests.samples import small_samples  # noqa: F401

ROOT = Path(__file__).parents[1]
EXPERIMENTS = {"3.1", "3.2", "3.3", "3.4", "3.5", "3.6", "3.7", "3.8", "3.9", "3.10", "3.12", "3.13", "4.3"}
METHODS = {
    "xavier_uniform",
    "xavier_normal",
    "kaiming_uniform",
    "kaiming_normal",
    "uniform",
    "normal",
    "constant",
    "orthogonal",
    "eye",
    "sparse",
    "trunc_normal",
    "linear_default",
}
CLAIM = re.compile(r"(signal|gradient) ×([\d.]+) per layer in RMS \(×([\d.]+) in mean square\)")
every_preset = pytest.mark.parametrize("preset", PRESETS.values(), ids=list(PRESETS))


def decimals(text: str) -> float:
    """Half a unit of the last decimal written."""
    return 0.5 * 10.0 ** -len(text.partition(".")[2])


@every_preset
def test_names_titles_and_sentences(preset: Preset) -> None:
    assert PRESETS[preset.code] is preset
    assert re.fullmatch(r"[a-z][a-z0-9_]*", preset.code)
    assert preset.title.strip()
    assert preset.sentence.endswith(".")
    assert not re.search(r"\. [A-Z]", preset.sentence), "one sentence"
    assert not set(preset.title + preset.sentence) & set("*$[]<`~\\"), "the same words as text and as Markdown"
    assert preset.experiment in EXPERIMENTS | {""}


def test_every_experiment_and_every_method_has_a_preset() -> None:
    assert {p.experiment for p in PRESETS.values()} == EXPERIMENTS | {""}
    methods = [p.spec.init for p in PRESETS.values() if p.experiment == "3.10"]
    assert sorted(methods) == sorted(METHODS)
    assert {"vanishing", "critical", "exploding"} <= set(PRESETS)
    assert PRESETS["vanishing"].spec == gc.Spec()


def test_presets_are_different_questions() -> None:
    named_twice = {"init_kaiming_normal": "relu_kaiming"}  # the same net shows two experiments
    kept = [p.spec for p in PRESETS.values() if p.code not in named_twice]
    assert len(set(kept)) == len(kept)
    for code, other in named_twice.items():
        assert PRESETS[code].spec == PRESETS[other].spec


@every_preset
def test_every_preset_predicts_without_nan(preset: Preset) -> None:
    profile = gc.predict(preset.spec)
    for name in ("log_q", "log_p", "log_g", "log_dw", "log_db"):
        arrays = [getattr(profile, name), profile.mean(name), profile.median(name), *(profile.band(name) or ())]
        for array in arrays:
            assert array.shape == (preset.spec.depth,)
            assert not np.isnan(array).any()
    alive = preset.code != "dead_relu"
    assert np.isfinite(profile.log_q).all() == np.isfinite(profile.log_g).all() == alive


@every_preset
def test_round_trip_through_query_json_and_argv(preset: Preset) -> None:
    spec = preset.spec
    assert from_query(to_query(spec)) == spec
    assert from_json(json.loads(json.dumps(to_json(spec)))) == spec
    assert spec_of(build_parser().parse_args(["predict", *to_argv(spec)])) == spec


@every_preset
def test_the_factors_in_a_sentence_are_the_predicted_ones(preset: Preset) -> None:
    """Deep in the net, where the transient of the first layers is over; RMS and mean square say the same."""
    profile, middle = gc.predict(preset.spec), preset.spec.depth // 2
    for quantity, rms, second in CLAIM.findall(preset.sentence):
        step = np.diff(profile.log_q if quantity == "signal" else -profile.log_g)[middle]
        assert math.exp(0.5 * step) == pytest.approx(float(rms), abs=decimals(rms)), preset.sentence
        assert math.exp(step) == pytest.approx(float(second), abs=decimals(second)), preset.sentence


def test_a_sentence_that_speaks_of_a_factor_says_rms_and_mean_square() -> None:
    for preset in PRESETS.values():
        assert preset.sentence.count("×") == 2 * len(CLAIM.findall(preset.sentence)), preset.sentence
    assert sum(bool(CLAIM.search(p.sentence)) for p in PRESETS.values()) > len(PRESETS) / 2


def predicted(code: str) -> gc.Profile:
    return gc.predict(PRESETS[code].spec)


def says(code: str, *figures: str) -> None:
    """The sentence has these figures: the numbers asserted beside it are those a reader sees."""
    assert all(figure in PRESETS[code].sentence for figure in figures), PRESETS[code].sentence


def rms(code: str, layer: int) -> float:
    return math.exp(0.5 * predicted(code).log_q[layer - 1])


def test_figures_of_overflow() -> None:
    says("overflow", "√400", "float16 overflows at layer 4", "float32 at layer 30")
    events = predicted("overflow").precision
    assert (events["float16"].forward_overflow, events["float32"].forward_overflow) == (4, 30)
    says("overflow_float64", "for 236 layers")
    assert predicted("overflow_float64").precision["float64"].forward_overflow == 237


def test_figures_of_tanh_and_sigmoid() -> None:
    says("scaled_tanh", "about 0.07 at layer 100")
    assert rms("scaled_tanh", 100) == pytest.approx(0.07, abs=0.005)
    falls = np.diff(predicted("scaled_tanh").log_q)
    assert (falls < 0).all() and (np.diff(falls) > 0).all(), "ever more slowly"
    says("tanh_xavier", "mean square of 1.178", "RMS 1.086")
    assert rms("tanh_xavier", 100) == pytest.approx(1.086, abs=0.0005)
    assert rms("tanh_xavier", 100) ** 2 == pytest.approx(1.178, abs=0.0005)
    says("sigmoid_xavier", "4.2 in norm", "18 in mean square")
    loss = np.diff(predicted("sigmoid_xavier").log_g)[50]
    assert (math.exp(0.5 * loss), math.exp(loss)) == pytest.approx((4.2, 18), abs=0.5)
    assert math.exp(0.5 * loss) == pytest.approx(4.2, abs=0.05)


def test_figures_of_the_methods() -> None:
    says("init_constant", "0.05 in RMS", "1/n")
    assert rms("init_constant", 1) == pytest.approx(0.05, abs=0.005)
    says("init_eye", "after the first ReLU nothing changes")
    assert np.allclose(predicted("init_eye").log_q[1:], predicted("init_eye").log_q[1])
    says("init_trunc_normal", "28 standard deviations")
    assert 28 <= 2 / PRESETS["init_trunc_normal"].spec.gain < 29
    says("init_linear_default", "1/(3 n)", "six times too small")
    sigma_w = predicted("init_linear_default").sigma_w[-1]
    assert 6 * sigma_w**2 == pytest.approx(predicted("init_kaiming_normal").sigma_w[-1] ** 2)
    says("init_orthogonal", "scatter less")
    assert widths_of_band("init_orthogonal") < widths_of_band("init_kaiming_normal")
    says("relu_kaiming", "scatter widely")
    assert widths_of_band("relu_kaiming") > math.log(10), "a factor of ten in mean square"


def widths_of_band(code: str) -> float:
    """Natural log of upper over lower end of the signal's 95% band at the output, measured where none is predicted."""
    band = predicted(code).expansion.band("log_q", 0.95)
    if band is None:
        last = gc.measure(PRESETS[code].spec.replace(depth=30), networks=8).log_q[:, -1]
        return float(np.ptp(last))
    return float(band[1][-1] - band[0][-1])


def test_figures_of_unequal_widths() -> None:
    says("unequal_fan_in", "mean square at 2", "the gradient's follows the widths")
    assert np.allclose(predicted("unequal_fan_in").log_q, math.log(2))
    assert np.ptp(predicted("unequal_fan_in").log_g) > 0.5
    says("unequal_fan_out", "mean square at 1", "the signal's follows the widths")
    assert np.allclose(predicted("unequal_fan_out").log_g, 0.0)
    assert np.ptp(predicted("unequal_fan_out").log_q) > 0.5
    says("unequal_xavier", "neither the signal nor the gradient")
    assert min(np.ptp(predicted("unequal_xavier").log_q), np.ptp(predicted("unequal_xavier").log_g)) > 0.05


def test_figures_of_batch_norm_and_of_dead_units() -> None:
    says("batch_norm_small_batch", "the more so the smaller the batch", "a batch of 8")
    factors = [
        -np.diff(gc.predict(PRESETS["batch_norm_small_batch"].spec.replace(batch_size=batch)).log_g)[25]
        for batch in (6, 8, 16, 64)
    ]
    assert factors == sorted(factors, reverse=True)
    says("dead_relu", "−4", "99.95% of layer 1's units", "exactly zero from layer 4 on", "passes below layer 50")
    dead = predicted("dead_relu")
    assert PRESETS["dead_relu"].spec.norm_beta == -4 and PRESETS["dead_relu"].spec.depth == 50
    assert dead.dead[0] == pytest.approx(0.9995, abs=0.00005)
    assert np.isneginf(dead.log_q[3:]).all() and np.isfinite(dead.log_q[:3]).all()
    assert np.isneginf(dead.log_g[:49]).all() and dead.log_g[49] == 0


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("vanishing", "vanishing"),
        ("critical", "stable"),
        ("exploding", "exploding"),
        ("overflow", "overflow"),
        ("batch_norm_small_batch", "exploding"),
        ("dead_relu", "dead"),
    ],
)
def test_a_preset_named_after_a_state_is_in_it(code: str, kind: str) -> None:
    assert gc.diagnose(predicted(code)).kind == kind


def test_an_unknown_preset_is_refused_with_a_hint() -> None:
    with pytest.raises(gc.SpecError, match="Did you mean vanishing") as caught:
        find_preset("vanishin")
    assert caught.value.field == "preset"
    assert find_preset("critical") is PRESETS["critical"]


def test_the_table_of_presets_loads_numpy_alone() -> None:
    heavy = "{'torch', 'scipy', 'pandas', 'altair', 'streamlit', 'sklearn'}"
    code = f"import sys, gradcore.presets; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
