"""Weight regularization: L1, the square that optimizers call L2, and the plain norm that some texts call L2.

| penalty           | gradient       | of the weights w of all layers together                       |
| lambda sum |w|    | lambda sign(w) | L1: the same pull on every weight; 0 at w = 0                 |
| (lambda/2) sum w^2| lambda w       | L2, weight_decay: every weight shrinks by the same factor     |
| lambda |w|        | lambda w / |w| | plain norm: its gradient has norm lambda however large w is   |

Written as lambda sum w^2, the square's gradient is 2 lambda w: half the lambda does the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gradcore.errors import SpecError
from gradcore.experiments.data import Dataset
from gradcore.experiments.first_step import predict_first_step
from gradcore.experiments.train_spec import TrainSpec
from gradcore.theory.critical import weight_variances

Array = np.ndarray


def _size(weights: Sequence[Array]) -> float:
    return math.sqrt(sum(float(np.vdot(w, w)) for w in weights))


@dataclass(frozen=True)
class Penalty:
    """One penalty at lambda = 1: ``value(weights)`` and ``gradient(weights)`` of all weight matrices together."""

    code: str
    latex: str
    value: Callable[[Sequence[Array]], float]
    gradient: Callable[[Sequence[Array]], list[Array]]


def _norm_gradient(weights: Sequence[Array]) -> list[Array]:
    size = _size(weights)
    return [w / size if size > 0 else np.zeros_like(w) for w in weights]


PENALTIES: dict[str, Penalty] = {
    penalty.code: penalty
    for penalty in (
        Penalty(
            "l1",
            r"\lambda \sum |w|",
            lambda weights: sum(float(np.abs(w).sum()) for w in weights),
            lambda weights: [np.sign(w) for w in weights],
        ),
        Penalty(
            "l2",
            r"\tfrac{\lambda}{2} \sum w^2",
            lambda weights: 0.5 * _size(weights) ** 2,
            lambda weights: [np.array(w, dtype=float) for w in weights],
        ),
        Penalty("l2_norm", r"\lambda \sqrt{\sum w^2}", _size, _norm_gradient),
    )
}


@dataclass(frozen=True, eq=False)
class PenaltyShare:
    """The penalties' part in the first update of plain gradient descent, per layer (L,), as Euclidean norms:
    ``gradient`` |dC/dW^l|, ``penalty`` of all penalties in force together, ``share`` penalty / gradient (inf where the
    gradient is 0), ``cross`` twice the inner product of the two: |g + p|^2 = |g|^2 + |p|^2 + cross."""

    gradient: Array
    penalty: Array
    cross: Array

    @property
    def share(self) -> Array:
        """(L,)"""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.penalty > 0, self.penalty / self.gradient, 0.0)

    @property
    def update(self) -> Array:
        """(L,) norm of the update per unit of learning rate, |g + p|."""
        return np.sqrt(np.maximum(self.gradient**2 + self.penalty**2 + self.cross, 0.0))


def _lambdas(spec: TrainSpec) -> dict[str, float]:
    return {code: getattr(spec, code) for code in PENALTIES}


def penalty_gradients(spec: TrainSpec, weights: Sequence[Array]) -> list[Array]:
    """The gradient of all penalties of a TrainSpec at these weight matrices."""
    total = [np.zeros_like(w, dtype=float) for w in weights]
    for code, strength in _lambdas(spec).items():
        for part, gradient in zip(total, PENALTIES[code].gradient(weights), strict=True):
            part += strength * gradient
    return total


def first_update_share(spec: TrainSpec, data: Dataset) -> PenaltyShare:
    """Measured on the run's own first batch: the exact share on the weights that ``train(spec, data)`` starts from.

    Loads torch. Validity: exact for "sgd" and the first step of "momentum"; with adam the L2 part passes through its
    second moments, with adamw it does not (decoupled). Raises SpecError, UnsupportedError.
    """
    from gradcore.experiments.training_loop import first_gradients

    weights, gradients = first_gradients(spec, data)
    penalties = penalty_gradients(spec, weights)
    cross = [2.0 * float(np.vdot(g, p)) for g, p in zip(gradients, penalties, strict=True)]
    norms = [np.array([np.linalg.norm(part) for part in parts]) for parts in (gradients, penalties)]
    return PenaltyShare(norms[0], norms[1], np.array(cross))


def predicted_share(spec: TrainSpec, data: Dataset, networks: int | None = None) -> PenaltyShare:
    """The same before any network is built, in root mean square over seeds, without torch.

    E|dC/dW^l|^2 from ``predict_first_step``. E|p|^2 with N = fan_in fan_out weights of variance V in layer l and
    N_0 V_0 = sum of N V over the layers: lambda_1^2 N + 2 lambda_1 k N E|w| + k^2 N V, k = lambda_2 + lambda / sqrt(N_0
    V_0), with E|w| = sqrt(2 V / pi). The cross term E[g w] = E<delta^l, W x> is left out (0): it vanishes for a
    cotangent that is independent of the signal, not for a cost of the output, where ``first_update_share`` has it.
    Validity: weights N(0, V); exact for every law with L2 or the plain norm alone (|w| at its mean).
    Raises UnsupportedError as predict_first_step does.
    """
    if spec.l1 and spec.network.init_entry.kind != "gaussian":
        raise SpecError("init", spec.network.init, "Gaussian weights where l1 is predicted", "Measure it instead.")
    sized = spec.sized(data)
    count = sized.fan_ins * sized.layer_widths.astype(float)
    variances = weight_variances(sized)
    whole = float(np.sum(count * variances))
    pull = spec.l2 + (spec.l2_norm / math.sqrt(whole) if whole > 0 else 0.0)
    mean = np.sqrt(2.0 * variances / math.pi)
    square = count * (spec.l1**2 + 2.0 * spec.l1 * pull * mean + pull**2 * variances)
    gradient = predict_first_step(spec, data, networks=networks).mean("weight_gradients")
    return PenaltyShare(gradient, np.sqrt(square), np.zeros_like(gradient))


def decayed(norm: float, learning_rate: float, l2: float, steps: int) -> float:
    """|w| after so many steps of weight decay alone: |w| (1 - lr lambda)^steps, sgd without gradient, or adamw."""
    return norm * abs(1.0 - learning_rate * l2) ** steps
