"""Computing for the pages: cached predictions, and measurements one network at a time.

No threads: every ``st`` call is a point where Streamlit may stop this run, so a changed control, the Cancel button
and a closed tab all end a measurement after the network in progress, and a later run resumes from the cached ones.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

import gradcore as gc
from app.i18n import t
from app.state import Settings
from gradcore.codec import to_query
from gradcore.spec import Spec

if TYPE_CHECKING:
    from gradcore.measurement import Measurement
    from gradcore.profile import Profile

AUTO_SECONDS = 1.0  # what is measured without being asked
MAX_BYTES = 2e9  # weights of one network in float64
SHOWN = ("log_g", "log_dw", "log_db", "chi", "correlation", "saturated", "dead", "notes", "precision")


def _hash(spec: Spec) -> Any:
    return tuple(to_query(spec).items())


@st.cache_resource(max_entries=64, show_spinner=False, hash_funcs={Spec: _hash})
def predict(spec: Spec) -> Profile:
    """The profile of a Spec, shared between sessions: it never changes. Raises UnsupportedError."""
    profile = gc.predict(spec)
    for name in SHOWN:  # computed here once, so that a refusal shows before anything is drawn
        getattr(profile, name)
    return profile


@st.cache_data(max_entries=2048, show_spinner=False, hash_funcs={Spec: _hash})
def measure_one(spec: Spec, seed: int, dtype: str, network: int) -> Measurement:
    """One chunk: one network. Small arrays only; no tensor is kept."""
    return gc.measure(spec, networks=[network], seed=seed, dtype=dtype)


# --- what a measurement will cost --------------------------------------------------------------------------


@dataclass
class Calibration:
    """How much slower or faster this machine is than the cost model; the fastest run counts, the rest was noise."""

    scale: float = 1.0
    known: bool = False

    def learn(self, observed: float, modelled: float) -> None:
        """Take in the time of one measured network."""
        scale = max(observed / modelled, 0.05)
        self.scale, self.known = (min(self.scale, scale) if self.known else scale), True


@st.cache_resource(show_spinner=False)
def _calibration() -> Calibration:
    return Calibration()


def _modelled_seconds(spec: Spec) -> float:
    """Rough seconds per network on a small machine: drawing weights, products, and a constant per layer."""
    weights = float((spec.layer_widths.astype(float) * spec.fan_ins).sum())
    cubes = float((spec.layer_widths.astype(float) ** 3).sum()) if spec.init == "orthogonal" else 0.0
    return 4e-4 * spec.depth + weights * (2.4e-8 + 2.5e-10 * spec.batch_size) + 1.2e-10 * cubes


def seconds(spec: Spec, networks: int) -> float:
    """About how long these networks will take."""
    return networks * _modelled_seconds(spec) * _calibration().scale


def too_large(spec: Spec) -> bool:
    """Whether one network's weights would not fit this machine; predictions only need the numbers."""
    return 8.0 * float((spec.layer_widths.astype(float) * spec.fan_ins).sum()) > MAX_BYTES


def starts_by_itself(spec: Spec, settings: Settings) -> bool:
    """Whether the measurement is cheap enough to run unasked: by the model alone, so that a link shows the same
    thing on a busy machine."""
    return settings.networks * _modelled_seconds(spec) < AUTO_SECONDS


# --- running it --------------------------------------------------------------------------------------------


def key_of(spec: Spec, settings: Settings) -> tuple[Any, ...]:
    """What a measurement depends on."""
    return (_hash(spec), settings.networks, settings.seed, settings.dtype)


def finished(spec: Spec, settings: Settings) -> Measurement | None:
    """This session's last measurement, if it is the one asked for."""
    key, measured = st.session_state.get("measured", (None, None))
    return measured if key == key_of(spec, settings) else None


def requested(spec: Spec, settings: Settings) -> bool:
    """Whether the measurement should run now: asked for, or cheap and not cancelled."""
    key = key_of(spec, settings)
    if st.session_state.get("cancelled") == key:
        return False
    return st.session_state.get("asked") == key or starts_by_itself(spec, settings)


def ask(key: tuple[Any, ...]) -> None:
    """Callback of the Measure button."""
    st.session_state["asked"] = key
    st.session_state.pop("cancelled", None)


def cancel(key: tuple[Any, ...]) -> None:
    """Callback of the Cancel button."""
    st.session_state["cancelled"] = key
    st.session_state.pop("asked", None)


def measure(spec: Spec, settings: Settings) -> Measurement:
    """All networks, with progress between them. Raises SpecError, UnsupportedError, ModuleNotFoundError."""
    bar = st.progress(0.0, text=_progress_text(0, settings.networks))
    parts = []
    for network in range(settings.networks):
        started = time.perf_counter()
        parts.append(measure_one(spec, settings.seed, settings.dtype, network))
        elapsed = time.perf_counter() - started
        if network and elapsed > 0.003:  # the first one may have imported torch; a faster one came from the cache
            _calibration().learn(elapsed, _modelled_seconds(spec))
        bar.progress((network + 1) / settings.networks, text=_progress_text(network + 1, settings.networks))
    measured = gc.Measurement.merge(*parts)
    st.session_state["measured"] = (key_of(spec, settings), measured)
    return measured


def _progress_text(done: int, total: int) -> str:
    if done == 0:
        return t("Starting torch …")
    return t("Measured {done} of {total} networks", done=done, total=total)
