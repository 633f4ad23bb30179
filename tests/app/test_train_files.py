"""The Train page's files, its sentences and its charts by themselves."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("streamlit")
pytest.importorskip("sklearn")
pytest.importorskip("torch")
from streamlit.testing.v1 import AppTest

from app.parts import move, train_box, train_files, train_state
from gradcore.charts import training as charts
from gradcore.charts.training_words import KINDS, headline, kind_of, plateau, spread
from gradcore.errors import SpecError
from gradcore.experiments.data import digits
from gradcore.experiments.training import Run, TrainStep, train_all
from tests.app import pages
from tests.app.pages import captions
from tests.app.train import QUESTION, SHORT, go, kept, open_page, rows, widget


@pytest.fixture(autouse=True)
def few_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prediction in little time."""
    monkeypatch.setattr(train_state, "NETWORKS", 12)


# --- files ----------------------------------------------------------------------------------------------------


def open_part(app: AppTest, name: str) -> AppTest:
    app.session_state[f"open_train_{name}"] = True
    return app.run()


def upload(app: AppTest, key: str, name: str, content: bytes) -> AppTest:
    return app.file_uploader(key=key).set_value((name, content, "application/octet-stream")).run()


def test_a_saved_run_opens_again_until_a_control_moves() -> None:
    spec = QUESTION.spec(digits()).replace(norm="batch", steps=8)
    run = train_all(spec, digits())
    run.steps = run.steps[:6]
    app = upload(open_part(open_page(**SHORT), "record"), "train_record_file", "run.json", run.to_json().encode())
    assert not app.exception and not app.error
    assert pages.headline(app) == headline(run, None).text() and go(app).label == "Continue (6 of 8 steps)"
    go(app).click().run()
    assert not app.exception and len(kept(app)[-1].steps) == 8
    widget(app, "number_input", "seed").set_value(9).run()
    assert go(app).label == "Start" and "seed 9" in captions(app)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"format": "other"}', b"\xff\xfe"])
def test_a_bad_record_is_refused(content: bytes) -> None:
    app = upload(open_part(open_page(**SHORT), "record"), "train_record_file", "run.json", content)
    assert not app.exception and "allowed" in app.error[0].value and not kept(app)


def test_a_record_that_does_not_fit_itself_is_refused() -> None:
    run = train_all(QUESTION.spec(digits()), digits())
    document = json.loads(run.to_json())
    document["steps"][2]["speeds"] = [1.0]
    with pytest.raises(SpecError):
        train_files.checked(Run.from_json(json.dumps(document)))
    for change in ({"planned": 2}, {"steps": run.steps[1:]}, {"steps": []}, {"data": {}}):
        with pytest.raises(SpecError):
            train_files.checked(replace(run, **change))
    assert train_files.checked(run) is run


def test_the_users_own_images() -> None:
    table = np.column_stack([np.arange(40) % 3, np.random.default_rng(0).integers(0, 256, (40, 9))])
    lines = "label," + ",".join(f"p{k}" for k in range(9)) + "\n" + "\n".join(",".join(map(str, r)) for r in table)
    app = upload(open_part(open_page(**SHORT), "data"), "train_images", "mine.csv", lines.encode())
    app.button(key="train_use").click().run()
    assert not app.exception and not app.error and "mine.csv, 40 images of 9 pixels, 3 classes" in captions(app)
    go(app).click().run()
    assert kept(app)[0].spec.network.layer_widths.tolist() == [8, 8, 3] and kept(app)[0].data["pixels"] == 9
    app.button(key="train_digits").click().run()
    assert "64-8-8-10" in captions(app)


def test_bad_images_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    app = upload(open_part(open_page(**SHORT), "data"), "train_images", "bad.gz", b"\x1f\x8bnot gzip")
    app.button(key="train_use").click().run()
    assert not app.exception and "bad.gz" in app.error[0].value
    monkeypatch.setattr(train_files, "MEGABYTE", 0)
    app.button(key="train_use").click().run()
    assert "at most 128 MB are read" in app.error[0].value and "64-8-8-10" in captions(app)


def test_records_of_other_programs_have_a_page_of_their_own() -> None:
    app = open_page(**SHORT)
    app.button(key="train_to_symptoms").click().run()
    address, query = app.session_state[move.KEY]
    assert address == "symptoms" and query == SHORT


# --- words and charts -----------------------------------------------------------------------------------------


def made(*speeds: tuple[float, ...], accuracy: float = 0.1) -> Run:
    run = train_all(QUESTION.spec(digits()).replace(steps=1), digits())
    run.steps = [TrainStep(k, 0.0, 1.0, accuracy=accuracy, speeds=row) for k, row in enumerate(speeds)]
    return run


def test_every_kind_of_run_has_its_look_and_sentence() -> None:
    found = {
        "vanishes": made((1e-3, 1.0, 1.0)),
        "explodes": made((1e3, 1.0, 1.0)),
        "balanced": made((1.0, 2.0, 1.0)),
        "zero": made((0.0, 1.0, 1.0)),
        "unknown": None,
    }
    assert {kind: kind_of(run, None) for kind, run in found.items()} == {kind: kind for kind in found}
    assert {*found, "stopped"} == set(KINDS) == set(train_box.LOOKS)
    assert "1000 times slower" in str(headline(found["vanishes"], None))
    assert "1000 times faster" in str(headline(found["explodes"], None))
    assert "no gradient at all" in str(headline(found["zero"], None))
    assert spread((0.1, 2.0, 9.0)) == 20.0 and spread((0.5, 1.0)) == 2.0
    assert "the output layer" in str(headline(made((0.5, 1.0)), None))


def test_a_smaller_ratio_on_a_plateau_is_called_no_recovery() -> None:
    falling = [(1e-3, 1.0, 1.0), (1e-4, 1e-3, 1.0)]
    assert "plateau" in str(plateau(made(*falling)))
    assert plateau(made(*falling, accuracy=0.9)) is None  # it has learned
    assert plateau(made((1e-3, 1.0, 1.0), (1e-2, 0.9, 1.0))) is None  # the last layer is as fast as before


def test_charts_of_few_steps_and_of_long_runs() -> None:
    run = made(*[(1e-3, 0.0, 1.0)] * 500)
    shown = [charts.Shown("plain", run)]
    found = rows(charts.layer_chart(charts.SPEEDS, shown, depth=3, steps=500).to_dict(validate=False))
    assert {row["layer"] for row in found} == {"1", "out"}  # what is exactly 0 leaves a gap
    assert len(found) == 2 * (charts.MOST_POINTS + 1)  # the points of each curve, and the label at its end
    assert {0, 499} <= {row["step"] for row in found}
    assert any("not in this record" in str(row.get("text")) for row in rows(charts.neuron_chart(run).to_dict()))


def test_an_exploding_loss_is_drawn_on_a_log_axis_and_many_layers_are_labelled() -> None:
    run = made((1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    run.steps[1] = replace(run.steps[1], loss=1e160)
    found = rows(charts.scalar_chart("loss", [charts.Shown("plain", run)], steps=2).to_dict(validate=False))
    assert [row["size"] for row in found] == pytest.approx([0.0, 160.0])
    deep = made(*[tuple(float(k) for k in range(1, 8))] * 3)
    drawn = charts.layer_chart(charts.SPEEDS, [charts.Shown("plain", deep)], depth=7, steps=3).to_dict(validate=False)
    assert [layer["mark"]["type"] for layer in drawn["layer"]] == ["line", "text"]
