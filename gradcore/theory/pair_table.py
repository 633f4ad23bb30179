"""Tables of the pair moments E f(u) f(v) over (ln q, theta), c = cos(theta): a few microseconds a layer.

Pair moments are analytic in ln q for abs(Im ln q) < pi/2, where the Gaussian density still decays, so on a cell of
length WIDTH a polynomial through Q_NODES Chebyshev points errs by about 12.6^-Q_NODES = 6e-14; in theta they are read
from panels that halve towards theta = 0, down to where activations of slope scale 1 / sqrt(q) are smooth. What is kept
is 1 - E f f / E f^2, exactly 0 at c = 1.

A cell costs Q_NODES Mehler series (theory.hermite_pairs) or integrals over theta (theory.spline_pairs), and the pair
rules of theory.correlation for what these do not reach. It is filled, for the whole process, where a network has
FROM_LAYERS layers in it, known from its ln q before any correlation: so a value depends on the network alone, not on
what was asked before. Other layers, and c < 0, go to the pair rules.

Source: ours. Units: second moments. Status: against the pair rules in tests/test_pair_table.py.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from gradcore.theory.correlation import (
    GROWING_HIGH,
    PSI,
    SLOPE,
    SLOPE_SQUARE,
    SPLINE_HIGH,
    SPLINE_SQUARES_HIGH,
    SQUARE,
    VALUE,
    Functions,
    direct_ratios,
    pair_ratios,
)
from gradcore.theory.gaussian import GaussianMoments
from gradcore.theory.hermite_pairs import HermitePairs, hermite_pairs
from gradcore.theory.spline_pairs import pieces_of, spline_pairs

Array = np.ndarray
WIDTH = 0.5  # of a cell of ln q
Q_NODES = 12
NODES = 20  # of a panel of theta
LOW, HIGH = math.log(1e-24), math.log(1e6)  # cells lie within; beyond, the rules are asked
QUICK_HIGH = 10.0  # up to this q the series of smooth activations leave nothing to the rules
FROM_LAYERS, FROM_LAYERS_SLOW = 24, 160  # layers in a cell that pay for filling it
WIDEST, SHARP = 0.8, 0.16  # first panel of theta, and where exp(-1 / (2 theta^2)) is smooth to rounding
HALF_PI = 0.5 * math.pi
FAR_LOW, FAR_HIGH = -2, -3  # cells of the leading behaviour, the same at every q
FAR_LOW_AT, FAR_HIGH_AT = math.log(1e-25), 600.0  # ln q that stand for these
GROUPS = ((VALUE, SLOPE), (SQUARE, SLOPE_SQUARE), (PSI,))  # filled together
GROUP_OF = {name: group for group in GROUPS for name in group}
NEGLIGIBLE = 1e-17  # term of a series whose sum is at most 1
T_ORDERS = np.arange(NODES)


@lru_cache(maxsize=1)
def _nodes() -> tuple[Array, Array, Array]:
    """Chebyshev points of ln q and of theta on [-1, 1] (theta's with both ends), and ln q's matrix to its series."""
    chebyshev = np.polynomial.chebyshev
    x = chebyshev.chebpts1(Q_NODES)
    return x, chebyshev.chebpts2(NODES), np.linalg.inv(chebyshev.chebvander(x, Q_NODES - 1))


class PairTable:
    """The tables of one activation; blocks are filled when first asked for."""

    def __init__(self, moments: GaussianMoments) -> None:
        self.moments = moments
        self.one_q = moments.homogeneous  # the same at every q
        phi = pieces_of(moments)
        self._quick = moments.oscillates or not moments.kinks  # series, or closed forms, serve every correlation
        self._spline = phi is not None
        gap = float(np.diff(phi.knots).min(initial=math.inf)) if phi is not None else math.inf
        self._scale = min(WIDEST, SHARP * gap)
        # without offsets the leading behaviour is the same from where it sets in
        self._far = -LOW if any(moments.limits) else GROWING_HIGH
        self._blocks: dict[tuple[int, int, str], Array] = {}
        self._series: dict[tuple[int, Functions], HermitePairs | None] = {}

    def cell(self, log_q: Array) -> Array:
        """Cell numbers of these ln q; -1 where there is none."""
        if self.one_q:
            return np.zeros(log_q.shape, dtype=int)
        inside = (log_q >= LOW) & (log_q < HIGH)
        cells = np.where(inside, (np.where(inside, log_q, LOW) - LOW) // WIDTH, -1).astype(int)
        if not self.moments.oscillates:
            cells[log_q < FAR_LOW_AT] = FAR_LOW
            if self.moments.tail_square > 0.0:  # sloped tails
                cells[log_q > self._far] = FAR_HIGH
        return cells

    def least(self, cell: int) -> int:
        """Layers of one network in a cell that pay for filling it."""
        quick = self._quick and LOW + cell * WIDTH < math.log(QUICK_HIGH)
        return FROM_LAYERS if quick or self._spline or self._single(cell) else FROM_LAYERS_SLOW

    def _single(self, cell: int) -> bool:
        """Whether one q stands for the cell."""
        return self.one_q or cell < 0

    def place(self, cell: int, log_q: Array) -> Array:
        """(N, Q) Chebyshev polynomials of ln q within its cell; (1, 1) where one q stands for it."""
        if self._single(cell):
            return np.ones((1, 1))
        x = np.clip(2.0 * ((log_q - LOW) / WIDTH - cell) - 1.0, -1.0, 1.0)
        return np.cos(np.arccos(x)[:, None] * np.arange(Q_NODES))

    @lru_cache(maxsize=256)  # noqa: B019 - tables live as long as the process
    def steps(self, cell: int) -> int:
        """Panels of theta in [0, pi/2] less 1: [0, pi/2^(n+1)], then each twice as long as the last."""
        root = 1.0 if self._single(cell) else max(1.0, math.exp(0.5 * (LOW + (cell + 1) * WIDTH)))
        return max(1, math.ceil(math.log2(HALF_PI * root / self._scale)))

    def panel(self, cell: int, theta: float) -> tuple[int, float, float]:
        """(number, middle, half width) of the panel that holds theta."""
        steps = self.steps(cell)
        first = HALF_PI * 0.5**steps
        if theta <= first:
            return 0, 0.5 * first, 0.5 * first
        k = min(int(math.log2(theta / first)), steps - 1)
        low = first * 2.0**k
        return k + 1, 1.5 * low, 0.5 * low

    def block(self, cell: int, panel: int, name: str) -> Array:
        """(Q, NODES) Chebyshev series of 1 - E f f / E f^2 in ln q and theta."""
        key = (cell, panel, name)
        if key not in self._blocks:
            group = GROUP_OF[name]
            for other, block in zip(group, self._filled(cell, panel, group), strict=True):
                self._blocks[cell, panel, other] = block
        return self._blocks[key]

    def _filled(self, cell: int, panel: int, group: Functions) -> list[Array]:
        x, t, to_q = _nodes()
        first = HALF_PI * 0.5 ** self.steps(cell)
        low, high = (0.0, first) if panel == 0 else (first * 2.0 ** (panel - 1), first * 2.0**panel)
        # a correlation near 1 keeps few digits of theta: what it stands for is where it was evaluated
        theta = np.arccos(np.cos(low + 0.5 * (high - low) * (t + 1.0)))
        to_t = np.linalg.inv(np.polynomial.chebyshev.chebvander(2.0 * (theta - low) / (high - low) - 1.0, NODES - 1))
        if self._single(cell):
            log_q = np.array([{FAR_LOW: FAR_LOW_AT, FAR_HIGH: FAR_HIGH_AT}.get(cell, 0.0)])
        else:
            log_q = LOW + WIDTH * (cell + 0.5 * (x + 1.0))
        values = self._values(cell, group, log_q, theta)
        if not self._single(cell):
            values = np.einsum("ij,fjt->fit", to_q, values)
        return list(values @ to_t.T)

    def _values(self, cell: int, group: Functions, log_q: Array, theta: Array) -> Array:
        """(names, Q, N) of 1 - E f f / E f^2."""
        out, c = np.empty((len(group), log_q.size, theta.size)), np.cos(theta)
        known = np.zeros(theta.size, dtype=bool)
        if not self._single(cell) and not self.moments.oscillates:
            if self._splines(group, log_q, theta, out):
                return out
            series = self._series_of(cell, group, log_q)
            if series is not None:
                out[:], known = series.drop(c)
        missing = np.flatnonzero(~known)
        if missing.size:
            for i, x in enumerate(log_q.tolist()):
                out[:, i, missing] = 1.0 - np.array(self._rules(group, x, c[missing]))
        out[:, :, theta == 0.0] = 0.0
        return out

    def _rules(self, group: Functions, log_q: float, c: Array) -> list[Array]:
        """The pair rules, never read from tables of their own."""
        if abs(log_q) > -LOW:
            return pair_ratios(self.moments, group, log_q, c)
        return direct_ratios(self.moments, group, log_q, c)

    def _splines(self, group: Functions, log_q: Array, theta: Array, out: Array) -> bool:
        """Fill ``out`` from the integrals over theta, where phi and q have them."""
        if not self._spline or log_q[-1] > (SPLINE_HIGH if VALUE in group else SPLINE_SQUARES_HIGH):
            return False
        for i, x in enumerate(log_q.tolist()):
            spline = spline_pairs(self.moments, math.exp(x))
            if spline is not None:
                out[:, i] = [spline.drop(name, theta) for name in group]
        return True

    def _series_of(self, cell: int, group: Functions, log_q: Array) -> HermitePairs | None:
        if (cell, group) not in self._series:
            self._series[cell, group] = hermite_pairs(self.moments, group, np.exp(log_q))
        return self._series[cell, group]


@lru_cache(maxsize=64)
def pair_table(moments: GaussianMoments) -> PairTable:
    """The tables of these moments, shared."""
    return PairTable(moments)


class PairReader:
    """Pair ratios for a network whose activations see these ln q: from tables where they pay, else from the rules."""

    def __init__(self, moments: GaussianMoments, log_q: Array) -> None:
        """``log_q`` (L,) of all layers."""
        self.moments = moments
        self.table = pair_table(moments)
        self._places: dict[float, tuple[int, int]] = {}  # ln q: cell, row
        self._rows: dict[int, Array] = {}  # cell: (rows, Q)
        self._short: dict[tuple[Functions, int, int], tuple[Array, dict[int, list[list[float]]]]] = {}
        self._lines: dict[tuple[Functions, int, int], Array] = {}
        finite = log_q[np.isfinite(log_q)]
        cells = self.table.cell(finite)
        for cell, count in zip(*np.unique(cells, return_counts=True), strict=True):
            if cell != -1 and count >= self.table.least(int(cell)):
                values = np.unique(finite[cells == cell])
                self._rows[int(cell)] = rows = self.table.place(int(cell), values)
                several = rows.shape[0] > 1
                self._places |= {x: (int(cell), several * row) for row, x in enumerate(values.tolist())}

    def has_closed(self, names: Functions) -> bool:
        """Whether the pair rules are closed forms for all of these: for arrays these are faster."""
        m = self.moments
        known = m.closed is not None and set(names) <= set(m.activation.closed_pairs)
        return m.homogeneous or m.oscillates or known

    def ratios(self, names: Functions, log_q: float, c: Array) -> list[Array]:
        """What ``pair_ratios`` gives: E f f / E f^2 for each name and every correlation in ``c`` (P,)."""
        place = self._places.get(log_q)
        if place is None or c.size == 0 or c.min() < 0.0 or (c.size > 1 and self.has_closed(names)):
            return pair_ratios(self.moments, names, log_q, c)
        if c.size == 1:
            return [np.array([x]) for x in self._one(names, *place, float(c[0]))]
        out, theta = np.empty((len(names), c.size)), np.arccos(np.minimum(c, 1.0))
        panels = [self.table.panel(place[0], x) for x in theta.tolist()]
        number = np.array([p[0] for p in panels])
        for k in np.unique(number):
            at = np.flatnonzero(number == k)
            _, middle, half = panels[at[0]]
            x = np.clip((theta[at] - middle) / half, -1.0, 1.0)
            out[:, at] = self._line(names, place[0], int(k))[place[1]] @ np.cos(T_ORDERS[:, None] * np.arccos(x))
        return list(np.clip(1.0 - out, -1.0, 1.0))

    def along(self, name: str, log_q: Array, c: Array) -> Array:
        """(L, P) ratios of one function at the ln q (L,) and correlations (L, P) of all layers at once."""
        out, names = np.empty_like(c), (name,)
        if self.has_closed(names):
            values, group = np.unique(np.zeros_like(log_q) if self.table.one_q else log_q, return_inverse=True)
            for k, x in enumerate(values.tolist()):
                at = group == k
                out[at] = pair_ratios(self.moments, names, x, c[at].ravel())[0].reshape(-1, c.shape[1])
            return out
        by_panel: dict[tuple[int, int], list[tuple[int, int, float]]] = {}
        for i, x in enumerate(log_q.tolist()):
            place = self._places.get(x)
            if place is None or c.shape[1] != 1 or c[i, 0] < 0.0:
                out[i] = self.ratios(names, x, c[i])[0]
                continue
            theta = math.acos(min(c[i, 0], 1.0))
            panel, middle, half = self.table.panel(place[0], theta)
            by_panel.setdefault((place[0], panel), []).append((i, place[1], (theta - middle) / half))
        for (cell, panel), entries in by_panel.items():
            at, rows, x = (np.array(column) for column in zip(*entries, strict=True))
            basis = np.cos(np.arccos(np.clip(x, -1.0, 1.0))[:, None] * T_ORDERS)
            out[at, 0] = 1.0 - np.einsum("it,it->i", self._line(names, cell, panel)[rows, 0], basis)
        return out

    def one(self, names: Functions, log_q: float, c: float) -> list[float]:
        """The same for one correlation, a number."""
        place = self._places.get(log_q)
        if place is None or c < 0.0:
            return [float(x[0]) for x in pair_ratios(self.moments, names, log_q, np.array([c]))]
        return self._one(names, *place, c)

    def _one(self, names: Functions, cell: int, row: int, c: float) -> list[float]:
        theta = math.acos(c) if c < 1.0 else 0.0
        panel, middle, half = self.table.panel(cell, theta)
        twice = 2.0 * min(max((theta - middle) / half, -1.0), 1.0)
        out = []
        for series in self._terms(names, cell, panel, row):
            one = two = 0.0  # Clenshaw's recurrence; numbers are faster than arrays of so few
            for coefficient in series:
                one, two = coefficient + twice * one - two, one
            out.append(1.0 - one + 0.5 * twice * two)
        return out

    def _terms(self, names: Functions, cell: int, panel: int, row: int) -> list[list[float]]:
        """For each name the series in theta from its highest term that counts to the constant one."""
        key = (names, cell, panel)
        if key not in self._short:
            line = self._line(names, cell, panel)
            last = np.flatnonzero(np.abs(line).max(axis=(0, 1)) > NEGLIGIBLE).max(initial=0)
            self._short[key] = line[:, :, last::-1], {}
        short, lists = self._short[key]
        if row not in lists:
            lists[row] = short[row].tolist()
        return lists[row]

    def _line(self, names: Functions, cell: int, panel: int) -> Array:
        """(rows, names, NODES): the series in theta at every ln q of this cell."""
        key = (names, cell, panel)
        if key not in self._lines:
            blocks = np.array([self.table.block(cell, panel, name) for name in names])
            self._lines[key] = np.einsum("rq,fqt->rft", self._rows[cell], blocks, optimize=True)
        return self._lines[key]
