"""All initializers on one network: the chart of their factors, a button for each, their numbers, drawn weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import streamlit as st

from app import controls, limits, runner, theme
from app.i18n import language, mark, spec_error_text, t, unsupported_text
from app.parts import lines, pictures
from app.parts.place import Place
from app.parts.verdict_box import LOOKS, UNKNOWN, Answer, missing_text
from app.parts.words import network_text
from gradcore.charts import initializer as charts
from gradcore.codec import to_query
from gradcore.equations import equations
from gradcore.errors import GradcoreError, SpecError, UnsupportedError
from gradcore.guide.schemes import Scheme, layer_of, scheme, schemes
from gradcore.initializers import SCALINGS
from gradcore.spec import Spec
from gradcore.words import factors_text

if TYPE_CHECKING:
    from gradcore.draws import WeightSample

GAINS = {"own": mark("Each at its own default gain"), "given": mark("All at the sidebar's gain")}
GAIN_KEY = "initializers_gain"
DRAWN_UNASKED = 1_000_000  # weights: a fraction of a second


def gain_switch() -> bool:
    """Which gain all are shown at; whether it is each one's own."""
    chosen = st.segmented_control(
        t("Gain"),
        options=list(GAINS),
        default="own",
        format_func=lambda code: t(GAINS[code]),
        key=GAIN_KEY,
        required=True,
        persist_state="session",
        label_visibility="collapsed",
        help=t(
            "The default gain is 1: the law as torch's own call draws it, std 1 for normal and trunc_normal, U(−1, 1), "
            "every entry 1 for constant; 0.01 for sparse, torch's default std. Kaiming's laws already hold a factor 2 "
            "for ReLU."
        ),
    )
    return chosen != "given"


@st.cache_resource(max_entries=32, show_spinner=False, hash_funcs={Spec: lambda spec: tuple(to_query(spec).items())})
def all_schemes(spec: Spec, own_gain: bool) -> tuple[Scheme, ...]:
    """Every initializer on this network; shared between sessions."""
    return schemes(spec, own_gain, runner.predict)


def headline(found: Answer) -> None:
    """What the sidebar's initializer does on its network: the verdict, and the exact size of a weight."""
    spec, verdict = found.spec, found.verdict
    look = UNKNOWN if verdict is None else LOOKS[verdict.kind]
    with st.container(border=True, gap="xxsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.badge(t(look.word), icon=look.icon, color=look.color)
            st.caption(network_text(spec), width="content")
        if verdict is not None:
            said = verdict.text(t)
            st.subheader(f"{spec.init}: {said[:1].lower()}{said[1:]}", anchor=False)
        else:
            st.subheader(t("{init}: theory has no prediction for this network", init=spec.init), anchor=False)
        st.caption(_law_text(scheme(spec, runner.predict)))


def _law_text(row: Scheme) -> str:
    """The exact law of one layer's weights."""
    if not math.isfinite(row.variance):
        return _refusal_text(row.refusal)
    n, m = row.fans
    said = t(
        "Fan-in {n}, fan-out {m}: E[W²] = {formula} = {variance}: the RMS of a weight is {std}.",
        n=f"{n:,}",
        m=f"{m:,}",
        formula=formula_text(row),
        variance=f"{row.variance:.3g}",
        std=f"{row.std:.3g}",
    )
    return said if row.refusal is None else f"{said} {_refusal_text(row.refusal)}"


def formula_text(row: Scheme) -> str:
    """The law's formula in one line: its main part with the gain's square, or that it is no random law."""
    return row.entry.formula.partition(":")[0].partition(", k")[0].replace("^2", "²")


# --- chart and buttons ---------------------------------------------------------------------------------------


def draw_factors(place: Place, spec: Spec, own_gain: bool, moment: str) -> None:
    """The chart of all factors."""
    document, words = _factors(tuple(to_query(spec).items()), own_gain, moment, language(), spec)
    pictures.chart(place, "factors", document, words)


@st.cache_data(max_entries=64, show_spinner=False)
def _factors(
    key: tuple[Any, ...], own_gain: bool, moment: str, language: str, _spec: Spec
) -> tuple[dict[str, Any], str]:
    rows = all_schemes(_spec, own_gain)
    chart = charts.factor_chart(rows, _spec.init, moment=moment, t=t)
    return chart.to_dict(validate=False), charts.describe_factors(rows, t)


def buttons(rows: tuple[Scheme, ...], spec: Spec) -> None:
    """A button for each initializer that loads it into the sidebar, its verdict beside it, family by family."""
    st.caption(t("Each button puts its law into the sidebar; beside it the verdict on this network."))
    for scaling, title in SCALINGS.items():
        with st.container(gap="xsmall"):
            st.markdown(f"**{t(title)}**")
            for row in rows:
                if row.entry.scaling == scaling:
                    _button(row, spec)


def _button(row: Scheme, spec: Spec) -> None:
    loaded = row.spec == spec
    look = LOOKS[row.verdict.kind] if row.verdict is not None else UNKNOWN
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            t("{init} (loaded)", init=row.entry.code) if loaded else t("Load {init}", init=row.entry.code),
            key=f"load_{row.entry.code}",
            type="primary" if row.entry.code == spec.init else "secondary",
            disabled=loaded,
            help=_button_help(row),
            width=232,
            on_click=controls.load,
            args=(row.spec,),
        )
        st.badge(t(look.word), icon=look.icon, color=look.color)


def _button_help(row: Scheme) -> str:
    """What pressing loads, and what it would give."""
    said = row.verdict.text(t) if row.verdict is not None else _refusal_text(row.refusal)
    gain = row.spec.gain if isinstance(row.spec.gain, str) else f"{row.spec.gain:.4g}"
    return t("Load {init} at gain {gain} into the sidebar.", init=row.entry.code, gain=gain) + " " + said


def _refusal_text(error: GradcoreError | None) -> str:
    if isinstance(error, UnsupportedError):
        return unsupported_text(error)
    return spec_error_text(error) if isinstance(error, SpecError) else ""


# --- numbers -------------------------------------------------------------------------------------------------


def table(rows: tuple[Scheme, ...], spec: Spec) -> None:
    """Exact law and predicted factors of every initializer, in numbers."""
    import pandas as pd

    n, m = rows[0].fans
    st.caption(
        t(
            "Exact at fan-in n = {n}, fan-out m = {m} (layer {layer}). Factors are predicted at infinite width, the "
            "mean over the layers: signal from layer 1 to the last, gradient back; RMS, mean square in brackets.",
            n=f"{n:,}",
            m=f"{m:,}",
            layer=rows[0].layer,
        )
    )
    frame = pd.DataFrame([_numbers(row) for row in rows])
    used = [row.entry.code == spec.init for row in rows]

    def style(line: Any) -> list[str]:
        return ["background-color: rgba(70, 130, 200, 0.22)" if used[line.name] else ""] * len(line)

    text, number = st.column_config.TextColumn, st.column_config.NumberColumn
    st.dataframe(
        frame.style.apply(style, axis=1),
        hide_index=True,
        height="content",
        alt=t("Weight variance, factors and verdict of every initializer"),
        placeholder="–",
        column_config={
            "init": text(t("initializer"), pinned=True, width=165),
            "family": text(t("family")),
            "gain": text(t("gain")),
            "std": number(t("RMS of a weight"), format="%.4g", help=t("Root of E[W²]: exact.")),
            "variance": text(t("E[W²]"), help=t("Mean square of a weight: exact.")),
            "formula": text(t("formula of E[W²]")),
            "forward": text(t("signal per layer")),
            "backward": text(t("gradient per layer")),
            "verdict": text(t("verdict")),
        },
    )


def _numbers(row: Scheme) -> dict[str, Any]:
    gain = row.spec.gain if isinstance(row.spec.gain, str) else f"{row.spec.gain:.4g}"
    known = math.isfinite(row.variance)
    look = LOOKS[row.verdict.kind].word if row.verdict is not None else None
    return {
        "init": row.entry.code,
        "family": t(SCALINGS[row.entry.scaling]).partition(":")[0],
        "gain": gain,
        "std": row.std if known else None,
        "variance": f"{row.variance:.3g}" if known else None,
        "formula": row.entry.formula.partition(":")[0].replace("^2", "²"),
        "forward": factors_text(row.log_forward),
        "backward": factors_text(row.log_backward),
        "verdict": t(look) if look else _refusal_text(row.refusal),
    }


# --- the weights themselves ----------------------------------------------------------------------------------


def weights(row: Scheme, seed: int) -> None:
    """The weights that torch draws for one layer, where that is cheap or was asked for."""
    n, m = row.fans
    if not math.isfinite(row.variance):
        st.caption(_refusal_text(row.refusal))
        return
    if refused := limits.refusal(row.spec, 1):
        st.caption(refused)
        return
    if n * m > DRAWN_UNASKED and not st.button(
        t("Draw the {count} weights of one layer", count=f"{n * m:,}"), key="draw_weights", icon=theme.ICONS["measure"]
    ):
        st.caption(t("Not drawn unasked: the layer is large."))
        return
    chart, words = Place(), Place()
    words.draw("caption", t("Starting torch …"))
    try:
        runner.start_torch()
        sample = _sample(tuple(to_query(row.spec).items()), row.layer, seed, row.spec)
    except ModuleNotFoundError as error:
        words.draw("caption", missing_text(error.name or str(error)))
        return
    except GradcoreError as error:
        words.draw("caption", _refusal_text(error))
        return
    document = charts.weight_chart(row, sample.edges, sample.counts, theme.CHART_HEIGHT, t).to_dict(validate=False)
    said = weights_text(row, sample, seed)
    pictures.chart(chart, "weights", document, said, height=theme.CHART_HEIGHT)
    words.draw("caption", said)


@st.cache_data(max_entries=16, show_spinner=False)
def _sample(key: tuple[Any, ...], layer: int, seed: int, _spec: Spec) -> WeightSample:
    from gradcore.draws import sample_weights

    return sample_weights(_spec, layer, seed)


def weights_text(row: Scheme, sample: WeightSample, seed: int) -> str:
    """Drawn beside exact, in numbers."""
    return t(
        "{count} weights of layer {layer}, drawn by torch (float64, seed {seed}): mean {mean}, RMS {rms}; the exact "
        "law has √E[W²] = {std}.",
        count=f"{sample.shape[0] * sample.shape[1]:,}",
        layer=row.layer,
        seed=seed,
        mean=f"{sample.mean:.2g}",
        rms=f"{sample.rms:.4g}",
        std=f"{row.std:.4g}",
    )


# --- derivation ----------------------------------------------------------------------------------------------


def derivation(row: Scheme) -> None:
    """From the law of the weights to the factor per layer, in symbols and with this network's numbers."""
    if row.verdict is None:
        st.caption(_refusal_text(row.refusal))
        return
    profile = runner.predict(row.spec)
    lines.draw(equations(profile, layer_of(row.spec), t))
