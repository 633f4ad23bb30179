"""Section 4 as one board: every remedy as one change of a network, alone and together beside the plain one.

    found = board(spec, on=("batch_norm", "residual"))
    found.plain, found.alone["residual"], found.together     # predicted, one Entry each
    measured = measure_board(found, networks=4)              # real torch networks of what is switched on

Clipping and weight penalties change no first gradient: they act in training (clipping.py, regularization.py). No torch
but in ``measure_board``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from gradcore.activations import ACTIVATIONS
from gradcore.errors import GradcoreError, UnsupportedError
from gradcore.estimates import Estimate, estimates
from gradcore.experiments.board_remedies import ALPHAS, BOARD, Choices, in_order
from gradcore.measurement import Measurement, measure
from gradcore.profile import Profile, predict
from gradcore.spec import Spec
from gradcore.verdict import Verdict, diagnose

PLAIN, TOGETHER = "plain", "together"


@dataclass(frozen=True, eq=False)
class Factors:
    """``backward`` the gradient's and ``forward`` the signal's mean factor per layer, ``ratio`` the gradient of layer 1
    over the last layer's; natural logs of RMS values with their standard errors (None for a prediction)."""

    backward: Estimate
    forward: Estimate
    ratio: Estimate


def factors(answer: Profile | Measurement) -> Factors:
    """The three of a prediction (infinite width) or of the mean over measured networks.

    The backward factor goes from layer L to layer 1, the forward one from layer 1 to L, both geometric means over the
    layers (nan at depth 1). The standard error of the forward one is that of ln of the ratio within a network.
    """
    found, steps = estimates(answer), answer.spec.depth - 1
    logs = answer.log_q if isinstance(answer, Profile) else answer.mean("log_q")
    ends = float(logs[0]), float(logs[-1])
    error: float | None = None
    if isinstance(answer, Measurement):
        count = len(answer.log_q)
        with np.errstate(invalid="ignore"):  # a signal of 0 has no spread that is a number
            within = answer.log_q[:, -1] - answer.log_q[:, 0]
            error = float(within.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan
    if not steps:
        return Factors(found.factor, Estimate(math.nan, error), found.ratio)
    log = -math.inf if -math.inf in ends else 0.5 * (ends[1] - ends[0]) / steps
    return Factors(found.factor, Estimate(log, None if error is None else 0.5 * error / steps), found.ratio)


@dataclass(frozen=True, eq=False)
class Entry:
    """One network of the board: ``code`` "plain", a remedy's, or "together". Without an answer ``refusal`` says why:
    the remedy does not apply (then there is no ``spec`` either), or theory has no prediction."""

    code: str
    spec: Spec | None = None
    profile: Profile | None = None
    verdict: Verdict | None = None
    refusal: GradcoreError | None = None

    @cached_property
    def factors(self) -> Factors | None:
        """The predicted ones."""
        return None if self.profile is None else factors(self.profile)

    @property
    def inner(self) -> float:
        """ln of the gradient's factor in RMS over the middle layer of the net, away from its ends; nan without one."""
        if self.profile is None or self.profile.spec.depth < 3:
            return math.nan
        middle = self.profile.spec.depth // 2
        above, below = float(self.profile.log_g[middle]), float(self.profile.log_g[middle - 1])
        return math.nan if -math.inf in (above, below) else 0.5 * (below - above)

    @property
    def distance(self) -> float:
        """How far the worst layer's gradient lies from the last layer's: the largest abs ln of their ratio in RMS; inf
        where one is exactly zero or there is no prediction."""
        if self.verdict is None or self.verdict.kind in ("dead", "overflow"):
            return math.inf
        worst = float(np.abs(self.verdict.facts.relative).max())
        return worst if math.isfinite(worst) else math.inf


@dataclass(frozen=True, eq=False)
class Board:
    """``plain``; every remedy ``alone``, by code; ``together`` those that are ``on``, in the table's order, None where
    fewer than two are; ``skipped`` those of them that no longer applied after the ones before, and why."""

    plain: Entry
    alone: dict[str, Entry]
    on: tuple[str, ...]
    together: Entry | None = None
    skipped: dict[str, UnsupportedError] = field(default_factory=dict)

    @property
    def best(self) -> Entry | None:
        """The remedy that alone does most: stable first, then the least distance; None where none has an answer."""
        known = [entry for entry in self.alone.values() if math.isfinite(entry.distance) and entry.verdict is not None]
        return min(known, key=lambda entry: (not entry.verdict.stable, entry.distance), default=None)  # type: ignore[union-attr]

    @property
    def shown(self) -> tuple[Entry, ...]:
        """What is switched on: plain, each remedy alone, together; those that have a network."""
        entries = (self.plain, *(self.alone[code] for code in self.on), self.together)
        return tuple(entry for entry in entries if entry is not None and entry.spec is not None)


def combined(spec: Spec, on: Iterable[str], choices: Choices | None = None) -> tuple[Spec, dict[str, UnsupportedError]]:
    """(the Spec with these remedies one after the other, those that were skipped because they no longer applied)."""
    skipped: dict[str, UnsupportedError] = {}
    for code in in_order(on):
        try:
            spec = BOARD[code].apply(spec, choices)
        except UnsupportedError as error:
            skipped[code] = error
    return spec, skipped


def board(
    spec: Spec,
    on: Iterable[str] = (),
    choices: Choices | None = None,
    profile_of: Callable[[Spec], Profile] = predict,
) -> Board:
    """Plain network, every remedy alone and those that are ``on`` together, predicted.

    Validity: infinite width, as ``predict``. A remedy that does not apply, or whose network theory does not answer,
    carries its refusal. ``profile_of`` predicts (a page has a cache of its own). Raises SpecError for an unknown code.
    """
    codes = in_order(on)  # before anything is predicted
    alone: dict[str, Entry] = {}
    for code, one in BOARD.items():
        try:
            changed = one.apply(spec, choices)
        except UnsupportedError as error:
            alone[code] = Entry(code, refusal=error)
        else:
            alone[code] = _entry(code, changed, profile_of)
    return switched(Board(_entry(PLAIN, spec, profile_of), alone, ()), codes, choices, profile_of)


def switched(
    found: Board, on: Iterable[str], choices: Choices | None = None, profile_of: Callable[[Spec], Profile] = predict
) -> Board:
    """The same board with other remedies on, at the same choices: only all of them together is predicted anew."""
    codes, spec = in_order(on), found.plain.spec
    if len(codes) < 2 or spec is None:
        return replace(found, on=codes, together=None, skipped={})
    changed, skipped = combined(spec, codes, choices)
    return replace(found, on=codes, together=_entry(TOGETHER, changed, profile_of), skipped=skipped)


def _entry(code: str, spec: Spec, profile_of: Callable[[Spec], Profile]) -> Entry:
    try:
        profile = profile_of(spec)
        return Entry(code, spec, profile, diagnose(profile))
    except UnsupportedError as error:
        return Entry(code, spec, refusal=error)


def measure_board(found: Board, networks: int = 4, seed: int = 0) -> dict[str, Measurement]:
    """Real torch networks of everything that is switched on, by code. Raises SpecError, UnsupportedError."""
    return {e.code: measure(e.spec, networks=networks, seed=seed) for e in found.shown if e.spec is not None}


def residual_factors(spec: Spec, profile_of: Callable[[Spec], Profile] = predict) -> dict[str, Entry]:
    """The residual network at each scale of ALPHAS. Raises UnsupportedError where it does not apply."""
    change = BOARD["residual"].change
    return {
        alpha: _entry("residual", spec.replace(**change(spec, Choices(alpha=alpha))), profile_of) for alpha in ALPHAS
    }


def activation_factors(
    spec: Spec, profile_of: Callable[[Spec], Profile] = predict
) -> Iterator[tuple[str, Entry, Entry]]:
    """(activation, the network with it and nothing else changed, the same from the initialization that suits it), for
    every activation of the table, each as soon as it is predicted; an Entry without an answer carries its refusal."""
    for code in ACTIVATIONS:
        slope = spec.negative_slope if code == spec.activation else None
        same = spec.replace(activation=code, negative_slope=slope)
        own = _entry(code, same, profile_of)
        try:
            fitted = _entry(code, BOARD["initialization"].apply(same), profile_of)
        except UnsupportedError:  # in force already
            fitted = own
        yield code, own, fitted
