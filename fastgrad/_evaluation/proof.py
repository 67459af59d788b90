"""Finds out by one evaluation whether f reads x from outside, as the book's functions do."""

from __future__ import annotations

import contextlib
import functools
import numbers
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastgrad._evaluation.callable import Calls
from fastgrad._evaluation.in_place import restore
from fastgrad._evaluation.values import precision
from fastgrad._formulas.points import Points
from fastgrad._structures import Parameters, is_structure
from fastgrad._typing import Array

READS = 10.0
"""How many times more f must change with x than it does by itself to read x from outside."""

ROUNDING = 1e-6
"""By how much of f values may differ that other machines have computed."""

GOLDEN = (5**0.5 - 1) / 2

_NEVER: Any = None


class Proof:
    """f at one point while the caller's x is elsewhere: the same bits, unless f reads x.

    `eps` is the relative precision of what f returned, `repeated` counts evaluations beyond the
    one. `alone` says that the value of a worker was another than all those here.
    """

    def __init__(self, calls: Calls, point: Points) -> None:
        self.calls = calls
        self.eps, self.repeated, self.alone, self.elsewhere = 0.0, 0, False, _NEVER
        self._change = next(iter(point.changes()))

    def evaluate(self, target: Array) -> None:
        """Evaluate f while x is a part of the way to `target`; it is restored whatever happens."""
        with moved_at_random(self.calls.parameters, self.calls.x.real, target):
            self.elsewhere = self._value()

    def _value(self) -> Any:
        try:
            returned = self.calls.at(*self._change)
            self.eps = precision(returned)
            return self.calls.reader.read(returned)
        except Exception as error:
            return type(error)

    def reads_outside(self, value: Any) -> bool:
        """Tell whether f reads x from outside, from its value at the point with x in place.

        Where the bits differ, one evaluation more shows whether f differs by itself, as a random
        function does, and two more by how much.
        """
        if same(value, self.elsewhere):
            return False
        again = [self._value()]
        self.repeated = 1
        if same(value, again[0]):
            return True
        again += [self._value(), self._value()]
        self.repeated = 3
        if any(isinstance(one, type) for one in (value, self.elsewhere, *again)):
            return False
        first, *others = again  # `value` may be that of a worker.
        self.alone = not close(value, first) and all(same(self.elsewhere, one) for one in again)
        by_itself = max(np.abs(np.subtract(one, first)).max() for one in others)
        by_x = np.abs(np.subtract(self.elsewhere, first)).max()
        return bool(by_x > READS * by_itself)


def value_at(calls: Calls, index: Any, value: Any) -> Any:
    """Return f at a point, or the type of what it raises there."""
    try:
        return calls.reader.read(calls.at(index, value))
    except Exception as error:
        return type(error)


def same(one: Any, other: Any) -> bool:
    """Tell whether two values of f have the same bits, or both are the type of an error."""
    if isinstance(one, type) or isinstance(other, type):
        return one is other
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (one != one and other != other)
    return np.shape(one) == np.shape(other) and np.array_equal(one, other, equal_nan=True)


def close(one: Any, other: Any) -> bool:
    """Tell whether values of f are the same but for rounding: that of other batches or machines."""
    one, other = np.asarray(one), np.asarray(other)
    if one.shape != other.shape:
        return False
    size = np.abs(one).max(initial=0.0, where=np.isfinite(one))
    return bool(np.allclose(one, other, rtol=0.0, atol=ROUNDING * size, equal_nan=True))


@contextlib.contextmanager
def moved_at_random(parameters: Parameters, x: Array, target: Array) -> Iterator[None]:
    """Move every coordinate of the caller's x a part of the way; put all back at the end.

    `target` is used up.
    """
    # Multiples of the golden ratio, less whole numbers: a part of its own for each coordinate.
    way = np.arange(1.0, len(target) + 1.0)
    way *= GOLDEN
    way %= 1.0
    way += 1.0
    way *= 0.5
    with np.errstate(invalid="ignore"):  # of an infinite x
        target -= x
        target *= way
        target += x
    del way
    parts = parameters.parts(target)
    undo: list[Callable[[], None]] = []  # An ExitStack would take as long as all the rest.
    with parameters.held():
        saved = [leaf.copy() for leaf in parameters.leaves]
        try:
            if not all(parameters.movable):
                _move_others(undo, parameters, parts)
            for leaf, part in zip(parameters.leaves, parts, strict=True):
                if leaf.flags.writeable:
                    leaf[...] = part.reshape(leaf.shape)
            yield
        finally:
            for step in reversed(undo):
                step()
            restore(parameters, saved)


def _move_others(
    undo: list[Callable[[], None]], parameters: Parameters, parts: list[Array]
) -> None:
    """Change numbers and lists in the caller's containers, and lift the protection of arrays."""
    for leaf, slot, part in zip(parameters.leaves, _slots(parameters.x), parts, strict=True):
        if slot is not None:
            container, key = slot
            undo.append(functools.partial(operator.setitem, container, key, container[key]))
            container[key] = part.tolist() if isinstance(key, slice) else part.item()
        elif not leaf.flags.writeable:
            with contextlib.suppress(ValueError):  # Its memory belongs to somebody else.
                leaf.flags.writeable = True
                undo.append(functools.partial(_protect, leaf, leaf.copy()))


def _protect(leaf: Array, original: Array) -> None:
    leaf[...] = original
    leaf.flags.writeable = False


def _slots(x: Any) -> Iterator[tuple[Any, Any] | None]:
    """Yield for each leaf that is no array the list or dict that holds it, and its key there.

    Arrays yield None, and numbers in tuples, which cannot be changed.
    """
    if not is_structure(x):
        yield (x, slice(None)) if isinstance(x, list) else None
        return
    for key, item in x.items() if isinstance(x, dict) else enumerate(x):
        if is_structure(item) or isinstance(item, list):
            yield from _slots(item)
        else:
            fixed = not isinstance(item, numbers.Real) or isinstance(x, tuple)
            yield None if fixed else (x, key)
