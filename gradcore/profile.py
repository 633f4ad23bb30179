"""The analytic answer: what theory predicts for every layer of a Spec, before any network is built."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.errors import SpecError
from gradcore.spec import Spec
from gradcore.theory import exact_product, finite_width, sampler
from gradcore.theory.fields import field_of
from gradcore.theory.laws import Expansion, Infinite, Sampled
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
    network of the given width. -inf is legal; NaN never occurs.
    Source of each formula: docs/theory.md. Raises UnsupportedError on construction where theory has no answer.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._field = field_of(spec)
        self._sampled: Sampled | None = None
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

    @cached_property
    def expansion(self) -> Infinite:
        """What is known at once of one random network: its exact law, or the leading order in 1/width, else infinite
        width."""
        if exact_product.applies(self.spec) and np.isfinite(self.log_g).all():
            return exact_product.ExactProduct(self._base, self.spec)
        return Infinite(self._base) if self._finite is None else Expansion(self._base, self._finite)

    @cached_property
    def band_source(self) -> str | None:
        """Where ``band`` comes from: "exact" for products of independent factors (linear and ReLU nets with Gaussian
        weights, one sample, no bias); "expansion" where the leading order in 1/width holds; "sampler" where it does not
        or is not known, and networks can be sampled; None where neither."""
        if self.expansion_reliable:
            return self.expansion.source
        if sampler.can_sample(self.spec, self.log_q):
            return "sampler"
        return "expansion" if self._finite is not None else None

    @property
    def expansion_reliable(self) -> bool:
        """Whether ``expansion`` covers what it claims."""
        return self.expansion.source == "exact" or (self._finite is not None and self._finite.reliable)

    @property
    def at_hand(self) -> Infinite:
        """The best law that costs nothing now: the sample if ``sample`` has drawn it, else ``expansion``."""
        return self._sampled or self.expansion

    @property
    def unsampled(self) -> float:
        """The work (theory.sampler.work; 1e8 take about 2 s) that ``sample`` would do now; 0 where it has nothing to
        do."""
        return sampler.work(self.spec) if self.band_source == "sampler" and self._sampled is None else 0.0

    def sample(self, progress: Callable[[int, int], object] = lambda done, total: None) -> None:
        """Draw the networks that ``band`` needs where ``band_source`` is "sampler" (seconds); once.

        ``progress(done, total)`` hears of the networks drawn; what it raises ends the sampling.
        """
        if self.band_source == "sampler" and self._sampled is None:
            self._sampled = Sampled(self._base, sampler.sample(self.spec, progress=progress))

    def _law(self) -> Infinite:
        self.sample()
        return self.at_hand

    def mean(self, name: str) -> Array:
        """(L,) ln E over random networks of the per-network second moment ``name`` ("log_q", ...).

        By the law of ``band_source``, sampled on first use where that is "sampler"; the infinite-width value where it
        is None; for cross-entropy with the part of the cotangent that is aligned with the output (order q / n).
        """
        return self._law().mean(_checked(name))

    def median(self, name: str) -> Array:
        """(L,) ln of the median over random networks, by the same law; the mean where that is unknown."""
        return self._law().median(_checked(name))

    def band(self, name: str, level: float = 0.95) -> tuple[Array, Array] | None:
        """(low, high), (L,) each: the central ``level`` of one random network, or None where ``band_source`` is None.

        Sources: Hanin & Nica 2019, Yaida 2020, Roberts, Yaida & Hanin 2022 for the expansion; docs/theory.md for the
        sampler. Raises SpecError for a level outside (0, 1).
        """
        _checked(name)
        if not 0.0 < level < 1.0:
            raise SpecError("level", level, "a number between 0 and 1")
        return self._law().band(name, level)

    def variance(self, name: str) -> Array | None:
        """(L,) variance of the log of one random network, by the same law; None where ``band_source`` is None."""
        return self._law().variance(_checked(name))

    def _base(self, name: str) -> Array:
        """Infinite width, for cross-entropy with the aligned part of its cotangent."""
        aligned = getattr(self._field, "aligned_quantities", None) or {}
        return aligned.get(name, self._infinite(name))

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
    def dead_network(self) -> Array:
        """(L,) probability that a network of this width is dead by layer l: some layer up to l has only units that are
        flat on the whole batch, so that no gradient passes it.

        1 - prod over layers up to l of (1 - dead^n), the units of a layer being independent given the one below:
        exact for a single sample without biases (Hanin 2018: 2^-n a layer for ReLU), to leading order otherwise.
        """
        with np.errstate(divide="ignore"):
            log_layer = np.log(self.dead) * self.spec.layer_widths
        log_layer[-1] = -math.inf  # the output has no activation
        return -np.expm1(np.cumsum(np.log1p(-np.minimum(np.exp(log_layer), 1.0 - 1e-16))))

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
