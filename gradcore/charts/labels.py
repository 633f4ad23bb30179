"""Where the labels in a chart go: beside their layer, off the curves and off each other, on a phone as well."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray
FONT_SIZE = 11
LINE = 13  # px
GAP = 6  # px between a rule and its label
_WIDTH = 280  # px of plot on a phone, the narrowest: a wider one leaves more room
_COLUMN = 4  # px
_APART = 3  # px between labels below each other


@dataclass(frozen=True)
class Wanted:
    """A text (lines split by a newline) beside layer ``layer``, kept between two heights (log10 values)."""

    layer: float
    text: str
    low: float
    high: float


@dataclass(frozen=True)
class Placed:
    """Where a text stands: its upper edge ``top`` (a log10 value), to the right of its layer or to the left."""

    layer: float
    text: str
    top: float
    right: bool


@dataclass(frozen=True)
class _Box:
    left: float
    right: float
    top: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom + _APART and other.top < self.bottom + _APART


def place(
    wanted: Iterable[Wanted],
    table: pd.DataFrame,
    curves: list[str],
    domain: tuple[float, float],
    layers: tuple[float, float],
    height: float,
) -> list[Placed]:
    """Each text at the first spot from the top that is free of curves, rules and earlier labels, or the freest.

    ``table`` with its ``curves`` as drawn, ``domain`` and ``layers`` the ends of the axes, ``height`` px of plot.
    """
    wanted = list(wanted)
    per_value = height / (domain[1] - domain[0])
    upper, lower = _envelope(table, curves, layers)
    upper, lower = (domain[1] - upper) * per_value, (domain[1] - lower) * per_value
    rules = [_across(item.layer, layers) for item in wanted]
    boxes: list[_Box] = []
    placed: list[Placed] = []
    for item, at in zip(wanted, rules, strict=True):
        spots = list(_spots(item, at, domain, per_value))
        costs = [_cost(box, upper, lower, boxes, rules, domain[1] * per_value) for box, _ in spots]
        box, right = spots[int(np.argmin(costs))]
        boxes.append(box)
        placed.append(Placed(item.layer, item.text, domain[1] - box.top / per_value, right))
    return placed


def _across(layer: float, layers: tuple[float, float]) -> float:
    return (layer - layers[0]) / (layers[1] - layers[0]) * _WIDTH


def _envelope(table: pd.DataFrame, curves: list[str], layers: tuple[float, float]) -> tuple[Array, Array]:
    """Highest and lowest curve at every few pixels across; nan where there is none."""
    at = np.arange(0, _WIDTH, _COLUMN) / _WIDTH * (layers[1] - layers[0]) + layers[0]
    rows = [np.interp(at, table["layer"], table[name], left=np.nan, right=np.nan) for name in curves]
    found = np.array(rows)
    none = np.isnan(found).all(axis=0)
    high = np.where(np.isnan(found), -np.inf, found).max(axis=0)
    low = np.where(np.isnan(found), np.inf, found).min(axis=0)
    return np.where(none, np.nan, high), np.where(none, np.nan, low)


def _spots(item: Wanted, at: float, domain: tuple[float, float], per_value: float) -> Iterable[tuple[_Box, bool]]:
    """All spots beside the rule, from the top; on the side with more room where the text fits on neither.

    Heights that leave little room for the text are widened by its own on both sides.
    """
    lines = item.text.split("\n")
    wide, tall = max(_text_width(line) for line in lines), LINE * len(lines)
    first = (domain[1] - min(item.high, domain[1])) * per_value + 2
    last = (domain[1] - max(item.low, domain[0])) * per_value - tall - 2
    if last - first < tall:
        bottom = (domain[1] - domain[0]) * per_value - tall
        first, last = max(first - tall - 4, 0.0), min(last + tall + 4, bottom)
    sides = [right for right in (True, False) if (at + GAP + wide <= _WIDTH if right else at - GAP - wide >= 0)]
    for top in np.arange(first, last + 1, 2):
        for right in sides or [at < _WIDTH / 2]:
            left = at + GAP if right else at - GAP - wide
            yield _Box(left, left + wide, float(top), float(top) + tall), right


def _text_width(line: str) -> float:
    return sum(FONT_SIZE if unicodedata.east_asian_width(char) in "WF" else 0.5 * FONT_SIZE for char in line)


def _cost(box: _Box, upper: Array, lower: Array, boxes: list[_Box], rules: list[float], one: float) -> float:
    """How much the box covers: labels above all, then curves (in px across), then rules."""
    at = np.arange(0, _WIDTH, _COLUMN)
    under = (at >= box.left - 2) & (at <= box.right + 2)
    with np.errstate(invalid="ignore"):
        covered = under & (upper <= box.bottom + 4) & (lower >= box.top - 4)
    cost = 1000.0 * sum(box.meets(other) for other in boxes) + float(np.count_nonzero(covered)) * _COLUMN
    cost += 3.0 * sum(box.left < rule < box.right for rule in rules)
    return cost + (3.0 if box.top < one < box.bottom else 0.0)
