"""Measuring real torch networks. Importing this room imports torch."""
