"""What a page is like to those who do not see it, use no mouse or hold a phone: axe-core and the accessibility tree."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import pytest

from tests.app.browser import Visit

TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
WEIGHTY = ("serious", "critical")
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
COVERED = ("light desktop", "light phone", "dark desktop", "dark phone")
OPERATED = {
    "button",
    "link",
    "checkbox",
    "radio",
    "slider",
    "spinbutton",
    "textbox",
    "searchbox",
    "combobox",
    "listbox",
}
OPERATED |= {"tab", "menuitem", "option", "switch", "DisclosureTriangle"}


@dataclass(frozen=True)
class Exempt:
    """A finding that is not ours to mend: axe's rule, the elements, where it is met, and why it does no harm."""

    rule: str
    selector: str
    page: str
    look: str
    reason: str


EXEMPT = (
    Exempt(
        "scrollable-region-focusable",
        '[data-testid="stMarkdownContainer"] > .katex-display',
        "chain",
        "light phone",
        "Streamlit puts a formula into a box that scrolls where it is wider than the page. Chromium and Firefox give "
        "such a box the keyboard's focus by themselves (tested), and its MathML is read as a whole.",
    ),
    Exempt(
        "color-contrast",
        '[data-testid="stSelectbox"]:has(:disabled) [data-testid="stWidgetLabel"] *',
        "gates",
        "light desktop",
        "The label of a control that is switched off: WCAG 1.4.3 leaves inactive components out.",
    ),
)

QUIET = """() => {
    const app = document.querySelector('[data-testid="stApp"]');
    const busy = !app || app.dataset.testScriptState === 'running'
        || document.querySelector('[data-stale="true"], [data-testid="stSkeleton"], [data-testid="stSpinner"]');
    window.quietSince = busy ? null : (window.quietSince ?? performance.now());
    return window.quietSince !== null && performance.now() - window.quietSince > 500;
}"""
AUDIT = """async ([tags, exempt]) => {
    const options = {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']};
    const found = (await axe.run(document, options)).violations;
    return found.flatMap(rule => rule.nodes.map(node => {
        const element = document.querySelector(node.target[node.target.length - 1]);
        const known = exempt.findIndex(([id, css]) => id === rule.id && element !== null && element.matches(css));
        return {rule: rule.id, impact: node.impact ?? rule.impact, html: node.html.slice(0, 200), known,
                why: node.failureSummary};
    }));
}"""
CHARTS = """() => [...document.querySelectorAll('[data-testid="stVegaLiteChart"]')].map(chart => ({
    name: chart.getAttribute('aria-label') ?? '',
    title: [...chart.querySelectorAll('.role-title text')].map(text => text.textContent).join(' '),
}))"""
WIDE = """() => [document.documentElement, document.body, document.querySelector('[data-testid="stMain"]')]
    .map(box => box.scrollWidth - box.clientWidth)"""


@cache
def axe() -> str:
    """The script of axe-core, out of the package that carries it."""
    pytest.importorskip("axe_playwright_python", reason="pip install axe-playwright-python")
    return files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")


def opened(browser: Any, server: str, address: str, look: str = "light desktop", query: str = "") -> Visit:
    """A page that has settled, in this look."""
    scheme, size = look.split()
    viewport = DESKTOP if size == "desktop" else PHONE
    visit = Visit(browser, f"{server}/{address}".rstrip("/"), query, color_scheme=scheme, viewport=viewport)
    settle(visit)
    return visit


def settle(visit: Visit) -> None:
    """Wait until nothing runs and nothing is stale, for half a second."""
    visit.page.evaluate("window.quietSince = null")
    visit.page.wait_for_function(QUIET, polling=100)


def dress(visit: Visit, look: str) -> None:
    """The same page in another look."""
    scheme, size = look.split()
    visit.page.emulate_media(color_scheme=scheme)
    visit.page.set_viewport_size(DESKTOP if size == "desktop" else PHONE)
    visit.page.wait_for_timeout(300)  # the theme fades in
    settle(visit)


def findings(visit: Visit) -> list[dict[str, Any]]:
    """What axe-core finds serious or critical; ``known`` is the place in EXEMPT, -1 for none."""
    if not visit.page.evaluate("'axe' in window"):
        visit.page.evaluate(f"{axe()}; 0")
    found = visit.page.evaluate(AUDIT, [TAGS, [[one.rule, one.selector] for one in EXEMPT]])
    return [one for one in found if one["impact"] in WEIGHTY]


def nameless(visit: Visit) -> tuple[int, list[str]]:
    """How many elements can be operated, by the browser's own accessibility tree, and those without a name."""
    session = visit.context.new_cdp_session(visit.page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    operated = [n for n in nodes if not n.get("ignored") and n.get("role", {}).get("value") in OPERATED]
    without = [n for n in operated if not str(n.get("name", {}).get("value", "")).strip()]
    html = [
        session.send("DOM.getOuterHTML", {"backendNodeId": n["backendDOMNodeId"]})["outerHTML"][:200] for n in without
    ]
    session.detach()
    return len(operated), html
