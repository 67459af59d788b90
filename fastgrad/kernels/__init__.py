"""Compiled loops over plain arrays; what is called from outside ends in ``_kernel``.

Shared notation: `N` samples, `D` inputs, `H` hidden units, `C` classes. A layer is one matrix
``A = [W; b]`` whose last row is the bias, and its inputs `X` carry a last column of ones.
"""
