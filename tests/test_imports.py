"""Rooms and weight: what may import what, and what ``import gradcore`` and ``predict`` must not load."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gradcore

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "gradcore"
HEAVY = ("torch", "pandas", "altair", "streamlit")
MODULES = sorted(path.relative_to(ROOT) for path in PACKAGE.rglob("*.py"))

# --- what is loaded, in a fresh interpreter ------------------------------------------------------------------

CHECKER = """
import sys
def check(*forbidden):
    loaded = [name for name in forbidden if name in sys.modules]
    assert not loaded, "loaded: " + ", ".join(loaded)
"""
PREDICT = """
import gradcore as gc
spec = {spec}
profile = gc.predict(spec)
for name in ("log_q", "log_p", "log_g", "log_dw", "log_db"):
    getattr(profile, name), getattr(profile, name + "_mean"), profile.band(name)
profile.chi, profile.chi_parallel, profile.correlation, profile.saturated, profile.dead
profile.precision, profile.notes, repr(profile)
assert gc.from_query(gc.to_query(spec)) == spec
"""
SPECS = [
    "gc.Spec()",
    'gc.Spec(depth=4, activation="gelu", norm="layer", loss="mse")',
    'gc.Spec(depth=4, activation="tanh", gain="critical", residual="identity", loss="cross_entropy")',
    'gc.Spec(depth=4, input="digits", activation="erf", norm="rms")',
    'gc.Spec(depth=3, width=30, norm="batch")',
    'gc.Spec(depth=3, width=30, init="constant")',
    'gc.Spec(depth=3, width=30, init="eye", bias_std=0.1)',
]
PREDICT_CELL = """
import gradcore as gc
for cell in ("rnn", "lstm", "gru"):
    profile = gc.predict_cell(gc.CellSpec(cell=cell, steps=4))
    profile.log_v, profile.log_h, profile.gates, profile.untied.factor(), str(profile.verdict), repr(profile)
"""


def fresh(code: str) -> subprocess.CompletedProcess:
    """Run code in a new interpreter that finds this checkout's package."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-c", CHECKER + code]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def passes(code: str) -> None:
    done = fresh(code)
    assert done.returncode == 0, done.stderr


def test_import_loads_numpy_alone():
    passes(f"import gradcore\ncheck(*{HEAVY!r}, 'scipy', 'sklearn', 'hypothesis')")


@pytest.mark.parametrize("spec", SPECS)
def test_predict_loads_nothing_heavy(spec):
    passes(PREDICT.format(spec=spec) + f"check(*{HEAVY!r})")


def test_predict_cell_loads_nothing_heavy():
    passes(PREDICT_CELL + f"check(*{HEAVY!r})")


def test_critical_gain_loads_nothing_heavy():
    passes(f"import gradcore as gc\ngc.critical_gain('gelu', bias_std=0.1)\ncheck(*{HEAVY!r})")


def test_every_public_name_is_there_without_torch():
    passes(f"import gradcore as gc\nfor name in gc.__all__: getattr(gc, name)\ncheck(*{HEAVY!r})")


@pytest.mark.parametrize("name", [*HEAVY, "scipy"])
def test_the_check_can_fail(name):
    done = fresh(f"import gradcore, {name}\ncheck({name!r})")
    assert done.returncode != 0 and f"loaded: {name}" in done.stderr


def test_measure_does_load_torch():
    """So the checks above look at a package that needs torch somewhere."""
    done = fresh("import gradcore as gc\ngc.measure(gc.Spec(depth=1, width=2), networks=1)\ncheck('torch')")
    assert "loaded: torch" in done.stderr
    passes("import gradcore as gc\ngc.measure(gc.Spec(depth=1, width=2), networks=1)\ncheck('pandas', 'altair')")


def test_import_loads_what_a_prediction_needs_and_no_more():
    """What it costs beside ``import numpy`` is a benchmark's to say: ``python -m benchmarks.analytic``."""
    later = [f"gradcore.{module}" for module in gradcore._LATER]
    passes(f"import gradcore\ncheck(*{later!r})")
    assert {name for names in gradcore._LATER.values() for name in names} < set(gradcore.__all__) <= set(dir(gradcore))


# --- rooms: the imports as written ---------------------------------------------------------------------------


def room_of(module: str) -> str:
    """The room of a dotted module name inside the package."""
    parts = module.split(".")[1:]
    return parts[0] if parts else "__init__"


QUESTION = {"errors", "fields", "spec", "codec", "presets", "pins", "cell_spec", "query", "versions"}
TABLES = {"activations", "elementwise", "initializers", "normalization", "residual"}
ANSWERS = {"profile", "measurement", "singular", "draws", "compare", "estimates", "verdict", "phases", "guide"}
ANSWERS |= {"recurrent", "cell_verdict"}
PRESENTATION = {"charts", "equations", "export", "cli", "cli_output", "explore_command", "__main__"}
WORDS = {"words"}  # numbers and messages as text
ENTRY = {"__init__"}  # gradcore/__init__.py re-exports; what presents may use it, what computes may not

_LOW = QUESTION | TABLES
ALLOWED: dict[str, set[str]] = {  # room: the rooms of the package that it may import
    **{room: {"errors", "elementwise"} for room in TABLES},
    "errors": set(),
    "fields": TABLES | {"errors"},
    "spec": TABLES | {"errors", "fields", "measure"},  # Spec.build hands over to measure.network, inside the method
    "versions": {"errors"},
    "codec": TABLES | {"errors", "fields", "spec", "versions"},
    "cell_spec": {"errors", "fields"},
    "query": {"errors", "fields", "versions"},
    "presets": TABLES | {"errors", "fields", "spec", "codec"},
    "pins": WORDS | {"errors", "fields", "spec", "presets"},
    "theory": _LOW - {"codec", "presets", "pins", "query"} | {"theory", "profile"},  # profile: only for its type
    "measure": _LOW - {"codec", "presets", "pins", "query"} | {"theory", "measure"},
    "experiments": _LOW | ANSWERS | WORDS | {"theory", "measure", "experiments"},
    "profile": _LOW | {"theory"},
    "phases": _LOW | {"theory", "profile"},
    "guide": _LOW | WORDS | {"theory", "profile", "verdict", "guide"},
    "measurement": _LOW | {"theory", "measure"},
    "cell_verdict": WORDS | {"errors", "cell_spec"},
    "recurrent": _LOW | WORDS | {"theory", "measure", "cell_verdict"},
    "singular": _LOW | {"measure"},
    "draws": _LOW | {"measure"},
    "compare": _LOW | {"theory", "profile", "measurement"},
    "estimates": _LOW | {"profile", "measurement"},
    "words": set(),
    "verdict": _LOW | WORDS | {"theory", "profile", "measurement", "verdict"},
    **{room: _LOW | ANSWERS | PRESENTATION | ENTRY | WORDS | {"theory", "experiments"} for room in PRESENTATION},
    "__init__": _LOW | ANSWERS | WORDS | {"theory", "measure", "experiments"},
}
ONLY_FOR_TYPES = {("theory", "profile")}
ONLY_INSIDE_FUNCTIONS = {("spec", "measure"), ("measurement", "measure"), ("singular", "measure"), ("draws", "measure")}
ONLY_INSIDE_FUNCTIONS |= {("recurrent", "measure")}
OUTSIDE = {  # third-party package: the rooms that may import it
    "torch": {"measure", "experiments"},
    "altair": {"charts"},
    "pandas": {"charts", "profile", "measurement", "compare", "export", "cli_output"},
    "vl_convert": {"export"},
    "sklearn": {"theory"},  # the digits; inside a function
    "scipy": {"theory", "elementwise", "compare", "verdict"},
    "streamlit": set(),
    "app": set(),
    "hypothesis": set(),
    "pytest": set(),
    "tests": set(),
    "matplotlib": set(),
}
LAZY = ("scipy", "sklearn", "pandas", "altair", "vl_convert")  # never at the top of a module


class Import:
    """One imported module: dotted ``name``, whether ``lazy`` (in a function) or ``types`` (TYPE_CHECKING only)."""

    def __init__(self, name: str, lazy: bool, types: bool) -> None:
        self.name, self.lazy, self.types = name, lazy, types


def imports_of(source: str, module: str) -> Iterator[Import]:
    """Every import statement of a module's source, at any depth, relative ones resolved."""

    def visit(node: ast.AST, lazy: bool, types: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, lazy, types) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                is_module = (ROOT / (inner.replace(".", "/") + ".py")).exists() or (
                    ROOT / inner.replace(".", "/")
                ).is_dir()
                yield Import(inner if is_module else base, lazy, types)
        guarded = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            yield from visit(child, lazy or inside, types or guarded)

    yield from visit(ast.parse(source), False, False)


def violations(source: str, module: str) -> list[str]:
    """What this module's imports break, in words; ``module`` is its dotted name (package modules end in __init__)."""
    room, found = room_of(module), []
    if room not in ALLOWED:
        return [f"{module}: a room without a rule; add it to ALLOWED"]
    for line in imports_of(source, module):
        top = line.name.partition(".")[0]
        if top == "gradcore":
            other = room_of(line.name)
            if other != room and other not in ALLOWED[room]:
                found.append(f"{module} imports {line.name}: {room} may not import {other}")
            elif (room, other) in ONLY_FOR_TYPES and not line.types:
                found.append(f"{module} imports {line.name} outside TYPE_CHECKING")
            elif (room, other) in ONLY_INSIDE_FUNCTIONS and not (line.lazy or line.types):
                found.append(f"{module} imports {line.name} at its top")
        elif line.types:
            continue
        elif top in OUTSIDE and room not in OUTSIDE[top]:
            found.append(f"{module} imports {top}")
        elif top in LAZY and not line.lazy:
            found.append(f"{module} imports {top} at its top")
        elif top not in {"numpy", *OUTSIDE, *sys.stdlib_module_names}:
            found.append(f"{module} imports {top}: not a dependency")
    return found


def dotted(path: Path) -> str:
    return ".".join(path.with_suffix("").parts)


def test_the_walk_sees_the_package():
    names = {dotted(path) for path in MODULES}
    assert {"gradcore.__init__", "gradcore.spec", "gradcore.theory.gaussian", "gradcore.measure.dense"} <= names


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_lower_room_imports_no_higher_one(path):
    assert violations((ROOT / path).read_text(), dotted(path)) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("gradcore.errors", "import gradcore.spec"),
        ("gradcore.activations", "from gradcore.spec import Spec"),
        ("gradcore.activations", "from gradcore import spec"),
        ("gradcore.fields", "from .spec import Spec"),
        ("gradcore.codec", "from gradcore.profile import predict"),
        ("gradcore.spec", "from gradcore.measure.network import build"),
        ("gradcore.theory.gaussian", "from gradcore.profile import Profile"),
        ("gradcore.theory.gaussian", "def f():\n    from gradcore.measure import dense"),
        ("gradcore.theory.gaussian", "from ..measure import dense"),
        ("gradcore.theory.gaussian", "def f():\n    import torch"),
        ("gradcore.theory.gaussian", "from scipy import special"),
        ("gradcore.theory.gaussian", "import scipy.special"),
        ("gradcore.measure.dense", "from gradcore.profile import Profile"),
        ("gradcore.measure.dense", "import gradcore as gc"),
        ("gradcore.measure.dense", "from gradcore.charts import chart"),
        ("gradcore.profile", "class A:\n    def f(self):\n        import torch"),
        ("gradcore.profile", "import pandas"),
        ("gradcore.profile", "from gradcore.measure.dense import measure_networks"),
        ("gradcore.charts.picture", "import streamlit as st"),
        ("gradcore.charts.picture", "import altair"),
        ("gradcore.export.images", "import vl_convert"),
        ("gradcore.charts.picture", "def f():\n    import vl_convert"),
        ("gradcore.charts.picture", "from app import theme"),
        ("gradcore.charts.picture", "try:\n    import torch\nexcept ImportError:\n    pass"),
        ("gradcore.cli", "import requests"),
        ("gradcore.novelty", ""),
    ],
)
def test_the_rule_catches_a_violation(module, source):
    assert violations(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("gradcore.theory.gaussian", "def f():\n    from scipy import special"),
        ("gradcore.theory.notes", "if TYPE_CHECKING:\n    from gradcore.profile import Profile"),
        ("gradcore.spec", "def build():\n    from gradcore.measure.network import build"),
        ("gradcore.spec", "if TYPE_CHECKING:\n    import torch"),
        ("gradcore.measure.dense", "import torch\nfrom gradcore.theory.gaussian import moments_of"),
        ("gradcore.charts.picture", "def f():\n    import altair as alt"),
    ],
)
def test_the_rule_lets_pass_what_is_right(module, source):
    assert violations(source, module) == []


# --- no global state ------------------------------------------------------------------------------------------

GLOBAL_STATE = {
    "manual_seed": "torch",  # allowed on a torch.Generator, not on torch
    "seed": "np.random",
    "set_default_dtype": "torch",
    "set_default_device": "torch",
    "set_default_tensor_type": "torch",
    "set_rng_state": "torch",
    "use_deterministic_algorithms": "torch",
    "set_grad_enabled": "torch",
    "seterr": "np",
}
LEGACY_DRAWS = ("np.random", "numpy.random", "random")
GENERATORS = ("default_rng", "Generator", "SeedSequence", "PCG64", "Philox")


def global_state(source: str) -> list[str]:
    """Calls that set or use a random state, dtype or device of the whole process."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        owner, _, function = name.rpartition(".")
        owners = (GLOBAL_STATE.get(function), "", "random", "numpy.random", "torch.random")
        sets = function in GLOBAL_STATE and owner in owners
        if sets or (owner in LEGACY_DRAWS and function not in GENERATORS):
            found.append(name)
    return found


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_module_touches_global_state(path):
    assert global_state((ROOT / path).read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "torch.manual_seed(0)",
        "torch.random.manual_seed(0)",
        "np.random.seed(0)",
        "np.random.randn(3)",
        "random.random()",
        "torch.set_default_dtype(torch.float64)",
        "def f():\n    torch.set_default_device('cpu')",
        "np.seterr(all='ignore')",
    ],
)
def test_global_state_is_noticed(source):
    assert global_state(source)


@pytest.mark.parametrize(
    "source", ["torch.Generator().manual_seed(1)", "np.random.default_rng(1).normal()", "np.random.SeedSequence([1])"]
)
def test_explicit_generators_are_fine(source):
    assert global_state(source) == []
