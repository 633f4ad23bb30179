"""``python -m benchmarks.coverage``: how often one real network falls inside the predicted 95% band.

Random Specs over every table (activation, initializer, norm and its position, residual, loss, widths 32 to 512,
depths 5 to 60); fresh torch networks with real weight matrices for each. Counted are layers and networks, separately
for the signal, the gradient and the weight gradient. Nominal is 95%.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

import gradcore as gc
from gradcore.compare import SLACK
from tests.random_specs import random_specs

QUANTITIES = {"log_q": "forward", "log_g": "backward", "log_dw": "weight gradient"}
LEVEL = 0.95
KNOWN = 1e-9  # narrowest band, in natural logs, whose coverage means something
STRATA = {
    "band": lambda profile: profile.band_source,
    "init": lambda profile: profile.spec.init_entry.kind,
    "norm": lambda profile: (
        profile.spec.norm if profile.spec.norm == "none" else f"{profile.spec.norm}, {profile.spec.norm_position}"
    ),
    "residual": lambda profile: profile.spec.residual,
    "loss": lambda profile: profile.spec.loss,
    "activation": lambda profile: "homogeneous" if profile.spec.activation_entry.homogeneous else "curved",
    "depth / width": lambda profile: "over 0.5" if (1.0 / profile.spec.layer_widths).sum() > 0.5 else "up to 0.5",
}


@dataclass(frozen=True)
class Covered:
    """Of one Spec: the share of networks and layers inside the band, by quantity (nan where nothing scatters)."""

    profile: gc.Profile
    share: dict[str, float]
    networks: int


def covered(spec: gc.Spec, networks: int, seed: int) -> Covered:
    """Measure fresh networks and count. A Spec without a band has nan everywhere."""
    profile = gc.predict(spec)
    share = dict.fromkeys(QUANTITIES, float("nan"))
    if profile.band_source is not None:
        measured = gc.measure(spec, networks=networks, seed=seed)
        for name in QUANTITIES:
            band = profile.band(name, LEVEL)
            assert band is not None
            share[name] = _inside(band, getattr(measured, name))
    return Covered(profile, share, networks)


def _inside(band: tuple[np.ndarray, np.ndarray], logs: np.ndarray) -> float:
    low, high = band
    with np.errstate(invalid="ignore"):
        open_ = np.isfinite(high) & ~(high - low < KNOWN)
    if not open_.any():
        return float("nan")
    return float(np.mean(((logs >= low - SLACK) & (logs <= high + SLACK))[:, open_]))


def survey(specs: int, networks: int, seed: int, sampled: bool = False) -> Iterator[Covered]:
    """One ``Covered`` for each of so many random Specs; with ``sampled`` also those whose prediction itself is sampled
    (blocks of residual forms, batch norm on digits)."""
    for spec in islice(random_specs(seed, most_width=512, sampled=sampled), specs):
        yield covered(spec, networks, seed)


def total(results: Iterable[Covered]) -> dict[str, float]:
    """Mean share by quantity, over the Specs that have a band."""
    rows = [[one.share[name] for name in QUANTITIES] for one in results]
    return dict(zip(QUANTITIES, np.nanmean(np.array(rows), axis=0).tolist(), strict=True))


def strata(results: list[Covered]) -> Iterator[tuple[str, str, int, dict[str, float]]]:
    """(table, entry, number of Specs, mean shares) of every stratum."""
    for table, entry_of in STRATA.items():
        groups = defaultdict(list)
        for one in results:
            groups[str(entry_of(one.profile))].append(one)
        for entry, members in sorted(groups.items()):
            known = [one for one in members if not np.isnan(list(one.share.values())).all()]
            if known:
                yield table, entry, len(known), total(known)


def main() -> int:
    """Print the table; exit status 1 where a quantity is covered by less than 93% or more than 97%."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--specs", type=int, default=200)
    parser.add_argument("--networks", type=int, default=60, help="fresh networks a Spec (default 60)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sampled", action="store_true", help="also Specs whose prediction itself is sampled")
    options = parser.parse_args()
    began = time.perf_counter()
    results = list(survey(options.specs, options.networks, options.seed, options.sampled))
    took = time.perf_counter() - began
    print(f"{options.specs} random Specs (seed {options.seed}), {options.networks} networks each, {took:.0f} s")
    without = [one for one in results if one.profile.band_source is None]
    print(f"without a band, and flagged: {len(without)}\n")
    print(f"{'share inside the 95% band':<34} {'Specs':>6} " + " ".join(f"{text:>16}" for text in QUANTITIES.values()))
    known = [one for one in results if one.profile.band_source is not None]
    overall = total(known)
    for table, entry, count, shares in [("all", "", len(known), overall), *strata(known)]:
        row = " ".join(f"{shares[name]:>16.3f}" for name in QUANTITIES)
        print(f"{table + (': ' if entry else '') + entry:<34} {count:>6} {row}")
    print("\nfurthest from 95%:")
    for one in sorted(
        known, key=lambda one: -max(abs(share - LEVEL) for share in one.share.values() if share == share)
    )[:5]:
        print(
            " ", {name: round(value, 3) for name, value in one.share.items()}, one.profile.band_source, one.profile.spec
        )
    return int(any(not 0.93 <= share <= 0.97 for share in overall.values()))


if __name__ == "__main__":
    raise SystemExit(main())
