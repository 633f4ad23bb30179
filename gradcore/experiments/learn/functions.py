"""Lessons 6 and 7: the gain that an activation needs, and the edge of chaos where signals keep their differences."""

from __future__ import annotations

import math

import numpy as np

from gradcore.activations import ACTIVATIONS
from gradcore.errors import SpecError
from gradcore.experiments.learn.figures import BARS, LAYER, NETWORKS, over_layers
from gradcore.experiments.learn.lesson import Factor, Figure, Lesson, Line, Numbers, Points, Step, Taught, plain
from gradcore.experiments.learn.question import LearnQuestion
from gradcore.guide.gains import gains_of
from gradcore.guide.variance_map import VarianceMap, story
from gradcore.spec import Spec
from gradcore.theory.correlation_map import correlation_map
from gradcore.theory.critical import critical_gain
from gradcore.theory.fixed_points import fixed_points
from gradcore.words import Message

Array = np.ndarray
LAYERS = 30
STARTS = (0.0, 0.9)  # correlations of two inputs
UNITS = 1000  # of the networks in which they are followed
RMS = Message("learn_rms", "RMS (log scale)")


# --- gains ----------------------------------------------------------------------------------------------------------


def _critical(activation: str) -> float | None:
    try:
        return critical_gain(activation)
    except SpecError:
        return None


def _gains(question: LearnQuestion) -> Taught:
    gain = gains_of(question.activation)
    used = gain.torch or gain.forward
    entry = ACTIVATIONS[gain.activation]
    plain_map = VarianceMap(gain.activation, used, 0.0, entry.default_slope or 0.0)
    fate, critical = plain_map.fate(2.0 * math.log(used)), _critical(gain.activation)
    chi = math.exp(fate.log_chi)
    n = Numbers(
        "gains",
        activation=gain.activation,
        forward=gain.forward,
        backward=gain.backward,
        spread=gain.spread,
        used=used,
        second=gain.forward**-2,
        slope=gain.backward**-2,
        critical=critical if critical is not None else math.nan,
        q=math.exp(fate.log_q) if math.isfinite(fate.log_q) else (math.inf if fate.log_q > 0 else 0.0),
        chi=chi,
        chi_slope=chi / used**2,
        factor=Factor(math.sqrt(chi)),
        story=story(fate),
        whose=_TORCH if gain.torch else _OWN,
    )
    spec = Spec(depth=50, activation=gain.activation, gain="auto")
    return Taught(
        n.say("idea", "{activation} at {whose}, {used}. {story}"),
        _gains_steps(n),
        _deep(spec.replace(depth=LAYERS)),
        (
            n.explore("load", "Explore: a deep {activation} net at {whose}", spec),
            n.explore("map", "Activations: where its signal goes, and all gains", spec, "activations"),
            *(() if critical is None else (n.explore("fix", "Explore: at its critical gain", _at_critical(spec)),)),
        ),
        n,
        next((n.say(f"error_{code}", text) for code, holds, text in _ERRORS if holds(gain, critical)), None),
    )


def _gains_steps(n: Numbers) -> tuple[Step, ...]:
    return (
        n.step(
            "forward",
            "A signal z ~ N(0, 1) leaves the activation with this mean square, which the next weights have to put "
            "back:",
            r"g_\rightarrow = \frac{1}{\sqrt{E\,\phi(Z)^2}} = \frac{1}{\sqrt{<second>}} = <forward>",
        ),
        n.step(
            "backward",
            "A gradient is multiplied by φ′ instead, so it asks for another gain:",
            r"g_\leftarrow = \frac{1}{\sqrt{E\,\phi'(Z)^2}} = \frac{1}{\sqrt{<slope>}} = <backward>",
        ),
        n.step(
            "deep",
            "At {whose}, {used}, the signal of a deep net ends at a mean square q, and there the gradient's mean "
            "square changes per layer by:",
            r"q = <q>: \quad \chi = g^2\, E\,\phi'(\sqrt{q}\,Z)^2",
            r"= <used>^2 \cdot <chi_slope> = <chi>",
        ),
    )


def _at_critical(spec: Spec) -> Spec:
    return spec.replace(gain="critical")


_TORCH = Message("learn_gains_torch", "torch's gain")
_OWN = Message("learn_gains_exact", "its exact gain")
_ERRORS = (  # the first that holds is said
    (
        "torch",
        lambda gain, critical: bool(gain.torch and critical and abs(gain.torch / critical - 1.0) > 1e-6),
        "torch's calculate_gain gives {used}, which is neither the gain that keeps a signal of RMS 1 ({forward}) nor "
        "the critical one: gradients keep their size at {critical}.",
    ),
    (
        "spread",
        lambda gain, critical: abs(gain.spread / gain.forward - 1.0) > 1e-6,
        "A gain found by experiment as std(x)/std(φ(x)) is {spread} here. It takes the mean of φ off, which a network "
        "does not: {forward} keeps the signal.",
    ),
    (
        "both",
        lambda gain, critical: not gain.agree,
        "No gain keeps both: {forward} keeps the signal, {backward} the gradient above it.",
    ),
)


def _deep(spec: Spec) -> Figure:
    signal = over_layers(
        spec,
        "log_q",
        (Message("learn_signal", "signal, predicted"), Message("learn_signal_measured", "signal, measured")),
    )
    gradient = over_layers(
        spec,
        "log_g",
        (Message("learn_gradient", "gradient, predicted"), Message("learn_gradient_measured", "gradient, measured")),
    )
    lines, points = zip(signal, gradient, strict=True)
    return Figure(
        Message("learn_gains_figure", "Signal and gradient over the layers (gradient: last layer = 1)"),
        LAYER,
        RMS,
        lines,
        points,
        BARS["networks"],
        log=True,
        whole=True,
    )


# --- the edge of chaos ----------------------------------------------------------------------------------------------


def _chaos(question: LearnQuestion) -> Taught:
    sigma_w, sigma_b = question.sigma_w, question.sigma_b
    point = next(p for p in fixed_points("tanh", sigma_w, sigma_b) if p.stable and p.q > 0.0)
    found = correlation_map("tanh", sigma_w, sigma_b, starts=STARTS, depth=LAYERS)
    c, scale = point.c or 0.0, point.xi_c or 0.0
    n = Numbers(
        "chaos",
        sigma_w=float(sigma_w),
        sigma_b=float(sigma_b),
        q=point.q,
        chi=point.chi,
        factor=Factor(math.sqrt(point.chi)),
        c=c,
        chi_c=point.chi_c or 0.0,
        scale=scale,
        layers=plain(float(f"{abs(scale):.2g}")) if math.isfinite(scale) else "∞",
        critical=critical_gain("tanh", bias_std=sigma_b),
        phase=_PHASES[0 if point.chi < 1.0 else 1],
    )
    net = Spec(depth=50, activation="tanh", init="lecun_normal", gain=sigma_w, bias_std=sigma_b)
    return Taught(
        n.say(
            "idea",
            "{phase}, ×{factor} per layer in RMS. What tells two inputs apart is lost by a factor e every {layers} "
            "layers.",
        ),
        _chaos_steps(n),
        _correlations(question, found.paths),
        (
            n.explore("load", "Explore: a deep tanh net at this σ_w and σ_b", net),
            n.explore("edge", "Explore: at the edge, σ_w = {critical}", net.replace(gain="critical")),
            n.explore("map", "Phase map: the plane around it", net, "phase-map"),
        ),
        n,
        n.say(
            "error",
            "That a bounded activation cannot explode: its signal cannot, its gradient does wherever χ > 1; here χ = "
            "{chi}.",
        ),
    )


def _chaos_steps(n: Numbers) -> tuple[Step, ...]:
    return (
        n.step(
            "size",
            "The signal's mean square settles where one layer gives back what it gets:",
            r"q_* = \sigma_w^2\, E\tanh(\sqrt{q_*}\,Z)^2 + \sigma_b^2 = <q>",
        ),
        n.step(
            "slope",
            "There a small difference of two inputs, and the gradient, change by the same factor in mean square:",
            r"\chi = \sigma_w^2\, E\tanh'(\sqrt{q_*}\,Z)^2 = <chi>",
        ),
        n.step(
            "correlation",
            "The correlation of two inputs tends to c*, and a deviation from it shrinks by e within ξ layers:",
            r"c_* = <c>, \qquad \xi = \frac{-1}{\ln \chi_{c_*}} = \frac{-1}{\ln <chi_c>} = <scale>",
        ),
        n.step(
            "edge",
            "At this σ_b the edge between the two phases, where ξ has no bound and gradients keep their size, lies at:",
            r"\chi = 1 \quad\Leftrightarrow\quad \sigma_w = <critical>",
        ),
    )


_PHASES = (
    Message("learn_chaos_ordered", "Ordered: different inputs become equal and gradients vanish"),
    Message("learn_chaos_chaotic", "Chaotic: nearly equal inputs become different and gradients explode"),
)


def followed(sigma_w: float, sigma_b: float, start: float, q: float, networks: int = NETWORKS) -> Array:
    """(networks, LAYERS) the correlation z_a . z_b / |z_a| |z_b| of two signals through random tanh networks of UNITS
    units, layer 1 at mean square q and correlation ``start``. Given a layer, the next one's rows are independent
    Gaussians with the Gram matrix sigma_w^2 x_a . x_b / n + sigma_b^2: the law of a network, without its matrix."""
    rng = np.random.default_rng(0)
    paths = np.empty((networks, LAYERS))
    for path in paths:
        gram = q * np.array([[1.0, start], [start, 1.0]])
        for layer in range(LAYERS):
            values, vectors = np.linalg.eigh(gram)
            z = (vectors * np.sqrt(np.maximum(values, 0.0))) @ rng.standard_normal((2, UNITS))
            path[layer] = (z[0] @ z[1]) / math.sqrt((z[0] @ z[0]) * (z[1] @ z[1]))
            x = np.tanh(z)
            gram = sigma_w**2 * (x @ x.T) / UNITS + sigma_b**2
    return paths


def _correlations(question: LearnQuestion, paths: Array) -> Figure:
    layers = np.arange(1, LAYERS + 1)
    q = next(p for p in fixed_points("tanh", question.sigma_w, question.sigma_b) if p.stable and p.q > 0.0).q
    lines, points = [], []
    for start, path in zip(STARTS, paths, strict=True):
        drawn = followed(question.sigma_w, question.sigma_b, start, q)
        begun = {"start": plain(start)}
        lines.append(Line(Message("learn_chaos_line", "from {start}, predicted", begun), layers, path))
        name = Message("learn_chaos_points", "from {start}, measured", begun)
        points.append(Points(name, layers, drawn.mean(axis=0), drawn.min(axis=0), drawn.max(axis=0)))
    return Figure(
        Message("learn_chaos_figure", "Correlation of two inputs over the layers"),
        LAYER,
        Message("learn_chaos_y", "correlation"),
        tuple(lines),
        tuple(points),
        BARS["networks"],
        whole=True,
    )


LESSONS = (
    Lesson("gains", "Gains", ("activation",), ("He et al. 2015", "Poole et al. 2016"), _gains),
    Lesson("chaos", "Edge of chaos", ("sigma_w", "sigma_b"), ("Poole et al. 2016", "Schoenholz et al. 2017"), _chaos),
)
