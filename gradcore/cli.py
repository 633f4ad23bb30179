"""The command line: ``python -m gradcore predict|diagnose|measure|compare|presets|explore``.

The flags of a Spec come from ``gradcore.fields.FIELDS`` and are read by the one codec. Results go to stdout, progress
and errors to stderr; an error is one line and exit status 2, an interrupted measurement prints what it has and exits
with 130. What is printed is made in ``gradcore.cli_output``.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradcore as gc
from gradcore import cli_output as output
from gradcore import explore_command
from gradcore.codec import from_json, read_value, to_argv, to_json
from gradcore.errors import GradcoreError, SpecError
from gradcore.fields import FIELDS
from gradcore.presets import PRESETS, find_preset
from gradcore.theory.precision import RANGES

PLAIN_DTYPES = ("float32", "bfloat16", "float16")
BAD_INPUT, INTERRUPTED = 2, 130  # exit statuses


# --- what the arguments mean -------------------------------------------------------------------------------


def spec_of(args: argparse.Namespace) -> gc.Spec:
    """The Spec asked for: preset, file or defaults, with the given flags on top. Raises SpecError."""
    base = find_preset(args.preset).spec if args.preset else _read_spec(args.spec) if args.spec else gc.Spec()
    given = {name: getattr(args, name) for name in FIELDS if getattr(args, name) is not None}
    return base.replace(**{name: read_value(name, text) for name, text in given.items()})


def _read_spec(path: str) -> gc.Spec:
    """The Spec of a JSON file: an object of fields, or a document written by ``--json``."""
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpecError("spec", path, "a readable JSON file", str(error)) from None
    if isinstance(document, dict):
        document = document.get("spec", document)
    if not isinstance(document, dict):
        raise SpecError("spec", path, "a JSON object of fields, or a document written by --json")
    return from_json(document)


def _indices(text: str) -> range:
    """Networks from "N" (0..N-1) or "a:b" (a..b-1)."""
    start, colon, stop = text.partition(":")
    low, high = (start, stop) if colon else ("0", start)
    if not (low.isdecimal() and high.isdecimal() and int(low) < int(high)):
        raise SpecError("networks", text, "a number from 1 on, or a range a:b with a < b")
    return range(int(low), int(high))


def _measured(args: argparse.Namespace, spec: gc.Spec) -> tuple[gc.Measurement, int]:
    """The measurement and the exit status: network by network, so that Ctrl-C leaves the finished ones."""
    networks = _indices(args.networks)
    if not args.seed.isdecimal():
        raise SpecError("seed", args.seed, "an integer from 0 on")
    if args.dtype not in RANGES:
        raise SpecError("dtype", args.dtype, "one of " + ", ".join(RANGES))
    parts: list[gc.Measurement] = []
    status = 0
    try:
        for index in networks:
            parts.append(
                gc.measure(spec, networks=[index], seed=int(args.seed), sampler=args.sampler, dtype=args.dtype)
            )
            _report(len(parts), len(networks), args.progress)
    except KeyboardInterrupt:
        if not parts:
            raise
        status = INTERRUPTED
        print(f"\ninterrupted after {len(parts)} of {len(networks)} networks", file=sys.stderr)
    return gc.Measurement.merge(*parts), status


def _report(done: int, total: int, asked: bool) -> None:
    """Progress on stderr: one rewritten line on a terminal, lines where asked for elsewhere."""
    terminal = sys.stderr.isatty()
    if terminal or asked:
        start, end = ("\r", "\n" if done == total else "") if terminal else ("", "\n")
        print(f"{start}measured {done} of {total} networks", end=end, file=sys.stderr, flush=True)


# --- commands ----------------------------------------------------------------------------------------------


def _show(args: argparse.Namespace, spec: gc.Spec, text: Callable[..., str], result: Any, plain: str = "") -> None:
    layers = output.chosen_layers(spec.depth, args.layers)
    flags = shlex.join(to_argv(spec)) or "(all defaults)"
    print(f"spec: {flags}\n{text(result, output.Scale(args.second_moments), layers)}")
    if plain:
        print(f"\n{plain}")


def _predict(args: argparse.Namespace) -> int:
    spec = spec_of(args)
    profile = gc.predict(spec)
    if args.json:
        print(output.json_text("predict", spec, predicted=output.predicted_part(profile)))
    elif args.csv:
        print(output.csv_text(output.predicted_columns(profile)))
    else:
        _show(args, spec, output.predicted_text, profile)
    return 0


def _diagnose(args: argparse.Namespace) -> int:
    spec = spec_of(args)
    verdict = gc.diagnose(gc.predict(spec))
    if args.json:
        print(output.json_text("diagnose", spec, verdict=output.verdict_part(verdict)))
    elif args.csv:
        print(output.csv_text(output.verdict_columns(verdict)))
    else:
        print(output.verdict_text(verdict))
    return 0


def _measure(args: argparse.Namespace) -> int:
    """``measure`` and ``compare``: the second adds the prediction."""
    spec = spec_of(args)
    output.chosen_layers(spec.depth, args.layers)  # refuse a bad flag before the work, not after it
    if args.csv and args.plain:
        raise SpecError("plain", True, "tables and --json", "Leave out --csv or --plain.")
    if args.plain and args.sampler != "dense":
        raise SpecError("plain", True, "sampler dense", "Without weights there is nothing to run plainly.")
    profile = gc.predict(spec) if args.command == "compare" else None
    measured, status = _measured(args, spec)
    runs = {dtype: measured.plain(dtype) for dtype in PLAIN_DTYPES} if args.plain else {}
    compared = gc.compare(profile, measured) if profile else None
    if args.json:
        parts: dict[str, Any] = {"measured": output.measured_part(measured)}
        if profile and compared:
            parts |= {"predicted": output.predicted_part(profile), "comparison": output.compared_part(compared)}
        if runs:
            parts["plain"] = output.plain_part(runs)
        print(output.json_text(args.command, spec, **parts))
    elif args.csv:
        print(output.csv_text(output.compared_columns(compared) if compared else output.measured_columns(measured)))
    else:
        plain = output.plain_text(runs, profile) if runs else ""
        text = output.compared_text if compared else output.measured_text
        _show(args, spec, text, compared or measured, plain)
    return status


def _presets(args: argparse.Namespace) -> int:
    """All presets, or those named."""
    entries = [find_preset(code) for code in args.names] or list(PRESETS.values())
    rows = [
        {"code": p.code, "experiment": p.experiment, "title": p.title, "sentence": p.sentence, "spec": to_json(p.spec)}
        for p in entries
    ]
    if args.json:
        print(json.dumps({"gradcore": gc.__version__, "command": "presets", "presets": rows}))
    elif args.csv:
        names = ("code", "experiment", "title", "sentence")
        columns = {name: [row[name] for row in rows] for name in names}
        print(output.csv_text({**columns, "flags": [shlex.join(to_argv(p.spec)) for p in entries]}))
    else:
        for p in entries:
            number = f"  (experiment {p.experiment})" if p.experiment else ""
            flags = shlex.join(to_argv(p.spec)) or "(all defaults)"
            print(f"{p.code}{number}: {p.title}\n    {p.sentence}\n    {flags}")
    return 0


def _explore(args: argparse.Namespace) -> int:
    """The explorer at this Spec, until it is interrupted."""
    return explore_command.explore(spec_of(args), args.port, not args.no_browser, args.server)


# --- the parser --------------------------------------------------------------------------------------------


def _spec_flags() -> argparse.ArgumentParser:
    """--preset, --spec and one flag per field of the table, in the table's groups."""
    parser = argparse.ArgumentParser(add_help=False)
    start = parser.add_argument_group("starting point").add_mutually_exclusive_group()
    start.add_argument("--preset", metavar="NAME", help="start from a preset (see: gradcore presets)")
    start.add_argument("--spec", metavar="FILE", help="start from a JSON file of fields, or one written by --json")
    groups: dict[str, Any] = {}
    for name, field in FIELDS.items():
        group = groups.setdefault(field.group, None) or parser.add_argument_group(field.group)
        groups[field.group] = group
        words = field.help
        if field.choices:
            words += ": " + ", ".join(field.choices)
        if field.default is not None:
            words += f" (default {field.write(field.default)})"
        group.add_argument(f"--{name}", metavar="VALUE", help=words.replace("%", "%%"))
    return parser


def _output_flags(documents_only: bool = False) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    group = parser.add_argument_group("output")
    kind = group.add_mutually_exclusive_group()
    kind.add_argument("--json", action="store_true", help="one JSON object (natural logarithms, units stated)")
    kind.add_argument("--csv", action="store_true", help="a tidy CSV table (units in the header)")
    if not documents_only:
        group.add_argument("--layers", default="12", metavar="N", help='rows of the table, or "all" (default 12)')
        group.add_argument("--second-moments", action="store_true", help="show mean squares instead of RMS")
    return parser


def _measure_flags() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    group = parser.add_argument_group("measurement")
    group.add_argument("--networks", default="32", metavar="N", help="how many, or a range a:b (default 32)")
    group.add_argument("--seed", default="0", help="seed of all networks (default 0)")
    group.add_argument("--dtype", default="float64", help="one of " + ", ".join(RANGES) + " (default float64)")
    group.add_argument(
        "--sampler", default="dense", help="dense (real weights) or exact (matrix-free, same law; default dense)"
    )
    group.add_argument("--plain", action="store_true", help="also where plain " + "/".join(PLAIN_DTYPES) + " breaks")
    group.add_argument("--progress", action="store_true", help="report progress also where stderr is no terminal")
    return parser


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    about = "Do a deep network's signals and gradients survive its depth? Predicted and measured, before training."
    parser = argparse.ArgumentParser(prog="gradcore", description=about, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=gc.__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    spec, shown, measuring = _spec_flags(), _output_flags(), _measure_flags()
    table: tuple[tuple[str, str, Callable[..., int], list[argparse.ArgumentParser]], ...] = (
        ("predict", "what theory says of every layer (no torch)", _predict, [spec, shown]),
        ("diagnose", "the verdict, and what mends it", _diagnose, [spec, _output_flags(documents_only=True)]),
        ("measure", "what real torch networks show", _measure, [spec, measuring, shown]),
        ("compare", "both, and how far apart they are", _measure, [spec, measuring, shown]),
        ("presets", "the named presets", _presets, [_output_flags(documents_only=True)]),
        ("explore", "the same in the browser: start the explorer there", _explore, [spec]),
    )
    for name, words, run, parents in table:
        command = commands.add_parser(name, help=words, description=words, parents=parents, allow_abbrev=False)
        command.set_defaults(run=run)
        if name == "presets":
            command.add_argument("names", nargs="*", metavar="NAME", help="only these (default: all)")
        elif name == "explore":
            explore_command.add_flags(command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. Raises SystemExit for --help and for flags argparse refuses."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        return 0
    try:
        status = args.run(args)
        sys.stdout.flush()
        return status
    except GradcoreError as error:
        message = str(error)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("torch", "sklearn"):
            raise
        message = f'{error.name} is not installed; measuring needs: pip install "gradcore[measure]"'
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader, such as head, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return BAD_INPUT
