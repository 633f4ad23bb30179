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
    yield from _textbook(profile)


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
    elif profile.spec.residual != "none" and (cut := _cut(profile)):
        yield (
            "dead_branch",
            {"reason": cut},
            f"Weights of the branches get no gradient: {cut}.",
        )
    if profile.spec.norm == "batch" and np.isneginf(profile.log_db).any() and not silent.size:
        yield (
            "bias_cancelled",
            {},
            "Batch norm subtracts the biases of the layer before it, so their gradient is exactly zero.",
        )


def _cut(profile: Profile) -> str:
    """What switches the branches of a residual network off; empty where their weights have gradients."""
    spec = profile.spec
    silent = np.isneginf(profile.log_dw[1:]) & np.isfinite(profile.log_p[1:])
    if spec.norm != "batch":  # which takes the biases' gradients off by itself
        silent |= np.isneginf(profile.log_db[1:])
    if not silent.any():
        return ""
    if spec.alpha == 0.0:
        return "their outputs are multiplied by residual_scale = 0"
    if spec.norm != "none" and spec.norm_gamma == 0.0:
        return "their outputs are multiplied by norm_gamma = 0"
    return "" if getattr(profile._field, "sampled", False) else "the activation is flat there, and nothing passes it"


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
    if getattr(profile._field, "sampled", False):
        percent = 5 if spec.norm == "batch" or spec.init == "constant" else 1
        yield (
            "sampled_units",
            {"percent": percent},
            f"This network is followed with sampled units: gradients hold to about {percent}%.",
        )
        rows = getattr(profile._field, "followed", spec.batch_size)
        if rows < spec.batch_size:
            yield (
                "representative_samples",
                {"rows": rows, "batch_size": spec.batch_size},
                f"{rows} samples stand for the batch of {spec.batch_size}: gradients hold to about 5%, those of the "
                "weights to 20% where the loss depends on the output.",
            )
        if spec.init != "constant" and np.isneginf(profile.log_dw).any():
            yield (
                "unresolved_samples",
                {},
                "Units that pass a gradient, or differences between the samples, are rarer or smaller than the sampled "
                "units resolve: 0 is shown there.",
            )
    elif spec.norm == "batch" and spec.norm_position == "after":
        yield "sampled_batch_norm", {}, "Batch norm after the activation is sampled at this batch size (about 0.1%)."


ALIKE = 0.5  # correlation of two samples' signals from which the batch's averaging deserves a word
TRANSIENT = 1.5  # factor in mean square between the first batch norm's step and a later one's, worth a word


def _textbook(profile: Profile) -> Iterator[Entry]:
    """Where a formula that is often quoted would be wrong for this network, and by how much."""
    spec = profile.spec
    if spec.depth < 3 or not np.all(np.isfinite(profile.log_g)):
        return
    step = float(profile.chi[spec.depth // 2])
    if spec.norm == "layer" and spec.norm_position == "after" and spec.residual == "none" and step > 1.05:
        yield (
            "layer_norm_after",
            {"factor": step},
            f"Layer norm after {spec.activation} takes off the units' common mean, so the gradient's mean square grows "
            f"x{step:.3g} a layer; RMS norm there, or layer norm before the activation, would not do that.",
        )
    alike = float(np.max(profile.correlation))
    if spec.batch_size > 1 and alike > ALIKE and spec.norm != "batch":
        yield (
            "correlated_batch",
            {"correlation": alike, "batch_size": spec.batch_size},
            f"The samples' signals are alike (correlation up to {alike:.2g}), so averaging over the batch of "
            f"{spec.batch_size} takes less off the weight gradients than a factor {spec.batch_size}.",
        )
    if spec.norm == "batch" and spec.residual == "none":
        first = float(profile.chi[0])
        if step > 0.0 and first > 0.0 and max(first / step, step / first) > TRANSIENT:
            yield (
                "batch_norm_transient",
                {"first": first, "later": step},
                f"The first batch norm meets the input's own spread: the gradient's mean square changes x{first:.3g} "
                f"there, x{step:.3g} a layer later on.",
            )
    start, end = profile.log_q[0], profile.log_q[-1]  # both -inf without weights: nothing to compare
    if spec.residual == "post_activation" and np.isfinite(start) and end - start > 1e-3:
        growth = float(np.exp(np.minimum(end - start, 700.0)))
        yield (
            "branch_mean",
            {"growth": growth},
            f"Branches behind {spec.activation} add their means up, not only their variances: the signal's mean square "
            f"grows x{growth:.3g} over the net.",
        )


def _band(profile: Profile) -> Iterator[Entry]:
    """Why there is no band, or none to rely on."""
    if profile.band_source is None:
        yield (
            "no_band",
            {},
            "No band: how single networks scatter is neither known for this case nor can so large a net be sampled.",
        )
    elif profile.band_source == "expansion" and not profile.expansion_reliable:
        yield (
            "band_unreliable",
            {},
            "The band is the leading order in 1/width, which is known to be too narrow or too wide here, and the net "
            "is too large to be sampled.",
        )


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
    yield from _band(profile)
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
