"""What is done with some points, here or in a worker: f is evaluated there."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastgrad._evaluation.callable import Calls, EvaluationError
from fastgrad._evaluation.proof import moved_at_random
from fastgrad._evaluation.values import output_name
from fastgrad._formulas.points import Points
from fastgrad._parallel.payload import Raised
from fastgrad._parallel.schedule import Spent
from fastgrad._typing import Array


@dataclass(slots=True)
class Result:
    """What a task returns."""

    rows: Array  # f at its points
    failures: list[tuple[int, Any]]  # at which of them f raised what, where that is allowed
    error: tuple[Any, Raised] | None  # the same where it is not
    seconds: float
    count: int  # of evaluations
    shape: tuple[int, ...] | None  # of what f returns
    witness: Any  # f with all of x moved, from a worker whose copy of x is moved in place


class Work:
    """Does a task: evaluates f at `Points`, or at a range of a formula's points.

    At `target` f is evaluated once in each worker, to prove that its copy sees its copy of x.
    """

    def __init__(self, calls: Calls, formula: Any = None, target: Array | None = None) -> None:
        self.calls, self.formula, self.target = calls, formula, target
        self.originals: list[tuple[Array, Array]] = []
        self._witness: Any = None

    def arrive(self) -> None:
        """Evaluate f, in a worker, where all of its x is elsewhere."""
        if self.target is not None:
            self._witness = self.witness()

    def witness(self) -> Array:
        """Return f where every coordinate of x is moved a random part of the way to the target."""
        calls, x = self.calls, self.calls.parameters.x
        assert self.target is not None
        with moved_at_random(calls.parameters, calls.x.real, self.target.copy()):
            return np.asarray(calls.reader.read(calls.f(x, *calls.args)))

    def __call__(self, task: Points | range) -> Result:
        """Do a task."""
        start = time.perf_counter()
        points = task if isinstance(task, Points) else self.formula.points(task)
        witness, self._witness = self._witness, None
        try:
            rows, caught = self.calls(points)
            error, count = None, len(rows)
        except EvaluationError as failure:
            rows, caught = np.empty(0), []
            error, count = (failure.where, Raised(failure.error)), failure.where.stop
        failures = [(k, Raised(one)) for k, one in caught]
        seconds, shape = time.perf_counter() - start, self.calls.reader.shape
        return Result(rows, failures, error, seconds, count, shape, witness)


class Witness:
    """Makes sure that a worker's copy of f sees its copy of x move.

    A function that is pickled by its name finds the globals of the worker's module: moving the
    copy of x would leave it unmoved, and the gradient would be 0 without a word.
    """

    def __init__(self, work: Work, spent: Spent) -> None:
        self._work, self._spent = work, spent
        self._here: Any = None

    def __call__(self, there: Array) -> None:
        """Raise unless a worker's value is the one here."""
        self._spent.there += 1
        if self._here is None:
            self._spent.here += 1
            self._here = self._work.witness()
        here, there = np.ravel(self._here), np.ravel(there)
        differs = (here != there) & ~(np.isnan(here) & np.isnan(there))
        if differs.any():
            k = int(differs.argmax())
            name = output_name(self._work.calls.reader.shape, k)
            raise RuntimeError(
                f"{name} is {here[k].item()!r} here and {there[k].item()!r} in a worker, at the "
                "same x: the worker's copy of f does not see its copy of x, or f is not "
                "deterministic. Let f use its argument, define it where x is (in a script or a "
                "function, not in another module), or pass workers=1"
            )
