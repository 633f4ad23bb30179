"""The table of the board's remedies: each one change of a Spec, with what it does and what it does not do.

    BOARD["residual"].apply(spec, Choices(alpha="1/sqrt(L)"))        # the changed Spec

Adding a remedy is one more ``_add``. Board and page follow the order of the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcore.errors import SpecError, UnsupportedError
from gradcore.experiments.usable_depth import log_ratio, usable_depth
from gradcore.residual import INVERSE_SQRT_DEPTH
from gradcore.spec import Spec
from gradcore.theory.critical import resolve_gain
from gradcore.verdict import USABLE
from gradcore.words import Message

Changes = dict[str, Any]
ALPHAS: dict[str, float | str] = {
    "1": 1.0,
    "1/sqrt(2)": math.sqrt(0.5),
    "1/sqrt(L)": INVERSE_SQRT_DEPTH,
    "0": 0.0,
}
JUDGED = 50  # layers at which the gain of an initialization is judged
KAIMING = ("relu", "leaky_relu", "prelu")  # the activations that Kaiming's law is made for
_NEW_NORM: Changes = {"norm_position": "before", "norm_gamma": 1.0, "norm_beta": 0.0, "norm_eps": 1e-5}


@dataclass(frozen=True)
class Choices:
    """What the remedies leave open: ``alpha`` a code of ALPHAS, the scale of the residual branch; ``depth`` the layers
    that "fewer layers" leaves, None for the most at which layer 1 gets a usable gradient."""

    alpha: str = "1"
    depth: int | None = None

    def __post_init__(self) -> None:
        if self.alpha not in ALPHAS:
            raise SpecError("alpha", self.alpha, "one of " + ", ".join(ALPHAS))


@dataclass(frozen=True, eq=False)
class BoardRemedy:
    """One remedy: its ``experiment`` (4.2 to 4.8), words, who proposed it, and ``change(spec, choices)``, the fields
    that it sets. Of one ``slot`` a network can have one remedy alone."""

    code: str
    experiment: str
    slot: str
    title: Message
    does: Message
    does_not: Message
    source: str
    change: Callable[[Spec, Choices], Changes]

    def apply(self, spec: Spec, choices: Choices | None = None) -> Spec:
        """The changed Spec. Raises UnsupportedError where the remedy has nothing to act on."""
        try:
            changed = spec.replace(**self.change(spec, choices or Choices()))
        except SpecError as error:
            raise UnsupportedError(
                str(self.title), f"{error.field} = {error.value} does not go with it", error.allowed
            ) from None
        if changed == spec:
            raise _in_force(str(self.title))
        return changed


BOARD: dict[str, BoardRemedy] = {}
Change = Callable[[Spec, Choices], Changes]


def _add(
    code: str, experiment: str, slot: str, title: str, does: str, does_not: str, source: str
) -> Callable[[Change], Change]:
    def register(change: Change) -> Change:
        name = f"board_{code}"
        words = Message(name, title), Message(f"{name}_does", does), Message(f"{name}_does_not", does_not)
        BOARD[code] = BoardRemedy(code, experiment, slot, *words, source, change)
        return change

    return register


def _in_force(title: str) -> UnsupportedError:
    return UnsupportedError(title, "it is in force already", "another remedy")


def _critical(spec: Spec) -> Changes:
    """The gain at which this activation neither loses nor gains gradient, as a number where all layers have one."""
    start: Changes = {} if spec.init_entry.kind not in ("constant", "eye") else {"init": "lecun_normal"}
    multipliers = resolve_gain(spec.replace(gain="critical", **start)).multipliers
    one = float(multipliers[0])
    return {**start, "gain": one if np.allclose(multipliers, one, rtol=1e-12, atol=0.0) and one > 0.0 else "critical"}


def _activation(spec: Spec, code: str) -> Changes:
    if spec.activation == code:
        raise UnsupportedError(f"{code} instead of {code}", "the network has it already", "another activation")
    changes: Changes = {"activation": code, "negative_slope": None}
    return {**changes, **_critical(spec.replace(**changes))}


@_add(
    "relu",
    "4.2",
    "activation",
    "ReLU at its critical gain",
    "Where a unit is on, its slope is 1, not at most 1/4 (sigmoid) or below 1 (tanh); at σ_w = √2 the gradient keeps "
    "its mean square.",
    "It is the gain that keeps the size: at another σ_w every layer multiplies by σ_w²/2 in mean square. A unit that "
    "is off on every item learns nothing.",
    "Glorot et al. 2011; He et al. 2015",
)
def _relu(spec: Spec, choices: Choices) -> Changes:
    return _activation(spec, "relu")


@_add(
    "tanh",
    "4.2",
    "activation",
    "Tanh at its critical gain",
    "It is centred and has slope 1 at 0: without biases and at σ_w = 1 the gradient falls like a power of the depth, "
    "not exponentially.",
    "It still saturates: without biases any larger σ_w makes gradients explode in the end, any smaller one vanish.",
    "Glorot & Bengio 2010; Schoenholz et al. 2017",
)
def _tanh(spec: Spec, choices: Choices) -> Changes:
    return _activation(spec, "tanh")


def _norm(spec: Spec, code: str) -> Changes:
    if spec.norm == code:
        raise _in_force(f"{code} norm")  # its own parameters stay
    return {"norm": code, **_NEW_NORM}


@_add(
    "batch_norm",
    "4.3",
    "norm",
    "Batch norm",
    "It pins the variance of every layer's signal, whatever the scale of the weights.",
    "It does not pin the gradient: away from the first and last layers this grows towards the input, for ReLU by "
    "π/(π − 1) = 1.47 per layer in mean square in large batches and by more in small ones. Deep plain networks "
    "explode.",
    "Ioffe & Szegedy 2015; Yang et al. 2019",
)
def _batch_norm(spec: Spec, choices: Choices) -> Changes:
    if spec.batch_size == 1:
        raise UnsupportedError("batch norm on one sample", "one sample has no variance over the batch", "batch >= 4")
    return _norm(spec, "batch")


@_add(
    "layer_norm",
    "4.3",
    "norm",
    "Layer norm",
    "It pins the size of every layer's signal sample by sample, whatever the scale of the weights, and needs no batch.",
    "It does not change the activation's slope: where that is small everywhere, as the sigmoid's, gradients still "
    "vanish.",
    "Ba et al. 2016",
)
def _layer_norm(spec: Spec, choices: Choices) -> Changes:
    return _norm(spec, "layer")


@_add(
    "residual",
    "4.4",
    "residual",
    "Residual connections",
    "The gradient also passes beside every block: its factor per layer is 1 + α²χ in mean square, never below 1, so it "
    "cannot vanish.",
    "It does not suppress explosion, as is often said: at α = 1 every block adds χ to the factor. A small α does, such "
    "as 1/√L; at α = 0 the blocks learn nothing.",
    "He et al. 2016; Yang & Schoenholz 2017",
)
def _residual(spec: Spec, choices: Choices) -> Changes:
    if len(set(spec.layer_widths.tolist())) > 1:
        raise UnsupportedError("residual connections", "the layers differ in width", "layers of one width")
    if spec.depth < 2:
        raise UnsupportedError("residual connections", "the first layer has no block", "two layers or more")
    return {"residual": "identity", "residual_scale": ALPHAS[choices.alpha]}


@_add(
    "initialization",
    "4.5",
    "initialization",
    "Initialization that suits the activation",
    "It sets the variance of the weights so that this activation's signal and gradient keep their size, and costs "
    "nothing.",
    "It holds at the start and in the mean alone: training moves the weights, and single networks scatter with depth "
    "over width.",
    "Glorot & Bengio 2010; He et al. 2015; Schoenholz et al. 2017",
)
def _initialization(spec: Spec, choices: Choices) -> Changes:
    if spec.activation in KAIMING:
        return {"init": "kaiming_normal", "gain": 1.0, "bias_std": 0.0}
    start: Changes = {"init": "lecun_normal", "bias_std": 0.0}
    tried = [start | gain for gain in _gains(spec.replace(**start))]
    deep = spec.replace(depth=JUDGED, width=int(spec.layer_widths[0]))  # so that the choice does not hang on the depth
    away = [_distance(deep.replace(**changes)) for changes in tried]
    usable = (changes for changes, distance in zip(tried, away, strict=True) if distance <= math.log(USABLE))
    return next(usable, tried[away.index(min(away))])


def _gains(spec: Spec) -> Iterator[Changes]:
    """The critical gain where the activation has one (gelu and its like have it at infinite signals alone, where it is
    of no use), then the one that keeps a signal of RMS 1."""
    with suppress(SpecError, UnsupportedError):
        yield _critical(spec)
    yield {"gain": "auto"}


def _distance(spec: Spec) -> float:
    """abs ln of the gradient's RMS at layer 1 over the last layer's; inf without a prediction."""
    try:
        return abs(log_ratio(spec))
    except UnsupportedError:
        return math.inf


@_add(
    "fewer_layers",
    "4.8",
    "depth",
    "Fewer layers",
    "Fewer factors in the product: the gradient of layer 1 is that much nearer to the last layer's.",
    "It changes no layer's factor, and it gives up what depth is for.",
    "",
)
def _fewer_layers(spec: Spec, choices: Choices) -> Changes:
    depth = choices.depth
    if depth is None:
        depth = usable_depth(spec, most=spec.depth).depth
        if depth >= spec.depth:
            raise UnsupportedError("fewer layers", f"all {spec.depth} layers are usable", "a depth of your own")
    if not 1 <= depth < spec.depth:
        raise UnsupportedError(f"{depth} layers", f"the network has {spec.depth}", "fewer layers than that")
    widths = spec.width
    return {"depth": depth, "width": widths if isinstance(widths, int) else (*widths[: depth - 1], widths[-1])}


def board_remedy(code: str) -> BoardRemedy:
    """The remedy of this code. Raises SpecError."""
    if code not in BOARD:
        raise SpecError("remedy", code, "one of " + ", ".join(BOARD))
    return BOARD[code]


def in_order(codes: Iterable[str]) -> tuple[str, ...]:
    """The codes in the order of the table, each once. Raises SpecError for an unknown one, or two of one slot."""
    wanted = {board_remedy(code).code for code in codes}
    found = tuple(code for code in BOARD if code in wanted)
    slots = [BOARD[code].slot for code in found]
    if len(set(slots)) < len(slots):
        raise SpecError("remedies", ",".join(found), "one activation and one norm at most")
    return found
