"""Small samples for tests that ask every Spec for its band, not how well it covers (tests/test_coverage.py does)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gradcore.theory import sampler

SMALL = {"FEWEST": 3, "MOST": 3, "MOST_WORK": 1e7}  # of gradcore.theory.sampler


@pytest.fixture(scope="module", autouse=True)
def small_samples() -> Iterator[None]:
    """Three networks a sample; a Spec of which even these are dear has no band. Import it into a test module."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL.items():
            patch.setattr(sampler, name, value)
        yield
