"""Packages that differentiate numerically, all called the same way.

Each function takes f and x and returns the gradient, in a shape of its own, and an estimate of its
error or None.
"""

from __future__ import annotations

import importlib.util
from functools import partial

import numpy as np

from fastgrad import numerical_gradient


def fastgrad(f, x, h):
    """Differentiate by fastgrad."""
    gradient, info = numerical_gradient(f, x, h, full_output=True)
    return gradient, info.error


def numdifftools(f, x):
    """Differentiate by numdifftools with its defaults."""
    from numdifftools import Gradient

    found = Gradient(f, full_output=True)(x)
    return found.estimate, found.error_estimate


def jacobi(f, x):
    """Differentiate by jacobi with its defaults."""
    from jacobi import jacobi

    return jacobi(f, x, diagonal=False)


def scipy(f, x):
    """Differentiate by scipy.differentiate, which wants f to take many points."""
    from scipy.differentiate import jacobian

    found = jacobian(lambda points: np.apply_along_axis(f, 0, points), x)
    return found.df, found.error


def optimagic(f, x):
    """Differentiate by optimagic with its defaults, central differences."""
    from optimagic import first_derivative

    return first_derivative(f, x).derivative, None


def statsmodels(f, x):
    """Differentiate by statsmodels, central differences."""
    from statsmodels.tools.numdiff import approx_fprime

    return approx_fprime(x, f, centered=True), None


def installed():
    """Return the ways by name, those alone whose package is installed."""
    ways = {
        'fastgrad, h="auto"': partial(fastgrad, h="auto"),
        'fastgrad, h="quick"': partial(fastgrad, h="quick"),
        "fastgrad, h=1e-4": partial(fastgrad, h=None),
    }
    for way in (numdifftools, jacobi, scipy, optimagic, statsmodels):
        if importlib.util.find_spec(way.__name__):
            ways[way.__name__] = way
    return ways
