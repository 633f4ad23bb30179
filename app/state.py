"""What the visitor asks: the Spec and the measurement's settings, kept in the session and in the URL.

The URL is written by gradcore's one codec plus the few settings of the table below. Widgets are not bound to it: on
the first run, and when a link or the browser's Back button changes it, the URL is read and the widgets are set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from app.i18n import LANGUAGES, spec_error_text
from gradcore import versions
from gradcore.charts import MOMENTS, STATISTICS
from gradcore.codec import from_compact, from_query_leniently, to_compact, to_query
from gradcore.errors import SpecError
from gradcore.experiments import gates, remedies_question, symptom_examples, train_question
from gradcore.experiments.chain import question
from gradcore.experiments.learn import question as learn_question
from gradcore.phases import scalar_of
from gradcore.pins import MOST, added
from gradcore.query import Reader, one_of, whole
from gradcore.spec import Spec
from gradcore.theory.axes import AXES

DTYPES = ("float64", "float32", "bfloat16", "float16")
SAMPLERS = ("dense", "exact")
MAX_NETWORKS = 256
COMPARE_X = ("layer", "relative")
Query = dict[str, str | list[str]]  # a parameter that may be repeated has a list


@dataclass(frozen=True)
class Shared:
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
    compare_x: str = "layer"
    pin: tuple[Spec, ...] = ()  # repeated in the link
    lang: str = ""  # the browser's own


# what pages of their own ask: the prefix of their parameters, the question, what reads its fields
QUESTIONS: tuple[tuple[str, type[Any], Mapping[str, Reader]], ...] = tuple(
    (module.PREFIX, kind, module.READERS)
    for module, kind in (
        (question, question.ChainQuestion),
        (gates, gates.GatesQuestion),
        (train_question, train_question.TrainQuestion),
        (symptom_examples, symptom_examples.SymptomsQuestion),
        (remedies_question, remedies_question.RemediesQuestion),
        (learn_question, learn_question.LearnQuestion),
    )
)

if TYPE_CHECKING:

    class Settings(Shared):
        """The shared settings, and the fields of every page's question with its prefix before them."""

        def __init__(self, **values: Any) -> None: ...

else:
    Settings = make_dataclass(
        "Settings",
        [
            (prefix + each.name, each.type, field(default=each.default))
            for prefix, kind, _ in QUESTIONS
            for each in fields(kind)
        ],
        bases=(Shared,),
        frozen=True,
    )


def _scalar(name: str, text: str) -> str:
    try:
        scalar_of(text)
    except SpecError as error:
        raise SpecError(name, text, error.allowed, error.hint) from None
    return text


def _pin(name: str, text: str) -> Spec:
    try:
        return from_compact(text)
    except SpecError as error:  # the field within the pin is what is to be mended
        raise SpecError(f"{name}: {error.field}", error.value, error.allowed, error.hint) from None


REPEATED = ("pin",)
READERS: dict[str, Reader] = {
    "networks": whole(1, MAX_NETWORKS),
    "seed": whole(0, 2**31 - 1),
    "dtype": one_of(DTYPES),
    "sampler": one_of(SAMPLERS),
    "moment": one_of(MOMENTS),
    "statistic": one_of(STATISTICS),
    "map_x": one_of(AXES),
    "map_y": one_of(AXES),
    "map_of": _scalar,
    "compare_x": one_of(COMPARE_X),
    "pin": _pin,
    "lang": one_of(tuple(LANGUAGES)),
    **{prefix + name: reader for prefix, _, readers in QUESTIONS for name, reader in readers.items()},
}


def read_query(query: Mapping[str, str | Sequence[str]]) -> tuple[Spec, Settings, list[SpecError]]:
    """The Spec and the settings of these parameters, and an error for each refused one."""
    single = {name: text if isinstance(text, str) else text[-1] for name, text in query.items() if name not in REPEATED}
    single, refused = versions.upgraded(single)
    network = {name: text for name, text in single.items() if name not in READERS}
    spec, errors = from_query_leniently({**network, versions.KEY: str(versions.VERSION)})
    refused += errors
    values: dict[str, Any] = {}
    for name, text in single.items():
        if name in READERS:
            try:
                values[name] = READERS[name](name, text)
            except SpecError as error:
                refused.append(error)
    texts = query.get("pin", [])
    values["pin"], unread = _read_pins([texts] if isinstance(texts, str) else texts)
    return spec, Settings(**values), refused + unread


def _read_pins(texts: Sequence[str]) -> tuple[tuple[Spec, ...], list[SpecError]]:
    """The networks of these pins, each once, and an error for each that is none or too many."""
    pins: tuple[Spec, ...] = ()
    refused: list[SpecError] = []
    for number, text in enumerate(texts, start=1):
        try:
            pins = added(pins, READERS["pin"](f"pin {number}", text))
        except SpecError as error:
            refused.append(error)
            if len(pins) == MOST:  # it was one too many: so are those behind it
                break
    return pins, refused


def read_link(link: Mapping[str, Sequence[str]]) -> tuple[Spec, Settings, list[SpecError]]:
    """The same of a link's parameters with all values of each; one that is given several is refused."""
    twice = {name: values for name, values in link.items() if name not in REPEATED and len(set(values)) > 1}
    spec, settings, refused = read_query({name: values for name, values in link.items() if name not in twice})
    refused += [SpecError(name, ", ".join(values), "one value") for name, values in twice.items()]
    return spec, settings, refused


def write_query(spec: Spec, settings: Settings) -> Query:
    """The parameters that open exactly this; defaults are left out."""
    query: Query = dict(to_query(spec))
    for each in fields(settings):
        value = getattr(settings, each.name)
        if value != each.default:
            query[each.name] = [to_compact(pin) for pin in value] if each.name in REPEATED else str(value)
    return versions.stamped(query)


def _address() -> Query:
    """What the address bar says."""
    held = {name: st.query_params.get_all(name) for name in st.query_params}
    return {name: values if name in REPEATED else values[-1] for name, values in held.items()}


def page_changed(page: str) -> bool:
    """Whether this run shows another page than the last one; to be asked once a run."""
    before = st.session_state.get("page", page)
    st.session_state["page"] = page
    return page != before


def url_changed(moved: bool) -> bool:
    """Whether the URL asks for something new: the first run, a link followed, or the browser's Back button.

    A page that was ``moved`` to comes without parameters: that asks for nothing.
    """
    query = _address()
    return st.session_state.get("url") != query and not (moved and not query)


def read_url() -> tuple[Spec, Settings]:
    """Spec and settings of the URL; what it refuses is kept as notices."""
    spec, settings, refused = read_link({name: st.query_params.get_all(name) for name in st.query_params})
    st.session_state["notices"] = [spec_error_text(error) for error in refused]
    st.session_state["url"] = _address()
    st.session_state["url_means"] = (spec, settings)
    return spec, settings


def write_url(spec: Spec, settings: Settings) -> None:
    """Put this question into the address bar.

    A link that was opened stays as it was written while it means this question: replacing it would put an entry into
    the browser's history from which its Back button only leads to the link again.
    """
    if st.session_state.get("url_means") == (spec, settings) and _address() == st.session_state["url"]:
        return
    st.session_state["url_means"] = None
    query = write_query(spec, settings)
    if _address() != query:
        st.query_params.from_dict(query)
    st.session_state["url"] = query


def notices() -> list[str]:
    """What the URL asked for and was refused."""
    return st.session_state.get("notices", [])


def dismiss_notices() -> None:
    """Forget the notices, and what the URL said that was refused."""
    st.session_state["notices"] = []
    st.session_state["url_means"] = None
