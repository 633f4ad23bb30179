"""The predicted band on the Explore page, where it has to be sampled."""

from __future__ import annotations

import pytest

from app import runner
from tests.app.pages import small_app

SAMPLED = "Dashed: 90% of networks, sampled from their predicted law."


def test_a_sampled_band_arrives_after_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "AUTO_SAMPLE", 3e8)
    page = small_app(norm="layer", depth="4")
    assert not page.exception
    assert any(SAMPLED in caption.value for caption in page.caption)


def test_a_band_that_is_too_dear_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "AUTO_SAMPLE", 10.0)
    page = small_app(norm="layer", depth="4", width="17")
    assert not page.exception
    assert not any("Dashed" in caption.value for caption in page.caption)


def test_an_expansion_needs_no_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "sample_band", lambda profile: pytest.fail("sampled"))
    monkeypatch.setattr(runner, "AUTO_SAMPLE", 3e8)
    page = small_app()
    assert any("Dashed: 90% of networks, predicted." in caption.value for caption in page.caption)
