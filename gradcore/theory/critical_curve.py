"""The critical line in the coordinates of a map: sigma_w and sigma_b carried over to its two axes.

Source: the line is that of ``theory.critical_line``. Validity: networks without norm and residual whose weights are
random; on other axes than weight and bias scales it is the line's meeting with what stands still.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.errors import SpecError
from gradcore.theory.axes import BIAS_AXES, SIGMA_W, WEIGHT_AXES, gain_for, place_of, with_values
from gradcore.theory.critical_line import SENTENCES, CriticalLine, critical_line

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray
Piece = tuple[Array, Array, bool]  # x, y, stable

MESSAGES = {
    **SENTENCES,
    "other_map": "With {what} the signal follows another map than the critical line is made for, so none is drawn.",
    "not_on_these_axes": "Neither axis changes the scale of weights or biases, so no critical line crosses this map.",
    "everywhere": "With gain = critical every network of this map is critical.",
    "out_of_sight": "The critical line of {activation} lies outside this map.",
}


@dataclass(frozen=True)
class CriticalCurve:
    """Pieces (x, y, stable) of the critical line on a map, x and y being arrays.

    ``message_id`` and ``values`` say what line it is, or why there is none.
    """

    pieces: tuple[Piece, ...]
    message_id: str
    values: dict[str, Any]

    @property
    def sentence(self) -> str:
        """What line it is, or why there is none, in English."""
        return MESSAGES[self.message_id].format(**self.values)


def critical_curve(spec: Spec, x: tuple[str, Array], y: tuple[str, Array]) -> CriticalCurve:
    """The critical line on a map with these axes, (name, values) each."""
    what = _other_map(spec, (x[0], y[0]))
    if what:
        return CriticalCurve((), "other_map", {"what": what})
    line = critical_line(spec.activation, negative_slope=spec.negative_slope)
    if not line.exists:
        return CriticalCurve((), line.message_id, line.values)
    if spec.gain == "critical" and not {x[0], y[0]} & set(WEIGHT_AXES):
        return CriticalCurve((), "everywhere", {})
    if x[0] in WEIGHT_AXES or (x[0] in BIAS_AXES and y[0] not in WEIGHT_AXES):
        pieces = _pieces(spec, line, x, y)
    elif y[0] in (*WEIGHT_AXES, *BIAS_AXES):
        pieces = [(xs, ys, stable) for ys, xs, stable in _pieces(spec, line, y, x)]
    else:
        return CriticalCurve((), "not_on_these_axes", {})
    seen = [piece for piece in pieces if _within(piece[0], x[1]) and _within(piece[1], y[1])]
    if not seen:
        late = line.message_id == "starts_late"
        return CriticalCurve(
            (), line.message_id if late else "out_of_sight", {"activation": spec.activation} | line.values
        )
    return CriticalCurve(tuple(seen), line.message_id, line.values)


def _other_map(spec: Spec, axes: tuple[str, str]) -> str:
    """What makes the plain maps inapplicable, in words of the Spec; "" where nothing does."""
    if spec.init_entry.kind in ("constant", "eye"):
        return f"init {spec.init}"
    if spec.norm != "none":
        return f"norm {spec.norm}"
    return f"residual {spec.residual}" if spec.residual != "none" else ""


def _within(values: Array, axis: Array) -> bool:
    return bool(np.any((values >= axis.min()) & (values <= axis.max())))


def _pieces(spec: Spec, line: CriticalLine, scale: tuple[str, Array], other: tuple[str, Array]) -> list[Piece]:
    """Pieces as (values on the scale's axis, values on the other axis, stable)."""
    if scale[0] in WEIGHT_AXES and other[0] in BIAS_AXES:
        return _whole_line(spec, line, scale, other)
    found: dict[tuple[int, bool], list[tuple[float, float]]] = {}
    for value in other[1].tolist():
        number = int(value) if float(value).is_integer() else value
        try:
            here = with_values(spec, {other[0]: number})
            crossings = _crossings(here, scale[0])
        except SpecError:
            continue
        for branch, (at, stable) in enumerate(crossings):
            found.setdefault((branch, stable), []).append((at, value))
    return [(*np.array(points).T, stable) for (_, stable), points in found.items()]  # type: ignore[misc]


def _crossings(spec: Spec, axis: str) -> list[tuple[float, bool]]:
    """Where this Spec, its scale on ``axis`` free, is critical."""
    line = critical_line(spec.activation, negative_slope=spec.negative_slope)
    if axis in BIAS_AXES:
        return line.crossings("sigma_w", place_of(spec, SIGMA_W) or 0.0)
    crossings = line.crossings("sigma_b", place_of(spec.replace(gain=1.0), BIAS_AXES[0]) or 0.0)
    return [(sigma_w if axis == SIGMA_W else gain_for(spec, sigma_w), stable) for sigma_w, stable in crossings]


def _whole_line(spec: Spec, line: CriticalLine, scale: tuple[str, Array], other: tuple[str, Array]) -> list[Piece]:
    """The line itself, cut where its stability changes and a little beyond the map."""
    if line.message_id == "bias_free_only":
        sigma_w, sigma_b = np.repeat(line.sigma_w, 2), np.array([other[1].min(), other[1].max()])
        stable = np.ones(2, dtype=bool)
    else:
        near = (line.sigma_b <= 1.1 * other[1].max()) & (line.q > 0)
        sigma_w, sigma_b, stable = line.sigma_w[near], line.sigma_b[near], line.stable[near]
    if sigma_w.size == 0:
        return []
    along = sigma_w if scale[0] == SIGMA_W else sigma_w * (gain_for(spec, 1.0) if _linear(spec) else math.nan)
    if np.isnan(along).any():
        along = np.array([_gain_or_nan(spec, float(value)) for value in sigma_w])
    cuts = np.flatnonzero(stable[1:] != stable[:-1]) + 1
    starts, ends = [0, *cuts.tolist()], [*(cuts + 1).tolist(), stable.size]
    pieces = [(along[a:b], sigma_b[a:b], bool(stable[a])) for a, b in zip(starts, ends, strict=True)]
    return [(x[np.isfinite(x)], y[np.isfinite(x)], steady) for x, y, steady in pieces]


def _linear(spec: Spec) -> bool:
    return spec.init_entry.unit_std_is_linear_in_gain


def _gain_or_nan(spec: Spec, sigma_w: float) -> float:
    try:
        return gain_for(spec, sigma_w)
    except SpecError:
        return math.nan
