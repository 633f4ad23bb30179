"""The measurements of the lessons, in NumPy: draws of sums and networks that are known in law, each with its bars.

Everything is seeded: the same question draws the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gradcore.experiments.learn.lesson import Line, Points
from gradcore.profile import predict
from gradcore.spec import Spec
from gradcore.theory.sampler import sample
from gradcore.words import LN10, Message

Array = np.ndarray
NETWORKS = 8  # measured networks of a figure over layers
ERRORS = 2.0  # standard errors that a bar reaches to either side
BARS = {
    "errors": Message("learn_bars_errors", "bars: two standard errors"),
    "networks": Message(
        "learn_bars_networks", "bars: lowest and highest of {count} networks", {"count": str(NETWORKS)}
    ),
}
PREDICTED = Message("learn_predicted", "predicted")
MEASURED = Message("learn_measured", "measured")
LAYER = Message("learn_layer", "layer (1 = next to the input)")


def with_errors(x: Sequence[float] | Array, squares: Sequence[Array], name: Message = MEASURED) -> Points:
    """The mean of each sample at its x, with bars of two standard errors."""
    means = np.array([values.mean() for values in squares])
    errors = np.array([ERRORS * values.std(ddof=1) / math.sqrt(values.size) for values in squares])
    return Points(name, np.asarray(x, dtype=float), means, means - errors, means + errors)


def roots(points: Points) -> Points:
    """Means of squares as RMS values."""
    return Points(points.name, points.x, *(np.sqrt(np.maximum(v, 0.0)) for v in (points.y, points.low, points.high)))


def over_layers(spec: Spec, quantity: str, names: tuple[Message, Message] = (PREDICTED, MEASURED)) -> tuple:
    """(line, points): log10 of the RMS of ``quantity`` ("log_q", "log_g") over the layers, predicted at infinite width
    and measured on NETWORKS random networks of the Spec's width, drawn exactly in law. Means of the mean square, with
    the lowest and the highest network; a gradient is relative to the last layer's."""
    layers = np.arange(1, spec.depth + 1)
    line, logs = getattr(predict(spec), quantity), sample(spec, NETWORKS, seed=0).logs[quantity]
    if quantity == "log_g":
        line, logs = line - line[-1], logs - logs[:, -1:]
    mean = np.logaddexp.reduce(logs, axis=0) - math.log(len(logs))
    low, high = logs.min(axis=0), logs.max(axis=0)
    shown = [0.5 * values / LN10 for values in (mean, low, high)]
    return Line(names[0], layers, 0.5 * line / LN10), Points(names[1], layers, *shown)
