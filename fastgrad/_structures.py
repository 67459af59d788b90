"""Parameters in any structure of arrays and numbers, seen as one long vector."""

from __future__ import annotations

import contextlib
import copy
import numbers
import threading
import weakref
from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from fastgrad import _labels
from fastgrad._arrays import as_numbers, check_real, real_array
from fastgrad._typing import Array

FLOAT64: np.dtype[Any] = np.dtype(float)

_locks: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
"""One for each array in use, or that whose memory it views, by its id."""


class Parameters:
    """The arrays of `x`: one array or number, or a dict, list or tuple of them, however nested.

    `leaves` are the arrays in the order of the structure: the caller's own where `x` holds arrays,
    and `movable` where they can be changed in place. `starts` says where each begins in the long
    vector, and its end. `dtype` is that of the long vector: float64, or what is more precise.

    >>> parameters = Parameters({"W": np.eye(2), "b": [1.0, 2.0]})
    >>> parameters.size, parameters.name(2), parameters.name(5)
    (6, "x['W'][1, 0]", "x['b'][1]")
    """

    def __init__(self, x: Any, name: str = "x") -> None:
        self.x = x
        try:
            items = list(_leaves(x, name))
        except RecursionError:
            raise ValueError("x must not be nested so deep, or within itself") from None
        self.names = [place for place, _ in items]  # no dict: keys may differ and look the same
        self.given = [leaf for _, leaf in items]
        self.leaves = [real_array(leaf, place) for place, leaf in items]
        self.numbers = [isinstance(leaf, numbers.Real) for leaf in self.given]
        self.movable = [isinstance(x, np.ndarray) and x.flags.writeable for x in self.given]
        self.dtypes = [leaf.dtype for leaf in self.leaves]
        self.dtype: np.dtype[Any] = np.result_type(FLOAT64, *self.dtypes)
        self.epsilons = [float(np.finfo(dtype).eps) for dtype in self.dtypes]
        self.starts = [0, *accumulate(leaf.size for leaf in self.leaves)]
        self.size = self.starts[-1]
        self.is_array = not is_structure(x)
        self.has_labels = [_labels.is_labelled(leaf) for leaf in self.given]
        # From the longest steps through memory on; a copy in a worker may have other ones.
        self._axes = [
            None if a.flags.c_contiguous else np.argsort(-np.abs(a.strides), kind="stable").tolist()
            for a in self.leaves
        ]
        self._locks: Any = None

    @property
    def is_vector(self) -> bool:
        """Whether the long vector is what f takes: x is one vector of float64."""
        plain = self.is_array and self.dtypes == [FLOAT64] and self._axes == [None]
        return plain and self.leaves[0].ndim == 1 and not self.has_labels[0]

    def held(self) -> contextlib.AbstractContextManager[Any]:
        """Keep other threads from moving this x, and from copying it while it is moved."""
        if self._locks is None:
            owners = sorted({id(_owner(leaf)) for leaf in self.leaves})
            self._locks = [_locks.setdefault(owner, threading.RLock()) for owner in owners]
        lock: contextlib.AbstractContextManager[Any]
        lock = self._locks[0] if len(self._locks) == 1 else _all(self._locks)
        return lock

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_locks": None}

    def vector(self) -> Array:
        """Return a copy of x as one long vector."""
        with self.held():
            return self._joined(self.leaves)

    def _joined(self, arrays: list[Array]) -> Array:
        parts = [array.reshape(-1) for array in arrays]
        return np.concatenate([np.empty(0), *parts], dtype=self.dtype)

    def build(self, vector: Array) -> Any:
        """Return a long vector in the structure of x, for f: views of it where that will do."""
        pieces = []
        for k, (leaf, axes, part) in enumerate(
            zip(self.leaves, self._axes, self.parts(vector), strict=True)
        ):
            piece = part.reshape(leaf.shape)
            if vector.dtype.kind != "c":
                if axes:
                    piece = piece.transpose(axes).copy().transpose(np.argsort(axes))
                piece = piece.astype(leaf.dtype.newbyteorder("="), copy=False)
            if self.numbers[k]:
                piece = piece.item() if piece.dtype.itemsize in (8, 16) else piece[()]
            pieces.append(self.labelled(k, piece))
        return self.rebuild(pieces)

    def labelled(self, k: int, piece: Any, times: int = 1) -> Any:
        """Return an array whose last axes are those of leaf k, some times over, with its labels."""
        if not self.has_labels[k]:
            return piece
        axes = times * list(self.given[k].axes)
        outer = [None] * (piece.ndim - len(axes))
        return _labels.with_labels(piece, outer + axes, getattr(self.given[k], "name", None))

    def split(self, block: range) -> list[tuple[int, range, slice]]:
        """Return what a block of coordinates has of leaves: which, where there, where in it."""
        parts = []
        for k, (start, stop) in enumerate(pairwise(self.starts)):
            first, last = max(block.start, start), min(block.stop, stop)
            if first < last:
                where = slice(first - block.start, last - block.start)
                parts.append((k, range(first - start, last - start), where))
        return parts

    def name(self, coordinate: int) -> str:
        """Return how the caller would write that coordinate of the long vector."""
        ((k, indices, _),) = self.split(range(coordinate, coordinate + 1))
        index = tuple(int(i) for i in np.unravel_index(indices[0], self.leaves[k].shape))
        if self.has_labels[k]:
            return self.names[k] + _labels.place(self.given[k], index)
        return f"{self.names[k]}[{', '.join(map(str, index))}]" if index else self.names[k]

    def eps(self, block: range) -> Any:
        """Return the relative precision of some coordinates: a number where they share it."""
        if len(set(self.epsilons)) == 1:
            return self.epsilons[0]
        return np.repeat(self.epsilons, np.diff(self.starts))[block.start : block.stop]

    def round(self, values: Array, block: range) -> Array:
        """Return values of some coordinates, one a row, as their own dtypes round them."""
        if set(self.dtypes) != {self.dtype}:
            for leaf, _, where in self.split(block):
                values[where] = values[where].astype(self.dtypes[leaf])
        return values

    def assemble(self, vector: Array) -> Any:
        """Return a long vector of derivatives in the structure of `x`, its shapes and dtypes.

        Where `vector` has more axes, its last one is the long vector, and the arrays keep the axes
        before it.
        """
        pieces = []
        for k, (leaf, part) in enumerate(zip(self.leaves, self.parts(vector), strict=True)):
            piece = part.reshape(vector.shape[:-1] + leaf.shape)
            pieces.append(self.labelled(k, piece.astype(self.dtypes[k], copy=False)))
        return self.rebuild(pieces)

    def rebuild(self, leaves: list[Any]) -> Any:
        """Return other leaves in the structure of `x`."""
        return leaves[0] if self.is_array else _rebuild(self.x, iter(leaves))

    def parts(self, vector: Array) -> list[Array]:
        """Return what each leaf has of a long vector, the last axis."""
        return [vector[..., first:last] for first, last in pairwise(self.starts)]

    def spread(self, value: Any, argument: str) -> Array:
        """Return `value` for each coordinate: a number for all, or a structure like `x`."""
        if isinstance(value, numbers.Real) and not self.is_array:
            sides = [as_numbers(value, argument)] * len(self.leaves)
        else:
            sides = self._sides(value, argument)
        parts = [np.empty(0)]
        for side, leaf in zip(sides, self.leaves, strict=True):
            try:
                parts.append(np.broadcast_to(side.astype(float), leaf.shape).reshape(-1))
            except ValueError:
                raise ValueError(
                    f"{argument} must be a number or have the shape of x, {leaf.shape}; got "
                    f"{side.shape}"
                ) from None
        return np.concatenate(parts)

    def matching(self, value: Any, argument: str) -> list[Array]:
        """Return copies of the arrays of `value`, which has the structure and the shapes of x."""
        sides = self._sides(value, argument)
        for side, name, leaf in zip(sides, self.names, self.leaves, strict=True):
            if side.shape != leaf.shape:
                hint = "; is it transposed?" if side.shape == leaf.shape[::-1] else ""
                raise ValueError(
                    f"{argument}{name[1:]} must have the shape of {name}, {leaf.shape}; got "
                    f"{side.shape}{hint}"
                )
        return sides

    def vector_of(self, value: Any, argument: str) -> Array:
        """Return a finite structure like `x`, of the same shapes, as one long vector."""
        vector = self._joined(self.matching(value, argument))
        finite = np.isfinite(vector)
        if not finite.all():
            k = int(finite.argmin())
            raise ValueError(f"{argument}{self.name(k)[1:]} must be finite, got {vector[k]}")
        return vector

    def _sides(self, value: Any, argument: str) -> list[Array]:
        """Return copies of the arrays of `value`, one for each leaf of x."""
        one = self.is_array and not isinstance(value, dict)
        given = [("x", value)] if one else list(_leaves(value, "x"))
        names = [name for name, _ in given]
        if sorted(names) != sorted(self.names):
            raise ValueError(
                f"{argument} must have the structure of x, "
                f"{'one array' if self.is_array else ', '.join(self.names)}; got "
                f"{', '.join(names) or 'nothing'}"
            )
        if names != self.names:
            given.sort(key=lambda pair: self.names.index(pair[0]))
        sides = []
        for (name, side), leaf in zip(given, self.given, strict=True):
            _labels.check_labels(side, leaf, argument)
            sides.append(as_numbers(side, argument))
            check_real(sides[-1], argument + name[1:])
        return sides


def _owner(array: Any) -> Any:
    """Return the array whose memory `array` views, or what else owns it."""
    while getattr(array, "base", None) is not None:
        array = array.base
    return array


@contextlib.contextmanager
def _all(locks: list[Any]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for lock in locks:
            stack.enter_context(lock)
        yield


def is_structure(x: Any) -> bool:
    """Tell a structure of arrays from what NumPy would make one array of."""
    if not isinstance(x, list | tuple):
        return isinstance(x, dict)
    if not x or hasattr(x, "_fields"):
        return True
    return any(
        isinstance(item, np.ndarray) or is_structure(item) or _labels.is_labelled(item)
        for item in x
    )


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
        like = copy.copy(x)  # A subclass may hold more than its items.
        like.update({key: _rebuild(item, pieces) for key, item in x.items()})
        return like
    items = [_rebuild(item, pieces) for item in x]
    if isinstance(x, tuple):
        return type(x)(*items) if hasattr(x, "_fields") else tuple(items)
    return items
