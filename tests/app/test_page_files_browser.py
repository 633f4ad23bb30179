"""Take away in a browser: a page's files are downloaded and open without a network, and its record opens it again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("streamlit")

from gradcore.export import opened
from tests.app.browser import PATIENCE, Visit

pytestmark = pytest.mark.browser


def saved(visit: Visit, label: str, folder: Path, nth: int = 0) -> Path:
    with visit.page.expect_download(timeout=PATIENCE) as waiting:
        visit.page.get_by_role("button", name=label, exact=True).nth(nth).click()
    visit.page.mouse.move(0, 0)  # its tooltip lies over the next button until it has faded
    visit.page.get_by_role("tooltip").wait_for(state="detached")
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def test_a_page_is_taken_away_and_its_record_opens_it_again(chromium: Any, server: str, tmp_path: Path) -> None:
    with Visit(chromium, server, "chain?chain_length=7&chain_seed=3") as visit:
        visit.wait_for_charts()
        visit.page.get_by_role("button", name="Take away").click()
        labels = ("Report (HTML)", "Record (JSON)", "Script (Python)", "CSV", "PNG")
        got = {label: saved(visit, label, tmp_path) for label in labels}
        assert visit.own_complaints == []
    assert opened(got["Record (JSON)"].read_bytes()).link == "chain?chain_length=7&chain_seed=3"  # type: ignore[union-attr]
    assert got["CSV"].name == "gradcore-chain-factors.csv" and len(got["CSV"].read_text().splitlines()) > 7
    assert "length=7" in got["Script (Python)"].read_text() and got["PNG"].read_bytes().startswith(b"\x89PNG")
    _opens_offline(chromium, got["Report (HTML)"])
    with Visit(chromium, server, "gates?gates_steps=8&gates_hidden_size=16&gates_networks=2") as visit:
        visit.wait_for_charts()
        visit.page.get_by_role("button", name="Take away").click()
        visit.page.locator('input[type="file"]').set_input_files(str(got["Record (JSON)"]))
        visit.page.wait_for_url(re.compile(r"/chain\?.*chain_length=7"))
        visit.page.get_by_text("Neurons in a row: 7").wait_for()
        assert visit.query()["chain_seed"] == ["3"] and visit.own_complaints == []


def _opens_offline(chromium: Any, report: Path) -> None:
    context = chromium.new_context(offline=True)
    page = context.new_page()
    troubles: list[str] = []
    page.on("requestfailed", lambda request: troubles.append(request.url))
    page.on("console", lambda message: troubles.append(message.text))
    page.goto(report.as_uri())
    assert page.locator("figure svg").count() == 2 and page.locator("#factors-numbers tbody tr").count() >= 7
    assert troubles == []
    context.close()


def test_the_first_page_opens_under_its_own_name_too(chromium: Any, server: str) -> None:
    with Visit(chromium, server, "explore?depth=7&width=24&networks=2") as visit:
        visit.wait_for_charts()
        visit.page.get_by_text("7 layers").first.wait_for()
        assert visit.page.get_by_text("Page not found").count() == 0
        assert visit.query()["depth"] == ["7"] and visit.own_complaints == []
