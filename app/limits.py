"""What a host lets its visitors compute and upload: one table of limits, each set by an environment variable.

A variable that is not set is no limit: a person's own machine has none but its own size. ``python -m app.limits`` says
what is set and ends with status 2 where a value cannot be read, so that a container does not start with it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from app import costs
from app.i18n import mark, t
from app.parts.words import seconds_text
from gradcore.errors import SpecError
from gradcore.spec import Spec

INSTALL = "pip install -r requirements.txt && streamlit run app/main.py"  # the README's own command
COUNT, NUMBER = "an integer, 1 or more", "a number above 0"
MOST = 10**12  # of any limit


@dataclass(frozen=True)
class Limit:
    """One limit: its environment ``variable``, what is ``allowed`` in it, its ``unit``, what it ``bounds``, and how the
    app says it (``said``, empty where a visitor meets it nowhere)."""

    variable: str
    allowed: str
    unit: str
    bounds: str
    said: str = ""


LIMITS: dict[str, Limit] = {
    "seconds": Limit(
        "GRADCORE_MAX_SECONDS",
        NUMBER,
        "s",
        "one measurement, all its networks, by the app's model of one core",
        mark("{most} of measuring"),
    ),
    "training_seconds": Limit(
        "GRADCORE_MAX_TRAINING_SECONDS",
        NUMBER,
        "s",
        "one training run, all its steps, by the app's model of one core",
        mark("{most} of training"),
    ),
    "layers": Limit(
        "GRADCORE_MAX_LAYERS", COUNT, "layers", "a network that is measured or trained", mark("{most} layers")
    ),
    "units": Limit(
        "GRADCORE_MAX_UNITS", COUNT, "units", "the widest layer of such a network", mark("{most} units in a layer")
    ),
    "network_mb": Limit(
        "GRADCORE_MAX_NETWORK_MB",
        NUMBER,
        "MB (10⁶ bytes)",
        "the memory of one network: its weights and signals",
        mark("{most} MB in one network"),
    ),
    "upload_mb": Limit(
        "GRADCORE_MAX_UPLOAD_MB", COUNT, "MB (2²⁰ bytes)", "an uploaded file", mark("{most} MB in an uploaded file")
    ),
    "computing": Limit("GRADCORE_MAX_COMPUTING", COUNT, "threads", "networks computed at once, over all sessions"),
}
REFUSALS = {  # by code: what a question beyond the limit is told first
    "seconds": mark("This host measures for up to {most}; these networks take about {asked} by its model."),
    "training_seconds": mark("This host trains for up to {most}; this takes about {asked} by its model."),
    "layers": mark("This host computes networks of up to {most} layers; this one has {asked}."),
    "units": mark("This host computes layers of up to {most} units; this network has {asked} in one."),
    "network_mb": mark("This host computes networks of up to {most} MB; this one takes about {asked} MB."),
}


def of(code: str) -> float | None:
    """The limit of this code; None where there is none. Raises SpecError naming the variable."""
    limit = LIMITS[code]
    text = os.environ.get(limit.variable, "").strip()
    if not text:
        return None
    try:
        value = int(text) if limit.allowed == COUNT else float(text)
    except ValueError:
        value = 0
    if not 0 < value <= MOST:  # also what is no number
        raise SpecError(limit.variable, text, limit.allowed, "It is an environment variable; without it: no limit.")
    return value


def check() -> None:
    """Read every limit. Raises SpecError naming the first variable that cannot be read."""
    for code in LIMITS:
        of(code)


# --- what is beyond them --------------------------------------------------------------------------------------


def refusal(spec: Spec, networks: int, dtype: str = "float64", sampler: str = "dense") -> str:
    """Why this host does not measure these networks, in words; "" where it does. By the model alone, so that a link is
    answered alike at any load."""
    return _first(
        _network(spec, sampler),
        _beyond("seconds", lambda: networks * costs.modelled_seconds(spec, dtype, sampler)),
    )


def training_refusal(seconds: float, sized: Spec | None = None) -> str:
    """Why this host does not train so long, or this network (``sized``: on its data); "" where it does."""
    network = "" if sized is None else _network(sized, "dense")
    return _first(network, _beyond("training_seconds", lambda: seconds))


def cell_refusal(seconds: float, units: int) -> str:
    """Why this host does not measure recurrent networks of so many units for so long; "" where it does."""
    return _first(_beyond("units", lambda: units), _beyond("seconds", lambda: seconds))


def upload_mb(own: int) -> int:
    """MB that an uploaded file may have where the page itself allows ``own``."""
    most = of("upload_mb")
    return own if most is None else min(own, int(most))


def _network(spec: Spec, sampler: str) -> str:
    return _first(
        _beyond("layers", lambda: spec.depth),
        _beyond("units", lambda: max(int(spec.layer_widths.max()), int(spec.fan_ins.max()))),
        _beyond("network_mb", lambda: costs.network_bytes(spec, sampler) / 1e6),
    )


def _beyond(code: str, asked: Callable[[], float]) -> str:
    """The words of this limit where what is asked is beyond it; nothing is computed where there is none."""
    most = of(code)
    if most is None or (value := asked()) <= most:
        return ""
    said = t(REFUSALS[code], most=_amount(code, most), asked=_amount(code, value))
    return said + " " + t("Your own machine has no such limit: {command}", command=_code(INSTALL))


def _code(text: str) -> str:
    """As code in Markdown."""
    return "`" + text + "`"


def _first(*words: str) -> str:
    return next((said for said in words if said), "")


def _amount(code: str, value: float) -> str:
    return seconds_text(value) if LIMITS[code].unit == "s" else f"{value:,.6g}" if value < 1e6 else f"{value:.3g}"


# --- shown in the app -----------------------------------------------------------------------------------------


def notice() -> str:
    """The limits of this host in a sentence; "" where it has none."""
    said = [
        t(limit.said, most=_amount(code, most)) for code, limit in LIMITS.items() if limit.said and (most := of(code))
    ]
    if not said:
        return ""
    return t("This host's limits: {limits}. Your own machine has none.", limits=" · ".join(said))


def draw() -> None:
    """The notice, small, at the foot of the controls."""
    if said := notice():
        st.caption(said, help=t("Predictions have no limit. On your own machine: {command}", command=_code(INSTALL)))


def set_up_right() -> bool:
    """Whether every variable can be read; else the page says which cannot."""
    try:
        check()
    except SpecError as error:
        st.error(t("This host is set up wrongly: {problem}", problem=str(error)))
        return False
    return True


def main() -> int:
    """Print the limits that are set; exit status 2 where one cannot be read."""
    try:
        found = {code: of(code) for code in LIMITS}
    except SpecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for code, most in found.items():
        limit = LIMITS[code]
        print(f"{limit.variable:<30} {'no limit' if most is None else f'{most:g} {limit.unit}':<20} {limit.bounds}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
