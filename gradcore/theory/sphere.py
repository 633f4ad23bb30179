"""Moments over a batch-normalized unit: the uniform law on the sphere that batch norm leaves of a Gaussian.

B equicorrelated Gaussian samples of one unit, centred over the batch, are isotropic in B - 1 dimensions. After
division by their standard deviation the direction is uniform on a sphere (sum w_b = 0, sum w_b^2 = B) and
independent of the radius R ~ chi^2_(B-1), which enters through v = var / (var + eps) alone:
y_b = gamma sqrt(v) w_b + beta. One- and two-sample marginals of that sphere are 1-D and 2-D integrals.

Source: Yang et al. 2019, "A Mean Field Theory of Batch Normalization"; epsilon and beta are ours.
Exact at any B >= 4 as width -> infinity; checked against torch by tests/test_batch_norm.py.
"""

from __future__ import annotations

import math
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np

from gradcore.activations import ACTIVATIONS
from gradcore.theory.gaussian import REACH, composite, graded_edges, legendre

Array = np.ndarray
TABLE_NODES = 33
NEAREST = 1e-4  # of sqrt(v), below which a kink is as good as at beta itself
CLOSE = 1e-10  # sqrt(v) that stands for one just above 0

# what is tabled over v; "z" stands for sqrt(v) w
ONE = ("second", "slope_second", "z_slope_second", "psi_second", "z_psi_second", "flat")
TWO = ("second_pair", "slope_pair", "z_slope_pair", "psi_pair", "z_psi_pair")
COLUMNS = ("offset", *ONE, *TWO)
STAY = ("slope_second", "psi_second", "flat", "slope_pair", "psi_pair")  # the others are 0 where v is


class SphereMoments:
    """Marginal moments of phi(gamma sqrt(v) w + beta), as Chebyshev tables in sqrt(v) on [0, 1].

    Values are taken less phi(beta) ("offset"), so that differences between samples keep their digits.
    """

    def __init__(self, code: str, slope: float, gamma: float, beta: float, batch: int) -> None:
        self.activation, self.slope = ACTIVATIONS[code], slope
        self.gamma, self.beta, self.batch = abs(gamma), beta, batch
        self.offset = float(self.activation.value(np.array(beta), slope))

    def _functions(self, w: Array, root_v: float) -> tuple[Array, Array, Array]:
        """phi(y) - phi(beta), phi'(y) and psi = phi phi' at y = gamma sqrt(v) w + beta."""
        step = self.gamma * root_v * w
        y = step + self.beta
        slope = self.activation.derivative(y, self.slope)
        value = self.activation.value(y, self.slope)
        near = step * self.activation.derivative(0.5 * step + self.beta, self.slope)
        return np.where(np.abs(step) < 1e-5, near, value - self.offset), slope, value * slope

    def _structure(self, root_v: float) -> tuple[Array, float]:
        """Kinks and centre of phi in units of w, and the scale on which phi varies there."""
        scale = max(self.gamma * root_v, 1e-12)
        points = np.array([0.0, -self.beta / scale, *((k - self.beta) / scale for k in self.activation.kinks)])
        return points, 0.5 * min(1.0, 1.0 / scale)

    def _outer(self, root_v: float) -> tuple[Array, Array]:
        """Nodes w_a and weights of the one-sample marginal, w = sqrt(B-1) sin(theta)."""
        radius = math.sqrt(self.batch - 1)
        reach = min(radius, REACH)
        points, smallest = self._structure(root_v)
        # where a kink of the second sample enters or leaves the range that the first one leaves it
        rho = -1.0 / (self.batch - 1)
        near = points[np.abs(points) < radius]
        ends = np.sqrt((1 - rho * rho) * (radius**2 - near**2))
        points = np.concatenate([points, rho * near - ends, rho * near + ends])
        inside = tuple(points[np.abs(points) < reach]) or (0.0,)
        edges = np.arcsin(np.clip(graded_edges(-reach, reach, inside, smallest) / radius, -1.0, 1.0))
        theta, weight = composite(edges, 20)
        weight = weight * np.cos(theta) ** (self.batch - 3)
        return radius * np.sin(theta), weight / weight.sum()

    def _inner(self, w: Array, root_v: float) -> tuple[Array, Array]:
        """Nodes w_b and weights of the second sample given the first (rows: w_a)."""
        radius, rest = math.sqrt(self.batch - 1), math.sqrt(self.batch - 2)
        rho = -1.0 / (self.batch - 1)
        half = math.sqrt(1 - rho * rho) * np.sqrt(np.maximum(radius**2 - w * w, 1e-30))
        reach = min(1.0, REACH / rest)
        fixed = reach * np.array([-1.0, -0.4, 0.0, 0.4, 1.0])
        points, _ = self._structure(root_v)
        moving = np.clip((points[1:] - rho * w[:, None]) / half[:, None], -reach, reach)
        edges = np.sort(np.concatenate([np.broadcast_to(fixed, (w.size, fixed.size)), moving], axis=1), axis=1)
        edges = np.arcsin(edges)
        x, gauss = legendre(14)
        width = np.diff(edges, axis=1)[:, :, None]
        angle = (edges[:, :-1, None] + width * x).reshape(w.size, -1)
        weight = (width * gauss).reshape(w.size, -1) * np.cos(angle) ** (self.batch - 4)
        weight /= weight.sum(axis=1, keepdims=True)
        return rho * w[:, None] + half[:, None] * np.sin(angle), weight

    def at(self, root_v: float) -> Array:
        """All COLUMNS at one sqrt(v)."""
        w, weight = self._outer(root_v)
        value, slope, psi = self._functions(w, root_v)
        v = root_v * root_v
        flat = np.abs(slope) < 0.05 * self._largest_slope
        one = [value**2, slope**2, v * w * w * slope**2, psi**2, v * w * w * psi**2, flat.astype(float)]
        other, inner = self._inner(w, root_v)
        value_b, slope_b, psi_b = self._functions(other, root_v)

        def pair(a: Array, b: Array) -> float:
            return float(weight @ (a * np.einsum("ij,ij->i", inner, b)))

        two = [
            pair(value, value_b),
            pair(slope, slope_b),
            pair(v * w * slope, other * slope_b),
            pair(psi, psi_b),
            pair(v * w * psi, other * psi_b),
        ]
        return np.array([float(weight @ value), *(float(weight @ f) for f in one), *two])

    @property
    def _largest_slope(self) -> float:
        grid = np.linspace(-40.0, 40.0, 8001)
        return float(np.abs(self.activation.derivative(grid, self.slope)).max())

    def _at_rest(self) -> Array:
        """The limit of ``at`` for v to 0: not its value there, where a kink at beta would have one slope alone."""
        near = dict(zip(COLUMNS, self.at(CLOSE), strict=True))
        return np.array([near[name] if name in STAY else 0.0 for name in COLUMNS])

    @cached_property
    def _edges(self) -> Array:
        """Panels of sqrt(v): the moments are analytic but where a kink comes within the sphere's reach, and then vary
        on the scale of that place."""
        edges = {0.0, 1.0}
        for kink in self.activation.kinks:
            place = abs(kink - self.beta) / (self.gamma * math.sqrt(self.batch - 1)) if self.gamma else 1.0
            while NEAREST < place < 1.0:
                edges.add(place)
                place *= 2.0
        return np.array(sorted(edges))

    @cached_property
    def _panels(self) -> list[tuple[Array, Array, Array]]:
        """Chebyshev nodes, their barycentric weights and the moments there, for each panel."""
        k = np.arange(TABLE_NODES)
        weights = (-1.0) ** k
        weights[[0, -1]] *= 0.5
        place = 0.5 + 0.5 * np.cos(math.pi * k / (TABLE_NODES - 1))
        panels = []
        for low, high in pairwise(self._edges):
            nodes = low + (high - low) * place
            panels.append((nodes, weights, np.array([self.at(float(x)) if x else self._at_rest() for x in nodes])))
        return panels

    def interpolate(self, v: Array) -> dict[str, Array]:
        """Each of COLUMNS at an array of v in [0, 1]."""
        roots = np.sqrt(v)
        which = np.clip(np.searchsorted(self._edges, roots) - 1, 0, len(self._edges) - 2)
        out = np.empty((len(COLUMNS), roots.size))
        for panel in np.unique(which):
            inside = which == panel
            nodes, weights, rows = self._panels[panel]
            gap = roots[inside, None] - nodes
            exact = np.abs(gap) < 1e-15
            kernel = weights / np.where(exact, 1.0, gap)
            kernel[exact.any(axis=1)] = 0.0
            kernel[exact] = 1.0
            out[:, inside] = (kernel @ rows / kernel.sum(axis=1)[:, None]).T
        return dict(zip(COLUMNS, out, strict=True))


@lru_cache(maxsize=32)
def sphere_moments(code: str, slope: float, gamma: float, beta: float, batch: int) -> SphereMoments:
    """The cached table of one activation, gamma, beta and batch size."""
    return SphereMoments(code, slope, gamma, beta, batch)


@lru_cache(maxsize=64)
def radial_law(batch: int) -> tuple[Array, Array]:
    """Nodes R / B and weights of chi^2_(B-1) / B, trapezoid in ln R (spectrally accurate, small R resolved)."""
    from scipy.special import gammaln

    freedom = batch - 1
    spread = math.sqrt(2.0 / freedom)
    low = -12.0 * spread - 80.0 / max(freedom - 2.0, 1.0)
    t = np.arange(low, 12.0 * spread + 1.5, spread / 6.0)
    log_r = math.log(freedom) + t
    log_density = 0.5 * freedom * log_r - 0.5 * np.exp(log_r) - 0.5 * freedom * math.log(2) - gammaln(freedom / 2)
    weight = np.exp(log_density)
    return np.exp(log_r) / batch, weight / weight.sum()
