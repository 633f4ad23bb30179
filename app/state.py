"""What the visitor asks: the Spec and the measurement's settings, kept in the session and in the URL.

The URL is written by gradcore's one codec plus the few settings of the table below. Widgets are not bound to it: on
the first run, and when a link or the browser's Back button changes it, the URL is read and the widgets are set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import streamlit as st

from app.i18n import spec_error_text
from gradcore.charts import MOMENTS, STATISTICS
from gradcore.codec import from_query_leniently, to_query
from gradcore.errors import SpecError
from gradcore.experiments import gates, remedies_question, train_question
from gradcore.experiments.chain import question
from gradcore.phase_map import scalar_of
from gradcore.spec import Spec
from gradcore.theory.axes import AXES

DTYPES = ("float64", "float32", "bfloat16", "float16")
SAMPLERS = ("dense", "exact")
MAX_NETWORKS = 256
CHAIN = question.ChainQuestion()
GATES = gates.GatesQuestion()
TRAIN = train_question.TrainQuestion()
REMEDIES = remedies_question.RemediesQuestion()


@dataclass(frozen=True)
class Settings:
    """How to measure and how to show it; the names are query parameters too."""

    networks: int = 8
    seed: int = 0
    dtype: str = "float64"
    sampler: str = "dense"
    moment: str = "rms"
    statistic: str = "mean"
    map_x: str = "gain"
    map_y: str = "depth"
    map_of: str = "log_g_1"
    chain_length: int = CHAIN.length
    chain_weight_std: float = CHAIN.weight_std
    chain_bias_std: float = CHAIN.bias_std
    chain_weights: str = CHAIN.weights
    chain_biases: str = CHAIN.biases
    chain_activation: str = CHAIN.activation
    chain_input: float = CHAIN.input
    chain_target: float = CHAIN.target
    chain_seed: int = CHAIN.seed
    chain_nudge: float = CHAIN.nudge
    chain_rate: float = CHAIN.rate
    chain_view: str = CHAIN.view
    gates_cell: str = GATES.cell
    gates_hidden_size: int = GATES.hidden_size
    gates_input_size: int = GATES.input_size
    gates_steps: int = GATES.steps
    gates_activation: str = GATES.activation
    gates_init: str = GATES.init
    gates_weight_scale: float = GATES.weight_scale
    gates_forget_bias: float | None = GATES.forget_bias
    gates_update_bias: float | None = GATES.update_bias
    gates_networks: int = GATES.networks
    gates_seed: int = GATES.seed
    gates_task: str = GATES.task
    gates_cells: str = GATES.cells
    gates_units: int = GATES.units
    gates_length: int = GATES.length
    gates_updates: int = GATES.updates
    gates_learning_rate: float = GATES.learning_rate
    gates_clip_norm: float | None = GATES.clip_norm
    train_hidden: int = TRAIN.hidden
    train_width: int = TRAIN.width
    train_weights: str = TRAIN.weights
    train_activation: str = TRAIN.activation
    train_cost: str = TRAIN.cost
    train_optimizer: str = TRAIN.optimizer
    train_rate: float = TRAIN.rate
    train_batch: str = TRAIN.batch
    train_steps: int = TRAIN.steps
    train_seed: int = TRAIN.seed
    train_clip: str = TRAIN.clip
    train_clip_limit: float = TRAIN.clip_limit
    train_l1: float = TRAIN.l1
    train_l2: float = TRAIN.l2
    train_remedy: str = TRAIN.remedy
    train_view: str = TRAIN.view
    remedies_view: str = REMEDIES.view
    remedies_on: str = REMEDIES.on
    remedies_alpha: str = REMEDIES.alpha
    remedies_depth: int | None = REMEDIES.depth
    remedies_hidden: int = REMEDIES.hidden
    remedies_width: int = REMEDIES.width
    remedies_activation: str = REMEDIES.activation
    remedies_weights: str = REMEDIES.weights
    remedies_cost: str = REMEDIES.cost
    remedies_rate: float = REMEDIES.rate
    remedies_batch: str = REMEDIES.batch
    remedies_steps: int = REMEDIES.steps
    remedies_seed: int = REMEDIES.seed
    remedies_clip: str = REMEDIES.clip
    remedies_limit: float | None = REMEDIES.limit
    remedies_penalty: str = REMEDIES.penalty
    remedies_strength: float = REMEDIES.strength


def _whole(low: int, high: int) -> Callable[[str, str], int]:
    def read(name: str, text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise SpecError(name, text, f"an integer from {low:,} to {high:,}")
        return number

    return read


def _one_of(codes: tuple[str, ...]) -> Callable[[str, str], str]:
    def read(name: str, text: str) -> str:
        if text not in codes:
            raise SpecError(name, text, "one of " + ", ".join(codes))
        return text

    return read


def _scalar(name: str, text: str) -> str:
    try:
        scalar_of(text)
    except SpecError as error:
        raise SpecError(name, text, error.allowed, error.hint) from None
    return text


READERS: dict[str, Callable[[str, str], Any]] = {
    "networks": _whole(1, MAX_NETWORKS),
    "seed": _whole(0, 2**31 - 1),
    "dtype": _one_of(DTYPES),
    "sampler": _one_of(SAMPLERS),
    "moment": _one_of(MOMENTS),
    "statistic": _one_of(STATISTICS),
    "map_x": _one_of(AXES),
    "map_y": _one_of(AXES),
    "map_of": _scalar,
    **{question.PREFIX + name: reader for name, reader in question.READERS.items()},  # the page Chain's
    **{gates.PREFIX + name: reader for name, reader in gates.READERS.items()},  # the page Gates'
    **{train_question.PREFIX + name: reader for name, reader in train_question.READERS.items()},
    **{remedies_question.PREFIX + name: reader for name, reader in remedies_question.READERS.items()},
}


def read_query(query: Mapping[str, str]) -> tuple[Spec, Settings, list[SpecError]]:
    """The Spec and the settings of these parameters, and an error for each refused one."""
    mine = {name: text for name, text in query.items() if name in READERS}
    spec, refused = from_query_leniently({name: text for name, text in query.items() if name not in READERS})
    values: dict[str, Any] = {}
    for name, text in mine.items():
        try:
            values[name] = READERS[name](name, text)
        except SpecError as error:
            refused.append(error)
    return spec, Settings(**values), refused


def write_query(spec: Spec, settings: Settings) -> dict[str, str]:
    """The parameters that open exactly this; defaults are left out."""
    query = to_query(spec)
    for field in fields(settings):
        value = getattr(settings, field.name)
        if value != field.default:
            query[field.name] = str(value)
    return query


def page_changed(page: str) -> bool:
    """Whether this run shows another page than the last one; to be asked once a run."""
    before = st.session_state.get("page", page)
    st.session_state["page"] = page
    return page != before


def url_changed(moved: bool) -> bool:
    """Whether the URL asks for something new: the first run, a link followed, or the browser's Back button.

    A page that was ``moved`` to comes without parameters: that asks for nothing.
    """
    query = dict(st.query_params)
    return st.session_state.get("url") != query and not (moved and not query)


def read_url() -> tuple[Spec, Settings]:
    """Spec and settings of the URL; what it refuses is kept as notices."""
    query = {name: st.query_params.get_all(name) for name in st.query_params}
    twice = {name: values for name, values in query.items() if len(set(values)) > 1}
    spec, settings, refused = read_query({name: values[0] for name, values in query.items() if name not in twice})
    refused += [SpecError(name, ", ".join(values), "one value") for name, values in twice.items()]
    st.session_state["notices"] = [spec_error_text(error) for error in refused]
    st.session_state["url"] = dict(st.query_params)
    st.session_state["url_means"] = (spec, settings)
    return spec, settings


def write_url(spec: Spec, settings: Settings) -> None:
    """Put this question into the address bar.

    A link that was opened stays as it was written while it means this question: replacing it would put an entry into
    the browser's history from which its Back button only leads to the link again.
    """
    if st.session_state.get("url_means") == (spec, settings) and dict(st.query_params) == st.session_state["url"]:
        return
    st.session_state["url_means"] = None
    query = write_query(spec, settings)
    if dict(st.query_params) != query:
        st.query_params.from_dict(query)
    st.session_state["url"] = query


def notices() -> list[str]:
    """What the URL asked for and was refused."""
    return st.session_state.get("notices", [])


def dismiss_notices() -> None:
    """Forget the notices, and what the URL said that was refused."""
    st.session_state["notices"] = []
    st.session_state["url_means"] = None
