"""The one table of the Spec's fields: default, what is allowed, how a value is read and written as text.

The name of a field is also the query parameter, the JSON key and the command-line flag.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcore.activations import ACTIVATIONS
from gradcore.errors import SpecError
from gradcore.initializers import ALIASES, INITIALIZERS
from gradcore.normalization import NORMALIZATIONS
from gradcore.residual import INVERSE_SQRT_DEPTH, RESIDUALS

MAX_DEPTH = 10_000
MAX_WIDTH = 10**9
MAX_BATCH = 10**6
INPUTS = ("gaussian", "digits")
LOSSES = ("random", "mse", "cross_entropy")


@dataclass(frozen=True)
class Field:
    """One field: ``check(name, value)`` returns the stored value or raises SpecError; ``read(text)`` undoes
    ``write(value)``; ``choices`` are the codes of a table where there is one."""

    name: str
    default: Any
    check: Callable[[str, Any], Any]
    read: Callable[[str], Any]
    help: str
    group: str
    choices: tuple[str, ...] = ()

    def write(self, value: Any) -> str:
        """The value as text that ``read`` turns back into an equal value."""
        if isinstance(value, tuple):
            return ",".join(str(n) for n in value) + ("," if len(value) == 1 else "")
        return value if isinstance(value, str) else repr(value)


# --- checks ------------------------------------------------------------------------------------------------


def _as_int(name: str, value: Any, allowed: str) -> int:
    if isinstance(value, bool):
        raise SpecError(name, value, allowed)
    whole: Any = int(value) if isinstance(value, float) and value.is_integer() else value
    try:
        return operator.index(whole)
    except TypeError:
        raise SpecError(name, value, allowed) from None


def _integer(low: int, high: int) -> Callable[[str, Any], int]:
    allowed = f"an integer from {low:,} to {high:,}"

    def check(name: str, value: Any) -> int:
        number = _as_int(name, value, allowed)
        if not low <= number <= high:
            raise SpecError(name, value, allowed)
        return number

    return check


def _number(low: float, high: float, words: tuple[str, ...] = ()) -> Callable[[str, Any], Any]:
    allowed = f"a number from {low:g} to {high:g}" + "".join(f', or "{word}"' for word in words)

    def check(name: str, value: Any) -> Any:
        if isinstance(value, str) and value in words:
            return value
        if isinstance(value, (bool, np.bool_, complex, str, bytes)) or value is None:
            raise SpecError(name, value, allowed)
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise SpecError(name, value, allowed) from None
        if not (math.isfinite(number) and low <= number <= high):
            raise SpecError(name, value, allowed)
        return number + 0.0  # -0.0 becomes 0.0

    return check


def _optional(check: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    return lambda name, value: None if value is None else check(name, value)


def _choice(codes: Sequence[str], aliases: dict[str, str] | None = None) -> Callable[[str, Any], str]:
    allowed = "one of " + ", ".join(codes)
    known = {**{code: code for code in codes}, **(aliases or {})}

    def check(name: str, value: Any) -> str:
        if not isinstance(value, str) or value not in known:
            from difflib import get_close_matches

            near = get_close_matches(str(value), list(known), n=1)
            raise SpecError(name, value, allowed, f"Did you mean {near[0]}?" if near else "")
        return known[value]

    return check


def _width(name: str, value: Any) -> int | tuple[int, ...]:
    one = _integer(1, MAX_WIDTH)
    allowed = f"an integer from 1 to {MAX_WIDTH:,}, or a sequence of one such integer per layer"
    if isinstance(value, str) or value is None:
        raise SpecError(name, value, allowed)
    try:
        if hasattr(value, "__iter__"):
            entries = tuple(one(name, entry) for entry in value)
            if entries:
                return entries
            raise SpecError(name, value, allowed)
        return one(name, value)
    except SpecError as error:
        raise SpecError(name, error.value, allowed) from None


# --- readers -----------------------------------------------------------------------------------------------


def _read_int(text: str) -> Any:
    try:
        return int(text.replace("_", ""))
    except ValueError:
        return text


def _read_number(text: str) -> Any:
    """A float, also written as a fraction such as 5/3; other text is returned for the check to refuse."""
    top, slash, bottom = text.partition("/")
    try:
        return float(top) / float(bottom) if slash else float(text)
    except (ValueError, ZeroDivisionError):
        return text


def _read_width(text: str) -> Any:
    """An int, or a tuple where there is a comma ("7," is a tuple of one)."""
    return tuple(_read_int(part) for part in text.removesuffix(",").split(",")) if "," in text else _read_int(text)


def _read_optional(read: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: None if text in ("", "None", "none") else read(text)


# the same checks and readers for the fields of other questions (gradcore.cell_spec, gradcore.experiments)
integer, number, optional, choice = _integer, _number, _optional, _choice
read_int, read_number, read_optional = _read_int, _read_number, _read_optional

# --- the table ---------------------------------------------------------------------------------------------

_NORMS, _RESIDUALS = tuple(NORMALIZATIONS), tuple(RESIDUALS)
_ACTIVATIONS, _INITIALIZERS = tuple(ACTIVATIONS), tuple(INITIALIZERS)

FIELDS: dict[str, Field] = {
    f.name: f
    for f in (
        Field("depth", 50, _integer(1, MAX_DEPTH), _read_int, "number L of weight layers", "network"),
        Field("width", 256, _width, _read_width, "units per layer: one number, or one per layer", "network"),
        Field(
            "input_width",
            None,
            _optional(_integer(1, MAX_WIDTH)),
            _read_optional(_read_int),
            "fan-in of layer 1; default: the first width (64 for digits)",
            "network",
        ),
        Field("activation", "relu", _choice(_ACTIVATIONS), str, "activation", "network", _ACTIVATIONS),
        Field(
            "negative_slope",
            None,
            _optional(_number(-1000, 1000)),
            _read_optional(_read_number),
            "slope of leaky_relu and prelu below 0; default: torch's",
            "network",
        ),
        Field(
            "init",
            "xavier_normal",
            _choice(_INITIALIZERS, ALIASES),
            str,
            "weight initializer",
            "initialization",
            _INITIALIZERS,
        ),
        Field(
            "gain",
            1.0,
            _number(0, 1e30, ("auto", "critical")),
            _read_number,
            "factor on the weights: a number, auto (calculate_gain) or critical",
            "initialization",
        ),
        Field("sparsity", 0.8, _number(0, 1), _read_number, "share of zeros per column (sparse)", "initialization"),
        Field(
            "bias_std",
            0.0,
            _number(0, 1e30, ("default",)),
            _read_number,
            "std of the biases, or default (nn.Linear's own law)",
            "initialization",
        ),
        Field("norm", "none", _choice(_NORMS), str, "normalization", "remedies", _NORMS),
        Field(
            "norm_position",
            "before",
            _choice(("before", "after")),
            str,
            "normalize before or after the activation",
            "remedies",
            ("before", "after"),
        ),
        Field("norm_gamma", 1.0, _number(-1e6, 1e6), _read_number, "scale after normalizing", "remedies"),
        Field("norm_beta", 0.0, _number(-1e6, 1e6), _read_number, "shift after normalizing", "remedies"),
        Field("norm_eps", 1e-5, _number(0, 1e6), _read_number, "epsilon added to the variance", "remedies"),
        Field("residual", "none", _choice(_RESIDUALS), str, "residual form", "remedies", _RESIDUALS),
        Field(
            "residual_scale",
            1.0,
            _number(-1e6, 1e6, (INVERSE_SQRT_DEPTH,)),
            lambda text: text if text == INVERSE_SQRT_DEPTH else _read_number(text),
            "factor alpha on the residual branch: a number or 1/sqrt(L)",
            "remedies",
        ),
        Field("batch_size", 16, _integer(1, MAX_BATCH), _read_int, "samples B in the batch", "data"),
        Field("input", "gaussian", _choice(INPUTS), str, "input data", "data", INPUTS),
        Field("input_rms", 1.0, _number(1e-30, 1e30), _read_number, "RMS of the input", "data"),
        Field(
            "input_correlation",
            0.0,
            _number(0, 1),
            _read_number,
            "correlation between two Gaussian inputs",
            "data",
        ),
        Field("loss", "random", _choice(LOSSES), str, "loss that sends the gradient back", "data", LOSSES),
    )
}
