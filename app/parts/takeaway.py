"""Take away: what the page says as files. They are made of what stands on the page when they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import streamlit as st

from app import theme
from app.i18n import captured, language, mark, t, unsupported_text
from app.parts import open_record, pictures
from app.parts.verdict_box import Answer
from app.state import Settings
from gradcore import charts
from gradcore.errors import UnsupportedError
from gradcore.export import Record, html_report, images, page_script, tidy_csv, torch_code
from gradcore.export.record import fits
from gradcore.spec import Spec

if TYPE_CHECKING:
    from gradcore.measurement import Measurement

PALETTE_LABELS = {"light": mark("Light images"), "dark": mark("Dark images")}
WIDTH = 380  # px: two buttons side by side, where the window has room for them
PALETTE, OPEN = "takeaway_palette", "take_away_"
IMAGES = {"png": "image/png", "svg": "image/svg+xml"}
SHORT = {"forward": mark("Forward"), "backward": mark("Backward"), "weight_gradient": mark("Weight gradient")}


@dataclass
class Shown:
    """What stands on the page; the measurement may still arrive."""

    found: Answer
    settings: Settings
    measured: Measurement | None = None


@dataclass(frozen=True)
class Look:
    """One kind of file: its label, how its name ends, its media type, and what it is good for."""

    label: str
    ending: str
    mime: str
    help: str


REPORT = Look(mark("Report (HTML)"), "report.html", "text/html", mark("One file with all of this; opens offline."))
TABLE = Look(
    mark("Table (CSV)"),
    "layers.csv",
    "text/csv",
    mark("A row per layer and quantity, predicted and measured; units in the header."),
)
RECORD = Look(
    mark("Record (JSON)"),
    "record.json",
    "application/json",
    mark("Question, numbers, versions and seed. It opens here again; gradcore.export.opened loads it in Python."),
)
SCRIPT = Look(
    mark("Script (Python)"),
    "page.py",
    "text/x-python",
    mark("Prints every number of this page again, from the library alone."),
)
NETWORK = Look(
    mark("Network (PyTorch)"),
    "network.py",
    "text/x-python",
    mark("This network and its initialization in plain PyTorch, without gradcore."),
)


# --- what is in them ------------------------------------------------------------------------------------------


def _record(shown: Shown) -> Record:
    asked = shown.settings
    how = {"seed": asked.seed, "dtype": asked.dtype, "sampler": asked.sampler}
    return Record.of(shown.found.spec, shown.found.profile, shown.measured, **how)


def _report(shown: Shown) -> str:
    return html_report(
        shown.found.spec,
        shown.found.profile,
        shown.measured,
        moment=shown.settings.moment,
        statistic=shown.settings.statistic,
        seed=shown.settings.seed,
        t=t,
        language=language(),
    )


def _script(shown: Shown) -> str:
    asked, profile = shown.settings, shown.found.profile
    return page_script(
        shown.found.spec,
        0 if shown.measured is None else shown.measured.networks,
        asked.seed,
        asked.dtype,
        asked.sampler,
        moment=asked.moment,
        statistic=asked.statistic,
        predicted=profile is not None,
        sampled=profile is not None and profile.at_hand.source == "sampler",
    )


def _network(shown: Shown) -> str:
    try:
        return torch_code(shown.found.spec)
    except UnsupportedError as error:
        return f"# {unsupported_text(error)}\n"


def image(code: str, kind: str, palette: str, shown: Shown) -> str | bytes:
    """A chart as it stands on the page, with its question under the title."""
    drawn = charts.chart(
        code,
        shown.found.profile,
        shown.measured,
        moment=shown.settings.moment,
        statistic=shown.settings.statistic,
        dtype=shown.settings.dtype,
        height=theme.CHART_HEIGHT,
        t=t,
    )
    return dressed_image(kind, drawn, images.caption(shown.found.spec, shown.measured), palette)


def dressed_image(kind: str, drawn: Any, words: str, palette: str) -> str | bytes:
    """A chart as an image of this kind, with these words under its title."""
    make: Callable[..., str | bytes] = images.png if kind == "png" else images.svg
    return make(drawn, words, palette)


MAKE: tuple[tuple[Look, Callable[[Shown], str]], ...] = (
    (TABLE, lambda shown: tidy_csv(_record(shown))),
    (RECORD, lambda shown: _record(shown).to_json()),
    (SCRIPT, _script),
    (NETWORK, _network),
)


def file_name(spec: Spec, ending: str) -> str:
    """What the file holds, in its name: relu-50x256-xavier_normal-gain1.41-layers.csv."""
    width = str(spec.width) if isinstance(spec.width, int) else "widths"
    gain = spec.gain if isinstance(spec.gain, str) else f"{spec.gain:.3g}"
    parts = [spec.activation, f"{spec.depth}x{width}", spec.init]
    parts += [f"gain{gain}"] if spec.gain != 1.0 else []
    parts += [spec.norm] if spec.norm != "none" else []
    parts += [spec.residual] if spec.residual != "none" else []
    return "-".join([*parts, ending])


# --- the menu -------------------------------------------------------------------------------------------------


def menu(address: str = "explore") -> Any:
    """The button that opens it, and the room in it, which is filled only while it is open: a page of fewer widgets is
    there sooner."""
    return st.popover(
        t("Take away"),
        icon=theme.ICONS["download"],
        type="tertiary",
        help=t("The numbers, charts and code of this page as files."),
        key=f"{OPEN}{address}",
        on_change="rerun",
    )


def draw(room: Any, shown: Shown) -> None:
    """The files on offer; those that need a chart where there is one to draw. Once a run."""
    if not room.open:
        return
    drawable = shown.found.profile is not None or shown.measured is not None
    with room, st.container(gap="small", width=WIDTH):
        able = find_spec("vl_convert") is not None
        if not drawable:
            st.caption(t("No numbers yet: the files hold the question alone."))
        elif able:
            _button(REPORT, _report, shown)
        with st.grid(2, min_column_width=theme.METRIC_MIN_WIDTH):
            for look, make in MAKE:
                _button(look, make, shown)
        if drawable and able:
            _images(shown)
        elif drawable:
            st.caption(t("Images and the report need one more package: {install}", install=images.INSTALL))
        open_record.draw()


def _button(look: Look, make: Callable[[Shown], str], shown: Shown) -> None:
    spec = shown.found.spec
    large = look is RECORD and not fits(spec.depth, shown.settings.networks)
    words = t("Too many numbers for one record: measure fewer networks.") if large else t(look.help)
    _download(t(look.label), look.ending, look.mime, partial(make, shown), spec, help=words, disabled=large)


def palette() -> str:
    """The choice of the images' colours: "light" or "dark"."""
    chosen = st.segmented_control(
        t("Colours of the images"),
        options=list(PALETTE_LABELS),
        format_func=lambda code: t(PALETTE_LABELS[code]),
        default="dark" if st.context.theme.type == "dark" else "light",
        key=PALETTE,
        required=True,
        label_visibility="collapsed",
    )
    return chosen if chosen in PALETTE_LABELS else "light"


def _images(shown: Shown) -> None:
    chosen = palette()
    mood = "-dark" if chosen == "dark" else ""
    with st.grid(2, min_column_width=theme.METRIC_MIN_WIDTH):
        for code in charts.PANELS:
            for kind, mime in IMAGES.items():
                ending = f"{code}{mood}.{kind}"
                label = t("{chart} ({kind})", chart=t(SHORT[code]), kind=kind.upper())
                _download(label, ending, mime, partial(image, code, kind, chosen, shown), shown.found.spec)
        for drawing in pictures.here():  # what else a tab shows
            words = images.caption(shown.found.spec, shown.measured)
            for kind, mime in IMAGES.items():
                label = t("{chart} ({kind})", chart=drawing.title, kind=kind.upper())
                make = partial(dressed_image, kind, drawing.document, words, chosen)
                _download(label, f"{drawing.code}{mood}.{kind}", mime, make, shown.found.spec)


def _download(label: str, ending: str, mime: str, make: Callable[[], Any], spec: Spec, **look: Any) -> None:
    st.download_button(
        label,
        captured(make),
        file_name=file_name(spec, ending),
        mime=mime,
        key=f"take_{ending.replace('-dark', '')}",
        on_click="ignore",
        width="stretch",
        **look,
    )
