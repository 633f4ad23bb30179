"""Every initializer on the same network, side by side: exact weight variance, factors per layer, verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gradcore.errors import GradcoreError
from gradcore.initializers import INITIALIZERS, SCALINGS, Initializer
from gradcore.profile import Profile, predict
from gradcore.spec import Spec
from gradcore.theory.critical import weight_variances
from gradcore.verdict import Verdict, diagnose


@dataclass(frozen=True)
class Scheme:
    """One initializer on one network.

    ``variance`` E[W^2] of layer ``layer``, nan where the gain cannot be reached; ``log_forward`` and ``log_backward``
    natural logs of the mean change per layer of the signal's and the gradient's RMS, forwards from layer 1 to L and
    backwards from L to 1 (-inf where one ends at exactly zero, nan at depth 1 or without a prediction);
    ``verdict`` None and ``refusal`` the reason where theory has no answer.
    """

    spec: Spec
    layer: int
    variance: float
    log_forward: float = math.nan
    log_backward: float = math.nan
    verdict: Verdict | None = None
    refusal: GradcoreError | None = None

    @property
    def entry(self) -> Initializer:
        """The entry of the initializer table."""
        return self.spec.init_entry

    @property
    def std(self) -> float:
        """Root of E[W^2]: the std of a weight where its mean is 0."""
        return math.sqrt(self.variance)

    @property
    def fans(self) -> tuple[int, int]:
        """(fan_in, fan_out) of the layer."""
        return int(self.spec.fan_ins[self.layer - 1]), int(self.spec.layer_widths[self.layer - 1])


def in_order() -> Iterator[tuple[str, tuple[Initializer, ...]]]:
    """(scaling, its initializers), the families in the order of SCALINGS, each in the table's order."""
    for scaling in SCALINGS:
        yield scaling, tuple(entry for entry in INITIALIZERS.values() if entry.scaling == scaling)


def layer_of(spec: Spec) -> int:
    """The layer that stands for the net: the second, whose fan-in is a layer's width; the first where it is alone."""
    return min(2, spec.depth)


def with_init(spec: Spec, code: str, own_gain: bool = True) -> Spec:
    """The Spec with another initializer, at that one's own gain or at the Spec's."""
    return spec.replace(init=code, gain=INITIALIZERS[code].own_gain if own_gain else spec.gain)


def scheme(spec: Spec, profile_of: Callable[[Spec], Profile] = predict) -> Scheme:
    """The initializer of this Spec on its network; ``profile_of`` predicts (a page has a cache of its own)."""
    layer = layer_of(spec)
    try:
        variance = float(weight_variances(spec)[layer - 1])
    except GradcoreError as error:
        return Scheme(spec, layer, math.nan, refusal=error)
    try:
        profile = profile_of(spec)
        verdict = diagnose(profile)
    except GradcoreError as error:
        return Scheme(spec, layer, variance, refusal=error)
    forward = math.nan
    if spec.depth > 1:
        ends = float(profile.log_q[0]), float(profile.log_q[-1])
        forward = -math.inf if -math.inf in ends else 0.5 * (ends[1] - ends[0]) / (spec.depth - 1)
    return Scheme(spec, layer, variance, forward, verdict.log_factor, verdict)


def schemes(spec: Spec, own_gain: bool = True, profile_of: Callable[[Spec], Profile] = predict) -> tuple[Scheme, ...]:
    """All initializers on the Spec's network, family by family: each at its own gain, or all at the Spec's.

    E[W^2] is exact; factors are infinite-width predictions, the geometric mean over the layers. A law that theory
    refuses, or that cannot reach the gain, carries its refusal instead of raising.
    """
    codes = (entry.code for _, entries in in_order() for entry in entries)
    return tuple(scheme(with_init(spec, code, own_gain), profile_of) for code in codes)
