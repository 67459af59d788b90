"""Samples that are looked at again and again: without their zeros, and in whole numbers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from fastgrad import _scratch
from fastgrad._typing import Array, Integers
from fastgrad.kernels.nonzero import TOGETHER
from fastgrad.kernels.pixels import MOST, compress_pixels_kernel

PART = 1000
"""Samples at a time: what is computed for them stays in the second-level cache."""


class Part(NamedTuple):
    """Some samples, as `fastgrad.kernels.pixels.compress_pixels_kernel` writes them."""

    columns: Integers
    pairs: Integers
    starts: Integers
    counts: Integers


class Images:
    """Samples, and what has been made of each `PART` of them: 8 bytes for a pair that is not 0.

    Stands for the array itself, which must not change any more.

    Parameters
    ----------
    x : array_like of real numbers, shape (N, D)
        The samples.
    """

    def __init__(self, x: ArrayLike) -> None:
        self._x: Array = np.asarray(x)
        self._parts: dict[int, Part] = {}

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        """Return the samples as they came."""
        return np.array(self._x, dtype, copy=copy)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._x)

    def __getitem__(self, which: Integers) -> Array:
        """Return some samples as they came."""
        return self._x[which]

    def part(self, number: int, scale: np.float32) -> Part:
        """Return a part, of inputs times `scale`."""
        if number not in self._parts:
            self._parts[number] = _compressed(self._x[number * PART :][:PART], scale)
        return self._parts[number]


def plain(x: Array) -> Array:
    """Return `x` as what the kernels take, a copy only where it is something else."""
    return np.require(x, np.float32, ("C", "W"))


def room_for_one(features: int) -> tuple[Array, Array]:
    """Return zeros for so many whole numbers, of int16, and a view of them in pairs."""
    q = np.zeros(features + features % 2, np.int16)
    return q, q.view(np.int32)


def scale_of(x: Array) -> np.float32:
    """Return by what inputs are multiplied to be whole numbers: up to 1, they are 255ths."""
    return np.float32(MOST if x[:PART].max() <= 1 else 1)


def _compressed(x: Array, scale: np.float32) -> Part:
    room = len(x) * -(-x.shape[1] // 2) + TOGETHER
    memory = _scratch.take()
    columns, pairs = (memory.vector(name, room, np.int32) for name in ("columns of pairs", "pairs"))
    starts, counts = np.empty(len(x) + 1, np.int64), np.empty(len(x), np.int64)
    one = room_for_one(x.shape[1])
    compress_pixels_kernel(plain(x), scale, *one, columns, pairs, starts, counts)
    part = Part(columns[: starts[-1]].copy(), pairs[: starts[-1]].copy(), starts, counts)
    _scratch.give_back(memory)
    return part
