"""Lessons 8, 9 and 12: what a norm and a residual stream do to the gradient, and why single networks scatter."""

from __future__ import annotations

import math

import numpy as np

from gradcore.experiments.learn.figures import BARS, LAYER, over_layers
from gradcore.experiments.learn.lesson import Factor, Figure, Lesson, Line, Numbers, Points, Share, Step, Taught
from gradcore.experiments.learn.question import LearnQuestion
from gradcore.experiments.train_question import TrainQuestion
from gradcore.profile import predict
from gradcore.residual import INVERSE_SQRT_DEPTH
from gradcore.spec import Spec
from gradcore.theory.gaussian import moments_of
from gradcore.theory.sampler import sample
from gradcore.words import LN10, Message

GRADIENT = Message("learn_gradient_rms", "RMS of δ, last layer = 1 (log scale)")
NORM_LAYERS = 20
NORM_WIDTH = 128
MANY = 64  # networks of the lesson on single networks
LEVEL = 0.95


def _layers(spec: Spec) -> Figure:
    line, points = over_layers(spec, "log_g")
    title = Message("learn_gradient_figure", "Size of the gradient over the layers")
    return Figure(title, LAYER, GRADIENT, (line,), (points,), BARS["networks"], log=True, whole=True)


# --- norms ----------------------------------------------------------------------------------------------------------


def _norm(question: LearnQuestion) -> Taught:
    batch = question.batch
    spec = Spec(depth=NORM_LAYERS, width=NORM_WIDTH, init="kaiming_normal", norm="batch", batch_size=batch)
    profile = predict(spec)
    relu = moments_of("relu", 0.0).at(np.array(0.0))
    second, slope = math.exp(float(relu.log_second)), math.exp(float(relu.log_slope_second))
    centred = second * (1.0 - float(relu.mean_ratio) ** 2)
    chi = float(profile.chi[NORM_LAYERS // 2])
    total = float(profile.log_g[0] - profile.log_g[-1])
    n = Numbers(
        "norm",
        batch=batch,
        depth=NORM_LAYERS,
        slope=slope,
        second=second,
        centred=centred,
        limit=slope / centred,
        layer=slope / second,
        chi=chi,
        factor=Factor(math.sqrt(chi)),
        total=math.exp(total),
        total_rms=math.exp(0.5 * total),
    )
    return Taught(
        n.say(
            "idea",
            "Batch norm pins the signal, and the gradient explodes ×{factor} per layer in RMS (×{chi} in mean square): "
            "{total_rms} times over {depth} layers.",
        ),
        _norm_steps(n),
        _layers(spec),
        (
            n.explore("load", "Explore: this net with batch norm", spec.replace(depth=50)),
            n.explore("layer", "Explore: with layer norm instead", spec.replace(depth=50, norm="layer")),
            n.page(
                "train", "Train: with and without batch norm", "train", TrainQuestion(remedy="batch_norm").to_query()
            ),
            n.explore("remedies", "Remedies: all of them on this net", spec.replace(depth=50, norm="none"), "remedies"),
        ),
        n,
        n.say(
            "error",
            "“Batch norm prevents exploding gradients” is false at initialization: it prevents exploding signals. It "
            "does cure vanishing, for χ is above 1 whatever the weights' scale.",
        ),
    )


def _norm_steps(n: Numbers) -> tuple[Step, ...]:
    return (
        n.step(
            "pinned",
            "Batch norm divides each unit by its std over the batch, so the signal is pinned: it neither vanishes nor "
            "explodes.",
            r"\hat z_b = \frac{z_b - \bar z}{s}, \qquad \tfrac1B \sum_b \hat z_b^2 = 1",
        ),
        n.step(
            "ratio",
            "Backwards the gradient is multiplied by φ′ and divided by s. What s² holds is the variance of φ over the "
            "batch, without its mean; in large batches:",
            r"\chi_\infty = \frac{E\,\phi'(Z)^2}{\mathrm{Var}\,\phi(Z)} = \frac{<slope>}{<centred>} = <limit>",
        ),
        n.step(
            "poincare",
            "Var φ(Z) ≤ E φ′(Z)² for every function (Poincaré's inequality), with equality for straight lines alone: "
            "χ > 1 for all others. A small batch makes it worse; with B = {batch}:",
            r"\chi_{B = <batch>} = <chi>, \qquad \sqrt{\chi} = <factor>",
        ),
        n.step(
            "layer_norm",
            "Layer norm divides by the root mean square over the units. Of a ReLU that is the signal itself, mean "
            "included:",
            r"\chi = \frac{E\,\phi'(Z)^2}{E\,\phi(Z)^2} = \frac{<slope>}{<second>} = <layer>",
        ),
    )


# --- residual -------------------------------------------------------------------------------------------------------


def _residual(question: LearnQuestion) -> Taught:
    alpha, depth = question.alpha, question.depth
    spec = Spec(depth=depth, init="kaiming_normal", residual="identity", residual_scale=alpha, batch_size=4)
    profile, scaled = predict(spec), predict(spec.replace(residual_scale=INVERSE_SQRT_DEPTH))
    plain = predict(spec.replace(residual="none"))
    total, small = (float(p.log_g[0] - p.log_g[-1]) for p in (profile, scaled))
    block = math.exp(total / (depth - 1))
    n = Numbers(
        "residual",
        alpha=float(alpha),
        depth=depth,
        blocks=depth - 1,
        chi=float(plain.chi[0]),
        block=block,
        factor=Factor(math.sqrt(block)),
        total=math.exp(total),
        total_rms=math.exp(0.5 * total),
        root=depth**-0.5,
        scaled=math.exp(small),
        scaled_rms=math.exp(0.5 * small),
    )
    return Taught(
        n.say(
            "idea",
            "A residual block multiplies the gradient by ×{factor} in RMS and never by less than 1: over {depth} "
            "layers it grows to ×{total_rms}.",
        ),
        _residual_steps(n),
        _layers(spec),
        (
            n.explore("load", "Explore: this residual net", spec),
            n.explore("scaled", "Explore: with α = 1/√L", spec.replace(residual_scale=INVERSE_SQRT_DEPTH)),
            n.page("train", "Train: with and without residual connections", "train", _train("residual")),
            n.explore(
                "remedies",
                "Remedies: all of them on the plain net",
                spec.replace(residual="none", residual_scale=1.0),
                "remedies",
            ),
        ),
        n,
        n.say(
            "error",
            "That residual connections also tame explosion is false for α = 1: they add to the factor, they do not "
            "divide it. What keeps deep residual nets trainable is a small α, or a norm inside the block.",
        ),
    )


def _residual_steps(n: Numbers) -> tuple[Step, ...]:
    return (
        n.step(
            "block",
            "A block adds to the stream what its layer gives, so the gradient keeps a way past the layer:",
            r"h' = h + \alpha W \phi(h)",
            r"\delta = \delta' + \alpha\, \phi'(h) \odot W^\top \delta'",
        ),
        n.step(
            "factor",
            "W has mean 0 and is fresh in every block, so the mixed term averages to 0 and the mean squares add; the "
            "layer alone would multiply by χ = {chi}:",
            r"\frac{E\,\delta^2}{E\,\delta'^2} = 1 + \alpha^2 \chi = 1 + <alpha>^2 \cdot <chi> = <block>",
        ),
        n.step(
            "depth",
            "It is never below 1: nothing vanishes. Over {blocks} blocks it multiplies up:",
            r"<block>^{<blocks>} = <total>, \qquad \sqrt{<total>} = <total_rms>",
        ),
        n.step(
            "scaled",
            "With α = 1/√L the growth stays bounded for any depth:",
            r"\alpha = <root>: \quad \left(1 + \tfrac{\chi}{L}\right)^{L-1} = <scaled> < e^\chi",
        ),
    )


def _train(remedy: str) -> dict[str, str]:
    return TrainQuestion(remedy=remedy).to_query()


# --- finite width ---------------------------------------------------------------------------------------------------


def _finite(question: LearnQuestion) -> Taught:
    width, depth = question.width, question.depth
    spec = Spec(depth=depth, width=width, init="kaiming_normal", batch_size=1)
    profile = predict(spec)
    relu = moments_of("relu", 0.0).expectations(np.array(0.0))
    per_unit = float(3.0 * relu["slope_fourth"] / relu["slope_second"] ** 2 - 1.0)
    beta = (depth - 1) * per_unit / width
    band = profile.band("log_g", LEVEL)
    assert band is not None
    last = float(profile.log_g[-1])
    median, low, high = (
        math.exp(0.5 * (float(curve[0]) - last))
        for curve in (profile.log_g_median, *band)  # type: ignore[attr-defined]
    )
    n = Numbers(
        "finite",
        width=width,
        depth=depth,
        per_unit=per_unit,
        layers=depth - 1,
        each=per_unit / width,
        beta=beta,
        median=median,
        low=low,
        high=high,
        typical=math.exp(-0.25 * beta),
        spread=math.sqrt(beta) / 2.0,
        share=Share(LEVEL),
    )
    return Taught(
        n.say(
            "idea",
            "Depth over width decides how far single networks stray: of nets with {depth} layers of {width} units "
            "{share} have a gradient between ×{low} and ×{high} in RMS.",
        ),
        _finite_steps(n),
        _band(spec),
        (
            n.explore("load", "Explore: this net, one sample", spec),
            n.explore("wide", "Explore: four times as wide", spec.replace(width=4 * width)),
            n.explore("orthogonal", "Explore: with orthogonal weights", _orthogonal(spec)),
        ),
        n,
        n.say(
            "error",
            "The theorem about the mean is not about your network: at critical gain the mean square of the gradient "
            "keeps its size exactly, while half of the networks are below ×{median} in RMS.",
        ),
    )


def _finite_steps(n: Numbers) -> tuple[Step, ...]:
    return (
        n.step(
            "layer",
            "One layer of {width} units multiplies the squared gradient by an average over its units, of mean 1 and, "
            "for a ReLU, of variance:",
            r"\frac{1}{n}\left(\frac{3\, E\,\phi'^4}{(E\,\phi'^2)^2} - 1\right) = \frac{<per_unit>}{<width>} = <each>",
        ),
        n.step(
            "product",
            "Independent layers multiply, so logarithms add up: after {layers} layers the log is about normal, with",
            r"\ln \frac{|\delta^1|^2}{|\delta^L|^2} \sim N(-\tfrac{\beta}{2},\, \beta)",
            r"\beta = <layers> \cdot <each> = <beta>",
        ),
        n.step(
            "typical",
            "The mean square stays 1, the median does not: a few networks carry the average. In RMS:",
            r"e^{-\beta/4} = <typical>",
            r"P\left(<low> < \frac{|\delta^1|}{|\delta^L|} < <high>\right) = <share>",
        ),
    )


def _orthogonal(spec: Spec) -> Spec:
    return spec.replace(init="orthogonal", gain="auto")


def _band(spec: Spec) -> Figure:
    profile = predict(spec)
    layers, last = np.arange(1, spec.depth + 1), float(profile.log_g[-1])
    drawn = sample(spec, MANY, seed=0)
    band = profile.band("log_g", LEVEL)
    assert band is not None

    def shown(log: np.ndarray) -> np.ndarray:
        return 0.5 * log / LN10

    shares = (0.5, 0.5 - 0.5 * LEVEL, 0.5 + 0.5 * LEVEL)
    middle, *ends = (shown(drawn.quantile("log_g", share) - last) for share in shares)
    median = profile.log_g_median  # type: ignore[attr-defined]
    lines = (
        Line(Message("learn_finite_median", "median, predicted"), layers, shown(median - last)),
        Line(Message("learn_finite_low", "band, predicted"), layers, shown(band[0] - last), dashed=True),
        Line(Message("learn_finite_low", "band, predicted"), layers, shown(band[1] - last), dashed=True),
    )
    points = Points(Message("learn_finite_points", "networks, median"), layers, middle, *ends)
    bars = Message(
        "learn_finite_bars",
        "bars: the middle {share} of {count} networks",
        {"count": str(MANY), "share": f"{LEVEL:.0%}"},
    )
    title = Message("learn_finite_figure", "The gradient of single networks")
    return Figure(title, LAYER, GRADIENT, lines, (points,), bars, log=True, whole=True)


LESSONS = (
    Lesson("norm", "Norm", ("batch",), ("Ioffe & Szegedy 2015", "Yang et al. 2019"), _norm),
    Lesson("residual", "Residual", ("alpha", "depth"), ("He et al. 2016", "Yang & Schoenholz 2017"), _residual),
)
LAST = Lesson("finite", "Single networks", ("width", "depth"), ("Hanin 2018", "Hanin & Nica 2019"), _finite)
