"""What a second core of this machine is worth at this moment.

Cores that are two halves of one, or that a machine shares with others, are worth less than a core:
no program that keeps a core busy gains more on two threads than the machine gives.
"""

import time
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

TURNS = 80_000
"""Some milliseconds, as a large gradient takes."""

_second = ThreadPoolExecutor(1)


@numba.njit(nogil=True, fastmath=True)
def products(a, b, turns):
    """Return ``turns * (a @ b)``, in that many turns: from the first-level cache."""
    total = 0.0
    for _ in range(turns):
        for i in range(a.size):
            total += a[i] * b[i]
    return total


def second_core():
    """Return how many times faster two threads compute such products than one does."""
    mine, its = np.ones((2, 512)), np.ones((2, 512))
    start = time.perf_counter()
    products(*mine, 2 * TURNS)
    one = time.perf_counter()
    half = _second.submit(products, *its, TURNS)
    products(*mine, TURNS)
    half.result()
    return (one - start) / (time.perf_counter() - one)
