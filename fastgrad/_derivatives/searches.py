"""Steps that are chosen while f is evaluated: h="auto" and h="quick"."""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from fastgrad._derivatives.arguments import Request
from fastgrad._derivatives.engine import differentiate, make_schedule, show_progress
from fastgrad._derivatives.info import Found
from fastgrad._derivatives.lines import Lines, Value
from fastgrad._derivatives.ranges import check_witness, raise_at
from fastgrad._derivatives.tasks import Result, Work
from fastgrad._evaluation.batched import Batches
from fastgrad._evaluation.callable import Calls
from fastgrad._evaluation.values import not_finite, place
from fastgrad._formulas.points import Points, joined
from fastgrad._formulas.rules import RULES, Counted
from fastgrad._parallel import cost
from fastgrad._parallel.payload import Raised
from fastgrad._parallel.schedule import Unwanted
from fastgrad._typing import Array

DOMAIN = ArithmeticError, ValueError, RuntimeWarning
"""What f raises where it is not defined: the search then stays nearer to x."""

LIKELY = 10
"""Evaluations that a coordinate mostly takes."""

CHUNK = 256
"""Coordinates that are searched side by side, at most."""

ESTIMATE = np.dtype([("derivative", float), ("error", float), ("step", float), ("count", int)])


def side_by_side(lines: Lines, coordinates: range, evaluate: Callable[[Points], Array]) -> Array:
    """Return the estimates of some coordinates; all points asked for are evaluated together."""
    found = np.empty(len(coordinates), ESTIMATE)
    asked: list[tuple[int, Counted, list[float]]] = []

    def advance(k: int, steps: Counted, values: list[float] | None) -> None:
        try:
            asked.append((k, steps, steps.send(values)))  # type: ignore[arg-type]
        except StopIteration as end:
            found[k] = tuple(end.value)

    for k, i in enumerate(coordinates):
        advance(k, lines.search(i), None)
    while asked:
        now, asked = asked, []
        points = joined([lines.points(coordinates[k], moves) for k, _, moves in now])
        values = iter(evaluate(points).tolist())
        for k, steps, moves in now:
            advance(k, steps, [next(values) for _ in moves])
    return found


class SearchWork(Work):
    """Does a task: evaluates f at points, or searches along a range of coordinates.

    Of a search the failures are told by coordinate, with the point, and so is the error.
    """

    def __init__(self, calls: Calls, lines: Lines, target: Array | None) -> None:
        super().__init__(calls, None, target)
        self.lines = lines

    def __call__(self, task: Points | range) -> Result:
        """Do a task."""
        if isinstance(task, Points):
            return super().__call__(task)
        whole = Result(np.empty(0), [], None, 0.0, 0, (), None)
        raised: dict[int, tuple[Points, Raised]] = {}

        def evaluate(points: Points) -> Array:
            one = super(SearchWork, self).__call__(points)
            whole.count += one.count
            whole.witness = one.witness if whole.witness is None else whole.witness
            if one.error is not None:
                whole.error = points.only(one.error[0].start), one.error[1]
                raise Unwanted  # no values, no search
            raised.update((int(points.index[k]), (points.only(k), e)) for k, e in one.failures)
            return one.rows

        start = time.perf_counter()
        with contextlib.suppress(Unwanted):
            whole.rows = side_by_side(self.lines, task, evaluate)
        whole.failures, whole.seconds = list(raised.items()), time.perf_counter() - start
        return whole


class Searches:
    """A source of tasks: ranges of coordinates while f is fast, single points where it is slow."""

    def __init__(self, work: SearchWork, found: Found, *, keep: bool, one_by_one: bool) -> None:
        self.calls, self.lines, self.found, self.keep = work.calls, work.lines, found, keep
        self.one_by_one, self._next, self._size = one_by_one, 0, len(work.lines.x)
        self._ready: deque[tuple[int, int, Points]] = deque()
        self._running: dict[int, tuple[Counted, list[Any]]] = {}  # with the values of its points
        self._asked: dict[int, tuple[int, int]] = {}
        self._raised: dict[int, tuple[Points, Raised]] = {}

    @property
    def left(self) -> int:
        """About how many evaluations have not been handed out."""
        return len(self._ready) + LIKELY * (self._size - self._next)

    def take(self, evaluations: int) -> Points | range:
        """Return the next task."""
        if self.one_by_one:
            while not self._ready:
                self._advance(self._next, self.lines.search(self._next), None)
                self._next += 1
            i, k, point = self._ready.popleft()
            self._asked[id(point)] = i, k
            return point
        if isinstance(self.calls, Batches):
            # What stands in a batch must not depend on time.
            evaluations = min(CHUNK * LIKELY, self.calls.most)
        count = max(1, min(evaluations // LIKELY, CHUNK))
        block = range(self._next, min(self._next + count, self._size))
        self._next = block.stop
        return block

    def _advance(self, i: int, steps: Counted, values: list[Any] | None) -> None:
        """Go on with a search, and note the points that it asks for."""
        try:
            moves = steps.send(values)  # type: ignore[arg-type]
        except StopIteration as end:
            self._note(range(i, i + 1), np.array([tuple(end.value)], ESTIMATE))
            return
        self._running[i] = steps, [None] * len(moves)
        self._ready.extend((i, k, self.lines.points(i, [m])) for k, m in enumerate(moves))

    def give(self, task: Points | range, result: Result) -> None:
        """Take estimates, or the value at one point."""
        check_witness(self.found, result)
        if result.error is not None:
            point = task if isinstance(task, Points) else result.error[0]
            raise_at(self.calls.parameters, point, result.error[1])
        if isinstance(task, range):
            self._raised.update(result.failures)
            self._note(task, result.rows)
            return
        i, k = self._asked.pop(id(task))
        if result.failures:
            self._raised[i] = task, result.failures[0][1]
        steps, values = self._running[i]
        values[k] = float(result.rows[0])
        if None not in values:
            self._advance(i, steps, values)

    def _note(self, block: range, estimates: Array) -> None:
        """Write estimates down; say why there is none, unless that is kept as NaN."""
        self.found.rows[block.start : block.stop] = estimates
        parameters = self.calls.parameters
        for k in np.flatnonzero(~np.isfinite(estimates["derivative"])).tolist():
            i = block[k]
            point, raised = self._raised.get(i, (None, None))
            if point is not None and raised is not None:
                if not self.keep:
                    raise_at(parameters, point, raised)
                self.found.failures.append((place(parameters, point), raised.error))
            elif not self.keep:
                around = f"all steps around {parameters.name(i)} = {self.lines.x[i]}"
                raise not_finite(math.nan, around)


def search(request: Request, rule: str) -> Found:
    """Return an estimate for each coordinate, in the rows of what is found."""
    lines = Lines(request, rule)
    formula = Value(lines)
    found = differentiate(request, lambda eps: formula)
    found.rows = np.zeros(len(lines.x), ESTIMATE)
    lines.value, lines.precision = float(found.value), found.eps
    if not math.isfinite(lines.value) or not len(lines.x):
        found.rows["derivative"], found.rows["error"] = math.nan, math.inf
        return found
    calls = found.calls
    calls.caught, calls.keep = calls.caught or DOMAIN, True
    work = SearchWork(calls, lines, None if found.expected is None else lines.target())
    slow = found.pace >= cost.SLOW and not isinstance(calls, Batches)
    source = Searches(work, found, keep=request.keep, one_by_one=slow)
    with show_progress(request, None) as update:
        make_schedule(request, found, work, source, update).run()
    request.check_captured(found, found.rows["derivative"])
    return found


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
