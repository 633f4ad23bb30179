"""The data of a chart: curves as log10 values, a table of them, and the layers at which something breaks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.charts.panels import MAIN, PANELS
from gradcore.words import LN10, Translate, english, number_text

if TYPE_CHECKING:
    import pandas as pd

    from gradcore.measurement import Measurement
    from gradcore.profile import Profile

Array = np.ndarray
MAX_LAYERS = 500  # rows of one chart: with its hover rules and cells it stays below 2000 marks


def scale(moment: str) -> float:
    """What a natural log of a second moment is divided by to be a log10 of this moment."""
    return LN10 if moment == "mean_square" else 2.0 * LN10


def series(
    code: str,
    profile: Profile | None,
    measured: Measurement | None = None,
    *,
    moment: str = "rms",
    statistic: str = "mean",
    level: float = 0.9,
) -> dict[str, Array]:
    """The curves of one panel as log10 values, (L,) each; -inf is exactly zero, nan is not a number.

    ``predicted`` with its band ``band_low``, ``band_high`` for one random network; ``measured`` (mean or median over
    networks) with the quantiles ``low``, ``high`` over networks; ``factor_0``, ... the factors of the panel, predicted
    where there is a prediction, else measured. All relative to the same layer L where the panel is.
    """
    panel, unit = PANELS[code], scale(moment)
    curves: dict[str, Array] = {}
    if profile is not None:
        logs = getattr(profile.at_hand, statistic)(panel.quantity)
        reference = float(logs[-1]) if panel.relative else 0.0
        curves["predicted"] = relative(logs, reference) / unit
        band = profile.at_hand.band(panel.quantity, level)
        if band is not None:
            curves["band_low"], curves["band_high"] = (relative(edge, reference) / unit for edge in band)
    if measured is not None:
        rows = getattr(measured, panel.quantity)
        logs = getattr(measured, statistic)(panel.quantity)
        reference = float(logs[-1]) if panel.relative else 0.0
        edges = np.quantile(rows, [0.5 - level / 2, 0.5 + level / 2], axis=0, method="nearest")
        curves["measured"] = relative(logs, reference) / unit
        curves["low"], curves["high"] = relative(edges[0], reference) / unit, relative(edges[1], reference) / unit
    answer = measured if profile is None else profile.at_hand
    for index, (quantity, _) in enumerate(panel.factors):
        logs = getattr(answer, statistic)(quantity)
        curves[f"factor_{index}"] = relative(logs, float(logs[-1])) / unit
    return curves


def relative(logs: Array, reference: float) -> Array:
    """logs - reference, with zero (-inf) everywhere where the reference itself is zero; nan where it is broken."""
    if reference == -math.inf:
        return np.full_like(logs, -math.inf)
    with np.errstate(invalid="ignore"):
        return logs - reference


def drawn_layers(depth: int) -> Array:
    """The layers (1-based) that a chart draws: all, or MAX_LAYERS of them evenly from first to last."""
    return np.unique(np.rint(np.linspace(1, depth, min(depth, MAX_LAYERS))).astype(int))


def frame(code: str, profile: Profile | None, measured: Measurement | None = None, **options: Any) -> pd.DataFrame:
    """The data of one chart: a row per drawn layer, log10 values (missing where not finite) and their texts."""
    import pandas as pd

    curves = series(code, profile, measured, **options)
    layers = drawn_layers(len(next(iter(curves.values()))))
    curves = {name: values[layers - 1] for name, values in curves.items()}
    table = pd.DataFrame({"layer": layers})
    for name, values in curves.items():
        table[name] = np.where(np.isfinite(values), values, np.nan)
        if name in ("predicted", "measured") or name.startswith("factor"):
            table[f"{name}_text"] = [number_text(v, 3) for v in values]
    if "low" in curves:
        pairs = zip(curves["low"], curves["high"], strict=True)
        table["spread_text"] = [f"{number_text(low)} … {number_text(high)}" for low, high in pairs]
    return table


@dataclass(frozen=True)
class Event:
    """A layer at which something breaks, and what: ``text`` in two short lines."""

    layer: int
    text: str


def events(
    code: str,
    profile: Profile | None,
    measured: Measurement | None = None,
    dtype: str = "float64",
    t: Translate = english,
) -> Iterator[Event]:
    """Where the signal or gradient is exactly zero, or leaves the range of the dtype: the first such layer in the
    direction in which layers are met (for gradients from the last one downwards)."""
    panel = PANELS[code]
    if profile is not None:
        mask = np.isneginf(getattr(profile, panel.quantity))
        if mask.any():
            layer = _first(mask, panel.relative)
            yield Event(layer, t(_zero_text(mask, layer, panel.relative), layer=layer))
        elif panel.pass_name:
            happens = profile.precision[dtype]
            over, under = (getattr(happens, f"{panel.pass_name}_{what}") for what in ("overflow", "underflow"))
            if over:
                yield Event(over, t("overflows plain {dtype}\nat layer {layer}", dtype=dtype, layer=over))
            if under:
                yield Event(under, t("underflows plain {dtype}\nat layer {layer}", dtype=dtype, layer=under))
    if measured is not None:
        logs = getattr(measured, panel.quantity)
        broken = ~np.isfinite(logs).any(axis=0)
        if broken.any():
            layer = _first(broken, panel.relative)
            zero = bool(np.isneginf(logs[:, layer - 1]).all())
            text = "measured: exactly zero\nat layer {layer}" if zero else "measured: not finite\nat layer {layer}"
            yield Event(layer, t(text, layer=layer))


def _first(mask: Array, downwards: bool) -> int:
    """The first layer (1-based) of the mask, or the last one where layers are met downwards."""
    hits = np.flatnonzero(mask)
    return int(hits[-1 if downwards else 0]) + 1


def _zero_text(mask: Array, layer: int, downwards: bool) -> str:
    if downwards and mask[:layer].all():
        return "exactly zero\nin layers 1 to {layer}"
    if not downwards and mask[layer - 1 :].all():
        return "exactly zero\nfrom layer {layer}"
    return "exactly zero\nat layer {layer}"


def layer_table(
    profile: Profile | None,
    measured: Measurement | None = None,
    *,
    moment: str = "rms",
    statistic: str = "mean",
    panels: Iterable[str] = MAIN,
) -> pd.DataFrame:
    """Every layer in numbers: the text equivalent of the charts of these panels. Sizes as plain numbers, or as text
    where a column holds values that a float cannot (1e-600); shares and factors as numbers."""
    import pandas as pd

    columns: dict[str, Any] = {}
    for code in panels:
        curves = series(code, profile, measured, moment=moment, statistic=statistic)
        for name in ("predicted", "measured"):
            if name in curves:
                columns[f"{code}_{name}"] = _readable(curves[name])
    if profile is not None:
        for name in ("chi", "correlation", "saturated", "dead"):
            columns[name] = getattr(profile, name)
    depth = len(next(iter(columns.values())))
    return pd.DataFrame({"layer": np.arange(1, depth + 1), **columns})


def _readable(logs: Array) -> Any:
    finite = logs[np.isfinite(logs)]
    if finite.size and np.abs(finite).max() > 300.0:
        return [number_text(value, 3) for value in logs]
    return 10.0**logs
