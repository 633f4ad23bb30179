"""What mends a network: changed Specs, each checked by ``predict`` before it is offered.

A remedy proposes changes, the least first; the first whose prediction is safe becomes its Fix. Adding a remedy is one
more ``_add``. Safe means: stable, with room for the scatter of single networks of this width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradcore.errors import GradcoreError, SpecError
from gradcore.fields import FIELDS
from gradcore.profile import predict
from gradcore.spec import Spec
from gradcore.words import Message, number_text

if TYPE_CHECKING:
    from gradcore.verdict import Verdict

Changes = dict[str, Any]
Propose = Callable[["Verdict"], Iterator[Changes]]
MARGIN = 2.0  # standard deviations of one network's ln RMS that must fit into the usable range
_PLAIN_NORM = {"norm_position": "before", "norm_gamma": 1.0, "norm_beta": 0.0, "norm_eps": 1e-5}
_KAIMING: Changes = {"init": "kaiming_normal", "gain": 1.0, "bias_std": 0.0}
_LECUN: Changes = {"init": "lecun_normal", "gain": 1.0}
_HALF_LINEAR = ("linear", "relu", "leaky_relu", "prelu")  # Kaiming's law is made for these


@dataclass(frozen=True, eq=False)
class Fix:
    """One change that makes the predicted verdict stable.

    ``code`` a stable name of the remedy, ``spec`` the changed Spec, ``changes`` its fields that differ (name -> new
    value), ``message`` what to do, ``cost`` what it costs, ``verdict`` of the changed Spec.
    """

    code: str
    spec: Spec
    changes: Changes
    message: Message
    cost: Message
    verdict: Verdict

    def __str__(self) -> str:
        settings = ", ".join(f"{name}={FIELDS[name].write(value)}" for name, value in self.changes.items())
        return f"{self.message} [{settings}] {self.cost}"


@dataclass(frozen=True)
class Remedy:
    """``propose(verdict)`` yields changes, the least first; ``title`` and ``cost`` are templates over ``_values``."""

    code: str
    propose: Callable[[Verdict], Iterator[Changes]]
    title: str
    cost: str
    last_resort: bool = False  # only where nothing else helps


REMEDIES: dict[str, Remedy] = {}


def _add(code: str, title: str, cost: str, last_resort: bool = False) -> Callable[[Propose], Propose]:
    def register(propose: Propose) -> Propose:
        REMEDIES[code] = Remedy(code, propose, title, cost, last_resort)
        return propose

    return register


def iter_fixes(verdict: Verdict) -> Iterator[Fix]:
    """At most one Fix of each remedy, in the order of the table, each as soon as it is found."""
    seen = {verdict.spec}
    for remedy in REMEDIES.values():
        if remedy.last_resort and len(seen) > 1:
            continue
        fix = next(_checked(verdict, remedy, seen), None)
        if fix is not None:
            seen.add(fix.spec)
            yield fix


def _checked(verdict: Verdict, remedy: Remedy, seen: set[Spec]) -> Iterator[Fix]:
    """The proposals that are safe by prediction: first by the cheap stand-in, then as they are."""
    spec = verdict.spec
    for changes in remedy.propose(verdict):
        try:
            changed = spec.replace(**changes)
        except SpecError:
            continue  # not legal here, as residual connections on unequal widths
        if changed in seen or _outcome(_stand_in(changed)) is None:
            continue
        outcome = _outcome(changed)
        if outcome is not None:
            values = _values(spec, changed)
            differs = {name: getattr(changed, name) for name in FIELDS if getattr(changed, name) != getattr(spec, name)}
            title = Message(remedy.code, remedy.title, values)
            cost = Message(f"{remedy.code}_cost", remedy.cost, values)
            yield Fix(remedy.code, changed, differs, title, cost, outcome)


def _diagnosed(spec: Spec) -> Verdict | None:
    """The predicted verdict; None where theory has no answer."""
    from gradcore.verdict import diagnose

    try:
        return diagnose(predict(spec))
    except GradcoreError:
        return None


def _outcome(spec: Spec) -> Verdict | None:
    """The predicted verdict where it is safe, else None."""
    outcome = _diagnosed(spec)
    return outcome if outcome is not None and outcome.stable and _has_room(outcome) else None


def _stand_in(spec: Spec) -> Spec:
    """The same network with a random loss on a single input: forward signal and gradient ratios are the same (exactly
    so but for MSE and batch norm), single networks scatter a little more, and far less is computed."""
    if spec.norm == "batch":
        return spec.replace(loss="random")
    fan_in = int(spec.fan_ins[0])
    return spec.replace(loss="random", batch_size=1, input="gaussian", input_correlation=0.0, input_width=fan_in)


def _has_room(verdict: Verdict) -> bool:
    """Whether single networks, not only their mean, stay in the usable range."""
    from gradcore.verdict import USABLE

    facts = verdict.facts
    relative = facts.relative if facts.relative_typical is None else facts.relative_typical
    room = math.log(USABLE) - float(abs(relative).max())
    return room >= MARGIN * 0.5 * math.sqrt(facts.spread)


def _values(old: Spec, new: Spec) -> dict[str, str | Message]:
    """Everything that a title or a cost may name."""
    before, after = _parameters(old), _parameters(new)
    return {
        "also": Message("also", " ({init}, gain {gain})", _start(new)) if _start(new) != _start(old) else "",
        **_start(new),
        "activation": new.activation,
        "old_activation": old.activation,
        "norm": new.norm,
        "depth": str(new.depth),
        "old_depth": str(old.depth),
        "width": str(int(new.layer_widths.max())),
        "times": number_text(math.log10(after / before)),
        "parameters": f"{after:,}",
        "more": f"{max(after - before, 0):,}",
        "rms": f"{new.input_rms:g}",
    }


def _start(spec: Spec) -> dict[str, str]:
    from gradcore.theory.critical import resolve_gain

    if not isinstance(spec.gain, str):
        return {"init": spec.init, "gain": f"{spec.gain:.4g}"}
    return {"init": spec.init, "gain": f"{spec.gain} (sigma_w = {resolve_gain(spec).sigma_w:.4g})"}


def _parameters(spec: Spec) -> int:
    """Weights, biases and the norm's scale and shift."""
    fans, widths = spec.fan_ins.tolist(), spec.layer_widths.tolist()
    count = sum(n * m for n, m in zip(fans, widths, strict=True)) + (sum(widths) if spec.bias_std != 0.0 else 0)
    return count + (2 * sum(widths[:-1]) if spec.norm != "none" else 0)


# --- the remedies, the least change first ----------------------------------------------------------------------


def _random(spec: Spec) -> bool:
    return spec.init_entry.kind not in ("constant", "eye")


def _with_start(verdict: Verdict, changes: Changes, start: Changes) -> Iterator[Changes]:
    """The changes alone, where the weights are random, and together with another start."""
    if _random(verdict.spec):
        yield changes
    yield {**changes, **start}


def _resolved(spec: Spec, word: str) -> Changes:
    """gain = "critical" or "auto", as a number where all layers have the same one."""
    from gradcore.theory.critical import resolve_gain

    multipliers = resolve_gain(spec.replace(gain=word)).multipliers
    one = float(multipliers[0])
    return {"gain": one if (multipliers == one).all() and one > 0 else word}


@_add(
    "gain",
    "Set the gain to {gain}",
    "Costs nothing: the same network, started from other weights.",
)
def _gain(verdict: Verdict) -> Iterator[Changes]:
    spec = verdict.spec
    if not _random(spec) or spec.norm == "batch":
        return  # nothing to scale, or scaled away again
    for word in ("critical", "auto"):
        try:
            yield _resolved(spec, word)
        except GradcoreError:
            continue
    yield from _searched_gain(verdict)


def _searched_gain(verdict: Verdict) -> Iterator[Changes]:
    """The gain at which layer 1 receives the last layer's gradient, by steps towards it from the present one."""
    spec, ratio = _stand_in(verdict.spec), verdict.log_ratio
    if isinstance(spec.gain, str) or spec.gain == 0.0 or spec.depth < 2 or not math.isfinite(ratio):
        return
    gain = float(spec.gain)
    low = high = None  # (ln gain, log_ratio) below and above
    for _ in range(10):
        if ratio > 0:
            high = (math.log(gain), ratio)
        else:
            low = (math.log(gain), ratio)
        if low and high:
            step = low[0] + (high[0] - low[0]) * low[1] / (low[1] - high[1])
        else:
            step = math.log(gain) - max(-2.0, min(2.0, ratio / (spec.depth - 1)))
        gain = float(f"{math.exp(step):.4g}")
        outcome = _diagnosed(spec.replace(gain=gain))
        if outcome is None or not math.isfinite(outcome.log_ratio):
            return
        ratio = outcome.log_ratio
        if abs(ratio) < 1.0:
            yield {"gain": gain}
            return


@_add(
    "init",
    "Initialize by {init}, gain {gain}",
    "Costs nothing: the same network, started from other weights.",
)
def _init(verdict: Verdict) -> Iterator[Changes]:
    spec = verdict.spec
    for bias in dict.fromkeys((spec.bias_std, 0.0)):
        if spec.activation in _HALF_LINEAR:
            yield {"init": "kaiming_normal", "gain": 1.0, "bias_std": bias}
        base = spec.replace(init="lecun_normal", bias_std=bias)
        for word in ("critical", "auto"):
            try:
                gain = _resolved(base, word)["gain"]
            except GradcoreError:
                continue
            for init in ("lecun_normal", "orthogonal"):
                yield {"init": init, "gain": gain, "bias_std": bias}


@_add(
    "norm_affine",
    "Start the norm from scale 1 and shift 0",
    "Costs nothing: the same network, started from other norm parameters.",
)
def _norm_affine(verdict: Verdict) -> Iterator[Changes]:
    if verdict.spec.norm != "none":
        yield {"norm_gamma": 1.0, "norm_beta": 0.0, "norm_eps": verdict.spec.norm_eps}
        yield {"norm_gamma": 1.0, "norm_beta": 0.0, "norm_eps": 1e-5}


@_add("input_rms", "Scale the input to RMS {rms}", "Costs one pass over the data, once.")
def _input(verdict: Verdict) -> Iterator[Changes]:
    yield {"input_rms": 1.0}


@_add(
    "residual_scale",
    "Scale the residual branches by 1/sqrt(L){also}",
    "Costs nothing: one factor; each block then changes the stream less.",
)
def _residual_scale(verdict: Verdict) -> Iterator[Changes]:
    if verdict.spec.residual != "none":
        yield from _with_start(verdict, {"residual_scale": "1/sqrt(L)"}, _LECUN)


@_add(
    "residual",
    "Make the layers residual, scale 1/sqrt(L){also}",
    "Adds a skip around every layer (all layers equally wide); no parameters, one addition a layer.",
)
def _residual(verdict: Verdict) -> Iterator[Changes]:
    if verdict.spec.residual == "none":
        yield from _with_start(verdict, {"residual": "identity", "residual_scale": "1/sqrt(L)"}, _LECUN)


@_add(
    "norm",
    "Normalize every layer: {norm} norm before {activation}{also}",
    "Adds {more} parameters and one pass over every layer's units, forward and backward.",
)
def _norm(verdict: Verdict) -> Iterator[Changes]:
    for norm in ("layer", "rms"):
        if verdict.spec.norm == norm:
            continue
        yield from _with_start(verdict, {"norm": norm, **_PLAIN_NORM}, _KAIMING)


@_add(
    "no_norm",
    "Leave the norm out and initialize by {init}, gain {gain}",
    "Saves the norm's work; what it gave in training (larger steps) is lost.",
)
def _no_norm(verdict: Verdict) -> Iterator[Changes]:
    if verdict.spec.norm != "none":
        for changes in _init(verdict):
            yield {"norm": "none", **changes}


@_add(
    "norm_residual",
    "Residual connections with {norm} norm inside{also}",
    "Adds {more} parameters, a norm and a skip in every layer (all layers equally wide).",
)
def _norm_residual(verdict: Verdict) -> Iterator[Changes]:
    for scale in (1.0, "1/sqrt(L)"):
        skip = {"residual": "identity", "residual_scale": scale}
        yield from _with_start(verdict, {"norm": "layer", **_PLAIN_NORM, **skip}, _KAIMING)


@_add(
    "activation",
    "Change the activation to {activation}{also}",
    "Another function: what {old_activation} is chosen for (its smoothness, its bounds) is lost.",
)
def _activation(verdict: Verdict) -> Iterator[Changes]:
    if verdict.spec.activation in _HALF_LINEAR:
        return  # its function is not what ails it
    for bias in dict.fromkeys((verdict.spec.bias_std, 0.0)):
        plain = {"negative_slope": None, "bias_std": bias}
        yield {**plain, "activation": "relu", "init": "kaiming_normal", "gain": 1.0}
        yield {**plain, "activation": "tanh", "init": "lecun_normal", "gain": 1.0}


@_add(
    "width",
    "Widen the layers to {width} units",
    "×{times} parameters ({parameters} in all), and about as much more computing.",
)
def _width(verdict: Verdict) -> Iterator[Changes]:
    spec = verdict.spec
    if isinstance(spec.width, int) and _random(spec):
        for width in (2**k for k in range(4, 13)):
            if width > spec.width:
                yield {"width": width}


@_add(
    "depth",
    "Use {depth} layers instead of {old_depth}",
    "A shallower function, with ×{times} of the parameters.",
)
def _depth(verdict: Verdict) -> Iterator[Changes]:
    """As many layers as are usable, less where they leave no room for scatter."""
    spec = verdict.spec
    if isinstance(spec.width, int) and _random(spec):
        for share in (1.0, 0.85, 0.7, 0.5):
            depth = int(share * verdict.usable_depth)
            if 1 < depth < spec.depth:
                yield {"depth": depth}


@_add(
    "rebuild",
    "Rebuild it with {activation}{also}",
    "Replaces activation, initializer, norm and residual connections at once.",
    last_resort=True,
)
def _rebuild(verdict: Verdict) -> Iterator[Changes]:
    """What mends nearly everything, where no single change does."""
    spec = verdict.spec
    base = {"negative_slope": None, "bias_std": 0.0, "norm": "none", **_PLAIN_NORM, "input_rms": 1.0}
    for loss in dict.fromkeys((spec.loss, "mse")):
        for residual in ({"residual": "none"}, {"residual": "identity", "residual_scale": "1/sqrt(L)"}):
            yield {**base, **residual, "loss": loss, "activation": "relu", "init": "kaiming_normal", "gain": 1.0}
            yield {**base, **residual, "loss": loss, "activation": "tanh", "init": "orthogonal", "gain": 1.0}
