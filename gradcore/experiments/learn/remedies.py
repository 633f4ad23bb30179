"""Lessons 10 and 11: gates, whose weights are tied over time, and gradient clipping."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from gradcore.cell_spec import CellSpec
from gradcore.cell_verdict import SAYS
from gradcore.experiments import gates
from gradcore.experiments.clipping import TORCH_EPS, clip_factor, value_clip_of_gaussian
from gradcore.experiments.learn.figures import BARS, LAYER, NETWORKS
from gradcore.experiments.learn.lesson import Factor, Figure, Lesson, Line, Numbers, Points, Share, Step, Taught
from gradcore.experiments.learn.question import LearnQuestion
from gradcore.experiments.train_question import TrainQuestion
from gradcore.profile import predict
from gradcore.recurrent import CellProfile, predict_cell
from gradcore.spec import Spec
from gradcore.theory.cells import CELLS, State
from gradcore.theory.sampler import sample
from gradcore.theory.tied_linear import log_skip_power
from gradcore.words import LN10, Message

Array = np.ndarray
SHRINK = 2  # the measured cells are this much narrower than the page's, at the same d / n
SEQUENCES = 8
CELL_NETWORKS = 4
FEWER = 4  # every so many steps have a point


# --- gates ----------------------------------------------------------------------------------------------------------


def cell_of(question: LearnQuestion) -> CellSpec:
    """The LSTM of lesson 10: the page Gates' own, with this forget bias."""
    return gates.GatesQuestion(forget_bias=question.forget_bias).spec


@lru_cache(maxsize=64)
def profile_of(spec: CellSpec) -> CellProfile:
    """The prediction, kept with its curves."""
    return predict_cell(spec)


def _gates(question: LearnQuestion) -> Taught:
    spec = cell_of(question)
    profile = profile_of(spec)
    start, stop = profile.window
    tied, untied = profile.factor(), profile.untied.factor()
    kept = float(profile.gates["f"][-1])
    side, steps_back = math.sqrt(max(untied - kept**2, 0.0)), stop - start
    n = Numbers(
        "gates",
        bias=float(question.forget_bias),
        kept=kept,
        kept_square=kept**2,
        side=side,
        steps=steps_back,
        untied=untied,
        tied=tied,
        untied_rms=Factor(math.sqrt(untied)),
        tied_rms=Factor(math.sqrt(tied)),
        off=(tied / untied) ** steps_back,
        skip_untied=(kept**2 + side**2) ** steps_back,
        skip_tied=math.exp(log_skip_power(kept, side, steps_back)),
        says=SAYS[profile.verdict.kind],
        untied_says=SAYS[profile.untied.verdict.kind],
    )
    asked = gates.GatesQuestion(forget_bias=question.forget_bias)
    return Taught(
        n.say(
            "idea",
            "A forget bias of {bias} opens the gate to {kept}, and the gradient changes ×{tied_rms} per step back in "
            "RMS. The product of independent steps says ×{untied_rms}.",
        ),
        _gates_steps(n),
        _back_in_time(spec),
        (
            n.page("load", "Gates: this LSTM, predicted and measured", "gates", asked.to_query()),
            n.page("default", "Gates: torch's own biases", "gates", gates.GatesQuestion().to_query()),
            n.page("gru", "Gates: the GRU", "gates", gates.GatesQuestion(cell="gru").to_query()),
        ),
        n,
        n.say("error", _FLIPPED if profile.verdict.kind != profile.untied.verdict.kind else _OFF),
    )


def _gates_steps(n: Numbers) -> tuple[Step, ...]:
    return (
        n.step(
            "gate",
            "The LSTM keeps the share f of its memory at every step, and its forget bias sets how open that gate "
            "starts (mean over the units):",
            r"c_t = f \odot c_{t-1} + i \odot g",
            r"E f = E\,\sigma(<bias> + \ldots) = <kept>",
        ),
        n.step(
            "untied",
            "Were the weights drawn anew at every step, mean squares would add: what is kept, and what comes back "
            "through the matrix.",
            r"f^2 + b^2 = <kept_square> + <side>^2 = <untied>",
        ),
        n.step(
            "tied",
            "But the same matrix G acts at every step. The many orders in which f and G can follow each other all give "
            "the same vector, and add up; over {steps} steps, "
            "and below what fresh weights would give:",
            r"\sum_j \binom{k}{j}^2 f^{2(k-j)}\, b^{2j} = <skip_tied>",
            r"(f^2 + b^2)^k = <skip_untied>",
        ),
        n.step(
            "cell",
            "The whole cell, with all its gates, by dynamical mean-field theory; per step back in mean square:",
            r"\chi = <tied> \qquad (f^2 + b^2 = <untied>)",
        ),
    )


_FLIPPED = (
    "Textbooks multiply mean factors of independent steps and conclude {untied_says}; the cell, with the same matrix "
    "at every step, shows {says}."
)
_OFF = (
    "Textbooks multiply mean factors of independent steps. The verdict is the same here, {says}, but over {steps} "
    "steps the mean square that arrives is ×{off} of theirs."
)


def drawn_cells(spec: CellSpec, networks: int = CELL_NETWORKS, seed: int = 0) -> Array:
    """(networks, T) ln of the mean of (dL/dh_t)^2 over units and sequences, a cotangent N(0, 1) on h_T alone: LSTMs
    drawn by torch's law and run in NumPy."""
    n, d, cell = spec.hidden_size, spec.input_size, CELLS["lstm"]
    rng, bound = np.random.default_rng(seed), spec.hidden_size**-0.5
    logs = np.empty((networks, spec.steps))
    for row in logs:
        hidden, inputs = rng.uniform(-bound, bound, (4 * n, n)), rng.uniform(-bound, bound, (4 * n, d))
        bias = rng.uniform(-bound, bound, (2, 4 * n)).sum(axis=0)
        bias[n : 2 * n] = spec.forget_bias
        state, passed = State(np.zeros((SEQUENCES, n)), np.zeros((SEQUENCES, n))), []
        for _ in range(spec.steps):
            parts = _through(rng.standard_normal((SEQUENCES, d)), inputs.T) + bias, _through(state.h, hidden.T)
            gates_in, gates_back = (part.reshape(SEQUENCES, 4, n).swapaxes(0, 1) for part in parts)
            after, values = cell.step(gates_in, gates_back, state)
            passed.append((gates_in, gates_back, state, after, values))
            state = after
        pulled = State(rng.standard_normal((SEQUENCES, n)), np.zeros((SEQUENCES, n)))
        for t in range(spec.steps - 1, -1, -1):
            row[t] = math.log(float(np.mean(pulled.h**2)))
            found = cell.pull(*passed[t], pulled)  # type: ignore[call-arg]
            through = _through(found.hidden.swapaxes(0, 1).reshape(SEQUENCES, 4 * n), hidden)
            pulled = State(through + found.skip.h, found.skip.c)
    return logs


def _through(rows: Array, matrix: Array) -> Array:
    """Their product by NumPy's own loops: BLAS would wake its threads for each of hundreds of small products."""
    return np.einsum("si,ij->sj", rows, matrix)


def _back_in_time(spec: CellSpec) -> Figure:
    profile = profile_of(spec)
    steps = np.arange(1, spec.steps + 1)
    narrow = spec.replace(hidden_size=spec.hidden_size // SHRINK, input_size=spec.input_size // SHRINK)
    logs = drawn_cells(narrow)[:, ::FEWER] / LN10 / 2.0
    mean = np.log10(np.mean(100.0**logs, axis=0)) / 2.0
    lines = (
        Line(Message("learn_gates_tied", "predicted"), steps, profile.log_v / LN10 / 2.0),
        Line(
            Message("learn_gates_untied", "fresh weights at every step"), steps, profile.untied.log_v / LN10 / 2.0, True
        ),
    )
    name = Message("learn_gates_points", "measured")
    return Figure(
        Message("learn_gates_figure", "Gradient of the last step with respect to step t"),
        Message("learn_gates_x", "step t (the loss is at the last one)"),
        Message("learn_gates_y", "RMS of ∂L/∂h, last step = 1 (log scale)"),
        lines,
        (Points(name, steps[::FEWER], mean, logs.min(axis=0), logs.max(axis=0)),),
        Message("learn_bars_networks", "bars: lowest and highest of {count} networks", {"count": str(CELL_NETWORKS)}),
        log=True,
        whole=True,
    )


# --- clipping -------------------------------------------------------------------------------------------------------

EXPLODING = Spec(depth=20, width=64, activation="tanh", gain=2.0)  # the net whose gradient is clipped


def _norms(log_dw: Array) -> Array:
    """Norm of each layer's weight gradient, from ln of its mean square entry."""
    return np.exp(0.5 * log_dw) * EXPLODING.width  # type: ignore[operator]


def _clipping(question: LearnQuestion) -> Taught:
    limit = question.threshold
    norms = _norms(predict(EXPLODING).log_dw)
    total = float(np.linalg.norm(norms))
    factor = clip_factor(total, limit)
    cut = value_clip_of_gaussian(float(norms[0]) / EXPLODING.width, limit)  # type: ignore[operator]
    n = Numbers(
        "clipping",
        depth=EXPLODING.depth,
        limit=float(limit),
        total=total,
        factor=factor,
        after=total * factor,
        first=float(norms[0]),
        last=float(norms[-1]),
        first_after=float(norms[0]) * factor,
        last_after=float(norms[-1]) * factor,
        ratio=float(norms[0] / norms[-1]),
        share=Share(cut.share),
        cosine=cut.cosine,
        epsilon=TORCH_EPS,
    )
    run = {"activation": "relu", "weights": "standard", "cost": "cross_entropy", "steps": 60}
    clipped = TrainQuestion(clip="norm", clip_limit=limit, **run)
    beside = TrainQuestion(remedy="clip_norm", **run)
    return Taught(
        n.say("idea", _ACTS if total > limit else _IDLE),
        _clipping_steps(n),
        _clipped(limit),
        (
            n.page("load", "Train: an exploding net, clipped at {limit}", "train", clipped.to_query()),
            n.page("beside", "Train: with and without clipping", "train", beside.to_query()),
            n.explore("net", "Explore: this exploding net", EXPLODING),
            n.explore("remedies", "Remedies: all of them on this net", EXPLODING, "remedies"),
        ),
        n,
        n.say(
            "error",
            "Clipping does not cure vanishing: its factor is at most 1 and the same for every layer, so a layer that "
            "gets too little stays as far behind the others as before.",
        ),
    )


def _clipping_steps(n: Numbers) -> tuple[Step, ...]:
    return (
        n.step(
            "norm",
            "The norm of the whole gradient, over the weights of all {depth} layers together:",
            r"|g| = \sqrt{\sum_l |g^l|^2} = <total>",
        ),
        n.step(
            "factor",
            "Clipping by norm at c = {limit} multiplies every gradient by one and the same number (torch adds "
            "{epsilon} to the norm):",
            r"\min\!\left(1, \frac{c}{|g|}\right) = \min\!\left(1, \frac{<limit>}{<total>}\right) = <factor>",
        ),
        n.step(
            "ratio",
            "So the step is bounded and its direction stays. The ratio between the layers stays too:",
            r"\frac{|g^1|}{|g^L|} = \frac{<first>}{<last>} = \frac{<first_after>}{<last_after>} = <ratio>",
        ),
        n.step(
            "value",
            "Clipping each entry at the same number instead turns the gradient; of the first layer's Gaussian entries "
            "{share} are cut, and the angle to the true direction has the cosine",
            r"\cos\angle(g, \mathrm{clip}(g)) = <cosine>",
        ),
    )


_ACTS = (
    "Clipping at {limit} turns a gradient of norm {total} into one of {after}, and leaves the first layer's ×{ratio} "
    "as large as the last one's."
)
_IDLE = (
    "Clipping at {limit} never acts on a gradient of norm {total}, and would leave the first layer's ×{ratio} as large "
    "as the last one's."
)


def _clipped(limit: float) -> Figure:
    layers = np.arange(1, EXPLODING.depth + 1)
    norms = _norms(predict(EXPLODING).log_dw)
    drawn = _norms(sample(EXPLODING, NETWORKS, seed=0).logs["log_dw"])
    totals = np.linalg.norm(drawn, axis=1)
    after = drawn * np.array([[clip_factor(float(total), limit)] for total in totals])
    factor = clip_factor(float(np.linalg.norm(norms)), limit)

    def points(code: str, name: str, values: Array) -> Points:
        mean = np.sqrt(np.mean(values**2, axis=0))
        return Points(
            Message(f"learn_clipping_{code}", name),
            layers,
            *map(np.log10, (mean, values.min(axis=0), values.max(axis=0))),
        )

    return Figure(
        Message("learn_clipping_figure", "Norm of each layer's weight gradient"),
        LAYER,
        Message("learn_clipping_y", "norm (log scale)"),
        (
            Line(Message("learn_clipping_before", "before, predicted"), layers, np.log10(norms)),
            Line(Message("learn_clipping_after", "clipped, predicted"), layers, np.log10(factor * norms)),
        ),
        (points("before_drawn", "before, measured", drawn), points("after_drawn", "clipped, measured", after)),
        BARS["networks"],
        log=True,
        whole=True,
    )


LESSONS = (
    Lesson(
        "gates",
        "Gates",
        ("forget_bias",),
        ("Hochreiter & Schmidhuber 1997", "Gers et al. 2000", "Chen, Pennington & Schoenholz 2018"),
        _gates,
    ),
    Lesson("clipping", "Clipping", ("threshold",), ("Pascanu et al. 2013",), _clipping),
)
