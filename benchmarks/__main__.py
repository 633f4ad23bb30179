"""``python -m benchmarks``: run every benchmark and print one table (medians of repeated runs, one core).

Figures are comparable only within one run of one machine; ratios are what counts. ``python -m benchmarks.pages`` times
the explorer's pages in a browser, beside an empty Streamlit app.
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
        vector[code] = median_time(lambda m=m: m.at(log_q)) / log_q.size
        few = log_q[::40].tolist()
        scalar[code] = median_time(lambda m=m, few=few: [m.log_second(q) for q in few]) / len(few)
    worst_v, worst_s = max(vector, key=vector.get), max(scalar, key=scalar.get)
    return [
        ("all moments, us per q, vectorised", f"{vector[worst_v] * 1e6:.2f}", f"worst: {worst_v}", "<= 8"),
        ("q-map step, us, scalar", f"{scalar[worst_s] * 1e6:.2f}", f"worst: {worst_s}", "-"),
    ]


def profiles() -> list[tuple[str, str, str, str]]:
    """Depth-1000 profiles, with and without the batch's correlation (fresh Profile objects, warm tables)."""
    rows = []
    for code, gain in (("relu", 2**0.5), ("tanh", 5 / 3), ("tanh", 1.0), ("gelu", 1.5)):
        spec = gc.Spec(depth=1000, activation=code, gain=gain, input_correlation=0.3)

        def plain(spec: gc.Spec = spec) -> object:
            p = gc.predict(spec)
            return p.log_g, p.log_dw, p.log_db, p.chi, p.chi_parallel

        def paired(spec: gc.Spec = spec) -> object:
            p = gc.predict(spec)
            return p.log_g, p.log_dw, p.correlation

        name = f"{code}, gain {gain:.3g}"
        rows.append(("depth-1000 profile, ms", f"{median_time(plain) * 1e3:.1f}", name, "<= 50"))
        rows.append(("... with batch correlation, ms", f"{median_time(paired, 3) * 1e3:.1f}", name, "<= 300"))
    return rows


def imports() -> list[tuple[str, str, str, str]]:
    """``import gradcore`` against a bare ``import numpy``, each in a fresh process, interpreter start taken off."""

    def seconds(code: str) -> float:
        return median_time(lambda: subprocess.run([sys.executable, "-c", code], check=True), 7)

    bare, numpy, ours = (seconds(code) for code in ("pass", "import numpy", "import gradcore"))
    ratio = (ours - bare) / (numpy - bare)
    return [("import gradcore / import numpy", f"{ratio:.2f}", f"{(ours - bare) * 1e3:.0f} ms", "<= 3")]


def measuring() -> list[tuple[str, str, str, str]]:
    """Dense measurement of the default Spec, per network, beside one plain autograd pass of the same networks."""
    spec = gc.Spec(depth=50, width=256)
    gc.measure(spec, networks=1)
    from gradcore.measure.plain import plain_run

    full = median_time(lambda: gc.measure(spec, networks=4), 3) / 4
    plain = median_time(lambda: plain_run(spec, (0, 1, 2, 3), 0, "float64"), 3) / 4
    return [
        ("measure, ms per network (50 x 256, B = 16)", f"{full * 1e3:.1f}", "all statistics", "-"),
        ("plain autograd pass, ms per network", f"{plain * 1e3:.1f}", f"ratio {full / plain:.2f}", "-"),
    ]


def main() -> int:
    """Print the table; exit status 1 if a stated limit was missed. NumPy reads the thread count when it is loaded, so
    the process starts itself once more with one thread where that was not set."""
    if any(os.environ.get(name) != "1" for name in ONE_CORE):
        return subprocess.call([sys.executable, "-m", "benchmarks"], env={**os.environ, **dict.fromkeys(ONE_CORE, "1")})
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, {platform.machine()}, one core")
    missed = 0
    print(f"{'what':<46} {'median':>9} {'limit':>7}  note")
    for benchmark in (moments, profiles, imports, measuring):
        for what, value, note, limit in benchmark():
            over = limit.startswith("<=") and float(value) > float(limit[2:])
            missed += over
            print(f"{what:<46} {value:>9} {limit:>7}  {note}{'  MISSED' if over else ''}")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
