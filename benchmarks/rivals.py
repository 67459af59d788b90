"""Packages that differentiate numerically, all called the same way.

Each function takes f, x and a side, and returns the gradient, in a shape of its own, and an
estimate of its error or None. With a side of 1 or -1 no coordinate may go below or above x; who
has no formula for that raises NotImplementedError.
"""

from __future__ import annotations

import importlib.util
from functools import partial

import numpy as np

from fastgrad import numerical_gradient


def fastgrad(f, x, side=0, *, h):
    """Differentiate by fastgrad."""
    bounds = (x if side > 0 else -np.inf, x if side < 0 else np.inf) if side else None
    gradient, info = numerical_gradient(f, x, h, bounds=bounds, full_output=True)
    return gradient, info.error


def numdifftools(f, x, side=0):
    """Differentiate by numdifftools with its defaults."""
    from numdifftools import Gradient

    method = {0: "central", 1: "forward", -1: "backward"}[side]
    found = Gradient(f, method=method, full_output=True)(x)
    return found.estimate, found.error_estimate


def jacobi(f, x, side=0):
    """Differentiate by jacobi with its defaults."""
    from jacobi import jacobi

    return jacobi(f, x, diagonal=False, method=side or None)


def scipy(f, x, side=0):
    """Differentiate by scipy.differentiate.derivative with its defaults, by each coordinate."""
    from scipy.differentiate import derivative

    along = np.vectorize(partial(along_one, f, x), otypes=[float])
    found = derivative(along, x, args=(np.arange(x.size),), step_direction=side)
    return found.df, found.error


def derivkit(f, x, side=0):
    """Differentiate by DerivKit with its defaults, the adaptive fit, by each coordinate."""
    from derivkit import DerivativeKit

    if side:
        raise NotImplementedError
    lines = [partial(along_one, f, x, coordinate=k) for k in range(x.size)]
    kits = [DerivativeKit(line, at) for line, at in zip(lines, x.tolist(), strict=True)]
    return np.array([kit.differentiate(order=1) for kit in kits]), None


def along_one(f, x, t, coordinate):
    """Return f where one coordinate of x is t."""
    return f(np.where(np.arange(x.size) == coordinate, t, x))


def optimagic(f, x, side=0):
    """Differentiate by optimagic with its defaults, central differences."""
    from optimagic import first_derivative

    method = {0: "central", 1: "forward", -1: "backward"}[side]
    return first_derivative(f, x, method=method).derivative, None


def statsmodels(f, x, side=0):
    """Differentiate by statsmodels, central differences."""
    from statsmodels.tools.numdiff import approx_fprime

    if side:
        raise NotImplementedError
    return approx_fprime(x, f, centered=True), None


def installed():
    """Return the ways by name, those alone whose package is installed."""
    ways = {
        'fastgrad, h="auto"': partial(fastgrad, h="auto"),
        'fastgrad, h="quick"': partial(fastgrad, h="quick"),
        "fastgrad, h=1e-4": partial(fastgrad, h=None),
    }
    for way in (numdifftools, jacobi, scipy, derivkit, optimagic, statsmodels):
        if importlib.util.find_spec(way.__name__):
            ways[way.__name__] = way
    return ways
