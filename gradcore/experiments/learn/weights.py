"""Lessons 3 to 5: the variance identity, Xavier's compromise, and what Kaiming adds for ReLU."""

from __future__ import annotations

import math

import numpy as np

from gradcore.activations import ACTIVATIONS
from gradcore.experiments.learn.figures import BARS, roots, with_errors
from gradcore.experiments.learn.lesson import Factor, Figure, Lesson, Line, Numbers, Step, Taught
from gradcore.experiments.learn.question import LearnQuestion
from gradcore.initializers import INITIALIZERS
from gradcore.profile import predict
from gradcore.spec import Spec
from gradcore.theory.gaussian import moments_of
from gradcore.words import Message

DRAWS = 400
SAMPLES = 4000  # of one Gaussian
SLOPES = np.linspace(-2.0, 2.0, 81)
TRIED = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0)


def _widths(width: int) -> list[int]:
    """Powers of four up to the width, and the width."""
    return sorted({4**k for k in range(1, 6) if 4**k < width} | {width})


def _variance(question: LearnQuestion) -> Taught:
    width, depth = question.width, 100
    spec = Spec(depth=depth, width=width, activation="linear", init="normal")
    profile = predict(spec)
    relu = moments_of("relu", 0.0).at(np.array(0.0))
    second = math.exp(float(relu.log_second))
    breaks = profile.precision["float32"].forward_overflow
    n = Numbers(
        "variance",
        width=width,
        root=math.exp(0.5 * float(profile.log_q[0])),
        square=math.exp(float(profile.log_q[0])),
        depth=depth,
        breaks=breaks is not None,
        layer=breaks or depth,
        size=math.exp(0.5 * float(profile.log_q[(breaks or depth) - 1])),
        largest=float(np.finfo(np.float32).max),
        second=second,
        centred=second * (1.0 - float(relu.mean_ratio) ** 2),
        std=width**-0.5,
    )
    return Taught(
        n.say(
            "idea",
            "A unit with {width} inputs and weights N(0, 1) puts out √{width} = {root} times the RMS that it gets: "
            "layer after layer.",
        ),
        _variance_steps(n),
        _sums(width),
        (
            n.explore("load", "Explore: {depth} layers of this width, weights N(0, 1)", spec),
            n.explore("scaled", "Explore: the same with std √(1/n) = {std}", spec.replace(gain=width**-0.5)),
        ),
        n,
        n.say(
            "error",
            "The variance of x stands here for E x², which is the same for mean 0 alone. After a ReLU on N(0, 1) the "
            "variance is {centred}, but what the next layer multiplies is the second moment, {second}.",
        ),
    )


def _variance_steps(n: Numbers) -> tuple[Step, ...]:
    return (
        n.step(
            "pair",
            "For independent X and Y of mean 0, variances multiply:",
            r"\mathrm{Var}(XY) = E X^2\, E Y^2 - (E X\, E Y)^2",
            r"= \mathrm{Var}\,X\; \mathrm{Var}\,Y",
        ),
        n.step(
            "sum",
            "A unit adds {width} such products, one for each input; variances of independent terms add:",
            r"\mathrm{Var}\,\sum_{i=1}^{<width>} W_i x_i = <width> \cdot \mathrm{Var}\,W \cdot \mathrm{Var}\, x = "
            r"<square>",
        ),
        n.step(
            "layers",
            _BROKEN if n["breaks"] else _WHOLE,
            r"\sqrt{<width>} = <root>, \qquad <root>^{<layer>} = <size>",
        ),
    )


_BROKEN = (
    "With weights N(0, 1) each layer multiplies the RMS by the root. The largest entries pass float32's largest "
    "number, {largest}, at layer {layer}:"
)
_WHOLE = (
    "With weights N(0, 1) each layer multiplies the RMS by the root. After {layer} layers float32, up to {largest}, "
    "still holds them:"
)


def _sums(width: int) -> Figure:
    rng = np.random.default_rng(0)
    widths = _widths(width)
    squares = [(rng.standard_normal((DRAWS, m)) * rng.standard_normal((DRAWS, m))).sum(axis=1) ** 2 for m in widths]
    x = np.geomspace(2.0, max(width, 4), 60)
    return Figure(
        Message("learn_variance_figure", "RMS of a unit: weights and inputs N(0, 1)"),
        Message("learn_variance_x", "number n of inputs (log scale)"),
        Message("learn_variance_y", "RMS of the unit"),
        (Line(Message("learn_variance_line", "√n"), x, np.sqrt(x)),),
        (roots(with_errors(widths, squares, Message("learn_variance_points", "drawn sums"))),),
        BARS["errors"],
        log_x=True,
        here=float(width),
    )


# --- Xavier ---------------------------------------------------------------------------------------------------------


def _xavier(question: LearnQuestion) -> Taught:
    into, out = question.width, question.fan_out
    variance = INITIALIZERS["xavier_uniform"].variance(1.0, into, out, 0.0, 0.0)
    halved = math.exp(float(moments_of("relu", 0.0).at(np.array(0.0)).log_second))
    n = Numbers(
        "xavier",
        into=into,
        out=out,
        variance=variance,
        bound=math.sqrt(3.0 * variance),
        keep_signal=1.0 / into,
        keep_gradient=1.0 / out,
        forward=into * variance,
        backward=out * variance,
        relu=Factor(halved),
        relu_rms=Factor(math.sqrt(halved)),
    )
    shape = {"input_width": into, "width": (out, into) * 5, "depth": 10, "activation": "linear"}
    return Taught(
        n.say(
            "idea",
            "One variance for two wishes: with {into} inputs and {out} outputs Xavier multiplies the signal by "
            "×{forward} and the gradient by ×{backward} per layer in mean square.",
        ),
        _xavier_steps(n),
        _compromise(into, out),
        (
            n.explore(
                "load", "Explore: layers of {into} and {out} units in turn", Spec(init="xavier_uniform", **shape)
            ),
            n.explore("fan_in", "Explore: the same scaled by fan_in", Spec(init="lecun_normal", **shape)),
            n.explore(
                "laws",
                "Initializers: all laws on this network",
                Spec(init="xavier_uniform", **shape),
                "initializers",
            ),
        ),
        n,
        n.say(
            "error",
            "Xavier's rule is for units that are linear near 0, such as tanh. A ReLU passes half of the mean square, "
            "and with equal widths the signal then shrinks ×{relu_rms} per layer in RMS (×{relu} in mean square).",
        ),
    )


def _xavier_steps(n: Numbers) -> tuple[Step, ...]:
    return (
        n.step(
            "forward",
            "Forwards a unit adds fan_in = {into} terms. The signal keeps its size if:",
            r"n\, \mathrm{Var}\,W = 1 \quad\Rightarrow\quad \mathrm{Var}\,W = 1/<into> = <keep_signal>",
        ),
        n.step(
            "backward",
            "Backwards the same matrix is transposed: an input collects from fan_out = {out} units. The gradient keeps "
            "its size if:",
            r"m\, \mathrm{Var}\,W = 1 \quad\Rightarrow\quad \mathrm{Var}\,W = 1/<out> = <keep_gradient>",
        ),
        n.step(
            "mean",
            "Both hold together for n = m alone. Xavier takes the mean of n and m; as a uniform law U(−a, a):",
            r"\mathrm{Var}\,W = \frac{2}{n+m} = <variance>",
            r"a = \sqrt{\frac{6}{n+m}} = <bound>",
        ),
        n.step(
            "left",
            "What is left per layer, in mean square, of signal and gradient:",
            r"n\, \mathrm{Var}\,W = <forward>, \qquad m\, \mathrm{Var}\,W = <backward>",
        ),
    )


def _compromise(into: int, out: int) -> Figure:
    rng = np.random.default_rng(0)
    tried = sorted({max(2, into // 4), max(2, into // 2), into, min(2 * into, 4000), out})
    forward, backward = [], []
    for m in tried:
        bound = math.sqrt(6.0 / (into + m))
        forward.append(
            (rng.uniform(-bound, bound, (DRAWS, into)) * rng.standard_normal((DRAWS, into))).sum(axis=1) ** 2
        )
        backward.append((rng.uniform(-bound, bound, (DRAWS, m)) * rng.standard_normal((DRAWS, m))).sum(axis=1) ** 2)
    x = np.geomspace(tried[0], tried[-1], 60) if tried[0] < tried[-1] else np.array([1.0, 2.0]) * tried[0]
    signal, gradient = (
        [Message(f"learn_xavier_{kind}", text) for text in texts]
        for kind, texts in (
            ("signal", ("signal, predicted", "signal, drawn")),
            ("gradient", ("gradient, predicted", "gradient, drawn")),
        )
    )
    return Figure(
        Message("learn_xavier_figure", "What a layer does in mean square"),
        Message("learn_xavier_x", "fan_out m (log scale)"),
        Message("learn_xavier_y", "factor per layer (mean square)"),
        (
            Line(signal[0], x, 2.0 * into / (into + x)),
            Line(gradient[0], x, 2.0 * x / (into + x)),
        ),
        (with_errors(tried, forward, signal[1]), with_errors(tried, backward, gradient[1])),
        BARS["errors"],
        log_x=True,
        here=float(out),
    )


# --- Kaiming --------------------------------------------------------------------------------------------------------


def rectifier(question: LearnQuestion, **more: object) -> Spec:
    """A deep net of this leaky ReLU (a ReLU at slope 0) with Kaiming's law."""
    kind: dict[str, object] = {"activation": "relu"}
    if question.slope:
        kind = {"activation": "leaky_relu", "negative_slope": question.slope}
    return Spec(init="kaiming_normal", width=question.width, **{**kind, **more})  # type: ignore[arg-type]


def _kaiming(question: LearnQuestion) -> Taught:
    slope, width = question.slope, question.width
    at = moments_of("leaky_relu", slope).at(np.array(0.0))
    plain = moments_of("relu", 0.0).at(np.array(0.0))
    default = width * INITIALIZERS["linear_default"].variance(1.0, width, width, 0.0, 0.0)
    variance = INITIALIZERS["kaiming_normal"].variance(1.0, width, width, slope, 0.0)
    n = Numbers(
        "kaiming",
        width=width,
        slope=float(slope),
        kept=math.exp(float(at.log_second)),
        kept_slope=math.exp(float(at.log_slope_second)),
        variance=variance,
        std=math.sqrt(variance),
        left=width * variance * math.exp(float(at.log_second)),
        default=default,
        shrinks=Factor(default * math.exp(float(plain.log_second))),
        shrinks_rms=Factor(math.sqrt(default * math.exp(float(plain.log_second)))),
    )
    return Taught(
        n.say(
            "idea",
            "A rectifier with slope {slope} below 0 passes {kept} of the mean square; weights of std {std} put it "
            "back.",
        ),
        _kaiming_steps(n),
        _passed(slope),
        (
            n.explore("load", "Explore: a deep net of this rectifier with Kaiming's law", rectifier(question)),
            n.explore("default", "Explore: with what nn.Linear does by default", _by_default(question)),
            n.explore("map", "Activations: where its signal goes", rectifier(question), "activations"),
        ),
        n,
        n.say(
            "error",
            "torch's layers are not ready for ReLU: nn.Linear calls kaiming_uniform_ with a slope √5, which makes n "
            "Var W = {default}, and a ReLU net shrinks ×{shrinks_rms} per layer in RMS (×{shrinks} in mean square).",
        ),
    )


def _kaiming_steps(n: Numbers) -> tuple[Step, ...]:
    return (
        n.step(
            "half",
            "Pre-activations are as often above 0 as below. Above 0 all of the square passes, below 0 the square of "
            "the slope a:",
            r"E\,\phi(z)^2 = \tfrac12 (1 + a^2)\, E z^2",
            r"= \tfrac12 (1 + (<slope>)^2)\, E z^2 = <kept>\, E z^2",
        ),
        n.step(
            "slope",
            "The same share of the gradient passes, for the same units are open:",
            r"E\,\phi'(z)^2 = \tfrac12 (1 + a^2) = <kept_slope>",
        ),
        n.step(
            "variance",
            "So one variance makes up for both, with n = {width} inputs:",
            r"\mathrm{Var}\,W = \frac{2}{(1 + a^2)\, n} = <variance>",
            r"\mathrm{std}\, W = <std>",
        ),
        n.step(
            "check",
            "Signal and gradient then keep their mean square, whatever the depth:",
            r"n\, \mathrm{Var}\,W \cdot \tfrac12 (1 + a^2) = <width> \cdot <variance> \cdot <kept> = <left>",
        ),
    )


def _by_default(question: LearnQuestion) -> Spec:
    return rectifier(question).replace(init="linear_default", bias_std="default")


def _passed(slope: float) -> Figure:
    z = np.random.default_rng(0).standard_normal(SAMPLES)
    tried = sorted({*TRIED, slope})
    entry = ACTIVATIONS["leaky_relu"]
    kept = [math.exp(float(moments_of("leaky_relu", float(a)).at(np.array(0.0)).log_second)) for a in SLOPES]
    return Figure(
        Message("learn_kaiming_figure", "What passes: E φ(Z)² for Z ~ N(0, 1)"),
        Message("learn_kaiming_x", "slope a below 0"),
        Message("learn_kaiming_y", "share of the mean square"),
        (Line(Message("learn_kaiming_line", "predicted"), SLOPES, np.array(kept)),),
        (with_errors(tried, [entry.value(z, a) ** 2 for a in tried], Message("learn_kaiming_points", "drawn Z")),),
        BARS["errors"],
        here=float(slope),
    )


LESSONS = (
    Lesson("variance", "Variance identity", ("width",), ("LeCun et al. 1998", "Glorot & Bengio 2010"), _variance),
    Lesson("xavier", "Xavier", ("width", "fan_out"), ("Glorot & Bengio 2010",), _xavier),
    Lesson("kaiming", "Kaiming", ("slope", "width"), ("He et al. 2015",), _kaiming),
)
