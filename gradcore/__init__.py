"""gradcore: do a deep network's signals and gradients survive its depth? Predicted and measured, before training.

    import gradcore as gc
    spec = gc.Spec(depth=50, width=256, activation="tanh", init="xavier_normal", gain=5 / 3)
    predicted = gc.predict(spec)                              # NumPy only
    measured = gc.measure(spec, networks=32, seed=0)          # real torch networks
    print(gc.compare(predicted, measured))

Importing the package loads NumPy alone; torch, SciPy and pandas are loaded where they are first needed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import gradcore.measure  # noqa: F401  the room, before its name becomes the function
from gradcore.codec import from_json, from_query, to_json, to_query
from gradcore.compare import Comparison, compare
from gradcore.errors import GradcoreError, SpecError, UnsupportedError
from gradcore.measurement import Measurement, measure
from gradcore.profile import Note, Profile, predict
from gradcore.spec import Spec
from gradcore.theory.critical import CriticalPoint, auto_gain, critical_gain, critical_points, exact_gain

if TYPE_CHECKING:
    from gradcore.cell_spec import CellSpec
    from gradcore.guide.gains import Gain, gain_table
    from gradcore.phases import PhaseMap, phase_map
    from gradcore.recurrent import CellMeasurement, CellProfile, measure_cell, predict_cell
    from gradcore.singular import singular_values
    from gradcore.theory.correlation_map import CorrelationMap, correlation_map
    from gradcore.theory.critical_line import CriticalLine, critical_line
    from gradcore.theory.fixed_points import FixedPoint, fixed_points
    from gradcore.theory.jacobian import Jacobian, jacobian
    from gradcore.verdict import Fix, Verdict, diagnose

__version__ = "0.1.0"

__all__ = [
    "CellMeasurement",
    "CellProfile",
    "CellSpec",
    "Comparison",
    "CorrelationMap",
    "CriticalLine",
    "CriticalPoint",
    "Fix",
    "FixedPoint",
    "Gain",
    "GradcoreError",
    "Jacobian",
    "Measurement",
    "Note",
    "PhaseMap",
    "Profile",
    "Spec",
    "SpecError",
    "UnsupportedError",
    "Verdict",
    "auto_gain",
    "compare",
    "correlation_map",
    "critical_gain",
    "critical_line",
    "critical_points",
    "diagnose",
    "exact_gain",
    "fixed_points",
    "from_json",
    "from_query",
    "gain_table",
    "jacobian",
    "measure",
    "measure_cell",
    "phase_map",
    "predict",
    "predict_cell",
    "singular_values",
    "to_json",
    "to_query",
]

_LATER = {  # loaded when first asked for: the import costs what predicting a network needs
    "cell_spec": ("CellSpec",),
    "guide.gains": ("Gain", "gain_table"),
    "phases": ("PhaseMap", "phase_map"),
    "recurrent": ("CellMeasurement", "CellProfile", "measure_cell", "predict_cell"),
    "singular": ("singular_values",),
    "theory.correlation_map": ("CorrelationMap", "correlation_map"),
    "theory.critical_line": ("CriticalLine", "critical_line"),
    "theory.fixed_points": ("FixedPoint", "fixed_points"),
    "theory.jacobian": ("Jacobian", "jacobian"),
    "verdict": ("Fix", "Verdict", "diagnose"),
}
_HOME = {name: module for module, names in _LATER.items() for name in names}


def __getattr__(name: str) -> Any:
    """The public names of ``_LATER``."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
