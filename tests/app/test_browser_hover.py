"""The charts under the pointer: one layer marked in all of them, labels that can be read, few marks."""

from __future__ import annotations

import re

import pytest

from tests.app.browser import CHART, Visit

pytestmark = pytest.mark.browser

# The layers whose hover rule can be seen, chart by chart, by the name that the rule has for screen readers
MARKED = """svgs => svgs.map(svg => [...svg.querySelectorAll('line[aria-label*="Layer: "]')]
    .filter(line => Number(line.getAttribute('opacity')) > 0)
    .map(line => Number(line.getAttribute('aria-label').match(/Layer: (\\d+)/)[1])))"""
# Texts beside events and ranges (their lines are tspans), as far as they stick out of their chart: px
CLIPPED = """svgs => svgs.flatMap(svg => {
    const frame = svg.getBoundingClientRect();
    return [...svg.querySelectorAll('.mark-text.role-mark text')].map(text => {
        const box = text.getBoundingClientRect();
        return [text.textContent, Math.max(frame.left - box.left, box.right - frame.right,
                                           frame.top - box.top, box.bottom - frame.bottom)];
    });
})"""


def marked(visit: Visit) -> list[list[int]]:
    return visit.page.locator(CHART).evaluate_all(MARKED)


def alike(found: list[list[int]]) -> bool:
    """One and the same layer in all charts."""
    return len(found) >= 2 and len(found[0]) == 1 and all(layers == found[0] for layers in found)


def hover(visit: Visit, chart: int, across: float) -> list[list[int]]:
    """The marked layers of all charts with the pointer in one of them, a share of its width from the left.

    A chart that Streamlit draws again under a resting pointer learns of the next layer only: the pointer comes anew
    until all agree, or for some seconds.
    """
    for _ in range(20):
        box = visit.page.locator(CHART).nth(chart).bounding_box()
        if box is None:  # just being replaced
            visit.page.wait_for_timeout(250)
            continue
        x, y = box["x"] + box["width"] * across, box["y"] + box["height"] * 0.6
        visit.page.mouse.move(x - box["width"] * 0.2, y)
        visit.page.wait_for_timeout(100)
        visit.page.mouse.move(x, y)
        visit.page.wait_for_timeout(300)
        found = marked(visit)
        if alike(found):
            break
    return found


def open_measured(chromium, server: str, query: str, **context) -> Visit:
    """The page once its charts hold the measurement."""
    visit = Visit(chromium, server, query, **context)
    visit.wait_for_charts()
    visit.page.get_by_text("Points: measured").first.wait_for()
    visit.page.locator(f"{CHART} line[aria-label*='Measured: ']").first.wait_for(state="attached")
    return visit


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_a_layer_is_marked_in_all_charts_at_once(chromium, server: str, color_scheme: str) -> None:
    with open_measured(chromium, server, "?depth=10&width=32", color_scheme=color_scheme) as visit:
        layers = []
        for chart, across in ((0, 0.4), (1, 0.6), (0, 0.9)):
            found = hover(visit, chart, across)
            assert alike(found), found
            layers += found[0]
            tooltip = visit.page.locator("#vg-tooltip-element.visible").inner_text()
            assert re.search(rf"Layer\s+{layers[-1]}\s", tooltip) and "90% of networks" in tooltip
        assert layers == sorted(set(layers))
        visit.page.mouse.move(5, 5)
        visit.page.wait_for_timeout(300)
        assert not any(marked(visit))
        assert visit.complaints == []


def test_charts_that_were_drawn_again_are_still_linked(chromium, server: str) -> None:
    with open_measured(chromium, server, "?depth=10&width=32") as visit:
        assert alike(hover(visit, 0, 0.5))
        visit.page.get_by_role("radio", name="Mean square").click()
        visit.page.locator(f"{CHART}:has-text('mean square of z')").wait_for()
        assert alike(hover(visit, 1, 0.7))
        assert visit.complaints == []


@pytest.mark.parametrize(
    "query",
    [
        "?activation=linear&init=normal&depth=60&width=64&dtype=float16&networks=2",
        "?activation=linear&init=normal&gain=0.01&depth=40&width=64&dtype=float16&networks=2",
        "?gain=0&networks=2",
    ],
)
def test_labels_are_whole_on_a_phone(chromium, server: str, query: str) -> None:
    with open_measured(chromium, server, query, viewport={"width": 390, "height": 844}) as visit:
        labels = visit.page.locator(CHART).evaluate_all(CLIPPED)
        assert len(labels) >= 2
        assert all(out <= 0 for _, out in labels), labels


def test_a_very_deep_net_is_drawn_with_few_marks(chromium, server: str) -> None:
    with Visit(chromium, server, "?depth=10000&width=64") as visit:
        visit.wait_for_charts()
        for svg in visit.page.locator(CHART).all()[:2]:
            assert 500 < svg.evaluate("svg => svg.querySelectorAll('path, line, text, rect').length") < 2000
