"""A law's formula as the initializer table writes it, "2 g^2 / (n + m)": its LaTeX in symbols or numbers, its value."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping

FUNCTIONS: dict[str, tuple[str, Callable[..., float]]] = {  # LaTeX around the arguments, and the function
    "max": (r"\max({})", max),
    "ceil": (r"\lceil {} \rceil", math.ceil),
    "pdf": (r"\varphi({})", lambda x: math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)),
    "Phi": (r"\Phi({})", lambda x: 0.5 * math.erfc(-x / math.sqrt(2))),
}
OPERATIONS: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_TOKEN = re.compile(r"[A-Za-z]+|\d+(?:\.\d+)?|[-+*/^(),]")


def parse(formula: str) -> ast.expr | None:
    """The syntax tree of the formula (a space is a product, ^ a power); None where it is words."""
    tokens = _TOKEN.findall(formula)
    if "".join(tokens) != formula.replace(" ", ""):
        return None
    code = ""
    for before, token in zip(["+", *tokens], tokens, strict=False):
        ends = before == ")" or (before[0].isalnum() and before not in FUNCTIONS)
        starts = token == "(" or token[0].isalnum()
        code += ("*" if ends and starts else "") + ("**" if token == "^" else token)
    try:
        return ast.parse(code, mode="eval").body
    except SyntaxError:
        return None


def split(formula: str) -> tuple[str, dict[str, str]]:
    """The formula and its ", k = 2/g" parts: name -> formula."""
    main, *rest = re.split(r", (?=\w+ =)", formula)
    return main, dict(part.split(" = ", 1) for part in rest)


def evaluate(tree: ast.expr, names: Mapping[str, float]) -> float:
    """The number, with the value of every name."""
    if isinstance(tree, ast.Constant):
        return float(tree.value)  # type: ignore[arg-type]
    if isinstance(tree, ast.Name):
        return names[tree.id]
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
        return float(FUNCTIONS[tree.func.id][1](*(evaluate(argument, names) for argument in tree.args)))
    if isinstance(tree, ast.BinOp):
        return OPERATIONS[type(tree.op)](evaluate(tree.left, names), evaluate(tree.right, names))
    raise ValueError(f"not a formula: {ast.dump(tree)}")


def latex(tree: ast.expr, names: Mapping[str, str]) -> str:
    """The tree as LaTeX, every name replaced by its text."""
    if isinstance(tree, ast.Constant):
        return str(tree.value)
    if isinstance(tree, ast.Name):
        return names[tree.id]
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
        inner = ", ".join(latex(argument, names) for argument in tree.args)
        return FUNCTIONS[tree.func.id][0].format(inner)
    if isinstance(tree, ast.BinOp):
        return _operation(tree, latex(tree.left, names), latex(tree.right, names))
    raise ValueError(f"not a formula: {ast.dump(tree)}")


def _operation(tree: ast.BinOp, left: str, right: str) -> str:
    if isinstance(tree.op, ast.Div):
        return rf"\frac{{{left}}}{{{right}}}"
    if isinstance(tree.op, ast.Pow):
        base = left if re.fullmatch(r"[\w.]+", left) else rf"\left({left}\right)"
        return f"{base}^{{{right}}}"
    if isinstance(tree.op, ast.Mult):
        factors = [_grouped(tree.left, left), _grouped(tree.right, right)]
        return (r" \cdot " if factors[1][0].isdigit() else r"\, ").join(factors)
    return f"{left} {'+' if isinstance(tree.op, ast.Add) else '-'} {right}"


def _grouped(tree: ast.expr, text: str) -> str:
    """A sum inside a product goes in parentheses."""
    is_sum = isinstance(tree, ast.BinOp) and isinstance(tree.op, (ast.Add, ast.Sub))
    return rf"\left({text}\right)" if is_sum else text
