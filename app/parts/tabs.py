"""Below the charts: more of the same answer. Only the open tab's body runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from app.i18n import mark, note_text, t, unsupported_text
from app.parts import figures, jacobian, lines
from app.parts.place import Place
from app.parts.verdict_box import Answer, fixes_of
from gradcore import charts
from gradcore.equations import equations
from gradcore.errors import UnsupportedError
from gradcore.export import script, torch_code

if TYPE_CHECKING:
    from app.state import Settings
    from gradcore.measurement import Measurement
    from gradcore.spec import Spec

TABLE_HEIGHT = 320


@dataclass(frozen=True)
class Tab:
    """One tab. A ``live`` one draws a single element at its place, and again when the measurement arrives; the others
    draw what they like, once."""

    title: str
    draw: Callable[[Place, Answer, Measurement | None, Settings], None]
    live: bool = False
    hint: str = ""


@dataclass
class Open:
    """The open tab and where it is drawn."""

    tab: Tab
    body: Any
    place: Place

    def draw(self, found: Answer, measured: Measurement | None, settings: Settings) -> None:
        """Draw it for the first time in this run."""
        with self.body:
            self.tab.draw(self.place, found, measured, settings)

    def update(self, found: Answer, measured: Measurement | None, settings: Settings) -> None:
        """Draw it again, where it shows what has just arrived."""
        if self.tab.live:
            self.draw(found, measured, settings)


def frame() -> Open:
    """The row of tabs."""
    drawn = st.tabs([t(tab.title) for tab in TABS], key="tab", on_change="rerun")
    tab, body = next(((tab, body) for tab, body in zip(TABS, drawn, strict=True) if body.open), (TABS[0], drawn[0]))
    with body:
        if tab.hint:
            st.caption(t(tab.hint))
        return Open(tab, body, Place())


# --- weight gradient and layers ------------------------------------------------------------------------------


def _weight_gradient(place: Place, found: Answer, measured: Measurement | None, settings: Settings) -> None:
    if found.profile is None and measured is None:
        place.draw("caption", t("No numbers yet."))
    else:
        figures.draw(place, "weight_gradient", found, measured, settings)


def _layers(place: Place, found: Answer, measured: Measurement | None, settings: Settings) -> None:
    """Every layer in numbers: the text equivalent of the charts."""
    if found.profile is None and measured is None:
        place.draw("caption", t("No numbers yet."))
        return
    view = {"moment": settings.moment, "statistic": settings.statistic}
    size = t(figures.MOMENT_LABELS[settings.moment])
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
    table = charts.layer_table(found.profile, measured, **view)
    columns = {name: _column(labels.get(name, name), name, table[name]) for name in table.columns}
    place.draw(
        "dataframe",
        table,
        hide_index=True,
        column_config=columns,
        height=TABLE_HEIGHT,
        alt=t("Every layer in numbers"),
        placeholder="–",
    )


def _column(label: str, name: str, values: Any) -> Any:
    """Shares in percent, sizes with three digits; powers of ten where a plain number would not fit."""
    if name == "layer" or values.dtype.kind != "f":
        return st.column_config.Column(label, pinned=name == "layer")
    formats = {"chi": "%.4g", "correlation": "%.4f", "saturated": "percent", "dead": "percent"}
    fits = values.min() >= 1e-3 and values.max() < 1e5  # Streamlit's %g writes 1e-6 out in zeros
    return st.column_config.NumberColumn(label, format=formats.get(name, "%.3g" if fits else "%.2e"))


# --- equations -----------------------------------------------------------------------------------------------


def _equations(place: Place, found: Answer, measured: Measurement | None, settings: Settings) -> None:
    """The formulas behind the lines, with this network's numbers put in."""
    del place, measured, settings
    if found.profile is None:
        st.caption(t("There is no prediction, so there are no equations for it."))
        return
    depth = found.spec.depth
    layer = 1
    if depth > 1:
        layer = st.slider(
            t("Layer"), 1, depth, min(2, depth), key=f"equation_layer_{depth}", help=t("Its numbers are put in.")
        )
    lines.draw(equations(found.profile, layer, t))


# --- Jacobian ------------------------------------------------------------------------------------------------


def _jacobian(place: Place, found: Answer, measured: Measurement | None, settings: Settings) -> None:
    del place, measured
    jacobian.draw(found.spec, settings.seed)


# --- code ----------------------------------------------------------------------------------------------------


def _code(place: Place, found: Answer, measured: Measurement | None, settings: Settings) -> None:
    """The same question as a script, and the network as plain torch code; the mended one too where there is one."""
    del place, measured
    st.caption(t("The same question as a script:"))
    question = script(found.spec, settings.networks, settings.seed, settings.dtype, settings.sampler)
    st.code(question, language="python")
    st.caption(t("The network in plain PyTorch:"))
    _torch(found.spec)
    for fix in fixes_of(found)[:1]:
        st.caption(t("The mended network in plain PyTorch ({fix}):", fix=fix.message.text(t)))
        _torch(fix.spec)


def _torch(spec: Spec) -> None:
    try:
        st.code(torch_code(spec), language="python", height=TABLE_HEIGHT)
    except UnsupportedError as error:
        st.caption(unsupported_text(error))


# --- assumptions ---------------------------------------------------------------------------------------------

_EVENTS = {
    "forward_overflow": mark("overflows at layer {layer}"),
    "forward_underflow": mark("underflows to 0 at layer {layer}"),
    "gradient_overflow": mark("overflows at layer {layer}"),
    "gradient_underflow": mark("underflows to 0 at layer {layer}"),
}


def _assumptions(place: Place, found: Answer, measured: Measurement | None, settings: Settings) -> None:
    """What the numbers rest on, and what ordinary number formats would lose."""
    del place, measured, settings
    if found.profile is None:
        st.caption(t("There is no prediction, so it rests on nothing."))
        return
    rests = t(
        "Lines are infinite-width theory, with the leading correction for this width where it is known; weights, "
        "inputs and the gradient at the output are random, as the sidebar says."
    )
    st.markdown("\n".join(f"- {line}" for line in [rests, *(note_text(note) for note in found.profile.notes)]))
    st.caption(t("What ordinary training code would lose in each number format:"))
    formats = list(found.profile.precision)
    st.table(
        {
            t("number format"): formats,
            t("signal, forward"): [_happens(found, dtype, "forward") for dtype in formats],
            t("gradient, backward"): [_happens(found, dtype, "gradient") for dtype in formats],
        }
    )


def _happens(found: Answer, dtype: str, which: str) -> str:
    assert found.profile is not None
    events = found.profile.precision[dtype]
    happened = [
        t(text, layer=layer)
        for name, text in _EVENTS.items()
        if name.startswith(which) and (layer := getattr(events, name))
    ]
    return ", ".join(happened) or t("nothing is lost")


TABS = (
    Tab(
        mark("Weight gradient"),
        _weight_gradient,
        live=True,
        hint=mark("What an optimizer gets: how fast each layer learns at the start, beside the last one."),
    ),
    Tab(mark("Layers"), _layers, live=True),
    Tab(mark("Equations"), _equations),
    Tab(
        mark("Jacobian"),
        _jacobian,
        hint=mark("How alike the directions of the input are passed to the output, weights Gaussian and orthogonal."),
    ),
    Tab(mark("Code"), _code),
    Tab(mark("Assumptions"), _assumptions),
)
