"""All equations of one layer, in the order in which they are worked out."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gradcore.equations.backward import backward
from gradcore.equations.blocks import BLOCKS, blocks, followed
from gradcore.equations.equation import Equation
from gradcore.equations.exact import exact
from gradcore.equations.forward import forward
from gradcore.equations.landmarks import landmarks
from gradcore.equations.place import Place
from gradcore.errors import SpecError
from gradcore.words import Translate, english

if TYPE_CHECKING:
    from gradcore.profile import Profile


def equations(profile: Profile, layer: int, t: Translate = english) -> tuple[Equation, ...]:
    """The formulas that make this prediction, with the numbers of one layer (1-based).

    Signal first (weights, input, pre-activations), then the gradient (loss, factor of the layer, product over the
    depth, parameters), then the critical weight scale or a norm's steady factor where there is one. Every number is
    the Profile's or a moment that it rests on. ``t`` translates titles and notes. Raises SpecError for no such layer.
    """
    depth = profile.spec.depth
    try:
        index = operator.index(layer)
    except TypeError:
        index = 0
    if isinstance(layer, bool) or not 1 <= index <= depth:
        raise SpecError("layer", layer, f"an integer from 1 to {depth:,}")
    # a factor above an exact zero is infinite and says nothing (an inner layer whose weights are zero)
    return tuple(one for one in _all(Place(profile, index, t)) if one.code != "factor" or one.log_value < math.inf)


def _all(at: Place) -> Iterator[Equation]:
    if at.spec.depth > 1 and at.spec.residual in BLOCKS:
        yield from blocks(at)
        return
    if at.sampled:
        yield from followed(at)
        return
    yield from (forward(at) if at.is_random else exact(at))
    yield from backward(at)
    if at.is_random:
        yield from landmarks(at)
