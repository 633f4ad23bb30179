"""Numbers and profiles in words: 4.2e-8, and what happens to the gradient on its way to layer 1."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gradcore.charts.panels import PANELS
from gradcore.words import LN10, Translate, english, factor_text, number_text

if TYPE_CHECKING:
    from gradcore.compare import Comparison
    from gradcore.measurement import Measurement
    from gradcore.profile import Profile


@dataclass(frozen=True)
class Summary:
    """The headline numbers of a profile, as log10 of RMS values at infinite width.

    ``factor`` is the geometric mean over layers of the gradient's change from one layer to the one below (nan at
    depth 1), ``gradient`` that of layer 1 over layer L, ``forward`` the signal's RMS at layer L.
    """

    depth: int
    factor: float
    gradient: float
    forward: float


def summarize(profile: Profile) -> Summary:
    """The headline numbers of a profile."""
    depth = profile.spec.depth
    ratio = float(relative(profile.log_g, profile.log_g[-1])[0]) / (2.0 * LN10)
    factor = ratio / (depth - 1) if depth > 1 else math.nan
    return Summary(depth, factor, ratio, float(profile.log_q[-1]) / (2.0 * LN10))


def takeaway(profile: Profile, t: Translate = english) -> str:
    """One sentence: what happens to the gradient between the last layer and the first."""
    s = summarize(profile)
    if s.depth == 1:
        return t("One layer: there is no depth for the gradient to cross.")
    if s.gradient == -math.inf:
        return t("No gradient reaches layer 1: it is exactly zero.")
    values = {
        "factor": factor_text(s.factor),
        "square": factor_text(2.0 * s.factor),
        "ratio": number_text(s.gradient),
    }
    if abs(s.gradient) < math.log10(2.0):
        return t(
            "The gradient keeps its size: ×{factor} per layer in RMS (×{square} in mean square); "
            "layer 1 receives {ratio} of the last layer's.",
            **values,
        )
    if s.gradient < 0:
        return t(
            "The gradient shrinks ×{factor} per layer in RMS (×{square} in mean square): "
            "layer 1 receives {ratio} of the last layer's.",
            **values,
        )
    return t(
        "The gradient grows ×{factor} per layer in RMS (×{square} in mean square): "
        "layer 1 receives {ratio} times the last layer's.",
        **values,
    )


def describe(code: str, profile: Profile | None, measured: Measurement | None = None, t: Translate = english) -> str:
    """The chart's takeaway in plain words, for readers who do not see it."""
    if profile is None:
        return t("Measured values only; theory has no prediction for this network.")
    s = summarize(profile)
    if PANELS[code].relative:
        text = takeaway(profile, t)
    else:
        first = number_text(float(profile.log_q[0]) / (2.0 * LN10))
        text = t(
            "The signal's RMS goes from {first} at layer 1 to {last} at layer {depth}.",
            first=first,
            last=number_text(s.forward),
            depth=s.depth,
        )
    if measured is not None:
        text += " " + t("Points: {count} measured networks.", count=len(measured.networks))
    return text


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


def relative(logs: np.ndarray, reference: float) -> np.ndarray:
    """logs - reference, with zero (-inf) everywhere where the reference itself is zero."""
    if reference == -math.inf:
        return np.full_like(logs, -math.inf)
    return logs - reference
