"""Memory of a dense measurement: an estimate before it runs, what is free, and what to do where it does not fit."""

from __future__ import annotations

import ctypes
import itertools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gradcore.errors import UnsupportedError
from gradcore.measure import turns
from gradcore.measure.statistics import LANES

if TYPE_CHECKING:
    from gradcore.spec import Spec

BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
FREE_SHARE = 0.8  # of the free memory that a measurement may take
ENTRIES = 2**16  # of a group's matrices and of its batches: both stay in a core's cache
MOST_IN_GROUP = 16
QUICK = 2**24  # normal draws in float64, some 0.3 s: what a group may take that is measured before larger ones
SIGNAL, LAYER = 4.0, 3e4  # the time of an entry of a signal and of a layer, in such draws
NARROWEST = 8  # units below which torch multiplies a batch of matrices by another rule than one of them


@dataclass(frozen=True)
class Plan:
    """How to measure: ``group`` networks at once on each of ``threads`` threads, their weights kept for the backward
    pass or (``keep`` false) drawn twice; ``bytes`` at the peak."""

    group: int
    threads: int
    keep: bool
    bytes: float


def memory(
    spec: Spec, networks: int = 32, dtype: str = "float64", threads: int | None = None, keep: bool = True
) -> float:
    """Peak bytes that measuring these networks takes beyond what the process has: estimated, not measured.

    Per network in progress (``threads``, default the cores, times the group that is batched): the weights of layers
    2..L (sum n_l n_(l-1) entries, with ``keep``) and one more matrix as drawn, the slopes of every layer (B n_l), Gram
    matrices (B^2) of the layers whose weight gradient they give, of the others their inputs (B n_(l-1)) and one
    gradient, and what passes within a layer (8 B max n). Within 30% of the peak where that is 50 MB or more; networks
    whose sums leave the range of the dtype keep all inputs.
    """
    threads = turns.CORES if threads is None else threads
    group = group_size(spec, networks, threads)
    return min(threads, -(-networks // group)) * group * _one_network(spec, dtype, keep)


def _one_network(spec: Spec, dtype: str, keep: bool, inputs: bool = False) -> float:
    size, drawn = BYTES[dtype], max(BYTES[dtype], 4)
    batch, widths, fans = spec.batch_size, spec.layer_widths.astype(float), spec.fan_ins.astype(float)
    weights = widths * fans
    few = batch * (widths + fans) < weights
    total = size * float(weights[1:].sum()) if keep else 0.0
    # kept float64 and float32 matrices are drawn where they stay, the first layer's beside them
    total += drawn * float(weights[:1].max() if keep and size == drawn else weights.max())
    total += float(weights.max()) * 4.0 if size < 4 else 0.0  # multiplied in float32
    held = fans.sum() if inputs else fans[~few].sum()
    total += size * batch * float(held + widths.sum()) + drawn * batch**2 * float(few.sum())
    if spec.norm != "none":
        total += size * batch * float(widths.sum())  # what the norm's own backward pass reads
    if not few.all():
        total += drawn * float(weights[~few].max())
    return total + 8.0 * drawn * batch * float(widths.max())


def group_size(spec: Spec, networks: int, threads: int) -> int:
    """How many networks are batched: several narrow ones, as many as leave work for every thread; else 1.

    Only where each has slices of whole LANES: then its numbers are the same bits alone and in any company.
    """
    batch, shapes = spec.batch_size, list(zip(spec.layer_widths.tolist(), spec.fan_ins.tolist(), strict=True))
    units = {n for shape in shapes for n in shape}
    aligned = all(batch * n % LANES == 0 for n in units) and all(n * m % LANES == 0 for n, m in set(shapes))
    if spec.norm != "none" or not aligned or min(units) < NARROWEST:
        return 1
    largest = max(max(n * m for n, m in shapes), batch * max(units))
    return max(1, min(MOST_IN_GROUP, ENTRIES // largest, -(-networks // threads)))


def quick(spec: Spec, group: int, weights: bool = True) -> bool:
    """Whether a group of so many networks is measured in some tenths of a second: by its matrices (where they are drawn
    at all), its signals and its layers, all counted in drawn numbers."""
    widths = spec.layer_widths.astype(float)
    drawn = float((widths * spec.fan_ins).sum()) if weights else 0.0
    return group * (drawn + SIGNAL * spec.batch_size * float(widths.sum()) + LAYER * spec.depth) <= QUICK


def plan(spec: Spec, networks: int, dtype: str, device: str) -> Plan:
    """How to measure these networks within the free memory: weights kept if they fit, on fewer threads if need be,
    else drawn twice. Raises UnsupportedError where no way fits."""
    cores = turns.CORES if device == "cpu" else 1
    batched = group_size(spec, networks, cores)
    most = min(cores, -(-networks // batched))
    free, needed = available(), 0.0
    sizes = sorted({batched, 1}, reverse=True)
    for keep, threads, group in itertools.product((True, False), range(most, 0, -1), sizes):
        needed = threads * group * _one_network(spec, dtype, keep, inputs=True)
        if device != "cpu" or free is None or needed <= FREE_SHARE * free:
            return Plan(group, threads, keep, needed)
    raise UnsupportedError(
        f"measuring this network, which takes {needed / 2**30:.3g} GiB,",
        f"{(free or 0.0) / 2**30:.3g} GiB are free here",
        'fewer samples, narrower layers, or sampler="exact", which forms no weight matrix',
    )


def available() -> float | None:
    """Bytes that the process can still take: what Linux says is available, and what its control group leaves; None
    where the system does not say."""
    bounds = [bound for bound in (_meminfo(), _control_group()) if bound is not None]
    return min(bounds) if bounds else None


def give_back() -> None:
    """Hand freed memory back to the system, where the C library can. Between tensors that stay, what is freed is
    otherwise kept, in one run of three half as much again as is in use."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def _meminfo() -> float | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return float(found[0]) * 1024.0 if found else None


# limit, use, and the statistics that say how much of the use is cached files, in control groups of version 2 and 1
GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat", "inactive_file"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
        "total_inactive_file",
    ),
)


def _control_group() -> float | None:
    for limit, used, statistics, name in GROUPS:
        try:
            most, now = Path(limit).read_text().strip(), float(Path(used).read_text())
            rows = dict(line.split() for line in Path(statistics).read_text().splitlines())
        except (OSError, ValueError):
            continue
        if most != "max":
            return max(0.0, float(most) - now + float(rows.get(name, 0)))
    return None
