"""Names what a function can read from outside, and refuses it where that cannot be moved."""

from __future__ import annotations

import contextlib
import dis
import functools
import inspect
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastgrad._evaluation.callable import Calls
from fastgrad._evaluation.proof import same, value_at
from fastgrad._structures import Parameters
from fastgrad._typing import Array

DEPTH = 3
"""How deep objects within objects are looked into."""


def check_movable(parameters: Parameters) -> None:
    """Refuse an f that reads x from outside where x cannot be moved in place."""
    for name, movable in zip(parameters.names, parameters.movable, strict=True):
        if not movable:
            raise TypeError(
                f"f reads x from outside, but {name} cannot be changed in place there (it is a "
                "number, a list, a pandas object or a read-only array): let f use its argument, or "
                "pass writable arrays"
            )


def check_captured(calls: Calls, target: Array, derivatives: Array) -> int:
    """Refuse derivatives of 0 by what cannot be moved, where f reads that from outside.

    There f stays the same when its argument moves to the `target`. Return how many evaluations it
    took to see that.
    """
    parameters, count = calls.parameters, 0
    for k in range(len(parameters.leaves)):
        mine = slice(parameters.starts[k], parameters.starts[k + 1])
        if parameters.movable[k] or derivatives[mine].any():
            continue
        name = name_outside(calls.f, parameters, k)
        if name is None:
            continue
        count += 2
        if same(*(value_at(calls, mine, x[mine]) for x in (calls.x, target))):
            raise TypeError(
                f"f reads x from outside, as {name}, which cannot be moved there: the "
                "derivative would be 0; let f use its argument, or pass a writable array"
            )
    return count


def without_memory(f: Any, parameters: Parameters) -> Any:
    """Return the function whose values `f` remembers by functools or joblib, if it can reach x.

    Its memory would give the same value wherever x is, so that nothing could be found out by it.
    Otherwise return None.
    """
    if not (hasattr(f, "cache_info") or hasattr(f, "check_call_in_cache")):
        return None
    reached = (name_outside(f, parameters, k) for k in range(len(parameters.leaves)))
    return _bare(f) if any(reached) else None


def name_outside(f: Any, parameters: Parameters, k: int, depth: int = DEPTH) -> str | None:
    """Return the name by which a function can reach leaf k of x from outside."""
    leaf, given = parameters.leaves[k], parameters.given[k]
    seen: dict[int, Any] = {}
    for name, value in _held("f", f):
        for place, item in _within(name, value, depth, seen):
            if item is given or (isinstance(item, np.ndarray) and np.may_share_memory(item, leaf)):
                return place
    return None


def _within(name: str, value: Any, depth: int, seen: dict[int, Any]) -> Iterator[tuple[str, Any]]:
    """Yield a value, and what it holds, and so on."""
    yield name, value
    if depth and id(value) not in seen:
        seen[id(value)] = value
        for inner, item in _held(name, value):
            yield from _within(inner, item, depth - 1, seen)


def _held(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a function reads, a container holds, or an object or a class has."""
    value = _bare(value)
    if isinstance(value, dict | list | tuple):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        yield from ((f"{name}[{key!r}]", item) for key, item in pairs)
    elif inspect.ismethod(value):
        yield from ((f"self{inner}", item) for inner, item in _held("", value.__self__))
        yield from _held(name, value.__func__)
    elif inspect.isfunction(value):
        read = _globals_of(value.__code__) & value.__globals__.keys()
        yield from ((key, value.__globals__[key]) for key in read)
        for key, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            with contextlib.suppress(ValueError):  # not assigned yet
                yield key, cell.cell_contents
    elif not isinstance(value, np.ndarray | types.ModuleType) and hasattr(value, "__dict__"):
        own = value if isinstance(value, type) else type(value)
        variables = {**vars(own), **vars(value)}
        yield from ((f"{name}.{key}", item) for key, item in variables.items())


@functools.lru_cache(maxsize=1024)
def _globals_of(code: types.CodeType) -> frozenset[str]:
    """Return the names of the globals that a function reads, and the functions within it."""
    names = {i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
    inner = (const for const in code.co_consts if isinstance(const, types.CodeType))
    return frozenset(names.union(*map(_globals_of, inner)))


def _bare(f: Any) -> Any:
    """Return the function that functools, joblib or numba have wrapped."""
    if isinstance(f, functools.partial) or hasattr(f, "check_call_in_cache"):
        return f.func
    return getattr(f, "py_func", getattr(f, "__wrapped__", f))
