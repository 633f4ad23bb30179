"""The one-file report is parsed, and the page's script is run: their numbers are the library's."""

from __future__ import annotations

import contextlib
import io
import re
from functools import cache
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest

import gradcore as gc
from gradcore import charts
from gradcore.equations import equations
from gradcore.estimates import estimates
from gradcore.export import html_report, markup, page_script
from gradcore.fields import FIELDS

SPEC = gc.Spec(depth=12, width=24, batch_size=4, bias_std=0.1)
LOADING = ("src", "href", "srcset", "action", "data", "poster", "background", "xlink:href")
VOID = ("meta", "br", "img", "link", "input", "hr")
NAMESPACES = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


class Page(HTMLParser):
    """Tags with their attributes, tables by id as lists of cells, the code blocks, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.code: list[str] = []
        self.headline = self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append((tag, values))
        if tag == "table":
            self.tables[str(values["id"])] = []
        elif tag == "tr":
            self._rows().append([])
        elif tag in ("td", "th"):
            self._rows()[-1].append("")
        elif tag == "code":
            self.code.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if "code" in self.open:
            self.code[-1] += data
        elif "td" in self.open or "th" in self.open:
            self._rows()[-1][-1] += data
        elif "h1" in self.open:
            self.headline += data

    def _rows(self) -> list[list[str]]:
        return list(self.tables.values())[-1]


@cache
def answers() -> tuple[gc.Profile, gc.Measurement]:
    return gc.predict(SPEC), gc.measure(SPEC, networks=5, seed=3)


@cache
def page(**options: Any) -> Page:
    return Page(html_report(SPEC, *answers(), **options))


def run(code: str) -> tuple[dict[str, Any], str]:
    names: dict[str, Any] = {"__name__": "__main__"}
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, "page", "exec"), names)
    return names, output.getvalue()


# --- the report -----------------------------------------------------------------------------------------------


def test_it_opens_without_scripts_and_fetches_nothing():
    text = html_report(SPEC, *answers())
    assert set(re.findall(r"(?:https?:)?//[^\s\"'<>)]+\.[^\s\"'<>)]+", text)) <= NAMESPACES
    assert not re.search(r"@import|url\((?!#)", text)
    for tag, attributes in page().tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base", "form", "img")
        assert not any(name.startswith("on") for name in attributes)
        assert all((attributes.get(name) or "#").startswith("#") for name in LOADING)
    policies = [a for tag, a in page().tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies[0]["content"].startswith("default-src 'none'")


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_its_four_numbers_are_the_librarys(statistic):
    profile, measured = answers()
    rows = page(statistic=statistic).tables["numbers"][1:]
    for column, answer in ((1, profile), (2, measured)):
        found = estimates(answer, statistic)
        expected = [charts.estimate_text(e) for e in (found.factor, found.ratio, found.signal)]
        assert [row[column] for row in rows] == [*expected, f"{gc.diagnose(answer).usable_depth} / 12"]
    assert float(rows[0][1]) == pytest.approx(np.exp(estimates(profile, statistic).factor.log), abs=5e-4)


@pytest.mark.parametrize("moment", charts.MOMENTS)
def test_its_table_of_layers_is_the_librarys(moment):
    profile, measured = answers()
    header, *rows = page(moment=moment).tables["layers"]
    cells = np.array(rows, dtype=float)
    half = 2.0 if moment == "rms" else 1.0
    assert cells[:, 0].tolist() == list(range(1, 13))
    for place, (answer, name, relative) in {
        1: (profile, "log_q", False),
        2: (measured, "log_q", False),
        3: (profile, "log_g", True),
        4: (measured, "log_g", True),
        5: (profile, "log_dw", True),
        6: (measured, "log_dw", True),
    }.items():
        logs = answer.mean(name)
        expected = np.exp((logs - logs[-1] * relative) / half)
        assert np.allclose(cells[:, place], expected, rtol=1e-5), header[place]
    assert np.allclose(cells[:, 7], profile.chi, rtol=1e-5)


def test_it_says_verdict_question_versions_and_has_every_chart():
    profile, measured = answers()
    assert page().headline == gc.diagnose(profile).sentence
    assert gc.diagnose(measured).sentence in page().text
    assert all(str(fix.message) in page().text for fix in gc.diagnose(profile).fixes)
    assert [row[0] for row in page().tables["spec"][1:]] == list(FIELDS)
    assert {row[0]: row[1] for row in page().tables["spec"]}["bias_std"] == "0.1"
    assert f"gradcore {gc.__version__}" in page().text and f"numpy {np.__version__}" in page().text
    figures = [a["id"] for tag, a in page().tags if tag == "figure"]
    assert figures == list(charts.PANELS)
    names = [a["id"] for _, a in page().tags if a.get("id")]
    assert len(names) == len(set(names))


def test_images_on_one_page_do_not_borrow_each_others_clips():
    image = '<clipPath id="clip0"/><g clip-path="url(#clip0)"/><g fill="url(#shade)" data-id="clip0"/>'
    own = '<clipPath id="a-clip0"/><g clip-path="url(#a-clip0)"/><g fill="url(#a-shade)" data-id="clip0"/>'
    assert markup.own_names(image, "a") == own


def test_every_text_is_escaped():
    def hostile(text: str, **values: Any) -> str:
        return f"<script>alert('{text.format(**values) if values else text}')</script>&\"<b>"

    found = Page(html_report(SPEC, *answers(), t=hostile, language='"><i>'))
    assert not {tag for tag, _ in found.tags} & {"script", "b", "i"}
    assert found.text.count("<script>alert(") > 50
    assert markup.pre("<b>&amp;") == "<pre><code>&lt;b&gt;&amp;amp;</code></pre>"  # code that has such signs is rare
    assert Page(markup.table("t", ["<b>", "&"], [["<i>", "<u>"]])).tables == {"t": [["<b>", "&"], ["<i>", "<u>"]]}


def test_its_code_runs_and_prints_its_numbers():
    names, output = run(page().code[0])
    assert names["spec"] == SPEC and names["measured"].networks == (0, 1, 2, 3, 4)
    for row in page().tables["numbers"][1:4]:
        assert row[1] in output and row[2] in output
    assert page().headline in output


def test_a_network_without_a_prediction_is_reported_as_measured():
    spec = gc.Spec(depth=4, width=8, norm="batch", batch_size=3)
    with pytest.raises(gc.UnsupportedError):
        gc.predict(spec)
    measured = gc.measure(spec, networks=[4, 2])
    found = Page(html_report(spec, None, measured))
    assert found.headline == gc.diagnose(measured).sentence
    assert {row[1] for row in found.tables["numbers"][1:]} == {"–"}
    names, _ = run(found.code[0])
    assert names["profile"] is None and names["measured"].networks == (4, 2)


def test_a_prediction_alone_and_a_question_alone_are_reports_too():
    alone = Page(html_report(SPEC, answers()[0]))
    assert {row[2] for row in alone.tables["numbers"][1:]} == {"–"}
    nothing = Page(html_report(SPEC))
    assert nothing.headline == "Neither predicted nor measured" and "numbers" not in nothing.tables


# --- the script of the page -----------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", charts.MOMENTS)
@pytest.mark.parametrize("statistic", charts.STATISTICS)
def test_the_script_has_every_curve_of_every_chart(moment, statistic):
    names, output = run(page_script(SPEC, 5, 3, moment=moment, statistic=statistic))
    profile, measured = answers()
    expected = charts.layer_table(profile, measured, moment=moment, statistic=statistic, panels=charts.PANELS)
    pd.testing.assert_frame_equal(names["table"], expected)
    for code in charts.PANELS:
        for name, values in charts.series(code, profile, measured, moment=moment, statistic=statistic).items():
            assert np.array_equal(names["curves"][code][name], values)
    for value in charts.series("forward", profile, measured, moment=moment, statistic=statistic)["band_low"]:
        assert f"{value:.4f}" in output


def test_the_script_says_what_the_tabs_say():
    _, output = run(page_script(SPEC, 5, 3, layer=4))
    profile, measured = answers()
    assert charts.precision_text(profile) in output
    assert all(str(note) in output for note in profile.notes)
    assert all(equation.live in output for equation in equations(profile, 4))
    worst = charts.agreement(gc.compare(profile, measured))
    assert f"at most {worst.z:.1f} standard errors apart ({worst.quantity}, layer {worst.layer})" in output
    assert f"{gc.jacobian(SPEC).log_mean_square:.6g}" in output
    assert all(f"{value:.4g}" in output for value in gc.singular_values(SPEC, seed=3))


def test_the_script_samples_where_the_page_did_and_only_there():
    spec = gc.Spec(depth=4, width=16, batch_size=4, norm="layer")
    assert gc.predict(spec).band_source == "sampler"
    laws = [run(page_script(spec, 0, sampled=sampled))[0]["profile"].at_hand.source for sampled in (False, True)]
    assert laws[0] != "sampler" and laws[1] == "sampler"


@pytest.mark.parametrize("options", [{"networks": 0}, {"networks": 0, "predicted": False}, {"layer": 99}])
def test_the_script_runs_with_less(options):
    small = gc.Spec(depth=2, width=4, batch_size=2)
    names, _ = run(page_script(small, **{"networks": 1, **options}))
    assert names["spec"] == small
