"""Dense measuring beside its baselines: pairs that alternate in one process, medians of their ratios.

``claims`` is the table: what is measured, the baseline, the largest ratio of their times that is claimed.
Every comparison runs float32 on both sides. Plain torch runs with that number of intra-op threads, 1 or the cores,
which is quicker here and now: on a machine with other work its own default can be far slower.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

import gradcore as gc
from benchmarks import baseline

NETWORKS = 32
PAIRS = 7
WIDE = gc.Spec(depth=50, width=400, batch_size=64, activation="relu", gain=2**0.5)
NARROW = WIDE.replace(width=64)


@dataclass(frozen=True)
class Claim:
    """``ours`` takes at most ``most`` times as long as ``other``; ratios below 1 are shown as so many times faster."""

    what: str
    ours: Callable[[], object]
    other: Callable[[], object]
    most: float


@dataclass(frozen=True)
class Found:
    """Median seconds of both sides, the median ratio ours / other over pairs, and its quartiles."""

    claim: Claim
    ours: float
    other: float
    ratio: float
    quartiles: tuple[float, float]

    @property
    def holds(self) -> bool:
        """Whether the claim is met."""
        return self.ratio <= self.claim.most


def measured(spec: gc.Spec, networks: int = NETWORKS, dtype: str = "float32") -> Callable[[], object]:
    """All statistics of these networks by the dense engine."""
    return lambda: gc.measure(spec, networks=networks, dtype=dtype)


def plain(spec: gc.Spec, networks: int = NETWORKS, dtype: str = "float32") -> Callable[[], object]:
    """Plain torch with hooks, on one intra-op thread or as many as torch takes by itself, whichever is quicker on two
    networks."""
    default = torch.get_num_threads()

    def run(threads: int, count: int) -> float:
        torch.set_num_threads(threads)
        try:
            return seconds(lambda: baseline.plain_hooks(spec, count, dtype))
        finally:
            torch.set_num_threads(default)

    best = min({1, default}, key=lambda threads: run(threads, 2))
    return lambda: run(best, networks)


def claims(dtype: str = "float32") -> list[Claim]:
    """The table: baselines are made as they are read, since ``plain`` tries out its threads."""
    wide, narrow = (measured(spec, NETWORKS, dtype) for spec in (WIDE, NARROW))
    size = f"depth 50, batch 64, {NETWORKS} networks, {dtype}"
    return [
        Claim(f"width 400, {size}: plain torch with hooks", wide, plain(WIDE, NETWORKS, dtype), 1 / 3.0),
        Claim(f"width 400, {size}: floor", wide, lambda: baseline.floor(WIDE, NETWORKS, dtype), 1.3),
        Claim(f"width 400, {size}: matmul loop", wide, lambda: baseline.matmul_loop(WIDE, NETWORKS, dtype), 1.0),
        Claim(f"width 64, {size}: plain torch with hooks", narrow, plain(NARROW, NETWORKS, dtype), 1 / 4.5),
        Claim(f"width 64, {size}: floor", narrow, lambda: baseline.floor(NARROW, NETWORKS, dtype), 3.0),
    ]


def seconds(function: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def compare(claim: Claim, pairs: int = PAIRS) -> Found:
    """Alternate both sides after a warm-up of ours; which comes first changes from pair to pair."""
    claim.ours()
    times: list[tuple[float, float]] = []
    for k in range(pairs):
        if k % 2:
            other, ours = seconds(claim.other), seconds(claim.ours)
        else:
            ours, other = seconds(claim.ours), seconds(claim.other)
        times.append((ours, other))
    ratios = sorted(ours / other for ours, other in times)
    low, middle, high = statistics.quantiles(ratios, n=4) if pairs > 1 else ratios * 3
    ours, other = (statistics.median(column) for column in zip(*times, strict=True))
    return Found(claim, ours, other, middle, (low, high))


def main() -> int:
    """Print every comparison; exit status 1 if a claim was missed."""
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}")
    missed = 0
    for claim in claims():
        found = compare(claim)
        missed += not found.holds
        low, high = found.quartiles
        print(
            f"{claim.what:<72} {found.ours:7.3f} s {found.other:7.3f} s  ratio {found.ratio:.2f} ({low:.2f} to "
            f"{high:.2f}), {1 / found.ratio:.2f} times faster, claimed <= {claim.most:.2f}"
            f"{'' if found.holds else '  MISSED'}",
            flush=True,
        )
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
