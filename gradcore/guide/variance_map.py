"""The map that carries a signal's mean square from layer to layer, and where it leads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gradcore.errors import UnsupportedError
from gradcore.spec import Spec
from gradcore.theory.channel import log_add
from gradcore.theory.critical import bias_variances, weight_variances
from gradcore.theory.fixed_points import FixedPoint, variance_fixed_points
from gradcore.theory.gaussian import GaussianMoments, moments_of
from gradcore.verdict import USABLE
from gradcore.words import LN10, Message, factor_text, number_text

Array = np.ndarray
SAME = 1e-9  # ln f(q) - ln q below this: q stands still
MARGINAL = 1e-6  # abs(chi_parallel - 1) below this: a small deviation neither shrinks nor grows
KINDS = ("settles", "keeps", "balances", "fades", "swells", "collapses", "explodes")


@dataclass(frozen=True)
class Fate:
    """Where a signal ends in a net without end.

    ``kind`` one of KINDS: it settles at a stable fixed point, keeps its size (marginal), balances on an unstable fixed
    point, fades to 0 or swells without bound ever more slowly (no factor per layer), collapses to 0 or explodes.
    ``log_q`` natural log of the mean square it tends to (-inf, inf); ``log_chi`` natural log of the factor by which
    the gradient's mean square then changes per layer, towards layer 1; ``point`` the fixed point, None without one.
    """

    kind: str
    log_q: float
    log_chi: float
    point: FixedPoint | None = None

    def usable(self, layers: int) -> bool:
        """Whether a gradient that changes by this factor stays within USABLE, in RMS, over so many layers."""
        return 0.5 * abs(self.log_chi) * (layers - 1) <= math.log(USABLE)


@dataclass(frozen=True)
class VarianceMap:
    """q -> sigma_w^2 E phi(sqrt(q) Z)^2 + sigma_b^2, the mean square of the pre-activations from layer to layer.

    ``sigma_w`` = std(W) sqrt(fan_in) and ``sigma_b`` are standard deviations. Source: Poole et al. 2016. Validity:
    infinite width, random weights, no norm and no residual stream. It rises with q for every activation of the table.
    """

    activation: str
    sigma_w: float
    sigma_b: float = 0.0
    slope: float = 0.0

    @property
    def moments(self) -> GaussianMoments:
        """The activation's Gaussian moments."""
        return moments_of(self.activation, self.slope)

    def log_next(self, log_q: Array) -> Array:
        """ln of the next layer's mean square; an array of any shape, natural logs, -inf is a zero signal."""
        with np.errstate(divide="ignore"):
            signal = 2.0 * np.log(self.sigma_w) + self.moments.at(np.asarray(log_q, dtype=float)).log_second
            return np.logaddexp(signal, 2.0 * np.log(self.sigma_b))

    def path(self, log_q: float, layers: int) -> Array:
        """(layers,) ln of the mean square of layers 1, 2, ... that starts with ``log_q`` at layer 1."""
        moments, found = self.moments, [log_q]
        log_w, log_b = (2.0 * math.log(s) if s > 0.0 else -math.inf for s in (self.sigma_w, self.sigma_b))
        while len(found) < layers:
            found.append(log_add(log_w + moments.log_second(found[-1]), log_b))
        return np.array(found)

    def log_chi(self, log_q: float) -> float:
        """ln of sigma_w^2 E phi'(sqrt(q) Z)^2, the gradient's mean square factor per layer; limits at -inf, inf."""
        if self.sigma_w == 0.0:
            return -math.inf
        far = max(min(log_q, 1e4), -1e4)
        return 2.0 * math.log(self.sigma_w) + float(self.moments.at(np.array(far)).log_slope_second)

    @cached_property
    def fixed_points(self) -> tuple[FixedPoint, ...]:
        """Every q* > 0 that the map keeps, smallest first; none where a homogeneous map keeps every q or no q."""
        return variance_fixed_points(self.activation, self.sigma_w, self.sigma_b, self.slope)

    def fate(self, log_q: float) -> Fate:
        """Where a signal of this ln mean square at layer 1 ends. A rising map leads to the next fixed point."""
        if self.sigma_w == 0.0:
            left = 2.0 * math.log(self.sigma_b) if self.sigma_b else -math.inf
            return Fate("settles" if self.sigma_b else "collapses", left, -math.inf)
        after = float(self.path(log_q, 2)[1])
        if log_q == after == -math.inf:
            return self._end(log_q)
        step = after - log_q
        point = self._ahead(log_q, step)
        if abs(step) < SAME and (point is None or abs(point.chi_parallel - 1.0) < MARGINAL):
            return Fate("keeps", log_q, self.log_chi(log_q))
        if point is not None:
            stays = abs(step) < SAME and not point.stable
            return Fate("balances" if stays else "settles", math.log(point.q), math.log(point.chi), point)
        return self._end(math.inf if step > 0 else -math.inf)

    def _end(self, log_q: float) -> Fate:
        """0 or infinity: the mean square changes per layer by the same factor there as that of the gradient."""
        log_chi = self.log_chi(log_q)
        slow = abs(log_chi) < MARGINAL
        return Fate(
            ("fades" if slow else "collapses") if log_q < 0 else ("swells" if slow else "explodes"), log_q, log_chi
        )

    def _ahead(self, log_q: float, step: float) -> FixedPoint | None:
        """The fixed point that the signal stands on, or the next one in the direction of its step."""
        points = self.fixed_points
        if abs(step) < SAME:
            return next((p for p in points if abs(math.log(p.q) - log_q) < 1e-3), None)
        if step > 0:
            return next((p for p in points if math.log(p.q) > log_q), None)
        return next((p for p in reversed(points) if math.log(p.q) < log_q), None)


def variance_map(spec: Spec) -> tuple[VarianceMap, float]:
    """The map of a Spec's last layer, and ln q^1 = ln(sigma_w^2 E x^2 + sigma_b^2) of its layer 1.

    A norm or a residual stream of the Spec is left out: the map is that of the plain net. Raises UnsupportedError for
    weights that are not random, which no such map describes.
    """
    if spec.init_entry.kind in ("constant", "eye"):
        raise UnsupportedError(
            f"the variance map of {spec.init} weights",
            "they are not random: the units' values follow an exact map of their own",
            "every initializer but constant and eye",
        )
    spec = spec.replace(norm="none", residual="none")
    squares = weight_variances(spec) * spec.fan_ins
    biases = bias_variances(spec)
    first = float(squares[0]) * spec.input_rms**2 + float(biases[0])
    plain = VarianceMap(spec.activation, math.sqrt(float(squares[-1])), math.sqrt(float(biases[-1])), spec.slope)
    return plain, math.log(first) if first > 0.0 else -math.inf


# --- in words ------------------------------------------------------------------------------------------------

_STORIES = {
    "settles": "The signal settles at RMS {rms}, a stable fixed point; there {gradients}.",
    "keeps": "The signal keeps its size, whatever it is; {gradients}.",
    "balances": "The signal stands on an unstable fixed point, RMS {rms}: a small deviation grows ×{growth} per layer "
    "in mean square, so no deep net stays there; at the point {gradients}.",
    "fades": "The signal shrinks towards 0, ever more slowly; deep down {gradients}.",
    "swells": "The signal grows without bound, ever more slowly; far out {gradients}.",
    "collapses": "The signal shrinks towards 0; deep down {gradients}.",
    "explodes": "The signal grows without bound; far out {gradients}.",
}
_GRADIENTS = {
    "grow": "gradients grow ×{factor} per layer in RMS (×{square} in mean square)",
    "shrink": "gradients shrink ×{factor} per layer in RMS (×{square} in mean square)",
    "stay": "gradients keep their size from layer to layer",
    "zero": "gradients are exactly zero",
}


def story(fate: Fate) -> Message:
    """Where the signal goes, and by which factor gradients then change per layer (RMS, the mean square beside it)."""
    values: dict[str, str | Message] = {"gradients": _gradients(fate.log_chi)}
    if math.isfinite(fate.log_q):
        values["rms"] = number_text(0.5 * fate.log_q / LN10, 3)
    if fate.kind == "balances" and fate.point is not None:
        values["growth"] = factor_text(math.log10(fate.point.chi_parallel))
    return Message(f"fate_{fate.kind}", _STORIES[fate.kind], values)


def _gradients(log_chi: float) -> Message:
    kind = "zero" if log_chi == -math.inf else "stay" if abs(log_chi) < 1e-3 else "grow" if log_chi > 0 else "shrink"
    log10 = log_chi / LN10
    factors = {"factor": factor_text(0.5 * log10), "square": factor_text(log10)} if kind in ("grow", "shrink") else {}
    return Message(f"gradients_{kind}", _GRADIENTS[kind], factors)


def unstable_story(points: tuple[FixedPoint, ...]) -> tuple[Message, ...]:
    """A sentence on every unstable fixed point of these: what a signal near it does."""
    told = []
    for index, point in enumerate(points):
        if point.chi_parallel < 1.0 + MARGINAL:
            continue
        below = _settling(points[index - 1]) if index else Message("to_zero", "shrinks to 0")
        above = (
            _settling(points[index + 1]) if index + 1 < len(points) else Message("to_infinity", "grows without bound")
        )
        values = {
            "rms": number_text(0.5 * math.log10(point.q), 3),
            "slope": f"{point.chi_parallel:.3g}",
            "below": below,
            "above": above,
        }
        text = "Unstable fixed point at RMS {rms} (slope {slope} > 1): a signal above it {above}, one below it {below}."
        told.append(Message("unstable_point", text, values))
    return tuple(told)


def _settling(point: FixedPoint) -> Message:
    return Message("to_point", "goes to RMS {rms}", {"rms": number_text(0.5 * math.log10(point.q), 3)})
