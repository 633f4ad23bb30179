"""The real app in a real browser: `streamlit run app/main.py`, opened in a system Chromium."""

from __future__ import annotations

import pytest

from tests.app.browser import CHART, Visit

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_the_default_page_draws_both_charts_without_complaints(chromium, server: str, color_scheme: str) -> None:
    with Visit(chromium, server, color_scheme=color_scheme) as visit:
        assert "×0.71 per layer" in visit.headline.inner_text()
        visit.wait_for_charts()
        visit.page.get_by_text("torch networks").first.wait_for()  # measured without being asked
        visit.page.locator(CHART).nth(2).wait_for()  # the weight gradient's, in the open tab
        assert visit.page.locator(CHART).count() == 3
        assert visit.complaints == []


def test_a_link_opens_what_its_sender_saw(chromium, server: str) -> None:
    with Visit(chromium, server, "?activation=tanh&gain=1.5") as visit:
        visit.wait_for_charts()
        visit.page.get_by_text("tanh · xavier_normal at gain 1.5").wait_for()
        assert visit.query() == {"activation": ["tanh"], "gain": ["1.5"]}
        assert visit.complaints == []


def test_a_bad_link_is_named_and_cleaned(chromium, server: str) -> None:
    with Visit(chromium, server, "?depth=99999999&activation=tanh") as visit:
        visit.page.get_by_text("Parts of this link were not used").wait_for()
        visit.page.get_by_role("button", name="Dismiss").click()
        visit.page.get_by_text("Parts of this link were not used").wait_for(state="detached")
        assert visit.query() == {"activation": ["tanh"]}


def test_a_control_writes_the_address_and_back_undoes_it(chromium, server: str) -> None:
    with Visit(chromium, server, "?depth=10&width=32") as visit:
        visit.wait_for_charts()
        visit.page.get_by_role("combobox", name="Activation").click()
        visit.page.get_by_role("option", name="tanh", exact=True).click()
        visit.page.wait_for_url("**activation=tanh**")
        visit.page.get_by_text("32 units · tanh").wait_for()
        visit.page.go_back()
        visit.page.get_by_text("32 units · relu").wait_for()


def test_hovering_a_layer_tells_its_numbers(chromium, server: str) -> None:
    with Visit(chromium, server, "?depth=10&width=32") as visit:
        visit.wait_for_charts()
        visit.page.get_by_text("torch networks").first.wait_for()
        visit.page.wait_for_timeout(500)  # the charts are drawn once more with the measurement
        box = visit.page.locator(CHART).first.bounding_box()
        visit.page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.6)
        visit.page.mouse.move(box["x"] + box["width"] * 0.5 + 3, box["y"] + box["height"] * 0.6)
        tooltip = visit.page.locator("#vg-tooltip-element.visible")
        tooltip.wait_for()
        assert "Predicted" in tooltip.inner_text() and "90% of networks" in tooltip.inner_text()
