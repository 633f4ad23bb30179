"""What a measurement is asked, checked before it begins."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

from gradcore.errors import SpecError
from gradcore.measure.network import check_dtype, check_index


def network_indices(networks: int | Iterable[int]) -> tuple[int, ...]:
    """The indices of the networks asked for: 0..networks-1, or the given ones."""
    if isinstance(networks, (int, np.integer)) and not isinstance(networks, bool):
        if networks < 1:
            raise SpecError("networks", networks, "an integer from 1 on, or a range of indices")
        return tuple(range(int(networks)))
    if isinstance(networks, (str, bytes)) or not isinstance(networks, Iterable):
        raise SpecError("networks", networks, "an integer from 1 on, or a range of indices")
    indices = tuple(check_index("networks", i) for i in networks)
    if not indices or len(set(indices)) != len(indices):
        raise SpecError("networks", networks, "at least one index, each once")
    return indices


def check_arguments(
    dtype: str,
    seed: int,
    device: str,
    progress: Callable[[int, int], Any] | None,
    on_layer: Callable[[int, int], Any] | None,
) -> None:
    """Raise SpecError for what no measurement can be asked."""
    check_dtype(dtype)
    check_index("seed", seed)
    _check_device(device)
    for name, callback in (("progress", progress), ("on_layer", on_layer)):
        if callback is not None and not callable(callback):
            raise SpecError(name, callback, "None or a function of (done, total)")


def _check_device(device: str) -> None:
    try:
        if isinstance(device, str):
            torch.empty(0, device=device)
            return
    except (RuntimeError, AssertionError):  # unknown name, or no such device here
        pass
    raise SpecError("device", device, '"cpu", or a device that torch has on this machine such as "cuda"')
