"""Computing for the pages: cached predictions, and measurements that stop at any moment and resume.

The page's own run measures, in its script thread. Between layers it asks Streamlit whether it should end: Cancel, a
changed control and a closed tab stop it there. Finished networks are kept for all sessions (app/store.py), so the next
run goes on from them; of an interrupted network nothing is kept.
Only importing torch has a thread of its own, because an import cannot be interrupted.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import streamlit as st

import gradcore as gc
from app import costs, limits, store
from app.i18n import t
from app.parts.words import seconds_text
from app.state import Settings
from gradcore.codec import to_query
from gradcore.measurement import compute_at_most, keep_free, load_torch
from gradcore.spec import Spec

if TYPE_CHECKING:
    from gradcore.measurement import Measurement
    from gradcore.profile import Profile

AUTO_SECONDS = 1.0  # what is measured without being asked
AUTO_SAMPLE = 3e8  # work (see Profile.unsampled) that is done for the band beside a measurement: some seconds
POLL = 0.05  # seconds between two points where Streamlit may stop a measurement
FIRST_PICTURE = 0.6  # seconds that a browser gets to draw the first charts
CHUNK = 0.5  # seconds of networks that are measured in one call, side by side: what is lost when a run is stopped
MOST_AT_ONCE = 64
REDRAW = 0.5  # between two changes of the progress bar: the browser shows no new chart within 0.3 s of any other change
SHOWN = ("log_g", "log_dw", "log_db", "chi", "correlation", "saturated", "dead", "notes", "precision")
seconds, too_large, matrix_free = costs.seconds, costs.too_large, costs.matrix_free  # what it will take


def _hash(spec: Spec) -> Any:
    return tuple(to_query(spec).items())


@st.cache_resource(max_entries=64, show_spinner=False, hash_funcs={Spec: _hash})
def predict(spec: Spec) -> Profile:
    """The profile of a Spec, shared between sessions: it never changes. Raises UnsupportedError."""
    profile = gc.predict(spec)
    for name in SHOWN:  # computed here once, so that a refusal shows before anything is drawn
        getattr(profile, name)
    return profile


# --- what is asked, and what is there ----------------------------------------------------------------------


def key_of(spec: Spec, settings: Settings) -> tuple[Any, ...]:
    """What a measurement depends on."""
    return (_hash(spec), settings.networks, settings.seed, settings.dtype, settings.sampler)


def _network_keys(spec: Spec, settings: Settings) -> list[tuple[Any, ...]]:
    """What each of its networks depends on."""
    asked = _hash(spec)
    how = (settings.seed, settings.dtype, settings.sampler)
    return [(asked, *how, network) for network in range(settings.networks)]


def done(spec: Spec, settings: Settings) -> int:
    """How many of these networks have been measured already, in any session."""
    return store.networks().count(_network_keys(spec, settings))


def at_hand(spec: Spec, settings: Settings) -> Measurement | None:
    """This measurement where all of its networks are here already, from any session."""
    parts = [store.networks().get(key) for key in _network_keys(spec, settings)]
    there = [part for part in parts if part is not None]
    return gc.Measurement.merge(*there) if len(there) == settings.networks else None


def finished(spec: Spec, settings: Settings) -> Measurement | None:
    """This session's last measurement, if it is the one asked for."""
    key, measured = st.session_state.get("measured", (None, None))
    return measured if key == key_of(spec, settings) else None


def refusal(spec: Spec, settings: Settings) -> str:
    """Why this host does not measure it, in words; "" where it does."""
    return limits.refusal(spec, settings.networks, settings.dtype, settings.sampler)


def starts_by_itself(spec: Spec, settings: Settings) -> bool:
    """Whether the measurement is cheap enough to run unasked: by the model alone, so that a link shows the same
    thing on a busy machine."""
    if too_large(spec, settings.sampler):
        return False
    return settings.networks * costs.modelled_seconds(spec, settings.dtype, settings.sampler) < AUTO_SECONDS


def requested(spec: Spec, settings: Settings) -> bool:
    """Whether the measurement should run now: asked for, or cheap, or shown before and still here; not cancelled."""
    key = key_of(spec, settings)
    if st.session_state.get("cancelled") == key or refusal(spec, settings):
        return False
    if st.session_state.get("asked") == key or starts_by_itself(spec, settings):
        return True
    return key in st.session_state.get("seen", ()) and done(spec, settings) == settings.networks


def ask(key: tuple[Any, ...]) -> None:
    """Callback of the Measure button."""
    st.session_state["asked"] = key
    st.session_state.pop("cancelled", None)


def cancel(key: tuple[Any, ...]) -> None:
    """Callback of the Cancel button."""
    st.session_state["cancelled"] = key
    st.session_state.pop("asked", None)


# --- the predicted band, where it has to be sampled ---------------------------------------------------------


def band_due(profile: Profile | None) -> bool:
    """Whether the band is still to be sampled, and cheap enough."""
    return profile is not None and 0.0 < profile.unsampled <= AUTO_SAMPLE


def sample_band(profile: Profile) -> None:
    """Sample it, with a progress bar where this is called; Streamlit may end it at any moment."""
    bar, drawn = st.progress(0.0, text=t("Sampling the predicted band …")), time.monotonic()

    def touch(done: int, total: int) -> None:
        nonlocal drawn
        may_stop_here()
        if time.monotonic() - drawn >= REDRAW:
            drawn = time.monotonic()
            bar.progress(done / total, text=t("Sampling the predicted band: {done} of {total}", done=done, total=total))

    profile.sample(touch)


# --- running it --------------------------------------------------------------------------------------------


def measure(spec: Spec, settings: Settings) -> Measurement:
    """All networks, those already measured taken from the store; a progress bar is drawn where it is called. Raises
    SpecError, UnsupportedError, and ModuleNotFoundError where torch is not installed."""
    with _drawing.interrupted():
        measured = _measured(spec, settings)
    key = key_of(spec, settings)
    st.session_state["measured"] = (key, measured)
    st.session_state["seen"] = {*st.session_state.get("seen", ()), key}
    return measured


def _measured(spec: Spec, settings: Settings) -> Measurement:
    keys, networks = _network_keys(spec, settings), store.networks()
    parts = {key: part for key in keys if (part := networks.get(key)) is not None}
    progress = _Progress(spec, settings, len(parts))
    if len(parts) < len(keys):
        _torch.wait(progress.torch_starts)
    missing = [network for network, key in enumerate(keys) if key not in parts]
    at_once = _at_once(spec, settings)
    for start in range(0, len(missing), at_once):
        chunk = missing[start : start + at_once]
        progress.chunk_starts()
        together = gc.measure(
            spec,
            networks=chunk,
            seed=settings.seed,
            sampler=settings.sampler,
            dtype=settings.dtype,
            progress=progress.network_done,
            on_layer=progress.layer_done,
        )
        for network in chunk:
            parts[keys[network]] = together.part([network])
            networks.put(keys[network], parts[keys[network]])
        progress.chunk_done(len(chunk))
    return gc.Measurement.merge(*parts.values())


def _at_once(spec: Spec, settings: Settings) -> int:
    """How many networks one call measures: on every core one, and more of the small ones."""
    cores = os.cpu_count() or 1
    each = costs.modelled_seconds(spec, settings.dtype, settings.sampler)
    return max(cores, min(int(CHUNK * cores / each), MOST_AT_ONCE))


def may_stop_here() -> None:
    """Let Streamlit end this run if it was told to; any use of its session's state is such a point, and the only kind
    that sends nothing to the browser."""
    st.session_state.get("cancelled")


def let_it_be_drawn() -> None:
    """On the first run of a visit, send nothing more for a moment.

    A browser that has just opened the page still loads the code of every kind of element, and puts off what it has
    ready for as long as more keeps coming: with this pause the charts are there one to two seconds sooner, and
    everything after them is there sooner too.
    """
    if st.session_state.get("drawn_before"):
        return
    st.session_state["drawn_before"] = True
    until = time.monotonic() + FIRST_PICTURE
    while time.monotonic() < until:
        time.sleep(POLL)
        may_stop_here()


def start_torch() -> None:
    """Import torch where it is not there yet; this run can be stopped meanwhile. What follows is computed, no longer
    drawn. Raises what the import raises."""
    _drawing.ends()
    _torch.wait(may_stop_here)


def drawing() -> AbstractContextManager[None]:
    """As long as a page is drawn in it: the large measurements of other sessions leave it a core."""
    return _drawing.page()


class _Progress:
    """The progress bar of a run. Every POLL seconds Streamlit may stop the run there, every REDRAW seconds it moves."""

    def __init__(self, spec: Spec, settings: Settings, ready: int) -> None:
        self._modelled = costs.modelled_seconds(spec, settings.dtype, settings.sampler)
        self._expected = costs.seconds(spec, 1, settings.dtype, settings.sampler)  # seconds per network
        self._total, self._ready, self._share = settings.networks, ready, 0.0
        self._began = self._touched = self._drawn = time.monotonic()
        self._bar = st.progress(ready / self._total, text=self._text())

    def torch_starts(self) -> None:
        """Called every POLL seconds while torch is imported."""
        self._touch(t("Starting torch …"))

    def chunk_starts(self) -> None:
        """Called before the networks of a call."""
        self._chunk_began, self._before = time.monotonic(), self._ready

    def layer_done(self, steps: int, total: int) -> None:
        """Called within each network."""
        self._share = steps / total
        self._touch()

    def network_done(self, done: int, of: int) -> None:
        """Called after each network of a call."""
        self._ready, self._share = self._before + done, 0.0
        self._touch()

    def chunk_done(self, networks: int) -> None:
        """Called after a call that measured so many."""
        costs.calibration().learn((time.monotonic() - self._chunk_began) / networks, self._modelled)
        self._expected = costs.calibration().scale * self._modelled

    def _touch(self, text: str | None = None) -> None:
        now = time.monotonic()
        if now - self._touched < POLL:
            return
        self._touched = now
        may_stop_here()
        if now - self._drawn >= REDRAW:
            self._drawn = now
            self._bar.progress((self._ready + self._share) / self._total, text=text or self._text())

    def _text(self) -> str:
        if self._drawn == self._began:
            return t("Measured {done} of {total} networks", done=self._ready, total=self._total)
        return t(
            "Measured {done} of {total} networks in {elapsed}, about {left} to go",
            done=self._ready,
            total=self._total,
            elapsed=seconds_text(self._drawn - self._began),
            left=seconds_text(self._expected * (self._total - self._ready - self._share)),
        )


class _Drawing:
    """Counts the pages that are drawn at this moment. A page is written by one thread of Python: beside measurements on
    every core it would take half as long again."""

    def __init__(self) -> None:
        self._lock, self._pages, self._this_run = threading.Lock(), 0, threading.local()

    @contextmanager
    def page(self) -> Iterator[None]:
        """A run of the script."""
        self._count(True)
        try:
            yield
        finally:
            self.ends()

    @contextmanager
    def interrupted(self) -> Iterator[None]:
        """This run computes for a while, then draws on."""
        before = self.ends()
        try:
            yield
        finally:
            if before:
                self._count(True)

    def ends(self) -> bool:
        """This run draws no more; whether it did."""
        before = getattr(self._this_run, "draws", False)
        if before:
            self._count(False)
        return before

    def _count(self, draws: bool) -> None:
        self._this_run.draws = draws
        with self._lock:
            self._pages += 1 if draws else -1
            if _torch.there:
                keep_free(min(self._pages, 1))


class _TorchLoader:
    """Imports torch in a daemon thread, once per process; it takes seconds, during which a run can still be stopped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outcome: Future[None] | None = None

    @property
    def there(self) -> bool:
        """Whether torch has been imported."""
        return self._outcome is not None and self._outcome.done() and self._outcome.exception() is None

    def wait(self, touch: Callable[[], object]) -> None:
        """Return once torch is there, calling ``touch`` meanwhile. Raises what the import raises."""
        outcome = self._started()
        while not outcome.done():
            touch()
            wait([outcome], timeout=POLL)
        outcome.result()

    def _started(self) -> Future[None]:
        with self._lock:
            if self._outcome is None or (self._outcome.done() and self._outcome.exception() is not None):
                self._outcome = Future()
                threading.Thread(target=_load, args=(self._outcome,), name="load torch", daemon=True).start()
            return self._outcome


def _load(outcome: Future[None]) -> None:
    try:
        load_torch()
        if (most := limits.of("computing")) is not None:
            compute_at_most(int(most))
    except BaseException as error:  # raised again by whoever waits
        outcome.set_exception(error)
    else:
        outcome.set_result(None)


_torch, _drawing = _TorchLoader(), _Drawing()
