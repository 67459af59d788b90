"""A numba-compiled callable, driven from compiled code."""

from __future__ import annotations

import functools
import inspect
import math
import time
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np

from fastgrad._jit import jit_around
from fastgrad._typing import Array
from fastgrad.objectives.base import Cost, OneEach
from fastgrad.objectives.values import explain, not_finite, number
from fastgrad.partition import PIECE_SECONDS
from fastgrad.steps import Plan, Steps
from fastgrad.structures import Parameters


class Driver:
    """The compiled loop around a compiled function.

    Attributes
    ----------
    f : numba dispatcher
    pace : float
        Seconds that f took last; infinite until then, and where it did not return a float.
    loop : numba dispatcher
        Moves ``flat[i]``, calls f and puts it back, for each coordinate. It writes the derivatives
        that a plan means to `out`, and returns whether all values were finite; where one is not it
        stops. `at` says where it is: the coordinate's place in the plan, and the evaluation.
    """

    def __init__(self, f: Callable[..., Any]) -> None:
        self.f, self.pace = f, math.inf

        # Here, not when it is first called: threads would each compile one.
        @jit_around
        def loop(  # type: ignore[no-untyped-def]
            x, args, flat, start, moves, h, which, counts, weights, centers, value, keep, at, out
        ):
            for row in range(out.size):
                i = start + row
                mine = min(row, which.size - 1)
                formula = which[mine]
                saved = flat[i]
                total = centers[formula] * value if centers[formula] else 0.0
                for k in range(counts[formula]):
                    at[0], at[1] = row, k
                    flat[i] = saved + moves[mine, k]
                    moved = f(x, *args)
                    if not (keep or math.isfinite(moved)):
                        flat[i] = saved
                        return False
                    total += weights[formula, k] * moved
                flat[i] = saved
                out[row] = total / h[mine]
            return True

        self.loop = loop

    def drive(
        self,
        x: Any,
        args: tuple[Any, ...],
        flat: Array,
        start: int,
        plan: Plan,
        how: tuple[Any, ...],
        place: Callable[[Array], tuple[float, str]],
        out: Array,
    ) -> None:
        """Write the derivatives that a plan means, of coordinates from ``flat[start]`` on.

        Parameters
        ----------
        x, args, flat
            What f is called with; x is changed, and `flat` a view of one of its arrays.
        start, plan
            The coordinates, and what to evaluate for each.
        how : (counts, weights, centers, value, keep)
            See `fastgrad.steps.Steps`, and `Jitted`.
        place : callable
            Returns where a coordinate had been moved, and words for it: see `moved`.
        out : ndarray of float64
        """
        at = np.zeros(2, np.int64)
        try:
            if self.loop(x, args, flat, start, *plan, *how, at, out):
                return
        except Exception as error:
            explain(error, place(at)[1])
            raise
        flat[start + at[0]], where = place(at)
        raise not_finite(self.f(x, *args), where)


driver = functools.lru_cache(maxsize=256)(Driver)
"""One for each function."""


def moved(
    parameters: Parameters, leaf: int, start: int, plan: Plan, at: Array
) -> tuple[float, str]:
    """Return where a coordinate of `parameters` had been moved, and words for it."""
    i = start + int(at[0])
    original = parameters.leaves[leaf].flat[i]
    point = original + plan.move(*at)
    return point, parameters.moved(leaf, i, original.item(), point.item())


@functools.lru_cache(maxsize=256)
def frozen_arrays(f: Any) -> dict[str, Array]:
    """Return the arrays that `f` reads from outside: numba compiles them in as they are."""
    outside = inspect.getclosurevars(f.py_func)
    named = {**outside.globals, **outside.nonlocals}
    return {name: value for name, value in named.items() if isinstance(value, np.ndarray)}


def refuse_frozen(f: Callable[..., Any], leaves: list[Array]) -> None:
    """Raise if a compiled `f` has taken x in from outside, as a constant."""
    for name, array in frozen_arrays(f).items():
        if any(np.may_share_memory(array, leaf) for leaf in leaves):
            raise TypeError(
                f"f reads x from outside, as {name}, which numba has compiled in: it would "
                "never see x move; let f use its argument, or pass f.py_func"
            )


def copied(x: Any) -> Any:
    """Return what a compiled f takes: a fresh contiguous array, or a tuple of them."""
    if isinstance(x, tuple):
        return tuple(copied(array) for array in x)
    return x.copy() if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="), order="C")


def flattened(x: Any, leaf: int) -> Array:
    """Return a flat view of one array of what `copied` returned."""
    array: Array = x[leaf] if isinstance(x, tuple) else x
    return array.reshape(-1)


class Jitted(OneEach):
    """``f(x, *args)`` as an objective; one work item is one coordinate.

    Parameters
    ----------
    f : numba dispatcher
        Takes what x is, an array or a tuple of arrays, and returns a number.
    parameters : Parameters
        x. It is never changed: every block has its own copy.
    args : tuple
        Further arguments of `f`.
    steps, keep
        As for `fastgrad.objectives.black_box.BlackBox`.
    """

    shareable = True

    def __init__(
        self,
        f: Callable[..., Any],
        parameters: Parameters,
        args: tuple[Any, ...],
        steps: Steps,
        keep: bool,
    ) -> None:
        refuse_frozen(f, parameters.leaves)
        self.f, self.parameters, self.args, self.steps, self.keep = f, parameters, args, steps, keep
        self.dtype = parameters.dtype
        self.evaluations = 0
        compiled = len(f.overloads)  # type: ignore[attr-defined]
        returned = self.evaluate()
        if len(f.overloads) > compiled:  # type: ignore[attr-defined]
            self.evaluate()  # for the time without the compilation
        self.returns_number = isinstance(returned, int | float)
        if steps.needs_value and not (keep or math.isfinite(self.value)):
            raise not_finite(self.value, "x")

    @classmethod
    def of(
        cls,
        f: Callable[..., Any],
        parameters: Parameters,
        args: tuple[Any, ...],
        steps: Steps,
        keep: bool,
    ) -> Jitted | None:
        """Return the objective, or None where only Python can call f.

        Compiled code takes plain numbers from f.
        """
        if not drivable(parameters.x, args):
            return None
        objective = cls(f, parameters, args, steps, keep)
        return objective if objective.returns_number else None

    items = size = property(attrgetter("parameters.size"), doc="Number of coordinates.")

    def evaluate(self) -> Any:
        """Set ``value`` to f(x), and return what f returned."""
        x = copied(self.parameters.x)
        start = time.perf_counter()
        returned = self.f(x, *self.args)
        self.pace = time.perf_counter() - start
        self.evaluations += 1
        driver(self.f).pace = self.pace if isinstance(returned, float) else math.inf
        self.value = number(returned)
        return returned

    def cost(self) -> Cost:
        """Return about what all evaluations cost."""
        seconds = self.pace * self.steps.evaluations(self.parameters)
        return Cost(seconds, seconds)

    def prepare(self) -> bool:
        """Nothing to prepare."""
        return True

    def verify(self) -> None:
        """Nothing to verify: a compiled function sees its arguments and nothing else."""

    def partials(self, block: range, out: Array) -> None:
        """Write the block's partial derivatives."""
        x, steps, drive = copied(self.parameters.x), self.steps, driver(self.f).drive
        how = steps.counts, steps.weights, steps.centers, self.value, self.keep
        # Ctrl-C is heard between compiled calls.
        length = max(1, int(PIECE_SECONDS / (self.pace * steps.weights.shape[1])))
        for leaf, indices, where in self.parameters.pieces(block, length):
            flat, plan = flattened(x, leaf), steps.plan(self.parameters, leaf, indices)
            place = partial(moved, self.parameters, leaf, indices.start, plan)
            drive(x, self.args, flat, indices.start, plan, how, place, out[where])


def drivable(x: Any, args: tuple[Any, ...]) -> bool:
    """Tell whether compiled code can move a copy of x: an array, or a tuple of arrays.

    An array in `args` that shares its memory with x would have to move along.
    """
    for leaf in x if type(x) is tuple else (x,):
        if not isinstance(leaf, np.ndarray):
            return False
        for array in args:
            if isinstance(array, np.ndarray) and np.may_share_memory(array, leaf):
                return False
    return True
