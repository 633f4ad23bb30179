"""Texts that arrive with their values already in them: the words of errors and of notes.

The library says them in English as whole sentences. The catalogue holds them as templates with {0}, {1}, ... where
values stand; a sentence is recognized by its template and said anew with the values that it holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

HOLE = re.compile(r"\{(\d)\}")


@lru_cache(maxsize=8)
def patterns(templates: tuple[str, ...]) -> tuple[tuple[re.Pattern[str], str], ...]:
    """(what recognizes a sentence, its template), those with the most fixed text first."""
    found = [one for one in templates if HOLE.search(one)]
    found.sort(key=lambda one: -len(HOLE.sub("", one)))
    return tuple((re.compile(_expression(one), re.DOTALL), one) for one in found)


def say(sentence: str, templates: Iterable[str], say_template: Callable[[str], str]) -> str:
    """The sentence in the other language; itself where no template fits. Values that are texts are said too."""
    whole = say_template(sentence) if sentence else ""
    if whole != sentence:
        return whole
    for pattern, template in patterns(tuple(templates)):
        if found := pattern.fullmatch(sentence):
            values = [say(value, templates, say_template) for value in found.groups()]
            return HOLE.sub(lambda hole, values=values: values[int(hole.group(1))], say_template(template))
    return sentence


def _expression(template: str) -> str:
    """The regular expression of a template: text as it is, anything (also nothing) for a value."""
    return "(.*?)".join(re.escape(text) for text in HOLE.split(template)[::2])
