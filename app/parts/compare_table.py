"""The tables of the page Compare: verdict and figures of every pin, the fields that differ, and those that do not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from app import widgets
from app.i18n import t
from app.parts.compare_measuring import refusal
from app.parts.place import Place
from app.parts.verdict_box import LOOKS, UNKNOWN, Answer, missing_text, refusal_text
from app.parts.words import estimate_text
from app.state import Settings
from gradcore.estimates import Estimate, estimates
from gradcore.fields import FIELDS
from gradcore.pins import Pin, acts, differences, shared, value_text
from gradcore.spec import Spec
from gradcore.words import LN10, factor_text, number_text

if TYPE_CHECKING:
    from gradcore.measurement import Measurement

FIRST_FIXES = "compare_fixes"  # of this session, by network
UNLIKE = "≠\N{NO-BREAK SPACE}"


def fix_text(found: Answer, search: bool) -> str:
    """What mends this network first, in words; three dots until it is searched, which takes up to half a second."""
    if found.verdict is None:
        return "–"
    if found.verdict.stable:
        return t("nothing to mend")
    known = st.session_state.setdefault(FIRST_FIXES, {})
    if found.spec not in known:
        if not search:
            return "…"
        known[found.spec] = next(iter(found.verdict.iter_fixes() if found.fixes is None else found.fixes), None)
    fix = known[found.spec]
    return t("no single change found") if fix is None else fix.message.text(t)


def rows(
    pins: Sequence[Pin],
    found: Sequence[Answer],
    measured: Sequence[Measurement | None],
    settings: Settings,
    waiting: str,
    search: bool = True,
) -> list[dict[str, str]]:
    """A row of texts for each pin: what it is called, its verdict, its figures, what mends it."""
    table = []
    for number, (one, answer, there) in enumerate(zip(pins, found, measured, strict=True), start=1):
        row = {t("network"): f"**{number}** {one.name}", t("verdict"): _verdict(answer)}
        row |= _figures(answer, there, settings, refusal(one.spec, settings) or waiting)
        row[t("what mends it")] = fix_text(answer, search)
        table.append(row)
    return table


def _verdict(found: Answer) -> str:
    look = UNKNOWN if found.verdict is None else LOOKS[found.verdict.kind]
    return f":{look.color}-badge[{look.icon} {t(look.word)}]"


def _figures(found: Answer, measured: Measurement | None, settings: Settings, waiting: str) -> dict[str, str]:
    """Factor per layer and gradient at layer 1 by the shared moment and statistic, predicted and measured."""
    square = settings.moment == "mean_square"
    unit = t("mean square") if square else t("RMS")
    ours = None if found.profile is None else estimates(found.profile, settings.statistic)
    theirs = None if measured is None else estimates(measured, settings.statistic)

    def said(one: Any, name: str, empty: str) -> str:
        return empty if one is None else _estimate(getattr(one, name), square).replace(" ", "\N{NO-BREAK SPACE}")

    return {
        t("gradient per layer ({unit})", unit=unit): "–" if ours is None else _factor(ours.factor, square),
        t("at layer 1, predicted"): said(ours, "ratio", "–"),
        t("at layer 1, measured"): said(theirs, "ratio", waiting),
    }


def _factor(one: Estimate, square: bool) -> str:
    return "–" if math.isnan(one.log) else "×" + factor_text((2.0 if square else 1.0) * one.log / LN10)


def _estimate(one: Estimate, square: bool) -> str:
    shown = one.squared if square else one
    return number_text(shown.log / LN10) if shown.error is None else estimate_text(shown)


def _value(spec: Spec, name: str) -> str:
    """A field's value; a dash where it does not act."""
    value = getattr(spec, name)
    if not acts(spec, name):
        return "–"
    return t("default") if value is None else value_text(value, 4)


def field_rows(specs: Sequence[Spec]) -> list[dict[str, str]]:
    """A row for each field that differs and acts: its value in every network, marked where unlike the first one's."""
    table = []
    for name in differences(specs):
        if any(acts(spec, name) for spec in specs):
            texts = [_value(spec, name) for spec in specs]
            marked = [text if text == texts[0] else f"**{UNLIKE}{text}**" for text in texts]
            row = {t("what differs"): _label(name)}
            table.append(row | {f"**{number}**": text for number, text in enumerate(marked, start=1)})
    return table


def draw(place: Place, table: list[dict[str, str]], words: str) -> None:
    """A table of these rows; ``words`` say what it is to those who do not see it."""
    columns = {name: [row[name] for row in table] for name in table[0]}
    place.draw("table", columns, border="horizontal", alt=words)


def fields(specs: Sequence[Spec]) -> None:
    """The fields that differ as a table, and those that are the same in all in one line."""
    table = field_rows(specs)
    if table:
        draw(Place(), table, t("Fields in which the networks differ"))
        st.caption(t("{mark}: not as in network 1. –: does not act there.", mark=UNLIKE.strip()))
    same = [
        t("{field} {value}", field=_lower(_label(name)), value=_value(spec, name))
        for name in shared(specs)
        for spec in [one for one in specs if acts(one, name)][:1]
    ]
    if len(specs) > 1:
        st.caption(t("The same in all: {fields}.", fields=", ".join(same)))
    else:
        st.caption(t("Its fields: {fields}.", fields=", ".join(same)))


def refusals(found: Sequence[Answer]) -> None:
    """Why a network has no prediction."""
    for number, answer in enumerate(found, start=1):
        why = refusal_text(answer.refusal) if answer.refusal is not None else ""
        why = missing_text(answer.missing) if answer.missing else why
        if why:
            st.caption(t("Network {number} has no prediction: {reason}", number=number, reason=why))


def _label(name: str) -> str:
    return t(widgets.control_of(FIELDS[name]).label)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
