"""Lessons 1 and 2: the chain rule through a chain of single neurons, and what a long product does."""

from __future__ import annotations

import math

import numpy as np

from gradcore.experiments import chain
from gradcore.experiments.chain.question import ChainQuestion
from gradcore.experiments.learn.figures import BARS, ERRORS
from gradcore.experiments.learn.lesson import Figure, Lesson, Line, Numbers, Points, Share, Step, Taught, plain, tex
from gradcore.experiments.learn.question import LearnQuestion
from gradcore.words import LN10, Message

Array = np.ndarray
DRAWS = 400  # products
MOST_POINTS = 10  # lengths at which they are measured
LOOKED_AT = (4.0, 100.0, 4000)  # weights among which the widest interval is looked for
DELTA = 1e-6  # of a bias, for the difference quotient


def chain_of(question: LearnQuestion) -> ChainQuestion:
    """The chain of lesson 1: every weight w, no biases."""
    return ChainQuestion(weights=repr(question.weight), biases="0")


def quotients(one: chain.Chain) -> Array:
    """(L,) size of (C(b_l + d) - C(b_l)) / d for each neuron: dC/db without the chain rule."""
    behind = (
        chain.Chain(one.weights[j:], one.biases[j:], input=float(one.a[j]), target=one.target)
        for j in range(one.length)
    )
    return np.array([abs(chain.nudge(part, DELTA).ratio) for part in behind])


def _chain_rule(question: LearnQuestion) -> Taught:
    asked = chain_of(question)
    one = asked.chain()
    further = [float(f) for f in one.factors[1:]]
    n = Numbers(
        "chain_rule",
        weight=float(question.weight),
        length=one.length,
        slope=float(one.slopes[1]),
        factor=further[0],
        first=float(one.factors[0]),
        listed=", ".join(plain(f) for f in further),
        product=r" \cdot ".join(f"({tex(f)})" if f < 0 else tex(f) for f in further),
        cost_slope=float(one.cost_slope),
        gradient=float(one.bias_gradients[0]),
        last=float(one.bias_gradients[-1]),
        top=chain.steepest("sigmoid")[1],
        least=chain.least_weight("sigmoid"),
        widest=max(chain.sigmoid_width(size) for size in np.geomspace(*LOOKED_AT)),
    )
    n["ratio"] = abs(n["gradient"] / n["last"]) if n["last"] else 0.0
    return Taught(
        n.say(
            "idea",
            "Every neuron on the way multiplies the gradient by its own w σ′(z), here {listed}: the first bias gets "
            "×{ratio} of what the last one gets.",
        ),
        _chain_rule_steps(n),
        _gradients(one),
        (
            n.page("load", "Chain: these neurons, factor by factor", "chain", asked.to_query()),
            n.page("explode", "Chain: one that explodes", "chain", chain.find_chain_preset("1.6").query),
        ),
        n,
        n.say(
            "error",
            "Large weights do not simply turn vanishing into exploding: they also push z to where the slope is flat. "
            "The inputs at which |w σ′(z)| reaches 1 form an interval never wider than {widest}, at whatever w.",
        ),
    )


def _chain_rule_steps(n: Numbers) -> tuple[Step, ...]:
    return (
        n.step(
            "neuron",
            "A neuron turns what it gets into a = σ(z), z = w a + b. A small change of its input comes out multiplied "
            "by w σ′(z); for the second neuron that is:",
            r"\frac{\partial a_2}{\partial a_1} = w_2\,\sigma'(z_2) = <weight> \cdot <slope> = <factor>",
        ),
        n.step(
            "product",
            "From the first bias to the cost every neuron is passed once, so the factors multiply:",
            r"\frac{\partial C}{\partial b_1} = \sigma'(z_1) \prod_{j=2}^{<length>} w_j\,\sigma'(z_j)\,"
            r"\frac{\partial C}{\partial a_{<length>}}",
            r"= <first> \cdot <product> \cdot <cost_slope>",
            r"= <gradient>",
        ),
        n.step(
            "bound",
            "The sigmoid's slope is at most {top}, so a factor of 1 needs a weight of at least {least}:",
            r"\sigma'(z) \le \sigma'(0) = <top>",
            r"|w\,\sigma'(z)| \ge 1 \quad\Rightarrow\quad |w| \ge <least>",
        ),
    )


def _gradients(one: chain.Chain) -> Figure:
    neurons = np.arange(1, one.length + 1)
    with np.errstate(divide="ignore"):
        line, dots = (np.log10(np.abs(values)) for values in (one.bias_gradients, quotients(one)))
    return Figure(
        Message("learn_chain_rule_figure", "Size of ∂C/∂b of each neuron"),
        Message("learn_chain_rule_x", "neuron (1 = next to the input)"),
        Message("learn_chain_rule_y", "size of ∂C/∂b (log scale)"),
        (Line(Message("learn_chain_rule_line", "product of the factors"), neurons, line),),
        (Points(Message("learn_chain_rule_points", "difference quotient of C"), neurons, dots, dots, dots),),
        log=True,
        whole=True,
    )


# --- the product --------------------------------------------------------------------------------------------------


def log_factor(weight_std: float) -> tuple[float, float]:
    """Mean and standard deviation of ln |w sigma'(0)|, w ~ N(0, weight_std^2): exact, natural log."""
    return math.log(weight_std * chain.steepest("sigmoid")[1]) + chain.MEAN_LOG, math.sqrt(chain.VARIANCE_LOG)


def _product(question: LearnQuestion) -> Taught:
    count, std = question.factors, question.weight_std
    mean, spread = log_factor(std)
    balance = math.exp(-log_factor(1.0)[0])
    n = Numbers(
        "product",
        count=count,
        std=float(std),
        mean=mean,
        spread=spread,
        typical=math.exp(mean),
        total=count * mean,
        total_factor=math.exp(count * mean),
        scatter=math.sqrt(count) * spread,
        scatter_factor=math.exp(math.sqrt(count) * spread),
        mean_log=chain.MEAN_LOG,
        top=chain.steepest("sigmoid")[1],
        balance=balance,
        below_one=Share(chain.Normal().below(1.0)),
        below_top=Share(chain.Normal().below(chain.steepest("sigmoid")[1])),
    )
    asked = ChainQuestion(length=min(count + 1, 100), weight_std=float(std), view="random")
    balanced = ChainQuestion(length=min(count + 1, 100), weight_std=round(balance, 1), view="balance")
    return Taught(
        n.say(
            "idea",
            "A product of {count} random factors is typically {total_factor}, ×{typical} each; single products stray "
            "from that by a factor {scatter_factor} either way.",
        ),
        _product_steps(n),
        _products(count, std, n),
        (
            n.page("load", "Chain: random chains of this law", "chain", asked.to_query()),
            n.page("balance", "Chain: balance is luck", "chain", balanced.to_query()),
        ),
        n,
        n.say(
            "error",
            "Often misquoted as |w| < {top} for most weights: of weights N(0, 1) that holds for {below_top}. It is the "
            "factor |w σ′(z)| that is below {top} wherever |w| < 1, which holds for {below_one}.",
        ),
    )


def _product_steps(n: Numbers) -> tuple[Step, ...]:
    return (
        n.step(
            "log",
            "The logarithm of a product is a sum. With weights N(0, σ²) and every slope at its largest, {top}, one "
            "factor adds on average:",
            r"E \ln|w\,\sigma'(0)| = \ln \sigma + E\ln|Z| + \ln <top>",
            r"= \ln <std> + (<mean_log>) + \ln <top> = <mean>",
        ),
        n.step(
            "sum",
            "A sum of {count} such terms: the typical product falls or grows exponentially with the number of factors.",
            r"<count> \cdot (<mean>) = <total> ",
            r"e^{<total>} = <total_factor>",
        ),
        n.step(
            "scatter",
            "Single products scatter around it, as the root of the number: by a factor {scatter_factor} either way "
            "here.",
            r"\sqrt{<count>} \cdot \mathrm{sd} \ln|Z| = \sqrt{<count>} \cdot <spread> = <scatter>",
        ),
        n.step(
            "luck",
            "One weight scale balances the mean. The scatter stays: a balanced gradient is luck.",
            r"\ln \sigma = -E\ln|Z| - \ln <top> \quad\Rightarrow\quad \sigma = <balance>",
        ),
    )


def _products(count: int, std: float, n: Numbers) -> Figure:
    lengths = np.unique(np.linspace(1, count, min(count, MOST_POINTS)).round().astype(int))
    drawn = np.random.default_rng(0).standard_normal((DRAWS, count))
    sums = np.cumsum(np.log(np.abs(std * drawn) * n["top"]), axis=1)[:, lengths - 1] / LN10
    errors = ERRORS * sums.std(axis=0, ddof=1) / math.sqrt(DRAWS)
    middle = sums.mean(axis=0)
    x = np.arange(1, count + 1)
    return Figure(
        Message("learn_product_figure", "The typical product"),
        Message("learn_product_x", "number of factors"),
        Message("learn_product_y", "e to the mean log (log scale)"),
        (Line(Message("learn_product_line", "predicted"), x, x * n["mean"] / LN10),),
        (Points(Message("learn_product_points", "drawn products"), lengths, middle, middle - errors, middle + errors),),
        BARS["errors"],
        log=True,
        whole=True,
    )


NIELSEN = "Nielsen 2015, ch. 5"
LESSONS = (
    Lesson("chain_rule", "Chain rule", ("weight",), (NIELSEN, "Rumelhart, Hinton & Williams 1986"), _chain_rule),
    Lesson("product", "Product", ("factors", "weight_std"), (NIELSEN, "Hochreiter 1991"), _product),
)
