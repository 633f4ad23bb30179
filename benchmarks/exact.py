"""The matrix-free sampler beside a plain matmul loop, and one very large network: seconds, ratios, memory.

Both sides run in float32 on torch's default threads; figures are medians of alternating pairs in one process. The loop
is ``baseline.matmul_loop``: it draws each weight matrix and multiplies, forwards and backwards, without any statistics.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import gradcore as gc
from benchmarks import baseline

PAIRS = 7
CASES = ((50, 400, 16, 4.0, 32), (20, 4096, 16, 80.0, 8))  # depth, width, batch, least ratio, networks per call
HUGE = {"depth": 1000, "width": 65536, "batch_size": 8, "init": "kaiming_normal"}
MOST_SECONDS, MOST_GIB = 90.0, 8.0
ONE_HUGE = """
import time, gradcore as gc
from gradcore.measure.exact import memory
spec = gc.Spec(**{fields})
gc.measure(spec.replace(depth=2, width=64), networks=1, sampler="exact", dtype="float32")
start = time.perf_counter()
gc.measure(spec, networks=1, sampler="exact", dtype="float32")
seconds = time.perf_counter() - start
status = open("/proc/self/status").read()
print(seconds, int(status.split("VmHWM:")[1].split()[0]) / 2**20, memory(spec, "float32") / 2**30)
"""


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def ratios(depth: int, width: int, batch: int, networks: int, pairs: int = PAIRS) -> tuple[float, float, list[float]]:
    """(median seconds of the loop, median seconds per network of the sampler, the ratio of each pair, sorted)."""
    spec = gc.Spec(depth=depth, width=width, batch_size=batch, init="kaiming_normal")

    def exact() -> object:
        return gc.measure(spec, networks=networks, sampler="exact", dtype="float32")

    def loop() -> object:
        return baseline.matmul_loop(spec, 1)

    loop()
    exact()
    loops, ours = [], []
    for _ in range(pairs):
        loops.append(_seconds(loop))
        ours.append(_seconds(exact) / networks)
    each = sorted(a / b for a, b in zip(loops, ours, strict=True))
    return statistics.median(loops), statistics.median(ours), each


def against_matmul() -> list[tuple[str, str, str, str]]:
    """Rows of the table of ``python -m benchmarks``: how many times faster than the loop, with the spread."""
    rows = []
    for depth, width, batch, least, networks in CASES:
        loop, ours, each = ratios(depth, width, batch, networks)
        note = f"{ours * 1e3:.1f} ms a network, loop {loop * 1e3:.0f} ms; pairs {each[0]:.1f} to {each[-1]:.1f}"
        ratio = statistics.median(each)
        rows.append((f"exact {depth} x {width}, B = {batch} / matmul loop", f"{ratio:.1f}", note, f">= {least:g}"))
    return rows


def huge() -> list[tuple[str, str, str, str]]:
    """One network of width 65,536, depth 1,000, batch 8 in a fresh process: seconds and peak memory."""
    command = [sys.executable, "-c", ONE_HUGE.replace("{fields}", repr(HUGE))]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=True)
    seconds, peak, stated = map(float, done.stdout.split())
    return [
        ("exact 1000 x 65,536, B = 8, seconds", f"{seconds:.1f}", "forward and backward", f"<= {MOST_SECONDS:g}"),
        ("... peak memory of the process, GiB", f"{peak:.2f}", f"stated {stated:.2f}", f"<= {MOST_GIB:g}"),
    ]


def main() -> int:
    """Print the table; exit status 1 if a claim was missed."""
    missed = 0
    for what, value, note, claim in (*against_matmul(), *huge()):
        sign, limit = claim.split()
        over = float(value) > float(limit) if sign == "<=" else float(value) < float(limit)
        missed += over
        print(f"{what:<46} {value:>9} {claim:>8}  {note}{'  MISSED' if over else ''}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
