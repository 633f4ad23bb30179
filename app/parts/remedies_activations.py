"""Every activation on the sidebar's network (4.2): its factor per layer, as it is and from weights that suit it."""

from __future__ import annotations

import time
from typing import Any

import streamlit as st

from app import runner
from app.i18n import t
from app.parts.remedies_board import reason
from app.parts.verdict_box import LOOKS
from gradcore.activations import ACTIVATIONS
from gradcore.codec import to_query
from gradcore.experiments.board import Entry, activation_factors
from gradcore.spec import Spec
from gradcore.words import factors_text

OPEN, KEPT = "remedies_activations", "remedies_activations_kept"
Rows = list[tuple[str, Entry, Entry]]


def draw(spec: Spec) -> None:
    """The part; what takes seconds is computed once it is opened."""
    label = t("4.2 Every activation on this network, factor per layer (about 3 s)")
    with st.expander(label, key=OPEN, on_change="rerun") as part:
        if part.open:
            _table(_rows(spec))


def _rows(spec: Spec) -> Rows:
    """All of them; those of the last network are kept."""
    key = tuple(to_query(spec).items())
    held, rows = st.session_state.get(KEPT, (None, []))
    if held == key:
        return rows
    bar, drawn, found = st.progress(0.0, text=t("Predicting …")), time.monotonic(), []
    for row in activation_factors(spec, runner.predict):
        found.append(row)
        runner.may_stop_here()
        if time.monotonic() - drawn >= runner.REDRAW:
            drawn = time.monotonic()
            bar.progress(len(found) / len(ACTIVATIONS), text=t("Predicted {name}", name=row[0]))
    bar.empty()
    st.session_state[KEPT] = (key, found)
    return found


def _table(rows: Rows) -> None:
    import pandas as pd

    st.caption(
        t(
            "Predicted change of the gradient per layer towards the input: RMS, mean square in brackets. First with "
            "the sidebar's weights, then from the initialization that suits the activation (4.5)."
        )
    )
    text = st.column_config.TextColumn
    st.dataframe(
        pd.DataFrame([_numbers(*row) for row in rows]),
        hide_index=True,
        height=260,
        alt=t("Factor per layer and verdict of every activation"),
        placeholder="–",
        column_config={
            "activation": text(t("activation"), pinned=True),
            "own": text(t("sidebar's weights")),
            "own_verdict": text(t("verdict")),
            "fitted": text(t("suited weights")),
            "fitted_verdict": text(t("verdict")),
            "start": text(t("which")),
        },
    )


def _numbers(code: str, own: Entry, fitted: Entry) -> dict[str, Any]:
    row: dict[str, Any] = {"activation": code}
    for name, entry in (("own", own), ("fitted", fitted)):
        if entry.factors is None or entry.verdict is None:
            row |= {name: None, f"{name}_verdict": reason(entry.refusal) if entry.refusal is not None else None}
        else:
            look = LOOKS[entry.verdict.kind].word
            row |= {name: factors_text(entry.factors.backward.log), f"{name}_verdict": t(look)}
    if fitted.spec is not None and fitted.profile is not None:
        values = {"init": fitted.spec.init, "sigma": f"{float(fitted.profile.sigma_w[-1]):.3g}"}
        row["start"] = t("{init}, σ_w = {sigma}", **values)
    return row
