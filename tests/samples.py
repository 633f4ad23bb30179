"""Small samples for tests that ask every Spec for its band, not how well it covers (tests/test_coverage.py does)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gradcore.theory import sampler


@pytest.fixture(scope="module", autouse=True)
def small_samples() -> Iterator[None]:
    """Three networks a sample; a Spec of which even these are dear has no band. Import it into a test module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampler, "FEWEST", 3)
        patch.setattr(sampler, "MOST", 3)
        patch.setattr(sampler, "MOST_WORK", 1e7)
        yield
