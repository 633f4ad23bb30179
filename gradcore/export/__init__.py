"""What a reader takes along: the question as a gradcore script, and its network as plain PyTorch code."""

from gradcore.export.pytorch import torch_code
from gradcore.export.scripts import script

__all__ = ["script", "torch_code"]
