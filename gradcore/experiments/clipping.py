"""Gradient clipping: what torch's two functions do exactly, and thresholds proposed from observed norms.

By norm (Pascanu et al. 2013; torch clip_grad_norm_): all gradients are multiplied by min(1, c / (|g| + 1e-6)), |g| over
all parameters together. The direction stays, and so do the ratios between layers: it cannot cure vanishing.
By value (torch clip_grad_value_): each entry is cut at -v and v, which turns the direction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradcore.errors import SpecError
from gradcore.words import Message, number_text

Array = np.ndarray
TORCH_EPS = 1e-6  # that torch adds to the norm it divides by
NORM_TYPES = (1.0, 2.0, math.inf)
COMMON = (1.0, 2.0, 3.0, 4.0, 5.0)  # thresholds that texts give without looking at the norms
QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.99)
PROPOSED = 0.9  # of the steps stay as they are at the proposed threshold
MULTIPLE = 2.0  # of the mean initial norm


def total_norm(gradients: Sequence[Array], norm_type: float = 2.0) -> float:
    """The norm over all entries of all arrays: their sum of |g| (1), Euclidean (2), largest |g| (inf). Raises
    SpecError for another type."""
    if norm_type not in NORM_TYPES:
        raise SpecError("norm_type", norm_type, "1, 2 or inf")
    each = [float(np.linalg.norm(np.ravel(g), norm_type)) for g in gradients]
    return float(np.linalg.norm(each, norm_type)) if each else 0.0


def clip_factor(norm: float, limit: float) -> float:
    """min(1, c / (|g| + 1e-6)): what clip_grad_norm_ multiplies every gradient by."""
    return min(1.0, limit / (norm + TORCH_EPS))


def clip_by_norm(gradients: Sequence[Array], limit: float, norm_type: float = 2.0) -> list[Array]:
    """The clipped gradients: one factor for all."""
    factor = clip_factor(total_norm(gradients, norm_type), limit)
    return [factor * np.asarray(g, dtype=float) for g in gradients]


def clip_by_value(gradients: Sequence[Array], limit: float) -> list[Array]:
    """The clipped gradients: every entry cut at -limit and limit."""
    return [np.clip(np.asarray(g, dtype=float), -limit, limit) for g in gradients]


def cosine(before: Sequence[Array], after: Sequence[Array]) -> float:
    """Cosine of the angle between two gradients, over all entries together; nan where one is zero."""
    size = total_norm(before) * total_norm(after)
    along = sum(float(np.vdot(a, b)) for a, b in zip(before, after, strict=True))
    return along / size if size > 0 else math.nan


@dataclass(frozen=True)
class ValueClip:
    """Gaussian entries N(0, s^2) cut at -v and v: ``share`` of the entries that are cut, ``kept`` E[min(|g|, v)^2] over
    s^2, ``cosine`` between the gradient before and after, in the limit of many entries."""

    share: float
    kept: float
    cosine: float


def value_clip_of_gaussian(std: float, limit: float) -> ValueClip:
    """What clipping by value does to entries N(0, std^2), exactly. With t = v / s:

    share erfc(t / sqrt 2); kept erf(t / sqrt 2) - sqrt(2/pi) t exp(-t^2 / 2) + t^2 erfc(t / sqrt 2), which is
    E[hardtanh(Z / t)^2] t^2; cosine erf(t / sqrt 2) / sqrt(kept) (E[g clip(g)] = s^2 P(|g| < v), Stein).
    Validity: entries Gaussian with one common s. Raises SpecError for a std or a limit not above 0.
    """
    for name, value in (("std", std), ("limit", limit)):
        if not (math.isfinite(value) and value > 0):
            raise SpecError(name, value, "a number above 0")
    t = limit / std
    inside, cut = math.erf(t / math.sqrt(2.0)), math.erfc(t / math.sqrt(2.0))
    if t < 1e-3:  # the closed form cancels: kept = t^2 (1 - (4/3) phi(0) t + ...)
        kept = t * t * (1.0 - 4.0 / 3.0 * t / math.sqrt(2.0 * math.pi))
    else:
        kept = inside - math.sqrt(2.0 / math.pi) * t * math.exp(-0.5 * t * t) + t * t * cut
    return ValueClip(cut, kept, min(inside / math.sqrt(kept), 1.0))


def share_clipped(norms: Array, limit: float) -> float:
    """Share of the steps whose norm is above the limit; a norm that is no number counts as above."""
    norms = _checked(norms)
    return float(np.mean(~(norms <= limit)))


@dataclass(frozen=True)
class Threshold:
    """One threshold: ``limit``, its ``origin`` ("quantile", "common" or "initial"), the ``parameter`` that made it (the
    share below, the limit itself, the multiple), and the ``share`` of observed steps that it would have clipped."""

    limit: float
    origin: str
    parameter: float
    share: float

    @property
    def message(self) -> Message:
        """Where it comes from, in words."""
        values = {"limit": number_text(math.log10(self.limit) if self.limit > 0 else -math.inf, 3)}
        values["parameter"] = f"{100 * self.parameter:g}%" if self.origin == "quantile" else f"{self.parameter:g}"
        values["share"] = f"{100 * self.share:.0f}%"
        return Message(f"threshold_{self.origin}", _ORIGINS[self.origin], values)


_ORIGINS = {
    "quantile": "{limit}: {parameter} of the observed norms lie below; {share} of the steps would have been clipped.",
    "common": "{limit}: a common choice; {share} of the steps would have been clipped.",
    "initial": "{limit}: {parameter} times the mean initial norm; {share} of the steps would have been clipped.",
}


@dataclass(frozen=True)
class Proposal:
    """``proposed``, and every ``threshold`` beside it, in the order quantiles, common ones, multiple of the start."""

    proposed: Threshold
    thresholds: tuple[Threshold, ...]


def propose_threshold(norms: Array, *, initial: float | None = None, multiple: float = MULTIPLE) -> Proposal:
    """A clipping threshold from observed norms: their 90% quantile, so that one step in ten is clipped.

    ``norms`` (steps,) are the norms before clipping, of the type that is to be clipped (TrainStep.clip_norm);
    ``initial`` the mean initial norm (default: of the first tenth of the steps). Steps whose norm is no number are left
    out of the quantiles. Raises SpecError without a finite norm.
    """
    norms = _checked(norms)
    finite = norms[np.isfinite(norms)]
    if not finite.size:
        raise SpecError("norms", norms.tolist()[:5], "at least one finite norm")
    start = norms[: max(1, len(norms) // 10)]
    start = start[np.isfinite(start)]
    first = initial if initial is not None else float(start.mean() if start.size else finite[0])

    def threshold(limit: float, origin: str, parameter: float) -> Threshold:
        return Threshold(limit, origin, parameter, share_clipped(norms, limit))

    quantiles = [threshold(float(np.quantile(finite, q)), "quantile", q) for q in QUANTILES]
    common = [threshold(limit, "common", limit) for limit in COMMON]
    proposed = next(entry for entry in quantiles if entry.parameter == PROPOSED)
    return Proposal(proposed, (*quantiles, *common, threshold(multiple * first, "initial", multiple)))


def _checked(norms: Array) -> Array:
    norms = np.asarray(norms, dtype=float).ravel()
    if not norms.size or np.any(norms < 0):
        raise SpecError("norms", norms.tolist()[:5], "at least one norm, none below 0")
    return norms
