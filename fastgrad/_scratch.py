"""Memory for kernels: on cache lines, and not mapped anew for every gradient."""

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


def forget() -> None:
    """Leave all of this thread's memory to those who may still write to it."""
    vars(_kept).clear()


def scratch(name: str, size: int, dtype: DTypeLike = float) -> Array:
    """Return a vector with anything in it, in this thread's memory of that name.

    What an earlier call with the same name returned must not be in use any more.
    """
    memory: Array | None = getattr(_kept, name, None)
    if memory is None or memory.size < size:
        memory = aligned(size, dtype)
        if memory.nbytes <= MOST:
            setattr(_kept, name, memory)
    return memory[:size]
