"""What ordinary autograd shows in a given precision: no rescaling, so signals and gradients over- and underflow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from gradcore.measure.network import Network, build, check_dtype, draw_cotangent, draw_inputs
from gradcore.measure.statistics import log_mean_square
from gradcore.measure.turns import one_intra_op_thread

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class PlainRun:
    """Plain forward and backward passes in ``dtype``: ``log_q``, ``log_g`` (networks, L), and first layers, (networks,)
    each, 1-based, 0 where none: ``first_inf``, ``first_nan``, ``first_zero`` of the forward pass;
    ``gradient_zero`` the layer nearest the output whose gradient is all zero."""

    dtype: str
    log_q: Array
    log_g: Array
    first_inf: Array
    first_nan: Array
    first_zero: Array
    gradient_zero: Array


def _layers(model: Network, x: torch.Tensor) -> list[torch.Tensor]:
    out: list[torch.Tensor] = []
    for index in range(len(model.linears)):
        out.append(model.layer(index, x, out).z)
    return out


def _first(flags: list[bool]) -> int:
    return flags.index(True) + 1 if True in flags else 0


def _one(spec: Spec, seed: int, network: int, dtype: str) -> tuple[Array, Array, tuple[int, int, int, int]]:
    model = build(spec, seed, network, dtype)
    streams = _layers(model, draw_inputs(spec, seed, network, dtype))
    log_q = np.array([log_mean_square(z) for z in streams])
    log_g = np.full(spec.depth, np.nan)
    if bool(torch.isfinite(streams[-1]).all()):
        delta = draw_cotangent(spec, streams[-1], seed, network, dtype) / spec.batch_size
        gradients = torch.autograd.grad(streams[-1], streams, delta)
        log_g = np.array([log_mean_square(g) for g in gradients]) + 2.0 * np.log(spec.batch_size)
    zero = [bool(v) for v in np.isneginf(log_g)]
    events = (
        _first([bool(torch.isinf(z).any()) for z in streams]),
        _first([bool(torch.isnan(z).any()) for z in streams]),
        _first([not bool(z.any()) for z in streams]),
        len(zero) - zero[::-1].index(True) if True in zero else 0,
    )
    return log_q, log_g, events


def plain_run(spec: Spec, networks: tuple[int, ...], seed: int, dtype: str) -> PlainRun:
    """Plain passes of these networks in ``dtype``; half precisions round the float32 draws."""
    check_dtype(dtype)
    rows = []
    for network in networks:
        with one_intra_op_thread():
            rows.append(_one(spec, seed, network, dtype))
    log_q, log_g, events = zip(*rows, strict=True)
    columns = np.array(events).T
    return PlainRun(dtype, np.array(log_q), np.array(log_g), *columns)
