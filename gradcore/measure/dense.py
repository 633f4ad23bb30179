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
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gradcore.errors import SpecError
from gradcore.measure.blocks import Layer, Pulled
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
        self.layers = self._forward()
        self._backward(draw_cotangent(spec, self.layers[-1].z, seed, network, dtype))

    def _forward(self) -> list[Layer]:
        layers: list[Layer] = []
        signals: list[Tensor] = []
        with torch.no_grad():
            for index in range(self.spec.depth):
                layer = self.model.layer(index, self.inputs, signals)
                layers.append(layer)
                signals = [*signals[-1:], layer.z]
                self.rows["log_q"][index] = log_mean_square(layer.z)
                self.rows["log_p"][index] = log_mean_square(layer.x)
                self.rows["correlation"][index] = _correlation(layer.z)
                self.steps.next()
        for index, layer in enumerate(layers):
            self._slopes(index, layer.seen)
            self.steps.next()
        return layers

    def _slopes(self, index: int, z: Tensor) -> None:
        """Shares of saturated entries and of units that are dead on the whole batch, as the activation sees z."""
        activation, y = make_activation(self.spec).to(z), z
        normed = self.spec.norm != "none" and not self.model.norm_after and not self.model.inner[index]
        if normed:
            norm = make_norm(self.spec, z.shape[1])
            assert norm is not None
            with torch.no_grad():
                y = norm.to(z).train()(z)
        y = y.detach().requires_grad_(True)
        slope = torch.autograd.grad(activation(y).sum(), y)[0].abs()
        self.rows["saturated"][index] = float((slope < self.small).double().mean())
        self.rows["dead"][index] = float((slope == 0).all(dim=0).double().mean())

    def _backward(self, delta: Tensor) -> None:
        scale, held = 0.0, None
        for index in range(self.spec.depth - 1, -1, -1):
            size = own = log_mean_square(delta)
            if held is not None:  # one scale for all that crosses this layer
                size = max(size, log_mean_square(held))
            if math.isfinite(size):
                delta = delta / math.exp(0.5 * size)
                held = None if held is None else held / math.exp(0.5 * size)
                scale += size
                own -= size
            elif math.isnan(size) or size > 0:
                return  # the forward pass broke: nothing below is a number
            self.rows["log_g"][index] = -math.inf if size == -math.inf else scale + own
            if index:
                pulled = self.model.block.pull(self.model, index, self.layers, delta, held)
            else:
                pulled = Pulled(delta, 1.0, delta)
            self._parameters(index, pulled, scale)
            delta, held = pulled.delta, pulled.held
            self.steps.next()

    def _parameters(self, index: int, pulled: Pulled, scale: float) -> None:
        """Mean squares of the gradients of W and b, whose cotangent is exp(scale / 2) * pulled.scale * pulled.sent."""
        sent, x = pulled.sent, self.layers[index].x
        mean = scale + 2.0 * (math.log(abs(pulled.scale)) if pulled.scale else -math.inf)
        mean -= 2.0 * math.log(self.spec.batch_size)
        dead = not bool(sent.any())
        gram = -math.inf if dead else _log_gram(sent, x)
        self.rows["log_dw"][index] = mean + gram - math.log(float(sent.shape[1]) * x.shape[1])
        self.rows["log_db"][index] = -math.inf if dead else mean + log_mean_square(sent.sum(dim=0))


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
