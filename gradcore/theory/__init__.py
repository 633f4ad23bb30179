"""The analytic side: NumPy and SciPy only."""
