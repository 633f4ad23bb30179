"""Measuring networks of independent Gaussian weights without their weights: the same joint law of all signals and
gradients as real networks, in B^2 n operations a layer instead of B n^2.

The blocks, activations, norms, inputs and losses are those of the dense networks; ``conditioning`` stands in place of
the weight matrices. Signals and cotangents are of the network's dtype, Gram matrices and statistics float64.
Cotangents are rescaled by powers of two at every layer, signals of homogeneous networks too, so that neither has a
float range there; other signals break where the dtype does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gradcore.errors import UnsupportedError
from gradcore.measure import memory as room
from gradcore.measure import pool, turns
from gradcore.measure.arguments import check_arguments
from gradcore.measure.blocks import Layer, Pulled
from gradcore.measure.conditioning import Draws, batch_of, log_square, shifted
from gradcore.measure.ledger import LOGS, SHARES
from gradcore.measure.network import (
    WEIGHTS,
    check_supported,
    draw_cotangent,
    draw_inputs,
)
from gradcore.measure.network_in_law import Network, Plan, kept_entries
from gradcore.measure.steps import Steps

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray
LN2 = math.log(2.0)
CANCELLED = 1e-6  # share of a Gram matrix's trace below which its sum is taken from the rows
PASSES = 2  # over the layers: forward and backward
ROOM = 8  # powers of two that a signal or cotangent may be away from size 1 before it is rescaled
REGISTERS = 32  # floats: two of the widest vector registers, which torch fills at a time
SIDE_BY_SIDE, MOST_TOGETHER = 2**17, 16  # entries of a layer over networks side by side, and networks, at most
LARGE, OFTEN = 2**18, 16  # entries of a layer from which, and layers after which, freed memory is handed back
THREADED = 4096  # entries of a layer from which two threads are faster than one


class _Sweep:
    """The forward and backward pass of S networks; ``rows`` are the statistics, (S, L) each."""

    def __init__(self, plan: Plan, seed: int, networks: tuple[int, ...], steps: Steps) -> None:
        self.plan, self.spec, self.steps = plan, plan.spec, steps
        self.seed, self.networks = seed, networks
        self.net = Network(plan, Draws(seed, networks, WEIGHTS, plan.dtype, plan.device))
        self.rows = {name: np.full((len(networks), self.spec.depth), math.nan) for name in (*LOGS, *SHARES)}
        # true signals are 2^exponent times those held
        self.exponents = np.zeros((self.spec.depth + 1, len(networks)), dtype=np.int64)
        with torch.no_grad(), np.errstate(invalid="ignore"):  # where a dtype breaks, nan is the answer
            self._backward(*self._cotangents(self._forward()))
        self.rows["saturated"], self.rows["dead"] = self.net.shares

    def _step(self, index: int) -> None:
        """The layer is done."""
        if index % OFTEN == 0 and self.spec.batch_size * int(self.spec.layer_widths[index]) >= LARGE:
            room.give_back()
        self.steps.next()

    # --- forward --------------------------------------------------------------------------------------------

    def _forward(self) -> Tensor:
        """The output, of which the true one is 2^exponents[L] times as large."""
        plan, net, last = self.plan, self.net, self.spec.depth - 1
        inputs = [draw_inputs(self.spec, self.seed, network, plan.dtype) for network in self.networks]
        signals = [torch.stack(inputs).to(plan.device)]
        for index in range(last + 1):
            if index:
                layer = net.block.run(net, index, signals)
            else:
                z = net.linear(0, signals.pop())
                layer = Layer(z, z, z)
            if index == (last if net.block.acts_below else 0):  # no unit of the network's own sees this signal
                net.shares[:, :, index] = net.unit_at(index, layer.seen)[0].shares(plan.small)
            log_mean = self._record(index, layer.z)
            signals, by = [*signals[-1:], layer.z], _excess(log_mean)
            if plan.homogeneous and by.any():
                signals = [shifted(signal, -by) for signal in signals]
                self.exponents[index + 1 :] += by
            self._step(index)
        return signals[-1]

    def _record(self, index: int, z: Tensor) -> Array:
        """The statistics of a layer's signal; (S,) ln of the mean square of what is held of it."""
        rows, shift = self.rows, 2.0 * LN2 * self.exponents[index]
        samples, width, total = z.shape[1], z.shape[2], z.double()
        log_total, log_sum = log_square(total), log_square(total.sum(dim=1))
        log_mean = log_total - math.log(samples * width)
        rows["log_q"][:, index] = log_mean + shift
        layer = self.net.layers[index]
        rows["log_p"][:, index] = layer.log_size - math.log(samples * layer.fan_in) + shift
        if samples > 1:
            alike = np.isneginf(log_total)  # all zero
            ratio = np.where(alike, samples, np.exp(log_sum - np.where(alike, 0.0, log_total)))
            rows["correlation"][:, index] = (ratio - 1.0) / (samples - 1)
        return log_mean

    # --- backward -------------------------------------------------------------------------------------------

    def _cotangents(self, output: Tensor) -> tuple[Tensor, Array]:
        """(delta^L, its exponents (S,)): B dC/dz of the loss. MSE is linear in the output, whatever its size."""
        exponents, within = self.exponents[-1], output
        if self.spec.loss == "cross_entropy":  # beyond these powers softmax is 0 or 1
            within = shifted(output.double(), np.clip(exponents, -1000, 900))
        with torch.enable_grad():
            of = zip(within, self.networks, strict=True)
            deltas = [draw_cotangent(self.spec, z, self.seed, network, self.plan.dtype) for z, network in of]
        return torch.stack(deltas).to(output), exponents if self.spec.loss == "mse" else np.zeros_like(exponents)

    def _backward(self, delta: Tensor, exponents: Array) -> None:
        held, net = None, self.net
        for index in range(self.spec.depth - 1, -1, -1):
            batch = batch_of(delta)
            size = own = batch.log_size - math.log(delta[0].numel())
            if held is not None:  # one scale for all that crosses this layer
                size = np.fmax(size, log_square(held.double()) - math.log(held[0].numel()))
            self.rows["log_g"][:, index] = own + 2.0 * LN2 * exponents
            if (by := _excess(size)).any():
                delta, batch, exponents = shifted(delta, -by), batch.shifted(-by), exponents + by
                held = None if held is None else shifted(held, -by)
            net.sent = (delta, batch)
            pulled = Pulled(delta, 1.0, delta)
            if index:
                pulled = net.block.pull(net, index, delta, held)
            self._parameters(index, pulled.scale, exponents)
            net.layers[index].release()
            delta, held = pulled.delta, pulled.held
            self._step(index)

    def _parameters(self, index: int, scale: float, exponents: Array) -> None:
        """Mean squares of the gradients of W and b: |sum_b delta_b x_b^T|^2 is the product of two Gram matrices."""
        layer, sent = self.net.layers[index], self.net.sent
        assert layer.gram is not None and sent is not None
        batch = sent[1]
        both = (batch.gram * layer.gram).sum(dim=(1, 2)).cpu().numpy()
        total = batch.gram.sum(dim=(1, 2)).cpu().numpy()
        with np.errstate(divide="ignore"):
            factor = 2.0 * (LN2 * (exponents + batch.exponent) + np.log(abs(scale)) - np.log(self.spec.batch_size))
            below = 2.0 * LN2 * (self.exponents[index] + layer.exponent)
            dw = np.log(np.maximum(both, 0.0)) + below
            db = np.log(np.maximum(total, 0.0))
        cancelled = total < CANCELLED * batch.size
        if cancelled.any():
            db = np.where(cancelled, log_square(batch.rows.sum(dim=1)), db)
        self.rows["log_dw"][:, index] = dw + factor - math.log(layer.fan_in * layer.fan_out)
        self.rows["log_db"][:, index] = db + factor - math.log(layer.fan_out)


def _excess(log_mean: Array) -> Array:
    """(S,) powers of two by which an RMS is to be brought near 1; 0 while it is near enough, or no number."""
    by = np.rint(np.where(np.isfinite(log_mean), 0.5 * log_mean / LN2, 0.0)).astype(np.int64)
    return np.where(np.abs(by) > ROOM, by, 0)


# --- a run ---------------------------------------------------------------------------------------------------


def check_exact(spec: Spec, dtype: str) -> None:
    """Whether networks of this Spec can be measured without weights. Raises UnsupportedError."""
    asked = 'sampler "exact"'
    if spec.init_entry.kind != "gaussian":
        raise UnsupportedError(
            f"{asked} with init {spec.init!r}", "only independent Gaussian weights have this law", 'sampler "dense"'
        )
    if dtype not in ("float32", "float64"):
        raise UnsupportedError(
            f"{asked} in {dtype}", "what half precisions round is the weights, and there are none", "float32 or float64"
        )
    most = int(spec.fan_ins.min())
    if spec.batch_size > most:
        raise UnsupportedError(
            f"{asked} with {spec.batch_size:,} samples on a fan-in of {most:,}",
            "so many samples see the whole weight matrix, and nothing of it is left undrawn",
            f'batch_size up to {most:,}; sampler "dense"',
        )
    check_supported(spec)


def memory(spec: Spec, dtype: str = "float64", networks: int = 1) -> int:
    """Bytes that so many networks at once hold at their peak beside torch itself: of each the drawn directions, the
    batch's frame and the activation's slopes of every layer (three tensors of B n, more with a norm), and one layer's
    work in float64. An upper estimate, within a factor 3 of what is used."""
    size, samples = (4 if dtype == "float32" else 8), spec.batch_size
    norms = NORM_TENSORS[spec.norm] * samples * float(np.sum(spec.layer_widths))
    grams = 8.0 * spec.depth * samples**2
    work = 8.0 * WORK_TENSORS * samples * float(max(spec.layer_widths.max(), spec.fan_ins.max()))
    return int(HEAP * networks * (size * (kept_entries(spec) + norms) + grams + work)) + BASE


NORM_TENSORS = {"none": 0, "batch": 2, "layer": 1, "rms": 4}  # of B n that a norm keeps for its pullback
WORK_TENSORS = 48  # of B n in float64: a dozen that one layer's work takes at a time, and the holes they leave behind
HEAP = 1.1  # what malloc holds, by what is asked of it
BASE = 2**24  # bytes of Python's and torch's own small change


def _together(spec: Spec, dtype: str, device: str) -> int:
    """Networks that are computed side by side on one thread: several where a layer is so small that calling torch takes
    longer than computing. Only where every signal fills whole vector registers and batch norm does not mix them, so
    that a network's bits do not depend on its neighbours."""
    samples = spec.batch_size
    sizes = samples * np.concatenate([spec.layer_widths, spec.fan_ins])
    if np.any(sizes % REGISTERS) or spec.norm == "batch" or device != "cpu":
        return 1
    return int(np.clip(SIDE_BY_SIDE // sizes.max(), 1, MOST_TOGETHER))


def _split(spec: Spec, dtype: str, device: str, networks: int) -> tuple[int, int]:
    """(networks side by side, threads): as many threads as cores and what memory allows; no thread without work."""
    together = _together(spec, dtype, device)
    threads = min(turns.CORES if device == "cpu" else 1, networks)
    if spec.batch_size * float(np.mean(spec.layer_widths)) * min(together, networks) < THREADED:
        threads = 1
    together = min(together, -(-networks // threads))
    threads = min(threads, -(-networks // together))
    known = room.available()
    free = math.inf if known is None else room.FREE_SHARE * known
    while together * threads > 1 and memory(spec, dtype, together * threads) > free:
        together, threads = (together, threads - 1) if threads > 1 else (together - 1, 1)
    needed = memory(spec, dtype, 1)
    if needed > free:
        raise UnsupportedError(
            f"a matrix-free network of {spec.batch_size:,} x {float(np.sum(spec.layer_widths)):.3g} activations",
            f"it takes {needed / 2**30:.1f} GiB, and {(known or 0.0) / 2**30:.1f} GiB are free",
            "fewer samples, layers or units, or float32; predict needs no activations at all",
        )
    return together, threads


def measure_exact(
    spec: Spec,
    indices: tuple[int, ...],
    seed: int,
    dtype: str,
    device: str,
    progress: Callable[[int, int], Any] | None = None,
    on_layer: Callable[[int, int], Any] | None = None,
) -> dict[str, Array]:
    """The statistics of these networks in law, each (networks, L); the arguments as ``dense.measure_networks``."""
    check_arguments(dtype, seed, device, progress, on_layer)
    check_exact(spec, dtype)
    together, threads = _split(spec, dtype, device, len(indices))
    plan = Plan(spec, dtype, device)

    def worker() -> pool.Work:
        return lambda networks, steps: _Sweep(plan, seed, networks, steps).rows

    groups = [indices[start : start + together] for start in range(0, len(indices), together)]
    total = PASSES * spec.depth
    teller = pool.Teller(len(indices), total, progress, on_layer)
    quick = room.quick(spec, together, weights=False)
    found = pool.run(groups, worker, min(threads, len(groups)), teller, total, quick)
    return {name: np.concatenate([rows[name] for rows in found]) for name in (*LOGS, *SHARES)}


__all__ = ["check_exact", "measure_exact", "memory"]
