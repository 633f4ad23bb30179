"""One HTML file that says all of a question and its answers: no script, no server, nothing fetched.

Numbers come from the library, charts from ``gradcore.charts`` (as SVG, written into the page), texts pass through a
translator. Everything that is not markup of this file is escaped, and a content policy forbids loading anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from gradcore import charts
from gradcore.codec import changed_fields, to_query
from gradcore.compare import compare
from gradcore.errors import UnsupportedError
from gradcore.estimates import Estimate, estimates
from gradcore.export.images import caption, svg
from gradcore.export.pytorch import torch_code
from gradcore.export.record import versions
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
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #10141B; background: #FFFFFF; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; line-height: 1.3; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.soft, figcaption { color: #4B5361; font-size: 0.9rem; }
figure { margin: 1rem 0; } figure svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; } th, td { border: 1px solid #CBD2DC; padding: 0.2rem 0.6rem; text-align: right; }
th { background: #F3F5F8; } th:first-child, td:first-child { text-align: left; }
#spec td { text-align: left; }
.scroll { overflow: auto; max-height: 40rem; }
@media print { .scroll { overflow: visible; max-height: none; } }
pre { background: #F3F5F8; padding: 0.8rem; overflow: auto; }
"""


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
        *_made(t),
    ]
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title><style>{STYLE}</style>'
    )
    body = "\n".join(parts)
    return f'<!DOCTYPE html>\n<html lang="{escape(language)}"><head>{head}</head><body>\n{body}\n</body></html>\n'


# --- markup ---------------------------------------------------------------------------------------------------


def _heading(text: str) -> str:
    return f"<h2>{escape(text)}</h2>"


def _paragraphs(texts: Iterable[str]) -> list[str]:
    return [f"<p>{escape(text)}</p>" for text in texts]


def _table(name: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column names the row."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    lines = (
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    body = "\n".join(lines)
    return (
        f'<div class="scroll"><table id="{name}"><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'
    )


def _pre(code: str) -> str:
    return f"<pre><code>{escape(code)}</code></pre>"


# --- what it says ---------------------------------------------------------------------------------------------


def _verdict(profile: Profile | None, measured: Measurement | None, t: Translate) -> list[str]:
    answer = profile if profile is not None else measured
    if answer is None:
        return [f"<h1>{escape(t('Neither predicted nor measured'))}</h1>"]
    verdict = diagnose(answer)
    parts = [f"<h1>{escape(verdict.text(t))}</h1>", *_paragraphs(detail.text(t) for detail in verdict.details)]
    if profile is None:
        return [*parts, *_paragraphs([t("Measured: theory has no prediction for this network.")])]
    if measured is not None:
        parts += _paragraphs([t("Measured: {sentence}", sentence=diagnose(measured).text(t))])
        parts += _paragraphs(_agreement(profile, measured, t))
    fixes = [f"<li>{escape(fix.message.text(t))}. {escape(fix.cost.text(t))}</li>" for fix in verdict.fixes]
    return [*parts, *([_heading(t("What mends it")), f"<ul>{''.join(fixes)}</ul>"] if fixes else [])]


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
    return [_heading(t("In numbers")), _table("numbers", header, rows)]


def _charts(
    spec: Spec, profile: Profile | None, measured: Measurement | None, moment: str, statistic: str, t: Translate
) -> list[str]:
    parts = []
    for code in charts.PANELS:
        drawn = charts.chart(code, profile, measured, moment=moment, statistic=statistic, t=t)
        words = escape(charts.describe(code, profile, measured, t))
        image = _own_names(svg(drawn, caption(spec, measured)), code)
        image = image.replace("<svg ", f'<svg role="img" aria-label="{words}" ', 1)
        parts.append(f'<figure id="{code}">{image}<figcaption>{words}</figcaption></figure>')
    return [_heading(t("Layer by layer")), *parts]


def _own_names(image: str, name: str) -> str:
    """The ids of an image made its own: several on one page have the same."""
    image = re.sub(r'(?<![\w-])id="([^"]+)"', rf'id="{name}-\1"', image)
    return re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", image)


def _question(spec: Spec, t: Translate) -> list[str]:
    changed = changed_fields(spec)
    rows = (
        [name, field.write(getattr(spec, name)), "" if name not in changed else t("changed"), t(field.help)]
        for name, field in FIELDS.items()
    )
    query = "&".join(f"{name}={value}" for name, value in to_query(spec).items())
    parts = [_heading(t("The question")), _table("spec", [t("field"), t("value"), "", t("meaning")], rows)]
    return [*parts, *_paragraphs([t("The explorer opens it at ?{query}", query=query)])] if query else parts


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
    table = charts.layer_table(profile, measured, moment=moment, statistic=statistic, panels=charts.PANELS)
    rows = zip(*([_cell(value) for value in table[name].tolist()] for name in table.columns), strict=True)
    return [_heading(t("Every layer")), _table("layers", [labels[name] for name in table.columns], rows)]


def _cell(value: float | int | str) -> str:
    """Texts are numbers that no float holds."""
    return value if isinstance(value, str) else f"{value:.{DIGITS}g}"


def _rests(profile: Profile | None, t: Translate) -> list[str]:
    if profile is None:
        return []
    texts = [*(t(note.sentence) for note in profile.notes), charts.precision_text(profile, t)]
    return [_heading(t("What the numbers rest on")), *_paragraphs(texts)]


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
    parts = [_heading(t("Code: every number on this page")), _pre(code)]
    try:
        return [*parts, _heading(t("Code: the network in plain PyTorch")), _pre(torch_code(spec))]
    except UnsupportedError:
        return parts


def _made(t: Translate) -> list[str]:
    made = ", ".join(f"{name} {version}" for name, version in versions().items())
    return [f'<p class="soft">{escape(t("Made with {versions}.", versions=made))}</p>']
