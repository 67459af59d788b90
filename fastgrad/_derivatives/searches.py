"""Steps that are chosen while f is evaluated: h="auto" and h="quick"."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastgrad._derivatives.arguments import Request
from fastgrad._derivatives.engine import differentiate, make_schedule, show_progress
from fastgrad._derivatives.info import Found
from fastgrad._derivatives.lines import ESTIMATE, RULES, Lines, Value
from fastgrad._derivatives.ranges import check_witness, raise_at
from fastgrad._derivatives.tasks import Result, Work
from fastgrad._evaluation.batched import Batches
from fastgrad._evaluation.callable import Calls
from fastgrad._evaluation.values import not_finite, place
from fastgrad._formulas.points import Points
from fastgrad._parallel.payload import Raised
from fastgrad._typing import Array

DOMAIN = ArithmeticError, ValueError, RuntimeWarning
"""What f raises where it is not defined: the search then stays nearer to x."""

LIKELY = 10
"""Evaluations that a coordinate mostly takes."""

TOGETHER = 256
"""Coordinates that are searched side by side, at most."""

Rounds = Generator[Points, Array, Array]
"""Yields the points of a round, is sent f there, and returns estimates."""


def side_by_side(lines: Lines, coordinates: list[int]) -> Rounds:
    """Return the estimates of some coordinates; a round is the next points of all searches."""
    estimates = np.empty(len(coordinates), ESTIMATE)
    asking = [(k, lines.search(i), 0) for k, i in enumerate(coordinates)]
    values: Any = iter(())
    while True:
        index: list[int] = []
        moved: list[Any] = []
        answered, asking = asking, []
        for k, search, count in answered:
            try:
                moves = search.send([next(values) for _ in range(count)] or None)  # type: ignore[arg-type]
            except StopIteration as end:
                estimates[k] = end.value.value, end.value.error, end.value.h
                continue
            asking.append((k, search, len(moves)))
            index += [coordinates[k]] * len(moves)
            x = lines.x.item(coordinates[k])
            moved += [x + move for move in moves]
        if not asking:
            return estimates
        values = iter((yield Points(np.array(index), np.array(moved, lines.x.dtype))).tolist())


@dataclass(slots=True)
class Group:
    """Coordinates that are searched side by side, and the points that they wait for."""

    coordinates: list[int]
    rounds: Rounds
    points: Points
    values: Array
    missing: int


class Searches:
    """A source of tasks: points of a round, of one coordinate where f is slow, else of many."""

    def __init__(self, calls: Calls, lines: Lines, found: Found, *, keep: bool) -> None:
        self.calls, self.lines, self.found, self.keep = calls, lines, found, keep
        self._begun = 0
        self._ready: deque[tuple[Group, int]] = deque()  # with the first point not handed out
        self._asked: dict[int, tuple[Group, int]] = {}
        self._raised: dict[int, tuple[Points, Raised]] = {}

    @property
    def left(self) -> int:
        """About how many evaluations have not been handed out."""
        ready = sum(group.points.count - start for group, start in self._ready)
        return ready + LIKELY * (len(self.lines.moving) - self._begun)

    def take(self, evaluations: int) -> Points:
        """Return the next task."""
        if isinstance(self.calls, Batches):  # What stands in a batch must not depend on time.
            evaluations = min(TOGETHER * LIKELY, self.calls.most)
        if not self._ready:
            count = max(1, min(evaluations // LIKELY, TOGETHER))
            coordinates = self.lines.moving[self._begun : self._begun + count]
            self._begun += len(coordinates)
            self._go_on(coordinates, side_by_side(self.lines, coordinates), None)
        group, start = self._ready.popleft()
        stop = min(start + evaluations, group.points.count)
        if stop < group.points.count:
            self._ready.appendleft((group, stop))
        task = Points(group.points.index[start:stop], group.points.value[start:stop])
        self._asked[id(task)] = group, start
        return task

    def _go_on(self, coordinates: list[int], rounds: Rounds, values: Array | None) -> None:
        """Begin the next round, or write the estimates down."""
        try:
            points = rounds.send(values)  # type: ignore[arg-type]
        except StopIteration as end:
            self._note(coordinates, end.value)
            return
        values = np.empty(points.count, points.value.dtype)
        self._ready.append((Group(coordinates, rounds, points, values, points.count), 0))

    def give(self, task: Points, result: Result) -> None:
        """Take the values at some points."""
        check_witness(self.found, result)
        if result.error is not None:
            where, raised = result.error
            raise_at(self.calls.parameters, task.only(where.start), raised)
        for k, raised in result.failures:
            self._raised[int(task.index[k])] = task.only(k), raised
        group, start = self._asked.pop(id(task))
        group.values[start : start + task.count] = result.rows
        group.missing -= task.count
        if not group.missing:
            self._go_on(group.coordinates, group.rounds, group.values)

    def _note(self, coordinates: list[int], estimates: Array) -> None:
        """Write estimates down; say why there is none, unless that is kept as NaN."""
        self.found.rows[coordinates] = estimates
        parameters = self.calls.parameters
        for k in np.flatnonzero(~np.isfinite(estimates["derivative"])).tolist():
            i = coordinates[k]
            if i in self._raised:
                point, raised = self._raised[i]
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
    found.rows = lines.estimates()
    lines.value, lines.precision = float(found.value), found.eps
    if not (math.isfinite(lines.value) and lines.moving):
        return found
    calls = found.calls
    calls.caught, calls.keep = calls.caught or DOMAIN, True
    work = Work(calls, target=None if found.expected is None else lines.target())
    source = Searches(calls, lines, found, keep=request.keep)
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
