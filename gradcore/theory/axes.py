"""Axes of a map over Specs: the numeric fields, and sigma_w and sigma_b, which the gain and bias_std make.

``sigma_w`` stands for the gain that gives the last layer std(W) sqrt(fan_in) = sigma_w, ``sigma_b`` for bias_std.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.errors import SpecError
from gradcore.fields import FIELDS
from gradcore.theory.critical import bias_variances, multiplier, resolve_gain, weight_variances
from gradcore.theory.critical_line import critical_line
from gradcore.theory.fixed_points import checked_scale

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray
SIGMA_W, SIGMA_B = "sigma_w", "sigma_b"
WEIGHT_AXES, BIAS_AXES = ("gain", SIGMA_W), ("bias_std", SIGMA_B)
AXES = (*(name for name, field in FIELDS.items() if not field.choices), SIGMA_W, SIGMA_B)
INTEGERS = ("depth", "width", "input_width", "batch_size")
LOGARITHMIC = ("width", "input_width", "batch_size", "input_rms", "norm_eps")
DEPTH_TOPS = (100, 200, 500, 1000, 2000, 5000, 10_000)


def check_axis(name: str, field: Any) -> str:
    """The axis of this name; raises SpecError where there is none."""
    if field not in AXES:
        raise SpecError(name, field, "one of " + ", ".join(AXES), "A map needs two numbers to vary.")
    return field


def with_values(spec: Spec, values: Mapping[str, Any]) -> Spec:
    """The Spec with these axes set. Raises SpecError for a value that is not allowed."""
    changes = {name: value for name, value in values.items() if name in FIELDS}
    if SIGMA_B in values:
        changes["bias_std"] = checked_scale(SIGMA_B, values[SIGMA_B])
    if SIGMA_W not in values:
        return spec.replace(**changes)
    sigma_w = checked_scale(SIGMA_W, values[SIGMA_W])
    other = spec.replace(**changes, gain=1.0)
    if other.init_entry.kind in ("constant", "eye"):
        raise SpecError(SIGMA_W, sigma_w, f"another axis where init is {spec.init}", "Its weights are not random.")
    return other.replace(gain=gain_for(other, sigma_w))


def gain_for(spec: Spec, sigma_w: float) -> float:
    """The gain that gives the last layer this sigma_w, whatever the Spec's own gain."""
    if sigma_w == 0.0:
        return 0.0
    return multiplier(spec, sigma_w, int(spec.fan_ins[-1]), int(spec.layer_widths[-1]))


# --- where a network stands on an axis ---------------------------------------------------------------------

_RESOLVED: dict[str, Callable[[Spec], float]] = {
    "gain": lambda spec: float(resolve_gain(spec).multipliers[-1]),
    SIGMA_W: lambda spec: math.sqrt(float(weight_variances(spec)[-1]) * int(spec.fan_ins[-1])),
    "bias_std": lambda spec: math.sqrt(float(bias_variances(spec)[-1])),
    SIGMA_B: lambda spec: math.sqrt(float(bias_variances(spec)[-1])),
    "residual_scale": lambda spec: spec.alpha,
    "input_width": lambda spec: int(spec.fan_ins[0]),
    "negative_slope": lambda spec: spec.slope,
}


def place_of(spec: Spec, field: str) -> float | None:
    """The Spec's value on an axis, words and defaults resolved; None for widths that differ."""
    if field in _RESOLVED:
        return _RESOLVED[field](spec)
    value = getattr(spec, field)
    return None if isinstance(value, tuple) else value


# --- ordinary ranges ---------------------------------------------------------------------------------------


def _widest_scale(spec: Spec) -> float:
    """The largest sigma_w of interest: well beyond the activation's first critical one."""
    least = critical_line(spec.activation, negative_slope=spec.negative_slope).least_sigma_w
    return 4.0 if math.isnan(least) else max(4.0, 1.5 * least)


def _gains(spec: Spec, count: int) -> Array:
    top = _widest_scale(spec)
    try:
        top = gain_for(spec, top)
    except SpecError:  # trunc_normal's entries are cut
        top = 2.0
    return np.linspace(0.0, top, count + 1)[1:]


def _depths(spec: Spec, count: int) -> Array:
    top = next(top for top in DEPTH_TOPS if spec.depth <= top)
    step = math.ceil(top / count)
    return np.arange(step, top + 1, step)


def _round(values: Array) -> Array:
    return np.unique(np.rint(values))


RANGES: dict[str, Callable[[Spec, int], Array]] = {
    "depth": _depths,
    "width": lambda spec, n: _round(np.geomspace(8, 8192, n)),
    "input_width": lambda spec, n: _round(np.geomspace(8, 8192, n)),
    "batch_size": lambda spec, n: _round(np.geomspace(4, 512, n)),
    "gain": _gains,
    SIGMA_W: lambda spec, n: np.linspace(0.0, _widest_scale(spec), n + 1)[1:],
    "bias_std": lambda spec, n: np.linspace(0.0, 2.0, n),
    SIGMA_B: lambda spec, n: np.linspace(0.0, 2.0, n),
    "negative_slope": lambda spec, n: np.linspace(-1.0, 1.5, n),
    "sparsity": lambda spec, n: np.linspace(0.0, 0.9, n),
    "residual_scale": lambda spec, n: np.linspace(0.0, 2.0, n),
    "norm_gamma": lambda spec, n: np.linspace(0.0, 3.0, n + 1)[1:],
    "norm_beta": lambda spec, n: np.linspace(-2.0, 2.0, n),
    "norm_eps": lambda spec, n: np.geomspace(1e-8, 10.0, n),
    "input_rms": lambda spec, n: np.geomspace(1e-3, 1e3, n),
    "input_correlation": lambda spec, n: np.linspace(0.0, 0.99, n),
}


def axis_values(spec: Spec, field: str, count: int = 60) -> Array:
    """About ``count`` values of an axis over its ordinary range, widened to hold the Spec's own value."""
    make = RANGES.get(check_axis("field", field))
    if make is None:  # a field that is new in the table
        make = RANGES["residual_scale"]
    values = make(spec, count)
    here = place_of(spec, field)
    if here is not None and math.isfinite(here) and not values[0] <= here <= values[-1] and field != "depth":
        values = _widened(values, here, field)
    return np.array([float(f"{value:.6g}") for value in values])  # what a link says of a cell stays short


def _widened(values: Array, here: float, field: str) -> Array:
    """As many values over a range that holds this one too."""
    low, high = min(float(values[0]), here), max(float(values[-1]), 1.25 * here)
    if field not in LOGARITHMIC:
        return np.linspace(low, high, values.size)
    wide = np.geomspace(low, max(high, low * 10.0), values.size)
    return _round(wide) if field in INTEGERS else wide
