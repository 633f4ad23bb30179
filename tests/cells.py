"""What the tests of recurrent cells share: the reference factors, their questions, and some small cells."""

from __future__ import annotations

from functools import cache

import pytest

import gradcore as gc

FALSE_ALARM = 0.01
PARTICLES = 0.004  # standard deviation of ln factor between seeds, 2e4 particles (chaotic cells: three times that)
LSTM, GRU = {"cell": "lstm"}, {"cell": "gru"}
# cell, d, tied, untied: (V_10 / V_30)^(1/20) at n = 512, T = 40, torch's default weights
TABLE = [
    (LSTM, 64, 0.3947, 0.2721),
    (LSTM, 512, 0.3634, 0.2833),
    (LSTM | {"forget_bias": 1}, 64, 0.7239, 0.5525),
    (LSTM | {"forget_bias": 1}, 512, 0.6548, 0.5404),
    (LSTM | {"forget_bias": 3}, 64, 1.0767, 0.9221),
    (LSTM | {"forget_bias": 3}, 512, 1.0054, 0.9039),
    (GRU, 64, 0.3978, 0.2735),
    (GRU, 512, 0.3729, 0.2907),
    (GRU | {"update_bias": 1}, 64, 0.6273, 0.5396),
    (GRU | {"update_bias": 1}, 512, 0.5974, 0.5355),
    (GRU | {"update_bias": 3}, 64, 0.9122, 0.9060),
    (GRU | {"update_bias": 3}, 512, 0.9006, 0.8953),
    # W_h times 5: chaotic
    (LSTM | {"forget_bias": 1, "weight_scale": 5}, 512, 1.157, 0.855),
    (GRU | {"weight_scale": 5}, 512, 1.021, 0.891),
]
SPECS = [gc.CellSpec(hidden_size=512, input_size=d, **cell) for cell, d, _, _ in TABLE]
SMALL = [
    gc.CellSpec(cell="rnn", hidden_size=5, input_size=3, steps=6, state_rms=1),
    gc.CellSpec(cell="rnn", activation="relu", hidden_size=5, input_size=3, steps=6),
    gc.CellSpec(cell="lstm", hidden_size=5, input_size=3, steps=6, weight_scale=2, forget_bias=1),
    gc.CellSpec(cell="gru", hidden_size=5, input_size=3, steps=6, state_rms=1, update_bias=1),
    gc.CellSpec(cell="lstm", hidden_size=5, input_size=3, steps=6, init="orthogonal"),
]
predict = cache(gc.predict_cell)  # each of the table's predictions is asked for more than once
by_row = pytest.mark.parametrize(("row", "spec"), list(zip(TABLE, SPECS, strict=True)), ids=range(len(TABLE)))
by_cell = pytest.mark.parametrize("spec", SMALL, ids=lambda s: f"{s.cell}-{s.activation}-{s.init}")
