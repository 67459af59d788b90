"""Finds out by one evaluation whether f reads x from outside, as the book's functions do."""

from __future__ import annotations

import contextlib
import functools
import inspect
import numbers
import operator
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastgrad._evaluation.callable import Calls
from fastgrad._evaluation.in_place import restore
from fastgrad._evaluation.values import precision
from fastgrad._formulas.points import Points
from fastgrad._structures import Parameters, is_structure
from fastgrad._typing import Array

READS = 100.0
"""How many times more f must change with x than it does by itself to read x from outside."""

GOLDEN = (5**0.5 - 1) / 2

_NEVER: Any = None


class Proof:
    """f at one point while the caller's x is elsewhere: the same bits, unless f reads x.

    `eps` is the relative precision of what f returned, `repeated` counts evaluations beyond the
    one.
    """

    def __init__(self, calls: Calls, point: Points) -> None:
        self.calls = calls
        self.eps, self.repeated, self._elsewhere = 0.0, 0, _NEVER
        self._change = next(iter(point.changes()))

    def evaluate(self, target: Array) -> None:
        """Evaluate f while x is a part of the way to `target`; it is restored whatever happens."""
        with moved_at_random(self.calls.parameters, self.calls.x.real, target):
            self._elsewhere = self._value()

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
        if _same(value, self._elsewhere):
            return False
        again = [self._value()]
        self.repeated = 1
        if _same(value, again[0]):
            return True
        again += [self._value(), self._value()]
        self.repeated = 3
        if any(isinstance(one, type) for one in (value, self._elsewhere, *again)):
            return False
        first, *others = again  # `value` may be that of a worker.
        by_itself = max(np.abs(np.subtract(one, first)).max() for one in others)
        by_x = np.abs(np.subtract(self._elsewhere, first)).max()
        return bool(by_x > READS * by_itself)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, type) or isinstance(other, type):
        return one is other
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (one != one and other != other)
    return np.shape(one) == np.shape(other) and np.array_equal(one, other, equal_nan=True)


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


def check_movable(parameters: Parameters) -> None:
    """Refuse an f that reads x from outside where x cannot be moved in place."""
    for name, movable in zip(parameters.names, parameters.movable, strict=True):
        if not movable:
            raise TypeError(
                f"f reads x from outside, but {name} cannot be changed in place there (it is a "
                "number, a list or a read-only array): let f use its argument, or pass writable "
                "arrays"
            )


def check_captured(calls: Calls, target: Array, derivatives: Array) -> None:
    """Refuse derivatives of 0 by what cannot be moved, where f reads that from outside.

    There f stays the same when its argument moves to the `target`.
    """
    parameters = calls.parameters
    for k, leaf in enumerate(parameters.leaves):
        mine = slice(parameters.starts[k], parameters.starts[k + 1])
        if parameters.movable[k] or derivatives[mine].any():
            continue
        name = _name_outside(calls.f, parameters, leaf)
        if name is not None and _same(*(_value(calls, mine, x[mine]) for x in (calls.x, target))):
            raise TypeError(
                f"f reads x from outside, as {name}, which cannot be moved there: the "
                "derivative would be 0; let f use its argument, or pass a writable array"
            )


def _value(calls: Calls, index: Any, value: Any) -> Any:
    """Return f at a point, or the type of what it raises there."""
    try:
        return calls.reader.read(calls.at(index, value))
    except Exception as error:
        return type(error)


def without_memory(f: Any, parameters: Parameters) -> Any:
    """Return the function whose values `f` remembers by functools or joblib, if it can reach x.

    Its memory would give the same value wherever x is, so that nothing could be found out by it.
    Otherwise return None.
    """
    bare = getattr(f, "__wrapped__", None) if hasattr(f, "cache_info") else None
    bare = f.func if hasattr(f, "check_call_in_cache") else bare
    reached = (_name_outside(bare, parameters, leaf) for leaf in parameters.leaves)
    return bare if bare is not None and any(reached) else None


def _name_outside(f: Any, parameters: Parameters, leaf: Array) -> str | None:
    """Return the name by which a function reads an array of x from outside."""
    for name, value in outside(f):
        same = value is parameters.x if parameters.is_array else False
        if same or (isinstance(value, np.ndarray) and np.may_share_memory(value, leaf)):
            return name
    return None


def outside(f: Any, depth: int = 3) -> Iterator[tuple[str, Any]]:
    """Yield what a function can read from outside, by name: its closure, globals and object.

    Also what these hold, and so on to a `depth`.
    """
    f = getattr(f, "__wrapped__", getattr(f, "func", f))
    f = getattr(f, "py_func", f)
    variables = {"its object": f.__self__} if inspect.ismethod(f) else {}
    f = getattr(f, "__func__", f)
    if inspect.isfunction(f):
        closure = inspect.getclosurevars(f)
        variables |= {**closure.globals, **closure.nonlocals}
    for name, value in variables.items():
        yield from _within(name, value, depth)


def _within(name: str, value: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """Yield a value, and what it holds: items of containers, attributes of objects."""
    yield name, value
    if isinstance(value, dict | list | tuple):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        held = [(f"{name}[{key!r}]", item) for key, item in pairs]
    elif isinstance(value, type | types.ModuleType) or inspect.isroutine(value):
        held = []
    else:
        held = [(f"{name}.{key}", item) for key, item in getattr(value, "__dict__", {}).items()]
    for inner, item in held if depth else ():
        yield from _within(inner, item, depth - 1)
