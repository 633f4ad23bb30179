"""Prediction against measurement: how many standard errors apart, layer by layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gradcore.errors import SpecError
from gradcore.measurement import QUANTITIES, Measurement
from gradcore.profile import Profile

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray
ROUNDING = 1e-20  # a mean square this far below its neighbours is a rounded zero


@dataclass(frozen=True, eq=False)
class Comparison:
    """Numbers, not impressions; arrays (L,) by quantity ("log_q", "log_p", "log_g", "log_dw", "log_db").

    ``difference`` ln(mean over networks) minus the predicted ``log_*_mean``; ``standard_error`` of the measured mean;
    ``allowance`` the systematic part that theory states for itself at this width; ``z`` the difference by both
    together; ``inside`` the share of networks inside the 95% band, None where the profile has no band.
    """

    predicted: Profile
    measured: Measurement
    difference: dict[str, Array]
    standard_error: dict[str, Array]
    allowance: dict[str, Array]
    inside: dict[str, Array | None]

    @cached_property
    def z(self) -> dict[str, Array]:
        """Standard errors between prediction and measurement; 0 where both are exactly zero, inf where one is."""
        out = {}
        for name, gap in self.difference.items():
            total = np.hypot(self.standard_error[name], self.allowance[name])
            with np.errstate(divide="ignore", invalid="ignore"):
                z = np.where(gap == 0.0, 0.0, gap / total)
            out[name] = z
        return out

    def worst(self, name: str) -> tuple[int, float]:
        """(layer, z) of the largest abs z of a quantity, over finite entries; (0, nan) where there are none."""
        z = self.z[name]
        finite = np.flatnonzero(~np.isnan(z))
        if not finite.size:
            return 0, math.nan
        k = int(finite[np.argmax(np.abs(z[finite]))])
        return k + 1, float(z[k])

    def agrees(self, limit: float = 4.0) -> bool:
        """Whether every finite abs z stays below ``limit`` (4: about one false alarm in 30 runs of 50 layers)."""
        return all(not (abs(self.worst(name)[1]) > limit) for name in self.z)

    def to_frame(self) -> pd.DataFrame:
        """Tidy pandas frame: layer, quantity, predicted, measured, standard_error, allowance, z."""
        import pandas as pd

        layers = np.arange(1, self.predicted.spec.depth + 1)
        parts = [
            pd.DataFrame(
                {
                    "layer": layers,
                    "quantity": name,
                    "predicted": self.predicted.mean(name),
                    "measured": self.measured.mean(name),
                    "standard_error": self.standard_error[name],
                    "allowance": self.allowance[name],
                    "z": self.z[name],
                }
            )
            for name in self.z
        ]
        return pd.concat(parts, ignore_index=True)

    def __str__(self) -> str:
        m = self.measured
        lines = [
            f"{len(m.networks)} networks, seed {m.seed}, {m.dtype}; "
            f"difference = ln(measured mean) - predicted, z in standard errors",
            f"{'quantity':<8} {'layer':>6} {'difference':>11} {'std error':>10} {'allowance':>10} {'z':>7} {'in band':>8}",
        ]
        for name in self.z:
            layer, z = self.worst(name)
            if layer == 0:
                lines.append(f"{name:<8} {'-':>6} nothing finite to compare")
                continue
            k = layer - 1
            inside = self.inside[name]
            share = f"{np.mean(inside):.0%}" if inside is not None else "-"
            lines.append(
                f"{name:<8} {layer:>6} {self.difference[name][k]:>11.4f} {self.standard_error[name][k]:>10.4f} "
                f"{self.allowance[name][k]:>10.4f} {z:>7.2f} {share:>8}"
            )
        lines.append("agree" if self.agrees() else "DISAGREE: a layer lies more than 4 standard errors off")
        return "\n".join(lines)


def _allowance(profile: Profile, name: str) -> Array:
    """What theory leaves open at this width, relative: second order in 1/width where the first is known,
    first order (2 / width a layer on the signal's or gradient's way) where it is not.

    MSE weight gradients also feel the random overlaps of the samples, (B - 1) times as much.
    """
    spec = profile.spec
    inverse = 2.0 / spec.layer_widths.astype(float)
    inverse[0] += 2.0 / float(spec.fan_ins[0])
    forward = np.cumsum(inverse)
    backward = np.cumsum(inverse[::-1])[::-1]
    size = {"log_q": forward, "log_p": forward, "log_g": backward}.get(name, forward + backward)
    exact = 1e-9 * np.ones(spec.depth)
    if spec.init_entry.kind in ("constant", "eye"):
        return exact if spec.bias_std == 0.0 and spec.loss != "cross_entropy" else size
    overlaps = (spec.batch_size - 1) * forward if spec.loss == "mse" and name in ("log_dw", "log_db") else 0.0
    if profile.band_source is None:
        return size + overlaps
    forward_exact = name in ("log_q", "log_p") or spec.loss == "random"
    if spec.activation_entry.homogeneous and spec.bias_std == 0.0 and forward_exact:
        return exact  # the mean is exact at any width
    return size**2 + 0.1 * size


def compare(predicted: Profile, measured: Measurement) -> Comparison:
    """Compare a profile with a measurement of the same Spec. Raises SpecError where the Specs differ."""
    if predicted.spec != measured.spec:
        raise SpecError("measured", measured.spec, "a measurement of the same Spec", "Predict the measured Spec.")
    difference, error, allowance = {}, {}, {}
    inside: dict[str, Array | None] = {}
    for name in QUANTITIES:
        ours, theirs = predicted.mean(name), measured.mean(name)
        with np.errstate(invalid="ignore"):
            gap = theirs - ours
        gap = np.where(np.isneginf(ours) & _is_rounding(name, theirs, measured), 0.0, gap)
        difference[name] = gap
        error[name] = measured.standard_error(name)
        allowance[name] = _allowance(predicted, name)
        band = predicted.band(name)
        logs = getattr(measured, name)
        inside[name] = None if band is None else np.mean((logs >= band[0]) & (logs <= band[1]), axis=0)
    return Comparison(predicted, measured, difference, error, allowance, inside)


def _is_rounding(name: str, theirs: Array, measured: Measurement) -> Array:
    """Whether a measured mean square is zero up to rounding, against the largest terms that cancelled in it."""
    gradient = measured.mean("log_g")
    scale = float(np.max(np.where(np.isfinite(gradient), gradient, -np.inf)))
    if name == "log_dw":
        scale = scale + measured.mean("log_p")
    with np.errstate(invalid="ignore"):
        return np.isneginf(theirs) | (theirs - scale < math.log(ROUNDING))
