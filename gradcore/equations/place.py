"""Where an equation is written: one layer of one prediction, with what the formulas take from the theory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from gradcore.equations.equation import Factor
from gradcore.normalization import NORMALIZATIONS
from gradcore.residual import inner_layers
from gradcore.theory.batch_norm import BatchNormField, BatchUnit
from gradcore.theory.channel import DEAD, Channel, NormAfter, NormBefore, log_of
from gradcore.theory.mean_field import MeanField
from gradcore.words import LN10, Translate, factor_text, number_text

if TYPE_CHECKING:
    from gradcore.profile import Profile
    from gradcore.spec import Spec

POOLE = "Poole et al. 2016"
SCHOENHOLZ = "Schoenholz et al. 2017"
YANG = "Yang et al. 2019"


def sub(symbol: str, index: int | str) -> str:
    """The symbol with a layer index."""
    return f"{symbol}_{{{index}}}"


@dataclass(frozen=True, eq=False)
class Place:
    """Layer ``layer`` (1-based) of a profile; ``t`` translates titles and notes."""

    profile: Profile
    layer: int
    t: Translate

    @property
    def spec(self) -> Spec:
        """The Spec."""
        return self.profile.spec

    @property
    def last(self) -> bool:
        """Whether this is the output layer."""
        return self.layer == self.spec.depth

    @property
    def field(self) -> Any:
        """The recursion behind the profile."""
        return self.profile._field

    @property
    def random(self) -> MeanField:
        """The recursion of random weights."""
        return cast(MeanField, self.field)

    @property
    def is_random(self) -> bool:
        """Whether the weights are random matrices (all but constant and eye)."""
        return isinstance(self.field, MeanField)

    @property
    def batch_norm(self) -> bool:
        """Whether samples are coupled by batch norm."""
        return isinstance(self.field, BatchNormField)

    @property
    def residual(self) -> bool:
        """Whether a residual stream runs beside the layers (from layer 2 on)."""
        return self.spec.residual != "none"

    @property
    def channel(self) -> Channel:
        """Activation with its per-sample norm."""
        return self.random.channel

    def channel_at(self, layer: int) -> Channel:
        """What acts on the signal of a layer: inside a block of two layers there is no norm."""
        return self.field.plain if self.inner(layer) else self.channel

    def inner(self, layer: int) -> bool:
        """Whether a layer lies inside a block of several weight layers."""
        return bool(inner_layers(self.spec.residual, self.spec.depth)[layer - 1])

    @property
    def sampled(self) -> bool:
        """Whether sampled units stand behind the gradients (and behind the signal, but for post_activation)."""
        return bool(getattr(self.field, "sampled", False))

    def log_q(self, layer: int) -> float:
        """ln q of a layer, with a finite stand-in for ln 0."""
        return max(float(self.profile.log_q[layer - 1]), DEAD)

    def unit(self, layer: int) -> BatchUnit:
        """The batch-normalized unit of a layer."""
        return cast(BatchNormField, self.field)._pass[4][layer - 1]

    def sizes(self, log_square: float) -> dict[str, str]:
        """A mean-square factor e^log in words: ``rms`` and ``square``."""
        log10 = log_square / LN10
        return {"rms": factor_text(0.5 * log10), "square": factor_text(log10)}

    def totals(self, log_square: float) -> dict[str, str]:
        """A mean-square ratio e^log in words: ``rms`` and ``square``."""
        log10 = log_square / LN10
        return {"rms": number_text(0.5 * log10), "square": number_text(log10)}

    # --- factors that several equations share ---------------------------------------------------------------

    def weight(self, index: str, layer: int) -> Factor:
        """sigma_w^2 of a layer."""
        return Factor(rf"\sigma_{{w,{index}}}^2", float(self.random.law.log_in[layer - 1]))

    @cached_property
    def alpha(self) -> Factor:
        """alpha^2 of the residual branch."""
        return Factor(r"\alpha^2", 2.0 * log_of(abs(self.spec.alpha)))

    @cached_property
    def gamma(self) -> Factor:
        """gamma^2 of the norm."""
        return Factor(r"\gamma^2", 2.0 * log_of(abs(self.spec.norm_gamma)))

    @property
    def shift(self) -> str:
        """+ beta inside the activation, where the norm shifts."""
        return r" + \beta" if NORMALIZATIONS[self.spec.norm].has_beta and self.spec.norm_beta else ""

    def log_spread(self, layer: int) -> float:
        """ln of what a norm after the activation divides by: the (centred) second moment of phi over the units."""
        return float(cast(NormAfter, self.channel_at(layer))._log_spread(np.asarray(self.log_q(layer)))[0])

    def slope_factors(self, index: str, layer: int) -> tuple[Factor, ...]:
        """F, the factor by which activation and norm multiply the mean square of a gradient."""
        return self.slopes(self.channel_at(layer), self.log_q(layer), "q", index)

    def slopes(self, channel: Channel, log_q: float, symbol: str, index: str) -> tuple[Factor, ...]:
        """F of a channel at a second moment called ``symbol``."""
        q = sub(symbol, index)
        log_slope = float(channel.moments.at(channel.argument(log_q)).log_slope_second)
        if isinstance(channel, NormBefore):
            slope = Factor(rf"E\,\phi'(\sqrt{{{sub('v', index)}}}\,Z{self.shift})^2", log_slope)
            log_s2 = float(np.logaddexp(log_q, log_of(self.spec.norm_eps)))
            return self.gamma, slope, Factor(rf"({q} + \epsilon)^{{-1}}", -log_s2)
        slope = Factor(rf"E\,\phi'(\sqrt{{{q}}}\,Z)^2", log_slope)
        if isinstance(channel, NormAfter):
            log_spread = float(channel._log_spread(np.asarray(log_q))[0])
            log_s2 = float(np.logaddexp(log_spread, log_of(self.spec.norm_eps)))
            return self.gamma, slope, Factor(rf"({sub('S', index)} + \epsilon)^{{-1}}", -log_s2)
        return (slope,)

    def batch_factor(self, layer: int) -> Factor:
        """F of batch norm for a cotangent that sums to zero over the batch."""
        b = self.spec.batch_size
        unit = self.unit(layer)
        diagonal, _ = unit.send(1.0, -1.0 / (b - 1), self.spec.norm_position == "before", b)
        return Factor("F_B", unit.log_scale + log_of(diagonal))
