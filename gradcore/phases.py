"""Maps of one number of the prediction over two fields of the Spec, and where the critical line runs on them.

The plain networks (random weights, equal widths, no norm or layer/rms norm before the activation, no residual or the
identity, loss random) are all computed at once: one array operation a layer, moments from a table. All other cells
ask ``predict`` one by one, with the same answer, slower.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from gradcore.errors import GradcoreError, SpecError, UnsupportedError
from gradcore.profile import Profile, predict
from gradcore.spec import Spec
from gradcore.theory.axes import INTEGERS, axis_values, check_axis, place_of
from gradcore.theory.critical_curve import CriticalCurve, critical_curve
from gradcore.theory.family import Family, ensemble, serves
from gradcore.theory.fixed_points import check_plain, fixed_points
from gradcore.theory.grid import AT_REST, Ensemble, reached_fixed_point, trajectory
from gradcore.theory.moment_table import LOG_SECOND

Array = np.ndarray
Axis = str | tuple[str, Sequence[float] | np.ndarray]
Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class Scalar:
    """One number of a prediction. ``kind``: "log" (natural log of a second moment), "factor" (a positive factor of a
    second moment, critical at 1), "layers" (a depth scale, in layers) or "share" (a plain number).

    ``layer``: "" where the number is of the whole network; else of one layer, "first" or "last" being usual. ``label``
    is a msgid.
    """

    code: str
    label: str
    kind: str
    layer: str = ""


SCALARS: dict[str, Scalar] = {
    s.code: s
    for s in (
        Scalar("log_g", "gradient δ at layer {layer}", "log", "1"),
        Scalar("log_g_ratio", "gradient δ at layer 1 over that at the last layer", "log"),
        Scalar("log_factor", "gradient factor per layer, averaged over the network", "log"),
        Scalar("log_dw", "weight gradient at layer {layer}", "log", "1"),
        Scalar("log_q", "signal z at layer {layer}", "log", "last"),
        Scalar("log_p", "layer input x at layer {layer}", "log", "last"),
        Scalar("log_g_median", "gradient δ at layer {layer}, median network of this width", "log", "1"),
        Scalar("chi", "gradient factor χ at layer {layer}", "factor", "last"),
        Scalar("chi_star", "gradient factor χ where the signal settles", "factor"),
        Scalar("chi_parallel", "slope χ∥ of the variance map at layer {layer}", "share", "last"),
        Scalar("correlation", "correlation of two samples at layer {layer}", "share", "last"),
        Scalar("saturated", "share of saturated units at layer {layer}", "share", "1"),
        Scalar("log_q_star", "signal z where it settles", "log"),
        Scalar("xi_gradient", "layers over which the gradient changes by e", "layers"),
        Scalar("xi_c", "layers over which correlations settle by e", "layers"),
    )
}


def scalar_of(of: str) -> tuple[Scalar, int]:
    """(scalar, layer) of a code: "chi_star", "log_factor", or a quantity with its layer, "log_g_1", "log_q_last",
    "chi_10". The layer is 1-based, -1 for the last one, 0 where there is none. Raises SpecError."""
    allowed = "one of " + ", ".join(f"{s.code}_{s.layer}" if s.layer else s.code for s in SCALARS.values())
    if isinstance(of, str):
        if of in SCALARS and not SCALARS[of].layer:
            return SCALARS[of], 0
        code, _, layer = of.rpartition("_")
        if code in SCALARS and SCALARS[code].layer and (layer == "last" or (layer.isdigit() and len(layer) < 6)):
            number = -1 if layer == "last" else int(layer)
            if number:
                return SCALARS[code], number
    raise SpecError("of", of, allowed, 'Any layer may stand in place of the one named: "log_g_10".')


@dataclass(frozen=True)
class PhaseMap:
    """The answer of :func:`phase_map`: ``values[j, i]`` at x = ``xs[i]``, y = ``ys[j]``, shape (len(ys), len(xs)).

    Units by ``scalar.kind``: natural log of a second moment, factor of a second moment, layers, or a plain number. NaN
    where there is no answer; ``refused`` then holds each reason. ``vectorised``: whether all were computed at once.
    """

    spec: Spec
    x: str
    xs: Array = field(repr=False)
    y: str
    ys: Array = field(repr=False)
    of: str
    scalar: Scalar
    layer: int
    values: Array = field(repr=False)
    refused: tuple[GradcoreError, ...]
    vectorised: bool

    def cell(self, j: int, i: int) -> Spec:
        """The Spec of row j, column i."""
        return Family(self.spec, self.x, self.xs, self.y, self.ys).cell(j, i)

    @property
    def here(self) -> tuple[float | None, float | None]:
        """Where the map's own Spec stands, (x, y), words and defaults resolved."""
        return place_of(self.spec, self.x), place_of(self.spec, self.y)

    @cached_property
    def value_here(self) -> float:
        """The scalar of the map's own Spec; NaN where there is no answer."""
        try:
            return _scalar(self.spec, self.scalar, self.layer)
        except GradcoreError:
            return math.nan

    @cached_property
    def critical(self) -> CriticalCurve:
        """The critical line within the map, or the reason why there is none."""
        return critical_curve(self.spec, (self.x, self.xs), (self.y, self.ys))


def phase_map(spec: Spec, x: Axis, y: Axis, of: str = "log_g_1", *, progress: Progress | None = None) -> PhaseMap:
    """One number of the prediction over two fields of a Spec.

        gc.phase_map(spec, ("gain", np.linspace(0.1, 4, 100)), ("depth", range(2, 101)), of="log_g_1")

    ``x``, ``y``: (field, values), or the field's name alone for its ordinary range. Fields are the Spec's numeric
    ones, "sigma_w" (sets the gain so that std(W) sqrt(fan_in) of the last layer is that) and "sigma_b" (bias_std).
    ``of``: a code of ``SCALARS``, with a layer where it has one: "log_g_1", "log_q_last", "chi_10", "chi_star".
    ``progress(done, total)`` is called between cells where they are computed one by one; an exception ends the run.

    Values are those of ``predict`` at infinite width ("log_g_median": of one network of the width), to
    1e-9 max(1, prod chi_parallel). Raises SpecError for an unknown field or scalar, for two equal fields, and where no
    cell has a legal value. Source: Poole et al. 2016, Schoenholz et al. 2017; doing it for all cells at once is ours.
    """
    if not isinstance(spec, Spec):
        raise SpecError("spec", spec, "a gradcore.Spec", "Make one with gradcore.Spec(...).")
    (x_name, xs), (y_name, ys) = _axis("x", x, spec), _axis("y", y, spec)
    same = {x_name, y_name} in ({"gain", "sigma_w"}, {"bias_std", "sigma_b"})
    if x_name == y_name or same:
        raise SpecError("y", y_name, f"another field than {x_name}", "The two axes would set the same thing.")
    scalar, layer = scalar_of(of)
    family = Family(spec, x_name, xs, y_name, ys)
    values, refused = None, ()
    if _at_once(family, scalar):
        try:
            values = _all_at_once(family, scalar, layer)
        except SpecError:
            values = None  # some cell is not legal: one by one says which
    vectorised = values is not None
    if values is None:
        values, refused = _one_by_one(family, scalar, layer, progress)
    values.flags.writeable = False
    return PhaseMap(spec, x_name, xs, y_name, ys, of, scalar, layer, values, refused, vectorised)


def _axis(name: str, axis: Axis, spec: Spec) -> tuple[str, Array]:
    if isinstance(axis, str):
        return check_axis(name, axis), axis_values(spec, axis).astype(float)
    try:
        code, values = axis
        numbers = np.array(list(values), dtype=float)
    except (TypeError, ValueError):
        raise SpecError(name, axis, "a field's name, or (field, values)") from None
    if numbers.size == 0 or not np.isfinite(numbers).all():
        raise SpecError(name, values, "one finite number or more")
    broken = numbers[numbers != np.rint(numbers)]
    if check_axis(name, code) in INTEGERS and broken.size:
        raise SpecError(code, float(broken[0]), "an integer")
    numbers.flags.writeable = False
    return code, numbers


# --- one by one --------------------------------------------------------------------------------------------


def _one_by_one(
    family: Family, scalar: Scalar, layer: int, progress: Progress | None
) -> tuple[Array, tuple[GradcoreError, ...]]:
    """Every cell by ``predict``; cells without an answer are NaN, with the different reasons."""
    values = np.full((family.ys.size, family.xs.size), math.nan)
    refused: dict[str, GradcoreError] = {}
    for cell in range(values.size):
        if progress is not None:
            progress(cell, values.size)
        j, i = divmod(cell, family.xs.size)
        try:
            values[j, i] = _scalar(family.cell(j, i), scalar, layer)
        except (SpecError, UnsupportedError) as error:
            refused.setdefault(str(error), error)
    reasons = tuple(refused.values())
    if np.isnan(values).all() and reasons and all(isinstance(reason, SpecError) for reason in reasons):
        raise reasons[0]
    return values, reasons


def _scalar(spec: Spec, scalar: Scalar, layer: int) -> float:
    if scalar.code in WHOLE:
        return WHOLE[scalar.code](spec)
    if layer > spec.depth:
        raise SpecError("of", f"{scalar.code}_{layer}", f"a layer from 1 to depth = {spec.depth}")
    index = layer - 1 if layer > 0 else -1
    return float(LAYERED.get(scalar.code, lambda profile: getattr(profile, scalar.code))(predict(spec))[index])


LAYERED: dict[str, Callable[[Profile], Array]] = {"log_g_median": lambda profile: profile.expansion.median("log_g")}


def _ratio(spec: Spec) -> float:
    log_g = predict(spec).log_g
    return -math.inf if log_g[0] == -math.inf else float(log_g[0] - log_g[-1])


def _per_layer(spec: Spec) -> float:
    return _ratio(spec) / max(spec.depth - 1, 1)


def _settled(spec: Spec) -> tuple[float, float]:
    """(ln q*, chi there) of the fixed point that the signal of this Spec goes to."""
    check_plain(spec)
    one = Family(spec, "input_rms", np.array([spec.input_rms]), "norm_eps", np.array([spec.norm_eps]))
    networks, _ = ensemble(one, spec.depth)
    log_q = reached_fixed_point(networks)
    return float(log_q[0]), float(_chi_at(networks, log_q)[0])


def _xi_c(spec: Spec) -> float:
    """-1/ln chi_c at the fixed point that the signal goes to; nan where it dies or grows without end."""
    log_q = _settled(spec)[0]
    near = [p for p in fixed_points(spec) if p.q > 0.0 and abs(math.log(p.q) - log_q) < 1e-6]
    return math.nan if not near or near[0].xi_c is None else near[0].xi_c


WHOLE: dict[str, Callable[[Spec], float]] = {
    "log_g_ratio": _ratio,
    "log_factor": _per_layer,
    "chi_star": lambda spec: _settled(spec)[1],
    "log_q_star": lambda spec: _settled(spec)[0],
    "xi_gradient": lambda spec: float(_xi_gradient(np.array(_settled(spec)[1]))),
    "xi_c": _xi_c,
}


def _xi_gradient(chi: Array) -> Array:
    """1 / abs(ln chi): inf at chi = 1 (to rounding), 0 where nothing passes."""
    with np.errstate(divide="ignore"):
        log = np.abs(np.log(chi))
        return np.where(log < AT_REST, math.inf, 1.0 / log)


# --- all at once -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Run:
    """What the recursion says of networks of one depth: the ensemble, its states by layer, and the layer asked for."""

    networks: Ensemble
    log_first: Array
    states: dict[int, tuple[Array, Array]]
    depth: int
    layer: int
    log_p0: Array
    batch: Array

    @property
    def _log_in(self) -> Array:
        """ln sigma_w^2 of the weights above the layer; the last layer uses its own once more."""
        return self.log_first if self.depth == 1 else self.networks.log_in

    def log_q(self) -> Array:
        return self.states[self.layer][0]

    def log_g(self) -> Array:
        whole, above = self.states[self.depth][1], self.states[self.layer][1]
        with np.errstate(invalid="ignore"):
            log_g = whole - above
        return np.where(np.isneginf(above), -math.inf if self.layer < self.depth else 0.0, log_g)

    def ratio(self) -> Array:
        return self.states[self.depth][1]

    def log_p(self) -> Array:
        if self.layer == 1:
            return self.log_p0
        return self.networks.values(self.states[self.layer - 1][0], (LOG_SECOND,))[0]

    def log_dw(self) -> Array:
        alpha2 = self.networks.log_alpha2
        branch = alpha2 if alpha2 is not None and self.layer > 1 else 0.0
        return self.log_g() + self.log_p() - np.log(self.batch) + branch

    def chi(self) -> Array:
        return _chi_at(self.networks, self.log_q(), self._log_in)

    def chi_parallel(self) -> Array:
        return self.networks.chi_parallel(self.log_q(), self._log_in)


def _chi_at(networks: Ensemble, log_q: Array, log_in: Array | None = None) -> Array:
    with np.errstate(over="ignore"):
        return np.exp(networks.log_factor(np.minimum(log_q, 1e5), None, log_in))


FAST: dict[str, Callable[[_Run], Array]] = {
    "log_q": _Run.log_q,
    "log_g": _Run.log_g,
    "log_p": _Run.log_p,
    "log_dw": _Run.log_dw,
    "log_g_ratio": _Run.ratio,
    "log_factor": lambda run: run.ratio() / max(run.depth - 1, 1),
    "chi": _Run.chi,
    "chi_parallel": _Run.chi_parallel,
    "chi_star": lambda run: _chi_at(run.networks, reached_fixed_point(run.networks)),
    "log_q_star": lambda run: reached_fixed_point(run.networks),
    "xi_gradient": lambda run: _xi_gradient(_chi_at(run.networks, reached_fixed_point(run.networks))),
}
PLAIN_ONLY = ("chi_star", "log_q_star", "xi_gradient")  # a fixed point of the plain variance map


def _at_once(family: Family, scalar: Scalar) -> bool:
    """Whether one recursion gives this scalar of these networks."""
    plain = family.spec.norm == "none" and family.spec.residual == "none"
    return scalar.code in FAST and serves(family) and (plain or scalar.code not in PLAIN_ONLY)


def is_quick(spec: Spec, x: str, y: str, of: str) -> bool:
    """Whether a map of these fields is computed at once (milliseconds) rather than by one prediction a cell."""
    scalar, _ = scalar_of(of)
    return _at_once(Family(spec, check_axis("x", x), np.ones(1), check_axis("y", y), np.ones(1)), scalar)


def _all_at_once(family: Family, scalar: Scalar, layer: int) -> Array:
    """All cells by one recursion. Raises SpecError where an end of an axis is not legal."""
    spec, shape = family.spec, (family.ys.size, family.xs.size)
    along = family.axis("depth")
    depths = [spec.depth] if along is None else sorted({int(d) for d in along.ravel()})
    for choose in (np.argmin, np.argmax):  # the extremes are legal, so what lies between them is
        family.cell(int(choose(family.ys)), int(choose(family.xs)))
    if layer > depths[0]:
        raise SpecError("of", f"{scalar.code}_{layer}", f"a layer from 1 to depth = {depths[0]}")
    found = _by_depth(family, scalar, layer, depths)
    if along is None:
        return np.broadcast_to(found[spec.depth].reshape(shape), shape).copy()
    where = along.ravel().astype(int)
    if family.x == "depth":
        return np.stack([np.broadcast_to(found[d], shape[:1]) for d in where], axis=1)
    return np.stack([np.broadcast_to(found[d], shape[1:]) for d in where], axis=0)


def _by_depth(family: Family, scalar: Scalar, layer: int, depths: list[int]) -> dict[int, Array]:
    """The scalar of the networks of each depth, flattened over the other axes; one run serves all depths unless
    alpha = 1/sqrt(L) differs between them."""
    groups = [depths]
    if family.spec.residual != "none" and not isinstance(family.spec.residual_scale, float):
        groups = [[depth] for depth in depths]
    found = {}
    for group in groups:
        networks, log_first = ensemble(family, group[-1])
        asked = [layer if layer > 0 else depth for depth in group] if scalar.layer else [1]
        layers = {1, *group, *asked, *(k - 1 for k in asked if k > 1)} if scalar.code not in PLAIN_ONLY else {1}
        states = trajectory(networks, layers, scalar.code not in ("log_q", "log_p", "chi", "chi_parallel"))
        log_p0, batch = _along(family, "input_rms", networks), _along(family, "batch_size", networks)
        for depth in group:
            run = _Run(networks, log_first, states, depth, layer if layer > 0 else depth, 2.0 * np.log(log_p0), batch)
            found[depth] = FAST[scalar.code](run)
    return found


def _along(family: Family, name: str, networks: Ensemble) -> Array:
    """The values of a numeric field for each of the flattened networks."""
    along = family.axis(name)
    if along is None:
        return np.full(networks.log_in.size, float(getattr(family.spec, name)))
    shape = (1 if family.y == "depth" else family.ys.size, 1 if family.x == "depth" else family.xs.size)
    return np.broadcast_to(along, shape).ravel()
