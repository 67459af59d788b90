"""Any Python callable: called once for every point, the caller's own arrays moved in place."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from fastgrad._typing import Array
from fastgrad.objectives.base import Cost
from fastgrad.objectives.values import explain, not_finite, number
from fastgrad.steps import Steps
from fastgrad.structures import Parameters, entries


class BlackBox:
    """``f(x)`` as an objective; one work item is one coordinate.

    Pickled, f and x travel in one piece, so that a closure over x still is one when it arrives.

    Parameters
    ----------
    f : callable
        Returns a number. May ignore its argument and read x from a closure: x is moved in place.
    parameters : Parameters
        x.
    steps : Steps
        What to evaluate.
    keep : bool
        Whether values that are not finite are kept, not refused.
    """

    shareable = False  # Blocks side by side would move the same x.

    def __init__(
        self, f: Callable[[Any], Any], parameters: Parameters, steps: Steps, keep: bool
    ) -> None:
        self.f, self.parameters, self.steps, self.keep = f, parameters, steps, keep
        self.items = self.size = parameters.size
        self.dtype = parameters.dtype
        self.evaluations = 0
        self.value = math.nan
        if steps.needs_value:
            self.evaluate()

    def span(self, block: range) -> slice:
        """Return where the block's partial derivatives stand."""
        return slice(block.start, block.stop)

    def evaluate(self) -> None:
        """Set ``value`` to f(x)."""
        self.evaluations += 1
        self.value = self._now()
        if not (self.keep or math.isfinite(self.value)):
            raise not_finite(self.value, "x")

    def _now(self) -> float:
        """Return f at x as it is now."""
        return number(self.f(self.parameters.x))

    def cost(self) -> Cost:
        """Return about what all evaluations cost, judged by one to three of them.

        They are taken with all of x moved at once, which `verify` repeats on a copy.
        """
        total = self.steps.evaluations(self.parameters)
        try:
            with self._all_moved():
                best = self._trial()
                if total > 100 and best.wall < 0.05:
                    best = min(best, self._trial(), self._trial())
        except Exception:
            return Cost(0.0, 0.0)  # Where f cannot be tried, it stays here.
        return Cost(best.wall * total, best.cpu * total)

    def _trial(self) -> Cost:
        start = Cost(time.perf_counter(), time.process_time())
        self._moved_value = self._now()
        self.evaluations += 1
        return Cost(time.perf_counter() - start.wall, time.process_time() - start.cpu)

    def verify(self) -> None:
        """Make sure that this copy's f sees this copy's x move.

        A function that is pickled by its name finds the globals of the worker's module: moving
        the copy of x would leave it unmoved, and the gradient would be 0 without a word.
        """
        here = self._moved_value
        with self._all_moved():
            self._trial()
        there, self._moved_value = self._moved_value, here
        if here != there and not (math.isnan(here) and math.isnan(there)):
            raise RuntimeError(
                f"f is {here!r} here and {there!r} in a worker, at the same x: the worker's copy "
                "of f does not see its copy of x, or f is not deterministic. Let f use its "
                "argument, define it where x is (in a script or a function, not in another "
                "module), or pass workers=1"
            )

    @contextmanager
    def _all_moved(self) -> Iterator[None]:
        """Move every coordinate a random part of the way to the first point of its formula."""
        leaves = self.parameters.leaves
        saved = [leaf.copy() for leaf in leaves]
        random = np.random.default_rng(0)
        try:
            for leaf, indices, _ in self.parameters.pieces(range(self.size)):
                x = leaves[leaf].flat[indices.start : indices.stop]
                goal = self.steps.plan(self.parameters, leaf, indices).points[:, 0]
                part = random.uniform(0.5, 1.0, len(x)).astype(x.dtype)
                leaves[leaf].flat[indices.start : indices.stop] = x + part * (goal - x)
            yield
        finally:
            for array, copy in zip(leaves, saved, strict=True):
                array[...] = copy

    def partials(self, block: range, out: Array) -> None:
        """Write the block's partial derivatives. x is restored whatever happens."""
        for leaf, indices, where in self.parameters.pieces(block):
            flat = self.parameters.leaves[leaf].flat
            piece = slice(indices.start, indices.stop)
            saved = flat[piece]
            try:
                self._piece(leaf, indices, saved.tolist(), out[where])
            finally:
                flat[piece] = saved

    def _piece(self, leaf: int, indices: range, saved: list[float], out: Array) -> None:
        f, x, entry = self.f, self.parameters.x, entries(self.parameters.leaves[leaf])
        plan = self.steps.plan(self.parameters, leaf, indices)
        # Lists and local names: NumPy's scalars would cost more than a cheap f.
        rows = zip(indices, saved, plan.points.tolist(), plan.which.tolist(), strict=True)
        shared = self.steps.shared(self.value).tolist()
        weights = [[weight for _, weight in formula.moves] for formula in self.steps.formulas]
        totals = []
        isfinite = math.isfinite
        for i, original, points, which in rows:
            total = shared[which]
            for point, weight in zip(points, weights[which]):  # noqa: B905, short rows are padded
                entry[i] = point
                try:
                    value = f(x)
                    if not isinstance(value, float):
                        value = number(value)
                except Exception as error:
                    explain(error, self.parameters.moved(leaf, i, original, point))
                    raise
                total += weight * value
            entry[i] = original
            if not (isfinite(total) or self.keep):
                self._raise_not_finite(leaf, i, original, points)
            totals.append(total)
        out[:] = totals / plan.h

    def _raise_not_finite(self, leaf: int, i: int, original: float, points: list[float]) -> None:
        """Evaluate a coordinate again whose sum is not finite, to say at which point."""
        flat = self.parameters.leaves[leaf].flat
        for point in points:
            flat[i] = point
            value = self._now()
            flat[i] = original
            if not math.isfinite(value):
                raise not_finite(value, self.parameters.moved(leaf, i, original, point))
