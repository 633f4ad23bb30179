"""The networks of a map that one vectorised recursion answers: which Specs they are, and their parameters at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.normalization import NORMALIZATIONS
from gradcore.theory.axes import BIAS_AXES, SIGMA_W, with_values
from gradcore.theory.critical import bias_variances, weight_variances
from gradcore.theory.gaussian import LOG_LOW, moments_of
from gradcore.theory.grid import Ensemble

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray
SKIPS = ("none", "identity")
SHAPE = ("width", "input_width", "negative_slope", "sparsity")  # what a weight law depends on beside the gain


@dataclass(frozen=True)
class Family:
    """The Specs over two axes: cell (j, i) has x = xs[i], y = ys[j]."""

    spec: Spec
    x: str
    xs: Array
    y: str
    ys: Array

    def cell(self, j: int, i: int) -> Spec:
        """The Spec of one cell. Raises SpecError."""
        return with_values(self.spec, {self.x: _plain(self.xs[i]), self.y: _plain(self.ys[j])})

    def axis(self, name: str) -> Array | None:
        """The values of an axis as an array that broadcasts over (y, x); None for a field that does not vary."""
        if name == self.x:
            return self.xs[None, :].astype(float)
        return self.ys[:, None].astype(float) if name == self.y else None

    def over(self, names: tuple[str, ...], function: Callable[[Spec], Any]) -> Array:
        """function(Spec) for every value of those axes among ``names``, as an array that broadcasts over (y, x) before
        the function's own axes. The Specs have two layers."""
        xs = self.xs if self.x in names else self.xs[:1]
        ys = self.ys if self.y in names else self.ys[:1]
        base = self.spec.replace(depth=2)
        rows = []
        for y in ys:
            for x in xs:
                here = {self.x: _plain(x), self.y: _plain(y)}
                rows.append(function(with_values(base, {name: here[name] for name in here if name in names})))
        table = np.array(rows, dtype=float)
        return table.reshape(ys.size, xs.size, *table.shape[1:])


def _plain(value: Any) -> Any:
    """A NumPy number as Python's own; whole numbers as int, so that integer fields take them."""
    number = float(value)
    return int(number) if number.is_integer() else number


def serves(family: Family) -> bool:
    """Whether the vectorised recursion answers these Specs: equal widths, random weights, no norm or one of a sample
    before the activation, no residual or the identity, a cotangent independent of the signal."""
    spec = family.spec
    axes = (family.x, family.y)
    norm = NORMALIZATIONS[spec.norm]
    per_sample = spec.norm == "none" or (norm.over == "features" and spec.norm_position == "before")
    return (
        not isinstance(spec.width, tuple)
        and spec.init_entry.kind in ("gaussian", "uniform", "truncated", "orthogonal")
        and per_sample
        and "norm_beta" not in axes
        and spec.residual in SKIPS
        and spec.loss == "random"
        and _has_tail(spec)
    )


def _has_tail(spec: Spec) -> bool:
    """Whether the moments table holds this activation down to its smallest signals. A shift into a flat part of the
    activation (ReLU behind a norm with norm_beta = -4) leaves moments there whose logarithms are no floats."""
    moments = moments_of(spec.activation, spec.slope, _shift(spec))
    at = moments.at(np.array([LOG_LOW]))
    return moments.homogeneous or bool(np.isfinite([at.log_second, at.log_slope_second]).all())


def _shift(spec: Spec) -> float:
    """What is added to the activation's argument in every unit."""
    return spec.norm_beta if NORMALIZATIONS[spec.norm].has_beta else 0.0


def _log(values: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.log(values)


def _weights(family: Family) -> tuple[Array, Array]:
    """ln sigma_w^2 of layer 1 and of the others; what the gain does by itself is not asked cell by cell."""
    spec = family.spec

    def logs(one: Spec) -> Array:
        return _log(weight_variances(one)[:2] * one.fan_ins[:2])

    named = SIGMA_W if SIGMA_W in (family.x, family.y) else "gain"
    scale = family.axis(named)
    if scale is None and isinstance(spec.gain, float):
        scale = np.full((1, 1), spec.gain)
    if scale is None or not spec.init_entry.unit_std_is_linear_in_gain:
        biases = BIAS_AXES if spec.gain == "critical" else ()
        both = family.over((*SHAPE, "gain", SIGMA_W, *biases), logs)
        return both[..., 0], both[..., 1]
    unit = Family(spec.replace(gain=1.0), family.x, family.xs, family.y, family.ys).over(SHAPE, logs)
    first, rest = unit[..., 0], unit[..., 1]
    log_scale = 2.0 * _log(scale)
    if named == SIGMA_W:
        return log_scale + first - rest, log_scale + 0.0 * rest
    return log_scale + first, log_scale + rest


def _biases(family: Family) -> tuple[Array, Array]:
    """ln sigma_b^2 of layer 1 and of the others."""
    spec = family.spec
    for name in BIAS_AXES:
        scale = family.axis(name)
        if scale is not None:
            return 2.0 * _log(scale), 2.0 * _log(scale)
    if isinstance(spec.bias_std, float):
        both = 2.0 * _log(np.full((1, 1), spec.bias_std))
        return both, both
    both = family.over(SHAPE, lambda one: _log(bias_variances(one)[:2]))
    return both[..., 0], both[..., 1]


def _number(family: Family, field: str) -> Array:
    """The values of a numeric field over the map."""
    along = family.axis(field)
    return np.full((1, 1), float(getattr(family.spec, field))) if along is None else along


def ensemble(family: Family, depth: int) -> tuple[Ensemble, Array]:
    """(the networks of this depth over both axes, flattened from (y, x), with their ln sigma_w^2 of layer 1).

    A depth axis is flattened as if all were ``depth`` deep; only alpha = 1/sqrt(L) depends on it otherwise.
    """
    spec = family.spec
    first, rest = _weights(family)
    bias_first, bias_rest = _biases(family)
    log_p = 2.0 * _log(_number(family, "input_rms"))
    parts: dict[str, Array] = {
        "log_start": np.logaddexp(first + log_p, bias_first),
        "log_in": rest,
        "log_bias": bias_rest,
        "first": first,
    }
    if spec.residual != "none":
        known = isinstance(spec.residual_scale, float) or family.axis("residual_scale") is not None
        alpha = _number(family, "residual_scale") if known else np.full((1, 1), depth**-0.5)
        parts["log_alpha2"] = 2.0 * _log(np.abs(alpha))
    if spec.norm != "none":
        parts["log_gamma2"] = 2.0 * _log(np.abs(_number(family, "norm_gamma")))
        parts["log_eps"] = _log(_number(family, "norm_eps"))
    moments = moments_of(spec.activation, spec.slope, _shift(spec))
    if moments.homogeneous:
        parts["log_tail"] = family.over(("negative_slope",), lambda one: _log_tail(one))
    shape = (1 if family.y == "depth" else family.ys.size, 1 if family.x == "depth" else family.xs.size)
    flat = {name: np.ascontiguousarray(np.broadcast_to(part, shape)).ravel() for name, part in parts.items()}
    log_first = flat.pop("first")
    return Ensemble(moments, **flat), log_first


def _log_tail(spec: Spec) -> float:
    square = moments_of(spec.activation, spec.slope).tail_square
    return math.log(square) if square > 0.0 else -math.inf
