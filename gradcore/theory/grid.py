"""The mean-field recursion of many networks at once: one array operation a layer, moments read from a table.

The same recursion as ``theory.mean_field``, for networks that share activation, shift and kind of norm and whose
layers from 2 on share one law: q^1 given, then

    q' = sigma_w^2 A(v) + sigma_b^2   (with a skip: q' = q + alpha^2 (...)),   v = q; norm: gamma^2 q / (q + eps),
    ln D^l - ln D^(l+1) = ln F^l = ln sigma_w^2 D(v)   (norm: times gamma^2 / (q + eps); skip: ln(1 + alpha^2 F)).

Sources: Poole et al. 2016, Schoenholz et al. 2017. Infinite width; a cotangent independent of the signal. Natural
logarithms of second moments; arrays are (N,), one entry a network. Checked cell by cell against ``predict``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from gradcore.theory.channel import DEAD
from gradcore.theory.gaussian import LOG_HIGH, LOG_LOW, GaussianMoments
from gradcore.theory.moment_table import ELASTICITY, LOG_SECOND, LOG_SLOPE, SECOND, table_of

Array = np.ndarray
SCAN = np.linspace(LOG_LOW, LOG_HIGH, 481)  # 8 a decade
HALVINGS = 56  # of one step of the scan: to the last bit
AT_REST = 1e-12  # a step of ln q below this is rounding
CHECK_EVERY = 4  # layers
REST = 4e-16  # relative step of ln q below which a network has come to rest
NEGLIGIBLE = 40.0  # ln of the ratio beyond which a bias adds nothing to float64
LARGEST = 300.0  # ln sigma^2 up to which the recursion may work with q itself


@dataclass(frozen=True)
class Ensemble:
    """N networks. ``log_start`` ln q^1; ``log_in``, ``log_bias`` ln sigma_w^2 and ln sigma_b^2 of layers 2..L;
    ``log_alpha2`` ln alpha^2 of the skip, None without one; ``log_gamma2``, ``log_eps`` of a norm before the
    activation, None without one; ``log_tail`` ln A/q of homogeneous activations (the table is not asked then)."""

    moments: GaussianMoments
    log_start: Array
    log_in: Array
    log_bias: Array
    log_alpha2: Array | None = None
    log_gamma2: Array | None = None
    log_eps: Array | None = None
    log_tail: Array | None = None

    def argument(self, log_q: Array) -> Array:
        """ln of the second moment at which the activation is evaluated."""
        if self.log_gamma2 is None or self.log_eps is None:
            return log_q
        with np.errstate(invalid="ignore"):
            pinned = self.log_gamma2 + log_q - np.logaddexp(log_q, self.log_eps)
        return np.where(np.isneginf(log_q), -math.inf, pinned)

    def values(self, log_q: Array, columns: tuple[int, ...]) -> list[Array]:
        """Columns of the moment table at the activation's argument."""
        at = self.argument(log_q)
        if self.log_tail is None:
            return table_of(self.moments).anywhere(at, columns)
        with np.errstate(over="ignore"):
            known = {LOG_SECOND: at + self.log_tail, LOG_SLOPE: self.log_tail, ELASTICITY: np.ones_like(at)}
            return [np.broadcast_to(known[c], at.shape) for c in columns]

    def log_factor(self, log_q: Array, log_slope: Array | None = None, log_in: Array | None = None) -> Array:
        """ln chi: the factor of the squared gradient norm over the layer above, skip included."""
        at = np.maximum(log_q, DEAD)
        log_slope = self.values(at, (LOG_SLOPE,))[0] if log_slope is None else log_slope
        plain = (self.log_in if log_in is None else log_in) + log_slope
        if self.log_gamma2 is not None and self.log_eps is not None:
            plain = plain + self.log_gamma2 - np.logaddexp(at, self.log_eps)
        return plain if self.log_alpha2 is None else np.logaddexp(0.0, self.log_alpha2 + plain)

    def chi_parallel(self, log_q: Array, log_in: Array | None = None) -> Array:
        """dq'/dq at each q, skip included."""
        at = np.maximum(log_q, DEAD)
        second, elasticity = self.values(at, (LOG_SECOND, ELASTICITY))
        with np.errstate(over="ignore", invalid="ignore"):
            log_scale = (self.log_in if log_in is None else log_in) + second - at
            if self.log_gamma2 is not None and self.log_eps is not None:
                log_scale = log_scale + self.log_eps - np.logaddexp(at, self.log_eps)  # dv/dq = v eps / (q (q + eps))
            if self.log_alpha2 is not None:
                log_scale = log_scale + self.log_alpha2
            slope = np.where(elasticity == 0.0, 0.0, elasticity * np.exp(log_scale))
        return slope if self.log_alpha2 is None else 1.0 + slope


def trajectory(networks: Ensemble, layers: Iterable[int], gradient: bool = True) -> dict[int, tuple[Array, Array]]:
    """(ln q^k, sum of ln chi over layers 1..k-1) of each asked layer k (1-based): the gradient's log at layer k is
    that sum at the last layer less the sum at k, plus the cotangent's. Without ``gradient`` the sums are 0."""
    wanted = set(layers)
    if _fits(networks):
        return _quick_trajectory(networks, wanted, gradient)
    log_q, total = networks.log_start, np.zeros_like(networks.log_start)
    found = {}
    for layer in range(1, max(wanted) + 1):
        if layer in wanted:
            found[layer] = log_q, total.copy()
        if layer < max(wanted):
            log_q, factor = _step(networks, log_q, gradient)
            if gradient:
                total += factor
    return found


def _step(networks: Ensemble, log_q: Array, gradient: bool) -> tuple[Array, Array]:
    """(ln q of the next layer, ln chi) in logarithms throughout."""
    second, slope = networks.values(log_q, (LOG_SECOND, LOG_SLOPE))
    following = np.logaddexp(networks.log_in + second, networks.log_bias)
    factor = networks.log_factor(log_q, slope) if gradient else slope
    if networks.log_alpha2 is not None:
        following = np.logaddexp(log_q, networks.log_alpha2 + following)
    return following, factor


# --- the plain recursion, quickly ---------------------------------------------------------------------------


def _fits(networks: Ensemble) -> bool:
    """Whether the recursion may work with q itself: one logarithm a layer instead of several."""
    plain = networks.log_alpha2 is None and networks.log_gamma2 is None and networks.log_tail is None
    return plain and max(float(networks.log_in.max()), float(networks.log_bias.max())) < LARGEST


def _quick_trajectory(networks: Ensemble, wanted: set[int], gradient: bool) -> dict[int, tuple[Array, Array]]:
    """The same for plain networks. Those that move evenly (at rest, or far beyond the table, where every layer is one
    power of q) are taken out of the recursion and followed by multiplication."""
    steps = _Quick(networks, gradient)
    log_q, total = networks.log_start.copy(), np.zeros_like(networks.log_start)
    pace, factors, since = np.zeros_like(log_q), np.zeros_like(log_q), np.zeros_like(log_q)
    moving = np.arange(log_q.size)
    x, sums = log_q, total
    found = {}
    for layer in range(1, max(wanted) + 1):
        if layer in wanted:
            log_q[moving], total[moving] = x, sums
            since[moving], pace[moving], factors[moving] = layer, 0.0, 0.0
            found[layer] = log_q + (layer - since) * pace, total + (layer - since) * factors
        if layer == max(wanted) or moving.size == 0:
            continue
        following, factor = steps.step(x)
        if layer % CHECK_EVERY == 0:
            even, by = steps.even(x, following)
            gone = moving[even]
            log_q[gone], total[gone], since[gone], pace[gone], factors[gone] = (
                x[even],
                sums[even],
                layer,
                by,
                factor[even],
            )
            kept = ~even
            moving, following, factor, sums = moving[kept], following[kept], factor[kept], sums[kept]
            steps.keep(kept)
        x, sums = following, sums + factor
    return found


class _Quick:
    """One layer of the networks that still move."""

    def __init__(self, networks: Ensemble, gradient: bool) -> None:
        self._table, self._gradient = table_of(networks.moments), gradient
        self._log_in, self._log_bias = networks.log_in, networks.log_bias
        self._weight, self._bias = np.exp(networks.log_in), np.exp(networks.log_bias)
        self._grows = networks.moments.powers["second"]

    def keep(self, kept: Array) -> None:
        """Forget the other networks."""
        self._log_in, self._log_bias = self._log_in[kept], self._log_bias[kept]
        self._weight, self._bias = self._weight[kept], self._bias[kept]

    def step(self, log_q: Array) -> tuple[Array, Array]:
        """(ln q of the next layer, ln chi; 0 where no gradient is wanted)."""
        if self._table.inside(log_q):
            return self._inner(log_q)
        following, factor = self._inner(np.clip(log_q, LOG_LOW, LOG_HIGH))
        outside = np.flatnonzero((log_q < LOG_LOW) | (log_q > LOG_HIGH))
        second, slope, _, _ = self._table.continued(log_q[outside])
        log_in = self._log_in[outside]
        following[outside] = np.logaddexp(log_in + second, self._log_bias[outside])
        factor[outside] = log_in + slope if self._gradient else 0.0
        return following, factor

    def _inner(self, log_q: Array) -> tuple[Array, Array]:
        columns = (SECOND, LOG_SLOPE) if self._gradient else (SECOND,)
        second, *rest = self._table.lookup(log_q, columns)
        second *= self._weight
        second += self._bias
        factor = np.add(rest[0], self._log_in, out=rest[0]) if rest else np.zeros_like(second)
        with np.errstate(divide="ignore"):
            return np.log(second, out=second), factor

    def even(self, log_q: Array, following: Array) -> tuple[Array, Array]:
        """(which networks move by the same amount in every layer from here on, that amount for each of those)."""
        with np.errstate(invalid="ignore"):
            by = following - log_q
        rests = np.abs(by) <= REST * np.maximum(1.0, np.abs(log_q))
        up = (log_q > LOG_HIGH) & (by >= 0.0) & (self._log_bias < log_q - NEGLIGIBLE) & (self._grows[1] == 1.0)
        down = (log_q < LOG_LOW) & (by <= 0.0) & np.isneginf(self._log_bias) & (self._grows[0] == 1.0)
        even = (rests | up | down) & np.isfinite(by)
        return even, np.where(rests, 0.0, by)[even]


def reached_fixed_point(networks: Ensemble) -> Array:
    """(N,) ln q* to which the signal goes from q^1: -inf where it dies out, inf where it grows without end.

    E phi(sqrt(q) Z)^2 increases with q for every activation of the table, so the signal moves one way: to the next
    fixed point above where q grows at first, below where it falls. Without norm and skip.
    """
    if networks.log_tail is not None:
        return _homogeneous_limit(networks)
    table = table_of(networks.moments)
    (second,) = table.anywhere(SCAN, (LOG_SECOND,))
    start = networks.log_start
    first = _gap(networks, start, table.anywhere(start, (LOG_SECOND,))[0])
    up = first > 0.0
    with np.errstate(invalid="ignore"):
        gap = np.logaddexp(networks.log_in + second[:, None], networks.log_bias) - SCAN[:, None]
    turned = np.where(up, gap <= 0.0, gap >= 0.0) & np.where(up, SCAN[:, None] > start, SCAN[:, None] < start)
    nearest = np.where(up, np.argmax(turned, axis=0), SCAN.size - 1 - np.argmax(turned[::-1], axis=0))
    inner = np.clip(np.where(up, nearest - 1, nearest + 1), 0, SCAN.size - 1)
    near = np.where(up, np.maximum(SCAN[inner], start), np.minimum(SCAN[inner], start))
    found = _halved(networks, near, SCAN[nearest], up)
    found = np.where(turned.any(axis=0), found, np.where(up, math.inf, -math.inf))
    return np.where(np.abs(first) < AT_REST, start, found)


def _gap(networks: Ensemble, log_q: Array, second: Array) -> Array:
    """ln q' - ln q."""
    with np.errstate(invalid="ignore"):
        gap = np.logaddexp(networks.log_in + second, networks.log_bias) - log_q
    return np.where(np.isneginf(log_q), 0.0, gap)


def _halved(networks: Ensemble, near: Array, far: Array, up: Array) -> Array:
    """The sign change of the gap between two ln q, by halving."""
    table = table_of(networks.moments)
    for _ in range(HALVINGS):
        middle = 0.5 * (near + far)
        gap = _gap(networks, middle, table.anywhere(middle, (LOG_SECOND,))[0])
        onward = (gap > 0.0) == up
        near, far = np.where(onward, middle, near), np.where(onward, far, middle)
    return 0.5 * (near + far)


def _homogeneous_limit(networks: Ensemble) -> Array:
    """q' = s q + sigma_b^2: sigma_b^2 / (1 - s) below s = 1; without bias it dies, stays or grows."""
    assert networks.log_tail is not None
    slope = networks.log_in + networks.log_tail
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        with_bias = np.where(slope < 0.0, networks.log_bias - np.log(-np.expm1(np.minimum(slope, 0.0))), math.inf)
        rest = np.where(slope < -AT_REST, -math.inf, np.where(slope > AT_REST, math.inf, networks.log_start))
    return np.where(np.isneginf(networks.log_bias), rest, with_bias)
