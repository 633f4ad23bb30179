"""The question: a frozen description of a network at initialization and of what flows through it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.activations import ACTIVATIONS, Activation, negative_slope_of
from gradcore.errors import SpecError
from gradcore.fields import FIELDS, MAX_DEPTH, MAX_WIDTH
from gradcore.initializers import INITIALIZERS, Initializer
from gradcore.residual import branch_scale

if TYPE_CHECKING:
    import torch

DIGITS_PIXELS = 64
DIGITS_IMAGES = 1797


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Everything a prediction depends on, and nothing else. Frozen, hashable, flat.

    Layer l = 1..L computes z^l = W^l x^(l-1) + b^l with x^l = phi(norm(z^l)) (``norm_position`` "before") or
    norm(phi(z^l)) ("after"); z^L is the output. With ``residual="identity"`` the first layer is plain and then
    h^l = h^(l-1) + alpha (W^l u + b^l), u = phi(norm(h^(l-1))) or norm(phi(h^(l-1))). The other forms are in
    ``gradcore.residual``.

    Raises SpecError naming the field, the value and what is allowed. Fields made inactive by another one are
    checked and then ignored. The fields are described in ``gradcore.fields`` and docs/conventions.md.
    """

    depth: int = 50
    width: int | tuple[int, ...] = 256
    input_width: int | None = None
    activation: str = "relu"
    negative_slope: float | None = None
    init: str = "xavier_normal"
    gain: float | str = 1.0
    sparsity: float = 0.8
    bias_std: float | str = 0.0
    norm: str = "none"
    norm_position: str = "before"
    norm_gamma: float = 1.0
    norm_beta: float = 0.0
    norm_eps: float = 1e-5
    residual: str = "none"
    residual_scale: float | str = 1.0
    batch_size: int = 16
    input: str = "gaussian"
    input_rms: float = 1.0
    input_correlation: float = 0.0
    loss: str = "random"

    def __post_init__(self) -> None:
        for name, field in FIELDS.items():
            object.__setattr__(self, name, field.check(name, getattr(self, name)))
        self._check_widths()
        self._check_data()

    def _check_widths(self) -> None:
        if isinstance(self.width, tuple) and len(self.width) != self.depth:
            raise SpecError(
                "width",
                self.width,
                f"an integer from 1 to {MAX_WIDTH:,}, or exactly depth = {self.depth} of them",
                f"Give depth={len(self.width)} or {self.depth} widths." if 1 <= len(self.width) <= MAX_DEPTH else "",
            )
        if self.residual != "none" and isinstance(self.width, tuple) and len(set(self.width)) > 1:
            raise SpecError(
                "width",
                self.width,
                "equal widths from layer 1 on where residual is not none",
                'Use one number for width, or residual="none".',
            )
        if self.input == "digits" and self.input_width not in (None, DIGITS_PIXELS):
            raise SpecError(
                "input_width",
                self.input_width,
                f"{DIGITS_PIXELS} (8 x 8 pixels) or None where input is digits",
                'Leave input_width out, or use input="gaussian".',
            )

    def _check_data(self) -> None:
        if self.input == "digits" and self.batch_size > DIGITS_IMAGES:
            raise SpecError(
                "batch_size",
                self.batch_size,
                f"an integer from 1 to {DIGITS_IMAGES:,} where input is digits",
                "scikit-learn's digits hold no more images.",
            )
        if self.norm != "batch":
            return
        if self.norm_eps <= 0:
            raise SpecError("norm_eps", self.norm_eps, "a number above 0 where norm is batch, as in torch")
        if self.input == "gaussian" and self.input_correlation == 1.0:
            raise SpecError(
                "input_correlation",
                self.input_correlation,
                "a number from 0 to below 1 where norm is batch",
                "Identical samples have no variance over the batch to normalize by.",
            )

    # --- derived quantities, computed from the fields alone -------------------------------------------------

    @cached_property
    def layer_widths(self) -> np.ndarray:
        """(L,) int64: units n_l of layers 1..L."""
        return np.broadcast_to(np.asarray(self.width, dtype=np.int64), (self.depth,))

    @cached_property
    def fan_ins(self) -> np.ndarray:
        """(L,) int64: n_(l-1), with the input width for l = 1."""
        first = self.input_width or (DIGITS_PIXELS if self.input == "digits" else int(self.layer_widths[0]))
        return np.concatenate([[first], self.layer_widths[:-1]]).astype(np.int64)

    @property
    def activation_entry(self) -> Activation:
        """The entry of the activation table."""
        return ACTIVATIONS[self.activation]

    @property
    def init_entry(self) -> Initializer:
        """The entry of the initializer table."""
        return INITIALIZERS[self.init]

    @property
    def slope(self) -> float:
        """The negative slope in force: the given one, else torch's default for the activation."""
        return negative_slope_of(self.activation, self.negative_slope)

    @property
    def init_slope(self) -> float:
        """The ``a`` of the kaiming laws: the slope for leaky_relu and prelu, else 0."""
        return self.slope if self.activation_entry.default_slope is not None else 0.0

    @property
    def alpha(self) -> float:
        """The number on the residual branch."""
        return branch_scale(self.residual_scale, self.depth)

    def replace(self, **changes: Any) -> Spec:
        """A copy with some fields changed (checked again)."""
        return dataclasses.replace(self, **changes)

    def build(self, seed: int = 0, network: int = 0, dtype: str = "float64") -> torch.nn.Module:
        """The ordinary ``nn.Module`` with the weights of measured network ``network`` of ``seed``."""
        from gradcore.measure.network import build

        return build(self, seed=seed, network=network, dtype=dtype)


def field_names() -> tuple[str, ...]:
    """The names of the Spec's fields, in their order."""
    return tuple(FIELDS)
