"""The CSV table, read by pandas: every number is the library's, every header has its unit."""

from __future__ import annotations

import io
import re

import numpy as np
import pandas as pd
import pytest

import gradcore as gc
from gradcore.export import Record, tidy_csv
from gradcore.export.record import NUMBERS
from gradcore.measurement import QUANTITIES, SHARES

SPEC = gc.Spec(depth=3, width=16, batch_size=4, activation="tanh", gain=5 / 3, bias_std=0.1)
LN = " [ln of second moment]"
PLAIN = " [plain number: factor, cosine or share]"


@pytest.fixture(scope="module")
def answers() -> tuple[gc.Profile, gc.Measurement]:
    return gc.predict(SPEC), gc.measure(SPEC, networks=7, seed=2)


@pytest.fixture(scope="module")
def table(answers) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(tidy_csv(Record.of(SPEC, *answers))))


def rows(table: pd.DataFrame, quantity: str) -> pd.DataFrame:
    found = table[table["quantity"] == quantity]
    assert found["layer"].tolist() == [1, 2, 3]
    return found


def test_a_row_per_layer_and_quantity(table):
    assert len(table) == 3 * len((*QUANTITIES, *NUMBERS))
    assert not table.duplicated(["layer", "quantity"]).any()
    assert all(re.fullmatch(r"\w+ \[.+\]", title) for title in table.columns[2:])


@pytest.mark.parametrize("name", QUANTITIES)
def test_logarithms_and_rms_are_the_librarys(table, answers, name):
    profile, measured = answers
    edges = np.quantile(getattr(measured, name), [0.05, 0.95], axis=0, method="nearest")
    expected = {
        "predicted_infinite_width": getattr(profile, name),
        "predicted_mean": profile.mean(name),
        "predicted_median": profile.median(name),
        "predicted_low": profile.band(name, 0.9)[0],
        "predicted_high": profile.band(name, 0.9)[1],
        "measured_mean": measured.mean(name),
        "measured_median": measured.median(name),
        "measured_low": edges[0],
        "measured_high": edges[1],
    }
    found = rows(table, name)
    for title, logs in expected.items():
        assert np.allclose(found[title + LN], logs, rtol=1e-15, atol=0), title
        assert np.allclose(found[f"{title} [RMS]"], np.exp(logs / 2), rtol=1e-5), title
    error = found["measured_standard_error [relative to second moment]"]
    assert np.allclose(error, measured.standard_error(name), rtol=1e-15)
    assert (found["measured_networks [count]"] == 7).all()
    assert found[[title for title in table if title.endswith(PLAIN)]].isna().all(axis=None)


@pytest.mark.parametrize("name", NUMBERS)
def test_plain_numbers_are_the_librarys(table, answers, name):
    profile, measured = answers
    found = rows(table, name)
    assert np.allclose(found["predicted_infinite_width" + PLAIN], getattr(profile, name), rtol=1e-15)
    if name in SHARES:
        shares = getattr(measured, name)
        assert np.allclose(found["measured_mean" + PLAIN], shares.mean(axis=0), rtol=1e-15)
        error = shares.std(axis=0, ddof=1) / np.sqrt(7)
        assert np.allclose(found["measured_standard_error" + PLAIN], error, rtol=1e-12)
    else:
        assert found["measured_mean" + PLAIN].isna().all()
    assert found["measured_mean [RMS]"].isna().all()


def test_what_no_float_holds_is_written_out():
    deep = gc.Spec(depth=30, width=8, gain=1e-30, init="normal", batch_size=2)
    text = tidy_csv(Record.of(deep, gc.predict(deep)))
    table = pd.read_csv(io.StringIO(text), dtype=str)
    last = table[(table["layer"] == "30") & (table["quantity"] == "log_q")].iloc[0]
    mantissa, exponent = last["predicted_infinite_width [RMS]"].split("e")
    log10 = float(last["predicted_infinite_width" + LN]) / 2 / np.log(10)
    assert log10 < -800 and abs(np.log10(float(mantissa)) + int(exponent) - log10) < 1e-5
    assert table["measured_mean" + LN].isna().all()


def test_zeros_and_missing_parts_have_their_signs():
    dead = gc.Spec(depth=2, width=4, gain=0.0)
    measured = gc.measure(dead, networks=1)
    table = pd.read_csv(io.StringIO(tidy_csv(Record.of(dead, None, measured))), dtype=str, keep_default_na=False)
    signal = table[table["quantity"] == "log_q"].iloc[0]
    assert signal["measured_mean" + LN] == "-inf" and signal["measured_mean [RMS]"] == "0"
    assert (
        signal["predicted_mean" + LN] == "" and signal["measured_standard_error [relative to second moment]"] == "nan"
    )
    assert set(table["quantity"]) == {*QUANTITIES, *SHARES}


def test_a_record_of_nothing_is_a_header_alone():
    assert len(tidy_csv(Record.of(SPEC)).splitlines()) == 1
