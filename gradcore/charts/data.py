"""The data of a chart: curves as log10 values, a table of them, and the layers at which something breaks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.charts.panels import PANELS
from gradcore.charts.words import relative
from gradcore.words import LN10, Translate, english, number_text

if TYPE_CHECKING:
    import pandas as pd

    from gradcore.measurement import Measurement
    from gradcore.profile import Profile

Array = np.ndarray


def _scale(moment: str) -> float:
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
    networks) with the quantiles ``low``, ``high`` over networks. All relative to the same layer L where the panel is.
    """
    panel, unit = PANELS[code], _scale(moment)
    curves: dict[str, Array] = {}
    if profile is not None:
        logs = getattr(profile, statistic)(panel.quantity)
        reference = float(logs[-1]) if panel.relative else 0.0
        curves["predicted"] = relative(logs, reference) / unit
        band = profile.band(panel.quantity, level)
        if band is not None:
            curves["band_low"], curves["band_high"] = (relative(edge, reference) / unit for edge in band)
    if measured is not None:
        rows = getattr(measured, panel.quantity)
        logs = getattr(measured, statistic)(panel.quantity)
        reference = float(logs[-1]) if panel.relative else 0.0
        edges = np.quantile(rows, [0.5 - level / 2, 0.5 + level / 2], axis=0, method="nearest")
        with np.errstate(invalid="ignore"):
            curves["measured"] = relative(logs, reference) / unit
            curves["low"], curves["high"] = relative(edges[0], reference) / unit, relative(edges[1], reference) / unit
    return curves


def frame(code: str, profile: Profile | None, measured: Measurement | None = None, **options: Any) -> pd.DataFrame:
    """The data of one chart: a row per layer, log10 values (missing where not finite) and their texts."""
    import pandas as pd

    curves = series(code, profile, measured, **options)
    depth = len(next(iter(curves.values())))
    table = pd.DataFrame({"layer": np.arange(1, depth + 1)})
    for name, values in curves.items():
        table[name] = np.where(np.isfinite(values), values, np.nan)
    for name in ("predicted", "measured"):
        if name in curves:
            table[f"{name}_text"] = [number_text(v, 3) for v in curves[name]]
    if "low" in curves:
        pairs = zip(curves["low"], curves["high"], strict=True)
        table["spread_text"] = [f"{number_text(low)} … {number_text(high)}" for low, high in pairs]
    return table


@dataclass(frozen=True)
class Event:
    """A layer at which something breaks, and what."""

    layer: int
    text: str


def events(
    code: str,
    profile: Profile | None,
    measured: Measurement | None = None,
    dtype: str = "float64",
    t: Translate = english,
) -> Iterator[Event]:
    """Where the signal or gradient is exactly zero, or leaves the range of the dtype."""
    panel = PANELS[code]
    order = -1 if panel.relative else 1  # the gradient meets the last layer first
    if profile is not None:
        zero = _first(np.isneginf(getattr(profile, panel.quantity)), order)
        if zero:
            yield Event(zero, t("exactly zero from layer {layer}", layer=zero))
        else:
            prefix = "gradient" if panel.relative else "forward"
            happens = profile.precision[dtype]
            over, under = getattr(happens, f"{prefix}_overflow"), getattr(happens, f"{prefix}_underflow")
            if over:
                yield Event(over, t("overflows plain {dtype} at layer {layer}", dtype=dtype, layer=over))
            if under:
                yield Event(under, t("underflows plain {dtype} at layer {layer}", dtype=dtype, layer=under))
    if measured is not None:
        logs = getattr(measured, panel.quantity)
        broken = _first(~np.isfinite(logs).any(axis=0), order)
        if broken:
            zero = bool(np.isneginf(logs[:, broken - 1]).all())
            text = "measured: exactly zero at layer {layer}" if zero else "measured: not finite at layer {layer}"
            yield Event(broken, t(text, layer=broken))


def _first(mask: Array, order: int) -> int:
    """The first layer (1-based) of the mask in this order; 0 where there is none."""
    hits = np.flatnonzero(mask)
    return int(hits[0 if order > 0 else -1]) + 1 if hits.size else 0


def layer_table(
    profile: Profile | None, measured: Measurement | None = None, *, moment: str = "rms", statistic: str = "mean"
) -> pd.DataFrame:
    """Every layer in numbers: the text equivalent of the charts. Sizes as plain numbers, or as text where a column
    holds values that a float cannot (1e-600); shares and factors as numbers."""
    import pandas as pd

    columns: dict[str, Any] = {}
    for code in PANELS:
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
