"""The gradient: the cotangent of the loss, the factor of a layer, the product over the depth, the parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from gradcore.equations.equation import Equation, Factor, Term, equation, term
from gradcore.equations.place import SCHOENHOLZ, YANG, Place, sub
from gradcore.theory.channel import Channel, NormAfter, log_of
from gradcore.theory.loss import softmax_second_moment

CONDITIONING = "Gaussian conditioning (Bolthausen 2014; Yang 2020)"
CROSS_ENTROPY = "torch.nn.CrossEntropyLoss"
NEGLIGIBLE = 35.0  # ln of a part below the rounding of what it is added to
REPRESENTABLE = (1e-300, 1e300)  # outside of it a float says too little of a factor


def backward(at: Place) -> Iterator[Equation]:
    """From the loss to the parameters of the layer."""
    yield output(at)
    if not at.last:
        if at.is_random:
            yield factor(at)
        yield gradient(at)
    if at.spec.depth > 1 and at.profile.log_g[-1] > -math.inf:
        yield product(at)
    yield weight_gradient(at)
    if at.spec.bias_std != 0.0:
        yield bias_gradient(at)


# --- the loss ----------------------------------------------------------------------------------------------


def output(at: Place) -> Equation:
    """D_L, what the loss sends into the network."""
    spec, log_g = at.spec, float(at.profile.log_g[-1])
    left, title = ("D_{L}", sub("D", spec.depth)), at.t("Gradient at the output: D, mean square of δ = B ∂C/∂z")
    if spec.loss == "random":
        note = at.t("By definition: a gradient of size 1, independent of the signal.")
        return equation("output", title, left, (term(Factor("1", 0.0)),), log_g, "", note)
    if spec.loss == "mse":
        terms = (term(Factor("4", math.log(4.0)), Factor("q_{L}", float(at.profile.log_q[-1])), _inverse_width(at, 2)),)
        return equation("output", title, left, terms, log_g, "torch.nn.MSELoss", where=r"\delta = 2 z / n_{L}")
    where = r"\delta = \mathrm{softmax}(z) - \mathrm{onehot}"
    if not at.is_random or at.sampled:
        terms = (term(Factor(r"E\,\delta_{L}^2", log_g)),)
        return equation("output", title, left, terms, log_g, CROSS_ENTROPY, where=where)
    square = softmax_second_moment(float(at.profile.log_q[-1]), int(spec.layer_widths[-1]))
    terms = (
        term(_inverse_width(at, 1)),
        term(Factor("2", math.log(2.0)), _inverse_width(at, 2), minus=True),
        term(Factor(r"E\,p^2", math.log(square))),
    )
    note = at.t("p is the softmax's probability of one class.")
    if int(spec.layer_widths[-1]) == 1:
        note = at.t("The softmax of one class is constant: no gradient.")
    return equation("output", title, left, terms, log_g, CROSS_ENTROPY, note, where=where)


def _inverse_width(at: Place, power: int) -> Factor:
    return Factor(f"n_{{L}}^{{-{power}}}", -power * math.log(int(at.spec.layer_widths[-1])))


# --- one layer ---------------------------------------------------------------------------------------------


def factor(at: Place) -> Equation:
    """chi_l: factor of the total squared norm of the gradient from layer l + 1 to l."""
    layer, t = at.layer, at.t
    if at.batch_norm:
        factors: tuple[Factor, ...] = (at.batch_factor(layer),)
    else:
        factors = at.slope_factors("l", layer)
    branch = (at.weight("l+1", layer + 1), *factors)
    terms = (term(Factor("1", 0.0)), term(at.alpha, *branch)) if at.residual else (term(*branch),)
    chi = float(at.profile.chi[layer - 1])
    log_chi = math.log(chi) if REPRESENTABLE[0] < chi < REPRESENTABLE[1] else max(part.log for part in terms)
    note = t("×{rms} per layer in RMS (×{square} in mean square).", **at.sizes(log_chi))
    for sentence in _factor_notes(at):
        note += " " + sentence
    source = SCHOENHOLZ if at.spec.norm == "none" else YANG
    title = t("Gradient factor of the layer: total squared norm below over above")
    left = (r"\chi_{l}", sub(r"\chi", layer))
    return equation("factor", title, left, terms, log_chi, source, note, where=_factor_where(at))


def _factor_where(at: Place) -> str:
    if not at.batch_norm:
        return ""
    matrix = r"\Phi' P\, \Phi'" if at.spec.norm_position == "after" else r"P\, \Phi' H\, \Phi'"
    return (
        rf"F_B = \frac{{1}}{{B-1}} E\, \frac{{\gamma^2\, \mathrm{{tr}}({matrix})}}{{\mathrm{{var}}_B + \epsilon}},\;"
        r"H = I - \frac{1 1^T}{B},\; P = H - V (2 - V) \frac{w w^T}{B},\; \Phi' = \mathrm{diag}\, \phi'"
    )


def _factor_notes(at: Place) -> Iterator[str]:
    """What textbooks leave out."""
    t, spec = at.t, at.spec
    if at.residual:
        yield t("The stream passes the gradient on as it is, and the branch adds to it: never below 1.")
    if at.batch_norm:
        yield t("The usual value is that of an infinite batch; this one is exact at this batch size.")
    elif isinstance(at.channel, NormAfter) and at.channel.centers and not spec.activation_entry.odd:
        yield t("Subtracting the mean over the units takes signal away and leaves the slopes: the gradient grows.")


def gradient(at: Place) -> Equation:
    """D_l from D_{l+1}."""
    layer = at.layer
    left = ("D_{l}", sub("D", layer))
    title = at.t("Gradient: mean square of δ in this layer")
    above = Factor("D_{l+1}", float(at.profile.log_g[layer]))
    log_g = float(at.profile.log_g[layer - 1])
    sizes = at.t("RMS of δ: {rms}.", **at.totals(log_g))
    if not at.is_random:
        return _as_followed(at, title, left, above, sizes)
    if at.batch_norm:
        steady = at.spec.norm_position == "before" and not at.residual and layer < at.spec.depth - 1
        chi = float(at.profile.chi[layer - 1])
        if not steady or at.field.couples_aligned_cotangent or not REPRESENTABLE[0] < chi < REPRESENTABLE[1]:
            return _as_followed(at, title, left, above, sizes)
        parts = (Factor(r"\frac{n_{l+1}}{n_{l}}", _log_width_ratio(at)), Factor(r"\chi_{l}", math.log(chi)), above)
        return equation("gradient", title, left, (term(*parts),), log_g, YANG, sizes)
    if at.spec.loss == "mse" and at.residual:
        return _as_followed(at, title, left, above, sizes)
    through = (_fan_out(at), *at.slope_factors("l", layer))
    terms: list[Term] = [term(above)] if at.residual else []
    terms.append(term(*((at.alpha,) if at.residual else ()), *through, above))
    if at.spec.loss != "mse" or above.log == -math.inf:
        return equation("gradient", title, left, tuple(terms), log_g, SCHOENHOLZ, sizes)
    aligned = _aligned_terms(at, through)
    if max(part.log for part in aligned) < log_g - NEGLIGIBLE:
        return equation("gradient", title, left, tuple(terms), log_g, SCHOENHOLZ, sizes)
    terms += aligned
    note = sizes + " " + at.t("The MSE gradient knows the output; the κ term is what the usual recursion leaves out.")
    where = r"\kappa_{L} = 2/n_{L}" + ("" if _plain(at) else r",\; f = J^T x")
    return equation("gradient", title, left, tuple(terms), log_g, CONDITIONING, note, where=where)


def _log_width_ratio(at: Place) -> float:
    widths = at.spec.layer_widths
    return math.log(int(widths[at.layer])) - math.log(int(widths[at.layer - 1]))


def _plain(at: Place) -> bool:
    return type(at.channel) is Channel


def _fan_out(at: Place) -> Factor:
    """v = n_{l+1} Var W_{l+1}."""
    return Factor(r"n_{l+1}\,\mathrm{Var}\,W_{l+1}", float(at.random.law.log_out[at.layer]))


def _log_kappa2(at: Place, layer: int) -> float:
    """ln kappa^2 of a layer: 2 / n_L at the output, times n Var W E[z f] / q a layer."""
    field = at.random
    log = 2.0 * (math.log(2.0) - math.log(int(at.spec.layer_widths[-1])))
    with np.errstate(divide="ignore"):
        slopes = np.log(np.abs(field.factors[3][layer - 1 : -1]))
    return log + 2.0 * float(np.sum(field.law.log_out[layer:] + slopes))


def _aligned_terms(at: Place, through: tuple[Factor, ...]) -> list[Term]:
    """What MSE adds: the part of W^T delta along the signal; orthogonal weights do not spread what lies along it."""
    layer, field = at.layer, at.random
    kappa = Factor(r"\kappa_{l+1}^2", _log_kappa2(at, layer + 1))
    seen = r"E(\phi \phi')^2" if _plain(at) else r"E\,f^2"
    squared = Factor(r"(n_{l+1}\,\mathrm{Var}\,W_{l+1})^2", 2.0 * float(field.law.log_out[layer]))
    terms = [term(kappa, squared, Factor(seen, float(field.factors[2][layer - 1])))]
    if at.spec.init_entry.kind == "orthogonal":
        share = min(1.0, float(at.spec.layer_widths[layer]) / float(at.spec.fan_ins[layer]))
        along = (at.weight("l+1", layer + 1), Factor("p_{l}", float(at.profile.log_p[layer])))
        cut = Factor(r"\min(1, n_{l+1}/n_{l})", log_of(share))
        terms.append(term(*through, kappa, *along, cut, minus=True))
    return terms


def _as_followed(at: Place, title: str, left: tuple[str, str], above: Factor, sizes: str) -> Equation:
    """The step of a recursion that is no single formula: its factor, and what makes it."""
    log_g = float(at.profile.log_g[at.layer - 1])
    step = -math.inf if log_g == -math.inf else log_g - above.log
    terms = (term(Factor("r_{l}", step), above),)
    source, note = _followed(at)
    return equation("gradient", title, left, terms, log_g, source, f"{sizes} {note}")


def _followed(at: Place) -> tuple[str, str]:
    """(source, sentence) on what makes r."""
    t = at.t
    if not at.is_random:
        return "", t("r is the mean of the exact map's squared slopes, over the input's law.")
    if at.spec.loss == "mse" and (at.residual or at.field.couples_aligned_cotangent):
        aligned = t(
            "The MSE gradient knows the output, and on its way down the aligned parts of all layers add up in r."
        )
        return CONDITIONING, aligned
    if at.layer == at.spec.depth - 1:
        return YANG, t("The loss's gradient does not sum to zero over the batch; the norm makes it so here, once.")
    return YANG, t("r follows the gradients of two samples together, since the norm couples them.")


# --- the depth ---------------------------------------------------------------------------------------------


def product(at: Place) -> Equation:
    """D_1 / D_L as the product over the layers: the geometric mean to the power of L - 1."""
    profile, depth, t = at.profile, at.spec.depth, at.t
    top, bottom = float(profile.log_g[-1]), float(profile.log_g[0])
    title = t("From the output to layer 1: the product over the depth")
    ratio = r"\frac{D_{1}}{D_{L}}", rf"\frac{{D_{{1}}}}{{D_{{{depth}}}}}"
    total = bottom - top
    factors = _independent_logs(at)
    mean = total / (depth - 1) if factors is None else float(np.mean(factors))
    terms = (term(Factor(r"\bar r^{\,L-1}", mean, power=depth - 1)),)
    where = r"\bar r = \left(\prod_{l=1}^{L-1} D_{l}/D_{l+1}\right)^{1/(L-1)}"
    note = t(
        "×{rms} per layer in RMS (×{square} in mean square): layer 1 receives {total} of the last layer's RMS.",
        **at.sizes(mean),
        total=at.totals(total)["rms"],
    )
    return equation("product", title, ratio, terms, total, SCHOENHOLZ, note, where=where)


def _independent_logs(at: Place) -> np.ndarray | None:
    """ln of every layer's factor by its chi, where the gradient is independent of the signal; else None."""
    if not at.is_random or at.batch_norm or at.sampled or at.spec.loss == "mse":
        return None
    chi = at.profile.chi[:-1]
    if not np.all((chi > REPRESENTABLE[0]) & (chi < REPRESENTABLE[1])):
        return None
    return np.log(chi) + np.diff(np.log(at.spec.layer_widths.astype(float)))


# --- the parameters ----------------------------------------------------------------------------------------


def weight_gradient(at: Place) -> Equation:
    """E (dC/dW)^2 = D p (1 + (B - 1) mean(r c)) / B."""
    log_dw = float(at.profile.log_dw[at.layer - 1])
    pairs = _mean_pairs(at, weights=True)
    product = (_d(at), Factor("p_{l-1}", float(at.profile.log_p[at.layer - 1])))
    title = at.t("Gradient of the weights: mean square entry of ∂C/∂W")
    name = r"E\left(\frac{\partial C}{\partial W_{l}}\right)^2"
    return _parameters(at, "weight_gradient", title, name, product, pairs, r"\overline{r c}", log_dw)


def bias_gradient(at: Place) -> Equation:
    """E (dC/db)^2 = D (1 + (B - 1) mean(r)) / B."""
    log_db = float(at.profile.log_db[at.layer - 1])
    title = at.t("Gradient of the biases: mean square entry of ∂C/∂b")
    name = r"E\left(\frac{\partial C}{\partial b_{l}}\right)^2"
    return _parameters(
        at, "bias_gradient", title, name, (_d(at),), _mean_pairs(at, weights=False), r"\overline{r}", log_db
    )


def _d(at: Place) -> Factor:
    return Factor("D_{l}", float(at.profile.log_g[at.layer - 1]))


def _mean_pairs(at: Place, weights: bool) -> float | None:
    """Mean over pairs of samples of the gradients' correlation r, times the inputs' c for weights; None where the
    batch's share is not a product of both (constant weights)."""
    if at.spec.init_entry.kind == "constant":
        return None
    i = at.layer - 1
    ratio = at.field.backward[1]
    if at.spec.batch_size == 1 or not ratio.any():
        return 0.0
    pairs = float(np.mean(ratio[i] * at.field.correlations[1][i] if weights else ratio[i]))
    return pairs if abs(pairs) > math.exp(-NEGLIGIBLE) else 0.0


def _parameters(
    at: Place,
    code: str,
    title: str,
    name: str,
    product: tuple[Factor, ...],
    pairs: float | None,
    symbol: str,
    log_value: float,
) -> Equation:
    """A parameter's mean square gradient: each sample's own part, and what pairs of samples share."""
    b, t = at.spec.batch_size, at.t
    left = (name, name.replace("_{l}", f"_{{{at.layer}}}"))
    scale = (at.alpha,) if at.residual and at.layer > 1 else ()
    note = t("RMS of an entry: {rms}.", **at.totals(log_value))
    if pairs is None:
        base = sum(f.log for f in (*scale, *product))
        share = -math.inf if log_value == -math.inf else log_value - base
        terms = (term(*scale, *product, Factor("s_{l}", share)),)
        note += " " + t("s is the share that averaging over the batch leaves, from the exact map.")
        return equation(code, title, left, terms, log_value, "", note)
    terms = (term(Factor(r"\frac{1}{B}", -math.log(b)), *scale, *product),)
    if pairs:
        shared = Factor(symbol, math.log(abs(pairs)), -1 if pairs < 0 else 1)
        terms += (term(Factor(r"\frac{B-1}{B}", log_of((b - 1) / b)), *scale, *product, shared),)
        note += " " + t("The samples' gradients are not independent, so averaging over the batch is not just 1/B.")
    return equation(code, title, left, terms, log_value, SCHOENHOLZ, note)
