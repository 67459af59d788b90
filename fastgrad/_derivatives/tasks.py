"""What is done with some points, here or in a worker: f is evaluated there."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastgrad._evaluation.callable import Calls, EvaluationError
from fastgrad._evaluation.in_place import InPlace
from fastgrad._evaluation.proof import close, moved_at_random, same, value_at
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

    At `target` f is evaluated once in each worker, to prove that its copy does what f does here. If
    `guarded`, the first point is evaluated while no other thread moves x.
    """

    def __init__(
        self,
        calls: Calls,
        formula: Any = None,
        target: Array | None = None,
        *,
        guarded: bool = False,
    ) -> None:
        self.calls, self.formula, self.target, self._guarded = calls, formula, target, guarded
        self.originals: list[tuple[Array, Array]] = []
        self._witness: Any = None

    def arrive(self) -> None:
        """Evaluate f, in a worker, at the target."""
        if self.target is not None:
            self._witness = self.witness()

    def witness(self) -> Any:
        """Return f where all of x is moved, in place where f reads it from outside.

        Return None where f raises there: the target need not be a point that is asked for.
        """
        calls, parameters = self.calls, self.calls.parameters
        assert self.target is not None
        if not isinstance(calls, InPlace):
            value = value_at(calls, np.arange(len(self.target)), self.target)
            return None if isinstance(value, type) else value
        with moved_at_random(parameters, calls.x.real, self.target.copy()):
            moved = parameters.build(parameters.vector())
            return calls.reader.read(calls.f(moved, *calls.args))

    def __call__(self, task: Points | range) -> Result:
        """Do a task."""
        start = time.perf_counter()
        points = task if isinstance(task, Points) else self.formula.points(task)
        witness, self._witness = self._witness, None
        first = self._guarded and isinstance(task, range) and task.start == 0
        try:
            with self.calls.parameters.held() if first else contextlib.nullcontext():
                rows, caught = self.calls(points)
            error, count = None, len(rows)
        except EvaluationError as failure:
            rows, caught = np.empty(0), []
            error, count = (failure.where, Raised(failure.error)), failure.where.stop
        failures = [(k, Raised(one)) for k, one in caught]
        seconds, shape = time.perf_counter() - start, self.calls.reader.shape
        return Result(rows, failures, error, seconds, count, shape, witness)


class Witness:
    """Makes sure that a worker's copy of f does what f does here.

    A function that is pickled by its name finds the globals of the worker's module: moving the
    copy of x would leave it unmoved, and the gradient would be 0 without a word.
    """

    def __init__(self, work: Work, spent: Spent) -> None:
        self._work, self._spent = work, spent
        self._here: Any = None

    def __call__(self, there: Any) -> None:
        """Raise unless a worker's value is the one here, or f is random."""
        self._spent.there += 1
        if self._here is None:
            self._here = self._evaluated()
        alike = same if isinstance(self._work.calls, InPlace) else close
        if not alike(self._here, there) and same(self._here, self._evaluated()):
            raise differs_there(self._work.calls, self._here, there)

    def _evaluated(self) -> Any:
        self._spent.here += 1
        return self._work.witness()


def differs_there(calls: Calls, here: Any, there: Any) -> RuntimeError:
    """Return the error for an f whose value in a worker is another than here."""
    name, here, there = "f", np.ravel(here), np.ravel(there)
    if here.shape == there.shape:
        k = int(((here != there) & ~(np.isnan(here) & np.isnan(there))).argmax())
        name, here, there = output_name(calls.reader.shape, k), here[k].item(), there[k].item()
    return RuntimeError(
        f"{name} is {here} here and {there} in a worker, at the same x: the worker's copy "
        "of f does not see its copy of x, or reads something that differs there (the variables of "
        "a module, say), or f is not deterministic. Let f use its argument, define it and what it "
        "reads in your script or a function, not in another module, or pass workers=1"
    )
