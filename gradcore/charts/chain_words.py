"""What happens in a chain, in sentences: its headline, and its charts in words for readers who do not see them."""

from __future__ import annotations

import math

import numpy as np

from gradcore.charts.chain import factor_name
from gradcore.experiments.chain import Chain
from gradcore.words import LN10, Message, Translate, english, number_text

WINDOW = 10.0  # the first gradient is balanced within this factor of the last
KINDS = ("vanishes", "explodes", "balanced", "zero", "single")


def kind_of(chain: Chain) -> str:
    """One of KINDS, by |dC/db_1| / |dC/db_L|."""
    if chain.length == 1:
        return "single"
    log = chain.log_ratio()
    if log == -math.inf or chain.cost_slope == 0.0 or chain.slopes[-1] == 0.0:
        return "zero"
    if abs(log) <= math.log(WINDOW):
        return "balanced"
    return "vanishes" if log < 0.0 else "explodes"


def headline(chain: Chain) -> Message:
    """What happens in this chain, in one sentence."""
    kind, log = kind_of(chain), chain.log_ratio()
    last = str(chain.length)
    if kind == "single":
        return Message("chain_single", "One neuron alone: nothing is multiplied yet. Make the chain longer.")
    if kind == "zero":
        return Message("chain_zero", "No gradient at all: {which}, so b₁ never learns.", {"which": _zero_text(chain)})
    times = number_text(abs(log) / LN10, 3)
    if kind == "balanced":
        template = "Balanced: neuron 1 learns at {times} times the speed of neuron {last}."
        return Message("chain_balanced", template, {"times": number_text(log / LN10, 3), "last": last})
    template = (
        "The gradient vanishes: neuron 1 learns {times} times slower than neuron {last}."
        if kind == "vanishes"
        else "The gradient explodes: neuron 1 learns {times} times faster than neuron {last}."
    )
    return Message(f"chain_{kind}", template, {"times": times, "last": last})


def _zero_text(chain: Chain) -> Message | str:
    zeros = np.flatnonzero(chain.factors == 0.0) + 1
    if len(zeros):
        return Message("chain_zero_factor", "the factor {factor} is exactly 0", {"factor": factor_name(int(zeros[0]))})
    return Message("chain_zero_cost", "the cost does not change with the output", {})


def why(chain: Chain) -> Message:
    """How many factors shrink the gradient."""
    total = chain.length - 1
    below = int((np.abs(chain.factors[1:]) < 1.0).sum())
    values = {"below": str(below), "above": str(total - below), "total": str(total)}
    if total == 0:
        return Message("chain_why_single", "dC/db₁ = σ′(z₁) · dC/da₁.")
    if below == total:
        return Message("chain_why_below", "All {total} factors |w σ′(z)| are below 1.", values)
    if below == 0:
        return Message("chain_why_above", "All {total} factors |w σ′(z)| are at least 1.", values)
    return Message(
        "chain_why_mixed", "Of {total} factors |w σ′(z)|, {below} are below 1 and {above} at least 1.", values
    )


def describe_factors(chain: Chain, t: Translate = english) -> str:
    """The factor chart in words."""
    shown = ", ".join(f"{factor_name(j)} = {f:.3g}" for j, f in enumerate(chain.factors[:10], start=1))
    return t("The factors of dC/db₁: {factors}.", factors=shown + (" …" if chain.length > 10 else ""))


def describe_gradients(chain: Chain, t: Translate = english) -> str:
    """The gradient chart in words."""
    first, last = (number_text(float(chain.log_bias_gradients[i]) / LN10, 3) for i in (0, -1))
    return t(
        "Size of dC/db: {first} in neuron 1, {last} in neuron {length}.", first=first, last=last, length=chain.length
    )
