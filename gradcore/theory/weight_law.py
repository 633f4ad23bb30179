"""Weights that are never drawn: what one random matrix does to a batch and to its cotangents, exactly in law.

All arrays are (S, B, n): S networks, B samples, n units. ``forward`` gives W x for the batch, ``backward`` W^T d for
cotangents d that may depend on everything before, W x included. For independent Gaussian weights and for Haar
orthogonal ones the joint law of both is known in closed form: W acts on the B directions of the batch as B random
vectors, and on everything orthogonal to them it is still undrawn. Other independent weights act as Gaussian ones do
up to 1/width in the fourth moment; small matrices of them are drawn.

Sources: Bolthausen 2014 (conditioning of Gaussian matrices); Yang 2020 (tensor programs).
Checked against torch's matrices by tests/test_sampler.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from gradcore.initializers import sparse_zeros

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray
NEGLIGIBLE = 1e-12  # share of a batch's power below which one of its directions is left out
DRAWN = {"uniform": 96, "truncated": 96, "sparse": 256}  # widest matrices of these kinds that are drawn


class Weights(Protocol):
    """One layer's weights in S networks."""

    def forward(self, x: Array) -> Array:
        """(S, B, fan_in) -> (S, B, fan_out), once."""
        ...

    def backward(self, d: Array) -> Array:
        """(S, B, fan_out) -> (S, B, fan_in), once, after ``forward``."""
        ...


def weights_of(
    spec: Spec, gain: float, variance: float, fan_in: int, fan_out: int, rng: np.random.Generator
) -> Weights:
    """The law of one layer of a Spec with this resolved gain; ``variance`` is E[W^2]."""
    kind, std = spec.init_entry.kind, math.sqrt(variance)
    if kind == "orthogonal":
        return Orthogonal(std * math.sqrt(max(fan_in, fan_out)), fan_in, fan_out, rng)
    if kind == "constant":
        return Constant(gain, fan_out)
    if kind == "eye":
        return Eye(gain, fan_out)
    if _narrow(kind, fan_in, fan_out):
        return Drawn(partial(ENTRIES[kind], gain=gain, std=std, sparsity=spec.sparsity), fan_out, rng)
    return Gaussian(std, fan_out, rng)


def _narrow(kind: str, fan_in: int, fan_out: int) -> bool:
    return max(fan_in, fan_out) <= DRAWN.get(kind, 0)


def draws(spec: Spec) -> bool:
    """Whether any layer of a Spec is so narrow that its weights' own law matters, not being Gaussian."""
    fans = zip(spec.fan_ins.tolist(), spec.layer_widths.tolist(), strict=True)
    return any(_narrow(spec.init_entry.kind, *fan) for fan in set(fans))


def _frame(x: Array) -> tuple[Array, Array]:
    """(root, rows) with x = root @ rows, the rows orthonormal (or 0 where the batch has no such direction)."""
    values, vectors = np.linalg.eigh(x @ x.swapaxes(1, 2))
    rank = min(x.shape[1], x.shape[2])
    values, vectors = np.maximum(values[:, -rank:], 0.0), vectors[:, :, -rank:]
    kept = values > NEGLIGIBLE * values[:, -1:]
    values = np.where(kept, values, 0.0)
    inverse = np.where(kept, 1.0 / np.sqrt(np.where(kept, values, 1.0)), 0.0)
    return vectors * np.sqrt(values)[:, None, :], (vectors * inverse[:, None, :]).swapaxes(1, 2) @ x


def _root(gram: Array) -> Array:
    """A root R of a Gram matrix: gram = R R^T."""
    values, vectors = np.linalg.eigh(gram)
    return vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]


def _whiten(rows: Array, rest: int, rng: np.random.Generator) -> Array:
    """Gaussian rows made orthonormal together with ``rest`` further coordinates that nobody looks at."""
    gram = rows @ rows.swapaxes(1, 2)
    if rest:
        unseen = rng.standard_normal((*rows.shape[:2], rest))
        gram = gram + unseen @ unseen.swapaxes(1, 2)
    values, vectors = np.linalg.eigh(gram)
    return ((vectors / np.sqrt(values)[:, None, :]) @ vectors.swapaxes(1, 2)) @ rows


class Gaussian:
    """Independent N(0, std^2) entries."""

    def __init__(self, std: float, fan_out: int, rng: np.random.Generator) -> None:
        self.std, self.fan_out, self.rng = std, fan_out, rng

    def forward(self, x: Array) -> Array:
        """W maps the orthonormal directions of the batch to independent Gaussian vectors."""
        root, self.rows = _frame(x)
        self.images = self.std * self.rng.standard_normal((x.shape[0], self.rows.shape[1], self.fan_out))
        return root @ self.images

    def backward(self, d: Array) -> Array:
        """Along the batch by what is known of W, beside it by fresh Gaussian weights."""
        along = d @ self.images.swapaxes(1, 2)
        fresh = self.rng.standard_normal((d.shape[0], d.shape[1], self.rows.shape[2]))
        fresh = self.std * (_root(d @ d.swapaxes(1, 2)) @ fresh)
        return (along - fresh @ self.rows.swapaxes(1, 2)) @ self.rows + fresh


class Orthogonal:
    """``gain`` times the first rows or columns of a Haar orthogonal matrix of the larger size."""

    def __init__(self, gain: float, fan_in: int, fan_out: int, rng: np.random.Generator) -> None:
        self.gain, self.fan_in, self.fan_out, self.rng = gain, fan_in, fan_out, rng
        self.size = max(fan_in, fan_out)

    def forward(self, x: Array) -> Array:
        """The batch's directions go to a random orthonormal frame, of which fan_out coordinates are seen."""
        root, self.rows = _frame(x)
        images = self.rng.standard_normal((x.shape[0], self.rows.shape[1], self.fan_out))
        self.images = _whiten(images, self.size - self.fan_out, self.rng)
        return self.gain * (root @ self.images)

    def backward(self, d: Array) -> Array:
        """What is orthogonal to the frame goes isometrically to what is orthogonal to the batch."""
        along = d @ self.images.swapaxes(1, 2)
        beside = d @ d.swapaxes(1, 2) - along @ along.swapaxes(1, 2)
        free = self.size - self.rows.shape[1]
        count = min(d.shape[1], free)
        if not count:
            return self.gain * (along @ self.rows)
        fresh = self.rng.standard_normal((d.shape[0], count, self.fan_in))
        fresh = fresh - (fresh @ self.rows.swapaxes(1, 2)) @ self.rows
        fresh = _whiten(fresh, self.size - self.fan_in, self.rng)
        return self.gain * (along @ self.rows + _root(beside)[:, :, -count:] @ fresh)


class Drawn:
    """Independent entries of a law that is not Gaussian, as matrices; ``draw(shape, rng)`` draws S of them."""

    def __init__(self, draw: Callable[..., Array], fan_out: int, rng: np.random.Generator) -> None:
        self.draw, self.fan_out, self.rng = draw, fan_out, rng

    def forward(self, x: Array) -> Array:
        """Draw them, and multiply."""
        self.matrices = self.draw((x.shape[0], self.fan_out, x.shape[2]), self.rng)
        return x @ self.matrices.swapaxes(1, 2)

    def backward(self, d: Array) -> Array:
        """Multiply by the same ones."""
        return d @ self.matrices


def _uniform(shape: tuple[int, ...], rng: np.random.Generator, *, gain: float, std: float, sparsity: float) -> Array:
    return math.sqrt(3.0) * std * rng.uniform(-1.0, 1.0, shape)


def _truncated(shape: tuple[int, ...], rng: np.random.Generator, *, gain: float, std: float, sparsity: float) -> Array:
    from scipy.special import ndtr, ndtri

    edge = float(ndtr(-2.0 / gain)) if gain else 0.5
    return gain * ndtri(rng.uniform(edge, 1.0 - edge, shape))


def _sparse(shape: tuple[int, ...], rng: np.random.Generator, *, gain: float, std: float, sparsity: float) -> Array:
    ranks = np.argsort(rng.random(shape), axis=1)
    return np.where(ranks < sparse_zeros(shape[1], sparsity), 0.0, gain * rng.standard_normal(shape))


ENTRIES = {"uniform": _uniform, "truncated": _truncated, "sparse": _sparse}


class Constant:
    """Every entry the same."""

    def __init__(self, value: float, fan_out: int) -> None:
        self.value, self.fan_out = value, fan_out

    def forward(self, x: Array) -> Array:
        """The sum of a sample's features, to every unit."""
        self.fan_in = x.shape[2]
        return np.repeat(self.value * x.sum(axis=2, keepdims=True), self.fan_out, axis=2)

    def backward(self, d: Array) -> Array:
        """The same for cotangents."""
        return np.repeat(self.value * d.sum(axis=2, keepdims=True), self.fan_in, axis=2)


class Eye:
    """``gain`` times the identity, cut off or filled up with zeros."""

    def __init__(self, gain: float, fan_out: int) -> None:
        self.gain, self.fan_out = gain, fan_out

    def forward(self, x: Array) -> Array:
        """Unit i sees feature i."""
        self.fan_in = x.shape[2]
        return self.gain * _resized(x, self.fan_out)

    def backward(self, d: Array) -> Array:
        """And the other way."""
        return self.gain * _resized(d, self.fan_in)


def _resized(x: Array, width: int) -> Array:
    """The first ``width`` features, zeros where there are fewer."""
    if x.shape[2] >= width:
        return x[:, :, :width]
    return np.pad(x, ((0, 0), (0, 0), (0, width - x.shape[2])))
