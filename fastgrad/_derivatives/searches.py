"""Steps that are chosen while f is evaluated: h="auto" and h="quick"."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from fastgrad._derivatives.arguments import Request
from fastgrad._derivatives.engine import (
    Found,
    Options,
    Result,
    Work,
    make_schedule,
    raise_failure,
    show_progress,
)
from fastgrad._evaluation.batched import Batches
from fastgrad._evaluation.callable import EvaluationError
from fastgrad._evaluation.values import not_finite, place
from fastgrad._formulas.bounds import Bounds
from fastgrad._formulas.line import Estimate, Line, check_room
from fastgrad._formulas.points import Points, joined, unmoved
from fastgrad._formulas.rules import RULES
from fastgrad._formulas.step_sizes import first_steps
from fastgrad._parallel import cost
from fastgrad._parallel.payload import Raised
from fastgrad._structures import Parameters
from fastgrad._typing import Array

DOMAIN = ArithmeticError, ValueError, RuntimeWarning
"""What f raises where it is not defined: the search then stays nearer to x."""

LIKELY = 10
"""Evaluations that a coordinate mostly takes."""

CHUNK = 256
"""Coordinates that are searched side by side, at most."""

ESTIMATE = np.dtype([("derivative", float), ("error", float), ("step", float), ("count", int)])

Steps = Generator[list[float], list[float], Estimate]


class Value:
    """The formula of f(x) alone: one point, no derivative."""

    total, items, value_first, eps = 1, 0, True, 1.0

    def __init__(self, search: Search) -> None:
        self._search, self.x = search, search.x

    def points(self, block: range) -> Points:
        """Return x."""
        return unmoved(self._search.x.dtype)

    def first(self, item: int) -> int:
        """Return the place after x."""
        return 1

    def complete(self, points: int) -> int:
        """Return that no coordinate is asked for."""
        return 0

    def allocate(self, outputs: tuple[int, ...], dtype: Any) -> Array:
        """Return no derivatives."""
        return np.empty(0, dtype)

    def target(self) -> Array:
        """Return a long vector near x."""
        return self._search.near()


class Search:
    """What is searched for: one estimate a coordinate.

    Parameters
    ----------
    parameters : Parameters
        x.
    rule : {"auto", "quick"}
    bounds : Bounds, optional
        Nothing outside is evaluated.
    keep : bool
        Whether x may hold NaN and infinity.

    Raises
    ------
    ValueError
        If a coordinate is not finite, or has no room between its bounds.
    """

    def __init__(
        self, parameters: Parameters, rule: str, bounds: Bounds | None, *, keep: bool
    ) -> None:
        self.parameters, self.rule, self.bounds = parameters, RULES[rule], bounds
        self.x = parameters.vector()
        self.value, self.eps = math.nan, 0.0
        for i, x in enumerate(self.x.tolist()):
            if not (keep or math.isfinite(x)):
                raise ValueError(f"{parameters.name(i)} must be finite, got {x}")
            if bounds is not None and not check_room(self.line(i)):
                raise ValueError(
                    f"{parameters.name(i)} = {x} has no room between its bounds, "
                    f"{bounds.lower[i]} and {bounds.upper[i]}; pass wider bounds or a more precise "
                    "dtype"
                )

    def line(self, i: int) -> Line:
        """Return what is known of f along a coordinate."""
        ((leaf, _, _),) = self.parameters.split(range(i, i + 1))
        info = np.finfo(self.parameters.dtypes[leaf])
        grid, largest = float(info.eps), min(float(info.max), float(np.finfo(float).max))
        lower, upper = -largest, largest
        if self.bounds is not None:
            lower = max(lower, float(self.bounds.lower[i]))
            upper = min(upper, float(self.bounds.upper[i]))
        return Line(float(self.x[i]), self.value, max(self.eps, grid), grid, lower, upper)

    def near(self) -> Array:
        """Return a long vector near x, within the bounds."""
        h = first_steps(self.x, np.finfo(float).eps)
        h[1::2] *= -1.0  # to both sides
        up = self.x + h
        if self.bounds is None:
            return up
        inside = (up >= self.bounds.lower) & (up <= self.bounds.upper)
        near: Array = np.where(inside, up, self.x - h).clip(self.bounds.lower, self.bounds.upper)
        return near

    def start(self, i: int) -> Steps:
        """Begin the search along a coordinate."""
        return self.rule(self.line(i))

    def points(self, i: int, moves: list[float]) -> Points:
        """Return x with one coordinate moved, a point for each move."""
        x = self.x.item(i)
        return Points(np.full(len(moves), i), np.array([x + move for move in moves], self.x.dtype))


def side_by_side(search: Search, coordinates: range, evaluate: Callable[[Points], Array]) -> Array:
    """Return the estimates of some coordinates; all points asked for are evaluated together."""
    found = np.empty(len(coordinates), ESTIMATE)
    asked: list[tuple[int, Steps, list[float]]] = []

    def advance(k: int, steps: Steps, values: list[float] | None) -> None:
        try:
            asked.append((k, steps, steps.send(values)))  # type: ignore[arg-type]
        except StopIteration as end:
            found[k] = tuple(end.value)

    for k, i in enumerate(coordinates):
        advance(k, search.start(i), None)
    while asked:
        now, asked = asked, []
        points = joined([search.points(coordinates[k], moves) for k, _, moves in now])
        values = iter(evaluate(points).tolist())
        for k, steps, moves in now:
            advance(k, steps, [next(values) for _ in moves])
    return found


class SearchWork(Work):
    """Does a task: evaluates f at points, or searches along a range of coordinates."""

    def __init__(self, calls: Any, search: Search, target: Array | None) -> None:
        super().__init__(calls, None, target)
        self.search = search

    def points(self, task: Points) -> Points:
        """Return the points of a task."""
        return task

    def __call__(self, task: Any) -> Result:
        """Do a task."""
        if isinstance(task, Points):
            return super().__call__(task)
        start = time.perf_counter()
        done: list[Any] = [0]
        error, rows = None, np.empty(0)
        raised: dict[int, tuple[Points, Raised]] = {}

        def evaluate(points: Points) -> Array:
            done[0] += points.count
            try:
                rows, failures = self.calls(points)
            except EvaluationError as failure:
                done.append(points.only(failure.where.start))
                raise
            for k, one in failures:
                raised[int(points.index[k])] = points.only(k), Raised(one)
            return rows

        witness, self._witness = self._witness, None
        try:
            rows = side_by_side(self.search, task, evaluate)
        except EvaluationError as failure:
            error = done[1], Raised(failure.error)
        failures = list(raised.items())
        return Result(rows, failures, error, time.perf_counter() - start, done[0], (), witness)


class Searches:
    """Hands out searches: ranges of coordinates while f is fast, single points where it is slow.

    Parameters
    ----------
    work : SearchWork
    found : Found
        Its rows are written to.
    keep : bool
        Whether derivatives next to values that are not finite are NaN, not refused.
    one_by_one : bool
        Whether f is so slow that each point is a task.
    """

    def __init__(self, work: SearchWork, found: Found, *, keep: bool, one_by_one: bool) -> None:
        self.work, self.found, self.keep, self.one_by_one = work, found, keep, one_by_one
        self.search, self.size = work.search, work.search.parameters.size
        self._next = 0
        self._ready: deque[tuple[int, int, Points]] = deque()
        self._values: dict[int, list[Any]] = {}
        self._steps: dict[int, Steps] = {}
        self._tasks: dict[int, tuple[int, int]] = {}
        self._raised: dict[int, tuple[Points, Raised]] = {}

    @property
    def left(self) -> int:
        """About how many evaluations have not been handed out."""
        return len(self._ready) + LIKELY * (self.size - self._next)

    def take(self, evaluations: int) -> Any:
        """Return the next task."""
        if self.one_by_one:
            while not self._ready:
                self._advance(self._next, self.search.start(self._next), None)
                self._next += 1
            i, k, point = self._ready.popleft()
            self._tasks[id(point)] = i, k
            return point
        if isinstance(self.work.calls, Batches):
            evaluations = CHUNK * LIKELY  # What stands in a batch must not depend on time.
        count = max(1, min(evaluations // LIKELY, CHUNK))
        block = range(self._next, min(self._next + count, self.size))
        self._next = block.stop
        return block

    def _advance(self, i: int, steps: Steps, values: list[Any] | None) -> None:
        """Go on with a search, and note the points that it asks for."""
        try:
            moves = steps.send(values)  # type: ignore[arg-type]
        except StopIteration as end:
            self._note(range(i, i + 1), np.array([tuple(end.value)], ESTIMATE))
            return
        self._steps[i], self._values[i] = steps, [None] * len(moves)
        for k, move in enumerate(moves):
            self._ready.append((i, k, self.search.points(i, [move])))

    def give(self, task: Any, result: Result) -> None:
        """Take estimates, or the value at one point."""
        if result.witness is not None and self.found.expected is not None:
            self.found.expected(result.witness)
        if result.error is not None:
            point = result.error[0] if isinstance(task, range) else task
            raise_failure(self.work.calls.parameters, point, result.error[1].error)
        if isinstance(task, range):
            self._raised.update(result.failures)
            self._note(task, result.rows)
            return
        if result.failures:
            self._raised[int(task.index[0])] = task, result.failures[0][1]
        i, k = self._tasks.pop(id(task))
        values = self._values[i]
        values[k] = float(result.rows[0])
        if None not in values:
            self._advance(i, self._steps.pop(i), self._values.pop(i))

    def _note(self, block: range, estimates: Array) -> None:
        """Write estimates down; say why there is none, unless that is kept as NaN."""
        self.found.rows[block.start : block.stop] = estimates
        parameters = self.work.calls.parameters
        for k in np.flatnonzero(~np.isfinite(estimates["derivative"])).tolist():
            i = block[k]
            point, raised = self._raised.get(i, (None, None))
            if point is not None and raised is not None:
                if not self.keep:
                    raise_failure(parameters, point, raised.error)
                self.found.failures.append((place(parameters, point), raised.error))
            elif not self.keep:
                around = f"all steps around {parameters.name(i)} = {self.search.x[i]}"
                raise not_finite(math.nan, around)


def search(request: Request, rule: str, bounds: Bounds | None) -> Found:
    """Return an estimate for each coordinate, in the rows of what is found."""
    parameters = request.parameters
    looked_for = Search(parameters, rule, bounds, keep=request.keep)
    formula = Value(looked_for)
    found = request.derivatives(lambda eps: formula)
    found.rows = np.zeros(parameters.size, ESTIMATE)
    looked_for.value, looked_for.eps = float(found.value), found.eps
    if not math.isfinite(looked_for.value) or not parameters.size:
        found.rows["derivative"], found.rows["error"] = math.nan, math.inf
        return found
    _run(looked_for, found, Options(request.team, request.keep, request.progress, found.nogil))
    request.check_captured(found.rows["derivative"])
    return found


def _run(looked_for: Search, found: Found, options: Options) -> None:
    """Search along all coordinates."""
    calls = found.calls
    calls.caught, calls.keep = calls.caught or DOMAIN, True
    in_place = found.expected is not None
    work = SearchWork(calls, looked_for, looked_for.near() if in_place else None)
    pace = found.pace
    slow = pace >= cost.SLOW and not isinstance(calls, Batches)
    source = Searches(work, found, keep=options.keep, one_by_one=slow)
    with show_progress(options, None) as update:
        schedule = make_schedule(work, source, found, options, update)
        schedule.pace, schedule.shared = pace, not in_place
        schedule.run()


def check_rule(h: str, relative_step: object, stencil: object) -> None:
    """Refuse an unknown rule, and the options that mean nothing to the rules."""
    if h not in RULES:
        raise TypeError(f"h must be a number, 'auto', 'quick' or None, got {h!r}")
    if relative_step is not None:
        raise ValueError(f"pass either h or relative_step, got h={h!r} and {relative_step!r}")
    if stencil != "central":
        raise ValueError(
            f"stencil must be 'central' where h={h!r}, which has a formula of its own; got "
            f"{stencil!r}"
        )
