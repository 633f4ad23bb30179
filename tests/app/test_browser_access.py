"""Access in a real browser: WCAG 2.2 AA by axe-core, names, text alternatives, the keyboard alone, a phone's width."""

from __future__ import annotations

import re

import pytest

from app.pages import PAGES
from tests.app import access
from tests.app.access import EXEMPT, dress, findings, nameless, opened, settle
from tests.app.browser import Visit

pytestmark = pytest.mark.browser
ADDRESSES = ["" if page is PAGES[0] else page.address for page in PAGES]  # the first page's is bare
LOOKS = [
    pytest.param(("light desktop", "dark phone"), id="two looks"),
    pytest.param(("dark desktop", "light phone"), id="other two", marks=pytest.mark.slow),
]
FOCUSED = """() => {
    const e = document.activeElement, label = e.getAttribute('aria-label') || e.innerText || '';
    return [e.tagName, label.replace(/\\s+/g, ' ').slice(0, 80)];
}"""
BOX = "() => { const b = document.activeElement.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; }"


@pytest.mark.parametrize("looks", LOOKS)
@pytest.mark.parametrize("address", ADDRESSES)
def test_every_page_is_open_to_everyone(chromium, server: str, address: str, looks: tuple[str, ...]) -> None:
    with opened(chromium, server, address, looks[0]) as visit:
        for look in looks:
            dress(visit, look)
            unknown = [one for one in findings(visit) if one["known"] < 0]
            assert unknown == [], look
            count, without = nameless(visit)
            assert count >= 8 and without == [], look
            if look.endswith("phone"):
                assert visit.page.evaluate(access.WIDE) == [0, 0, 0], "nothing scrolls sideways"
        for chart in visit.page.evaluate(access.CHARTS):
            assert chart["name"] != chart["title"] and len(chart["name"]) >= 24, chart


@pytest.mark.parametrize("number", range(len(EXEMPT)), ids=lambda number: EXEMPT[number].rule)
def test_every_exemption_is_needed(chromium, server: str, number: int) -> None:
    with opened(chromium, server, EXEMPT[number].page, EXEMPT[number].look) as visit:
        assert number in {one["known"] for one in findings(visit)}


def test_a_page_with_a_notice_a_menu_and_every_part_open(chromium, server: str) -> None:
    query = "?depth=5&width=16&networks=2&gain=x&norm=layer&input=digits&bias_std=1&residual=identity&init=sparse"
    with opened(chromium, server, "", query=query) as visit:
        visit.page.get_by_text("Parts of this link were not used").wait_for()
        visit.page.get_by_text("Measurement", exact=True).first.click()
        visit.page.get_by_role("spinbutton", name="Networks").wait_for()
        visit.page.get_by_role("button", name="Take away").click()
        visit.page.get_by_role("button", name="Table (CSV)").wait_for()
        for look in ("light desktop", "dark desktop"):
            dress(visit, look)
            assert [one for one in findings(visit) if one["known"] < 0] == [], look
            assert nameless(visit)[1] == []


def test_the_audit_can_fail(chromium, server: str) -> None:
    with opened(chromium, server, "learn") as visit:
        visit.page.evaluate(
            """() => document.querySelector('[data-testid="stMainBlockContainer"]').insertAdjacentHTML('afterbegin',
            '<button></button><p style="color:#bbb;background:#fff">pale</p><div style="width:3000px">wide</div>')"""
        )
        assert {"button-name", "color-contrast"} <= {one["rule"] for one in findings(visit)}
        assert len(nameless(visit)[1]) == 1
        assert max(visit.page.evaluate(access.WIDE)) > 0


# --- the keyboard alone ----------------------------------------------------------------------------------------


def tab_to(visit: Visit, name: str, most: int = 90) -> list[str]:
    """Press Tab until what has this name is focused; the names on the way."""
    way = []
    for _ in range(most):
        visit.page.keyboard.press("Tab")
        tag, label = visit.page.evaluate(FOCUSED)
        way.append(label)
        if re.search(name, label) and tag != "MAIN":
            return way
    raise AssertionError(f"{name} is not reached: {way}")


def test_explore_by_the_keyboard_alone(chromium, server: str) -> None:
    with opened(chromium, server, "", query="?depth=40&width=64&networks=2") as visit:
        page = visit.page
        assert tab_to(visit, "Skip to main content", 1)
        tab_to(visit, r"^Depth \(layers\)$")
        page.keyboard.press("ArrowRight")
        page.wait_for_url("**depth=41**")
        settle(visit)
        tab_to(visit, r"^Gain$")
        page.keyboard.press("ArrowUp")
        page.wait_for_url("**gain=1.05**")
        page.keyboard.press("ArrowDown")
        page.wait_for_function("!location.search.includes('gain')")
        settle(visit)
        way = tab_to(visit, "Fix: ")
        assert {"English", "Residual connections"} <= set(way), "through the rest of the sidebar"
        assert any("Phase map" in name for name in way), "and the navigation"
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Signals and gradients survive").wait_for()
        settle(visit)
        tab_to(visit, "Take away")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Table (CSV)").wait_for()
        tab_to(visit, "Table", 30)
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Table (CSV)").wait_for(state="hidden")
        assert visit.complaints == []


def test_the_focus_is_seen(chromium, server: str) -> None:
    """What has the focus looks different without it, for one of each kind of control."""
    with opened(chromium, server, "", query="?depth=5&width=16&networks=2") as visit:
        kinds = [
            r"^Vanishing$",
            r"^Experiment$",
            r"^Depth \(layers\)$",
            r"^Width",
            "Layer widths",
            "Reset",
            "Phase map",
        ]
        for name in [*kinds, "Main menu", "Help for Usable", r"^RMS$", "Take away", "Weight gradient"]:
            tab_to(visit, name)
            visit.page.wait_for_timeout(250)  # rings fade in
            x, y, width, height = visit.page.evaluate(BOX)
            clip = {"x": max(0, x - 8), "y": max(0, y - 8), "width": width + 16, "height": height + 16}
            focused = visit.page.screenshot(clip=clip, animations="disabled")
            visit.page.evaluate("document.activeElement.blur()")
            visit.page.wait_for_timeout(250)
            assert visit.page.screenshot(clip=clip, animations="disabled") != focused, name


def test_a_formula_that_scrolls_takes_the_keyboard(chromium, server: str) -> None:
    with opened(chromium, server, "chain", "light phone") as visit:
        place = "document.activeElement.classList.contains('katex-display')"
        for _ in range(120):
            visit.page.keyboard.press("Tab")
            if visit.page.evaluate(place):
                break
        assert visit.page.evaluate(place)
        visit.page.keyboard.press("ArrowRight")
        visit.page.wait_for_function("document.activeElement.scrollLeft > 0")
