"""What the machine has left: memory, also inside a container that allows less than the machine holds."""

from __future__ import annotations

import math
from pathlib import Path

GROUP = Path("/sys/fs/cgroup")  # (limit, use) of control groups, version 2 and 1
LIMITS = (
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)


def available_memory() -> float:
    """Bytes that can be taken now: Linux's MemAvailable, or what the control group leaves; inf where neither is told.

    Pages of files that the group would give back on demand count as free.
    """
    return min(_machine(), _group())


def _machine() -> float:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return math.inf
    kilobytes = {name: rest.split()[0] for name, _, rest in (line.partition(":") for line in lines) if rest.split()}
    return 1024.0 * float(kilobytes.get("MemAvailable", math.inf))


def _group() -> float:
    for limit, use, stat in LIMITS:
        try:
            words = dict(line.split() for line in (GROUP / stat).read_text().splitlines())
            allowed, used = (GROUP / limit).read_text().strip(), float((GROUP / use).read_text())
        except (OSError, ValueError):
            continue
        files = float(words.get("inactive_file", words.get("total_inactive_file", 0)))
        return math.inf if allowed == "max" else max(float(allowed) - used + files, 0.0)
    return math.inf
