"""Compiled loops over plain arrays. The names end in ``_kernel``; nothing here knows a network class.

Shared notation: `N` samples, `D` inputs, `H` hidden units, `C` classes. A layer is one matrix
``A = [W; b]`` whose last row is the bias, and its inputs `X` carry a last column of ones.
"""
