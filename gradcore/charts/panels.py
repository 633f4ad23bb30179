"""What there is to draw: the table of panels, the palette, and how a text is translated."""

from __future__ import annotations

from dataclasses import dataclass

MOMENTS = ("rms", "mean_square")
STATISTICS = ("mean", "median")

# The one palette (checked for contrast against .streamlit/config.toml by tests/app/test_theme.py): in each pair the
# first colour is the prediction's, the second the measurement's; neutral is for reference lines and events.
LIGHT = ("#332288", "#D55E00", "#009E73", "#AA4499", "#785EF0")
DARK = ("#88CCEE", "#F0E442", "#EE3377", "#785EF0", "#A66F00")
NEUTRAL = "#7A7F8C"


@dataclass(frozen=True)
class Panel:
    """One chart: which quantity, whether relative to the last layer, and its texts (msgids)."""

    code: str
    quantity: str
    relative: bool
    title: str
    axis: dict[str, str]


PANELS: dict[str, Panel] = {
    p.code: p
    for p in (
        Panel(
            "forward",
            "log_q",
            False,
            "Forward: size of the signal z in each layer",
            {"rms": "RMS of z", "mean_square": "mean square of z"},
        ),
        Panel(
            "backward",
            "log_g",
            True,
            "Backward: size of the gradient δ, relative to layer {depth}",
            {
                "rms": "RMS of δ, layer {depth} = 1",
                "mean_square": "mean square of δ, layer {depth} = 1",
            },
        ),
    )
}
