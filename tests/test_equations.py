"""Every equation's numbers: its terms add up to its value, its value is the Profile's, its text shows both.

Tolerance: 1e-9 of the sum of the terms' sizes, since terms may cancel (both sides are computed from the same moments
in another order). Equations whose one factor is defined by the value itself are listed in ``GIVEN``; the rest could
disagree, as ``test_the_check_can_fail`` shows.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import gradcore as gc
from gradcore.equations import Equation, equations
from gradcore.equations.formula import evaluate, parse, split
from gradcore.initializers import INITIALIZERS
from tests.grid import grid
from tests.strategies import specs

TOLERANCE = 1e-9
SAMPLED = 1e-6  # where the values come from sampled units, which are kept as float32
DEPTH = 6
GIVEN = ("r_{l}", "s_{l}", r"E\, z_{l}^2", r"E\,\delta_{L}^2")  # factors read off the value: exact maps, overlaps


def layers(depth: int) -> list[int]:
    return sorted({1, min(2, depth), (depth + 1) // 2, max(depth - 1, 1), depth})


def everything(spec: gc.Spec) -> Iterator[tuple[gc.Profile, int, Equation]]:
    profile = gc.predict(spec)
    for layer in layers(spec.depth):
        for equation in equations(profile, layer):
            yield profile, layer, equation


def gap(equation: Equation) -> float:
    """Distance of the sum of terms from the value, relative to the sizes of the terms."""
    logs = [term.log for term in equation.terms]
    top = max([*logs, equation.log_value])
    if top == -math.inf:
        return 0.0
    total = sum(term.sign * math.exp(log - top) for term, log in zip(equation.terms, logs, strict=True))
    value = equation.sign * math.exp(equation.log_value - top)
    return abs(total - value) / sum(math.exp(log - top) for log in [*logs, equation.log_value])


def of_profile(profile: gc.Profile, layer: int, code: str) -> float | None:
    """ln of the value's size as the Profile has it."""
    i = layer - 1
    with np.errstate(divide="ignore"):
        table = {
            "weight_scale": lambda: 2.0 * np.log(profile.sigma_w[i]),
            "layer_input": lambda: profile.log_p[i],
            "signal": lambda: profile.log_q[i],
            "stability": lambda: np.log(abs(profile.chi_parallel[i])),
            "output": lambda: profile.log_g[-1],
            "factor": lambda: np.log(profile.chi[i]),
            "gradient": lambda: profile.log_g[i],
            "product": lambda: profile.log_g[0] - profile.log_g[-1],
            "weight_gradient": lambda: profile.log_dw[i],
            "bias_gradient": lambda: profile.log_db[i],
            "critical": lambda: 0.0,
        }
        return float(table[code]()) if code in table else None


def assert_consistent(profile: gc.Profile, layer: int, equation: Equation) -> None:
    place = f"{equation.code} at layer {layer} of {gc.to_json(profile.spec)}: {equation.live}"
    # MSE's recursion works with floats within a layer: a factor below e^-690 is lost to it, and the layer dead
    lost = equation.code == "gradient" and any(abs(f.log) > 690.0 for part in equation.terms for f in part.factors)
    if equation.terms and not lost:
        limit = SAMPLED if getattr(profile._field, "sampled", False) else TOLERANCE
        assert gap(equation) < limit, f"{gap(equation):.2e} {place}"
    expected = of_profile(profile, layer, equation.code)
    chi_leaves_floats = equation.code == "factor" and not 1e-300 < profile.chi[layer - 1] < 1e300
    if expected is not None and equation.terms and not chi_leaves_floats and not math.isnan(expected):
        assert equation.log_value == pytest.approx(expected, abs=1e-9), place
    assert_well_formed(equation)


def assert_well_formed(equation: Equation) -> None:
    for text in (equation.latex, equation.live):
        depth = 0
        for brace in re.findall(r"(?<!\\)[{}]", text):
            depth += 1 if brace == "{" else -1
            assert depth >= 0, text
        assert depth == 0, text
        assert text.count(r"\left(") == text.count(r"\right)")
        assert text.count("(") == text.count(")")
        assert "$" not in text and "nan" not in text and "\n" not in text
        assert not re.search(r"[\^_](?:$|[\^_ ])", text), text
    assert equation.title and equation.latex.isascii() and equation.live.isascii()


# --- numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", grid(256, DEPTH), ids=lambda spec: "-".join(map(str, gc.to_json(spec).values())))
def test_terms_add_up_to_the_prediction(spec: gc.Spec) -> None:
    for profile, layer, equation in everything(spec):
        assert_consistent(profile, layer, equation)


@settings(max_examples=120, deadline=None)
@given(specs(max_depth=12))
def test_terms_add_up_for_any_spec(spec: gc.Spec) -> None:
    try:
        profile = gc.predict(spec)
    except gc.GradcoreError:
        return
    for layer in layers(spec.depth):
        for equation in equations(profile, layer):
            assert_consistent(profile, layer, equation)


def test_the_check_can_fail() -> None:
    profile = gc.predict(gc.Spec(activation="tanh", gain=1.5, bias_std=0.1, depth=5))
    wrong = gc.predict(gc.Spec(activation="tanh", gain=1.5001, bias_std=0.1, depth=5))
    caught = set()
    for right, other in zip(equations(profile, 3), equations(wrong, 3), strict=True):
        mixed = dataclasses.replace(right, terms=other.terms)
        if gap(mixed) > TOLERANCE:
            caught.add(right.code)
        with pytest.raises(AssertionError):
            assert_consistent(profile, 3, dataclasses.replace(right, log_value=right.log_value + 1e-6))
    assert caught >= {"weight_scale", "layer_input", "signal", "stability", "factor", "gradient", "product"}
    assert caught >= {"weight_variance", "weight_gradient", "bias_gradient"}


def test_few_factors_are_read_off_their_value() -> None:
    """Every factor has a formula, but in exact maps, batch norm, sampled units and MSE on residual streams."""
    for spec in grid(256, DEPTH):
        followed = spec.init in ("constant", "eye") or spec.norm == "batch" or spec.residual == "resnet_v1"
        followed |= spec.residual == "post_activation" and spec.loss != "random"
        if followed or (spec.loss == "mse" and spec.residual != "none"):
            continue
        for _, _, equation in everything(spec):
            symbols = {f.symbol for term in equation.terms for f in term.factors}
            assert not symbols & set(GIVEN), equation


# --- text --------------------------------------------------------------------------------------------------


def _number(text: str) -> float:
    """The value of a product of live numbers: 1.2 \\times 10^{-5} \\cdot 0.81^{5}."""
    text = re.sub(r" \\times 10\^\{(-?\d+)\}", r"e\1", text)
    text = re.sub(r"(?<![\d.e])10\^\{(-?\d+)\}", r"1e\1", text)
    text = text.replace(r"\left(", "").replace(r"\right)", "")
    value = 1.0
    for part in text.split(r" \cdot "):
        base, _, power = part.partition("^")
        value *= float(base) ** int(power.strip("{}") or 1)
    return value


@pytest.mark.parametrize("spec", grid(256, DEPTH)[::3], ids=lambda spec: "-".join(map(str, gc.to_json(spec).values())))
def test_live_text_shows_the_numbers(spec: gc.Spec) -> None:
    """The four digits that are shown, put through the arithmetic that is shown, give the value that is shown."""
    for _, _, equation in everything(spec):
        if equation.code in ("weight_variance", "map") or not equation.live:
            continue
        *_, middle, shown = equation.live.split(" = ") if equation.live.count(" = ") > 1 else ["", "", equation.live]
        shown = shown.split(" = ")[-1]
        value = _number(shown.removeprefix("-")) * (-1 if shown.startswith("-") else 1)
        assert value == pytest.approx(equation.value, rel=6e-4), equation.live
        if not middle:
            continue
        parts = re.split(r" ([+-]) ", middle.removeprefix("-"))
        signs = [-1 if middle.startswith("-") else 1, *(1 if s == "+" else -1 for s in parts[1::2])]
        sizes = [_number(part) for part in parts[::2]]
        digits = sum(abs(f.power) for term in equation.terms for f in term.factors) + 1
        total = sum(sign * size for sign, size in zip(signs, sizes, strict=True))
        assert abs(total - equation.value) <= 6e-4 * digits * sum(sizes), equation.live


@pytest.mark.parametrize("code", list(INITIALIZERS))
def test_formulas_of_the_table_are_its_variances(code: str) -> None:
    """What is shown as Var W is read from the table's formula: evaluated, it is the table's own function."""
    entry = INITIALIZERS[code]
    main, parts = split(entry.formula)
    tree = parse(main)
    if entry.kind in ("constant", "eye"):
        assert tree is None
        return
    assert tree is not None
    for gain, n, m, slope, sparsity in ((1.3, 256, 300, 0.01, 0.8), (0.4, 300, 100, -0.5, 0.25)):
        values = {"g": gain, "n": n, "m": m, "a": slope, "s": sparsity}
        for name, text in parts.items():
            inner = parse(text)
            assert inner is not None
            values[name] = evaluate(inner, values)
        assert evaluate(tree, values) == pytest.approx(entry.variance(gain, n, m, slope, sparsity), rel=1e-12)


def test_weights_are_shown_with_their_numbers() -> None:
    shown = equations(gc.predict(gc.Spec(activation="tanh", gain=5 / 3, depth=4)), 2)[0]
    assert shown.latex == r"\mathrm{Var}\,W_{l} = \frac{2\, g^{2}}{n_{l-1} + n_{l}}"
    assert shown.live == r"\mathrm{Var}\,W_{2} = \frac{2 \cdot 1.667^{2}}{256 + 256} = 0.01085"


def test_titles_and_notes_pass_the_translator() -> None:
    def t(message: str, **values: Any) -> str:
        assert all(isinstance(value, str) for value in values.values())
        return f"<{message.format(**values)}>"

    for spec in grid(256, 3):
        for equation in equations(gc.predict(spec), 2, t):
            assert re.fullmatch(r"<.+>", equation.title)
            assert equation.note == "" or re.fullmatch(r"<.+>", equation.note), equation.note


@pytest.mark.parametrize("layer", [0, 6, -1, 1.5, True, "1", None])
def test_layers_that_do_not_exist_are_refused(layer: Any) -> None:
    with pytest.raises(gc.SpecError, match="an integer from 1 to 5"):
        equations(gc.predict(gc.Spec(depth=5)), layer)


# --- what they say -----------------------------------------------------------------------------------------


def _of(spec: gc.Spec, layer: int) -> dict[str, Equation]:
    return {equation.code: equation for equation in equations(gc.predict(spec), layer)}


def test_tanh_at_torch_gain_explodes() -> None:
    found = _of(gc.Spec(activation="tanh", gain=5 / 3, depth=80), 60)
    assert found["signal"].value == pytest.approx(1.17848, abs=1e-5)
    assert found["factor"].value == pytest.approx(1.20983, abs=1e-5)
    assert "1.593 would" in found["weight_scale"].note
    assert "×1.10 per layer in RMS (×1.21 in mean square)" in found["factor"].note


@pytest.mark.parametrize(
    ("activation", "limit"), [("relu", math.pi / (math.pi - 1)), ("tanh", 1.17781), ("gelu", 1.31884)]
)
def test_batch_norm_beside_its_textbook_limit(activation: str, limit: float) -> None:
    spec = gc.Spec(activation=activation, norm="batch", norm_eps=1e-9, depth=8)
    found = _of(spec, 4)
    assert found["batch_limit"].value == pytest.approx(limit, abs=1e-5)
    assert found["factor"].value > found["batch_limit"].value + 0.01
    wide = gc.predict(spec.replace(batch_size=100_000)).chi[3]
    assert wide == pytest.approx(found["batch_limit"].value, rel=1e-3)


@pytest.mark.parametrize("fields", [{}, {"bias_std": 0.4}, {"norm_gamma": 2.0, "norm_beta": 0.5}, {"gain": 3.0}])
@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_steady_factor_is_that_of_the_deep_net(norm: str, fields: dict[str, float]) -> None:
    spec = gc.Spec(activation="silu", norm=norm, norm_eps=1e-13, depth=8, init="lecun_normal", **fields)
    profile = gc.predict(spec)
    found = {equation.code: equation for equation in equations(profile, 5)}
    assert found["steady"].value == pytest.approx(profile.chi[4], rel=1e-9)


def test_layer_norm_after_relu_explodes() -> None:
    spec = gc.Spec(norm="layer", norm_position="after", norm_eps=1e-12, init="lecun_normal", depth=5)
    found = _of(spec, 3)
    assert found["factor"].value == pytest.approx(math.pi / (math.pi - 1), rel=1e-6)
    assert "gradient grows" in found["factor"].note


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "gelu", "sin", "elu"])
@pytest.mark.parametrize("bias", [0.0, 0.2])
def test_critical_point_is_the_critical_gain(activation: str, bias: float) -> None:
    found = _of(gc.Spec(activation=activation, gain="critical", bias_std=bias, depth=3), 2)
    sigma = gc.critical_gain(activation, bias_std=bias)
    (weight, _) = found["critical"].terms[0].factors
    assert math.exp(0.5 * weight.log) == pytest.approx(sigma, rel=1e-12)
    assert "×1.00 of it" in found["critical"].note
    assert ("unstable" in found["critical"].note) == (activation == "gelu")


def test_softplus_has_no_critical_point() -> None:
    found = _of(gc.Spec(activation="softplus", depth=3), 2)["critical"]
    assert found.terms == () and found.live == "" and math.isnan(found.value)
    assert "no critical point" in found.note


def test_mse_adds_what_textbooks_leave_out() -> None:
    """Linear orthonormal-scale net: D = 1 + (L - l), of which the usual recursion has only 1."""
    spec = gc.Spec(activation="linear", init="lecun_normal", loss="mse", depth=10)
    found = _of(spec, 3)["gradient"]
    usual, added = (math.exp(term.log - gc.predict(spec).log_g[-1]) for term in found.terms)
    assert usual + added == pytest.approx(1 + (10 - 3)) and added == pytest.approx(1.0)
    assert "leaves out" in found.note


def test_first_layer_and_output_layer() -> None:
    spec = gc.Spec(depth=5, input_rms=3.0)
    assert _of(spec, 1)["layer_input"].value == pytest.approx(9.0)
    assert "factor" not in _of(spec, 5) and "gradient" not in _of(spec, 5)
    assert {"signal", "output", "weight_gradient"} <= _of(gc.Spec(depth=1), 1).keys()


@pytest.mark.parametrize("init", ["constant", "eye"])
def test_weights_that_are_not_random_are_said_in_words(init: str) -> None:
    found = _of(gc.Spec(init=init, gain=0.5, depth=4, width=8), 3)
    assert "map" in found and "weight_variance" not in found
    assert ("not random" if init == "constant" else "never mix") in found["map"].note
    assert found["map"].value == pytest.approx(0.5 * (8 if init == "constant" else 1))
