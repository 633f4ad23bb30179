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
BELOW_FLOAT64 = 2.0 * math.log(5e-324)  # ln of a mean square below which every float64 entry is 0
ROUNDING = 1e-20  # a mean square this far below its neighbours is a rounded zero
SLACK = 1e-6  # of a log: what rounding may carry a network out of a band in which many are equal


@dataclass(frozen=True, eq=False)
class Comparison:
    """Numbers, not impressions; arrays (L,) by quantity ("log_q", "log_p", "log_g", "log_dw", "log_db").

    ``difference`` ln(mean over networks) minus the predicted mean, to leading order in 1/width where that is known;
    ``bias`` what a correct prediction would show there, since ln of a mean of few networks lies low;
    ``standard_error`` of the measured ln(mean), by the larger of measured and predicted scatter; ``allowance`` the
    systematic part that theory states for itself at this width; ``z`` difference less bias by both together.
    """

    predicted: Profile
    measured: Measurement
    difference: dict[str, Array]
    bias: dict[str, Array]
    standard_error: dict[str, Array]
    allowance: dict[str, Array]

    @cached_property
    def inside(self) -> dict[str, Array | None]:
        """(L,) by quantity: the share of networks inside the 95% band; None where the profile has no band.

        Draws the profile's sample where its band is sampled (seconds)."""
        return {name: _inside(self.predicted.band(name), getattr(self.measured, name)) for name in self.difference}

    @cached_property
    def z(self) -> dict[str, Array]:
        """Standard errors between prediction and measurement; nan where nothing can be said (one network without
        a predicted spread, a layer that no network reached), 0 where both are exactly zero, inf where one is."""
        out = {}
        for name, gap in self.difference.items():
            total = np.hypot(self.standard_error[name], self.allowance[name])
            with np.errstate(divide="ignore", invalid="ignore"):
                z = (gap - self.bias[name]) / total
            out[name] = np.where((gap == 0.0) & (total == 0.0), 0.0, z)
        return out

    def worst(self, name: str) -> tuple[int, float]:
        """(layer, z) of the largest abs z of a quantity, nan left out; (0, nan) where nothing is left."""
        z = self.z[name]
        known = np.flatnonzero(~np.isnan(z))
        if not known.size:
            return 0, math.nan
        k = int(known[np.argmax(np.abs(z[known]))])
        return k + 1, float(z[k])

    def agrees(self, limit: float = 4.0) -> bool | None:
        """Whether every known abs z stays within ``limit``; None where there is nothing to compare.

        Layers and quantities of one run move together, so a limit of 4 is far from one test in 16,000: a few of
        1,000 correct runs fail it (tests/test_compare.py measures how many).
        """
        worst = [abs(z) for z in (self.worst(name)[1] for name in self.z) if not math.isnan(z)]
        return max(worst) <= limit if worst else None

    def to_frame(self) -> pd.DataFrame:
        """Tidy pandas frame: layer, quantity, predicted, measured, standard_error, allowance, z."""
        import pandas as pd

        layers = np.arange(1, self.predicted.spec.depth + 1)
        parts = [
            pd.DataFrame(
                {
                    "layer": layers,
                    "quantity": name,
                    "predicted": self.predicted.expansion.mean(name),
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
            f"{'quantity':<8} {'layer':>6} {'difference':>11} {'std error':>10} {'allowance':>10} "
            f"{'z':>7} {'in band':>8}",
        ]
        for name in self.z:
            layer, z = self.worst(name)
            if layer == 0:
                lines.append(f"{name:<8} {'-':>6} nothing finite to compare")
                continue
            k = layer - 1
            inside = self.inside[name]
            share = f"{np.nanmean(inside):.0%}" if inside is not None else "-"
            lines.append(
                f"{name:<8} {layer:>6} {self.difference[name][k]:>11.4f} {self.standard_error[name][k]:>10.4f} "
                f"{self.allowance[name][k]:>10.4f} {z:>7.2f} {share:>8}"
            )
        verdict = self.agrees()
        if verdict is None:
            lines.append("nothing to compare: measure at least two networks")
        else:
            lines.append("agree" if verdict else "DISAGREE: a layer lies more than 4 standard errors off")
        return "\n".join(lines)


def _allowance(profile: Profile, name: str) -> Array:
    """What theory leaves open at this width, relative: second order in 1/width where the first is known,
    first order (2 / width a layer on the signal's or gradient's way) where it is not.

    MSE weight gradients also feel the random overlaps of the samples, (B - 1) times as much.
    """
    spec = profile.spec
    widths = spec.layer_widths.astype(float)
    inverse = 2.0 / widths
    inverse[0] += 2.0 / float(spec.fan_ins[0])
    forward = np.cumsum(inverse)
    backward = np.cumsum(inverse[::-1])[::-1]
    size = {"log_q": forward, "log_p": forward, "log_g": backward}.get(name, forward + backward)
    exact = 1e-9 * np.ones(spec.depth)
    if spec.init_entry.kind in ("constant", "eye"):
        if name in ("log_dw", "log_db"):
            return size + spec.batch_size * inverse.max()
        return exact if spec.bias_std == 0.0 and spec.loss != "cross_entropy" else size
    overlaps = (spec.batch_size - 1) * forward if spec.loss == "mse" and name in ("log_dw", "log_db") else 0.0
    if profile.expansion.source is None:
        return size + overlaps
    forward_exact = name in ("log_q", "log_p") or spec.loss == "random"
    if spec.activation_entry.homogeneous and spec.bias_std == 0.0 and forward_exact:
        # the mean is exact at any width, but for networks in which a whole layer of flat units dies
        dies = bool(spec.activation_entry.flat) and name not in ("log_q", "log_p")
        return exact + (np.cumsum(0.5**widths) if dies else 0.0)
    return size**2 + 0.1 * size


def _log_error(profile: Profile, measured: Measurement, name: str, mean: Array) -> tuple[Array, Array]:
    """(bias, standard error) of ln(mean over N networks) for log-normal scatter.

    The relative variance r of one network is the larger of the measured and the predicted one; ln of the mean of N
    has variance ln(1 + r/N) and lies half of that below ln of the true mean (Fenton-Wilkinson). Without a predicted
    spread the measured one is widened as Student's t is for N - 1 degrees of freedom.
    """
    logs = getattr(measured, name)
    usable = np.isfinite(logs)
    count = np.maximum(usable.sum(axis=0), 1)
    with np.errstate(invalid="ignore", over="ignore"):
        relative = np.exp(np.where(usable, logs - np.where(np.isfinite(mean), mean, 0.0), np.nan))
        scatter = np.nansum((relative - 1.0) ** 2, axis=0) / np.maximum(count - 1, 1)
    variance = profile.expansion.variance(name)
    if variance is not None:
        scatter = np.maximum(scatter, np.expm1(np.minimum(variance, 50.0)))
        wide = np.ones(scatter.shape)
    else:
        scatter = np.where(count > 1, scatter, np.nan)
        wide = _student(np.maximum(count - 1, 1))
    log_variance = np.log1p(scatter / count)
    return -0.5 * log_variance, np.sqrt(log_variance) * wide


def _student(freedom: Array) -> Array:
    """How many times wider than the normal law's a 4-sigma limit of Student's t is (Wallace 1959, inverted)."""
    z = 4.0 * (8.0 * freedom + 3.0) / (8.0 * freedom + 1.0)
    return np.sqrt(freedom * np.expm1(z * z / freedom)) / 4.0


def compare(predicted: Profile, measured: Measurement) -> Comparison:
    """Compare a profile with a measurement of the same Spec. Raises SpecError where the Specs differ."""
    if predicted.spec != measured.spec:
        raise SpecError("measured", measured.spec, "a measurement of the same Spec", "Predict the measured Spec.")
    difference, biases, error, allowance = {}, {}, {}, {}
    for name in QUANTITIES:
        ours, theirs = predicted.expansion.mean(name), measured.mean(name)
        bias, error[name] = _log_error(predicted, measured, name, theirs)
        with np.errstate(invalid="ignore"):
            gap = theirs - ours
        both_zero = np.isneginf(ours) & _is_rounding(name, theirs, measured)
        gap = np.where(both_zero, 0.0, gap)
        # a slope or signal below what float64 holds is measured as exactly zero
        difference[name] = np.where(np.isneginf(theirs) & (ours < BELOW_FLOAT64), np.nan, gap)
        known = len(measured.networks) > 1 or predicted.expansion.variance(name) is not None
        biases[name] = np.where(both_zero | ~np.isfinite(theirs), 0.0, bias)
        error[name] = np.where(both_zero, 0.0 if known else np.nan, error[name])
        allowance[name] = np.where(both_zero, 0.0, _allowance(predicted, name))
    return Comparison(predicted, measured, difference, biases, error, allowance)


def _inside(band: tuple[Array, Array] | None, logs: Array) -> Array | None:
    """Share of the networks inside the band, of those whose own dtype held; nan where none did."""
    if band is None:
        return None
    held = ~(np.isnan(logs) | np.isposinf(logs))
    with np.errstate(invalid="ignore"):
        return np.sum(held & (logs >= band[0] - SLACK) & (logs <= band[1] + SLACK), axis=0) / held.sum(axis=0)


def _is_rounding(name: str, theirs: Array, measured: Measurement) -> Array:
    """Whether a measured mean square is zero up to rounding, against the largest terms that cancelled in it."""
    gradient = measured.mean("log_g")
    scale = float(np.max(np.where(np.isfinite(gradient), gradient, -np.inf)))
    if name == "log_dw":
        scale = scale + measured.mean("log_p")
    with np.errstate(invalid="ignore"):
        return np.isneginf(theirs) | (theirs - scale < math.log(ROUNDING))
