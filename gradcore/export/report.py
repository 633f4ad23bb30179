"""One HTML file that says all of a question and its answers: no script, no server, nothing fetched.

Numbers come from the library, charts from ``gradcore.charts`` (as SVG, written into the page), texts pass through a
translator, markup is that of ``gradcore.export.markup``.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from gradcore import charts
from gradcore.codec import changed_fields, to_query
from gradcore.compare import compare
from gradcore.errors import UnsupportedError
from gradcore.estimates import Estimate, estimates
from gradcore.export.images import caption
from gradcore.export.markup import document, figure, heading, made, paragraphs, pre, table
from gradcore.export.pytorch import torch_code
from gradcore.export.scripts import page_script
from gradcore.fields import FIELDS
from gradcore.verdict import diagnose
from gradcore.words import Translate, english

if TYPE_CHECKING:
    from gradcore.measurement import Measurement
    from gradcore.profile import Profile
    from gradcore.spec import Spec

DIGITS = 6
SIZES = {"rms": "RMS", "mean_square": "mean square"}


def html_report(
    spec: Spec,
    profile: Profile | None = None,
    measured: Measurement | None = None,
    *,
    moment: str = "rms",
    statistic: str = "mean",
    seed: int = 0,
    t: Translate = english,
    language: str = "en",
) -> str:
    """The report as an HTML document. ``profile`` is None where theory has no answer, ``measured`` where nothing was
    measured; ``moment`` and ``statistic`` as in ``gradcore.charts``; ``seed`` of the code where nothing was measured.

    Nothing is sampled for it: bands are there where the profile knows them now. Raises ModuleNotFoundError without
    vl-convert, pandas or altair.
    """
    answers = profile is not None or measured is not None
    title = t("gradcore: {network}", network=caption(spec).partition(": ")[2])
    parts = [
        *_verdict(profile, measured, t),
        f'<p class="soft">{escape(caption(spec, measured))}</p>',
        *(_numbers(profile, measured, statistic, t) if answers else []),
        *(_charts(spec, profile, measured, moment, statistic, t) if answers else []),
        *_question(spec, t),
        *(_layers(profile, measured, moment, statistic, t) if answers else []),
        *_rests(profile, t),
        *_code(spec, profile, measured, moment, statistic, seed, t),
        made(t),
    ]
    return document(title, language, parts)


# --- what it says ---------------------------------------------------------------------------------------------


def _verdict(profile: Profile | None, measured: Measurement | None, t: Translate) -> list[str]:
    answer = profile if profile is not None else measured
    if answer is None:
        return [f"<h1>{escape(t('Neither predicted nor measured'))}</h1>"]
    verdict = diagnose(answer)
    parts = [f"<h1>{escape(verdict.text(t))}</h1>", *paragraphs(detail.text(t) for detail in verdict.details)]
    if profile is None:
        return [*parts, *paragraphs([t("Measured: theory has no prediction for this network.")])]
    if measured is not None:
        parts += paragraphs([t("Measured: {sentence}", sentence=diagnose(measured).text(t))])
        parts += paragraphs(_agreement(profile, measured, t))
    fixes = [f"<li>{escape(fix.message.text(t))}. {escape(fix.cost.text(t))}</li>" for fix in verdict.fixes]
    return [*parts, *([heading(t("What mends it")), f"<ul>{''.join(fixes)}</ul>"] if fixes else [])]


def _agreement(profile: Profile, measured: Measurement, t: Translate) -> list[str]:
    worst = charts.agreement(compare(profile, measured))
    if not worst.layer:
        return []
    values = {"z": f"{worst.z:.1f}", "quantity": worst.quantity, "layer": worst.layer}
    if worst.agrees:
        return [t("The prediction holds: at most {z} standard errors away ({quantity}, layer {layer}).", **values)]
    return [t("The prediction is off: {z} standard errors away ({quantity}, layer {layer}).", **values)]


def _numbers(profile: Profile | None, measured: Measurement | None, statistic: str, t: Translate) -> list[str]:
    """The page's four numbers."""
    answers = [None if answer is None else (estimates(answer, statistic), answer) for answer in (profile, measured)]
    depth = next(answer.spec.depth for answer in (profile, measured) if answer is not None)

    def said(name: str) -> list[str]:
        found: list[Estimate | None] = [None if answer is None else getattr(answer[0], name) for answer in answers]
        return ["–" if estimate is None else charts.estimate_text(estimate) for estimate in found]

    usable = ["–" if a is None else f"{diagnose(a[1]).usable_depth} / {depth}" for a in answers]
    rows = [
        [t("Gradient per layer (RMS)"), *said("factor")],
        [t("Gradient at layer 1 (RMS)"), *said("ratio")],
        [t("Signal at layer {depth} (RMS)", depth=depth), *said("signal")],
        [t("Usable depth (layers)"), *usable],
    ]
    which = t("median") if statistic == "median" else t("mean")
    header = [t("Number"), t("predicted"), t("measured, {which} over networks", which=which)]
    return [heading(t("In numbers")), table("numbers", header, rows)]


def _charts(
    spec: Spec, profile: Profile | None, measured: Measurement | None, moment: str, statistic: str, t: Translate
) -> list[str]:
    parts = []
    for code in charts.PANELS:
        drawn = charts.chart(code, profile, measured, moment=moment, statistic=statistic, t=t)
        words = charts.describe(code, profile, measured, t)
        parts.append(figure(code, drawn, caption(spec, measured), words))
    return [heading(t("Layer by layer")), *parts]


def _question(spec: Spec, t: Translate) -> list[str]:
    changed = changed_fields(spec)
    rows = (
        [name, field.write(getattr(spec, name)), "" if name not in changed else t("changed"), t(field.help)]
        for name, field in FIELDS.items()
    )
    query = "&".join(f"{name}={value}" for name, value in to_query(spec).items())
    parts = [heading(t("The question")), table("spec", [t("field"), t("value"), "", t("meaning")], rows)]
    return [*parts, *paragraphs([t("The explorer opens it at ?{query}", query=query)])] if query else parts


def _layers(
    profile: Profile | None, measured: Measurement | None, moment: str, statistic: str, t: Translate
) -> list[str]:
    size = t(SIZES[moment])
    labels = {
        "layer": t("layer"),
        **{
            f"{code}_{series}": f"{t(panel.name)}: {size}, {t(series)}{t(', last layer = 1') if panel.relative else ''}"
            for code, panel in charts.PANELS.items()
            for series in ("predicted", "measured")
        },
        "chi": t("χ (mean square)"),
        "correlation": t("correlation of samples"),
        "saturated": t("saturated units"),
        "dead": t("dead units"),
    }
    layers = charts.layer_table(profile, measured, moment=moment, statistic=statistic, panels=charts.PANELS)
    rows = zip(*([_cell(value) for value in layers[name].tolist()] for name in layers.columns), strict=True)
    return [heading(t("Every layer")), table("layers", [labels[name] for name in layers.columns], rows)]


def _cell(value: float | int | str) -> str:
    """Texts are numbers that no float holds."""
    return value if isinstance(value, str) else f"{value:.{DIGITS}g}"


def _rests(profile: Profile | None, t: Translate) -> list[str]:
    if profile is None:
        return []
    texts = [*(t(note.sentence) for note in profile.notes), charts.precision_text(profile, t)]
    return [heading(t("What the numbers rest on")), *paragraphs(texts)]


def _code(
    spec: Spec,
    profile: Profile | None,
    measured: Measurement | None,
    moment: str,
    statistic: str,
    seed: int,
    t: Translate,
) -> list[str]:
    code = page_script(
        spec,
        () if measured is None else measured.networks,
        seed if measured is None else measured.seed,
        *(() if measured is None else (measured.dtype, measured.sampler)),
        moment=moment,
        statistic=statistic,
        predicted=profile is not None,
        sampled=profile is not None and profile.at_hand.source == "sampler",
    )
    parts = [heading(t("Code: every number on this page")), pre(code)]
    try:
        return [*parts, heading(t("Code: the network in plain PyTorch")), pre(torch_code(spec))]
    except UnsupportedError:
        return parts
