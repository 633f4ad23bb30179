"""Where the network could stand: the critical weight scale without a norm, the steady factor with one."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from gradcore.equations.equation import Equation, Factor, equation, number, term
from gradcore.equations.place import POOLE, SCHOENHOLZ, YANG, Place
from gradcore.theory.channel import NormBefore, log_of
from gradcore.theory.critical import CriticalPoint, bias_variances, critical_points
from gradcore.theory.gaussian import moments_of

SOURCE = f"{POOLE}; {SCHOENHOLZ}"


def landmarks(at: Place) -> Iterator[Equation]:
    """Critical condition or steady factor, for random weights without a residual stream."""
    if at.residual or at.spec.depth == 1:
        return
    if at.spec.norm == "none":
        yield critical(at)
    elif at.batch_norm and at.spec.norm_position == "before":
        yield batch_limit(at)
    elif isinstance(at.channel, NormBefore):
        yield steady(at)


def critical(at: Place) -> Equation:
    """chi = 1 at a fixed point of the signal's map: the sigma_w that keeps the gradient's size."""
    spec, t = at.spec, at.t
    bias = float(np.sqrt(bias_variances(spec)[-1]))
    points: tuple[CriticalPoint, ...] = critical_points(spec.activation, bias, spec.negative_slope)
    title = t("Critical initialization: the gradient keeps its size where χ = 1")
    fixed = r"q_* = \sigma_w^2\, E\,\phi(\sqrt{q_*}\,Z)^2" + (r" + \sigma_b^2" if bias else "")
    slope = r"E\,\phi'(\sqrt{q_*}\,Z)^2"
    if not points:
        note = t("{activation} has no critical point with these biases, at any σ_w.", activation=spec.activation)
        return Equation(
            "critical", title, rf"\chi_* = \sigma_w^2\, {slope} = 1,\quad {fixed}", "", SOURCE, note, (), math.nan
        )
    point = next((p for p in points if p.stable), points[0])
    moments = moments_of(spec.activation, spec.slope)
    log_slope = float(moments.at(np.asarray(log_of(point.q))).log_slope_second)
    terms = (term(Factor(r"\sigma_w^2", 2.0 * math.log(point.sigma_w)), Factor(slope, log_slope)),)
    if not math.isfinite(point.q):
        fixed = ""
    found = rf"\sigma_w = {number(math.log(point.sigma_w))}"
    found += rf",\; q_* = {number(log_of(point.q))}" if math.isfinite(point.q) and not moments.homogeneous else ""
    note = _critical_note(at, point)
    left = (r"\chi_*", rf"{found}:\quad \chi_*")
    return equation("critical", title, left, terms, 0.0, SOURCE, note, where=fixed)


def _critical_note(at: Place, point: CriticalPoint) -> str:
    t, sigma = at.t, float(at.profile.sigma_w[at.layer - 1])
    ratio = log_of(sigma) - math.log(point.sigma_w)
    note = t("This layer's σ_w is ×{rms} of it.", **at.sizes(2.0 * ratio))
    if not math.isfinite(point.q):
        note += " " + t("With biases the signal has no fixed point: it grows by σ_b² a layer.")
    elif not point.stable:
        note += " " + t("But it is unstable: the signal drifts away from q*, and no gain holds a deep net there.")
    return note


def steady(at: Place) -> Equation:
    """chi of equal widths once epsilon is negligible: sigma_w cancels but for the biases."""
    spec, t = at.spec, at.t
    law, moments = at.random.law, at.channel.moments
    m = moments.at(np.asarray(at.gamma.log))
    argument = rf"\gamma Z{at.shift}"
    log_w, log_b = float(law.log_in[-1]), float(law.log_bias[-1])
    log_below = float(np.logaddexp(log_w + float(m.log_second), log_b))
    below = rf"\sigma_w^2\, E\,\phi({argument})^2" + (r" + \sigma_b^2" if spec.bias_std else "")
    terms = (
        term(
            Factor(r"\sigma_w^2", log_w),
            at.gamma,
            Factor(rf"E\,\phi'({argument})^2", float(m.log_slope_second)),
            Factor(rf"({below})^{{-1}}", -log_below),
        ),
    )
    log_value = terms[0].log
    note = t("×{rms} per layer in RMS (×{square} in mean square).", **at.sizes(log_value))
    if not spec.bias_std:
        note += " " + t("σ_w cancels: with this norm no gain changes it.")
    title = t("Gradient factor deep in the net, widths equal and ε negligible")
    return equation("steady", title, (r"\chi_*", r"\chi_*"), terms, log_value, YANG, note)


def batch_limit(at: Place) -> Equation:
    """chi of batch norm for an infinite batch: gamma^2 E phi'^2 / Var phi >= 1, equal for affine phi alone."""
    spec, t = at.spec, at.t
    # about phi(beta): nothing cancels in the variance
    moments = moments_of(spec.activation, spec.slope, spec.norm_beta, True)
    m = moments.at(np.asarray(at.gamma.log))
    argument = rf"\gamma Z{at.shift}"
    log_variance = float(m.log_second) + log_of(max(1.0 - float(m.mean_ratio) ** 2, 0.0))
    terms = (
        term(
            at.gamma,
            Factor(rf"E\,\phi'({argument})^2", float(m.log_slope_second)),
            Factor(rf"(\mathrm{{Var}}\,\phi({argument}))^{{-1}}", -log_variance),
        ),
    )
    note = t("×{rms} per layer in RMS (×{square} in mean square).", **at.sizes(terms[0].log))
    note += " " + t("Never below 1, and 1 only without an activation: batch norm pins the signal, not the gradient.")
    title = t("Gradient factor of batch norm for an infinite batch, ε negligible")
    left = (r"\chi_{\infty}", r"\chi_{\infty}")
    return equation("batch_limit", title, left, terms, terms[0].log, YANG, note)
