"""What the board of remedies says: its headline, and what each remedy's own figures are on this network."""

from __future__ import annotations

import math
from collections.abc import Mapping

from gradcore.experiments.board import Board, Entry
from gradcore.experiments.board_remedies import BOARD
from gradcore.verdict import USABLE
from gradcore.words import LN10, Message, Translate, english, factor_text, number_text

VERDICTS = {
    kind: Message(f"board_{kind}", word)
    for kind, word in (
        ("stable", "stable"),
        ("vanishing", "vanishing"),
        ("exploding", "exploding"),
        ("dead", "dead"),
        ("saturated", "saturated"),
        ("unstable_fixed_point", "unstable fixed point"),
        ("overflow", "overflow"),
    )
}
LARGE_BATCH = math.pi / (math.pi - 1.0)  # per layer in mean square: batch norm with ReLU, large batches (Yang et al.)


def headline(found: Board) -> tuple[Message, ...]:
    """Plain; the best single remedy; what is switched on, together where it is more than one remedy."""
    said = [_plain(found.plain)]
    best = found.best
    if best is not None and best.verdict is not None and not (found.plain.verdict and found.plain.verdict.stable):
        stable = best.verdict.stable
        text = (
            "Best single remedy: {title}, {factors}."
            if stable
            else "No single remedy makes it stable; the nearest is {title}, {factors}."
        )
        values = {"title": _lower(BOARD[best.code].title), "factors": _factors(best)}
        said.append(Message("board_best" if stable else "board_nearest", text, values))
    if found.together is not None and found.together.verdict is not None:
        values = {"kind": VERDICTS[found.together.verdict.kind], "factors": _factors(found.together)}
        said.append(Message("board_together", "Switched on together: {kind}, {factors}.", values))
    elif len(found.on) == 1 and (only := found.alone[found.on[0]]).verdict is not None:
        values = {"kind": VERDICTS[only.verdict.kind], "factors": _factors(only)}
        values["title"] = _lower(BOARD[only.code].title)
        said.append(Message("board_alone", "Switched on: {title}: {kind}, {factors}.", values))
    return tuple(said)


def _plain(entry: Entry) -> Message:
    if entry.verdict is None:
        return Message("board_plain_unknown", "Theory has no prediction for the plain network.")
    return Message("board_plain", "Plain: {verdict}", {"verdict": _lower(entry.verdict.message)})


def _lower(message: Message) -> Message:
    """The same with a small first letter, where that begins no name."""
    return _Small(message.message_id, message.template, message.values)


class _Small(Message):
    """A message within a sentence. Its template is the one that stands alone, so that a catalogue knows it."""

    def text(self, t: Translate = english) -> str:
        """The sentence in the translator's language, with a small first letter."""
        said = super().text(t)
        return said if said.startswith("ReLU") else said[:1].lower() + said[1:]


def _factors(entry: Entry) -> Message:
    """Its factor per layer in both measures, and what layer 1 receives."""
    found = entry.factors
    if found is None or not math.isfinite(found.ratio.log):
        return Message("board_no_gradient", "no gradient at layer 1")
    values = {"ratio": number_text(found.ratio.log / LN10)}
    if math.isnan(found.backward.log):
        return Message("board_one_layer", "one layer alone", values)
    values |= factor_texts(found.backward.log)
    text = (
        "×{factor} per layer in RMS (×{square} in mean square), "
        "layer 1 receives {ratio} times the last layer's gradient"
    )
    return Message("board_factors", text, values)


def factor_texts(log: float) -> dict[str, str]:
    """A factor in RMS and its square, as texts."""
    return {"factor": factor_text(log / LN10), "square": factor_text(2.0 * log / LN10)}


# --- a remedy's own figures --------------------------------------------------------------------------------------


def figure(entry: Entry, plain: Entry, scales: Mapping[str, Entry] | None = None) -> Message | None:
    """What is worth saying of this remedy on this network, in figures; None where there is nothing beside its factor.
    ``scales``: the residual network at every scale (``residual_factors``)."""
    if entry.spec is None or entry.profile is None:
        return None
    if entry.code == "batch_norm":
        return _batch_norm(entry)
    if entry.code == "residual" and scales:
        return _residual(scales)
    if entry.code in ("relu", "tanh", "initialization"):
        gain = entry.spec.gain if isinstance(entry.spec.gain, str) else f"{entry.spec.gain:.4g}"
        values = {"init": entry.spec.init, "gain": gain, "sigma": f"{float(entry.profile.sigma_w[-1]):.4g}"}
        return Message("board_start", "Here: {init} at gain {gain}, σ_w = {sigma}.", values)
    if entry.code == "fewer_layers" and plain.spec is not None:
        values = {"depth": str(entry.spec.depth), "old": str(plain.spec.depth), "limit": f"{USABLE:g}"}
        text = "Here: {depth} layers instead of {old}; usable is within a factor {limit} of the last layer's gradient."
        return Message("board_depth", text, values)
    return None


def _batch_norm(entry: Entry) -> Message | None:
    spec = entry.spec
    if spec is None or math.isnan(entry.inner):
        return None
    values = {**factor_texts(entry.inner), "batch": str(spec.batch_size), "large": f"{LARGE_BATCH:.3f}"}
    text = (
        "Here, in the middle of the net at a batch of {batch}: ×{factor} per layer in RMS (×{square} in mean square)."
    )
    if spec.activation == "relu" and spec.residual == "none":
        large = (
            "Here, in the middle of the net at a batch of {batch}: ×{factor} per layer in RMS "
            "(×{square} in mean square); {large} in large batches."
        )
        return Message("board_batch_norm_relu", large, values)
    return Message("board_batch_norm", text, values)


def _residual(scales: Mapping[str, Entry]) -> Message:
    """The factor at every scale."""
    said = {}
    for alpha, entry in scales.items():
        log = math.nan if entry.factors is None else entry.factors.backward.log
        said[alpha] = "–" if math.isnan(log) else "×" + factor_text(2.0 * log / LN10)
    listed = ", ".join(f"α = {alpha}: {factor}" for alpha, factor in said.items())
    return Message("board_residual", "Here, per layer in mean square: {listed}.", {"listed": listed})
