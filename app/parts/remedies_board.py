"""The board of the page Remedies: its headline, the charts, and a card with a switch for every remedy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import streamlit as st

from app import runner
from app.i18n import language, said_text, spec_error_text, t, unsupported_text
from app.parts import pictures, remedies_controls
from app.parts import remedies_measuring as measuring
from app.parts.remedies_controls import STAYS, key_of
from app.parts.verdict_box import LOOKS, UNKNOWN
from app.parts.words import estimate_text, network_text
from app.state import Settings
from gradcore.charts import remedies as charts
from gradcore.codec import to_query
from gradcore.errors import GradcoreError, SpecError, UnsupportedError
from gradcore.experiments.board import Board, Entry, board, factors, residual_factors, switched
from gradcore.experiments.board_remedies import ALPHAS, BOARD, Choices
from gradcore.experiments.board_words import figure, headline
from gradcore.experiments.remedies_question import RemediesQuestion
from gradcore.spec import Spec
from gradcore.words import LN10, factor_text, number_text

if TYPE_CHECKING:
    from gradcore.measurement import Measurement

CHART_HEIGHT = 250  # px: both charts beside the cards
CARDS_HEIGHT = 2 * CHART_HEIGHT + 30


@st.cache_resource(max_entries=48, show_spinner=False)
def _alone(key: tuple[Any, ...], choices: Choices, _spec: Spec) -> Board:
    return board(_spec, (), choices, runner.predict)


@st.cache_resource(max_entries=48, show_spinner=False)
def _found(key: tuple[Any, ...], codes: tuple[str, ...], choices: Choices, _spec: Spec) -> Board:
    return switched(_alone(key, choices, _spec), codes, choices, runner.predict)


@st.cache_resource(max_entries=48, show_spinner=False)
def _scales(key: tuple[Any, ...], _spec: Spec) -> dict[str, Entry] | None:
    try:
        return residual_factors(_spec, runner.predict)
    except (SpecError, UnsupportedError):
        return None


def _key(spec: Spec) -> tuple[Any, ...]:
    return tuple(to_query(spec).items())


def found(spec: Spec, question: RemediesQuestion) -> Board:
    """The predicted board, shared between sessions."""
    return _found(_key(spec), question.codes, question.choices, spec)


# --- the headline -----------------------------------------------------------------------------------------------


def box(shown: Board, settings: Settings, other_networks: Any) -> Any:
    """The answer in sentences, and the button of the measurement. Returns the place of the progress bar."""
    verdict = shown.plain.verdict
    look = UNKNOWN if verdict is None else LOOKS[verdict.kind]
    said, *more = [message.text(t) for message in headline(shown)]
    with st.container(border=True):
        words, pressed = st.columns([4, 1], vertical_alignment="center", gap="medium")
        with words, st.container(gap="xxsmall"):
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.badge(t(look.word), icon=look.icon, color=look.color)
                if shown.plain.spec is not None:
                    st.caption(network_text(shown.plain.spec), width="content")
            st.subheader(said, anchor=False)
            if more:
                st.markdown(" ".join(more))
            if shown.plain.refusal is not None:
                st.caption(reason(shown.plain.refusal))
            for code, error in shown.skipped.items():
                values = {"title": BOARD[code].title.text(t), "reason": said_text(error.reason)}
                st.caption(t("Left out of all together: {title}, {reason}.", **values))
        with pressed, st.container(gap="xsmall"):
            measuring.button(shown, settings, other_networks)
            return st.container()


def reason(error: GradcoreError) -> str:
    """Why there is no answer, in words."""
    if isinstance(error, UnsupportedError):
        return unsupported_text(error)
    return spec_error_text(error) if isinstance(error, SpecError) else str(error)


def _why_not(entry: Entry) -> str:
    """Why a remedy shows no figures: it does not apply here, or theory has no prediction of what it makes."""
    error = entry.refusal
    if entry.spec is None and isinstance(error, UnsupportedError):
        return said_text(error.reason) + "."
    return reason(error) if error is not None else ""


# --- charts -----------------------------------------------------------------------------------------------------


@st.cache_data(max_entries=64, show_spinner=False)
def _charts(
    key: tuple[Any, ...], moment: str, _shown: Board, _measured: dict[str, Measurement]
) -> list[tuple[dict[str, Any], str]]:
    return [
        (
            charts.board_chart(_shown, _measured, side, moment=moment, height=CHART_HEIGHT, t=t).to_dict(
                validate=False
            ),
            charts.describe(_shown, side, t),
        )
        for side in charts.SIDES
    ]


def draw_charts(shown: Board, measured: dict[str, Measurement], settings: Settings) -> None:
    """The gradient above, the signal below it."""
    names = tuple((entry.code, _key(entry.spec)) for entry in shown.shown if entry.spec is not None)
    there = tuple((code, one.networks, one.seed, one.dtype, one.sampler) for code, one in measured.items())
    made = _charts((names, there, language()), settings.moment, shown, measured)
    for side, (document, words) in zip(charts.SIDES, made, strict=True):
        pictures.chart(st, side, document, words, height=CHART_HEIGHT)
    st.caption(
        t(
            "Lines: predicted. Points: mean over measured networks, with their range. Shaded: usable, within a factor "
            "100 in RMS of the last layer's gradient."
        )
    )


# --- the cards --------------------------------------------------------------------------------------------------


def cards(
    shown: Board, measured: dict[str, Measurement], question: RemediesQuestion, settings: Settings, waits: bool
) -> None:
    """The plain network, all together, and every remedy with its switch, its figures and what it does and does not."""
    with st.container(height=CARDS_HEIGHT, border=False, gap="xsmall"):
        with st.container(border=True, gap="xxsmall"):
            for entry in (shown.plain, shown.together):
                if entry is not None:
                    _title(f"**{charts.name_of(entry.code, t)}**", entry)
                    _numbers(entry, measured.get(entry.code), settings, waits)
        st.caption(t("Switch a remedy on, and it is drawn beside the plain network; those that are on come first."))
        for code in (*question.codes, *(code for code in BOARD if code not in question.codes)):
            with st.container(border=True, gap="xxsmall"):
                _card(shown, code, measured.get(code), question, settings, waits)
        st.caption(
            t(
                "4.1 clipping and 4.7 weight penalties change no gradient before training: they have views of their "
                "own, above. 4.6 gated cells: [the page Gates](gates). More on 4.5: "
                "[the page Initializers](initializers)."
            )
        )


def _title(text: str, entry: Entry) -> None:
    look = UNKNOWN if entry.verdict is None else LOOKS[entry.verdict.kind]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(text, width="content")
        st.badge(t(look.word), icon=look.icon, color=look.color)


def _card(
    shown: Board, code: str, measured: Measurement | None, question: RemediesQuestion, settings: Settings, waits: bool
) -> None:
    remedy, entry, on = BOARD[code], shown.alone[code], code in question.codes
    key = f"remedies_switch_{code}"
    st.session_state[key] = on
    look = UNKNOWN if entry.verdict is None else LOOKS[entry.verdict.kind]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.toggle(
            f"{remedy.experiment} {remedy.title.text(t)}",
            key=key,
            disabled=entry.spec is None and not on,
            on_change=remedies_controls.switch,
            args=(question.codes, code),
            help=t("Source: {source}", source=remedy.source) if remedy.source else None,
        )
        if entry.spec is not None:
            st.badge(t(look.word), icon=look.icon, color=look.color)
    if entry.refusal is not None:
        st.caption(t("Not here: {reason}", reason=_why_not(entry)))
    else:
        _numbers(entry, measured, settings, waits if on else None)
    if code in OWN:
        OWN[code](shown, entry, question)
    plain = shown.plain.spec
    scales = _scales(_key(plain), plain) if code == "residual" and plain is not None else None
    own = figure(entry, shown.plain, scales)
    if own is not None:
        st.caption(own.text(t))
    st.caption(t("**Does.** {text}", text=remedy.does.text(t)))
    st.caption(t("**Does not.** {text}", text=remedy.does_not.text(t)))


def _numbers(entry: Entry, measured: Measurement | None, settings: Settings, waits: bool | None) -> None:
    """Gradient and signal per layer: predicted, and measured with its standard error; ``waits`` None: switched off."""
    found = entry.factors
    if found is not None and not math.isnan(found.backward.log):
        values = {
            "factor": factor_text(found.backward.log / LN10),
            "square": factor_text(2.0 * found.backward.log / LN10),
            "signal": factor_text(found.forward.log / LN10),
            "ratio": number_text(found.ratio.log / LN10),
        }
        text = "Gradient **×{factor}** per layer in RMS (×{square} in mean square)"
        st.markdown(t(text, **values))
        st.markdown(t("Layer 1 gets {ratio} of the last layer's; signal ×{signal}", **values))
    elif entry.spec is not None and entry.spec.depth == 1:
        st.markdown(t("One layer: nothing per layer."))
    if waits is None:
        st.caption(t("Not measured: switch it on."))
    elif measured is not None:
        mine = factors(measured)
        values = {"factor": estimate_text(mine.backward), "signal": estimate_text(mine.forward)}
        st.markdown(t("Measured ×{factor}; signal ×{signal}", **values))
    elif entry.spec is not None:
        said = measuring.refusal(entry.spec, settings)
        waiting = t("Measuring …") if waits else t("Not measured yet.")
        st.caption(t("Not measured: {said}", said=said) if said else waiting)


# --- what a remedy leaves open ------------------------------------------------------------------------------------


def _alpha(shown: Board, entry: Entry, question: RemediesQuestion) -> None:
    st.segmented_control(
        t("Scale α of the branch"),
        options=list(ALPHAS),
        key=key_of("alpha"),
        required=True,
        help=t("h + α (W φ(h) + b); L is the number of layers."),
        **STAYS,
    )


def _depth(shown: Board, entry: Entry, question: RemediesQuestion) -> None:
    plain = shown.plain.spec
    if plain is None or plain.depth < 2:
        return
    now = entry.spec.depth if entry.spec is not None else plain.depth
    st.session_state["remedies_depth_slider"] = now
    st.slider(
        t("Layers"),
        1,
        plain.depth,
        key="remedies_depth_slider",
        on_change=_choose_depth,
        help=t("As it stands, the most at which layer 1 gets a usable gradient; move it to see other depths."),
    )
    if question.depth is not None:
        st.button(
            t("Back to the largest usable depth"),
            key="remedies_depth_back",
            type="tertiary",
            on_click=remedies_controls.put,
            args=("depth", None),
        )


def _choose_depth() -> None:
    """Callback of the slider."""
    remedies_controls.put("depth", int(st.session_state["remedies_depth_slider"]))


OWN = {"residual": _alpha, "fewer_layers": _depth}
