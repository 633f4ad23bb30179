"""Make gaussian_moments.json: Gaussian moments of activations to 30 digits.

For each activation phi (torch's definition) and each variance q the table holds

    M = E phi(sqrt(q) Z),   A = E phi(sqrt(q) Z)^2,   D = E phi'(sqrt(q) Z)^2,

with Z ~ N(0, 1) and phi' the almost-everywhere derivative.  The script uses
mpmath alone and shares no code with the package, so the table is an independent
reference for it.

How.  linear, relu, leaky_relu, prelu, erf and sin use closed forms, which are
checked against the quadrature below at q = 0.1 and 1.  All others are integrated
over h = sqrt(q) z by Gauss-Legendre panels at 75 digits.  Panels are cut at 0, at
every kink, on a geometric grid in h (the structure of phi) and on a uniform grid
in z (the structure of the density), up to |z| = 18, beyond which the Gaussian
mass is below 1e-70.  Every integral is computed under two independent panelings
and degrees, which must agree to a relative 1e-28 or the script fails.  A known M
(0 for an odd phi, 1/2 for the two sigmoids, closed forms for gelu, elu, celu and
selu) is checked against the quadrature at every q, and is what the table holds.

Constants are the decimal numbers written below, not their nearest doubles, so
"0.1" is 1/10; softplus is exact, without torch's threshold.  selu is made so that
M = 0 and A = 1 at q = 1; with the constants written here M is -1.2e-32 there, so
compare that one entry with an absolute tolerance.

Run (about one minute on one core; it writes gaussian_moments.json next to itself):

    python tests/reference/make_gaussian_table.py [name ...]
"""

import json
import sys
import time
from itertools import pairwise
from pathlib import Path

from mpmath import mp, mpf

DIGITS = 30
AGREE = mpf(10) ** -28
REACH = 18
KINKS = (1, 3, 6)
Q_LINE = "1e-12 1e-9 1e-6 1e-4 1e-2 0.1 0.5 1 2 5 10 30 100 1e3 1e4 1e6 1e9 1e12"
Q_TEXT = Q_LINE.split()
CHECK_Q = ("0.1", "1")
# (first geometric cut, geometric ratio, panel width in z, Gauss-Legendre degree)
PANELINGS = (("0.25", "2", "1", 64), ("0.3", "1.7", "0.8", 56))

mp.dps = 75
SELU_SCALE = mpf("1.0507009873554804934193349852946")
SELU_ALPHA = mpf("1.6732632423543772848170429916717")
GELU_C = mpf("0.044715")
ROOT_2_OVER_PI = mp.sqrt(2 / mp.pi)
ZERO, ONE = mpf(0), mpf(1)


# Each activation below maps x to the pair (phi(x), phi'(x)).  Exponentials are
# only taken of non-positive arguments, so that no tail is lost to cancellation.


def leaky(slope):
    slope = mpf(slope)
    return lambda x: (x, ONE) if x > 0 else (slope * x, slope)


def ramp(low, high, bottom, top):
    """Return the pair of the line from (low, bottom) to (high, top), flat outside."""
    slope = mpf(top - bottom) / (high - low)

    def pair(x):
        if low < x < high:
            return bottom + slope * (x - low), slope
        return mpf(bottom if x <= low else top), ZERO

    return pair


def elu_like(scale, alpha):
    def pair(x):
        if x > 0:
            return scale * x, scale
        return scale * alpha * mp.expm1(x), scale * alpha * mp.exp(x)

    return pair


def gelu(x):
    cdf = mp.ncdf(x)
    return x * cdf, cdf + x * mp.npdf(x)


def gelu_tanh(x):
    u = ROOT_2_OVER_PI * (x + GELU_C * x**3)
    slope = ROOT_2_OVER_PI * (1 + 3 * GELU_C * x**2)
    e = mp.exp(-2 * abs(u))
    gate = (1 if x > 0 else e) / (1 + e)  # (1 + tanh u) / 2
    return x * gate, gate + x * slope * 2 * e / (1 + e) ** 2


def logistic(x):
    """Return sigmoid(x) and sigmoid(-x), both to full relative accuracy."""
    e = mp.exp(-abs(x))
    big, small = 1 / (1 + e), e / (1 + e)
    return (big, small) if x > 0 else (small, big)


def silu(x):
    up, down = logistic(x)
    return x * up, up * (1 + x * down)


def mish(x):
    e = mp.exp(-abs(x))
    if x > 0:
        bottom = 1 + 2 * e + 2 * e**2
        gate, rise = (1 + 2 * e) / bottom, 4 * e**2 * (1 + e) / bottom**2
    else:
        bottom = e**2 + 2 * e + 2
        gate, rise = e * (e + 2) / bottom, 4 * e * (1 + e) / bottom**2
    return x * gate, gate + x * rise


def hardswish(x):
    if -3 < x < 3:
        return x * (x + 3) / 6, (2 * x + 3) / 6
    return (x, ONE) if x > 0 else (ZERO, ZERO)


def softplus(x):
    return max(x, ZERO) + mp.log1p(mp.exp(-abs(x))), logistic(x)[0]


def tanh(x):
    e = mp.exp(-2 * abs(x))
    value = -mp.expm1(-2 * abs(x)) / (1 + e)
    return (value if x > 0 else -value), 4 * e / (1 + e) ** 2


ACTIVATIONS = {
    "linear": leaky("1"),
    "relu": leaky("0"),
    "leaky_relu": leaky("0.01"),
    "prelu": leaky("0.25"),
    "relu6": ramp(0, 6, 0, 6),
    "elu": elu_like(ONE, ONE),
    "selu": elu_like(SELU_SCALE, SELU_ALPHA),
    "celu": elu_like(ONE, ONE),
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "silu": silu,
    "mish": mish,
    "hardswish": hardswish,
    "softplus": softplus,
    "tanh": tanh,
    "hardtanh": ramp(-1, 1, -1, 1),
    "sigmoid": lambda x: (logistic(x)[0], mp.fprod(logistic(x))),
    "hardsigmoid": ramp(-3, 3, 0, 1),
    "softsign": lambda x: (x / (1 + abs(x)), 1 / (1 + abs(x)) ** 2),
    "erf": lambda x: (mp.erf(x), 2 / mp.sqrt(mp.pi) * mp.exp(-x * x)),
    "sin": lambda x: (mp.sin(x), mp.cos(x)),
}


def closed_leaky(slope):
    a = mpf(slope)
    half = (1 + a**2) / 2
    return lambda q: ((1 - a) * mp.sqrt(q / (2 * mp.pi)), half * q, half)


CLOSED = {
    "linear": closed_leaky("1"),
    "relu": closed_leaky("0"),
    "leaky_relu": closed_leaky("0.01"),
    "prelu": closed_leaky("0.25"),
    "erf": lambda q: (
        ZERO,
        2 / mp.pi * mp.asin(2 * q / (1 + 2 * q)),
        4 / mp.pi / mp.sqrt(1 + 4 * q),
    ),
    "sin": lambda q: (ZERO, -mp.expm1(-2 * q) / 2, (1 + mp.exp(-2 * q)) / 2),
}


def elu_mean(q, scale=ONE, alpha=ONE):
    below = mp.exp(q / 2) * mp.ncdf(-mp.sqrt(q)) - ONE / 2
    return scale * (mp.sqrt(q / (2 * mp.pi)) + alpha * below)


MEANS = {
    **dict.fromkeys(("tanh", "hardtanh", "softsign"), lambda q: ZERO),
    **dict.fromkeys(("sigmoid", "hardsigmoid"), lambda q: ONE / 2),
    "gelu": lambda q: q / mp.sqrt(2 * mp.pi * (1 + q)),
    **dict.fromkeys(("elu", "celu"), elu_mean),
    "selu": lambda q: elu_mean(q, SELU_SCALE, SELU_ALPHA),
}


def gauss_legendre(n):
    """Return the n-point rule on [-1, 1] by Newton's method on the Legendre P_n."""
    rule = []
    for k in range(n):
        x = mp.cos(mp.pi * (k + mpf("0.75")) / (n + mpf("0.5")))
        for _ in range(9):  # doubles the digits each time, from about 4
            last, here = ONE, x
            for j in range(2, n + 1):
                last, here = here, ((2 * j - 1) * x * here - (j - 1) * last) / j
            slope = n * (x * here - last) / (x * x - 1)
            x -= here / slope
        rule.append((x, 2 / ((1 - x * x) * slope**2)))
    return rule


def cuts(q, first, ratio, width):
    """Return the panel ends on h > 0: kinks, geometric in h, uniform in z."""
    root = mp.sqrt(q)
    marks = [mpf(kink) for kink in KINKS]
    marks += [first * ratio**k for k in range(100)]
    marks += [width * root * k for k in range(1, 2 * REACH)]
    end = REACH * root
    return [ZERO, *sorted({mark for mark in marks if mark < end}), end]


def grid(q, paneling, rule):
    """Return nodes h > 0 and their weights, Gaussian density of variance q included."""
    ends = cuts(q, *(mpf(text) for text in paneling[:3]))
    norm = 1 / mp.sqrt(2 * mp.pi * q)
    nodes = []
    for low, high in pairwise(ends):
        centre, half = (low + high) / 2, (high - low) / 2
        for x, w in rule:
            h = centre + half * x
            nodes.append((h, norm * half * w * mp.exp(-h * h / (2 * q))))
    return nodes


def quadrature(pair, nodes):
    """Return (M, A, D) of one activation on one grid, folding -h onto h."""
    mean = square = slope = ZERO
    for h, w in nodes:
        up, d_up = pair(h)
        down, d_down = pair(-h)
        mean += w * (up + down)
        square += w * (up * up + down * down)
        slope += w * (d_up * d_up + d_down * d_down)
    return mean, square, slope


def gap(a, b):
    """Return the relative difference, or the absolute one below 1e-45 (a zero)."""
    size = max(abs(a), abs(b))
    return abs(a - b) / size if size > mpf(10) ** -45 else abs(a - b)


def require(name, q_text, what, got, want):
    """Return the largest gap between two (M, A, D); fail if it is too large."""
    worst = max(gap(a, b) for a, b in zip(got, want, strict=True))
    if worst > AGREE:
        raise SystemExit(f"{name} at q={q_text}: {what} differ by {mp.nstr(worst, 3)}")
    return worst


def moments(name, q_text, grids):
    """Return (M, A, D) for one activation and one q, and the worst gap seen."""
    q = mpf(q_text)
    closed = CLOSED[name](q) if name in CLOSED else None
    if closed and q_text not in CHECK_Q:
        return closed, ZERO
    one, two = (quadrature(ACTIVATIONS[name], nodes) for nodes in grids)
    worst = require(name, q_text, "panelings", one, two)
    if closed:
        return closed, max(worst, require(name, q_text, "closed form", one, closed))
    if name not in MEANS:
        return one, worst
    known = (MEANS[name](q), *one[1:])
    return known, max(worst, require(name, q_text, "known mean", one, known))


def main(names):
    """Compute the entries of these names (none: of all), check them, and write the table."""
    began = time.perf_counter()
    setups = [(paneling, gauss_legendre(paneling[3])) for paneling in PANELINGS]
    table = {name: {"M": [], "A": [], "D": []} for name in names or ACTIVATIONS}
    overall = ZERO
    for q_text in Q_TEXT:
        grids = [grid(mpf(q_text), *setup) for setup in setups]
        for name, columns in table.items():
            values, worst = moments(name, q_text, grids)
            overall = max(overall, worst)
            for column, value in zip(columns.values(), values, strict=True):
                column.append(mp.nstr(value, DIGITS))
        took = time.perf_counter() - began
        print(f"q={q_text}: worst gap {mp.nstr(overall, 3)}, {took:.0f} s", flush=True)
    target = Path(__file__).with_name("gaussian_moments.json")
    kept = json.loads(target.read_text(encoding="utf-8"))["activations"] if names else {}
    layout = {"digits": DIGITS, "q": Q_TEXT, "activations": {**kept, **table}}
    target.write_text(json.dumps(layout, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
