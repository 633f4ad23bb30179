"""What holds in a network, in the order in which it decides, as messages with named values."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from gradcore.spec import Spec
from gradcore.theory.precision import DtypeEvents
from gradcore.verdict.facts import NEAR, Facts
from gradcore.words import LN10, Message, factor_text, number_text

Array = np.ndarray

KINDS = ("stable", "vanishing", "exploding", "dead", "saturated", "overflow", "unstable_fixed_point")
USABLE = 100.0  # layers whose RMS differs from the last layer's by more than this factor cannot share a learning rate
DRIFTS = 10.0  # within USABLE, but beyond this factor worth a word
MEDIAN = 1.5  # factor between median and mean network from which a verdict speaks of the median and names both
DEAD_SHARE = 0.9  # of a layer's units, dead on the whole batch
SATURATED_SHARE = 0.8  # of a layer's units, on flat pieces; a ReLU has 0.5 as it should


def findings(f: Facts) -> Iterator[tuple[str, Message]]:
    yield from _silent(f)
    yield from _overflows(f)
    yield from _crippled(f)
    yield from _unstable(f)
    yield from _gradient(f)
    yield from _signal(f)
    yield from _typical(f)
    yield "stable", _stable(f)


def _silent(f: Facts) -> Iterator[tuple[str, Message]]:
    """Exactly zero somewhere: nothing is learned there."""
    for logs, towards_input, message_id, template in (
        (f.log_q, False, "dead_signal", "Dead: the signal is exactly zero from layer {layer} on."),
        (f.log_g, True, "dead_gradient", "Dead: the gradient is exactly zero from layer {layer} down to layer 1."),
        (f.log_dw, False, "dead_weights", "Dead: the weights of layer {layer} get no gradient at all."),
    ):
        zero = np.flatnonzero(np.isneginf(logs))
        if zero.size:
            layer = int(zero[-1 if towards_input else 0]) + 1
            yield "dead", Message(message_id, template, {"layer": str(layer)})


def _overflows(f: Facts) -> Iterator[tuple[str, Message]]:
    if f.overflow is not None:
        speed = 0.5 * float(f.log_q[f.overflow - 1] - f.log_q[0]) / max(f.overflow - 1, 1)
        yield (
            "overflow",
            Message(
                "overflow_signal",
                "The signal overflows float32 at layer {layer}: it grows ×{factor} per layer in RMS "
                "(×{square} in mean square).",
                {"layer": str(f.overflow), **_factors(speed)},
            ),
        )
    float32 = f.events.get("float32")
    if float32 is not None and float32.gradient_overflow:
        layer = float32.gradient_overflow
        speed = float(f.relative[layer - 1]) / max(f.spec.depth - layer, 1)
        yield (
            "overflow",
            Message(
                "overflow_gradient",
                "The gradient overflows float32 at layer {layer} on its way to the input: it grows ×{factor} per "
                "layer in RMS (×{square} in mean square).",
                {"layer": str(layer), **_factors(speed)},
            ),
        )


def _crippled(f: Facts) -> Iterator[tuple[str, Message]]:
    """Layers most of whose units pass nothing back."""
    for kind, shares, limit, template in (
        (
            "dead",
            f.dead,
            DEAD_SHARE,
            "Dead units: in {count} of {hidden} hidden layers at least {limit} of them have slope 0 on the whole batch "
            "of {batch} and learn nothing (layer {layer}: {share}).",
        ),
        (
            "saturated",
            f.saturated,
            SATURATED_SHARE,
            "Saturated: in {count} of {hidden} hidden layers at least {limit} of the units sit where {activation} is "
            "flat (layer {layer}: {share}); the gradient changes ×{factor} per layer in {size}.",
        ),
    ):
        if shares.size and float(shares.max()) >= limit:
            layer = int(shares.argmax()) + 1
            values = {
                "count": str(int(np.count_nonzero(shares >= limit))),
                "hidden": str(shares.size),
                "limit": _percent(limit),
                "layer": str(layer),
                "share": _percent(float(shares.max())),
                "batch": str(f.spec.batch_size),
                "activation": f.spec.activation,
                "size": _size(f.spec),
                **_factors(_mean_factor(f)),
            }
            yield kind, Message(f"{kind}_layer", template, values)


def _unstable(f: Facts) -> Iterator[tuple[str, Message]]:
    point = f.lost
    if point is None:
        return
    leaves = abs(float(f.log_q[-1]) - math.log(point.q)) > 2.0 * NEAR
    values = {
        "rms": number_text(0.5 * math.log10(point.q), 3),
        "grows": factor_text(math.log10(point.chi_parallel)),
        "first": number_text(0.5 * float(f.log_q[0]) / LN10, 3),
        "last": number_text(0.5 * float(f.log_q[-1]) / LN10, 3),
        "depth": str(f.spec.depth),
        "size": _size(f.spec),
        **_factors(_mean_factor(f)),
    }
    if leaves:
        text = (
            "Unstable fixed point: only at RMS {rms} would the signal keep its size, and deviations grow ×{grows} per "
            "layer in mean square. It goes from {first} at layer 1 to {last} at layer {depth}; the gradient changes "
            "×{factor} per layer in {size}."
        )
    else:
        text = (
            "Unstable fixed point: the predicted signal stays near RMS {rms}, but deviations grow ×{grows} per layer "
            "in mean square, so that real networks of this width have left it by layer {depth}, some up, some down."
        )
    yield "unstable_fixed_point", Message("unstable_leaving" if leaves else "unstable_staying", text, values)


def _gradient(f: Facts) -> Iterator[tuple[str, Message]]:
    worst = int(np.argmax(np.abs(f.relative)))
    if abs(f.relative[worst]) > math.log(USABLE):
        typical = f.relative_typical
        if typical is not None and abs(typical[worst] - f.relative[worst]) > math.log(MEDIAN):
            yield _lost_in_median(f, typical, worst)
        else:
            yield _lost_gradient(f, f.relative, worst)


def _lost_in_median(f: Facts, typical: Array, worst: int) -> tuple[str, Message]:
    """The same of the median network, where it is not the mean one."""
    kind, message = _lost_gradient(f, typical, worst)
    texts = {
        "vanishing": "Gradients vanish: ×{factor} per layer in {size} (×{square} in mean square) in a typical network; "
        "layer {layer} receives {ratio} of the last layer's gradient {size} in the median network, {mean} in the mean.",
        "exploding": "Gradients explode: ×{factor} per layer in {size} (×{square} in mean square) towards the input in "
        "a typical network; layer {layer} receives {ratio} times the last layer's gradient {size} in the median "
        "network, {mean} times in the mean.",
    }
    values = {**message.values, "mean": number_text(float(f.relative[worst]) / LN10)}
    return kind, Message(f"{kind}_median", texts[kind], values)


def _lost_gradient(f: Facts, relative: Array, worst: int) -> tuple[str, Message]:
    total = float(relative[worst])
    values = {
        **_factors(total / (f.spec.depth - 1 - worst)),
        "ratio": number_text(total / LN10),
        "layer": str(worst + 1),
        "size": _size(f.spec),
    }
    if total < 0:
        text = (
            "Gradients vanish: ×{factor} per layer in {size} (×{square} in mean square); "
            "layer {layer} receives {ratio} of the last layer's gradient {size}."
        )
        return "vanishing", Message("vanishing", text, values)
    text = (
        "Gradients explode: ×{factor} per layer in {size} (×{square} in mean square) towards the input; "
        "layer {layer} receives {ratio} times the last layer's gradient {size}."
    )
    return "exploding", Message("exploding", text, values)


def _signal(f: Facts) -> Iterator[tuple[str, Message]]:
    change = 0.5 * (f.log_q - f.log_q[0])
    worst = int(np.argmax(np.abs(change)))
    total = float(change[worst])
    if abs(total) <= math.log(USABLE):
        return
    values = {
        **_factors(total / worst),
        "first": number_text(0.5 * float(f.log_q[0]) / LN10),
        "last": number_text(0.5 * float(f.log_q[worst]) / LN10),
        "layer": str(worst + 1),
    }
    if total < 0:
        text = (
            "The signal vanishes: its RMS falls from {first} at layer 1 to {last} at layer {layer}, ×{factor} per "
            "layer (×{square} in mean square), though the gradient keeps its size."
        )
        yield "vanishing", Message("vanishing_signal", text, values)
    else:
        text = (
            "The signal explodes: its RMS rises from {first} at layer 1 to {last} at layer {layer}, ×{factor} per "
            "layer (×{square} in mean square), though the gradient keeps its size."
        )
        yield "exploding", Message("exploding_signal", text, values)


def _typical(f: Facts) -> Iterator[tuple[str, Message]]:
    """The mean over networks may be held up by a few rare ones."""
    relative = f.relative_typical
    if relative is None:
        return
    worst = int(np.argmax(np.abs(relative)))
    total = float(relative[worst])
    if abs(total) > math.log(USABLE):
        text = (
            "Gradients vanish in a typical network of this width: layer {layer} receives {ratio} of the last layer's "
            "gradient {size} in the median network; rare large ones hold the mean at {mean}."
        )
        values = {
            "layer": str(worst + 1),
            "ratio": number_text(total / LN10),
            "mean": number_text(float(f.relative[worst]) / LN10),
            "size": _size(f.spec),
        }
        yield "vanishing", Message("vanishing_typical", text, values)


def _stable(f: Facts) -> Message:
    if f.spec.depth == 1:
        return Message("single_layer", "One layer: there is no depth for a gradient to cross.")
    values = {
        **_factors(_mean_factor(f)),
        "ratio": number_text(float(f.relative[0]) / LN10),
        "size": _size(f.spec),
    }
    if f.spec.init_entry.kind == "constant":
        text = (
            "Signals and gradients survive (×{factor} per layer in {size}), but constant weights keep all units of a "
            "layer equal, in training too."
        )
        return Message("stable_symmetric", text, values)
    if max(abs(f.relative)) > math.log(DRIFTS):
        text = (
            "Signals and gradients survive this depth, but they drift: ×{factor} per layer in {size} (×{square} in "
            "mean square); layer 1 receives {ratio} times the last layer's gradient {size}."
        )
        return Message("stable_drifting", text, values)
    text = (
        "Signals and gradients survive: ×{factor} per layer in {size} (×{square} in mean square); "
        "layer 1 receives {ratio} times the last layer's gradient {size}."
    )
    return Message("stable", text, values)


# --- further sentences ---------------------------------------------------------------------------------------


def details(f: Facts, kind: str) -> Iterator[Message]:
    if kind == "dead" and np.isneginf(f.log_g).any():
        return
    if kind in ("dead", "saturated", "overflow"):
        yield from (message for _, message in _gradient(f))
    yield from _range(f)
    yield from _formats(f)
    typical = f.relative_typical
    if typical is not None and kind == "stable" and abs(typical[0] - f.relative[0]) > math.log(MEDIAN):
        yield Message(
            "typical",
            "In a typical (median) network layer 1 receives {ratio} of the last layer's gradient {size}; the mean over "
            "networks, {mean}, is held up by rare ones.",
            {
                "ratio": number_text(float(typical[0]) / LN10),
                "mean": number_text(float(f.relative[0]) / LN10),
                "size": _size(f.spec),
            },
        )


def _range(f: Facts) -> Iterator[Message]:
    """The depth at which the gradient becomes unusable, by the stated threshold."""
    layer, depth = unusable_from(f.relative), f.spec.depth
    if layer is not None:
        yield Message(
            "unusable",
            "From layer {layer} down to the input the gradient differs by more than a factor {limit} from the last "
            "layer's: {usable} of {depth} layers are usable.",
            {"layer": str(layer), "limit": f"{USABLE:g}", "usable": str(depth - layer), "depth": str(depth)},
        )
        return
    middle = f.relative[(depth - 1) // 4], f.relative[3 * (depth - 1) // 4]
    steps = 3 * (depth - 1) // 4 - (depth - 1) // 4
    speed = abs(float(middle[0] - middle[1])) / steps if steps else 0.0
    if speed > 1e-6:
        yield Message(
            "usable",
            "At this rate a net of about {limit_depth} layers would leave the usable factor of {limit}.",
            {"limit_depth": number_text(math.log10(1.0 + math.log(USABLE) / speed)), "limit": f"{USABLE:g}"},
        )


_HAPPENS = (
    ("forward_overflow", "the signal overflows at layer {layer}"),
    ("forward_underflow", "the signal underflows to 0 at layer {layer}"),
    ("gradient_overflow", "the gradient overflows at layer {layer}"),
    ("gradient_underflow", "the gradient underflows to 0 at layer {layer}"),
)


def first_event(events: DtypeEvents, depth: int) -> tuple[str, int] | None:
    """(name, layer) of what fails first in one forward and backward pass; None where nothing does."""
    met = []
    for name, _ in _HAPPENS:
        layer = getattr(events, name)
        if layer:
            met.append((layer if name.startswith("forward") else 2 * depth - layer, name, layer))
    return min(met)[1:] if met else None


def _formats(f: Facts) -> Iterator[Message]:
    """Which number format fails first, and float32."""
    firsts = {dtype: first_event(events, f.spec.depth) for dtype, events in f.events.items()}
    failing = {dtype: found for dtype, found in firsts.items() if found}
    if not failing:
        return

    def when(dtype: str) -> int:
        name, layer = failing[dtype]
        return layer if name.startswith("forward") else 2 * f.spec.depth - layer

    order = sorted(failing, key=when)
    named = [order[0], *(["float32"] if "float32" in failing and order[0] != "float32" else [])]
    happens = dict(_HAPPENS)
    for index, dtype in enumerate(named):
        name, layer = failing[dtype]
        event = Message(name, happens[name], {"layer": str(layer)})
        template = "{dtype} fails first: {event}." if index == 0 else "{dtype}: {event}."
        yield Message(f"{name}_in", template, {"dtype": dtype, "event": event})


# --- numbers as text -----------------------------------------------------------------------------------------


def _mean_factor(f: Facts) -> float:
    return float(f.relative[0]) / (f.spec.depth - 1) if f.spec.depth > 1 else 0.0


def unusable_from(relative: Array) -> int | None:
    beyond = np.flatnonzero(~(np.abs(relative) <= math.log(USABLE)))
    return int(beyond[-1]) + 1 if beyond.size else None


def _factors(log_rms: float) -> dict[str, str]:
    return {"factor": factor_text(log_rms / LN10), "square": factor_text(2.0 * log_rms / LN10)}


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%" if share < 0.995 else f"{100 * share:.1f}%"


def _size(spec: Spec) -> Message:
    """ "norm" where all layers are equally wide, so that norm and RMS tell the same; else RMS per unit."""
    even = len(set(spec.layer_widths.tolist())) == 1
    return Message("norm", "norm") if even else Message("rms", "RMS")
