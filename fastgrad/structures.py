"""Parameters in any structure of arrays, seen as one long vector."""

from __future__ import annotations

import copy
import math
import numbers
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from fastgrad._typing import Array
from fastgrad.partition import Part, cut

FLOAT64: np.dtype[Any] = np.dtype(float)

UNPLAIN = np.ma.MaskedArray, np.matrix
"""Kinds of arrays whose `flat` is no row of numbers."""

PIECE = 1024
"""Coordinates that are planned at a time, at most: memory stays flat."""


class Parameters:
    """The arrays of `x`: one array, or a dict, list or tuple of them, however nested.

    Parameters
    ----------
    x : array_like of float, or dict, list or tuple
        A list or tuple of nothing but numbers is an array. What cannot be changed in place
        (numbers, lists, read-only arrays) is copied, every other array is taken as it is.
    name : str, default "x"
        What messages call it.

    Attributes
    ----------
    x
        What f is called with: the caller's own `x`, unless something had to be copied.
    leaves : list of ndarray
        The arrays, in the order of the structure.
    size : int
        Number of coordinates.
    dtypes : list of dtype
        Of the arrays, and of what `assemble` returns.
    dtype : dtype
        Of derivatives: float64, or what is more precise.

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

    def __init__(self, x: Any, name: str = "x") -> None:
        try:
            self._nested = not isinstance(x, np.ndarray) and _is_structure(x)
            self.x = _writable(x, name) if self._nested else _writable_array(x, name)
        except RecursionError:
            raise ValueError(f"{name} must not be nested so deep, or within itself") from None
        self._names: list[str] = []  # no dict: keys may differ and look the same
        self.leaves: list[Array] = []
        self.dtypes: list[np.dtype[Any]] = []
        self.dtype, self.size, self._starts = FLOAT64, 0, [0]
        for place, leaf in _leaves(self.x, name) if self._nested else [(name, self.x)]:
            self._names.append(place)
            self.leaves.append(leaf)
            self.dtypes.append(leaf.dtype)
            self.size += leaf.size
            self._starts.append(self.size)
            if leaf.dtype is not FLOAT64:
                self.dtype = np.result_type(self.dtype, leaf.dtype)

    def split(self, block: range) -> list[Part]:
        """Return what each leaf has of a block."""
        if block and not self._nested:
            return [(0, block, slice(0, len(block)))]
        parts, begin = [], block.start
        for k, start in enumerate(self._starts[:-1]):
            first, last = max(begin, start), min(block.stop, self._starts[k + 1])
            if first < last:
                where = slice(first - begin, last - begin)
                parts.append((k, range(first - start, last - start), where))
        return parts

    def pieces(self, block: range, length: int = PIECE, most: int = PIECE) -> Iterable[Part]:
        """Return what `split` does, cut into pieces by the time they take.

        See `fastgrad.partition.cut`.
        """
        parts = self.split(block)
        # A generator would take as long as a short piece.
        return cut(parts, length, most) if len(block) > min(length, most) else parts

    def name(self, coordinate: int) -> str:
        """Return how the caller would write that coordinate of the long vector."""
        ((leaf, indices, _),) = self.split(range(coordinate, coordinate + 1))
        return self._name(leaf, indices.start)

    def moved(self, leaf: int, i: int, original: float, point: float) -> str:
        """Return words for the place where coordinate `i` of a leaf has been moved."""
        if np.iscomplexobj(point):
            return f"{self._name(leaf, i)} = {original.real!r} + {point.imag:.3g}j"
        side = "+" if point > original else "-"
        return f"{self._name(leaf, i)} = {original!r} {side} {abs(point - original):.3g}"

    def _name(self, leaf: int, i: int) -> str:
        where = ", ".join(str(k) for k in np.unravel_index(i, self.leaves[leaf].shape))
        return f"{self._names[leaf]}[{where}]" if where else self._names[leaf]

    def assemble(self, vector: Array) -> Any:
        """Return the long vector in the structure of `x`, with its shapes and dtypes.

        Where `vector` has more axes, its last one is the long vector, and the arrays keep the axes
        before it.
        """
        outer = vector.shape[:-1]
        if not self._nested:
            array = vector.reshape(outer + self.x.shape)
            return array if array.dtype is self.dtypes[0] else array.astype(self.dtypes[0])
        pieces = []
        for k, leaf in enumerate(self.leaves):
            piece = vector[..., self._starts[k] : self._starts[k + 1]].reshape(outer + leaf.shape)
            pieces.append(piece.astype(self.dtypes[k], copy=False))
        return self.rebuild(pieces)

    def complex_copy(self) -> Parameters:
        """Return the same with a complex copy of x; what is assembled stays real."""
        twin = copy.copy(self)
        twin.leaves = [leaf.astype(np.result_type(leaf.dtype, complex)) for leaf in self.leaves]
        twin.x = self.rebuild(twin.leaves)
        return twin

    def rebuild(self, leaves: list[Array]) -> Any:
        """Return other arrays in the structure of `x`."""
        return _rebuild(self.x, iter(leaves)) if self._nested else leaves[0]

    def spread(self, value: Any, argument: str) -> list[Array]:
        """Return `value` as one flat array a leaf: a number for all, or a structure like `x`."""
        values = [value] * len(self.leaves)
        if isinstance(self.x, dict | list | tuple) and not isinstance(value, numbers.Real):
            values = self._alike(value, argument, "be a number or have the structure of x")
        return [
            _broadcast(value, leaf.shape, argument)
            for value, leaf in zip(values, self.leaves, strict=True)
        ]

    def matching(self, value: Any, argument: str) -> list[Array]:
        """Return copies of the arrays of `value`, which has the structure and the shapes of x."""
        # An empty list is an array here, where x is one.
        empty = isinstance(value, list | tuple) and not value and not _is_structure(self.x)
        plain = np.array(value) if empty else value
        given = {name: _array(side, argument) for name, side in _leaves(plain, "x")}
        if set(given) != set(self._names):
            raise ValueError(
                f"{argument} must have the structure of x, {', '.join(self._names)}; got "
                f"{', '.join(given) or 'nothing'}"
            )
        for name, leaf in zip(self._names, self.leaves, strict=True):
            array, place = given[name], argument + name.removeprefix("x")
            if array.dtype.kind not in "iuf":
                raise TypeError(f"{place} must hold real numbers, got dtype {array.dtype}")
            if array.shape != leaf.shape:
                hint = "; is it transposed?" if array.shape == leaf.shape[::-1] else ""
                raise ValueError(
                    f"{place} must have the shape of {name}, {leaf.shape}; got {array.shape}{hint}"
                )
        return [given[name] for name in self._names]

    @property
    def names(self) -> list[str]:
        """How the caller would write each of the arrays."""
        return list(self._names)

    def vector(self, value: Any, argument: str) -> Array:
        """Return a structure like `x`, of the same shapes, as one long vector of its own."""
        parts = [given.astype(self.dtype).reshape(-1) for given in self.matching(value, argument)]
        return np.concatenate(parts) if parts else np.empty(0, self.dtype)

    def _alike(self, value: Any, argument: str, wanted: str) -> list[Any]:
        """Return the arrays of a structure like `x`."""
        given = [(name, _array(side, argument)) for name, side in _leaves(value, "x")]
        names = [name for name, _ in given]
        if names != self._names:
            raise ValueError(
                f"{argument} must {wanted}, {', '.join(self._names)}; got {', '.join(names)}"
            )
        return [side for _, side in given]


def entries(leaf: Array) -> Any:
    """Return what ``[i]`` moves an entry of an array with, fastest for the plain kind of array."""
    plain = leaf.flags.c_contiguous and leaf.dtype.char in "fd" and leaf.dtype.isnative
    return np.asarray(leaf).reshape(-1).data if plain else leaf.flat


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


def _is_structure(x: Any) -> bool:
    """Tell a structure of arrays from what NumPy would make one array of."""
    if not isinstance(x, list | tuple):
        return isinstance(x, dict)
    return not x or any(isinstance(item, np.ndarray) or _is_structure(item) for item in x)


def _leaves(x: Any, name: str) -> list[tuple[str, Any]]:
    """Return what is no structure in `x`, each with how the caller would write it."""
    if not _is_structure(x):
        return [(name, x)]
    items = x.items() if isinstance(x, dict) else enumerate(x)
    return [leaf for key, item in items for leaf in _leaves(item, f"{name}[{key!r}]")]


def _writable(x: Any, name: str) -> Any:
    """Return `x` with every array writable: itself, or a copy of what is not."""
    if not _is_structure(x):
        return _writable_array(x, name)
    items = x.items() if isinstance(x, dict) else enumerate(x)
    changed = {key: _writable(item, f"{name}[{key!r}]") for key, item in items}
    if all(changed[key] is (x[key]) for key in changed):
        return x
    return _rebuild(x, iter(changed.values()), deep=False)


def _rebuild(x: Any, pieces: Iterator[Any], deep: bool = True) -> Any:
    """Return a structure like `x` made of `pieces`; ``deep=False`` replaces its items alone."""
    if not _is_structure(x):
        return next(pieces)
    keys = list(x) if isinstance(x, dict) else range(len(x))
    items = [_rebuild(x[key], pieces) if deep else next(pieces) for key in keys]
    if isinstance(x, dict):
        return dict(zip(keys, items, strict=True))
    if isinstance(x, tuple):
        return type(x)(*items) if hasattr(x, "_fields") else tuple(items)
    return items


def _writable_array(x: Any, name: str) -> Array:
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
            f"{name}.astype(float)"
        )
    return array if array.flags.writeable else array.copy()
