"""Which recursion answers a Spec, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gradcore.errors import UnsupportedError
from gradcore.initializers import sparse_zeros

if TYPE_CHECKING:
    from gradcore.spec import Spec
    from gradcore.theory.batch_norm import BatchNormField
    from gradcore.theory.exact_blocks import ExactBlocks
    from gradcore.theory.exact_eye import EyeField
    from gradcore.theory.exact_units import ExactUnits
    from gradcore.theory.exact_weights import ConstantField
    from gradcore.theory.mean_field import MeanField

    Field = MeanField | BatchNormField | ConstantField | EyeField | ExactBlocks | ExactUnits

MIN_BATCH = 4
MIN_BATCH_FLAT = 64
MIN_NONZEROS = 20


def check_supported(spec: Spec) -> None:
    """Raise UnsupportedError for the few questions that theory cannot answer honestly."""
    if spec.norm == "batch":
        _check_batch_norm(spec)
    kind = spec.init_entry.kind
    if kind in ("constant", "eye") and spec.norm != "none":
        raise UnsupportedError(
            f'init "{spec.init}" with norm "{spec.norm}"',
            "the units are not random, so a norm's statistics follow no law",
            'this init with norm "none", or a random init',
        )
    if kind == "sparse" and not spec.activation_entry.is_linear:
        fans = set(zip(spec.fan_ins.tolist(), spec.layer_widths.tolist(), strict=True))
        least = min(n * (1 - sparse_zeros(m, spec.sparsity) / m) for n, m in fans)
        if least < MIN_NONZEROS:
            raise UnsupportedError(
                f"sparse weights with {least:.3g} non-zeros a row",
                "so few terms a sum are not Gaussian",
                f"at least {MIN_NONZEROS} non-zeros a row, or a linear net: lower sparsity or widen the layers",
            )


def _check_batch_norm(spec: Spec) -> None:
    if spec.batch_size < MIN_BATCH:
        raise UnsupportedError(
            f"batch norm with batch_size = {spec.batch_size}",
            "the mean of 1/variance over the batch is infinite for B <= 3",
            f"batch_size >= {MIN_BATCH}",
        )
    flat = spec.activation_entry.flat
    if spec.norm_position == "after" and flat and spec.batch_size < MIN_BATCH_FLAT:
        raise UnsupportedError(
            f"batch norm after {spec.activation} with batch_size = {spec.batch_size}",
            "a unit that is flat on the whole batch divides by sqrt(eps), and rare draws make the mean",
            f"batch_size >= {MIN_BATCH_FLAT}, or norm_position before",
        )


def field_of(spec: Spec) -> Field:
    """The recursion that answers this Spec. Raises UnsupportedError."""
    check_supported(spec)
    kind = spec.init_entry.kind
    blocks = spec.residual in _BLOCKS and spec.depth > 1
    if kind == "constant" and blocks and spec.bias_std != 0.0:
        from gradcore.theory.exact_units import ExactUnits

        return ExactUnits(spec)
    if kind in ("constant", "eye") and blocks:
        from gradcore.theory.exact_blocks import ExactBlocks

        return ExactBlocks(spec)
    if kind == "constant":
        from gradcore.theory.exact_weights import ConstantField

        return ConstantField(spec)
    if kind == "eye":
        from gradcore.theory.exact_eye import EyeField

        return EyeField(spec)
    if blocks:
        return _BLOCKS[spec.residual](spec)
    if spec.norm == "batch" and spec.input == "digits":
        if spec.loss == "mse" and spec.residual != "none" and spec.depth > 1:
            return _sampled(spec)
        from gradcore.theory.gram_field import GramField

        return GramField(spec)
    if spec.norm == "batch":
        from gradcore.theory.batch_norm import BatchNormField

        return BatchNormField(spec)
    from gradcore.theory.mean_field import MeanField

    return MeanField(spec)


def _sampled(spec: Spec) -> MeanField:
    if spec.norm == "batch" and spec.input == "digits":
        from gradcore.theory.batch_particles import UnlikeField

        return UnlikeField(spec)
    from gradcore.theory.particle_field import ParticleField

    return ParticleField(spec)


def _post_activation(spec: Spec) -> MeanField:
    from gradcore.theory.post_activation import PostActivationField

    return _sampled(spec) if spec.norm == "batch" else PostActivationField(spec)


def _two_layer(spec: Spec) -> MeanField:
    from gradcore.theory.two_layer import TwoLayerField

    return _sampled(spec) if spec.norm == "batch" else TwoLayerField(spec)


# residual forms with a recursion of their own
_BLOCKS: dict[str, Callable[[Spec], MeanField]] = {
    "post_activation": _post_activation,
    "two_layer": _two_layer,
    "resnet_v1": _sampled,
}
