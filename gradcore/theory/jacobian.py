"""Singular values of the input-output Jacobian J = dz^L / dx^0 of a plain network at initialization.

With n units in every layer, J = W^L D^(L-1) W^(L-1) ... D^1 W^1 is a product of free matrices (infinite width):
its squared singular values have mean m_1 = prod of sigma_w^2 and E phi'^2 over the layers, and
m_2 / m_1^2 = 1 + sum over W of (1 Gaussian, 0 orthogonal) + sum over D of (E phi'^4 / (E phi'^2)^2 - 1).
For deep linear Gaussian nets the law itself is known: Fuss-Catalan.

Sources: Saxe et al. 2014; Pennington, Schoenholz & Ganguli 2017; Penson & Zyczkowski 2011. Infinite width at fixed
depth; single networks differ by depth / width as their gradients do. Checked by tests/test_jacobian.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gradcore.errors import SpecError, UnsupportedError
from gradcore.theory.fields import field_of
from gradcore.theory.mean_field import MeanField

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray


@dataclass(frozen=True)
class Jacobian:
    """``log_mean_square`` ln of the mean squared singular value of dz^L/dx^0; ``spread`` m_2 / m_1^2, which is 1 where
    all singular values are equal (dynamical isometry); ``law`` "fuss_catalan", "isometry" or None where only these two
    moments are known."""

    spec: Spec
    log_mean_square: float
    spread: float
    law: str | None

    def log10_density(self, points: int = 200) -> tuple[Array, Array]:
        """(x, density): density of log10 of a singular value, (points,) each. Raises UnsupportedError where ``law`` is
        not "fuss_catalan".

        With L factors and 0 < t < pi / (L + 1), s = sin((L+1) t)^(L+1) / (sin t sin(L t)^L) is a squared singular value
        over m_1, of density sin(t)^2 sin(L t)^(L-1) / (pi sin((L+1) t)^L).
        """
        if self.law != "fuss_catalan":
            raise UnsupportedError(
                "the density of this network's singular values",
                "it is known for linear nets with Gaussian weights only",
                'activation "linear" with Gaussian weights, or the spread m_2 / m_1^2',
            )
        depth = self.spec.depth
        edge = math.pi / (depth + 1)
        t = edge * (1.0 - np.cos(np.linspace(0.0, math.pi, points + 2)[1:-1])) / 2.0
        log_s = (depth + 1) * np.log(np.sin((depth + 1) * t)) - np.log(np.sin(t)) - depth * np.log(np.sin(depth * t))
        log_rho = (
            2.0 * np.log(np.sin(t))
            + (depth - 1) * np.log(np.sin(depth * t))
            - math.log(math.pi)
            - depth * np.log(np.sin((depth + 1) * t))
        )
        x = 0.5 * (log_s + self.log_mean_square) / math.log(10.0)
        density = 2.0 * math.log(10.0) * np.exp(log_rho + log_s)  # of s, times ds / dlog10(sqrt s)
        order = np.argsort(x)
        return x[order], density[order]


def jacobian(spec: Spec) -> Jacobian:
    """Mean square and spread of the singular values of dz^L/dx^0, infinite width.

    Raises UnsupportedError for norms, residuals, weights that are not random, and unequal widths.
    """
    widths = {*spec.layer_widths.tolist(), int(spec.fan_ins[0])}
    field = field_of(spec)
    if not isinstance(field, MeanField) or spec.norm != "none" or spec.residual != "none" or len(widths) > 1:
        raise UnsupportedError(
            "the Jacobian's singular values",
            "only the product of equally wide random layers is known",
            "no norm, no residual, random weights and one width, input_width included",
        )
    log_q = np.asarray(field.log_q)[:-1]
    if not np.all(np.isfinite(field.log_q)):
        raise SpecError("gain", spec.gain, "a gain at which the signal does not die", "Choose a larger gain.")
    at = field.channel.moments.at(log_q)
    log_weights = float(np.sum(field.law.log_in))
    slopes = float(np.sum(at.log_slope_second)) if spec.depth > 1 else 0.0
    orthogonal = spec.init_entry.kind == "orthogonal"
    spread = 1.0 + (0.0 if orthogonal else spec.depth) + float(np.sum(_slope_spread(field, log_q)))
    linear = spec.activation_entry.is_linear
    law = None if not linear else "isometry" if orthogonal else "fuss_catalan"
    return Jacobian(spec, log_weights + slopes, spread, law)


def _slope_spread(field: MeanField, log_q: Array) -> Array:
    """E phi'^4 / (E phi'^2)^2 - 1 of every layer but the last."""
    moments = field.channel.moments
    if not log_q.size:
        return np.zeros(0)
    if moments.homogeneous:
        left, right = moments.activation.tails(moments.slope)
        return np.full(log_q.size, 2.0 * (left**4 + right**4) / (left**2 + right**2) ** 2 - 1.0)
    e = moments.expectations(np.clip(log_q, -60.0, 60.0))
    return e["slope_fourth"] / e["slope_second"] ** 2 - 1.0
