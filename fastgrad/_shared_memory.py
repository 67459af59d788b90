"""Where joblib hands what is too large for a pipe to local processes."""

from __future__ import annotations

import os

FOLDER = "/dev/shm"
LEAST = 2 * 10**9
"""Bytes that must be free there; joblib asks for as many."""


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
