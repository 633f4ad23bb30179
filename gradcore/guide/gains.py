"""The table of gains: what each activation needs to keep a signal or a gradient of size 1, and what torch suggests."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gradcore.activations import ACTIVATIONS, negative_slope_of
from gradcore.errors import SpecError
from gradcore.fields import FIELDS
from gradcore.theory.gaussian import moments_of


@dataclass(frozen=True)
class Gain:
    """Gains of one activation; each is a sigma_w = std(W) sqrt(fan_in), a factor in RMS.

    ``forward`` 1/sqrt(E phi(Z)^2) keeps a signal of RMS 1, ``backward`` 1/sqrt(E phi'(Z)^2) the gradient above it;
    ``spread`` 1/std(phi(Z)) is what std(x)/std(phi(x)) measures: it takes the mean off, which a network does not.
    ``torch`` is what torch.nn.init.calculate_gain says, None where it raises ValueError.
    """

    activation: str
    forward: float
    backward: float
    spread: float
    torch: float | None

    @property
    def agree(self) -> bool:
        """Whether one gain keeps both the signal and the gradient: so for homogeneous activations alone."""
        return math.isclose(self.forward, self.backward, rel_tol=1e-11)

    @property
    def torch_is_exact(self) -> bool | None:
        """Whether torch's gain keeps a signal of RMS 1; None where torch has none."""
        return None if self.torch is None else math.isclose(self.torch, self.forward, rel_tol=1e-9)


def gains_of(activation: str, negative_slope: float | None = None) -> Gain:
    """The exact gains of one activation at q = 1, Z ~ N(0, 1), beside torch's.

    forward = E[phi(Z)^2]^(-1/2), backward = E[phi'(Z)^2]^(-1/2), spread = Var[phi(Z)]^(-1/2); to about 12 digits.
    Raises SpecError for an activation that is not in the table. Source: He et al. 2015 (relu), Poole et al. 2016,
    Schoenholz et al. 2017. Validity: infinite width, weights scaled by fan-in; q = 1 holds over many layers only
    where it is a stable fixed point of the variance map (``variance_map``).
    """
    activation = FIELDS["activation"].check("activation", activation)
    slope = negative_slope_of(activation, FIELDS["negative_slope"].check("negative_slope", negative_slope))
    entry, at = ACTIVATIONS[activation], moments_of(activation, slope).at(np.array(0.0))
    second, ratio = math.exp(float(at.log_second)), float(at.mean_ratio)
    return Gain(
        activation,
        second**-0.5,
        math.exp(-0.5 * float(at.log_slope_second)),
        (second * (1.0 - ratio * ratio)) ** -0.5,
        None if entry.torch_gain is None else entry.torch_gain(slope),
    )


def gain_table(negative_slope: float | None = None) -> tuple[Gain, ...]:
    """The gains of every activation of the table, in its order; ``negative_slope`` is for leaky_relu and prelu.

    Raises SpecError for a slope out of range. See :func:`gains_of` for formulas, units and validity.
    """
    if isinstance(negative_slope, str):
        raise SpecError("negative_slope", negative_slope, "a number or None")
    return tuple(gains_of(code, negative_slope) for code in ACTIVATIONS)
