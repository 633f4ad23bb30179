"""The cotangent softmax - onehot of sampled outputs: its size given a unit's own logit.

Where the activation is the last thing on the stream, the cotangent meets its slope at the very units whose logits made
it: what counts is E[delta^2 | path of the unit], not E delta^2 alone. Given the unit, delta = (E p - 1/k) + noise of
variance E p^2 - 2 E p/k + 1/k - (E p - 1/k)^2, p over softmaxes of k units of the population, labels uniform.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gradcore.theory.cotangents import Spread

if TYPE_CHECKING:
    from gradcore.theory.particles import Cotangent, Particles

Array = np.ndarray
DRAWS = 1_000_000  # logits whose softmax is taken


def cross_entropy_end(population: Particles, classes: int, aligned: bool) -> Cotangent:
    """The cotangent at the output; ``aligned``: with the part that is a function of the unit's own signals as such,
    whose share vanishes as the widths grow (else with a random sign)."""
    top = population.steps[population.spec.depth - 1].signal
    if classes == 1:  # the softmax of one class is constant
        return population.random(-math.inf)
    logits = np.asarray(top.hat, dtype=float) * math.exp(0.5 * min(top.log, 600.0)) if top.log > -math.inf else top.hat
    mean, square, cross, drawn = _softmax(population, logits, classes)
    seen = mean - 1.0 / classes
    variance = np.maximum(square - 2.0 * mean / classes + 1.0 / classes - seen**2, 0.0)
    total = float(np.mean(variance + seen**2))
    root = math.sqrt(total)
    if population.coupled:
        # of the other classes, which the samples share, and of each sample's own label
        noise = math.sqrt((1.0 - 1.0 / classes) / classes) * population.rng.standard_normal(variance.shape)
        spread, apart = float(np.mean(np.maximum(square - mean**2, 0.0))), drawn - mean
        if spread > 0.0 and apart.any():
            noise = noise + math.sqrt(spread / float(np.mean(apart**2))) * apart
        if not aligned:
            noise = noise + seen * population.rng.choice([-1.0, 1.0], size=(1, seen.shape[1]))
        return population.cotangent(math.log(total), seen / root if aligned else None, noise / root)
    pairs = cross - (mean[:1] + mean[1:]) / classes + 1.0 / classes**2
    if aligned:
        return Spread(math.log(total), seen / root, variance / total, (pairs - seen[:1] * seen[1:]) / total)
    return Spread(math.log(total), None, (variance + seen**2) / total, pairs / total)


def _softmax(population: Particles, logits: Array, classes: int) -> tuple[Array, Array, Array, Array]:
    """(E p, E p^2 (S, N), E p_0 p_k (S - 1, N), one draw of p (S, N)) of every unit in softmaxes with other units of
    the population."""
    units = logits.shape[1]
    if 2 * classes > units:  # so many classes that their sum is its mean
        top = logits.max(axis=1, keepdims=True)
        p = np.exp(logits - top)
        p = np.minimum(p / (classes * p.mean(axis=1, keepdims=True)), 1.0)
        return p, p * p, p[:1] * p[1:], p
    groups = units // classes
    mean, square, cross = np.zeros(logits.shape), np.zeros(logits.shape), np.zeros((logits.shape[0] - 1, units))
    count, drawn = np.zeros(units), np.zeros(logits.shape)
    for _ in range(max(4, min(64, DRAWS // logits.size))):
        chosen = population.rng.permutation(units)[: groups * classes]
        z = logits[:, chosen].reshape(-1, groups, classes)
        p = np.exp(z - z.max(axis=2, keepdims=True))
        p = (p / p.sum(axis=2, keepdims=True)).reshape(logits.shape[0], -1)
        drawn[:, chosen] = p
        mean[:, chosen] += p
        square[:, chosen] += p * p
        if not population.coupled:
            cross[:, chosen] += p[:1] * p[1:]
        count[chosen] += 1.0
    count = np.maximum(count, 1.0)
    return mean / count, square / count, cross / count, drawn
