"""Residual blocks beyond identity: the lines in which they differ from plain layers, with live numbers.

``two_layer`` and ``post_activation`` have closed recursions; ``resnet_v1`` and batch norm inside these blocks are
sampled, and their steps are shown as the factors that the sampled units give (r, s).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from gradcore.equations.backward import CONDITIONING, NEGLIGIBLE, REPRESENTABLE, output, product
from gradcore.equations.equation import Equation, Factor, Term, equation, term
from gradcore.equations.exact import exact
from gradcore.equations.forward import layer_input, weight_scale, weight_variance
from gradcore.equations.forward import signal as plain_signal
from gradcore.equations.place import SCHOENHOLZ, Place, sub
from gradcore.theory.channel import DEAD, log_of
from gradcore.theory.post_activation import PostActivationField

RESIDUAL = "Yang & Schoenholz 2017"
Lines = Callable[[Place], Iterator[Equation]]


def blocks(at: Place) -> Iterator[Equation]:
    """All equations of one layer of a network with these blocks."""
    if not at.is_random:
        yield from exact(at)
        yield output(at)
        yield from _sampled_gradient(at)
        return
    yield weight_variance(at)
    yield weight_scale(at)
    forward, backward = BLOCKS[at.spec.residual]
    yield from (forward(at) if at.layer == 1 or _closed(at) else _sampled_signal(at))
    yield output(at)
    yield from (backward(at) if _closed(at) and not at.sampled else _sampled_gradient(at))


def followed(at: Place) -> Iterator[Equation]:
    """All equations of one layer whose signal and gradient are followed by sampled units (batch norm on digits)."""
    yield weight_variance(at)
    yield weight_scale(at)
    yield from (_first(at) if at.layer == 1 else _sampled_signal(at))
    yield output(at)
    yield from _sampled_gradient(at)


def _closed(at: Place) -> bool:
    """Whether the signal has a closed recursion."""
    return not at.sampled or isinstance(at.field, PostActivationField)


def _title(at: Place) -> str:
    return at.t("Signal: mean square of the pre-activations z")


# --- two_layer ---------------------------------------------------------------------------------------------


def _two_layer_forward(at: Place) -> Iterator[Equation]:
    if at.layer == 1:
        yield from _first(at)
    else:
        yield from layer_input(at)
        yield _two_layer_signal(at)
    if not at.last and at.spec.norm == "none" and math.isfinite(at.profile.chi_parallel[at.layer - 1]):
        yield _two_layer_stability(at)


def _first(at: Place) -> Iterator[Equation]:
    """Layer 1 is plain in every form."""
    yield from layer_input(at)
    yield plain_signal(at)


def _below(at: Place) -> int:
    """The layer whose stream this one is added to."""
    return at.layer - 2 if at.inner(at.layer - 1) else at.layer - 1


def _two_layer_signal(at: Place) -> Equation:
    layer, inner = at.layer, at.inner(at.layer)
    weights = (at.weight("l", layer), Factor("p_{l-1}", float(at.profile.log_p[layer - 1])))
    log_q = float(at.profile.log_q[layer - 1])
    note = at.t("RMS of z: {rms}.", **at.totals(log_q))
    left = ("q_{l}", sub("q", layer))
    if inner:
        note += " " + at.t("Inside a block: the stream passes beside this layer.")
        return equation("signal", _title(at), left, (term(*weights),), log_q, RESIDUAL, note)
    below = _below(at)
    terms = [term(Factor(f"q_{{l-{layer - below}}}", float(at.profile.log_q[below - 1]))), term(at.alpha, *weights)]
    if at.spec.bias_std != 0.0:
        terms.append(term(at.alpha, Factor(r"\sigma_b^2", float(at.random.law.log_bias[layer - 1]))))
    note += " " + at.t("Every block adds to the stream, so its size can only grow.")
    return equation("signal", _title(at), left, tuple(terms), log_q, RESIDUAL, note)


def _two_layer_stability(at: Place) -> Equation:
    layer, chi = at.layer, float(at.profile.chi_parallel[at.layer - 1])
    slope = float(at.field.factors[1][layer - 1])
    derivative = Factor(r"\frac{d}{dq} E\,\phi(\sqrt{q_{l}}\,Z)^2", log_of(abs(slope)), -1 if slope < 0 else 1)
    branch = (at.weight("l+1", layer + 1), derivative)
    joins = not at.inner(layer + 1)
    terms: list[Term] = [term(Factor("1", 0.0))] if joins and not at.inner(layer) else []
    terms.append(term(*((at.alpha,) if joins else ()), *branch))
    left = (r"\chi_{\parallel,l}", rf"\chi_{{\parallel,{layer}}}")
    title = at.t("Stability: how a change of the signal's mean square grows in the next layer")
    sign = -1 if chi < 0 else 1
    return equation("stability", title, left, tuple(terms), log_of(abs(chi)), RESIDUAL, "", sign)


def _two_layer_backward(at: Place) -> Iterator[Equation]:
    if not at.last:
        yield _two_layer_factor(at)
        yield _followed(at) if at.spec.loss == "mse" else _two_layer_gradient(at)
    if at.profile.log_g[-1] > -math.inf:
        yield product(at)
    scale = (at.alpha,) if at.layer > 1 and not at.inner(at.layer) else ()
    yield from _parameters(at, scale, at.field.backward[1][at.layer - 1])


def _chi_note(at: Place, terms: tuple[Term, ...]) -> tuple[float, str]:
    chi = float(at.profile.chi[at.layer - 1])
    log_chi = math.log(chi) if REPRESENTABLE[0] < chi < REPRESENTABLE[1] else max(part.log for part in terms)
    return log_chi, at.t("×{rms} per layer in RMS (×{square} in mean square).", **at.sizes(log_chi))


def _two_layer_factor(at: Place) -> Equation:
    layer = at.layer
    branch = (at.weight("l+1", layer + 1), *at.slope_factors("l", layer))
    joins = not at.inner(layer + 1)
    terms: tuple[Term, ...] = (term(*((at.alpha,) if joins else ()), *branch),)
    if not at.inner(layer):
        above = 0.0 if joins else -log_of(float(at.profile.chi[layer]))
        terms = (term(Factor("1" if joins else r"\chi_{l+1}^{-1}", above)), *terms)
    log_chi, note = _chi_note(at, terms)
    if at.inner(layer):
        note += " " + at.t("From the stream behind the block into it.")
    elif not joins:
        note += " " + at.t("From inside the block to the stream below it, which the stream behind it joins.")
    title = at.t("Gradient factor of the layer: total squared norm below over above")
    return equation("factor", title, (r"\chi_{l}", sub(r"\chi", layer)), terms, log_chi, RESIDUAL, note)


def _gradient_lines(at: Place) -> tuple[str, tuple[str, str], Factor, float, str]:
    """(title, left side, D above, ln D, sizes in words) of a step of the gradient."""
    layer, log_g = at.layer, float(at.profile.log_g[at.layer - 1])
    title = at.t("Gradient: mean square of δ in this layer")
    above = Factor("D_{l+1}", float(at.profile.log_g[layer]))
    return title, ("D_{l}", sub("D", layer)), above, log_g, at.t("RMS of δ: {rms}.", **at.totals(log_g))


def _fan_out(at: Place) -> Factor:
    return Factor(r"n_{l+1}\,\mathrm{Var}\,W_{l+1}", float(at.random.law.log_out[at.layer]))


def _two_layer_gradient(at: Place) -> Equation:
    layer = at.layer
    title, left, above, log_g, sizes = _gradient_lines(at)
    joins = not at.inner(layer + 1)
    terms = [term(*((at.alpha,) if joins else ()), _fan_out(at), *at.slope_factors("l", layer), above)]
    if not at.inner(layer):
        beside = above if joins else Factor("D_{l+2}", float(at.profile.log_g[layer + 1]))
        terms.insert(0, term(beside))
    return equation("gradient", title, left, tuple(terms), log_g, RESIDUAL, sizes)


def _followed(at: Place) -> Equation:
    """A step of the gradient that is no single formula."""
    title, left, above, log_g, sizes = _gradient_lines(at)
    step = -math.inf if log_g == -math.inf else log_g - above.log
    if not at.is_random:
        note = at.t("r is the mean of the exact map's squared slopes, over the input's law.")
    elif at.sampled:
        note = at.t("r is read off sampled units, which are followed through all layers.")
    else:
        note = at.t(
            "The MSE gradient knows the output, and on its way down the aligned parts of all layers add up in r."
        )
    source = CONDITIONING if at.spec.loss == "mse" else RESIDUAL
    return equation("gradient", title, left, (term(Factor("r_{l}", step), above),), log_g, source, f"{sizes} {note}")


# --- post_activation ---------------------------------------------------------------------------------------


def _post_forward(at: Place) -> Iterator[Equation]:
    if at.layer == 1:
        yield from _first(at)
    else:
        yield from _stream_input(at)
        yield _pre_activation(at)
        yield _post_signal(at)
    if not at.last and at.spec.norm == "none" and math.isfinite(at.profile.chi_parallel[at.layer - 1]):
        yield _post_stability(at)


def _stream_input(at: Place) -> Iterator[Equation]:
    log_p = float(at.profile.log_p[at.layer - 1])
    title = at.t("What the layer receives: mean square of x")
    left = ("p_{l-1}", sub("p", at.layer - 1))
    note = at.t("The weights multiply the stream itself; activation and norm come behind them.")
    yield equation("layer_input", title, left, (term(Factor("q_{l-1}", log_p)),), log_p, RESIDUAL, note)


def _pre_activation(at: Place) -> Equation:
    """q_z of the block's own pre-activation W h + b."""
    layer = at.layer
    terms = [term(at.weight("l", layer), Factor("p_{l-1}", float(at.profile.log_p[layer - 1])))]
    if at.spec.bias_std != 0.0:
        terms.append(term(Factor(r"\sigma_b^2", float(at.random.law.log_bias[layer - 1]))))
    title = at.t("Pre-activation inside the block: mean square of W h + b")
    left = ("q_{z,l}", rf"q_{{z,{layer}}}")
    return equation("pre_activation", title, left, tuple(terms), float(at.field.log_z[layer - 1]), RESIDUAL)


def _post_signal(at: Place) -> Equation:
    layer, log_q = at.layer, float(at.profile.log_q[at.layer - 1])
    rho, kappa = at.field.mixing(layer - 1)
    below = float(at.profile.log_q[layer - 2])
    log_x = float(at.channel.log_out(float(at.field.log_z[layer - 1])))
    terms = [term(Factor("q_{l-1}", below)), term(at.alpha, Factor(r"E\,x_{l}^2", log_x))]
    if rho and kappa and at.spec.alpha:
        mean = Factor("m_{l-1}", 0.5 * below + log_of(abs(rho)), -1 if rho < 0 else 1)
        own = Factor(r"E\,x_{l}", 0.5 * log_x + log_of(abs(kappa)), -1 if kappa < 0 else 1)
        alpha = Factor(r"\alpha", log_of(abs(at.spec.alpha)), -1 if at.spec.alpha < 0 else 1)
        terms.append(term(Factor("2", math.log(2.0)), alpha, mean, own))
    note = at.t("RMS of z: {rms}.", **at.totals(log_q))
    if rho:
        note += " " + at.t("m is the stream's mean over the units: what the blocks add has one sign, and it adds up.")
    where = r"x_{l} = \phi(\sqrt{q_{z,l}}\,Z)" if at.spec.norm == "none" else ""
    return equation("signal", _title(at), ("q_{l}", sub("q", layer)), tuple(terms), log_q, RESIDUAL, note, where=where)


def _post_stability(at: Place) -> Equation:
    layer, chi = at.layer, float(at.profile.chi_parallel[at.layer - 1])
    slope, cross = (float(part[layer - 1]) for part in at.field.slopes)
    parts = [(r"\alpha^2\, \sigma_{w,l+1}^2\, \frac{d}{dq_z} E\,x_{l+1}^2", slope)]
    if cross:
        parts.append((r"2\, \alpha\, \sigma_{w,l+1}^2\, m_{l}\, \frac{d}{dq_z} E\,x_{l+1}", cross))
    terms = [term(Factor("1", 0.0))]
    terms += [term(Factor(symbol, log_of(abs(value)), -1 if value < 0 else 1)) for symbol, value in parts]
    left = (r"\chi_{\parallel,l}", rf"\chi_{{\parallel,{layer}}}")
    title = at.t("Stability: how a change of the signal's mean square grows in the next layer")
    sign = -1 if chi < 0 else 1
    return equation("stability", title, left, tuple(terms), log_of(abs(chi)), RESIDUAL, "", sign)


def _post_slopes(at: Place, index: str, layer: int) -> tuple[Factor, ...]:
    """F of the block of a layer, at its own pre-activation."""
    return at.slopes(at.channel, max(float(at.field.log_z[layer - 1]), DEAD), "q", f"z,{index}")


def _post_backward(at: Place) -> Iterator[Equation]:
    if not at.last:
        branch = _post_slopes(at, "l+1", at.layer + 1)
        one = term(Factor("1", 0.0))
        terms = (one, term(at.alpha, at.weight("l+1", at.layer + 1), *branch))
        log_chi, note = _chi_note(at, terms)
        note += " " + at.t("The stream passes the gradient on as it is, and the branch adds to it: never below 1.")
        title = at.t("Gradient factor of the layer: total squared norm below over above")
        yield equation("factor", title, (r"\chi_{l}", sub(r"\chi", at.layer)), terms, log_chi, RESIDUAL, note)
        title, left, above, log_g, sizes = _gradient_lines(at)
        steps = (term(above), term(at.alpha, _fan_out(at), *branch, above))
        yield equation("gradient", title, left, steps, log_g, RESIDUAL, sizes)
    if at.profile.log_g[-1] > -math.inf:
        yield product(at)
    scale = (at.alpha, *_post_slopes(at, "l", at.layer)) if at.layer > 1 else ()
    yield from _parameters(at, scale, at.field.backward[1][at.layer - 1])


# --- parameters --------------------------------------------------------------------------------------------


def _parameters(at: Place, scale: tuple[Factor, ...], ratio: object) -> Iterator[Equation]:
    """Mean square gradients of weights and biases from the cotangent at W x + b, D times ``scale``."""
    own = (*scale, Factor("D_{l}", float(at.profile.log_g[at.layer - 1])))
    received = Factor("p_{l-1}", float(at.profile.log_p[at.layer - 1]))
    x = at.field.correlations[1][at.layer - 1]
    pairs_w = pairs_b = 0.0
    if at.spec.batch_size > 1 and getattr(ratio, "any", bool)():
        pairs_w, pairs_b = float((ratio * x).mean()), float(ratio.mean())  # type: ignore[attr-defined,operator]
    yield _parameter(at, "weight_gradient", (*own, received), pairs_w, r"\overline{r c}")
    if at.spec.bias_std != 0.0:
        yield _parameter(at, "bias_gradient", own, pairs_b, r"\overline{r}")


NAMES = {"weight_gradient": ("W", "log_dw"), "bias_gradient": ("b", "log_db")}


def _parameter_heads(at: Place, code: str) -> tuple[str, tuple[str, str], float, str]:
    letter, quantity = NAMES[code]
    log_value = float(getattr(at.profile, quantity)[at.layer - 1])
    name = rf"E\left(\frac{{\partial C}}{{\partial {letter}_{{l}}}}\right)^2"
    titles = {
        "W": at.t("Gradient of the weights: mean square entry of ∂C/∂W"),
        "b": at.t("Gradient of the biases: mean square entry of ∂C/∂b"),
    }
    left = (name, name.replace("_{l}", f"_{{{at.layer}}}"))
    return titles[letter], left, log_value, at.t("RMS of an entry: {rms}.", **at.totals(log_value))


def _parameter(at: Place, code: str, own: tuple[Factor, ...], pairs: float, symbol: str) -> Equation:
    title, left, log_value, note = _parameter_heads(at, code)
    b = at.spec.batch_size
    terms = (term(Factor(r"\frac{1}{B}", -math.log(b)), *own),)
    if abs(pairs) > math.exp(-NEGLIGIBLE):
        shared = Factor(symbol, math.log(abs(pairs)), -1 if pairs < 0 else 1)
        terms += (term(Factor(r"\frac{B-1}{B}", log_of((b - 1) / b)), *own, shared),)
        note += " " + at.t("The samples' gradients are not independent, so averaging over the batch is not just 1/B.")
    return equation(code, title, left, terms, log_value, SCHOENHOLZ, note)


# --- sampled -----------------------------------------------------------------------------------------------


def _sampled_signal(at: Place) -> Iterator[Equation]:
    layer, log_q = at.layer, float(at.profile.log_q[at.layer - 1])
    yield from _received(at)
    below = Factor("q_{l-1}", float(at.profile.log_q[layer - 2]))
    step = -math.inf if log_q == -math.inf or below.log == -math.inf else log_q - below.log
    note = at.t("RMS of z: {rms}.", **at.totals(log_q))
    note += " " + at.t("r is read off sampled units, which are followed through all layers.")
    terms = (term(Factor("r_{l}", step), below),)
    if below.log == -math.inf:
        terms = (term(Factor(r"E\, z_{l}^2", log_q)),)
    yield equation("signal", _title(at), ("q_{l}", sub("q", layer)), terms, log_q, RESIDUAL, note)


def _received(at: Place) -> Iterator[Equation]:
    if at.spec.residual in ("post_activation", "resnet_v1"):
        yield from _stream_input(at)
        return
    log_p = float(at.profile.log_p[at.layer - 1])
    title = at.t("What the layer receives: mean square of x")
    note = at.t("Sampled: units followed through all layers.")
    left = ("p_{l-1}", sub("p", at.layer - 1))
    yield equation("layer_input", title, left, (term(Factor(r"E\,x_{l-1}^2", log_p)),), log_p, RESIDUAL, note)


def _sampled_gradient(at: Place) -> Iterator[Equation]:
    if not at.last:
        yield _followed(at)
    if at.spec.depth > 1 and at.profile.log_g[-1] > -math.inf:
        yield product(at)
    d = Factor("D_{l}", float(at.profile.log_g[at.layer - 1]))
    received = Factor("p_{l-1}", float(at.profile.log_p[at.layer - 1]))
    for code, own in (("weight_gradient", (d, received)), ("bias_gradient", (d,))):
        if code == "bias_gradient" and at.spec.bias_std == 0.0:
            continue
        title, left, log_value, note = _parameter_heads(at, code)
        base = sum(factor.log for factor in own)
        share = -math.inf if log_value == -math.inf or base == -math.inf else log_value - base
        note += " " + at.t("s is what the block's slopes and averaging over the batch leave.")
        yield equation(code, title, left, (term(*own, Factor("s_{l}", share)),), log_value, RESIDUAL, note)


BLOCKS: dict[str, tuple[Lines, Lines]] = {
    "two_layer": (_two_layer_forward, _two_layer_backward),
    "post_activation": (_post_forward, _post_backward),
    "resnet_v1": (_first, _sampled_gradient),
}
