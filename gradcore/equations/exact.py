"""Weights that are not random: constant matrices and multiples of the identity, whose maps are followed exactly."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradcore.equations.equation import Equation, Factor, equation, number, numbers, term
from gradcore.equations.place import Place, sub
from gradcore.theory.channel import log_of
from gradcore.theory.critical import resolve_gain


def exact(at: Place) -> Iterator[Equation]:
    """The map of the layer, and the signal that it gives."""
    yield exact_map(at)
    yield signal(at)


_MAPS = {  # W and b stand for the weights and the biases
    "none": r"W\phi(z_{l-1}) + b",
    "identity": r"z_{l-1} + \alpha \left(W\phi(z_{l-1}) + b\right)",
    "post_activation": r"z_{l-1} + \alpha\, \phi\left(W z_{l-1} + b\right)",
    "inner": r"W\phi(z_{l-1})",
    "outer": r"z_{l-2} + \alpha \left(W\phi(z_{l-1}) + b\right)",
    "resnet_v1": r"\phi\left(z_{l-1} + \alpha \left(W z_{l-1} + b\right)\right)",
}


def _map(at: Place) -> str:
    if at.inner(at.layer):
        return _MAPS["inner"]
    if at.inner(at.layer - 1):
        return _MAPS["outer"]
    return _MAPS.get(at.spec.residual, _MAPS["identity"])


def exact_map(at: Place) -> Equation:
    """z_l from z_{l-1}: one scalar map for constant weights, an elementwise one for eye."""
    layer, t, constant = at.layer, at.t, at.spec.init_entry.kind == "constant"
    gain = float(resolve_gain(at.spec).multipliers[layer - 1])
    factors = [Factor("g", log_of(gain))]
    if constant:
        factors.append(Factor("n_{l-1}", math.log(int(at.spec.fan_ins[layer - 1]))))
        weights, first = r"g\, n_{l-1}\, ", r"g \sum_j x_{0,j}"
        note = t("Constant weights are not random: all units of a layer are equal, and one number is followed exactly.")
        title = t("Weights all equal: the map of every unit")
    else:
        weights, first = r"g\, ", r"g\, x_{0}"
        note = t("Multiples of the identity never mix the units: each input is followed through the net by itself.")
        title = t("Weights g times the identity: the map of every unit")
    terms = (term(*factors),)
    bias = " + b_{l}" if at.spec.bias_std else ""
    latex = f"z_{{l}} = {first}{bias}"
    if layer > 1:
        latex = "z_{l} = " + _map(at).replace("W", weights).replace("+ b", bias and "+ b_{l}")
    symbol = rf"g\, n_{{{layer - 1}}}" if constant else "g"
    value = terms[0].log
    live = f"{symbol} = {numbers(terms)} = {number(value)}" if constant else f"{symbol} = {number(value)}"
    return Equation("map", title, latex, live, "", note, terms, value)


def signal(at: Place) -> Equation:
    """q_l of the exact map."""
    log_q = float(at.profile.log_q[at.layer - 1])
    note = at.t("RMS of z: {rms}.", **at.totals(log_q))
    title = at.t("Signal: mean square of the pre-activations z, over the law of the input")
    terms = (term(Factor(r"E\, z_{l}^2", log_q)),)
    return equation("signal", title, ("q_{l}", sub("q", at.layer)), terms, log_q, "", note)
