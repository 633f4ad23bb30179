"""What there is to draw: the table of panels and the palette."""

from __future__ import annotations

from dataclasses import dataclass

MOMENTS = ("rms", "mean_square")
STATISTICS = ("mean", "median")

# The one palette (checked for contrast against .streamlit/config.toml by tests/app/test_theme.py): the first colour is
# the prediction's, the second the measurement's, the next two the factors'; neutral is for reference lines and events.
# The sixth, almost the text's, stands in no published set: it was searched for being apart from the other five.
LIGHT = ("#332288", "#D55E00", "#009E73", "#AA4499", "#785EF0", "#300C0C")
DARK = ("#88CCEE", "#F0E442", "#EE3377", "#785EF0", "#A66F00", "#E4FCF0")
NEUTRAL = "#7A7F8C"


@dataclass(frozen=True)
class Panel:
    """One chart: which quantity, and its texts (msgids).

    ``relative``: to the last layer, whence the layers are met downwards. ``pass_name`` ("forward", "gradient"): the
    pass whose over- and underflows belong here; empty where none is known. ``factors``: quantities whose product this
    one is, drawn beside it. ``usable``: whether the range of usable gradients is shaded.
    """

    code: str
    quantity: str
    title: str
    name: str
    axis: dict[str, str]
    relative: bool = False
    pass_name: str = ""
    factors: tuple[tuple[str, str], ...] = ()
    usable: bool = False


PANELS: dict[str, Panel] = {
    p.code: p
    for p in (
        Panel(
            "forward",
            "log_q",
            "Forward: size of the signal z",
            "Signal z",
            {"rms": "RMS of z", "mean_square": "mean square of z"},
            pass_name="forward",
        ),
        Panel(
            "backward",
            "log_g",
            "Backward: size of the gradient δ",
            "Gradient δ",
            {"rms": "RMS of δ, layer {depth} = 1", "mean_square": "mean square of δ, layer {depth} = 1"},
            relative=True,
            pass_name="gradient",
            usable=True,
        ),
        Panel(
            "weight_gradient",
            "log_dw",
            "Weight gradient: the product of δ and x",
            "Weight gradient",
            {"rms": "RMS, layer {depth} = 1", "mean_square": "mean square, layer {depth} = 1"},
            relative=True,
            factors=(("log_g", "Gradient δ"), ("log_p", "Layer input x")),
        ),
    )
}
MAIN = ("forward", "backward")  # the two that answer the question; the others explain
