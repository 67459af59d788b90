"""Second derivatives of a numba-compiled callable, driven from compiled code."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from fastgrad._jit import jit_around
from fastgrad._typing import Array, Integers
from fastgrad.objectives.base import Cost
from fastgrad.objectives.jitted import Jitted, copied, flattened
from fastgrad.objectives.second_order import Triangle
from fastgrad.objectives.values import explain
from fastgrad.partition import PIECE_SECONDS


@functools.lru_cache(maxsize=256)
def driver(f: Callable[..., float]) -> Callable[..., None]:
    """Return the compiled loop that moves two entries of `flat`, calls `f` and puts them back.

    It writes the values to `out`; ``at[0]`` says which of them is next.
    """

    @jit_around
    def drive(x, args, flat, where, moves, at, out):  # type: ignore[no-untyped-def]
        for k in range(out.size):
            at[0] = k
            i, j = where[k, 0], where[k, 1]
            first, second = flat[i], flat[j]
            flat[i] = first + moves[k, 0]
            flat[j] = second + moves[k, 1]
            out[k] = f(x, *args)
            flat[i], flat[j] = first, second

    return drive  # type: ignore[no-any-return]


class JittedSecondOrder(Triangle, Jitted):
    """The rows of a function that numba has compiled; see `Jitted`."""

    def cost(self) -> Cost:
        """Return about what all evaluations cost."""
        seconds = self.pace * self.weights().sum()
        return Cost(seconds, seconds)

    def _at(self, where: Integers, moves: Array) -> Array:
        x = copied(self.parameters.x)
        flat = flattened(x, 0)
        drive, values, at = driver(self.f), np.empty(len(where)), np.zeros(1, np.int64)
        # Ctrl-C is heard between compiled calls.
        length = max(1, int(PIECE_SECONDS / self.pace))
        for first in range(0, len(where), length):
            piece = slice(first, first + length)
            try:
                drive(x, self.args, flat, where[piece], moves[piece], at, values[piece])
            except Exception as error:
                k = first + at[0]
                explain(error, self._point(where[k], moves[k]))
                raise
        return values
