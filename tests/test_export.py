"""The exported code is run: its architecture against ``Spec.build``, its draws against the laws, its printed RMS
values against ``predict``.

Tolerances. Weights: the standard error of a mean of squares, from the squares themselves. Printed values: the mean
log of ``RUNS`` networks against the prediction, with the scatter of ``NETWORKS`` measured ones (Student's law), the
Comparison's own allowance for the width, and the four digits that are printed. False alarms: 1% over a whole table.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import io
import math
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import nn

import gradcore as gc
from gradcore.activations import ACTIVATIONS
from gradcore.export import script, torch_code
from gradcore.fields import LOSSES
from gradcore.initializers import INITIALIZERS
from gradcore.measure.turns import one_intra_op_thread
from gradcore.normalization import NORMALIZATIONS
from gradcore.residual import RESIDUALS
from gradcore.theory.critical import bias_variances, weight_variances
from tests.agreement import FALSE_ALARM, limit
from tests.strategies import specs

WIDTH, DEPTH = 256, 5
RUNS, NETWORKS = 3, 12
PRINTED = 1e-3  # ln of a square of a number of four digits
GAINS = {  # laws that do not scale with fan-in: of ordinary size at this width
    "uniform": 0.15,
    "normal": 0.08,
    "trunc_normal": 0.08,
    "constant": 1.2 / WIDTH,
    "eye": 1.1,
    "sparse": 0.2,
    "linear_default": 2.0,
}


def _spec(**fields: Any) -> gc.Spec:
    return gc.Spec(**{"width": WIDTH, "depth": DEPTH, "batch_size": 8, **fields})


def _cases() -> dict[str, gc.Spec]:
    cases = {f"activation {code}": _spec(activation=code, gain="auto") for code in ACTIVATIONS}
    for i, code in enumerate(INITIALIZERS):
        fields = {"gain": GAINS.get(code, 1.3), "activation": ["relu", "tanh"][i % 2], "loss": ["random", "mse"][i % 2]}
        cases[f"init {code}"] = _spec(init=code, **fields)
    for norm in NORMALIZATIONS:
        for position in ("before", "after"):
            shape = {"norm_gamma": 1.5, "norm_beta": 0.3, "norm_eps": 1e-3} if position == "before" else {}
            fields = {"norm": norm, "norm_position": position, "activation": "tanh", "gain": 1.2, **shape}
            cases[f"norm {norm} {position}"] = _spec(**fields)
    cases |= {
        "residual": _spec(residual="identity", init="kaiming_normal"),
        "residual scaled": _spec(residual="identity", residual_scale="1/sqrt(L)", norm="layer", loss="cross_entropy"),
        "residual number": _spec(residual="identity", residual_scale=-0.5, input_width=100, activation="erf"),
        "post activation": _spec(residual="post_activation", residual_scale=0.5, bias_std=0.2, activation="gelu"),
        "post activation normed": _spec(residual="post_activation", norm="layer", loss="mse", activation="erf"),
        "two layer": _spec(residual="two_layer", init="kaiming_normal", bias_std=0.3, norm="rms", norm_gamma=1.2),
        "two layer, one left": _spec(residual="two_layer", depth=4, residual_scale="1/sqrt(L)", activation="tanh"),
        "two layer, one alone": _spec(residual="two_layer", depth=2, loss="mse"),
        "resnet v1": _spec(residual="resnet_v1", residual_scale=0.7, loss="cross_entropy", activation="tanh"),
        "resnet v1 normed": _spec(residual="resnet_v1", norm="batch", norm_beta=0.3, bias_std=0.2),
        "mse": _spec(loss="mse", init="kaiming_uniform"),
        "cross entropy": _spec(loss="cross_entropy", gain=1.4),
        "digits": _spec(input="digits", activation="gelu", gain="critical", bias_std=0.1),
        "digits scaled": _spec(input="digits", input_rms=0.5, loss="mse", activation="silu", gain="auto"),
        "correlated input": _spec(input_correlation=0.7, input_rms=3.0, loss="mse", activation="softsign"),
        "widths": _spec(width=(300, 100, 500, 200, 400), gain="auto", init="xavier_uniform"),
        "widths, one gain": _spec(width=(300, 100, 500, 200, 400), init="kaiming_normal_fan_out", norm="rms"),
        "default bias": _spec(bias_std="default", init="linear_default", activation="tanh", gain=3.0),
        "bias": _spec(bias_std=0.3, activation="tanh", gain="critical"),
        "leaky slope": _spec(activation="leaky_relu", negative_slope=0.3, init="kaiming_normal"),
        "truncated widths": _spec(width=(128, 256, 256, 256, 128), init="trunc_normal", gain="auto"),
        "one layer": _spec(depth=1, norm="batch", residual="identity", activation="sin"),
        "one sample": _spec(batch_size=1, gain=1.4),
    }
    return cases


CASES = _cases()
EVERY = pytest.mark.parametrize("spec", list(CASES.values()), ids=list(CASES))
LOOKS = 2 * DEPTH * len(CASES)


@cache
def execute(code: str, seed: int = 0) -> tuple[dict[str, Any], str]:
    """(names that the script leaves, what it prints), with another seed; torch's global generator is put back."""
    assert code.count("torch.manual_seed(0)\n") == 1
    names: dict[str, Any] = {"__name__": "__main__"}
    output = io.StringIO()
    with one_intra_op_thread(), torch.random.fork_rng(), contextlib.redirect_stdout(output):
        exec(compile(code.replace("manual_seed(0)", f"manual_seed({seed})"), "exported", "exec"), names)
    return names, output.getvalue()


def printed(text: str) -> np.ndarray:
    """(L, 2): RMS of signal and gradient."""
    head, *rows = text.splitlines()
    assert "RMS of z" in head and "RMS of gradient" in head
    table = np.array([[float(cell) for cell in row.split()] for row in rows])
    assert table[:, 0].tolist() == list(range(1, len(rows) + 1))
    return table[:, 1:]


def _modules(model: nn.Module, *kinds: type) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, kinds)]


# --- the network -------------------------------------------------------------------------------------------


@EVERY
def test_same_network_as_built(spec: gc.Spec) -> None:
    """With equal weights the exported network computes what ``Spec.build`` computes, gamma, beta and eps included."""
    ours, theirs = spec.build(seed=1), copy.deepcopy(execute(torch_code(spec))[0]["model"]).double()
    with torch.no_grad():
        for mine, exported in zip(_modules(ours, nn.Linear), _modules(theirs, nn.Linear), strict=True):
            exported.weight.copy_(mine.weight)
            exported.bias.copy_(mine.bias)
        x = torch.randn(8, int(spec.fan_ins[0]), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        # gamma, beta and the slope of PReLU are float32 numbers in the exported network
        torch.testing.assert_close(theirs(x), ours(x), rtol=1e-5, atol=1e-6 * float(ours(x).abs().max()))


def check_laws(spec: gc.Spec, model: nn.Module) -> None:
    for layer, linear in enumerate(_modules(model, nn.Linear)):
        for values, variance in (
            (linear.weight, weight_variances(spec)[layer]),
            (linear.bias, bias_variances(spec)[layer]),
        ):
            squares = values.detach().double().square()
            error = float(squares.std()) / math.sqrt(squares.numel()) if squares.numel() > 1 else 0.0
            gap = abs(float(squares.mean()) - variance)
            assert gap <= limit(LOOKS) * error + 1e-5 * variance, (layer, gap / error if error else gap)


@EVERY
def test_parameters_follow_their_laws(spec: gc.Spec) -> None:
    check_laws(spec, execute(torch_code(spec))[0]["model"])


def test_a_wrong_gain_would_be_noticed() -> None:
    spec = CASES["init xavier_normal"]
    code = torch_code(spec)
    assert "gain=1.3)" in code
    with pytest.raises(AssertionError):
        check_laws(spec, execute(code.replace("gain=1.3)", "gain=1.34)"))[0]["model"])


def test_initialize_stands_for_itself() -> None:
    """It gives a network that others built the Spec's weights, biases, gamma and beta."""
    spec = CASES["norm layer before"].replace(bias_std=0.2)
    names = execute(torch_code(spec))[0]
    layers = [nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.Tanh()) for _ in range(DEPTH)]
    model = nn.Sequential(*layers)
    for parameter in model.parameters():
        nn.init.constant_(parameter, 7.0)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        names["initialize"](model)
    check_laws(spec, model)
    for norm in _modules(model, nn.LayerNorm):
        assert bool((norm.weight == 1.5).all()) and bool((norm.bias == 0.3).all())


# --- what it prints ----------------------------------------------------------------------------------------


@EVERY
def test_printed_sizes_agree_with_the_prediction(spec: gc.Spec) -> None:
    tables = [printed(execute(torch_code(spec), seed)[1]) for seed in range(RUNS)]
    predicted, measured = gc.predict(spec), gc.measure(spec, networks=NETWORKS, seed=3)
    allowance = gc.compare(predicted, measured).allowance
    for column, name in enumerate(("log_q", "log_g")):
        logs = 2.0 * np.log(np.array(tables)[:, :, column])
        scatter = getattr(measured, name).std(axis=0, ddof=1)
        gap = logs.mean(axis=0) - (predicted.mean(name) - 0.5 * scatter**2)  # mean of the log of a log-normal
        error = scatter * math.sqrt(1 / RUNS + 1 / (2 * NETWORKS))
        z = gap / np.hypot(error, allowance[name] + PRINTED)
        assert np.abs(z).max() < limit(LOOKS, NETWORKS), f"{name}: {z.round(1)}"


def test_a_wrong_network_would_be_noticed() -> None:
    """Without its activations a ReLU net keeps twice the mean square a layer."""
    spec = CASES["init kaiming_normal"].replace(activation="relu", loss="random")
    code = torch_code(spec)
    assert "nn.ReLU()" in code
    wrong = 2.0 * np.log(printed(execute(code.replace("nn.ReLU()", "nn.Identity()"))[1])[-1, 0])
    predicted = gc.predict(spec)
    scatter = math.sqrt(predicted.variance("log_q")[-1])
    assert wrong - predicted.median("log_q")[-1] > limit(LOOKS) * scatter


@pytest.mark.parametrize("name", ["digits", "residual scaled"])
def test_runs_alone_without_warnings(name: str, tmp_path: Path) -> None:
    """In a fresh interpreter, away from this package, warnings being errors."""
    path = tmp_path / "exported_network.py"
    path.write_text(torch_code(CASES[name]))
    command = [sys.executable, "-I", "-W", "error", str(path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert printed(done.stdout).shape == (DEPTH, 2)


# --- the text ----------------------------------------------------------------------------------------------


def test_cases_touch_every_table_entry() -> None:
    for field, table in (("activation", ACTIVATIONS), ("init", INITIALIZERS), ("norm", NORMALIZATIONS)):
        assert {getattr(spec, field) for spec in CASES.values()} == set(table)
    assert {spec.residual for spec in CASES.values()} == set(RESIDUALS)
    assert {spec.loss for spec in CASES.values()} == set(LOSSES)


@settings(max_examples=100, deadline=None)
@given(specs())
def test_every_legal_spec_gives_code_or_a_reason(spec: gc.Spec) -> None:
    try:
        code = torch_code(spec)
    except gc.UnsupportedError as refusal:
        assert refusal.reason and refusal.supported
        assert spec.norm == "batch" and spec.batch_size == 1
        return
    except gc.SpecError as refusal:
        assert refusal.field == "gain"
        return
    names = {node.name for node in ast.walk(ast.parse(code)) if isinstance(node, ast.FunctionDef)}
    assert {"build_network", "initialize"} <= names
    assert "gradcore" not in code and max(map(len, code.splitlines())) <= 120


def test_only_the_lines_that_are_needed() -> None:
    plain = torch_code(gc.Spec(depth=3, width=8))
    for absent in ("math", "Block", "Activation", "Norm", "GAIN", "ALPHA", "WIDTHS", "sklearn", "common"):
        assert absent not in plain
    assert len(plain.splitlines()) < 60


def test_long_lists_are_written_short() -> None:
    code = torch_code(gc.Spec(depth=2000, width=(64,) * 1999 + (10,), gain="auto"))
    assert "WIDTHS = [64] * 2000 + [10]" in code
    assert "GAINS = [1.4142135623730951] * 1999 + [" in code


def test_batch_norm_with_one_sample_is_refused() -> None:
    with pytest.raises(gc.UnsupportedError, match="one sample"):
        torch_code(_spec(norm="batch", batch_size=1))


# --- the gradcore script -----------------------------------------------------------------------------------


def test_script_asks_the_same_question(capsys: pytest.CaptureFixture[str]) -> None:
    spec = gc.Spec(depth=4, width=(8, 9, 10, 11), activation="tanh", gain=5 / 3, loss="mse")
    names: dict[str, Any] = {}
    exec(compile(script(spec, networks=3, seed=5, dtype="float32"), "script", "exec"), names)
    assert names["spec"] == spec
    assert names["predicted"].spec == spec
    measured = names["measured"]
    assert (measured.networks, measured.seed, measured.dtype) == ((0, 1, 2), 5, "float32")
    out = capsys.readouterr().out
    assert str(gc.compare(names["predicted"], measured)) in out
    assert str(gc.diagnose(names["predicted"])) in out


def test_script_leaves_out_defaults() -> None:
    assert "dtype" not in script(gc.Spec(), networks=32, seed=0, dtype="float64")


def test_false_alarms_are_counted_over_the_whole_table() -> None:
    """limit(LOOKS) is the two-sided normal quantile of FALSE_ALARM over every case, layer and quantity."""
    assert math.erfc(limit(LOOKS) / math.sqrt(2)) * LOOKS == pytest.approx(FALSE_ALARM)
