"""What happens in a training run, in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gradcore.experiments.first_step import FirstStep
from gradcore.experiments.training import Run
from gradcore.words import Message, number_text

WINDOW = 10.0  # the first hidden layer keeps pace with the last one within this factor
SLOWED = 0.1  # of its speed at the start: a layer on a plateau
LEARNED = 0.5  # accuracy from which a network has left the plateau
KINDS = ("vanishes", "explodes", "balanced", "zero", "stopped", "unknown")


def spread(speeds: np.ndarray | tuple[float, ...]) -> float:
    """The last hidden layer's speed over the first's; with one hidden layer, the output's. inf where the first is 0."""
    if len(speeds) < 2:
        return math.nan
    top = float(speeds[max(len(speeds) - 2, 1)])
    return top / float(speeds[0]) if speeds[0] > 0.0 else (math.inf if top > 0.0 else math.nan)


def kind_of(run: Run | None, first: FirstStep | None) -> str:
    """One of KINDS, by the speeds at the start; of a run that stopped, "stopped"."""
    if run is not None and run.stop is not None:
        return "stopped"
    ratio = _at_start(run, first)
    if math.isinf(ratio):
        return "zero"
    if math.isnan(ratio):
        return "unknown"
    if 1.0 / WINDOW <= ratio <= WINDOW:
        return "balanced"
    return "vanishes" if ratio > 1.0 else "explodes"


def _at_start(run: Run | None, first: FirstStep | None) -> float:
    if run is not None and run.steps and run.steps[0].speeds:
        return spread(run.steps[0].speeds)
    if first is None:
        return math.nan
    ratios = _ratios(first)
    return float(np.median(ratios)) if len(ratios) else math.inf


def _ratios(first: FirstStep) -> np.ndarray:
    """(at most S,) the ratio of every random network that has one."""
    found = np.array([spread(row) for row in first.speeds])
    return found[np.isfinite(found) & (found > 0.0)]


def headline(run: Run | None, first: FirstStep | None) -> Message:
    """What happens, in one sentence: measured where a run is there, else predicted."""
    if run is not None and run.stop is not None:
        return run.stop.message
    measured = run is not None and bool(run.steps) and bool(run.steps[0].speeds)
    if run is not None and measured and run.spec.network.depth == 1:
        return Message("train_one_layer", "One layer alone: there is no hidden layer whose speed could be compared.")
    ratio = _at_start(run, first)
    if math.isnan(ratio):
        return Message("train_unknown", "Press Start: the layers' learning speeds are measured at every step.")
    if math.isinf(ratio):
        return Message("train_zero", "The first hidden layer gets no gradient at all: it never learns.")
    values = {"who": _who(run, first), "times": number_text(abs(math.log10(ratio)), 2)}
    if not measured:
        template = (
            "Predicted: at the start the first hidden layer learns {times} times slower than {who}."
            if ratio >= 1.0
            else "Predicted: at the start the first hidden layer learns {times} times faster than {who}."
        )
        return Message("train_predicted", template, values)
    template = (
        "At the start the first hidden layer learns {times} times slower than {who}."
        if ratio >= 1.0
        else "At the start the first hidden layer learns {times} times faster than {who}."
    )
    return Message("train_measured", template, values)


def _who(run: Run | None, first: FirstStep | None) -> Message:
    depth = len(run.steps[0].speeds) if run is not None and run.steps else len(first.median()) if first else 0
    if depth == 2:
        return Message("train_output", "the output layer")
    return Message("train_last", "the last hidden one")


def course(run: Run) -> Message | None:
    """What became of the ratio, the loss and the accuracy; None before the second whole step."""
    whole = [step for step in run.steps if step.speeds]
    if len(whole) < 2:
        return None
    last, ratio = whole[-1], spread(whole[-1].speeds)
    values: dict[str, str | Message] = {
        "step": str(last.step),
        "ratio": number_text(math.log10(ratio)) if 0.0 < ratio < math.inf else "–",
        "before": f"{whole[0].loss:.3g}",
        "loss": f"{last.loss:.3g}",
        "accuracy": f"{last.accuracy:.0%}",
    }
    template = "At step {step}: ratio of the two {ratio}; loss {before} → {loss}, accuracy {accuracy}."
    if not 0.0 < ratio < math.inf:
        del values["ratio"]
        template = "At step {step}: a layer's gradient is exactly 0; loss {before} → {loss}, accuracy {accuracy}."
    return Message("train_course", template, values)


def plateau(run: Run) -> Message | None:
    """A word against misreading: where every layer has become slow without learning, a smaller ratio cures nothing."""
    whole = [step for step in run.steps if step.speeds]
    if len(whole) < 2:
        return None
    first, last = whole[0], whole[-1]
    top = max(len(last.speeds) - 2, 0)
    slower = last.speeds[top] < SLOWED * first.speeds[top] and spread(last.speeds) < spread(first.speeds)
    if not slower or last.accuracy >= LEARNED:
        return None
    text = "The ratio fell because the last layers have slowed down: the network sits on a plateau and has not learned."
    return Message("train_plateau", text)


def predicted_text(first: FirstStep) -> Message:
    """The predicted law of the ratio over seeds."""
    ratios = _ratios(first)
    if not len(ratios):
        return Message("train_predicted_zero", "Predicted: no gradient reaches the first hidden layer.")
    low, middle, high = np.quantile(ratios, [0.025, 0.5, 0.975], method="weibull")
    values = {name: number_text(math.log10(v)) for name, v in (("low", low), ("middle", middle), ("high", high))}
    return Message(
        "train_law",
        "Predicted ratio at the start over random networks: {middle}, 95% of them between {low} and {high}.",
        values,
    )


def describe(run: Run | None, first: FirstStep | None) -> Message:
    """The chart of speeds in words, for readers who do not see it."""
    text = headline(run, first)
    later = course(run) if run is not None else None
    if later is None:
        return text
    return Message("train_described", "{now} {later}", {"now": text, "later": later})


def factors_text(run: Run, counts: Sequence[int]) -> Message | None:
    """How many of the factors |w phi'(z)| are above 1, at the start and at the last step; ``counts`` (L-1,) how many
    factors each hidden layer has. None where the record has none."""
    whole = [step for step in run.steps if len(step.factors_above_one) == len(counts) > 0]
    if not whole:
        return None
    sizes = np.array(counts, dtype=float)
    first, last = (np.nan_to_num(np.array(step.factors_above_one)) * sizes for step in (whole[0], whole[-1]))
    most = int(np.argmax(last / sizes))
    values = {
        "total": f"{int(sizes.sum()):,}",
        "before": f"{first.sum():.3g}",
        "after": f"{last.sum():.3g}",
        "step": str(whole[-1].step),
    }
    if last.sum() == 0.0:
        template = "Of {total} factors |w φ'(z)|, {before} are above 1 at the start and none at step {step}."
        del values["after"]
        return Message("train_factors_none", template, values)
    template = (
        "Of {total} factors |w φ'(z)|, {before} are above 1 at the start and {after} at step {step} (mean over items); "
        "most in layer {layer}: {percent}%."
    )
    values |= {"layer": str(most + 1), "percent": f"{100 * last[most] / sizes[most]:.3g}"}
    return Message("train_factors", template, values)
