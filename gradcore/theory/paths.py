"""Where variance theory does not apply: constant and eye weights, followed exactly.

Constant weights make all units of a layer equal: one scalar map per sample, z' = c n phi(z). Eye weights leave
every unit alone: z' = g phi(z) elementwise, the law is the push-forward of the input's. Both are integrated over
the input by graded Gauss-Legendre (Gaussian inputs) or summed (digits). With random biases the eye map is
sampled (seeded, standard error about 1%), the constant map averages phi over the bias law of its units.

Gradients follow the same paths. Everything is kept as sign and logarithm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gradcore.spec import Spec
from gradcore.theory.gaussian import composite, graded_edges
from gradcore.theory.inputs import digits_batch
from gradcore.theory.signed_log import SignedLog, log_mean

Array = np.ndarray
PARTICLES = 2**15


def particles(depth: int) -> int:
    """How many sampled units follow a random elementwise map: fewer for deep networks (memory)."""
    return max(256, min(PARTICLES, 2**21 // depth))


@dataclass(frozen=True)
class Cloud:
    """Sample points of one input law: ``points`` (T, V), ``weight`` (T, V) summing to 1.

    Points of one row are exchangeable samples of one batch given what they share: for a pair of samples
    E f_a f_b = sum over rows of (row weight) (row mean of f)^2, or, where ``finite`` (rows hold the actual batch),
    the mean over pairs a != b in the row.
    """

    points: Array
    weight: Array
    finite: bool

    def mean_square(self, f: SignedLog) -> float:
        """ln E f^2."""
        return log_mean(2.0 * f.log, self.weight)

    def mean_pair(self, f: SignedLog) -> tuple[float, float]:
        """(sign, ln abs) of E f_a f_b over pairs of samples."""
        top = float(np.max(f.log, initial=-math.inf))
        if top == -math.inf:
            return 0.0, -math.inf
        scaled = f.sign * np.exp(f.log - top)
        row = self.weight.sum(axis=1)
        inner = self.weight / row[:, None]
        mean = (inner * scaled).sum(axis=1)
        if self.finite:
            b = scaled.shape[1]
            pair = ((b * mean) ** 2 - (scaled**2).sum(axis=1)) / (b * (b - 1)) if b > 1 else mean**2
        else:
            pair = mean**2
        total = float(row @ pair)
        return float(np.sign(total)), 2.0 * top + math.log(abs(total)) if total else -math.inf


def all_flat(cloud: Cloud, inside: Array, batch: int) -> float:
    """P(every sample of a batch lies inside) from the marks of a cloud's points (T, V).

    Rows that hold the whole batch are counted; sampled pairs are continued as p (P(both) / p)^(B-1).
    """
    row = cloud.weight.sum(axis=1)
    share = (cloud.weight * inside).sum(axis=1) / row
    if not cloud.finite:
        return float(row @ share**batch)
    if inside.shape[1] == batch:
        return float(row @ inside.all(axis=1))
    one, both = float(row @ share), float(row @ inside.all(axis=1))
    return one * (both / one) ** (batch - 1) if one > 0 else 0.0


def gaussian_cloud(correlation: float, scale: float, depth: int) -> Cloud:
    """Quadrature over samples sqrt(c) t + sqrt(1-c) v of one Gaussian coordinate: rows t, columns v.

    Deep networks take fewer nodes for the two-dimensional case, so that all layers fit in memory.
    """
    outer, inner = (10, 8) if depth <= 200 else (3, 2)
    fine = graded_edges(-9.0, 9.0, (0.0,), 1e-6)
    z, w = composite(fine, 16)
    w = w * np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    if correlation == 0.0:
        return Cloud(scale * z[None, :], w[None, :], False)
    if correlation == 1.0:
        return Cloud(scale * z[:, None], w[:, None], False)
    t, weight_t = composite(graded_edges(-9.0, 9.0, (0.0,), 0.01 if depth <= 200 else 0.1), outer)
    weight_t = weight_t * np.exp(-0.5 * t * t) / math.sqrt(2 * math.pi)
    own = math.sqrt(1.0 - correlation)
    centre = -math.sqrt(correlation) * t / own  # where the sample itself is 0
    steps = np.concatenate([[0.0], 0.01 * 4.0 ** np.arange(5)]) if depth <= 200 else np.zeros(1)
    moving = centre[:, None] + np.concatenate([-steps[1:], steps])
    fixed = np.broadcast_to(np.array([-9.0, -3.0, 0.0, 3.0, 9.0]), (t.size, 5))
    edges = np.sort(np.clip(np.concatenate([fixed, moving], axis=1), -9.0, 9.0), axis=1)
    x, gauss = np.polynomial.legendre.leggauss(inner)
    half = 0.5 * np.diff(edges, axis=1)[:, :, None]
    v = (edges[:, :-1, None] + half * (1.0 + x)).reshape(t.size, -1)
    weight_v = (half * gauss).reshape(t.size, -1) * np.exp(-0.5 * v * v) / math.sqrt(2 * math.pi)
    points = math.sqrt(correlation) * t[:, None] + own * v
    return Cloud(scale * points, weight_t[:, None] * weight_v, False)


def input_sum_cloud(spec: Spec) -> Cloud:
    """The law of sum_j x_j over a batch: what constant weights see of the input."""
    if spec.input == "digits":
        sums = digits_batch(spec.batch_size, spec.input_rms).sum(axis=1)[None, :]
        return Cloud(sums, np.full(sums.shape, 1.0 / sums.size), True)
    return gaussian_cloud(spec.input_correlation, spec.input_rms * math.sqrt(float(spec.fan_ins[0])), spec.depth)


def input_entry_cloud(spec: Spec, biased: bool) -> Cloud:
    """The law of one input coordinate over a batch: rows are units, what eye weights see of the input."""
    if spec.input == "digits":
        x = digits_batch(spec.batch_size, spec.input_rms).T
        copies = max(1, particles(spec.depth) // x.size) if biased else 1
        x = np.tile(x, (copies, 1))
        return Cloud(x, np.full(x.shape, 1.0 / x.size), True)
    if not biased:
        return gaussian_cloud(spec.input_correlation, spec.input_rms, spec.depth)
    g = np.random.default_rng(0).standard_normal((3, particles(spec.depth)))
    c = spec.input_correlation
    x = spec.input_rms * (math.sqrt(c) * g[0] + math.sqrt(1.0 - c) * g[1:]).T
    return Cloud(x, np.full(x.shape, 1.0 / x.size), True)
