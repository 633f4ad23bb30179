"""The table of gains: exact, torch's own, and by experiment, for every activation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from app import runner
from app.i18n import t
from app.parts.place import Place
from app.parts.verdict_box import missing_text
from gradcore.guide.gains import Gain, gain_table

if TYPE_CHECKING:
    from gradcore.draws import SampledGain
    from gradcore.spec import Spec

SAMPLES = 10_000
AGREES = 4.0  # standard errors, as in gradcore.compare
HIGHLIGHT = "background-color: rgba(70, 130, 200, 0.22); font-weight: 600"  # over a light ground and a dark one
NONE = "–"


@dataclass
class Table:
    """Where the table and the line below it go."""

    table: Place
    status: Place


def frame() -> Table:
    """Room for the table, under what its columns mean."""
    st.markdown(f"**{t('Gains of every activation (σ_w that keeps a signal or a gradient of RMS 1)')}**")
    st.caption(
        t(
            "Forward: 1/√E φ(Z)², Z ~ N(0, 1), keeps the signal. Backward: 1/√E φ′(Z)² keeps the gradient. torch: "
            "calculate_gain, {none} where torch has none. A gain that is right at RMS 1 holds a deep net only where "
            "RMS 1 is a stable fixed point.",
            none=NONE,
        )
    )
    return Table(Place(), Place())


def draw(places: Table, spec: Spec) -> None:
    """The exact gains, before anything is measured."""
    places.status.draw("caption", t("By experiment: waiting for torch …"))
    _draw(places, spec, None)


def measure(places: Table, spec: Spec, seed: int) -> None:
    """The experiment's columns; torch is imported here where it was not before."""
    try:
        runner.start_torch()
    except ModuleNotFoundError as error:
        places.status.draw("caption", missing_text(error.name or str(error)))
        return
    sampled = _sampled(seed, spec.negative_slope)
    _draw(places, spec, sampled)
    places.status.draw("caption", status_text(gain_table(spec.negative_slope), sampled, seed))


@st.cache_data(max_entries=32, show_spinner=False)
def _sampled(seed: int, negative_slope: float | None) -> tuple[SampledGain, ...]:
    from gradcore.draws import sample_gains

    return sample_gains(SAMPLES, seed, negative_slope)


def status_text(exact: tuple[Gain, ...], sampled: tuple[SampledGain, ...], seed: int) -> str:
    """What was drawn, and whether it agrees with the exact values."""
    far = [g.activation for g, s in zip(exact, sampled, strict=True) if _distance(g, s) > AGREES]
    drawn = t(
        "By experiment: torch's own functions on {samples} draws of N(0, 1) each, float64, seed {seed} (change it "
        "under Measurement); ± one standard error.",
        samples=f"{SAMPLES:,}",
        seed=seed,
    )
    if far:
        names = ", ".join(far)
        return f"{drawn} {t('Further than {limit} of them from exact: {names}.', limit=f'{AGREES:g}', names=names)}"
    worst = max(_distance(g, s) for g, s in zip(exact, sampled, strict=True))
    return f"{drawn} {t('All agree with the exact values: at most {worst} of them away.', worst=f'{worst:.1f}')}"


def _distance(exact: Gain, sampled: SampledGain) -> float:
    """The larger of both distances from the exact gains, in standard errors."""
    return sampled.farthest(exact.forward, exact.backward)


# --- the table -----------------------------------------------------------------------------------------------


def _draw(places: Table, spec: Spec, sampled: tuple[SampledGain, ...] | None) -> None:
    exact = gain_table(spec.negative_slope)
    rows = [_row(gain, sampled[i] if sampled else None) for i, gain in enumerate(exact)]
    places.table.draw(
        "dataframe",
        _highlighted(rows, spec.activation),
        hide_index=True,
        height="content",
        column_config=_columns(),
        alt=t("Gains of every activation: exact, torch's own, and by experiment"),
        placeholder=NONE,
    )


def _row(exact: Gain, sampled: SampledGain | None) -> dict[str, Any]:
    row = {
        "activation": exact.activation,
        "forward": exact.forward,
        "torch": exact.torch,
        "backward": exact.backward,
    }
    if sampled is None:
        return row | dict.fromkeys(("sampled_forward", "sampled_backward", "agrees", "spread"), "…")
    distance = _distance(exact, sampled)
    verdict = t("yes ({distance} σ)") if distance <= AGREES else t("no ({distance} σ)")
    return row | {
        "sampled_forward": _with_error(sampled.forward, sampled.forward_error),
        "sampled_backward": _with_error(sampled.backward, sampled.backward_error),
        "agrees": verdict.format(distance=f"{distance:.1f}" if math.isfinite(distance) else "∞"),
        "spread": f"{sampled.spread:.3f} ({exact.spread:.3f})",
    }


def _with_error(value: float, error: float) -> str:
    return f"{value:.3f} ± {error:.3f}"


def _columns() -> dict[str, Any]:
    text, number = st.column_config.TextColumn, st.column_config.NumberColumn
    return {
        "activation": text(t("activation"), pinned=True, width=105),
        "forward": number(t("forward, exact"), format="%.5f", help=t("1/√E φ(Z)²: keeps a signal of RMS 1.")),
        "torch": number(
            t("torch"), format="%.5f", help=t("torch.nn.init.calculate_gain; – where it raises ValueError.")
        ),
        "backward": number(t("backward, exact"), format="%.5f", help=t("1/√E φ′(Z)²: keeps the gradient.")),
        "sampled_forward": text(t("forward, drawn"), help=t("1/√mean φ(x)² over the draws.")),
        "sampled_backward": text(t("backward, drawn"), help=t("1/√mean φ′(x)², φ′ by torch's autograd.")),
        "agrees": text(
            t("agrees"),
            help=t("The larger of both distances from exact, in standard errors; it agrees up to {limit}.", limit="4"),
        ),
        "spread": text(
            t("std x / std φ(x)"),
            help=t(
                "The course's estimate, exact value in brackets. It takes the mean of φ off, which a network does not: "
                "for ReLU it says 1.71 where 1.41 is right."
            ),
        ),
    }


def _highlighted(rows: list[dict[str, Any]], activation: str) -> Any:
    """The rows as a table, the activation in use marked."""
    import pandas as pd

    def style(row: Any) -> list[str]:
        return [HIGHLIGHT if row["activation"] == activation else ""] * len(row)

    return pd.DataFrame(rows).style.apply(style, axis=1)
