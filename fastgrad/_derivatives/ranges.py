"""Hands out the points of a formula in ranges, and combines the values as they come."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from fastgrad._derivatives.info import Found
from fastgrad._derivatives.tasks import Result, Work
from fastgrad._evaluation.batched import Batches
from fastgrad._evaluation.values import explain, not_finite, output_name, place
from fastgrad._formulas.groups import Groups
from fastgrad._formulas.points import Points
from fastgrad._parallel.payload import Raised
from fastgrad._structures import Parameters
from fastgrad._typing import Array

ENTRIES = 2**16
"""Numbers of points, or of what f returns, that a task holds at most: half a MiB."""


class Ranges:
    """A source of tasks for the schedule: ranges of a formula's points.

    `judge` is called with the value at the first point, or the type of what f raised there.
    """

    def __init__(
        self,
        work: Work,
        found: Found,
        *,
        keep: bool,
        judge: Callable[[Any], None] | None = None,
    ) -> None:
        self.formula, self.calls, self.found, self.keep = work.formula, work.calls, found, keep
        self._judge = judge
        self._next = self._received = self._combined = 0
        self._waiting: dict[int, Array] = {}
        self._rest: list[Array] = []

    @property
    def left(self) -> int:
        """How many points have not been handed out."""
        return int(self.formula.total - self._next)

    def take(self, evaluations: int) -> range:
        """Return the next range of points: one batch, or no more than memory allows."""
        if isinstance(self.calls, Batches):
            size = self.calls.unit
        elif self._judge is not None and self._next == 0:
            size = 1  # If f reads x from outside, more would be in vain.
        else:
            outputs = math.prod(self.calls.reader.shape or ())
            size = max(1, min(evaluations, ENTRIES // max(1, outputs, self.formula.entries)))
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
        while (rows := self._waiting.pop(self._received, None)) is not None:
            if self._received == 0:
                self._begin(rows)
            self._rest.append(rows if self._received else rows[self.formula.value_first :])
            self._received += len(rows)
        items = range(self._combined, self.formula.complete(self._received))
        if items:
            self._combine(items)

    def _begin(self, rows: Array) -> None:
        """Allocate the derivatives, and note f(x) where it is the first point."""
        found, self.found.formula = self.found, self.formula
        found.rows = self.formula.allocate(rows.shape[1:], self.calls.parameters.dtype)
        if self.formula.value_first:
            found.value = rows[0].real

    def _combine(self, items: range) -> None:
        """Make derivatives of the rows that are complete."""
        rows = self._rest[0] if len(self._rest) == 1 else np.concatenate(self._rest)
        used = self.formula.first(items.stop) - self.formula.first(items.start)
        self.formula.combine(self.found.rows, items, rows[:used], self.found.value)
        self._combined, self._rest = items.stop, [rows[used:]] if used < len(rows) else []

    def _check(self, block: range, result: Result) -> None:
        """Raise what went wrong in a task."""
        check_witness(self.found, result)
        if result.error is not None:
            some, raised = result.error
            where = range(block.start + some.start, block.start + some.stop)
            raise_at(self.calls.parameters, self.formula.points(where), raised)
        if self.found.shape is None:
            self.found.shape = result.shape
        elif result.shape is not None:
            self.calls.reader.settle(result.shape)
        for k, raised in result.failures:
            self.found.failures.append((self._place(block, k), raised.error))
        if not self.keep and np.count_nonzero(np.isfinite(result.rows)) < result.rows.size:
            self._refuse(block, result)

    def _refuse(self, block: range, result: Result) -> None:
        """Name the first value that is not finite, unless f raised there."""
        raised = {k for k, _ in result.failures}
        rows = result.rows.reshape(len(result.rows), -1)
        for k, output in np.argwhere(~np.isfinite(rows)).tolist():
            if k not in raised:
                name = output_name(result.shape, output)
                raise not_finite(rows[k, output].item(), self._place(block, k, output), name)

    def _place(self, block: range, k: int, output: int | None = None) -> str:
        """Return words for where one of the points of a range lies, which an output depends on."""
        points = self.formula.points(range(block.start + k, block.start + k + 1))
        if isinstance(self.formula, Groups) and output is not None:
            points = self.formula.told_apart(points, output)
        return place(self.calls.parameters, points)


def check_witness(found: Found, result: Result) -> None:
    """Make sure that the worker's copy of f sees its copy of x, where that is in doubt."""
    if result.witness is not None and found.expected is not None:
        found.expected(result.witness)


def raise_at(parameters: Parameters, point: Points, raised: Raised) -> NoReturn:
    """Raise what f raised, with the point where that was."""
    explain(raised.error, place(parameters, point))
    raise raised.error
