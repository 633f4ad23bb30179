"""Sizes and icons in one place; colours live in .streamlit/config.toml."""

from __future__ import annotations

from pathlib import Path

CHART_HEIGHT = 330
METRIC_MIN_WIDTH = 165  # px: four in a row on a desktop, two on a phone

APP_ICON = Path(__file__).with_name("favicon.png")  # a material icon would be fetched from the network
ICONS = {
    "explore": ":material/stacked_line_chart:",
    "measure": ":material/science:",
    "cancel": ":material/close:",
    "unsupported": ":material/info:",
    "error": ":material/error:",
    "notice": ":material/warning:",
    "table": ":material/table_rows:",
    "code": ":material/code:",
    "reset": ":material/restart_alt:",
}
