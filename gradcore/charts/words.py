"""Charts in words, for readers who do not see them; number formats and agreement in words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradcore.charts.data import relative, series
from gradcore.charts.panels import PANELS, Panel
from gradcore.estimates import Estimate
from gradcore.verdict import diagnose
from gradcore.words import LN10, Translate, english, number_text

if TYPE_CHECKING:
    from gradcore.compare import Comparison
    from gradcore.measurement import Measurement
    from gradcore.profile import Profile

MOST_DECIMALS = 4  # of a number with its error


def describe(code: str, profile: Profile | None, measured: Measurement | None = None, t: Translate = english) -> str:
    """The chart's takeaway in plain words, for readers who do not see it."""
    answer = measured if profile is None else profile
    assert answer is not None
    panel = PANELS[code]
    if panel.usable:
        text = diagnose(answer).text(t)
    elif panel.factors:
        text = _product_text(panel, answer, t)
    else:
        ends = series(code, profile, measured)["measured" if profile is None else "predicted"][[0, -1]]
        text = t(
            "The signal's RMS goes from {first} at layer 1 to {last} at layer {depth}.",
            first=number_text(ends[0]),
            last=number_text(ends[1]),
            depth=answer.spec.depth,
        )
    if profile is None:
        text += " " + t("Measured values only; theory has no prediction for this network.")
    if measured is not None:
        text += " " + t("Points: {count} measured networks.", count=len(measured.networks))
    return text


def _product_text(panel: Panel, answer: Profile | Measurement, t: Translate) -> str:
    quantities = (panel.quantity, *(quantity for quantity, _ in panel.factors))
    law = getattr(answer, "at_hand", answer)
    logs = (law.mean(quantity) for quantity in quantities)
    whole, delta, signal = (number_text(relative(log, float(log[-1]))[0] / (2.0 * LN10)) for log in logs)
    return t(
        "The weight gradient's RMS at layer 1 is {whole} of layer {depth}'s: the gradient δ is {delta} of it there, "
        "the layer input x {signal}.",
        whole=whole,
        depth=answer.spec.depth,
        delta=delta,
        signal=signal,
    )


_HAPPENS = {
    "forward_overflow": "signal overflows at layer {layer}",
    "forward_underflow": "signal underflows to 0 at layer {layer}",
    "gradient_overflow": "gradient overflows at layer {layer}",
    "gradient_underflow": "gradient underflows to 0 at layer {layer}",
}


def precision_text(profile: Profile, t: Translate = english) -> str:
    """Where ordinary autograd leaves the range of each number format, as the layers are met."""
    safe, lost = [], []
    for dtype, found in profile.precision.items():
        happened = [t(text, layer=getattr(found, name)) for name, text in _HAPPENS.items() if getattr(found, name)]
        if happened:
            lost.append(t("Plain {dtype}: {events}.", dtype=dtype, events=", ".join(happened)))
        else:
            safe.append(dtype)
    if safe:
        lost.append(t("Plain {dtypes}: nothing is lost.", dtypes=", ".join(safe)))
    return " ".join(lost)


@dataclass(frozen=True)
class Agreement:
    """The largest distance between prediction and measurement: ``z`` standard errors, ``quantity`` at ``layer``;
    ``agrees`` by the Comparison's own limit. Nothing to compare: layer 0, z nan, ``agrees`` None."""

    quantity: str
    layer: int
    z: float
    agrees: bool | None


def agreement(comparison: Comparison) -> Agreement:
    """The worst layer and quantity of a comparison."""
    found = {name: comparison.worst(name) for name in comparison.z}
    finite = {name: worst for name, worst in found.items() if not math.isnan(worst[1])}
    if not finite:
        return Agreement("", 0, math.nan, None)
    name = max(finite, key=lambda key: abs(finite[key][1]))
    return Agreement(name, finite[name][0], abs(finite[name][1]), comparison.agrees())


def estimate_text(estimate: Estimate) -> str:
    """0.7064 ± 0.0007, (4.0 ± 0.3)e-8, and 1.2e-9 ×÷ 36 where the error is a factor rather than an addition."""
    log10, error = estimate.log / LN10, estimate.error
    if error is None or math.isnan(error) or not math.isfinite(log10):
        return number_text(log10, 3)
    if error > 0.5:
        return f"{number_text(log10)} ×÷ {number_text(error / LN10)}"
    exponent = 0 if -3.0 <= log10 < 4.0 else math.floor(log10)
    value = 10.0 ** (log10 - exponent)
    digits = _decimals(value * error)
    if digits > MOST_DECIMALS:
        text = f"{value:.{MOST_DECIMALS}f} ± {value * error:.0e}" if error else f"{value:.{MOST_DECIMALS}f}"
    else:
        text = f"{value:.{digits}f} ± {value * error:.{digits}f}"
    return f"({text})e{exponent}" if exponent else text


def _decimals(error: float) -> int:
    """How many decimals show this error's first digit, or two where that is a 1."""
    if error <= 0.0:
        return MOST_DECIMALS + 1
    first = math.floor(math.log10(error))
    return max(0, -first + (1 if error < 2.0 * 10.0**first else 0))
