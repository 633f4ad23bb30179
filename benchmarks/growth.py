"""``python -m benchmarks.growth``: how the time of a measurement grows with depth, width, batch and networks.

Each size is made 2, 4 and 8 times as large from a common base on; the slope of ln seconds over ln size is that of its
last doubling: constant costs have lost their weight there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import gradcore as gc
from benchmarks import baseline
from benchmarks.measuring import seconds

BASE = {"depth": 25, "width": 256, "batch_size": 32, "networks": 8}
FACTORS = (1, 2, 4, 8)
REPEATS = 3
Row = dict[str, Any]


def growth() -> list[Row]:
    """Least seconds of several runs at 1, 2, 4 and 8 times each size."""
    rows: list[Row] = []
    engines: dict[str, Callable[[gc.Spec, int], object]] = {
        "dense": lambda spec, networks: gc.measure(spec, networks=networks, dtype="float32"),
        "matrix-free": lambda spec, networks: gc.measure(spec, networks=networks, dtype="float32", sampler="exact"),
        "matmul loop": lambda spec, networks: baseline.matmul_loop(spec, networks),
    }
    for name in BASE:
        for factor in FACTORS:
            fields = dict(BASE, **{name: factor * BASE[name]})
            networks = fields.pop("networks")
            spec = gc.Spec(activation="tanh", init="lecun_normal").replace(**fields)
            for engine, run in engines.items():
                run(spec, networks)
                taken = min(seconds(lambda: run(spec, networks)) for _ in range(REPEATS))  # noqa: B023
                rows.append({"what": name.replace("_", " "), "factor": factor, "seconds": taken, "engine": engine})
    return rows


def show(rows: list[Row]) -> None:
    """Print the seconds at every size, and the slopes."""
    print(f"{'':<28} {'seconds at 1, 2, 4, 8 times the base':<40} slope")
    for what, engine in dict.fromkeys((row["what"], row["engine"]) for row in rows):
        taken = [row["seconds"] for row in rows if (row["what"], row["engine"]) == (what, engine)]
        slope = math.log(taken[-1] / taken[-2]) / math.log(FACTORS[-1] / FACTORS[-2])
        print(f"{what + ', ' + engine:<28} {' '.join(f'{one:8.4f}' for one in taken):<40} {slope:.2f}")


def main() -> int:
    """Measure and print."""
    show(growth())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
