"""Measuring dense networks: real weight matrices, one network at a time, per-layer rescaled backward passes.

Backpropagation is linear in the cotangent, so at every layer it is divided by its size and the logarithm
is kept: exact up to rounding for any network whose forward pass is representable, also where a plain float32
or float64 gradient is 0 or inf.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from gradcore.errors import SpecError
from gradcore.measure.network import (
    DTYPES,
    Network,
    build,
    check_dtype,
    check_index,
    draw_cotangent,
    draw_inputs,
    make_activation,
    make_norm,
)
from gradcore.measure.steps import Steps
from gradcore.theory.gaussian import moments_of

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray
LOGS = ("log_q", "log_p", "log_g", "log_dw", "log_db")
SHARES = ("correlation", "saturated", "dead")
CORES = os.cpu_count() or 1
PATIENCE = 0.1  # seconds between two beats of one that waits
_turn = threading.Condition()
_queue: list[object] = []  # computations of the process in order of arrival: the first CORES compute, the others wait
_THREADS = threading.Lock()
_thread_state = {"users": 0, "saved": 1}


@contextmanager
def _turn_to_compute(beat: Callable[[], None] | None) -> Iterator[None]:
    """As many computations as cores, over all sessions of the process, first come first served.

    Who waits calls ``beat`` all the while; an exception it raises gives the place in the queue up.
    """
    ticket = object()
    with _turn:
        _queue.append(ticket)
    try:
        while True:
            with _turn:
                if _turn.wait_for(lambda: ticket in _queue[:CORES], None if beat is None else PATIENCE):
                    break
            if beat is not None:
                beat()
        yield
    finally:
        with _turn:
            _queue.remove(ticket)
            _turn.notify_all()


@contextmanager
def one_intra_op_thread(beat: Callable[[], None] | None = None) -> Iterator[None]:
    """One intra-op thread while measuring (small matrices run slower on several); the setting is put back.

    torch keeps one process-wide number beside a per-thread one, so overlapping users share what was saved.
    ``beat`` is called while waiting for a free core.
    """
    with _THREADS:
        if _thread_state["users"] == 0:
            _thread_state["saved"] = torch.get_num_threads()
        _thread_state["users"] += 1
        torch.set_num_threads(1)
    try:
        with _turn_to_compute(beat):
            yield
    finally:
        with _THREADS:
            _thread_state["users"] -= 1
            torch.set_num_threads(_thread_state["saved"])


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


def _log_gram(delta: Tensor, x: Tensor) -> float:
    """ln of the squared Frobenius norm of sum_b delta_b x_b^T, from the two Gram matrices where B is small."""
    if delta.shape[0] > min(delta.shape[1], x.shape[1]):
        return log_mean_square(delta.T @ x) + math.log(delta.shape[1] * x.shape[1])
    size_d, size_x = log_mean_square(delta), log_mean_square(x)
    if not (math.isfinite(size_d) and math.isfinite(size_x)):
        return -math.inf if -math.inf in (size_d, size_x) else math.nan
    d, y = delta.double() * math.exp(-0.5 * size_d), x.double() * math.exp(-0.5 * size_x)
    total = float(torch.sum((d @ d.T) * (y @ y.T)))
    return size_d + size_x + (math.log(total) if total > 0 else -math.inf)


class _Sweep:
    """One network's forward and rescaled backward pass; ``rows`` are the statistics, (L,) each."""

    PASSES = 4  # over the layers: built, run forward, differentiated, run backward

    def __init__(self, spec: Spec, seed: int, network: int, dtype: str, device: str, steps: Steps) -> None:
        self.spec, self.steps = spec, steps
        self.model: Network = build(spec, seed, network, dtype, steps)
        if device != "cpu":
            self.model.to(device)
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)
        self.rows = {name: np.full(spec.depth, math.nan) for name in (*LOGS, *SHARES)}
        moments = moments_of(spec.activation, spec.slope)
        grid = np.linspace(-40, 40, 8001)
        self.small = 0.05 * float(np.abs(moments.derivative(grid)).max())
        self.inputs = draw_inputs(spec, seed, network, dtype).to(device)
        self.streams, self.xs = self._forward()
        self._backward(draw_cotangent(spec, self.streams[-1], seed, network, dtype))

    def _forward(self) -> tuple[list[Tensor], list[Tensor]]:
        streams: list[Tensor] = []
        xs = [self.inputs]
        with torch.no_grad():
            z = self.model.linears[0](self.inputs)
            for index in range(self.spec.depth):
                if index:
                    xs.append(self.model.unit(index - 1, z))
                    z = self.model.join(index, z, xs[-1])
                streams.append(z)
                self.rows["log_q"][index] = log_mean_square(z)
                self.rows["log_p"][index] = log_mean_square(xs[-1])
                self.rows["correlation"][index] = _correlation(z)
                self.steps.next()
        for index, z in enumerate(streams):
            self._slopes(index, z)
            self.steps.next()
        return streams, xs

    def _slopes(self, index: int, z: Tensor) -> None:
        """Shares of saturated entries and of units that are dead on the whole batch, as the activation sees z."""
        last = index == self.spec.depth - 1
        activation = make_activation(self.spec).to(z) if last else self.model.activations[index]
        y = z
        if self.spec.norm != "none" and not self.model.norm_after:
            norm = make_norm(self.spec, z.shape[1]) if last else self.model.norms[index]
            assert norm is not None
            with torch.no_grad():
                y = norm.to(z).train()(z)
        y = y.detach().requires_grad_(True)
        slope = torch.autograd.grad(activation(y).sum(), y)[0].abs()
        self.rows["saturated"][index] = float((slope < self.small).double().mean())
        self.rows["dead"][index] = float((slope == 0).all(dim=0).double().mean())

    def _backward(self, delta: Tensor) -> None:
        scale, batch = 0.0, self.spec.batch_size
        for index in range(self.spec.depth - 1, -1, -1):
            size = log_mean_square(delta)
            if math.isfinite(size):
                delta = delta / math.exp(0.5 * size)
                scale += size
            elif math.isnan(size) or size > 0:
                return  # the forward pass broke: nothing below is a number
            branch = 1.0 if self.model.alpha is None or index == 0 else self.model.alpha
            log_branch = 2.0 * math.log(abs(branch)) if branch else -math.inf
            dead = size == -math.inf
            entries = math.log(float(delta.shape[1]) * self.xs[index].shape[1])
            mean = scale + log_branch - 2.0 * math.log(batch)
            self.rows["log_g"][index] = -math.inf if dead else scale
            gram = -math.inf if dead else _log_gram(delta, self.xs[index])
            self.rows["log_dw"][index] = mean + gram - entries
            self.rows["log_db"][index] = -math.inf if dead else mean + log_mean_square(delta.sum(dim=0))
            if index:
                delta = self._pull_back(index, delta)
            self.steps.next()

    def _pull_back(self, index: int, delta: Tensor) -> Tensor:
        """delta^(l-1) from delta^l by torch's own backward of the block between them."""
        stream = self.streams[index - 1].detach().requires_grad_(True)
        with torch.enable_grad():
            x = self.model.unit(index - 1, stream)
        sent = _times(delta, cast(Tensor, self.model.linears[index].weight))
        if self.model.alpha is None:
            return torch.autograd.grad(x, stream, sent)[0]
        return delta + torch.autograd.grad(x, stream, self.model.alpha * sent)[0]


def _times(delta: Tensor, weight: Tensor) -> Tensor:
    """delta W, half precisions summed in float32 as torch sums them; its own loop takes 40 times as long."""
    if weight.dtype in (torch.bfloat16, torch.float16):
        return (delta.float() @ weight.float()).to(weight.dtype)
    return delta @ weight


def _correlation(z: Tensor) -> float:
    """sum over pairs of z_a . z_b, over pairs, by the mean of abs(z)^2; nan for one sample, 1 where z = 0."""
    if z.shape[0] < 2:
        return math.nan
    top = float(z.abs().max().double())
    if top == 0.0:
        return 1.0
    if not math.isfinite(top):
        return math.nan
    scaled, b = z.double() / top, z.shape[0]
    own = float(scaled.square().sum()) / b
    return (float(scaled.sum(dim=0).square().sum()) - b * own) / (b * (b - 1)) / own  # no B x B matrix of all pairs


def network_indices(networks: int | Iterable[int]) -> tuple[int, ...]:
    """The indices of the networks asked for: 0..networks-1, or the given ones."""
    if isinstance(networks, (int, np.integer)) and not isinstance(networks, bool):
        if networks < 1:
            raise SpecError("networks", networks, "an integer from 1 on, or a range of indices")
        return tuple(range(int(networks)))
    if isinstance(networks, (str, bytes)) or not isinstance(networks, Iterable):
        raise SpecError("networks", networks, "an integer from 1 on, or a range of indices")
    indices = tuple(check_index("networks", i) for i in networks)
    if not indices or len(set(indices)) != len(indices):
        raise SpecError("networks", networks, "at least one index, each once")
    return indices


def _check_device(device: str) -> None:
    try:
        if isinstance(device, str):
            torch.empty(0, device=device)
            return
    except (RuntimeError, AssertionError):  # unknown name, or no such device here
        pass
    raise SpecError("device", device, '"cpu", or a device that torch has on this machine such as "cuda"')


def measure_networks(
    spec: Spec,
    indices: tuple[int, ...],
    seed: int,
    dtype: str,
    device: str,
    progress: Callable[[int, int], Any] | None = None,
    on_layer: Callable[[int, int], Any] | None = None,
) -> dict[str, Array]:
    """The statistics of these networks, each (networks, L). ``progress(done, total)`` is called after each one,
    ``on_layer(done, total)`` between the layers of each."""
    check_dtype(dtype)
    check_index("seed", seed)
    _check_device(device)
    for name, callback in (("progress", progress), ("on_layer", on_layer)):
        if callback is not None and not callable(callback):
            raise SpecError(name, callback, "None or a function of (done, total)")
    rows: dict[str, list[Array]] = {name: [] for name in (*LOGS, *SHARES)}
    for done, index in enumerate(indices, start=1):
        steps = Steps(on_layer, _Sweep.PASSES * spec.depth)
        with one_intra_op_thread(None if on_layer is None else steps.beat):
            sweep = _Sweep(spec, seed, index, dtype, device, steps)
        for name, values in sweep.rows.items():
            rows[name].append(values)
        if progress is not None:
            progress(done, len(indices))
    return {name: np.array(values) for name, values in rows.items()}


__all__ = ["DTYPES", "LOGS", "SHARES", "measure_networks", "network_indices", "one_intra_op_thread"]
