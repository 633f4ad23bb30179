"""Measuring dense networks: real weight matrices, rescaled backward passes, on each core one network or a group of
narrow ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.measure import memory, pool
from gradcore.measure.arguments import check_arguments
from gradcore.measure.ledger import LOGS, SHARES
from gradcore.measure.network import check_supported
from gradcore.measure.sweep import PASSES, Machine

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray


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
    check_arguments(dtype, seed, device, progress, on_layer)
    check_supported(spec)
    plan = memory.plan(spec, len(indices), dtype, device)
    groups = [indices[k : k + plan.group] for k in range(0, len(indices), plan.group)]

    def worker() -> pool.Work:
        machine = Machine(spec, plan.group, dtype, device, plan.keep)
        return lambda networks, steps: machine.run(seed, networks, steps)

    total = PASSES * spec.depth
    teller = pool.Teller(len(indices), total, progress, on_layer)
    quick = memory.quick(spec, plan.group)
    rows = pool.run(groups, worker, min(plan.threads, len(groups)), teller, total, quick)
    return {name: np.concatenate([row[name] for row in rows]) for name in (*LOGS, *SHARES)}
