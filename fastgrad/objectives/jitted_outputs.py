"""A numba-compiled callable that returns an array, driven from compiled code."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.core.errors import NumbaError

from fastgrad._jit import jit_around
from fastgrad._typing import Array, Floats
from fastgrad.objectives.base import Cost
from fastgrad.objectives.jitted import copied, flattened
from fastgrad.objectives.outputs import Outputs
from fastgrad.objectives.values import explain
from fastgrad.steps import Plan, Steps
from fastgrad.structures import Parameters


@functools.lru_cache(maxsize=256)
def driver(f: Callable[..., Any]) -> Callable[..., tuple[int, ...]]:
    """Return the compiled loop that moves ``flat[i]``, calls `f` and puts it back.

    It writes what f returns to the rows of `values`, and returns the shape of that; where it is
    another than `shape` it stops. `at` says where it is: the coordinate's place in the plan, and
    the evaluation.
    """

    @jit_around
    def drive(x, args, flat, indices, moves, which, counts, shape, at, values):  # type: ignore[no-untyped-def]
        n = 0
        for row in range(indices[1] - indices[0]):
            i = indices[0] + row
            mine = min(row, which.size - 1)
            saved = flat[i]
            for k in range(counts[which[mine]]):
                at[0], at[1] = row, k
                flat[i] = saved + moves[mine, k]
                returned = np.asarray(f(x, *args))
                if returned.shape != shape:
                    return returned.shape
                for j, value in enumerate(returned.flat):
                    values[n, j] = value
                n += 1
            flat[i] = saved
        return shape

    return drive  # type: ignore[no-any-return]


class JittedOutputs(Outputs):
    """``f(x, *args)``, an array, as an objective; one work item is one coordinate.

    Parameters
    ----------
    f : callable
        Of x alone.
    parameters : Parameters
        x: an array or a tuple of arrays. It is never changed: compiled code moves copies.
    steps, keep
        As for `Outputs`.
    compiled : numba dispatcher
        f, with `args` as further arguments.
    args : tuple

    Attributes
    ----------
    drivable : bool
        Whether what f returns can be read in compiled code: an array, a number, or a tuple or list
        of numbers of one type.
    """

    shareable = True
    first = 1  # An interrupt is heard after a piece, and how long f takes shows in the first.

    def __init__(
        self,
        f: Callable[[Any], Any],
        parameters: Parameters,
        steps: Steps,
        keep: bool,
        compiled: Callable[..., Any],
        args: tuple[Any, ...],
    ) -> None:
        self.compiled, self.args, self.pace = compiled, args, math.inf
        known = len(compiled.overloads)  # type: ignore[attr-defined]
        super().__init__(f, parameters, steps, keep)
        if len(compiled.overloads) > known:  # type: ignore[attr-defined]
            self.evaluate()  # for the time without the compilation
        self.drivable = self._compiles()

    def _compiles(self) -> bool:
        """Tell whether the loop around f can be compiled, and have it compiled."""
        nothing = range(0)
        for leaf, _, _ in self.parameters.split(range(1)):
            plan = self.steps.plan(self.parameters, leaf, nothing)
            at, values = np.zeros(2, np.int64), np.empty((0, 0))
            try:
                self._drive(copied(self.parameters.x), leaf, nothing, plan, at, values)
            except NumbaError:
                return False
        return True

    def _now(self) -> Array:
        x = copied(self.parameters.x)
        start = time.perf_counter()
        returned = self.f(x)
        self.pace = min(self.pace, time.perf_counter() - start)
        return self._read(returned)

    def cost(self) -> Cost:
        """Return about what all evaluations cost, by one more: the first are slow."""
        self._counted()
        seconds = self.pace * self.steps.evaluations(self.parameters)
        return Cost(seconds, seconds)

    def prepare(self) -> bool:
        """Nothing to prepare."""
        return True

    def verify(self) -> None:
        """Nothing to verify: a compiled function sees its arguments and nothing else."""

    def _evaluate(self, leaf: int, indices: range, saved: Array, plan: Plan) -> Floats:
        """Return f at all points of a plan."""
        x, at = copied(self.parameters.x), np.zeros(2, np.int64)
        values = np.empty((int(self.steps.evaluated(plan, len(indices)).sum()), self.outputs))
        try:
            self._settle(self._drive(x, leaf, indices, plan, at, values))
        except Exception as error:
            original = saved[at[0]]
            point = original + plan.move(*at)
            i = indices[at[0]]
            explain(error, self.parameters.moved(leaf, i, original.item(), point.item()))
            raise
        self._check_finite(leaf, indices, plan, values)
        return values

    def _drive(
        self, x: Any, leaf: int, indices: range, plan: Plan, at: Array, values: Floats
    ) -> tuple[int, ...]:
        return driver(self.compiled)(
            x, self.args, flattened(x, leaf), (indices.start, indices.stop), plan.moves,
            plan.which, self.steps.counts, self.shape, at, values,
        )  # fmt: skip
