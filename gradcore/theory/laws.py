"""What ONE random network of the given width does, beside the infinite-width mean: three laws with one face.

A law gives, for a quantity by name ("log_q", ...), ``mean`` (ln of the mean over networks), ``median``, ``variance``
of the log and ``band`` (low, high), each (L,), natural logs of second moments.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gradcore.theory.finite_width import FiniteWidth
from gradcore.theory.sampler import Sample

Array = np.ndarray
Base = Callable[[str], Array]


class Infinite:
    """Infinite width: nothing scatters, and no band is known. ``base(name)`` is the mean there."""

    source: str | None = None

    def __init__(self, base: Base) -> None:
        self.base = base

    def mean(self, name: str) -> Array:
        """The infinite-width value."""
        return self.base(name)

    def median(self, name: str) -> Array:
        """The same."""
        return self.base(name)

    def variance(self, name: str) -> Array | None:
        """Unknown."""
        return None

    def band(self, name: str, level: float) -> tuple[Array, Array] | None:
        """Unknown."""
        return None


class Expansion(Infinite):
    """Log-normal to leading order in 1/width."""

    source = "expansion"

    def __init__(self, base: Base, finite: FiniteWidth) -> None:
        super().__init__(base)
        self.finite = finite

    def mean(self, name: str) -> Array:
        """Infinite width and its first correction."""
        return self.base(name) + self.finite.shift[name]

    def median(self, name: str) -> Array:
        """Half the variance of the log below the mean."""
        return self.mean(name) - 0.5 * self.finite.variance[name]

    def variance(self, name: str) -> Array:
        """Of the log, to leading order."""
        return self.finite.variance[name]

    def band(self, name: str, level: float) -> tuple[Array, Array]:
        """The central ``level`` of networks."""
        reach = self.finite.reach(name, level)
        return self.median(name) - reach, self.median(name) + reach


class Sampled(Infinite):
    """Read off a sample of networks; what is exactly zero at infinite width stays so."""

    source = "sampler"

    def __init__(self, base: Base, sample: Sample) -> None:
        super().__init__(base)
        self.sample = sample

    def mean(self, name: str) -> Array:
        """ln of the sample's mean."""
        return self._placed(name, self.sample.log_mean(name))

    def median(self, name: str) -> Array:
        """The sample's."""
        return self._placed(name, self.sample.quantile(name, 0.5))

    def variance(self, name: str) -> Array:
        """Of the logs of those networks that are not dead."""
        return self.sample.variance(name)

    def band(self, name: str, level: float) -> tuple[Array, Array]:
        """The central ``level`` of networks."""
        ends = (0.5 - 0.5 * level, 0.5 + 0.5 * level)
        low, high = (self._placed(name, self.sample.quantile(name, share)) for share in ends)
        return low, high

    def _placed(self, name: str, values: Array) -> Array:
        """A narrowed sample's values moved towards infinite width, by the ratio of the widths."""
        base = self.base(name)
        with np.errstate(invalid="ignore"):
            moved = values if self.sample.shrink == 1.0 else self.sample.shrunk(name, values, base)
        return np.where(np.isneginf(base), base, moved)
