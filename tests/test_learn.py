"""The course: no figure of it is typed, and each is what an independent calculation gives."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

import gradcore as gc
from gradcore.activations import ACTIVATIONS
from gradcore.charts import lessons as charts
from gradcore.errors import SpecError
from gradcore.experiments import chain, gates, train_question
from gradcore.experiments.chain import question as chain_question
from gradcore.experiments.clipping import clip_factor
from gradcore.experiments.learn import LESSON_CODES, LESSONS, READERS, LearnQuestion, from_query, place, teach
from gradcore.experiments.learn import remedies as remedy_lessons
from gradcore.experiments.learn.lesson import Factor, Numbers, Share, plain, tex
from gradcore.experiments.learn.question import INTEGERS, NUMBERS
from gradcore.words import Message

ROOT = Path(__file__).resolve().parents[1]
OTHER = {
    "weight": -3.0, "factors": 7, "weight_std": 6.0, "width": 90, "fan_out": 250, "slope": -0.4, "activation": "gelu",
    "sigma_w": 0.9, "sigma_b": 0.3, "batch": 8, "depth": 12, "alpha": 0.25, "forget_bias": 0.5, "threshold": 40.0,
}  # fmt: skip
COURSE = ["Chain rule", "Product", "Variance identity", "Xavier", "Kaiming", "Gains", "Norm", "Residual", "Gates"]


def asked(code: str, **numbers) -> LearnQuestion:
    return LearnQuestion(code, **numbers)


@pytest.fixture(scope="module")
def taught() -> dict:
    """Every lesson at its default numbers and at others."""
    return {
        (code, other): teach(LearnQuestion(code, **(OTHER if other else {}))) for code in LESSONS for other in (0, 1)
    }


# --- no figure is typed -------------------------------------------------------------------------------------------

STRUCTURE = re.compile(  # what is not a figure of a lesson: laws, landmarks of the formulas, names
    r"N\(0, (?:1|σ²)\)|float32|mean [01]\b|near 0|(?:[Bb]elow|[Aa]bove) [01]\b|averages to 0|[Ll]ayer 1|\(1 = next|"
    r"last (?:layer|step) = 1|RMS 1\b|(?:at most|factor of|stays|reaches|less than) 1\b|α = 1\b|1/√L|√\(1/n\)|"
    r"\|w\| < 1|χ > 1|slope √5"
)
CONSTANTS = {"0", "1", "2", "3", "6"}  # of formulas: 1 + a^2, 2/(n + m), sqrt(6/(n + m)), E(phi'^4) of the kurtosis


def messages(found) -> list[Message]:
    """Every message of a lesson, those inside other messages too."""
    figure = found.figure
    said = [found.idea, figure.title, figure.x_title, figure.y_title, *(step.text for step in found.steps)]
    said += [one.name for one in (*figure.lines, *figure.points)] + [case.title for case in found.cases]
    said += [message for message in (found.error, figure.bars) if message is not None]
    inside = [value for message in said for value in message.values.values() if isinstance(value, Message)]
    return said + [message for message in inside if message.message_id.startswith("learn_")]


def test_no_sentence_holds_a_figure(taught) -> None:
    for found in taught.values():
        for message in messages(found):
            left = STRUCTURE.sub("", re.sub(r"\{\w+\}", "", message.template))
            assert not re.search(r"\d", left), message.template
            assert "{" not in message.text() and "}" not in message.text()


def test_no_formula_holds_a_figure(taught) -> None:
    for found in taught.values():
        for step in found.steps:
            bare = re.sub(r"<\w+>|\\tfrac1[2B]|\[4pt\]", "", step.formula.template)
            bare = re.sub(r"[_^](\{[^{}]*\}|\w)", "", bare)
            assert set(re.findall(r"\d+(?:\.\d+)?", bare)) <= CONSTANTS, step.formula.template
            written = step.formula.latex
            assert not re.search(r"<\w+>", written) and written.count("{") == written.count("}")


def test_the_two_checks_can_fail() -> None:
    assert re.search(r"\d", STRUCTURE.sub("", "gain 1.67 keeps N(0, 1)"))
    assert set(re.findall(r"\d+(?:\.\d+)?", "q = 1.178")) - CONSTANTS


def test_other_numbers_change_every_sentence_and_formula_that_holds_one(taught) -> None:
    for code in LESSONS:
        one, other = taught[code, 0], taught[code, 1]
        assert str(one.idea) != str(other.idea)
        for name, value in other.numbers.items():
            for message in (other.idea, *(step.text for step in other.steps)):
                if name in message.values and not isinstance(value, Message):
                    assert message.values[name] == plain(value)


@pytest.mark.parametrize(
    ("value", "text", "latex"),
    [
        (400, "400", "400"),
        (0.70710678, "0.7071", "0.7071"),
        (1e4, "1e4", "10^{4}"),
        (9999.7, "1e4", "10^{4}"),
        (-4.2e-8, "-4.2e-8", r"-4.2 \times 10^{-8}"),
        (math.inf, "inf", r"\infty"),
        (0.0, "0", "0"),
        (Share(0.6827), "68.3%", r"68.3\%"),
        (Factor(1.0999), "1.10", "1.10"),
        (Factor(2e5), "2.0e5", r"2.0 \times 10^{5}"),
        ("a, b", "a, b", "a, b"),
    ],
)
def test_numbers_as_text(value, text: str, latex: str) -> None:
    assert plain(value) == text and tex(value) == latex


# --- the table ----------------------------------------------------------------------------------------------------


def test_the_order_of_the_course() -> None:
    titles = [lesson.title for lesson in LESSONS.values()]
    assert [title for title in titles if title in (*COURSE, "Clipping")] == [*COURSE, "Clipping"]
    assert tuple(LESSONS) == LESSON_CODES and [place(code) for code in LESSONS] == list(range(1, len(LESSONS) + 1))
    names = {field.name for field in fields(LearnQuestion)} - {"lesson"}
    assert {name for lesson in LESSONS.values() for name in lesson.parameters} == names
    assert all(lesson.sources and re.search(r"(19|20)\d\d", lesson.sources[0]) for lesson in LESSONS.values())


def test_a_lesson_depends_on_its_parameters_alone(taught) -> None:
    for code, lesson in LESSONS.items():
        own = {name: OTHER[name] for name in lesson.parameters}
        assert str(teach(LearnQuestion(code, **own)).idea) == str(taught[code, 1].idea)


def test_every_case_is_a_question_of_its_page(taught) -> None:
    readers = {"chain": chain_question.from_query, "train": train_question.from_query}
    for found in taught.values():
        assert found.cases[0].address in ("explore", "chain", "train", "gates")
        for case in found.cases:
            if case.address == "gates":
                assert all(gates.READERS[k.removeprefix("gates_")](k, v) is not None for k, v in case.query.items())
            else:
                readers.get(case.address, gc.from_query)(case.query)


@pytest.mark.parametrize("end", [0, 1])
def test_the_ends_of_every_number(end: int) -> None:
    limits = {**INTEGERS, **NUMBERS}
    for code, lesson in LESSONS.items():
        found = teach(LearnQuestion(code, **{name: limits[name][end] for name in lesson.parameters if name in limits}))
        said = [str(found.idea), str(found.error), *(f"{step.text} {step.formula.latex}" for step in found.steps)]
        assert not re.search(r"\bnan\b|\bNone\b", " ".join(said)) and charts.describe(found.figure)


def test_links() -> None:
    assert LearnQuestion().to_query() == {}
    link = {"learn_lesson": "xavier", "learn_width": "300"}
    assert from_query(link) == asked("xavier", width=300) and from_query(link).to_query() == link
    other = LearnQuestion("gates", **OTHER)
    assert from_query({**other.to_query(), "depth": "7"}) == other
    assert set(READERS) == {field.name for field in fields(LearnQuestion)}
    for name, text in {"lesson": "glorot", "width": "1", "alpha": "x", "nothing": "1"}.items():
        with pytest.raises(SpecError) as caught:
            from_query({f"learn_{name}": text})
        assert caught.value.field == f"learn_{name}"
    with pytest.raises(SpecError):
        LearnQuestion(batch=3)


def test_every_lesson_is_documented() -> None:
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| `/learn\??([^`]*)`", (ROOT / "docs" / "learn.md").read_text(), re.M)
    assert [title for title, _ in rows] == [lesson.title for lesson in LESSONS.values()]
    for (_, query), code in zip(rows, LESSONS, strict=True):
        assert from_query(dict(part.split("=") for part in query.split("&") if part)).lesson == code


def test_no_torch_is_loaded() -> None:
    code = "import sys\nfrom gradcore.experiments import learn\n"
    code += "for code in learn.LESSONS: learn.teach(learn.LearnQuestion(code))\n"
    code += "sys.exit(any(name in sys.modules for name in ('torch', 'pandas', 'altair')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120).returncode == 0


# --- each number against another calculation -----------------------------------------------------------------------


@pytest.mark.parametrize("weight", [1.0, -3.0, 8.0])
def test_chain_rule(weight: float) -> None:
    n = teach(asked("chain_rule", weight=weight)).numbers
    biases = [torch.zeros((), dtype=torch.float64, requires_grad=True) for _ in range(n["length"])]
    a = torch.tensor(0.5, dtype=torch.float64)
    for bias in biases:
        a = torch.sigmoid(weight * a + bias)
    (0.5 * a**2).backward()
    first, last = (float(b.grad) for b in (biases[0], biases[-1]))  # type: ignore[arg-type]
    assert n["gradient"] == pytest.approx(first, rel=1e-12) and n["ratio"] == pytest.approx(
        abs(first / last), rel=1e-12
    )
    assert (n["top"], n["least"]) == (0.25, 4.0) and n["widest"] == pytest.approx(chain.widest().width, abs=1e-6)
    figure = teach(asked("chain_rule", weight=weight)).figure
    assert figure.points[0].y == pytest.approx(figure.lines[0].y, abs=1e-5)


def test_product() -> None:
    n = teach(asked("product", factors=20, weight_std=3.0)).numbers
    draws = np.log(np.abs(3.0 * np.random.default_rng(5).standard_normal(1_000_000)) / 4.0)
    assert abs(n["mean"] - draws.mean()) < 4 * draws.std() / 1000 and abs(n["spread"] - draws.std()) < 0.01
    assert n["total"] == pytest.approx(20 * n["mean"]) and n["typical"] == pytest.approx(math.exp(n["mean"]))
    assert n["below_one"] == pytest.approx(0.682689, abs=1e-6) and n["below_top"] == pytest.approx(0.197413, abs=1e-6)
    assert teach(asked("product", weight_std=n["balance"])).numbers["mean"] == pytest.approx(0.0, abs=1e-12)


def test_variance() -> None:
    n = teach(asked("variance")).numbers
    assert n["root"] == pytest.approx(20.0) and n["layer"] == 30  # what torch shows for 400 units
    assert n["size"] == pytest.approx(20.0**30) and n["largest"] == torch.finfo(torch.float32).max
    half = torch.relu(torch.randn(1_000_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    assert n["centred"] == pytest.approx(float(half.var()), abs=0.004)
    assert n["second"] == pytest.approx(float(half.square().mean()), abs=0.005)
    narrow = teach(asked("variance", width=4))
    assert narrow.numbers["layer"] == 100 and "still holds" in str(narrow.steps[-1].text)


def test_xavier_and_kaiming() -> None:
    n = teach(asked("xavier", width=300, fan_out=700)).numbers
    weight = torch.nn.init.xavier_uniform_(torch.empty(700, 300), generator=torch.Generator().manual_seed(0))
    assert 0.999 * n["bound"] < float(weight.abs().max()) <= n["bound"]
    assert n["forward"] == pytest.approx(0.6) and n["backward"] == pytest.approx(1.4) and str(n["relu"]) == "0.5"
    for slope in (0.0, -0.4, 1.5):
        n = teach(asked("kaiming", slope=slope, width=90)).numbers
        assert n["std"] == pytest.approx(torch.nn.init.calculate_gain("leaky_relu", slope) / math.sqrt(90))
        assert n["kept"] == pytest.approx((1 + slope**2) / 2) == n["kept_slope"] and n["left"] == pytest.approx(1.0)
    linear = torch.nn.Linear(2000, 2000)
    assert n["default"] == pytest.approx(2000 * float(linear.weight.detach().square().mean()), rel=5e-3)


@pytest.mark.parametrize(("code", "module"), [("tanh", torch.tanh), ("gelu", torch.nn.functional.gelu)])
def test_gains(code: str, module) -> None:
    n = teach(asked("gains", activation=code)).numbers
    z = torch.randn(1_000_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    value = module(z)
    (slope,) = torch.autograd.grad(value.sum(), z)
    assert n["second"] == pytest.approx(float(value.square().mean().detach()), rel=6e-3)
    assert n["slope"] == pytest.approx(float(slope.square().mean()), rel=6e-3)
    assert n["spread"] == pytest.approx(1.0 / float(value.std().detach()), rel=4e-3)
    assert n["chi"] == pytest.approx(n["used"] ** 2 * n["chi_slope"]) and n["factor"] == pytest.approx(n["chi"] ** 0.5)
    if code == "tanh":
        assert n["used"] == torch.nn.init.calculate_gain("tanh")
        assert n["q"] == pytest.approx(1.17848, abs=1e-4) and n["chi"] == pytest.approx(1.20983, abs=1e-4)
        far = torch.tanh(math.sqrt(n["q"]) * z.detach()).square()
        assert n["q"] == pytest.approx(n["used"] ** 2 * float(far.mean()), rel=6e-3)
        assert n["chi_slope"] == pytest.approx(float((1.0 - far).square().mean()), rel=6e-3)
        assert n["critical"] == 1.0 and "neither" in str(teach(asked("gains")).error)


@pytest.mark.parametrize("code", ACTIVATIONS)
def test_gains_of_every_activation_are_told(code: str) -> None:
    found = teach(asked("gains", activation=code))
    assert "nan" not in str(found.idea) + str(found.error) + "".join(s.formula.latex for s in found.steps)


def test_chaos() -> None:
    found = teach(asked("chaos"))
    x, w = np.polynomial.hermite_e.hermegauss(120)
    w, q = w / w.sum(), 1.0
    for _ in range(300):
        q = 1.5**2 * float(w @ np.tanh(math.sqrt(q) * x) ** 2) + 0.04
    assert found.numbers["q"] == pytest.approx(q, rel=1e-9)
    assert found.numbers["chi"] == pytest.approx(2.25 * float(w @ np.cosh(math.sqrt(q) * x) ** -4.0), rel=1e-9)
    assert found.numbers["c"] == pytest.approx(found.figure.lines[0].y[-1], abs=0.1)
    for line, points in zip(found.figure.lines, found.figure.points, strict=True):
        assert np.all(np.abs(points.y - line.y) < 2.0 * (points.high - points.low) / math.sqrt(8) + 5.0 / 1000)
    assert "Chaotic" in str(found.idea) and "Ordered" in str(teach(asked("chaos", sigma_w=0.9)).idea)


def test_norm() -> None:
    found = teach(asked("norm", batch=16))
    n, spec = found.numbers, gc.from_query(found.cases[0].query)
    assert n["limit"] == pytest.approx(math.pi / (math.pi - 1.0)) and n["layer"] == pytest.approx(1.0)
    logs = gc.measure(spec.replace(depth=12), networks=6, seed=2).log_g
    steps = (logs[:, 1] - logs[:, 9]) / 8.0  # away from the first and the last layer
    assert abs(steps.mean() - math.log(n["chi"])) < 4 * steps.std(ddof=1) / math.sqrt(6) + 2.0 / 128
    assert teach(asked("norm", batch=64)).numbers["chi"] < n["chi"] and n["chi"] > n["limit"]


@pytest.mark.parametrize(("alpha", "depth"), [(1.0, 20), (0.25, 12), (0.0, 5)])
def test_residual(alpha: float, depth: int) -> None:
    n = teach(asked("residual", alpha=alpha, depth=depth)).numbers
    assert n["total"] == pytest.approx((1.0 + alpha**2) ** (depth - 1)) and n["chi"] == pytest.approx(1.0)
    assert n["block"] == pytest.approx(1.0 + alpha**2) and n["factor"] == pytest.approx(
        n["total_rms"] ** (1 / (depth - 1))
    )
    assert n["scaled"] == pytest.approx((1.0 + 1.0 / depth) ** (depth - 1)) and n["scaled"] < math.e


def test_gates() -> None:
    found = teach(asked("gates"))
    n, spec = found.numbers, remedy_lessons.cell_of(asked("gates"))
    profile = gc.predict_cell(spec)
    assert (n["tied"], n["untied"]) == (profile.factor(), profile.untied.factor()) and n["tied"] > 1.0 > n["untied"]
    assert "vanish; the cell" in str(found.error) and "shows that gradients explode" in str(found.error)
    k, f, b = n["steps"], n["kept"], n["side"]
    direct = sum(math.comb(k, j) ** 2 * f ** (2 * (k - j)) * b ** (2 * j) for j in range(k + 1))
    assert n["skip_tied"] == pytest.approx(direct) and n["skip_untied"] == pytest.approx(n["untied"] ** k)
    same = teach(asked("gates", forget_bias=0.0))
    assert "verdict is the same" in str(same.error)
    assert same.numbers["off"] == pytest.approx((same.numbers["tied"] / same.numbers["untied"]) ** 20)


def test_the_drawn_cells_are_torchs() -> None:
    spec = gc.CellSpec(hidden_size=32, input_size=8, steps=12, forget_bias=1.0, batch_size=8)
    ours = remedy_lessons.drawn_cells(spec, networks=40)
    theirs = gc.measure_cell(spec, networks=40).log_v
    error = np.sqrt((ours.var(axis=0, ddof=1) + theirs.var(axis=0, ddof=1)) / 40)
    assert np.all(np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) < 4.0 * error)


@pytest.mark.parametrize("limit", [1.0, 1e5])
def test_clipping(limit: float) -> None:
    n = teach(asked("clipping", threshold=limit)).numbers
    norms = remedy_lessons._norms(gc.predict(remedy_lessons.EXPLODING).log_dw)
    parts = [torch.nn.Parameter(torch.zeros(3, dtype=torch.float64)) for _ in norms]
    for part, norm in zip(parts, norms, strict=True):
        part.grad = torch.tensor([norm, 0.0, 0.0], dtype=torch.float64)
    before = float(torch.nn.utils.clip_grad_norm_(parts, limit))
    after = [float(part.grad.norm()) for part in parts if part.grad is not None]
    assert n["total"] == pytest.approx(before) and n["factor"] == clip_factor(n["total"], limit)
    assert [n["first_after"], n["last_after"]] == pytest.approx([after[0], after[-1]])
    assert ("never acts" in str(teach(asked("clipping", threshold=limit)).idea)) == (limit > before)
    assert n["ratio"] == pytest.approx(after[0] / after[-1]) and n["ratio"] > 10


def test_single_networks() -> None:
    found = teach(asked("finite", width=50, depth=12))
    n, rng = found.numbers, np.random.default_rng(3)
    count = rng.binomial(50, 0.5, (20_000, 11))
    factors = 2.0 * rng.chisquare(np.maximum(count, 1)) * (count > 0) / 50.0
    assert n["each"] == pytest.approx(factors.var(), rel=0.03)
    with np.errstate(divide="ignore"):
        drawn = np.exp(0.5 * (np.log(factors).sum(axis=1) + np.log(rng.chisquare(50, 20_000) / 50.0)))
    assert abs(np.mean((drawn > n["low"]) & (drawn < n["high"])) - 0.95) < 0.01
    assert abs(np.mean(drawn < n["median"]) - 0.5) < 0.02
    assert n["beta"] == pytest.approx(11 * n["each"]) and n["typical"] == pytest.approx(n["median"], rel=0.05)


# --- the figures --------------------------------------------------------------------------------------------------


def test_points_lie_where_the_lines_say(taught) -> None:
    for (code, other), found in taught.items():
        figure = found.figure
        if code in ("chain_rule", "chaos"):
            continue  # tests of their own
        for line, points in zip(figure.lines, figure.points, strict=False):
            if figure.bars is not None and figure.bars.message_id == "learn_bars_errors":
                at = np.interp(np.log(points.x), np.log(line.x), line.y) if figure.log_x else None
                at = np.interp(points.x, line.x, line.y) if at is None else at
                outside = np.abs(points.y - at) > np.maximum(points.high - points.y, points.y - points.low) * 2.0
                assert outside.mean() < 0.2, (code, other)
            else:  # lowest and highest of eight networks hold the predicted value nearly everywhere
                at = np.interp(points.x, line.x, line.y)
                span = 0.75 * (points.high - points.low) + 0.02
                assert np.mean(np.abs(points.y - at) < span) > 0.8, (code, other)


def test_every_figure_is_drawn(taught) -> None:
    for found in taught.values():
        drawn = charts.figure_chart(found.figure).to_dict(validate=False)
        json.dumps(drawn, allow_nan=False)
        rows = [row for data in drawn["datasets"].values() for row in data if "series" in row]
        line = found.figure.lines[0]
        mine = [row["y"] for row in rows if row["series"] == str(line.name) and "low" not in row]
        assert mine[: len(line.y)] == pytest.approx(list(line.y))
        assert str(line.name) in charts.describe(found.figure)


def test_what_is_exactly_zero_is_left_out() -> None:
    far = teach(asked("chain_rule", weight=1000.0))
    assert far.numbers["gradient"] == 0.0 or far.numbers["gradient"] < 1e-50
    json.dumps(charts.figure_chart(far.figure).to_dict(validate=False), allow_nan=False)
    dead = teach(asked("finite", width=2, depth=100))
    assert dead.numbers["low"] == 0.0
    json.dumps(charts.figure_chart(dead.figure).to_dict(validate=False), allow_nan=False)


def test_a_template_without_its_number_is_an_error() -> None:
    n = Numbers("gains", chi=1.0)
    assert n.say("a", "χ = {chi}").values == {"chi": "1"} and n.formula("<chi>").latex == "1"
    with pytest.raises(KeyError):
        n.say("a", "{psi}")
    with pytest.raises(KeyError):
        n.formula("<psi>")
    assert replace(LearnQuestion(), width=9).width == 9
