"""What the page Remedies asks beside its network: a flat table of fields, the runs that they mean, and its presets.

    from gradcore.experiments import remedies_question as remedies
    preset = remedies.PRESETS["residual_exploding"]
    board(preset.spec, preset.question.codes, preset.question.choices)

A link holds the network's own fields, and these with "remedies_" before them: ``gain=2.0&remedies_on=residual``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradcore.activations import ACTIVATIONS
from gradcore.codec import to_query
from gradcore.errors import SpecError
from gradcore.experiments.board_remedies import ALPHAS, BOARD, Choices, in_order
from gradcore.experiments.clip_study import KINDS, clipping_run, observing
from gradcore.experiments.clipping import propose_threshold
from gradcore.experiments.costs import COSTS
from gradcore.experiments.data import Dataset
from gradcore.experiments.penalty_study import penalized
from gradcore.experiments.regularization import PENALTIES
from gradcore.experiments.train_spec import FULL, NIELSEN_WEIGHTS, TrainSpec, nielsen
from gradcore.fields import MAX_DEPTH
from gradcore.query import Reader, one_of, read, real, real_or_none, whole, whole_or_none, write
from gradcore.spec import Spec

Array = np.ndarray
PREFIX = "remedies_"
NONE = "none"
VIEWS = ("board", "clipping", "penalties")
BATCHES = (FULL, "10", "32", "100", "300")
INTEGERS = {  # least, largest: what a page trains in seconds
    "hidden": (1, 6),
    "width": (2, 300),
    "steps": (1, 2000),
    "seed": (0, 2**31 - 1),
}
NUMBERS = {"rate": (1e-6, 1e4), "strength": (0.0, 10.0)}
LIMITS = (1e-12, 1e30)  # of a clipping threshold
CHOICES = {
    "view": VIEWS,
    "alpha": tuple(ALPHAS),
    "activation": tuple(ACTIVATIONS),
    "weights": tuple(NIELSEN_WEIGHTS),
    "cost": tuple(COSTS),
    "batch": BATCHES,
    "clip": tuple(KINDS),
    "penalty": tuple(PENALTIES),
}


@dataclass(frozen=True)
class RemediesQuestion:
    """``view`` one of VIEWS. Of the board: ``on`` the codes that are switched on, separated by commas, or "none";
    ``alpha`` and ``depth`` as in Choices. Of the runs of the other two views, on digits: ``hidden`` layers of ``width``
    units with the weights of ``nielsen(..., weights)`` and no biases at the start, ``cost``, ``rate``, ``batch``,
    ``steps``, ``seed``. Of the clipping: ``clip`` a code of KINDS, ``limit`` its threshold (None: the proposed one). Of
    the penalties: ``penalty``, ``strength`` its lambda."""

    view: str = "board"
    on: str = "batch_norm,residual"
    alpha: str = "1"
    depth: int | None = None
    hidden: int = 4
    width: int = 30
    activation: str = "relu"
    weights: str = "standard"
    cost: str = "cross_entropy"
    rate: float = 0.001
    batch: str = "32"
    steps: int = 100
    seed: int = 0
    clip: str = "norm_2"
    limit: float | None = None
    penalty: str = "l2"
    strength: float = 0.01

    @property
    def codes(self) -> tuple[str, ...]:
        """The remedies that are switched on, in the table's order."""
        return () if self.on == NONE else tuple(self.on.split(","))

    @property
    def choices(self) -> Choices:
        """What the remedies leave open."""
        return Choices(self.alpha, self.depth)

    def plain_run(self, data: Dataset) -> TrainSpec:
        """The run without clipping and without penalty. Raises SpecError."""
        sizes = [data.pixels, *[self.width] * self.hidden, data.classes]
        return TrainSpec(
            network=nielsen(sizes, self.weights).replace(activation=self.activation, bias_std=0.0),
            cost=self.cost,
            learning_rate=self.rate,
            batch=FULL if self.batch == FULL else int(self.batch),
            steps=self.steps,
            seed=self.seed,
        )

    def observed_run(self, data: Dataset) -> TrainSpec:
        """The unclipped run that keeps the norms of this clipping."""
        return observing(self.plain_run(data), self.clip)

    def clipped_run(self, data: Dataset, limit: float) -> TrainSpec:
        """The same run clipped at this threshold."""
        return clipping_run(self.plain_run(data), self.clip, limit)

    def threshold(self, norms: Array) -> float | None:
        """The clipping threshold on the (steps,) observed norms of ``observed_run``: the given one, or the proposed;
        None where no norm is a number above 0."""
        if not (np.isfinite(norms) & (norms > 0)).any():
            return None
        if self.limit is not None:
            return self.limit
        proposed = propose_threshold(norms[~np.isnan(norms)]).proposed.limit
        return min(max(float(f"{proposed:.4g}"), LIMITS[0]), LIMITS[1])

    def penalized_run(self, data: Dataset) -> TrainSpec:
        """The same run with the penalty."""
        return penalized(self.plain_run(data), self.penalty, self.strength)

    def to_query(self) -> dict[str, str]:
        """The parameters of a link; defaults are left out."""
        return write(self, PREFIX)


# --- reading text ---------------------------------------------------------------------------------------------


def codes_text(codes: Any) -> str:
    """The codes in the order of the table, separated by commas; "none" without any. Raises SpecError."""
    return ",".join(in_order(codes)) or NONE


def _codes(name: str, text: str) -> str:
    codes = [] if text == NONE else [code.strip() for code in text.split(",")]
    try:
        return codes_text(codes)
    except SpecError:
        allowed = NONE + ", or some of " + ", ".join(BOARD) + " with commas, one activation and one norm at most"
        raise SpecError(name, text, allowed) from None


READERS: dict[str, Reader] = {
    **{name: whole(*ends) for name, ends in INTEGERS.items()},
    **{name: real(*ends) for name, ends in NUMBERS.items()},
    **{name: one_of(codes) for name, codes in CHOICES.items()},
    "depth": whole_or_none(1, MAX_DEPTH),
    "limit": real_or_none(*LIMITS),
    "on": _codes,
}


def from_query(query: Mapping[str, str]) -> RemediesQuestion:
    """The question of these parameters; others than remedies_... are left alone. Raises SpecError."""
    return read(RemediesQuestion, READERS, PREFIX, query)


# --- presets --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RemediesPreset:
    """One case of section 4: its ``experiment``, a ``title`` and a ``sentence`` (msgids) whose figures are tested, the
    ``spec`` of the sidebar and the ``question``; ``query`` are the parameters of its link."""

    code: str
    experiment: str
    title: str
    sentence: str
    question: RemediesQuestion
    spec: Spec = field(default_factory=Spec)

    @property
    def query(self) -> dict[str, str]:
        """Query parameters of the page Remedies."""
        return {**to_query(self.spec), **self.question.to_query()}


PRESETS: dict[str, RemediesPreset] = {}


def _add(code: str, experiment: str, title: str, sentence: str, spec: Mapping[str, Any], **asked: Any) -> None:
    PRESETS[code] = RemediesPreset(code, experiment, title, sentence, RemediesQuestion(**asked), Spec(**spec))


_add(
    "clip_norm",
    "4.1",
    "Clipping by norm",
    "ReLU with weights N(0, 1): gradients of norm 12 to 860. One factor for all layers: the direction stays, and so do "
    "the ratios between layers.",
    {},
    view="clipping",
)
_add(
    "clip_value",
    "4.1",
    "Clipping by value",
    "The same run, every entry cut by itself: the step turns away from the gradient, to a cosine of 0.94 at the first "
    "step, and the ratios between layers change.",
    {},
    view="clipping",
    clip="value",
)
_add(
    "clip_vanishing",
    "4.1",
    "Clipping and vanishing",
    "Sigmoid layers: the gradient of layer 1 is two orders of magnitude below that of the last, and after clipping it "
    "still is.",
    {},
    view="clipping",
    activation="sigmoid",
    weights="scaled",
    rate=0.1,
)
_add(
    "activation",
    "4.2",
    "Another activation",
    "Sigmoid loses ×0.24 per layer in RMS (×0.055 in mean square); ReLU at its critical gain loses nothing, tanh at "
    "its own ×0.96 (×0.92).",
    {"activation": "sigmoid"},
    on="relu",
)
_add(
    "batch_norm",
    "4.3",
    "Batch norm",
    "The signal is pinned, and the gradient grows: in the middle ×1.26 per layer in RMS (×1.59 in mean square) at a "
    "batch of 16. From vanishing to exploding.",
    {},
    on="batch_norm",
)
_add(
    "residual",
    "4.4",
    "Residual, vanishing",
    "Instead of ×0.50 the factor is 1 + α²χ = ×1.50 per layer in mean square: nothing vanishes any more, but at α = 1 "
    "fifty layers of it explode.",
    {},
    on="residual",
)
_add(
    "residual_exploding",
    "4.4",
    "Residual, exploding",
    "Residual connections are said to suppress explosion too: at α = 1 they do not, ×2.00 per layer in mean square "
    "becomes ×3.00.",
    {"gain": 2.0},
    on="residual",
)
_add(
    "residual_scaled",
    "4.4",
    "Residual, α = 1/√L",
    "The same exploding network with its branches scaled by 1/√L: ×1.04 per layer in mean square, and all of it is "
    "usable.",
    {"gain": 2.0},
    on="residual",
    alpha="1/sqrt(L)",
)
_add(
    "initialization",
    "4.5",
    "Initialization",
    "The exploding network from other weights: ×1.00 per layer, and nothing else is changed. More on the page "
    "Initializers.",
    {"gain": 2.0},
    on="initialization",
)
_add(
    "penalties",
    "4.7",
    "L2 penalty",
    "Weight decay on sigmoid layers: beside vanishing gradients it is most of the first update, ×17 the gradient in "
    "layer 1 and a twentieth of it in the last.",
    {},
    view="penalties",
    activation="sigmoid",
    weights="scaled",
    rate=0.1,
)
_add(
    "penalties_norm",
    "4.7",
    "Plain norm penalty",
    "The plain norm, which some texts call L2, at the same λ: it pulls with λ whatever the size of the weights, here "
    "an eleventh of the square's pull.",
    {},
    view="penalties",
    activation="sigmoid",
    weights="scaled",
    rate=0.1,
    penalty="l2_norm",
)
_add(
    "fewer_layers",
    "4.8",
    "Fewer layers",
    "At ×0.71 per layer in RMS, 14 layers are the most at which layer 1 still gets more than a hundredth of the last "
    "layer's gradient.",
    {},
    on="fewer_layers",
)
