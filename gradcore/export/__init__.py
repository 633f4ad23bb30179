"""What a reader takes along: the question as a gradcore script, its network as plain PyTorch code, and its answers as
a record that loads back."""

from gradcore.export.pytorch import torch_code
from gradcore.export.record import Record
from gradcore.export.scripts import script

__all__ = ["Record", "script", "torch_code"]
