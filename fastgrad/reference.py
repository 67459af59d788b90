"""The baseline: the book's numerical gradient, one parameter at a time.

It is what users compare with, and what the tests take as the truth.
"""

from __future__ import annotations

import numpy as np

from fastgrad._typing import Array, ArrayFunction


def numerical_gradient(f: ArrayFunction, x: Array, *, h: float = 1e-4) -> Array:
    """Return the central difference of `f` for every element of `x`, in an `np.nditer` loop.

    The routine of *Deep Learning from Scratch*, section 4.4: each element is moved by +h and by
    -h in place, `f` is evaluated at both, ``2 * x.size`` times in all, and the element is put back.

    Parameters
    ----------
    f : callable
        Takes `x`, returns a number. It may ignore its argument and read `x` from its closure.
    x : ndarray of float, any shape
        Changed in place while `f` runs; afterwards it holds the same bits as before, also when
        `f` raises.
    h : float, default 1e-4
        The step, absolute.

    Returns
    -------
    ndarray
        ``(f(x + h) - f(x - h)) / (2 h)`` for each element, shape and dtype of `x`.

    Examples
    --------
    >>> numerical_gradient(lambda x: np.sum(x**2), np.array([3.0, 4.0])).round(6)
    array([6., 8.])
    """
    grad = np.zeros_like(x)
    with np.nditer(x, flags=["multi_index"]) as elements:
        for _ in elements:
            index = elements.multi_index
            saved = x[index]
            try:
                x[index] = saved + h
                above = f(x)
                x[index] = saved - h
                below = f(x)
            finally:
                x[index] = saved
            grad[index] = (above - below) / (2 * h)
    return grad
