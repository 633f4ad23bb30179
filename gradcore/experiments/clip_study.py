"""Clipping looked at (experiment 4.1): the norms of an unclipped run, and what a threshold does to one gradient.

plain = observing(spec, "norm_2")                 # never clips, and keeps every step's norm of that type
norms = train_all(plain, data).series("clip_norm")
clip_gradients(layer_gradients(spec, data), "norm_2", limit=1.0)     # layers before and after, cosine
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradcore.errors import SpecError
from gradcore.experiments.clipping import clip_by_norm, clip_by_value, cosine, total_norm, value_clip_of_gaussian
from gradcore.experiments.data import Dataset
from gradcore.experiments.train_spec import TrainSpec
from gradcore.experiments.training import Run

Array = np.ndarray
KINDS: dict[str, tuple[str, float]] = {  # code -> (TrainSpec.clip, norm type); by value the largest entry decides
    "norm_1": ("norm", 1.0),
    "norm_2": ("norm", 2.0),
    "norm_inf": ("norm", math.inf),
    "value": ("value", math.inf),
}
NEVER = 1e30  # a limit that no number below the float range of a run reaches in a useful run


def _kind(kind: str) -> tuple[str, float]:
    if kind not in KINDS:
        raise SpecError("clip", kind, "one of " + ", ".join(KINDS))
    return KINDS[kind]


def observing(spec: TrainSpec, kind: str) -> TrainSpec:
    """The run without clipping whose ``TrainStep.clip_norm`` is the norm that ``kind`` would clip. Raises SpecError."""
    return spec.replace(clip="none") if _kind(kind)[1] == 2.0 else _with(spec, "norm", _kind(kind)[1], NEVER)


def clipping_run(spec: TrainSpec, kind: str, limit: float) -> TrainSpec:
    """The same run clipped at this limit. Raises SpecError."""
    return _with(spec, *_kind(kind), limit)


def _with(spec: TrainSpec, clip: str, norm_type: float, limit: float) -> TrainSpec:
    return spec.replace(clip=clip, clip_norm_type=norm_type, clip_limit=limit)


def norms_after(run: Run) -> Array:
    """(steps,) the norm that is clipped, of every step of a clipped run after its clipping; nan where it is 0."""
    before = run.series("clip_norm")
    if run.spec.clip == "value":
        return np.minimum(before, run.spec.clip_limit)
    with np.errstate(invalid="ignore", divide="ignore"):  # a gradient that is exactly zero
        return before * (run.series("norm_after") / run.series("norm"))


def layer_gradients(spec: TrainSpec, data: Dataset) -> list[list[Array]]:
    """Per layer l = 1..L the gradients of its parameters (weights, then biases or the norm's own) on the first batch,
    before any step: together all that torch's functions clip. Loads torch. Raises SpecError, UnsupportedError."""
    import torch

    from gradcore.experiments.costs import COSTS
    from gradcore.experiments.training_loop import Loop
    from gradcore.measure.turns import one_intra_op_thread

    loop = Loop(spec, data, ())
    model = loop.model
    layers = [list(linear.parameters()) for linear in model.linears]
    first = 0 if model.block.acts_below else 1  # the layer that the first norm belongs to
    for index, norm in enumerate(model.norms, first):
        layers[index] += norm.parameters()
    flat = [parameter for layer in layers for parameter in layer]
    with one_intra_op_thread(), torch.enable_grad():
        x, y = (part[torch.from_numpy(spec.batch_indices(data, 0))] for part in (loop.inputs, loop.targets))
        cost = COSTS[spec.cost].torch_cost(torch, model.layers(x)[-1].z, y)
        slopes = iter(torch.autograd.grad(cost, flat))
    return [[next(slopes).detach().double().numpy() for _ in layer] for layer in layers]


@dataclass(frozen=True, eq=False)
class ClippedGradient:
    """One gradient before and after: ``before`` and ``after`` Euclidean norms per layer (L,), ``norm`` of all layers
    before in the norm that is clipped, ``cosine`` between the two gradients, ``predicted_cosine`` for Gaussian entries
    of the same RMS in every array (1 by norm), ``share`` of the entries that are cut (by norm 0 or 1)."""

    before: Array
    after: Array
    norm: float
    cosine: float
    predicted_cosine: float
    share: float

    @property
    def ratios(self) -> tuple[float, float]:
        """Layer 1 over the last layer, before and after; nan where the last is 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.divide(self.before[0], self.before[-1])), float(np.divide(self.after[0], self.after[-1]))


def clip_gradients(layers: Sequence[Sequence[Array]], kind: str, limit: float) -> ClippedGradient:
    """What clipping at ``limit`` does to these gradients, all layers together, as torch does it. Raises SpecError."""
    clip, norm_type = _kind(kind)
    if not (math.isfinite(limit) and limit > 0.0):
        raise SpecError("limit", limit, "a number above 0")
    flat = [gradient for layer in layers for gradient in layer]
    norm = total_norm(flat, norm_type)
    cut = clip_by_norm(flat, limit, norm_type) if clip == "norm" else clip_by_value(flat, limit)
    rest = iter(cut)
    after = np.array([total_norm([next(rest) for _ in layer]) for layer in layers])
    before = np.array([total_norm(layer) for layer in layers])
    if clip == "norm":
        return ClippedGradient(before, after, norm, cosine(flat, cut), 1.0, float(norm > limit))
    entries = sum(gradient.size for gradient in flat)
    share = sum(int(np.count_nonzero(np.abs(gradient) > limit)) for gradient in flat) / entries
    return ClippedGradient(before, after, norm, cosine(flat, cut), gaussian_cosine(flat, limit), share)


def gaussian_cosine(gradients: Sequence[Array], limit: float) -> float:
    """Cosine of clipping by value if each array's entries were N(0, s_k^2) with its own RMS s_k:
    sum N_k s_k^2 erf_k / sqrt(sum N_k s_k^2 sum N_k s_k^2 kept_k), erf and kept as in ``value_clip_of_gaussian``.

    Validity: many entries, nearly Gaussian within each array; arrays of ReLU nets have longer tails and turn less at
    small limits, more at large ones. nan where all are 0.
    """
    whole = kept = along = 0.0
    for gradient in gradients:
        square = float(np.vdot(gradient, gradient))
        if square == 0.0:
            continue
        found = value_clip_of_gaussian(math.sqrt(square / gradient.size), limit)
        whole, kept = whole + square, kept + square * found.kept
        along += square * found.cosine * math.sqrt(found.kept)
    return min(along / math.sqrt(whole * kept), 1.0) if whole > 0.0 else math.nan
