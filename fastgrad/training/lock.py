"""A lock on a folder: one training run at a time."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from fastgrad._files import made_folder

NAME = ".lock"

_held: set[Path] = set()
"""The files locked here: POSIX knows processes only, and a second lock of one always succeeds."""


@contextlib.contextmanager
def alone_in(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Lock a folder against other calls; make it if need be, and remove it if it stays empty.

    The system releases the lock when the process ends, however it ends.
    """
    with made_folder(folder) as made, contextlib.ExitStack() as stack:
        path = made.resolve() / NAME
        # To open it here and close it would release it.
        if path in _held or not _lock(path, stack):
            raise BlockingIOError(
                f"{folder} is in use: another run has locked {path}; wait until it has ended, "
                "stop it, or take another folder"
            )
        _held.add(path)
        stack.callback(_held.discard, path)
        yield


def _lock(path: Path, stack: contextlib.ExitStack) -> bool:
    """Return whether the file could be locked; the stack unlocks and removes it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    stack.callback(os.close, handle)
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its last holder may have removed the file since it was opened here.
        locked = os.path.samestat(os.fstat(handle), path.stat())
    except (BlockingIOError, PermissionError, FileNotFoundError):
        return False
    if locked and sys.platform != "win32":  # which keeps what is open
        # The name goes first, so that nobody locks a file that others do not find any more.
        stack.callback(path.unlink, missing_ok=True)
    return locked
