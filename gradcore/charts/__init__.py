"""Charts and sentences about a Profile and a Measurement, without Streamlit.

Everything is drawn as log10 of the value on a linear axis whose labels print 1e-100: the library keeps logarithms end
to end, so 1e-600 is drawn as such, zeros become labelled events instead of gaps, and no domain collapses.
Altair and pandas are imported when a chart is made. Texts pass through a translator ``t(msgid, **values)``.
"""

from gradcore.charts.data import Event, events, frame, layer_table, series
from gradcore.charts.panels import DARK, LIGHT, MAIN, MOMENTS, NEUTRAL, PANELS, STATISTICS, Panel
from gradcore.charts.phase import SELECTION, axis_title, phase_chart, scalar_label, shown_values, value_title
from gradcore.charts.phase_words import critical_text, headline, map_description, standing, stands_text
from gradcore.charts.picture import chart
from gradcore.charts.singular import singular_chart
from gradcore.charts.words import (
    Agreement,
    agreement,
    describe,
    estimate_text,
    precision_text,
)

__all__ = [
    "DARK",
    "LIGHT",
    "MAIN",
    "MOMENTS",
    "NEUTRAL",
    "PANELS",
    "SELECTION",
    "STATISTICS",
    "Agreement",
    "Event",
    "Panel",
    "agreement",
    "axis_title",
    "chart",
    "critical_text",
    "describe",
    "estimate_text",
    "events",
    "frame",
    "headline",
    "layer_table",
    "map_description",
    "phase_chart",
    "precision_text",
    "scalar_label",
    "series",
    "shown_values",
    "singular_chart",
    "standing",
    "stands_text",
    "value_title",
]
