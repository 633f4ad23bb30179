"""The measurement: one button for what can be done now, its progress, and one line on how it stands."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st

import gradcore as gc
from app import controls, keys, runner, theme
from app.i18n import spec_error_text, t, unsupported_text
from app.parts.figures import Figures, Tools
from app.parts.verdict_box import Answer, missing_text
from app.parts.words import agreement_text, seconds_text
from app.state import Settings
from gradcore import charts
from gradcore.spec import Spec

if TYPE_CHECKING:
    from gradcore.measurement import Measurement

LONG = 5.0  # seconds of a measurement beside which the one without matrices is offered


def waiting_text(spec: Spec, settings: Settings) -> str:
    """What stands where a measured number will be."""
    if runner.too_large(spec, settings.sampler):
        return t("too large to measure")
    return t("measuring …") if runner.requested(spec, settings) else t("not measured")


def at_hand(tools: Tools, found: Answer, settings: Settings) -> Measurement | None:
    """The measurement asked for where all its networks are measured already: then the page is drawn once, not twice."""
    measured = runner.finished(found.spec, settings)
    all_here = runner.done(found.spec, settings) == settings.networks
    if measured is None and all_here and runner.requested(found.spec, settings):
        with tools.progress.container():
            return runner.measure(found.spec, settings)
    return measured


def announce(tools: Tools, figures: Figures, found: Answer, measured: Measurement | None, settings: Settings) -> bool:
    """Say how the measurement stands and offer what can be done now; whether it should run."""
    spec = found.spec
    tools.progress.empty()
    tools.other.empty()
    if measured is not None:
        _redraw_button(tools, settings)
        _say(figures, found, _measured_text(found, measured, settings))
    elif runner.too_large(spec, settings.sampler):
        offered = _matrix_free_button(tools, spec, settings)
        if offered:
            _say(figures, found, t("its weight matrices do not fit this machine; it can be measured without them"))
        else:
            _say(figures, found, t("one network of this size does not fit this machine, so it is only predicted"))
    elif refused := runner.refusal(spec, settings):
        _matrix_free_button(tools, spec, settings)
        _say(figures, found, refused)
    elif not runner.requested(spec, settings):
        _measure_button(tools, spec, settings)
        _matrix_free_button(tools, spec, settings)
        _say(figures, found, t("not measured: press Measure to check the prediction on real networks"))
    else:
        _cancel_button(tools, spec, settings)
        _say(figures, found, t("measuring …"))
        return True
    return False


def run(tools: Tools, figures: Figures, found: Answer, settings: Settings) -> Measurement | None:
    """Measure, with progress; every refusal in calm words."""
    timed = runner.done(found.spec, settings) == 0 and "torch" in sys.modules  # else it would be the import's time
    started = time.perf_counter()
    try:
        with tools.progress.container():
            measured = runner.measure(found.spec, settings)
        took = time.perf_counter() - started if timed else None
        st.session_state["measured_in"] = (runner.key_of(found.spec, settings), took)
        return measured
    except gc.UnsupportedError as error:
        _say(figures, found, t("it cannot be measured either: {refusal}", refusal=unsupported_text(error)))
    except gc.SpecError as error:
        _say(figures, found, spec_error_text(error))
    except ModuleNotFoundError as error:
        _say(figures, found, missing_text(error.name or str(error)))
    for place in (tools.progress, tools.other, tools.button):
        place.empty()
    return None


# --- the one button ------------------------------------------------------------------------------------------


def _cancel_button(tools: Tools, spec: Spec, settings: Settings) -> None:
    tools.button.button(
        t("Cancel measurement"),
        key="measure",  # the same element as Measure: with another key that one stays beside it until the run ends
        icon=theme.ICONS["cancel"],
        on_click=runner.cancel,
        args=(runner.key_of(spec, settings),),
    )


def _measure_button(tools: Tools, spec: Spec, settings: Settings) -> None:
    done = runner.done(spec, settings)
    if done == settings.networks:  # in another session, or before it was cancelled at the last moment
        label = t("Show {count} measured networks", count=done)
    elif done:
        label = t("Continue ({done} of {count} done)", done=done, count=settings.networks)
    else:
        about = _about(spec, settings)
        label = t("Measure {count} networks (about {seconds})", count=settings.networks, seconds=about)
    tools.button.button(
        label,
        key="measure",
        icon=theme.ICONS["measure"],
        shortcut=keys.letter("measure"),
        on_click=runner.ask,
        args=(runner.key_of(spec, settings),),
    )


def _about(spec: Spec, settings: Settings) -> str:
    return seconds_text(runner.seconds(spec, settings.networks, settings.dtype, settings.sampler))


def _matrix_free_button(tools: Tools, spec: Spec, settings: Settings) -> bool:
    """Offer the measurement without weight matrices where one with them takes long or does not fit; whether it was."""
    without = replace(settings, sampler="exact")
    long = runner.seconds(spec, settings.networks, settings.dtype) > LONG or runner.too_large(spec)
    long = long or bool(runner.refusal(spec, settings))
    possible = runner.matrix_free(spec, settings.dtype) and not runner.too_large(spec, "exact")
    if settings.sampler == "exact" or not long or not possible or runner.refusal(spec, without):
        return False
    tools.other.button(
        t("Matrix-free, same law (about {seconds})", seconds=_about(spec, without)),
        key="matrix_free",
        icon=theme.ICONS["measure"],
        help=t("Other networks of exactly the same law, whose weight matrices are never formed."),
        on_click=_without_matrices,
        args=(spec, without),
    )
    return True


def _without_matrices(spec: Spec, settings: Settings) -> None:
    controls.load_settings(settings)
    runner.ask(runner.key_of(spec, settings))


def _redraw_button(tools: Tools, settings: Settings) -> None:
    tools.button.button(
        t("Draw other networks"),
        key="redraw",
        icon=theme.ICONS["measure"],
        shortcut=keys.letter("measure"),
        help=t("Measure again with the next seed: the prediction should hold for these too."),
        on_click=controls.load_settings,
        args=(replace(settings, seed=(settings.seed + 1) % 2**31),),
    )


# --- the status line -----------------------------------------------------------------------------------------


def _measured_text(found: Answer, measured: Measurement, settings: Settings) -> str:
    """How many networks in how many seconds (where they were all measured now), which, and whether they agree with
    the prediction."""
    count = len(measured.networks)
    key, took = st.session_state.get("measured_in", (None, None))
    if took is None or key != runner.key_of(found.spec, settings):
        done = t("measured {count} networks", count=count)
    else:
        done = t("measured {count} networks in {time}", count=count, time=seconds_text(took))
    parts = [done, measured.dtype, t("seed {seed}", seed=measured.seed)]
    if measured.sampler == "exact":
        parts.append(t("matrix-free, same law"))
    if found.profile is not None:
        parts.append(agreement_text(charts.agreement(gc.compare(found.profile, measured))))
    return " · ".join(parts)


def _say(figures: Figures, found: Answer, text: str) -> None:
    """The status line: what the prediction took, then this."""
    predicted = t("predicted in {time}", time=seconds_text(found.seconds)) if found.profile is not None else ""
    figures.status.draw("caption", " · ".join(part for part in (predicted, text) if part))
