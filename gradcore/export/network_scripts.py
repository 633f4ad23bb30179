"""The pages about networks as gradcore scripts that print their numbers: Compare, Phase map, Activations, Initializers.

A script runs with the gradcore that wrote it; it needs torch where it measures, and pandas for tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gradcore.codec import to_snippet
from gradcore.export.script_text import filled, measure_options, whole

if TYPE_CHECKING:
    from gradcore.spec import Spec

UNITS = {"rms": "RMS", "mean_square": "mean square"}
MAP_CELLS = 60  # a side of a map whose cells are computed at once
SAMPLES = 10_000  # draws of N(0, 1) behind the gains by experiment

# --- Compare ----------------------------------------------------------------------------------------------------

_COMPARE_IMPORTS = (
    "gradcore: charts",
    "gradcore.charts.compare_words: Curve, happenings, headline",
    "gradcore.estimates: estimates",
    "gradcore.pins: acts, differences, pins, shared, value_text",
    "gradcore.words: LN10, factor_text, number_text",
)
_ANSWER = '''
def answer(ask, spec, **options):
    """What ask(spec) says; None, and the reason printed, where it has no answer."""
    try:
        return ask(spec, **options)
    except gc.GradcoreError as error:
        print(f"{ask.__name__}: {error}")
        return None
'''
_DIAGNOSED = """
specs = [
<specs>
]
named = pins(specs)
profiles = [answer(gc.predict, spec) for spec in specs]
measured = <measured>
for message in headline([Curve(one.name, profile) for one, profile in zip(named, profiles)]):
    print(message)
"""
_EACH = """
for number, (one, profile, there) in enumerate(zip(named, profiles, measured), start=1):
    print(f"\\n{number}: {one.name}")
    if profile is not None:
        verdict, found = gc.diagnose(profile), estimates(profile, "<statistic>")
        factor, ratio = found.factor<squared>, found.ratio<squared>
        print(f"predicted, {verdict.kind}: {verdict.sentence}")
        print(f"gradient x{factor_text(factor.log / LN10)} per layer (<unit>)")
        print(f"gradient at layer 1 over the last layer's, predicted: {number_text(ratio.log / LN10)} (<unit>)")
        fix = next(verdict.iter_fixes(), None) if not verdict.stable else None
        mends = "nothing to mend" if verdict.stable else "no single change found" if fix is None else fix.message
        print("what mends it:", mends)
    if there is not None:
        ratio = estimates(there, "<statistic>").ratio<squared>
        print(f"gradient at layer 1 over the last layer's, measured: {charts.estimate_text(ratio)} (<unit>)")
    if profile is not None or there is not None:
        view = {"moment": "<moment>", "statistic": "<statistic>"}
        print("every layer (<unit>, <statistic> over networks):")
        print(charts.layer_table(profile, there, **view).to_string(index=False))
        for code in charts.MAIN if there is not None else ():
            for name in ("low", "high"):  # ends of the middle 90% of the networks
                values = charts.series(code, profile, there, **view)[name]
                print(f"{code}, measured, {name} (log10):", *(f"{value:.4f}" for value in values))
"""
_FIELDS = """
print()
curves = [Curve(one.name, *both) for one, *both in zip(named, profiles, measured)]
for text in happenings(curves, "<dtype>"):
    print(text)
for name in differences(specs):
    print(f"{name}:", *(value_text(getattr(s, name), 4) if acts(s, name) else "-" for s in specs))
print("the same in all:", *(f"{name}={value_text(value, 4)}" for name, value in shared(specs).items()))
"""


def compare_script(
    specs: Sequence[Spec],
    networks: int | Sequence[int] = 8,
    seed: int = 0,
    dtype: str = "float64",
    sampler: str = "dense",
    *,
    moment: str = "rms",
    statistic: str = "mean",
) -> str:
    """Python code that prints every number of the page Compare on these networks: what they say together, verdict,
    figures and first remedy of each, every layer of both charts, and the fields that differ.

    ``networks`` how many were measured of each, or which; 0 where none were. A network without a prediction or a
    measurement is printed with the reason. Raises nothing.
    """
    options = measure_options(networks, seed, dtype, sampler)
    values = {
        "specs": "\n".join(f"    {to_snippet(spec)}," for spec in specs),
        "measured": f"[answer(gc.measure, spec, {options}) for spec in specs]" if networks else "[None] * len(specs)",
        "squared": ".squared" if moment == "mean_square" else "",
        "unit": UNITS[moment],
        "moment": moment,
        "statistic": statistic,
        "dtype": dtype,
    }
    if not specs:
        return whole("The page Compare: no network is pinned.", (), ['print("no network is pinned")'])
    body = [filled(block, **values) for block in (_DIAGNOSED, _EACH, _FIELDS)]
    return whole("Prints every number of the page Compare on these networks.", _COMPARE_IMPORTS, body, [_ANSWER])


# --- Phase map --------------------------------------------------------------------------------------------------

_MAP = """
spec = <spec>
axes = [(field, axis_values(spec, field, <cells>)) for field in ("<x>", "<y>")]
found = gc.phase_map(spec, *axes, of="<of>")
print(charts.headline(found))
print(charts.stands_text(found, "<moment>"))
print(charts.critical_text(found))
print(charts.map_description(found, "<moment>"))

print(f"\\n{charts.value_title(found, '<moment>')}: <x> of the columns, then <y> and its row<log>")
print("<x>:", *(f"{x:.6g}" for x in found.xs))
for y, row in zip(found.ys, charts.shown_values(found.scalar, found.values, "<moment>")):
    print(f"{y:.6g}:", *(f"{value:.4g}" for value in row))
for xs, ys, stable in found.critical.pieces:
    kind = "stable" if stable else "unstable"
    print(f"critical line, {kind}:", *(f"({x:.4g}, {y:.4g})" for x, y in zip(xs, ys)))
for error in found.refused[:1]:
    print("cells without a prediction:", error)
"""


def phase_map_script(
    spec: Spec, x: str = "gain", y: str = "depth", of: str = "log_g_1", *, moment: str = "rms", cells: int = MAP_CELLS
) -> str:
    """Python code that prints every number of the page Phase map: where this network stands, the whole map with about
    ``cells`` values a side of its ordinary ranges (a page that predicts cell by cell has fewer), and the critical line.
    ``x``, ``y``, ``of`` as in ``phase_map``. Raises SpecError for an unknown one."""
    from gradcore.phases import scalar_of
    from gradcore.theory.axes import check_axis

    for name, axis in (("x", x), ("y", y)):
        check_axis(name, axis)
    log = " (log10)" if scalar_of(of)[0].kind in ("log", "factor") else ""
    values = {"spec": to_snippet(spec), "x": x, "y": y, "of": of, "moment": moment, "cells": cells, "log": log}
    imports = ("gradcore: charts", "gradcore.theory.axes: axis_values")
    return whole("Prints every number of the page Phase map on this network.", imports, [filled(_MAP, **values)])


# --- Activations ------------------------------------------------------------------------------------------------

_ACTIVATION_IMPORTS = (
    "gradcore.guide.gains: gain_table, gains_of",
    "gradcore.guide.uses: uses",
    "gradcore.guide.variance_map: story, unstable_story, variance_map",
    "gradcore.pins: value_text",
    "gradcore.words: LN10, factor_text, number_text",
)
_FATE = """
spec, sigma_b = <spec>, 0.0
try:
    plain, log_q = variance_map(spec)
    fate, sigma_b = plain.fate(log_q), plain.sigma_b
    print(story(fate))
    usable = "usable" if fate.usable(spec.depth) else "not usable"
    factor = factor_text(0.5 * fate.log_chi / LN10)
    print(f"gradients x{factor} per layer (RMS), {usable} over {spec.depth} layers")
    print(f"{spec.activation}, {spec.init} at gain {value_text(spec.gain, 4)}: ", end="")
    print(f"sigma_w = {plain.sigma_w:.4g}, sigma_b = {sigma_b:.4g}")
    for message in unstable_story(plain.fixed_points):
        print(message)
    for point in plain.fixed_points:
        slopes = f"chi = {point.chi:.4g}, chi_parallel = {point.chi_parallel:.4g}"
        print(f"fixed point: RMS {point.q**0.5:.4g}, {slopes}")
    path = [number_text(0.5 * log / LN10, 3) for log in plain.path(log_q, spec.depth)]
    print("RMS of the signal from layer 1 to the last:", *path)
except gc.GradcoreError as error:
    print(error)
print("good for:", *uses(spec.activation, spec.negative_slope))
gain = gains_of(spec.activation, spec.negative_slope)
print(f"torch's gain, else the exact one: sigma_w = {gain.torch or gain.forward:.4g}")
try:
    critical = gc.critical_gain(spec.activation, bias_std=sigma_b, negative_slope=spec.negative_slope)
    stable = any(p.stable for p in gc.critical_points(spec.activation, sigma_b, spec.negative_slope))
    print(f"critical gain: sigma_w = {critical:.4g}, {'stable' if stable else 'unstable'}")
except gc.SpecError as error:
    print("no critical gain:", error)
"""
_GAINS = """
print("\\ngains (sigma_w): forward exact, torch, backward exact")
for exact in gain_table(spec.negative_slope):
    torch = "-" if exact.torch is None else f"{exact.torch:.5f}"
    print(f"{exact.activation}: {exact.forward:.5f}, {torch}, {exact.backward:.5f}")
"""
_SAMPLED = """
print("\\nby experiment, <samples> draws of N(0, 1): forward, backward, std x / std phi(x) (exact)")
for exact, drawn in zip(gain_table(spec.negative_slope), sample_gains(<samples>, <seed>, spec.negative_slope)):
    away = drawn.farthest(exact.forward, exact.backward)
    print(
        f"{exact.activation}: {drawn.forward:.3f} ± {drawn.forward_error:.3f}, {drawn.backward:.3f} ± "
        f"{drawn.backward_error:.3f}, {drawn.spread:.3f} ({exact.spread:.3f}); {away:.1f} standard errors away"
    )
"""


def activations_script(spec: Spec, seed: int = 0, *, sampled: bool = True) -> str:
    """Python code that prints every number of the page Activations: where this network's signal goes, its gains, the
    table of gains and, where it was ``sampled``, the experiment with draws of this ``seed`` (torch)."""
    values = {"spec": to_snippet(spec), "samples": SAMPLES, "seed": seed}
    blocks = [_FATE, _GAINS, *([_SAMPLED] if sampled else [])]
    imports = (*_ACTIVATION_IMPORTS, *(("gradcore.draws: sample_gains",) if sampled else ()))
    title = "Prints every number of the page Activations on this network."
    return whole(title, imports, [filled(block, **values) for block in blocks])


# --- Initializers -----------------------------------------------------------------------------------------------

_SCHEME_IMPORTS = (
    "gradcore.equations: equations",
    "gradcore.guide.schemes: scheme, schemes",
    "gradcore.pins: value_text",
    "gradcore.words: factors_text",
)
_OF_SCHEME = '''
def show(row):
    """One initializer: its gain, the exact law of a weight, and the predicted factors per layer."""
    print(f"{row.entry.code}: gain {value_text(row.spec.gain, 4)}, ", end="")
    if row.variance == row.variance:  # a number
        formula = row.entry.formula.partition(":")[0]
        print(f"RMS of a weight {row.std:.4g} ({row.std:.3g}), E[W^2] = {formula} = {row.variance:.3g}, ", end="")
    if row.verdict is not None:
        print(f"signal {factors_text(row.log_forward)}, gradient {factors_text(row.log_backward)}, ", end="")
        print(f"{row.verdict.kind}: {row.verdict.sentence}")
    else:
        print(row.refusal)
'''
_SCHEMES = """
spec = <spec>
own, rows = scheme(spec), schemes(spec, own_gain=<own_gain>)
n, m = own.fans
print(f"layer {own.layer}: fan-in n = {n:,}, fan-out m = {m:,}; factors per layer in RMS (in mean square)")
show(own)
print(<gains>)
for row in rows:
    show(row)
"""
_DRAWN = """
try:
    sample = sample_weights(spec, own.layer, seed=<seed>)
    count = sample.shape[0] * sample.shape[1]
    print(f"\\n{count:,} weights of layer {own.layer}, drawn by torch (seed <seed>): mean {sample.mean:.2g}, ", end="")
    print(f"RMS {sample.rms:.4g}; exact {own.std:.4g}")
    for low, high, number in zip(sample.edges[:-1], sample.edges[1:], sample.counts):
        print(f"{low:.4g} to {high:.4g}: {number}")
except gc.GradcoreError as error:
    print(error)
"""
_DERIVED = """
if own.verdict is not None:
    print(f"\\nderivation, layer {own.layer}")
    for equation in equations(gc.predict(spec), own.layer):
        print(f"{equation.title}: {equation.live or equation.latex} {equation.note} ({equation.source})")
"""


def initializers_script(spec: Spec, own_gain: bool = True, seed: int = 0, *, drawn: bool = True) -> str:
    """Python code that prints every number of the page Initializers: the law of this network's weights, every
    initializer at its own gain or (``own_gain`` False) at the network's, the derivation and, where they were
    ``drawn``, the weights of one layer (torch)."""
    gains = '"each at its own default gain:"' if own_gain else '"all at the gain of the network:"'
    values = {"spec": to_snippet(spec), "own_gain": own_gain, "seed": seed, "gains": gains}
    blocks = [_SCHEMES, *([_DRAWN] if drawn else []), _DERIVED]
    imports = (*_SCHEME_IMPORTS, *(("gradcore.draws: sample_weights",) if drawn else ()))
    title = "Prints every number of the page Initializers on this network."
    return whole(title, imports, [filled(block, **values) for block in blocks], [_OF_SCHEME])
