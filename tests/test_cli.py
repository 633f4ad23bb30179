"""The command line: every command, documents that parse back, numbers of any size, one-line errors."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradcore as gc
from gradcore import cli
from gradcore.cli import main
from gradcore.cli_output import LOGS, chosen_layers, jsonable, scientific
from gradcore.codec import from_json, to_argv
from gradcore.fields import FIELDS
from gradcore.presets import PRESETS

ROOT = Path(__file__).parents[1]
SMALL = ["--depth=5", "--width=30", "--networks=4"]


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """stdout of a command that succeeds without a word on stderr."""
    assert main(list(argv)) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def run_json(capsys: pytest.CaptureFixture[str], *argv: str) -> dict:
    def refuse(token: str) -> None:
        raise AssertionError(f"{token} is not JSON")

    return json.loads(run(capsys, *argv, "--json"), parse_constant=refuse)


def run_csv(capsys: pytest.CaptureFixture[str], *argv: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(run(capsys, *argv, "--csv"))))


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line on stderr of a command that is refused with status 2 and prints nothing else."""
    assert main(list(argv)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    return captured.err


def table_rows(text: str) -> dict[int, list[str]]:
    """The rows of the per-layer table by layer."""
    lines = text.splitlines()
    start = next(k for k, line in enumerate(lines) if line.split()[:1] == ["layer"])
    rows = [line.split() for line in lines[start + 1 : lines.index("", start)]]
    return {int(row[0]): row for row in rows}


# --- numbers and rows --------------------------------------------------------------------------------------


def test_scientific_survives_any_exponent() -> None:
    ten = math.log(10)
    assert scientific(-600 * ten) == "1.000e-600"
    assert scientific(-600 * ten + math.log(3.25)) == "3.250e-600"
    assert scientific(12345 * ten) == "1.000e+12345"
    assert scientific(math.log(9.9996)) == "1.000e+01"
    assert scientific(math.log(9.9994)) == "9.999e+00"
    assert scientific(0.0) == "1.000e+00"
    assert [scientific(x) for x in (-math.inf, math.inf, math.nan)] == ["0", "inf", "nan"]


@given(st.floats(-690, 690))
def test_scientific_agrees_with_the_float_format(log: float) -> None:
    assert float(scientific(log)) == pytest.approx(math.exp(log), rel=6e-4)
    assert len(scientific(log).split("e")[0]) == 5


@given(st.integers(1, 10_000), st.integers(1, 200))
def test_chosen_layers_hold_first_and_last(depth: int, wanted: int) -> None:
    layers = chosen_layers(depth, str(wanted))
    assert layers == sorted(set(layers))
    assert len(layers) == min(depth, wanted)
    assert layers[-1] == depth
    assert wanted == 1 or layers[0] == 1
    assert chosen_layers(depth, "all") == list(range(1, depth + 1))


def test_jsonable_writes_infinities_as_strings() -> None:
    value = {"a": np.array([1.0, -np.inf]), "b": (np.int64(3), math.nan), "c": math.inf, "d": None, "e": np.bool_(True)}
    assert jsonable(value) == {"a": [1.0, "-inf"], "b": [3, "nan"], "c": "inf", "d": None, "e": True}


# --- predict -----------------------------------------------------------------------------------------------


def test_predict_shows_rms_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "predict", "--preset", "vanishing")
    assert "RMS (square roots of second moments)" in text
    assert "×0.7071 per layer in RMS (×0.5 in second moment)" in text
    rows = table_rows(text)
    assert len(rows) == 12 and min(rows) == 1 and max(rows) == 50
    profile = gc.predict(gc.Spec())
    for layer, row in rows.items():
        assert float(row[1]) == pytest.approx(math.exp(0.5 * profile.log_q[layer - 1]), rel=6e-4)
        assert float(row[3]) == pytest.approx(math.exp(0.5 * profile.log_g[layer - 1]), rel=6e-4)


def test_second_moments_switch(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "predict", "--second-moments", "--layers=all")
    assert "second moments (mean squares)" in text.splitlines()[1] and "RMS" not in text.splitlines()[1]
    rows = table_rows(text)
    assert len(rows) == 50
    assert float(rows[50][1]) == pytest.approx(2.0**-49, rel=6e-4)


def test_extreme_numbers_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "predict", "--depth=1201", "--gain=0.1", "--activation=linear", "--init=lecun_normal")
    rows = table_rows(text)
    assert rows[1201][1] == "1.000e-1201"
    assert rows[1][3] == "1.000e-1200"


def test_dead_signals_are_zero_not_nan(capsys: pytest.CaptureFixture[str]) -> None:
    rows = table_rows(run(capsys, "predict", "--gain=0", "--depth=4"))
    assert rows[3][1] == "0" and rows[4][3] == "1.000e+00"
    document = run_json(capsys, "predict", "--gain=0", "--depth=4")
    assert document["predicted"]["infinite_width"]["log_q"] == ["-inf"] * 4


def test_predict_says_gain_precision_band_and_notes(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "predict", "--activation=gelu", "--gain=critical", "--depth=300")
    assert "gain: critical" in text and f"{gc.critical_gain('gelu'):.6g}" in text
    assert "note: " in text
    text = run(capsys, "predict", "--preset", "overflow")
    line = next(line.split() for line in text.splitlines() if line.split()[:1] == ["float16"])
    assert line[1] == "4"
    low, high = gc.predict(PRESETS["overflow"].spec).band("log_q")
    assert f"{scientific(low[-1] / 2)} to {scientific(high[-1] / 2)}" in text
    assert "not known here" in run(capsys, "predict", "--norm=batch", "--depth=3")


def test_predict_json_parses_back(capsys: pytest.CaptureFixture[str]) -> None:
    document = run_json(capsys, "predict", "--preset=tanh_xavier", "--depth=7")
    spec = PRESETS["tanh_xavier"].spec.replace(depth=7)
    profile = gc.predict(spec)
    assert from_json(document["spec"]) == spec
    assert document["gradcore"] == gc.__version__ and document["layers"] == list(range(1, 8))
    assert "natural log" in json.dumps(document["units"])
    low, high = profile.band("log_dw")
    for name in LOGS:
        assert document["predicted"]["infinite_width"][name] == getattr(profile, name).tolist()
        assert document["predicted"]["median"][name] == profile.median(name).tolist()
    assert document["predicted"]["band_95"]["log_dw"] == {"low": low.tolist(), "high": high.tolist()}
    assert document["predicted"]["chi"] == profile.chi.tolist()
    assert document["predicted"]["precision"]["float16"]["forward_overflow"] is None


def test_predict_csv_parses_back(capsys: pytest.CaptureFixture[str]) -> None:
    rows = run_csv(capsys, "predict", "--depth=6", "--norm=layer")
    profile = gc.predict(gc.Spec(depth=6, norm="layer"))
    assert [int(row["layer"]) for row in rows] == list(range(1, 7))
    assert all("[" in header for header in rows[0] if header != "layer"), "units in every header"
    assert [float(row["log_g [ln of second moment]"]) for row in rows] == profile.log_g.tolist()
    assert [float(row["sigma_w [std(W) sqrt(fan_in)]"]) for row in rows] == profile.sigma_w.tolist()
    assert math.isnan(float(rows[0]["log_q_low95 [ln of second moment]"]))


# --- the Spec ----------------------------------------------------------------------------------------------


def test_every_field_has_a_flag() -> None:
    commands = cli.build_parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    for name in ("predict", "measure", "compare"):
        flags = {option for action in commands[name]._actions for option in action.option_strings}
        assert {f"--{field}" for field in FIELDS} <= flags


def test_flags_override_the_preset_and_the_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    preset = PRESETS["sigmoid_xavier"].spec
    document = run_json(capsys, "predict", "--preset=sigmoid_xavier", "--gain=5/3", "--depth=9")
    assert from_json(document["spec"]) == preset.replace(gain=5 / 3, depth=9)
    saved = tmp_path / "spec.json"
    for content in (document, document["spec"]):
        saved.write_text(json.dumps(content), encoding="utf-8")
        again = run_json(capsys, "predict", f"--spec={saved}", "--width=7")
        assert from_json(again["spec"]) == preset.replace(gain=5 / 3, depth=9, width=7)


def test_the_flags_printed_make_the_same_spec(capsys: pytest.CaptureFixture[str]) -> None:
    first = run(capsys, "predict", "--preset=unequal_xavier").splitlines()[0]
    flags = first.removeprefix("spec: ").split()
    assert flags == to_argv(PRESETS["unequal_xavier"].spec)
    assert from_json(run_json(capsys, "predict", *flags)["spec"]) == PRESETS["unequal_xavier"].spec


# --- measure and compare -----------------------------------------------------------------------------------


def test_measure_table_is_the_measurement(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "measure", *SMALL, "--seed=3")
    measured = gc.measure(gc.Spec(depth=5, width=30), networks=4, seed=3)
    assert "4 networks, seed 3, float64; RMS" in text
    for layer, row in table_rows(text).items():
        assert float(row[4]) == pytest.approx(math.exp(0.5 * measured.mean("log_dw")[layer - 1]), rel=6e-4)


def test_measure_json_and_csv_hold_every_network(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["measure", "--depth=3", "--width=20", "--networks=2:5", "--dtype=float32"]
    measured = gc.measure(gc.Spec(depth=3, width=20), networks=range(2, 5), dtype="float32")
    part = run_json(capsys, *argv)["measured"]
    assert part["networks"] == [2, 3, 4] and part["dtype"] == "float32"
    assert part["log_g"] == measured.log_g.tolist()
    rows = run_csv(capsys, *argv)
    assert [(int(row["network"]), int(row["layer"])) for row in rows] == [(i, k) for i in (2, 3, 4) for k in (1, 2, 3)]
    assert [float(row["log_dw [ln of second moment]"]) for row in rows] == measured.log_dw.ravel().tolist()


def test_compare_says_both_and_the_distance(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "compare", *SMALL)
    spec = gc.Spec(depth=5, width=30)
    comparison = gc.compare(gc.predict(spec), gc.measure(spec, networks=4))
    assert text.rstrip("\n").endswith(str(comparison))
    row = table_rows(text)[2]
    assert float(row[1]) == pytest.approx(math.exp(0.5 * comparison.predicted.mean("log_q")[1]), rel=6e-4)
    assert float(row[2]) == pytest.approx(math.exp(0.5 * comparison.measured.mean("log_q")[1]), rel=6e-4)
    assert float(row[3]) == pytest.approx(comparison.z["log_q"][1], abs=0.005)
    document = run_json(capsys, "compare", *SMALL)
    assert document["comparison"]["z"]["log_g"] == jsonable(comparison.z["log_g"])
    assert {"predicted", "measured", "comparison"} <= set(document)
    rows = run_csv(capsys, "compare", *SMALL)
    assert len(rows) == 5 * len(LOGS)
    gaps = [float(r["measured [ln of second moment]"]) - float(r["predicted [ln of second moment]"]) for r in rows]
    assert gaps == pytest.approx(np.concatenate([comparison.difference[name] for name in LOGS]).tolist(), abs=1e-12)


def test_plain_adds_where_each_dtype_breaks(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--preset=overflow", "--depth=6", "--networks=2", "--plain"]
    text = run(capsys, "compare", *argv)
    line = next(line for line in text.splitlines() if line.split()[:1] == ["float16"])
    run_of_two = gc.measure(PRESETS["overflow"].spec.replace(depth=6), networks=2).plain("float16")
    assert line.split()[1] == str(run_of_two.first_inf[0]) and "(2/2)" in line
    assert line.split()[-2:] == ["4", "-"]
    document = run_json(capsys, "measure", *argv)
    assert document["plain"]["float16"]["first_inf"] == run_of_two.first_inf.tolist()
    assert set(document["plain"]) == {"float32", "bfloat16", "float16"}
    assert "--csv" in refused(capsys, "measure", *argv, "--csv")


def test_a_dtype_that_breaks_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "measure", "--preset=overflow", "--depth=6", "--networks=2", "--dtype=float16")
    assert "signal not finite from layer 4 (2/2)" in text or "signal not finite from layer 5 (2/2)" in text
    assert table_rows(text)[6][1] == "nan"


def test_progress_only_where_asked_or_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["measure", *SMALL, "--progress"]) == 0
    assert capsys.readouterr().err.splitlines() == [f"measured {k} of 4 networks" for k in (1, 2, 3, 4)]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert main(["measure", *SMALL]) == 0
    assert capsys.readouterr().err == "".join(f"\rmeasured {k} of 4 networks" for k in (1, 2, 3, 4)) + "\n"


def test_an_interrupted_measurement_prints_what_it_has(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, stop_at = gc.measure, 2

    def stopping(spec: gc.Spec, *, networks: list[int], **options: object) -> gc.Measurement:
        if networks[0] == stop_at:
            raise KeyboardInterrupt
        return real(spec, networks=networks, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(gc, "measure", stopping)
    assert main(["measure", *SMALL, "--json"]) == 130
    captured = capsys.readouterr()
    assert json.loads(captured.out)["measured"]["networks"] == [0, 1]
    assert "interrupted after 2 of 4 networks" in captured.err
    stop_at = 0
    assert main(["measure", *SMALL]) == 130
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == "\ninterrupted\n"


# --- presets, help, errors ---------------------------------------------------------------------------------


def test_presets_lists_every_one(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "presets")
    for preset in PRESETS.values():
        assert f"{preset.code}" in text and preset.sentence in text
    rows = run_json(capsys, "presets")["presets"]
    assert {row["code"]: from_json(row["spec"]) for row in rows} == {p.code: p.spec for p in PRESETS.values()}
    assert [row["sentence"] for row in run_csv(capsys, "presets")] == [p.sentence for p in PRESETS.values()]
    assert run(capsys, "presets", "critical").startswith("critical: ")
    assert "sigmoid" not in run(capsys, "presets", "critical")


def test_no_arguments_print_help(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys)
    for command in ("predict", "measure", "compare", "presets"):
        assert command in text


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["predict", "--activation=rleu"], "Did you mean relu?"),
        (["predict", "--gain=much"], "gain = 'much' is not allowed"),
        (["predict", "--width=3,4"], "exactly depth = 50"),
        (["predict", "--preset=vanishin"], "Did you mean vanishing?"),
        (["predict", "--spec=/no/such/file.json"], "No such file"),
        (["predict", "--layers=none"], "layers = 'none'"),
        (["predict", "--layers=0"], "layers = '0'"),
        (["predict", "--activation=softplus", "--gain=critical"], "no critical point"),
        (["predict", "--norm=batch", "--batch_size=2"], "is not supported"),
        (["presets", "nothing"], "preset = 'nothing'"),
        (["measure", "--networks=0"], "networks = '0'"),
        (["measure", "--networks=5:5"], "networks = '5:5'"),
        (["measure", "--networks=-1"], "networks = '-1'"),
        (["measure", "--dtype=float8"], "dtype = 'float8'"),
        (["measure", "--seed=-1"], "seed = '-1'"),
        (["measure", "--layers=x"], "layers = 'x'"),
        (["measure", "--width=100000"], "is not supported"),
    ],
)
def test_errors_are_one_line_and_status_2(capsys: pytest.CaptureFixture[str], argv: list[str], words: str) -> None:
    assert words in refused(capsys, *argv)


@pytest.mark.parametrize("content", ["{", "[1, 2]", '{"depht": 3}', '{"depth": "deep"}', '{"spec": 3}'])
def test_bad_files_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content, encoding="utf-8")
    refused(capsys, "predict", f"--spec={path}")


@pytest.mark.parametrize("argv", [["predict", "--dept=3"], ["train"], ["predict", "--json", "--csv"]])
def test_unknown_flags_are_argparse_errors(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_missing_torch_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*args: object, **options: object) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(gc, "measure", missing)
    assert "gradcore[measure]" in refused(capsys, "measure", *SMALL)


def test_a_defect_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(spec: gc.Spec) -> None:
        raise ArithmeticError("a defect")

    monkeypatch.setattr(gc, "predict", broken)
    with pytest.raises(ArithmeticError):
        main(["predict"])


# --- as a program ------------------------------------------------------------------------------------------


def test_python_dash_m() -> None:
    argv = [sys.executable, "-m", "gradcore", "predict", "--preset=overflow"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == ""
    assert table_rows(done.stdout)[100][1] == f"{scientific(100 * math.log(20))}"


def test_predict_loads_no_torch() -> None:
    code = "import sys; from gradcore.cli import main; main(['predict', '--json']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_a_reader_that_leaves_is_no_error() -> None:
    argv = [sys.executable, "-m", "gradcore", "predict", "--depth=10000", "--csv"]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0
