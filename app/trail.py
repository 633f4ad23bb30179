"""The networks that a visitor has asked for: undo, redo, and the recent ones. They live as long as the session."""

from __future__ import annotations

from dataclasses import dataclass, field

import streamlit as st

from gradcore.spec import Spec

MOST = 100  # steps that can be undone
RECENT = 8


@dataclass
class Trail:
    """The Spec that is asked now, those before it, and those that were undone; each list's last is the nearest."""

    now: Spec | None = None
    before: list[Spec] = field(default_factory=list)
    after: list[Spec] = field(default_factory=list)
    seen: list[Spec] = field(default_factory=list)

    def note(self, spec: Spec) -> None:
        """This is asked now. A new question after an undo forgets what was undone, as everywhere."""
        if spec == self.now:
            return
        if self.now is not None:
            self.before = [*self.before, self.now][-MOST:]
        self.after = []
        self._go(spec)

    def undo(self) -> Spec | None:
        """The Spec before this one, which is asked now; None where there is none."""
        if not self.before or self.now is None:
            return None
        self.after.append(self.now)
        return self._go(self.before.pop())

    def redo(self) -> Spec | None:
        """The Spec that was undone last, which is asked now; None where there is none."""
        if not self.after or self.now is None:
            return None
        self.before.append(self.now)
        return self._go(self.after.pop())

    @property
    def recent(self) -> list[Spec]:
        """The last Specs other than the one asked now, the latest first, each once."""
        return [spec for spec in reversed(self.seen) if spec != self.now][:RECENT]

    def _go(self, spec: Spec) -> Spec:
        self.now = spec
        self.seen = [*(each for each in self.seen if each != spec), spec][-RECENT - 1 :]
        return spec


def trail() -> Trail:
    """This session's."""
    return st.session_state.setdefault("trail", Trail())
