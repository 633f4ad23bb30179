"""The NumPy sides of the activations: elementwise functions f(h, a), their derivatives, closed Gaussian moments.

``a`` is the negative slope, used by leaky_relu and prelu alone. Derivatives are the almost-everywhere ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Array = np.ndarray
SELU_SCALE = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717


def special(name: str) -> Callable[..., Array]:
    from scipy import special

    return getattr(special, name)


def leaky(h: Array, a: float) -> Array:
    return np.where(h > 0, h, a * h)


def leaky_slope(h: Array, a: float) -> Array:
    return np.where(h > 0, 1.0, a)


def elu(h: Array, a: float) -> Array:
    return np.where(h > 0, h, np.expm1(np.minimum(h, 0.0)))


def elu_slope(h: Array, a: float) -> Array:
    return np.where(h > 0, 1.0, np.exp(np.minimum(h, 0.0)))


def selu(h: Array, a: float) -> Array:
    return SELU_SCALE * np.where(h > 0, h, SELU_ALPHA * np.expm1(np.minimum(h, 0.0)))


def selu_slope(h: Array, a: float) -> Array:
    return SELU_SCALE * np.where(h > 0, 1.0, SELU_ALPHA * np.exp(np.minimum(h, 0.0)))


def _normal_pdf(h: Array) -> Array:
    return np.exp(-0.5 * h * h) / math.sqrt(2.0 * math.pi)


def gelu(h: Array, a: float) -> Array:
    return h * special("ndtr")(h)


def gelu_slope(h: Array, a: float) -> Array:
    return special("ndtr")(h) + h * _normal_pdf(h)


_GELU_C = math.sqrt(2.0 / math.pi)


def _gelu_tanh_gate(h: Array) -> Array:
    """(1 + tanh(u)) / 2 with u the cubic of the tanh approximation, as a logistic of 2u (0 or 1 beyond 40)."""
    h = np.clip(h, -40.0, 40.0)
    return special("expit")(2.0 * _GELU_C * (h + 0.044715 * h * h * h))


def gelu_tanh(h: Array, a: float) -> Array:
    return h * _gelu_tanh_gate(h)


def gelu_tanh_slope(h: Array, a: float) -> Array:
    gate, h = _gelu_tanh_gate(h), np.clip(h, -40.0, 40.0)
    return gate + h * 2.0 * gate * _gelu_tanh_gate(-h) * _GELU_C * (1.0 + 3 * 0.044715 * h * h)


def sigmoid(h: Array, a: float) -> Array:
    return special("expit")(h)


def sigmoid_slope(h: Array, a: float) -> Array:
    expit = special("expit")
    return expit(h) * expit(-h)


def silu(h: Array, a: float) -> Array:
    return h * special("expit")(h)


def silu_slope(h: Array, a: float) -> Array:
    expit = special("expit")
    return expit(h) * (1.0 + h * expit(-h))


def softplus(h: Array, a: float) -> Array:
    return np.logaddexp(0.0, h)


def _mish_gate(h: Array) -> tuple[Array, Array]:
    """e^h and n = e^h (e^h + 2), by which tanh(ln(1 + e^h)) = n / (n + 2): one exponential (of 50 at most)."""
    e = np.exp(np.minimum(h, 50.0))
    return e, e * (e + 2.0)


def mish(h: Array, a: float) -> Array:
    _, n = _mish_gate(h)
    return h * (n / (n + 2.0))


def mish_slope(h: Array, a: float) -> Array:
    e, n = _mish_gate(h)
    return n / (n + 2.0) + h * (e / (1.0 + e)) * (4.0 * (n + 1.0) / (n + 2.0) ** 2)


def tanh(h: Array, a: float) -> Array:
    return np.tanh(h)


def tanh_slope(h: Array, a: float) -> Array:
    s = np.exp(-2.0 * np.abs(h))
    return 4.0 * s / (1.0 + s) ** 2


def softsign(h: Array, a: float) -> Array:
    return h / (1.0 + np.abs(h))


def between(low: float, high: float, inside: float) -> Callable[[Array, float], Array]:
    return lambda h, a: np.where((h > low) & (h < high), inside, 0.0)


def hardswish(h: Array, a: float) -> Array:
    return h * np.clip(h + 3.0, 0.0, 6.0) / 6.0


def hardswish_slope(h: Array, a: float) -> Array:
    return np.where(h <= -3.0, 0.0, np.where(h >= 3.0, 1.0, h / 3.0 + 0.5))


# --- closed forms (docs/theory.md, "Closed forms") -----------------------------------------------------------


def erf_moments(q: Array) -> tuple[Array, Array, Array]:
    return 0.0 * q, 2 / math.pi * np.arctan(2 * q / np.sqrt(1 + 4 * q)), 4 / math.pi / np.sqrt(1 + 4 * q)


def sin_moments(q: Array) -> tuple[Array, Array, Array]:
    return 0.0 * q, -np.expm1(-2 * q) / 2, (1 + np.exp(-2 * q)) / 2


def gelu_moments(q: Array) -> tuple[Array, Array, Array]:
    """Stein's lemma on phi = h Phi(h); each term is non-negative, so nothing cancels."""
    angle = np.arctan(q / np.sqrt(1 + 2 * q)) / (2 * math.pi)  # asin(q/(1+q)), well conditioned
    ratio = q / (math.pi * (1 + q) * np.sqrt(1 + 2 * q))
    mean = q / np.sqrt(2 * math.pi * (1 + q))
    second = q * (0.25 + angle + ratio)
    slope = 0.25 + angle + ratio + q / (2 * math.pi * (1 + 2 * q) ** 1.5)
    return mean, second, slope


def erf_pair(q: float, c: Array) -> Array:
    """E erf(u) erf(v) at equal second moments q and correlation c (Williams 1997)."""
    return 2 / math.pi * np.arctan2(2 * q * c, np.sqrt(1 + 4 * q + 4 * q * q * (1 - c * c)))


def erf_slope_pair(q: float, c: Array) -> Array:
    """E erf'(u) erf'(v)."""
    return 4 / math.pi / np.sqrt(1 + 4 * q + 4 * q * q * (1 - c * c))


def gelu_pair(q: float, c: Array) -> Array:
    """E gelu(u) gelu(v): Phi(u) is a probability over one more Gaussian, which leaves orthant moments.

    With a = u - Z_1, b = v - Z_2 (variance 1 + q, covariance q c): E[u v; a > 0, b > 0], u and v regressed on a, b.
    """
    s = 1.0 + q
    rho = q * c / s
    det = s * s - (q * c) ** 2
    own, other = q * (s - q * c * c) / det, q * c / det
    root = np.sqrt(1.0 - rho * rho) / (2 * math.pi)
    both = 0.25 + np.arcsin(rho) / (2 * math.pi)
    square, product = both + rho * root, rho * both + root
    left = q * c - own * q * c - other * q
    return s * (2 * own * other * square + (own**2 + other**2) * product) + left * both
