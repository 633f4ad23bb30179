"""What a verdict rests on, read off a Profile (prediction) or a Measurement (its typical network) in one form."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from gradcore.theory.fixed_points import FixedPoint, variance_fixed_points
from gradcore.theory.precision import RANGES, DtypeEvents

if TYPE_CHECKING:
    from gradcore.measurement import Measurement
    from gradcore.profile import Profile
    from gradcore.spec import Spec

Array = np.ndarray
NEAR = math.log(10.0)  # in RMS: a signal that starts within this of an unstable fixed point and ends beyond it
GROWS = math.log(10.0)  # ln of a deviation's growth over the net, from which an unstable fixed point is lost
NARROW = 0.25  # depth over width, above which one network's scatter is taken from theory rather than FLUCTUATION
FLUCTUATION = 5.0  # a layer of width n fluctuates by about FLUCTUATION / n in ln q (Hanin & Nica 2019, ReLU)


@dataclass(frozen=True, eq=False)
class Facts:
    """Natural logs of second moments, (L,) each; ``typical`` ln of delta^2 in the typical (median) network where it
    is known beside the mean; ``saturated``, ``dead`` shares of layers 1..L-1, where the activation acts;
    ``spread`` variance of ln delta^2 at layer 1 of one network; ``events`` per dtype; ``overflow`` the first broken
    layer of the network's own dtype; ``lost`` the unstable fixed point that decides what happens."""

    spec: Spec
    log_q: Array
    log_g: Array
    log_dw: Array
    typical: Array | None
    saturated: Array
    dead: Array
    spread: float
    events: dict[str, DtypeEvents] = field(default_factory=dict)
    overflow: int | None = None
    lost: FixedPoint | None = None

    @property
    def relative(self) -> Array:
        """(L,) ln of the gradient's RMS over that of layer L; nan where a gradient is exactly zero."""
        return _relative(self.log_g)

    @property
    def relative_typical(self) -> Array | None:
        """The same in the typical network; None where only the mean is known."""
        return None if self.typical is None else _relative(self.typical)


def _relative(log_g: Array) -> Array:
    with np.errstate(invalid="ignore"):
        return 0.5 * (log_g - log_g[-1])


def of_profile(profile: Profile) -> Facts:
    """The facts of a prediction."""
    aspect = float(np.sum(1.0 / profile.spec.layer_widths))
    law = profile.expansion
    variance = law.variance("log_g") if aspect > NARROW else None
    return Facts(
        profile.spec,
        profile.log_q,
        profile.log_g,
        profile.log_dw,
        law.median("log_g") if law.source is not None else None,
        profile.saturated[:-1],
        profile.dead[:-1],
        float(variance[0]) if variance is not None else FLUCTUATION * aspect,
        profile.precision,
        profile.precision["float32"].forward_overflow,
        _lost(profile),
    )


def of_measurement(measured: Measurement) -> Facts:
    """The facts of a measurement: every quantity of the median network, ratios taken within each network."""
    with np.errstate(invalid="ignore"):
        relative = measured.log_g - measured.log_g[:, -1:]
    broken = measured.first_nonfinite
    overflow = int(np.median(broken[broken > 0])) if 2 * np.count_nonzero(broken) > broken.size else None
    if overflow is None:
        largest = 2.0 * RANGES["float32"][0]
        beyond = np.flatnonzero(np.median(measured.log_q, axis=0) > largest)
        overflow = int(beyond[0]) + 1 if beyond.size else None
    typical = np.median(relative, axis=0)
    return Facts(
        measured.spec,
        np.median(measured.log_q, axis=0),
        typical,
        np.median(measured.log_dw, axis=0),
        None,
        measured.saturated[:, :-1].mean(axis=0),
        measured.dead[:, :-1].mean(axis=0),
        float(np.var(relative[:, 0])) if np.isfinite(relative[:, 0]).all() else math.nan,
        overflow=overflow,
    )


def _lost(profile: Profile) -> FixedPoint | None:
    """The unstable fixed point of the variance map near which the signal starts, where it does not stay there.

    Either the predicted signal itself leaves it, by more than a factor 10 in RMS, or it stays only because nothing
    disturbs it: the scatter of one network of this width, of order FLUCTUATION / n in ln q, would have grown to order
    one by the last layer.
    """
    spec = profile.spec
    random = spec.init_entry.kind not in ("constant", "eye")
    if spec.depth < 2 or spec.norm != "none" or spec.residual != "none" or not random:
        return None
    from gradcore.theory.critical import bias_variances

    sigma_b = math.sqrt(float(bias_variances(spec)[-1]))
    sigma_w = float(profile.sigma_w[-1])
    points = variance_fixed_points(spec.activation, sigma_w, sigma_b, spec.negative_slope)
    for point in points:
        log_q = math.log(point.q)
        if point.stable or abs(float(profile.log_q[0]) - log_q) > 2.0 * NEAR:
            continue
        leaves = abs(float(profile.log_q[-1]) - log_q) > 2.0 * NEAR
        growth = (spec.depth - 1) * math.log(point.chi_parallel)
        scatter = 0.5 * math.log(FLUCTUATION / float(spec.layer_widths.min()))
        stays = abs(float(profile.log_q[-1]) - log_q) < 1.0
        if leaves or (stays and growth > GROWS and growth + scatter > 0.0):
            return point
    return None
