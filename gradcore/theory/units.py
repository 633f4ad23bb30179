"""Activation and norm on arrays of sampled units, at any size of the signal, and their transposed Jacobians.

Arrays are (S, N): S samples of N units, values ``hat`` exp(``log`` / 2) with hat of order 1. Statistics over the units
are means over the second axis (layer and RMS norm), over the batch means over the first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gradcore.normalization import NORMALIZATIONS
from gradcore.theory.channel import log_of

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray
FAR = 600.0  # beyond exp(+-FAR / 2) the activation is its leading power


@dataclass(frozen=True)
class Signal:
    """Values ``hat`` exp(``log`` / 2), (S, N); ``log`` is -inf where all of them are zero."""

    hat: Array
    log: float

    def scaled(self, coupled: bool) -> Signal:
        """The same with a mean square of 1: of every sample (all have one law), the first gives ``log``; of all
        samples together where a batch norm couples them."""
        square = np.mean(self.hat**2, axis=None if coupled else 1, keepdims=True)
        if self.log == -math.inf or not square.flat[0] > 0.0:
            return Signal(np.zeros_like(self.hat), -math.inf)
        root = np.sqrt(np.where(square > 0.0, square, 1.0))
        return Signal(self.hat / root, self.log + math.log(float(square.flat[0])))


def activate(spec: Spec, z: Signal) -> tuple[Signal, Array]:
    """(phi(z), phi'(z)): leading powers far from 1."""
    entry, hat = spec.activation_entry, z.hat
    if z.log > FAR and any(entry.tails(spec.slope)):
        left, right = entry.tails(spec.slope)
        slope = np.where(hat < 0, left, right) + 0.0
        return Signal(slope * hat, z.log), slope
    if z.log < -FAR:
        zero = float(entry.value(np.array(0.0), spec.slope))
        slope = entry.derivative(hat * 1e-30, spec.slope)
        if zero:
            return Signal(np.full_like(hat, zero), 0.0), slope
        return Signal(slope * hat, z.log), slope
    value = hat * math.exp(0.5 * min(z.log, FAR))
    out, slope = entry.value(value, spec.slope), entry.derivative(value, spec.slope)
    top = float(np.abs(out).max(initial=0.0))
    return (Signal(out / top, 2.0 * math.log(top)) if top > 0.0 else Signal(out, -math.inf)), slope


@dataclass(frozen=True)
class _Normed:
    """A norm at its values: dy/dx = ``root`` (1 - mean - centred (mean of centred s) ``kept``) in units of
    exp(``shift`` / 2), means over ``axis``."""

    axis: int
    centers: bool
    centred: Array
    root: Array
    kept: Array
    shift: float

    def pull(self, s: Array) -> Array:
        """J^T s in units of exp(shift / 2)."""
        along = self.centred * np.mean(s * self.centred * self.root * self.kept, axis=self.axis, keepdims=True)
        s = s * self.root
        if self.centers:
            s = s - s.mean(axis=self.axis, keepdims=True)
        return s - along


def normalize(spec: Spec, z: Signal) -> tuple[Signal, _Normed]:
    """(gamma (z - mean) / sqrt(var + eps) + beta, its Jacobian)."""
    entry = NORMALIZATIONS[spec.norm]
    axis = 0 if entry.over == "batch" else 1
    hat = z.hat if z.log > -math.inf else z.hat * 0.0
    log = z.log if z.log > -math.inf else 0.0
    centred = hat - hat.mean(axis=axis, keepdims=True) if entry.centers else hat
    with np.errstate(divide="ignore"):
        log_var = log + np.log(np.mean(centred**2, axis=axis, keepdims=True))
    log_s2 = np.logaddexp(log_var, log_of(spec.norm_eps))
    log_s2 = np.where(np.isneginf(log_s2), 0.0, log_s2)  # all zero and no epsilon
    beta = spec.norm_beta if entry.has_beta else 0.0
    y = spec.norm_gamma * np.exp(0.5 * np.clip(log - log_s2, -1400.0, 1400.0)) * centred + beta
    low = float(log_s2.min())
    root = np.sign(spec.norm_gamma) * np.exp(-0.5 * (log_s2 - low))
    shift = 2.0 * log_of(abs(spec.norm_gamma)) - low  # of any size
    kept = np.exp(np.clip(log - log_s2, -1400.0, 700.0))
    return Signal(y, 0.0), _Normed(axis, entry.centers, centred, root, kept, shift)


class Unit:
    """phi(norm(z)), norm(phi(z)) or phi(z) at sampled values: ``out`` and the way back."""

    def __init__(self, spec: Spec, z: Signal, plain: bool = False) -> None:
        z = Signal(np.asarray(z.hat, dtype=float), z.log)  # kept in single precision
        self.norm: _Normed | None = None
        self.after = spec.norm_position == "after"
        normed = spec.norm != "none" and not plain
        if normed and not self.after:
            z, self.norm = normalize(spec, z)
        self.out, self.slope = activate(spec, z)
        if normed and self.after:
            self.out, self.norm = normalize(spec, self.out)

    @property
    def shift(self) -> float:
        """ln of the mean-square unit that cotangents below are given in."""
        return self.norm.shift if self.norm is not None else 0.0

    def pull(self, s: Array) -> Array:
        """J^T s, in units of exp(shift / 2)."""
        if self.norm is None:
            return self.slope * s
        if self.after:
            return self.slope * self.norm.pull(s)
        return self.norm.pull(self.slope * s)

    @property
    def diagonal(self) -> Array:
        """What multiplies a cotangent that is independent of the signal (statistics over many units move nothing)."""
        return self.slope if self.norm is None else self.slope * self.norm.root
