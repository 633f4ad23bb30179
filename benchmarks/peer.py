"""``python -m benchmarks.peer``: the infinite-width law of a batch beside neural-tangents, in one run.

neural-tangents needs older versions of JAX than this project would want, so it gets an environment of its own: made in
a temporary folder by pip, or given as ``--python``. Both compute the second moments and the pair correlations of 16
samples at every depth asked for; neural-tangents also its tangent kernel, gradcore also the gradients of every layer.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import gradcore as gc

PACKAGES = ("jax==0.5.3", "jaxlib==0.5.3", "tf2jax==0.3.6", "neural-tangents")
CASES = (("relu", 100), ("erf", 100), ("relu", 1000), ("erf", 1000))
BATCH, INPUTS, REPEATS = 16, 64, 5
THEIRS = """
import json, statistics, sys, time
import jax
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")
import jax.numpy as jnp
from neural_tangents import stax
batch, inputs, repeats, cases = json.loads(sys.argv[1])
x = jax.random.normal(jax.random.PRNGKey(0), (batch, inputs), dtype=jnp.float64)
found = []
for activation, depth in cases:
    phi = {"relu": stax.Relu, "erf": stax.Erf}[activation]
    layers = [stax.Dense(256, W_std=2**0.5, b_std=0.1)]
    for _ in range(depth - 1):
        layers += [phi(), stax.Dense(256, W_std=2**0.5, b_std=0.1)]
    kernel = jax.jit(lambda x, fn=stax.serial(*layers)[2]: fn(x, None, ("nngp", "ntk")))
    def run():
        start = time.perf_counter()
        jax.block_until_ready(kernel(x))
        return time.perf_counter() - start
    first = run()
    found.append((first, statistics.median(run() for _ in range(repeats)), float(kernel(x).nngp[0, 0])))
print(json.dumps(found))
"""


def environment(folder: Path) -> str:
    """The interpreter of a fresh environment with neural-tangents."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
    return python


def ours(activation: str, depth: int) -> tuple[float, float]:
    """Seconds of the first prediction in this process, and the median of further ones."""
    spec = gc.Spec(
        depth=depth, activation=activation, init="lecun_normal", gain=2**0.5, bias_std=0.1, input_correlation=0.1
    )

    def run() -> float:
        start = time.perf_counter()
        profile = gc.predict(spec)
        _ = profile.log_q, profile.correlation, profile.log_g, profile.log_dw, profile.log_db
        return time.perf_counter() - start

    return run(), statistics.median(run() for _ in range(REPEATS))


def table(python: str, show: Callable[[str], object] = print) -> None:
    """Print both sides of every case."""
    question = json.dumps([BATCH, INPUTS, REPEATS, CASES])
    done = subprocess.run([python, "-c", THEIRS, question], capture_output=True, text=True, check=True)
    show(f"{'':<18} {'gradcore first':>15} {'again':>9} {'neural-tangents first':>22} {'again':>9}   ratio, again")
    for (activation, depth), (first, again, _) in zip(CASES, json.loads(done.stdout), strict=True):
        own_first, own_again = ours(activation, depth)
        show(
            f"{activation + ', depth ' + str(depth):<18} {own_first * 1e3:>12.1f} ms {own_again * 1e3:>6.1f} ms "
            f"{first * 1e3:>19.0f} ms {again * 1e3:>6.1f} ms   {again / own_again:.2f}"
        )


def main() -> int:
    """Make or take the environment, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peer", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", help="interpreter of an environment that has neural-tangents")
    given = parser.parse_args().python
    if given:
        table(given)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        table(environment(Path(folder)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
