"""``python -m benchmarks.charts``: speed-ups and growth, measured anew and drawn, as docs/images/performance*.png.

The first: how many times faster than its baseline each engine is, medians and quartiles of alternating pairs, beside
what is aimed at. The second: seconds over depth, width, batch and networks, from a small network on, log-log.
"""

from __future__ import annotations

import statistics
from pathlib import Path

import altair as alt

from benchmarks import exact, measuring
from benchmarks.growth import BASE, FACTORS, Row, growth, show

FOLDER = Path(__file__).parents[1] / "docs" / "images"


def speedups() -> list[Row]:
    """One row per claim: how many times faster, and the quartiles."""
    rows: list[Row] = []
    plain_400 = measuring.plain(measuring.WIDE), "plain torch, width 400", 3.0
    plain_64 = measuring.plain(measuring.NARROW), "plain torch, width 64", 4.5
    for (other, label, aim), spec in ((plain_400, measuring.WIDE), (plain_64, measuring.NARROW)):
        found = measuring.compare(measuring.Claim(label, measuring.measured(spec), other, 1.0))
        low, high = found.quartiles
        rows.append(_row(f"dense / {label}", 1 / found.ratio, 1 / high, 1 / low, aim))
    for depth, width, batch, least, networks in exact.CASES:
        each = exact.ratios(depth, width, batch, networks)[2]
        low, middle, high = statistics.quantiles(each, n=4)
        rows.append(_row(f"matrix-free / matmul loop, {depth} × {width:,}", middle, low, high, least))
    return rows


def _row(what: str, ratio: float, low: float, high: float, aim: float) -> Row:
    print(f"{what:<48} {ratio:6.1f} ({low:.1f} to {high:.1f}), aim {aim:g}", flush=True)
    return {"what": what, "ratio": ratio, "low": low, "high": high, "aim": aim}


def draw(rows: list[Row], curves: list[Row]) -> dict[str, alt.Chart | alt.LayerChart | alt.FacetChart]:
    """Both charts by the name of their file."""
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y("what:N", title=None, sort=None, axis=alt.Axis(labelLimit=320))
    )
    scale = alt.Scale(type="log", domain=[1, 128])
    bars = base.mark_bar(color="#0072B2", height=14).encode(
        x=alt.X("ratio:Q", title="times faster", scale=scale), x2=alt.X2Datum(1)
    )
    whiskers = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", scale=scale), x2="high:Q")
    aims = base.mark_tick(color="#D55E00", thickness=3, size=22).encode(x=alt.X("aim:Q", scale=scale))
    title = alt.Title("Speed beside the baseline", subtitle="bar: median; line: quartiles; orange: aim", anchor="start")
    grown = (
        alt.Chart(alt.Data(values=curves))
        .mark_line(point=True)
        .encode(
            x=alt.X(
                "factor:Q",
                title="times the base size",
                scale=alt.Scale(type="log"),
                axis=alt.Axis(values=list(FACTORS)),
            ),
            y=alt.Y("seconds:Q", scale=alt.Scale(type="log"), axis=alt.Axis(tickCount=4)),
            color=alt.Color("engine:N", title=None, scale=alt.Scale(range=["#332288", "#D55E00", "#009E73"])),
            strokeDash=alt.StrokeDash("engine:N", title=None),
        )
        .properties(width=150, height=150)
        .facet(facet=alt.Facet("what:N", title=None, sort=list(BASE)), columns=4)
        .properties(title=alt.Title("Seconds from depth 25, width 256, batch 32, 8 networks on", anchor="start"))
    )
    return {"performance": (bars + whiskers + aims).properties(width=420, title=title), "performance-growth": grown}


def main() -> int:
    """Measure, and write both pictures."""
    import vl_convert

    found, curves = speedups(), growth()
    show(curves)
    for name, chart in draw(found, curves).items():
        (FOLDER / f"{name}.png").write_bytes(vl_convert.vegalite_to_png(chart.to_json(), scale=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
