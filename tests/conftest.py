"""How the suite is spread over two processes: one test file, or all tests with a browser, stays in one of them."""

from __future__ import annotations

import os

import pytest

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # before NumPy is loaded: two processes on two cores
    os.environ.setdefault(name, "1")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files keep what their fixtures made; two browsers at once would each see a slower page than users do."""
    for item in items:
        if item.get_closest_marker("slow"):
            continue  # each of them is long: any process takes the next
        group = "browser" if item.get_closest_marker("browser") else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
