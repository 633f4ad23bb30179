"""The explorer's pages: one entry here is a page, with its place in the navigation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app import controls, theme
from app.i18n import mark
from app.parts import foot
from app.views import (
    activations,
    chain,
    compare,
    explore,
    gates,
    initializers,
    learn,
    phase_map,
    remedies,
    symptoms,
    train,
)


@dataclass(frozen=True)
class Page:
    """A page: its address, title, icon, the sentence that says what it shows, and what draws it.

    The first page is the one that a bare address opens. Every page has the sidebar: ``run`` may draw it itself by
    ``controls.sidebar()`` once its answer stands; otherwise it is drawn after the page. What its script is asked for
    stands in ``parts/page_scripts.py``.
    """

    address: str
    title: str
    icon: str
    help: str
    run: Callable[[], None]


PAGES = (
    Page(
        "explore",
        mark("Explore"),
        theme.ICONS["explore"],
        mark("One network: its signal forward and its gradient backward, predicted and measured."),
        explore.page,
    ),
    Page(
        "compare",
        mark("Compare"),
        theme.ICONS["compare"],
        mark("Up to six pinned networks over each other, predicted and measured, and a table of what differs."),
        compare.page,
    ),
    Page(
        "phase-map",
        mark("Phase map"),
        theme.ICONS["phase_map"],
        mark("Two settings at a time: where gradients vanish, where they explode, and the critical line between."),
        phase_map.page,
    ),
    Page(
        "activations",
        mark("Activations"),
        theme.ICONS["activations"],
        mark("What each activation does to a signal, and the gain it needs: exact, torch's own, and by experiment."),
        activations.page,
    ),
    Page(
        "initializers",
        mark("Initializers"),
        theme.ICONS["initializers"],
        mark("Fifteen ways to draw the weights: what each does to signal and gradient, layer by layer."),
        initializers.page,
    ),
    Page(
        "chain",
        mark("Chain"),
        theme.ICONS["chain"],
        mark("A chain of single neurons: why gradients vanish or explode, factor by factor."),
        chain.page,
    ),
    Page(
        "train",
        mark("Train"),
        theme.ICONS["train"],
        mark("A small network while it learns: the speed of every layer, with and without a remedy."),
        train.page,
    ),
    Page(
        "symptoms",
        mark("Symptoms"),
        theme.ICONS["symptoms"],
        mark("What is wrong with a training run, in which layer and step, and what helps: yours, or an example."),
        symptoms.page,
    ),
    Page(
        "remedies",
        mark("Remedies"),
        theme.ICONS["remedies"],
        mark(
            "Each remedy on and off beside the plain network: what it does, what it does not, predicted and measured."
        ),
        remedies.page,
    ),
    Page(
        "gates",
        mark("Gates"),
        theme.ICONS["gates"],
        mark("RNN, LSTM and GRU: how far back in time a gradient reaches, predicted, measured, and in training."),
        gates.page,
    ),
    Page(
        "learn",
        mark("Learn"),
        theme.ICONS["learn"],
        mark("A course in short derivations, one idea each, with live numbers: from the chain rule to clipping."),
        learn.page,
    ),
)


def draw(page: Page) -> None:
    """The whole page: the question is read, the page answers, sidebar and foot are drawn."""
    controls.ask(page.address)
    page.run()
    controls.sidebar()  # unless the page has drawn it already
    foot.draw(page.address, page.title, page.help, files=page is not PAGES[0])
