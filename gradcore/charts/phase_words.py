"""A phase map in words: where its network stands, how far from critical, and the critical line or why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gradcore.charts.phase import axis_name, axis_title, diverges, shown_values, value_title
from gradcore.errors import GradcoreError
from gradcore.phases import PhaseMap
from gradcore.profile import predict
from gradcore.theory.critical_curve import MESSAGES
from gradcore.words import Translate, english, factor_text, number_text

Array = np.ndarray

HEADLINES = {  # msgids by regime
    "ordered": "Ordered: on the vanishing side of critical",
    "chaotic": "Chaotic: on the exploding side of critical",
    "critical": "At or near critical: gradients keep their size",
    "unknown": "Theory has no prediction for this network",
}
SIZE = {"rms": "in norm", "mean_square": "in mean square"}
KEEPS = math.log(10.0)  # change of ln g over the whole depth within which a network counts as critical: ×3 in RMS


@dataclass(frozen=True)
class Standing:
    """Where a network stands: ``regime`` "ordered", "chaotic", "critical" or "unknown", and chi at its last layer."""

    regime: str
    chi: float


def standing(found: PhaseMap) -> Standing:
    """The regime of the map's own network by the gradient factor chi where the signal has settled (its last layer).

    Critical: over all its layers that factor changes the gradient by less than a factor 10 in mean square.
    """
    try:
        chi = float(predict(found.spec).chi[-1])
    except GradcoreError:
        return Standing("unknown", math.nan)
    log_chi = math.log(chi) if chi > 0.0 else -math.inf
    if abs(log_chi) * max(found.spec.depth - 1, 1) < KEEPS:
        return Standing("critical", chi)
    return Standing("ordered" if chi < 1.0 else "chaotic", chi)


def headline(found: PhaseMap, t: Translate = english) -> str:
    """The regime of this network in a few words."""
    return t(HEADLINES[standing(found).regime])


def stands_text(found: PhaseMap, moment: str = "rms", t: Translate = english) -> str:
    """One sentence: what each layer does to the gradient of this network, what the map shows of it, and how far it is
    from the critical line along the map's axes."""
    stands = standing(found)
    if stands.regime == "unknown":
        return ""
    power = 1.0 if moment == "mean_square" else 0.5
    log10 = power * math.log10(stands.chi) if stands.chi > 0.0 else -math.inf
    text = t(
        "The last layers of this network multiply its gradient by {factor} {size} each; {what}: {value}.",
        factor=factor_text(log10),
        size=t(SIZE[moment]),
        what=value_title(found, moment, t),
        value=_value_text(found, moment),
    )
    for meeting in nearest(found):
        msgid = "Critical at {axis} = {there} (now {here})."
        if not meeting.stable:
            msgid = "Critical at {axis} = {there} (now {here}), but no signal stays there: the point is unstable."
        values = {"there": f"{meeting.there:.4g}", "here": f"{meeting.here:.4g}"}
        text += " " + t(msgid, axis=axis_name(meeting.field, t), **values)
    return text


def _value_text(found: PhaseMap, moment: str) -> str:
    value = found.value_here
    if found.scalar.kind == "share":
        return f"{value:.3g}"
    shown = float(shown_values(found.scalar, np.array(value), moment))
    return factor_text(shown) if found.scalar.kind == "factor" else number_text(shown, 3)


@dataclass(frozen=True)
class Meeting:
    """Where a line along one axis from the network meets the critical line; both ends in the axis' unit."""

    field: str
    here: float
    there: float
    stable: bool


def nearest(found: PhaseMap) -> list[Meeting]:
    """The nearest meeting with the critical line along the axis that has one, on a stable piece if there is any; empty
    where there is none."""
    x, y = found.here
    if x is None or y is None:
        return []
    for field, here, other, of in ((found.x, x, y, 0), (found.y, y, x, 1)):
        meetings = []
        for px, py, stable in found.critical.pieces:
            along, value = (py, px) if of == 0 else (px, py)
            meetings += [Meeting(field, here, at, stable) for at in _meetings(along, value, other)]
        if meetings:
            return [min(meetings, key=lambda m: (not m.stable, abs(m.there - here)))]
    return []


def _meetings(along: Array, value: Array, at: float) -> list[float]:
    """The values of a curve where its other coordinate is ``at``; a curve along which that stands still has none."""
    if along.size == 0 or (along.size > 1 and np.ptp(along) == 0.0):
        return []
    if along.min() > at:  # the map's own network lies below the first row
        return (
            [] if along.min() - at > np.ptp(along) / max(along.size - 1, 1) + 1e-12 else [float(value[along.argmin()])]
        )
    inside = np.flatnonzero((along[:-1] - at) * (along[1:] - at) <= 0.0)
    found = []
    for i in inside:
        step = along[i + 1] - along[i]
        share = 0.0 if step == 0.0 else (at - along[i]) / step
        found.append(float(value[i] + share * (value[i + 1] - value[i])))
    return found


def critical_text(found: PhaseMap, t: Translate = english) -> str:
    """The critical line of this map explained, or why there is none."""
    curve = found.critical
    text = t(MESSAGES[curve.message_id], **curve.values)
    if not curve.pieces:
        return text
    drawn = t("Line: critical (χ = 1), between vanishing and exploding.")
    if any(not stable for _, _, stable in curve.pieces):
        drawn += " " + t("Dashed: unstable.")
    return f"{drawn} {text}"


def map_description(found: PhaseMap, moment: str = "rms", t: Translate = english) -> str:
    """The chart's takeaway for readers who do not see it."""
    shown = shown_values(found.scalar, found.values, moment)
    title = value_title(found, moment, t)
    axes = t("{x} by {y}", x=axis_title(found.x, t), y=axis_title(found.y, t))
    if not np.isfinite(shown).any():
        return t("Map of {title} over {axes}: no values.", title=title, axes=axes)
    if not diverges(found.scalar):
        return t("Map of {title} over {axes}.", title=title, axes=axes)
    with np.errstate(invalid="ignore"):
        low, high = (float(np.mean(side)) for side in (shown < -2.0, shown > 2.0))
    return t(
        "Map of {title} over {axes}: below 0.01 in {low:.0%} of the cells, above 100 in {high:.0%}.",
        title=title,
        axes=axes,
        low=low,
        high=high,
    )
