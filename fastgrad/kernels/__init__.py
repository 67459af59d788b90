"""Compiled loops over plain arrays; what is called from outside ends in ``_kernel``.

Shared notation: `N` samples, `D` inputs, `H` hidden units, `C` classes. A layer is one matrix
``A = [W; b]`` whose last row is the bias, and its inputs `X` carry a last column of ones.

numba's cache watches the file of a kernel, not those of its helpers: after a change in a helper
that another file imports, remove the ``*.nbi`` and ``*.nbc`` files from ``__pycache__``.
"""
