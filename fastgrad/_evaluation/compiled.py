"""A numba-compiled callable, driven from a compiled loop."""

from __future__ import annotations

import functools
import math
import sys
import time
from typing import Any

import numpy as np

from fastgrad._evaluation.callable import Calls, EvaluationError, Values
from fastgrad._evaluation.outside import name_outside
from fastgrad._evaluation.values import precision
from fastgrad._formulas.points import Points
from fastgrad._structures import Parameters
from fastgrad._typing import Array


def is_compiled(f: object) -> bool:
    """Tell whether `f` was compiled by numba, without importing it for functions that are not."""
    dispatcher = sys.modules.get("numba.core.dispatcher")
    return dispatcher is not None and dispatcher.Dispatcher in type(f).__mro__


def refuse_frozen(f: Any, parameters: Parameters) -> None:
    """Raise if a compiled `f` has taken x in from outside, as a constant."""
    for k in range(len(parameters.leaves)):
        name = name_outside(f, parameters, k, depth=1)
        if name is not None and not parameters.numbers[k]:
            raise TypeError(
                f"f reads x from outside, as {name}, which numba has compiled in: it would "
                "never see x move; let f use its argument, or pass f.py_func"
            )


def drivable(parameters: Parameters, args: tuple[Any, ...]) -> bool:
    """Tell whether compiled code can move a copy of x: arrays of one dtype, or one number.

    An array in `args` that shares its memory with x would have to move along.
    """
    leaves = parameters.leaves
    tuples = parameters.is_array or type(parameters.x) is tuple
    if not (tuples and leaves and all(dtype == leaves[0].dtype for dtype in parameters.dtypes)):
        return False
    arrays = [arg for arg in args if isinstance(arg, np.ndarray)]
    return not any(np.may_share_memory(arg, leaf) for arg in arrays for leaf in leaves)


@functools.lru_cache(maxsize=256)
def driver(f: Any, number: bool) -> Any:
    """Return the compiled loop around `f` that changes x at each point and calls f.

    ``loop(x, flat, original, args, index, value, start, at, out)`` writes f's values to the rows
    of `out` and returns the size of what f returned; where that is another than a row it stops.
    `flat` is a view of all of x; ``at[0]`` says which point is next.
    """
    from fastgrad._jit import jit_around

    if number:

        @jit_around
        def call(x, args):  # type: ignore[no-untyped-def]
            return f(x[0], *args)
    else:

        @jit_around
        def call(x, args):  # type: ignore[no-untyped-def]
            return f(x, *args)

    @jit_around
    def loop(x, flat, original, args, index, value, start, at, out):  # type: ignore[no-untyped-def]
        for k in range(len(start) - 1):
            at[0] = k
            for i in range(len(flat)):  # An assignment takes 0.3 s more to compile, of 0.8.
                flat[i] = original[i]
            for i in range(start[k], start[k + 1]):
                flat[index[i]] = value[i]
            returned = np.asarray(call(x, args))
            if returned.size != out.shape[1]:
                return returned.size
            for j, number in enumerate(returned.flat):
                out[k, j] = number
        return out.shape[1]

    return loop


class CompiledCalls(Calls):
    """``f(x, *args)``, called from compiled code; see `Calls`."""

    nogil = True

    def probe(self) -> tuple[float, float, int]:
        """Evaluate f at x; return its precision, its seconds, and how often it was evaluated.

        That is twice where it had to be compiled, which is no part of its seconds.
        """
        f: Any = self.f
        evaluated, known = 0, -1
        while evaluated < 2 and len(f.overloads) > known:
            evaluated, known = evaluated + 1, len(f.overloads)
            start = time.perf_counter()
            returned = self.at(slice(0), 0.0)
            pace = time.perf_counter() - start
        self.reader.read(returned)
        return precision(returned), pace, evaluated

    def compiles(self, *, new: bool) -> bool:
        """Tell whether the loop around f can be compiled, and have it compiled.

        Where f is not `new` to these types neither is the loop, once it has been compiled at all.
        """
        if not new and driver(self.f, self._is_number).overloads:
            return True
        from numba.core.errors import NumbaError

        empty = Points(np.empty(0, np.int64), np.empty(0, self.x.dtype), np.zeros(1, np.int64))
        try:
            self._drive(empty, np.zeros(1, np.int64), np.empty((0, self._width)))
        except NumbaError:
            return False
        return True

    @property
    def _is_number(self) -> bool:
        return self.parameters.is_array and self.parameters.numbers[0]

    @property
    def _width(self) -> int:
        return math.prod(self.reader.shape or ())

    def __call__(self, points: Points) -> Values:
        """Return f at all points."""
        at, out = np.zeros(1, np.int64), np.empty((points.count, self._width))
        try:
            size = self._drive(points, at, out)
            if size != self._width:
                shape = self.reader.shape
                raise TypeError(
                    f"f must return arrays of one shape: it was {shape} before, and now an array "
                    f"of {size} numbers"
                )
        except Exception as error:
            raise EvaluationError(int(at[0]), error) from error
        return Values(out[:, 0] if self.reader.numbers else out, [])

    def _drive(self, points: Points, at: Array, out: Array) -> int:
        dtype = self.parameters.leaves[0].dtype.newbyteorder("=")
        original = self.x.astype(dtype, copy=False)
        flat, parameters = original.copy(), self.parameters
        pieces = [
            part.reshape(leaf.shape)
            for part, leaf in zip(parameters.parts(flat), parameters.leaves, strict=True)
        ]
        x = flat if self._is_number else parameters.rebuild(pieces)
        value = points.value.astype(dtype, copy=False)
        loop, bounds = driver(self.f, self._is_number), points.bounds()
        return int(loop(x, flat, original, self.args, points.index, value, bounds, at, out))
