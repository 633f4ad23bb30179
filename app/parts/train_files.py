"""Files of the page Train: the user's own images, and records of runs out and in."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from app import limits, theme
from app.i18n import spec_error_text, t
from app.parts import move, train_state
from app.parts.train_state import Situation
from gradcore.errors import SpecError
from gradcore.experiments.data import DEFAULT_ITEMS, read_images
from gradcore.experiments.data_files import DataError
from gradcore.experiments.training import SERIES, Run

IMAGES_MB, LABELS_MB, RECORD_MB = 128, 8, 32
MEGABYTE = 2**20


def draw(shown: Situation) -> None:
    """Two closed parts, and the way to other programs' records."""
    with st.expander(t("Data: the digits, or your own MNIST"), key="open_train_data", on_change="rerun") as part:
        if part.open:
            _images(shown)
    with st.expander(t("Record: save this run, open another"), key="open_train_record", on_change="rerun") as part:
        if part.open:
            _save(shown)
            _open(shown)
    st.button(
        t("Symptoms of a record of your own"),
        key="train_to_symptoms",
        icon=theme.ICONS["symptoms"],
        help=t("Opens the page Symptoms: a CSV or JSON of losses and norms per layer."),
        on_click=move.go,
        args=("symptoms",),
    )


def _too_large(file: Any, megabytes: int) -> str:
    """What is wrong with the size of an uploaded file; "" where nothing is."""
    most = limits.upload_mb(megabytes)
    if file is None or file.size <= most * MEGABYTE:
        return ""
    size = f"{file.size / 2**20:.1f}"
    return t("{name} has {size} MB; at most {most} MB are read.", name=file.name, size=size, most=most)


def _refused(file: Any, megabytes: int) -> bool:
    """Say so where a file is too large."""
    if problem := _too_large(file, megabytes):
        st.error(problem, icon=theme.ICONS["error"])
    return bool(problem)


# --- images ---------------------------------------------------------------------------------------------------


def _images(shown: Situation) -> None:
    st.caption(
        t(
            "Images and labels as IDX files (plain or .gz), or both in one .npz or CSV. The first {items} are used; "
            "they stay in this session and are not part of the link.",
            items=f"{DEFAULT_ITEMS:,}",
        )
    )
    left, right = st.columns(2)
    images = left.file_uploader(t("Images"), key="train_images", max_upload_size=limits.upload_mb(IMAGES_MB))
    labels = right.file_uploader(
        t("Labels, where they are a file of their own"),
        key="train_labels",
        max_upload_size=limits.upload_mb(LABELS_MB),
    )
    if images is None:
        st.session_state["train_file_error"] = None
    else:
        st.button(
            t("Use these images"), key="train_use", on_click=_read, args=(images, labels), icon=theme.ICONS["start"]
        )
    if problem := st.session_state.get("train_file_error"):
        st.error(problem, icon=theme.ICONS["error"])
    own = shown.data
    if own is not None:
        st.caption(
            t(
                "In use: {name}, {items} images of {pixels} pixels, {classes} classes.",
                name=own.name,
                items=f"{own.items:,}",
                pixels=own.pixels,
                classes=own.classes,
            )
        )
    if st.session_state.get("train_data") is not None:
        st.button(t("Back to the digits"), key="train_digits", on_click=train_state.use_data, args=(None,))


def _read(images: Any, labels: Any) -> None:
    """Callback: parse the files."""
    problem = _too_large(images, IMAGES_MB) or _too_large(labels, LABELS_MB)
    st.session_state["train_file_error"] = problem
    if problem:
        return
    try:
        found = read_images(
            images.name,
            images.getvalue(),
            None if labels is None else labels.getvalue(),
            labels_name="" if labels is None else labels.name,
        )
    except DataError as error:
        st.session_state["train_file_error"] = str(error)
        return
    train_state.use_data(found)
    train_state.close_record()


# --- records --------------------------------------------------------------------------------------------------


def _save(shown: Situation) -> None:
    with st.container(horizontal=True, gap="small"):
        for name, run, key in (
            (t("Save the plain run"), shown.plain, "plain"),
            (t("Save the run with the remedy"), shown.remedied, "remedied"),
        ):
            if run is not None and run.steps:
                st.download_button(
                    name,
                    run.to_json,
                    file_name=f"{key}-run.json",
                    mime="application/json",
                    key=f"train_save_{key}",
                    icon=theme.ICONS["download"],
                    on_click="ignore",
                )


def _open(shown: Situation) -> None:
    file = st.file_uploader(
        t("Open a saved run (JSON)"),
        type=["json"],
        key="train_record_file",
        max_upload_size=limits.upload_mb(RECORD_MB),
    )
    if file is None:
        st.session_state["train_record_read"] = None
        return
    if st.session_state.get("train_record_read") == file.file_id or _refused(file, RECORD_MB):
        return
    try:
        run = checked(Run.from_json(file.getvalue()))
    except SpecError as error:
        st.error(spec_error_text(error), icon=theme.ICONS["error"])
        return
    st.session_state["train_record_read"] = file.file_id
    st.session_state["train_to_open"] = run
    st.rerun()


def open_what_was_read() -> None:
    """Show the record that the last run of this script has read: widgets can be set before they are drawn alone."""
    run = st.session_state.pop("train_to_open", None)
    if run is not None:
        train_state.open_record(run, train_state.asked())


def checked(run: Run) -> Run:
    """The run, if its steps fit each other and its network. Raises SpecError."""
    allowed = "a record whose steps fit each other and its network"
    if not run.steps:
        raise SpecError("record", 0, "a run of at least one step")
    depth = run.spec.network.depth
    for name in SERIES:
        try:
            values = run.series(name)
        except ValueError:
            raise SpecError("record", name, allowed) from None
        wide = depth - 1 if name in ("saturated", "factors_above_one") else depth
        if values.ndim == 2 and values.shape[1] not in (0, wide):
            raise SpecError("record", f"{name} of {values.shape[1]} layers", f"{wide} of them")
    if not np.array_equal(run.series("step"), np.arange(len(run.steps))):
        raise SpecError("record", "steps", "steps 0, 1, 2, ... in order")
    if not isinstance(run.data.get("pixels"), int) or "digest" not in run.data or run.planned < len(run.steps):
        raise SpecError("record", str(run.data)[:60], allowed)
    return run
