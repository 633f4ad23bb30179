"""The formulas that make a prediction, with one layer's live numbers: what the charts show, to be followed by hand."""

from gradcore.equations.equation import Equation, Factor, Term
from gradcore.equations.layer import equations

__all__ = ["Equation", "Factor", "Term", "equations"]
