"""Measuring real torch networks. Its modules import torch; the package itself does not."""
