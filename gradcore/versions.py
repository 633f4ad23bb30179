"""Versions of links: a link keeps its meaning when a field is renamed or a default changes.

A link of version 2 or later says so (``v=2``); one without ``v`` is of version 1. What a version changed stands in
``CHANGES``, and an older link is rewritten by it, version after version, before it is read. A name that was given up
is never given to another field: whatever a link holds under it still means the old one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from gradcore.errors import SpecError

V = TypeVar("V")
KEY = "v"
VERSION = 1  # of the links that are written; raise it together with an entry of CHANGES


@dataclass(frozen=True)
class Change:
    """What one version changed, in the text forms of links.

    ``renamed``: old parameter -> new one. ``recoded``: (new parameter, old text) -> new text. ``defaults``: new
    parameter -> text of its old default, which an older link leaves out and means.
    """

    renamed: Mapping[str, str] = field(default_factory=dict)
    recoded: Mapping[tuple[str, str], str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)

    def apply(self, query: Mapping[str, str], asks: Callable[[str], bool]) -> dict[str, str]:
        """The same parameters in the words of this version; where a link says both, the new name counts."""
        old = {name: text for name, text in self.defaults.items() if asks(name)}
        named = {self.renamed.get(name, name): text for name, text in query.items() if name in self.renamed}
        named = {**named, **{name: text for name, text in query.items() if name not in self.renamed}}
        return {**old, **{name: self.recoded.get((name, text), text) for name, text in named.items()}}


CHANGES: dict[int, Change] = {}  # version: what it changed; version 1 is the first


def upgraded(
    query: Mapping[str, str], asks: Callable[[str], bool] = lambda name: True
) -> tuple[dict[str, str], list[SpecError]]:
    """The parameters in the words of today, without ``v``, and what is wrong with ``v``: then they stay as they are.

    A link of a later version than this one is read as far as it is understood. ``asks`` tells of which parameters the
    reader wants the defaults that a link has left out.
    """
    rest = {name: text for name, text in query.items() if name != KEY}
    text = query.get(KEY, "1")
    allowed = f"the version of a link, from 1 to {VERSION}"
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and int(text) > 0):
        return rest, [SpecError(KEY, text, allowed)]
    if int(text) > VERSION:
        hint = "The link comes from a newer version; what is known of it is shown."
        return rest, [SpecError(KEY, text, allowed, hint)]
    if rest:  # a bare address asks for the defaults of today
        for version in range(int(text) + 1, VERSION + 1):
            rest = CHANGES[version].apply(rest, asks)
    return rest, []


def stamped(query: Mapping[str, V]) -> dict[str, V | str]:
    """These parameters of today as a link: with their version where it is not the first, and anything is asked."""
    return {**query, KEY: str(VERSION)} if query and VERSION > 1 else dict(query)
