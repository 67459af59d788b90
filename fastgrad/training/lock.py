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

    Raises
    ------
    BlockingIOError
        If the folder is locked.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, alone_in(folder):
    ...     with alone_in(folder):
    ...         pass
    Traceback (most recent call last):
    BlockingIOError: ... is in use...
    """
    with made_folder(folder) as made:
        path, inside = made.resolve() / NAME, False
        while not inside:
            if path in _held:  # to open and close it would release it
                raise _in_use(path)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
            try:
                inside = _lock(handle, path)
                if inside:
                    _held.add(path)
                    yield
            finally:
                if inside:
                    # First the name, so that nobody locks a file that others do not find any more.
                    with contextlib.suppress(OSError):  # Windows keeps what is open
                        path.unlink()
                    _held.discard(path)
                os.close(handle)


def _lock(handle: int, path: Path) -> bool:
    """Lock a file; return whether it has its name still, as its last holder may have removed it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
    except (BlockingIOError, PermissionError) as error:
        raise _in_use(path) from error


def _in_use(path: Path) -> BlockingIOError:
    return BlockingIOError(
        f"{path.parent} is in use: another run has locked {path}; wait until it has ended, stop "
        "it, or take another folder"
    )
