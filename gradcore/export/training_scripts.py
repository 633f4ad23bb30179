"""The pages that train as gradcore scripts that print their numbers: Train and Symptoms.

A script runs with the gradcore that wrote it and with torch; without a file of the reader's own it trains on
scikit-learn's digits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcore.codec import to_snippet
from gradcore.export.script_text import call, filled, whole

if TYPE_CHECKING:
    from gradcore.experiments.symptom_examples import SymptomsQuestion
    from gradcore.experiments.train_question import TrainQuestion
    from gradcore.spec import Spec

# --- Train ------------------------------------------------------------------------------------------------------

_FIRST = "gradcore.experiments.first_step: affordable_networks, law_of, predict_first_step"
_TRAIN_IMPORTS = (
    _FIRST,
    "gradcore.charts.training_words: headline, predicted_text",
    "gradcore.experiments.train_question: TrainQuestion",
)
_PREDICTED = '''
def predicted(spec, data):
    """The law of the first step's speeds, as the page predicts it; None where it would take long."""
    count = affordable_networks(spec, data)
    return predict_first_step(law_of(spec), data, networks=count) if count else None
'''
_SHOW_RUN = '''
def show(run):
    """Loss, accuracy and the speed |dC/db| of every layer over the steps, and what is wrong with the run."""
    print("step: loss, accuracy; speed of every layer")
    for step in (run.steps[row] for row in picked(len(run.steps))):
        print(f"{step.step}: {step.loss:.4g}, {step.accuracy:.0%};", *(f"{speed:.4g}" for speed in step.speeds))
    for symptom in find_symptoms(TrainingLog.from_run(run)):
        print(f"{symptom.severity}: {symptom}")
        for one in symptom.evidence:
            print(f"   layer {one.layer or '-'}, step {one.step}: {one.value:.3g}")
        print("   what helps:", *(f"{remedy.message};" for remedy in symptom.remedies))
'''
_DATA = {
    "digits": "data = digits()",
    "images": """
# your own images: IDX files (plain or .gz), or both in one .npz or CSV; set the path<plural>
data = read_images(<images>, Path(<images>).read_bytes()<labels>)
""",
}
_LABELS = ", Path(<labels>).read_bytes(), labels_name=<labels>"
_START = """
question = <question>
plain = question.spec(data<network>)
"""
_RECORD_START = """
question = <question>
run = Run.from_json(Path(<record>).read_bytes())  # the saved run: set its path
plain = run.spec
"""
_SIZES = """
print("units of every layer:", data.pixels, *plain.sized(data).layer_widths)
print(f"trained on {data.name}: {data.items:,} images, {data.classes} classes")
"""
_RECORDED = """
print("data of the saved run:", run.data)
"""
_LAW = """
first = predicted(plain, data)<same>
if first is not None:
    print(predicted_text(first))
    for layer, values in enumerate(zip(first.median(), *first.band()), start=1):
        print("layer {}: first speed {:.2g} (median), 95% of networks {:.2g} to {:.2g}".format(layer, *values))
"""
_RUN = "run = train_all(plain, data, neurons=range(1, min(plain.network.depth, 7)))"
_RAN = """
print(headline(run, first))
print(course(run) or "", plateau(run) or "")
print(f"seed {plain.seed}, {len(run.steps)} of {run.planned} steps")
show(run)
"""
_LOOK = """
print(describe_layers(QUANTITIES["<view>"], [Shown("<name>", <run>)], depth=plain.network.depth))
values = <run>.series(QUANTITIES["<view>"].series)
for row in picked(len(values)):
    print(f"{row}:", *(f"{value:.3g}" for value in values[row]))
"""
_FACTORS = """
print(factors_text(run, factor_counts(run)) or "")
"""
_NEURONS = """
for layer, values in enumerate(run.steps[0].neurons[:2], start=1):
    print(f"dC/db of every neuron of layer {layer} at the first step:", *(f"{value:.3g}" for value in values))
"""
_DEPTHS = """
print("speeds of the hidden layers at the start: predicted median, 95% of networks, the book's draw (MNIST)")
for hidden, book in enumerate(BOOK, start=1):
    law = predicted(question.with_hidden(hidden, plain, data), data)
    if law is not None:
        print(f"{hidden}:", ", ".join(f"{v:.2g}" for v in law.median()[:-1]), end="; ")
        print(", ".join(f"{a:.1g}…{b:.1g}" for a, b in zip(*(end[:-1] for end in law.band()))), <book>sep="; ")
"""
_REMEDY = """
remedy = REMEDIES["<remedy>"]
print(f"\\n{remedy.title}. It does: {remedy.does} It does not: {remedy.does_not}")
changed = remedy.apply(plain)
if changed == plain:
    print("it is in force already")
    return
other = first if changed.network == plain.network else predicted(changed, data)
if first is not None and other is not None and predicted_lift(first, other) > 0.0:
    print(f"predicted at the start: x{number_text(math.log10(predicted_lift(first, other)))}")
"""
_REMEDIED = """
with_it = train_all(changed, data)
show(with_it)
if with_it.stop is not None:
    print(with_it.stop.message)
found = compare_runs(run, with_it)
print(found.message)
print(f"loss {found.loss:.3g} against {found.loss_plain:.3g}, ", end="")
print(f"accuracy {found.accuracy:.0%} against {found.accuracy_plain:.0%}")
<look>
"""
_CHARTS = "gradcore.charts.training"
_TRAINING = "gradcore.experiments.training"
_LOOKED = (f"{_CHARTS}: QUANTITIES, Shown, describe_layers",)
TRAIN_VIEWS: dict[str, tuple[str, tuple[str, ...], bool]] = {  # view -> (block, its imports, whether it needs a run)
    "updates": (_LOOK, _LOOKED, True),
    "saturated": (_LOOK, _LOOKED, True),
    "factors": (
        _LOOK + _FACTORS.lstrip(),
        (*_LOOKED, f"{_CHARTS}: factor_counts", "gradcore.charts.training_words: factors_text"),
        True,
    ),
    "neurons": (_NEURONS, (), True),
    "start": (_DEPTHS, ("gradcore.experiments.train_question: BOOK",), False),
}
_RUN_IMPORTS = (
    "gradcore.charts.training_words: course, plateau",
    f"{_CHARTS}: picked",
    "gradcore.experiments.symptoms: find_symptoms",
    "gradcore.experiments.training_log: TrainingLog",
)


def train_script(
    question: TrainQuestion,
    network: Spec | None = None,
    *,
    trained: bool = True,
    images: str | None = None,
    labels: str | None = None,
    record: str | None = None,
) -> str:
    """Python code that prints every number of the page Train: the predicted law of the first speeds and, where it was
    ``trained``, the run with its symptoms, the chart that the question looks at, and the remedy beside it.

    ``network``: the Spec where the question is about one. ``images``, ``labels``: names of the reader's own files in
    place of the digits; ``record``: that of a saved run, which is then read instead of trained. The script says which
    files it reads; nothing of them is in it.
    """
    (block, view_imports, needs_run), there = TRAIN_VIEWS[question.view], trained or record is not None
    imports, helpers = [*_TRAIN_IMPORTS, *_data_imports(images)], [_PREDICTED]
    body = [_data(images, labels), *((_START, _SIZES) if record is None else (_RECORD_START, _RECORDED)), _LAW]
    if record is not None:
        imports += [f"{_TRAINING}: Run", "pathlib: Path"]
    if there:
        imports += [*_RUN_IMPORTS, *([f"{_TRAINING}: train_all"] if record is None else [])]
        helpers.append(_SHOW_RUN)
        body += [*([_RUN] if record is None else []), _RAN]
    else:
        body.append("print(headline(None, first))")
    if there or not needs_run:
        imports += view_imports
        body.append(block)
    if question.remedy != "none" and record is None:
        imports += ["gradcore.experiments.remedies: REMEDIES, predicted_lift", "math", "gradcore.words: number_text"]
        body.append(_REMEDY)
        if trained:
            imports.append(f"{_TRAINING}: compare_runs")
            body.append(_REMEDIED)
    values = {
        "question": call("TrainQuestion", question),
        "network": f", {to_snippet(network)}" if network is not None and question.network == "spec" else "",
        "view": question.view,
        "book": "" if question.network == "spec" else "book, ",
        "remedy": question.remedy,
        "record": repr(record),
        "same": "" if record is None else ' if run.data["digest"] == data.digest else None',
        "name": "plain",
        "run": "run",
        "look": filled(_LOOK, view=question.view, name="remedy", run="with_it") if block.startswith(_LOOK) else "",
    }
    filled_in = [filled(part, **values) for part in body]
    return whole("Prints every number of the page Train on this run.", imports, filled_in, helpers)


def _data(images: str | None, labels: str | None) -> str:
    if images is None:
        return _DATA["digits"]
    own = "" if labels is None else filled(_LABELS, labels=repr(labels))
    return filled(_DATA["images"], images=repr(images), labels=own, plural="s" if labels else "")


def _data_imports(images: str | None) -> tuple[str, ...]:
    own = ("gradcore.experiments.data: read_images", "pathlib: Path")
    return ("gradcore.experiments.data: digits",) if images is None else own


# --- Symptoms ---------------------------------------------------------------------------------------------------

_SYMPTOM_IMPORTS = (
    "gradcore.charts.record: describe_record, known_quantities",
    "gradcore.charts.training: picked",
    "gradcore.experiments.symptom_report: report",
)
_EXAMPLE = """
log = EXAMPLES["<example>"].log(digits())  # a short run, trained here
"""
_OWN_RECORD = """
record = <record>  # your record, CSV or JSON: set its path
log = read_log(record, Path(record).read_bytes())
"""
_REPORT = """
entries = report(log)
found = [entry.found for entry in entries if entry.found is not None]
known = known_quantities(log)
print(f"{len(log.loss):,} steps,", *(f"{getattr(log, known[0]).shape[1]} layers" for _ in known[:1]))
if found:
    print(found[0].message, f"Symptoms beside it: {len(found) - 1}.")
else:
    judged = sum(entry.missing is None for entry in entries)
    print(f"no symptom: {judged} of {len(entries)} kinds were looked for")
print(describe_record(log, found))
for entry in entries:
    if entry.found is None:
        print(f"{entry.title}:", "not seen" if entry.missing is None else f"cannot be judged, {entry.missing}")
        continue
    print(f"\\n{entry.found.severity}, {entry.found.kind}: {entry.found.message}")
    for one in entry.found.evidence:
        print(f"   layer {one.layer or '-'}, step {one.step}: {one.value:.3g}")
    print("   what helps:", *(f"{remedy.message};" for remedy in entry.found.remedies))

rows = picked(len(log.loss))
print("\\nloss, at steps", *(f"{log.steps[row]:g}: {log.loss[row]:.4g};" for row in rows))
for name in known:
    print(f"\\n{name}, every layer")
    for row in rows:
        print(f"{log.steps[row]:g}:", *(f"{value:.3g}" for value in getattr(log, name)[row]))
"""


def symptoms_script(question: SymptomsQuestion | None = None, *, record: str | None = None) -> str:
    """Python code that prints every number of the page Symptoms: what a record shows, where, and what helps. The
    record is the question's example (default: the page's), trained by the script, or the reader's own file of the name
    ``record``, which the script reads."""
    if record is not None:
        source, imports = _OWN_RECORD, ("gradcore.experiments.training_log: read_log", "pathlib: Path")
    else:
        source = _EXAMPLE
        imports = ("gradcore.experiments.data: digits", "gradcore.experiments.symptom_examples: EXAMPLES")
    example = "vanishing" if question is None else question.example
    body = [filled(source, example=example, record=repr(record)), _REPORT]
    return whole("Prints every number of the page Symptoms on this record.", (*_SYMPTOM_IMPORTS, *imports), body)
