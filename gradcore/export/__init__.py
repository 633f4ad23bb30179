"""What a reader takes along: the question as a gradcore script, every page of the explorer as one, its network as
plain PyTorch code, and its answers as a record that loads back, a CSV table, images of the charts and a report in one
HTML file."""

from gradcore.export.drawings import Drawing
from gradcore.export.images import png, svg
from gradcore.export.page import PageRecord, opened, page_report
from gradcore.export.page_scripts import PAGE_SCRIPTS
from gradcore.export.pytorch import torch_code
from gradcore.export.record import Record
from gradcore.export.report import html_report
from gradcore.export.scripts import page_script, script
from gradcore.export.tables import tidy_csv

__all__ = [
    "PAGE_SCRIPTS",
    "Drawing",
    "PageRecord",
    "Record",
    "html_report",
    "opened",
    "page_report",
    "page_script",
    "png",
    "script",
    "svg",
    "tidy_csv",
    "torch_code",
]
