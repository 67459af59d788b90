"""Memory that outlives a call: pages that every gradient fills anew need not be mapped anew."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import DTypeLike

from fastgrad._typing import Array

MOST = 2**26
"""Bytes of the largest array that is kept, 64 MiB."""

_kept = threading.local()


def scratch(name: str, size: int, dtype: DTypeLike = float) -> Array:
    """Return a vector with anything in it, in this thread's memory of that name.

    What an earlier call with the same name returned must not be in use any more.
    """
    memory: Array | None = getattr(_kept, name, None)
    if memory is None or memory.size < size:
        memory = np.empty(size, dtype)
        if memory.nbytes <= MOST:
            setattr(_kept, name, memory)
    return memory[:size]
