"""Curves without their picture: what they go from and to in words, and a dash for each beside its colour."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.words import Translate, english, number_text

if TYPE_CHECKING:
    import altair as alt

DASHES = ([1, 0], [6, 3], [2, 3], [10, 3, 2, 3], [14, 4])  # as many as the theme has colours


def ends_text(title: str, lines: Mapping[str, Any], t: Translate = english, log10: bool = False) -> str:
    """The title, and each line (its values in their order, or with ``log10`` their logarithms: of any size) from its
    first number to its last."""
    parts = []
    for name, values in lines.items():
        known = [float(value) for value in np.asarray(values, dtype=float).ravel() if math.isfinite(value)]
        if known:
            first, last = (number_text(end, 3) if log10 else f"{end:.3g}" for end in (known[0], known[-1]))
            parts.append(t("{name}: from {first} to {last}", name=name, first=first, last=last))
    return f"{title}. {'; '.join(parts) or t('Nothing is drawn yet')}."


def dash_of(names: Iterable[str], channel: str = "series", legend: Any = None) -> alt.StrokeDash:
    """A dash for each name in the order of the colours. ``legend``: the colours' own, so that both make one legend."""
    import altair as alt

    domain = list(names)
    dashes = [list(DASHES[k % len(DASHES)]) for k in range(len(domain))]
    return alt.StrokeDash(f"{channel}:N", scale=alt.Scale(domain=domain, range=dashes), legend=legend)
