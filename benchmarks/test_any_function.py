"""The gradient of Rosenbrock's function, n = 1000: against bare calls, compiled loops and SciPy.

Each benchmark alternates with the loop that it is compared with, in one process, and writes the
ratio of the two times into `extra_info`.
"""

import numba
import numpy as np
import pytest
from scipy.optimize import approx_fprime

from fastgrad import numerical_gradient


def rosenbrock(x):
    """Return Rosenbrock's function, in NumPy."""
    return float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))


@numba.njit
def compiled(x):
    """Return Rosenbrock's function, compiled."""
    total = 0.0
    for i in range(x.size - 1):
        total += 100 * (x[i + 1] - x[i] ** 2) ** 2 + (1 - x[i]) ** 2
    return total


@numba.njit
def by_hand(x, h):
    """Write the loop for one function that one writes without a library."""
    gradient = np.empty_like(x)
    for i in range(x.size):
        saved = x[i]
        x[i] = saved + h
        above = compiled(x)
        x[i] = saved - h
        below = compiled(x)
        x[i] = saved
        gradient[i] = (above - below) / (2 * h)
    return gradient


def point(n):
    """Return where the gradient is taken."""
    return np.random.default_rng(0).standard_normal(n)


@pytest.mark.benchmark(group="any function")
def test_serial_against_the_bare_calls(compare):
    x = point(1000)
    compare(
        lambda: numerical_gradient(rosenbrock, x),
        lambda: [rosenbrock(x) for _ in range(2000)],
        "bare_calls_over_serial",
        60,
    )


@pytest.mark.benchmark(group="any function")
@pytest.mark.parametrize("n", [100, 1000])
def test_compiled_against_a_loop_by_hand(compare, n):
    x = point(n)
    compare(
        lambda: numerical_gradient(compiled, x),
        lambda: by_hand(x, 1e-4),
        "by_hand_over_ours",
        200,
    )


@pytest.mark.benchmark(group="any function")
@pytest.mark.parametrize("n", [100, 1000])
def test_compiled_against_scipy(compare, n):
    x = point(n)
    compare(
        lambda: numerical_gradient(compiled, x),
        lambda: approx_fprime(x, compiled),
        "scipy_over_ours",
        200,
    )
