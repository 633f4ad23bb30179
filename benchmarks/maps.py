"""``python -m benchmarks.maps``: what a map of 100 x 100 networks of depth 100 and a correlation map cost.

One core, nothing cached (moment tables and quadrature rules are made anew each time), CPU time: the wall clock would
show what else the machine does. The best of several runs, because everything else only adds to it.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

import gradcore as gc
from benchmarks.analytic import ONE_CORE
from gradcore.activations import ACTIVATIONS
from gradcore.theory import (
    critical_line,
    fixed_points,
    gaussian,
    hermite_pairs,
    moment_table,
    pair_table,
    spline_pairs,
    wide_pairs,
)

SIDE, DEPTH = 100, 100
MAP_LIMIT, CORRELATION_LIMIT = 0.1, 0.01  # seconds
CACHES = (
    gaussian.moments_of,
    moment_table.table_of,
    fixed_points.variance_fixed_points,
    critical_line._line,
    hermite_pairs.smooth_grid,
    hermite_pairs.kinked_grid,
    spline_pairs.spline_pairs,
    spline_pairs._pieces,
    spline_pairs._integration,
    pair_table.pair_table,
    wide_pairs._grid,
)
# the correlation map of activations with kinks is integrated pair by pair, and has no limit
SMOOTH = [code for code, entry in ACTIVATIONS.items() if not entry.kinks or entry.homogeneous]


def best_cold(function: Callable[[], object], repeats: int = 5) -> float:
    """Least CPU seconds of several calls, caches emptied before each."""
    times = []
    for _ in range(repeats):
        for cached in CACHES:
            cached.cache_clear()
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def network(code: str) -> gc.Spec:
    """A network of this activation near the middle of the maps."""
    return gc.Spec(activation=code, depth=DEPTH, init="lecun_normal", gain=1.5, bias_std=0.1)


def the_map(code: str, of: str) -> gc.PhaseMap:
    """sigma_w by sigma_b, 100 x 100 networks of depth 100."""
    axes = (("sigma_w", np.linspace(0.04, 4.0, SIDE)), ("sigma_b", np.linspace(0.0, 2.0, SIDE)))
    return gc.phase_map(network(code), *axes, of=of)


def maps() -> list[tuple[str, float, float | None]]:
    """(what, seconds, limit) of ln g_1 and chi for every activation, and one prediction a cell beside them."""
    rows: list[tuple[str, float, float | None]] = []
    for of in ("log_g_1", "chi_last"):
        times = {code: best_cold(lambda code=code, of=of: the_map(code, of)) for code in ACTIVATIONS}
        worst = max(times, key=lambda code: times[code])
        rows.append((f"{SIDE} x {SIDE} x {DEPTH} layers, {of}, tanh", times["tanh"], MAP_LIMIT))
        rows.append((f"... the slowest activation, {worst}", times[worst], MAP_LIMIT))
    drawn = the_map("tanh", "log_g_1")
    cells = [drawn.cell(j, i) for j, i in ((10, 20), (50, 50), (90, 80), (30, 95))]
    single = best_cold(lambda: [gc.predict(cell).log_g for cell in cells]) / len(cells)
    rows.append((f"{SIDE * SIDE} times predict, tanh (from {len(cells)})", single * SIDE * SIDE, None))
    return rows


def correlations() -> list[tuple[str, float, float | None]]:
    """The correlation map with 7 paths through 100 layers."""
    times = {
        code: best_cold(lambda code=code: gc.correlation_map(code, 1.3, 0.2, depth=DEPTH))
        for code in sorted(ACTIVATIONS)
        if gc.fixed_points(code, 1.3, 0.2)
    }
    smooth = max((code for code in times if code in SMOOTH), key=lambda code: times[code])
    worst = max(times, key=lambda code: times[code])
    return [
        ("correlation map, depth 100, tanh", times["tanh"], CORRELATION_LIMIT),
        (f"... the slowest smooth activation, {smooth}", times[smooth], CORRELATION_LIMIT),
        (f"... the slowest of all, {worst}", times[worst], None),
    ]


def main() -> int:
    """Print the table; exit status 1 if a stated limit was missed. Starts itself once more with one thread."""
    if any(os.environ.get(name) != "1" for name in ONE_CORE):
        command = [sys.executable, "-m", "benchmarks.maps"]
        return subprocess.call(command, env={**os.environ, **dict.fromkeys(ONE_CORE, "1")})
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, {platform.machine()}, one core, CPU time")
    gc.fixed_points("tanh", 1.0)  # imports SciPy
    missed = 0
    for what, seconds, limit in (*maps(), *correlations()):
        over = limit is not None and seconds > limit
        missed += over
        bound = "" if limit is None else f"<= {limit * 1e3:.0f} ms"
        print(f"{what:<60} {seconds * 1e3:>10.1f} ms  {bound}{'  MISSED' if over else ''}")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
