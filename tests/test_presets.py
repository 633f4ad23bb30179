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

ROOT = Path(__file__).parents[1]
EXPERIMENTS = {"3.1", "3.2", "3.3", "3.4", "3.5", "3.6", "3.7", "3.8", "3.9", "3.10", "3.12", "3.13"}
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
CLAIM = re.compile(r"(signal|gradient) ×([\d.]+) per layer in RMS \(×([\d.]+) in second moment\)")
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
    assert np.isfinite(profile.log_q).all() and np.isfinite(profile.log_g).all()


@every_preset
def test_round_trip_through_query_json_and_argv(preset: Preset) -> None:
    spec = preset.spec
    assert from_query(to_query(spec)) == spec
    assert from_json(json.loads(json.dumps(to_json(spec)))) == spec
    assert spec_of(build_parser().parse_args(["predict", *to_argv(spec)])) == spec


@every_preset
def test_the_factors_in_a_sentence_are_the_predicted_ones(preset: Preset) -> None:
    """Deep in the net, where the transient of the first layers is over; RMS and second moment say the same."""
    profile, middle = gc.predict(preset.spec), preset.spec.depth // 2
    for quantity, rms, second in CLAIM.findall(preset.sentence):
        step = np.diff(profile.log_q if quantity == "signal" else -profile.log_g)[middle]
        assert math.exp(0.5 * step) == pytest.approx(float(rms), abs=decimals(rms)), preset.sentence
        assert math.exp(step) == pytest.approx(float(second), abs=decimals(second)), preset.sentence


def test_a_sentence_that_speaks_of_a_factor_says_rms_and_second_moment() -> None:
    for preset in PRESETS.values():
        assert preset.sentence.count("×") == 2 * len(CLAIM.findall(preset.sentence)), preset.sentence
    assert sum(bool(CLAIM.search(p.sentence)) for p in PRESETS.values()) > len(PRESETS) / 2


def test_other_figures_in_sentences() -> None:
    def rms(code: str, layer: int) -> float:
        return math.exp(0.5 * gc.predict(PRESETS[code].spec).log_q[layer - 1])

    assert rms("scaled_tanh", 100) == pytest.approx(0.07, abs=0.005)
    assert rms("tanh_xavier", 100) == pytest.approx(1.086, abs=0.0005)
    assert rms("init_constant", 1) == pytest.approx(0.05, abs=0.005)
    std = PRESETS["init_trunc_normal"].spec.gain
    assert 28 <= 2 / std < 29
    assert np.allclose(gc.predict(PRESETS["unequal_fan_in"].spec).log_q, math.log(2))
    assert np.allclose(gc.predict(PRESETS["unequal_fan_out"].spec).log_g, 0.0)


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
