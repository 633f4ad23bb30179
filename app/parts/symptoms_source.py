"""Which record the page Symptoms shows: an example, or one's own, uploaded or pasted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from app import limits, runner, theme
from app.i18n import spec_error_text, t, unsupported_text
from app.parts.verdict_box import missing_text
from gradcore.errors import SpecError, UnsupportedError
from gradcore.experiments.data import digits
from gradcore.experiments.remedy_code import RECORD
from gradcore.experiments.symptom_examples import EXAMPLES, PREFIX, Example
from gradcore.experiments.training_log import TrainingLog, read_log

EXAMPLE_KEY = f"setting_{PREFIX}example"
STAYS: dict[str, Any] = {"persist_state": "session"}
MEGABYTES, MEGABYTE = 32, 2**20  # of a record
PASTED = "record.csv"
SAMPLE = "step,loss,grad_1,grad_2,weight_1,weight_2\n0,2.31,0.002,0.4,5.1,3.2\n1,2.30,0.002,0.4,5.1,3.3"


@dataclass(frozen=True, eq=False)
class Source:
    """What is shown: the record's ``log``, its ``name``, and the ``example`` that it is, if it is one."""

    log: TrainingLog
    name: str
    example: Example | None = None


def asked() -> str:
    """The code of the example that the link names."""
    return st.session_state[EXAMPLE_KEY]


# --- what is chosen -------------------------------------------------------------------------------------------


def own() -> Source | None:
    """The visitor's own record, while it is the one that is shown."""
    mine, beside = st.session_state.get("symptoms_own") or (None, None)
    return mine if beside == asked() else None  # a link or the Back button has asked for another example since


def forget_own() -> None:
    """Callback: back to the example."""
    st.session_state["symptoms_own"] = None
    st.session_state["symptoms_error"] = ""


def _read(name: str, content: str | bytes) -> None:
    """Show this record from now on, or say what is wrong with it."""
    if len(content) > (most := limits.upload_mb(MEGABYTES)) * MEGABYTE:
        size = f"{len(content) / MEGABYTE:.1f}"
        problem = t("{name} has {size} MB; at most {most} MB are read.", name=name, size=size, most=most)
    else:
        try:
            st.session_state["symptoms_own"] = (Source(read_log(name, content), name), asked())
            problem = ""
        except SpecError as error:
            problem = spec_error_text(error)
    st.session_state["symptoms_error"] = problem


def _upload() -> None:
    """Callback of the file: read it; where it was taken away, back to the example. Leaving the page is no change."""
    file = st.session_state.get("symptoms_file")
    if file is None:
        forget_own()
    else:
        _read(file.name, file.getvalue())


def _paste() -> None:
    """Callback of the button below the text."""
    _read(PASTED, st.session_state.get("symptoms_text") or "")


# --- controls -------------------------------------------------------------------------------------------------


def draw() -> None:
    """The examples as buttons, then the two ways to give a record of one's own."""
    _examples()
    with st.container(border=True, gap="small"):
        left, right = st.columns(2, gap="medium")
        with left:
            st.file_uploader(
                t("Your own record: CSV or JSON, also a run saved on the page Train"),
                type=["csv", "json", "txt"],
                key="symptoms_file",
                max_upload_size=limits.upload_mb(MEGABYTES),
                on_change=_upload,
                help=t(
                    'Columns: "loss" and, as far as they are there, "step", "grad_1", "grad_2", … (norm of a layer\'s '
                    'gradient), "weight_1", …, "update_1", …, "change_1", …, "node_1", …, "saturated_1", …. It stays '
                    "in this session and is not part of the link."
                ),
            )
        with right:
            st.text_area(
                t("or paste it"), key="symptoms_text", placeholder=SAMPLE, height=92, max_chars=2_000_000, **STAYS
            )
            st.button(t("Read the pasted record"), key="symptoms_paste", on_click=_paste, icon=theme.ICONS["start"])
        if problem := st.session_state.get("symptoms_error"):
            st.error(problem, icon=theme.ICONS["error"])
        with st.expander(t("How to write such a record: lines for any torch model")):
            st.code(RECORD, language="python")
            st.caption(
                t(
                    "Beside your model, optimizer, loss_function and batches (pairs of inputs and targets); no hooks. "
                    "Then open record.csv here."
                )
            )


def _examples() -> None:
    st.session_state["symptoms_pick"] = None if own() is not None else asked()
    with st.container(gap="xxsmall"):
        st.pills(
            t("Examples: press one, or give a record of your own"),
            options=list(EXAMPLES),
            format_func=lambda code: t(EXAMPLES[code].title),
            key="symptoms_pick",
            on_change=_choose,
            help=t("Each is a short run of this app's own trainer on the digits."),
        )
        if own() is None:
            st.caption(t(EXAMPLES[asked()].sentence))


def _choose() -> None:
    """Callback of the buttons; pressing the one that shows changes nothing."""
    code = st.session_state["symptoms_pick"]
    if code is not None:
        st.session_state[EXAMPLE_KEY] = code
        forget_own()


# --- the examples' records ------------------------------------------------------------------------------------


@st.cache_resource(show_spinner=False)
def _logs() -> dict[str, TrainingLog]:
    """The records of the examples so far, of all sessions; they never change."""
    return {}


def at_hand() -> Source | None:
    """The record to show, if it is there: one's own, or an example that was shown before."""
    if (mine := own()) is not None:
        return mine
    log = _logs().get(asked())
    return None if log is None else _of_example(log)


def _of_example(log: TrainingLog) -> Source:
    example = EXAMPLES[asked()]
    return Source(log, t(example.title), example)


def train_example() -> Source | str:
    """The example's record, computed; or why there is none. Streamlit may end the run anywhere in it."""
    example = EXAMPLES[asked()]
    try:
        runner.start_torch()
        run = example.run(digits(), lambda done, total: runner.may_stop_here())
    except ModuleNotFoundError as error:
        return missing_text(error.name or str(error))
    except UnsupportedError as error:
        return unsupported_text(error)
    _logs()[example.code] = TrainingLog.from_run(run)
    return _of_example(_logs()[example.code])
