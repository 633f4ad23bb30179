"""The verdict on a recurrent cell: does the gradient of the last step reach the first ones? As messages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gradcore.words import LN10, Message, Translate, english, factor_text, number_text

if TYPE_CHECKING:
    from gradcore.cell_spec import CellSpec

Array = np.ndarray
KINDS = ("stable", "vanishing", "exploding")
DRIFT = 2.0  # change of the gradient's RMS over all T steps, at the rate of the window, within which it is stable
LOST = 100.0  # a step whose gradient's RMS differs by more than this cannot share a learning rate with the last one

TEMPLATES = {
    "vanishing": (
        "Gradients vanish in time: ×{factor} per step back in RMS (×{square} in mean square, between steps {start} "
        "and {stop}); at that rate a hundredth is left after {reach} steps."
    ),
    "exploding": (
        "Gradients explode in time: ×{factor} per step back in RMS (×{square} in mean square, between steps {start} "
        "and {stop}); at that rate they have grown a hundredfold after {reach} steps."
    ),
    "stable": (
        "Gradients survive {steps} steps: ×{factor} per step back in RMS (×{square} in mean square, between steps "
        "{start} and {stop})."
    ),
    "overflow": (
        "The numbers of this network leave the range of its dtype: no gradient can be measured from step {step} back."
    ),
    "zero": "The gradient of the last step is exactly zero from step {step} back to step 1.",
}
SAYS = {
    "stable": Message("untied_stable", "that gradients survive"),
    "vanishing": Message("untied_vanishing", "that gradients vanish"),
    "exploding": Message("untied_exploding", "that gradients explode"),
}


@dataclass(frozen=True, eq=False)
class CellVerdict:
    """``kind`` one of KINDS; ``message`` the headline, ``details`` further sentences; ``log_factor`` ln of the mean
    square's factor per step back over the ``window``; ``reach`` steps until the RMS has changed by ``LOST`` (inf:
    never).
    """

    kind: str
    message: Message
    details: tuple[Message, ...]
    log_factor: float
    window: tuple[int, int]

    @property
    def reach(self) -> float:
        """Steps back after which the gradient's RMS has changed by a factor 100 at this rate."""
        return 2.0 * math.log(LOST) / abs(self.log_factor) if self.log_factor else math.inf

    def text(self, t: Translate = english) -> str:
        """The headline in the translator's language."""
        return self.message.text(t)

    @property
    def sentence(self) -> str:
        """The headline in English."""
        return self.text()

    def __str__(self) -> str:
        return "\n".join([f"{self.kind}: {self.sentence}", *(f"  {detail}" for detail in self.details)])


def window_of(steps: int) -> tuple[int, int]:
    """The steps between which a factor per step is taken: T/4 and 3T/4 (10 and 30 for 40), away from both ends."""
    first = max(1, steps // 4)
    return first, max(first + 1, 3 * steps // 4)


def log_factor(log_v: Array, start: int, stop: int) -> float:
    """ln (V_start / V_stop)^(1 / (stop - start)), steps 1-based; -inf where nothing arrives at step ``start``."""
    ends = float(log_v[start - 1]), float(log_v[stop - 1])
    return -math.inf if ends[0] == -math.inf else (ends[0] - ends[1]) / (stop - start)


def kind_of(log_rate: float, steps: int) -> str:
    """stable, vanishing or exploding, by what the rate makes of an RMS over all steps."""
    total = 0.5 * log_rate * steps
    return "stable" if abs(total) <= math.log(DRIFT) else ("vanishing" if total < 0 else "exploding")


def judge(spec: CellSpec, log_v: Array, details: tuple[Message, ...] = ()) -> CellVerdict:
    """The verdict on one curve ln E (dL/dh_t)^2, (T,)."""
    window = window_of(spec.steps)
    rate = log_factor(log_v, *window)
    broken = np.flatnonzero(np.isnan(log_v))
    if broken.size:
        message = Message("cell_overflow", TEMPLATES["overflow"], {"step": str(int(broken[-1]) + 1)})
        return CellVerdict("exploding", message, details, math.nan, window)
    zero = np.flatnonzero(np.isneginf(log_v))
    if zero.size:
        message = Message("cell_zero", TEMPLATES["zero"], {"step": str(int(zero[-1]) + 1)})
        return CellVerdict("vanishing", message, details, -math.inf, window)
    kind = kind_of(rate, spec.steps)
    values = {
        "factor": _factor(0.5 * rate),
        "square": _factor(rate),
        "start": str(window[0]),
        "stop": str(window[1]),
        "steps": str(spec.steps),
        "reach": number_text(math.log10(2.0 * math.log(LOST) / abs(rate))) if rate else "–",
    }
    return CellVerdict(kind, Message(f"cell_{kind}", TEMPLATES[kind], values), details, rate, window)


def untied_detail(spec: CellSpec, tied: float, untied: float) -> Message:
    """What the product of independent steps says, beside this."""
    kind, other = kind_of(tied, spec.steps), kind_of(untied, spec.steps)
    values: dict[str, str | Message] = {"untied": _factor(untied), "tied": _factor(tied), "says": SAYS[other]}
    if kind != other:
        text = (
            "Textbooks multiply the mean factors of independent steps, ×{untied} in mean square, and conclude {says}: "
            "wrong here, as the weights are the same at every step (×{tied})."
        )
        return Message("untied_wrong", text, values)
    if untied < tied:
        text = (
            "Textbooks multiply the mean factors of independent steps, ×{untied} in mean square: too small, as the "
            "weights are the same at every step (×{tied})."
        )
        return Message("untied_smaller", text, values)
    text = (
        "Textbooks multiply the mean factors of independent steps, ×{untied} in mean square; with the same weights at "
        "every step it is ×{tied}."
    )
    return Message("untied_larger", text, values)


def width_detail(spec: CellSpec, horizon: float) -> Message:
    """The finite-width caveat of the plain cell."""
    values = {"width": str(spec.hidden_size), "horizon": f"{horizon:.0f}", "steps": str(spec.steps)}
    if spec.steps > horizon:
        text = (
            "{steps} steps are more than 2 √n = {horizon}: with the same weights at every step a network of {width} "
            "units has left its infinite-width theory by then; near the edge its gradients are larger and scatter more."
        )
        return Message("tied_width_exceeded", text, values)
    text = "Infinite-width theory of a plain cell holds up to about 2 √n = {horizon} steps for {width} units."
    return Message("tied_width", text, values)


_MEMORY_GATES = {"f": "forget", "z": "update"}


def gate_detail(name: str, mean: float) -> Message:
    """How far open the gate is that keeps the memory."""
    text = "The {gate} gate is {mean} on average at the last step: what is kept of the memory at each step."
    return Message("gate_open", text, {"gate": Message(f"gate_{name}", _MEMORY_GATES[name]), "mean": f"{mean:.2f}"})


def _factor(log: float) -> str:
    return factor_text(log / LN10)
