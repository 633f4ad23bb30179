"""The pages of the classic experiments as gradcore scripts that print their numbers: Chain, Gates and Learn.

A script runs with the gradcore that wrote it; it needs torch where it measures or trains.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

from gradcore.export.script_text import call, filled, whole

if TYPE_CHECKING:
    from gradcore.experiments.chain.question import ChainQuestion
    from gradcore.experiments.gates import GatesQuestion
    from gradcore.experiments.learn import LearnQuestion

_NUMBERS = "gradcore.words: LN10, number_text"

# --- Chain ------------------------------------------------------------------------------------------------------

_PRODUCT = """
question = <question>
chain = question.chain()
print(headline(chain))
print(why(chain))
print(f"{chain.length} neurons, {chain.activation}, seed {question.seed}")
print("weights:", *(f"{w:.6g}" for w in chain.weights))
print("biases:", *(f"{b:.6g}" for b in chain.biases))
print("factors sigma'(z_1), then w_j sigma'(z_j):", *(f"{factor:.4g}" for factor in chain.factors))
print(f"dC/da_L = {chain.cost_slope:.4g}; dC/db_1 = {chain.gradient:.4g}")
print("size of dC/db, neuron 1 to the last:", *(number_text(g / LN10, 4) for g in chain.log_bias_gradients))
"""
_CHAIN_IMPORTS = (
    "gradcore.charts.chain_words: headline, why",
    "gradcore.experiments.chain.question: ChainQuestion",
    _NUMBERS,
)
_EARLY = """
found = early_against_late(chain, 1, min(3, chain.length))
print("\\nfactors that dC/db_1 has more, sigma'(z_j) and w_(j+1):")
for neuron, slope, weight in found.factors:
    print(f"{neuron}: {slope:.4g}, {weight:.4g}, together {slope * weight:.4g}")
print(f"dC/db_1 over dC/db of neuron {found.late}: {number_text(found.log_ratio / LN10, 4)} in size, ", end="")
limit = number_text((found.late - found.early) * math.log10(0.25), 3)
print(f"{found.late - found.early} factors; each below 1/4 would make it less than {limit}")
"""
_NUDGE = """
followed = nudge(chain, question.nudge)
print(f"\\na change of {followed.delta:.4g} in b_1 becomes {followed.steps[-1].change:.4g} in the cost")
for step in followed.steps:
    print(f"{step.symbol}_{step.layer}: changes by {step.change:.4g} (product of the factors: {step.linear:.4g})")
print(f"dC/db_1 = {followed.derivative:.6g}; change of b_1, change of C over it, relative error:")
for row in nudges(chain, sorted({question.nudge, 1e-1, 1e-2, 1e-3, 1e-4, 1e-6}, reverse=True)):
    print(f"{row.delta:g}: {row.ratio:.8g}, {row.error:.1e}")
"""
_SLOPE = """
at, most = steepest(chain.activation, chain.negative_slope)
print(f"\\nthe slope of {chain.activation} is at most {most:.6g}, at z = {at + 0.0:.3g}")
print(f"no factor |w sigma'(z)| reaches 1 unless |w| is at least {1.0 / most:.4g}")
"""
_RANDOM = """
weights, biases = question.laws
law = predict_chains(weights, biases, question.input, question.activation)
drawn = draw_chains(question.length, weights, biases, <draws>, question.seed, question.input, question.activation)
mine, alive = law.product(question.length), round(drawn.alive * <draws>)
print(f"\\nrandom chains, <draws_text> drawn; not exactly 0: {mine.alive:.2%}, drawn {drawn.alive:.2%}")
if alive > 1 and mine.alive > 0.0:
    print(f"ln of the product: predicted {mine.mean:.3f} ± {mine.std:.3f} (mean and spread), ", end="")
    print(f"drawn {drawn.mean:.3f} ± {drawn.std:.3f}, standard error {drawn.std / math.sqrt(alive):.3f}")
    print(f"per further neuron {law.per_layer[0]:.3f}: a factor {number_text(law.per_layer[0] / LN10, 3)}")
print(f"|w| < 1: {weights.below(1.0):.1%} (drawn {drawn.small[0]:.1%}), ", end="")
print(f"|w| < 1/4: {weights.below(0.25):.1%} (drawn {drawn.small[1]:.1%})")
if weights.std > 0.0:
    print(f"E ln |w| = {MEAN_LOG + math.log(weights.std):.5f}, with spread {math.sqrt(VARIANCE_LOG):.4f}")
"""
_INTERVAL = """
print(f"\\n|w sigma'(z)| can reach 1 only if |w| >= {least_weight(chain.activation, chain.negative_slope):.4g}")
for j in range(2, chain.length + 1):
    w, b = chain.weights[j - 1], chain.biases[j - 1]
    found = explosive_interval(chain.activation, w, b, chain.negative_slope) if w else ()
    shown = " and ".join(f"[{low:.4g}, {high:.4g}]" for low, high in found) or "none"
    here = f"a before it = {chain.a[j - 1]:.4g}, |w sigma'(z)| = {abs(chain.factors[j - 1]):.4g}"
    print(f"neuron {j}: w = {w:.4g}; interval of a: {shown}; {here}")
"""
_BALANCE = """
(weights, biases), lengths = question.laws, range(<shortest>, <longest>)
share = predict_chains(weights, biases, question.input, question.activation).balanced(question.length)
print(f"\\nbalanced (|dC/db_1| and |dC/db_L| within a factor 10): {100 * share:.2g}% of the chains of ", end="")
print(f"{question.length} neurons, std of w {question.weight_std:g} (predicted)")
print("share of balanced chains by length, predicted and of <draws_text> drawn:", *lengths)
for std in sorted({<scales>, question.weight_std} - {0.0}):
    law = predict_chains(Normal(0.0, std), biases, question.input, question.activation)
    drawn = draw_chains(max(lengths), Normal(0.0, std), biases, <draws>, 0, question.input, question.activation)
    print(f"std of w {std:g}, predicted:", *(f"{law.balanced(length):.2%}" for length in lengths))
    print(f"std of w {std:g}, drawn:", *(f"{drawn.balanced()[length - 1]:.2%}" for length in lengths))
"""
_TRAINED_CHAIN = """
run = train(chain, question.rate, <steps>)
print(f"\\nin {len(run.cost) - 1} steps the cost goes from {run.cost[0]:.4g} to {run.cost[-1]:.4g}")
print(f"factors of at least 1, of {chain.length - 1}: {run.above[0]} before, {run.above[-1]} after, ", end="")
print(f"{run.above.max()} at the most")
print("step: cost; size of each factor")
for step in sorted({*range(0, len(run.cost), 20), len(run.cost) - 1}):
    print(f"{step}: {run.cost[step]:.4g};", *(f"{abs(factor):.4g}" for factor in run.factors[step]))
if run.stopped is not None:
    print(f"training left the range of numbers at step {run.stopped}")
"""
_MATH = "math"
_CHAIN = "gradcore.experiments.chain"
CHAIN_VIEWS: dict[str, tuple[str, tuple[str, ...]]] = {  # view -> (block, its imports)
    "early": (_EARLY, (_MATH, f"{_CHAIN}: early_against_late")),
    "nudge": (_NUDGE, (f"{_CHAIN}: nudge, nudges",)),
    "derivative": (_SLOPE, (f"{_CHAIN}: steepest",)),
    "random": (_RANDOM, (_MATH, f"{_CHAIN}: MEAN_LOG, VARIANCE_LOG, draw_chains, predict_chains")),
    "interval": (_INTERVAL, (f"{_CHAIN}: explosive_interval, least_weight",)),
    "balance": (_BALANCE, (f"{_CHAIN}: Normal, draw_chains, predict_chains",)),
    "training": (_TRAINED_CHAIN, (f"{_CHAIN}: train",)),
}


def chain_script(question: ChainQuestion) -> str:
    """Python code that prints every number of the page Chain: the product with its factors, and the experiment that the
    question looks at."""
    from gradcore.experiments.chain import question as asked

    block, imports = CHAIN_VIEWS[question.view]
    draws = asked.BALANCE_DRAWS if question.view == "balance" else asked.DRAWS
    values = {
        "question": call("ChainQuestion", question),
        "draws": draws,
        "draws_text": f"{draws:,}",
        "steps": asked.STEPS,
        "scales": ", ".join(str(std) for std in asked.SCALES),
        "shortest": asked.LENGTHS[0],
        "longest": asked.LENGTHS[-1] + 1,
    }
    body = [filled(part, **values) for part in (_PRODUCT, block)]
    return whole("Prints every number of the page Chain on this chain.", (*_CHAIN_IMPORTS, *imports), body)


# --- Gates ------------------------------------------------------------------------------------------------------

_GATES_IMPORTS = ("gradcore.charts.gates: describe_gates", "gradcore.experiments.gates: GatesQuestion", _NUMBERS)
_CELL = """
question = <question>
spec = question.spec
print(f"{spec.cell}: {spec.hidden_size} units, {spec.input_size} inputs, {spec.steps} steps, ", end="")
print(f"weights {spec.init} x {spec.weight_scale:g}, biases of gates {dict(spec.given_biases)}")
profile = gc.predict_cell(spec)
start, stop = profile.window
print(f"{profile.verdict.kind}: {profile.verdict.sentence}", *profile.verdict.details)
print(f"per step back, RMS of dL/dh between steps {start} and {stop} (squared: of the mean square)")
for name, one in (("predicted", profile), ("textbooks (untied)", profile.untied)):
    log10 = math.log10(one.factor()) if one.factor() > 0.0 else -math.inf
    print(f"{name}: x{number_text(0.5 * log10, 3)} (squared: {number_text(log10, 3)})")
print(f"reaches step 1: x{number_text(profile.log_reach / LN10, 3)} of the last step's RMS")
print(describe_gates(profile))
"""
_CELL_MEASURED = """
measured = gc.measure_cell(spec, networks=question.networks, seed=question.seed)
factor = measured.factor()
print(f"measured on {len(measured.networks)} networks, seed {question.seed}: {measured.verdict.kind}")
if 0.0 < factor < math.inf:
    square = estimate_text(Estimate(math.log(factor), measured.factor_error() / factor))
    print(f"measured: x{number_text(0.5 * math.log10(factor), 3)} per step (squared: {square})")
"""
_CELL_STEPS = """
print("\\nevery step: RMS of dL/dh over the last step's, and the mean of every gate")
curves = {"predicted": profile.log_v, "untied": profile.untied.log_v<measured_curve>}
for name, logs in curves.items():
    print(f"{name}:", *(number_text(0.5 * log / LN10, 3) for log in logs))
for name, values in profile.gates.items():
    print(f"{name}, predicted:", *(f"{value:.4f}" for value in values))<measured_gates>
"""
_MEASURED_GATES = """
    print(f"{name}, measured:", *(f"{value:.4f}" for value in measured.gates[name].mean(axis=0)))"""
_CELLS_TRAINED = """
print(f"\\ntraining, {question.task} task: {question.length} steps, {question.units} units")
print(f"learning rate {question.learning_rate:g}, clipped at {question.clip_norm}; every tenth update:")
for run in question.runs():
    record = Record(run)
    for step in train(run):
        record.add(step)
    print(describe_training({run.cell.cell: record}), record.stopped or "")
    print("loss:", *(f"{value:.4g}" for value in record.series("loss")[::10]))
    factors = [number_text(log / LN10, 3) for log in log_factors(record)[::10]]
    print("factor of the gradient's RMS per step back:", *factors)
    for name, at in (("before training", 0), ("at the end", -1)):
        logs = record.steps[at].log_v
        print(f"RMS of dC/dh by step, {name}:", *(number_text(0.5 * (log - logs[-1]) / LN10, 3) for log in logs))
"""


def gates_script(question: GatesQuestion, *, measured: bool = True, trained: bool = False) -> str:
    """Python code that prints every number of the page Gates: the cell's factors per step back and its gates, predicted
    and, where they were, ``measured``; and the cells in training where they were ``trained``."""
    blocks, imports = [_CELL], [_MATH, *_GATES_IMPORTS]
    if measured:
        blocks.append(_CELL_MEASURED)
        imports += ["gradcore.charts: estimate_text", "gradcore.estimates: Estimate"]
    blocks.append(_CELL_STEPS)
    if trained:
        blocks.append(_CELLS_TRAINED)
        imports += ["gradcore.charts.gates: describe_training, log_factors"]
        imports += ["gradcore.experiments.long_range: Record, train"]
    values = {
        "question": call("GatesQuestion", question),
        "measured_curve": ', "measured": measured.mean("log_v")' if measured else "",
        "measured_gates": _MEASURED_GATES if measured else "",
    }
    title = "Prints every number of the page Gates on this cell."
    return whole(title, imports, [filled(block, **values) for block in blocks])


# --- Learn ------------------------------------------------------------------------------------------------------

_LESSON = """
question = <question>
taught = teach(question)
print(f"lesson {place(question.lesson)} of {len(LESSONS)}: {taught.idea}")
print(f"sources: {'; '.join(LESSONS[question.lesson].sources)}")
for count, step in enumerate(taught.steps, start=1):
    print(f"{count}. {step.text}")
    print("  ", step.formula.latex)
if taught.error is not None:
    print("often told wrong:", taught.error)
for case in taught.cases:
    print(f"to load into {case.address}: {case.title}")

figure = taught.figure
print(f"\\n{figure.title}: {figure.x_title}, {figure.y_title}", "(log10)" if figure.log else "")
for line in figure.lines:
    print(f"{line.name}:", *(f"({x:.4g}, {y:.4g})" for x, y in zip(line.x, line.y)))
for points in figure.points:
    print(f"{points.name}, with the ends of its bars:")
    for values in zip(points.x, points.y, points.low, points.high):
        print(*(f"{value:.4g}" for value in values))
"""


def learn_script(question: LearnQuestion) -> str:
    """Python code that prints every number of a lesson of the page Learn: its sentences, formulas and figure."""
    from gradcore.experiments.learn import LESSONS

    names = ("lesson", *LESSONS[question.lesson].parameters)  # the other numbers change nothing
    others = {each.name: each.default for each in fields(question) if each.name not in names}
    imports = ("gradcore.experiments.learn: LESSONS, LearnQuestion, place, teach",)
    body = filled(_LESSON, question=call("LearnQuestion", replace(question, **others)))
    return whole("Prints every number of this lesson of the page Learn.", imports, [body])
