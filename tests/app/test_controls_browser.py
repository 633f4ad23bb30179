"""The sidebar in a real browser: presets, the address bar with Back and Forward, and what fits on a line."""

from __future__ import annotations

import pytest

from benchmarks.pages import serving
from tests.app.browser import Visit

pytestmark = pytest.mark.browser
SIDEBAR = '[data-testid="stSidebar"]'
SMALL = "?depth=10&width=16&networks=2"


def chosen(visit: Visit, name: str):
    """The pill of this name, once it shows as chosen."""
    pill = visit.page.get_by_role("radio", name=name, exact=True, checked=True)
    pill.wait_for()
    return pill


def test_a_preset_shows_as_long_as_the_network_is_its_own(chromium, server: str) -> None:
    with Visit(chromium, server) as visit:
        chosen(visit, "Vanishing")
        visit.page.get_by_role("radio", name="Critical", exact=True).click()
        visit.page.wait_for_url("**init=kaiming_normal**")
        chosen(visit, "Critical")
        visit.page.get_by_role("radio", name="layer", exact=True).click()
        visit.page.wait_for_url("**norm=layer**")
        visit.page.get_by_role("radio", name="Critical", exact=True, checked=False).wait_for()
        visit.page.go_back()
        chosen(visit, "Critical")
        chosen(visit, "none")
        visit.page.go_back()
        chosen(visit, "Vanishing")
        visit.page.go_forward()
        chosen(visit, "Critical")
        assert visit.query() == {"init": ["kaiming_normal"]}
        assert visit.complaints == []


def test_a_chosen_pill_stays_when_it_is_clicked_again(chromium, server: str) -> None:
    with Visit(chromium, server, "?gain=2.0") as visit:
        chosen(visit, "Exploding").click()
        visit.page.wait_for_timeout(1500)
        chosen(visit, "Exploding")
        assert visit.query() == {"gain": ["2.0"]}


def test_an_experiment_opens_the_part_of_the_sidebar_it_is_about(chromium, server: str) -> None:
    with Visit(chromium, server, SMALL) as visit:
        widths = visit.page.get_by_role("textbox", name="Widths")
        assert not widths.is_visible()
        visit.page.get_by_role("combobox", name="Experiment").fill("unequal widths, xavier")
        visit.page.get_by_role("option", name="3.13 Unequal widths, Xavier").click()
        widths.wait_for()
        assert widths.input_value() == "100, 500, 200, 400"
        visit.page.get_by_text("is a compromise").wait_for()
        visit.page.go_back()
        widths.wait_for(state="hidden")


def test_back_leaves_a_link_with_bad_parts(chromium, server: str) -> None:
    with Visit(chromium, server, SMALL) as visit:
        visit.page.goto(f"{server}/?depth=many&width=16&networks=2")
        visit.page.get_by_text("Parts of this link were not used").wait_for()
        visit.page.go_back()
        visit.page.get_by_text("10 layers × 16 units").first.wait_for()
        assert visit.query()["depth"] == ["10"]


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_nothing_wraps_or_is_cut(chromium, server: str, color_scheme: str) -> None:
    query = f"{SMALL}&norm=layer&input=digits&residual=identity&activation=prelu&bias_std=0.1"
    with Visit(chromium, server, query, color_scheme=color_scheme) as visit:
        side = visit.page.locator(SIDEBAR)
        visit.page.get_by_role("spinbutton", name="Input RMS").wait_for()
        box = side.bounding_box()
        assert 250 <= box["width"] <= 300
        side.get_by_role("radio").first.wait_for()
        for group in side.get_by_role("radiogroup").all():
            tops = {round(pill.bounding_box()["y"]) for pill in group.get_by_role("radio").all()}
            assert len(tops) == 1, group.get_attribute("aria-label")
        for label in side.locator('[data-testid="stWidgetLabel"] p').all():
            one_line = label.evaluate("e => e.scrollWidth <= e.clientWidth && e.clientHeight < 30")
            assert one_line, label.inner_text()
        assert visit.complaints == []


def test_digits_are_crisp(chromium, server: str) -> None:
    with Visit(chromium, server, f"{SMALL}&input=digits") as visit:
        picture = visit.page.get_by_role("img", name="Handwritten digits")
        picture.wait_for()
        visit.page.wait_for_function("document.querySelector('[data-testid=stImage] img').complete")
        sizes = picture.evaluate("e => [e.naturalWidth, e.naturalHeight, e.width, e.height]")
        assert sizes[0] == 4 * sizes[2] and sizes[1] == 4 * sizes[3], "a whole number of image pixels to a screen pixel"


def test_another_page_asks_the_same(chromium) -> None:
    """The navigation drops the parameters, and gives some widgets back at their lowest value."""
    with (
        serving("tests/app/two_pages.py") as two_pages,
        Visit(chromium, two_pages.address, "?activation=tanh&seed=3") as visit,
    ):
        visit.page.get_by_text("one: 50 tanh, seed 3").wait_for()
        for name in ("two", "one", "two"):
            visit.page.get_by_role("link", name=name).click()
            visit.page.get_by_text(f"{name}: 50 tanh, seed 3").wait_for()
            visit.page.wait_for_url("**activation=tanh&seed=3")
        visit.page.get_by_role("slider", name="Depth").press("ArrowRight")
        visit.page.get_by_text("two: 51 tanh, seed 3").wait_for()
        visit.page.go_back()
        visit.page.get_by_text("two: 50 tanh, seed 3").wait_for()
