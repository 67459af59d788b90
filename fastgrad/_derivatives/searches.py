"""Steps that are chosen while f is evaluated: h="auto" and h="quick"."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastgrad._derivatives.arguments import Request
from fastgrad._derivatives.engine import differentiate, make_schedule, show_progress
from fastgrad._derivatives.info import Found
from fastgrad._derivatives.lines import Lines, Value
from fastgrad._derivatives.ranges import check_witness, raise_at
from fastgrad._derivatives.tasks import Result, Work
from fastgrad._evaluation.batched import Batches
from fastgrad._evaluation.values import not_finite, place
from fastgrad._formulas.line import Search
from fastgrad._formulas.points import Points
from fastgrad._formulas.rules import RULES
from fastgrad._parallel.payload import Raised

DOMAIN = ArithmeticError, ValueError, RuntimeWarning
"""What f raises where it is not defined: the search then stays nearer to x."""

LIKELY = 10
"""Evaluations that a coordinate mostly takes."""

CHUNK = 256
"""Coordinates that are searched side by side, at most."""

ESTIMATE = np.dtype([("derivative", float), ("error", float), ("step", float), ("count", int)])


@dataclass(slots=True)
class Group:
    """Coordinates that are searched side by side: what all of them ask for is one round."""

    coordinates: range
    asking: list[tuple[int, Search, int]]  # who goes on, and how many values each waits for
    index: list[int] = field(default_factory=list)  # the points of the round: which coordinate
    value: list[Any] = field(default_factory=list)  # is changed, and to what
    values: list[float] = field(default_factory=list)  # f there
    missing: int = 0  # how many of them are not there yet


class Searches:
    """A source of tasks for the schedule: the rounds of groups, in pieces where f is slow."""

    def __init__(self, lines: Lines, work: Work, found: Found, *, keep: bool) -> None:
        self.lines, self.calls, self.found, self.keep = lines, work.calls, found, keep
        self._next, self._size = 0, len(lines.x)
        self._ready: deque[tuple[Group, range]] = deque()
        self._asked: dict[int, tuple[Group, slice]] = {}
        self._raised: dict[int, tuple[Points, Raised]] = {}

    @property
    def left(self) -> int:
        """About how many evaluations have not been handed out."""
        return sum(len(block) for _, block in self._ready) + LIKELY * (self._size - self._next)

    def take(self, evaluations: int) -> Points:
        """Return the next points, all of one group."""
        if isinstance(self.calls, Batches):
            # What stands in a batch must not depend on time.
            evaluations = min(CHUNK * LIKELY, self.calls.most)
        if not self._ready:
            self._start(max(1, min(evaluations // LIKELY, CHUNK)))
        group, block = self._ready.popleft()
        block, rest = block[:evaluations], block[evaluations:]
        if rest:
            self._ready.appendleft((group, rest))
        part = slice(block.start, block.stop)
        points = Points(
            np.array(group.index[part], np.int64), np.array(group.value[part], self.lines.x.dtype)
        )
        self._asked[id(points)] = group, part
        return points

    def _start(self, count: int) -> None:
        """Begin the searches along so many more coordinates."""
        block = range(self._next, min(self._next + count, self._size))
        self._next = block.stop
        self._advance(Group(block, [(i, self.lines.search(i), 0) for i in block]))

    def _advance(self, group: Group) -> None:
        """Send the searches their values, and note what they ask for next."""
        values, waiting = iter(group.values), group.asking
        group.asking, group.index, group.value = [], [], []
        for i, search, count in waiting:
            sent: Any = [next(values) for _ in range(count)] or None  # None starts it
            try:
                moves = search.send(sent)
            except StopIteration as end:
                self.found.rows[i] = tuple(end.value)
                continue
            x = self.lines.x.item(i)
            group.asking.append((i, search, len(moves)))
            group.index += [i] * len(moves)
            group.value += [x + move for move in moves]
        group.missing = len(group.index)
        group.values = [math.nan] * group.missing
        if group.missing:
            self._ready.append((group, range(group.missing)))
        else:
            self._check(group.coordinates)

    def give(self, task: Points, result: Result) -> None:
        """Take the values of some points."""
        check_witness(self.found, result)
        if result.error is not None:
            where, raised = result.error
            raise_at(self.calls.parameters, task.only(where.start), raised)
        for k, raised in result.failures:
            self._raised[int(task.index[k])] = task.only(k), raised
        group, part = self._asked.pop(id(task))
        group.values[part] = result.rows.tolist()
        group.missing -= task.count
        if not group.missing:
            self._advance(group)

    def _check(self, coordinates: range) -> None:
        """Say why there is no derivative, unless that is kept as NaN."""
        parameters = self.calls.parameters
        rows = self.found.rows[coordinates.start : coordinates.stop]
        for k in np.flatnonzero(~np.isfinite(rows["derivative"])).tolist():
            i = coordinates[k]
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
    work = Work(calls, target=None if found.expected is None else lines.target())
    source = Searches(lines, work, found, keep=request.keep)
    with show_progress(request, None) as update:
        make_schedule(request, found, work, source, update).run()
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
