"""The predicted 95% band covers 95% of real networks."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gradcore as gc
from benchmarks.coverage import QUANTITIES, STRATA, covered, strata, survey, total


@pytest.mark.slow
def test_random_specs_over_all_tables() -> None:
    """40 random Specs, 20 fresh networks each: 93% to 97% for signal, gradient and weight gradient. The layers of one
    network move together, so a Spec's share scatters by up to sqrt(0.95 x 0.05 / 20) = 4.9%, and by 2% more for the
    two ends of a band that 128 networks at least were sampled for; their mean by 0.8%. A stratum of k Specs may be
    off by four times that over sqrt(k)."""
    results = list(survey(40, 20, seed=1))
    known = [one for one in results if one.profile.band_source is not None]
    assert len(known) >= 36
    for name, share in total(known).items():
        assert 0.93 <= share <= 0.97, (name, share)
    for table, entry, count, shares in strata(known):
        limit = 4.0 * math.sqrt((0.95 * 0.05 / 20 + 2 * 0.025 * 0.975 / 128) / count)
        assert all(abs(share - 0.95) < limit for share in shares.values()), (table, entry, count, shares)
    sources = {one.profile.band_source for one in known}
    assert sources == {"expansion", "sampler"} and len(STRATA) == 7


def test_gelu_near_its_unstable_fixed_point() -> None:
    """sigma_w^2 = 1.9, sigma_b^2 = 0.05: the signal passes a slow bottleneck, where the expansion fails. It is flagged,
    and the sampled band covers."""
    spec = gc.Spec(
        activation="gelu", init="lecun_normal", gain=math.sqrt(1.9), bias_std=math.sqrt(0.05), width=128, depth=20
    )
    profile = gc.predict(spec)
    assert not profile.expansion_reliable and profile.band_source == "sampler"
    one = covered(spec, 300, seed=3)
    for name in QUANTITIES:
        assert 0.93 <= one.share[name] <= 0.97, one.share
    measured = gc.measure(spec, networks=300, seed=3)
    low, high = profile.expansion.band("log_dw", 0.95)
    assert np.mean((measured.log_dw >= low) & (measured.log_dw <= high)) < 0.93  # so the flag is needed


def test_what_cannot_be_covered_is_flagged() -> None:
    """Too deep to be sampled, and without an expansion: no band, and a note that says so."""
    spec = gc.Spec(depth=5000, width=512, norm="layer", batch_size=64)
    profile = gc.predict(spec)
    assert profile.band_source is None and profile.band("log_q") is None
    assert "no_band" in [note.message_id for note in profile.notes]
    assert np.isnan(list(covered(spec, 1, seed=0).share.values())).all()


def test_an_expansion_that_fails_is_flagged_where_nothing_replaces_it() -> None:
    spec = gc.Spec(depth=5000, width=2048, activation="tanh", init="lecun_normal", gain=1.5, batch_size=64)
    profile = gc.predict(spec)
    assert profile.band_source == "expansion" and not profile.expansion_reliable
    assert "band_unreliable" in [note.message_id for note in profile.notes]


def test_networks_that_are_equal_are_inside_their_own_value() -> None:
    """Eye weights on one image: only the label is random, and most labels give the same gradient up to rounding."""
    spec = gc.Spec(
        depth=20, width=64, init="eye", activation="leaky_relu", input="digits", batch_size=1, loss="cross_entropy"
    )
    found = covered(spec, 40, seed=2)
    low, high = found.profile.band("log_g")
    assert low[0] == pytest.approx(gc.measure(spec, networks=1, seed=2).log_g[0, 0], abs=1e-6) or high[0] > low[0]
    assert found.share["log_g"] > 0.9 or np.isnan(found.share["log_g"])
