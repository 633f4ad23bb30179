"""``python -m benchmarks.peer``: the infinite-width law of a batch beside neural-tangents, in one run.

neural-tangents needs older versions of JAX than this project would want, so it gets an environment of its own: made in
a temporary folder by pip, or given as ``--python``. Both compute the second moments and the pair correlations of 16
samples: neural-tangents at the output, with its tangent kernel; gradcore in every layer, with the gradients. Their
output's second moments are held against each other. Compiling takes the peer about as long as the square of the depth.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import gradcore as gc

PACKAGES = ("jax==0.5.3", "jaxlib==0.5.3", "tf2jax==0.3.6", "neural-tangents")
CASES = (("relu", 20), ("erf", 20), ("relu", 40), ("erf", 40))
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
    plain = stax.serial(*layers)[2]
    def run(kernel):
        start = time.perf_counter()
        out = jax.block_until_ready(kernel(x))
        return time.perf_counter() - start, float(out.nngp[0, 0])
    slow = lambda x: plain(x, None, ("nngp", "ntk"))
    kernel = jax.jit(slow)
    first, q = run(kernel)
    again = statistics.median(run(kernel)[0] for _ in range(repeats))
    run(slow)
    eager = statistics.median(run(slow)[0] for _ in range(repeats))
    found.append((first, again, eager, q, float((x[0] ** 2).mean())))
print(json.dumps(found))
"""


def environment(folder: Path) -> str:
    """The interpreter of a fresh environment with neural-tangents."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
    return python


def ours(activation: str, depth: int, q: float) -> tuple[float, float, float]:
    """Seconds of the first prediction in this process, the median of further ones, each of other inputs, and the
    output's second moment for inputs of second moment ``q``."""

    def run(q: float) -> tuple[float, float]:
        spec = gc.Spec(depth=depth, activation=activation, init="lecun_normal", gain=2**0.5, bias_std=0.1)
        spec = spec.replace(input_correlation=0.1, input_rms=math.sqrt(q))
        start = time.perf_counter()
        profile = gc.predict(spec)
        _ = profile.log_q, profile.correlation, profile.log_g, profile.log_dw, profile.log_db
        return time.perf_counter() - start, math.exp(profile.log_q[-1])

    first, moment = run(q)
    return first, statistics.median(run(q * (1.0 + 0.1 * k))[0] for k in range(1, REPEATS + 1)), moment


def table(python: str, show: Callable[[str], object] = print) -> None:
    """Print both sides of every case."""
    question = json.dumps([BATCH, INPUTS, REPEATS, CASES])
    done = subprocess.run([python, "-c", THEIRS, question], capture_output=True, text=True, check=True)
    heads = ("gradcore first", "again", "peer compiles", "again", "uncompiled")
    show(f"{'':<16} " + " ".join(f"{head:>{wide}}" for head, wide in zip(heads, (16, 9, 16, 9, 11), strict=True)))
    for (activation, depth), (first, again, eager, moment, q) in zip(CASES, json.loads(done.stdout), strict=True):
        own_first, own_again, own_moment = ours(activation, depth, q)
        show(
            f"{activation + ', depth ' + str(depth):<16} {own_first * 1e3:>13.1f} ms {own_again * 1e3:>6.1f} ms "
            f"{first:>14.1f} s {again * 1e3:>6.1f} ms {eager * 1e3:>8.0f} ms, "
            f"outputs differ by {abs(own_moment / moment - 1.0):.0e}"
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
