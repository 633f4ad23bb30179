"""The script of each page: the arguments of its entry in ``gradcore.export.PAGE_SCRIPTS``, as they are now."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import streamlit as st

from app import controls
from app.parts import (
    chain_controls,
    compare_measuring,
    gates_controls,
    gates_measuring,
    gates_training,
    learn_controls,
    remedies_activations,
    remedies_board,
    remedies_controls,
    remedies_measuring,
    schemes,
    symptoms_source,
    train_state,
)
from app.state import Settings
from gradcore.errors import SpecError
from gradcore.experiments.symptom_examples import SymptomsQuestion
from gradcore.export import PAGE_SCRIPTS
from gradcore.spec import Spec

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"  # as the files of MNIST are called
RECORD = "plain-run.json"  # as the page Train saves it
Asked = tuple[tuple[Any, ...], dict[str, Any]]


def script_of(address: str) -> Callable[[], str] | None:
    """What writes the script of the page of this address; None where what it asks is not allowed now."""
    held = controls.question()
    spec = held.spec or st.session_state.get("shown")
    if address not in ASKED or spec is None:
        return None
    try:
        values, options = ASKED[address](spec, held.settings)
    except SpecError:
        return None
    return partial(PAGE_SCRIPTS[address], *values, **options)


def _how(settings: Settings, networks: int) -> dict[str, Any]:
    """How networks are measured, and shown."""
    names = ("seed", "dtype", "sampler", "moment")
    return {"networks": networks, **{name: getattr(settings, name) for name in names}}


def _compare(spec: Spec, settings: Settings) -> Asked:
    there = compare_measuring.measured(settings.pin, settings)
    networks = settings.networks if any(one is not None for one in there) else 0
    return (settings.pin,), {**_how(settings, networks), "statistic": settings.statistic}


def _phase_map(spec: Spec, settings: Settings) -> Asked:
    found = st.session_state.get("phase_map")
    cells = {} if found is None else {"cells": max(found.xs.size, found.ys.size)}
    return (spec, settings.map_x, settings.map_y, settings.map_of), {"moment": settings.moment, **cells}


def _train(spec: Spec, settings: Settings) -> Asked:
    shown = train_state.situation(train_state.asked())
    own = st.session_state.get("train_data") is not None
    return (shown.question, shown.spec.network if shown.question.network == "spec" else None), {
        "trained": shown.plain is not None,
        "images": IMAGES if own else None,
        "labels": LABELS if own else None,
        "record": RECORD if shown.record else None,
    }


def _symptoms(spec: Spec, settings: Settings) -> Asked:
    own = symptoms_source.own()
    example = SymptomsQuestion(symptoms_source.asked())
    return ((), {"record": own.name}) if own is not None else ((example,), {})


def _remedies(spec: Spec, settings: Settings) -> Asked:
    asked = remedies_controls.asked()
    networks = 0
    if asked.view == "board":
        there = remedies_measuring.measured(remedies_board.found(spec, asked), settings)
        networks = settings.networks if there else 0
    table = bool(st.session_state.get(remedies_activations.OPEN))
    return (asked, spec), {**_how(settings, networks), "activations": table and asked.view == "board"}


def _gates(spec: Spec, settings: Settings) -> Asked:
    asked = gates_controls.asked()
    trained = gates_training.held() is not None
    return (asked,), {"measured": gates_measuring.measured(asked) is not None, "trained": trained}


def _initializers(spec: Spec, settings: Settings) -> Asked:
    return (spec, st.session_state.get(schemes.GAIN_KEY, "own") == "own", settings.seed), {}


ASKED: dict[str, Callable[[Spec, Settings], Asked]] = {
    "compare": _compare,
    "phase-map": _phase_map,
    "activations": lambda spec, settings: ((spec, settings.seed), {}),
    "initializers": _initializers,
    "chain": lambda spec, settings: ((chain_controls.asked(),), {}),
    "train": _train,
    "symptoms": _symptoms,
    "remedies": _remedies,
    "gates": _gates,
    "learn": lambda spec, settings: ((learn_controls.asked(),), {}),
}
