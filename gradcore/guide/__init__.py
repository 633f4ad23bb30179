"""What holds of each activation and each initializer: exact gains, the variance map, per-layer factors of every law.

Everything here is NumPy and presents nothing; charts, pages and the command line read it.
"""
