"""Seeded random Specs as people would try them: every table, ordinary and bad gains, measurable in milliseconds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import gradcore as gc
from gradcore.activations import ACTIVATIONS
from gradcore.initializers import INITIALIZERS
from tests.grid import LOSSES, scaled_gain

BLOCKS = ("post_activation", "two_layer", "resnet_v1")


def random_specs(seed: int, least_width: int = 32, most_width: int = 256, sampled: bool = False) -> Iterator[gc.Spec]:
    """Endless Specs that theory answers, the same for the same seed; with ``sampled`` also those whose prediction may
    be sampled (blocks of residual forms, batch norm on digits, also on more images than are followed) and is no closed
    recursion."""
    rng = np.random.default_rng(seed)
    while True:
        spec = _draw(rng, least_width, most_width, BLOCKS if sampled else ())
        if not sampled and spec.norm == "batch" and spec.input == "digits":
            continue
        try:
            gc.predict(spec)
        except gc.UnsupportedError:
            continue
        yield spec


def _draw(rng: np.random.Generator, least_width: int, most_width: int, blocks: tuple[str, ...]) -> gc.Spec:
    def pick(*choices: object) -> object:
        return choices[int(rng.integers(len(choices)))]

    depth, width = int(rng.integers(5, 61)), int(rng.integers(least_width, most_width + 1))
    init = str(pick(*INITIALIZERS))
    norm = str(pick("none", "none", "none", "layer", "rms", "batch"))
    residual = str(pick("none", "none", "identity", *blocks))
    data = str(pick("gaussian", "gaussian", "gaussian", "digits"))
    widths: object = width
    if residual == "none" and rng.random() < 0.2:
        widths = tuple(int(n) for n in rng.integers(least_width, most_width + 1, depth))
    return gc.Spec(
        depth=depth,
        width=widths,
        activation=str(pick(*ACTIVATIONS)),
        init=init,
        gain=float(scaled_gain(init, width) * np.exp(rng.normal(0.0, 0.5))) if rng.random() < 0.8 else "auto",
        bias_std=pick(0.0, 0.0, 0.1, 1.0, "default"),
        norm=norm,
        norm_position=str(pick("before", "before", "after")),
        norm_beta=float(pick(0.0, 0.0, 0.0, -2.0, 1.0)),
        residual=residual,
        residual_scale=pick(1.0, 0.3, "1/sqrt(L)"),
        batch_size=int(pick(8, 16, 64, *((200,) if blocks else ()))) if norm == "batch" else int(pick(1, 4, 16)),
        input=data,
        input_rms=float(np.exp(rng.normal(0.0, 0.5))),
        input_correlation=float(pick(0.0, 0.0, 0.5)),
        loss=str(pick(*LOSSES)),
    )
