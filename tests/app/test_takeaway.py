"""Take away: the menu is on Explore, and its files hold what the page shows."""

from __future__ import annotations

import contextlib
import io
import json
import re
from html import unescape
from typing import Any

import pytest

import gradcore as gc
from app.parts import takeaway
from app.parts.verdict_box import Answer
from app.state import Settings
from gradcore import charts
from gradcore.export import Record, images
from tests.app.browser import PATIENCE, Visit
from tests.app.pages import SMALL, open_app, open_tab, small_app

SPEC = gc.Spec(depth=5, width=16)
NUMBER = re.compile(r"\(?\d[\d.]*(?:e-?\d+)?(?: ± [\d.e-]+\)?(?:e-?\d+)?)?")


def offered(app: Any) -> dict[str, Any]:
    """The download buttons of the open menu by the end of their keys."""
    app.session_state["take_away_explore"] = True
    app.run()
    assert not app.exception
    return {button.proto.id.rpartition("take_")[2]: button.proto for button in app.get("download_button")}


def shown(**settings: Any) -> takeaway.Shown:
    profile = gc.predict(SPEC)
    found = Answer(SPEC, profile, gc.diagnose(profile))
    return takeaway.Shown(found, Settings(networks=2, **settings), gc.measure(SPEC, networks=2))


def printed(code: str) -> str:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, "page", "exec"), {"__name__": "__main__"})
    return output.getvalue()


# --- the menu -------------------------------------------------------------------------------------------------


def test_every_file_is_offered() -> None:
    app = small_app()
    assert not app.exception
    drawn = {f"{code}.{kind}" for code in charts.PANELS for kind in takeaway.IMAGES}
    files = offered(app)
    assert set(files) == {"layers.csv", "record.json", "page.py", "network.py", "report.html", *drawn}
    assert not any(button.disabled for button in files.values())


def test_nothing_is_made_before_the_menu_is_open() -> None:
    assert not small_app().get("download_button")


def test_a_record_that_would_be_too_large_is_not_offered() -> None:
    app = open_app(depth="10000", width="4096", networks="256")
    record = offered(app)["record.json"]
    assert record.disabled and "fewer networks" in record.help


def test_without_the_image_package_the_rest_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeaway, "find_spec", lambda name: None)
    app = small_app()
    assert not app.exception and set(offered(app)) == {"layers.csv", "record.json", "page.py", "network.py"}
    assert any(images.INSTALL in caption.value for caption in app.caption)


def test_a_network_without_a_prediction_is_taken_away_as_measured() -> None:
    app = small_app(norm="batch", batch_size="3")
    assert not app.exception and "report.html" in offered(app)


def test_names_say_what_the_files_hold() -> None:
    assert takeaway.file_name(SPEC, "layers.csv") == "relu-5x16-xavier_normal-layers.csv"
    other = gc.Spec(depth=2, width=(3, 4), gain=2**0.5, norm="layer")
    assert takeaway.file_name(other, "record.json") == "relu-2xwidths-xavier_normal-gain1.41-layer-record.json"


# --- the files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("statistic", charts.STATISTICS)
def test_the_script_and_the_report_repeat_the_pages_numbers(statistic: str) -> None:
    app = open_tab(small_app(statistic=statistic, seed="4"), "Layers")
    code = takeaway._script(asked := as_shown(app))
    output, report = printed(code), unescape(takeaway._report(asked))
    for card in app.metric:
        for text in (card.value, card.delta):
            number = NUMBER.search(text)
            assert number is not None and number[0] in output and number[0] in report, (card.label, text)
    assert len(app.metric) == 4
    assert app.subheader[0].value in output and app.subheader[0].value in report
    rows = [line.split() for line in output.splitlines()]
    for values in app.dataframe[0].value.itertuples(index=False):
        row = next(row for row in rows if row[:1] == [str(int(values[0]))] and len(row) > 8)
        for value in values[1:5]:
            assert any(abs(float(cell) - value) <= 1e-5 * abs(value) for cell in row[1:])


def as_shown(app: Any) -> takeaway.Shown:
    question = app.session_state["question"]
    spec, settings = question.spec, question.settings
    profile = gc.predict(spec)
    measured = gc.measure(spec, networks=settings.networks, seed=settings.seed)
    return takeaway.Shown(Answer(spec, profile, gc.diagnose(profile)), settings, measured)


def test_the_record_loads_back_and_the_table_is_its() -> None:
    page = shown()
    files = {look.ending: make(page) for look, make in takeaway.MAKE}
    record = Record.from_json(files["record.json"])
    assert record == Record.of(SPEC, page.found.profile, page.measured)
    assert files["layers.csv"].splitlines()[0].startswith("layer,quantity,predicted_infinite_width [ln of")
    compile(files["network.py"], "network", "exec")


def test_the_files_are_made_of_what_has_arrived_meanwhile() -> None:
    page = shown()
    page.measured, measured = None, page.measured
    make = dict(takeaway.MAKE)[takeaway.RECORD]
    assert json.loads(make(page))["measured"] is None
    page.measured = measured
    assert json.loads(make(page))["measured"]["networks"] == [0, 1]


def test_what_torch_refuses_is_said_in_the_file() -> None:
    spec = gc.Spec(norm="batch", batch_size=1)
    text = takeaway._network(takeaway.Shown(Answer(spec), Settings()))
    assert text.startswith("# batch norm with one sample")


# --- in a browser ---------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_every_file_is_downloaded_and_opens_offline(chromium, server: str, tmp_path) -> None:
    with Visit(chromium, server, "?" + "&".join(f"{k}={v}" for k, v in SMALL.items())) as visit:
        visit.wait_for_charts()
        visit.page.get_by_text("prediction holds").wait_for()
        visit.page.get_by_role("button", name="Take away").click()
        got = {}
        labels = ("Table (CSV)", "Record (JSON)", "Report (HTML)", "Script (Python)", "Forward (PNG)", "Backward (SVG)")
        for label in labels:
            with visit.page.expect_download(timeout=PATIENCE) as waiting:
                visit.page.get_by_role("button", name=label, exact=True).click()
            visit.page.mouse.move(0, 0)  # its tooltip lies over the next button until it has faded
            visit.page.get_by_role("tooltip").wait_for(state="detached")
            got[label] = tmp_path / waiting.value.suggested_filename
            waiting.value.save_as(got[label])
        assert visit.complaints == []
    assert got["Forward (PNG)"].name == "relu-5x16-xavier_normal-forward.png"
    assert len(got["Table (CSV)"].read_text().splitlines()) == 1 + 5 * 11
    assert Record.from_json(got["Record (JSON)"].read_bytes()).measured.networks == (0, 1)
    assert printed(got["Script (Python)"].read_text()).startswith("stable: ")
    context = chromium.new_context(offline=True)
    page = context.new_page()
    troubles: list[str] = []
    page.on("requestfailed", lambda request: troubles.append(request.url))
    page.on("console", lambda message: troubles.append(message.text))
    page.goto(got["Report (HTML)"].as_uri())
    assert page.locator("figure svg").count() == 3 and page.locator("#layers tbody tr").count() == 5
    for label in labels[-2:]:
        page.goto(got[label].as_uri())
        size = "document.images[0]?.naturalWidth ?? document.documentElement.width.baseVal.value"
        assert page.evaluate(size) > 600
    assert troubles == []
    context.close()
