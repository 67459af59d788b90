"""Any Python callable: called once for every point, the caller's own arrays moved in place."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastgrad._typing import Array
from fastgrad.objectives.base import Cost, OneEach
from fastgrad.objectives.values import REAL, all_finite, explain, not_finite, single
from fastgrad.steps import Plan, Steps
from fastgrad.structures import PIECE, Parameters, entries


class BlackBox(OneEach):
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
    outputs = 1
    """Numbers that f returns."""
    first = piece = PIECE
    """Coordinates whose values are held at a time, at most; and before any time has been taken."""
    ready: Any = float
    """Type of what f returns that needs no further look."""
    finite: Any = staticmethod(math.isfinite)
    """Tells whether such a value is finite."""

    def __init__(
        self, f: Callable[[Any], Any], parameters: Parameters, steps: Steps, keep: bool
    ) -> None:
        self.f, self.parameters, self.steps, self.keep = f, parameters, steps, keep
        self.dtype = parameters.dtype
        self.evaluations = 0
        self.value: Any = math.nan
        if steps.needs_value:
            self.evaluate()

    @property
    def items(self) -> int:
        """Number of work items."""
        return self.parameters.size

    @property
    def size(self) -> int:
        """Number of derivatives."""
        return self.parameters.size * self.outputs

    def coordinates(self, block: range) -> range:
        """Return the coordinates that belong to a block of items."""
        return block

    def span(self, block: range) -> slice:
        """Return where the block's partial derivatives stand."""
        coordinates = self.coordinates(block)
        return slice(coordinates.start * self.outputs, coordinates.stop * self.outputs)

    def evaluate(self) -> None:
        """Set ``value`` to f(x)."""
        self._set_value(self.steps.value(self._counted))

    def _set_value(self, value: Any) -> None:
        if not (self.keep or all_finite(value)):
            raise self._not_finite(value, lambda *_: "x")
        self.value = value.real

    def _counted(self) -> Any:
        self.evaluations += 1
        return self._now()

    def _now(self) -> Any:
        """Return f at x as it is now."""
        return self._read(self.f(self.parameters.x))

    def _read(self, returned: Any) -> Any:
        """Return what f returned as a number."""
        return single(returned, self.steps.kinds)

    def cost(self) -> Cost | None:
        """Return None: how long f takes is seen when it is called."""

    def prepare(self) -> bool:
        """Note f with all of x moved, for `verify`. Where that cannot be tried, f stays here."""
        try:
            self._moved_value = self._all_moved()
        except Exception:
            return False
        return True

    def verify(self) -> None:
        """Make sure that this copy's f sees this copy's x move.

        A function that is pickled by its name finds the globals of the worker's module: moving
        the copy of x would leave it unmoved, and the gradient would be 0 without a word.
        """
        here, there = np.ravel(self._moved_value), np.ravel(self._all_moved())
        differs = (here != there) & ~(np.isnan(here) & np.isnan(there))
        if differs.any():
            k = int(differs.argmax())
            raise RuntimeError(
                f"{self._name(k)} is {here[k].item()!r} here and {there[k].item()!r} in a worker, "
                "at the same x: the worker's copy "
                "of f does not see its copy of x, or f is not deterministic. Let f use its "
                "argument, define it where x is (in a script or a function, not in another "
                "module), or pass workers=1"
            )

    def _all_moved(self) -> Any:
        """Return f with every coordinate a random part of the way to its first point."""
        leaves = self.parameters.leaves
        saved = [leaf.copy() for leaf in leaves]
        random = np.random.default_rng(0)
        try:
            for leaf, indices, _ in self.parameters.pieces(range(self.parameters.size)):
                x = leaves[leaf].flat[indices.start : indices.stop]
                moves = self._first_moves(leaf, indices)
                part = random.uniform(0.5, 1.0, len(x)).astype(x.dtype)
                leaves[leaf].flat[indices.start : indices.stop] = x + part * moves
            return self._counted()
        finally:
            for array, copy in zip(leaves, saved, strict=True):
                array[...] = copy

    def _first_moves(self, leaf: int, indices: range) -> Array:
        """Return how far each coordinate, or all of them, is moved first."""
        return self.steps.plan(self.parameters, leaf, indices).moves[:, 0]

    def partials(self, block: range, out: Array) -> None:
        """Write the block's partial derivatives. x is restored whatever happens."""
        for leaf, indices, where in self.parameters.pieces(block, self.first, self.piece):
            flat = self.parameters.leaves[leaf].flat
            piece = slice(indices.start, indices.stop)
            saved = flat[piece]
            plan = self.steps.plan(self.parameters, leaf, indices)
            try:
                values = self._evaluate(leaf, indices, saved, plan)
            except BaseException:
                flat[piece] = saved
                raise
            self.steps.combine(plan, values, out[where], self.value)

    def _evaluate(self, leaf: int, indices: range, saved: Array, plan: Plan) -> Array:
        """Return f at all points of a plan; raise if it is not finite somewhere."""
        f, x, entry = self.f, self.parameters.x, entries(self.parameters.leaves[leaf])
        # Python's numbers and local names: NumPy's scalars would cost more than a cheap f.
        values: list[Any] = []
        append, read = values.append, self._read
        ready, finite = (self.ready, self.finite) if self.steps.kinds == REAL else ((), all_finite)
        plain = ready is float
        for i, moves in zip(indices, self.steps.moves(plan)):  # noqa: B905, may go on
            original = entry[i]
            for move in moves:
                # Rounds as the array's own dtype would: float64 is more than twice as long as
                # float32 (S. A. Figueroa, SIGNUM Newsletter 30(3) (1995), 21-26).
                entry[i] = original + move
                try:
                    value = f(x)
                    if not isinstance(value, ready):
                        value, plain = read(value), False
                except Exception as error:
                    number = saved[i - indices.start].item()
                    explain(error, self.parameters.moved(leaf, i, number, number + move))
                    raise
                if not (finite(value) or self.keep or all_finite(value)):
                    number = saved[i - indices.start].item()
                    place = self.parameters.moved(leaf, i, number, number + move)
                    raise self._not_finite(value, lambda *_, place=place: place)
                append(value)
            entry[i] = original
        # NumPy takes twice as long to find out that all are floats.
        return np.fromiter(values, float, len(values)) if plain else np.array(values)

    def _together(self, where: Any, moves: Array, place: Callable[[], str]) -> Any:
        """Return f with several coordinates of x, which is one array, moved at once."""
        flat = self.parameters.leaves[0].flat
        saved = flat[where]
        try:
            flat[where] = saved + moves
            return self._read(self.f(self.parameters.x))
        except Exception as error:
            flat[where] = saved  # The words tell of x as it was.
            explain(error, place())
            raise
        finally:
            flat[where] = saved

    def _check_finite(self, leaf: int, indices: range, plan: Plan, values: Array) -> None:
        """Raise if a value is not finite, and say for which coordinate and on which side."""
        if not (self.keep or all_finite(values)):
            raise self._not_finite(values, lambda k, _: self._place(leaf, indices, plan, k))

    def _not_finite(self, values: Any, place: Callable[[int, int], str]) -> FloatingPointError:
        """Return the error for the first of some evaluations' values that is not finite."""
        flat = np.ravel(values)
        first = int(np.isfinite(flat).argmin())
        k, output = divmod(first, self.outputs)
        return not_finite(flat[first].item(), place(k, output), self._name(output))

    def _name(self, output: int) -> str:
        """Return words for one of f's outputs."""
        return "f"

    def _place(self, leaf: int, indices: range, plan: Plan, k: int) -> str:
        """Return words for where the k-th evaluation of a plan took place."""
        row, k = np.argwhere(self.steps.evaluated(plan, len(indices)))[k]
        original = self.parameters.leaves[leaf].flat[indices[row]]
        point = original + plan.move(row, k)
        return self.parameters.moved(leaf, indices[row], original.item(), point.item())
