"""Numbers of batches of networks: tensors are (G, B, n), one slice a network.

Quick sums run in the networks' own precision along rows (float32 for half precisions) and in float64 from there on;
what could have over- or underflowed in that is computed by functions that scale by the largest entry, in float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

LN2 = math.log(2.0)


@dataclass(frozen=True)
class Range:
    """Where quick sums of a precision are as good as its roundoff: mean squares between ``low`` and ``high``; squared
    norms of products above ``cancelled`` times those of independent samples; sizes within so many binary orders of 1
    of what is multiplied, ``tame_delta`` of cotangents and ``tame_x`` of signals."""

    low: float
    high: float
    cancelled: float
    tame_delta: int
    tame_x: int


RANGES = {
    torch.float32: Range(1e-20, 1e30, 0.05, 20, 30),
    torch.float64: Range(1e-280, 1e280, 1e-6, 100, 200),
}


def log_mean_square(x: Tensor) -> float:
    """ln of the mean square entry in float64, scaled so that it cannot over- or underflow; inf for non-finite x."""
    x = x.detach()
    top = float(x.abs().max().double())
    if top == 0.0:
        return -math.inf
    if not math.isfinite(top):
        return math.inf if math.isinf(top) else math.nan
    scaled = x.double() / top
    return 2.0 * math.log(top) + math.log(float(torch.mean(scaled * scaled)))


def widened(t: Tensor) -> Tensor:
    """Half precisions in float32, others as they are."""
    return t.float() if t.dtype in (torch.bfloat16, torch.float16) else t


LANES = 32  # numbers that torch computes together; a slice that is no multiple of it would be cut elsewhere
SMALL = 2**14  # entries of the larger factor up to which matrices are multiplied in one batch


def product(a: Tensor, b: Tensor, add: Tensor | None = None) -> Tensor:
    """a b (G, i, k) of (G, i, j) and (G, j, k), plus ``add`` (G, 1, k).

    Small ones in one batched call, also where there is but one: that call and the product of two matrices may add up in
    other orders, and a network's bits must not depend on its company. What never has company, because it is large or
    no whole number of LANES (``memory.group_size``), is multiplied as an ordinary module does it.
    """
    rows, inner, columns = a.shape[1], a.shape[2], b.shape[2]
    whole = rows * inner % LANES == 0 and inner * columns % LANES == 0
    if whole and inner * max(rows, columns) <= SMALL:
        return torch.bmm(a, b) if add is None else torch.baddbmm(add, a, b)
    if len(a) > 1:
        out = a.new_empty(len(a), rows, columns)
        rest = [()] * len(a) if add is None else [(own[0],) for own in add.unbind()]
        for one, left, right, more in zip(out.unbind(), a.unbind(), b.unbind(), rest, strict=True):
            torch.addmm(*more, left, right, out=one) if more else torch.mm(left, right, out=one)
        return out
    return (torch.mm(a[0], b[0]) if add is None else torch.addmm(add[0, 0], a[0], b[0])).unsqueeze(0)


def correlation(z: Tensor) -> float:
    """sum over pairs of samples of z_a . z_b, over pairs, by the mean of abs(z)^2 of z (B, n): nan for one sample, 1
    where z = 0. No B x B matrix of all pairs."""
    if z.shape[0] < 2:
        return math.nan
    top = float(z.abs().max().double())
    if top == 0.0:
        return 1.0
    if not math.isfinite(top):
        return math.nan
    scaled, b = z.double() / top, z.shape[0]
    own = float(scaled.square().sum()) / b
    return (float(scaled.sum(dim=0).square().sum()) - b * own) / (b * (b - 1)) / own


def exponents(logs: Sequence[float], tame: int) -> list[int]:
    """The powers of two that bring mean squares exp(logs) to about 1; 0 within ``tame`` orders of it or not finite."""
    powers = [round(v / (2.0 * LN2)) if math.isfinite(v) else 0 for v in logs]
    return [power if abs(power) > tame else 0 for power in powers]


def divided(t: Tensor, powers: Sequence[int]) -> Tensor:
    """Each slice by its power of two: exact, and the tensor itself where all powers are 0."""
    if not any(powers):
        return t
    wide = t.double() if max(map(abs, powers)) > 120 else widened(t)
    scales = torch.tensor([2.0**-power for power in powers], dtype=wide.dtype, device=t.device)
    return (wide * scales.view(-1, 1, 1)).to(t.dtype)


def log_product(delta: Tensor, x: Tensor) -> float:
    """ln of the squared Frobenius norm of delta^T x, (B, n) and (B, m), in float64 whatever their sizes are."""
    size_d, size_x = log_mean_square(delta), log_mean_square(x)
    if not (math.isfinite(size_d) and math.isfinite(size_x)):
        return -math.inf if -math.inf in (size_d, size_x) else math.nan
    d, y = delta.double() * math.exp(-0.5 * size_d), x.double() * math.exp(-0.5 * size_x)
    return size_d + size_x + log_mean_square(d.T @ y) + math.log(d.shape[1] * y.shape[1])
