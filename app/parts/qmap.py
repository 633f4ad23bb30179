"""The answer of the activations page: where the signal of this activation goes, and what to press."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import streamlit as st

from app import controls, theme
from app.i18n import language, mark, spec_error_text, t, unsupported_text
from app.parts import pictures
from app.parts.place import Place
from app.parts.verdict_box import Look
from gradcore.charts import activation as charts
from gradcore.codec import to_query
from gradcore.errors import GradcoreError, SpecError, UnsupportedError
from gradcore.guide.gains import gains_of
from gradcore.guide.uses import uses
from gradcore.guide.variance_map import Fate, VarianceMap, story, unstable_story, variance_map
from gradcore.spec import Spec
from gradcore.theory.critical import critical_gain, critical_points
from gradcore.words import LN10, factor_text, number_text

LOOKS = {  # one for each of gradcore.guide.variance_map.KINDS
    "settles": Look(mark("Settles"), ":material/adjust:", "blue"),
    "keeps": Look(mark("Keeps its size"), ":material/drag_handle:", "blue"),
    "balances": Look(mark("Unstable"), ":material/balance:", "orange"),
    "fades": Look(mark("Fades"), ":material/south_east:", "orange"),
    "swells": Look(mark("Swells"), ":material/north_east:", "orange"),
    "collapses": Look(mark("Collapses"), ":material/trending_down:", "red"),
    "explodes": Look(mark("Explodes"), ":material/trending_up:", "red"),
}
GRADIENT_ICONS = {True: ":material/check_circle:", False: ":material/warning:"}  # usable over the depth, or not
UNKNOWN = Look(mark("No map"), theme.ICONS["unsupported"], "gray")


@dataclass
class Answer:
    """The map of a Spec, its signal's ln mean square at layer 1 and its fate; or why there is none."""

    spec: Spec
    plain: VarianceMap | None = None
    log_q: float = math.nan
    fate: Fate | None = None
    refusal: GradcoreError | None = None


@st.cache_resource(max_entries=64, show_spinner=False, hash_funcs={Spec: lambda spec: tuple(to_query(spec).items())})
def answer(spec: Spec) -> Answer:
    """Where the signal of this network goes."""
    try:
        plain, log_q = variance_map(spec)
        return Answer(spec, plain, log_q, plain.fate(log_q))
    except GradcoreError as error:
        return Answer(spec, refusal=error)


# --- the box -------------------------------------------------------------------------------------------------


def draw(found: Answer) -> None:
    """The box: where the signal goes in one sentence, what the activation is good for, and two gains to try."""
    with st.container(border=True):
        said, pressed = st.columns([3, 1], vertical_alignment="center", gap="medium")
        with said, st.container(gap="xxsmall"):
            _sentence(found)
        with pressed, st.container(gap="small"):
            _buttons(found.spec)


def _sentence(found: Answer) -> None:
    look = UNKNOWN if found.fate is None else LOOKS[found.fate.kind]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(t(look.word), icon=look.icon, color=look.color)
        if found.fate is not None:
            usable = found.fate.usable(found.spec.depth)
            st.badge(_gradient_text(found), icon=GRADIENT_ICONS[usable], color="green" if usable else "red")
        st.caption(_scale_text(found), width="content")
    st.subheader(_headline(found), anchor=False)
    good, *more = uses(found.spec.activation, found.spec.negative_slope)
    st.markdown(f"**{t('Good for:')}** {good.text(t)}")
    if further := [message.text(t) for message in more] + _details(found):
        st.caption(" ".join(further))


def _gradient_text(found: Answer) -> str:
    """By what gradients change per layer in the end."""
    assert found.fate is not None
    return t("Gradients ×{factor} per layer", factor=factor_text(0.5 * found.fate.log_chi / LN10))


def _headline(found: Answer) -> str:
    if found.fate is None:
        return t("These weights have no variance map")
    return story(found.fate).text(t)


def _scale_text(found: Answer) -> str:
    if found.plain is None:
        return found.spec.activation
    return t(
        "{activation} · σ_w = {sigma_w} · σ_b = {sigma_b} ({init} at gain {gain})",
        activation=found.spec.activation,
        sigma_w=f"{found.plain.sigma_w:.4g}",
        sigma_b=f"{found.plain.sigma_b:.4g}",
        init=found.spec.init,
        gain=found.spec.gain if isinstance(found.spec.gain, str) else f"{found.spec.gain:.4g}",
    )


def _details(found: Answer) -> list[str]:
    """Unstable points, where the signal is at the last layer, and what the map leaves out."""
    spec = found.spec
    if found.plain is None:
        error = found.refusal
        said = unsupported_text(error) if isinstance(error, UnsupportedError) else ""
        said = spec_error_text(error) if isinstance(error, SpecError) else said
        return [said[:1].upper() + said[1:]]
    told = [message.text(t) for message in unstable_story(found.plain.fixed_points)]
    last = number_text(0.5 * float(found.plain.path(found.log_q, spec.depth)[-1]) / LN10, 3)
    told.append(
        t(
            "This network starts at RMS {first} and is at {last} in layer {depth}.",
            first=number_text(0.5 * found.log_q / LN10, 3),
            last=last,
            depth=spec.depth,
        )
    )
    if spec.norm != "none" or spec.residual != "none":
        told.append(t("The sidebar's normalization and residual connections are left out: this is the plain network."))
    if len(set(spec.layer_widths.tolist())) > 1:
        told.append(t("Layers differ in width: the map is the last layer's."))
    return told


def _buttons(spec: Spec) -> None:
    """Two gains to try."""
    _critical_button(spec)
    gain = gains_of(spec.activation, spec.negative_slope)
    whose = t("the exact gain") if gain.torch is None else t("torch's gain")
    st.button(
        t("Set {whose} (σ_w = {sigma})", whose=whose, sigma=f"{gain.torch or gain.forward:.4g}"),
        key="set_auto",
        width="stretch",
        wrap=True,
        disabled=spec.gain == "auto",
        help=t("torch's calculate_gain where there is one, else the exact 1/√E φ(Z)²."),
        on_click=controls.load,
        args=(spec.replace(gain="auto"),),
    )


def _critical_button(spec: Spec) -> None:
    """The critical gain, with a word where its fixed point is unstable; or that there is none."""
    code, bias = spec.activation, _bias(spec)
    try:
        sigma = critical_gain(code, bias_std=bias, negative_slope=spec.negative_slope)
    except SpecError:
        said = t("{activation} has no critical gain: at no σ_w do its gradients keep their size.", activation=code)
        st.caption(said)
        return
    stable = any(point.stable for point in critical_points(code, bias, spec.negative_slope))
    values = {"sigma": f"{sigma:.4g}"}
    steady = t("Set the critical gain (σ_w = {sigma})", **values)
    loose = t("Set the critical gain (σ_w = {sigma}, unstable)", **values)
    st.button(
        steady if stable else loose,
        key="set_critical",
        icon=theme.ICONS["fix"],
        type="primary" if stable else "secondary",
        width="stretch",
        wrap=True,
        disabled=spec.gain == "critical",
        help=t("The weight scale at which gradients keep their size from layer to layer: χ = 1 at a fixed point."),
        on_click=controls.load,
        args=(spec.replace(gain="critical"),),
    )


def _bias(spec: Spec) -> float:
    """sigma_b of the last layer."""
    found = answer(spec).plain
    return 0.0 if found is None else found.sigma_b


# --- the charts ----------------------------------------------------------------------------------------------


def draw_charts(left: Place, right: Place, found: Answer, moment: str) -> None:
    """The function with its slope, and the map."""
    spec = found.spec
    document = _function(spec.activation, spec.negative_slope, language())
    words = charts.describe_function(spec.activation, spec.negative_slope, t)
    pictures.chart(left, "function", document, words, height=theme.CHART_HEIGHT)
    if found.plain is None:
        right.draw("caption", t("There is no map to draw: see Explore for what these weights do, layer by layer."))
        return
    document = _map(found.plain, found.log_q, spec.depth, moment, language())
    words = charts.describe_map(found.plain, found.log_q, t)
    pictures.chart(right, "variance-map", document, words, height=theme.CHART_HEIGHT)


@st.cache_data(max_entries=64, show_spinner=False)
def _function(activation: str, negative_slope: float | None, language: str) -> dict[str, Any]:
    return charts.function_chart(activation, negative_slope, theme.CHART_HEIGHT, t).to_dict(validate=False)


@st.cache_data(max_entries=64, show_spinner=False, hash_funcs={VarianceMap: lambda plain: repr(plain)})
def _map(plain: VarianceMap, log_q: float, depth: int, moment: str, language: str) -> dict[str, Any]:
    return charts.map_chart(plain, log_q, depth, moment=moment, height=theme.CHART_HEIGHT, t=t).to_dict(validate=False)


def legend(found: Answer) -> str:
    """What the marks of the map mean, where there is one."""
    if found.plain is None:
        return t("Ring: a kink, where the slope jumps or bends.")
    return t(
        "Map: follow the thin line from the diamond (layer 1): up or down to the thick map, across to the dotted line "
        "of no change, and again. Filled: stable fixed point; ring: unstable."
    )
