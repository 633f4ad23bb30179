"""Every symptom on a record made for it, none on a healthy run; a user's own records."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import gradcore as gc
from gradcore.experiments.data import digits
from gradcore.experiments.remedies import REMEDIES
from gradcore.experiments.symptoms import SEVERITIES, SYMPTOMS, find_symptoms
from gradcore.experiments.train_spec import TrainSpec, nielsen
from gradcore.experiments.training import Run, train_all
from gradcore.experiments.training_log import TrainingLog, read_log

STEPS = 40
FALLING = 2.0 * np.exp(-np.arange(STEPS) / 10)
FEW = digits(200)


def layers(*values: float) -> np.ndarray:
    return np.tile(values, (STEPS, 1)).astype(float)


def changed(values: np.ndarray, step: int, value: float, layer: int | None = None) -> np.ndarray:
    out = values.copy()
    out[(step,) if layer is None else (step, layer - 1)] = value
    return out


def log(**known) -> TrainingLog:
    healthy = {
        "loss": FALLING,
        "grad": layers(0.2, 0.3, 0.4, 0.5),
        "weight": layers(5, 5, 5, 3),
        "update": layers(0.01, 0.01, 0.01, 0.01),
        "change": np.linspace(0.01, 0.4, STEPS)[:, None] * layers(1, 1, 1, 1),
        "node": layers(0.02, 0.02, 0.02, 0.05),
        "saturated": layers(0.1, 0.1, 0.1),
    }
    return TrainingLog(np.arange(STEPS, dtype=float), **{**healthy, **known})


nan = math.nan
CASES = {  # symptom: (what is known of the record, severity, layer, step, value)
    "loss_flat": ({"loss": np.full(STEPS, 2.3)}, "serious", None, 39, 2.3),
    "loss_jumps": ({"loss": changed(FALLING, 20, 2.0)}, "mild", None, 20, 2.0 / FALLING[19]),
    "loss_nan": ({"loss": changed(FALLING, 30, nan)}, "fatal", None, 30, nan),
    "weights_jump": ({"update": changed(layers(0.01, 0.01, 0.01, 0.01), 7, 2.5, 2)}, "serious", 2, 7, 2.5),
    "weights_nan": ({"weight": changed(layers(5, 5, 5, 3), 12, math.inf, 3)}, "fatal", 3, 12, math.inf),
    "gradient_large": ({"grad": changed(layers(9, 9, 20, 9), 4, 15, 3)}, "serious", 3, 4, 15.0),
    "node_large": ({"node": changed(layers(0.2, 4, 0.3, 0.5), 9, 2, 2)}, "mild", 2, 9, 2.0),
    "gradient_grows": ({"grad": layers(0.9, 0.1, 0.001, 0.5)}, "serious", 1, None, 900.0),
    "first_layer_slow": ({"grad": layers(0.001, 0.01, 0.1, 0.5)}, "mild", 1, None, 0.01),
    "first_weights_unchanged": (
        {"change": np.linspace(0.01, 0.4, STEPS)[:, None] * layers(1e-3, 0.1, 1, 1)},
        "serious",
        1,
        39,
        4e-4,
    ),
    "gradient_zero": ({"grad": changed(layers(0.2, 0.3, 0.4, 0.5), 11, 0.0, 2)}, "serious", 2, 11, 0.0),
    "saturated": ({"saturated": changed(layers(0.1, 0.1, 0.1), 8, 0.95, 2)}, "serious", 2, 8, 0.95),
}


def test_there_is_a_case_for_every_symptom():
    assert set(CASES) == set(SYMPTOMS)


def test_a_healthy_record_has_none():
    assert find_symptoms(log()) == ()
    bare = TrainingLog(np.arange(STEPS, dtype=float), FALLING)
    assert find_symptoms(bare) == ()


@pytest.mark.parametrize("code", CASES)
def test_each_symptom_alone_with_its_evidence(code):
    known, severity, layer, step, value = CASES[code]
    (found,) = find_symptoms(log(**known))
    first = found.evidence[0]
    assert (found.code, found.severity, first.layer) == (code, severity, layer)
    assert step is None or first.step == step
    assert first.value == pytest.approx(value, nan_ok=True)
    assert found.remedies and all(p.code in REMEDIES and not p.changes for p in found.remedies)
    assert severity in SEVERITIES and "{" not in str(found)
    if layer is not None:
        assert f"layer {layer}" in str(found) or code == "first_layer_slow"


MILDER = {  # the same, less of it
    "gradient_large": {"grad": layers(1.5, 1.5, 2, 1.5)},
    "first_weights_unchanged": {"change": np.linspace(0.01, 0.4, STEPS)[:, None] * layers(0.01, 0.1, 1, 1)},
    "weights_jump": {"update": layers(0.01, 0.6, 0.01, 0.01)},
    "gradient_grows": {"grad": layers(0.9, 0.1, 0.01, 0.5)},
}
WORSE = {
    "loss_jumps": {"loss": changed(FALLING, 20, 5.0)},
    "node_large": {"node": layers(0.2, 20, 0.3, 0.5)},
    "first_layer_slow": {"grad": layers(0.0001, 0.01, 0.1, 0.5)},
}


@pytest.mark.parametrize(("cases", "severity"), [(MILDER, "mild"), (WORSE, "serious")], ids=["mild", "serious"])
def test_severity_follows_the_size(cases, severity):
    for code, known in cases.items():
        (found,) = find_symptoms(log(**known))
        assert (found.code, found.severity) == (code, severity)


def test_steps_are_the_records_own():
    known = log(loss=changed(FALLING, 30, nan))
    known = TrainingLog(100.0 + 10 * np.arange(STEPS), known.loss)
    assert find_symptoms(known)[0].evidence[0].step == 400


def test_the_worst_comes_first():
    found = find_symptoms(log(loss=changed(FALLING, 30, nan), saturated=layers(0.91, 0.1, 0.1)))
    assert [symptom.code for symptom in found] == ["loss_nan", "saturated"]


def test_messages_are_translated():
    (found,) = find_symptoms(log(saturated=layers(0.95, 0.1, 0.1)))
    seen = []

    def t(template: str, **values: str) -> str:
        seen.append((template, values))
        return "Gesättigt"

    assert found.message.text(t) == "Gesättigt"
    template, values = seen[0]
    assert values["percent"] == "95%" and "{percent}" in template


# --- our own runs -------------------------------------------------------------------------------------------------

RELU = gc.Spec(depth=4, width=30, init="kaiming_normal")
HEALTHY = {
    "adam": {"cost": "cross_entropy", "optimizer": "adam", "learning_rate": 0.005, "steps": 60},
    "sgd": {"cost": "cross_entropy", "learning_rate": 0.1, "batch": 20, "epochs": 8},
    "momentum": {"learning_rate": 0.05, "optimizer": "momentum", "batch": 50, "epochs": 10},
}


@pytest.mark.parametrize("optimizer", HEALTHY)
def test_a_healthy_run_has_none(optimizer):
    run = train_all(TrainSpec(network=RELU, **HEALTHY[optimizer]), FEW)
    assert run.steps[-1].loss < 0.5 * run.steps[0].loss
    found = find_symptoms(TrainingLog.from_run(run))
    assert found == (), [str(symptom) for symptom in found]


def codes(run: Run) -> dict:
    return {symptom.code: symptom for symptom in find_symptoms(TrainingLog.from_run(run))}


def test_nielsens_network_vanishes_and_every_remedy_is_one_argument():
    run = train_all(TrainSpec(network=nielsen([64, 30, 30, 30, 30, 10]), steps=20), FEW)
    found = codes(run)
    assert {"first_layer_slow", "first_weights_unchanged"} <= set(found)
    for remedy in found["first_layer_slow"].remedies:
        assert run.spec.replace(**remedy.changes) == REMEDIES[remedy.code].apply(run.spec) != run.spec
    assert "residual" in [r.code for r in found["first_layer_slow"].remedies]


def test_a_run_that_is_stuck():
    """Nielsen's network learns the frequencies of the classes in some steps, then nothing for long."""
    run = train_all(TrainSpec(network=nielsen([64, 30, 30, 30, 30, 10]), steps=120), FEW)
    found = codes(run)
    assert found["loss_flat"].message.message_id == "symptom_loss_stuck"
    assert found["first_layer_slow"].evidence[0].step < 12  # while it still moved


def test_an_exploding_network():
    network = gc.Spec(depth=12, width=30, init="kaiming_normal", gain=4)
    run = train_all(TrainSpec(network=network, cost="cross_entropy", learning_rate=1.0, steps=20), FEW)
    found = codes(run)
    assert run.stop is not None
    assert {"loss_nan", "weights_jump", "gradient_grows"} <= set(found)
    assert found["loss_nan"].evidence[0].step == run.stop.step
    assert "weights_nan" not in found  # it ended before they were


def test_weights_that_break_are_found():
    run = train_all(TrainSpec(network=RELU, cost="cross_entropy", learning_rate=1e30, l2=1e30, dtype="float32"), FEW)
    assert run.stop is not None and run.stop.quantity == "weights"
    assert codes(run)["weights_nan"].evidence[0].layer == 1


def test_saturated_tanh_and_half_dead_relu():
    """Half the units of a ReLU are off, as they should be; of a tanh that would be a symptom."""
    tanh = gc.Spec(depth=4, width=30, activation="tanh", init="normal", gain=4)
    assert "saturated" in codes(train_all(TrainSpec(network=tanh, steps=2), FEW))
    assert "saturated" not in codes(train_all(TrainSpec(network=RELU, steps=2), FEW))


def test_a_remedy_that_is_in_force_is_not_prescribed():
    clipped = TrainSpec(network=RELU.replace(gain=8, depth=12), learning_rate=1e3, steps=12, clip="norm")
    for symptom in find_symptoms(TrainingLog.from_run(train_all(clipped, FEW))):
        assert "clip_norm" not in [r.code for r in symptom.remedies]


# --- a user's own record ------------------------------------------------------------------------------------------


def as_csv(known: dict[str, np.ndarray]) -> str:
    heads = [
        f"{k}_{i + 1}" if v.ndim == 2 else k for k, v in known.items() for i in range(v.shape[1] if v.ndim == 2 else 1)
    ]
    table = np.column_stack(list(known.values()))
    return "\n".join([",".join(heads), *(",".join(map(repr, row.tolist())) for row in table)])


def test_csv_and_json_say_the_same_as_the_arrays():
    known = {"loss": changed(FALLING, 30, nan), "grad": layers(0.001, 0.01, 0.1, 0.5), "saturated": layers(0.95, 0, 0)}
    wanted = [(s.code, str(s)) for s in find_symptoms(TrainingLog(np.arange(STEPS, dtype=float), **known))]
    assert len(wanted) == 3
    listed = {k: [[str(x) if x != x else x for x in np.atleast_1d(row)] for row in v] for k, v in known.items()}
    listed["loss"] = [row[0] for row in listed["loss"]]
    for text in (as_csv(known), as_csv({"step": np.arange(STEPS), **known, "lr": np.ones(STEPS)}), json.dumps(listed)):
        assert [(s.code, str(s)) for s in find_symptoms(read_log("mine", text))] == wanted
        assert [(s.code, str(s)) for s in find_symptoms(read_log("mine", b"\xef\xbb\xbf" + text.encode()))] == wanted


def test_an_exported_run_is_read():
    run = train_all(TrainSpec(network=RELU, steps=3), FEW)
    own = read_log("run.json", run.to_json())
    assert own.spec == run.spec and np.array_equal(own.loss, run.series("loss"))


BAD = {
    "": "allowed",
    "step,lr\n1,2\n": 'no column "loss"',
    "loss\n": "a header alone",
    "loss,grad_1\n1,2\n3\n": "line 3",
    "loss,grad_1\n1,two\n": "numbers",
    "loss,grad_1,grad_3\n1,2,3\n": "without a gap",
    "loss,loss\n1,2\n": "each column once",
    "{": "allowed",
    "[1, 2]": "allowed",
    '{"losses": [1]}': 'no "loss"',
    '{"loss": []}': "a list of numbers",
    '{"loss": [1, true]}': "numbers",
    '{"loss": [1, 2], "grad": [[1, 2]]}': "one entry per step",
    '{"loss": [1, 2], "grad": [[1, 2], [1]]}': "as many layers",
    '{"loss": [1, 2], "grad": 5}': "one entry per step",
    '{"format": "gradcore.run"}': "record",
    "\x00\x01": "allowed",
    "__import__('os').system('true')": "no column",
}


@pytest.mark.parametrize("text", BAD)
def test_bad_records_are_refused(text):
    with pytest.raises(gc.SpecError) as error:
        read_log("mine", text)
    assert BAD[text] in str(error.value)


def test_a_record_in_another_encoding_or_too_long(monkeypatch):
    with pytest.raises(gc.SpecError, match="a text file"):
        read_log("mine", b"\xff\xfe\x00")
    monkeypatch.setattr("gradcore.experiments.training_log.MOST_BYTES", 10)
    with pytest.raises(gc.SpecError, match="at most 10 bytes"):
        read_log("mine", "loss\n1\n2\n3\n4\n")
