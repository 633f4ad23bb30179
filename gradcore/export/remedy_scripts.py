"""The page Remedies as a gradcore script that prints its numbers: the board, clipping, or weight penalties.

The script runs with the gradcore that wrote it; it needs torch where it measures or trains.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gradcore.codec import to_snippet
from gradcore.export.script_text import call, filled, measure_options, whole

if TYPE_CHECKING:
    from gradcore.experiments.remedies_question import RemediesQuestion
    from gradcore.spec import Spec

_BOARD_IMPORTS = (
    "gradcore.charts: estimate_text",
    "gradcore.charts.data: relative",
    "gradcore.charts.remedies: name_of",
    "gradcore.experiments.board: board, factors, residual_factors",
    "gradcore.experiments.board_words: figure, headline",
    "gradcore.experiments.remedies_question: RemediesQuestion",
    "gradcore.words: LN10, factor_text, number_text",
)
_BOARD = """
spec = <spec>
question = <question>
found = board(spec, question.codes, question.choices)
print(*headline(found), found.plain.refusal or "")
for code, error in found.skipped.items():
    print(f"left out of all together: {name_of(code)}, {error.reason}")
try:
    scales = residual_factors(spec)
except gc.GradcoreError:
    scales = None
together = [] if found.together is None else [found.together]
for entry in (found.plain, *together, *found.alone.values()):
    print(f"\\n{name_of(entry.code)}: {entry.verdict.kind if entry.verdict else entry.refusal}")
    if entry.factors is not None:
        back, ahead = entry.factors.backward.log / LN10, entry.factors.forward.log / LN10
        print(f"gradient x{factor_text(back)} per layer in RMS (x{factor_text(2 * back)} in mean square)")
        ratio = number_text(entry.factors.ratio.log / LN10)
        print(f"layer 1 gets {ratio} of the last layer's gradient; signal x{factor_text(ahead)} per layer")
    print(figure(entry, found.plain, scales) or "")
"""
_BOARD_SHOWN = """
for entry in found.shown:
    print(f"\\n{name_of(entry.code)}, every layer: <unit> of the gradient over the last layer's, then of the signal")
    if entry.profile is not None:
        log_g = entry.profile.log_g
        for logs in (relative(log_g, log_g[-1]), entry.profile.log_q):
            print("predicted:", *(number_text(log / (<per>LN10), 3) for log in logs))<board_measured>
"""
_BOARD_MEASURED = """
    try:
        measured = gc.measure(entry.spec, <options>)
    except gc.GradcoreError as error:
        print(error)
        continue
    mine = factors(measured)
    print(f"measured per layer (RMS): gradient x{estimate_text(mine.backward)}, ", end="")
    print(f"signal x{estimate_text(mine.forward)}")
    log_g = measured.mean("log_g")
    for logs in (relative(log_g, log_g[-1]), measured.mean("log_q")):
        print("measured:", *(number_text(log / (<per>LN10), 3) for log in logs))"""
_EVERY_ACTIVATION = """
print("\\nevery activation, gradient per layer in RMS (mean square): on these weights, and on weights that suit it")
for code, *pair in activation_factors(spec):
    said = [factors_text(e.factors.backward.log) + f" {e.verdict.kind}" if e.factors else str(e.refusal) for e in pair]
    suited = pair[1]
    if suited.profile is not None:
        said.append(f"{suited.spec.init}, sigma_w = {float(suited.profile.sigma_w[-1]):.3g}")
    print(f"{code}:", *said, sep="; ")
"""
_CLIP_IMPORTS = (
    "math",
    "gradcore.charts.clipping: describe_layers, describe_norms",
    "gradcore.experiments.clip_study: clip_gradients, layer_gradients, norms_after",
    "gradcore.experiments.clipping: propose_threshold, share_clipped",
    "gradcore.experiments.data: digits",
    "gradcore.experiments.remedies_question: RemediesQuestion",
    "gradcore.experiments.training: train_all",
    "gradcore.words: number_text",
)
_CLIPPING = """
question, data = <question>, digits()
plain = train_all(question.observed_run(data), data)
norms = plain.series("clip_norm")
limit = question.threshold(norms)
if limit is None:
    print("no norm of the gradient is a number above 0: there is nothing to clip")
    return
first = clip_gradients(layer_gradients(question.plain_run(data), data), question.clip, limit)
share = share_clipped(norms, limit)
print(f"a threshold of {number_text(math.log10(limit), 3)} clips {share:.0%} of {len(norms)} steps; ", end="")
print(f"cosine of the first step to the unclipped one {first.cosine:.2f} ({first.cosine:.3f})")
<by_value>print(describe_layers(first))
print("norm of every layer's gradient at the first step, before:", *(f"{norm:.4g}" for norm in first.before))
print("and after clipping:", *(f"{norm:.4g}" for norm in first.after))
print(describe_norms(norms, limit, share))
for one in propose_threshold(norms[norms == norms]).thresholds:
    print(one.message)
if plain.stop is not None:
    print("the unclipped run:", plain.stop.message)

clipped = train_all(question.clipped_run(data, limit), data)
for name, values in (
    ("norms, unclipped run", norms),
    ("norms, clipped run, before clipping", clipped.series("clip_norm")),
    ("norms, clipped run, after clipping", norms_after(clipped)),
    ("loss, unclipped run", plain.series("loss")),
    ("loss, clipped run", clipped.series("loss")),
):
    print(f"\\n{name}:", *(f"{value:.3g}" for value in values))
"""
_BY_VALUE = """print(f"{first.share:.2%} of the first gradient's entries are cut; Gaussian ones ", end="")
print(f"would keep a cosine of {first.predicted_cosine:.3f}")
"""
_PENALTY_IMPORTS = (
    "gradcore.experiments.data: digits",
    "gradcore.experiments.penalty_study: affordable_networks, penalty_alone, pooled, shares_over_seeds, two_norms",
    "gradcore.experiments.regularization: predicted_share",
    "gradcore.experiments.remedies_question: RemediesQuestion",
    "gradcore.experiments.training: train_all",
    "gradcore.experiments.training_loop: first_gradients",
    "numpy.linalg: norm",
)
_PENALTIES = """
question, data = <question>, digits()
spec = question.penalized_run(data)
print(f"{question.penalty} at lambda = {question.strength:g}: penalty over gradient in the first update,", end=" ")
print("layer 1 to the last (root mean squares over seeds)")
count = affordable_networks(spec, data, <networks>)
if count >= <fewest>:  # else it would take long
    try:
        print("predicted:", *(f"{share:.3g}" for share in predicted_share(spec, data, networks=count).share))
    except gc.GradcoreError as error:
        print(error)
shares = shares_over_seeds(spec, data, max(1, affordable_networks(spec, data, <seeds>)))
print(f"measured on {len(shares)} seeds:", *(f"{share:.3g}" for share in pooled(shares).share))
for one in shares:
    print("one seed:", *(f"{share:.3g}" for share in one.share))
print(two_norms(question.plain_run(data), data, question.strength).message)
for name, run in (("without", question.plain_run(data)), ("with the penalty", spec)):
    run = train_all(run, data)
    norms = norm(run.series("weight_norms"), axis=1)
    print(f"\\nnorm of all weights at every step, {name}:", *(f"{value:.3g}" for value in norms))
    if run.stop is not None:
        print(run.stop.message)
alone = penalty_alone(spec, first_gradients(spec, data)[0], spec.steps_on(data))
print("\\nby the penalty alone, predicted:", *(f"{n:.3g}" for n in norm(alone, axis=1)))
"""


def remedies_script(
    question: RemediesQuestion,
    spec: Spec,
    networks: int | Sequence[int] = 8,
    seed: int = 0,
    dtype: str = "float64",
    sampler: str = "dense",
    *,
    moment: str = "rms",
    activations: bool = False,
) -> str:
    """Python code that prints every number of the page Remedies in the question's view: the board of this network, of
    which so many ``networks`` were measured (0: none), with the table of every activation where ``activations``; or
    clipping, or weight penalties, with their training runs on the digits."""
    from gradcore.experiments import penalty_study

    values: dict[str, Any] = {"spec": to_snippet(spec), "question": call("RemediesQuestion", question)}
    values |= {"networks": penalty_study.NETWORKS, "fewest": penalty_study.FEWEST, "seeds": penalty_study.SEEDS}
    per, unit = {"rms": ("2 * ", "RMS"), "mean_square": ("", "mean square")}[moment]
    values |= {"per": per, "unit": unit}
    measured = filled(_BOARD_MEASURED, options=measure_options(networks, seed, dtype, sampler), **values)
    values["by_value"] = _BY_VALUE if question.clip == "value" else ""
    values["board_measured"] = measured if networks else ""
    more = ("gradcore.experiments.board: activation_factors", "gradcore.words: factors_text") if activations else ()
    views: dict[str, tuple[list[str], tuple[str, ...]]] = {
        "board": ([_BOARD, _BOARD_SHOWN, *([_EVERY_ACTIVATION] if activations else [])], (*_BOARD_IMPORTS, *more)),
        "clipping": ([_CLIPPING], _CLIP_IMPORTS),
        "penalties": ([_PENALTIES], _PENALTY_IMPORTS),
    }
    blocks, imports = views[question.view]
    title = f"Prints every number of the page Remedies: {question.view}."
    return whole(title, imports, [filled(block, **values) for block in blocks])
