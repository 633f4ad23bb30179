"""Singular values of the Jacobian dz^L/dx^0 of one real network, by torch's own backward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from gradcore.errors import UnsupportedError
from gradcore.measure.network import build, draw_inputs

if TYPE_CHECKING:
    from gradcore.spec import Spec

LARGEST = 2048  # units


def singular_values(spec: Spec, seed: int, network: int) -> np.ndarray:
    """(min(input width, output width),) descending, at the first sample of the batch, in float64."""
    rows, columns = int(spec.layer_widths[-1]), int(spec.fan_ins[0])
    if max(rows, columns) > LARGEST:
        raise UnsupportedError(
            f"a Jacobian of {rows} x {columns} entries", "its singular values take too long", f"widths up to {LARGEST}"
        )
    if spec.norm == "batch":
        raise UnsupportedError(
            "the Jacobian of one sample under batch norm", "every sample of the batch moves every other", "another norm"
        )
    model = build(spec, seed=seed, network=network, dtype="float64")
    x = draw_inputs(spec, seed, network, "float64")[:1]
    # one backward pass for all output units: the same sample once for each of them
    copies = x.expand(rows, columns).clone().requires_grad_(True)
    output = model(copies)
    matrix = torch.autograd.grad(output, copies, torch.eye(rows, dtype=torch.float64))[0]
    return torch.linalg.svdvals(matrix).numpy()
