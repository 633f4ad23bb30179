"""``python -m benchmarks``: every claim of speed beside its baseline, each table in a process of its own.

Figures are comparable only within one run of one machine; ratios are what counts. Not among them, because they take
long or need a browser: ``python -m benchmarks.pages`` (the explorer beside an empty Streamlit app) and
``python -m benchmarks.coverage`` (how often the bands hold). ``python -m benchmarks.peer`` makes an environment first.
"""

from __future__ import annotations

import os
import subprocess
import sys

TABLES = {
    "analytic": "Predictions, one core",
    "maps": "Maps over networks, one core, nothing cached",
    "measuring": "Dense measurement beside plain torch, a matmul loop and the floor, float32",
    "exact": "Matrix-free measurement beside a matmul loop, float32",
    "growth": "Growth with depth, width, batch and networks, float32",
}


def main() -> int:
    """Print all tables; exit status 1 if a stated limit was missed."""
    missed = 0
    for module, title in TABLES.items():
        print(f"\n{title} (python -m benchmarks.{module}; load {os.getloadavg()[0]:.1f})", flush=True)
        missed += subprocess.call([sys.executable, "-m", f"benchmarks.{module}"])
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
