"""What a lesson is made of: sentences and formulas with named numbers, a figure, and the cases that it loads.

No figure is typed: a sentence is a template with named values, ``{chi}``, a formula one with ``<chi>``, and both are
filled from the lesson's one table of numbers, which gradcore computes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradcore.codec import to_query
from gradcore.experiments.learn.question import LearnQuestion
from gradcore.spec import Spec
from gradcore.words import Message, factor_text

Array = np.ndarray
DIGITS = 4  # of every number shown
_SLOT = re.compile(r"<(\w+)>")
_FIELD = re.compile(r"\{(\w+)\}")


class Share(float):
    """A share of 1, shown in percent."""


class Factor(float):
    """A factor per layer or step, shown with two decimals as elsewhere in the project."""


@dataclass(frozen=True)
class Formula:
    """LaTeX with named slots ``<name>``, and the numbers in LaTeX that fill them."""

    template: str
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def latex(self) -> str:
        """The formula with its numbers, without dollar signs."""
        return _SLOT.sub(lambda slot: self.values[slot[1]], self.template)


@dataclass(frozen=True)
class Step:
    """One step of a derivation: a sentence and the formula it leads to."""

    text: Message
    formula: Formula


@dataclass(frozen=True)
class Line:
    """One predicted curve: its name and its points, (N,) each; ``dashed`` for what is compared with."""

    name: Message
    x: Array
    y: Array
    dashed: bool = False


@dataclass(frozen=True)
class Points:
    """Measured points: name, (N,) each of x, y and the ends of their bars; all in the figure's units."""

    name: Message
    x: Array
    y: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class Figure:
    """A small chart: predicted lines, measured points and what their ``bars`` are.

    With ``log`` all y are log10 of what the title names. ``here`` marks the x of the lesson's own number; ``whole``
    says that x counts something (layers, factors).
    """

    title: Message
    x_title: Message
    y_title: Message
    lines: tuple[Line, ...]
    points: tuple[Points, ...] = ()
    bars: Message | None = None
    log: bool = False
    log_x: bool = False
    here: float | None = None
    whole: bool = False


@dataclass(frozen=True)
class Case:
    """Something to load: what it is, the ``address`` of the page and the parameters that say it there."""

    title: Message
    address: str
    query: Mapping[str, str]


@dataclass(frozen=True)
class Taught:
    """One lesson at its numbers: the ``idea``, the ``steps`` of its derivation, the ``figure``, the ``cases`` to load
    (the first is the main one), the common ``error`` that it corrects, and the ``numbers`` behind all of it."""

    idea: Message
    steps: tuple[Step, ...]
    figure: Figure
    cases: tuple[Case, ...]
    numbers: Mapping[str, Any]
    error: Message | None = None


@dataclass(frozen=True)
class Lesson:
    """One entry of the course: ``parameters`` are the fields of LearnQuestion that it depends on, ``teach`` writes it
    at their values; ``sources`` are the papers."""

    code: str
    title: str
    parameters: tuple[str, ...]
    sources: tuple[str, ...]
    teach: Callable[[LearnQuestion], Taught]


# --- numbers as text ----------------------------------------------------------------------------------------------


def plain(value: Any) -> str:
    """The number in a sentence: 400, 0.7071, 4.2e-8, 68%; a text is itself."""
    if isinstance(value, str):
        return value
    if isinstance(value, Share):
        return f"{100.0 * value:.3g}%"
    if isinstance(value, Factor):
        return factor_text(math.log10(value) if value > 0.0 else -math.inf)
    if isinstance(value, int):
        return str(value)
    mantissa, exponent = _split(float(value))
    return mantissa if exponent is None else f"{mantissa}e{exponent}"


def tex(value: Any) -> str:
    """The number in a formula."""
    if isinstance(value, Share):
        return plain(value).replace("%", r"\%")
    if isinstance(value, (str, Factor)):
        return re.sub(r"e(-?\d+)$", r" \\times 10^{\1}", plain(value)) if isinstance(value, Factor) else value
    if isinstance(value, int):
        return str(value)
    if math.isinf(value):
        return r"\infty" if value > 0 else r"-\infty"
    mantissa, exponent = _split(float(value))
    if exponent is None:
        return mantissa
    power = f"10^{{{exponent}}}"
    return {"1": power, "-1": f"-{power}"}.get(mantissa, rf"{mantissa} \times {power}")


def _split(value: float) -> tuple[str, int | None]:
    """(mantissa, exponent of ten); no exponent from a thousandth to ten thousand."""
    if value == 0.0 or not math.isfinite(value) or 1e-3 <= abs(value) < 9999.5:
        return f"{value:.{DIGITS}g}", None
    mantissa, exponent = f"{value:.{DIGITS - 1}e}".split("e")
    return f"{float(mantissa):g}", int(exponent)


class Numbers(dict[str, Any]):
    """The numbers of a lesson by name: floats, ints, shares and factors, or texts made of them."""

    def __init__(self, lesson: str, **numbers: Any) -> None:
        super().__init__(**numbers)
        self.lesson = lesson

    def say(self, part: str, template: str) -> Message:
        """A sentence with the numbers that its template names."""
        values: dict[str, str | Message] = {
            name: self[name] if isinstance(self[name], Message) else plain(self[name])
            for name in dict.fromkeys(_FIELD.findall(template))
        }
        return Message(f"learn_{self.lesson}_{part}", template, values)

    def formula(self, template: str) -> Formula:
        """A formula with the numbers that its template names."""
        return Formula(template, {name: tex(self[name]) for name in dict.fromkeys(_SLOT.findall(template))})

    def step(self, part: str, sentence: str, *lines: str) -> Step:
        """A step of the derivation; a formula of several ``lines``, so that it fits a phone, is set below each "
        "other."""
        formula = lines[0] if len(lines) == 1 else r"\begin{gathered} " + r" \\[4pt] ".join(lines) + r" \end{gathered}"
        return Step(self.say(part, sentence), self.formula(formula))

    def explore(self, part: str, title: str, spec: Spec, address: str = "explore") -> Case:
        """A network to load, on Explore or another page of networks."""
        return Case(self.say(part, title), address, to_query(spec))

    def page(self, part: str, title: str, address: str, query: Mapping[str, str]) -> Case:
        """A question of another page to load."""
        return Case(self.say(part, title), address, query)
