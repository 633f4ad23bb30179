"""The signal: weights, what a layer receives, its pre-activations, and whether their size is stable."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from gradcore.activations import ACTIVATIONS
from gradcore.equations.equation import Equation, Factor, Term, equation, number, term
from gradcore.equations.formula import evaluate, latex, parse, split
from gradcore.equations.place import POOLE, SCHOENHOLZ, YANG, Place, sub
from gradcore.theory.channel import NormAfter, NormBefore, log_of
from gradcore.theory.critical import exact_gain, resolve_gain, weight_variances


def forward(at: Place) -> Iterator[Equation]:
    """Weights, input and pre-activations of the layer (random weights)."""
    yield weight_variance(at)
    yield weight_scale(at)
    yield from layer_input(at)
    yield signal(at)
    if not at.last and at.spec.norm == "none" and math.isfinite(at.profile.chi_parallel[at.layer - 1]):
        yield stability(at)


def weight_variance(at: Place) -> Equation:
    """E W^2 by the law's own formula."""
    spec, layer = at.spec, at.layer
    entry = spec.init_entry
    gain = float(resolve_gain(spec).multipliers[layer - 1])
    fan_in, fan_out = int(spec.fan_ins[layer - 1]), int(spec.layer_widths[layer - 1])
    values = {"g": gain, "n": fan_in, "m": fan_out, "a": spec.init_slope, "s": spec.sparsity}
    names = {"g": "g", "n": "n_{l-1}", "m": "n_{l}", "a": "a", "s": "s"}
    log_value = log_of(float(weight_variances(spec)[layer - 1]))
    main, parts = split(entry.formula)
    tree = parse(main)
    where = ""
    for name, text in parts.items():
        inner = parse(text)
        if inner is not None and gain > 0.0:
            values[name], names[name] = evaluate(inner, values), name
            where += rf",\quad {name} = {latex(inner, names)}"
    terms = (term(Factor(r"E\,W^2", log_value)),)
    title, note = at.t("Variance of the weights"), _law_note(at, fan_in, fan_out)
    left = sub(r"\mathrm{Var}\,W", layer)
    if tree is None or not values.keys() >= {*parts}:
        return equation("weight_variance", title, (r"\mathrm{Var}\,W_{l}", left), terms, log_value, entry.source, note)
    shown = {name: number(log_of(abs(value)), 1 if value >= 0 else -1) for name, value in values.items()}
    return Equation(
        "weight_variance",
        title,
        rf"\mathrm{{Var}}\,W_{{l}} = {latex(tree, names)}{where}",
        f"{left} = {latex(tree, shown)} = {number(log_value)}",
        entry.source,
        note,
        terms,
        log_value,
    )


def _law_note(at: Place, fan_in: int, fan_out: int) -> str:
    entry, t = at.spec.init_entry, at.t
    if entry.kind == "truncated":
        return t("torch cuts the weights at −2 and 2, not at two standard deviations.")
    if entry.kind == "orthogonal" and fan_out > fan_in:
        return t("With more rows than columns an orthogonal matrix shrinks the signal's mean square per unit.")
    if entry.family == "Kaiming" and at.spec.gain not in (1.0, "auto", "critical"):
        return t("Kaiming's law already holds the factor 2 for ReLU; the gain multiplies it once more.")
    return ""


def weight_scale(at: Place) -> Equation:
    """sigma_w^2 = fan-in times the variance."""
    layer = at.layer
    terms = (
        term(
            Factor("n_{l-1}", math.log(int(at.spec.fan_ins[layer - 1]))),
            Factor(r"\mathrm{Var}\,W_{l}", log_of(float(weight_variances(at.spec)[layer - 1]))),
        ),
    )
    sigma = float(at.profile.sigma_w[layer - 1])
    note = at.t("σ_w = {sigma}.", sigma=f"{sigma:.4g}") + _gain_note(at, sigma)
    left = (r"\sigma_{w,l}^2", rf"\sigma_{{w,{layer}}}^2")
    title = at.t("Weight scale: σ_w = std(W) times the root of the fan-in")
    return equation("weight_scale", title, left, terms, 2.0 * log_of(sigma), POOLE, note)


def _gain_note(at: Place, sigma: float) -> str:
    """Where the gain comes from, and what torch's gain of this activation does not do."""
    spec = at.spec
    note = " " + at.t("Gain: {origin}.", origin=at.t(at.profile.gain_origin)) if isinstance(spec.gain, str) else ""
    torch_gain = ACTIVATIONS[spec.activation].torch_gain
    if torch_gain is None or not math.isclose(sigma, torch_gain(spec.slope), rel_tol=1e-9):
        return note
    exact = exact_gain(spec.activation, spec.negative_slope)
    if math.isclose(exact, sigma, rel_tol=1e-9):
        return note
    return (
        note
        + " "
        + at.t(
            "This is torch's calculate_gain for {activation}; it does not keep a signal of size 1: {exact} would.",
            activation=spec.activation,
            exact=f"{exact:.4g}",
        )
    )


# --- what the layer receives -------------------------------------------------------------------------------


def layer_input(at: Place) -> Iterator[Equation]:
    """p_{l-1}, the mean square of what the weights multiply."""
    layer, log_p = at.layer, float(at.profile.log_p[at.layer - 1])
    title = at.t("What the layer receives: mean square of x")
    left = ("p_{l-1}", sub("p", layer - 1))
    if layer == 1:
        root = Factor(r"\mathrm{rms}^2", 2.0 * math.log(at.spec.input_rms))
        note = at.t("The second moment of the input: its mean counts too.")
        yield equation("layer_input", title, ("p_{0}", "p_{0}"), (term(root),), log_p, POOLE, note)
        return
    if at.batch_norm:
        yield _batch_input(at, title, left, log_p)
        return
    channel, log_q = at.channel_at(layer - 1), float(at.profile.log_q[layer - 2])
    if isinstance(channel, NormAfter):
        yield from _after_input(at, title, left, log_p)
        return
    source, where = POOLE, ""
    argument = "q_{l-1}"
    if isinstance(channel, NormBefore):
        source, where, argument = YANG, "", "v_{l-1}"
        yield _normalized(at)
    value = Factor(rf"E\,\phi(\sqrt{{{argument}}}\,Z{at.shift})^2", channel.log_out(log_q))
    where = rf"\phi(h) = {at.spec.activation_entry.latex},\; Z \sim N(0, 1)"
    yield equation("layer_input", title, left, (term(value),), log_p, source, where=where)


def _normalized(at: Place) -> Equation:
    """Variance of the normalized pre-activation (before the activation, over the units)."""
    layer = at.layer
    log_q = at.log_q(layer - 1)
    log_s2 = float(np.logaddexp(log_q, log_of(at.spec.norm_eps)))
    terms = (term(at.gamma, Factor("q_{l-1}", log_q), Factor(r"(q_{l-1} + \epsilon)^{-1}", -log_s2)),)
    title = at.t("After the norm: mean square of what the activation sees, less the shift")
    left = ("v_{l-1}", sub("v", layer - 1))
    return equation("normalized", title, left, terms, float(at.channel.argument(log_q)), YANG)


def _after_input(at: Place, title: str, left: tuple[str, str], log_p: float) -> Iterator[Equation]:
    """Norm over the units after the activation: its spread S, then gamma^2 S / (S + eps) + beta^2."""
    layer, channel = at.layer, at.channel_at(at.layer - 1)
    if at.profile.log_q[layer - 2] == -math.inf:
        yield equation("layer_input", title, left, (term(Factor(r"E\,x_{l-1}^2", log_p)),), log_p, YANG)
        return
    m = channel.moments.at(np.asarray(at.log_q(layer - 1)))
    log_spread = at.log_spread(layer - 1)
    value = r"\phi(\sqrt{q_{l-1}}\,Z)"
    if channel.moments.offset:  # nothing cancels about phi(0)
        value = rf"\left({value} - \phi(0)\right)"
    spread = [term(Factor(rf"E\,{value}^2", float(m.log_second)))]
    if channel.centers:
        log_mean = float(m.log_second) + 2.0 * log_of(abs(float(m.mean_ratio)))
        spread.append(term(Factor(rf"(E\,{value})^2", log_mean), minus=True))
    what = at.t("What the norm divides by: variance over the units")
    if not channel.centers:
        what = at.t("What the norm divides by: mean square over the units")
    yield equation("spread", what, ("S_{l-1}", sub("S", layer - 1)), tuple(spread), log_spread, YANG)
    log_s2 = float(np.logaddexp(log_spread, log_of(at.spec.norm_eps)))
    terms = [term(at.gamma, Factor("S_{l-1}", log_spread), Factor(r"(S_{l-1} + \epsilon)^{-1}", -log_s2))]
    if at.shift:
        terms.append(term(Factor(r"\beta^2", log_of(at.spec.norm_beta**2))))
    yield equation("layer_input", title, left, tuple(terms), log_p, YANG)


def _batch_input(at: Place, title: str, left: tuple[str, str], log_p: float) -> Equation:
    unit, t = at.unit(at.layer - 1), at.t
    if at.spec.norm_position == "after":
        b, gamma = at.spec.batch_size, at.spec.norm_gamma
        log_kept = unit.log_contrast - unit.log_scale - math.log(b / (b - 1)) if gamma else log_of(1.0 - unit.loss)
        kept = Factor(r"E\,V", log_kept)
        terms = [term(at.gamma, kept)]
        if at.shift:
            terms.append(term(Factor(r"\beta^2", log_of(at.spec.norm_beta**2))))
        where = r"V = \mathrm{var}_B/(\mathrm{var}_B + \epsilon)"
        note = t("E V is sampled at this batch size (about 0.1%).")
        return equation("layer_input", title, left, tuple(terms), log_p, YANG, note, where=where)
    value = Factor(rf"E\,\phi(\gamma \sqrt{{V}}\,w{at.shift})^2", unit.log_out)
    where = r"\sum_b w_b = 0,\ \sum_b w_b^2 = B,\ V = \mathrm{var}_B/(\mathrm{var}_B + \epsilon)"
    note = t("The normalized batch lies on a sphere: its mean square over the batch is 1, up to ε.")
    return equation("layer_input", title, left, (term(value),), log_p, YANG, note, where=where)


# --- pre-activations ---------------------------------------------------------------------------------------


def signal(at: Place) -> Equation:
    """q_l from what the layer receives."""
    layer, spec = at.layer, at.spec
    weights = (at.weight("l", layer), Factor("p_{l-1}", float(at.profile.log_p[layer - 1])))
    bias = (Factor(r"\sigma_b^2", float(at.random.law.log_bias[layer - 1])),)
    on_stream = at.residual and layer > 1
    scale = (at.alpha,) if on_stream else ()
    terms: list[Term] = [term(Factor("q_{l-1}", float(at.profile.log_q[layer - 2])))] if on_stream else []
    terms.append(term(*scale, *weights))
    if spec.bias_std != 0.0:
        terms.append(term(*scale, *bias))
    log_q = float(at.profile.log_q[layer - 1])
    note = at.t("RMS of z: {rms}.", **at.totals(log_q))
    if on_stream:
        note += " " + at.t("Every block adds to the stream, so its size can only grow.")
    title = at.t("Signal: mean square of the pre-activations z")
    return equation("signal", title, ("q_{l}", sub("q", layer)), tuple(terms), log_q, POOLE, note)


def stability(at: Place) -> Equation:
    """chi_parallel, the slope of the map from q_l to q_{l+1}."""
    layer, chi = at.layer, float(at.profile.chi_parallel[at.layer - 1])
    slope = float(at.channel.moments.at(np.asarray(at.log_q(layer))).second_slope)
    derivative = Factor(r"\frac{d}{dq} E\,\phi(\sqrt{q_{l}}\,Z)^2", log_of(abs(slope)), -1 if slope < 0 else 1)
    branch = (at.weight("l+1", layer + 1), derivative)
    terms = (term(Factor("1", 0.0)), term(at.alpha, *branch)) if at.residual else (term(*branch),)
    note = ""
    if chi > 1.0 + 1e-6 and not at.residual and not at.spec.activation_entry.homogeneous:
        note = at.t("Above 1: this size is not stable, and a gain that keeps it does not hold a deep net.")
    left = (r"\chi_{\parallel,l}", rf"\chi_{{\parallel,{layer}}}")
    sign = -1 if chi < 0 else 1
    title = at.t("Stability: how a change of the signal's mean square grows in the next layer")
    return equation("stability", title, left, terms, log_of(abs(chi)), f"{POOLE}; {SCHOENHOLZ}", note, sign)
