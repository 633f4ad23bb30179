"""What the explorer's scripts are made of: a question as a call, the options of a measurement, their common form."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields
from textwrap import indent
from typing import Any

_SLOT = re.compile(r"<([a-z_]+)>")
WIDEST = 118  # characters of a line
_END = """if __name__ == "__main__":
    try:
        main()
    except (gc.GradcoreError, OSError) as error:  # not allowed, no answer, or no such file
        print(error)
"""


def call(name: str, question: Any) -> str:
    """The Python call that makes this dataclass: its fields by name, those at their default left out."""
    held = ((each, getattr(question, each.name)) for each in fields(question))
    return f"{name}({', '.join(f'{each.name}={value!r}' for each, value in held if value != each.default)})"


def measure_options(networks: int | Sequence[int], seed: int, dtype: str, sampler: str) -> str:
    """The keyword arguments of ``gc.measure`` behind the Spec; ``networks`` how many, or which."""
    if not isinstance(networks, int):
        networks = len(networks) if tuple(networks) == tuple(range(len(networks))) else list(networks)
    options = f', sampler="{sampler}"' if sampler != "dense" else ""
    options += f', dtype="{dtype}"' if dtype != "float64" else ""
    return f"networks={networks}, seed={seed}{options}"


def filled(template: str, **values: Any) -> str:
    """The template with each ``<name>`` of these replaced by its value."""
    return _SLOT.sub(lambda slot: str(values.get(slot[1], slot[0])), template)


def whole(title: str, imports: Sequence[str], body: Sequence[str], helpers: Sequence[str] = ()) -> str:
    """A complete script: what it prints, its imports ("math", or "gradcore.words: LN10, number_text"; sorted, each
    name once), its helpers, and ``main`` with the body's blocks; a refusal is printed."""
    names: dict[str, set[str]] = {}
    for line in imports:
        module, _, listed = line.partition(": ")
        names.setdefault(module, set()).update(listed.split(", ") if listed else ())
    lines = [_import_line(module, sorted(names[module], key=_order)) for module in sorted(names)]
    standard = [line for line in lines if " gradcore" not in line]
    ours = ["import gradcore as gc", *(line for line in lines if " gradcore" in line)]
    head = f'"""{title}"""\n\n' + "\n".join([*standard, *([""] if standard else []), *ours])
    main = "def main():\n" + indent("\n\n".join(block.strip("\n") for block in body if block), "    ")
    return "\n\n\n".join([head, *(helper.strip("\n") for helper in helpers), main, _END])


def _order(name: str) -> tuple[int, str]:
    """Constants, classes, functions, as formatters sort them."""
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2, name)


def _import_line(module: str, names: list[str]) -> str:
    line = f"from {module} import {', '.join(names)}" if names else f"import {module}"
    if len(line) <= WIDEST:
        return line
    return f"from {module} import (\n" + "".join(f"    {name},\n" for name in names) + ")"
