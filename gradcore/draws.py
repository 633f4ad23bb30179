"""What torch's own functions draw, one thing at a time: activations' gains and a layer's weights by experiment.

A door to ``gradcore.measure`` that loads torch when it is used, for whoever must not load it before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradcore.measure.gains import SampledGain as SampledGain
    from gradcore.measure.weights import WeightSample as WeightSample
    from gradcore.spec import Spec


def sample_gains(samples: int, seed: int = 0, negative_slope: float | None = None) -> tuple[SampledGain, ...]:
    """The gains of every activation from so many draws of N(0, 1): see ``gradcore.measure.gains.sample_gains``."""
    from gradcore.measure import gains

    return gains.sample_gains(samples, seed, negative_slope)


def sample_weights(spec: Spec, layer: int, seed: int = 0) -> WeightSample:
    """The weights of one layer as torch draws them: see ``gradcore.measure.weights.sample_weights``."""
    from gradcore.measure import weights

    return weights.sample_weights(spec, layer, seed)
