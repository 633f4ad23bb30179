"""Linear and ReLU networks with Gaussian weights, one sample and no bias: the exact law of one network.

The squared norm of signal and gradient is a product of independent factors chi^2_K / n with K = n (linear) or
K ~ Bin(n, 1/2) (ReLU: the units that are on), so its log is a sum of independent terms with known cumulants. With
probability prod (1 - 2^-n) no layer of a ReLU network is dead.

Sources: Hanin 2018; Hanin & Nica 2019. Exact at any width; quantiles from four cumulants (Cornish & Fisher).
Checked by tests/test_exact_product.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from gradcore.theory.laws import Infinite

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray
ORDERS = 4
WIDEST_SUM = 4096  # units, beyond which the binomial sum is replaced by its window of 40 standard deviations


def applies(spec: Spec) -> bool:
    """Whether this Spec's networks are such products."""
    plain = spec.norm == "none" and spec.residual == "none" and not spec.bias_std and spec.loss == "random"
    gaussian = spec.init_entry.kind == "gaussian" and spec.batch_size == 1
    return bool(plain and gaussian and spec.activation in ("linear", "relu"))


@lru_cache(maxsize=256)
def _factor(n: int, gated: bool) -> tuple[float, ...]:
    """Cumulants 1 to 4 of ln(chi^2_K / E chi^2_K), K >= 1."""
    from scipy.special import polygamma
    from scipy.stats import binom

    if not gated:
        k, weights = np.array([n]), np.ones(1)
    else:
        reach = 20.0 * math.sqrt(n) if n > WIDEST_SUM else n
        k = np.arange(max(1, math.floor(n / 2 - reach)), min(n, math.ceil(n / 2 + reach)) + 1)
        weights = binom.pmf(k, n, 0.5)
        weights = weights / weights.sum()
    mean = polygamma(0, k / 2) + math.log(2.0 / (n / 2 if gated else n))
    c2, c3, c4 = (polygamma(order, k / 2) for order in (1, 2, 3))
    total = float(weights @ mean)
    d = mean - total  # raw moments about the total mean, given K: d, c2 + d^2, ...
    m2 = float(weights @ (c2 + d**2))
    m3 = float(weights @ (c3 + 3 * c2 * d + d**3))
    m4 = float(weights @ (c4 + 3 * c2**2 + 4 * c3 * d + 6 * c2 * d**2 + d**4))
    return total, m2, m3, m4 - 3 * m2 * m2


class ExactProduct(Infinite):
    """The law of one network; means are those of infinite width, exactly."""

    source = "exact"

    def __init__(self, base: Callable[[str], Array], spec: Spec) -> None:
        super().__init__(base)
        self.spec = spec
        self.gated = spec.activation == "relu"

    @cached_property
    def _cumulants(self) -> dict[str, Array]:
        """(4, L) cumulants of each log less its infinite-width value."""
        spec, widths = self.spec, self.spec.layer_widths.tolist()
        chi = np.array([_factor(int(n), False) for n in widths]).T
        steps = np.array([_factor(int(n), self.gated) for n in widths]).T
        source = np.zeros((ORDERS, 1))
        if spec.input != "digits":
            source[:, 0] = _factor(int(spec.fan_ins[0]), False)
        passed = np.cumsum(np.hstack([source, steps[:, :-1]]), axis=1)  # |x^(l-1)|^2
        back = np.cumsum(np.hstack([steps[:, :-1], chi[:, -1:]])[:, ::-1], axis=1)[:, ::-1]
        return {"log_q": passed + chi, "log_p": passed, "log_g": back, "log_dw": back + passed, "log_db": back}

    @cached_property
    def dead(self) -> dict[str, Array]:
        """(L,) probability that the quantity is exactly zero."""
        with np.errstate(divide="ignore"):
            layers = np.where(self.gated, np.exp2(-self.spec.layer_widths.astype(float)), 0.0)
        alive = np.log1p(-layers)
        alive[-1] = 0.0
        before = np.concatenate([[0.0], np.cumsum(alive)[:-1]])
        after = np.cumsum(alive[::-1])[::-1]
        logs = {"log_q": before, "log_p": before, "log_g": after, "log_dw": before + after, "log_db": after}
        return {name: -np.expm1(log) for name, log in logs.items()}

    def variance(self, name: str) -> Array:
        """Of the log, over networks that are not dead."""
        return self._cumulants[name][1]

    def median(self, name: str) -> Array:
        """Half of the networks lie below."""
        return self._quantile(name, 0.5)

    def band(self, name: str, level: float) -> tuple[Array, Array]:
        """The central ``level`` of networks."""
        return self._quantile(name, 0.5 - 0.5 * level), self._quantile(name, 0.5 + 0.5 * level)

    def _quantile(self, name: str, share: float) -> Array:
        from scipy.special import ndtri

        mean, variance, third, fourth = self._cumulants[name]
        dead = self.dead[name]
        among = np.clip((share - dead) / (1.0 - dead), 0.0, 1.0)
        z = ndtri(np.clip(among, 1e-300, 1.0 - 1e-16))
        spread = np.sqrt(variance)
        safe = np.where(spread > 0.0, spread, 1.0)
        skew, excess = third / safe**3, fourth / safe**4
        shape = z + skew * (z * z - 1.0) / 6.0 + excess * (z**3 - 3.0 * z) / 24.0
        shape = shape - skew * skew * (2.0 * z**3 - 5.0 * z) / 36.0
        return np.where(among > 0.0, self.base(name) + mean + spread * shape, -math.inf)
