"""What a second core of this machine is worth at this moment.

Cores that a machine shares with others, or that are two halves of one, are worth less than a core:
no program can gain more on two threads than the machine gives.
"""

import time
from concurrent.futures import ThreadPoolExecutor

import numba

TURNS = 3_000_000
"""Of eight multiplications each, about as long as a large gradient."""

_second = ThreadPoolExecutor(1)


@numba.njit(nogil=True)
def multiply(turns, factor):
    """Multiply numbers that stay in registers, eight at a time."""
    a = b = c = d = e = f = g = h = 1.0
    for _ in range(turns):
        a, b, c, d = a * factor, b * factor, c * factor, d * factor
        e, f, g, h = e * factor, f * factor, g * factor, h * factor
    return a + b + c + d + e + f + g + h


def second_core():
    """Return how many times faster two threads multiply than one does."""
    start = time.perf_counter()
    multiply(2 * TURNS, 1.0)
    one = time.perf_counter()
    half = _second.submit(multiply, TURNS, 1.0)
    multiply(TURNS, 1.0)
    half.result()
    return (one - start) / (time.perf_counter() - one)
