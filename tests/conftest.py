"""For every test: one thread for each of the two processes that the suite runs on, and the same examples each time."""

from __future__ import annotations

import os

from hypothesis.internal.conjecture import providers

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # before NumPy is loaded
    os.environ.setdefault(name, "1")

# Hypothesis also draws the constants of whatever local modules are loaded by then, so that a test's examples, though
# derandomized, depend on which tests ran before it in its process. tests/search.py draws them.
providers._get_local_constants = lambda: providers._local_constants
