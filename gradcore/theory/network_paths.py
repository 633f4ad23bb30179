"""The law of sum_j x_j over a batch for followed networks: few paths, each row of them one network.

What ``theory.paths`` integrates finely for one exact map, for maps that are followed with many units on every path:
about 1% of a moment.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gradcore.theory.inputs import digits_batch
from gradcore.theory.paths import Cloud

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray
IMAGES = 64  # of a larger batch of digits that are followed
EDGES = (0.8, 2.0, 3.5, 8.0)  # of panels on one side of 0
PANEL = 22  # samples of one network
POINTS = 1100  # rows times samples; half of it in nets of more than 20 layers, less in very deep ones
UNITS = 64  # that each path is followed with, at least
ALL = 2**24  # units times paths times layers


def points(depth: int) -> int:
    """How many paths are followed."""
    return max(2 * PANEL, min(POINTS if depth <= 20 else POINTS // 2, ALL // (UNITS * (depth + 1))))


def _normal(edges: Array, nodes: int) -> tuple[Array, Array]:
    """Nodes and weights of a standard normal, over the last axis of the panels' edges, (T, V) each."""
    x, gauss = np.polynomial.legendre.leggauss(nodes)
    half = 0.5 * np.diff(edges, axis=1)[:, :, None]
    z = (edges[:, :-1, None] + half * (1.0 + x)).reshape(len(edges), -1)
    w = (half * gauss).reshape(len(edges), -1) * np.exp(-0.5 * z * z)
    return z, w / w.sum(axis=1, keepdims=True)


def input_sums(spec: Spec) -> tuple[Cloud, Array | None]:
    """(the law of sum_j x_j over a batch: a row for each network, its samples; the (V, V) Gram matrix of the input
    where it is the batch itself)."""
    from scipy.special import ndtri

    if spec.input == "digits":
        x = digits_batch(spec.batch_size, spec.input_rms)
        few = min(IMAGES, len(x), points(spec.depth) // 4)
        x = x[np.arange(few) * len(x) // few]
        sums = np.repeat(x.sum(axis=1)[None, :], points(spec.depth) // few, axis=0)
        return Cloud(sums, np.full(sums.shape, 1.0 / sums.size), True), x @ x.T / x.shape[1]
    scale, c = spec.input_rms * math.sqrt(float(spec.fan_ins[0])), spec.input_correlation
    rows = points(spec.depth) // (1 if c == 1.0 else PANEL)
    t = ndtri((np.arange(rows) + 0.5) / rows)
    t /= math.sqrt(float(np.mean(t * t)))
    if c == 1.0:
        return Cloud(scale * t[:, None], np.full((rows, 1), 1.0 / rows), False), None
    centre = -math.sqrt(c / (1.0 - c)) * t[:, None]  # where the sample itself is 0
    fixed = np.broadcast_to(np.array([-e for e in EDGES[::-1]] + [0.0, *EDGES]), (rows, 2 * len(EDGES) + 1))
    near = np.concatenate([centre - 0.1, centre, centre + 0.1], axis=1)
    v, w = _normal(np.sort(np.clip(np.concatenate([fixed, near], axis=1), -9.0, 9.0), axis=1), 2)
    sums = math.sqrt(c) * t[:, None] + math.sqrt(1.0 - c) * v
    return Cloud(scale * sums, w / rows, False), None
