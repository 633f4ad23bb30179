"""Notes on a profile: which assumption fails, what was sampled, where the signal dies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from gradcore.profile import Profile

Entry = tuple[str, dict[str, Any], str]


def notes_of(profile: Profile) -> Iterator[Entry]:
    """(message id, values, English sentence) of each note."""
    spec = profile.spec
    if isinstance(spec.gain, str):
        origin = profile.gain_origin
        sigma = float(profile.sigma_w[-1])
        yield "gain_origin", {"origin": origin, "sigma_w": sigma}, f"sigma_w = {sigma:.6g} ({origin})."
    yield from _dead(profile)
    yield from _exact(profile)
    yield from _assumptions(profile)


def _dead(profile: Profile) -> Iterator[Entry]:
    layer = profile.dead_from
    if layer is not None:
        reason = _silence(profile)
        yield (
            "dead_signal",
            {"layer": layer, "reason": reason},
            f"The signal is exactly zero from layer {layer} on: {reason}.",
        )
    elif np.isneginf(profile.log_p).any():
        layer = int(np.flatnonzero(np.isneginf(profile.log_p))[0]) + 1
        reason = _silence(profile)
        yield (
            "dead_activation",
            {"layer": layer, "reason": reason},
            f"What layer {layer} receives is exactly zero: {reason}.",
        )
    yield from _dead_gradient(profile)


def _dead_gradient(profile: Profile) -> Iterator[Entry]:
    silent = np.flatnonzero(np.isneginf(profile.log_g))
    if silent.size:
        layer, reason = int(silent[-1]) + 1, _silence(profile)
        yield (
            "dead_gradient",
            {"layer": layer, "reason": reason},
            f"The gradient is exactly zero from layer {layer} down: {reason}.",
        )
    elif profile.spec.residual != "none" and profile.spec.alpha == 0.0 and profile.spec.depth > 1:
        yield (
            "dead_branch",
            {"layer": 2},
            "The weights from layer 2 on get no gradient: residual_scale = 0 switches their branches off.",
        )
    if profile.spec.norm == "batch" and np.isneginf(profile.log_db).any() and not silent.size:
        yield (
            "bias_cancelled",
            {},
            "Batch norm subtracts the biases of the layer before it, so their gradient is exactly zero.",
        )


def _silence(profile: Profile) -> str:
    """Why something is exactly zero, in words."""
    spec = profile.spec
    if (profile.sigma_w == 0.0).any():
        return "its weights are all zero (gain or sparsity)"
    if spec.init == "constant" and spec.loss == "cross_entropy":
        return "softmax minus onehot sums to zero over the classes, and constant weights send back only that sum"
    if spec.norm_gamma == 0.0 and spec.norm != "none":
        return "norm_gamma = 0 cuts the layer off"
    if int(spec.layer_widths[-1]) == 1 and spec.loss == "cross_entropy":
        return "the softmax of one class is constant"
    return "the activation is flat there, and nothing passes it"


def _exact(profile: Profile) -> Iterator[Entry]:
    spec = profile.spec
    if spec.init == "constant":
        yield (
            "constant_weights",
            {},
            "Constant weights are not random: all units of a layer are equal, and their exact map is followed.",
        )
    if spec.init == "eye":
        sampled = " (sampled because of the biases, about 1%)" if spec.bias_std != 0.0 else ""
        yield (
            "eye_weights",
            {},
            f"Eye weights leave each unit alone: the input's law is pushed through elementwise{sampled}.",
        )
    if spec.norm == "batch" and spec.norm_position == "after":
        yield "sampled_batch_norm", {}, "Batch norm after the activation is sampled at this batch size (about 0.1%)."


def _assumptions(profile: Profile) -> Iterator[Entry]:
    spec = profile.spec
    least = int(min(spec.layer_widths.min(), spec.fan_ins.min()))
    aspect = float(np.sum(1.0 / spec.layer_widths))
    if aspect > 0.5 and spec.init not in ("constant", "eye"):
        yield (
            "narrow",
            {"aspect": aspect, "width": least},
            f"Depth over width is {aspect:.2g}: single networks scatter widely about these means.",
        )
    if spec.norm == "batch" and spec.batch_size <= 5:
        yield (
            "heavy_tail",
            {"batch_size": spec.batch_size},
            f"At B = {spec.batch_size} the mean of 1/variance is made by rare batches; typical values lie below.",
        )
    if np.any(profile.chi_parallel > 1.0 + 1e-6) and not spec.activation_entry.homogeneous and spec.norm == "none":
        worst = float(profile.chi_parallel.max())
        yield (
            "unstable_variance",
            {"chi_parallel": worst},
            f"The variance map is unstable on the way (chi_parallel up to {worst:.3g}): small differences grow.",
        )
