"""Memory for kernels: on cache lines, and not mapped anew for every gradient.

Who needs some takes what is kept for this thread, and gives it back when nobody writes to it any
more. A gradient in a signal handler, which comes in between, finds nothing and gets its own. After
an error nothing is given back: other threads may still be at work.
"""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import DTypeLike

from fastgrad._typing import Array

MOST = 2**26
"""Bytes of the largest array that is kept, 64 MiB."""

LINE = 64
"""Bytes of a cache line: loads of 32 that start on one never cross into the next."""

_kept = threading.local()


def aligned(size: int, dtype: DTypeLike = float) -> Array:
    """Return a vector with anything in it that starts on a cache line."""
    kind = np.dtype(dtype)
    memory = np.empty(size + LINE // kind.itemsize, kind)
    start = -memory.__array_interface__["data"][0] % LINE // kind.itemsize
    return memory[start : start + size]


class Memory:
    """Vectors by name, each kept for who asks for that name next."""

    def __init__(self) -> None:
        self._vectors: dict[str, Array] = {}

    def vector(self, name: str, size: int, dtype: DTypeLike = float) -> Array:
        """Return a vector with anything in it.

        What an earlier call with the same name returned must not be in use any more.
        """
        vector = self._vectors.get(name)
        if vector is None or vector.size < size:
            vector = aligned(size, dtype)
            if vector.nbytes <= MOST:
                self._vectors[name] = vector
        return vector[:size]


def take() -> Memory:
    """Return the memory that is kept for this thread, or new memory."""
    memory: Memory | None = vars(_kept).pop("memory", None)
    return memory or Memory()


def give_back(memory: Memory) -> None:
    """Keep memory for who takes some next in this thread."""
    _kept.memory = memory
