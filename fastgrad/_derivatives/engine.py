"""Evaluates f at the points of a formula, wherever that is, and combines its values."""

from __future__ import annotations

import contextlib
import math
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from fastgrad._evaluation.batched import Batches
from fastgrad._evaluation.callable import Calls, EvaluationError
from fastgrad._evaluation.in_place import InPlace
from fastgrad._evaluation.proof import Proof, check_movable, moved_at_random
from fastgrad._evaluation.values import Reader, explain, not_finite, output_name, place
from fastgrad._formulas.groups import Groups
from fastgrad._formulas.points import Points
from fastgrad._parallel.payload import Raised
from fastgrad._parallel.schedule import FIRST_LOOK, Schedule, Spent, Unwanted
from fastgrad._parallel.team import Team
from fastgrad._structures import Parameters
from fastgrad._typing import Array

ENTRIES = 2**16
"""Numbers of points, or of what f returns, that a task holds at most: half a MiB."""


@dataclass(slots=True)
class Result:
    """What a task returns.

    Attributes
    ----------
    rows : ndarray
        f at its points.
    failures : list of (int, Raised)
        At which of them f raised what, where that is allowed.
    error : (range, Raised) or None
        The same where it is not.
    seconds : float
    count : int
        Evaluations.
    shape : tuple of int or None
        Of what f returns.
    witness : ndarray or None
        f with all of x moved, from a worker whose copy of x is moved in place.
    """

    rows: Array
    failures: list[tuple[int, Any]]
    error: tuple[Any, Raised] | None
    seconds: float
    count: int
    shape: tuple[int, ...] | None
    witness: Any = None


class Work:
    """Does a task: evaluates f at a range of a formula's points.

    Parameters
    ----------
    calls : Calls
        f.
    formula
        See `fastgrad._formulas`.
    target : ndarray, optional
        Where f is evaluated once in each worker, to prove that its copy of f sees its copy of x.
    """

    def __init__(self, calls: Calls, formula: Any, target: Array | None = None) -> None:
        self.calls, self.formula, self.target = calls, formula, target
        self.originals: list[tuple[Array, Array]] = []
        self._witness: Any = None

    def arrive(self) -> None:
        """Evaluate f, in a worker, where all of its x is elsewhere."""
        if self.target is not None:
            self._witness = self.witness()

    def witness(self) -> Any:
        """Return f where every coordinate of x is moved a random part of the way to the target."""
        assert self.target is not None
        parameters = self.calls.parameters
        with moved_at_random(parameters, self.target):
            return np.asarray(self.calls.reader.read(self.calls.f(parameters.x)))

    def points(self, task: Any) -> Points:
        """Return the points of a task."""
        found: Points = self.formula.points(task)
        return found

    def __call__(self, task: Any) -> Result:
        """Do a task."""
        start = time.perf_counter()
        points = self.points(task)
        witness, self._witness = self._witness, None
        try:
            rows, caught = self.calls(points)
            error, count = None, len(rows)
        except EvaluationError as failure:
            rows, caught = np.empty(0), []
            error, count = (failure.where, Raised(failure.error)), failure.where.stop
        failures = [(k, Raised(one)) for k, one in caught]
        seconds = time.perf_counter() - start
        shape = self.calls.reader.shape
        return Result(rows, failures, error, seconds, count, shape, witness)


class ReadsOutside(Unwanted):
    """f reads x from outside."""


@dataclass
class Found:
    """Derivatives, and what is to be said about them."""

    rows: Any = None
    value: Any = None
    shape: tuple[int, ...] | None = None
    formula: Any = None
    failures: list[tuple[str, Exception]] = field(default_factory=list)
    spent: Spent = field(default_factory=Spent)
    calls: Any = None
    eps: float = 0.0
    pace: float = 0.0
    nogil: bool = False
    expected: Callable[[Any], None] | None = None


class Ranges:
    """Hands out the points of a formula in ranges, and combines the values as they come.

    Parameters
    ----------
    work : Work
        The formula and f.
    keep : bool
        Whether values that are not finite are kept, not refused.
    judge : callable, optional
        Called with the value at the first point, or the type of what f raised there.
    expected : callable, optional
        Returns what workers must answer as their witness.
    """

    def __init__(
        self,
        work: Work,
        found: Found,
        *,
        keep: bool,
        judge: Callable[[Any], None] | None = None,
    ) -> None:
        self.work, self.formula, self.found, self.keep = work, work.formula, found, keep
        self._judge = judge
        self._next = self._combined = self._received = 0
        self._waiting: dict[int, Array] = {}
        self._rest: Array | None = None

    @property
    def left(self) -> int:
        """How many points have not been handed out."""
        return int(self.formula.total - self._next)

    def take(self, evaluations: int) -> range:
        """Return the next range of points: one batch, or no more than memory allows."""
        calls = self.work.calls
        if isinstance(calls, Batches):
            size = calls.unit
        elif self._judge is not None and self._next == 0:
            size = 1  # If f reads x from outside, more would be in vain.
        else:
            outputs = math.prod(calls.reader.shape or ())
            entries = max(1, outputs, getattr(self.formula, "entries", 1))
            size = max(1, min(evaluations, ENTRIES // entries))
        block = range(self._next, min(self._next + size, self.formula.total))
        self._next = block.stop
        return block

    def give(self, block: range, result: Result) -> None:
        """Combine the values of a range with those that were waiting for it."""
        if self._judge is not None and block.start == 0:  # Before errors: they may be those of x.
            raised = dict(result.failures).get(0, result.error and result.error[1])
            self._judge(result.rows[0] if raised is None else type(raised.error))
        self._check(block, result)
        self._waiting[block.start] = result.rows
        ready = [] if self._rest is None else [self._rest]
        while self._received in self._waiting:
            rows = self._waiting.pop(self._received)
            if self._received == 0 and len(rows):
                rows = self._begin(rows)
                self._received = self.formula.value_first + len(rows)
            else:
                self._received += len(rows)
            ready.append(rows)
        if len(ready) > (self._rest is not None):
            self._combine(ready[0] if len(ready) == 1 else np.concatenate(ready))

    def _begin(self, rows: Array) -> Array:
        """Allocate the derivatives; return the rows without f(x)."""
        found, self.found.formula = self.found, self.formula
        found.rows = self.formula.allocate(rows.shape[1:], self.work.calls.parameters.dtype)
        if self.formula.value_first:
            found.value = rows[0].real
            return rows[1:]
        return rows

    def _combine(self, rows: Array) -> None:
        """Combine what is complete."""
        items = range(self._combined, self.formula.complete(self._received))
        used = self.formula.first(items.stop) - self.formula.first(items.start)
        if items:
            value = self.found.value
            self.formula.combine(self.found.rows, items, rows[:used], value)
        self._combined, self._rest = items.stop, rows[used:].copy()

    def _check(self, block: range, result: Result) -> None:
        """Raise what went wrong in a task."""
        if result.witness is not None and self.found.expected is not None:
            self.found.expected(result.witness)
        if result.error is not None:
            some, raised = result.error
            where = range(block.start + some.start, block.start + some.stop)
            raise_failure(self.work.calls.parameters, self.formula.points(where), raised.error)
        if self.found.shape is None:
            self.found.shape = result.shape
        elif result.shape is not None:
            self.work.calls.reader.settle(result.shape)
        for k, raised in result.failures:
            self.found.failures.append((self.place(block, k), raised.error))
        if not self.keep and not np.isfinite(result.rows).all():
            self._refuse(block, result)

    def _refuse(self, block: range, result: Result) -> None:
        """Name the first value that is not finite, unless f raised there."""
        raised = {k for k, _ in result.failures}
        rows = result.rows.reshape(len(result.rows), -1)
        for k, output in np.argwhere(~np.isfinite(rows)).tolist():
            if k not in raised:
                name = output_name(result.shape, output)
                raise not_finite(rows[k, output].item(), self.place(block, k, output), name)

    def place(self, block: range, k: int, output: int | None = None) -> str:
        """Return words for where one of the points of a range lies, which an output depends on."""
        points = self.formula.points(range(block.start + k, block.start + k + 1))
        if isinstance(self.formula, Groups) and output is not None:
            points = self.formula.told_apart(points, output)
        return place(self.work.calls.parameters, points)


def raise_failure(parameters: Parameters, point: Points, error: Exception) -> NoReturn:
    """Raise what f raised, with the point where that was."""
    explain(error, place(parameters, point))
    raise error


class Witness:
    """Makes sure that a worker's copy of f sees its copy of x move.

    A function that is pickled by its name finds the globals of the worker's module: moving the
    copy of x would leave it unmoved, and the gradient would be 0 without a word.
    """

    def __init__(self, work: Work, spent: Spent) -> None:
        self._work, self._spent = work, spent
        self._here: Any = None

    def __call__(self, there: Any) -> None:
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


@dataclass(frozen=True)
class Options:
    """How f is evaluated, whatever the derivative."""

    team: Team
    keep: bool = False
    progress: bool = False
    nogil: bool = False
    pace: float = 0.0
    evaluated: int = 0


def differentiate(
    calls: Calls,
    formula: Any,
    options: Options,
    eps: float | None = None,
    *,
    formula_for: Callable[[float], Any] | None = None,
) -> Found:
    """Return the derivatives that a formula makes of f's values.

    Parameters
    ----------
    calls : Calls
        f.
    formula
        See `fastgrad._formulas`; made for f as precise as x.
    options : Options
    eps : float, optional
        The relative precision of f, where it is known, and f to use its argument alone.
    formula_for : callable, optional
        Takes the relative precision of f and returns the formula for that.
    """
    found = Found(spent=Spent(here=options.evaluated))
    if eps is not None and eps > formula.eps and formula_for is not None:
        formula = formula_for(eps)
    if isinstance(calls, Batches):
        calls.total = formula.total
    with show_progress(options, formula.total) as update:
        if eps is not None or not formula.total:
            work = Work(calls, formula)
            source = Ranges(work, found, keep=options.keep)
            schedule = make_schedule(work, source, found, options, update)
            schedule.pace = found.pace = options.pace
            found.calls, found.eps, found.nogil = calls, eps or 0.0, options.nogil
            schedule.run()
        elif _prove_and_run(calls, formula, formula_for, found, options, update):
            _run_in_place(calls, found, options, update)
    if found.rows is None:
        found.formula, found.rows = formula, formula.allocate((), calls.parameters.dtype)
    return found


def _prove_and_run(
    calls: Calls,
    formula: Any,
    formula_for: Callable[[float], Any] | None,
    found: Found,
    options: Options,
    update: Any,
) -> bool:
    """Evaluate f once while x is elsewhere, and the formula beside it or after it.

    Return whether f reads x from outside, so that all was in vain.
    """
    work = Work(calls, formula)
    proof = Proof(calls, formula.points(range(1)), formula.target())

    def judge(value: Any) -> None:
        outside = not proof.holds(value) and proof.reads_outside(value)
        found.spent.here += proof.repeated
        if outside:
            raise ReadsOutside

    source = Ranges(work, found, keep=options.keep, judge=judge)
    schedule = make_schedule(work, source, found, options, update)
    found.formula = formula
    with calls.parameters.held():
        work.originals = [(leaf, leaf.copy()) for leaf in calls.parameters.leaves]
    # What stands in a batch must not depend on time: the proof tells how large a value is.
    code = _code(calls.f)
    with schedule.beside(alone=isinstance(calls, Batches) or code in _fast):
        proof.evaluate()
    (_fast.add if schedule.pace < FIRST_LOOK else _fast.discard)(code)
    work.originals = []
    found.calls, found.eps, found.pace = calls, proof.eps, schedule.pace
    if formula_for is not None and proof.eps > formula.eps:
        schedule.forget()  # f computes less precisely than x: other steps
        return _prove_and_run(calls, formula_for(proof.eps), None, found, options, update)
    try:
        schedule.run()
    except ReadsOutside:
        return True
    return False


_fast: weakref.WeakSet[Any] = weakref.WeakSet()
"""Code of functions that took no time when last called: to watch over them would take longer."""


def _code(f: Any) -> Any:
    """Return the code of a function, which outlives lambdas that are made anew."""
    f = getattr(f, "__wrapped__", f)
    return getattr(getattr(f, "__func__", f), "__code__", type(f))


def _run_in_place(calls: Calls, found: Found, options: Options, update: Any) -> None:
    """Move the caller's own x, which f reads from outside."""
    if type(calls) is not Calls or calls.x.dtype.kind == "c":
        raise TypeError(
            "f reads x in another way than by its argument (from outside, or from args), where it "
            "stays as it is; let f use its argument alone, or pass one that takes one real point"
        )
    check_movable(calls.parameters)
    reader = Reader(numbers=calls.reader.numbers)
    moving = InPlace(calls.f, calls.parameters, calls.x, reader, calls.caught, keep=calls.keep)
    work = Work(moving, found.formula, found.formula.target())
    found.failures.clear()
    found.calls, found.expected = moving, Witness(work, found.spent)
    source = Ranges(work, found, keep=options.keep)
    schedule = make_schedule(work, source, found, options, update)
    schedule.shared, schedule.pace = False, found.pace
    schedule.run()


def make_schedule(work: Any, source: Any, found: Found, options: Options, update: Any) -> Schedule:
    return Schedule(work, source, options.team, found.spent, nogil=options.nogil, update=update)


@contextlib.contextmanager
def show_progress(options: Options, total: int | None) -> Iterator[Callable[[int], Any] | None]:
    """Show a bar in evaluations, if that is wanted."""
    if not options.progress:
        yield None
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, unit="evaluation") as bar:
        yield bar.update
