"""What one activation with a per-sample norm (none, layer, rms) does to a Gaussian pre-activation.

A channel maps z ~ N(0, q) to x = phi(norm(z)) or norm(phi(z)) and gives, all at infinite width:
E x^2, E x_a x_b, the factor F by which the mean square of an independent gradient is multiplied
(E[(J^T v)^2] = F E[v^2]), and the part f of J^T x that a cotangent correlated with the output sees.
Batch norm couples the samples and lives in ``theory.batch_norm``.

Sources: Poole et al. 2016, Schoenholz et al. 2017 (no norm); the norm factors are Yang et al. 2019 taken at
infinite width with epsilon kept: multiplier gamma^2 E phi'(y)^2 / (q + eps).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.normalization import NORMALIZATIONS
from gradcore.theory.correlation import PSI, SLOPE, VALUE, pair_ratios
from gradcore.theory.gaussian import GaussianMoments, moments_of
from gradcore.theory.pair_table import PairReader

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray
Number = Any  # a float or an array
HERMITE_ORDERS = 64
LINEAR = -60.0  # ln q below which phi(h) - phi(0) is homogeneous in h to 1e-13
DEAD = -1e5  # stands for ln 0 where a formula would meet 0/0


def log_add(a: float, b: float) -> float:
    """ln(e^a + e^b) of two numbers, either of which may be -inf."""
    if a < b:
        a, b = b, a
    return a if b == -math.inf else a + math.log1p(math.exp(b - a))


def log_of(x: float) -> float:
    """ln x, with ln 0 = -inf."""
    return math.log(x) if x > 0 else -math.inf


@dataclass(frozen=True)
class Backward:
    """Per layer, each (L,): ``log_factor`` ln F; ``out_slope`` d(E x^2)/dq;
    ``log_seen`` ln E f^2 and ``seen_slope`` E[z f]/q of the part f that a correlated cotangent sees."""

    log_factor: Array
    out_slope: Array
    log_seen: Array
    seen_slope: Array


class Channel:
    """No norm: x = phi(z)."""

    def __init__(self, spec: Spec, moments: GaussianMoments) -> None:
        self.moments = moments
        self.log_eps = log_of(spec.norm_eps)
        self.log_gamma2 = 2.0 * log_of(abs(spec.norm_gamma))
        self.gamma, self.beta, self.beta2 = spec.norm_gamma, spec.norm_beta, spec.norm_beta**2
        self.centers = NORMALIZATIONS[spec.norm].centers
        self._reader: PairReader | None = None

    def follow(self, log_q: Array) -> None:
        """Say at which ln q (L,) pairs will be asked for, so that tables serve where they pay (theory.pair_table)."""
        self._reader = PairReader(self.moments, np.atleast_1d(self.argument(log_q)))

    def pairs(self, name: str, log_arg: float, c: Array) -> Array:
        """E f f / E f^2 of the activation itself at the ln q that it sees."""
        if self._reader is None:
            return pair_ratios(self.moments, (name,), log_arg, c)[0]
        return self._reader.ratios((name,), log_arg, c)[0]

    def slope_pairs_along(self, log_q: Array, c: Array) -> Array:
        """(L, P) ``slope_pairs`` of every layer at once."""
        reader = self._reader or PairReader(self.moments, np.atleast_1d(self.argument(log_q)))
        return reader.along(SLOPE, np.atleast_1d(self.argument(log_q)), c)

    def argument(self, log_q: Number) -> Array:
        """ln of the Gaussian second moment at which phi is evaluated."""
        return np.asarray(log_q)

    def log_out(self, log_q: float) -> float:
        """ln E x^2."""
        return self.moments.log_second(log_q)

    def out_pairs(self, log_q: float, c: Array) -> Array:
        """E x_a x_b / E x^2 for each correlation of z_a, z_b."""
        return self.pairs(VALUE, log_q, c)

    def out_pair(self, log_q: float, c: float) -> float:
        """``out_pairs`` of one correlation."""
        return float(self.out_pairs(log_q, np.array([c]))[0])

    def slope_pairs(self, log_q: float, c: Array) -> Array:
        """The ratio by which the factor F shrinks between two samples: E phi'_a phi'_b / E phi'^2."""
        return self.pairs(SLOPE, float(self.argument(log_q)), c)

    def seen_pairs(self, log_q: float, c: Array) -> Array:
        """E f_a f_b / E f^2."""
        return self.pairs(PSI, log_q, c)

    def backward(self, log_q: Array) -> Backward:
        """Factors and slopes at every layer's log q (L,)."""
        m = self.moments.at(log_q)
        return Backward(m.log_slope_second, m.second_slope, m.log_psi_second, m.second_slope)

    def seen_hermite(self, log_q: float) -> Array:
        """(K,) coefficients E[f he_k(Z)] of the seen part, he_k orthonormal, z = sqrt(q) Z."""
        return psi_hermite(self.moments, log_q)


class NormBefore(Channel):
    """x = phi(y), y = gamma z / sqrt(q + eps) + beta (the mean over units is 0 at infinite width)."""

    def argument(self, log_q: Number) -> Array:
        return self.log_gamma2 + log_q - np.logaddexp(log_q, self.log_eps)

    def log_out(self, log_q: float) -> float:
        return self.moments.log_second(self._argument(log_q))

    def _argument(self, log_q: float) -> float:
        if log_q == -math.inf:
            return -math.inf
        return self.log_gamma2 + log_q - log_add(log_q, self.log_eps)

    def out_pairs(self, log_q: float, c: Array) -> Array:
        return self.pairs(VALUE, float(self.argument(log_q)), c)

    def _pinned(self, log_q: Array) -> tuple[Array, Array, Array]:
        """v = q / (q + eps), ln(q + eps), and argument."""
        log_s2 = np.logaddexp(log_q, self.log_eps)
        return np.exp(log_q - log_s2), log_s2, self.log_gamma2 + log_q - log_s2

    def _removed(self, log_arg: Array, v: Array) -> tuple[Array, Array]:
        """Shares of E psi^2 that the norm's Jacobian removes: the mean, and the part along z (times (2-v)v)."""
        m = self.moments.at(log_arg)
        mean = np.where(self.centers, m.psi_ratio**2, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            along = np.exp(2.0 * np.log(np.abs(m.second_slope)) + log_arg - m.log_psi_second)
        along = np.where(np.isneginf(m.log_psi_second), 0.0, along)  # psi = 0: nothing to remove
        return mean, (2.0 - v) * v * along

    def backward(self, log_q: Array) -> Backward:
        v, log_s2, log_arg = self._pinned(np.asarray(log_q))
        m = self.moments.at(log_arg)
        mean, along = self._removed(log_arg, v)
        with np.errstate(divide="ignore", invalid="ignore"):
            kept = np.log(np.maximum(1.0 - mean - along, 0.0))
            shrink = np.exp(self.log_gamma2 + self.log_eps - 2.0 * log_s2)  # 1 - v = eps / (q + eps), 0 without eps
        return Backward(
            log_factor=self.log_gamma2 - log_s2 + m.log_slope_second,
            out_slope=m.second_slope * shrink,
            log_seen=self.log_gamma2 - log_s2 + m.log_psi_second + kept,
            seen_slope=m.second_slope * shrink,
        )

    def seen_pairs(self, log_q: float, c: Array) -> Array:
        v, _, log_arg = self._pinned(np.asarray(log_q))
        mean, along = (float(x) for x in self._removed(log_arg, v))
        kept = 1.0 - mean - along
        if kept <= 1e-14:
            return np.ones_like(c)
        pairs = self.pairs(PSI, float(log_arg), c)
        return (pairs - mean - along * c) / kept

    def seen_hermite(self, log_q: float) -> Array:
        v, log_s2, log_arg = self._pinned(np.asarray(log_q))
        f = psi_hermite(self.moments, float(log_arg)) * math.exp(0.5 * (self.log_gamma2 - float(log_s2)))
        f[1] *= 1.0 - float(v)
        if self.centers:
            f[0] = 0.0
        return f


class NormAfter(Channel):
    """x = gamma (phi(z) - M) / sqrt(S + eps) + beta; M and S are mean and variance over units (rms: M = 0).

    A correlated cotangent lies along x, which the norm's Jacobian removes up to eps / (S + eps).
    """

    def _log_spread(self, log_q: Array) -> tuple[Array, Array, Array]:
        """ln S, dS/dq and E[phi]^2 / E[phi^2] of the (centred) activation."""
        m = self.moments.at(log_q)
        share = np.where(self.centers, m.mean_ratio**2, 0.0)
        with np.errstate(divide="ignore"):
            log_spread = m.log_second + np.log(np.maximum(1.0 - share, 0.0))
        # d(E phi)^2/dq = 2 E phi dE phi/dq, mean_slope being sqrt(q) dE phi / dq (0 where q is)
        steepness = np.exp(np.minimum(0.5 * (m.log_second - np.asarray(log_q)), 700.0))
        mean_part = 2.0 * m.mean_ratio * m.mean_slope * steepness
        return log_spread, m.second_slope - np.where(self.centers, mean_part, 0.0), share

    def log_out(self, log_q: float) -> float:
        if log_q == -math.inf:  # every unit is phi(0): no spread to normalize, or the same value throughout
            log_spread = -math.inf if self.centers else self.moments.log_second(log_q)
        else:
            log_spread = float(self._log_spread(np.asarray(log_q))[0])
        if log_spread == -math.inf:
            normalized = -math.inf
        else:
            normalized = self.log_gamma2 + log_spread - log_add(log_spread, self.log_eps)
        return log_add(normalized, log_of(self.beta2)) if self.centers else normalized

    def out_pairs(self, log_q: float, c: Array) -> Array:
        pairs = self.pairs(VALUE, log_q, c)
        share = float(self._log_spread(np.asarray(log_q))[2])
        inner = (pairs - share) / (1.0 - share) if share < 1.0 else np.ones_like(c)
        if not self.centers:
            return inner
        shifted = self.beta2 * math.exp(-self.log_out(log_q)) if self.beta2 else 0.0
        return inner + (1.0 - inner) * shifted

    def backward(self, log_q: Array) -> Backward:
        m = self.moments.at(log_q)
        log_spread, spread_slope, _ = self._log_spread(log_q)
        log_s2 = np.logaddexp(log_spread, self.log_eps)
        left = np.exp(self.log_eps - log_s2)  # 1 - v
        scale = np.exp(self.log_gamma2 - log_s2) * left
        log_psi = m.log_psi_second.copy()
        if self.centers:
            for i in np.flatnonzero(left > 1e-9):  # elsewhere the seen part is nothing
                near = self._near(float(log_q[i]))
                log_psi[i] = float(self._about_mean(near).at(np.array(near)).log_psi_second) + float(log_q[i]) - near
        with np.errstate(divide="ignore"):
            return Backward(
                log_factor=self.log_gamma2 - log_s2 + m.log_slope_second,
                out_slope=scale * spread_slope,
                log_seen=2.0 * np.log(scale) + log_psi,
                seen_slope=scale * spread_slope,
            )

    def _near(self, log_q: float) -> float:
        """Where psi about the mean is the same but for a factor sqrt(q): no float resolves it at any q."""
        return 0.0 if self.moments.homogeneous else max(log_q, LINEAR)

    def _about_mean(self, log_q: float) -> GaussianMoments:
        """Moments of phi less its mean over units at this q: what J^T x is made of."""
        if not self.centers:
            return self.moments
        return _moments_about_mean(self.moments, round(log_q, 12))

    def seen_pairs(self, log_q: float, c: Array) -> Array:
        near = self._near(log_q)
        return pair_ratios(self._about_mean(near), (PSI,), near, c)[0]

    def seen_hermite(self, log_q: float) -> Array:
        log_s2 = float(np.logaddexp(self._log_spread(np.asarray(log_q))[0], self.log_eps))
        scale = math.exp(self.log_gamma2 + self.log_eps - 2.0 * log_s2)
        if scale == 0.0:
            return np.zeros(HERMITE_ORDERS)
        near = self._near(log_q)
        return psi_hermite(self._about_mean(near), near) * math.exp(0.5 * (log_q - near)) * scale


@lru_cache(maxsize=256)
def _moments_about_mean(moments: GaussianMoments, log_q: float) -> GaussianMoments:
    at = moments.at(np.array(log_q))
    mean = float(at.mean_ratio) * math.exp(0.5 * float(at.log_second))
    return GaussianMoments(moments.activation, moments.slope, moments.shift, moments.offset + mean)


@lru_cache(maxsize=4096)
def _psi_hermite(moments: GaussianMoments, log_q: float) -> Array:
    from gradcore.theory.gaussian import REACH, composite, graded_edges

    s = math.exp(0.5 * min(max(log_q, -60.0), 60.0))
    structure = (0.0, *moments.kinks) if moments.unshifted else (0.0, -moments.shift, *moments.kinks)
    h, w = composite(graded_edges(-1.4 * REACH * s, 1.4 * REACH * s, structure, 0.5 * min(1.0, s)))
    z = h / s
    weighted = w / s * np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi) * moments.value(h) * moments.derivative(h)
    out = np.empty(HERMITE_ORDERS)
    before, now = np.zeros_like(z), np.ones_like(z)
    for k in range(HERMITE_ORDERS):
        out[k] = now @ weighted
        before, now = now, (z * now - math.sqrt(k) * before) / math.sqrt(k + 1)
    return out


def psi_hermite(moments: GaussianMoments, log_q: float) -> Array:
    """(K,) orthonormal Hermite coefficients of psi = phi phi' at h = sqrt(q) Z (a fresh array)."""
    if moments.homogeneous:  # psi is homogeneous of degree 1
        return _psi_hermite(moments, 0.0) * math.exp(0.5 * log_q)
    return _psi_hermite(moments, round(log_q, 12)).copy()


def channel_of(spec: Spec) -> Channel:
    """The per-sample channel of a Spec whose norm is none, layer or rms."""
    over_features = NORMALIZATIONS[spec.norm].over == "features"
    if not over_features:
        return Channel(spec, moments_of(spec.activation, spec.slope))
    if spec.norm_position == "after":
        centred = NORMALIZATIONS[spec.norm].centers
        return NormAfter(spec, moments_of(spec.activation, spec.slope, 0.0, centred))
    shift = spec.norm_beta if NORMALIZATIONS[spec.norm].has_beta else 0.0
    return NormBefore(spec, moments_of(spec.activation, spec.slope, shift))
