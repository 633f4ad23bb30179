"""Recurrent cells at initialization, predicted and measured: gradients of the last step back to each step.

spec = gc.CellSpec(cell="lstm", hidden_size=512, forget_bias=3)
gc.predict_cell(spec).factor()                       # 1.08 per step in mean square: explodes
gc.predict_cell(spec).untied.factor()                # 0.92: what the textbook product says
gc.measure_cell(spec, networks=8).factor()           # torch's own nn.LSTM
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gradcore.cell_spec import CellSpec
from gradcore.cell_verdict import CellVerdict, gate_detail, judge, log_factor, untied_detail, width_detail, window_of
from gradcore.errors import SpecError
from gradcore.theory import recurrent_maps
from gradcore.theory.cells import CELLS, cell_of
from gradcore.theory.recurrent import CellLaw, Curves, curves
from gradcore.theory.tied_linear import tied_horizon
from gradcore.words import Message

Array = np.ndarray
QUANTITIES = ("log_v", "log_h")


def law_of(spec: CellSpec) -> CellLaw:
    """The numbers of a CellSpec that the fields of theory depend on."""
    return CellLaw(spec.sigma_w**2, spec.input_variance, spec.bias_variance, dict(spec.given_biases), spec.state_rms**2)


class CellProfile:
    """Prediction for one CellSpec at infinite width. Arrays (T,), step t = 1..T at index t - 1; natural logs of second
    moments per unit; computed when first asked for (LSTM, GRU: under a second for 40 steps).

    ``log_v`` ln E (dL/dh_t)^2 for a cotangent N(0, 1) on h_T alone (0 at t = T; the LSTM's h_t, not its c_t);
    ``log_h`` ln E h_t^2; ``gates`` name -> (T,) mean of the gate over units (the LSTM's i, f, g, o; the GRU's r, z, n;
    the plain cell's h), ``gate_spreads`` its std. -inf is legal; NaN never occurs.

    Plain cell: the maps of a fully connected net, exact at infinite width (``gradcore.theory.recurrent_maps``). LSTM,
    GRU: dynamical mean-field theory with tied weights (``gradcore.theory.recurrent``), seeded; another ``seed`` moves
    a factor per step by about 0.3% (1% in chaotic cells). ``untied`` is the same with fresh weights at each step: the
    product of mean factors that textbooks give (Chen, Pennington & Schoenholz 2018; Gilboa et al. 2019).
    """

    def __init__(self, spec: CellSpec, seed: int = 0, tied: bool = True) -> None:
        self.spec, self.seed, self.tied = spec, seed, tied

    @cached_property
    def _curves(self) -> Curves:
        spec, law = self.spec, law_of(self.spec)
        if spec.cell != "rnn":
            return curves(cell_of(spec.cell), law, spec.steps, self.seed, self.tied)
        found = recurrent_maps.maps(spec.activation, law, spec.steps)
        return Curves(found.log_v, found.log_h, {"h": found.mean}, {"h": found.spread})

    @property
    def log_v(self) -> Array:
        """(T,) ln E (dL/dh_t)^2."""
        return self._curves.log_v

    @property
    def log_h(self) -> Array:
        """(T,) ln E h_t^2."""
        return self._curves.log_h

    @property
    def gates(self) -> dict[str, Array]:
        """Gate -> (T,) its mean over units."""
        return self._curves.gates

    @property
    def gate_spreads(self) -> dict[str, Array]:
        """Gate -> (T,) its std over units."""
        return self._curves.spreads

    @property
    def window(self) -> tuple[int, int]:
        """The steps between which ``factor`` is taken by default: T/4 and 3T/4."""
        return window_of(self.spec.steps)

    def factor(self, start: int | None = None, stop: int | None = None) -> float:
        """(V_start / V_stop)^(1 / (stop - start)), V_t = E (dL/dh_t)^2: the mean square's factor per step back in time.

        By default between steps T/4 and 3T/4, (V_10/V_30)^(1/20) for T = 40. Not an eigenvalue: with tied weights the
        prefactor decays like a power of the distance, so a factor belongs to its window. Its root is the factor of the
        RMS. Raises SpecError for a window outside 1 <= start < stop <= T.
        """
        return _exp(log_factor(self.log_v, *_checked_window(self.spec, start, stop)))

    @property
    def log_reach(self) -> float:
        """ln of the RMS of dL/dh_1 over that of dL/dh_T; -inf where nothing reaches step 1."""
        return 0.5 * float(self.log_v[0] - self.log_v[-1]) if math.isfinite(self.log_v[0]) else -math.inf

    @cached_property
    def untied(self) -> CellProfile:
        """What the product of independent steps gives; for the plain cell the same."""
        return self if not self.tied or self.spec.cell == "rnn" else CellProfile(self.spec, self.seed, tied=False)

    @cached_property
    def fixed_point(self) -> tuple[float, float] | None:
        """The plain cell's (q*, chi(q*)), variance of the pre-activation and factor per step; None for the others."""
        if self.spec.cell != "rnn":
            return None
        log_q, log_chi = recurrent_maps.fixed_point(self.spec.activation, law_of(self.spec))
        return _exp(log_q), _exp(log_chi)

    @property
    def horizon(self) -> float | None:
        """The plain cell's 2 sqrt(n): steps up to which a network of this width follows infinite width; None else."""
        return tied_horizon(self.spec.hidden_size) if self.spec.cell == "rnn" else None

    @cached_property
    def verdict(self) -> CellVerdict:
        """vanishing, stable or exploding by the factor of the default window over all T steps; a factor 2 in RMS is
        stable. Details: the untied value, the plain cell's finite-width caveat, the gate that keeps the memory."""
        return judge(self.spec, self.log_v, self._details())

    def _details(self) -> tuple[Message, ...]:
        if self.horizon is not None:
            return (width_detail(self.spec, self.horizon),)
        details = [gate_detail(g, float(self.gates[g][-1])) for g in [CELLS[self.spec.cell].biased] if g]
        if self.untied is not self:
            rates = [log_factor(p.log_v, *self.window) for p in (self, self.untied)]
            if all(map(math.isfinite, rates)):
                details.append(untied_detail(self.spec, *rates))
        return tuple(details)

    def to_json(self) -> dict[str, Any]:
        """A JSON object: the spec and the curves (None for -inf)."""
        return _document(self.spec, {"seed": self.seed, "tied": self.tied}, self.log_v, self.log_h, self.gates)

    def __repr__(self) -> str:
        return f"CellProfile({self.spec.cell}, steps={self.spec.steps}, factor={self.factor():.4g})"


@dataclass(frozen=True, eq=False)
class CellMeasurement:
    """Statistics of measured networks. ``log_v``, ``log_h`` (networks, T): natural logs of second moments over units
    and sequences of one network, as in :class:`CellProfile`; ``gates`` name -> (networks, T) means."""

    spec: CellSpec
    seed: int
    dtype: str
    networks: tuple[int, ...]
    log_v: Array
    log_h: Array
    gates: dict[str, Array]

    def mean(self, name: str) -> Array:
        """(T,) ln of the mean over networks of the second moment ``name`` ("log_v", "log_h"); nan where the dtype of
        one of them broke."""
        logs = self._logs(name)
        with np.errstate(invalid="ignore"):
            return np.logaddexp.reduce(logs, axis=0) - math.log(len(logs))

    def median(self, name: str) -> Array:
        """(T,) median over networks of the log."""
        return np.median(self._logs(name), axis=0)

    def _logs(self, name: str) -> Array:
        if name not in QUANTITIES:
            raise SpecError("name", name, "one of " + ", ".join(QUANTITIES))
        return getattr(self, name)

    def factor(self, start: int | None = None, stop: int | None = None) -> float:
        """The factor per step back of the mean over networks; window and units as in ``CellProfile.factor``."""
        return _exp(log_factor(self.mean("log_v"), *_checked_window(self.spec, start, stop)))

    def factor_error(self, start: int | None = None, stop: int | None = None) -> float:
        """Standard error of ``factor``, from the scatter between networks (delta method); nan for one network."""
        first, last = _checked_window(self.spec, start, stop)
        n = len(self.networks)
        if n < 2:
            return math.nan
        mean = self.mean("log_v")
        ends = [np.exp(self.log_v[:, t - 1] - mean[t - 1]) for t in (first, last)]
        error = float(np.std(ends[0] - ends[1], ddof=1)) / math.sqrt(n) / (last - first)
        return self.factor(first, last) * error

    @property
    def verdict(self) -> CellVerdict:
        """The verdict on the mean over networks."""
        return judge(self.spec, self.mean("log_v"))

    @staticmethod
    def merge(*parts: CellMeasurement) -> CellMeasurement:
        """All networks of the parts: same spec, seed and dtype, no network twice. Raises SpecError."""
        if not parts:
            raise SpecError("parts", parts, "at least one CellMeasurement")
        first = parts[0]
        for part in parts[1:]:
            for name in ("spec", "seed", "dtype"):
                if getattr(part, name) != getattr(first, name):
                    raise SpecError(name, getattr(part, name), f"{getattr(first, name)!r}, as in the first part")
        indices = [i for part in parts for i in part.networks]
        if len(set(indices)) != len(indices):
            raise SpecError("networks", tuple(indices), "each network once over all parts")
        order = np.argsort(indices, kind="stable")
        rows = [np.concatenate([getattr(p, name) for p in parts])[order] for name in QUANTITIES]
        gates = {name: np.concatenate([p.gates[name] for p in parts])[order] for name in first.gates}
        networks = tuple(int(indices[k]) for k in order)
        return CellMeasurement(first.spec, first.seed, first.dtype, networks, rows[0], rows[1], gates)

    def to_json(self) -> dict[str, Any]:
        """A JSON object: the spec and the networks' curves (None where not finite)."""
        about = {"seed": self.seed, "dtype": self.dtype, "networks": list(self.networks)}
        return _document(self.spec, about, self.log_v, self.log_h, self.gates)

    def __repr__(self) -> str:
        return f"CellMeasurement({self.spec.cell}, {len(self.networks)} networks, factor={self.factor():.4g})"


def predict_cell(spec: CellSpec, seed: int = 0) -> CellProfile:
    """The prediction for a cell (no torch involved); computed as it is asked for. Raises SpecError."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise SpecError("seed", seed, "an integer from 0 on")
    return CellProfile(_checked_spec(spec), int(seed))


def measure_cell(
    spec: CellSpec,
    *,
    networks: int | Iterable[int] = 8,
    seed: int = 0,
    dtype: str = "float64",
    progress: Callable[[int, int], Any] | None = None,
) -> CellMeasurement:
    """Measure torch's own nn.RNN, nn.LSTM or nn.GRU cells of a CellSpec, back through time by autograd.

    ``networks`` is a number or a range of indices: network i depends on (spec, seed, i, dtype) only, so runs can be
    chunked and merged. ``progress(done, total)`` is called after each network; an exception it raises ends the run.
    Raises SpecError, UnsupportedError.
    """
    _checked_spec(spec)
    from gradcore.measure.arguments import network_indices
    from gradcore.measure.recurrent import measure_cells

    indices = network_indices(networks)
    rows, gates = measure_cells(spec, indices, seed, dtype, progress)
    return CellMeasurement(spec, seed, dtype, indices, rows["log_v"], rows["log_h"], gates)


def _checked_spec(spec: CellSpec) -> CellSpec:
    if not isinstance(spec, CellSpec):
        raise SpecError("spec", spec, "a gradcore.CellSpec", "Make one with gradcore.CellSpec(...).")
    return spec


def _checked_window(spec: CellSpec, start: int | None, stop: int | None) -> tuple[int, int]:
    default = window_of(spec.steps)
    ends = [d if given is None else given for given, d in zip((start, stop), default, strict=True)]
    for name, end in zip(("start", "stop"), ends, strict=True):
        if isinstance(end, bool) or not isinstance(end, (int, np.integer)) or not 1 <= end <= spec.steps:
            raise SpecError(name, end, f"a step from 1 to {spec.steps}")
    if ends[0] >= ends[1]:
        raise SpecError("stop", ends[1], f"a step after start = {ends[0]}")
    return int(ends[0]), int(ends[1])


def _exp(log: float) -> float:
    return math.inf if log > 709.0 else math.exp(log)


def _document(spec: CellSpec, about: dict[str, Any], log_v: Array, log_h: Array, gates: dict[str, Array]) -> dict:
    curves = {"log_v": log_v, "log_h": log_h, **{f"gate_{name}": values for name, values in gates.items()}}
    return {"spec": spec.to_json(), **about, **{name: _plain(values) for name, values in curves.items()}}


def _plain(values: Array) -> Any:
    """Nested lists for JSON, None where not finite."""
    return [_plain(v) if np.ndim(v) else (float(v) if math.isfinite(v) else None) for v in values]
