"""The Phase map page in a real browser: a click on a cell loads its network, once."""

from __future__ import annotations

import pytest

from tests.app.browser import CHART, Visit

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_a_click_loads_the_cell(chromium, server: str, color_scheme: str) -> None:
    with Visit(chromium, server, "?depth=20&width=16&networks=1", color_scheme=color_scheme) as visit:
        visit.page.get_by_role("link", name="Phase map").click()
        visit.page.get_by_role("heading", name="Ordered").wait_for()
        drawn = visit.page.locator(CHART)
        drawn.first.wait_for()
        assert drawn.count() == 1
        visit.page.wait_for_timeout(1000)  # the chart takes its width
        box = drawn.first.bounding_box()
        drawn.first.click(position={"x": 0.75 * box["width"], "y": 0.25 * box["height"]})
        visit.page.get_by_role("heading", name="Chaotic").wait_for()
        first = visit.query()
        assert float(first["gain"][0]) > 2.0 and int(first["depth"][0]) > 50
        visit.page.wait_for_timeout(1500)
        assert visit.query() == first, "and it stays: the new map does not click itself"
        drawn.first.click(position={"x": 0.2 * box["width"], "y": 0.6 * box["height"]})
        visit.page.get_by_role("heading", name="Ordered").wait_for()
        assert float(visit.query()["gain"][0]) < 1.414
        visit.page.go_back()
        visit.page.get_by_role("heading", name="Chaotic").wait_for()
        assert visit.query() == first
        assert visit.complaints == []


def test_on_a_phone_nothing_is_wider_than_the_screen(chromium, server: str) -> None:
    phone = {"width": 390, "height": 844}
    with Visit(chromium, server, "phase-map?map_y=bias_std&activation=tanh", viewport=phone) as visit:
        visit.page.locator(CHART).first.wait_for()
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
