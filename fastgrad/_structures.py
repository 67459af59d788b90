"""Parameters in any structure of arrays and numbers, seen as one long vector."""

from __future__ import annotations

import contextlib
import math
import numbers
import threading
import weakref
from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from fastgrad._typing import Array

FLOAT64: np.dtype[Any] = np.dtype(float)

UNPLAIN = np.ma.MaskedArray, np.matrix
"""Kinds of arrays that compute otherwise than plain ones."""

_locks: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
"""One for each x in use, by the address of its first array."""

Part = tuple[int, range, slice]
"""A leaf, flat indices within it, and where they stand in a block."""


class Parameters:
    """The arrays of `x`: one array or number, or a dict, list or tuple of them, however nested.

    Parameters
    ----------
    x : array_like of float, or dict, list or tuple
        A list or tuple of nothing but numbers is an array.

    Attributes
    ----------
    x
        The caller's own `x`.
    leaves : list of ndarray
        The arrays in the order of the structure: the caller's own where `x` holds arrays.
    movable : list of bool
        Which of them are the caller's own, and can be changed in place.
    dtypes : list of dtype
        Of the arrays, and of what `assemble` returns.
    dtype : dtype
        Of the long vector and of derivatives: float64, or what is more precise.
    one_dtype : bool
        Whether all of them have the dtype of the long vector.
    epsilons : list of float
        Their relative precisions.
    size : int
        Number of coordinates.

    Raises
    ------
    TypeError
        If an array does not hold real floating point numbers.

    Examples
    --------
    >>> parameters = Parameters({"W": np.eye(2), "b": [1.0, 2.0]})
    >>> parameters.size, parameters.name(2), parameters.name(5)
    (6, "x['W'][1, 0]", "x['b'][1]")
    >>> parameters.assemble(np.arange(6.0))
    {'W': array([[0., 1.],
           [2., 3.]]), 'b': array([4., 5.])}
    """

    def __init__(self, x: Any) -> None:
        self.x = x
        try:
            items = list(_leaves(x, "x"))
        except RecursionError:
            raise ValueError("x must not be nested so deep, or within itself") from None
        self.names = [place for place, _ in items]  # no dict: keys may differ and look the same
        self.leaves = [_real_array(leaf, place) for place, leaf in items]
        self.numbers = [isinstance(leaf, numbers.Real) for _, leaf in items]
        self.movable = [isinstance(leaf, np.ndarray) and leaf.flags.writeable for _, leaf in items]
        self.dtypes = [leaf.dtype for leaf in self.leaves]
        plain = all(dtype is FLOAT64 for dtype in self.dtypes)
        self.dtype: np.dtype[Any] = FLOAT64 if plain else np.result_type(FLOAT64, *self.dtypes)
        self.starts = [0, *accumulate(leaf.size for leaf in self.leaves)]
        self.size = self.starts[-1]
        self.is_array = not is_structure(x)
        self._lock: Any = None
        self.epsilons = [float(np.finfo(dtype).eps) for dtype in self.dtypes]
        self._axes = [_memory_order(leaf) for leaf in self.leaves]
        self._views = [leaf.flags.c_contiguous and leaf.dtype is FLOAT64 for leaf in self.leaves]
        self.one_dtype = plain or all(dtype == self.dtype for dtype in self.dtypes)

    @property
    def is_vector(self) -> bool:
        """Whether the long vector is what f takes: x is one vector of float64."""
        return self.is_array and self.leaves[0].ndim == 1 and self._views[0]

    def held(self) -> contextlib.AbstractContextManager[Any]:
        """Keep other threads from moving this x, and from copying it while it is moved."""
        if self._lock is None:
            address = self.leaves[0].__array_interface__["data"][0] if self.leaves else 0
            self._lock = _locks.setdefault(address, threading.RLock())
        lock: contextlib.AbstractContextManager[Any] = self._lock
        return lock

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_lock": None}

    def vector(self) -> Array:
        """Return a copy of x as one long vector."""
        with self.held():
            return self._vector()

    def _vector(self) -> Array:
        parts = [leaf.astype(self.dtype).reshape(-1) for leaf in self.leaves]
        return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, self.dtype), *parts])

    def build(self, vector: Array) -> Any:
        """Return a long vector in the structure of x, for f: views of it where that will do."""
        pieces = []
        for k, leaf in enumerate(self.leaves):
            piece = vector[self.starts[k] : self.starts[k + 1]].reshape(leaf.shape)
            if vector.dtype.kind != "c" and not self._views[k]:
                axes = self._axes[k]
                piece = piece.transpose(axes).astype(leaf.dtype.newbyteorder("="), order="C")
                piece = piece.transpose(np.argsort(axes))
            if self.numbers[k]:
                piece = piece.item() if piece.dtype.itemsize in (8, 16) else piece[()]
            pieces.append(piece)
        return self.rebuild(pieces)

    def split(self, block: range) -> list[Part]:
        """Return what each leaf has of a block of coordinates."""
        parts, begin = [], block.start
        for k, start in enumerate(self.starts[:-1]):
            first, last = max(begin, start), min(block.stop, self.starts[k + 1])
            if first < last:
                where = slice(first - begin, last - begin)
                parts.append((k, range(first - start, last - start), where))
        return parts

    def name(self, coordinate: int) -> str:
        """Return how the caller would write that coordinate of the long vector."""
        ((leaf, indices, _),) = self.split(range(coordinate, coordinate + 1))
        where = ", ".join(str(k) for k in np.unravel_index(indices[0], self.leaves[leaf].shape))
        return f"{self.names[leaf]}[{where}]" if where else self.names[leaf]

    def eps(self, block: range) -> Any:
        """Return the relative precision of some coordinates: a number where they share it."""
        eps = self.epsilons
        if len(set(eps)) == 1:
            return eps[0]
        out = np.empty(len(block))
        for leaf, _, where in self.split(block):
            out[where] = eps[leaf]
        return out

    def round(self, values: Array, block: range) -> Array:
        """Return values of some coordinates, one a row, as their own dtypes round them."""
        if not self.one_dtype:
            for leaf, _, where in self.split(block):
                values[where] = values[where].astype(self.dtypes[leaf])
        return values

    def assemble(self, vector: Array) -> Any:
        """Return a long vector of derivatives in the structure of `x`, its shapes and dtypes.

        Where `vector` has more axes, its last one is the long vector, and the arrays keep the axes
        before it.
        """
        outer = vector.shape[:-1]
        pieces = []
        for k, leaf in enumerate(self.leaves):
            piece = vector[..., self.starts[k] : self.starts[k + 1]].reshape(outer + leaf.shape)
            pieces.append(piece.astype(self.dtypes[k], copy=False))
        return self.rebuild(pieces)

    def rebuild(self, leaves: list[Any]) -> Any:
        """Return other leaves in the structure of `x`."""
        return leaves[0] if self.is_array else _rebuild(self.x, iter(leaves))

    def spread(self, value: Any, argument: str) -> Array:
        """Return `value` for each coordinate: a number for all, or a structure like `x`."""
        values = [value] * len(self.leaves)
        if not self.is_array and not isinstance(value, numbers.Real):
            given = [(name, _array(side, argument)) for name, side in _leaves(value, "x")]
            if [name for name, _ in given] != self.names:
                raise ValueError(
                    f"{argument} must be a number or have the structure of x, "
                    f"{', '.join(self.names)}; got {', '.join(name for name, _ in given)}"
                )
            values = [side for _, side in given]
        parts = [
            _broadcast(value, leaf.shape, argument)
            for value, leaf in zip(values, self.leaves, strict=True)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0), *parts])

    def matching(self, value: Any, argument: str) -> list[Array]:
        """Return copies of the arrays of `value`, which has the structure and the shapes of x."""
        # An empty list is an array here, where x is one.
        empty = isinstance(value, list | tuple) and not value and self.is_array
        plain = np.array(value) if empty else value
        given = {name: _array(side, argument) for name, side in _leaves(plain, "x")}
        if set(given) != set(self.names):
            raise ValueError(
                f"{argument} must have the structure of x, {', '.join(self.names)}; got "
                f"{', '.join(given) or 'nothing'}"
            )
        for name, leaf in zip(self.names, self.leaves, strict=True):
            array, place = given[name], argument + name.removeprefix("x")
            if array.dtype.kind not in "iuf":
                raise TypeError(f"{place} must hold real numbers, got dtype {array.dtype}")
            if array.shape != leaf.shape:
                hint = "; is it transposed?" if array.shape == leaf.shape[::-1] else ""
                raise ValueError(
                    f"{place} must have the shape of {name}, {leaf.shape}; got {array.shape}{hint}"
                )
        return [given[name] for name in self.names]

    def parts(self, vector: Array) -> list[Array]:
        """Return what each leaf has of a long vector."""
        return [vector[first:last] for first, last in pairwise(self.starts)]

    def vector_of(self, value: Any, argument: str) -> Array:
        """Return a finite structure like `x`, of the same shapes, as one long vector."""
        parts = [given.astype(self.dtype).reshape(-1) for given in self.matching(value, argument)]
        vector: Array = np.concatenate([np.empty(0, self.dtype), *parts])
        finite = np.isfinite(vector)
        if not finite.all():
            k = int(finite.argmin())
            raise ValueError(f"{argument}{self.name(k)[1:]} must be finite, got {vector[k]}")
        return vector


def _memory_order(array: Array) -> list[int]:
    """Return the axes of an array from the one with the longest steps through memory on."""
    return sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))


def _array(x: Any, name: str) -> Array:
    """Return a new array of `x`; what no array can be made of is refused under that name."""
    try:
        return np.array(x)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} must be an array of numbers, got {x!r}: {error}") from error


def _broadcast(value: Any, shape: tuple[int, ...], argument: str) -> Array:
    value = _array(value, argument)
    if value.dtype.kind not in "iuf":
        raise TypeError(f"{argument} must hold real numbers, got dtype {value.dtype}")
    if value.ndim == 0:
        return np.broadcast_to(value.astype(float), math.prod(shape))
    try:
        return np.broadcast_to(value.astype(float), shape).reshape(-1)
    except ValueError:
        raise ValueError(
            f"{argument} must be a number or have the shape of x, {shape}; got {value.shape}"
        ) from None


def is_structure(x: Any) -> bool:
    """Tell a structure of arrays from what NumPy would make one array of."""
    if not isinstance(x, list | tuple):
        return isinstance(x, dict)
    if not x or hasattr(x, "_fields"):
        return True
    return any(isinstance(item, np.ndarray) or is_structure(item) for item in x)


def _leaves(x: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield what is no structure in `x`, each with how the caller would write it."""
    if not is_structure(x):
        yield name, x
        return
    for key, item in x.items() if isinstance(x, dict) else enumerate(x):
        yield from _leaves(item, f"{name}[{key!r}]")


def _rebuild(x: Any, pieces: Iterator[Any]) -> Any:
    """Return a structure like `x` made of `pieces`."""
    if not is_structure(x):
        return next(pieces)
    if isinstance(x, dict):
        return {key: _rebuild(item, pieces) for key, item in x.items()}
    items = [_rebuild(item, pieces) for item in x]
    if isinstance(x, tuple):
        return type(x)(*items) if hasattr(x, "_fields") else tuple(items)
    return items


def _real_array(x: Any, name: str) -> Array:
    """Return `x` as an array: the caller's own where it is one."""
    array = x if isinstance(x, np.ndarray) else _array(x, name)
    if isinstance(array, UNPLAIN):
        got = type(array).__name__
        raise TypeError(f"{name} must be a plain array, got {got}; pass np.asarray({name})")
    if array.dtype.kind == "c":
        raise TypeError(
            f"{name} must be real, got {array.dtype}; differentiate by the real and the imaginary "
            "part, passed as two arrays"
        )
    if array.dtype.kind != "f":
        raise TypeError(
            f"{name} must be floating point, got {array.dtype}: a step would be lost; pass "
            f"{_advice(x, name)}"
        )
    return array


def _advice(x: Any, name: str) -> str:
    """Return what to pass instead of an `x` that holds no floating point numbers."""
    if isinstance(x, np.ndarray):
        return f"{name}.astype(float)"
    return f"float({name})" if isinstance(x, numbers.Real) else f"np.array({name}, float)"
