"""Every symptom found, not seen or not to be judged; the examples; remedies and the recorder as lines of torch."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

from gradcore.charts import record as charts
from gradcore.errors import SpecError
from gradcore.experiments import symptom_examples
from gradcore.experiments.data import digits
from gradcore.experiments.remedies import REMEDIES
from gradcore.experiments.remedy_code import RECORD, TORCH
from gradcore.experiments.symptom_examples import EXAMPLES, SymptomsQuestion, like_network
from gradcore.experiments.symptom_report import MISSING, TITLES, report
from gradcore.experiments.symptoms import SYMPTOMS, find_symptoms
from gradcore.experiments.training import train_all
from gradcore.experiments.training_log import TrainingLog, read_log

FALLING = ",".join(["step", "loss"]) + "\n" + "\n".join(f"{k},{2.0 * 0.9**k}" for k in range(30))


def columns(**known: list[float]) -> TrainingLog:
    """A record of 30 steps of a falling loss, with these values in every step."""
    values = {name: np.tile(row, (30, 1)).astype(float) for name, row in known.items()}
    return TrainingLog(np.arange(30.0), 2.0 * 0.9 ** np.arange(30), **values)


# --- the report -----------------------------------------------------------------------------------------------


def test_the_report_holds_every_symptom_once() -> None:
    assert set(TITLES) == set(MISSING) == set(SYMPTOMS)
    for example in EXAMPLES.values():
        log = example.log(digits(200))
        entries = report(log)
        assert sorted(entry.code for entry in entries) == sorted(SYMPTOMS)
        found = [entry.found for entry in entries if entry.found is not None]
        assert [one.code for one in found] == [one.code for one in find_symptoms(log)]
        assert all(entry.missing is None for entry in entries if entry.found is not None)


def test_what_a_bare_loss_cannot_tell_is_said() -> None:
    said = {entry.code: entry.missing and str(entry.missing) for entry in report(read_log("mine.csv", FALLING))}
    assert {code for code, why in said.items() if why is None} == {"loss_flat", "loss_jumps", "loss_nan"}
    assert said["saturated"] == "the record has no saturated_1, saturated_2, …"
    assert "weight_1" in str(said["weights_nan"]) and "grad_1" in str(said["gradient_large"])
    short = {entry.code: entry.missing and str(entry.missing) for entry in report(read_log("a.csv", "loss\n2\n1\n"))}
    assert short["loss_flat"] == "the record has fewer than 10 steps" and "fewer than 3" in str(short["loss_jumps"])


PARTS = {  # symptom -> the least that lets it be judged
    "weights_jump": {"weight": [5.0, 5.0]},
    "weights_nan": {"change": [0.1, 0.2]},
    "gradient_large": {"grad": [0.1, 0.2]},
    "node_large": {"node": [0.1, 0.2]},
    "gradient_grows": {"grad": [0.1, 0.2, 0.3]},
    "first_layer_slow": {"grad": [0.1, 0.2, 0.3]},
    "first_weights_unchanged": {"change": [0.1, 0.2]},
    "gradient_zero": {"grad": [0.1, 0.2]},
    "saturated": {"saturated": [0.1]},
}


@pytest.mark.parametrize("code", PARTS)
def test_what_is_enough_to_judge(code: str) -> None:
    enough = {entry.code: entry for entry in report(columns(**PARTS[code]))}[code]
    assert enough.missing is None and enough.found is None
    assert {entry.code: entry for entry in report(columns())}[code].missing is not None
    if len(PARTS[code].get("grad", [])) == 3:
        two = {entry.code: entry for entry in report(columns(grad=[0.1, 0.2]))}[code]
        assert str(two.missing) == "the record has gradients of fewer than 3 layers"


# --- examples -------------------------------------------------------------------------------------------------

SHOWN = {  # what each example is there for
    "vanishing": {"loss_flat", "first_layer_slow", "first_weights_unchanged"},
    "exploding": {"loss_jumps", "weights_jump", "gradient_grows", "gradient_zero"},
    "diverging": {"loss_nan"},
    "overflow": {"weights_nan"},
    "saturated": {"saturated"},
    "healthy": set(),
}


@pytest.mark.parametrize("code", EXAMPLES)
def test_every_example_shows_what_it_is_there_for(code: str) -> None:
    run = EXAMPLES[code].run(digits())
    assert run.to_json() == train_all(EXAMPLES[code].question.spec(digits()), digits()).to_json()
    found = {symptom.code for symptom in find_symptoms(TrainingLog.from_run(run))}
    assert SHOWN[code] <= found and (found or code == "healthy") and not (code == "healthy" and found)
    if code == "overflow":
        assert len(run.steps) == 246 and math.isfinite(run.steps[-1].loss)
        norms = run.series("weight_norms")
        assert norms[100] / norms[99] == pytest.approx(18.0)
    if code == "diverging":
        assert len(run.steps) == 7


@pytest.mark.parametrize("code", [code for code in EXAMPLES if code != "healthy"])
def test_the_first_remedy_of_every_example_cures_its_worst_symptom(code: str) -> None:
    run = EXAMPLES[code].run(digits())
    worst = find_symptoms(TrainingLog.from_run(run))[0]
    cured = train_all(REMEDIES[worst.remedies[0].code].apply(run.spec), digits())
    assert worst.code not in {symptom.code for symptom in find_symptoms(TrainingLog.from_run(cured))}


def test_the_link_of_an_example() -> None:
    assert SymptomsQuestion().to_query() == {} and EXAMPLES["exploding"].query == {"symptoms_example": "exploding"}
    assert symptom_examples.from_query({"symptoms_example": "healthy", "depth": "3"}) == SymptomsQuestion("healthy")
    with pytest.raises(SpecError):
        symptom_examples.from_query({"symptoms_example": "none"})


@pytest.mark.parametrize("code", SYMPTOMS)
def test_a_remedy_is_tried_on_a_network_of_as_many_layers(code: str) -> None:
    question = like_network(columns(grad=[0.1] * 4), code)
    assert question.spec(digits()).network.depth == 4
    assert (question.weights == "standard") == (SYMPTOMS[code].kind == "exploding")
    assert like_network(columns(grad=[0.1] * 90), code).hidden == 6 and like_network(columns(), code).hidden == 4


# --- lines of torch -------------------------------------------------------------------------------------------


def test_every_remedy_of_a_symptom_has_its_lines() -> None:
    assert {code for entry in SYMPTOMS.values() for code in entry.remedies} <= set(TORCH) <= set(REMEDIES)


def model_and_loss():
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(64, 8), nn.Sigmoid(), nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 10))
    x, y = torch.tensor(digits(50).inputs).float(), torch.tensor(digits(50).targets.argmax(1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return {"torch": torch, "nn": nn, "model": model, "optimizer": optimizer, "x": x, "y": y}


@pytest.mark.parametrize("code", TORCH)
def test_the_lines_of_a_remedy_run_and_do_it(code: str) -> None:
    names = model_and_loss()
    torch, nn = names["torch"], names["nn"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        names["loss"] = 1e4 * nn.functional.cross_entropy(names["model"](names["x"]), names["y"])
        exec(TORCH[code], names)
    model, optimizer = names["model"], names["optimizer"]
    slopes = [p.grad for p in model.parameters() if p.grad is not None]
    done = {
        "relu": lambda: any(isinstance(m, nn.ReLU) for m in model) and model(names["x"]).shape == (50, 10),
        "initialization": lambda: not any(m.bias.any() for m in model if isinstance(m, nn.Linear)),
        "relu_kaiming": lambda: 0.1 < float(model[0].weight.detach().std()) < 0.25,  # sqrt(2 / 64) = 0.18
        "batch_norm": lambda: any(isinstance(m, nn.BatchNorm1d) for m in model) and model(names["x"]).shape == (50, 10),
        "residual": lambda: names["Block"](5)(torch.ones(2, 5)).shape == (2, 5),
        "clip_norm": lambda: float(torch.cat([s.flatten() for s in slopes]).norm()) <= 1.0 + 1e-4,
        "clip_value": lambda: max(float(s.abs().max()) for s in slopes) <= 0.1 + 1e-6,
        "fewer_layers": lambda: len(model) == 3,
        "l1": lambda: len(slopes) == 6 and names["loss"].item() > 0,
        "l2": lambda: optimizer.param_groups[0]["weight_decay"] == 1e-3,
        "smaller_learning_rate": lambda: optimizer.param_groups[0]["lr"] == pytest.approx(0.01),
        "adam": lambda: isinstance(optimizer, torch.optim.Adam),
    }
    assert set(done) == set(TORCH) and done[code]()


def test_the_recorder_writes_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = model_and_loss()
    torch = names["torch"]
    names["batches"] = [(names["x"], names["y"])] * 12
    names["loss_function"] = names["nn"].functional.cross_entropy
    before = [p.detach().clone() for p in names["model"].parameters() if p.dim() > 1]
    loss = names["loss_function"](names["model"](names["x"]), names["y"])
    slopes = torch.autograd.grad(loss, [p for p in names["model"].parameters() if p.dim() > 1])
    exec(RECORD, names)
    log = read_log("record.csv", (tmp_path / "record.csv").read_bytes())
    assert log.steps.tolist() == list(range(12)) and log.grad is not None and log.grad.shape == (12, 3)
    assert log.weight is not None and log.update is not None
    assert log.loss[0] == pytest.approx(float(loss.detach()))
    assert log.grad[0] == pytest.approx([float(s.norm()) for s in slopes], rel=1e-5)
    assert log.weight[0] == pytest.approx([float(w.norm()) for w in before], rel=1e-5)
    steps = [0.1 * float(s.norm()) / float(w.norm()) for s, w in zip(slopes, before, strict=True)]
    assert log.update[0] == pytest.approx(steps, rel=1e-3)  # SGD: the update is the rate times the gradient
    judged = {entry.code for entry in report(log) if entry.missing is None}
    assert judged == set(SYMPTOMS) - {"node_large", "first_weights_unchanged", "saturated"}


# --- charts ---------------------------------------------------------------------------------------------------


def rows(chart) -> list[dict]:
    return [row for data in chart.to_dict(validate=False).get("datasets", {}).values() for row in data]


def test_the_evidence_is_marked_where_it_is() -> None:
    log = EXAMPLES["vanishing"].log(digits())
    found = find_symptoms(log)
    slow = next(symptom for symptom in found if symptom.code == "first_layer_slow").evidence[0]
    (mark,) = [row for row in rows(charts.record_chart("grad", log, found)) if "what" in row]
    assert log.grad is not None and mark["step"] == slow.step and mark["layer"] == "1"
    assert mark["size"] == pytest.approx(math.log10(log.grad[slow.step, 0])) and "speed of layer 4" in mark["what"]
    (mark,) = [row for row in rows(charts.loss_chart(log, found)) if "what" in row]
    assert (mark["step"], mark["size"]) == (39, log.loss[39])
    assert charts.first_look(log, found) == "grad" and "first layer learns" in charts.describe_record(log, found)


def test_evidence_without_a_point_is_a_rule() -> None:
    log = EXAMPLES["diverging"].log(digits())
    found = find_symptoms(log)
    made = charts.loss_chart(log, found).to_dict(validate=False)
    assert [layer["mark"]["type"] for layer in made["layer"]][:2] == ["line", "rule"]
    (mark,) = [row for row in rows(charts.loss_chart(log, found)) if "nan from" in row.get("what", "")]
    assert "size" not in mark and mark["step"] == 6 and mark["text"] == "nan"
    points = [row for row in rows(charts.loss_chart(log, found)) if "what" not in row]
    assert [row["size"] for row in points] == pytest.approx(np.log10(log.loss[:6]))  # it spans orders of magnitude


def test_steps_of_the_records_own_and_many_layers() -> None:
    text = "step,loss," + ",".join(f"grad_{k}" for k in range(1, 21)) + "\n"
    text += "\n".join(
        f"{1000 + 10 * s},{2 - 0.01 * s}," + ",".join(f"{2.0 + k}" for k in range(20)) for s in range(300)
    )
    log = read_log("deep.csv", text)
    found = find_symptoms(log)
    points = rows(charts.record_chart("grad", log, found))
    curves, marks = [p for p in points if "what" not in p], [p for p in points if "what" in p]
    assert {p["step"] for p in curves} >= {1000.0, 3990.0} and len({p["layer"] for p in curves}) < 15
    assert marks and {m["layer"] for m in marks} <= {p["layer"] for p in curves}
    assert all(m["step"] == 1000 for m in marks) and charts.first_look(log, found) == "grad"


@pytest.mark.parametrize("name", charts.QUANTITIES)
def test_every_quantity_of_our_runs_is_drawn(name: str) -> None:
    log = EXAMPLES["exploding"].log(digits(200))
    assert name in charts.known_quantities(log)
    assert rows(charts.record_chart(name, log, find_symptoms(log)))
    assert set(charts.OF_QUANTITY) | {"loss_flat", "loss_jumps", "loss_nan"} == set(SYMPTOMS)


def test_steps_that_are_no_numbers_are_refused() -> None:
    for text in ("step,loss\n0,1\n,2\n", "step,loss\n0,1\ninf,2\n"):
        with pytest.raises(SpecError, match="numbers of steps"):
            read_log("mine.csv", text)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", ["nan", "inf", "0", "-1", "1e308", ""])
def test_no_record_breaks_the_report_or_the_charts(value: str) -> None:
    names = [f"{kind}_{k}" for kind in ("grad", "weight", "update", "change", "node", "saturated") for k in (1, 2, 3)]
    for count in (1, 2, 30):
        line = ",".join([value] * (2 + len(names)))
        lines = "\n".join(f"{step},{line}" for step in range(count))
        log = read_log("odd.csv", "step,loss,accuracy," + ",".join(names) + "\n" + lines)
        found = find_symptoms(log)
        assert len(report(log)) == len(SYMPTOMS) and charts.loss_chart(log, found)
        for name in charts.known_quantities(log):
            made = charts.record_chart(name, log, found).to_dict(validate=False)
            assert not re.search(r"NaN|Infinity", str(made))
