"""Weight penalties looked at (experiment 4.7): what they alone do to the weights, and L2 and the plain norm told apart.

The share of the first update is ``regularization.first_update_share`` and ``predicted_share``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradcore.errors import SpecError
from gradcore.experiments.data import Dataset
from gradcore.experiments.regularization import PENALTIES, PenaltyShare, first_update_share, penalty_gradients
from gradcore.experiments.train_spec import TrainSpec
from gradcore.theory.critical import weight_variances
from gradcore.words import Message, number_text

Array = np.ndarray
NETWORKS = 60  # random networks of a share that is predicted unasked: a tenth of a second at 32 items a step ...
FEWEST = 8  # ... fewer of large ones, and none where that would take seconds
SEEDS = 12  # networks whose share is measured unasked: a hundredth of a second each
WORK = 3e9  # multiplications that are spent on either: about a second


def penalized(spec: TrainSpec, penalty: str, strength: float) -> TrainSpec:
    """The same run with this penalty alone. Raises SpecError."""
    if penalty not in PENALTIES:
        raise SpecError("penalty", penalty, "one of " + ", ".join(PENALTIES))
    return spec.replace(**{code: strength if code == penalty else 0.0 for code in PENALTIES})


def penalty_alone(spec: TrainSpec, weights: Sequence[Array], steps: int) -> Array:
    """(steps, L) norms |W^l| before each of so many updates by the penalties alone, w -> w - lr p(w), without gradient.

    Exact for "sgd". L2 gives |W| (1 - lr lambda)^k (``regularization.decayed``), the plain norm takes lr lambda off the
    norm of all weights together, L1 lr lambda off every weight until it swings around 0.
    """
    now = [np.array(w, dtype=float) for w in weights]
    norms = np.empty((steps, len(now)))
    for k in range(steps):
        norms[k] = [float(np.linalg.norm(w)) for w in now]
        for w, pull in zip(now, penalty_gradients(spec, now), strict=True):
            w -= spec.learning_rate * pull
    return norms


def affordable_networks(spec: TrainSpec, data: Dataset, most: int) -> int:
    """Of how many networks the first gradients take about a second, ``most`` at most; 0 where one takes longer."""
    sized = spec.sized(data)
    weights = float((sized.fan_ins * sized.layer_widths.astype(float)).sum())
    return int(min(most, WORK / (6.0 * weights * spec.batch_items(data))))


def shares_over_seeds(spec: TrainSpec, data: Dataset, seeds: int = 12) -> tuple[PenaltyShare, ...]:
    """``first_update_share`` of the seeds spec.seed, spec.seed + 1, ...; loads torch."""
    return tuple(first_update_share(spec.replace(seed=spec.seed + k), data) for k in range(seeds))


def pooled(shares: Sequence[PenaltyShare]) -> PenaltyShare:
    """Root mean squares over seeds, which ``predicted_share`` predicts; the cross terms averaged. Raises SpecError."""
    if not shares:
        raise SpecError("shares", shares, "at least one")
    gradient, penalty = (
        np.sqrt(np.mean([getattr(one, name) ** 2 for one in shares], axis=0)) for name in ("gradient", "penalty")
    )
    return PenaltyShare(gradient, penalty, np.mean([one.cross for one in shares], axis=0))


@dataclass(frozen=True)
class TwoNorms:
    """The pull of both penalties at one lambda on weights of Euclidean norm ``norm``: the square's ``square`` =
    lambda |w|, the plain norm's ``plain`` = lambda."""

    strength: float
    norm: float

    @property
    def square(self) -> float:
        """|gradient| of (lambda / 2) sum w^2."""
        return self.strength * self.norm

    @property
    def plain(self) -> float:
        """|gradient| of lambda |w|."""
        return self.strength if self.norm > 0.0 else 0.0

    @property
    def message(self) -> Message:
        """The two told apart in one sentence."""
        text = (
            "Two things are called L2: (λ/2) Σ w², which optimizers apply, pulls with λ|w| = {square} here and the "
            "more the larger the weights are (|w| = {norm}); the plain norm λ|w| pulls with λ = {plain} whatever their "
            "size."
        )
        values = {
            name: number_text(math.log10(value) if value > 0.0 else -math.inf, 3)
            for name, value in (("square", self.square), ("norm", self.norm), ("plain", self.plain))
        }
        return Message("two_norms", text, values)


def two_norms(spec: TrainSpec, data: Dataset, strength: float) -> TwoNorms:
    """The two on the weights that a run starts from, by their law: |w|^2 = sum over layers of fan_in fan_out Var W.

    Validity: root of the mean square over seeds. Raises SpecError.
    """
    sized = spec.sized(data)
    count = sized.fan_ins * sized.layer_widths.astype(float)
    return TwoNorms(strength, math.sqrt(float(np.sum(count * weight_variances(sized)))))
