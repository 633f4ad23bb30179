"""Finished networks of all sessions: what was measured once is not measured again, and a stopped run resumes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING

import streamlit as st

from gradcore.measurement import QUANTITIES, SHARES

if TYPE_CHECKING:
    from gradcore.measurement import Measurement

MAX_BYTES = 64e6  # 20,000 networks of 50 layers, 100 of 10,000 layers
OVERHEAD = 2000  # bytes of a Measurement beside its numbers


def size(measured: Measurement) -> int:
    """Bytes that a Measurement takes."""
    return OVERHEAD + sum(getattr(measured, name).nbytes for name in (*QUANTITIES, *SHARES))


class Store:
    """Measurements of single networks by key; the least recently used go once they take more than ``max_bytes``."""

    def __init__(self, max_bytes: float) -> None:
        self._lock, self._max_bytes, self._bytes = threading.Lock(), max_bytes, 0
        self._kept: OrderedDict[Hashable, Measurement] = OrderedDict()

    def get(self, key: Hashable) -> Measurement | None:
        """The network of this key, now the most recently used one; None where it is not here."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Hashable, measured: Measurement) -> None:
        """Keep a network."""
        with self._lock:
            self._bytes += size(measured) - (size(self._kept.pop(key)) if key in self._kept else 0)
            self._kept[key] = measured
            while self._bytes > self._max_bytes:
                self._bytes -= size(self._kept.popitem(last=False)[1])

    def count(self, keys: Iterable[Hashable]) -> int:
        """How many of these are here."""
        with self._lock:
            return sum(key in self._kept for key in keys)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0


@st.cache_resource(show_spinner=False)
def networks() -> Store:
    """The one of this process."""
    return Store(MAX_BYTES)
