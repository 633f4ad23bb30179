"""Share of units that are dead: phi' = 0 on every sample of the batch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gradcore.theory.gaussian import composite

if TYPE_CHECKING:
    from gradcore.spec import Spec
    from gradcore.theory.exact_eye import EyeField
    from gradcore.theory.exact_weights import ConstantField
    from gradcore.theory.fields import Field

Array = np.ndarray


def dead_share(spec: Spec, field: Field, log_q: Array) -> Array:
    """(L,) P(phi'(z_b) = 0 for all b): 0 for activations without flat pieces.

    Equicorrelated samples given their common part are independent: E_t[P(flat | t)^B], a 1-D integral. Other
    batches take the mean correlation of their pairs; batch-normalized units are sampled from their sphere.
    """
    flat = spec.activation_entry.flat
    if not flat and not (spec.activation in ("leaky_relu", "prelu") and spec.slope == 0.0):
        return np.zeros(spec.depth)
    flat = flat or ((-math.inf, 0.0),)
    if spec.init_entry.kind in ("constant", "eye"):
        return _dead_paths(spec, field, flat)  # type: ignore[arg-type]
    seen = getattr(field, "seen", None)  # in blocks whose activation does not see the signal of its layer
    if seen is not None:
        counted = getattr(field, "dead_counted", None)
        return counted if counted is not None else _equicorrelated(*_of_batch(seen, spec), flat)
    if spec.norm == "batch" and spec.norm_position == "before":
        return _dead_batch_norm(spec, flat)
    pairs = field.correlations[0] if spec.batch_size > 1 else np.zeros((spec.depth, 1))
    c = np.clip(pairs.mean(axis=1) if pairs.shape[1] else np.zeros(spec.depth), 0.0, 1.0)
    channel = getattr(field, "channel", None)
    argument = log_q if channel is None or spec.norm == "batch" else channel.argument(np.maximum(log_q, -1e5))
    shift = channel.moments.shift if channel is not None and spec.norm != "batch" else 0.0
    shifts = np.full(spec.depth, shift)
    return _equicorrelated(np.exp(0.5 * np.clip(argument, -600, 600)), c, shifts, spec.batch_size, flat)


def _of_batch(seen: tuple[Array, Array, Array], spec: Spec) -> tuple[Array, Array, Array, int]:
    s, c, shift = seen
    return s, np.clip(c, 0.0, 1.0) if spec.batch_size > 1 else np.zeros_like(c), shift, spec.batch_size


def _equicorrelated(s: Array, c: Array, shift: Array, b: int, flat: tuple[tuple[float, float], ...]) -> Array:
    from scipy.special import ndtr

    t, w = composite(np.linspace(-9.0, 9.0, 37), 12)
    w = w * np.exp(-0.5 * t * t) / math.sqrt(2 * math.pi)
    own = np.sqrt(np.maximum(1.0 - c, 1e-300))[:, None]
    share = np.zeros((s.size, t.size))
    with np.errstate(over="ignore"):  # edges that many standard deviations away are as good as infinitely far
        for low, high in flat:
            edge_high = ((high - shift) / s)[:, None]
            edge_low = ((low - shift) / s)[:, None]
            root = np.sqrt(c)[:, None] * t
            share += ndtr((edge_high - root) / own) - ndtr((edge_low - root) / own)
    return np.clip(np.clip(share, 0.0, 1.0) ** b @ w, 0.0, 1.0)


def _dead_batch_norm(spec: Spec, flat: tuple[tuple[float, float], ...]) -> Array:
    """One value for all layers: the normalized unit's law does not change with depth while eps is negligible."""
    b = spec.batch_size
    g = np.random.default_rng(0).standard_normal((max(64, 2**20 // b), b))
    g -= g.mean(axis=1, keepdims=True)
    y = spec.norm_gamma * g / g.std(axis=1, keepdims=True) + spec.norm_beta
    inside = np.zeros(y.shape, dtype=bool)
    for low, high in flat:
        inside |= (y >= low) & (y <= high)
    return np.full(spec.depth, float(inside.all(axis=1).mean()))


def _dead_paths(spec: Spec, field: ConstantField | EyeField, flat: tuple[tuple[float, float], ...]) -> Array:
    """Deterministic weights: counted on the paths themselves."""
    return np.clip(np.array([field.dead(i, flat) for i in range(spec.depth)]), 0.0, 1.0)
