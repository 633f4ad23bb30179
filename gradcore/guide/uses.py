"""What theory says of each activation, in a sentence or two that are worked out from its own numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from gradcore.activations import ACTIVATIONS, Activation, negative_slope_of
from gradcore.guide.gains import Gain, gains_of
from gradcore.guide.variance_map import VarianceMap
from gradcore.theory.critical import CriticalPoint, critical_points
from gradcore.theory.fixed_points import FixedPoint
from gradcore.words import LN10, Message, factor_text


@dataclass(frozen=True)
class Traits:
    """What is known of one activation at a negative slope: its exact ``gain``; ``critical``, the point that
    ``critical_gain`` takes without bias (None where there is none); ``log_chi``, ln of the factor of the gradient's
    mean square per layer at q = 1 and the exact gain; ``stable`` whether q = 1 is stable there; ``flat`` the share
    of N(0, 1) pre-activations with slope 0; ``bounded`` whether its values are; ``at_zero`` phi(0)."""

    entry: Activation
    gain: Gain
    critical: CriticalPoint | None
    log_chi: float
    stable: bool
    flat: float
    bounded: bool
    at_zero: float


def traits_of(activation: str, negative_slope: float | None = None) -> Traits:
    """The traits of one activation. Raises SpecError for one that is not in the table."""
    gain = gains_of(activation, negative_slope)
    slope = negative_slope_of(activation, negative_slope)
    entry = ACTIVATIONS[gain.activation]
    points: tuple[CriticalPoint, ...] = critical_points(
        entry.code, 0.0, slope if entry.default_slope is not None else None
    )
    plain = VarianceMap(entry.code, gain.forward, 0.0, slope)
    at_one: FixedPoint | None = next((p for p in plain.fixed_points if abs(math.log(p.q)) < 1e-3), None)
    share = sum(_normal(high) - _normal(low) for low, high in entry.flat)
    if entry.default_slope is not None and slope == 0.0:
        share = 0.5
    return Traits(
        entry,
        gain,
        next((p for p in points if p.stable), points[0] if points else None),
        plain.log_chi(0.0),
        at_one is None or at_one.stable,
        share,
        entry.oscillates or entry.tails(slope) == (0.0, 0.0),
        float(entry.value(np.array(0.0), slope)),
    )


def _normal(h: float) -> float:
    return 0.5 * math.erfc(-h / math.sqrt(2.0))


@dataclass(frozen=True)
class _Case:
    """One sentence and when it is said."""

    code: str
    holds: Callable[[Traits], bool]
    template: str


# The first that holds: may a plain deep net be built on it, and at which weight scale?
_MAIN = (
    _Case(
        "homogeneous",
        lambda traits: traits.entry.homogeneous,
        "Plain nets of any depth at σ_w = {gain}: one gain keeps signal and gradient of any size; nothing pulls a "
        "wrong size back.",
    ),
    _Case(
        "none",
        lambda traits: traits.critical is None,
        "Shallow nets, or with a norm: at no σ_w does a plain deep net keep its gradient; at the gain {gain} it "
        "changes ×{factor} per layer in RMS.",
    ),
    _Case(
        "unstable",
        lambda traits: not traits.stable,
        "Moderate depth, or with a norm or residual connections: the gain {gain} keeps a signal of RMS 1 only at an "
        "unstable point, so the signal of a deep plain net drifts away.",
    ),
    _Case(
        "far",
        lambda traits: traits.log_chi < -0.5,
        "Outputs and gates rather than deep stacks: at the gain {gain} gradients shrink ×{factor} per layer in RMS, "
        "and they keep their size only at σ_w = {critical}.",
    ),
    _Case(
        "marginal",
        lambda traits: abs(traits.log_chi) < 1e-3,
        "Plain nets of any depth at σ_w = {critical}: signals and gradients keep their size while the signal is small.",
    ),
    _Case(
        "line",
        lambda traits: True,
        "Deep plain nets at σ_w = {critical}, where gradients keep their size; at {gain}, which keeps a signal of RMS "
        "1, they grow ×{factor} per layer in RMS.",
    ),
)
# All that hold are added.
_MORE = (
    _Case(
        "flat", lambda traits: traits.flat > 0.0, "Slope 0 on {flat} of N(0, 1) inputs: there a unit learns nothing."
    ),
    _Case("bounded", lambda traits: traits.bounded, "Bounded: its signal cannot explode."),
    _Case(
        "shifted",
        lambda traits: traits.at_zero != 0.0,
        "Not 0 at 0: even a vanishing signal leaves a constant one.",
    ),
)


def uses(activation: str, negative_slope: float | None = None) -> tuple[Message, ...]:
    """What a plain net of this activation is good for at initialization (the first message), and what else to know.

    Worked out from exact gains, critical points and the stability of the variance map, without bias; scale factors
    are of RMS values. Raises SpecError for an activation that is not in the table.
    """
    return tuple(_said(traits_of(activation, negative_slope)))


def _said(traits: Traits) -> Iterator[Message]:
    values: dict[str, str | Message] = {
        "gain": f"{traits.gain.forward:.4g}",
        "critical": f"{traits.critical.sigma_w:.4g}" if traits.critical else "",
        "factor": factor_text(0.5 * traits.log_chi / LN10),
        "flat": f"{100.0 * traits.flat:.2g}%",
    }
    main = next(case for case in _MAIN if case.holds(traits))
    for case in (main, *(case for case in _MORE if case.holds(traits))):
        yield Message(
            f"use_{case.code}", case.template, {k: v for k, v in values.items() if f"{{{k}}}" in case.template}
        )
