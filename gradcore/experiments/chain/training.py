"""Do the weights grow out of it? The factors of a chain followed while it is trained by plain gradient descent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gradcore.errors import SpecError
from gradcore.experiments.chain.single import Chain

Array = np.ndarray
MOST_STEPS = 10_000
MOST_CELLS = 200_000  # steps times neurons: some seconds


@dataclass(frozen=True)
class Training:
    """A trained chain; entry s of each array is the chain after s steps, S + 1 in all.

    ``factors`` (S + 1, L): sigma'(z_1), then w_j sigma'(z_j); ``cost`` (S + 1,); ``gradients`` (S + 1, L): dC/db_l;
    ``chain`` the last one. ``stopped`` says at which step a number left the allowed range, None where none did.
    """

    factors: Array
    cost: Array
    gradients: Array
    chain: Chain
    stopped: int | None = None

    @property
    def above(self) -> Array:
        """How many of the L - 1 factors |w_j sigma'(z_j)| are at least 1, (S + 1,)."""
        return (np.abs(self.factors[:, 1:]) >= 1.0).sum(axis=1)


def train(chain: Chain, rate: float = 1.0, steps: int = 300) -> Training:
    """Plain gradient descent on all weights and biases: p <- p - rate dC/dp, on the one input of the chain.

    It ends early, with ``stopped``, where a weight, bias or z leaves the range that Chain allows. Raises SpecError
    unless 0 < rate <= 1e6, 1 <= steps <= 10,000 and steps times L <= 200,000.
    """
    if not isinstance(rate, (int, float, np.number)) or not 0.0 < rate <= 1e6:
        raise SpecError("rate", rate, "a number above 0, up to 1e6")
    most = min(MOST_STEPS, MOST_CELLS // chain.length)
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or not 1 <= steps <= most:
        raise SpecError("steps", steps, f"an integer from 1 to {most:,} for {chain.length} neurons")
    seen, stopped = [chain], None
    for step in range(1, int(steps) + 1):
        before = seen[-1]
        with np.errstate(over="ignore", invalid="ignore"):
            weights = np.array(before.weights) - rate * before.weight_gradients
            biases = np.array(before.biases) - rate * before.bias_gradients
        try:
            seen.append(before.replace(weights=tuple(weights.tolist()), biases=tuple(biases.tolist())))
        except SpecError:
            stopped = step
            break
    factors, gradients = (np.array([getattr(one, name) for one in seen]) for name in ("factors", "bias_gradients"))
    return Training(factors, np.array([one.cost_value for one in seen]), gradients, seen[-1], stopped)
