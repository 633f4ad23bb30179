"""Measuring dense networks: real weight matrices, rescaled backward passes, on each core one network or a group of
narrow ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gradcore.errors import SpecError
from gradcore.measure import memory, pool
from gradcore.measure.ledger import LOGS, SHARES
from gradcore.measure.network import DTYPES, check_dtype, check_index, check_supported
from gradcore.measure.statistics import log_mean_square
from gradcore.measure.sweep import PASSES, Machine
from gradcore.measure.turns import one_intra_op_thread

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray


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
    ``on_layer(done, total)`` between the layers of each. Raises UnsupportedError where memory does not suffice."""
    check_dtype(dtype)
    check_index("seed", seed)
    _check_device(device)
    check_supported(spec)
    for name, callback in (("progress", progress), ("on_layer", on_layer)):
        if callback is not None and not callable(callback):
            raise SpecError(name, callback, "None or a function of (done, total)")
    plan = memory.plan(spec, len(indices), dtype, device)
    groups = [indices[k : k + plan.group] for k in range(0, len(indices), plan.group)]

    def worker() -> pool.Work:
        machine = Machine(spec, plan.group, dtype, device, plan.keep)
        return lambda networks, steps: machine.run(seed, networks, steps)

    total = PASSES * spec.depth
    teller = pool.Teller(len(indices), total, progress, on_layer)
    rows = pool.run(groups, worker, min(plan.threads, len(groups)), teller, total)
    return {name: np.concatenate([row[name] for row in rows]) for name in (*LOGS, *SHARES)}


__all__ = [
    "DTYPES",
    "LOGS",
    "SHARES",
    "log_mean_square",
    "measure_networks",
    "network_indices",
    "one_intra_op_thread",
]
