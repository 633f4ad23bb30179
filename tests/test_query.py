"""Questions as query parameters: what is read, what is refused by name, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from gradcore import query
from gradcore.errors import SpecError
from gradcore.experiments import gates, train_question
from gradcore.experiments.chain import PRESETS as CHAIN
from gradcore.experiments.chain import question as chain

READERS = {
    "count": query.whole(1, 5_000),
    "rate": query.real(1e-6, 10.0),
    "limit": query.real_or_none(0.0, 1.0),
    "code": query.one_of(("plain", "other")),
}


@dataclass(frozen=True)
class Asked:
    count: int = 3
    rate: float = 0.1
    limit: float | None = 1.0
    code: str = "plain"


def read(**parameters: str) -> Asked:
    return query.read(Asked, READERS, "q_", parameters)


def test_what_is_written_is_read_again() -> None:
    for asked in (Asked(), Asked(4, 1 / 3, None, "other"), Asked(limit=0.0)):
        assert read(**query.write(asked, "q_")) == asked
    assert query.write(Asked(), "q_") == {} and query.write(Asked(limit=None), "q_") == {"q_limit": "None"}
    assert read(q_rate="5/3", depth="9").rate == 5 / 3  # other names are another's


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("q_count", "0", "an integer from 1 to 5,000"),
        ("q_count", "5001", "an integer from 1 to 5,000"),
        ("q_count", "2.5", "an integer from 1 to 5,000"),
        ("q_rate", "nan", "a number from 1e-06 to 10"),
        ("q_rate", "inf", "a number from 1e-06 to 10"),
        ("q_rate", "fast", "a number from 1e-06 to 10"),
        ("q_limit", "1.5", "a number from 0 to 1"),
        ("q_code", "plane", "one of plain, other"),
        ("q_depth", "3", "one of q_count, q_rate, q_limit, q_code"),
    ],
)
def test_what_is_refused_is_named(name: str, text: str, allowed: str) -> None:
    with pytest.raises(SpecError) as refused:
        read(**{name: text})
    assert refused.value.field == name and str(refused.value.value) == text and refused.value.allowed == allowed


PAGES = {"chain": (chain, CHAIN), "gates": (gates, gates.PRESETS), "train": (train_question, train_question.PRESETS)}


@pytest.mark.parametrize("name", PAGES)
def test_every_pages_presets_pass_through_their_links(name: str) -> None:
    page, presets = PAGES[name]
    assert all(page.from_query(preset.query) == preset.question for preset in presets.values())
    with pytest.raises(SpecError):
        page.from_query({f"{page.PREFIX}unknown": "1"})
