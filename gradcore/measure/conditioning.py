"""Gaussian weights that are never drawn: what W does to a batch, and W^T to cotangents that know the outcome.

For a batch X (B, n_in), X = R Q with the B rows of Q orthonormal, and W of independent N(0, std^2) entries:

    X W^T = std R G           G (B, n_out) standard normal: W acts on orthonormal directions as independent vectors;
    D W   = std (D G^T Q + F N (1 - Q^T Q))    for any cotangents D (B, n_out) that may depend on G,

with F F^T = D D^T and N (., n_in) fresh standard normal: along the batch W is known, beside it still undrawn. Both have
exactly the joint law of a drawn W, in B^2 n operations instead of B n^2. Rows of Q are any orthonormal rows that X
determines, so batches without B directions (equal samples, dead units) need no case of their own.

All arrays are (S, B, n): S networks side by side, each with random numbers of its own.

Source: conditioning of Gaussian matrices as in Bolthausen 2014 and Yang 2020. Validity: exact at any width.
The NumPy counterpart for bands is ``gradcore.theory.weight_law``; tests/test_exact.py holds the two against each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from gradcore.measure.network import draw_dtype, generator

Array = np.ndarray
WELL_CONDITIONED = 1e8  # trace of the inverse of a batch's correlation matrix up to which Cholesky's factor is used
WELL_SEPARATED = 1e-6  # squared distance of a cotangent from those before it, by its length, from which it is used
SMALLEST, LARGEST = 1e-200, 1e200  # sums of squares that float64 holds with room for products of two


class Draws:
    """Random numbers of one stream of each network, drawn where the networks live."""

    def __init__(self, seed: int, networks: tuple[int, ...], stream: int, dtype: str, device: str) -> None:
        self.generators = [generator(seed, network, stream) for network in networks]
        if torch.device(device).type != "cpu":
            seeds = [host.initial_seed() for host in self.generators]
            self.generators = [torch.Generator(device).manual_seed(own) for own in seeds]
        self.dtype, self.device = draw_dtype(dtype), device

    def empty(self, rows: int, columns: int) -> Tensor:
        """(S, rows, columns), of no values yet."""
        return torch.empty(len(self.generators), rows, columns, dtype=self.dtype, device=self.device)

    def normal(self, out: Tensor) -> Tensor:
        """Fills ``out`` (S, ...) with independent N(0, 1)."""
        for own, draws in zip(out, self.generators, strict=True):
            own.normal_(generator=draws)
        return out

    def uniform(self, out: Tensor) -> Tensor:
        """Fills ``out`` (S, ...) with independent U(-1, 1)."""
        for own, draws in zip(out, self.generators, strict=True):
            own.uniform_(-1.0, 1.0, generator=draws)
        return out


class Store:
    """What the backward pass needs of all layers, in one piece of memory: scattered among what is soon freed, it would
    keep a heap twice its size."""

    STEP = 64  # entries: a whole number of cache lines

    def __init__(self, draws: Draws, entries: int, parts: int) -> None:
        size = entries * len(draws.generators) + self.STEP * parts
        self._free = torch.empty(size, dtype=draws.dtype, device=draws.device)
        self._networks = len(draws.generators)

    def take(self, rows: int, columns: int) -> Tensor:
        """(S, rows, columns) of it."""
        count = self._networks * rows * columns
        part, self._free = self._free[:count], self._free[-(-count // self.STEP) * self.STEP :]
        return part.view(self._networks, rows, columns)


def shifted(x: Tensor, by: Array) -> Tensor:
    """x * 2^by, ``by`` (S,) integers; in two steps, as one power alone may be no float."""
    if not by.any():
        return x
    half = by // 2
    for power in (half, by - half):
        x = x * torch.from_numpy(np.ldexp(1.0, power)).to(x)[:, None, None]
    return x


@dataclass(frozen=True)
class Batch:
    """Batches in float64, ``rows`` * 2^``exponent`` (S, B, n), and the Gram matrices (S, B, B) of ``rows``; ``size``
    (S,) are their traces, 0 or within float64's range with room where the batch is finite, inf or nan where not."""

    rows: Tensor
    gram: Tensor
    size: Array
    exponent: Array

    @property
    def log_size(self) -> Array:
        """(S,) ln of the sum of squares: -inf for zeros, inf or nan where an entry is."""
        with np.errstate(divide="ignore"):
            return np.log(self.size) + 2.0 * np.log(2.0) * self.exponent

    def shifted(self, by: Array) -> Batch:
        """The same rows, 2^by times as large."""
        return replace(self, exponent=self.exponent + by)


def batch_of(x: Tensor) -> Batch:
    """The batches x (S, B, n) of any dtype."""
    rows = x.double()
    gram = rows @ rows.mT
    size, exponent = _traces(gram), np.zeros(len(x), dtype=np.int64)
    outside = ~((size > SMALLEST) & (size < LARGEST))
    if outside.any():
        top = rows.abs().amax(dim=(1, 2)).cpu().numpy()
        held = outside & np.isfinite(top) & (top > 0.0)
        exponent = np.where(held, np.frexp(np.where(held, top, 1.0))[1], 0).astype(np.int64)
        rows = shifted(rows, -exponent)
        gram = rows @ rows.mT
        size = np.where(outside & ~held, top, _traces(gram))
    return Batch(rows, gram, size, exponent)


def _traces(gram: Tensor) -> Array:
    return gram.diagonal(dim1=1, dim2=2).sum(dim=1).cpu().numpy()


def log_square(x: Tensor) -> Array:
    """(S,) ln of the sum of squares of x (S, ..., n), float64: -inf for zeros, inf or nan where an entry is."""
    flat = x.reshape(len(x), -1)
    size = np.array([float(torch.dot(own, own)) for own in flat])
    with np.errstate(divide="ignore", invalid="ignore"):
        logs, outside = np.log(size), ~((size > SMALLEST) & (size < LARGEST))
        for place in np.flatnonzero(outside):
            top = float(flat[place].abs().max())
            logs[place] = np.log(top)
            if 0.0 < top < np.inf:
                logs[place] += np.log(top) + np.log(float((flat[place] / top).square().sum()))
    return logs


def _cholesky(batch: Batch, least: float) -> tuple[Tensor, Array]:
    """(the lower factors of the Gram matrices, whether each is good): not where a sample's squared distance from those
    before it is below ``least`` of its length. A small sample beside large ones costs no digits: the factor's error is
    relative to each row."""
    factor, failed = torch.linalg.cholesky_ex(batch.gram)
    pivots = factor.diagonal(dim1=1, dim2=2).square() / batch.gram.diagonal(dim1=1, dim2=2)
    good = (failed == 0) & (pivots.amin(dim=1) > least)  # a nan is not good
    return factor, good.cpu().numpy()


def frame(batch: Batch) -> tuple[Tensor, Tensor]:
    """(root (S, B, B), Q (S, B, n)) with batch.rows = root @ Q and the rows of Q orthonormal, B <= n; float64.

    By Cholesky's factor of the Gram matrix while that leaves 8 digits, else by Householder's QR of the batch itself:
    orthonormal whatever the rank, and as exact for samples that lie close together as the batch is.
    """
    root, good = _cholesky(batch, 1.0 / WELL_CONDITIONED)
    unit = torch.eye(root.shape[1], dtype=root.dtype, device=root.device)
    inverse = torch.linalg.solve_triangular(root, unit, upper=False)
    # the trace of the inverse of the samples' correlation matrix
    trace = (inverse.square().sum(dim=1) * batch.gram.diagonal(dim1=1, dim2=2)).sum(dim=1)
    good &= (trace < WELL_CONDITIONED).cpu().numpy()
    rows = inverse @ batch.rows
    for place in np.flatnonzero(~good):
        q, r = torch.linalg.qr(batch.rows[place].T)
        root[place], rows[place] = r.T, q.T
    return root, rows


def root_of(batch: Batch) -> Tensor:
    """F (S, B, B) with F F^T the Gram matrix of batch.rows; float64."""
    root, good = _cholesky(batch, WELL_SEPARATED)
    for place in np.flatnonzero(~good):
        r = torch.linalg.qr(batch.rows[place].T, mode="r")[1]
        root[place] = 0.0
        root[place, :, : len(r)] = r.T
    return root


class GaussianLayer:
    """One layer's weights W, independent N(0, std^2) entries, in S networks: called once with a batch, then ``pull``
    once. The Gram matrices of the batch, their trace's log and the batch's exponent are kept for the gradients of W."""

    gram: Tensor | None
    log_size: Array
    exponent: Array

    def __init__(self, std: float, fan_in: int, fan_out: int, draws: Draws, store: Store) -> None:
        self.std, self.fan_in, self.fan_out, self.draws, self.store = std, fan_in, fan_out, draws, store

    def __call__(self, x: Tensor) -> Tensor:
        """W x for the batches (S, B, fan_in): (S, B, fan_out)."""
        batch = batch_of(x)
        self.gram, self.log_size, self.exponent = batch.gram, batch.log_size, batch.exponent
        root, rows = frame(batch)
        self.rows = self.store.take(x.shape[1], self.fan_in).copy_(rows)
        self.images = self.draws.normal(self.store.take(x.shape[1], self.fan_out))
        return shifted(self.std * root, batch.exponent).to(x.dtype) @ self.images

    def pull(self, d: Tensor, batch: Batch) -> Tensor:
        """W^T d for cotangents d (S, B, fan_out), whose ``batch`` is known: (S, B, fan_in)."""
        root = shifted(root_of(batch), batch.exponent).to(d.dtype)
        fresh = root @ self.draws.normal(self.draws.empty(d.shape[1], self.fan_in))
        along = torch.baddbmm(d @ self.images.mT, fresh, self.rows.mT, alpha=-1.0)
        return torch.baddbmm(fresh, along, self.rows, beta=self.std, alpha=self.std)

    def release(self) -> None:
        """Forget what only the backward pass needed."""
        self.gram = None
        del self.rows, self.images
