"""The Explore page in a real browser: what is seen without scrolling, one key that mends it, nothing that jumps."""

from __future__ import annotations

import pytest

from tests.app.browser import CHART, Visit

pytestmark = pytest.mark.browser
PHONE = {"width": 390, "height": 844}
CARD = '[data-testid="stMetric"]'
TABS = '[data-testid="stTabs"]'
UNASKED = "?depth=60&width=700&networks=2&seed=9"  # 1 to 2 s: more than is measured unasked

# How far a card's texts reach beyond the narrowest of the boxes around them: px
CUT = """cards => cards.flatMap(card => [...card.querySelectorAll('p')].map(text => {
    const range = document.createRange();
    range.selectNodeContents(text);
    let right = Infinity;
    for (let box = text; box !== card.parentElement; box = box.parentElement)
        if (getComputedStyle(box).display !== 'inline') right = Math.min(right, box.getBoundingClientRect().right);
    return [text.textContent, Math.max(0, Math.round(range.getBoundingClientRect().right - right))];
}))"""

CORNER = "all => all.map(e => e.getBoundingClientRect()).map(box => [box.x, box.y])"


def bottom(locator) -> float:
    box = locator.bounding_box()
    return box["y"] + box["height"]


def tops(visit: Visit) -> list[float]:
    """Where cards, charts and tabs begin."""
    found = [*visit.page.locator(CARD).all(), *visit.page.locator(CHART).all()[:2], visit.page.locator(TABS)]
    return [round(place.bounding_box()["y"]) for place in found]


def test_verdict_numbers_and_charts_are_seen_without_scrolling(chromium, server: str) -> None:
    with Visit(chromium, server) as visit:
        visit.wait_for_charts()
        visit.page.get_by_text("prediction holds").wait_for()
        visit.page.locator(CARD).nth(3).wait_for()
        assert visit.page.locator(CARD).count() == 4
        assert bottom(visit.page.locator(CHART).nth(1)) <= 900
        assert visit.page.get_by_role("button", name="Fix: ").is_visible()


def test_one_key_mends_the_network_and_one_button_undoes_it(chromium, server: str) -> None:
    with Visit(chromium, server, "?depth=40&width=64") as visit:
        assert "vanish" in visit.headline.inner_text()
        visit.page.get_by_role("button", name="Fix: ").wait_for()
        visit.page.keyboard.press("f")
        visit.page.wait_for_url("**gain=**")
        visit.page.get_by_role("heading", name="Signals and gradients survive").wait_for()
        visit.page.get_by_role("button", name="Undo the fix").click()
        visit.page.get_by_role("heading", name="Gradients vanish").wait_for()
        assert visit.query() == {"depth": ["40"], "width": ["64"]}
        assert visit.complaints == []


def test_nothing_jumps_when_the_measurement_arrives(chromium, server: str) -> None:
    with Visit(chromium, server, UNASKED) as visit:
        visit.wait_for_charts()
        visit.page.get_by_role("button", name="Measure 2 networks").wait_for()
        visit.page.get_by_role("button", name="Fix: ").wait_for()
        visit.page.locator(CHART).nth(2).wait_for()
        visit.page.locator(CARD).nth(3).wait_for()
        before = tops(visit)
        visit.page.keyboard.press("m")
        visit.page.get_by_role("button", name="Cancel measurement").wait_for()
        assert tops(visit) == before
        visit.page.get_by_text("prediction holds").wait_for()
        assert tops(visit) == before
        assert visit.complaints == []


def test_a_changed_control_does_not_empty_the_page(chromium, server: str) -> None:
    """Between two networks the charts of the first stand until those of the second are there."""
    with Visit(chromium, server, "?depth=10&width=32") as visit:
        visit.wait_for_charts()
        visit.page.get_by_text("prediction holds").wait_for()
        visit.page.evaluate(
            """selector => { window.fewest = 9; const look = () => {
                window.fewest = Math.min(window.fewest, document.querySelectorAll(selector).length);
                requestAnimationFrame(look); }; look(); }""",
            CHART,
        )
        visit.page.get_by_role("radio", name="Median").click()
        visit.page.get_by_text("predicted median").wait_for()
        visit.page.wait_for_timeout(500)
        assert visit.page.evaluate("window.fewest") >= 2


def test_a_phone_shows_verdict_and_fix_first_and_cuts_nothing_off(chromium, server: str) -> None:
    with Visit(chromium, server, viewport=PHONE) as visit:
        visit.page.get_by_text("prediction holds").wait_for()
        assert bottom(visit.page.get_by_role("button", name="Fix: ")) < PHONE["height"] / 2
        visit.page.locator(CARD).nth(3).wait_for()
        corners = visit.page.locator(CARD).evaluate_all(CORNER)
        assert [len(set(places)) for places in zip(*corners, strict=True)] == [2, 2]
        texts = visit.page.locator(CARD).evaluate_all(CUT)
        assert len(texts) == 12
        assert all(cut == 0 for _, cut in texts), texts
        delta = visit.page.locator(CARD).locator("p").nth(2)
        delta.evaluate("text => text.textContent += ' and so on'")
        assert visit.page.locator(CARD).evaluate_all(CUT)[2][1] > 0  # so that the check above can fail
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert visit.complaints == []


def test_each_tab_opens_alone(chromium, server: str) -> None:
    with Visit(chromium, server, "?depth=5&width=16&networks=2") as visit:
        visit.wait_for_charts()
        for title, shows in (
            ("Layers", '[data-testid="stDataFrame"]'),
            ("Equations", ".katex"),
            ("Code", '[data-testid="stCode"]'),
            ("Assumptions", '[data-testid="stTable"]'),
        ):
            visit.page.get_by_role("tab", name=title).click()
            visit.page.locator(shows).first.wait_for()
        assert visit.complaints == []
