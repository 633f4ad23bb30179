"""``python -m benchmarks.analytic``: what predictions cost on one core: moments, deep profiles, the import.

Figures are comparable only within one run of one machine.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

import gradcore as gc
from gradcore.activations import ACTIVATIONS, negative_slope_of
from gradcore.theory.gaussian import moments_of

ONE_CORE = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def median_time(function: Callable[[], object], repeats: int = 5) -> float:
    """Median seconds of ``repeats`` calls after one warm-up."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def moments() -> list[tuple[str, str, str, str]]:
    """All moments of one q, vectorised over 4,000 q from 1e-12 to 1e12; and one scalar step of the q-map."""
    log_q = np.log(10.0) * np.linspace(-12, 12, 4000)
    vector, scalar = {}, {}
    for code in ACTIVATIONS:
        m = moments_of(code, negative_slope_of(code, None))
        moved = iter(log_q + 1e-9 * k for k in range(100))  # the same q twice would be remembered
        vector[code] = median_time(lambda m=m, moved=moved: m.at(next(moved))) / log_q.size
        few = log_q[::40].tolist()
        scalar[code] = median_time(lambda m=m, few=few: [m.log_second(q) for q in few]) / len(few)
    worst_v, worst_s = max(vector, key=lambda code: vector[code]), max(scalar, key=lambda code: scalar[code])
    return [
        ("all moments, us per q, vectorised", f"{vector[worst_v] * 1e6:.2f}", f"worst: {worst_v}", "<= 8"),
        ("q-map step, us, scalar", f"{scalar[worst_s] * 1e6:.2f}", f"worst: {worst_s}", "-"),
    ]


def deep(code: str) -> gc.Spec:
    """1,000 layers of this activation at its own critical gain (1 where it has none), correlated samples, biases."""
    try:
        gain = float(gc.critical_gain(code))
    except gc.SpecError:
        gain = 1.0
    return gc.Spec(
        depth=1000, width=4096, activation=code, init="lecun_normal", gain=gain, bias_std=0.1, input_correlation=0.3
    )


def profiles() -> list[tuple[str, str, str, str]]:
    """Depth-1000 profiles of every activation: alone, with the batch's correlation, with the expansion's band too
    (warm tables, a gain of its own for every run; the first run of all, with empty tables, beside them)."""

    def plain(spec: gc.Spec) -> object:
        p = gc.predict(spec)
        return p.log_g, p.log_dw, p.log_db, p.chi, p.chi_parallel

    def whole(spec: gc.Spec) -> object:
        p = gc.predict(spec)
        return p.correlation, [p.expansion.band(name, 0.95) for name in ("log_q", "log_g", "log_dw", "log_db")]

    specs = {code: deep(code) for code in ACTIVATIONS}
    first = {}
    for code, spec in specs.items():
        start = time.perf_counter()
        whole(spec)
        first[code] = time.perf_counter() - start

    def several(work: Callable[[gc.Spec], object], spec: gc.Spec) -> float:
        others = iter(spec.replace(gain=float(spec.gain) * (1.0 + 1e-5 * k)) for k in range(100))
        return median_time(lambda: work(next(others)), 5)

    alone = {code: several(plain, spec) for code, spec in specs.items()}
    full = {code: several(whole, spec) for code, spec in specs.items()}
    rows = []
    for name, times, limit in (
        ("depth-1000 profile, ms", alone, "<= 50"),
        ("... with correlation and band, ms", full, "<= 50"),
        ("... the same, tables empty, ms", first, "-"),
    ):
        for code in ("relu", "tanh", "gelu", "hardtanh"):
            rows.append((name, f"{times[code] * 1e3:.1f}", code, limit))
        worst = max(times, key=lambda code: times[code])
        rows.append((name, f"{times[worst] * 1e3:.1f}", f"worst: {worst}", limit))
    return rows


def imports() -> list[tuple[str, str, str, str]]:
    """``import gradcore`` against a bare ``import numpy``, each in a fresh process, interpreter start taken off."""

    def seconds(code: str) -> float:
        return median_time(lambda: subprocess.run([sys.executable, "-c", code], check=True), 7)

    bare, numpy, ours = (seconds(code) for code in ("pass", "import numpy", "import gradcore"))
    ratio = (ours - bare) / (numpy - bare)
    return [("import gradcore / import numpy", f"{ratio:.2f}", f"{(ours - bare) * 1e3:.0f} ms", "<= 3")]


def main() -> int:
    """Print the table; exit status 1 if a stated limit was missed. NumPy reads the thread count when it is loaded, so
    the process starts itself once more with one thread where that was not set."""
    if any(os.environ.get(name) != "1" for name in ONE_CORE):
        command = [sys.executable, "-m", "benchmarks.analytic"]
        return subprocess.call(command, env={**os.environ, **dict.fromkeys(ONE_CORE, "1")})
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, {platform.machine()}, one core")
    missed = 0
    print(f"{'what':<46} {'median':>9} {'limit':>7}  note")
    for benchmark in (moments, profiles, imports):
        for what, value, note, limit in benchmark():
            over = limit.startswith("<=") and float(value) > float(limit[2:])
            missed += over
            print(f"{what:<46} {value:>9} {limit:>7}  {note}{'  MISSED' if over else ''}")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
