"""Hypothesis strategies over the whole legal space of Specs."""

from __future__ import annotations

from hypothesis import strategies as st

import gradcore as gc
from gradcore.fields import FIELDS

SMALL = st.floats(-3, 3).map(lambda x: 10.0**x)
EXTREME = st.floats(-25, 25).map(lambda x: 10.0**x)
NUMBERS = st.one_of(SMALL, SMALL, EXTREME)


def _choices(name: str) -> st.SearchStrategy[str]:
    return st.sampled_from(FIELDS[name].choices)


@st.composite
def specs(draw: st.DrawFn, max_depth: int = 60) -> gc.Spec:
    """A legal Spec: every table, extreme numbers, rectangular widths, both inputs, all losses."""
    depth = draw(st.one_of(st.integers(1, 12), st.integers(1, max_depth)))
    residual = draw(st.one_of(st.just("none"), _choices("residual")))
    uniform = residual != "none" or depth > 20 or draw(st.booleans())
    one_width = st.one_of(st.integers(1, 600), st.sampled_from([10**6, 10**9]))
    width = draw(one_width) if uniform else tuple(draw(st.lists(one_width, min_size=depth, max_size=depth)))
    norm, data = draw(_choices("norm")), draw(_choices("input"))
    if norm == "batch" and draw(st.integers(0, 3)):
        data = "gaussian"
    wide = norm == "batch" and draw(st.booleans())
    return gc.Spec(
        depth=depth,
        width=width,
        input_width=None if data == "digits" else draw(st.one_of(st.none(), st.integers(1, 2000))),
        activation=draw(_choices("activation")),
        negative_slope=draw(st.one_of(st.none(), st.floats(-2, 2))),
        init=draw(_choices("init")),
        gain=draw(st.one_of(st.just("auto"), st.just(0.0), NUMBERS)),
        sparsity=draw(st.floats(0, 1)),
        bias_std=draw(st.one_of(st.just(0.0), st.just("default"), NUMBERS)),
        norm=norm,
        norm_position=draw(_choices("norm_position")),
        norm_gamma=draw(st.one_of(st.just(1.0), st.floats(-5, 5))),
        norm_beta=draw(st.one_of(st.just(0.0), st.floats(-5, 5))),
        norm_eps=draw(st.one_of(st.just(1e-5), st.floats(1e-12, 1.0))),
        residual=residual,
        residual_scale=draw(st.one_of(st.just(1.0), st.just("1/sqrt(L)"), st.floats(-5, 5))),
        batch_size=draw(st.integers(64, 256) if wide else st.integers(1, 40)),
        input=data,
        input_rms=draw(NUMBERS),
        input_correlation=draw(st.one_of(st.just(0.0), st.floats(0, 1).filter(lambda c: c < 1 or norm != "batch"))),
        loss=draw(_choices("loss")),
    )
