"""Numbers as (sign, ln abs): deterministic maps are followed far beyond the range of float64."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gradcore.theory.gaussian import GaussianMoments

Array = np.ndarray
FAR = 300.0  # beyond exp(+-300) the activation is its leading power


@dataclass(frozen=True)
class SignedLog:
    """An array of numbers: ``sign`` in {-1, 0, 1} and ``log`` = ln abs (-inf for 0)."""

    sign: Array
    log: Array

    @classmethod
    def of(cls, x: Array | float) -> SignedLog:
        """From ordinary numbers."""
        x = np.asarray(x, dtype=float)
        with np.errstate(divide="ignore"):
            return cls(np.sign(x), np.log(np.abs(x)))

    def times(self, other: SignedLog) -> SignedLog:
        """Product."""
        return SignedLog(self.sign * other.sign, self.log + other.log)

    def scaled(self, factor: float) -> SignedLog:
        """Product with one number."""
        return self.times(SignedLog.of(np.float64(factor)))

    def plus(self, other: SignedLog) -> SignedLog:
        """Sum."""
        top = np.maximum(self.log, other.log)
        safe = np.where(np.isneginf(top), 0.0, top)
        total = self.sign * np.exp(self.log - safe) + other.sign * np.exp(other.log - safe)
        with np.errstate(divide="ignore"):
            return SignedLog(np.sign(total), safe + np.log(np.abs(total)))

    def value(self) -> Array:
        """Ordinary numbers, clipped to +-exp(FAR) (for evaluation at ordinary size)."""
        return self.sign * np.exp(np.minimum(self.log, FAR))


def activate(moments: GaussianMoments, z: SignedLog) -> tuple[SignedLog, SignedLog]:
    """(phi(z), phi'(z)) at any magnitude: leading powers beyond exp(+-300)."""
    moderate = np.clip(z.log, -FAR, FAR)
    x = z.sign * np.exp(np.where(np.isneginf(z.log), -FAR, moderate))
    x = np.where(z.sign == 0, 0.0, x)
    value, slope = SignedLog.of(moments.value(x)), SignedLog.of(moments.derivative(x))
    left, right = moments.activation.tails(moments.slope)
    grows = np.where(z.sign < 0, left != 0.0, right != 0.0)
    beyond = np.maximum(z.log - FAR, 0.0) * grows
    below = np.where(np.isneginf(z.log), 0.0, np.minimum(z.log + FAR, 0.0))
    vanishes = float(moments.value(np.array(0.0))) == 0.0
    log_value = value.log + beyond + (below if vanishes else 0.0)
    return SignedLog(value.sign, log_value), slope


def log_mean(logs: Array, weight: Array) -> float:
    """ln sum(weight exp(logs)) over all entries; -inf for an empty or vanishing sum."""
    top = float(np.max(logs, initial=-math.inf))
    if top == -math.inf:
        return -math.inf
    total = float(np.sum(weight * np.exp(logs - top)))
    return top + math.log(total) if total > 0 else -math.inf
