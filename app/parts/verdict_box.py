"""The verdict on the network in one sentence, and beside it the buttons that mend it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

import gradcore as gc
from app import controls, keys, runner, theme
from app.i18n import mark, spec_error_text, t, unsupported_text
from app.parts.place import Place
from app.parts.words import network_text
from gradcore.codec import to_query
from gradcore.errors import SpecError, UnsupportedError
from gradcore.spec import Spec

if TYPE_CHECKING:
    from gradcore.measurement import Measurement
    from gradcore.profile import Profile
    from gradcore.verdict import Fix, Verdict
    from gradcore.words import Message


@dataclass(frozen=True)
class Look:
    """How a verdict is marked: word, icon and colour, never the colour alone."""

    word: str
    icon: str
    color: str


LOOKS: dict[str, Look] = {  # one for each of gradcore.verdict.KINDS
    "stable": Look(mark("Stable"), ":material/check_circle:", "green"),
    "vanishing": Look(mark("Vanishing"), ":material/trending_down:", "red"),
    "exploding": Look(mark("Exploding"), ":material/trending_up:", "red"),
    "dead": Look(mark("Dead"), ":material/block:", "red"),
    "saturated": Look(mark("Saturated"), ":material/compress:", "orange"),
    "overflow": Look(mark("Overflow"), ":material/vertical_align_top:", "red"),
    "unstable_fixed_point": Look(mark("Unstable"), ":material/balance:", "orange"),
}
REFUSED = Look(mark("Not allowed"), theme.ICONS["error"], "red")
UNKNOWN = Look(mark("No prediction"), theme.ICONS["unsupported"], "gray")


@dataclass
class Answer:
    """What theory says of a Spec: profile and verdict, or the reason why there are none. ``seconds`` is what the
    prediction took when it was made; ``fixes`` is None until they have been searched."""

    spec: Spec
    profile: Profile | None = None
    verdict: Verdict | None = None
    seconds: float = 0.0
    refusal: UnsupportedError | SpecError | None = None
    missing: str = ""
    fixes: tuple[Fix, ...] | None = None


@st.cache_resource(max_entries=64, show_spinner=False, hash_funcs={Spec: lambda spec: tuple(to_query(spec).items())})
def _diagnosed(spec: Spec) -> Answer:
    """Shared between sessions, as the profile is; keeps the fixes once they are found."""
    _warmed_up()
    started = time.perf_counter()
    profile = runner.predict(spec)
    seconds = time.perf_counter() - started
    return Answer(spec, profile, gc.diagnose(profile), seconds)


@st.cache_resource(show_spinner=False)
def _warmed_up() -> None:
    """Import what a prediction needs before the first one is timed."""
    runner.predict(Spec(depth=2, width=2))


def answer(spec: Spec) -> Answer:
    """Prediction and verdict, or why there are none."""
    try:
        return _diagnosed(spec)
    except (UnsupportedError, SpecError) as error:  # a gain "critical" where there is none is found out here
        return Answer(spec, refusal=error)
    except ModuleNotFoundError as error:
        return Answer(spec, missing=error.name or str(error))


# --- the box -------------------------------------------------------------------------------------------------


@dataclass
class Box:
    """The places of the box that are filled later: first fix, further fixes, and what the measurement adds;
    ``waits`` while the fixes are still to be drawn."""

    fix: Any
    more: Any
    measured: Place
    waits: bool = False


def draw(found: Answer, error: SpecError | None = None) -> Box:
    """The box: how it stands, in one sentence, with the details small below it. An ``error`` is what the sidebar
    asks instead and may not; then ``found`` is the last network that was allowed."""
    with st.container(border=True):
        said, pressed = st.columns([3, 1], vertical_alignment="center", gap="medium")
        with said, st.container(gap="xxsmall"):
            if error is not None:
                _sentence(
                    REFUSED,
                    t("Shown below: the last network that was allowed."),
                    t("This network is not allowed"),
                    spec_error_text(error),
                )
            elif found.verdict is not None:
                look, headline = LOOKS[found.verdict.kind], found.verdict.text(t)
                _sentence(look, network_text(found.spec), headline, _details(found.verdict))
            elif found.refusal is not None:
                headline = t("Theory has no prediction for this network")
                _sentence(UNKNOWN, network_text(found.spec), headline, refusal_text(found.refusal))
            else:
                _sentence(UNKNOWN, network_text(found.spec), t("A package is missing"), missing_text(found.missing))
            measured = Place()
        box = Box(pressed.empty(), pressed.empty(), measured)
    if error is not None:
        box.fix.button(
            t("Back to the last allowed network"),
            icon=theme.ICONS["undo"],
            on_click=controls.load,
            args=(found.spec,),
            width="stretch",
        )
    elif found.verdict is not None:
        _draw_fixes(box, found)
    return box


def _details(verdict: Verdict) -> str:
    """What else is to be said, or that there is nothing to mend."""
    if verdict.stable and not verdict.details and verdict.spec.depth > 1:
        return t("All {depth} layers are usable; there is nothing to mend.", depth=verdict.spec.depth)
    return " ".join(detail.text(t) for detail in verdict.details)


def refusal_text(error: UnsupportedError | SpecError) -> str:
    """Why there is no answer, and what is supported or allowed."""
    return spec_error_text(error) if isinstance(error, SpecError) else unsupported_text(error)


def missing_text(package: str) -> str:
    """A package that is not there."""
    return t("This needs the Python package {name}, which is not installed here.", name=package)


def _sentence(look: Look, network: str, headline: str, details: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(t(look.word), icon=look.icon, color=look.color)
        st.caption(network, width="content")
    st.subheader(headline, anchor=False)
    if details:
        st.caption(details)


def fill_measured(box: Box, found: Answer, measured: Measurement | None, waiting: str) -> None:
    """Where theory is silent, the networks themselves say how it stands; ``waiting`` as long as they do not."""
    if found.refusal is None:
        return
    if measured is None:
        box.measured.draw("markdown", f":gray[{waiting}]")
        return
    verdict = gc.diagnose(measured)
    look = LOOKS[verdict.kind]
    sentence = t("Measured: {sentence}", sentence=verdict.text(t))
    box.measured.draw("markdown", f":{look.color}[{look.icon}] {sentence}")


# --- the fixes -----------------------------------------------------------------------------------------------


def fixes_of(found: Answer) -> tuple[Fix, ...]:
    """All fixes; searched now (up to half a second) where that was not done before."""
    if found.fixes is None:
        found.fixes = () if found.verdict is None else tuple(found.verdict.iter_fixes())
    return found.fixes


def _draw_fixes(box: Box, found: Answer) -> None:
    """What is known at once: the fixes of an earlier run, the way back from one, or that they are being searched."""
    if found.verdict is None or found.verdict.stable:
        before, after, done = st.session_state.get("mended", (None, None, None))
        if after == found.spec:
            _undo_button(box, before, done)
    elif found.fixes is not None:
        _first_button(box, found.spec, found.fixes)
        _other_buttons(box, found.spec, found.fixes[1:])
    else:
        box.fix.button(t("Looking for a fix …"), icon=theme.ICONS["fix"], disabled=True, width="stretch")
        box.more.button(t("More fixes"), disabled=True, width="stretch")
        box.waits = True


def fill_fixes(box: Box, found: Answer) -> None:
    """Search the fixes where that was not done before; the first one can be pressed while others are checked."""
    if not box.waits or found.verdict is None:
        return
    fixes: list[Fix] = []
    for fix in found.verdict.iter_fixes() if found.fixes is None else found.fixes:
        fixes.append(fix)
        if len(fixes) == 1:
            _first_button(box, found.spec, fixes)
    found.fixes = tuple(fixes)
    if not fixes:
        _first_button(box, found.spec, ())
    _other_buttons(box, found.spec, fixes[1:])


def _first_button(box: Box, spec: Spec, fixes: Sequence[Fix]) -> None:
    """The one button to press, or that there is none."""
    if not fixes:
        box.fix.caption(t("No single change that was tried makes this network stable."))
        return
    fix = fixes[0]
    box.fix.button(
        t("Fix: {fix}", fix=_lower(fix.message.text(t))),
        key="fix",
        icon=theme.ICONS["fix"],
        type="primary",
        width="stretch",
        wrap=True,
        shortcut=keys.letter("fix"),
        help=fix.cost.text(t),
        on_click=mend,
        args=(spec, fix),
    )


def _other_buttons(box: Box, spec: Spec, fixes: Sequence[Fix]) -> None:
    """The further fixes in a list, each with what it costs."""
    if not fixes:
        box.more.empty()
        return
    with box.more.popover(t("More fixes ({count})", count=len(fixes)), width="stretch"):
        for fix in fixes:
            with st.container(gap="xxsmall"):
                st.button(
                    fix.message.text(t),
                    key=f"fix_{fix.code}",
                    width="stretch",
                    wrap=True,
                    on_click=mend,
                    args=(spec, fix),
                )
                st.caption(fix.cost.text(t))


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def mend(before: Spec, fix: Fix) -> None:
    """Callback: load the mended network, and remember the one it came from."""
    controls.load(fix.spec)
    st.session_state["mended"] = (before, fix.spec, fix.message)


def _undo_button(box: Box, before: Spec, done: Message) -> None:
    box.fix.button(
        t("Undo the fix"),
        key="undo",
        icon=theme.ICONS["undo"],
        width="stretch",
        help=t("Back to {network}", network=network_text(before)),
        on_click=controls.load,
        args=(before,),
    )
    box.more.caption(t("Mended: {fix}.", fix=_lower(done.text(t))))
