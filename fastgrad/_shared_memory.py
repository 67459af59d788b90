"""Where local processes find what is too large for a pipe."""

from __future__ import annotations

import contextlib
import os
import tempfile
import weakref

import numpy as np

from fastgrad._typing import Array

FOLDER = "/dev/shm"
LEAST = 2 * 10**9
"""Bytes that must be free there; joblib asks for as many."""

LARGE = 2**20
"""Bytes from which on an array is shared; joblib's own limit."""


def folder() -> str | None:
    """Return the folder that joblib would choose itself; None leaves the choice to it.

    Unless it is told, joblib 1.6 makes an empty folder in shared memory with every call, and
    removes it at the end of the process at best.
    """
    chosen = os.environ.get("JOBLIB_TEMP_FOLDER")
    if chosen is None and os.access(FOLDER, os.W_OK):
        space = os.statvfs(FOLDER)
        if space.f_bsize * space.f_bavail > LEAST:
            return FOLDER
    return chosen


def shared(array: Array) -> Array:
    """Return a large vector as the map of a file, of which joblib sends nothing but the name.

    The file goes with the map, and with this process if that is killed.
    """
    if array.nbytes <= LARGE:
        return array
    from joblib.externals.loky.backend import resource_tracker

    handle, path = tempfile.mkstemp(prefix=f"fastgrad-{os.getpid()}-", dir=folder())
    resource_tracker.register(path, "file")
    try:
        with open(handle, "wb") as file:
            file.write(array.data)
        mapped = np.memmap(path, array.dtype, mode="r")
    except BaseException:
        resource_tracker.maybe_unlink(path, "file")
        raise
    weakref.finalize(mapped, _remove, path)
    return mapped


def _remove(path: str) -> None:
    from joblib.externals.loky.backend import resource_tracker

    with contextlib.suppress(OSError):  # Windows keeps what is mapped: the tracker tries again
        os.unlink(path)
    resource_tracker.maybe_unlink(path, "file")
