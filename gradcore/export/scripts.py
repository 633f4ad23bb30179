"""The question as a gradcore script: in six lines, and as one that reproduces every number of the explorer's page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gradcore.codec import to_snippet
from gradcore.export.script_text import measure_options

if TYPE_CHECKING:
    from gradcore.spec import Spec


def script(spec: Spec, networks: int = 32, seed: int = 0, dtype: str = "float64", sampler: str = "dense") -> str:
    """Python code that predicts this Spec, gives the verdict, measures it and compares; ``dtype`` of the networks,
    ``sampler`` as in ``measure``."""
    return (
        "import gradcore as gc\n\n"
        f"spec = {to_snippet(spec)}\n"
        "predicted = gc.predict(spec)\n"
        "print(gc.diagnose(predicted))\n"
        f"measured = {_measure(networks, seed, dtype, sampler)}\n"
        "print(gc.compare(predicted, measured))\n"
    )


def _measure(networks: int | Sequence[int], seed: int, dtype: str, sampler: str) -> str:
    return f"gc.measure(spec, {measure_options(networks, seed, dtype, sampler)})"


def page_script(
    spec: Spec,
    networks: int | Sequence[int] = 32,
    seed: int = 0,
    dtype: str = "float64",
    sampler: str = "dense",
    *,
    moment: str = "rms",
    statistic: str = "mean",
    predicted: bool = True,
    sampled: bool = False,
    layer: int = 2,
) -> str:
    """Python code that prints every number of the page Explore on this Spec, from the library alone: the verdict with
    its fixes, the four numbers, every layer of every chart, the agreement, the equations of ``layer``, the Jacobian and
    what each number format would lose.

    ``networks`` how many were measured, or which; 0 where none was. ``predicted`` is False where theory has no answer,
    ``sampled`` whether the page has drawn the band's sample (``Profile.sample``); ``moment`` and ``statistic`` as in
    ``gradcore.charts``. The script runs with the gradcore that wrote it, and needs pandas.
    """
    blocks = [_HEAD, f"spec = {to_snippet(spec)}\n{_answers(networks, seed, dtype, sampler, predicted, sampled)}"]
    blocks += [_VERDICT.replace("ANSWER", "profile" if predicted else "measured")] if predicted or networks else []
    if predicted or networks:
        blocks += [_CARDS.replace("STATISTIC", statistic)]
        blocks += [_TABLE.replace("MOMENT", moment).replace("STATISTIC", statistic)]
    blocks += [_AGREEMENT] if predicted and networks else []
    if predicted:
        blocks += [_EQUATIONS.replace("LAYER", str(max(1, min(layer, spec.depth)))), _RESTS]
    return "\n\n".join([*blocks, _JACOBIAN.replace("SEED", str(seed))])


def _answers(networks: int | Sequence[int], seed: int, dtype: str, sampler: str, predicted: bool, sampled: bool) -> str:
    lines = ["profile = gc.predict(spec)" if predicted else "profile = None  # theory has no answer to this network"]
    lines += ["profile.sample()  # the networks of the predicted band"] if predicted and sampled else []
    lines += [f"measured = {_measure(networks, seed, dtype, sampler)}" if networks else "measured = None"]
    return "\n".join(lines)


_HEAD = '''"""Prints every number of the explorer's page on this network."""

import gradcore as gc
from gradcore import charts
from gradcore.equations import equations
from gradcore.estimates import estimates'''

_VERDICT = """verdict = gc.diagnose(ANSWER)
print(verdict)
if measured is not None:
    print("measured:", gc.diagnose(measured).sentence)"""

_CARDS = """print("\\nRMS of the gradient per layer and at layer 1, RMS of the signal at the last layer, usable depth")
for name, answer in (("predicted", profile), ("measured", measured)):
    if answer is not None:
        found = estimates(answer, "STATISTIC")
        cards = [charts.estimate_text(card) for card in (found.factor, found.ratio, found.signal)]
        print(f"{name}:", *cards, gc.diagnose(answer).usable_depth, sep="   ")"""

_TABLE = """print("\\nevery layer (MOMENT, STATISTIC over networks)")
view = {"moment": "MOMENT", "statistic": "STATISTIC"}
table = charts.layer_table(profile, measured, **view, panels=charts.PANELS)
print(table.to_string(index=False))
curves = {code: charts.series(code, profile, measured, **view) for code in charts.PANELS}  # log10, with the bands
for code, lines in curves.items():
    for name in ("band_low", "band_high", "low", "high"):
        if name in lines:
            print(f"{code}, {name} (log10):", *(f"{value:.4f}" for value in lines[name]))"""

_AGREEMENT = """worst = charts.agreement(gc.compare(profile, measured))
print(f"\\nagreement: at most {worst.z:.1f} standard errors apart ({worst.quantity}, layer {worst.layer})")"""

_EQUATIONS = """print("\\nequations, layer LAYER")
for equation in equations(profile, LAYER):
    print(equation.title, equation.live or equation.latex, sep=": ")"""

_RESTS = """print()
for note in profile.notes:
    print("note:", note)
print(charts.precision_text(profile))"""

_JACOBIAN = """print("\\nJacobian of the output with respect to the input")
try:
    jacobian = gc.jacobian(spec)
    print(f"ln of the mean square singular value {jacobian.log_mean_square:.6g}, spread {jacobian.spread:.6g}")
    if measured is not None:
        values = gc.singular_values(spec, seed=SEED)
        print("singular values of network 0:", *(f"{value:.4g}" for value in values))
except gc.GradcoreError as error:
    print(error)
"""
