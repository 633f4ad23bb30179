"""The verdict on a network before training: what happens to its gradient and signal, and what mends it.

    Profile or Measurement ──diagnose──► Verdict (kind, sentence, numbers) with Fixes (changed Specs)

Verdicts speak in RMS (norm): a ReLU net at gain 1 loses x0.71 in norm (x0.50 in mean square) per layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gradcore.errors import SpecError
from gradcore.measurement import Measurement
from gradcore.profile import Profile
from gradcore.spec import Spec
from gradcore.verdict import facts as facts_of
from gradcore.verdict.facts import Facts
from gradcore.verdict.findings import KINDS, USABLE, details, findings, unusable_from
from gradcore.verdict.fixes import Fix, iter_fixes
from gradcore.words import LN10, Message, Translate, english

__all__ = ["KINDS", "USABLE", "Fix", "Verdict", "diagnose"]


@dataclass(frozen=True, eq=False)
class Verdict:
    """What will happen in this network. Logs are natural, of RMS values; layers are 1-based.

    ``kind`` one of KINDS; ``message`` the headline and ``details`` further sentences (message id, template, values);
    ``log_factor`` mean change of the gradient's RMS per layer from the output towards layer 1 (nan at depth 1);
    ``log_ratio`` RMS of the gradient at layer 1 over layer L; ``log_signal`` RMS of z at layer L; ``unusable_from``
    the layer, met from the output downwards, at which the gradient first differs from layer L's by more than a
    factor ``USABLE`` (100) in RMS, None where none does; ``usable_depth`` how many layers next to the output are
    usable. Layers whose gradients differ by more than that cannot share one learning rate.
    """

    spec: Spec
    kind: str
    message: Message
    details: tuple[Message, ...]
    facts: Facts

    @property
    def stable(self) -> bool:
        """Whether signals and gradients survive the depth."""
        return self.kind == "stable"

    @property
    def log_ratio(self) -> float:
        """ln of the gradient's RMS at layer 1 over layer L; -inf where it is exactly zero."""
        ratio = float(self.facts.relative[0])
        return -math.inf if math.isnan(ratio) else ratio

    @property
    def log_factor(self) -> float:
        """ln of the mean factor per layer, towards layer 1."""
        return self.log_ratio / (self.spec.depth - 1) if self.spec.depth > 1 else math.nan

    @property
    def log_signal(self) -> float:
        """ln of the signal's RMS at layer L."""
        return 0.5 * float(self.facts.log_q[-1])

    @property
    def unusable_from(self) -> int | None:
        """The first layer from the output downwards whose gradient is out of the usable range."""
        return unusable_from(self.facts.relative)

    @property
    def usable_depth(self) -> int:
        """How many layers next to the output have a usable gradient."""
        return self.spec.depth - (self.unusable_from or 0)

    @property
    def numbers(self) -> dict[str, float | int | None]:
        """The figures, plain: RMS factors and ratios (0 where a float cannot hold them), layers."""
        with np.errstate(over="ignore"):
            factor, ratio, signal = (float(np.exp(x)) for x in (self.log_factor, self.log_ratio, self.log_signal))
        return {
            "factor": factor,
            "factor_mean_square": factor * factor,
            "log10_ratio": self.log_ratio / LN10,
            "ratio": ratio,
            "signal": signal,
            "unusable_from": self.unusable_from,
            "usable_depth": self.usable_depth,
            "threshold": USABLE,
        }

    @cached_property
    def fixes(self) -> tuple[Fix, ...]:
        """Changed Specs whose predicted verdict is stable, the least change first; computed when first asked for."""
        return tuple(self.iter_fixes())

    def iter_fixes(self) -> Iterator[Fix]:
        """The same one by one, each as soon as it is found (a page shows the first while the others are checked)."""
        return iter(()) if self.stable else iter_fixes(self)

    def text(self, t: Translate = english) -> str:
        """The headline in the translator's language."""
        return self.message.text(t)

    @property
    def sentence(self) -> str:
        """The headline in English."""
        return self.text()

    def __str__(self) -> str:
        lines = [f"{self.kind}: {self.sentence}", *(f"  {detail}" for detail in self.details)]
        lines += [f"  fix: {fix}" for fix in self.fixes]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"Verdict({self.kind!r}, {self.sentence!r})"


def diagnose(answer: Profile | Measurement) -> Verdict:
    """The verdict on a Profile, or on a Measurement (of its median network). Raises SpecError for anything else.

    ``stable``: every layer's gradient and signal RMS stays within a factor ``USABLE`` = 100 of the last layer's
    gradient and the first layer's signal, in the mean and in the typical network, nothing overflows float32, and
    no layer is dead or saturated. Source: thresholds are this project's; quantities as in :class:`Profile`.
    """
    if isinstance(answer, Profile):
        found = facts_of.of_profile(answer)
    elif isinstance(answer, Measurement):
        found = facts_of.of_measurement(answer)
    else:
        raise SpecError("answer", answer, "a Profile or a Measurement", "Make one with predict(spec) or measure(spec).")
    kind, message = next(findings(found))
    return Verdict(answer.spec, kind, message, tuple(details(found, kind)), found)
