"""Several pinned networks in words: what they say together, what a chart of them shows, what breaks in which."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from gradcore.charts.data import events
from gradcore.charts.panels import PANELS
from gradcore.estimates import estimates
from gradcore.verdict import Verdict, diagnose
from gradcore.words import LN10, Message, Translate, english, number_text

if TYPE_CHECKING:
    from gradcore.measurement import Measurement
    from gradcore.profile import Profile


@dataclass(frozen=True, eq=False)
class Curve:
    """One network: its ``name`` (``gradcore.pins.names``), its prediction and its measurement, or one of the two."""

    name: str
    profile: Profile | None
    measured: Measurement | None = None

    @property
    def answer(self) -> Profile | Measurement | None:
        """The prediction, else the measurement."""
        return self.profile if self.profile is not None else self.measured

    @property
    def depth(self) -> int:
        """Its number of layers; 0 where there is neither prediction nor measurement."""
        return 0 if self.answer is None else self.answer.spec.depth

    @cached_property
    def verdict(self) -> Verdict | None:
        """What theory says of it, else what was measured; None where there is neither."""
        return None if self.answer is None else diagnose(self.answer)


def label_of(number: int, name: str) -> str:
    """What a network is called in a legend: its number, and its name."""
    return f"{number}: {name}" if name else str(number)


def headline(curves: Sequence[Curve]) -> list[Message]:
    """What the networks say together: how many are stable, and between which sizes their gradients end."""
    known = [(curve, curve.verdict) for curve in curves if curve.verdict is not None]
    if len(curves) == 1 and known:
        return [known[0][1].message]
    stable = sum(verdict.stable for _, verdict in known)
    said = [
        Message(
            "compare.stable",
            "{stable} of {count} networks are stable",
            {"stable": str(stable), "count": str(len(curves))},
        )
    ]
    ratios = [verdict.log_ratio / LN10 for _, verdict in known]
    if len(ratios) > 1:
        said.append(
            Message(
                "compare.range",
                "Layer 1 receives from {low} to {high} of the last layer's gradient (RMS).",
                {"low": number_text(min(ratios)), "high": number_text(max(ratios))},
            )
        )
    return said


def describe(curves: Sequence[Curve], code: str = "backward", t: Translate = english) -> str:
    """The chart in words: what every curve comes to at the end that matters, in RMS, and which were measured."""
    parts = []
    for number, curve in enumerate(curves, start=1):
        if curve.answer is not None:
            found = estimates(curve.answer)
            end = found.ratio if PANELS[code].relative else found.signal
            parts.append(f"{label_of(number, curve.name)} {number_text(end.log / LN10)}")
    said = ", ".join(parts) or t("nothing predicted")
    if PANELS[code].relative:
        text = t("RMS of the gradient at layer 1, the last layer's being 1: {said}.", said=said)
    else:
        text = t("RMS of the signal at the last layer: {said}.", said=said)
    measured = [str(number) for number, curve in enumerate(curves, start=1) if curve.measured is not None]
    return f"{text} {t('Measured: {numbers}.', numbers=', '.join(measured))}" if measured else text


def happenings(curves: Sequence[Curve], dtype: str = "float64", t: Translate = english) -> Iterator[str]:
    """Where a curve ends early, or ordinary code would lose it: "2: signal z exactly zero from layer 4"."""
    for number, curve in enumerate(curves, start=1):
        for code in ("forward", "backward") if curve.depth else ():
            for event in events(code, curve.profile, curve.measured, dtype, t):
                what = t(PANELS[code].name)
                yield f"{number}: {what} {event.text}".replace("\n", " ")
