"""What a server that runs for weeks needs: bounded caches, no data that is run, no visitor's data in modules.

Read off the syntax, so that a new module is held to it too.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted(path for room in ("app", "gradcore") for path in (ROOT / room).rglob("*.py"))
BOUND = {"lru_cache": "maxsize", "cache_data": "max_entries", "cache_resource": "max_entries"}
CACHES = (*BOUND, "cache")

# Caches without a bound, by file and function: why there can only ever be few keys.
FEW_KEYS = {
    ("app/costs.py", "calibration"): "no argument",
    ("app/costs.py", "training_calibration"): "no argument",
    ("app/store.py", "networks"): "no argument; the store itself is bounded in bytes",
    ("app/i18n.py", "catalogue"): "a language of app.i18n.LANGUAGES",
    ("app/i18n.py", "_templates"): "a language of app.i18n.LANGUAGES",
    ("app/parts/symptoms_source.py", "_logs"): "no argument; holds one record per built-in example",
    ("app/parts/verdict_box.py", "_warmed_up"): "no argument",
    ("gradcore/experiments/chain/interval.py", "_looked_at"): "an activation",
    ("gradcore/experiments/chain/lattice.py", "_phi_table"): "no argument",
    ("gradcore/experiments/chain/log_normal_weight.py", "_table"): "no argument",
    ("gradcore/theory/gaussian.py", "legendre"): "a number of nodes that the code names",
}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# --- caches ---------------------------------------------------------------------------------------------------


def caches(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """(function, whether the number of its kept results is bounded) of every cached function."""
    for node in ast.walk(tree):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for decorator in node.decorator_list:
            call = decorator if isinstance(decorator, ast.Call) else None
            kind = ast.unparse(call.func if call else decorator).rpartition(".")[2]
            if kind in CACHES:
                yield node.name, bounded(kind, call)


def bounded(kind: str, call: ast.Call | None) -> bool:
    if kind == "cache":
        return False
    if call is None:
        return kind == "lru_cache"  # bare: 128
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    value = given.get(BOUND[kind], call.args[0] if call.args and kind == "lru_cache" else None)
    if value is None:
        return kind == "lru_cache"
    return isinstance(value, ast.Constant) and isinstance(value.value, int) and value.value > 0


def test_every_cache_is_bounded_or_has_few_keys() -> None:
    unbounded = {(name_of(path), name) for path in FILES for name, good in caches(parsed(path)) if not good}
    assert unbounded - set(FEW_KEYS) == set()
    assert set(FEW_KEYS) - unbounded == set()  # no exception that nothing needs


@pytest.mark.parametrize(
    ("decorator", "good"),
    [
        ("cache", False),
        ("functools.cache", False),
        ("lru_cache", True),
        ("lru_cache(maxsize=None)", False),
        ("lru_cache(None)", False),
        ("lru_cache(64)", True),
        ("st.cache_data", False),
        ("st.cache_data(show_spinner=False)", False),
        ("st.cache_resource(max_entries=None)", False),
        ("st.cache_resource(max_entries=8)", True),
    ],
)
def test_the_search_tells_bounded_caches_from_others(decorator: str, good: bool) -> None:
    assert list(caches(ast.parse(f"@{decorator}\ndef f(x): return x"))) == [("f", good)]


def test_cached_texts_are_kept_by_language() -> None:
    """A kept result that was put into words is another visitor's where the language is no part of its key."""
    assert {(name_of(path), name) for path in FILES for name in spoken_without_language(parsed(path))} == set()


def spoken_without_language(tree: ast.Module) -> Iterator[str]:
    """Functions that keep what ``t`` has said, and a call of which names no language."""
    spoken = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and any("cache_" in ast.unparse(d) for d in node.decorator_list):
            names = {inner.id for part in node.body for inner in ast.walk(part) if isinstance(inner, ast.Name)}
            if "t" in names:
                spoken.add(node.name)
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        called = {
            node.func.id
            for node in ast.walk(function)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in spoken
        }
        if called and "language" not in ast.unparse(function):
            yield from called


def test_a_text_kept_without_its_language_is_noticed() -> None:
    kept = "@st.cache_data(max_entries=8)\ndef words(key): return t('a')\n"
    assert list(spoken_without_language(ast.parse(kept + "def draw(key): words(key)"))) == ["words"]
    assert list(spoken_without_language(ast.parse(kept + "def draw(key): words((key, language()))"))) == []


# --- data that would be run -----------------------------------------------------------------------------------

RUNS = {"eval", "exec", "compile", "__import__"}  # as plain names; re.compile is another one
LOADERS = ("pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal")
METHODS = ("torch.load", "numpy.load", "np.load", "yaml.load", "pd.read_pickle", "pandas.read_pickle")


def unsafe(tree: ast.Module) -> list[str]:
    """Calls and imports that can run what a file or a link holds."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in LOADERS]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in LOADERS:
            found.append(str(node.module))
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            plain = any(k.arg == "allow_pickle" and ast.unparse(k.value) == "False" for k in node.keywords)
            pickled = any(k.arg == "allow_pickle" and ast.unparse(k.value) != "False" for k in node.keywords)
            if name in RUNS or pickled or (name in METHODS and not plain):
                found.append(name)
    return found


@pytest.mark.parametrize("room", ["app", "gradcore"])
def test_no_upload_or_link_is_unpickled_or_run(room: str) -> None:
    assert {name_of(p): found for p in FILES if name_of(p).startswith(room) and (found := unsafe(parsed(p)))} == {}


@pytest.mark.parametrize(
    "source",
    [
        "eval(text)",
        "exec(text)",
        "import pickle",
        "from joblib import load",
        "torch.load(file)",
        "np.load(file)",
        "np.load(file, allow_pickle=True)",
        "np.savez(file, allow_pickle=flag)",
    ],
)
def test_what_could_be_run_is_noticed(source: str) -> None:
    assert unsafe(ast.parse(source))
    assert not unsafe(ast.parse("np.load(file, allow_pickle=False); re.compile('a'); json.loads(text); model.eval()"))


# --- visitors apart -------------------------------------------------------------------------------------------


def rebound(tree: ast.Module) -> list[str]:
    """Names of a module that its functions bind anew, or containers of it that they change."""
    containers = {
        target.id
        for node in tree.body
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, (ast.Dict, ast.List, ast.Set))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    found = []
    for function in (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))):
        own = {a.arg for a in ast.walk(function.args) if isinstance(a, ast.arg)}
        own |= {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        for node in ast.walk(function):
            if isinstance(node, ast.Global):
                found += node.names
            changed = changed_by(node)
            if changed in containers - own:
                found.append(changed)
    return found


CHANGES = {"append", "extend", "add", "update", "setdefault", "pop", "popitem", "clear", "remove", "insert"}


def changed_by(node: ast.AST) -> str:
    """The name of the container that this call or assignment changes; "" where it changes none."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
        return node.func.value.id if isinstance(node.func.value, ast.Name) else ""
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, (ast.Store, ast.Del)):
        return node.value.id if isinstance(node.value, ast.Name) else ""
    return ""


# Module state that functions change, by file: what it holds, none of it a visitor's.
SHARED = {
    "gradcore/measure/turns.py": {"_queue", "_thread_state", "_kept"},  # who computes now, and on how many threads
}


def test_no_module_keeps_a_visitors_data() -> None:
    """Tables are filled by functions named _add when a module is imported; nothing else changes one."""
    found = {name_of(path): set(rebound(without_tables(parsed(path)))) for path in FILES}
    assert {name: names for name, names in found.items() if names} == SHARED


def without_tables(tree: ast.Module) -> ast.Module:
    """Without the functions that fill a table at import, which no other function calls."""
    body = [node for node in tree.body if not (isinstance(node, ast.FunctionDef) and node.name == "_add")]
    return ast.Module(body, [])


@pytest.mark.parametrize(
    "source",
    [
        "KEPT = {}\ndef f(x): KEPT[x] = 1",
        "KEPT = []\ndef f(x): KEPT.append(x)",
        "KEPT: dict = {}\ndef f(x): KEPT.pop(x)",
        "LAST = None\ndef f(x):\n    global LAST\n    LAST = x",
    ],
)
def test_changed_module_state_is_noticed(source: str) -> None:
    assert rebound(ast.parse(source))
    assert not rebound(ast.parse("TABLE = {}\ndef f(x):\n    table = {}\n    table[x] = TABLE[x]\n    return table"))


# --- nothing is told to anybody -------------------------------------------------------------------------------


def test_no_usage_statistics_and_no_fonts_of_others() -> None:
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert config["browser"]["gatherUsageStats"] is False
    assert "http" not in str(config["theme"]) and "fontFaces" not in config["theme"]


def test_no_module_of_the_app_calls_out() -> None:
    """explore_command asks its own server on 127.0.0.1 whether it is up."""
    clients = {"requests", "urllib.request", "http.client", "httpx", "aiohttp", "socket", "ftplib", "smtplib"}
    found = {}
    for path in FILES:
        names = {a.name for n in ast.walk(parsed(path)) if isinstance(n, ast.Import) for a in n.names}
        names |= {n.module or "" for n in ast.walk(parsed(path)) if isinstance(n, ast.ImportFrom)}
        if names & clients:
            found[name_of(path)] = names & clients
    assert found == {"gradcore/explore_command.py": {"socket", "urllib.request"}}
