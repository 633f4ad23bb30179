"""Explore: one network, its signal forward and its gradient backward, predicted and measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

import gradcore as gc
from app import controls, runner, state, theme
from app.i18n import mark, note_text, spec_error_text, t, unsupported_text
from app.state import Settings
from gradcore import charts
from gradcore.codec import to_snippet
from gradcore.spec import Spec
from gradcore.words import factor_text, number_text

if TYPE_CHECKING:
    from gradcore.measurement import Measurement
    from gradcore.profile import Profile

MOMENT_LABELS = {"rms": mark("RMS"), "mean_square": mark("Mean square")}
STATISTIC_LABELS = {"mean": mark("Mean"), "median": mark("Median")}
QUANTITY_LABELS = {
    "log_q": mark("signal z"),
    "log_p": mark("layer input x"),
    "log_g": mark("gradient δ"),
    "log_dw": mark("weight gradient"),
    "log_db": mark("bias gradient"),
}


@dataclass
class Slots:
    """Places that are filled at once with the prediction, and again with the measurement."""

    metrics: Any
    charts: Any
    legend: Any
    status: Any
    table: Any


def page() -> None:
    """The page: the answer in a sentence and four numbers, both charts, then every layer and the code."""
    _notices()
    asked = controls.question()
    if asked.spec is None:
        st.subheader(t("This network is not allowed"), anchor=False)
        if asked.error is not None:
            st.error(spec_error_text(asked.error), icon=theme.ICONS["error"])
        return
    profile = _profile(asked.spec)
    if isinstance(profile, gc.UnsupportedError):
        st.subheader(t("Theory has no prediction for this network"), anchor=False)
        st.caption(network_text(asked.spec))
        st.info(unsupported_text(profile), icon=theme.ICONS["unsupported"])
        profile = None
    elif profile is None:
        return
    else:
        st.subheader(charts.takeaway(profile, t), anchor=False)
        st.caption(network_text(asked.spec))
    slots = _frame(asked.spec, asked.settings, profile)
    measured = runner.finished(asked.spec, asked.settings)
    _fill(slots, profile, measured, asked.settings)
    if measured is None:
        measured = _measure(slots, asked.spec, asked.settings)
        if measured is not None:
            _fill(slots, profile, measured, asked.settings)
    if measured is not None:
        slots.status.empty()


def _profile(spec: Spec) -> Profile | gc.UnsupportedError | None:
    """The prediction, the refusal, or None where a package is missing (said on the page)."""
    try:
        return runner.predict(spec)
    except gc.UnsupportedError as error:
        return error
    except ModuleNotFoundError as error:
        _missing(error)
        return None


def _missing(error: ModuleNotFoundError) -> None:
    st.info(
        t("This needs the Python package {name}, which is not installed here.", name=error.name or str(error)),
        icon=theme.ICONS["unsupported"],
    )


def _notices() -> None:
    """What the link asked for and was refused, until dismissed."""
    if not state.notices():
        return
    lines = "\n".join(f"- {text}" for text in state.notices())
    st.warning(lines, icon=theme.ICONS["notice"], title=t("Parts of this link were not used; defaults stand instead"))
    st.button(t("Dismiss"), on_click=state.dismiss_notices)


def network_text(spec: Spec) -> str:
    """The network in one line."""
    widths = spec.width if isinstance(spec.width, int) else "–".join(map(str, spec.width[:8]))
    gain = spec.gain if isinstance(spec.gain, str) else f"{spec.gain:.4g}"
    parts = [
        t("Before training: {depth} layers × {width} units", depth=spec.depth, width=widths),
        spec.activation,
        t("{init} at gain {gain}", init=spec.init, gain=gain),
    ]
    if spec.bias_std != 0.0:
        parts.append(t("bias std {bias}", bias=spec.bias_std))
    if spec.norm != "none":
        parts.append(t("{norm} norm", norm=spec.norm))
    if spec.residual != "none":
        parts.append(t("{residual} residual", residual=spec.residual))
    parts.append(t("batch of {batch}, {input} input", batch=spec.batch_size, input=spec.input))
    parts.append(t("loss: {loss}", loss=spec.loss))
    return " · ".join(parts)


# --- layout ------------------------------------------------------------------------------------------------


def _frame(spec: Spec, settings: Settings, profile: Profile | None) -> Slots:
    """The page's places, top to bottom."""
    metrics = st.empty()
    _view_controls()
    places = [column.empty() for column in st.columns(2)]
    legend = st.empty()
    status = st.empty()
    if profile is not None:
        _notes(profile)
    table_tab, code_tab = st.tabs([t("Layers"), t("Code")])
    with table_tab:
        table = st.empty()
    with code_tab:
        st.caption(t("The same question as a script:"))
        st.code(snippet(spec, settings), language="python")
    return Slots(metrics, places, legend, status, table)


def _view_controls() -> None:
    """RMS or mean square, mean or median over networks."""
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        for name, labels, help_text in (
            (
                "moment",
                MOMENT_LABELS,
                t("RMS is what people call the size, std or norm; the mean square is its square."),
            ),
            (
                "statistic",
                STATISTIC_LABELS,
                t("Over random networks, for line and points alike: the mean network, or the median one."),
            ),
        ):
            st.segmented_control(
                t("Show {name}", name=t(" or ".join(labels.values()))),
                options=list(labels),
                format_func=lambda code, labels=labels: t(labels[code]),
                key=f"setting_{name}",
                required=True,
                persist_state="session",
                label_visibility="collapsed",
                help=help_text,
            )


def _fill(slots: Slots, profile: Profile | None, measured: Measurement | None, settings: Settings) -> None:
    """Draw all that depends on the numbers."""
    if profile is None and measured is None:
        slots.table.caption(t("No numbers yet."))
        return
    if profile is not None:
        with slots.metrics.container():
            _metrics(profile, measured)
    view = {"moment": settings.moment, "statistic": settings.statistic}
    for place, code in zip(slots.charts, charts.PANELS, strict=True):
        drawn = charts.chart(code, profile, measured, **view, dtype=settings.dtype, height=theme.CHART_HEIGHT, t=t)
        place.altair_chart(drawn, width="stretch", alt=charts.describe(code, profile, measured, t))
    slots.legend.caption(_legend_text(profile, measured, settings))
    _table(slots.table, profile, measured, view)


def _metrics(profile: Profile, measured: Measurement | None) -> None:
    """The four numbers, all with the same parts so that the cards line up."""
    s = charts.summarize(profile)
    quiet: dict[str, Any] = {"delta_color": "off", "delta_arrow": "off", "border": True, "height": "stretch"}
    with st.grid(4, min_column_width=theme.METRIC_MIN_WIDTH):
        per_layer = s.depth > 1 and math.isfinite(s.factor)
        st.metric(
            t("Gradient per layer"),
            f"×{factor_text(s.factor)}" if per_layer else "–",
            t("RMS; ×{square} mean square", square=factor_text(2 * s.factor)) if per_layer else "–",
            help=t("Geometric mean over the layers of the infinitely wide network, from the output towards the input."),
            **quiet,
        )
        st.metric(
            t("Gradient at layer 1"),
            number_text(s.gradient),
            t("RMS, of layer {depth}'s", depth=s.depth),
            help=t("RMS of δ at layer 1 over RMS of δ at the last layer, predicted."),
            **quiet,
        )
        st.metric(
            t("Signal at layer {depth}", depth=s.depth),
            number_text(s.forward),
            t("RMS; input has {rms}", rms=f"{profile.spec.input_rms:g}"),
            help=t("RMS of the pre-activations z of the last layer, predicted."),
            **quiet,
        )
        _agreement(profile, measured, quiet)


def _agreement(profile: Profile, measured: Measurement | None, quiet: dict[str, Any]) -> None:
    value, below, where = "–", t("not measured yet"), ""
    if measured is not None:
        worst = charts.agreement(gc.compare(profile, measured))
        if not worst.layer:
            below = t("needs two networks or more")
        else:
            value = f"{worst.z:.1f} σ" if math.isfinite(worst.z) else "∞ σ"
            if worst.agrees:
                below = t("within 4 σ; worst: layer {layer}", layer=worst.layer)
            else:
                below = t("beyond 4 σ at layer {layer}", layer=worst.layer)
            where = t(
                "Here the worst is the {quantity} at layer {layer}.",
                quantity=t(QUANTITY_LABELS[worst.quantity]),
                layer=worst.layer,
            )
    st.metric(
        t("Agreement"),
        value,
        below,
        help=t(
            "Prediction against measurement: the largest distance over all layers and five quantities, in standard "
            "errors of the measured mean and of the theory's own allowance. Below 4 is agreement."
        )
        + (" " + where if where else ""),
        **quiet,
    )


def _legend_text(profile: Profile | None, measured: Measurement | None, settings: Settings) -> str:
    which = t(STATISTIC_LABELS[settings.statistic]).lower()
    parts = []
    if profile is not None:
        parts.append(t("Line: predicted {which} over random networks.", which=which))
        if profile.band_source is not None:
            parts.append(t("Dashed: predicted to hold 90% of them."))
    if measured is not None:
        parts.append(
            t(
                "Points: measured {which} (torch networks: {count}, seed {seed}, {dtype}); area: 90% of them.",
                which=which,
                count=len(measured.networks),
                seed=measured.seed,
                dtype=measured.dtype,
            )
        )
    parts.append(t("Dotted: 1, nothing gained or lost."))
    return " ".join(parts)


def _notes(profile: Profile) -> None:
    """What the numbers rest on, and what ordinary number formats would lose."""
    lines = [note_text(note) for note in profile.notes]
    lines.append(charts.precision_text(profile, t))
    st.markdown("\n".join(f"- {line}" for line in lines))


def _table(place: Any, profile: Profile | None, measured: Measurement | None, view: dict[str, str]) -> None:
    """Every layer in numbers: the text equivalent of the charts."""
    size = t(MOMENT_LABELS[view["moment"]])
    labels = {
        "layer": t("layer"),
        "forward_predicted": t("{size} of z, predicted", size=size),
        "forward_measured": t("{size} of z, measured", size=size),
        "backward_predicted": t("{size} of δ (relative), predicted", size=size),
        "backward_measured": t("{size} of δ (relative), measured", size=size),
        "chi": t("χ (mean square)"),
        "correlation": t("correlation of samples"),
        "saturated": t("saturated units"),
        "dead": t("dead units"),
    }
    formats = {"chi": "%.4g", "correlation": "%.4f", "saturated": "percent", "dead": "percent"}
    plain, powers = "%.3g", "%.2e"  # Streamlit's %g writes 1e-6 out in zeros
    table = charts.layer_table(profile, measured, **view)
    columns: dict[str, Any] = {}
    for name in table.columns:
        if name == "layer" or table[name].dtype.kind != "f":
            columns[name] = st.column_config.Column(labels[name])
        else:
            large, small = table[name].max(), table[name].min()
            fits = small >= 1e-3 and large < 1e5
            columns[name] = st.column_config.NumberColumn(
                labels[name], format=formats.get(name, plain if fits else powers)
            )
    place.dataframe(
        table, hide_index=True, column_config=columns, height=320, alt=t("Every layer in numbers"), placeholder="–"
    )


def snippet(spec: Spec, settings: Settings) -> str:
    """A script that asks the same question."""
    dtype = f', dtype="{settings.dtype}"' if settings.dtype != "float64" else ""
    return (
        "import gradcore as gc\n\n"
        f"spec = {to_snippet(spec)}\n"
        "predicted = gc.predict(spec)\n"
        f"measured = gc.measure(spec, networks={settings.networks}, seed={settings.seed}{dtype})\n"
        "print(gc.compare(predicted, measured))\n"
    )


# --- measuring ---------------------------------------------------------------------------------------------


def _measure(slots: Slots, spec: Spec, settings: Settings) -> Measurement | None:
    """Run the measurement where it is cheap or was asked for, else offer it; every refusal in calm words."""
    key = runner.key_of(spec, settings)
    if runner.too_large(spec):
        slots.status.caption(t("Predicted only: one network of this size does not fit this machine."))
        return None
    if not runner.requested(spec, settings):
        _offer(slots, spec, settings, key)
        return None
    try:
        with slots.status.container(horizontal=True, vertical_alignment="center"):
            st.button(t("Cancel measurement"), icon=theme.ICONS["cancel"], on_click=runner.cancel, args=(key,))
            return runner.measure(spec, settings)
    except gc.UnsupportedError as error:
        slots.status.caption(t("It cannot be measured either: {refusal}", refusal=unsupported_text(error)))
    except gc.SpecError as error:
        slots.status.error(spec_error_text(error), icon=theme.ICONS["error"])
    except ModuleNotFoundError as error:
        with slots.status.container():
            _missing(error)
    return None


def _offer(slots: Slots, spec: Spec, settings: Settings, key: tuple[Any, ...]) -> None:
    with slots.status.container(horizontal=True, vertical_alignment="center"):
        st.button(
            t(
                "Measure {count} networks (about {seconds})",
                count=settings.networks,
                seconds=_seconds_text(runner.seconds(spec, settings.networks)),
            ),
            icon=theme.ICONS["measure"],
            type="primary",
            on_click=runner.ask,
            args=(key,),
        )
        st.caption(t("Predicted only so far."), width="stretch")


def _seconds_text(seconds: float) -> str:
    if seconds < 90:
        return t("{seconds} s", seconds=max(1, round(seconds)))
    if seconds < 5400:
        return t("{minutes} min", minutes=round(seconds / 60))
    return t("{hours} h", hours=round(seconds / 3600))
