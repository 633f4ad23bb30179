"""Sizes and icons in one place; colours live in .streamlit/config.toml."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

CHART_HEIGHT = 330
METRIC_MIN_WIDTH = 165  # px: four in a row on a desktop, two on a phone
PIN_MIN_WIDTH = 145  # px: six in a row beside the sidebar, two on a phone
CARD_MIN_WIDTH = 260  # px: cards of sentences, one in a row on a phone
METRIC_HEIGHT = 104  # px: known before the cards are there, so that nothing jumps when they come
SIDEBAR_WIDTH = 300  # px: the three presets fit on one line
LINK_WIDTH = 320  # px: fits beside the sidebar and on a phone
GLIMPSE_WIDTH = 213  # px: 3 for each of the 8 x 8 pixels of 8 images and the 7 gaps between them
GLIMPSE_ENLARGE = 12  # 4 image pixels to a px, for screens of any density

STYLE = Path(__file__).with_name("style.css")  # what the theme cannot say

# A material icon would be fetched from the network, and a file from the server, which may have let go of it by then.
APP_ICON = "data:image/png;base64," + b64encode(Path(__file__).with_name("favicon.png").read_bytes()).decode()
ICONS = {
    "explore": ":material/stacked_line_chart:",
    "compare": ":material/compare_arrows:",
    "pin": ":material/push_pin:",
    "activations": ":material/ssid_chart:",
    "initializers": ":material/casino:",
    "chain": ":material/linear_scale:",
    "gates": ":material/door_open:",
    "train": ":material/fitness_center:",
    "learn": ":material/school:",
    "load": ":material/input:",
    "previous": ":material/chevron_left:",
    "next": ":material/chevron_right:",
    "corrected": ":material/report:",
    "symptoms": ":material/stethoscope:",
    "remedies": ":material/healing:",
    "start": ":material/play_arrow:",
    "stop": ":material/stop:",
    "download": ":material/download:",
    "redraw": ":material/casino:",
    "phase_map": ":material/grid_on:",
    "measure": ":material/science:",
    "cancel": ":material/close:",
    "unsupported": ":material/info:",
    "error": ":material/error:",
    "notice": ":material/warning:",
    "reset": ":material/restart_alt:",
    "fix": ":material/build:",
    "undo": ":material/undo:",
    "redo": ":material/redo:",
    "recent": ":material/history:",
    "link": ":material/link:",
    "keys": ":material/keyboard:",
}
