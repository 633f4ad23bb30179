"""What a reader takes along: the question as a gradcore script, its network as plain PyTorch code, and its answers as
a record that loads back and as a CSV table."""

from gradcore.export.pytorch import torch_code
from gradcore.export.record import Record
from gradcore.export.scripts import script
from gradcore.export.tables import tidy_csv

__all__ = ["Record", "script", "tidy_csv", "torch_code"]
