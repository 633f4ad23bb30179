"""The chain's product written out in LaTeX, every factor with its live value and whether it is below or above 1."""

from __future__ import annotations

import math

import numpy as np

from gradcore.equations.equation import number
from gradcore.experiments.chain import Chain, Comparison

PER_LINE = 6  # factors
MOST = 8  # of a longer chain the first and the last few are written
ENDS = (3, 3)
NEW_LINE = r" \\[6pt] & \cdot "
TIMES = r"\,\cdot\,"


def product_latex(chain: Chain) -> str:
    """dC/db_1 = sigma'(z_1) w_2 sigma'(z_2) ... dC/da_L, with the value of each factor under it, and the product."""
    parts = [_marked(_symbol(j), float(value)) for j, value in enumerate(chain.factors, start=1)]
    if len(parts) > MOST:
        parts = [*parts[: ENDS[0]], r"\ldots", *parts[-ENDS[1] :]]
    slope = rf"\partial C / \partial a_{{{chain.length}}}"
    parts.append(rf"\underbrace{{{slope}}}_{{{signed(chain.cost_slope)}}}")
    lines = [TIMES.join(parts[i : i + PER_LINE]) for i in range(0, len(parts), PER_LINE)]
    sign = int(np.prod(np.sign([*chain.factors, chain.cost_slope])))
    left, value = r"\partial C / \partial b_1", number(float(chain.log_bias_gradients[0]), sign)
    if len(lines) == 1:
        return f"{left} = {lines[0]} = {value}"
    return rf"\begin{{aligned}} {left} = {{}}& {(NEW_LINE).join(lines)} = {value} \end{{aligned}}"


def ratio_latex(found: Comparison) -> str:
    """(dC/db_early) / (dC/db_late) as the product of the factors that the early one has more."""
    shown = found.factors if len(found.factors) <= 3 else (*found.factors[:2], found.factors[-1])
    parts = [_between(*factor) for factor in shown]
    if len(found.factors) > 3:
        parts.insert(2, r"\cdots")
    sign = -1 if sum(slope * weight < 0.0 for _, slope, weight in found.factors) % 2 else 1
    left = rf"\frac{{\partial C/\partial b_{{{found.early}}}}}{{\partial C/\partial b_{{{found.late}}}}}"
    product = TIMES.join(parts) or "1"
    return rf"{left} = {product} = {number(found.log_ratio, sign)}"


def signed(value: float) -> str:
    """The number in LaTeX, four digits."""
    return number(math.log(abs(value)) if value else -math.inf, 1 if value >= 0.0 else -1)


def _symbol(neuron: int) -> str:
    slope = rf"\sigma'(z_{{{neuron}}})"
    return slope if neuron == 1 else rf"w_{{{neuron}}}\,{slope}"


def _marked(symbol: str, value: float) -> str:
    """The factor with its value and how it stands to 1."""
    text = signed(value)
    size = rf"|{text}|" if value < 0.0 else text
    sign = "<" if abs(value) < 1.0 else (">" if abs(value) > 1.0 else "=")
    return rf"\underbrace{{{symbol}}}_{{{size} \,{sign}\, 1}}"


def _between(neuron: int, slope: float, weight: float) -> str:
    return _marked(rf"\sigma'(z_{{{neuron}}})\,w_{{{neuron + 1}}}", slope * weight)
