"""One formula in symbols and in numbers, both written from the same sum of products."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gradcore.words import LN10


@dataclass(frozen=True)
class Factor:
    """One factor: its LaTeX ``symbol``, natural ``log`` and ``sign`` of its number, ``power`` that it is raised to.

    ``symbol`` is of the factor with its power; the numbers show the power by themselves.
    """

    symbol: str
    log: float
    sign: int = 1
    power: int = 1


@dataclass(frozen=True)
class Term:
    """One product of a sum; ``minus`` subtracts it."""

    factors: tuple[Factor, ...]
    minus: bool = False

    @property
    def log(self) -> float:
        """ln of the product's size; -inf where a factor is 0."""
        logs = [f.power * f.log for f in self.factors]
        return -math.inf if -math.inf in logs else sum(logs)

    @property
    def sign(self) -> int:
        """Sign with which the product enters the sum."""
        return math.prod(f.sign for f in self.factors) * (-1 if self.minus else 1)


@dataclass(frozen=True)
class Equation:
    """One formula of a prediction.

    ``code`` a stable name; ``title`` and ``note`` (one or two plain sentences, may be empty) in the translator's
    language; ``latex`` the formula, ``live`` the same with this layer's numbers, both without dollar signs (``live``
    is empty where there is no number); ``source`` the papers. The value is ``sign`` exp(``log_value``), taken from
    the Profile, and the sum of ``terms``; natural logs, since many values leave the range of a float.
    """

    code: str
    title: str
    latex: str
    live: str
    source: str
    note: str
    terms: tuple[Term, ...]
    log_value: float
    sign: int = 1

    @property
    def value(self) -> float:
        """The value as a float: 0 or inf where its logarithm leaves the range, nan where there is none."""
        return self.sign * (math.inf if self.log_value > 709.0 else math.exp(self.log_value))


def term(*factors: Factor, minus: bool = False) -> Term:
    """A product of factors."""
    return Term(factors, minus)


def number(log: float, sign: int = 1) -> str:
    """The number sign e^log in LaTeX, four digits: 0.4355, 12, 1.776 \\times 10^{-15}."""
    minus = "-" if sign < 0 and log > -math.inf else ""
    if log == -math.inf:
        return "0"
    if log == math.inf:
        return rf"{minus}\infty"
    log10 = log / LN10
    if -3.0 <= log10 < 4.0:
        return f"{minus}{math.exp(log):.4g}" if math.exp(log) < 9999.5 else f"{minus}10^{{4}}"
    exponent = math.floor(log10)
    mantissa = f"{10.0 ** (log10 - exponent):.4g}"
    if mantissa == "10":
        mantissa, exponent = "1", exponent + 1
    power = f"10^{{{exponent}}}"
    return f"{minus}{power}" if mantissa == "1" else rf"{minus}{mantissa} \times {power}"


def _factor_number(factor: Factor) -> str:
    text = number(factor.log)
    if factor.power == 1:
        return text
    base = text if "10^" not in text else rf"\left({text}\right)"
    return f"{base}^{{{factor.power}}}"


def _joined(parts: list[tuple[int, str]]) -> str:
    """Signed texts as a sum."""
    first, *rest = [f"{'-' if sign < 0 else '+'} {text}" for sign, text in parts]
    return " ".join([first.removeprefix("+ ").replace("- ", "-", 1), *rest])


def symbols(terms: tuple[Term, ...]) -> str:
    """The sum of products in symbols."""
    return _joined([(-1 if t.minus else 1, r"\, ".join(f.symbol for f in t.factors)) for t in terms])


def numbers(terms: tuple[Term, ...]) -> str:
    """The sum of products in numbers."""
    return _joined([(t.sign, r" \cdot ".join(_factor_number(f) for f in t.factors)) for t in terms])


def equation(
    code: str,
    title: str,
    left: tuple[str, str],
    terms: tuple[Term, ...],
    log_value: float,
    source: str,
    note: str = "",
    sign: int = 1,
    where: str = "",
) -> Equation:
    """An Equation written from its terms; ``left`` is the left-hand side in symbols and with the layer's number,
    ``where`` LaTeX that explains symbols, set behind the formula."""
    alone = len(terms) == 1 and len(terms[0].factors) == 1 and terms[0].factors[0].power == 1
    value = number(log_value, sign)
    live = f"{left[1]} = {value}" if alone else f"{left[1]} = {numbers(terms)} = {value}"
    latex = f"{left[0]} = {symbols(terms)}" + (rf",\quad {where}" if where else "")
    return Equation(code, title, latex, live, source, note, terms, float(log_value), sign)
