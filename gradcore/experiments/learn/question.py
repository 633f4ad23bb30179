"""What the page Learn asks: a lesson and its numbers, as a flat table of fields, and their text forms in a link.

A link holds the fields with "learn_" before them: ``learn_lesson=xavier&learn_width=300``. No torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gradcore.activations import ACTIVATIONS
from gradcore.fields import choice, integer, number
from gradcore.query import Reader, one_of, read, real, whole, write

PREFIX = "learn_"
LESSON_CODES = (  # the order of the course
    "chain_rule",
    "product",
    "variance",
    "xavier",
    "kaiming",
    "gains",
    "chaos",
    "norm",
    "residual",
    "gates",
    "clipping",
    "finite",
)
INTEGERS = {  # least, largest: what is drawn and predicted in a fraction of a second
    "factors": (1, 100),
    "width": (2, 2000),
    "fan_out": (2, 2000),
    "batch": (4, 64),
    "depth": (2, 100),
}
NUMBERS = {
    "weight": (-1000.0, 1000.0),
    "weight_std": (0.01, 100.0),
    "slope": (-2.0, 2.0),
    "sigma_w": (0.1, 10.0),
    "sigma_b": (0.01, 10.0),
    "alpha": (0.0, 10.0),
    "forget_bias": (-10.0, 10.0),
    "threshold": (1e-6, 1e6),
}
CHOICES = {"lesson": LESSON_CODES, "activation": tuple(ACTIVATIONS)}


@dataclass(frozen=True)
class LearnQuestion:
    """A lesson of the course (one of LESSON_CODES) and the numbers that the lessons are about; each lesson uses those
    that its entry in ``LESSONS`` names.

    ``weight`` w of every neuron of a chain; ``factors`` of a product, whose weights have std ``weight_std``; ``width``
    n = fan_in and ``fan_out`` m of a layer; ``slope`` a below 0 of a leaky ReLU; ``activation``; ``sigma_w`` =
    std(W) sqrt(n) and ``sigma_b`` std of the biases; ``batch`` B; ``depth`` L; ``alpha`` factor of a residual branch;
    ``forget_bias`` of an LSTM; ``threshold`` c of clipping by norm.
    """

    lesson: str = LESSON_CODES[0]
    weight: float = 1.0
    factors: int = 10
    weight_std: float = 1.0
    width: int = 400
    fan_out: int = 100
    slope: float = 0.0
    activation: str = "tanh"
    sigma_w: float = 1.5
    sigma_b: float = 0.2
    batch: int = 16
    depth: int = 20
    alpha: float = 1.0
    forget_bias: float = 3.0
    threshold: float = 1.0

    def __post_init__(self) -> None:
        for name, check in CHECKS.items():
            object.__setattr__(self, name, check(name, getattr(self, name)))

    def to_query(self) -> dict[str, str]:
        """The parameters of a link; defaults are left out."""
        return write(self, PREFIX)


def from_query(query: Mapping[str, str]) -> LearnQuestion:
    """The question of these parameters; others than learn_... are left alone. Raises SpecError."""
    return read(LearnQuestion, READERS, PREFIX, query)


CHECKS: dict[str, Callable[[str, Any], Any]] = {
    **{name: choice(codes) for name, codes in CHOICES.items()},
    **{name: integer(*ends) for name, ends in INTEGERS.items()},
    **{name: number(*ends) for name, ends in NUMBERS.items()},
}
READERS: dict[str, Reader] = {
    **{name: one_of(codes) for name, codes in CHOICES.items()},
    **{name: whole(*ends) for name, ends in INTEGERS.items()},
    **{name: real(*ends) for name, ends in NUMBERS.items()},
}
