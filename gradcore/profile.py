"""The analytic answer: what theory predicts for every layer of a Spec, before any network is built."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.errors import SpecError
from gradcore.spec import Spec
from gradcore.theory import finite_width
from gradcore.theory.fields import field_of
from gradcore.theory.precision import DtypeEvents, dtype_events
from gradcore.theory.shares import dead_share

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray
QUANTITIES = ("log_q", "log_p", "log_g", "log_dw", "log_db")


@dataclass(frozen=True)
class Note:
    """An assumption that does not hold, or a fact the numbers rest on: message id, values, English sentence."""

    message_id: str
    values: dict[str, Any]
    sentence: str

    def __str__(self) -> str:
        return self.sentence


class Profile:
    """Prediction for one Spec. Arrays have shape (L,), l = 1..L at index l - 1; natural logs of second moments.

    ``log_q`` ln E (z^l)^2 (not centred; before a norm; of the stream for residuals), ``log_p`` ln E (x^(l-1))^2,
    ``log_g`` ln E (delta^l)^2 with delta_b = B dC/dz_b, ``log_dw``, ``log_db`` ln of the mean square entry
    of dC/dW^l, dC/db^l; all at infinite width. ``log_*_mean``, ``log_*_median`` and ``band`` are for one random
    network of the given width, to leading order. -inf is legal; NaN never occurs.
    Source of each formula: docs/theory.md. Raises UnsupportedError on construction where theory has no answer.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._field = field_of(spec)
        self.log_q: Array = _clean(self._field.log_q)
        self.log_p: Array = _clean(self._field.log_p)

    # --- infinite width -------------------------------------------------------------------------------------

    @cached_property
    def log_g(self) -> Array:
        """(L,) ln E (delta^l)^2."""
        return _clean(self._field.log_g)

    @cached_property
    def log_dw(self) -> Array:
        """(L,) ln of the mean square entry of dC/dW^l."""
        return _clean(self._field.parameter_gradients[0])

    @cached_property
    def log_db(self) -> Array:
        """(L,) ln of the mean square entry of dC/db^l."""
        return _clean(self._field.parameter_gradients[1])

    @cached_property
    def chi(self) -> Array:
        """(L,) factor by which the total squared gradient norm changes from layer l + 1 to l (second moment)."""
        return np.nan_to_num(self._field.chi, nan=0.0, posinf=math.inf)

    @cached_property
    def chi_parallel(self) -> Array:
        """(L,) slope dq^(l+1)/dq^l of the variance map."""
        return np.nan_to_num(self._field.chi_parallel, nan=0.0, posinf=math.inf)

    @cached_property
    def correlation(self) -> Array:
        """(L,) correlation between two samples of the batch (mean over pairs), z_a . z_b / abs(z)^2."""
        pairs = self._field.correlations[0]
        return pairs.mean(axis=1) if pairs.shape[1] else np.ones(self.spec.depth)

    @cached_property
    def saturated(self) -> Array:
        """(L,) share of units (and samples) with abs(phi') < 0.05 max abs(phi')."""
        return np.clip(self._field.saturated, 0.0, 1.0)

    @cached_property
    def dead(self) -> Array:
        """(L,) share of units with phi' = 0 on the whole batch."""
        return dead_share(self.spec, self._field, self.log_q)

    @property
    def gain_origin(self) -> str:
        """Where the gain comes from: given, torch's calculate_gain, exact, or critical."""
        return self._field.origin

    @cached_property
    def sigma_w(self) -> Array:
        """(L,) std(W) sqrt(fan_in) of every layer."""
        from gradcore.theory.critical import weight_variances

        return np.sqrt(weight_variances(self.spec) * self.spec.fan_ins)

    # --- finite width ---------------------------------------------------------------------------------------

    @cached_property
    def _finite(self) -> finite_width.FiniteWidth | None:
        return finite_width.expansion(self)

    @property
    def band_source(self) -> str | None:
        """ "expansion" where the leading order in 1/width is known, else None."""
        return "expansion" if self._finite is not None else None

    def mean(self, name: str) -> Array:
        """(L,) ln E over random networks of the per-network second moment ``name`` ("log_q", ...).

        To leading order in 1/width where that is known, else the infinite-width value; for cross-entropy with the
        part of the cotangent that is aligned with the output (order q / n a layer).
        """
        aligned = getattr(self._field, "aligned_quantities", None) or {}
        base = aligned.get(_checked(name), self._infinite(name))
        return base if self._finite is None else base + self._finite.shift[name]

    def median(self, name: str) -> Array:
        """(L,) ln of the median over random networks, log-normal to leading order; the mean where that is unknown."""
        return self.mean(name) if self._finite is None else self.mean(name) - 0.5 * self._finite.variance[name]

    def band(self, name: str, level: float = 0.95) -> tuple[Array, Array] | None:
        """(low, high), (L,) each: the central ``level`` of one random network, log-normal to leading order.

        None where ``band_source`` is None. Source: Hanin & Nica 2019, Yaida 2020, Roberts, Yaida & Hanin 2022.
        """
        _checked(name)
        if not 0.0 < level < 1.0:
            raise SpecError("level", level, "a number between 0 and 1")
        if self._finite is None:
            return None
        reach = self._finite.reach(name, level)
        return self.median(name) - reach, self.median(name) + reach

    def variance(self, name: str) -> Array | None:
        """(L,) variance of the log of one random network, to leading order; None where ``band_source`` is None."""
        return None if self._finite is None else self._finite.variance[_checked(name)]

    def _infinite(self, name: str) -> Array:
        return getattr(self, _checked(name))

    # --- precision and assumptions --------------------------------------------------------------------------

    @cached_property
    def precision(self) -> dict[str, DtypeEvents]:
        """Per dtype (float64, float32, bfloat16, float16) the first layer that over- or underflows."""
        return dtype_events(self)

    @property
    def dead_from(self) -> int | None:
        """The first layer whose signal is exactly zero, 1-based; None where there is none."""
        dead = np.flatnonzero(np.isneginf(self.log_q))
        return int(dead[0]) + 1 if dead.size else None

    @cached_property
    def notes(self) -> tuple[Note, ...]:
        """What the numbers rest on, and which assumption fails, if one does."""
        from gradcore.theory.notes import notes_of

        return tuple(Note(*entry) for entry in notes_of(self))

    def to_frame(self) -> pd.DataFrame:
        """Tidy pandas frame: layer, quantity, value (natural logs for log_*)."""
        import pandas as pd

        names = (*QUANTITIES, "chi", "chi_parallel", "correlation", "saturated", "dead")
        layers = np.arange(1, self.spec.depth + 1)
        parts = [pd.DataFrame({"layer": layers, "quantity": n, "value": getattr(self, n)}) for n in names]
        return pd.concat(parts, ignore_index=True)

    def __repr__(self) -> str:
        ends = f"log_q {self.log_q[0]:.4g}..{self.log_q[-1]:.4g}, log_g {self.log_g[0]:.4g}..{self.log_g[-1]:.4g}"
        return f"Profile(depth={self.spec.depth}, {ends}, chi={self.chi[-1]:.4g})"


def _finite_property(name: str, method: str) -> property:
    def get(self: Profile) -> Array:
        return getattr(self, method)(name)

    return property(get, doc=f"(L,) finite-width {method} of {name}; see Profile.{method}.")


for _name in QUANTITIES:
    setattr(Profile, f"{_name}_mean", _finite_property(_name, "mean"))
    setattr(Profile, f"{_name}_median", _finite_property(_name, "median"))


def _checked(name: str) -> str:
    if name not in QUANTITIES:
        raise SpecError("name", name, "one of " + ", ".join(QUANTITIES))
    return name


def _clean(log: Array) -> Array:
    """The same logs, read-only; a NaN here is a defect of the theory and must not pass silently."""
    log = np.array(log, dtype=float)
    if np.isnan(log).any() or np.isposinf(log).any():
        raise ArithmeticError("the recursion left the representable logarithms; please report this Spec")
    log.flags.writeable = False
    return log


def predict(spec: Spec) -> Profile:
    """The analytic profile of a Spec (no torch involved). Raises UnsupportedError where theory has no answer."""
    if not isinstance(spec, Spec):
        raise SpecError("spec", spec, "a gradcore.Spec", "Make one with gradcore.Spec(...).")
    return Profile(spec)
