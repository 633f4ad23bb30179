"""The table of costs of a classifier: value and cotangent in NumPy, torch's side beside them.

z (B, n_L) are the outputs before any squashing, y (B, n_L) the one-hot targets; every cost is the mean over items.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Cost:
    """One cost C. ``cotangent(z, y)`` is B dC/dz, (..., B, n_L); ``torch_cost(torch, z, y)`` is C; ``outputs`` what
    squashes z: "sigmoid" or "softmax"."""

    code: str
    outputs: str
    latex: str
    source: str
    value: Callable[[Array, Array], Array]
    cotangent: Callable[[Array, Array], Array]
    torch_cost: Callable[[Any, Any, Any], Any]


def _sigmoid(z: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * z))


def _softmax(z: Array) -> Array:
    raised = np.exp(z - z.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def _items(per_output: Array) -> Array:
    """Sum over outputs, mean over items."""
    return per_output.sum(axis=-1).mean(axis=-1)


def _quadratic_cotangent(z: Array, y: Array) -> Array:
    a = _sigmoid(z)
    return (a - y) * a * (1.0 - a)


def _log_softmax(z: Array) -> Array:
    top = z.max(axis=-1, keepdims=True)
    return z - top - np.log(np.exp(z - top).sum(axis=-1, keepdims=True))


COSTS: dict[str, Cost] = {
    cost.code: cost
    for cost in (
        Cost(
            "binary_cross_entropy",
            "sigmoid",
            r"-\frac{1}{B} \sum_b \sum_k [y_k \ln a_k + (1 - y_k) \ln (1 - a_k)],\ a = \sigma(z^L)",
            "Nielsen 2015, ch. 3",
            lambda z, y: _items(np.logaddexp(0.0, z) - y * z),
            lambda z, y: _sigmoid(z) - y,
            lambda torch, z, y: (
                torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="sum") / z.shape[0]
            ),
        ),
        Cost(
            "quadratic",
            "sigmoid",
            r"\frac{1}{2B} \sum_b |a - y|^2,\ a = \sigma(z^L)",
            "Nielsen 2015, ch. 1",
            lambda z, y: 0.5 * _items((_sigmoid(z) - y) ** 2),
            _quadratic_cotangent,
            lambda torch, z, y: 0.5 * ((torch.sigmoid(z) - y) ** 2).sum(dim=1).mean(),
        ),
        Cost(
            "cross_entropy",
            "softmax",
            r"-\frac{1}{B} \sum_b \sum_k y_k \ln a_k,\ a = \mathrm{softmax}(z^L)",
            "Bridle 1990",
            lambda z, y: -_items(y * _log_softmax(z)),
            lambda z, y: _softmax(z) - y,
            lambda torch, z, y: torch.nn.functional.cross_entropy(z, y),
        ),
    )
}
