"""Statistics of batches of networks: tensors are (G, B, n), one slice a network, and every result is (G,) in float64.

Sums run in the networks' own precision along the last axis (float32 for half precisions) and in float64 from there on;
what could have over- or underflowed in that is computed again in float64, scaled by its largest entry. No result
depends on which other networks are in the batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray
LN2 = math.log(2.0)
# mean squares between which no square that matters was lost: of entries of this size, those 1e-8 times as large count
SAFE = {torch.float32: (1e-20, 1e30), torch.float64: (1e-280, 1e280)}
CANCELLED = {torch.float32: 0.05, torch.float64: 1e-6}  # of independent samples: below it, Gram matrices lose digits
TAME = 20  # binary orders within which a tensor is left as it is


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


def product(a: Tensor, b: Tensor, add: Tensor | None = None) -> Tensor:
    """a b (G, i, k) of (G, i, j) and (G, j, k), plus ``add`` (G, 1, k): slice by slice, since a batched product takes
    other paths, and so gives other digits, than that of one matrix which an ordinary module computes."""
    out = torch.empty(a.shape[0], a.shape[1], b.shape[2], dtype=a.dtype, device=a.device)
    if add is None:
        for x, y, z in zip(a.unbind(), b.unbind(), out.unbind(), strict=True):
            torch.mm(x, y, out=z)
    else:
        for c, x, y, z in zip(add.unbind(), a.unbind(), b.unbind(), out.unbind(), strict=True):
            torch.addmm(c[0], x, y, out=z)
    return out


def _row_squares(t: Tensor) -> Array:
    """(G,) sums of squares: float64 sums of what each row has in the tensor's own precision."""
    rows = torch.linalg.vector_norm(t, dim=-1).cpu().numpy().astype(np.float64)
    rows = rows.reshape(t.shape[0], -1)
    return (rows * rows).sum(axis=1)


def mean_squares(t: Tensor) -> Array:
    """(G,) ln of the mean square entry of each slice; -inf for zeros, inf or nan where the slice is not finite."""
    t = widened(t)
    low, high = SAFE[t.dtype]
    numel = t[0].numel()
    means = (_row_squares(t) / numel).tolist()
    return np.array([math.log(m) if low < m < high else log_mean_square(t[g]) for g, m in enumerate(means)])


def correlations(z: Tensor, log_q: Array) -> Array:
    """(G,) sum over pairs of samples of z_a . z_b, over pairs, by the mean of abs(z)^2, from ln mean squares ``log_q``:
    nan for one sample, 1 where z = 0. No B x B matrix of all pairs."""
    b, n = z.shape[1:]
    if b < 2:
        return np.full(len(z), math.nan)
    z = widened(z)
    sums = _row_squares(z.sum(dim=1))
    low, high = (math.log(bound) for bound in SAFE[z.dtype])
    out = np.empty(len(z))
    for g, size in enumerate(log_q.tolist()):
        if low < size < high:
            own = math.exp(size) * n
            out[g] = (float(sums[g]) - b * own) / (b * (b - 1)) / own
        else:
            out[g] = _correlation(z[g])
    return out


def _correlation(z: Tensor) -> float:
    top = float(z.abs().max().double())
    if top == 0.0:
        return 1.0
    if not math.isfinite(top):
        return math.nan
    scaled, b = z.double() / top, z.shape[0]
    own = float(scaled.square().sum()) / b
    return (float(scaled.sum(dim=0).square().sum()) - b * own) / (b * (b - 1)) / own


def shares(slope: Tensor, small: float) -> tuple[Array, Array]:
    """(G,) shares of entries of ``slope`` below ``small`` in size, and of units with slope 0 on the whole batch."""
    size = slope.abs()
    dead = (size.sum(dim=1) == 0).cpu().numpy().mean(axis=1)
    flags = torch.lt(size, small, out=torch.empty_like(size, dtype=widened(size[:0]).dtype))  # quicker than as bool
    saturated = flags.sum(dim=2).cpu().numpy().astype(np.float64).sum(axis=1) / slope[0].numel()
    return saturated, dead


def exponents(logs: Array) -> list[int]:
    """The powers of two that bring mean squares exp(logs) to about 1; 0 where they are near it or not finite."""
    powers = [round(v / (2.0 * LN2)) if math.isfinite(v) else 0 for v in logs.tolist()]
    return [power if abs(power) > TAME else 0 for power in powers]


def divided(t: Tensor, powers: Sequence[int]) -> Tensor:
    """Each slice by its power of two: exact, and the tensor itself where all powers are 0."""
    if not any(powers):
        return t
    wide = t.double() if max(map(abs, powers)) > 120 else widened(t)
    scales = torch.tensor([2.0**-power for power in powers], dtype=wide.dtype, device=t.device)
    return (wide * scales.view(-1, 1, 1)).to(t.dtype)


class WeightGradients:
    """ln of the squared Frobenius norm of sum_b delta_b x_b^T for every layer: from the two Gram matrices where these
    are fewer numbers than the gradient itself, since |sum_b d_b x_b^T|^2 = sum_ab (d_a . d_b) (x_a . x_b)."""

    def __init__(self, depth: int) -> None:
        self._x: list[tuple[Tensor, list[int], Tensor | None] | None] = [None] * depth

    def forward(self, layer: int, x: Tensor, log_p: Array, width: int) -> None:
        """Keep what layer ``layer`` of ``width`` units receives, (G, B, fan_in), whose ln mean squares are log_p."""
        batch, fan_in = x.shape[1:]
        powers = exponents(log_p)
        near = divided(widened(x), powers)
        few = batch * (width + fan_in) < width * fan_in
        self._x[layer] = x if not any(powers) and near is x else near, powers, product(near, near.mT) if few else None

    def backward(self, layer: int, delta: Tensor) -> Array:
        """(G,) the squared norms' ln for the cotangents ``delta`` (G, B, n); forgets the layer."""
        kept = self._x[layer]
        assert kept is not None
        self._x[layer] = None
        x, powers, gram = kept
        delta = widened(delta)
        logs = _direct(delta, x) if gram is None else _from_grams(delta, x, gram)
        return logs + 2.0 * LN2 * np.array(powers)


def _from_grams(delta: Tensor, x: Tensor, gram_x: Tensor) -> Array:
    gram_d = product(delta, delta.mT)
    batch, low = delta.shape[1], SAFE[delta.dtype][0]
    sizes = [gram.diagonal(dim1=1, dim2=2).cpu().double().sum(dim=1).tolist() for gram in (gram_d, gram_x)]
    totals = (gram_d * gram_x).sum(dim=2).cpu().double().sum(dim=1).tolist()
    out = np.empty(len(totals))
    for g, (total, d, y) in enumerate(zip(totals, *sizes, strict=True)):
        whole = total > CANCELLED[delta.dtype] * d * y / batch and min(d, y) > low and math.isfinite(d * y)
        out[g] = math.log(total) if whole else log_product(delta[g], x[g])
    return out


def _direct(delta: Tensor, x: Tensor) -> Array:
    gradient = product(delta.mT, x)
    low, high = SAFE[gradient.dtype]
    totals, numel = _row_squares(gradient).tolist(), gradient[0].numel()
    return np.array(
        [math.log(v) if low < v / numel < high else log_product(delta[g], x[g]) for g, v in enumerate(totals)]
    )


def log_product(delta: Tensor, x: Tensor) -> float:
    """ln of the squared Frobenius norm of delta^T x, (B, n) and (B, m), in float64 whatever their sizes are."""
    size_d, size_x = log_mean_square(delta), log_mean_square(x)
    if not (math.isfinite(size_d) and math.isfinite(size_x)):
        return -math.inf if -math.inf in (size_d, size_x) else math.nan
    d, y = delta.double() * math.exp(-0.5 * size_d), x.double() * math.exp(-0.5 * size_x)
    return size_d + size_x + log_mean_square(d.T @ y) + math.log(d.shape[1] * y.shape[1])
