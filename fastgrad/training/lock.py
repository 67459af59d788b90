"""A lock on a folder: one process at a time."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from fastgrad._files import made_folder

NAME = ".lock"
TAKEN = errno.EACCES, errno.EAGAIN, errno.EDEADLK
"""The errors by which a system says that another process has the lock."""

_held: set[int] = set()


def _release_in_child() -> None:
    """Close the locks of the parent: a lock lasts as long as any process has its file open."""
    for handle in _held:
        os.close(handle)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_in_child)


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
    with made_folder(folder):
        path = Path(folder, NAME)
        handle = _open(path)
        _held.add(handle)
        try:
            yield
        finally:
            # First the name, so that nobody locks a file that others do not find any more.
            with contextlib.suppress(OSError):  # Windows keeps what is open
                path.unlink()
            _held.discard(handle)
            os.close(handle)


def _open(path: Path) -> int:
    """Return the handle of the locked file."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            _lock(handle)
            # Its last holder may have removed the file since it was opened here.
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        except FileNotFoundError:
            pass
        except OSError as error:
            os.close(handle)
            if error.errno not in TAKEN:
                raise
            raise BlockingIOError(
                f"{path.parent} is in use: another process has locked {path}; wait until it has "
                "ended, stop it, or take another folder"
            ) from error
        os.close(handle)


if sys.platform == "win32":

    def _lock(handle: int) -> None:
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:

    def _lock(handle: int) -> None:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
