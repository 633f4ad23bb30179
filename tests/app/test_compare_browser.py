"""The page Compare in a real browser: a link with pins, a pin by its key, the browser's Back, and a phone."""

from __future__ import annotations

import pytest

from tests.app.browser import Visit

pytestmark = pytest.mark.browser
PINS = ["depth:10,width:16", "depth:10,width:16,gain:2.0", "depth:7,width:16,activation:tanh"]
LINK = "compare?networks=2&" + "&".join(f"pin={pin}" for pin in PINS)


def curves(visit: Visit, side: int = 1) -> int:
    """How many lines the chart of this side draws."""
    chart = visit.page.locator('[data-testid="stVegaLiteChart"]').nth(side)
    return chart.locator("g.mark-line path").count()


def test_a_link_with_three_pins_and_one_more_by_its_key(chromium, server: str) -> None:
    with Visit(chromium, server, LINK) as visit:
        visit.wait_for_charts()
        visit.page.get_by_role("heading", name="of 3 networks are stable").wait_for()
        assert curves(visit, 0) == curves(visit, 1) == 3 and visit.query()["pin"] == PINS
        visit.page.get_by_role("button", name="Pin the sidebar's network").wait_for()
        visit.page.keyboard.press("p")
        visit.page.get_by_role("heading", name="of 4 networks are stable").wait_for()
        assert visit.query()["pin"] == [*PINS, "default"]
        visit.page.go_back()
        visit.page.get_by_role("heading", name="of 3 networks are stable").wait_for()
        assert visit.query()["pin"] == PINS
        visit.page.locator(".st-key-pin_open_3 button").first.click()
        visit.page.wait_for_url("**activation=tanh**")
        visit.page.get_by_role("button", name="Compare (3 pinned)").wait_for()
        assert visit.query()["pin"] == PINS and visit.own_complaints == []


def test_a_phone_cuts_nothing_off(chromium, server: str) -> None:
    with Visit(chromium, server, LINK, viewport={"width": 390, "height": 844}) as visit:
        visit.wait_for_charts()
        table = visit.page.locator('[data-testid="stTable"]').first
        table.wait_for()
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
        cell = table.get_by_role("columnheader").last
        cell.scroll_into_view_if_needed()
        box = cell.bounding_box()
        assert box["x"] + box["width"] <= 391  # a table that is wider scrolls within the page
        assert visit.own_complaints == []
